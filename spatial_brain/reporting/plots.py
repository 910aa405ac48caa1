"""Pictures for reports and for the command line.

Every function returns a ``matplotlib.figure.Figure`` of a size which stays
readable on a phone; save it with ``save_figure`` or put it into a report.
"""

import numpy as np
from matplotlib.ticker import MaxNLocator

from spatial_brain.reporting.style import (
    MARKERS,
    PALETTE,
    new_figure,
    style,
)


def line_plot(series, x_label, y_label, title=None, y_from_zero=True):
    """Lines with markers, one a series.

    Arguments
    ---------
    series : dict
        Label to (x, y); NaN breaks a line.
    x_label : str
        With the unit.
    y_label : str
        With the unit.
    title : str, optional
        Short.
    y_from_zero : bool
        Whether the y axis starts at 0.

    Returns
    -------
    matplotlib.figure.Figure
        The picture.

    Example
    -------
    >>> figure = line_plot({"loss": ([1, 2], [3.0, 2.0])}, "epoch", "loss")
    >>> len(figure.axes[0].lines)
    1
    """
    with style():
        figure = new_figure()
        axes = figure.add_subplot()
        for index, (label, (x, y)) in enumerate(series.items()):
            few = len(x) <= 40
            axes.plot(
                x,
                y,
                label=label,
                color=PALETTE[index % len(PALETTE)],
                marker=MARKERS[index % len(MARKERS)] if few else None,
                markersize=4.5,
                # Markers would be cut at the axis.
                clip_on=not few,
            )
        axes.set(xlabel=x_label, ylabel=y_label)
        if y_from_zero:
            axes.set_ylim(bottom=0)
        finish(figure, axes, title, len(series))
    return figure


def finish(figure, axes, title, num_labels):
    """Add the title above the axes and the legend below the figure.

    Arguments
    ---------
    figure : matplotlib.figure.Figure
        Its legend goes below all axes.
    axes : matplotlib.axes.Axes
        Gets the title.
    title : str or None
        Short.
    num_labels : int
        Entries of the legend; with a single one it is left out.

    Example
    -------
    >>> figure = new_figure()
    >>> finish(figure, figure.add_subplot(), "A title", 1)
    >>> figure.axes[0].get_title()
    'A title'
    """
    if title:
        axes.set_title(title)
    if num_labels > 1:
        figure.legend(
            loc="outside lower left",
            ncols=2 if num_labels == 4 else min(num_labels, 3),
            handlelength=1.6,
            columnspacing=1.4,
        )


def training_curves(records):
    """One picture for each quantity logged over the epochs.

    Arguments
    ---------
    records : list of dict
        One an epoch: ``epoch`` and numbers under names such as
        ``"train loss"``, ``"valid loss"``, ``"valid error"``; names that
        differ in their first word only share a picture.

    Returns
    -------
    list of matplotlib.figure.Figure
        The loss first. Empty without records.

    Example
    -------
    >>> records = [{"epoch": 1, "train loss": 3.0, "valid loss": 3.1},
    ...            {"epoch": 2, "train loss": 2.0, "valid loss": 2.4}]
    >>> [len(figure.axes[0].lines) for figure in training_curves(records)]
    [2]
    """
    groups = {}
    for record in records:
        for name, value in record.items():
            if name == "epoch" or not isinstance(value, int | float):
                continue
            stage, _, quantity = name.rpartition(" ")
            lines = groups.setdefault(quantity, {})
            x, y = lines.setdefault(stage or quantity, ([], []))
            x.append(record["epoch"])
            y.append(value)
    names = sorted(groups, key=lambda name: (name != "loss", name == "lr"))
    figures = []
    for name in names:
        label = name.replace("_", " ")
        figure = line_plot(
            groups[name],
            "epoch",
            label,
            "Learning rate" if name == "lr" else label.capitalize(),
            y_from_zero=name != "loss",
        )
        figure.axes[0].xaxis.set_major_locator(MaxNLocator(integer=True))
        figures.append(figure)
    return figures


def cumulative_error(errors, title="Error of a talker", limit=60.0):
    """Share of the talkers whose error is at most x, per method.

    Arguments
    ---------
    errors : dict
        Method to its errors in degrees (any number of them).
    title : str
        Short.
    limit : float
        End of the x axis, degrees.

    Returns
    -------
    matplotlib.figure.Figure
        The picture.

    Example
    -------
    >>> figure = cumulative_error({"network": [1.0, 2.0, 9.0]})
    >>> figure.axes[0].get_ylabel()
    'talkers within, %'
    """
    grid = np.linspace(0, limit, 241)
    series = {}
    for method, values in errors.items():
        ordered = np.sort(np.asarray(values, dtype=float))
        count = np.searchsorted(ordered, grid, side="right")
        series[method] = (grid, 100 * count / max(1, len(ordered)))
    figure = line_plot(series, "error, degrees", "talkers within, %", title)
    figure.axes[0].set(xlim=(0, limit), ylim=(0, 100))
    return figure


def grouped_bars(groups, series, y_label, title=None, x_label=None):
    """Bars side by side, one group for each condition.

    Arguments
    ---------
    groups : sequence of str
        Conditions along the x axis.
    series : dict
        Method to one value per group; NaN leaves a gap.
    y_label : str
        With the unit.
    title : str, optional
        Short.
    x_label : str, optional
        With the unit.

    Returns
    -------
    matplotlib.figure.Figure
        The picture.

    Example
    -------
    >>> figure = grouped_bars(["dry", "wet"], {"network": [3.0, 5.0]}, "error")
    >>> len(figure.axes[0].patches)
    2
    """
    width = 0.8 / len(series)
    with style():
        figure = new_figure()
        axes = figure.add_subplot()
        places = np.arange(len(groups))
        for index, (label, values) in enumerate(series.items()):
            axes.bar(
                places + (index - (len(series) - 1) / 2) * width,
                values,
                width * 0.88,
                label=label,
                color=PALETTE[index % len(PALETTE)],
            )
        axes.set(xlabel=x_label, ylabel=y_label, xticks=places)
        axes.set_xticklabels(groups)
        axes.grid(False, axis="x")
        finish(figure, axes, title, len(series))
    return figure
