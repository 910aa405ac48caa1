"""Who or what sounded when: tables of segments in RTTM and CSV.

RTTM is the format of diarisation (NIST, Rich Transcription 2009): a line a
segment, ten fields, ``SPEAKER file channel start duration <NA> <NA> name
confidence <NA>``. It has no field for a direction: those stand in the CSV.
"""

import csv
import re
from dataclasses import dataclass

from spatial_brain.atomic import atomic_path

_COLUMNS = ("start", "stop", "name", "azimuth", "elevation", "confidence")


@dataclass(frozen=True)
class Segment:
    """One stretch of time in which one source sounds.

    Arguments
    ---------
    start, stop : float
        Seconds.
    name : str
        Who or what.
    azimuth, elevation : float, optional
        Degrees.
    confidence : float, optional
        In [0, 1].
    """

    start: float
    stop: float
    name: str
    azimuth: float | None = None
    elevation: float | None = None
    confidence: float | None = None


def write_rttm(path, segments, recording):
    """Write segments as RTTM, without their directions.

    Arguments
    ---------
    path : str or Path
        The file; complete or not there.
    segments : iterable of Segment
        Written in the order of their starts.
    recording : str
        Its name; what is no letter, digit, dot or dash becomes ``_``, here
        and in the names of segments: fields hold no spaces.

    Example
    -------
    >>> path = getfixture("tmp_path") / "a.rttm"
    >>> write_rttm(path, [Segment(0.5, 2, "door bell", 30.0)], "my room")
    >>> path.read_text()
    'SPEAKER my_room 1 0.500 1.500 <NA> <NA> door_bell <NA> <NA>\\n'
    """
    lines = [
        f"SPEAKER {_field(recording)} 1 {one.start:.3f} "
        f"{one.stop - one.start:.3f} <NA> <NA> {_field(one.name)} "
        f"{_number(one.confidence, 3) or '<NA>'} <NA>\n"
        for one in _in_order(segments)
    ]
    with atomic_path(path) as part:
        part.write_text("".join(lines), encoding="utf-8")


def write_segments(path, segments):
    """Write segments as CSV.

    Arguments
    ---------
    path : str or Path
        The table; complete or not there: ``start, stop`` (seconds), ``name``,
        ``azimuth, elevation`` (degrees), ``confidence``; empty where it is
        not known.
    segments : iterable of Segment
        Written in the order of their starts.

    Example
    -------
    >>> path = getfixture("tmp_path") / "a.csv"
    >>> write_segments(path, [Segment(0.5, 2, "bell", 30.0)])
    >>> path.read_text().splitlines()[1]
    '0.500,2.000,bell,30.00,,'
    """
    with (
        atomic_path(path) as part,
        open(part, "w", newline="", encoding="utf-8") as file,
    ):
        table = csv.writer(file, lineterminator="\n")
        table.writerow(_COLUMNS)
        for one in _in_order(segments):
            table.writerow([
                f"{one.start:.3f}",
                f"{one.stop:.3f}",
                one.name,
                _number(one.azimuth, 2),
                _number(one.elevation, 2),
                _number(one.confidence, 3),
            ])  # fmt: skip


def _in_order(segments):
    """Segments by their starts."""
    return sorted(segments, key=lambda one: (one.start, one.stop))


def _field(text):
    """A word of a line of RTTM."""
    return re.sub(r"[^\w.-]+", "_", str(text)) or "_"


def _number(value, digits):
    """A number as text; empty for None."""
    return "" if value is None else f"{value:.{digits}f}"
