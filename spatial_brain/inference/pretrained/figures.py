"""Figures of a model: on the test set of its run, and beside other methods."""

import dataclasses
from dataclasses import dataclass

import numpy as np

from spatial_brain.inference.pretrained.plain_values import (
    COUNT,
    NUMBER,
    TEXT,
    is_text,
)
from spatial_brain.metrics.statistics import interval_of_mean

_DRAWS = 1000
_BETTER = ("lower", "higher")
ROOMS = ("measured", "simulated")
KINDS_OF_METHOD = ("model", "classical", "trivial")
_COMMON_KINDS = {
    "name": TEXT,
    **dict.fromkeys(("value", "low", "high"), NUMBER),
    "unit": ("text", lambda value: value == "" or is_text(value)),
    "better": ("lower or higher", lambda value: value in _BETTER),
}
KINDS_OF_MEASURE = {
    **_COMMON_KINDS,
    "constant_name": TEXT,
    **dict.fromkeys(("constant", "correlation"), NUMBER),
}
KINDS_OF_FIGURE = {
    **_COMMON_KINDS,
    **dict.fromkeys(("test_set", "method"), TEXT),
    "rooms": (" or ".join(ROOMS), lambda value: value in ROOMS),
    "kind": (
        " or ".join(KINDS_OF_METHOD),
        lambda value: value in KINDS_OF_METHOD,
    ),
    "items": COUNT,
}


@dataclass(frozen=True)
class Measure:
    """One figure of a model on its test set.

    Arguments
    ---------
    name : str
        Such as ``"mean absolute error"``.
    value : float
        In the unit.
    unit : str
        Such as ``"s"``; empty without one.
    low, high : float, optional
        Interval of 95 %.
    constant : float, optional
        The same figure of the best prediction that ignores the input, on the
        same test set.
    constant_name : str
        What that prediction is.
    correlation : float, optional
        Of predictions and references.
    better : str
        ``"lower"`` or ``"higher"`` values are better.

    Example
    -------
    >>> error = Measure("mean absolute error", 0.12, "s", 0.11, 0.13, 0.1)
    >>> error.beats_constant
    False
    >>> str(error)
    'mean absolute error 0.12 s [0.11, 0.13], best constant 0.1 s'
    """

    name: str
    value: float
    unit: str = ""
    low: float | None = None
    high: float | None = None
    constant: float | None = None
    constant_name: str = "best constant"
    correlation: float | None = None
    better: str = "lower"

    @property
    def beats_constant(self):
        """Whether value and interval are better; None if not known."""
        if self.constant is None:
            return None
        return _is_better(self, self.constant)

    def to_dict(self):
        """The figure as it is written.

        Returns
        -------
        dict
            The fields that are known.
        """
        return known_fields(self)

    def __str__(self):
        unit = f" {self.unit}" if self.unit else ""
        text = f"{self.name} {_with_interval(self)}"
        if self.correlation is not None:
            text += f", correlation {self.correlation:.2f}"
        if self.constant is not None:
            text += f", {self.constant_name} {self.constant:.3g}{unit}"
        return text


@dataclass(frozen=True)
class Figure:
    """What one method reaches on one test set.

    Arguments
    ---------
    test_set : str
        Such as ``"R3VIVAL, two talkers, SNR 10 dB"``.
    rooms : str
        ``"measured"`` or ``"simulated"``.
    method : str
        Such as ``"this model"``, ``"SRP-PHAT"`` or ``"best constant"``.
    kind : str
        ``"model"``, ``"classical"``, or ``"trivial"``: what ignores the input
        or leaves it as it is.
    name : str
        Of the measure, such as ``"mean absolute error"``.
    value : float
        In the unit.
    unit : str
        Empty without one.
    low, high : float, optional
        Interval of 95 %.
    better : str
        ``"lower"`` or ``"higher"`` values are better.
    items : int, optional
        Signals, mixtures or clips of the test set.

    Example
    -------
    >>> print(Figure("office", "measured", "this model", "model", "error", 3.0,
    ...              "degrees", 2.5, 3.5))
    3 degrees [2.5, 3.5]
    """

    test_set: str
    rooms: str
    method: str
    kind: str
    name: str
    value: float
    unit: str = ""
    low: float | None = None
    high: float | None = None
    better: str = "lower"
    items: int | None = None

    def beats(self, other):
        """Whether the whole interval is better than the value of another.

        Arguments
        ---------
        other : Figure
            Of the same measure and test set.

        Returns
        -------
        bool
        """
        return _is_better(self, other.value)

    def same_row(self, other):
        """Whether another is the same measure on the same test set.

        Arguments
        ---------
        other : Figure
            The other.

        Returns
        -------
        bool
        """
        return all(
            getattr(self, name) == getattr(other, name)
            for name in ("test_set", "rooms", "name", "unit")
        )

    def to_dict(self):
        """The figure as it is written.

        Returns
        -------
        dict
            The fields that are known.
        """
        return known_fields(self)

    def __str__(self):
        return _with_interval(self)


