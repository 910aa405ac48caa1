"""Event tables to the targets of networks, and outputs to event tables.

Targets and outputs are of one clip, L frames of 100 ms and C classes,
float32. What a representation cannot hold is lost: ``dropped_events`` counts
it.

``accdoa``: one vector per class, its length the activity [1].
``multi_accdoa``: three vectors per class; those of one event are merged [2].
``einv2`` and ``seddoa``: three tracks, each with class logits and a
direction [3].

[1] K. Shimada et al., "ACCDOA: Activity-coupled Cartesian direction of
arrival representation for SELD", ICASSP 2021.
[2] K. Shimada et al., "Multi-ACCDOA: Localizing and detecting overlapping
sounds from the same class with auxiliary duplicating permutation invariant
training", ICASSP 2022.
[3] Y. Cao et al., "An improved event-independent network for polyphonic
sound event localization and detection", ICASSP 2021.
"""

import numpy as np
import torch

from spatial_brain.dataio.events import EventTable, occurrence

METHODS = ("accdoa", "multi_accdoa", "einv2", "seddoa")
NUM_TRACKS = 3
_PAIRS = ((0, 1), (1, 2), (0, 2))
# First of the slots A0, B0, B1, C0, C1, C2 for one, two and three events.
_FIRST_SLOT = np.array((0, 1, 3))


def encode_labels(table, method, num_classes, num_frames):
    """Targets of one clip.

    Of several events of one class in a frame, ACCDOA keeps the last row.
    Multi-ACCDOA keeps the first three: of its six slots, one event fills the
    first, two fill the second and third, three the last three. EINV2 and
    SEDDOA keep the first three rows of a frame, in this order; an event may
    change its track from frame to frame.

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
        ``{"accdoa": [L, 3 C]}``, x of all classes, then y, then z;
        ``{"adpit": [L, 6, 4, C]}``, activity, x, y, z per slot; or
        ``{"sed": [L, 3, C], "doa": [L, 3, 3]}``, activity and unit vectors
        of the tracks, zero where nothing is active.

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
    _check_method(method)
    if method == "accdoa":
        return {"accdoa": _encode_accdoa(table, num_classes, num_frames)}
    if method == "multi_accdoa":
        return {"adpit": _encode_adpit(table, num_classes, num_frames)}
    sed, doa = _encode_tracks(table, num_classes, num_frames)
    return {"sed": sed, "doa": doa}


def decode_outputs(
    outputs, method, *, threshold=0.5, merge_angle=15.0, max_events=None
):
    """Events in the outputs of a network for one clip.

    Arguments
    ---------
    outputs : dict of torch.Tensor
        ``{"accdoa": [L, 3 C]}``, ``{"multi_accdoa": [L, 9 C]}`` or
        ``{"sed": [L, 3, C], "doa": [L, 3, 3]}`` with logits as ``sed``;
        L frames of 100 ms, C classes.
    method : str
        One of ``METHODS``.
    threshold : float or sequence of float
        What the activity has to exceed; one value or one per class.
    merge_angle : float
        Two detections of one class that are closer are replaced by the mean
        of their vectors; with two such pairs or three, all three are.
        Degrees; None merges none, as PSELDNets does with its tracks. ACCDOA
        knows one event per class and does not use it.
    max_events : int, optional
        Keep the so many strongest of a frame, after merging; what was merged
        counts as its strongest. Default: 3 for ACCDOA, all otherwise.

    Returns
    -------
    EventTable
        By frame, of L frames; ``source`` counts the events of one class in a
        frame. Angles are not rounded.

    Raises
    ------
    ValueError
        If the method is not known, or shapes do not fit.

    Example
    -------
    >>> x_of_class_1 = torch.tensor([[0.0, 0.8, 0.0, 0.0, 0.0, 0.0]])
    >>> table = decode_outputs({"accdoa": x_of_class_1}, "accdoa")
    >>> table.label.tolist(), table.azimuth.tolist()
    ([1], [0.0])
    """
    _check_method(method)
    if method == "accdoa":
        return _decode_accdoa(
            outputs["accdoa"],
            threshold=threshold,
            max_events=3 if max_events is None else max_events,
        )
    options = {
        "threshold": threshold,
        "merge_angle": merge_angle,
        "max_events": max_events,
    }
    if method == "multi_accdoa":
        return _decode_multi_accdoa(outputs["multi_accdoa"], **options)
    return _decode_tracks(outputs["sed"], outputs["doa"], **options)


def dropped_events(table, method, num_tracks=NUM_TRACKS):
    """Number of rows that a representation loses.

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
    _check_method(method)
    keys = table.frame
    if method in ("accdoa", "multi_accdoa"):
        keys = keys * (table.label.max(initial=0) + 1) + table.label
    rank, _ = occurrence(keys)
    return int((rank >= (1 if method == "accdoa" else num_tracks)).sum())


