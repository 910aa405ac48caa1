"""Released SELD networks and AudioSet weights to files of this package.

Read here are the released networks of PSELDNets (Jinbo-Hu/PSELDNets), the
AudioSet weights of HTS-AT (RetroCirce/HTS-Audio-Transformer), PaSST
(kkoutini/PaSST) and CNN14 (qiuqiangkong/audioset_tagging_cnn), and this
package's own files; names become those of ``spatial_brain.models``.
"""

import logging
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import safetensors.torch
import torch

from spatial_brain.atomic import atomic_path
from spatial_brain.inference.pretrained import (
    check_finite,
    find_weights,
    load_weights,
    read_weights,
    save_pretrained,
)
from spatial_brain.models.seld import SELDNetwork, output_sizes
from spatial_brain.models.transfer import CONSTANTS, initialize

logger = logging.getLogger(__name__)

# Format -> the backbone whose weights it is.
AUDIOSET = {
    "htsat-audioset": "htsat",
    "passt-audioset": "passt",
    "cnn14-audioset": "cnn14_conformer",
}
ENTRIES = ("state_dict", "model")  # where checkpoints keep their tensors
# Not part of the networks: waveform front ends and AudioSet classes.
DROPPED = (
    "af_extractor.",
    "spectrogram_extractor.",
    "logmel_extractor.",
    "tscam_conv.",
    "head.weight",
    "head.bias",
    "head.1.",
    "head_dist.",
    "fc1.",
    "fc_audioset.",
)
FILTER_BANK = "af_extractor.mel_scale.fb"
SAMPLE_RATES = (16000, 24000, 32000, 44100, 48000)
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


class _Checkpoint(NamedTuple):
    """Whose tensors a file holds, and the sampling rate of its network, Hz."""

    format: str
    tensors: dict
    sample_rate: int


def read_network_weights(source):
    """Weights to begin a training from, with this package's names.

    Arguments
    ---------
    source : str or Path
        File of a released network, of AudioSet weights (as published or
        converted), of this package; or a pretrained folder, the output
        folder of a run, or a hub id of such.

    Returns
    -------
    dict of torch.Tensor
        For ``spatial_brain.models.transfer.initialize``.

    Raises
    ------
    FileNotFoundError
        If there is no such file or folder.
    ValueError
        If it holds other things than tensors, or of no known network.

    Example
    -------
    >>> import torch
    >>> path = getfixture("tmp_path") / "initial.safetensors"
    >>> tensors = {"bn0.weight": torch.ones(64), "encoder.a": torch.ones(1)}
    >>> safetensors.torch.save_file(tensors, path)
    >>> sorted(read_network_weights(path))
    ['bn0.weight', 'encoder.a']
    """
    return _read_checkpoint(find_weights(source)).tensors


def _read_checkpoint(path):
    """Read a file of any of the systems and find out whose it is."""
    raw = read_weights(path, ENTRIES)
    check_finite(raw, path)
    sample_rate = _sample_rate(raw.get(FILTER_BANK), path)
    # Layout by layout: what marks it, what is stripped, what is put before.
    for format, mark, stripped, prefix in (
        ("pseldnets", "net.", ("net.", "_orig_mod."), ""),
        ("spatial_brain", "network.", ("network.",), ""),
        ("htsat-audioset", "sed_model.", ("sed_model.",), "encoder."),
        ("passt-audioset", "time_new_pos_embed", (), "encoder."),
        ("cnn14-audioset", "conv_block1.", (), "convs."),
    ):
        if not any(name.startswith(mark) for name in raw):
            continue
        tensors, ignored = {}, Counter()
        dropped = DROPPED if format in AUDIOSET else DROPPED[:1]
        for name, tensor in raw.items():
            for part in stripped:
                name = name.removeprefix(part)
            if name.startswith(dropped):
                ignored[name.partition(".")[0]] += 1
                continue
            tensors[name if name.startswith("bn0.") else prefix + name] = tensor
        logger.info(
            "%s: %s, %d entries; ignored, for they are no part of a SELD "
            "encoder: %s",
            path,
            format,
            len(tensors),
            ", ".join(f"{part} ({n})" for part, n in ignored.items())
            or "nothing",
        )
        return _Checkpoint(format, tensors, sample_rate)
    if any(name.startswith(("encoder.", "convs.")) for name in raw):
        return _Checkpoint("spatial_brain", raw, sample_rate)
    raise ValueError(
        f"{path} holds no SELD or AudioSet network that is known here; its "
        f"entries begin with {', '.join(list(raw)[:5])}"
    )


def _sample_rate(bank, path):
    """Sampling rate that a stored mel filter bank was made for, Hz.

    Slaney's normalisation gives every band unit area over frequency, so its
    sum over bins is n_fft / fs; wide bands are sampled well.
    """
    if bank is None:
        return 24000
    if bank.ndim != 2 or 0 in bank.shape or not bank.is_floating_point():
        raise ValueError(
            f"{path}: {FILTER_BANK} is {list(bank.shape)} of {bank.dtype}, no "
            "bank of filters [bin, band]; the file is damaged"
        )
    n_fft = 2 * (bank.shape[0] - 1)
    estimate = n_fft / bank[:, -16:].double().sum(0).mean().item()
    return min(SAMPLE_RATES, key=lambda fs: abs(fs - estimate))


def _infer_network(tensors, path):
    """Backbone, method and number of classes of a released network."""

    def size(name):
        shape = tensors[name].shape if name in tensors else ()
        return shape[0] if shape else 0

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
    """ACCDOA or multi-ACCDOA, and the classes, from the size of a head.

    Where 36 outputs are as many classes or three tracks of 12, the name of
    the file decides: it begins with ACCDOA or mACCDOA, as released.
    """
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
    backbone, method, num_classes = _infer_network(found.tensors, checkpoint)
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
        If the checkpoint is one of another system, or does not fit the
        backbone.

    Example
    -------
    >>> folder = getfixture("tmp_path")
    >>> state = {"conv_block1.bn1.bias": torch.zeros(64)}
    >>> torch.save({"model": state}, folder / "Cnn14.pth")
    >>> convert_audioset(
    ...     "cnn14-audioset", folder / "Cnn14.pth", folder / "out")
    Traceback (most recent call last):
    ...
    ValueError: ...Cnn14.pth: the weights do not fit CNN14Conformer: missing...
    """
    tensors = {
        name: tensor.contiguous().clone()
        for name, tensor in _expect(format, checkpoint).tensors.items()
    }
    with torch.random.fork_rng(devices=[]):
        network = SELDNetwork(AUDIOSET[format], "accdoa", 1)
    try:
        initialize(network, tensors)
    except ValueError as error:
        raise ValueError(f"{checkpoint}: {error}") from error
    path = output
    if path.suffix != ".safetensors":
        path = output / f"{format}.safetensors"
    with atomic_path(path) as temporary:
        safetensors.torch.save_file(tensors, temporary)
    return path, len(tensors), sum(t.numel() for t in tensors.values())


def _expect(format, path):
    """Read a checkpoint that should be of a format."""
    found = _read_checkpoint(path)
    if found.format != format:
        raise ValueError(
            f"{path} is of the format {found.format}, not {format}"
        )
    return found
