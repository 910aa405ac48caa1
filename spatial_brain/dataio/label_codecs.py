"""Sound events to the targets of networks; the way back is in the decoders.

Targets are of one clip, L frames of 100 ms and C classes, float32. What a
representation cannot hold is lost: ask ``dropped_events`` how much that is.
"""

import numpy as np
import torch

from spatial_brain.dataio.event_ranks import occurrence
from spatial_brain.dataio.label_decoders import (
    METHODS,
    NUM_TRACKS,
    check_method,
    decode_accdoa,
    decode_multi_accdoa,
    decode_outputs,
    decode_tracks,
)

__all__ = [
    "METHODS",
    "decode_accdoa",
    "decode_multi_accdoa",
    "decode_outputs",
    "decode_tracks",
    "dropped_events",
    "encode_accdoa",
    "encode_adpit",
    "encode_labels",
    "encode_tracks",
    "overlap_of",
]

# First of the slots A0, B0, B1, C0, C1, C2 for one, two and three events.
_FIRST_SLOT = np.array((0, 1, 3))


def encode_labels(table, method, num_classes, num_frames):
    """Targets of one clip.

    Arguments
    ---------
    table : EventTable
        Events; frames outside 0..num_frames-1 are left out.
    method : str
        One of ``METHODS``.
    num_classes : int
        Number of classes C.
    num_frames : int
        Number of frames L.

    Returns
    -------
    dict of torch.Tensor
        ``{"accdoa": [L, 3 C]}``, ``{"adpit": [L, 6, 4, C]}`` or
        ``{"sed": [L, 3, C], "doa": [L, 3, 3]}``.

    Raises
    ------
    ValueError
        If the method is not known, or a class is not below C.

    Example
    -------
    >>> from spatial_brain.dataio.events import EventTable
    >>> table = EventTable([1], [0], [90.0], [0.0])
    >>> targets = encode_labels(table, "multi_accdoa", 2, 3)
    >>> targets["adpit"].shape, targets["adpit"][1, 0, :, 0].round().tolist()
    (torch.Size([3, 6, 4, 2]), [1.0, 0.0, 1.0, 0.0])
    """
    check_method(method)
    if method == "accdoa":
        return {"accdoa": encode_accdoa(table, num_classes, num_frames)}
    if method == "multi_accdoa":
        return {"adpit": encode_adpit(table, num_classes, num_frames)}
    sed, doa = encode_tracks(table, num_classes, num_frames)
    return {"sed": sed, "doa": doa}


def encode_accdoa(table, num_classes, num_frames):
    """ACCDOA target: a unit vector where a class is active, else zero.

    Arguments
    ---------
    table : EventTable
        Events. Of several of one class in a frame, the last row wins.
    num_classes, num_frames : int
        C and L.

    Returns
    -------
    torch.Tensor
        Shape [L, 3 C]: x of all classes, then y, then z.

    Example
    -------
    >>> from spatial_brain.dataio.events import EventTable
    >>> encode_accdoa(EventTable([0], [1], [0.0], [0.0]), 2, 1).tolist()
    [[0.0, 1.0, 0.0, 0.0, 0.0, 0.0]]
    """
    table = _inside(table, num_classes, num_frames)
    rank, count = occurrence(table.frame * num_classes + table.label)
    table = table.select(rank == count - 1)
    target = np.zeros((num_frames, 3, num_classes), dtype=np.float32)
    target[table.frame, :, table.label] = table.directions
    return torch.from_numpy(target.reshape(num_frames, -1))


def encode_adpit(table, num_classes, num_frames):
    """Multi-ACCDOA target for auxiliary duplicating PIT.

    Of the six slots, one event of a class in a frame fills the first, two
    fill the second and third, three or more the last three.

    Arguments
    ---------
    table : EventTable
        Events. Of more than three of one class in a frame, the first three
        rows are kept.
    num_classes, num_frames : int
        C and L.

    Returns
    -------
    torch.Tensor
        Shape [L, 6, 4, C]: activity, x, y, z.

    Example
    -------
    >>> from spatial_brain.dataio.events import EventTable
    >>> pair = EventTable([0, 0], [0, 0], [0.0, 90.0], [0.0, 0.0])
    >>> encode_adpit(pair, 1, 1)[0, :, 0, 0].tolist()
    [0.0, 1.0, 1.0, 0.0, 0.0, 0.0]
    """
    table = _inside(table, num_classes, num_frames)
    rank, count = occurrence(table.frame * num_classes + table.label)
    kept = rank < NUM_TRACKS
    table = table.select(kept)
    number = np.minimum(count[kept], NUM_TRACKS)
    slot = _FIRST_SLOT[number - 1] + rank[kept]
    target = np.zeros((num_frames, 6, 4, num_classes), dtype=np.float32)
    target[table.frame, slot, 0, table.label] = 1
    target[table.frame, slot, 1:, table.label] = table.directions
    return torch.from_numpy(target)


