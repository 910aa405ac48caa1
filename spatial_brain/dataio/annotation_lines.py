"""Numbers out of the lines of an annotation file, fast; errors with place."""

from pathlib import Path

import numpy as np

# What a column may hold: lowest, highest, whole numbers only, in words.
RANGES = {
    "frame": (0, np.inf, True, "a whole number from 0"),
    "label": (0, np.inf, True, "a class index, a whole number from 0"),
    "source": (-np.inf, np.inf, True, "a whole number"),
    "azimuth": (-180, 180, False, "degrees in [-180, 180]"),
    "elevation": (-90, 90, False, "degrees in [-90, 90]"),
    "distance": (0, np.inf, False, "a distance from 0"),
    "start": (0, np.inf, False, "seconds from 0"),
}


class AnnotationLines:
    """The lines of an annotation file that are not blank.

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
        self.every = text.split("\n")
        self.rows = [line for line in self.every if line and not line.isspace()]
        self.header = None

    def __len__(self):
        return len(self.rows)

    def take_header(self):
        """Take the first line off and keep it as ``header``.

        Returns
        -------
        list of str
            Its fields in lower case; empty if there is no line.
        """
        self.header, self.rows = self.rows[:1], self.rows[1:]
        words = self.header[0].split(",") if self.header else []
        return [word.strip(" \t\"'").lower() for word in words]

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
        return self.rows[row].split(",")[position].strip(" \t\"'")

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

    def check(self, columns, values, num_classes=None):
        """Check that the numbers mean something.

        Arguments
        ---------
        columns : sequence of str
            Name of every column of the file.
        values : dict of str to numpy.ndarray
            As ``numbers`` returns them.
        num_classes : int, optional
            Number of classes; None: any class index is right.

        Raises
        ------
        ValueError
            For the first row with a value out of its range.
        """
        faults = []
        for name in [name for name in columns if name in RANGES]:
            value = values[name]
            low, high, whole, expected = RANGES[name]
            if name == "label" and num_classes is not None:
                high = num_classes - 1
                expected = f"a class index in 0..{high}"
            bad = (value < low) | (value > high)
            if whole:
                bad |= value != np.rint(value)
            if bad.any():
                faults.append((int(bad.argmax()), name, expected))
        if faults:
            row, name, expected = min(faults, key=lambda fault: fault[0])
            word = self.word(row, columns.index(name))
            raise self.error(row, f"{name} is {word!r}, expected {expected}")
