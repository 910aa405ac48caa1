"""Released checkpoints of other systems to folders this package can use."""

from functools import partial
from pathlib import Path
from typing import NamedTuple

from spatial_brain.inference.convert.adapters import complete_adapters
from spatial_brain.inference.convert.cards import (
    RELEASED,
    write_released_card,
)
from spatial_brain.inference.convert.dcase_baseline import convert_baseline
from spatial_brain.inference.convert.pseldnets import (
    AUDIOSET,
    convert_audioset,
    convert_pseldnets,
)
from spatial_brain.inference.convert.sar_ssl import convert_sar_ssl
from spatial_brain.inference.convert.speechbrain_binaural import (
    convert_binaural,
)
from spatial_brain.inference.pretrained import (
    load_weights,
    read_weights,
    save_pretrained,
)
from spatial_brain.inference.pretrained.safe_yaml import load_safe_yaml

DUAL_MIC_SSL = """\
# Two talkers, two microphones on the x axis (released dual-mic-ssl weights).
modules:
  model: !new:spatial_brain.models.dual_mic.DualMicLocalizer
decoder: !name:spatial_brain.models.dual_mic.decode_classes
sample_rate: 16000
microphone_positions: [[-0.05, 0.0, 0.0], [0.05, 0.0, 0.0]]
window_length: 3.0  # s
hop_length: 1.5  # s
target: azimuth
"""


class Conversion(NamedTuple):
    """What ``convert`` did.

    Arguments
    ---------
    folder : Path
        The pretrained folder; for AudioSet weights the file.
    num_tensors : int
        Entries of the state dict.
    num_parameters : int
        Trained numbers; for AudioSet weights all numbers.
    """

    folder: Path
    num_tensors: int
    num_parameters: int


def convert(format, checkpoint, output, **options):
    """Turn a released checkpoint into a pretrained folder.

    The weights are loaded strictly: every name and shape must fit. AudioSet
    weights of a backbone are no complete network; they become one file with
    which a training begins.

    Arguments
    ---------
    format : str
        A key of ``FORMATS``: which system the checkpoint comes from.
    checkpoint : str or Path
        File with tensors only; for SpeechBrain a folder of such.
    output : str or Path
        Folder to write; a ``source`` for ``from_hparams`` afterwards. For
        AudioSet weights a folder or a ``.safetensors`` file.
    **options
        What a checkpoint may not hold: ``rule`` and ``sample_rate`` of
        ``speechbrain-binaural``; ``base``, the weights that the training of
        ``adapters`` began with; ``data_folder``, the recordings for the
        scaler of ``dcase2024-baseline``. Those that are None do not count.

    Returns
    -------
    Conversion
        Folder and counts.

    Raises
    ------
    FileNotFoundError
        If there is no such checkpoint.
    ValueError
        If the format is not known or takes no such option, the checkpoint
        holds other things than tensors or does not fit, or the folder to
        write is that of a run.

    Example
    -------
    >>> convert("unheard-of", "model.pth", "pretrained")
    Traceback (most recent call last):
    ...
    ValueError: unknown checkpoint format 'unheard-of'; there are: ...
    """
    if format not in FORMATS:
        raise ValueError(
            f"unknown checkpoint format '{format}'; there are: "
            + ", ".join(FORMATS)
        )
    options = {name: v for name, v in options.items() if v is not None}
    unknown = options.keys() - OPTIONS.get(format, set())
    if unknown:
        raise ValueError(
            f"the format '{format}' has no option " + ", ".join(sorted(unknown))
        )
    for name, value in (("checkpoint", checkpoint), ("output", output)):
        if not str(value):
            raise ValueError(f"{name}: an empty text is no file or folder")
    output = Path(output)
    if (output / "hyperparams.yaml").exists() and not (
        output / "model.safetensors"
    ).is_file():
        raise ValueError(
            f"{output} holds the hyperparams.yaml of something else than a "
            "pretrained model, such as a run; choose another folder (--output)"
        )
    done = FORMATS[format](Path(checkpoint), output, **options)
    if format in RELEASED:
        write_released_card(format, done.folder)
    return done


def _dual_mic_ssl(checkpoint, output):
    """State dict of the two-talker localiser (``model.pth``)."""
    tensors = {
        # DistributedDataParallel puts this before every name.
        name.removeprefix("module."): tensor
        for name, tensor in read_weights(checkpoint).items()
    }
    hparams = load_safe_yaml(DUAL_MIC_SSL, "dual-mic-ssl")
    model = hparams["modules"]["model"]
    load_weights(model, tensors, checkpoint)
    keys = [key for key in hparams if key != "modules"]
    return Conversion(
        folder=save_pretrained(output, DUAL_MIC_SSL, keys, {"model": model}),
        num_tensors=len(tensors),
        num_parameters=sum(p.numel() for p in model.parameters()),
    )


def _pseldnets(checkpoint, output):
    """One of the networks of PSELDNets (``mACCDOA-HTSAT-0.567.ckpt``)."""
    return Conversion(*convert_pseldnets(checkpoint, output))


def _sar_ssl(checkpoint, output):
    """A pretext or downstream network (``ensemble_model.tar``)."""
    return Conversion(*convert_sar_ssl(checkpoint, output))


def _speechbrain_binaural(checkpoint, output, **options):
    """A checkpoint folder of the recipe BinauralWSJ0Mix."""
    return Conversion(*convert_binaural(checkpoint, output, **options))


def _adapters(checkpoint, output, base=None):
    """A folder of a training with ``adapters_only``."""
    if base is None:
        raise ValueError(
            "adapters are a part of a network; give --base, the weights that "
            "their training began with"
        )
    return Conversion(*complete_adapters(checkpoint, output, base))


def _dcase2024_baseline(checkpoint, output, data_folder=None):
    """One of the two networks that come with the challenge's baseline."""
    if data_folder is None:
        raise ValueError(
            "the scaler of the baseline is not published; give --data-folder, "
            "the folder of STARSS23, to compute it"
        )
    return Conversion(*convert_baseline(checkpoint, output, data_folder))


def _audioset(format, checkpoint, output):
    """AudioSet weights of a backbone."""
    return Conversion(*convert_audioset(format, checkpoint, output))


FORMATS = {
    "adapters": _adapters,
    "dcase2024-baseline": _dcase2024_baseline,
    "dual-mic-ssl": _dual_mic_ssl,
    "pseldnets": _pseldnets,
    "sar-ssl": _sar_ssl,
    "speechbrain-binaural": _speechbrain_binaural,
    **{format: partial(_audioset, format) for format in AUDIOSET},
}
OPTIONS = {
    "adapters": {"base"},
    "dcase2024-baseline": {"data_folder"},
    "speechbrain-binaural": {"rule", "sample_rate"},
}
