"""Directions of live sound: a line a window."""

import json
import math
from collections import Counter

import numpy as np

from spatial_brain.inference.localization import MEANINGS, median_direction

_COLUMNS = "start,stop,source,azimuth,elevation,confidence"
#: Of ``--output``: name to the suffix of its files.
FORMATS = {"csv": ".csv", "jsonl": ".jsonl"}
# Sources in a summary.
_MOST = 5


class DirectionView:
    """Shows windows of live sound.

    Arguments
    ---------
    form : str
        Of ``--output``, a key of ``FORMATS``.
    finder : DirectionFinder
        What finds the directions.
    """

    def __init__(self, form, finder):
        self.kinds = finder.level_findings
        self.notes = [f"degrees: {MEANINGS[finder.target]}", *_notes(finder)]
        self.header = [_COLUMNS] if form == "csv" else []
        self._form, self._target = form, finder.target
        self._windows, self._seen = 0, Counter()
        self._degrees = {}

    def take(self, windows):
        """Lines, objects and rows of some windows.

        Arguments
        ---------
        windows : list of LiveWindow
            In their order.

        Returns
        -------
        tuple of list
        """
        self._windows += len(windows)
        for window in windows:
            for one in window.sources:
                self._seen[one.number] += 1
                self._degrees.setdefault(one.number, []).append(one.azimuth)
        objects = [_plain(window) for window in windows]
        if self._form == "csv":
            rows = [row for window in windows for row in _rows(window)]
        else:
            rows = [json.dumps(one) for one in objects]
        return [_line(window) for window in windows], objects, rows

    def summary(self):
        """Where the sources were that were found most.

        Returns
        -------
        str
        """
        text = f"{self._windows} window{'s' * (self._windows != 1)}"
        found = []
        for number, count in self._seen.most_common(_MOST):
            degrees = np.array(self._degrees[number])[:, None]
            [middle] = median_direction(degrees, self._target)
            found.append(f"{number} at {middle:.1f}° in {count}")
        more = len(self._seen) - len(found)
        found += [f"{more} more"] if more else []
        return text + (
            f"; source {', '.join(found)}" if found else ", no source"
        )


# Sources in a summary.
_MOST = 5


def _notes(finder):
    """What the array and the method cannot give."""
    for one in finder.limits():
        yield f"{one.severity}: {one.message}"
    if finder.grid.normal is not None:
        yield (
            "note: a plane cannot tell its two sides apart: each direction "
            "may be its mirror image"
        )


def _line(window):
    """A window for people."""
    cells = [_cell(one) for one in window.sources]
    return f"{window.start:7.1f} -{window.stop:7.1f}  " + (
        "   ".join(cells) or "-"
    )


def _cell(source):
    """A source in a window."""
    text = f"{source.number}: {source.azimuth:.1f}°"
    if not math.isnan(source.elevation):
        text += f", {source.elevation:.1f}° up"
    if not math.isnan(source.confidence):
        text += f" ({source.confidence:.2f})"
    return text


def _known(value):
    """A number, None for NaN."""
    return None if math.isnan(value) else float(value)


def _plain(window):
    """A window as plain values."""
    directions = zip(
        window.azimuth, window.elevation, window.confidence, strict=True
    )
    return {
        "start": window.start,
        "stop": window.stop,
        "sources": [
            {
                "source": one.number,
                "azimuth": one.azimuth,
                "elevation": _known(one.elevation),
                "confidence": _known(one.confidence),
            }
            for one in window.sources
        ],
        "directions": [
            {
                "azimuth": float(azimuth),
                "elevation": _known(elevation),
                "confidence": _known(confidence),
            }
            for azimuth, elevation, confidence in directions
            if not math.isnan(azimuth)
        ],
    }


def _rows(window):
    """Rows of CSV of a window."""
    return [
        f"{window.start:.3f},{window.stop:.3f},{one.number},{one.azimuth:.2f},"
        f"{_text(one.elevation, 2)},{_text(one.confidence, 3)}"
        for one in window.sources
    ]


def _text(value, digits):
    """A number; empty for NaN."""
    return "" if math.isnan(value) else f"{value:.{digits}f}"
