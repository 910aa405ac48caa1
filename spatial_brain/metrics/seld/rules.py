"""Rules and input of the SELD scores: the events of many clips."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from spatial_brain.dataio.events import MAX_CLASSES, MAX_FRAMES, EventTable

METRICS = (
    "dcase2019",
    "dcase2020",
    "dcase2021",
    "dcase2022",
    "dcase2023",
    "dcase2024",
    "dcase2025",
    "l3das22",
)
MODES = ("official", "present", "pseldnets", "corrected")
AVERAGES = ("macro", "micro")
SEGMENT_MACRO = ("dcase2021", "dcase2022", "dcase2023")
# Places of frame, class, azimuth, elevation, distance in rows so long.
_PLACES = {
    4: (0, 1, 2, 3, None),
    5: (0, 1, 3, 4, None),
    6: (0, 1, 3, 4, 5),
}
_ANGLES = ("azimuth", "elevation")


def mode_of_protocol(protocol):
    """How a protocol of the SELD recipes counts, in validation and test.

    Arguments
    ---------
    protocol : str
        Of a recipe.

    Returns
    -------
    str
        ``"pseldnets"`` for ``"original"``: that system chooses its epoch and
        reports its figures so; ``"official"`` for all others.

    Example
    -------
    >>> mode_of_protocol("dev"), mode_of_protocol("original")
    ('official', 'pseldnets')
    """
    return "pseldnets" if protocol == "original" else "official"


class Events(NamedTuple):
    """Rows of many clips; each column has shape [N]."""

    clip: np.ndarray
    frame: np.ndarray
    label: np.ndarray
    azimuth: np.ndarray
    elevation: np.ndarray
    distance: np.ndarray

    def select(self, rows):
        """Some of the rows, by mask or indices."""
        return Events(*(column[rows] for column in self))


class Clips(NamedTuple):
    """Clips to be counted together; ``num_frames`` has shape [clips]."""

    reference: Events
    estimate: Events
    num_frames: np.ndarray


@dataclass(frozen=True)
class Rules:
    """How to count and average; the arguments of ``SELDScores``."""

    num_classes: int
    threshold: float = 20.0
    average: str = "macro"
    frames_per_second: int = 10
    mode: str = "official"
    metric: str = "dcase2022"
    distance_threshold: float | None = None
    relative_distance_threshold: float = 1.0
    evaluate_distance: bool = True

    def __post_init__(self):
        for name, known in (
            ("metric", METRICS),
            ("mode", MODES),
            ("average", AVERAGES),
        ):
            if getattr(self, name) not in known:
                raise ValueError(
                    f"{name} must be one of {', '.join(known)}; got "
                    f"{getattr(self, name)!r}"
                )
        for name in ("num_classes", "frames_per_second"):
            value = getattr(self, name)
            if value != int(value) or value < 1:
                raise ValueError(f"{name} must be 1, 2, ...; got {value!r}")
        for name in ("threshold", "relative_distance_threshold"):
            self._check_positive(name)
        if self.mode == "pseldnets" and self.metric not in SEGMENT_MACRO:
            raise ValueError(
                "mode 'pseldnets' belongs to the segment metrics "
                f"{', '.join(SEGMENT_MACRO)}; got metric {self.metric!r}"
            )
        if self.distance_threshold is None:
            default = 1.0 if self.metric == "l3das22" else np.inf
            object.__setattr__(self, "distance_threshold", default)
        self._check_positive("distance_threshold")

    def _check_positive(self, name):
        if not getattr(self, name) > 0:
            raise ValueError(
                f"{name} must be above 0; got {getattr(self, name)!r}"
            )

    @property
    def corrected(self):
        """Whether what the evaluators miscount is counted properly."""
        return self.mode == "corrected"

    @property
    def eps(self):
        """What keeps quotients finite."""
        kind = np.float32 if self.mode == "pseldnets" else np.float64
        return float(np.finfo(kind).eps)


def inside(events, rules, limits):
    """Events of known classes before the end of their clips.

    Arguments
    ---------
    events : Events
        Of some clips.
    rules : Rules
        For the number of classes.
    limits : numpy.ndarray
        Frame after the last of each clip, shape [clips].

    Returns
    -------
    Events
        Those rows; evaluators never look at others.
    """
    keep = (
        (events.label >= 0)
        & (events.label < rules.num_classes)
        & (events.frame >= 0)
        & (events.frame < limits[events.clip])
    )
    return events if keep.all() else events.select(keep)


def per_clip_and_class(clip, label, weight, num_clips, num_classes):
    """Sum numbers up by clip and class.

    Arguments
    ---------
    clip, label : numpy.ndarray
        Shape [N].
    weight : numpy.ndarray
        Shape [N].
    num_clips, num_classes : int
        Shape of the result.

    Returns
    -------
    numpy.ndarray
        float64, shape [num_clips, num_classes].

    Example
    -------
    >>> one = np.array([1])
    >>> per_clip_and_class(one, one, np.array([2.5]), 2, 2).tolist()
    [[0.0, 0.0], [0.0, 2.5]]
    """
    total = np.bincount(
        clip * num_classes + label, weight, num_clips * num_classes
    )
    return total.reshape(num_clips, num_classes)


def error_counts(clip, block, misses, extras, num_clips):
    """Substitutions, deletions and insertions of each clip.

    Arguments
    ---------
    clip, block : numpy.ndarray
        Where something is counted; ``block`` numbers the stretches of time of
        all clips, shape [N].
    misses, extras : numpy.ndarray
        False negatives and false positives there, shape [N].
    num_clips : int
        Shape of the results.

    Returns
    -------
    dict
        ``S``, ``D``, ``I``: float64, shape [num_clips]. In each block misses
        and extras pair up to substitutions; what remains is a deletion or
        an insertion.
    """
    blocks, first, index = np.unique(
        block, return_index=True, return_inverse=True
    )
    fn = np.bincount(index, misses, len(blocks))
    fp = np.bincount(index, extras, len(blocks))
    counts = {
        "S": np.minimum(fn, fp),
        "D": np.maximum(fn - fp, 0),
        "I": np.maximum(fp - fn, 0),
    }
    return {
        name: np.bincount(clip[first], value, num_clips)
        for name, value in counts.items()
    }


def class_mean(values, mask):
    """Mean over some classes.

    Arguments
    ---------
    values : numpy.ndarray
        Shape [..., C].
    mask : numpy.ndarray
        bool, which classes count, shape [..., C].

    Returns
    -------
    numpy.ndarray
        Shape [...]; NaN where no class counts.

    Example
    -------
    >>> class_mean(np.array([1.0, 5.0]), np.array([True, False]))
    np.float64(1.0)
    """
    number = mask.sum(-1)
    total = np.where(mask, values, 0.0).sum(-1)
    mean = total / np.maximum(number, 1)
    return np.where(number > 0, mean, np.nan)[()]


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
    for name, column, bound in (
        ("frame", frame, MAX_FRAMES),
        ("class", label, MAX_CLASSES),
    ):
        good = (np.abs(column) < bound) & (column == np.round(column))
        if not good.all():
            row = int(np.flatnonzero(~good)[0])
            raise ValueError(
                f"{what}, row {row}: {name} must be a whole number; got "
                f"{column[row]} (at most {bound - 1} is believed)"
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
        Tables may know their length.
    columns : sequence of Rows
        Of both.

    Returns
    -------
    int
        Of the tables, else up to the last event of either side.
    """
    for table in (reference, estimate):
        num_frames = getattr(table, "num_frames", None)
        if num_frames is not None:
            return num_frames
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
