"""Sound events in memory: what sounds when, and from where.

Whatever the format of a file, a table holds frames of 100 ms from the start
of the clip, azimuth counter-clockwise from the front in [-180, 180) degrees,
elevation up from the horizon in degrees, and distance in metres.

Detectors predict for every frame alone. ``link_events`` joins predictions of
one class which follow each other in time and lie close in direction.
"""

from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np
from scipy.optimize import linear_sum_assignment

FRAME_LENGTH = 0.1
# Bounds of what is believed: eleven days, and more classes than any list has.
MAX_FRAMES, MAX_CLASSES = 10_000_000, 100_000
COLUMNS = ("frame", "label", "source", "azimuth", "elevation", "distance")
_INTEGERS = COLUMNS[:3]
_KINDS = {n: np.int64 if n in _INTEGERS else np.float64 for n in COLUMNS}
# Of frames, a segment that begins later counts from there and may be below 0.
_BOUNDS = {
    "frame": (-MAX_FRAMES, MAX_FRAMES),
    "label": (0, MAX_CLASSES),
    "source": (-(2**31), 2**31 + 1),
}


@dataclass(frozen=True)
class EventTable:
    """Active sound events, one row per frame and instance, in file order.

    Arguments
    ---------
    frame : array_like of int
        Shape [N], frames of 100 ms, from 0.
    label : array_like of int
        Class indices, shape [N].
    azimuth : array_like of float
        Degrees, shape [N]; wrapped to [-180, 180).
    elevation : array_like of float
        Degrees, shape [N].
    source : array_like of int, optional
        Which instance of its class, shape [N]; -1 (the default): unknown.
    distance : array_like of float, optional
        Metres, shape [N]; NaN (the default): unknown.
    num_frames : int, optional
        Length of the clip, frames; None: unknown.

    Raises
    ------
    ValueError
        If the columns differ in length, or hold what they cannot: numbers
        that are not whole, frames or classes out of all bounds, angles that
        are not finite.

    Example
    -------
    >>> table = EventTable([0, 1], [3, 3], [90.0, 190.0], [0.0, 0.0])
    >>> len(table), table.azimuth.tolist()
    (2, [90.0, -170.0])
    >>> table.directions.round().tolist()[0]
    [0.0, 1.0, 0.0]
    """

    frame: np.ndarray
    label: np.ndarray
    azimuth: np.ndarray
    elevation: np.ndarray
    source: np.ndarray = None
    distance: np.ndarray = None
    num_frames: int = field(default=None)

    def __post_init__(self):
        number = len(np.atleast_1d(self.frame))
        defaults = {"source": -1, "distance": np.nan}
        for name in COLUMNS:
            column = getattr(self, name)
            if column is None:
                column = np.full(number, defaults[name])
            if name in _INTEGERS:
                column = _whole(name, np.array(column, ndmin=1))
            column = np.array(column, dtype=_KINDS[name], ndmin=1)
            if column.shape != (number,):
                raise ValueError(
                    f"column {name!r} of an event table has shape "
                    f"{column.shape}, 'frame' has {number} rows"
                )
            if name in ("azimuth", "elevation"):
                _check_finite(name, column)
            if name == "azimuth":
                # Arithmetic would cost the last bit of the others.
                outside = (column < -180.0) | (column >= 180.0)
                wrapped = (column[outside] + 180.0) % 360.0 - 180.0
                column[outside] = wrapped
            object.__setattr__(self, name, column)

    def __len__(self):
        return len(self.frame)

    @property
    def directions(self):
        """Unit vectors towards the events, float64, shape [N, 3]."""
        azimuth, elevation = np.radians((self.azimuth, self.elevation))
        flat = np.cos(elevation)
        return np.stack(
            (np.cos(azimuth) * flat, np.sin(azimuth) * flat, np.sin(elevation)),
            axis=-1,
        )

    def select(self, rows):
        """Some of the rows.

        Arguments
        ---------
        rows : array_like
            Mask or indices.

        Returns
        -------
        EventTable
            With the same ``num_frames``.
        """
        columns = {name: getattr(self, name)[rows] for name in COLUMNS}
        return replace(self, **columns)

    def segment(self, start, stop):
        """The events of a stretch of the clip.

        Arguments
        ---------
        start, stop : int
            First frame, and the frame after the last.

        Returns
        -------
        EventTable
            Of ``stop - start`` frames, counted from ``start``.
        """
        table = self.select((self.frame >= start) & (self.frame < stop))
        return replace(
            table, frame=table.frame - start, num_frames=stop - start
        )

    def overlap(self, num_frames=None):
        """Number of events that sound at once.

        Arguments
        ---------
        num_frames : int, optional
            Default: that of the table, else up to the last event.

        Returns
        -------
        numpy.ndarray
            int64, shape [num_frames].
        """
        if num_frames is None:
            num_frames = self.num_frames
        if num_frames is None:
            num_frames = int(self.frame.max(initial=-1)) + 1
        inside = self.frame[(self.frame >= 0) & (self.frame < num_frames)]
        return np.bincount(inside, minlength=num_frames)


