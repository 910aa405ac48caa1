"""What was localised: directions of the sources of a recording over time."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch

from spatial_brain.processing.tracks import DirectionTracks

MEANINGS = {
    "cone": "angle from the +x axis of the array",
    "azimuth": "azimuth from the +x axis, left and right folded",
    "full_azimuth": "azimuth, counter-clockwise from the +x axis (the front)",
    "line_azimuth": (
        "azimuth, counter-clockwise from the +x axis (the front); of a line, "
        "whose two sides are alike, the mirror image may be meant"
    ),
}
# Least and greatest direction, degrees; of the last two the ends are the same.
LIMITS = {
    "cone": (0.0, 180.0),
    "azimuth": (0.0, 180.0),
    "full_azimuth": (-180.0, 180.0),
    "line_azimuth": (-180.0, 180.0),
}
# The confidence is the probability within so many degrees of a direction.
CONFIDENCE_WIDTH = 10.0


@dataclass
class Localization:
    """Directions of the talkers of one recording.

    Arguments
    ---------
    path : str
        The recording.
    target : str
        What the degrees mean, a key of ``MEANINGS``.
    duration : float
        Seconds.
    starts : numpy.ndarray
        Where each window starts, seconds, [window].
    stops : numpy.ndarray
        Where each window ends, seconds, [window].
    directions : numpy.ndarray
        Degrees, [window, talker]; NaN where a window is silent, or a talker
        is not there.
    confidence : numpy.ndarray
        Probability that a talker is within 10 degrees of the direction,
        [window, talker]; NaN where there is none, or it is not known.
    elevation : numpy.ndarray, optional
        Degrees, [window, talker]; NaN also where it cannot be told.
    array, method : str, optional
        Of an array without training: its name, and how it was used.
    findings : sequence, optional
        What is suspicious in the recording: objects with ``to_dict``.
    tracks : DirectionTracks, optional
        The talkers over time as tracks, at the centres of the windows.
    map : DirectionMap, optional
        How strong each direction was, over time.
    distances : sequence of Distance, optional
        How far the talkers are, if it was asked for.
    num_talkers : int or str, optional
        Of a trained network: how many at once were asked for, or ``"auto"``.
    chances : numpy.ndarray, optional
        Of a trained and calibrated network: probability of each number of
        talkers, from 0, [window, number]; NaN where a window is silent.
    notes : sequence of str
        What is assumed and was not asked for, a line each.

    Example
    -------
    >>> found = Localization("a.wav", "cone", 4.5, np.array([0.0, 1.5]),
    ...                      np.array([3.0, 4.5]),
    ...                      np.array([[40.0, 120.0], [44.0, 120.0]]),
    ...                      np.full((2, 2), 0.5))
    >>> found.talkers[0]
    {'direction': 42.0, 'spread': 2.0, 'confidence': 0.5}
    """

    path: str
    target: str
    duration: float
    starts: np.ndarray
    stops: np.ndarray
    directions: np.ndarray
    confidence: np.ndarray
    elevation: np.ndarray | None = None
    array: str | None = None
    method: str | None = None
    findings: tuple = ()
    tracks: DirectionTracks | None = None
    map: "DirectionMap | None" = None
    distances: tuple | None = None
    num_talkers: int | str | None = None
    chances: np.ndarray | None = None
    notes: tuple = ()

    @property
    def silent(self):
        """Windows without sound (or source), bool, [window]."""
        return np.isnan(self.directions).all(axis=1)

    @property
    def limits(self):
        """Least and greatest direction that can be, degrees."""
        return LIMITS[self.target]

    @property
    def talkers(self):
        """Summary of each talker over the recording.

        Returns
        -------
        list of dict
            ``direction`` (median, degrees; NaN if all is silent), ``spread``
            (median absolute deviation from it, degrees; None without a
            second window) and ``confidence`` (mean; None if it is not known,
            0 if all is silent). With an array also
            ``elevation`` (median or None), ``start`` and ``stop`` (seconds,
            where it was first and last found) and ``active`` (seconds in
            which it was found), and if it was asked for ``distance``:
            ``metres`` (None if only ``low`` is known), ``low`` and ``high``
            (None if it cannot be told); of a trained network ``windows``, in
            how many it was found.
        """
        there = ~np.isnan(self.directions)
        summary = []
        directions = median_direction(self.directions, self.target)
        for talker, direction in enumerate(directions.tolist()):
            mine = there[:, talker]
            track = self.directions[mine, talker]
            spread = np.abs(wrap_direction(track - direction, self.target))
            sure = self.confidence[mine, talker]
            row = {
                "direction": direction,
                "spread": float(np.median(spread)) if mine.sum() > 1 else None,
                "confidence": _mean(sure),
            }
            if self.array is not None:
                row.update(self._presence(talker, mine))
            if self.distances is not None:
                row["distance"] = self._distance(talker)
            elif self.num_talkers is not None:
                row["windows"] = int(mine.sum())
            summary.append(row)
        return summary

    def _presence(self, talker, mine):
        """When and how high a talker was found."""
        height = self.elevation[mine, talker]
        known = mine.any() and not np.isnan(height).all()
        hop = np.diff(self.starts).mean() if len(self.starts) > 1 else None
        shown = np.flatnonzero(mine)
        return {
            "elevation": float(np.nanmedian(height)) if known else None,
            "start": float(self.starts[shown[0]]) if mine.any() else None,
            "stop": float(self.stops[shown[-1]]) if mine.any() else None,
            "active": float(min(len(shown) * hop, self.duration))
            if hop
            else self.duration * len(shown),
        }

    def _distance(self, talker):
        """How far a talker is, as plain values."""
        values = self.distances[talker]._asdict().items()
        return {name: x if np.isfinite(x) else None for name, x in values}

    def to_dict(self):
        """Everything as plain values for JSON; what is silent is null.

        Returns
        -------
        dict
            ``path, target, meaning, duration, talkers, windows``; a window
            has ``start, stop, directions, confidence``. With an array also
            ``array, method, findings``, and in windows ``elevation``; a
            talker who is not there is null. Of a trained network also
            ``num_talkers`` and ``notes``, and in windows ``chances``.
        """
        talkers = self.talkers
        if self.silent.all():
            talkers = [{**talker, "direction": None} for talker in talkers]
        content = {
            "path": self.path,
            "target": self.target,
            "meaning": MEANINGS[self.target],
            "duration": self.duration,
            "talkers": talkers,
            "windows": [self._window(index) for index in range(len(self))],
        }
        if self.array is not None:
            content["array"], content["method"] = self.array, self.method
            content["findings"] = [one.to_dict() for one in self.findings]
        if self.num_talkers is not None:
            content["num_talkers"] = self.num_talkers
            content["notes"] = list(self.notes)
        return content

    def __len__(self):
        return len(self.starts)

    def _window(self, index):
        """One window as plain values."""
        quiet = bool(np.isnan(self.directions[index]).all())
        columns = {"directions": self.directions, "confidence": self.confidence}
        if self.elevation is not None:
            columns["elevation"] = self.elevation
        content = {
            "start": float(self.starts[index]),
            "stop": float(self.stops[index]),
            **{
                name: None if quiet else _plain(values[index])
                for name, values in columns.items()
            },
        }
        if self.chances is not None:
            content["chances"] = _plain(self.chances[index])
        return content


@dataclass
class DirectionMap:
    """How strong each direction was, over time.

    Arguments
    ---------
    times : numpy.ndarray
        Seconds, [time].
    azimuth : numpy.ndarray
        Degrees, ascending, [azimuth].
    strength : numpy.ndarray
        Greatest over elevations, [time, azimuth].
    """

    times: np.ndarray
    azimuth: np.ndarray
    strength: np.ndarray


class Directions(NamedTuple):
    """Predictions for a batch.

    Arguments
    ---------
    degrees : torch.Tensor
        Directions of the talkers, ascending, [batch, talker]; NaN for a
        silent signal, and behind the talkers that there are.
    confidence : torch.Tensor
        Probability that a talker is within 10 degrees of each direction, 0
        without one, [batch, talker]; NaN of a network without calibration.
    """

    degrees: torch.Tensor
    confidence: torch.Tensor


def _mean(confidence):
    """Mean of a talker's confidences; None if they are not known."""
    if not len(confidence):
        return 0.0
    mean = float(confidence.mean())
    return None if np.isnan(mean) else mean


