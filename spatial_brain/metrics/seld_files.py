"""Events out of challenge files, to the last bit as the evaluators read them.

Angles are mostly whole degrees, and pairs of events often cost the same one
way and the other: rounding decides, and with it the score. So angles stay as
they are in the file, and Cartesian ones are converted as evaluators do.
"""

import numpy as np

from spatial_brain.dataio.annotation_dialects import DIALECTS, detect_dialect
from spatial_brain.dataio.annotation_lines import AnnotationLines
from spatial_brain.dataio.annotations import read_events
from spatial_brain.metrics.seld_input import Rows

# Direction vectors of networks have about length 1; angles are larger.
LONGEST = 10
_NO_NUMBERS = ("file", "class", "mids", "onscreen")


def read_rows(path, columns=None, guess="auto"):
    """Read a file with a row a frame and event.

    Arguments
    ---------
    path : str or Path
        CSV file, may be empty.
    columns : dict
        Number of columns to dialect, where the usual guess does not hold.
    guess : str
        ``"auto"``: a reference, ``"estimate"``: a system's output.

    Returns
    -------
    Rows or EventTable
        Events in the order of the file; a table where the file holds whole
        events with their times.

    Raises
    ------
    ValueError
        Naming file, line, value and what was expected.

    Example
    -------
    >>> path = getfixture("tmp_path") / "clip.csv"
    >>> _ = path.write_text("4,2,0,0.0,1.0,0.0,2.5")
    >>> read_rows(path, guess="estimate").azimuth.tolist()
    [90.0]
    """
    lines = AnnotationLines(path)
    if not lines:
        return empty_rows()
    first = lines.rows[0]
    dialect = (columns or {}).get(first.count(",") + 1)
    if dialect is None or first.lstrip()[:1].isalpha():
        try:
            dialect = detect_dialect(first, guess)
        except ValueError as error:
            raise lines.error(0, str(error)) from None
    form = DIALECTS[dialect]
    if form.events or form.header:
        exact = "l3das22_exact" if dialect == "l3das22" else dialect
        return read_events(path, exact)
    values = lines.numbers(form.columns, text=_NO_NUMBERS)
    lines.check(form.columns, values)
    distance = np.full(len(lines), np.nan)
    if "distance" in values:
        distance = values["distance"] / form.per_metre
    if "x" in values:
        _check_length(lines, values, form)
        azimuth, elevation, radius = _polar(*(values[n] for n in "xyz"))
        distance = radius if form.positions else distance
    else:
        azimuth, elevation = values["azimuth"], values["elevation"]
    whole = (values[name].astype(np.int64) for name in ("frame", "label"))
    return Rows(*whole, azimuth, elevation, distance)


def _check_length(lines, values, form):
    """Refuse angles where directions are expected."""
    longest = np.max([np.abs(values[name]) for name in "xyz"], axis=0)
    if not form.positions and (longest > LONGEST).any():
        row = int((longest > LONGEST).argmax())
        told = ",".join(f"{values[name][row]:g}" for name in "xyz")
        raise lines.error(
            row,
            f"x,y,z are {told}, expected a direction vector (of "
            f"{len(form.columns)} columns, {','.join(form.columns)})",
        )


def empty_rows():
    """No events.

    Returns
    -------
    Rows
        Of length 0.
    """
    whole = np.empty(0, dtype=np.int64)
    return Rows(whole, whole, *np.empty((3, 0)))


def _polar(x, y, z):
    """Degrees, and the length of the vectors."""
    flat = np.sqrt(x**2 + y**2)
    azimuth = np.arctan2(y, x) * 180 / np.pi
    elevation = np.arctan2(z, flat) * 180 / np.pi
    return azimuth, elevation, np.hypot(flat, z)


def read_rows_2019(path, frames_per_second, num_frames):
    """Read a reference of DCASE2019 in the frames of its evaluator.

    Arguments
    ---------
    path : str or Path
        CSV file with header; a row an event with its times in seconds.
    frames_per_second : int
        50 in that challenge.
    num_frames : int
        Events end there.

    Returns
    -------
    Rows
        An event sounds from the frame in which it starts to the one after
        that in which it ends, as the evaluator has it.

    Raises
    ------
    ValueError
        Naming file, line, value and what was expected.
    """
    form, lines = DIALECTS["dcase2019"], AnnotationLines(path)
    if not lines:
        return empty_rows()
    header = dict(zip(form.header, form.columns, strict=True))
    columns = [header.get(word, "file") for word in lines.take_header()]
    for name, column in header.items():
        if column != "distance" and column not in columns:
            raise lines.error(
                -1, f"no column {name!r}, expected {','.join(form.header)}"
            )
    values = lines.numbers(columns, text=_NO_NUMBERS)
    lines.check(columns, values)
    labels = np.empty(len(lines), dtype=np.int64)
    for row in range(len(lines)):
        word = lines.word(row, columns.index("class"))
        if word not in form.classes:
            raise lines.error(
                row,
                f"class is {word!r}, expected one of {', '.join(form.classes)}",
            )
        labels[row] = form.classes.index(word)
    start = np.floor(values["start"] * frames_per_second)
    stop = np.minimum(np.ceil(values["end"] * frames_per_second), num_frames)
    length = np.maximum(stop + 1 - start, 0).astype(np.int64)
    row = np.repeat(np.arange(len(lines)), length)
    first = np.repeat(np.cumsum(length) - length, length)
    frame = start.astype(np.int64)[row] + np.arange(len(row)) - first
    nowhere = np.full(len(row), np.nan)
    angles = (values[name][row] for name in ("azimuth", "elevation"))
    return Rows(frame, labels[row], *angles, nowhere)