def _whole(name, column):
    """A column of whole numbers within their bounds."""
    low, high = _BOUNDS[name]
    bad = ~((column >= low) & (column < high) & (column == np.floor(column)))
    if bad.any():
        row = int(bad.argmax())
        raise ValueError(
            f"row {row} of an event table: {name} is {column[row]}, expected a "
            f"whole number from {low} to below {high}"
        )
    return column


def _check_finite(name, column):
    """Refuse angles that are none."""
    bad = ~np.isfinite(column)
    if bad.any():
        row = int(bad.argmax())
        raise ValueError(
            f"row {row} of an event table: {name} is {column[row]}, expected "
            "finite degrees"
        )


def concatenate(tables, num_frames=None):
    """Join tables, in the order given.

    Arguments
    ---------
    tables : sequence of EventTable
        Their frames count from the same moment.
    num_frames : int, optional
        Length of the result.

    Returns
    -------
    EventTable
        All rows.

    Example
    -------
    >>> one = EventTable([4], [0], [10.0], [0.0])
    >>> len(concatenate([one, one]))
    2
    """
    columns = {
        name: np.concatenate([getattr(table, name) for table in tables])
        if tables
        else []
        for name in COLUMNS
    }
    return EventTable(**columns, num_frames=num_frames)


class SoundEvent(NamedTuple):
    """One event, from its start to its end.

    Arguments
    ---------
    label : int
        Class index.
    start, stop : float
        Seconds.
    azimuth, elevation : float
        Mean direction, degrees.
    """

    label: int
    start: float
    stop: float
    azimuth: float
    elevation: float


def link_events(table, max_angle=30.0):
    """Number the events that the rows of a table belong to.

    A row continues an event of its class which had a row in the frame before,
    at most ``max_angle`` away; with several of them the sum of angles is as
    small as possible. Otherwise it begins a new one. The table's ``source``
    is not used: in a detector's prediction it only counts.

    Arguments
    ---------
    table : EventTable
        In any order.
    max_angle : float
        Degrees from one frame to the next.

    Returns
    -------
    numpy.ndarray
        int64, shape [N], from 0 in the order in which events begin.

    Example
    -------
    >>> table = EventTable([0, 0, 1, 1, 3], [5] * 5, [0, 90, 95, 5, 5], [0] * 5)
    >>> link_events(table).tolist()
    [0, 1, 1, 0, 2]
    """
    return EventLinker(max_angle).push(table)


