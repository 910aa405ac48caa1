"""Sound event annotations: CSV files of every dialect <-> event tables.

========================  =====================================================
dialect                   a line
========================  =====================================================
dcase2019                 header; class name, start, end [s], elevation,
                          azimuth, distance [m]: an event
dcase2020, dcase2021,     frame, class, source, azimuth, elevation
starss22, polar5
starss23, dcase2024       frame, class, source, azimuth, elevation,
                          distance [cm]
dcase2025                 header; frame, class, source, azimuth, distance [cm],
                          onscreen (read and forgotten, written as 0);
                          elevation 0
l3das22                   header; file, start, end [s], class name, x, y, z [m]:
                          an event; angles rounded to whole degrees
l3das22_compat            same, angles truncated towards zero as in PSELDNets
l3das22_exact             same, angles as they are
synthetic                 as dcase2021, or with distance [cm] and class ids
polar4                    frame, class, azimuth, elevation
polar6                    as starss23 with distance [m] (a system's output)
cartesian6                frame, class, source, x, y, z (any length)
cartesian7                frame, class, source, x, y, z, distance [m]
l3das22_output            frame, class, x, y, z [m]
========================  =====================================================

``auto`` goes by header and number of columns, of a reference; ``estimate``
does so for a system's output, where six columns end in metres.
"""

import os
from pathlib import Path

import numpy as np

from spatial_brain.dataio.annotation_dialects import (
    DIALECTS,
    OPTIONAL,
    detect_dialect,
)
from spatial_brain.dataio.annotation_lines import AnnotationLines
from spatial_brain.dataio.event_ranks import occurrence
from spatial_brain.dataio.events import COLUMNS, FRAME_LENGTH, EventTable

__all__ = ["DIALECTS", "read_events", "write_events"]

_TEXT = ("file", "class", "mids", "onscreen")


def read_events(path, dialect="auto", *, num_classes=None, num_frames=None):
    """Read an annotation file.

    Arguments
    ---------
    path : str or Path
        CSV file. One without rows holds no events, which is legal. Spaces,
        any line ends, a byte-order mark and whole numbers written as floats
        are accepted.
    dialect : str
        Key of ``DIALECTS``, ``"auto"`` or ``"estimate"``. Seven columns are
        Cartesian when guessed, unless the last one holds AudioSet ids.
    num_classes : int, optional
        Refuse class indices from this one on.
    num_frames : int, optional
        Length of the clip, frames. Events given by their times end there;
        by default those of L3DAS22 end at 30 s.

    Returns
    -------
    EventTable
        In the order of the file; of an event dialect by frame, the row of the
        event as source. Its length is ``num_frames``.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        Naming file, line, value and what was expected.

    Example
    -------
    >>> path = getfixture("tmp_path") / "clip.csv"
    >>> _ = path.write_text("0,3,0,-20,10\\n1,3,0,-21,10\\n")
    >>> read_events(path).azimuth.tolist()
    [-20.0, -21.0]
    """
    if dialect not in ("auto", "estimate"):
        _known(dialect)
    lines = AnnotationLines(path)
    dialect = _resolved(lines, dialect)
    form = DIALECTS[dialect]
    num_frames = form.num_frames if num_frames is None else num_frames
    if not lines:
        return EventTable([], [], [], [], num_frames=num_frames)
    columns = _columns(lines, form) if form.header else form.columns
    values = lines.numbers(columns, text=_TEXT)
    if form.classes:
        values["label"] = _class_indices(lines, columns, form.classes)
    lines.check(columns, values, num_classes)
    _to_polar(values, form)
    if form.events:
        values = _frames_of_events(lines, values, dialect, num_frames)
    columns = {name: values.get(name) for name in COLUMNS}
    return EventTable(**columns, num_frames=num_frames)


def _known(dialect):
    """Check the name of a dialect."""
    if dialect not in DIALECTS:
        raise ValueError(
            f"dialect {dialect!r} is not known, expected 'auto', 'estimate' "
            f"or one of {', '.join(DIALECTS)}"
        )


