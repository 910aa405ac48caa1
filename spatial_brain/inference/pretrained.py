"""Pretrained models: how a folder holds them and how they are loaded.

A folder holds ``hyperparams.yaml`` (the inference subset of a run's
hyper-parameters: ``modules`` and what a verb needs) and one tensor-only
``<module>.safetensors`` a module. Its YAML builds classes of a closed list
only: see :mod:`spatial_brain.inference.safe_yaml`.
"""

import errno
import io
import json
import math
import mmap
import os
import pickle
import re
import shutil
import struct
import warnings
import zipfile
import zlib
from pathlib import Path

import ruamel.yaml
import safetensors
import safetensors.torch
import torch
from huggingface_hub import hf_hub_download
from huggingface_hub.errors import (
    EntryNotFoundError,
    HfHubHTTPError,
    HFValidationError,
)
from hyperpyyaml import resolve_references
from speechbrain.inference.interfaces import Pretrained
from speechbrain.utils.run_opts import HELP_TEXTS

from spatial_brain.atomic import atomic_path
from spatial_brain.dataio.audio import read_audio
from spatial_brain.inference.safe_yaml import (
    MAX_LENGTH,
    check_tags,
    load_safe_yaml,
)

MARKER = "source.json"
HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")
# The first that exists is loaded; .ckpt and .pt may hold nothing but tensors.
WEIGHT_SUFFIXES = (".safetensors", ".ckpt", ".pt")
# Instead of the weights of ``model``: what differs from those of another.
ADAPTERS_FILE = "adapters.safetensors"
# More than any model's sampling rate or classes, and sources or microphones.
MAX_COUNT = 1_000_000
MAX_SIGNALS = 1_000
MAX_LENGTH_OF_WINDOW = 3600  # s
_REPEATED = 1 << 26  # bytes
_NOT_FINITE = (
    "holds NaN or infinite values: the training went wrong, or the file is "
    "damaged"
)


class _ModelSource:
    """Gives the files of one model in a folder, in that of a run, or a hub."""

    def __init__(self, source, hparams_file, savedir=None, fetch_config=None):
        self.name = os.fspath(source)
        self.config = fetch_config
        self.folder = _local_folder(self.name, hparams_file)
        self.revision = getattr(fetch_config, "revision", None)
        self.savedir = None if savedir is None else Path(savedir)
        if self.savedir is not None and self.savedir != self.folder:
            self._claim_savedir(hparams_file)

    def get(self, filename):
        """Path of a file of the model, fetched if necessary, or None."""
        kept = None if self.savedir is None else self.savedir / filename
        if self.folder is not None:
            path = self.folder / filename
            if not path.is_file():
                return None
        elif kept is not None and kept.is_file() and not self._refresh():
            return kept
        else:
            path = self._download(filename)
        if path is None or kept is None or path.absolute() == kept.absolute():
            return path
        with atomic_path(kept) as temporary:
            shutil.copyfile(path, temporary)
        return kept

    def _refresh(self):
        """Whether copies of an earlier call may be out of date."""
        return self.config is not None and (
            self.config.overwrite or self.config.allow_updates
        )

    def _download(self, filename):
        """Fetch a file from the hub; None if the repository lacks it."""
        config = self.config
        try:
            return Path(
                hf_hub_download(
                    self.name,
                    filename,
                    revision=self.revision,
                    token=config.token if config else None,
                    cache_dir=config.huggingface_cache_dir if config else None,
                    local_files_only=bool(config and not config.allow_network),
                )
            )
        except (HfHubHTTPError, HFValidationError, OSError) as error:
            # A missing file and an unreachable hub share one base class.
            if isinstance(error, EntryNotFoundError) and isinstance(
                error, HfHubHTTPError
            ):
                return None
            reason = str(error).strip().splitlines()[0]
            raise FileNotFoundError(
                f"there is no folder '{self.name}' here ({Path.cwd()}), and "
                f"as a hub id it failed: {type(error).__name__}: {reason}"
            ) from error

    def _claim_savedir(self, hparams_file):
        """Mark ``savedir`` as this model's; refuse that of another model."""
        where = self.name if self.folder is None else str(self.folder.resolve())
        mine = {"source": where, "revision": self.revision}
        marker = self.savedir / MARKER
        if marker.is_file():
            found = json.loads(marker.read_text(encoding="utf-8"))
        elif (self.savedir / hparams_file).exists():
            found = {"source": "an unknown source"}
        else:
            found = mine
        if found != mine:
            raise ValueError(
                f"savedir '{self.savedir}' holds another model, from "
                f"{found.get('source')} (revision {found.get('revision')}), "
                f"not from {where} (revision {self.revision}). Use one "
                "savedir per model, or remove that folder"
            )
        with atomic_path(marker) as temporary:
            temporary.write_text(json.dumps(mine) + "\n", encoding="utf-8")


