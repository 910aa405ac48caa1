"""Features of chunks, computed once and kept on disk as float16.

Worth it where features take longer than reading, and the waveform is not
augmented. In half precision a log-mel value of -100 dB is off by at most
0.03 dB.
"""

import copy
import os
import zlib
from functools import partial

import torch

from spatial_brain.dataio.storage import ArrayStore, build_store


def cache_features(chunks, path, features, *, augmentation=None, num_workers=1):
    """Let a data set of chunks give features instead of waveforms.

    The features of all chunks are computed unless the file is there, made
    with the same feature module from the same chunks.

    Arguments
    ---------
    chunks : SELDChunks
        From ``make_chunks``; its items get ``features`` [channel, frame, bin],
        float32, in place of ``waveform``.
    path : str or Path
        Store to make, ``<name>.json`` (the features lie in ``<name>.npy``).
    features : torch.nn.Module
        Takes [batch, time, 4], gives [batch, channel, frame, bin].
    augmentation : AugmentationChain, optional
        What the training does to the items, to be checked.
    num_workers : int
        Processes that compute features.

    Raises
    ------
    ValueError
        If the augmentation works on waveforms.
    OSError
        If the disk is full.

    Example
    -------
    >>> from spatial_brain.augment.chains import augmentation_chain
    >>> chain = augmentation_chain("augment")
    >>> cache_features(None, "cache.json", None, augmentation=chain)
    Traceback (most recent call last):
    ValueError: cached features cannot be used with waveform augmentation ...
    """
    steps = () if augmentation is None else augmentation.waveform
    if steps:
        names = ", ".join(type(step).__name__ for step in steps)
        raise ValueError(
            f"cached features cannot be used with waveform augmentation "
            f"({names}): it would never be heard; train without the cache, or "
            "with an augmentation of features alone"
        )
    names = list(chunks.data)
    build_store(
        path,
        partial(
            _chunk_features,
            [(name, chunks.data[name]) for name in names],
            chunks.reader,
            chunks.chunk_samples,
            copy.deepcopy(features).cpu().eval(),
        ),
        len(names),
        options={
            "chunks": _checksum(chunks.data),
            "chunk_samples": chunks.chunk_samples,
            "clips": _checksum(_state_of_files(chunks.reader.entries)),
            "features": _describe(features),
        },
        dtype="float16",
        num_workers=num_workers,
        description="features",
    )
    store = ArrayStore(path)
    chunks.add_dynamic_item(store.__getitem__, ["id"], "features")
    keys = chunks.pipeline.output_mapping
    chunks.set_output_keys(
        ["features" if key == "waveform" else key for key in keys]
    )


def _chunk_features(chunks, reader, length, features, index):
    """Features of one chunk, as ``build_store`` takes them."""
    name, chunk = chunks[index]
    waveform = reader.read(
        chunk["clip"], chunk["start"], chunk["num_samples"], length
    )
    with torch.no_grad():
        return name, features(waveform[None])[0], {}


def _state_of_files(entries):
    """What changes when the audio of a clip does."""
    state = []
    for clip, entry in entries.items():
        file = os.stat(entry["wav"])
        order = [entry.get("channels"), entry.get("channel_signs")]
        state.append([clip, file.st_size, file.st_mtime_ns, order])
    return state


def _describe(features):
    """Class, plain attributes and tensors of a feature module."""
    plain = {
        f"{name}.{key}": value
        for name, module in features.named_modules()
        for key, value in vars(module).items()
        if isinstance(value, (bool, int, float, str)) and key != "training"
    }
    tensors = {
        name: zlib.crc32(value.detach().cpu().contiguous().numpy().tobytes())
        for name, value in [
            *features.named_parameters(),
            *features.named_buffers(),
        ]
    }
    kinds = [type(module).__qualname__ for module in features.modules()]
    return {"kinds": kinds, "plain": plain, "tensors": tensors}


def _checksum(value):
    """Number that changes when something made of plain values does."""
    return zlib.crc32(repr(value).encode())
