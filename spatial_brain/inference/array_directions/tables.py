"""Tables of localised sources: CSV, and the frames of the DCASE challenges."""

import csv
import math

import numpy as np

from spatial_brain.atomic import atomic_path

_COLUMNS = ("start", "stop", "source", "azimuth", "elevation", "confidence")
# Seconds of a frame of the challenges.
_FRAME = 0.1


def write_csv(path, found):
    """Write a line a window and source.

    Arguments
    ---------
    path : str or Path
        The table: ``start, stop`` (seconds), ``source`` (from 1), ``azimuth,
        elevation`` (degrees; empty where it is not known), ``confidence``
        (empty of a method without).
    found : Localization
        The result.

    Example
    -------
    >>> from spatial_brain.inference.localization import Localization
    >>> found = Localization("a.wav", "cone", 1.0, np.zeros(1), np.ones(1),
    ...                      np.array([[40.0]]), np.ones((1, 1)))
    >>> path = getfixture("tmp_path") / "a.csv"
    >>> write_csv(path, found)
    >>> path.read_text().splitlines()[1]
    '0.000,1.000,1,40.00,,1.000'
    """
    with (
        atomic_path(path) as part,
        open(part, "w", newline="", encoding="utf-8") as file,
    ):
        table = csv.writer(file, lineterminator="\n")
        table.writerow(_COLUMNS)
        for window, source in np.argwhere(~np.isnan(found.directions)):
            height = _elevation(found, window, source)
            sure = found.confidence[window, source]
            table.writerow([
                f"{found.starts[window]:.3f}",
                f"{found.stops[window]:.3f}",
                source + 1,
                f"{found.directions[window, source]:.2f}",
                "" if math.isnan(height) else f"{height:.2f}",
                "" if math.isnan(sure) else f"{sure:.3f}",
            ])  # fmt: skip


def write_dcase(path, found):
    """Write frames of 100 ms as the challenges' tables have them.

    Arguments
    ---------
    path : str or Path
        The table without header: frame, class (0), source (from 0), azimuth,
        elevation (whole degrees; 0 where it is not known).
    found : Localization
        The result; a frame shows the window whose centre is nearest.

    Example
    -------
    >>> from spatial_brain.inference.localization import Localization
    >>> found = Localization("a.wav", "cone", 0.2, np.zeros(1),
    ...                      np.full(1, 0.2), np.array([[40.0]]),
    ...                      np.ones((1, 1)))
    >>> path = getfixture("tmp_path") / "a.csv"
    >>> write_dcase(path, found)
    >>> path.read_text().splitlines()
    ['0,0,0,40,0', '1,0,0,40,0']
    """
    centres = (found.starts + found.stops) / 2
    frames = np.arange(max(1, math.floor(found.duration / _FRAME + 1e-6)))
    middle = (frames + 0.5) * _FRAME
    after = np.searchsorted(centres, middle).clip(0, len(centres) - 1)
    before = (after - 1).clip(0)
    nearer = np.abs(centres[before] - middle) <= np.abs(centres[after] - middle)
    windows = np.where(nearer, before, after)
    with (
        atomic_path(path) as part,
        open(part, "w", newline="", encoding="utf-8") as file,
    ):
        table = csv.writer(file, lineterminator="\n")
        for frame, window in zip(frames, windows, strict=True):
            for source in np.flatnonzero(~np.isnan(found.directions[window])):
                height = _elevation(found, window, source)
                azimuth = round(float(found.directions[window, source]))
                table.writerow([
                    frame,
                    0,
                    source,
                    azimuth,
                    0 if math.isnan(height) else round(float(height)),
                ])  # fmt: skip


def _elevation(found, window, source):
    """Elevation of a source in a window, degrees; NaN if it is not known."""
    if found.elevation is None:
        return math.nan
    return found.elevation[window, source]