def _read_text(path):
    """Text of a YAML file, which is not read if it is no such thing."""
    # Four bytes a character at most.
    if path.stat().st_size > 4 * MAX_LENGTH:
        raise ValueError(
            f"{path}: {path.stat().st_size:,} bytes are more than a model's "
            "description has"
        )
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{path} is no text in UTF-8 ({error.reason} at byte "
            f"{error.start}); copy it again"
        ) from error


def _local_folder(name, hparams_file):
    """Folder of a local model; None if the name is to be a hub id."""
    path = Path(name).expanduser()
    if path.is_dir():
        # A run's own hyper-parameters have the same name: look deeper first.
        for folder in (path / "pretrained", path):
            if (folder / hparams_file).is_file():
                return folder
        raise FileNotFoundError(
            errno.ENOENT,
            f"no {hparams_file} in this folder nor in its sub-folder "
            "pretrained/ (a run writes it when the training has ended)",
            str(path),
        )
    if name.startswith(("http:", "https:")):
        raise ValueError(
            f"{name} is a web address: give a folder or a hub id "
            "(organisation/name)"
        )
    # organisation/name may also be a relative path; then its parent exists.
    if HUB_ID.fullmatch(name) and not path.parent.is_dir():
        return None
    raise FileNotFoundError(
        f"no such folder: {path} (wanted a pretrained model with "
        f"{hparams_file}, looked for from {Path.cwd()})"
    )


def unwrap(module):
    """Strip the wrappers of distributed and of compiled modules.

    Arguments
    ---------
    module : torch.nn.Module
        Possibly a ``DistributedDataParallel``, a ``DataParallel`` or what
        ``torch.compile`` returns.

    Returns
    -------
    torch.nn.Module
        The module inside.

    Example
    -------
    >>> unwrap(torch.nn.DataParallel(torch.nn.Linear(1, 2)))
    Linear(in_features=1, out_features=2, bias=True)
    """
    wrappers = (
        torch.nn.DataParallel,
        torch.nn.parallel.DistributedDataParallel,
    )
    while True:
        if isinstance(module, wrappers):
            module = module.module
        elif hasattr(module, "_orig_mod"):
            module = module._orig_mod
        else:
            return module


def find_weights(source):
    """File with the weights of the module ``model``.

    Arguments
    ---------
    source : str or Path
        The file itself; a pretrained folder, the output folder of a run, or a
        hub id.

    Returns
    -------
    Path
        The file here, fetched if necessary.

    Raises
    ------
    FileNotFoundError
        If there is no such file or folder, or no weights in it.

    Example
    -------
    >>> folder = getfixture("tmp_path")
    >>> (folder / "hyperparams.yaml").touch()
    >>> torch.save({"weight": torch.ones(2)}, folder / "model.ckpt")
    >>> find_weights(folder).name
    'model.ckpt'
    """
    if Path(source).is_file():
        return Path(source)
    origin = _ModelSource(source, "hyperparams.yaml")
    names = [f"model{suffix}" for suffix in WEIGHT_SUFFIXES]
    for name in names:
        path = origin.get(name)
        if path is not None:
            return path
    raise FileNotFoundError(
        f"'{source}' has no weights of a network; wanted " + " or ".join(names)
    )


