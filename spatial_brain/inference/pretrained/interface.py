"""Base class of what uses a pretrained model, and how it is loaded."""

import math
from pathlib import Path

import torch
from speechbrain.inference.interfaces import Pretrained
from speechbrain.utils.run_opts import HELP_TEXTS

from spatial_brain.dataio.audio import read_audio
from spatial_brain.inference.pretrained.card import (
    CARD_FILE,
    check_digest,
    find_card,
    warn_of_other_model,
)
from spatial_brain.inference.pretrained.safe_yaml import load_safe_yaml
from spatial_brain.inference.pretrained.saving import require_names
from spatial_brain.inference.pretrained.source import (
    WEIGHT_SUFFIXES,
    ModelSource,
    read_text,
)
from spatial_brain.inference.pretrained.weights import (
    load_weights,
    printable,
    read_weights,
)

# Instead of the weights of ``model``: what differs from those of another.
ADAPTERS_FILE = "adapters.safetensors"
# More than any model's sampling rate or classes, and sources or microphones.
MAX_COUNT = 1_000_000
MAX_SIGNALS = 1_000
MAX_LENGTH_OF_WINDOW = 3600  # s


def _is_number(value, lowest=-math.inf, highest=math.inf):
    """Whether a value is a finite number above a limit, maybe below another."""
    return (
        isinstance(value, (int, float))
        and not isinstance(value, bool)
        and lowest < value < math.inf
        and value <= highest
    )


def _are_positions(value):
    """Whether a value is null or positions [microphone, 3] in metres."""
    return value is None or (
        isinstance(value, (list, tuple))
        and all(
            isinstance(position, (list, tuple))
            and len(position) == 3
            and all(map(_is_number, position))
            for position in value
        )
    )


def _are_names(value):
    return isinstance(value, (list, tuple)) and all(
        isinstance(name, str) for name in value
    )


def _are_modules(value):
    return isinstance(value, dict) and all(
        isinstance(name, str) and isinstance(module, torch.nn.Module)
        for name, module in value.items()
    )


def _is_count(value):
    return isinstance(value, int) and _is_number(value, 0, MAX_COUNT)


def _is_small_count(value):
    return isinstance(value, int) and _is_number(value, 0, MAX_SIGNALS)


def _is_length(value):
    return _is_number(value, 0, MAX_LENGTH_OF_WINDOW)


def _is_module(value):
    return isinstance(value, torch.nn.Module)


def _is_text(value):
    return isinstance(value, str)


# Key -> what its value has to be, and how that is checked.
_KINDS = {
    "modules": ("networks, 'name: !new:...'", _are_modules),
    "microphone_positions": ("positions [[x, y, z], ...]", _are_positions),
    "class_names": ("a list of names", _are_names),
    "threshold": ("a number", _is_number),
    "merge_angle": ("a number", _is_number),
    "features": ("a module, built by !new:", _is_module),
    "decoder": ("built by !new: or !name:", callable),
    **dict.fromkeys(
        ("sample_rate", "num_classes"),
        (f"a whole number above 0, at most {MAX_COUNT:,}", _is_count),
    ),
    **dict.fromkeys(
        ("num_sources", "num_microphones"),
        (f"a whole number above 0, at most {MAX_SIGNALS:,}", _is_small_count),
    ),
    **dict.fromkeys(
        (
            "window_length",
            "hop_length",
            "chunk_length",
            "detection_hop",
            "duration",
        ),
        (
            f"a number of seconds above 0, at most {MAX_LENGTH_OF_WINDOW}",
            _is_length,
        ),
    ),
    **dict.fromkeys(
        ("method", "array_format", "task", "target"), ("text", _is_text)
    ),
}


def _check_kinds(hparams, path):
    """Refuse a value of another kind than its key has."""
    for key, (kind, fits) in _KINDS.items():
        if key in hparams and not fits(hparams[key]):
            raise ValueError(
                f"{path}: {key} must be {kind}, found "
                f"{str(hparams[key])[:60]!r}"
            )


