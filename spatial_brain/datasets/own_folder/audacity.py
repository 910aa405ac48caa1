"""Label tracks of Audacity whose labels hold directions.

A line of the file that *File > Export > Labels* writes::

    start <tab> end <tab> class azimuth elevation [distance]

Seconds, degrees, metres; the words of a label are separated by spaces, commas
or semicolons. What moves has a label for each piece of its path.
"""

import re
from pathlib import Path
from typing import NamedTuple

import numpy as np

from spatial_brain.atomic import atomic_path
from spatial_brain.dataio.events import FRAME_LENGTH, EventTable, link_events

# A piece of a written path stays within this angle of its beginning, degrees.
_PIECE = 10.0
_NUMBER = re.compile(r"[-+]?\d+(?:\.\d*)?|[-+]?\.\d+")
_BOUNDS = {"azimuth": (-180, 180), "elevation": (-90, 90), "distance": (0, 1e4)}
_FORM = "class azimuth elevation [distance], such as 'dog bark 30 -10'"


class Label(NamedTuple):
    """A label of a track.

    Arguments
    ---------
    start, end : float
        Seconds.
    name : str
        Class.
    azimuth, elevation : float
        Degrees.
    distance : float
        Metres; NaN: not given.
    """

    start: float
    end: float
    name: str
    azimuth: float
    elevation: float
    distance: float


def read_labels(path):
    """Read a label track.

    Arguments
    ---------
    path : str or Path
        File of tab-separated lines. Those that begin with a backslash, the
        frequencies of spectral selections, are left out.

    Returns
    -------
    list of Label
        In the order of the file.

    Raises
    ------
    ValueError
        Naming file, line, value and what was expected.

    Example
    -------
    >>> path = getfixture("tmp_path") / "a.txt"
    >>> _ = path.write_text("0.5\\t1.25\\tdog bark 30 -10\\n")
    >>> [label] = read_labels(path)
    >>> label.name, label.end, label.azimuth, label.elevation
    ('dog bark', 1.25, 30.0, -10.0)
    """
    text = Path(path).read_bytes().decode("utf-8-sig", errors="replace")
    return [
        _parse(f"{path}, line {number}", row)
        for number, row in enumerate(text.splitlines(), 1)
        if row.strip() and not row.startswith("\\")
    ]


def is_label_track(path):
    """Whether a file looks like a label track.

    Arguments
    ---------
    path : str or Path
        The file.

    Returns
    -------
    bool
        True if its first line is two numbers and a text between tabs.

    Example
    -------
    >>> path = getfixture("tmp_path") / "a.txt"
    >>> _ = path.write_text("0.5\\t1.25\\tdog bark 30 -10\\n")
    >>> is_label_track(path)
    True
    """
    text = Path(path).read_bytes().decode("utf-8-sig", errors="replace")
    first = next((row for row in text.splitlines() if row.strip()), "")
    fields = first.split("\t")
    return len(fields) == 3 and all(map(_NUMBER.fullmatch, fields[:2]))


def _parse(where, row):
    """One label, checked; ``where`` it stands is for messages."""
    fields = row.rstrip().split("\t", 2)
    times = [f for f in fields[:2] if _NUMBER.fullmatch(f.strip())]
    if len(fields) < 3 or len(times) < 2:
        raise ValueError(
            f"{where}: {row!r}, expected start, end and label between tabs"
        )
    start, end = map(float, times)
    if not 0 <= start < end:
        raise ValueError(
            f"{where}: the label lasts from {start:g} to {end:g} s, expected "
            "an end after its start; mark a region, not a point"
        )
    words = re.split(r"[\s,;]+", fields[2].strip())
    given = []
    while words and _NUMBER.fullmatch(words[-1]):
        given.insert(0, float(words.pop()))
    if not words or len(given) not in (2, 3):
        raise ValueError(f"{where}: label is {fields[2]!r}, expected {_FORM}")
    for value, (name, bounds) in zip(given, _BOUNDS.items(), strict=False):
        if not bounds[0] <= value <= bounds[1]:
            raise ValueError(
                f"{where}: {name} is {value:g}, expected a number from "
                f"{bounds[0]:g} to {bounds[1]:g}"
            )
    return Label(start, end, " ".join(words), *(*given, np.nan)[:3])


