"""Fine-tuned SELD networks as what differs from the weights they began with.

A folder with ``hyperparams.yaml`` and ``adapters.safetensors``: trained
parameters, running statistics and heads, a few megabytes. The weights that the
training began with are identified by a checksum of their values, so that a
released file and its converted folder are the same.
"""

import hashlib
from pathlib import Path
from typing import NamedTuple

import safetensors
import safetensors.torch
import torch

from spatial_brain.atomic import atomic_path
from spatial_brain.inference.convert.pseldnets import read_network_weights
from spatial_brain.inference.pretrained import (
    ADAPTERS_FILE,
    load_weights,
    read_weights,
    save_hparams,
    save_pretrained,
    unwrap,
    write_card,
)
from spatial_brain.inference.pretrained.card import CARD_FILE, find_card
from spatial_brain.inference.pretrained.safe_yaml import load_safe_yaml
from spatial_brain.models.adaptation import trained_entries
from spatial_brain.models.transfer import CONSTANTS, Transfer, initialize

HPARAMS_FILE = "hyperparams.yaml"


class Beginning(NamedTuple):
    """The weights that a training began with.

    Arguments
    ---------
    name : str
        File or folder, for messages.
    checksum : str
        See ``checksum``.
    keep_head : bool
        Whether heads with classes were taken over.
    transfer : spatial_brain.models.transfer.Transfer
        What was copied.
    """

    name: str
    checksum: str
    keep_head: bool
    transfer: Transfer


def checksum(tensors):
    """SHA-256 of names, kinds, shapes and values, in the order of the names.

    Arguments
    ---------
    tensors : dict of torch.Tensor
        Weights by name; tables that networks compute do not count.

    Returns
    -------
    str
        64 hexadecimal digits.

    Example
    -------
    >>> one, two = {"a": torch.ones(2)}, {"a": torch.tensor([1.0, 1.5])}
    >>> checksum(one) == checksum({"a": torch.ones(2)})
    True
    >>> checksum(one) == checksum(two)
    False
    """
    digest = hashlib.sha256()
    for name in sorted(tensors):
        if name.rsplit(".", 1)[-1] in CONSTANTS:
            continue
        tensor = tensors[name]
        digest.update(f"{name} {tensor.dtype} {list(tensor.shape)}".encode())
        values = tensor.detach().cpu().contiguous().reshape(-1)
        digest.update(values.view(torch.uint8).numpy())
    return digest.hexdigest()


def begin(model, source, keep_head=False):
    """Set the weights of a network as far as those of another fit.

    Arguments
    ---------
    model : torch.nn.Module
        A ``SELDNetwork``; changed in place.
    source : str or Path
        See ``read_network_weights``.
    keep_head : bool
        Whether to take over heads with classes.

    Returns
    -------
    Beginning

    Raises
    ------
    FileNotFoundError
        If there is no such file or folder.
    ValueError
        If it holds no weights of a network that is known, they do not fit, or
        are not finite; file and entry are named.

    Example
    -------
    >>> from spatial_brain.models.seld import SELDNetwork
    >>> path = getfixture("tmp_path") / "model.safetensors"
    >>> safetensors.torch.save_file(
    ...     SELDNetwork("crnn", "accdoa", 2).state_dict(), path)
    >>> begin(SELDNetwork("crnn", "accdoa", 3), path).transfer.left
    ['heads.accdoa.weight', 'heads.accdoa.bias']
    """
    tensors = read_network_weights(source)
    try:
        transfer = initialize(model, tensors, keep_head=keep_head)
    except ValueError as error:
        raise ValueError(f"{source}: {error}") from error
    return Beginning(str(source), checksum(tensors), keep_head, transfer)


