"""Rows of references and estimates from files, and whether they make sense.

Columns have no names, and numbers in the wrong place are scored like any
others: a perfect system whose x, y, z are taken for angles gets F 0. So
lengths and angles are checked against what they can be. What is read although
no challenge writes it so is remembered, and named in one line each.

Angles stay as they are in the file: pairs of events often cost the same one
way and the other, rounding decides, and with it the score. Angles beyond 180
or 90 degrees are directions all the same, as the evaluators take them.
"""

from dataclasses import replace

import numpy as np

from spatial_brain.dataio.annotations import (
    DIALECTS,
    NAMED,
    AnnotationLines,
    detect_dialect,
    named_dialect,
    read_events,
)
from spatial_brain.metrics.seld.rules import Rows

# Direction vectors of networks have about length 1 (sqrt(3) at most after a
# tanh), positions lie in a room; most angles are larger.
LONGEST, FARTHEST = 2.0, 20.0
# Nearly all angles are beyond a half turn and a quarter turn in radians.
HALF_TURN, QUARTER_TURN = 3.15, 1.58
LAYOUTS = {
    "polar": {4: "polar4", 5: "polar5", 6: "polar6"},
    "cartesian": {5: "l3das22_output", 6: "cartesian6", 7: "cartesian7"},
}
_NO_NUMBERS = ("file", "class", "mids", "onscreen")
# Files that a line names.
_NAMED_FILES = 3


class RowReader:
    """Reads the files of one side, and remembers what is odd about them.

    Arguments
    ---------
    columns : dict, optional
        Number of columns to dialect, where the usual guess does not hold.
    guess : str
        ``"auto"``: references, ``"estimate"``: a system's output.
    layout : str, optional
        Key of ``LAYOUTS``, which is then not doubted: what the columns of the
        files are.

    Example
    -------
    >>> path = getfixture("tmp_path") / "clip.csv"
    >>> _ = path.write_text("4;2;0;-180.5;1.0")
    >>> reader = RowReader(guess="estimate")
    >>> reader.read(path).azimuth.tolist()
    [-180.5]
    >>> reader.notes()[0]
    '1 of 1 estimates has semicolons between the columns: clip.csv'
    >>> reader.notes()[1]
    'angles beyond +-180 or +-90 degrees in 1 of 1 estimates, scored as the \
evaluators do: clip.csv (azimuth -180.5)'
    """

    def __init__(self, columns=None, guess="auto", layout=None):
        self.columns = LAYOUTS[layout] if layout else columns or {}
        self._positions = "l3das22_output" in (columns or {}).values()
        self.guess, self.layout = guess, layout
        self.number = 0
        self._odd, self._beyond, self._angles = {}, {}, []

    @property
    def _what(self):
        """What the files are."""
        return "estimates" if self.guess == "estimate" else "references"

    def read(self, path):
        """Read a file with a row a frame and event.

        Arguments
        ---------
        path : str or Path
            CSV file, may be empty.

        Returns
        -------
        Rows or EventTable
            Events in the order of the file; a table where the file holds
            whole events with their times.

        Raises
        ------
        ValueError
            Naming file, line, value and what was expected.
        """
        lines = AnnotationLines(path)
        self.number += 1
        if not lines:
            return no_rows()
        form, exact = self._form(lines)
        for note in lines.notes:
            self._odd.setdefault(note, []).append(lines.path.name)
        if exact:
            return read_events(path, exact)
        values = lines.numbers(form.columns, text=_NO_NUMBERS)
        self._check(lines, form, values)
        distance = np.full(len(lines), np.nan)
        if "distance" in values:
            distance = values["distance"] / form.per_metre
        if "x" in values:
            angles = _polar(*(values[name] for name in "xyz"))
            distance = angles[2] if form.positions else distance
        else:
            angles = values["azimuth"], values["elevation"]
            self._note_angles(lines.path.name, *angles)
        whole = (values[name].astype(np.int64) for name in ("frame", "label"))
        return Rows(*whole, *angles[:2], distance)

    def _form(self, lines):
        """Dialect of a file; its name where whole events are read."""
        first = lines.rows[0]
        count = first.count(",") + 1
        try:
            dialect = detect_dialect(first, self.guess)
        except ValueError as error:
            if not lines.begins_with_names and count not in self.columns:
                raise lines.error(0, str(error)) from None
            dialect = NAMED[self.guess]
        form = DIALECTS[dialect]
        if form.events or form.header:
            return form, "l3das22_exact" if dialect == "l3das22" else dialect
        if lines.begins_with_names:
            form = named_dialect(lines, DIALECTS[NAMED[self.guess]])
            alone = "distance" not in form.columns
            return replace(form, positions=self._positions and alone), None
        if self.layout and count not in self.columns:
            known = ", ".join(map(str, self.columns))
            raise lines.error(
                0,
                f"{count} columns, expected {known} of columns="
                f"{self.layout!r} (--columns {self.layout})",
            )
        form = DIALECTS[self.columns.get(count, dialect)]
        positions = form.positions and self._positions
        return replace(form, positions=positions), None

    def _check(self, lines, form, values):
        """Refuse numbers that cannot be what their columns are."""
        if "x" in values:
            self._check_lengths(lines, form, values)
        elif "distance" in values and (values["distance"] < 0).any():
            row = int((values["distance"] < 0).argmax())
            numbers = _numbers(
                values, row, ("azimuth", "elevation", "distance")
            )
            raise lines.error(
                row,
                f"azimuth,elevation,distance are {numbers}: a distance is not "
                f"negative; {self._remedy('cartesian', 'x,y,z')}",
            )
        elif "source" in values and (values["source"] % 1).any():
            row = int((values["source"] % 1 != 0).argmax())
            raise lines.error(
                row,
                f"source is {values['source'][row]:g}, expected a whole "
                f"number; {self._remedy('cartesian', 'x,y,z')}",
            )
        lines.check(form.columns, values, overshoot=True)

    def _check_lengths(self, lines, form, values):
        """Refuse angles where directions or positions are expected."""
        if self.layout:
            return
        most, what = (
            (FARTHEST, "a position in a room, metres")
            if form.positions
            else (LONGEST, "a direction vector")
        )
        longest = np.max([np.abs(values[name]) for name in "xyz"], axis=0)
        if (longest > most).any():
            row = int((longest > most).argmax())
            raise lines.error(
                row,
                f"x,y,z are {_numbers(values, row, 'xyz')}, expected {what} "
                f"(of {len(form.columns)} columns, {','.join(form.columns)}); "
                + self._remedy("polar", "angles and a distance"),
            )

    def _remedy(self, layout, what):
        """What to do where columns are something else."""
        if self.guess == "estimate":
            return (
                f"if these are {what}, give columns={layout!r} "
                f"(--columns {layout})"
            )
        return (
            "references hold frame, class, source, azimuth, elevation[, "
            "distance in cm]"
        )

    def _note_angles(self, name, azimuth, elevation):
        """Keep in mind how large angles are, and which overshoot."""
        self._angles.append(
            (
                np.abs(azimuth).max(initial=0),
                np.abs(elevation).max(initial=0),
                bool((azimuth % 1).any() or (elevation % 1).any()),
                name,
            )
        )
        found = [
            f"{what} {angle[np.abs(angle).argmax()]:g}"
            for what, angle, most in (
                ("azimuth", azimuth, 180),
                ("elevation", elevation, 90),
            )
            if np.abs(angle).max(initial=0) > most
        ]
        if found:
            self._beyond[name] = ", ".join(found)

    @property
    def only_small_angles(self):
        """Whether no angle could not be one in radians."""
        return all(
            azimuth <= HALF_TURN and elevation <= QUARTER_TURN
            for azimuth, elevation, _, _ in self._angles
        )

    def check_angles(self, references):
        """Refuse vectors and radians that were taken for degrees.

        They all lie within three degrees of the front, which nobody's
        estimates do where the references lie elsewhere.

        Arguments
        ---------
        references : RowReader
            What the other side's files were read with.

        Raises
        ------
        ValueError
            If so; it names a file and the remedy.
        """
        fractions = [name for *_, fraction, name in self._angles if fraction]
        if (
            self.layout
            or not fractions
            or not self.only_small_angles
            or references.only_small_angles
        ):
            return
        raise ValueError(
            f"all azimuths lie within +-{HALF_TURN} and all elevations within "
            f"+-{QUARTER_TURN} ({fractions[0]} and others), those of the "
            "references do not: these are x,y,z or radians, and degrees are "
            "expected. Six columns x,y,z are read with columns='cartesian' "
            "(--columns cartesian); if they are degrees, give columns='polar' "
            "(--columns polar)"
        )

    def notes(self):
        """What was odd about the files.

        Returns
        -------
        list of str
            A line each.
        """
        of = f"of {self.number} {self._what}"
        lines = [
            f"{len(names)} {of} {'has' if len(names) == 1 else 'have'} {note}: "
            + _some(names)
            for note, names in self._odd.items()
        ]
        if self._beyond:
            names = [f"{k} ({angle})" for k, angle in self._beyond.items()]
            lines.append(
                f"angles beyond +-180 or +-90 degrees in {len(names)} {of}, "
                f"scored as the evaluators do: {_some(names)}"
            )
        return lines


