"""What a localiser found in a recording: directions over time."""

from dataclasses import dataclass

import numpy as np
from scipy.optimize import linear_sum_assignment

MEANINGS = {
    "cone": "angle from the +x axis of the array",
    "azimuth": "azimuth from the +x axis, left and right folded",
}
# How many of a talker's latest windows say where it is expected next.
MEMORY = 5


def follow_talkers(degrees, confidence, silent):
    """Order the answers of all windows so that talker 1 stays talker 1.

    Each window's directions are assigned to the talkers' running medians
    with the least total change; in the end talkers are ordered by direction.

    Arguments
    ---------
    degrees : numpy.ndarray
        Directions in any order, [window, talker], in [0, 180].
    confidence : numpy.ndarray
        Moves along with the directions, [window, talker].
    silent : numpy.ndarray
        Windows to leave out, bool, [window]; they become NaN.

    Returns
    -------
    tuple of numpy.ndarray
        Ordered directions and confidence, [window, talker].

    Example
    -------
    >>> degrees = np.array([[40.0, 120], [118, 42], [45, 110]])
    >>> ones, quiet = np.ones((3, 2)), np.zeros(3, dtype=bool)
    >>> follow_talkers(degrees, ones, quiet)[0]
    array([[ 40., 120.],
           [ 42., 118.],
           [ 45., 110.]])
    """
    directions = np.full_like(degrees, np.nan)
    weights = np.full_like(degrees, np.nan)
    for index in np.flatnonzero(~silent):
        known = directions[:index][~silent[:index]][-MEMORY:]
        if len(known):
            expected = np.median(known, axis=0)
        else:
            expected = np.sort(degrees[index])
        cost = np.abs(expected[:, None] - degrees[index][None])
        order = linear_sum_assignment(cost)[1]
        directions[index] = degrees[index][order]
        weights[index] = confidence[index][order]
    if not silent.all():
        order = np.argsort(np.median(directions[~silent], axis=0))
        directions, weights = directions[:, order], weights[:, order]
    return directions, weights


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
        Degrees, [window, talker]; NaN where a window is silent.
    confidence : numpy.ndarray
        Probability within 10 degrees of the direction, [window, talker].

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

    @property
    def silent(self):
        """Windows without sound, bool, [window]."""
        return np.isnan(self.directions).all(axis=1)

    @property
    def talkers(self):
        """Summary of each talker over the recording.

        Returns
        -------
        list of dict
            ``direction`` (median, degrees), ``spread`` (median absolute
            deviation from it, degrees; None with a single window) and
            ``confidence`` (mean).
        """
        heard = self.directions[~self.silent]
        sure = self.confidence[~self.silent]
        summary = []
        for talker in range(self.directions.shape[1]):
            track = heard[:, talker]
            direction = np.median(track)
            spread = float(np.median(np.abs(track - direction)))
            summary.append(
                {
                    "direction": float(direction),
                    "spread": spread if len(track) > 1 else None,
                    "confidence": float(sure[:, talker].mean()),
                }
            )
        return summary

    def to_dict(self):
        """Everything as plain values for JSON; silent windows are null.

        Returns
        -------
        dict
            ``path, target, meaning, duration, talkers, windows``; a window
            has ``start, stop, directions, confidence``.
        """
        windows = [
            {
                "start": float(start),
                "stop": float(stop),
                "directions": None if quiet else directions.tolist(),
                "confidence": None if quiet else confidence.tolist(),
            }
            for start, stop, directions, confidence, quiet in zip(
                self.starts,
                self.stops,
                self.directions,
                self.confidence,
                self.silent,
                strict=True,
            )
        ]
        return {
            "path": self.path,
            "target": self.target,
            "meaning": MEANINGS[self.target],
            "duration": self.duration,
            "talkers": self.talkers,
            "windows": windows,
        }
