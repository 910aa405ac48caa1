"""Tables of localised sources: CSV, and the frames of the DCASE challenges."""

import csv
import math

import numpy as np

from spatial_brain.atomic import atomic_path
from spatial_brain.inference.localization import median_direction
from spatial_brain.inference.segments import Segment

_DISTANCE = ("distance", "nearest", "farthest")
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
        (empty of a method without); with distances also ``distance,
        nearest, farthest`` of the source (metres; empty if not known).
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
        far = found.distances is not None
        table.writerow(_COLUMNS + _DISTANCE * far)
        for window, source in np.argwhere(~np.isnan(found.directions)):
            height = _elevation(found, window, source)
            table.writerow([
                f"{found.starts[window]:.3f}",
                f"{found.stops[window]:.3f}",
                source + 1,
                f"{found.directions[window, source]:.2f}",
                "" if math.isnan(height) else f"{height:.2f}",
                _share(found.confidence[window, source]),
                *(_metres(found.distances[source]) if far else ()),
            ])  # fmt: skip


def _metres(distance):
    """Distance of a source and its bounds; empty where it is not known."""
    return [f"{x:.2f}" if math.isfinite(x) else "" for x in distance]


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


def source_segments(found):
    """Stretches of time in which each source is there.

    Of windows that overlap each stands for the time that is nearest to its
    centre, the first and the last to the ends of the recording.

    Arguments
    ---------
    found : Localization
        The result.

    Returns
    -------
    list of Segment
        Named ``source1`` or, by a trained network, ``talker1`` and so on;
        medians of the directions, mean confidence.

    Example
    -------
    >>> from spatial_brain.inference.localization import Localization
    >>> degrees = np.array([[40.0], [np.nan], [42.0]])
    >>> found = Localization("a.wav", "cone", 3.0, np.arange(3.0),
    ...                      np.arange(3.0) + 1, degrees, np.ones((3, 1)))
    >>> [(one.start, one.stop, one.azimuth) for one in source_segments(found)]
    [(0.0, 1.0, 40.0), (2.0, 3.0, 42.0)]
    """
    name = "talker" if found.array is None else "source"
    centres = (found.starts + found.stops) / 2
    edges = np.concatenate(
        ([found.starts[0]], (centres[1:] + centres[:-1]) / 2, [found.stops[-1]])
    )
    segments = []
    for source, there in enumerate(~np.isnan(found.directions.T)):
        changes = np.flatnonzero(np.diff(np.pad(there.astype(int), 1)))
        for first, last in changes.reshape(-1, 2):
            mine = slice(first, last), slice(source, source + 1)
            [azimuth] = median_direction(found.directions[mine], found.target)
            heights = [
                _elevation(found, window, source)
                for window in range(first, last)
            ]
            height = float(np.median(heights))
            segments.append(
                Segment(
                    float(edges[first]),
                    float(edges[last]),
                    f"{name}{source + 1}",
                    float(azimuth),
                    _known(height),
                    _known(found.confidence[mine].mean()),
                )
            )
    return segments


def _known(value):
    """A number, or None for NaN."""
    return None if math.isnan(value) else float(value)


def _share(confidence):
    """A confidence as text; empty where it is not known."""
    return "" if math.isnan(confidence) else f"{confidence:.3f}"


def _elevation(found, window, source):
    """Elevation of a source in a window, degrees; NaN if it is not known."""
    if found.elevation is None:
        return math.nan
    return found.elevation[window, source]
