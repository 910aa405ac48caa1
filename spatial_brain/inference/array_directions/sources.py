"""From directions of windows to sources: tracked, and known again."""

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch

from spatial_brain.geometry import (
    angular_distance,
    azel_to_unit,
    unit_to_azel,
)
from spatial_brain.processing.tracking import DirectionTracker
from spatial_brain.processing.tracks import DirectionTracks

# Windows in which a source must be found, of its first so many.
_CONFIRM, _WITHIN = 2, 4
# Seconds over which a source that pauses is still followed.
_MAX_GAP = 2.0
# Probability from which on a direction goes on with a source, or begins one.
_GOES_ON, _BEGINS = 0.4, 0.5
# Both are lower where the number of sources is known: by these shares, one
# after the other until there are so many.
_KNOWN_NUMBER = (0.4, 0.1)
# Degrees within which a track that begins is a source known before.
_SAME = 15.0


@dataclass(frozen=True)
class Sources:
    """Sources over the windows of a recording.

    Arguments
    ---------
    azimuth, elevation : numpy.ndarray
        Degrees, [window, source]; NaN where a source is not there.
    confidence : numpy.ndarray
        Same shape; 0 where it is not there.
    tracks : DirectionTracks
        The same as tracks.
    """

    azimuth: np.ndarray
    elevation: np.ndarray
    confidence: np.ndarray
    tracks: DirectionTracks


def follow_sources(times, azimuth, elevation, confidence, number=None):
    """Sources of a recording from the directions of its windows.

    Directions become tracks (a Kalman filter each, smoothed over the whole
    recording); one that begins where another one was last belongs to the same
    source.

    Arguments
    ---------
    times : numpy.ndarray
        Centres of the windows, seconds, [window].
    azimuth, elevation, confidence : numpy.ndarray
        Of the windows' directions, [window, direction]; NaN where there is
        none.
    number : int, optional
        Sources that there are; default: as many as are found.

    Returns
    -------
    Sources
        Those found most first.

    Example
    -------
    >>> times = np.arange(8) * 0.25
    >>> azimuth = np.full((8, 1), 30.0)
    >>> found = follow_sources(times, azimuth, azimuth * np.nan,
    ...                        np.ones((8, 1)))
    >>> found.azimuth.shape
    (8, 1)
    """
    windows = len(times)
    for share in (1.0,) if number is None else _KNOWN_NUMBER:
        tracker = _tracker(share, min(_CONFIRM, windows), math.inf)
        tracks = tracker.segments(times, azimuth, elevation, confidence)
        owner = _known_again(tracks)
        count = max(owner, default=-1) + 1
        if number is not None and count >= number:
            break
    found = np.full((2, windows, count), np.nan)
    sure = np.zeros((windows, count))
    for track, source in zip(tracks, owner, strict=True):
        new = track.active & np.isnan(found[0, track.blocks, source])
        rows = track.blocks[new]
        found[0, rows, source] = track.azimuth[new]
        found[1, rows, source] = track.elevation[new]
        sure[rows, source] = _confidence_near(
            track.azimuth[new], azimuth[rows], confidence[rows]
        )
    order = np.argsort(-sure.sum(0), kind="stable")[:number]
    return Sources(
        found[0][:, order],
        found[1][:, order],
        sure[:, order],
        DirectionTracks(times, found[0][:, order].T, found[1][:, order].T),
    )


def _tracker(share, confirm, lag):
    """What follows directions of at least a share of the usual confidence."""
    return DirectionTracker(
        confirm=confirm,
        within=_WITHIN,
        max_gap=_MAX_GAP,
        lag=lag,
        min_confidence=_GOES_ON * share,
        birth_confidence=_BEGINS * share,
    )


class LiveSource(NamedTuple):
    """A source in a window of live sound.

    Arguments
    ---------
    number : int
        From 1, in the order in which sources appear.
    azimuth, elevation : float
        Degrees; the elevation is NaN if it is not known.
    confidence : float
        That of the window's direction nearest to it.
    """

    number: int
    azimuth: float
    elevation: float
    confidence: float


class LiveSources:
    """Sources of live sound, from the directions of windows as they come.

    As :func:`follow_sources`, without the future: a source appears with the
    second window that shows it, directions are filtered and not smoothed,
    and numbers are in the order of appearance.

    Arguments
    ---------
    number : int, optional
        Most sources that there are: those found most so far. Default: as
        many as are found.

    Example
    -------
    >>> live = LiveSources()
    >>> sure, none = np.ones(1), np.full(1, np.nan)
    >>> [len(live.push(t, np.full(1, 30.0), none, sure)) for t in (0.0, 0.25)]
    [0, 1]
    """

    def __init__(self, number=None):
        self._number = number
        share = 1.0 if number is None else _KNOWN_NUMBER[0]
        self._tracker = _tracker(share, _CONFIRM, 0.0).live()
        # Of the tracks that are followed the source; of each source where it
        # was last and the sum of its confidences.
        self._owner, self._last, self._sure = {}, [], []

    def push(self, time, azimuth, elevation, confidence):
        """Take the directions of the next window, give its sources.

        Arguments
        ---------
        time : float
            Its centre, seconds.
        azimuth, elevation, confidence : numpy.ndarray
            As for :func:`follow_sources`, of one window, [direction].

        Returns
        -------
        list of LiveSource
            By their numbers.
        """
        points = self._tracker.push(time, azimuth, elevation, confidence)
        self._owner = {
            point.track: self._owner.get(point.track, None) for point in points
        }
        known, found = not np.isnan(elevation).all(), {}
        for point in points:
            unit = torch.from_numpy(point.unit)
            source = self._owner[point.track]
            if source is None:
                source = self._owner[point.track] = _nearest(self._last, unit)
            if source == len(self._last):
                self._last.append(unit)
                self._sure.append(0.0)
            self._last[source] = unit if point.detected else self._last[source]
            if not point.detected or source in found:
                continue
            angles = [float(angle) for angle in unit_to_azel(unit)]
            [sure] = _confidence_near(
                np.array(angles[:1]), azimuth[None], confidence[None]
            )
            sure = float(sure)
            self._sure[source] += sure
            found[source] = LiveSource(
                source + 1, angles[0], angles[1] if known else math.nan, sure
            )
        ranks = np.argsort(-np.array(self._sure), kind="stable")
        shown = {int(rank) for rank in ranks[: self._number]}
        return [found[source] for source in sorted(found) if source in shown]


def _nearest(last, unit):
    """Number of the source that was last near a direction, or a new one."""
    angles = [float(angular_distance(one, unit)) for one in last]
    number = min(range(len(last)), key=angles.__getitem__, default=None)
    return number if last and angles[number] < _SAME else len(last)


def _known_again(tracks):
    """Number of the source of each track."""
    owner, last = [], []
    for track in tracks:
        ends = np.flatnonzero(track.active)[[0, -1]]
        units = azel_to_unit(
            *(
                torch.from_numpy(np.nan_to_num(values[ends]))
                for values in (track.azimuth, track.elevation)
            )
        )
        source = _nearest(last, units[0])
        if source == len(last):
            last.append(None)
        last[source] = units[1]
        owner.append(source)
    return owner


def _confidence_near(track, azimuth, confidence):
    """Confidence of the direction of each window nearest to a track."""
    away = np.abs((azimuth - track[:, None] + 180) % 360 - 180)
    away = np.where(np.isnan(away), 1e3, away)
    return confidence[np.arange(len(track)), away.argmin(1)]
