"""Chunks of annotated recordings, with the targets of SELD networks.

Reads the manifests of ``spatial_brain.datasets.seld_checks``. Audio is read
segment by segment from the original files, and labels are rendered when a
chunk is asked for: changing chunk length, hop or output format needs no new
preparation.
"""

import logging
from dataclasses import replace

import torch

from spatial_brain.dataio.annotations import read_events
from spatial_brain.dataio.chunking import chunk_bounds
from spatial_brain.dataio.dataset import SeededDataset
from spatial_brain.dataio.label_codecs import (
    dropped_events,
    encode_labels,
    overlap_of,
)
from spatial_brain.dataio.manifest import read_manifest
from spatial_brain.datasets.seld_checks import num_label_frames
from spatial_brain.datasets.seld_reader import ClipReader

__all__ = [
    "TARGETS",
    "ClipReader",
    "SELDChunks",
    "clip_events",
    "make_chunks",
    "read_clip_events",
]

logger = logging.getLogger(__name__)

# Keys of the rendered targets, by output format of the network.
TARGETS = {
    "accdoa": ("accdoa",),
    "multi_accdoa": ("adpit",),
    "einv2": ("sed", "doa"),
    "seddoa": ("sed", "doa"),
}
_KEYS = ("wav", "num_samples", "fs", "events", "dialect")


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


class SELDChunks(SeededDataset):
    """Chunks of clips with their targets; see ``make_chunks``.

    Arguments
    ---------
    chunks : dict
        Chunk id to ``clip``, ``start`` and ``num_samples`` (samples),
        ``start_frame`` and ``num_valid`` (label frames), ``last``.
    reader : ClipReader
        Where the audio comes from.
    events : dict or None
        Clip id to EventTable; None makes no targets.
    method : str
        Output format of the network.
    num_classes : int
        Number of classes.
    chunk_samples : int
        Length of every chunk.
    seed : int
        Seed of random choices in further pipelines.

    Attributes
    ----------
    num_frames : int
        Label frames of every chunk.
    """

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
        targets = encode_labels(
            table, self.method, self.num_classes, self.num_frames
        )
        for name in TARGETS[self.method]:
            yield torch.as_tensor(targets[name], dtype=torch.float32)
        yield int(overlap_of(table, self.method))


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
    SELDChunks
        The data set.

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
    return SELDChunks(
        chunks,
        ClipReader(entries, keep_in_memory),
        events,
        method,
        num_classes,
        chunk,
        seed,
    )


def _log_dropped(events, method):
    """Say how much of the annotations the targets cannot hold."""
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