def read_weights(path, entries=()):
    """Read a state dict; the file can run no code.

    Arguments
    ---------
    path : str or Path
        A ``.safetensors`` file, or one of ``torch.save`` that holds a plain
        dictionary of tensors.
    entries : sequence of str
        Names under which a training checkpoint may keep that dictionary.

    Returns
    -------
    dict of torch.Tensor
        Tensors by name, on the CPU.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it is damaged or holds anything else than tensors.

    Example
    -------
    >>> path = getfixture("tmp_path") / "model.pt"
    >>> torch.save({"weight": torch.ones(2)}, path)
    >>> read_weights(path)
    {'weight': tensor([1., 1.])}
    """
    path = Path(path)
    if not path.is_file():
        other = " (what is there is no file)" if os.path.lexists(path) else ""
        raise FileNotFoundError(f"no such weights file: {path}{other}")
    _check_weights_file(path)
    try:
        if path.suffix == ".safetensors":
            tensors = safetensors.torch.load_file(path)
        else:
            with warnings.catch_warnings():
                # PyTorch's notes on the file are no concern of a user.
                warnings.simplefilter("ignore")
                tensors = torch.load(path, "cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise ValueError(
            f"{path}: holds more than tensors, and loading it could run code; "
            "it is refused. Save model.state_dict() alone and use that file"
        ) from error
    # Whatever a damaged file provokes in the readers is its fault.
    except Exception as error:
        raise ValueError(
            f"{path}: cannot be read as weights ({type(error).__name__}: "
            f"{str(error).partition(chr(10))[0]:.200}); copy it again"
        ) from error
    for entry in entries:
        if isinstance(tensors, dict) and isinstance(tensors.get(entry), dict):
            tensors = tensors[entry]
    if not isinstance(tensors, dict) or not all(
        isinstance(name, str) and isinstance(value, torch.Tensor)
        for name, value in tensors.items()
    ):
        raise ValueError(
            f"{path}: expected a plain state dict (name: tensor), found "
            + _contents(tensors)
        )
    _check_tensors(tensors, path)
    return dict(tensors)


def _check_tensors(tensors, path):
    """Refuse tensors that are not plain, or larger than their file."""
    size, storages = path.stat().st_size, {}
    for name, tensor in tensors.items():
        _check_layout(name, tensor, path)
        storage = tensor.untyped_storage()
        storages[storage.data_ptr()] = storage.nbytes()
        # A small tensor may be kept as one value and repeated.
        if tensor.nbytes > max(storage.nbytes(), _REPEATED):
            raise ValueError(
                f"{path}: {_shown(name)} of {list(tensor.shape)} claims more "
                "values than the file holds; save tensors with .contiguous()"
            )
    if sum(storages.values()) > size:
        raise ValueError(
            f"{path}: its tensors would be larger than the file; it is damaged "
            "or made to fill the memory"
        )


def _check_layout(name, tensor, path):
    """Refuse what is no plain dense tensor on the CPU."""
    if (
        tensor.layout is not torch.strided
        or tensor.is_quantized
        or tensor.is_nested
        or tensor.device.type != "cpu"
        or (tensor.is_floating_point() and tensor.element_size() < 2)
    ):
        raise ValueError(
            f"{path}: {_shown(name)} is no plain dense tensor; save "
            "model.state_dict() of a network that is neither sparse nor "
            "quantized"
        )


def _check_weights_file(path):
    """Refuse what is no weights file, by what it is."""
    with open(path, "rb") as file:
        head = file.read(512)
    found, text = None, head.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    with open(path, "rb") as file:
        # The one thing that PyTorch's reader makes as large as it is asked.
        grows = head and _find_bytes(file, b"bytearray")
    if not head:
        found = "an empty file"
    elif grows and path.suffix != ".safetensors":
        found = "no file of tensors alone: it asks for a bytearray"
    elif text.startswith(b"version https://git-lfs"):
        found = (
            "the pointer of a large file, not the file: fetch it with "
            "'git lfs pull'"
        )
    elif text.startswith((b"<!", b"<html", b"<head", b"<?xml")):
        found = "a web page, not the file: download it again"
    elif path.suffix == ".safetensors":
        # Length of the header, then a JSON object.
        size = int.from_bytes(head[:8], "little")
        if len(head) < 9 or head[8:9] != b"{" or size > path.stat().st_size:
            found = "no safetensors file, or a damaged one: copy it again"
    elif head.startswith(b"PK"):
        found = _fault_of_archive(path)
    elif head[:1] != b"\x80":
        found = "no file of torch.save: give the file with the weights"
    if found:
        raise ValueError(f"{path}: this is {found}")


def _find_bytes(file, content):
    """Whether an open file, which is not empty, holds some bytes."""
    with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
        return mapped.find(content) >= 0


