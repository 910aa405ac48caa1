"""Events as callers hold them -> columns for counting."""

from typing import NamedTuple

import numpy as np

from spatial_brain.dataio.events import EventTable
from spatial_brain.metrics.seld_rules import Clips, Events

# Places of frame, class, azimuth, elevation, distance in rows so long.
_PLACES = {
    4: (0, 1, 2, 3, None),
    5: (0, 1, 3, 4, None),
    6: (0, 1, 3, 4, 5),
}
_ANGLES = ("azimuth", "elevation")


class Rows(NamedTuple):
    """Events of a clip with angles as they came; each of shape [N].

    Degrees and metres (NaN: unknown). Unlike ``EventTable`` it does not wrap
    azimuths, which costs the last bit.
    """

    frame: np.ndarray
    label: np.ndarray
    azimuth: np.ndarray
    elevation: np.ndarray
    distance: np.ndarray


def as_columns(table, what):
    """Columns of a clip's events.

    Arguments
    ---------
    table : EventTable, Rows or array_like
        Lines of 4 numbers (frame, class, azimuth, elevation), of 5 (frame,
        class, source, azimuth, elevation) or of 6 (the same and the distance
        in cm); angles in degrees. May be empty.
    what : str
        Name for messages.

    Returns
    -------
    Rows
        Its columns.

    Raises
    ------
    ValueError
        If rows have another length, or numbers that cannot be.

    Example
    -------
    >>> rows = as_columns([[3, 1, 0, 90, 0, 150]], "reference")
    >>> [column.tolist() for column in rows]
    [[3], [1], [90.0], [0.0], [1.5]]
    """
    if isinstance(table, Rows):
        columns = table
    elif isinstance(table, EventTable):
        columns = Rows(*(getattr(table, name) for name in Rows._fields))
    else:
        columns = _from_rows(table, what)
    for name in _ANGLES:
        column = getattr(columns, name)
        if not np.isfinite(column).all():
            row = int(np.flatnonzero(~np.isfinite(column))[0])
            raise ValueError(
                f"{what}, row {row}: {name} must be a finite number of "
                f"degrees; got {column[row]}"
            )
    return columns


def _from_rows(rows, what):
    """Columns of rows of numbers; angles stay as they are."""
    try:
        rows = np.asarray(rows, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"{what}: rows must be numbers, all rows of one length ({error})"
        ) from error
    if rows.size == 0:
        rows = rows.reshape(0, 4)
    if rows.ndim != 2 or rows.shape[1] not in _PLACES:
        raise ValueError(
            f"{what} must have rows of 4, 5 or 6 numbers (frame, class, "
            "[source,] azimuth, elevation[, distance in cm]); got shape "
            f"{rows.shape}"
        )
    *places, far = _PLACES[rows.shape[1]]
    frame, label, azimuth, elevation = (rows[:, place] for place in places)
    whole = []
    for name, column in (("frame", frame), ("class", label)):
        if not (np.isfinite(column) & (column == np.round(column))).all():
            row = int(np.flatnonzero(~(column == np.round(column)))[0])
            raise ValueError(
                f"{what}, row {row}: {name} must be a whole number; got "
                f"{column[row]}"
            )
        whole.append(column.astype(np.int64))
    distance = np.full(len(rows), np.nan)
    if far is not None:
        distance = rows[:, far] / 100
    return Rows(*whole, azimuth, elevation, distance)


def clip_length(reference, estimate, columns):
    """Frames of a clip whose length was not given.

    Arguments
    ---------
    reference, estimate : EventTable or array_like
        Tables may tell.
    columns : sequence of Rows
        Of both.

    Returns
    -------
    int
        As the tables say, else up to the last event of either side.
    """
    for table in (reference, estimate):
        told = getattr(table, "num_frames", None)
        if told is not None:
            return told
    return max(int(side.frame.max(initial=-1)) for side in columns) + 1


def is_many(tables):
    """Whether an argument is a sequence of clips and not one clip.

    Arguments
    ---------
    tables : object
        What a caller passed as reference or estimate.

    Returns
    -------
    bool
        True for lists of tables or of lists of rows.

    Example
    -------
    >>> is_many([[0, 1, 90, 0]]), is_many([[[0, 1, 90, 0]], []]), is_many([])
    (False, True, False)
    """
    if isinstance(tables, Rows) or not isinstance(tables, (list, tuple)):
        return False
    return len(tables) > 0 and all(
        isinstance(table, (EventTable, Rows))
        or np.ndim(table) == 2
        or (np.ndim(table) == 1 and len(table) == 0)
        for table in tables
    )


def stack(clips):
    """Join the columns of many clips.

    Arguments
    ---------
    clips : sequence of tuple
        Rows of the reference, of the estimate, number of frames.

    Returns
    -------
    Clips
        With the number of the clip as first column.
    """
    sides = []
    for side in (0, 1):
        tables = [clip[side] for clip in clips]
        lengths = [len(table[0]) for table in tables]
        columns = [np.concatenate(part) for part in zip(*tables, strict=True)]
        sides.append(
            Events(np.repeat(np.arange(len(clips)), lengths), *columns)
        )
    return Clips(*sides, np.array([clip[2] for clip in clips], dtype=np.int64))
