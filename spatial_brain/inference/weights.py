"""Tensor-only weights files: written whole, loaded without surprises."""

import os
import pickle
from pathlib import Path

import safetensors
import safetensors.torch
import torch

# The first that exists is loaded; .ckpt and .pt may hold nothing but tensors.
WEIGHT_SUFFIXES = (".safetensors", ".ckpt", ".pt")


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


def save_weights(path, module):
    """Write the state dict of a module as safetensors.

    Arguments
    ---------
    path : str or Path
        File to write; it appears complete or not at all.
    module : torch.nn.Module
        Parameters and buffers are written, wrappers are not.

    Example
    -------
    >>> path = getfixture("tmp_path") / "model.safetensors"
    >>> save_weights(path, torch.nn.Linear(1, 2))
    >>> sorted(read_weights(path))
    ['bias', 'weight']
    """
    path = Path(path)
    # A clone each: safetensors refuses tensors that share memory.
    tensors = {
        name: tensor.detach().cpu().contiguous().clone()
        for name, tensor in unwrap(module).state_dict().items()
    }
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        safetensors.torch.save_file(tensors, temporary)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def read_weights(path):
    """Read a state dict; the file can run no code.

    Arguments
    ---------
    path : str or Path
        A ``.safetensors`` file, or one of ``torch.save`` that holds a plain
        dictionary of tensors.

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
        raise FileNotFoundError(f"no such weights file: {path}")
    try:
        if path.suffix == ".safetensors":
            return safetensors.torch.load_file(path)
        tensors = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise ValueError(
            f"{path}: holds more than tensors, and loading it could run code; "
            "it is refused. Save model.state_dict() alone and use that file"
        ) from error
    except (safetensors.SafetensorError, RuntimeError, EOFError) as error:
        raise ValueError(
            f"{path}: cannot be read as weights ({error}); copy it again"
        ) from error
    if not isinstance(tensors, dict) or not all(
        isinstance(value, torch.Tensor) for value in tensors.values()
    ):
        raise ValueError(
            f"{path}: expected a plain state dict (name: tensor), found "
            + _contents(tensors)
        )
    return tensors


def _contents(found):
    """Describe what a file holds instead of a state dict."""
    if not isinstance(found, dict):
        return type(found).__name__
    keys = ", ".join(str(key) for key in list(found)[:5])
    return f"a dictionary with {keys}"


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
        If names are missing or unexpected or shapes differ; they are named.

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
        told = [
            f"{kind}: {_first(names)}"
            for kind, names in problems.items()
            if names
        ]
        raise ValueError(
            f"{path} does not fit {type(module).__name__}: " + "; ".join(told)
        )
    module.load_state_dict(tensors)


def _first(names, count=5):
    """The first names of a list and how many follow."""
    more = f" and {len(names) - count} more" if len(names) > count else ""
    return ", ".join(names[:count]) + more
