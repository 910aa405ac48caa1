"""Distances of the sources of a recording, from the windows they are in."""

import math

import numpy as np

from spatial_brain.inference.localization import (
    median_direction,
    wrap_direction,
)
from spatial_brain.processing.directions.distance import NearField

# Farther than this no room is, metres.
FARTHEST = 10.0
# A source that moves has its distance where it mostly is, degrees.
_STILL = 5.0
# Windows that suffice where a source is alone, and the most that are used.
_ALONE, _MOST = 4, 240


def source_distances(read, fs, array, band, windows, azimuth, elevation):
    """How far each source is from the array.

    Arguments
    ---------
    read : callable
        Takes the first sample of a piece and the one after its last; gives
        [1, time, microphone].
    fs : float
        Sampling rate, hertz.
    array : MicrophoneArray
        The array.
    band : tuple of float
        Lowest and highest frequency used, hertz.
    windows : numpy.ndarray
        First sample of each window and the one after its last, [window, 2].
    azimuth, elevation : numpy.ndarray
        Degrees, [window, source]; NaN where a source is not there.

    Returns
    -------
    tuple of Distance
        One a source: of the windows in which it is within 5 degrees of its
        median, without those that others are in if enough are left.

    Raises
    ------
    ValueError
        If the microphones are too close to each other for the band.
    """
    near = NearField(
        array.positions, fs, min(array.far_field, FARTHEST), band=band
    )
    directions = median_direction(azimuth, "full_azimuth")
    alone = (~np.isnan(azimuth)).sum(1) == 1
    found = []
    for source, direction in enumerate(directions.tolist()):
        away = wrap_direction(azimuth[:, source] - direction, "full_azimuth")
        mine = np.abs(away) <= _STILL
        if (mine & alone).sum() >= _ALONE:
            mine = mine & alone
        height = elevation[mine, source]
        known = not np.isnan(height).all()
        phases = _phases(near, read, windows[mine])
        found.append(
            near.estimate(
                phases,
                direction,
                float(np.nanmedian(height)) if known else None,
            )
        )
    return tuple(found)


def _phases(near, read, windows):
    """Phases of some windows, what they share counted once."""
    total, last = 0.0, 0
    for start, stop in windows[:: math.ceil(len(windows) / _MOST)].tolist():
        total = total + near.phases(read(max(start, last), stop)[0])
        last = stop
    return total