def _resolved(lines, dialect):
    """The dialect of a file when several are possible."""
    if dialect in ("auto", "estimate"):
        if not lines:
            # Whatever it is, it holds no events.
            return "polar5"
        try:
            return detect_dialect(lines.rows[0], dialect)
        except ValueError as error:
            raise lines.error(0, str(error)) from None
    if dialect == "synthetic" and lines and lines.rows[0].count(",") == 6:
        return "synthetic_mids"
    return dialect


def _columns(lines, form):
    """Take the header off and name the columns in the order of the file."""
    words = lines.take_header()
    names = {
        name.lower(): column
        for name, column in zip(form.header, form.columns, strict=True)
    }
    for name, column in names.items():
        if column not in OPTIONAL and name not in words:
            raise lines.error(
                -1,
                f"no column {name!r} in the header {','.join(words)!r}, "
                f"expected {','.join(form.header)}",
            )
    return [names.get(word, "file") for word in words]


def _class_indices(lines, columns, classes):
    """Indices of the class names in the file."""
    index = {name: number for number, name in enumerate(classes)}
    position, labels = columns.index("class"), []
    for row in range(len(lines)):
        word = lines.word(row, position)
        if word not in index:
            raise lines.error(
                row,
                f"class is {word!r}, expected one of {', '.join(classes)}",
            )
        labels.append(index[word])
    return np.array(labels, dtype=np.int64)


def _to_polar(values, form):
    """Add angles and metres to the columns as they were read."""
    if "x" in values:
        x, y, z = (values[name] for name in "xyz")
        flat = np.hypot(x, y)
        angles = np.degrees((np.arctan2(y, x), np.arctan2(z, flat)))
        angles = form.angles(angles) if form.angles else angles
        values["azimuth"], values["elevation"] = angles
        if form.positions:
            values["distance"] = np.hypot(flat, z)
    if "distance" in values:
        values["distance"] = values["distance"] / form.per_metre
    values.setdefault("elevation", np.zeros_like(values["azimuth"]))


def _frames_of_events(lines, values, dialect, num_frames):
    """Write every event out, a row a frame, sorted by frame."""
    start, stop = values["start"], values["end"]
    if (stop < start).any():
        row = int((stop < start).argmax())
        raise lines.error(
            row,
            f"the event ends at {stop[row]:g} s, expected a time from its "
            f"start at {start[row]:g} s",
        )
    if dialect == "dcase2019":
        # Every frame that the event touches; the margin takes up rounding.
        start = np.floor(start / FRAME_LENGTH + 1e-6)
        stop = np.ceil(stop / FRAME_LENGTH - 1e-6)
    else:
        start, stop = np.rint(np.stack((start, stop)) / FRAME_LENGTH)
    if num_frames is not None:
        stop = np.minimum(stop, num_frames)
    start = start.astype(np.int64)
    length = np.maximum(stop.astype(np.int64) - start, 0)
    row = np.repeat(np.arange(len(start)), length)
    first = np.repeat(np.cumsum(length) - length, length)
    frame = start[row] + np.arange(len(row)) - first
    order = np.argsort(frame, kind="stable")
    names = ("label", "azimuth", "elevation", "distance")
    result = {n: values[n][row[order]] for n in names if n in values}
    return {**result, "frame": frame[order], "source": row[order]}


