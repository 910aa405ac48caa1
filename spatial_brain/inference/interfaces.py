"""Which command and which interface a trained model belongs to."""

from spatial_brain.inference import (
    AnyArrayLocalizer,
    BinauralSeparator,
    RoomAcousticsEstimator,
    SELDetector,
    SoundLocalizer,
)
from spatial_brain.inference.pretrained.saving import require_names

# Command and interface; the first whose values and modules are there.
_INTERFACES = (
    ("acoustics", RoomAcousticsEstimator),
    ("detect", SELDetector),
    ("locate", SoundLocalizer),
    ("locate", AnyArrayLocalizer),
    ("separate", BinauralSeparator),
)


def find_interface(model, place):
    """Command and interface of a model.

    Arguments
    ---------
    model : PretrainedModel
        Loaded as the base class does.
    place : str or Path
        Where it came from, for the error message.

    Returns
    -------
    tuple
        Name of the command (str) and subclass of PretrainedModel.

    Raises
    ------
    ValueError
        If none fits.

    Example
    -------
    >>> import torch
    >>> from spatial_brain.inference.pretrained import PretrainedModel
    >>> hparams = {"sample_rate": 16000, "num_sources": 2}
    >>> model = PretrainedModel({"model": torch.nn.Identity()}, hparams,
    ...                         {"device": "cpu"})
    >>> find_interface(model, "mine")[0]
    'separate'
    """
    hparams = vars(model.hparams)
    for command, interface in _INTERFACES:
        try:
            require_names("keys", interface.needed_keys(hparams), hparams)
            require_names("modules", interface.MODULES_NEEDED, model.mods)
        except ValueError:
            continue
        return command, interface
    raise ValueError(f"{place}: the model of no command of this package")
