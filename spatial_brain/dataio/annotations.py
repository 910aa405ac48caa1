"""Sound event annotations: CSV files of every dialect <-> event tables.

========================  =====================================================
dialect                   columns of a line
========================  =====================================================
dcase2019                 header; class name, start, end [s], elevation,
                          azimuth, distance [m]: an event
dcase2020, dcase2021,     frame, class, source, azimuth, elevation
starss22, polar5
starss23, dcase2024       frame, class, source, azimuth, elevation,
                          distance [cm]
dcase2025                 header; frame, class, source, azimuth, distance [cm],
                          onscreen (not kept, written as 0);
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

A line describes one instance in one frame of 100 ms or, where it has a start
and an end in seconds, a whole event. Columns, units and class numbers are
those of the DCASE Task 3 baselines of 2019 to 2025 and the L3DAS22 baseline.
Semicolons, tabs or spaces between the columns, decimal commas beside
semicolons, and quoted numbers are read. So is a first line with names, such as
``frame,class,azimuth,elevation,distance_m``: columns then go by their names.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from spatial_brain.atomic import atomic_path
from spatial_brain.dataio.events import (
    COLUMNS,
    FRAME_LENGTH,
    MAX_CLASSES,
    MAX_FRAMES,
    EventTable,
    occurrence,
)

_POLAR = ("azimuth", "elevation")
_XYZ = ("x", "y", "z")
_ROW = ("frame", "label", "source")

# The class numbers of the DCASE2019 baseline, in their order.
DCASE2019_CLASSES = (
    "knock",
    "drawer",
    "clearthroat",
    "phone",
    "keysDrop",
    "speech",
    "keyboard",
    "pageturn",
    "cough",
    "doorslam",
    "laughter",
)
L3DAS22_CLASSES = (
    "Chink_and_clink",
    "Computer_keyboard",
    "Cupboard_open_or_close",
    "Drawer_open_or_close",
    "Female_speech_and_woman_speaking",
    "Finger_snapping",
    "Keys_jangling",
    "Knock",
    "Laughter",
    "Male_speech_and_man_speaking",
    "Printer",
    "Scissors",
    "Telephone",
    "Writing",
)
# Columns that a header may lack: nothing is lost without them.
_OPTIONAL = ("file", "distance", "onscreen")
# Columns that are not parsed as numbers.
_TEXT = ("file", "class", "mids", "onscreen")
# What a first line may call the columns of a row a frame.
_NAMES = {
    "frame": ("frame", "frame_number", "frame_index"),
    "label": ("class", "label", "class_index", "active_class_index"),
    "source": (
        "source",
        "source_number",
        "source_number_index",
        "track",
        "track_number",
        "track_index",
    ),
    "azimuth": ("azimuth", "azi"),
    "elevation": ("elevation", "ele"),
    "distance": ("distance", "dist"),
    **{axis: (axis,) for axis in _XYZ},
}
_QUOTED = re.compile(r"""(["'])\s*([-+]?[\d.]+(?:[eE][-+]?\d+)?)\s*\1""")
# "distance [cm]", "azimuth_deg": a name and its unit.
_UNIT = re.compile(r"(.*?)_*[\[(](\w+)[\])]$|(.*)_(cm|m|deg|degrees|rad)$")
_UNITS = {"cm": 100, "m": 1}
# What a column may hold: lowest, highest, whole numbers only, in words.
_SECONDS = MAX_FRAMES * FRAME_LENGTH
_FAR = 1e7
_RANGES = {
    "frame": (0, MAX_FRAMES - 1, True, f"a whole number below {MAX_FRAMES}"),
    "label": (
        0,
        MAX_CLASSES - 1,
        True,
        f"a class index, a whole number below {MAX_CLASSES}",
    ),
    "source": (-(2**31), 2**31, True, "a whole number of at most 32 bits"),
    "azimuth": (-180, 180, False, "degrees in [-180, 180]"),
    "elevation": (-90, 90, False, "degrees in [-90, 90]"),
    "distance": (0, _FAR, False, f"a distance in [0, {_FAR:g}]"),
    "start": (0, _SECONDS, False, f"seconds in [0, {_SECONDS:g}]"),
    "end": (0, _SECONDS, False, f"seconds in [0, {_SECONDS:g}]"),
    **dict.fromkeys(_XYZ, (-_FAR, _FAR, False, f"a number up to {_FAR:g}")),
}
# Evaluators score angles that overshoot: a turn at most is believed.
_OVERSHOOT = {
    "azimuth": (-360, 360, False, "degrees in [-360, 360]"),
    "elevation": (-180, 180, False, "degrees in [-180, 180]"),
}
# Rows that the events of a file may make.
_MAX_ROWS = MAX_FRAMES
# Dialect by number of columns.
_BY_COUNT = {
    "auto": {4: "polar4", 5: "dcase2021", 6: "starss23", 7: "cartesian7"},
    "estimate": {4: "polar4", 5: "polar5", 6: "polar6", 7: "cartesian7"},
}
# Otherwise as these are files that begin with names of columns.
NAMED = {"auto": "starss23", "estimate": "polar6"}


@dataclass(frozen=True)
class Dialect:
    """How a CSV file of sound events is written.

    Arguments
    ---------
    columns : tuple of str
        In the order of the file.
    per_metre : int
        Units of distance per metre: 1, or 100 for centimetres.
    classes : tuple of str
        Class names, where the file holds names instead of indices.
    header : tuple of str
        The names in the first line, one per column; empty: no such line.
    positions : bool
        Whether x, y and z are metres and not only a direction.
    angles : callable
        What is done to angles computed from x, y and z; None: nothing.
    num_frames : int
        Where every clip ends, frames; None: known only from elsewhere.
    """

    columns: tuple
    per_metre: int = 1
    classes: tuple = ()
    header: tuple = ()
    positions: bool = False
    angles: Callable = None
    num_frames: int = None

    @property
    def events(self):
        """Whether a row is an event and not one frame of it."""
        return "start" in self.columns


_FIVE = Dialect((*_ROW, *_POLAR))
_CENTIMETRES = Dialect((*_ROW, *_POLAR, "distance"), per_metre=100)
_L3DAS22 = Dialect(
    ("file", "start", "end", "class", *_XYZ),
    classes=L3DAS22_CLASSES,
    header=("File", "Start", "End", "Class", "X", "Y", "Z"),
    positions=True,
    num_frames=300,
)

DIALECTS = {
    "dcase2019": Dialect(
        ("class", "start", "end", "elevation", "azimuth", "distance"),
        classes=DCASE2019_CLASSES,
        header=(
            "sound_event_recording",
            "start_time",
            "end_time",
            "ele",
            "azi",
            "dist",
        ),
    ),
    "dcase2020": _FIVE,
    "dcase2021": _FIVE,
    "starss22": _FIVE,
    "starss23": _CENTIMETRES,
    "dcase2024": _CENTIMETRES,
    "dcase2025": Dialect(
        ("frame", "label", "source", "azimuth", "distance", "onscreen"),
        per_metre=100,
        header=("frame", "class", "source", "azimuth", "distance", "onscreen"),
    ),
    "l3das22": replace(_L3DAS22, angles=np.rint),
    "l3das22_compat": replace(_L3DAS22, angles=np.trunc),
    "l3das22_exact": _L3DAS22,
    "synthetic": _FIVE,
    "synthetic_mids": Dialect(
        (*_ROW, *_POLAR, "distance", "mids"), per_metre=100
    ),
    "polar4": Dialect(("frame", "label", *_POLAR)),
    "polar5": _FIVE,
    "polar6": Dialect((*_ROW, *_POLAR, "distance")),
    "cartesian6": Dialect((*_ROW, *_XYZ)),
    "cartesian7": Dialect((*_ROW, *_XYZ, "distance")),
    "l3das22_output": Dialect(("frame", "label", *_XYZ), positions=True),
}


def detect_dialect(first_line, guess="auto"):
    """Guess the dialect of a file from its first line.

    Arguments
    ---------
    first_line : str
        First line that is not blank.
    guess : str
        ``"auto"`` takes six columns as a reference with centimetres,
        ``"estimate"`` as a system's output with metres.

    Returns
    -------
    str
        Key of ``DIALECTS``. Seven columns: ``"synthetic_mids"`` if the last
        one holds AudioSet ids ("/m/..."), else ``"cartesian7"``.

    Raises
    ------
    ValueError
        If no dialect has so many columns; the message lists those known.

    Example
    -------
    >>> detect_dialect("0,3,0,-20,10"), detect_dialect("0,3,0,-20,10,154")
    ('dcase2021', 'starss23')
    >>> detect_dialect("0,3,0,-20,10,1.54", "estimate")
    'polar6'
    >>> detect_dialect("sound_event_recording,start_time,end_time,ele,azi,dist")
    'dcase2019'
    """
    dialect = _header_dialect(first_line)
    if dialect is not None:
        return dialect
    words = _words(first_line)
    if len(words) == 7 and words[-1].startswith("/"):
        return "synthetic_mids"
    if len(words) not in _BY_COUNT[guess]:
        raise ValueError(
            f"{len(words)} columns, expected 4, 5, 6 or 7, or the header of "
            "DCASE2019, DCASE2025 or L3DAS22"
        )
    return _BY_COUNT[guess][len(words)]


def _words(line):
    """Fields of a line without spaces and quotes around them."""
    return [word.strip(" \t\"'") for word in line.split(",")]


def _header_dialect(first_line):
    """Dialect of a challenge's own header, or None."""
    words = {word.lower() for word in _words(first_line)}
    if "start_time" in words:
        return "dcase2019"
    if {"start", "end", "class"} <= words:
        return "l3das22"
    return "dcase2025" if "onscreen" in words else None


class AnnotationLines:
    """Lines of an annotation file, blank ones left out.

    ``notes`` names what was read although it is not as the challenges write
    it, such as semicolons between the columns.

    Arguments
    ---------
    path : str or Path
        File, UTF-8 with or without a byte-order mark, any line ends.

    Example
    -------
    >>> path = getfixture("tmp_path") / "a.csv"
    >>> _ = path.write_text("1,2\\n\\n3,x\\n")
    >>> lines = AnnotationLines(path)
    >>> len(lines)
    2
    >>> lines.numbers(("frame", "label"))
    Traceback (most recent call last):
    ...
    ValueError: ...a.csv, line 3: label is 'x', expected a number
    """

    def __init__(self, path):
        self.path = Path(path)
        # Bytes that are no text end as a field that is no number.
        text = self.path.read_bytes().decode("utf-8-sig", errors="replace")
        text = text.replace("\r\n", "\n").replace("\r", "\n")
        self.every, self.notes = _with_commas(text)
        self.rows = [line for line in self.every if line and not line.isspace()]
        self.header = None

    def __len__(self):
        return len(self.rows)

    @property
    def begins_with_names(self):
        """Whether the first line holds names and no numbers."""
        return bool(self.rows) and self.rows[0].lstrip(" \t\"'")[:1].isalpha()

    def take_header(self):
        """Take the first line off and keep it as ``header``.

        Returns
        -------
        list of str
            Its fields in lower case; empty if there is no line.
        """
        self.header, self.rows = self.rows[:1], self.rows[1:]
        words = _words(self.header[0]) if self.header else []
        return [word.lower() for word in words]

    def error(self, row, message):
        """The exception for a row.

        Arguments
        ---------
        row : int
            Index of the row; -1 is the header.
        message : str
            What is wrong.

        Returns
        -------
        ValueError
            Naming the file and the line, counted from 1.
        """
        row += bool(self.header)
        filled = [n for n, line in enumerate(self.every, 1) if line.strip()]
        return ValueError(f"{self.path}, line {filled[row]}: {message}")

    def word(self, row, position):
        """One field as text.

        Arguments
        ---------
        row, position : int
            Which.

        Returns
        -------
        str
            Without spaces and quotes around it.
        """
        return _words(self.rows[row])[position]

    def numbers(self, columns, text=()):
        """Parse the rows.

        Arguments
        ---------
        columns : sequence of str
            Name of every column of the file.
        text : sequence of str
            Columns to leave out.

        Returns
        -------
        dict of str to numpy.ndarray
            float64 columns, shape [N], finite.

        Raises
        ------
        ValueError
            For the first row with another number of columns, or with a field
            that is no finite number.
        """
        used = [n for n, name in enumerate(columns) if name not in text]
        if not self.rows:
            return {columns[n]: np.empty(0) for n in used}
        commas = len(columns) - 1
        every = len(used) == len(columns)
        values = None
        # Without a choice of columns the parser counts them in every row.
        if every or all(line.count(",") == commas for line in self.rows):
            try:
                values = np.loadtxt(
                    self.rows,
                    delimiter=",",
                    comments=None,
                    usecols=None if every else used,
                    ndmin=2,
                )
            except ValueError:
                values = None
        if (
            values is None
            or values.shape[1] != len(used)
            or not np.isfinite(values).all()
        ):
            raise self._fault(columns, used)
        return {columns[n]: values[:, i] for i, n in enumerate(used)}

    def _fault(self, columns, used):
        """The exception for the first row that cannot be parsed."""
        for row, line in enumerate(self.rows):
            words = line.split(",")
            if len(words) != len(columns):
                return self.error(
                    row,
                    f"{len(words)} columns in {line.strip()!r}, expected "
                    f"{len(columns)}: {','.join(columns)}",
                )
            for position in used:
                word = words[position].strip()
                try:
                    number = float(word) if "_" not in word else np.nan
                except ValueError:
                    number = np.nan
                if not np.isfinite(number):
                    return self.error(
                        row,
                        f"{columns[position]} is {word!r}, expected a number",
                    )
        return ValueError(f"{self.path}: not a table of numbers")

    def check(self, columns, values, num_classes=None, overshoot=False):
        """Check that the numbers mean something.

        Arguments
        ---------
        columns : sequence of str
            Name of every column of the file.
        values : dict of str to numpy.ndarray
            As ``numbers`` returns them.
        num_classes : int, optional
            Number of classes; None: any class index is right.
        overshoot : bool
            Whether angles may lie up to a turn beyond their range.

        Raises
        ------
        ValueError
            For the first row with a value out of its range.
        """
        faults = []
        ranges = _RANGES | _OVERSHOOT if overshoot else _RANGES
        for name in [name for name in columns if name in ranges]:
            value = values[name]
            low, high, whole, expected = ranges[name]
            if name == "label" and num_classes is not None:
                high = num_classes - 1
                expected = f"a class index in 0..{high}"
            bad = (value < low) | (value > high)
            if whole:
                bad |= value != np.rint(value)
            if bad.any():
                faults.append((int(bad.argmax()), name, expected))
        if set(_XYZ) <= set(columns):
            nowhere = ~np.any([values[name] for name in _XYZ], axis=0)
            if nowhere.any():
                row = int(nowhere.argmax())
                faults.append((row, "z", "not 0 where x and y are 0: no place"))
        if faults:
            row, name, expected = min(faults, key=lambda fault: fault[0])
            word = self.word(row, columns.index(name))
            raise self.error(row, f"{name} is {word!r}, expected {expected}")


def _with_commas(text):
    """Lines with commas between plain numbers, and what they had instead."""
    notes = []
    if ('"' in text or "'" in text) and _QUOTED.search(text):
        text = _QUOTED.sub(r"\2", text)
        notes.append("quoted numbers")
    lines = text.split("\n")
    first = next((line for line in lines if line and not line.isspace()), "")
    if first.count(";") > 2:
        notes.append("semicolons between the columns")
        if "," in text:
            notes.append("decimal commas")
        lines = text.replace(",", ".").replace(";", ",").split("\n")
    elif "," not in first and first.count("\t") > 2:
        notes.append("tabs between the columns")
        lines = text.replace("\t", ",").split("\n")
    elif "," not in first and len(first.split()) > 3:
        notes.append("spaces between the columns")
        lines = [",".join(line.split()) for line in lines]
    return lines, notes


def named_dialect(lines, form):
    """The dialect that a first line of names stands for; takes the line off.

    Arguments
    ---------
    lines : AnnotationLines
        Beginning with names.
    form : Dialect
        Otherwise as this: whether x, y, z are positions, and the unit of
        distances, if it has such, where the name has none.

    Returns
    -------
    Dialect
        A row a frame, its columns in the order of the file.

    Raises
    ------
    ValueError
        Naming the column that is not known, is missing, stands twice, or is a
        distance in an unknown unit.

    Example
    -------
    >>> path = getfixture("tmp_path") / "clip.csv"
    >>> _ = path.write_text("Frame,Class,Azi,Ele,Distance [cm]\\n4,2,90,0,150")
    >>> lines = AnnotationLines(path)
    >>> named_dialect(lines, DIALECTS["polar6"]).columns
    ('frame', 'label', 'azimuth', 'elevation', 'distance')
    """
    known = {name: column for column in _NAMES for name in _NAMES[column]}
    columns, per_metre = [], form.per_metre
    for word in lines.take_header():
        name, unit = _split_unit(word)
        column = known.get(name)
        if column is None or unit == "rad":
            raise lines.error(
                -1,
                f"no column is called {word!r}; expected "
                f"{', '.join(names[0] for names in _NAMES.values())} (angles "
                "in degrees), or no line of names",
            )
        columns.append(column)
        if column == "distance" and unit in _UNITS:
            per_metre = _UNITS[unit]
        elif column == "distance" and "distance" not in form.columns:
            raise lines.error(
                -1,
                f"{word!r} has no unit, write 'distance [cm]' or "
                "'distance [m]'",
            )
    twice = {name for name in columns if columns.count(name) > 1}
    missing = {"frame", "label", *(_XYZ if "x" in columns else _POLAR)}
    missing -= set(columns)
    if twice or missing:
        what = "stands twice" if twice else "is missing"
        raise lines.error(-1, f"column {min(twice or missing)!r} {what}")
    lines.notes.append("a line of names")
    return replace(form, columns=tuple(columns), per_metre=per_metre)


def _split_unit(word):
    """Name and unit: "distance [cm]" is ("distance", "cm")."""
    word = re.sub(r"\s+", "_", word)
    found = _UNIT.fullmatch(word)
    if not found:
        return word, ""
    return found[1] or found[3], found[2] or found[4]


def read_events(
    path,
    dialect="auto",
    *,
    num_classes=None,
    num_frames=None,
    class_names=None,
):
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
    class_names : sequence of str, optional
        Names in the order of their indices, where the file holds names;
        default: those of the dialect's data set, whose length is the default
        as well.

    Returns
    -------
    EventTable
        In the order of the file; of an event dialect by frame, with the row
        of the event as source. Its length is ``num_frames``.

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
    form = _named(DIALECTS[dialect], class_names)
    num_frames = form.num_frames if num_frames is None else num_frames
    if not lines:
        return EventTable([], [], [], [], num_frames=num_frames)
    if lines.begins_with_names and not form.header:
        form = named_dialect(lines, form)
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


def _named(form, class_names):
    """The dialect of a data set with other class names."""
    if class_names is None or not form.classes:
        return form
    return replace(form, classes=tuple(class_names), num_frames=None)


def _resolved(lines, dialect):
    """The dialect of a file when several are possible."""
    if dialect in ("auto", "estimate"):
        if not lines:
            # Whatever it is, it holds no events.
            return "polar5"
        if lines.begins_with_names and not _header_dialect(lines.rows[0]):
            return NAMED[dialect]
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
        if column not in _OPTIONAL and name not in words:
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
    """Write every event out, one row per frame, sorted by frame."""
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
    if length.sum() > _MAX_ROWS:
        row = int(length.argmax())
        raise lines.error(
            row,
            f"the events last for {length.sum()} frames in all, this one for "
            f"{length[row]}, expected at most {_MAX_ROWS}",
        )
    row = np.repeat(np.arange(len(start)), length)
    first = np.repeat(np.cumsum(length) - length, length)
    frame = start[row] + np.arange(len(row)) - first
    order = np.argsort(frame, kind="stable")
    names = ("label", "azimuth", "elevation", "distance")
    result = {n: values[n][row[order]] for n in names if n in values}
    return {**result, "frame": frame[order], "source": row[order]}


def write_events(path, table, dialect, *, decimals=None, class_names=None):
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
    class_names : sequence of str, optional
        As for ``read_events``.

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
    form = _named(DIALECTS[dialect], class_names)
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
    with atomic_path(path) as temporary:
        temporary.write_text("".join(f"{row}\n" for row in rows), "utf-8")


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