def encode_tracks(table, num_classes, num_frames):
    """EINV2 target: the events of a frame fill the tracks in their order.

    Arguments
    ---------
    table : EventTable
        Events. Of more than three in a frame, the first three rows are kept;
        an event may change its track from frame to frame.
    num_classes, num_frames : int
        C and L.

    Returns
    -------
    tuple of torch.Tensor
        Class activity of the tracks, one-hot or zero, shape [L, 3, C], and
        their unit vectors or zeros, shape [L, 3, 3].

    Example
    -------
    >>> from spatial_brain.dataio.events import EventTable
    >>> sed, doa = encode_tracks(EventTable([0], [1], [0.0], [0.0]), 2, 1)
    >>> sed.tolist(), doa[0, 0].tolist()
    ([[[0.0, 1.0], [0.0, 0.0], [0.0, 0.0]]], [1.0, 0.0, 0.0])
    """
    table = _inside(table, num_classes, num_frames)
    track, _ = occurrence(table.frame)
    kept = track < NUM_TRACKS
    table, track = table.select(kept), track[kept]
    sed = np.zeros((num_frames, NUM_TRACKS, num_classes), dtype=np.float32)
    doa = np.zeros((num_frames, NUM_TRACKS, 3), dtype=np.float32)
    sed[table.frame, track, table.label] = 1
    doa[table.frame, track] = table.directions
    return torch.from_numpy(sed), torch.from_numpy(doa)


def dropped_events(table, method, num_tracks=NUM_TRACKS):
    """How many rows a representation loses.

    Arguments
    ---------
    table : EventTable
        Events.
    method : str
        One of ``METHODS``.
    num_tracks : int
        What multi-ACCDOA holds of one class, and EINV2 of all, in a frame.

    Returns
    -------
    int
        Rows of the table without a place.

    Example
    -------
    >>> from spatial_brain.dataio.events import EventTable
    >>> table = EventTable([0] * 4, [5] * 4, [0, 50, 100, 150], [0] * 4)
    >>> dropped_events(table, "accdoa"), dropped_events(table, "multi_accdoa")
    (3, 1)
    """
    check_method(method)
    keys = table.frame
    if method in ("accdoa", "multi_accdoa"):
        keys = keys * (table.label.max(initial=0) + 1) + table.label
    rank, _ = occurrence(keys)
    return int((rank >= (1 if method == "accdoa" else num_tracks)).sum())


def overlap_of(table, method):
    """Most events at once, as augmentation by mixing wants to know it.

    Arguments
    ---------
    table : EventTable
        Events of a chunk.
    method : str
        One of ``METHODS``; for ACCDOA, classes are counted instead.

    Returns
    -------
    int
        At least 1.

    Example
    -------
    >>> from spatial_brain.dataio.events import EventTable
    >>> table = EventTable([0, 0], [5, 5], [0.0, 90.0], [0.0, 0.0])
    >>> overlap_of(table, "accdoa"), overlap_of(table, "einv2")
    (1, 2)
    """
    check_method(method)
    frame = table.frame
    if method == "accdoa":
        rank, _ = occurrence(
            frame * (table.label.max(initial=0) + 1) + table.label
        )
        frame = frame[rank == 0]
    _, count = occurrence(frame)
    return max(1, int(count.max(initial=1)))


def _inside(table, num_classes, num_frames):
    """The events of the clip, their classes checked."""
    wrong = (table.label < 0) | (table.label >= num_classes)
    if wrong.any():
        raise ValueError(
            f"an event has class {table.label[wrong][0]}, expected one in "
            f"0..{num_classes - 1}"
        )
    return table.select((table.frame >= 0) & (table.frame < num_frames))