class PretrainedModel(Pretrained):
    """Base class of the pretrained interfaces.

    Has the surface of SpeechBrain's ``Pretrained`` (``mods``, ``hparams``,
    ``device``), frozen and in evaluation mode, and loads without running
    anything that the folder brings along. A subclass names what it needs in
    ``HPARAMS_NEEDED`` and ``MODULES_NEEDED`` and adds its verbs. ``card`` says
    what the model is for and what it is worth: a
    :class:`spatial_brain.inference.pretrained.card.ModelCard`, or None.

    Arguments
    ---------
    modules : dict of torch.nn.Module
        The networks, found under ``self.mods``.
    hparams : dict
        Everything else, found under ``self.hparams``.
    run_opts : dict, optional
        SpeechBrain's run options; ``device`` and ``precision`` matter here.
    freeze_params : bool
        Whether to freeze parameters and call ``eval()``.

    Example
    -------
    >>> import torch
    >>> model = PretrainedModel({"net": torch.nn.Linear(1, 1)}, {"fs": 16000},
    ...                         {"device": "cpu"})
    >>> model.mods.net.training, model.hparams.fs
    (False, 16000)
    """

    # A ModelCard, where the folder has one.
    card = None

    @classmethod
    def from_hparams(
        cls,
        source,
        hparams_file="hyperparams.yaml",
        savedir=None,
        overrides=None,
        overrides_must_match=True,
        run_opts=None,
        fetch_config=None,
        freeze_params=True,
        allowed=(),
    ):
        """Load a model from a folder, a run, this package, or the hub.

        Arguments
        ---------
        source : str or Path
            Folder with a model, output folder of a run, name of a shipped
            model, or hub id (with a branch or commit:
            ``"org/name@revision"``); the first of these that is there.
        hparams_file : str
            Name of the YAML file.
        savedir : str or Path, optional
            Folder to keep copies in, one per model.
        overrides : dict or str, optional
            Replacements for values of the YAML file.
        overrides_must_match : bool
            Whether overriding a key that does not exist is an error.
        run_opts : dict, optional
            For instance ``{"device": "cuda:0"}``.
        fetch_config : speechbrain.utils.fetching.FetchConfig, optional
            Revision and other settings for the hub.
        freeze_params : bool
            Whether to freeze parameters and call ``eval()``.
        allowed : sequence of str
            Further packages whose classes the YAML may use, such as
            ``"my_package."``: their code is run, and the log says so. Give
            only what you trust.

        Returns
        -------
        PretrainedModel
            An object of the class this is called on.

        Raises
        ------
        FileNotFoundError
            If the folder, its YAML or its weights are not there.
        ValueError
            If the YAML wants what it may not have, needed values or modules
            are missing, or weights do not fit or are not those of the card;
            with file and name.

        Example
        -------
        >>> PretrainedModel.from_hparams("./nowhere")
        Traceback (most recent call last):
        ...
        FileNotFoundError: no such folder: nowhere (wanted a pretrained ...
        """
        origin = ModelSource(source, hparams_file, savedir, fetch_config)
        card = find_card(origin.get_optional(CARD_FILE))
        hashes = {} if card is None else card.hashes
        path = origin.get(hparams_file)
        if path is None:
            raise FileNotFoundError(
                f"'{source}' has no {hparams_file}: it is no pretrained model "
                "of this package"
            )
        hparams = load_safe_yaml(
            read_text(path),
            str(path),
            overrides,
            overrides_must_match,
            allowed,
        )
        cls._check_hparams(hparams, path)
        warn_of_other_model(card, hparams, Path(path).with_name(CARD_FILE))
        for name, module in hparams["modules"].items():
            if not name.isidentifier():
                raise ValueError(
                    f"{path}: {printable(name)!r} is no name for a module, "
                    "which is that of a file beside it"
                )
            weights = cls._weights_file(origin, name)
            check_digest(weights, hashes)
            load_weights(module, read_weights(weights), weights)
        try:
            model = cls(
                modules=hparams["modules"],
                hparams=hparams,
                run_opts=run_opts,
                freeze_params=freeze_params,
            )
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from error
        model.card = card
        return model

    @classmethod
    def needed_keys(cls, hparams):
        """Keys that hyper-parameters have to hold.

        Arguments
        ---------
        hparams : dict
            The hyper-parameters, on which that may depend.

        Returns
        -------
        list of str
            Default: ``HPARAMS_NEEDED``.
        """
        return cls.HPARAMS_NEEDED

    @classmethod
    def _check_hparams(cls, hparams, path):
        """Refuse a file that lacks values or modules this class needs."""
        # SpeechBrain would take them from there: device, compile, precision.
        options = sorted(hparams.keys() & HELP_TEXTS.keys())
        if options:
            raise ValueError(
                f"{path}: {', '.join(options)}: options of a run, which a "
                "model's description may not set; delete them there"
            )
        keys = ["modules", *cls.needed_keys(hparams)]
        try:
            require_names(f"{path}: keys", keys, hparams)
            _check_kinds(hparams, path)
            require_names(
                f"{path}: modules", cls.MODULES_NEEDED, hparams["modules"]
            )
        except ValueError as error:
            raise ValueError(
                f"{error}. Is it the model of another task? "
                f"{cls.__name__} needs one that was trained for its own"
            ) from error

    @staticmethod
    def _weights_file(origin, name):
        """Weights file of one module, in the first format that is there."""
        for suffix in WEIGHT_SUFFIXES:
            path = origin.get(name + suffix)
            if path is not None:
                return path
        if name == "model" and origin.get(ADAPTERS_FILE) is not None:
            raise FileNotFoundError(
                f"'{origin.name}' holds adapters only; complete them: "
                "spatial-brain convert --format adapters --checkpoint "
                f"{origin.name} --base <weights the training began with> "
                "--output <folder>"
            )
        raise FileNotFoundError(
            f"'{origin.name}' has no weights for the module '{name}'; wanted "
            + " or ".join(name + suffix for suffix in WEIGHT_SUFFIXES)
        )

    def load_audio(self, path):
        """Read an audio file of the model's sampling rate.

        Arguments
        ---------
        path : str or Path
            A local file.

        Returns
        -------
        torch.Tensor
            Waveform [time, channel] on the model's device.
        """
        waveform, _ = read_audio(path, fs=self.hparams.sample_rate)
        return waveform.to(self.device)