def overlap_of(table, method):
    """Largest number of events at once, which augmentation by mixing needs.

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
    _check_method(method)
    frame = table.frame
    if method == "accdoa":
        rank, _ = occurrence(
            frame * (table.label.max(initial=0) + 1) + table.label
        )
        frame = frame[rank == 0]
    _, count = occurrence(frame)
    return max(1, int(count.max(initial=1)))


def _check_method(method):
    """Raise ValueError for a name that is none of ``METHODS``."""
    if method not in METHODS:
        raise ValueError(
            f"method is {method!r}, expected one of {', '.join(METHODS)}"
        )


def _encode_accdoa(table, num_classes, num_frames):
    """Unit vectors of classes, [L, 3 C], of their last row, or zero."""
    table = _inside(table, num_classes, num_frames)
    rank, count = occurrence(table.frame * num_classes + table.label)
    table = table.select(rank == count - 1)
    target = np.zeros((num_frames, 3, num_classes), dtype=np.float32)
    target[table.frame, :, table.label] = table.directions
    return torch.from_numpy(target.reshape(num_frames, -1))


def _encode_adpit(table, num_classes, num_frames):
    """Target of auxiliary duplicating PIT, [L, 6, (activity, x, y, z), C]."""
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


def _encode_tracks(table, num_classes, num_frames):
    """Class activity [L, 3, C] and unit vectors [L, 3, 3] of the tracks."""
    table = _inside(table, num_classes, num_frames)
    track, _ = occurrence(table.frame)
    kept = track < NUM_TRACKS
    table, track = table.select(kept), track[kept]
    sed = np.zeros((num_frames, NUM_TRACKS, num_classes), dtype=np.float32)
    doa = np.zeros((num_frames, NUM_TRACKS, 3), dtype=np.float32)
    sed[table.frame, track, table.label] = 1
    doa[table.frame, track] = table.directions
    return torch.from_numpy(sed), torch.from_numpy(doa)


def _inside(table, num_classes, num_frames):
    """The events of the clip, their classes checked."""
    wrong = (table.label < 0) | (table.label >= num_classes)
    if wrong.any():
        raise ValueError(
            f"an event has class {table.label[wrong][0]}, expected one in "
            f"0..{num_classes - 1}"
        )
    return table.select((table.frame >= 0) & (table.frame < num_frames))


def _decode_accdoa(accdoa, threshold, max_events):
    """Events in an ACCDOA output, [L, 3 C], by frame and class."""
    vectors = _split(accdoa, "accdoa", 1)[:, 0].swapaxes(1, 2)
    length = np.linalg.norm(vectors, axis=-1)
    active = length > _thresholds(threshold, length.shape[1])
    # A stable sort: of equal lengths the lower class index comes first.
    place = np.argsort(-length, axis=1, kind="stable").argsort(axis=1)
    active &= place < max_events
    frame, label = active.nonzero()
    return _table(frame, label, vectors[frame, label], len(active))


def _decode_multi_accdoa(multi_accdoa, threshold, merge_angle, max_events):
    """Events in a multi-ACCDOA output, [L, 9 C], by frame, class and track."""
    vectors = _split(multi_accdoa, "multi_accdoa", NUM_TRACKS)
    length = np.sqrt(np.einsum("ltac,ltac->ltc", vectors, vectors))
    active = length > _thresholds(threshold, length.shape[-1])
    frame, label = active.any(axis=1).nonzero()
    # From here on, one row per frame and class that is active.
    vectors = vectors[frame, :, :, label]
    active, length = active[frame, :, label], length[frame, :, label]
    labels = np.repeat(label[:, None], NUM_TRACKS, axis=1)
    _merge(vectors, active, labels, length, merge_angle)
    row, track = active.nonzero()
    kept = _strongest(frame[row], length[row, track], max_events)
    row, track = row[kept], track[kept]
    return _table(
        frame[row], label[row], vectors[row, track], len(multi_accdoa)
    )


def _decode_tracks(sed, doa, threshold, merge_angle, max_events):
    """Events in the tracks of EINV2 or SEDDOA, by frame and track."""
    sed, doa = _numpy(sed), _numpy(doa)
    if (
        sed.ndim != 3
        or sed.shape[1] != NUM_TRACKS
        or doa.shape != (len(sed), NUM_TRACKS, 3)
    ):
        raise ValueError(
            f"sed and doa have shapes {sed.shape} and {doa.shape}, expected "
            "[frame, 3, class] and [frame, 3, 3] of one clip"
        )
    label = sed.argmax(axis=-1)
    logit = np.take_along_axis(sed, label[..., None], axis=-1)[..., 0]
    probability = 1 / (1 + np.exp(-np.clip(logit, -700, 700)))
    active = probability > _thresholds(threshold, sed.shape[-1])[label]
    doa = doa.copy()
    _merge(doa, active, label, probability, merge_angle)
    frame, track = active.nonzero()
    kept = _strongest(frame, probability[frame, track], max_events)
    frame, track = frame[kept], track[kept]
    return _table(frame, label[frame, track], doa[frame, track], len(sed))


def _numpy(value):
    """A tensor on any device, or an array, as float64."""
    if isinstance(value, torch.Tensor):
        value = value.detach().cpu().double()
    return np.asarray(value, dtype=np.float64)


def _split(output, name, num_tracks):
    """View an output as [frame, track, axis, class]."""
    output = _numpy(output)
    if output.ndim != 2 or output.shape[1] % (3 * num_tracks):
        raise ValueError(
            f"{name} has shape {output.shape}, expected [frame, "
            f"{3 * num_tracks} * classes] of one clip"
        )
    classes = output.shape[1] // (3 * num_tracks)
    return output.reshape(len(output), num_tracks, 3, classes)


def _thresholds(threshold, num_classes):
    """One threshold per class."""
    threshold = np.asarray(threshold, dtype=np.float64)
    if threshold.shape not in ((), (num_classes,)):
        raise ValueError(
            f"threshold has shape {threshold.shape}, expected one value or "
            f"one for each of {num_classes} classes"
        )
    return np.broadcast_to(threshold, (num_classes,))


def _merge(vectors, active, label, strength, merge_angle):
    """Merge near detections of one class, [row, track(, 3)], in place."""
    if merge_angle is None:
        return
    # The floor under the root is that of the DCASE baselines.
    length = np.sqrt(np.einsum("rta,rta->rt", vectors, vectors) + 1e-10)
    unit = vectors / length[..., None]
    near = np.zeros((len(vectors), len(_PAIRS)), dtype=bool)
    for n, (i, j) in enumerate(_PAIRS):
        cosine = np.einsum("ra,ra->r", unit[:, i], unit[:, j])
        angle = np.degrees(np.arccos(np.clip(cosine, -1, 1)))
        near[:, n] = (
            (angle < merge_angle)
            & (active[:, i] & active[:, j])
            & (label[:, i] == label[:, j])
        )
    number = near.sum(axis=1)
    groups = [(near[:, n] & (number == 1), p) for n, p in enumerate(_PAIRS)]
    for rows, group in [*groups, (number > 1, (0, 1, 2))]:
        # What was merged stands in the first track of its group.
        members = np.ix_(rows.nonzero()[0], group)
        vectors[rows, group[0]] = vectors[members].mean(axis=1)
        strength[rows, group[0]] = strength[members].max(axis=1)
        active[np.ix_(rows.nonzero()[0], group[1:])] = False


def _strongest(frame, strength, max_events):
    """Indices of the so many strongest of a frame, in their order."""
    if max_events is None:
        return np.arange(len(frame))
    order = np.lexsort((-strength, frame))
    rank, _ = occurrence(frame[order])
    return np.sort(order[rank < max_events])


def _table(frame, label, vectors, num_frames):
    """Events from vectors of any length."""
    x, y, z = vectors.T
    azimuth = np.degrees(np.arctan2(y, x))
    elevation = np.degrees(np.arctan2(z, np.hypot(x, y)))
    rank, _ = occurrence(frame * (label.max(initial=0) + 1) + label)
    return EventTable(
        frame, label, azimuth, elevation, rank, num_frames=num_frames
    )
