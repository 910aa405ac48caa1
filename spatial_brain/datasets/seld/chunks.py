"""Chunks of annotated recordings, with the targets of SELD networks.

Reads the manifests of ``spatial_brain.datasets.seld.checks``. Audio is read
segment by segment from the original files, and targets are made when a chunk
is asked for: changing chunk length, hop or output format needs no new
preparation.

Features may be computed once and kept in a file, where they take longer than
reading and the waveform is not augmented. They are kept in half precision, in
which a log-mel value of -100 dB is off by at most 0.03 dB.
"""

import copy
import logging
import os
import zlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial

import numpy as np
import torch

from spatial_brain.dataio.annotations import read_events
from spatial_brain.dataio.array_store import ArrayStore, build_store
from spatial_brain.dataio.audio import audio_info, read_audio
from spatial_brain.dataio.dataset import SeededDataset, chunk_bounds
from spatial_brain.dataio.labels import (
    dropped_events,
    encode_labels,
    overlap_of,
)
from spatial_brain.dataio.manifest import read_manifest
from spatial_brain.dataio.parallel import progress
from spatial_brain.datasets.seld.checks import num_label_frames

logger = logging.getLogger(__name__)

# Keys of the rendered targets, by output format of the network.
TARGETS = {
    "accdoa": ("accdoa",),
    "multi_accdoa": ("adpit",),
    "einv2": ("sed", "doa"),
    "seddoa": ("sed", "doa"),
}
_KEYS = ("wav", "num_samples", "fs", "events", "dialect")


class ClipReader:
    """Segments of the clips of a manifest, from disk or from memory.

    Arguments
    ---------
    entries : dict
        Entries of the manifest.
    keep_in_memory : bool
        Decode all clips now and keep them: as 16-bit integers where the
        files are, so that nothing is lost, else as floats. Workers that are
        forked (the default on Linux) share this memory.
    num_workers : int
        Threads that decode.

    Example
    -------
    >>> from spatial_brain.dataio.audio import write_audio
    >>> path = getfixture("tmp_path") / "a.wav"
    >>> write_audio(path, torch.full((10, 4), 0.5), 24000)
    >>> reader = ClipReader({"a": {"wav": path, "fs": 24000}})
    >>> reader.read("a", 8, 2, 4)[:, 0]
    tensor([0.5000, 0.5000, 0.0000, 0.0000])
    """

    def __init__(self, entries, keep_in_memory=False, num_workers=8):
        self.entries = entries
        self.memory = {}
        if keep_in_memory:
            with ThreadPoolExecutor(num_workers) as pool:
                clips = progress(
                    pool.map(self._decode, entries),
                    total=len(entries),
                    description="reading clips into memory",
                    unit="file",
                )
                self.memory = dict(zip(entries, clips, strict=True))
            size = sum(array.nbytes for array in self.memory.values())
            logger.info(
                "%d clips take %.2f GB of memory", len(entries), size / 1e9
            )

    def _decode(self, clip):
        """All samples of a clip, [time, channel]."""
        entry = self.entries[clip]
        samples = _read(entry).numpy()
        info = audio_info(entry["wav"])
        if info.subtype != "PCM_16" or info.fs != entry["fs"]:
            return samples
        scaled = np.rint(samples * 32768)
        return np.clip(scaled, -32768, 32767).astype(np.int16)

    def read(self, clip, start, num_samples, length):
        """Read a segment.

        Arguments
        ---------
        clip : str
            Id.
        start, num_samples : int
            The segment, samples.
        length : int
            Zeros are appended up to this length.

        Returns
        -------
        torch.Tensor
            Shape [length, 4], float32; channels in the order of the entry's
            ``channels``, where there is one.

        Raises
        ------
        AudioFileError
            (a ValueError) If the file is damaged or shorter than its entry.
        """
        if clip in self.memory:
            array = self.memory[clip][start : start + num_samples]
            waveform = torch.from_numpy(array.astype(np.float32))
            if array.dtype == np.int16:
                waveform /= 32768
        else:
            waveform = _read(self.entries[clip], start, num_samples)
        missing = length - len(waveform)
        return torch.nn.functional.pad(waveform, (0, 0, 0, missing))