def known_fields(thing):
    """Fields of a dataclass that are set.

    Arguments
    ---------
    thing : dataclass
        An object.

    Returns
    -------
    dict
        Without what is None, an empty list or an empty dictionary.
    """
    values = {
        one.name: getattr(thing, one.name) for one in dataclasses.fields(thing)
    }
    return {
        name: value
        for name, value in values.items()
        if value is not None and value not in ([], {})
    }


def _is_better(figure, other):
    """Whether the end of the interval that is worse is better than a value."""
    if figure.better == "lower":
        worst = figure.value if figure.high is None else figure.high
        return worst < other
    worst = figure.value if figure.low is None else figure.low
    return worst > other


def _with_interval(figure):
    """Value, unit and interval."""
    unit = f" {figure.unit}" if figure.unit else ""
    text = f"{figure.value:.3g}{unit}"
    if figure.low is not None and figure.high is not None:
        text += f" [{figure.low:.3g}, {figure.high:.3g}]"
    return text


def mean_figure(values, groups=None, **fields):
    """Figure that is the mean of a value an item, with its interval.

    The interval of 95 % is a bootstrap over groups, so that what belongs to
    one room or mixture is drawn together.

    Arguments
    ---------
    values : array_like
        One an item, [item]; NaN, where there is none, is left out.
    groups : sequence, optional
        What each item belongs to, such as a room; default: each to itself.
    **fields
        The other fields of a Figure.

    Returns
    -------
    Figure

    Raises
    ------
    ValueError
        If there is no value at all.

    Example
    -------
    >>> figure = mean_figure([1.0, 3.0, 2.0, 2.0], test_set="office",
    ...     rooms="measured", method="SRP-PHAT", kind="classical",
    ...     name="mean absolute error", unit="degrees")
    >>> print(figure, figure.items)
    2 degrees [1.5, 2.75] 4
    """
    values = np.asarray(values, dtype=np.float64).reshape(-1)
    number = len(values)
    _, labels = np.unique(
        np.arange(number) if groups is None else np.asarray(groups),
        return_inverse=True,
    )
    if len(labels) != number:
        raise ValueError(f"{number} values, but groups of {len(labels)}")
    there = np.isfinite(values)
    if not there.any():
        raise ValueError(f"no value of {fields.get('name')}: nothing to sum up")
    counts = np.bincount(labels, there)
    sums = np.bincount(labels, np.where(there, values, 0.0))
    sums, counts = sums[counts > 0], counts[counts > 0]
    ends = interval_of_mean("value", sums, counts, _DRAWS, seed=0)
    return Figure(
        value=float(sums.sum() / counts.sum()),
        low=ends.get("value_low"),
        high=ends.get("value_high"),
        items=number,
        **fields,
    )


def headline(figures):
    """The figure that stands for all, and those of other methods beside it.

    Arguments
    ---------
    figures : sequence of Figure
        The most important first.

    Returns
    -------
    list of Figure
        That of the model first: on measured rooms where there are any.
        Empty without one.

    Example
    -------
    >>> headline([])
    []
    """
    own = [figure for figure in figures if figure.kind == "model"]
    own.sort(key=lambda figure: ROOMS.index(figure.rooms))
    if not own:
        return []
    others = [
        figure
        for figure in figures
        if figure.kind != "model" and own[0].same_row(figure)
    ]
    return [own[0], *others]


def figure_tables(figures):
    """Tables of figures, one a measure: test sets down, methods across.

    Arguments
    ---------
    figures : sequence of Figure
        The figures.

    Returns
    -------
    list of tuple
        Title, such as ``"mean absolute error, degrees"``, and rows: the first
        names the columns, the others have as many cells of text.

    Example
    -------
    >>> row = {"test_set": "office", "rooms": "measured", "name": "error"}
    >>> own = Figure(**row, method="this model", kind="model", value=3)
    >>> other = Figure(**row, method="MUSIC", kind="classical", value=5)
    >>> figure_tables([own, other])
    [('error', [['rooms', 'test set', 'this model', 'MUSIC'],
    ['measured', 'office', '3', '5']])]
    """
    tables = []
    for name, unit, better in dict.fromkeys(
        (figure.name, figure.unit, figure.better) for figure in figures
    ):
        mine = [f for f in figures if (f.name, f.unit) == (name, unit)]
        methods = list(dict.fromkeys(figure.method for figure in mine))
        rows = [["rooms", "test set", *methods]]
        for rooms, test_set in dict.fromkeys(
            (figure.rooms, figure.test_set) for figure in mine
        ):
            cells = {
                figure.method: _with_interval(
                    dataclasses.replace(figure, unit="")
                )
                for figure in mine
                if (figure.rooms, figure.test_set) == (rooms, test_set)
            }
            rows.append([rooms, test_set, *(cells.get(m, "") for m in methods)])
        title = ", ".join(filter(None, [name, unit]))
        note = "" if better == "lower" else " (higher is better)"
        tables.append((title + note, rows))
    return tables