def _some(names):
    """The first names of many."""
    more = ", ..." if len(names) > _NAMED_FILES else ""
    return ", ".join(names[:_NAMED_FILES]) + more


def _numbers(values, row, names):
    """Some numbers of a row as text."""
    return ",".join(f"{values[name][row]:g}" for name in names)


def _polar(x, y, z):
    """Degrees, and the length of the vectors, as evaluators convert them."""
    flat = np.sqrt(x**2 + y**2)
    azimuth = np.arctan2(y, x) * 180 / np.pi
    elevation = np.arctan2(z, flat) * 180 / np.pi
    return azimuth, elevation, np.hypot(flat, z)


def no_rows():
    """No events.

    Returns
    -------
    Rows

    Example
    -------
    >>> len(no_rows().frame)
    0
    """
    whole = np.empty(0, dtype=np.int64)
    return Rows(whole, whole, *np.empty((3, 0)))


def read_rows_2019(path, frames_per_second, num_frames):
    """Rows of a reference of DCASE2019 in the frames of its evaluator.

    Arguments
    ---------
    path : str or Path
        CSV file with the header of DCASE2019.
    frames_per_second : int
        Of the evaluator.
    num_frames : int
        Where events are cut.

    Returns
    -------
    Rows

    Raises
    ------
    ValueError
        Naming file, line, value and what was expected.
    """
    form, lines = DIALECTS["dcase2019"], AnnotationLines(path)
    if not lines:
        return no_rows()
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
    # The evaluator's events end one frame after that in which they end.
    length = np.maximum(stop + 1 - start, 0).astype(np.int64)
    row = np.repeat(np.arange(len(lines)), length)
    first = np.repeat(np.cumsum(length) - length, length)
    frame = start.astype(np.int64)[row] + np.arange(len(row)) - first
    nowhere = np.full(len(row), np.nan)
    angles = (values[name][row] for name in ("azimuth", "elevation"))
    return Rows(frame, labels[row], *angles, nowhere)