def label_table(labels, class_names, num_frames=None):
    """Labels as frames of 100 ms.

    Arguments
    ---------
    labels : sequence of Label
        Of one recording.
    class_names : sequence of str
        In the order of their numbers; must hold every name.
    num_frames : int, optional
        Length of the recording; later frames are left out.

    Returns
    -------
    EventTable
        A label counts in every frame whose middle it covers, at least in one;
        its number is the source.

    Example
    -------
    >>> label = Label(0.5, 0.8, "bell", 30.0, 0.0, 1.5)
    >>> label_table([label], ["dog", "bell"]).frame.tolist()
    [5, 6, 7]
    """
    index = {name: number for number, name in enumerate(class_names)}
    rows = []
    for source, label in enumerate(labels):
        first = round(label.start / FRAME_LENGTH)
        last = max(round(label.end / FRAME_LENGTH), first + 1)
        if num_frames is not None:
            last = min(last, num_frames)
        rows += [
            (frame, index[label.name], source, *label[3:])
            for frame in range(first, last)
        ]
    rows.sort(key=lambda row: row[:1])
    names = ("frame", "label", "source", "azimuth", "elevation", "distance")
    columns = [list(column) for column in zip(*rows, strict=True)]
    columns = columns or [[] for _ in names]
    return EventTable(
        **dict(zip(names, columns, strict=True)), num_frames=num_frames
    )


def write_labels(path, table, class_names):
    """Write events as a label track that Audacity imports.

    Arguments
    ---------
    path : str or Path
        File; its folder is made.
    table : EventTable
        The events. What moves gets a label for each 10 degrees.
    class_names : sequence of str
        In the order of their numbers.

    Example
    -------
    >>> path = getfixture("tmp_path") / "a.txt"
    >>> table = EventTable([4, 5], [0, 0], [30.4, 31.0], [-9.8, -10.0])
    >>> write_labels(path, table, ["bell"])
    >>> path.read_text()
    '0.4\\t0.6\\tbell 31 -10\\n'
    """
    tracks, directions = link_events(table), table.directions
    near, pieces = np.cos(np.radians(_PIECE)), []
    for track in range(tracks.max(initial=-1) + 1):
        rows = np.flatnonzero(tracks == track)
        rows = rows[np.argsort(table.frame[rows], kind="stable")]
        first = 0
        for place in range(1, len(rows) + 1):
            ends = place == len(rows)
            if ends or directions[rows[place]] @ directions[rows[first]] < near:
                pieces.append(rows[first:place])
                first = place
    pieces.sort(key=lambda rows: table.frame[rows[0]])
    with atomic_path(Path(path)) as temporary:
        temporary.write_text(
            "".join(
                _line(table, directions, rows, class_names) for rows in pieces
            ),
            encoding="utf-8",
        )


def _line(table, directions, rows, class_names):
    """A label over some rows, with their mean direction."""
    x, y, z = directions[rows].mean(0)
    azimuth = np.degrees(np.arctan2(y, x))
    elevation = np.degrees(np.arctan2(z, np.hypot(x, y)))
    start = table.frame[rows[0]] * FRAME_LENGTH
    end = (table.frame[rows[-1]] + 1) * FRAME_LENGTH
    name = class_names[table.label[rows[0]]]
    # Adding zero turns -0 into 0.
    return (
        f"{start:.1f}\t{end:.1f}\t{name} {round(azimuth) + 0:d} "
        f"{round(elevation) + 0:d}\n"
    )