def _read(entry, start=0, num_samples=None):
    """Samples of a file, channels in the order and sign of its entry."""
    waveform, _ = read_audio(
        entry["wav"],
        start,
        entry.get("num_samples") if num_samples is None else num_samples,
        fs=entry["fs"],
        resample=entry.get("resample", False),
        num_channels=entry.get("file_channels", 4),
    )
    if "channels" in entry:
        waveform = waveform[:, entry["channels"]]
    if "channel_signs" in entry:
        waveform = waveform * torch.tensor(entry["channel_signs"]).float()
    return waveform


def clip_events(manifest, *, data_root=None, num_classes=None):
    """Events of all clips of a manifest.

    Arguments
    ---------
    manifest : str, Path or dict
        Manifest, or its entries.
    data_root : str or Path
        Folder for ``{data_root}`` in its paths.
    num_classes : int, optional
        Refuse labels from this one on.

    Returns
    -------
    dict
        Id to EventTable; its ``num_frames`` is the true length of the clip,
        and what lies behind the end is left out.

    Raises
    ------
    ValueError
        If a clip has no annotation, or one is malformed.

    Example
    -------
    >>> clip_events({"a": {"events": None, "num_samples": 1, "fs": 10}})
    Traceback (most recent call last):
    ValueError: clip 'a' has no annotation; ...
    """
    entries = _entries(manifest, data_root)
    return {
        clip: read_clip_events(clip, entry, num_classes)
        for clip, entry in entries.items()
    }


def read_clip_events(clip, entry, num_classes=None):
    """Events of one clip.

    Arguments
    ---------
    clip : str
        Its id.
    entry : dict
        Its entry in the manifest.
    num_classes : int, optional
        Refuse labels from this one on.

    Returns
    -------
    EventTable
        With the true length of the clip.

    Raises
    ------
    ValueError
        If it has no annotation, or a malformed one.

    Example
    -------
    >>> path = getfixture("tmp_path") / "a.csv"
    >>> _ = path.write_text("0,3,0,30,10\\n12,3,0,30,10\\n")
    >>> entry = {"events": path, "dialect": "dcase2021"}
    >>> table = read_clip_events("a", {**entry, "num_samples": 9, "fs": 10})
    >>> len(table), table.num_frames
    (1, 9)
    """
    if entry["events"] is None:
        raise ValueError(
            f"clip {clip!r} has no annotation; it can be predicted, but not be "
            "trained on or scored"
        )
    num_frames = num_label_frames(entry["num_samples"], entry["fs"])
    table = read_events(
        entry["events"],
        entry["dialect"],
        num_classes=num_classes,
        num_frames=num_frames,
    )
    inside = table.select(table.frame < num_frames)
    return replace(inside, num_frames=num_frames)


def _entries(manifest, data_root):
    """Entries of a manifest given by path or as they are."""
    if isinstance(manifest, dict):
        return manifest
    return read_manifest(manifest, data_root=data_root, keys=_KEYS)


