"""From directions of windows to sources: tracked, and known again."""

import math
from dataclasses import dataclass

import numpy as np
import torch

from spatial_brain.geometry import angular_distance, azel_to_unit
from spatial_brain.processing.tracking import DirectionTracker
from spatial_brain.processing.tracks import DirectionTracks

# Windows in which a source must be found, of its first so many.
_CONFIRM, _WITHIN = 2, 4
# Seconds over which a source that pauses is still followed.
_MAX_GAP = 2.0
# Probability from which on a direction goes on with a source, or begins one;
# both lower where the number of sources is known.
_GOES_ON, _BEGINS = 0.4, 0.5
_KNOWN_NUMBER = 0.4
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
    share = 1.0 if number is None else _KNOWN_NUMBER
    tracker = DirectionTracker(
        confirm=min(_CONFIRM, windows),
        within=_WITHIN,
        max_gap=_MAX_GAP,
        lag=math.inf,
        min_confidence=_GOES_ON * share,
        birth_confidence=_BEGINS * share,
    )
    tracks = tracker.segments(times, azimuth, elevation, confidence)
    owner = _known_again(tracks)
    count = max(owner, default=-1) + 1
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
        free = [
            source
            for source in range(len(last))
            if angular_distance(last[source], units[0]) < _SAME
        ]
        if free:
            source = min(
                free, key=lambda one: angular_distance(last[one], units[0])
            )
        else:
            source = len(last)
            last.append(None)
        last[source] = units[1]
        owner.append(source)
    return owner


def _confidence_near(track, azimuth, confidence):
    """Confidence of the direction of each window nearest to a track."""
    away = np.abs((azimuth - track[:, None] + 180) % 360 - 180)
    away = np.where(np.isnan(away), 1e3, away)
    return confidence[np.arange(len(track)), away.argmin(1)]