def write_events(path, table, dialect, *, decimals=None):
    """Write an annotation file, complete or not at all.

    Arguments
    ---------
    path : str or Path
        CSV file; its folder is made.
    table : EventTable
        Written in its order; in an event dialect, frames that follow each
        other with equal label, source and place become one event.
    dialect : str
        Key of ``DIALECTS``.
    decimals : int, optional
        Digits after the point of angles, metres, centimetres and coordinates.
        Default: none for angles and centimetres, as in the challenges' files,
        two for the distances and six for the coordinates.

    Raises
    ------
    ValueError
        If the dialect is not known or cannot be written, if it needs
        distances and the table has none, or names for classes it has not.

    Example
    -------
    >>> path = getfixture("tmp_path") / "clip.csv"
    >>> table = EventTable([4, 5], [0, 0], [30.4, 179.6], [-0.4, 2.0])
    >>> write_events(path, table, "polar4")
    >>> path.read_text().split()
    ['4,0,30,0', '5,0,-180,2']
    >>> write_events(path, table, "polar4", decimals=1)
    >>> path.read_text().split()
    ['4,0,30.4,-0.4', '5,0,179.6,2.0']
    """
    _known(dialect)
    form = DIALECTS[dialect]
    if "mids" in form.columns:
        raise ValueError("class ids are not known, write 'synthetic' instead")
    places = form.positions or "distance" in form.columns
    if places and np.isnan(table.distance).any():
        raise ValueError(
            f"{path}: {dialect!r} holds distances, the events have none; "
            "write 'polar5' or 'cartesian6'"
        )
    if (
        form.classes
        and not np.isin(table.label, range(len(form.classes))).all()
    ):
        raise ValueError(
            f"{path}: {dialect!r} has names for {len(form.classes)} classes, "
            f"the events go up to class {table.label.max()}"
        )
    path = Path(path)
    table, start, stop = _events_of_frames(table, form)
    fields = _fields(table, form, decimals, path.stem, start, stop)
    rows = [",".join(row) for row in zip(*fields, strict=True)]
    rows = [",".join(form.header), *rows] if form.header else rows
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        temporary.write_text("".join(f"{row}\n" for row in rows), "utf-8")
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def _events_of_frames(table, form):
    """Join frames to events: first rows, first frames, frames after."""
    if not form.events:
        return table, None, None
    place = np.round((table.azimuth, table.elevation, table.distance), 6)
    kind = np.stack((table.label, table.source, *place), axis=1)
    _, kind = np.unique(kind, axis=0, return_inverse=True)
    kind = kind.reshape(-1)
    # Equal rows of one frame are different events.
    span = int(table.frame.max(initial=0)) + 1
    rank, _ = occurrence(kind * span + table.frame)
    order = np.lexsort((table.frame, rank, kind))
    follows = np.ones(len(order), dtype=bool)
    for values, step in ((kind, 0), (rank, 0), (table.frame, 1)):
        follows[1:] &= np.diff(values[order]) == step
    follows[:1] = False
    first = np.flatnonzero(~follows)
    length = np.diff(first, append=len(order))
    rows = order[first]
    start = table.frame[rows]
    by_time = np.lexsort((rows, start))
    start, rows = start[by_time], rows[by_time]
    return table.select(rows), start, start + length[by_time]


def _fields(table, form, decimals, stem, start, stop):
    """The columns of a file as text."""
    digits = 2 if form.per_metre == 1 else 0
    vectors = table.directions
    if form.positions:
        vectors = vectors * table.distance[:, None]
    azimuth = np.round(table.azimuth, decimals or 0)
    azimuth = np.where(azimuth == 180, -180.0, azimuth)
    columns = {
        "file": lambda: [stem] * len(table),
        "class": lambda: [form.classes[n] for n in table.label],
        "frame": lambda: map(str, table.frame.tolist()),
        "label": lambda: map(str, table.label.tolist()),
        "source": lambda: map(str, table.source.tolist()),
        "start": lambda: _text(start * FRAME_LENGTH, None, 1),
        "end": lambda: _text(stop * FRAME_LENGTH, None, 1),
        "azimuth": lambda: _text(azimuth, decimals, 0),
        "elevation": lambda: _text(table.elevation, decimals, 0),
        "distance": lambda: _text(
            table.distance * form.per_metre, decimals, digits
        ),
        "x": lambda: _text(vectors[:, 0], decimals, 6),
        "y": lambda: _text(vectors[:, 1], decimals, 6),
        "z": lambda: _text(vectors[:, 2], decimals, 6),
        "onscreen": lambda: ["0"] * len(table),
    }
    return [columns[name]() for name in form.columns]


def _text(values, decimals, default):
    """Numbers as text with so many digits after the point."""
    decimals = default if decimals is None else decimals
    # Adding zero turns -0 into 0.
    values = np.round(values, decimals) + 0.0
    return [f"{value:.{decimals}f}" for value in values.tolist()]