class _SELDChunks(SeededDataset):
    """Chunks of clips with their targets; see ``make_chunks``."""

    def __init__(
        self, chunks, reader, events, method, num_classes, chunk_samples, seed
    ):
        super().__init__(chunks, seed)
        self.reader = reader
        self.events = events
        self.method = method
        self.num_classes = num_classes
        self.chunk_samples = chunk_samples
        fs = next(iter(reader.entries.values()))["fs"]
        self.num_frames = num_label_frames(chunk_samples, fs)
        self.add_dynamic_item(
            self.read_waveform, ["clip", "start", "num_samples"], "waveform"
        )
        self.add_dynamic_item(self.make_mask, ["num_valid"], "mask")
        keys = ["id", "clip", "start_frame", "last", "num_valid", "waveform"]
        if events is not None:
            names = (*TARGETS[method], "overlap")
            self.add_dynamic_item(
                self.make_targets, ["clip", "start_frame"], names
            )
            keys += names
        self.set_output_keys([*keys, "mask"])

    def keep_clips(self, number, seed):
        """Keep the chunks of some clips, drawn at random.

        They repeat until there are as many chunks as before: an epoch means
        the same number of updates for any number of clips.

        Arguments
        ---------
        number : int
            Of clips; those of a smaller number are among those of a larger.
        seed : int
            Decides which.

        Raises
        ------
        ValueError
            If there are not so many clips.
        """
        clips = list(dict.fromkeys(c["clip"] for c in self.data.values()))
        if not 1 <= number <= len(clips):
            raise ValueError(
                f"asked for {number} training clips, there are {len(clips)}"
            )
        order = np.random.default_rng(seed).permutation(len(clips))
        kept = {clips[index] for index in order[:number]}
        ids = [name for name, c in self.data.items() if c["clip"] in kept]
        total = len(self.data_ids)
        self.data_ids = (ids * -(-total // len(ids)))[:total]

    def read_waveform(self, clip, start, num_samples):
        """Samples of a chunk, [chunk_samples, 4]."""
        return self.reader.read(clip, start, num_samples, self.chunk_samples)

    def make_mask(self, num_valid):
        """1 for the frames of the recording, 0 for those of the padding."""
        return (torch.arange(self.num_frames) < num_valid).float()

    def make_targets(self, clip, start_frame):
        """Targets of a chunk, and how many events sound at once in it."""
        table = self.events[clip].segment(
            start_frame, start_frame + self.num_frames
        )
        yield from render_targets(
            table, self.method, self.num_classes, self.num_frames
        )


def render_targets(table, method, num_classes, num_frames):
    """Targets of a chunk, and how many events sound at once in it.

    Arguments
    ---------
    table : EventTable
        Its events.
    method : str
        Key of ``TARGETS``.
    num_classes, num_frames : int
        Sizes of the targets.

    Yields
    ------
    torch.Tensor or int
        The tensors that ``TARGETS`` names, float32, then the overlap.

    Example
    -------
    >>> from spatial_brain.dataio.events import EventTable
    >>> table = EventTable([2, 2], [0, 1], [0.0, 90.0], [0.0, 0.0])
    >>> accdoa, overlap = render_targets(table, "accdoa", 2, 5)
    >>> accdoa[2].round().abs(), overlap
    (tensor([1., 0., 0., 1., 0., 0.]), 2)
    """
    targets = encode_labels(table, method, num_classes, num_frames)
    for name in TARGETS[method]:
        yield torch.as_tensor(targets[name], dtype=torch.float32)
    yield int(overlap_of(table, method))


def make_chunks(
    manifest,
    method,
    num_classes,
    *,
    fs=24000,
    chunk_length=10.0,
    hop_length=None,
    tail="pad",
    seed=0,
    data_root=None,
    keep_in_memory=False,
):
    """Data set of the chunks of all clips, in the order of the manifest.

    Its items have ``id``, ``clip`` (id of the clip), ``start_frame`` (first
    label frame in the clip), ``last`` (of its clip), ``num_valid`` (label
    frames before the padding), ``waveform`` [chunk samples, 4], ``mask``
    [label frames] (1: recording, 0: padding), the targets of the method, and
    ``overlap``. Clips without annotation give neither targets nor overlap.

    Arguments
    ---------
    manifest : str, Path or dict
        Manifest, or its entries.
    method : str
        ``"accdoa"``, ``"multi_accdoa"``, ``"einv2"`` or ``"seddoa"``.
    num_classes : int
        Number of classes.
    fs : int
        Rate the clips must have, Hz.
    chunk_length : float
        Seconds, a multiple of 0.1.
    hop_length : float
        Seconds between the starts of chunks, a multiple of 0.1; default: the
        chunk length.
    tail : str
        ``"pad"``: the last chunk is padded with zeros. ``"half"``: only if at
        least half of it is filled, else it starts earlier (training).
    seed : int
        Seed of random choices.
    data_root : str or Path
        Folder for ``{data_root}`` in the paths of the manifest.
    keep_in_memory : bool
        See ``ClipReader``.

    Returns
    -------
    SeededDataset
        The data set; its ``num_frames`` are the label frames of every chunk.

    Raises
    ------
    ValueError
        If lengths are no multiples of 0.1 s, a clip has another rate, or some
        clips have annotations and others have none.

    Example
    -------
    >>> from spatial_brain.dataio.audio import write_audio
    >>> folder = getfixture("tmp_path")
    >>> write_audio(folder / "a.wav", torch.zeros(36000, 4), 24000)
    >>> _ = (folder / "a.csv").write_text("12,1,0,90,0\\n")
    >>> entry = {"wav": folder / "a.wav", "events": folder / "a.csv"}
    >>> entry |= {"num_samples": 36000, "fs": 24000, "dialect": "dcase2021"}
    >>> chunks = make_chunks({"a": entry}, "accdoa", 2, chunk_length=1.0)
    >>> chunks[1]["num_valid"], chunks[1]["accdoa"].shape
    (5, torch.Size([10, 6]))
    >>> chunks[1]["accdoa"][2].round().abs()  # y of class 1
    tensor([0., 0., 0., 1., 0., 0.])
    """
    if method not in TARGETS:
        raise ValueError(
            f"method must be one of {', '.join(TARGETS)}, got {method!r}"
        )
    entries = _entries(manifest, data_root)
    chunk = _whole_frames("chunk_length", chunk_length, fs)
    hop = chunk
    if hop_length is not None:
        hop = _whole_frames("hop_length", hop_length, fs)
    wrong = [key for key, entry in entries.items() if entry["fs"] != fs]
    if wrong:
        raise ValueError(
            f"clip {wrong[0]!r} has {entries[wrong[0]]['fs']} Hz, expected "
            f"fs={fs}; give the rate of the data set"
        )
    without = [key for key, e in entries.items() if e["events"] is None]
    if without and len(without) < len(entries):
        raise ValueError(
            f"{len(without)} of {len(entries)} clips, {without[0]!r} among "
            "them, have no annotation; put them into a manifest of their own"
        )
    events = None
    if not without:
        events = clip_events(entries, num_classes=num_classes)
        _log_dropped(events, method)
    chunks = {}
    for clip, entry in entries.items():
        chunks |= _chunks_of(clip, entry["num_samples"], chunk, hop, tail, fs)
    return _SELDChunks(
        chunks,
        ClipReader(entries, keep_in_memory),
        events,
        method,
        num_classes,
        chunk,
        seed,
    )


def _log_dropped(events, method):
    """Log how much of the annotations the targets cannot hold."""
    total = sum(len(table) for table in events.values())
    lost = sum(dropped_events(table, method) for table in events.values())
    logger.info(
        "%d of %d active frames of events (%.2f %%) do not fit the targets "
        "of %s",
        lost,
        total,
        100 * lost / max(1, total),
        method,
    )


def _whole_frames(name, seconds, fs):
    """Samples of a length, which must be a number of label frames."""
    frames = round(seconds * 10)
    if fs % 10 or frames < 1 or abs(seconds * 10 - frames) > 1e-6:
        raise ValueError(
            f"{name} must be a positive multiple of 0.1 s and fs one of 10 Hz, "
            f"got {seconds} s and {fs} Hz"
        )
    return frames * fs // 10


def _chunks_of(clip, num_samples, chunk, hop, tail, fs):
    """Chunks of a clip; they start on label frames."""
    grid = fs // 10
    bounds = chunk_bounds(num_samples, chunk, hop, tail=tail, grid=grid)
    found = {}
    for number, bound in enumerate(bounds, 1):
        frame = bound.start // grid
        found[f"{clip}@{frame}"] = {
            "clip": clip,
            "start": bound.start,
            "num_samples": bound.stop - bound.start,
            "start_frame": frame,
            "num_valid": num_label_frames(bound.stop - bound.start, fs),
            "last": number == len(bounds),
        }
    return found


def cache_features(chunks, path, features, *, augmentation=None, num_workers=1):
    """Let a data set of chunks give features instead of waveforms.

    The features of all chunks are computed unless the file is there, made
    with the same feature module from the same chunks.

    Arguments
    ---------
    chunks : SeededDataset
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
            f"({names}): it would have no effect; train without the cache, or "
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
