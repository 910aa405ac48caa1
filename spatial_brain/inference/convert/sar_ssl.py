"""Released SAR-SSL checkpoints to files of this package.

Read are ``best_model.tar``, ``latest_model.tar`` and ``ensemble_model.tar`` of
BingYang-20/SAR-SSL, of the pretext task and of the downstream tasks.
"""

import re
from pathlib import Path

from spatial_brain.inference.pretrained import (
    check_finite,
    find_weights,
    load_weights,
    read_weights,
    save_pretrained,
)
from spatial_brain.inference.pretrained.safe_yaml import load_safe_yaml
from spatial_brain.models.transfer import own_names

# What the original's runs were trained for, by the name of their folder.
TASKS = ("TDOA", "DRR", "T60", "C50", "ABS", "SNR", "SUR", "VOL")
TDOA_DURATION, DURATION = 1.04, 4.112  # s
ENTRIES = ("model",)  # where checkpoints keep their tensors
EMBEDDINGS = {256: "spat", 512: "spec", 768: "spec_spat"}

PRETEXT = """\
# SAR-SSL, cross-channel signal reconstruction (released weights).
modules:
  model: !new:spatial_brain.models.mc_conformer.CrossChannelReconstruction
features: !new:spatial_brain.processing.pair_spectra.PairSpectra
sample_rate: 16000  # Hz
duration: 4.112  # s
"""
DOWNSTREAM = """\
# SAR-SSL, {task} of a recording with two microphones (released weights).
modules:
  model: !new:spatial_brain.models.mc_conformer.SpatialAcousticsEstimator
    embedding: {embedding}
features: !new:spatial_brain.processing.pair_spectra.PairSpectra
sample_rate: 16000  # Hz
task: {task}
duration: {duration}  # s
hop_length: {hop_length}  # s
"""


def convert_sar_ssl(checkpoint, output):
    """Turn a released checkpoint into a pretrained folder.

    The file does not record which task a downstream network was trained for;
    its name or that of a folder above it does, as the original names them
    (``exp/TDOA/.../ensemble_model.tar``).

    Arguments
    ---------
    checkpoint : str or Path
        ``best_model.tar``, ``latest_model.tar`` or ``ensemble_model.tar``.
    output : str or Path
        Folder to write.

    Returns
    -------
    tuple
        Folder, number of entries, number of parameters.

    Raises
    ------
    FileNotFoundError
        If there is no such checkpoint.
    ValueError
        If it holds other things than tensors and numbers, names are missing
        or unexpected, shapes differ, or nothing names the task.

    Example
    -------
    >>> convert_sar_ssl("nothing.tar", "pretrained")
    Traceback (most recent call last):
    ...
    FileNotFoundError: no such weights file: nothing.tar
    """
    checkpoint = Path(checkpoint)
    stored = read_weights(checkpoint, ENTRIES)
    text = _describe(stored, checkpoint)
    model = load_safe_yaml(text, str(checkpoint))["modules"]["model"]
    load_weights(model, own_names(stored), checkpoint)
    keys = re.findall(r"^(?!modules)(\w+):", text, flags=re.MULTILINE)
    folder = save_pretrained(output, text, keys, {"model": model})
    return folder, len(stored), sum(p.numel() for p in model.parameters())


def read_encoder_weights(source):
    """Weights to begin a downstream training from.

    Arguments
    ---------
    source : str or Path
        A released checkpoint of the pretext task, a weights file of this
        package, or a pretrained folder, the output folder of a run, or a hub
        id of such.

    Returns
    -------
    dict of torch.Tensor
        For ``spatial_brain.models.transfer.initialize_encoders``.

    Raises
    ------
    FileNotFoundError
        If there is no such file or folder.
    ValueError
        If it holds other things than tensors, or no encoders.

    Example
    -------
    >>> import torch
    >>> path = getfixture("tmp_path") / "best_model.tar"
    >>> state = {"module.spat_encoder.embed.a": torch.zeros(1)}
    >>> torch.save({"epoch": 3, "max_score": -0.5, "model": state}, path)
    >>> list(read_encoder_weights(path))
    ['spat_encoder.embed.a']
    """
    path = find_weights(source)
    tensors = own_names(read_weights(path, ENTRIES))
    check_finite(tensors, path)
    if not any("spat_encoder." in name for name in tensors):
        raise ValueError(
            f"{path} holds no encoders of SAR-SSL; its entries begin with "
            + ", ".join(list(tensors)[:5])
        )
    return tensors


def _describe(tensors, path):
    """YAML of the network that a state dict belongs to."""
    names = {name.removeprefix("module.") for name in tensors}
    if "decoder.proj.0.weight" in names:
        return PRETEXT
    if "mlp_head.1.weight" not in names:
        raise ValueError(
            f"{path} is no network of SAR-SSL: it has neither a decoder "
            "(decoder.proj) nor a head for one task (mlp_head)"
        )
    head = tensors.get("mlp_head.1.weight")
    head = tensors["module.mlp_head.1.weight"] if head is None else head
    inputs = head.shape[-1] if head.ndim else 0
    embedding = EMBEDDINGS.get(inputs)
    if embedding is None:
        raise ValueError(
            f"{path}: the head takes {inputs} values; known are "
            + ", ".join(f"{size} ({name})" for size, name in EMBEDDINGS.items())
        )
    task = _task(path)
    duration = TDOA_DURATION if task == "TDOA" else DURATION
    return DOWNSTREAM.format(
        task=task,
        embedding=embedding,
        duration=duration,
        hop_length=duration / 2,
    )


def _task(path):
    """Task by the name of a file, or of the nearest folder that has it."""
    for part in (path.stem, *reversed(path.absolute().parent.parts)):
        words = re.split(r"[^A-Z0-9]+", part.upper())
        named = [task for task in TASKS if task in words]
        if len(named) == 1:
            return named[0]
    raise ValueError(
        f"{path} does not name the task it was trained for; put it into a "
        f"folder named like the task ({', '.join(TASKS)}), as the original "
        "does (exp/TDOA/.../ensemble_model.tar)"
    )