class EventLinker:
    """Numbers the events of a recording that comes table by table.

    Arguments
    ---------
    max_angle : float
        As for ``link_events``.

    Example
    -------
    >>> linker = EventLinker()
    >>> [linker.push(EventTable([k], [5], [10 * k], [0])).item()
    ...  for k in (0, 1, 3)]
    [0, 0, 1]
    """

    def __init__(self, max_angle=30.0):
        self.max_angle = max_angle
        self._number, self._now = 0, None
        # Directions and numbers of the rows of each class, in the last frame
        # that has rows and in the one before.
        self._open, self._previous = {}, {}

    def push(self, table):
        """Numbers of the events that more rows belong to.

        Arguments
        ---------
        table : EventTable
            Of frames after those before.

        Returns
        -------
        numpy.ndarray
            int64, shape [N], as of ``link_events``.
        """
        directions = table.directions
        tracks = np.full(len(table), -1)
        # Frame by frame, and class by class within a frame.
        order = np.lexsort((table.label, table.frame))
        keys = np.stack((table.frame[order], table.label[order]), axis=1)
        change = np.flatnonzero(np.diff(keys, axis=0).any(axis=1)) + 1
        for rows in np.split(order, change) if len(order) else []:
            frame, label = table.frame[rows[0]], table.label[rows[0]]
            if frame != self._now:
                follows = self._now == frame - 1
                self._previous = self._open if follows else {}
                self._open, self._now = {}, frame
            tracks[rows] = self._link(label, directions[rows])
            self._open[label] = directions[rows], tracks[rows]
        return tracks

    def _link(self, label, directions):
        """Numbers of the rows of one class in one frame."""
        none = np.zeros((0, 3)), np.zeros(0, dtype=int)
        before, numbers = self._previous.get(label, none)
        tracks = np.full(len(directions), -1)
        angle = np.degrees(np.arccos(np.clip(directions @ before.T, -1, 1)))
        # Too far is dearer than any chain of links that are allowed.
        cost = np.where(angle <= self.max_angle, angle, 1e6)
        for i, j in zip(*linear_sum_assignment(cost), strict=True):
            if angle[i, j] <= self.max_angle:
                tracks[i] = numbers[j]
        new = np.flatnonzero(tracks < 0)
        tracks[new] = self._number + np.arange(len(new))
        self._number += len(new)
        return tracks


def sound_events(table, max_angle=30.0):
    """Events of a table from start to end.

    Arguments
    ---------
    table : EventTable
        In any order.
    max_angle : float
        As in ``link_events``.

    Returns
    -------
    list of SoundEvent
        By start.

    Example
    -------
    >>> table = EventTable([4, 5, 6], [2, 2, 2], [170, 180, -170], [0, 0, 0])
    >>> [event] = sound_events(table)
    >>> event.label, event.start, event.stop, round(event.azimuth)
    (2, 0.4, 0.7, -180)
    """
    tracks = link_events(table, max_angle)
    order = np.argsort(tracks, kind="stable")
    starts = np.flatnonzero(np.diff(tracks[order], prepend=-1))
    directions = table.directions
    return [
        summarize_event(
            table.label[rows[0]], table.frame[rows], directions[rows]
        )
        for rows in (np.split(order, starts[1:]) if len(order) else [])
    ]


def summarize_event(label, frames, directions):
    """One event from its rows.

    Arguments
    ---------
    label : int
        Class index.
    frames : array_like of int
        Frames in which it sounds, [N].
    directions : array_like of float
        Unit vectors, [N, 3].

    Returns
    -------
    SoundEvent

    Example
    -------
    >>> summarize_event(2, [4, 5], [[0.0, 1.0, 0.0], [0.0, 1.0, 0.0]])[:4]
    (2, 0.4, 0.6, 90.0)
    """
    x, y, z = np.mean(directions, axis=0)
    azimuth = (np.degrees(np.arctan2(y, x)) + 180.0) % 360.0 - 180.0
    return SoundEvent(
        label=int(label),
        start=round(float(np.min(frames) * FRAME_LENGTH), 1),
        stop=round(float((np.max(frames) + 1) * FRAME_LENGTH), 1),
        azimuth=float(azimuth),
        elevation=float(np.degrees(np.arctan2(z, np.hypot(x, y)))),
    )


def occurrence(keys):
    """Number the rows that share a key, in the order in which they come.

    Arguments
    ---------
    keys : array_like of int
        One key per row, shape [N].

    Returns
    -------
    tuple of numpy.ndarray
        Number of rows before it with the same key, and number of all rows
        with this key; int64, shape [N].

    Example
    -------
    >>> rank, count = occurrence([7, 3, 7, 7])
    >>> rank.tolist(), count.tolist()
    ([0, 0, 1, 2], [3, 1, 3, 3])
    """
    keys = np.asarray(keys, dtype=np.int64)
    order = np.argsort(keys, kind="stable")
    ordered = keys[order]
    first = np.flatnonzero(np.diff(ordered, prepend=ordered[:1] - 1))
    length = np.diff(first, append=len(keys))
    rank, count = np.empty((2, len(keys)), dtype=np.int64)
    rank[order] = np.arange(len(keys)) - np.repeat(first, length)
    count[order] = np.repeat(length, length)
    return rank, count
