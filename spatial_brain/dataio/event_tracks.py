"""From events frame by frame to events from start to end.

Detectors answer for every frame alone. Here the answers of one class that
follow each other in time and lie close in direction become one event.
"""

from typing import NamedTuple

import numpy as np
from scipy.optimize import linear_sum_assignment

from spatial_brain.dataio.events import FRAME_LENGTH


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
    is not used: in a detector's answer it only counts.

    Arguments
    ---------
    table : spatial_brain.dataio.events.EventTable
        In any order.
    max_angle : float
        Degrees from one frame to the next.

    Returns
    -------
    numpy.ndarray
        int64, shape [N], from 0 in the order in which events begin.

    Example
    -------
    >>> from spatial_brain.dataio.events import EventTable
    >>> table = EventTable([0, 0, 1, 1, 3], [5] * 5, [0, 90, 95, 5, 5], [0] * 5)
    >>> link_events(table).tolist()
    [0, 1, 1, 0, 2]
    """
    directions = table.directions
    tracks = np.full(len(table), -1)
    number, open_rows, now = 0, {}, None
    # Frame by frame, and class by class within a frame.
    order = np.lexsort((table.label, table.frame))
    keys = np.stack((table.frame[order], table.label[order]), axis=1)
    change = np.flatnonzero(np.diff(keys, axis=0).any(axis=1)) + 1
    previous = {}
    for rows in np.split(order, change) if len(order) else []:
        frame, label = table.frame[rows[0]], table.label[rows[0]]
        if frame != now:
            previous = open_rows if now == frame - 1 else {}
            open_rows, now = {}, frame
        before = previous.get(label, rows[:0])
        cosine = directions[rows] @ directions[before].T
        angle = np.degrees(np.arccos(np.clip(cosine, -1.0, 1.0)))
        # Too far is dearer than any chain of links that are allowed.
        cost = np.where(angle <= max_angle, angle, 1e6)
        for i, j in zip(*linear_sum_assignment(cost), strict=True):
            if angle[i, j] <= max_angle:
                tracks[rows[i]] = tracks[before[j]]
        for row in rows[tracks[rows] < 0]:
            tracks[row] = number
            number += 1
        open_rows[label] = rows
    return tracks


def sound_events(table, max_angle=30.0):
    """Events of a table from start to end.

    Arguments
    ---------
    table : spatial_brain.dataio.events.EventTable
        In any order.
    max_angle : float
        As in ``link_events``.

    Returns
    -------
    list of SoundEvent
        By start.

    Example
    -------
    >>> from spatial_brain.dataio.events import EventTable
    >>> table = EventTable([4, 5, 6], [2, 2, 2], [170, 180, -170], [0, 0, 0])
    >>> [event] = sound_events(table)
    >>> event.label, event.start, event.stop, round(event.azimuth)
    (2, 0.4, 0.7, -180)
    """
    tracks = link_events(table, max_angle)
    order = np.argsort(tracks, kind="stable")
    starts = np.flatnonzero(np.diff(tracks[order], prepend=-1))
    directions = table.directions
    events = []
    for rows in np.split(order, starts[1:]) if len(order) else []:
        x, y, z = directions[rows].mean(0)
        azimuth = (np.degrees(np.arctan2(y, x)) + 180.0) % 360.0 - 180.0
        first, last = table.frame[rows].min(), table.frame[rows].max()
        events.append(
            SoundEvent(
                label=int(table.label[rows[0]]),
                start=round(float(first * FRAME_LENGTH), 1),
                stop=round(float((last + 1) * FRAME_LENGTH), 1),
                azimuth=float(azimuth),
                elevation=float(np.degrees(np.arctan2(z, np.hypot(x, y)))),
            )
        )
    return events
