"""Annotations of own recordings, in any of the formats that users have."""

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np

from spatial_brain.dataio.annotations import (
    DIALECTS,
    AnnotationLines,
    detect_dialect,
    read_events,
    write_events,
)
from spatial_brain.datasets.own_folder.audacity import (
    is_label_track,
    label_table,
    read_labels,
    write_labels,
)

SUFFIXES = (".csv", ".txt")
AUDACITY = "audacity"
FORMATS = ("auto", AUDACITY, *DIALECTS)
# What is written for formats with distances, which no network here estimates.
_WITHOUT_DISTANCE = {
    "cartesian7": "cartesian6",
    **dict.fromkeys(
        (
            "starss23",
            "dcase2024",
            "dcase2025",
            "synthetic",
            "synthetic_mids",
            "polar6",
            "l3das22_output",
        ),
        "polar5",
    ),
}


def find_format(path, form="auto"):
    """Format of an annotation.

    Arguments
    ---------
    path : str or Path
        The file.
    form : str
        ``"auto"``: by its first line; else this.

    Returns
    -------
    str
        ``"audacity"`` for tabs between the fields, else a dialect of
        ``spatial_brain.dataio.annotations``.

    Raises
    ------
    ValueError
        If it is none of these.

    Example
    -------
    >>> path = getfixture("tmp_path") / "a.csv"
    >>> _ = path.write_text("0,3,0,-20,10\\n")
    >>> find_format(path)
    'dcase2021'
    """
    if form not in FORMATS:
        raise ValueError(
            f"annotation_format is {form!r}, expected one of "
            + ", ".join(FORMATS)
        )
    if form != "auto":
        return form
    if is_label_track(path):
        return AUDACITY
    lines = AnnotationLines(path)
    if not lines:
        # Whatever it is, it holds no events.
        return AUDACITY if Path(path).suffix == ".txt" else "polar5"
    try:
        found = detect_dialect(lines.rows[0])
    except ValueError as error:
        raise lines.error(
            0, f"{error}, or start, end and label between tabs (Audacity)"
        ) from None
    # The data set's own evaluation rounds to whole degrees.
    return "l3das22_exact" if found == "l3das22" else found


def count_classes(path, form):
    """How long each class sounds in an annotation, as it names them.

    Arguments
    ---------
    path : str or Path
        The file.
    form : str
        Its format, not ``"auto"``.

    Returns
    -------
    Counter
        Name, or number, of a class to its frames (of events: to their
        number).

    Example
    -------
    >>> path = getfixture("tmp_path") / "a.txt"
    >>> _ = path.write_text("0\\t1\\tbell 30 0\\n")
    >>> count_classes(path, "audacity")
    Counter({'bell': 1})
    """
    if form == AUDACITY:
        return Counter(label.name for label in read_labels(path))
    if not DIALECTS[form].classes:
        return Counter(read_events(path, form).label.tolist())
    lines = AnnotationLines(path)
    header = lines.take_header()
    name = dict(
        zip(DIALECTS[form].columns, DIALECTS[form].header, strict=True)
    )["class"].lower()
    if len(lines) and name not in header:
        raise lines.error(-1, f"no column {name} in the header")
    return Counter(
        lines.word(row, header.index(name)) for row in range(len(lines))
    )


def read_annotation(path, form, class_names):
    """Events of an annotation.

    Arguments
    ---------
    path : str or Path
        The file.
    form : str
        Its format, not ``"auto"``.
    class_names : sequence of str
        In the order of their numbers.

    Returns
    -------
    EventTable
        Frames of 100 ms.

    Raises
    ------
    ValueError
        If it is malformed, or has a class that is none of these.

    Example
    -------
    >>> path = getfixture("tmp_path") / "a.txt"
    >>> _ = path.write_text("0\\t0.2\\tbell 30 0\\n")
    >>> read_annotation(path, "audacity", ["dog", "bell"]).label.tolist()
    [1, 1]
    """
    if form == AUDACITY:
        labels = read_labels(path)
        unknown = {label.name for label in labels} - {*class_names}
        if unknown:
            raise ValueError(
                f"{path}: class is {min(unknown)!r}, expected one of "
                + ", ".join(class_names)
            )
        return label_table(labels, class_names)
    return read_events(
        path, form, num_classes=len(class_names), class_names=class_names
    )


def write_annotation(path, table, form, class_names):
    """Write events in the format that the user has.

    Arguments
    ---------
    path : Path
        File without suffix, which the format decides.
    table : EventTable
        Events without distances: five columns are written for formats of
        frames that have them, and 1 m where an event has a place.
    form : str
        As ``find_format`` gives it.
    class_names : sequence of str
        In the order of their numbers.

    Returns
    -------
    Path
        The file.

    Example
    -------
    >>> from spatial_brain.dataio.events import EventTable
    >>> table = EventTable([4], [0], [30], [-10])
    >>> path = getfixture("tmp_path") / "a"
    >>> write_annotation(path, table, "starss23", ["bell"]).read_text()
    '4,0,-1,30,-10\\n'
    """
    if form == AUDACITY:
        path = path.with_name(f"{path.name}.txt")
        write_labels(path, table, class_names)
        return path
    path = path.with_name(f"{path.name}.csv")
    form = _WITHOUT_DISTANCE.get(form, form)
    if DIALECTS[form].classes:
        table = replace(table, distance=np.ones(len(table)))
    write_events(path, table, form, class_names=class_names)
    return path
