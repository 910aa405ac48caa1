"""Pretrained models: how a folder holds them and how they are loaded.

A folder holds ``hyperparams.yaml`` (the inference subset of a run's
hyper-parameters: ``modules`` and what a verb needs) and one tensor-only
``<module>.safetensors`` a module. Nothing in it can run code: see
:mod:`spatial_brain.inference.safe_yaml`.
"""

import io
import os
from pathlib import Path

import ruamel.yaml
from hyperpyyaml import resolve_references
from speechbrain.inference.interfaces import Pretrained

from spatial_brain.dataio.audio import read_audio
from spatial_brain.inference.safe_yaml import check_tags, load_safe_yaml
from spatial_brain.inference.sources import ModelSource
from spatial_brain.inference.weights import (
    WEIGHT_SUFFIXES,
    load_weights,
    read_weights,
    save_weights,
)


def save_pretrained(folder, hparams_text, keys, modules, extra=None):
    """Write a folder from which a model can be used at once.

    Arguments
    ---------
    folder : str or Path
        Usually ``<output_folder>/pretrained``; made if it is missing.
    hparams_text : str
        HyperPyYAML text of the run, such as the ``hyperparams.yaml`` of its
        output folder. It must hold ``modules``.
    keys : sequence of str
        Top-level keys that the inference needs beside ``modules``.
    modules : dict of torch.nn.Module
        What to save; each name must be one of the YAML's ``modules``. Other
        entries there (losses, say) are left out.
    extra : dict, optional
        Plain values to add, replacing those of the text.

    Returns
    -------
    Path
        The folder.

    Raises
    ------
    ValueError
        If a key or module is not in the text, or a kept part uses tags that
        a pretrained folder may not hold.

    Example
    -------
    >>> import torch
    >>> text = "size: 2\\nnet: !new:torch.nn.Linear [!ref <size>, 1]\\n"
    >>> text += "modules: {net: !ref <net>}"
    >>> net = torch.nn.Linear(2, 1)
    >>> folder = getfixture("tmp_path") / "pretrained"
    >>> path = save_pretrained(folder, text, ["size"], {"net": net})
    >>> sorted(file.name for file in path.iterdir())
    ['hyperparams.yaml', 'net.safetensors']
    >>> print((path / "hyperparams.yaml").read_text())
    modules:
      net: !new:torch.nn.Linear [2, 1]
    size: 2
    """
    folder = Path(folder)
    yaml = ruamel.yaml.YAML()
    run = yaml.load(resolve_references(hparams_text).getvalue())
    extra = extra or {}
    _require("keys", [key for key in keys if key not in extra], run)
    _require("keys", ["modules"], run)
    _require("modules", modules, run["modules"])
    subset = ruamel.yaml.CommentedMap()
    subset["modules"] = ruamel.yaml.CommentedMap(
        (name, run["modules"][name]) for name in modules
    )
    subset.update({key: run[key] for key in keys if key not in extra})
    subset.update(extra)
    stream = io.StringIO()
    yaml.dump(subset, stream)
    # Classes of the user's own may be kept; they are named when loading.
    check_tags(stream.getvalue(), "the pretrained subset", prefixes=("",))

    folder.mkdir(parents=True, exist_ok=True)
    for name, module in modules.items():
        save_weights(folder / f"{name}.safetensors", module)
    temporary = folder / f".hyperparams.yaml.{os.getpid()}.part"
    temporary.write_text(stream.getvalue(), encoding="utf-8")
    os.replace(temporary, folder / "hyperparams.yaml")
    return folder


def _require(what, names, mapping):
    """Raise ValueError if names are not in a mapping."""
    missing = [name for name in names if name not in mapping]
    if missing:
        raise ValueError(
            f"{what} not in the hyper-parameters: {', '.join(missing)}; "
            f"there are: {', '.join(mapping)}"
        )


class PretrainedModel(Pretrained):
    """Base class of the pretrained interfaces.

    Has the surface of SpeechBrain's ``Pretrained`` (``mods``, ``hparams``,
    ``device``), frozen and in evaluation mode, and loads without running
    anything that the folder brings along. A subclass names what it needs in
    ``HPARAMS_NEEDED`` and ``MODULES_NEEDED`` and adds its verbs.

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
        """Load a model from a folder, a run, or the hub.

        Arguments
        ---------
        source : str or Path
            Folder with a model, output folder of a run, or hub id.
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
            ``"my_package."``. Give only what you trust.

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
            are missing, or weights do not fit; file and name are told.

        Example
        -------
        >>> PretrainedModel.from_hparams("./nowhere")
        Traceback (most recent call last):
        ...
        FileNotFoundError: no such folder: nowhere (wanted a pretrained ...
        """
        origin = ModelSource(source, hparams_file, savedir, fetch_config)
        path = origin.get(hparams_file)
        if path is None:
            raise FileNotFoundError(
                f"'{source}' has no {hparams_file}: it is no pretrained model "
                "of this package"
            )
        hparams = load_safe_yaml(
            path.read_text(encoding="utf-8"),
            str(path),
            overrides,
            overrides_must_match,
            allowed,
        )
        cls._check_hparams(hparams, path)
        for name, module in hparams["modules"].items():
            weights = cls._weights_file(origin, name)
            load_weights(module, read_weights(weights), weights)
        return cls(
            modules=hparams["modules"],
            hparams=hparams,
            run_opts=run_opts,
            freeze_params=freeze_params,
        )

    @classmethod
    def _check_hparams(cls, hparams, path):
        """Refuse a file that lacks values or modules this class needs."""
        keys = ["modules", *cls.HPARAMS_NEEDED]
        try:
            _require(f"{path}: keys", keys, hparams)
            _require(f"{path}: modules", cls.MODULES_NEEDED, hparams["modules"])
        except ValueError as error:
            raise ValueError(
                f"{error}. Is it the model of another task? "
                f"{cls.__name__} needs one that was trained for its own"
            ) from error

    @staticmethod
    def _weights_file(origin, name):
        """Weights file of one module, in the first format that is there."""
        if not name.isidentifier():
            raise ValueError(f"'{name}' is no name for a module")
        for suffix in WEIGHT_SUFFIXES:
            path = origin.get(name + suffix)
            if path is not None:
                return path
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
