"""Weights of a pretrained model: files that hold tensors and run nothing."""

import mmap
import os
import pickle
import struct
import warnings
import zipfile
import zlib
from pathlib import Path

import safetensors.torch
import torch

from spatial_brain.atomic import atomic_path

_REPEATED = 1 << 26  # bytes
_NOT_FINITE = (
    "holds NaN or infinite values: the training went wrong, or the file is "
    "damaged"
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
                f"{path}: {printable(name)} of {list(tensor.shape)} claims "
                "more values than the file holds; save tensors with "
                ".contiguous()"
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
            f"{path}: {printable(name)} is no plain dense tensor; save "
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
    keys = ", ".join(printable(key) for key in list(found)[:5])
    return f"a dictionary with {keys or 'nothing in it'}"


def printable(name):
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
            raise ValueError(f"{path}: {printable(name)} {_NOT_FINITE}")


def _first(names, count=5):
    """The first names of a list and how many follow."""
    more = f" and {len(names) - count} more" if len(names) > count else ""
    return ", ".join(map(printable, names[:count])) + more


def save_weights(path, module):
    """Write the state dict of a module, without wrappers, as safetensors."""
    # A clone each: safetensors refuses tensors that share memory.
    tensors = {
        name: tensor.detach().cpu().contiguous().clone()
        for name, tensor in unwrap(module).state_dict().items()
    }
    with atomic_path(path) as temporary:
        safetensors.torch.save_file(tensors, temporary)