def _fault_of_archive(path):
    """What is wrong with a file of torch.save, if anything."""
    damaged = "a damaged or cut archive of torch.save: copy it again"
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
            fault = _fault_of_entries(entries, path.stat().st_size)
            if fault is None and archive.testzip() is not None:
                return damaged + " (a checksum in it is wrong)"
            return fault
    # What the module raises for damage of one kind or the other.
    except (
        zipfile.BadZipFile,
        zlib.error,
        ValueError,
        OSError,
        EOFError,
        RuntimeError,
        NotImplementedError,
        struct.error,
    ):
        return damaged


def _fault_of_entries(entries, size):
    """What is wrong with what an archive lists, if anything."""
    names = {entry.filename.split("/", 1)[-1] for entry in entries}
    if "constants.pkl" in names:
        return (
            "a TorchScript program, which is code; save model.state_dict() "
            "alone and use that file"
        )
    if "data.pkl" not in names:
        return "an archive of something else than tensors"
    # torch.save does not compress; what is compressed may grow without end.
    if any(entry.compress_type for entry in entries) or (
        sum(entry.file_size for entry in entries) > size
    ):
        return "a compressed archive, which torch.save does not write"
    return None


def _contents(found):
    """Describe what a file holds instead of a state dict."""
    if not isinstance(found, dict):
        return type(found).__name__
    keys = ", ".join(_shown(key) for key in list(found)[:5])
    return f"a dictionary with {keys or 'nothing in it'}"


def _shown(name):
    """A name in a message: short, and without what a terminal would obey."""
    text = "".join(c if c.isprintable() else "?" for c in str(name))
    return text if len(text) <= 80 else f"{text[:77]}..."


def load_weights(module, tensors, path):
    """Put a state dict into a module, strictly.

    Arguments
    ---------
    module : torch.nn.Module
        Receives the tensors.
    tensors : dict of torch.Tensor
        State dict.
    path : str or Path
        Where it came from, for error messages.

    Raises
    ------
    ValueError
        If names are missing or unexpected, shapes or kinds of numbers differ,
        or values are not finite; they are named.

    Example
    -------
    >>> load_weights(torch.nn.Linear(1, 1), {"bias": torch.ones(1)}, "a.pt")
    Traceback (most recent call last):
    ...
    ValueError: a.pt does not fit Linear: missing: weight
    """
    own = module.state_dict()
    shapes = [
        f"{name} is {list(tensors[name].shape)} but should be "
        f"{list(own[name].shape)}"
        for name in own
        if name in tensors and tensors[name].shape != own[name].shape
    ]
    problems = {
        "missing": [name for name in own if name not in tensors],
        "unexpected": [name for name in tensors if name not in own],
        "other shape": shapes,
    }
    if any(problems.values()):
        found = "; ".join(
            f"{kind}: {_first(names)}"
            for kind, names in problems.items()
            if names
        )
        raise ValueError(
            f"{path} does not fit {type(module).__name__}: {found}"
        )
    for name, tensor in tensors.items():
        _check_values(name, tensor, own[name], path)
    module.load_state_dict(tensors)


def _check_values(name, tensor, own, path):
    """Refuse numbers of another kind, and what is no number."""
    _check_layout(name, tensor, path)
    real, own_real = tensor.is_floating_point(), own.is_floating_point()
    if real != own_real or (
        not real and tensor.is_complex() != own.is_complex()
    ):
        raise ValueError(
            f"{path}: {name} holds {tensor.dtype} where the network has "
            f"{own.dtype}; quantized weights are not supported"
        )
    # Masks of attention may hold infinities, in a new network too.
    if not tensor.isfinite().all() and not torch.equal(tensor.to(own), own):
        raise ValueError(f"{path}: {name} {_NOT_FINITE}")


def check_finite(tensors, path):
    """Refuse weights that are no numbers.

    Arguments
    ---------
    tensors : dict of torch.Tensor
        State dict, as ``read_weights`` gives it.
    path : str or Path
        Where it came from, for the error message.

    Raises
    ------
    ValueError
        If a value is NaN or infinite; the tensor is named.

    Example
    -------
    >>> check_finite({"weight": torch.tensor([0.0, torch.nan])}, "a.pt")
    Traceback (most recent call last):
    ...
    ValueError: a.pt: weight holds NaN or infinite values: the training ...
    """
    for name, tensor in tensors.items():
        if not tensor.isfinite().all():
            raise ValueError(f"{path}: {_shown(name)} {_NOT_FINITE}")


