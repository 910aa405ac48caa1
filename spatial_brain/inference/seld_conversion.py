"""Released SELD networks and AudioSet weights to files of this package."""

import os
from pathlib import Path

import safetensors.torch

from spatial_brain.inference.pretrained import save_pretrained
from spatial_brain.inference.seld_checkpoints import read_checkpoint
from spatial_brain.inference.weights import load_weights
from spatial_brain.models.seld import SELDNetwork, output_sizes
from spatial_brain.models.seld_transfer import CONSTANTS

KNOWN_CLASSES = (12, 13, 14, 170)  # DCASE2021, STARSS23, L3DAS22, synthetic

PSELDNETS = """\
# PSELDNets, {backbone}, {method} (released weights).
modules:
  model: !new:spatial_brain.models.seld.SELDNetwork
    backbone: {backbone}
    method: {method}
    num_classes: {num_classes}
features: !new:spatial_brain.processing.seld_features.LogMelIntensity
  sample_rate: {sample_rate}
sample_rate: {sample_rate}  # Hz
array_format: foa  # W, Y, Z, X with SN3D gains
chunk_length: 10.0  # s
detection_hop: 10.0  # s
method: {method}
num_classes: {num_classes}
class_names: [{class_names}]
threshold: 0.5
"""


def infer_network(tensors, path):
    """Backbone, method and classes of a released network from its tensors.

    Arguments
    ---------
    tensors : dict of torch.Tensor
        Names of the inner networks.
    path : str or Path
        File they come from. Where the size of a head leaves ACCDOA and
        multi-ACCDOA open (36 classes or three times 12), the name of the
        file decides: it begins with ACCDOA or mACCDOA, as released.

    Returns
    -------
    tuple
        Backbone, method, number of classes.

    Raises
    ------
    ValueError
        If they belong to no released kind of network.

    Example
    -------
    >>> import torch
    >>> head = {"tscam_conv.weight": torch.zeros(1530, 768, 2, 3)}
    >>> infer_network(head, "mACCDOA-HTSAT-0.567.ckpt")
    ('htsat', 'multi_accdoa', 170)
    """

    def size(name):
        return tensors[name].shape[0] if name in tensors else 0

    if sed := size("sed_tscam_conv.weight"):
        two = "sed_encoder.norm.weight" in tensors
        return "htsat", "einv2" if two else "seddoa", sed // 3
    if sed := size("fc_sed.0.weight"):
        return "passt", "einv2", sed
    if sed := size("fc_sed_track1.weight"):
        return "cnn14_conformer", "einv2", sed
    if outputs := size("tscam_conv.weight"):
        return "htsat", *_vector_method(outputs, Path(path))
    if outputs := size("fc.weight"):
        passt = "encoder.cls_token" in tensors
        backbone = "passt" if passt else "cnn14_conformer"
        return backbone, *_vector_method(outputs, Path(path))
    raise ValueError(
        f"{path} has none of the output layers of a released network "
        "(tscam_conv, sed_tscam_conv, fc, fc_sed)"
    )


def _vector_method(outputs, path):
    """ACCDOA or multi-ACCDOA, and the classes, from the size of a head."""
    fits = {
        method: outputs // per_class
        for method, per_class in (
            (method, output_sizes(method, 1)[method])
            for method in ("accdoa", "multi_accdoa")
        )
        if outputs % per_class == 0
    }
    name = path.name.lower().replace("_", "")
    if "maccdoa" in name or "multiaccdoa" in name:
        named = "multi_accdoa"
    else:
        named = "accdoa" if "accdoa" in name else None
    if named in fits:
        return named, fits[named]
    likely = [m for m, count in fits.items() if count in KNOWN_CLASSES]
    for candidates in (list(fits), likely):
        if len(candidates) == 1:
            return candidates[0], fits[candidates[0]]
    raise ValueError(
        f"{path}: {outputs} outputs fit no method, or two ({fits}); let the "
        "name of the file begin with ACCDOA- or mACCDOA-"
    )


def convert_pseldnets(checkpoint, output):
    """Turn a released network into a pretrained folder.

    Arguments
    ---------
    checkpoint : Path
        Released file, or a training checkpoint of that system that holds
        tensors only.
    output : Path
        Folder to write.

    Returns
    -------
    tuple
        Folder, number of entries, number of parameters.

    Raises
    ------
    ValueError
        If names are missing or unexpected or shapes differ; they are named.

    Example
    -------
    >>> convert_pseldnets(Path("nothing.ckpt"), Path("pretrained"))
    Traceback (most recent call last):
    ...
    FileNotFoundError: no such weights file: nothing.ckpt
    """
    found = _expect("pseldnets", checkpoint)
    backbone, method, num_classes = infer_network(found.tensors, checkpoint)
    model = SELDNetwork(backbone, method, num_classes)
    own = model.network.state_dict()
    # Tables that a network here computes may stand in the file.
    tensors = {
        name: tensor
        for name, tensor in found.tensors.items()
        if name in own or name.rsplit(".", 1)[-1] not in CONSTANTS
    }
    load_weights(model.network, tensors, checkpoint)
    text = PSELDNETS.format(
        backbone=backbone,
        method=method,
        num_classes=num_classes,
        sample_rate=found.sample_rate,
        class_names=", ".join(f"class {n}" for n in range(num_classes)),
    )
    keys = [line.split(":")[0] for line in text.splitlines() if line[0] != " "]
    keys = [key for key in keys if key != "modules" and key[0] != "#"]
    folder = save_pretrained(output, text, keys, {"model": model})
    parameters = sum(p.numel() for p in model.parameters())
    return folder, len(tensors), parameters


def convert_audioset(format, checkpoint, output):
    """Write AudioSet weights as a safetensors file to begin trainings from.

    Arguments
    ---------
    format : str
        One of ``AUDIOSET``.
    checkpoint : Path
        File as its authors publish it.
    output : Path
        Name of a ``.safetensors`` file, or a folder to put
        ``<format>.safetensors`` in.

    Returns
    -------
    tuple
        File, number of entries, number of values.

    Raises
    ------
    ValueError
        If the checkpoint is one of another system.

    Example
    -------
    >>> import torch
    >>> folder = getfixture("tmp_path")
    >>> state = {"conv_block1.bn1.bias": torch.zeros(64)}
    >>> torch.save({"model": state}, folder / "Cnn14.pth")
    >>> path, entries, values = convert_audioset(
    ...     "cnn14-audioset", folder / "Cnn14.pth", folder / "out")
    >>> path.name, entries, values
    ('cnn14-audioset.safetensors', 1, 64)
    """
    tensors = {
        name: tensor.contiguous().clone()
        for name, tensor in _expect(format, checkpoint).tensors.items()
    }
    path = output
    if path.suffix != ".safetensors":
        path = output / f"{format}.safetensors"
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        safetensors.torch.save_file(tensors, temporary)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    return path, len(tensors), sum(t.numel() for t in tensors.values())


def _expect(format, path):
    """Read a checkpoint that should be of a format."""
    found = read_checkpoint(path)
    if found.format != format:
        raise ValueError(
            f"{path} is of the format {found.format}, not {format}"
        )
    return found