def save_adapters(folder, hparams_text, keys, model, beginning, extra=None):
    """Write what training made of the weights that it began with.

    Arguments
    ---------
    folder : str or Path
        Usually ``<output_folder>/pretrained``; made if it is missing.
    hparams_text, keys
        As for ``save_pretrained``.
    model : torch.nn.Module
        The trained ``SELDNetwork``, wrapped or not.
    beginning : Beginning
        What ``begin`` gave for it.
    extra : dict, optional
        As for ``save_pretrained``.

    Returns
    -------
    Path
        The folder.

    Example
    -------
    >>> from spatial_brain.models.seld import SELDNetwork
    >>> folder = getfixture("tmp_path")
    >>> base = folder / "base.safetensors"
    >>> safetensors.torch.save_file(
    ...     SELDNetwork("crnn", "accdoa", 2).state_dict(), base)
    >>> text = "modules: {model: !new:spatial_brain.models.seld.SELDNetwork "
    >>> text += "{backbone: crnn, method: accdoa, num_classes: 3}}"
    >>> network = SELDNetwork("crnn", "accdoa", 3, adapter="bias")
    >>> path = save_adapters(
    ...     folder / "small", text, [], network, begin(network, base))
    >>> sorted(file.name for file in path.iterdir())
    ['adapters.safetensors', 'hyperparams.yaml']
    >>> whole, entries, values = complete_adapters(path, folder / "out", base)
    >>> values == sum(p.numel() for p in network.parameters())
    True
    """
    network = unwrap(model).network
    state = network.state_dict()
    learnt = [
        name
        for name in beginning.transfer.left
        if name.rsplit(".", 1)[-1] not in CONSTANTS
    ]
    names = dict.fromkeys([*trained_entries(network), *learnt])
    tensors = {
        name: state[name].detach().cpu().contiguous().clone() for name in names
    }
    notes = {
        "base": Path(beginning.name).name,
        "base_sha256": beginning.checksum,
        "keep_head": str(beginning.keep_head),
    }
    folder = save_hparams(folder, hparams_text, keys, ["model"], extra)
    with atomic_path(folder / ADAPTERS_FILE) as temporary:
        safetensors.torch.save_file(tensors, temporary, metadata=notes)
    # Of an earlier test that saved everything.
    (folder / "model.safetensors").unlink(missing_ok=True)
    return folder


def complete_adapters(source, output, base):
    """Turn a folder with adapters into a pretrained folder.

    Arguments
    ---------
    source : str or Path
        Folder that ``save_adapters`` wrote, or the output folder of its run.
    output : str or Path
        Folder to write.
    base : str or Path
        The weights that the training began with, as a released file or a
        converted folder.

    Returns
    -------
    tuple
        Folder, number of entries taken from the adapters' file, number of
        parameters of the network.

    Raises
    ------
    FileNotFoundError
        If a file is missing.
    ValueError
        If the base is another one, or a file is damaged or does not fit.

    Example
    -------
    >>> complete_adapters("nowhere", "out", "base.ckpt")
    Traceback (most recent call last):
    ...
    FileNotFoundError: no adapters.safetensors in nowhere (wanted what a ...
    """
    path = _adapters_file(Path(source))
    tensors, notes = read_weights(path), _notes(path)
    hparams_path = path.with_name(HPARAMS_FILE)
    text = hparams_path.read_text(encoding="utf-8")
    hparams = load_safe_yaml(text, str(hparams_path))
    model = hparams["modules"]["model"]
    found = begin(model, base, keep_head=notes["keep_head"] == "True")
    if found.checksum != notes["base_sha256"]:
        raise ValueError(
            f"{base} is not what {path} was trained from: that is "
            f"{notes['base']} with the checksum {notes['base_sha256'][:16]}, "
            f"not {found.checksum[:16]}"
        )
    missing = [name for name in found.transfer.left if name not in tensors]
    if missing:
        raise ValueError(f"{path}: missing: {', '.join(missing[:5])}")
    whole = model.state_dict()
    whole.update((f"network.{name}", t) for name, t in tensors.items())
    load_weights(model, whole, path)
    keys = [key for key in hparams if key != "modules"]
    folder = save_pretrained(output, text, keys, {"model": model})
    card = find_card(path.with_name(CARD_FILE))
    if card is not None:
        write_card(folder, card)
    return folder, len(tensors), sum(p.numel() for p in model.parameters())


def _adapters_file(source):
    """The adapters' file in a folder, or in that of a run."""
    for folder in (source / "pretrained", source):
        if (folder / ADAPTERS_FILE).is_file():
            if not (folder / HPARAMS_FILE).is_file():
                raise FileNotFoundError(f"no {HPARAMS_FILE} in {folder}")
            return folder / ADAPTERS_FILE
    raise FileNotFoundError(
        f"no {ADAPTERS_FILE} in {source} (wanted what a training with "
        "--adapters_only True leaves)"
    )


def _notes(path):
    """What an adapters' file says about its base; the file can be read."""
    with safetensors.safe_open(path, "pt") as file:
        notes = file.metadata() or {}
    missing = [
        key for key in ("base", "base_sha256", "keep_head") if key not in notes
    ]
    if missing:
        raise ValueError(
            f"{path} does not say what it was trained from ({missing[0]} is "
            "missing); it is no file with adapters"
        )
    return notes
