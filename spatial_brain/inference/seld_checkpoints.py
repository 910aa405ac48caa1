"""Checkpoints of SELD networks and of the AudioSet networks they begin from.

Read here are the released networks of PSELDNets (Jinbo-Hu/PSELDNets), the
AudioSet weights of HTS-AT (RetroCirce/HTS-Audio-Transformer), PaSST
(kkoutini/PaSST) and CNN14 (qiuqiangkong/audioset_tagging_cnn), and this
package's own files; names become those of ``spatial_brain.models``.
"""

import pickle
from pathlib import Path
from typing import NamedTuple

import torch

from spatial_brain.inference.sources import ModelSource
from spatial_brain.inference.weights import WEIGHT_SUFFIXES, read_weights

AUDIOSET = ("htsat-audioset", "passt-audioset", "cnn14-audioset")
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


class Checkpoint(NamedTuple):
    """Tensors of a file and where they come from.

    Arguments
    ---------
    format : str
        "pseldnets", one of ``AUDIOSET``, or "spatial_brain".
    tensors : dict of torch.Tensor
        Names of the inner networks of ``spatial_brain.models``.
    sample_rate : int
        Of the waveforms that the network heard, Hz.
    """

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
        For ``spatial_brain.models.seld_transfer.initialize``.

    Raises
    ------
    FileNotFoundError
        If there is no such file or folder.
    ValueError
        If it holds other things than tensors, or of no known network.

    Example
    -------
    >>> path = getfixture("tmp_path") / "initial.safetensors"
    >>> tensors = {"bn0.weight": torch.ones(64), "encoder.a": torch.ones(1)}
    >>> import safetensors.torch
    >>> safetensors.torch.save_file(tensors, path)
    >>> sorted(read_network_weights(path))
    ['bn0.weight', 'encoder.a']
    """
    if Path(source).is_file():
        return read_checkpoint(source).tensors
    origin = ModelSource(source, "hyperparams.yaml")
    for suffix in WEIGHT_SUFFIXES:
        path = origin.get(f"model{suffix}")
        if path is not None:
            return read_checkpoint(path).tensors
    raise FileNotFoundError(
        f"'{source}' has no weights of a network; wanted "
        + " or ".join(f"model{suffix}" for suffix in WEIGHT_SUFFIXES)
    )


def read_checkpoint(path):
    """Read a file and find out whose it is.

    Arguments
    ---------
    path : str or Path
        File of any of the systems; nothing in it is run.

    Returns
    -------
    Checkpoint
        Format, tensors, sampling rate.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it holds other things than tensors, or of no known network.

    Example
    -------
    >>> path = getfixture("tmp_path") / "ACCDOA.ckpt"
    >>> state = {"net._orig_mod.encoder.norm.bias": torch.zeros(768)}
    >>> torch.save({"state_dict": state}, path)
    >>> checkpoint = read_checkpoint(path)
    >>> checkpoint.format, list(checkpoint.tensors)
    ('pseldnets', ['encoder.norm.bias'])
    """
    raw = _read_tensors(Path(path))
    sample_rate = _sample_rate(raw.get(FILTER_BANK))
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
        tensors = {}
        for name, tensor in raw.items():
            for part in stripped:
                name = name.removeprefix(part)
            if format in AUDIOSET:
                if name.startswith(DROPPED):
                    continue
                name = name if name.startswith("bn0.") else prefix + name
            elif name.startswith("af_extractor."):
                continue
            tensors[name] = tensor
        return Checkpoint(format, tensors, sample_rate)
    if any(name.startswith(("encoder.", "convs.")) for name in raw):
        return Checkpoint("spatial_brain", raw, sample_rate)
    raise ValueError(
        f"{path} holds no SELD or AudioSet network that is known here; its "
        f"entries begin with {', '.join(list(raw)[:5])}"
    )


def _read_tensors(path):
    """State dict of a file, also from within a training checkpoint."""
    if path.suffix == ".safetensors" or not path.is_file():
        return read_weights(path)
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError):
        # The plain reader words what is wrong with the file.
        return read_weights(path)
    for entry in ENTRIES:
        if isinstance(content, dict) and isinstance(content.get(entry), dict):
            content = content[entry]
    if not isinstance(content, dict) or not all(
        isinstance(value, torch.Tensor) for value in content.values()
    ):
        return read_weights(path)
    return dict(content)


def _sample_rate(bank):
    """Sampling rate that a stored mel filter bank was made for, Hz.

    Slaney's normalisation gives every band unit area over frequency, so its
    sum over bins is n_fft / fs; wide bands are sampled well.
    """
    if bank is None:
        return 24000
    n_fft = 2 * (bank.shape[0] - 1)
    estimate = n_fft / bank[:, -16:].double().sum(0).mean().item()
    return min(SAMPLE_RATES, key=lambda fs: abs(fs - estimate))