def _first(names, count=5):
    """The first names of a list and how many follow."""
    more = f" and {len(names) - count} more" if len(names) > count else ""
    return ", ".join(map(_shown, names[:count])) + more


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
        entries there, such as losses, are left out.
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
    subset = _subset(hparams_text, keys, modules, extra or {})
    for name, module in modules.items():
        _save_weights(folder / f"{name}.safetensors", module)
    _write_hparams(folder, subset)
    return folder


def save_hparams(folder, hparams_text, keys, modules, extra=None):
    """Write the hyper-parameters of a pretrained folder alone.

    Arguments
    ---------
    folder : str or Path
        Made if it is missing.
    hparams_text, keys
        As for ``save_pretrained``.
    modules : sequence of str
        Names of the modules to keep.
    extra : dict, optional
        As for ``save_pretrained``.

    Returns
    -------
    Path
        The folder.

    Raises
    ------
    ValueError
        As ``save_pretrained``.

    Example
    -------
    >>> text = "modules: {net: !new:torch.nn.Linear [2, 1]}\\nsize: 2"
    >>> path = save_hparams(getfixture("tmp_path"), text, ["size"], ["net"])
    >>> [file.name for file in path.iterdir()]
    ['hyperparams.yaml']
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    _write_hparams(folder, _subset(hparams_text, keys, modules, extra or {}))
    return folder


def _subset(hparams_text, keys, modules, extra):
    """YAML text of the keys and modules that an inference needs."""
    yaml = ruamel.yaml.YAML()
    run = yaml.load(resolve_references(hparams_text).getvalue())
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
    check_tags(stream.getvalue(), "the pretrained subset")
    return stream.getvalue()


def _write_hparams(folder, text):
    """Write the YAML file of a pretrained folder."""
    with atomic_path(folder / "hyperparams.yaml") as temporary:
        temporary.write_text(text, encoding="utf-8")


def _save_weights(path, module):
    """Write the state dict of a module, without wrappers, as safetensors."""
    # A clone each: safetensors refuses tensors that share memory.
    tensors = {
        name: tensor.detach().cpu().contiguous().clone()
        for name, tensor in unwrap(module).state_dict().items()
    }
    with atomic_path(path) as temporary:
        safetensors.torch.save_file(tensors, temporary)


def _require(what, names, mapping):
    """Raise ValueError if names are not in a mapping."""
    missing = [name for name in names if name not in mapping]
    if missing:
        raise ValueError(
            f"{what} not in the hyper-parameters: {', '.join(missing)}; "
            f"there are: {', '.join(mapping)}"
        )


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
            are missing, or weights do not fit; with file and name.

        Example
        -------
        >>> PretrainedModel.from_hparams("./nowhere")
        Traceback (most recent call last):
        ...
        FileNotFoundError: no such folder: nowhere (wanted a pretrained ...
        """
        origin = _ModelSource(source, hparams_file, savedir, fetch_config)
        path = origin.get(hparams_file)
        if path is None:
            raise FileNotFoundError(
                f"'{source}' has no {hparams_file}: it is no pretrained model "
                "of this package"
            )
        hparams = load_safe_yaml(
            _read_text(path),
            str(path),
            overrides,
            overrides_must_match,
            allowed,
        )
        cls._check_hparams(hparams, path)
        for name, module in hparams["modules"].items():
            if not name.isidentifier():
                raise ValueError(
                    f"{path}: {_shown(name)!r} is no name for a module, which "
                    "is that of a file beside it"
                )
            weights = cls._weights_file(origin, name)
            load_weights(module, read_weights(weights), weights)
        try:
            return cls(
                modules=hparams["modules"],
                hparams=hparams,
                run_opts=run_opts,
                freeze_params=freeze_params,
            )
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from error

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
        keys = ["modules", *cls.HPARAMS_NEEDED]
        try:
            _require(f"{path}: keys", keys, hparams)
            _check_kinds(hparams, path)
            _require(f"{path}: modules", cls.MODULES_NEEDED, hparams["modules"])
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