def _plain(row):
    """A row as a list with None for NaN."""
    return [None if np.isnan(value) else value for value in row.tolist()]


def wrap_direction(degrees, target):
    """Differences of directions: all around, in [-180, 180).

    Arguments
    ---------
    degrees : float or array_like
        Differences.
    target : str
        A key of ``MEANINGS``.

    Returns
    -------
    float or array_like
        Same shape; of a folded target unchanged.

    Example
    -------
    >>> wrap_direction(350.0, "full_azimuth"), wrap_direction(170.0, "cone")
    (-10.0, 170.0)
    """
    if LIMITS[target][0] == 0.0:
        return degrees
    return (degrees + 180.0) % 360.0 - 180.0


def median_direction(degrees, target):
    """Median direction over windows, without those that have none.

    Arguments
    ---------
    degrees : numpy.ndarray
        [window, talker]; NaN where there is none.
    target : str
        A key of ``MEANINGS``.

    Returns
    -------
    numpy.ndarray
        Degrees, [talker]; NaN where no window has one.

    Example
    -------
    >>> median_direction(np.array([[179.0], [-179.0]]), "full_azimuth")
    array([-180.])
    """
    if LIMITS[target][0] == 0.0:
        return _column_medians(degrees)
    # About the mean direction, so that both sides of 180 degrees are near.
    radians = np.radians(degrees)
    mean = np.degrees(
        np.arctan2(np.nansum(np.sin(radians), 0), np.nansum(np.cos(radians), 0))
    )
    away = wrap_direction(degrees - mean, target)
    return wrap_direction(mean + _column_medians(away), target)


def _column_medians(values):
    """Medians of columns without NaN; NaN where nothing is left."""
    found = np.full(values.shape[1], np.nan)
    there = ~np.isnan(values).all(axis=0)
    found[there] = np.nanmedian(values[:, there], axis=0)
    return found
