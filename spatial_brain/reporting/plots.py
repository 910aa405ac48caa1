"""Pictures for reports and for the command line.

Every function returns a ``matplotlib.figure.Figure`` of a size which stays
readable on a phone; save it with ``save_figure`` or put it into a report.

Figures are drawn on the Agg canvas without touching matplotlib's global
state, so that a training run may plot in any environment.
"""

import io
import re
import textwrap
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.ticker import FixedLocator, MaxNLocator, NullLocator

from spatial_brain.atomic import atomic_path

INK = "#1f2430"
FAINT = "#69707d"
RULE = "#d8dce4"
PAPER = "#fdfdfe"

# Distinct for people who see colours differently (Okabe and Ito), lightened
# or darkened to be readable on white and on black.
PALETTE = (
    "#2f78c4",  # blue
    "#dd8a1a",  # orange
    "#109873",  # green
    "#c0609a",  # purple
    "#cf5b2e",  # vermilion
    "#7f8896",  # grey
)
MARKERS = ("o", "s", "^", "D", "v", "P")
# Beyond this many points an SVG gets slow; they are drawn as pixels then.
MANY_POINTS = 1500
# Levels below the loudest one that a spectrogram shows, dB.
DYNAMIC_RANGE = 60.0
# Letters of a line of a title, at least.
_SHORTEST = 12
# Length of its windows, seconds.
_WINDOW = 0.032

# Conditions of a recording in captions: name, unit, decimal places.
CONDITION_LABELS = {
    "t60": ("T60", "s", 2),
    "snr": ("SNR", "dB", 0),
    "distance": ("distance", "m", 1),
}

_RC = {
    "font.family": "sans-serif",
    "font.size": 10.0,
    "axes.titlesize": 11.0,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.titlepad": 10.0,
    "axes.edgecolor": RULE,
    "axes.labelcolor": FAINT,
    "axes.titlecolor": INK,
    "axes.facecolor": "none",
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "figure.facecolor": PAPER,
    "figure.constrained_layout.use": True,
    "grid.color": RULE,
    "grid.linewidth": 0.8,
    "legend.frameon": False,
    "legend.labelcolor": INK,
    "lines.linewidth": 2.0,
    "lines.solid_capstyle": "round",
    "text.color": INK,
    "xtick.color": RULE,
    "ytick.color": RULE,
    "xtick.labelcolor": FAINT,
    "ytick.labelcolor": FAINT,
    "svg.fonttype": "none",
    "svg.hashsalt": "spatial_brain",
}


def style():
    """Context in which a figure must be made to have the house's look.

    Returns
    -------
    context manager
        Restores matplotlib's settings when left.

    Example
    -------
    >>> with style():
    ...     figure = new_figure()
    >>> figure.get_size_inches().tolist()
    [5.2, 3.4]
    """
    return matplotlib.rc_context(_RC)


def new_figure(width=5.2, height=3.4):
    """A figure on the Agg canvas; use it inside ``style()``.

    Arguments
    ---------
    width : float
        Inches. About five are readable on a phone, too.
    height : float
        Inches.

    Returns
    -------
    matplotlib.figure.Figure
        Without axes.

    Example
    -------
    >>> new_figure(4, 3).axes
    []
    """
    figure = Figure(figsize=(width, height))
    FigureCanvasAgg(figure)
    return figure


def figure_to_svg(figure):
    """SVG text of a figure whose colours follow the page's theme.

    Text and rules take the page's CSS colours ``--ink``, ``--faint`` and
    ``--rule``; the background is left out.

    Arguments
    ---------
    figure : matplotlib.figure.Figure
        Made inside ``style()``.

    Returns
    -------
    str
        One ``<svg>`` element, to be put into HTML.

    Example
    -------
    >>> with style():
    ...     figure = new_figure()
    ...     _ = figure.text(0.5, 0.5, "loud & clear")
    >>> svg = figure_to_svg(figure)
    >>> svg.startswith("<svg"), "loud &amp; clear" in svg
    (True, True)
    """
    stream = io.StringIO()
    with style():
        _wrap_titles(figure)
        figure.savefig(stream, format="svg", transparent=True)
    svg = stream.getvalue()
    svg = svg[svg.index("<svg") :].strip()
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    # Several pictures on a page must not share names.
    svg = re.sub(r'<g id="[^"]*"', "<g", svg)
    # The viewBox stays: the picture scales with the column.
    svg = re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", svg, count=1)
    svg = re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", svg, count=1)
    for colour, name in ((INK, "ink"), (FAINT, "faint"), (RULE, "rule")):
        svg = svg.replace(colour, f"var(--{name})")
    svg = svg.replace(PAPER, "var(--card)")
    return re.sub(r"font: ([^;\"]*?)'[^;\"]*", r"font: \1sans-serif", svg)


def _wrap_titles(figure):
    """Break the titles that would be cut off at the edge of the figure."""
    figure.draw_without_rendering()
    for axes in figure.axes:
        title = axes.get_title("left")
        texts = [
            text
            for text in axes.get_children()
            if isinstance(text, Text) and title and text.get_text() == title
        ]
        for text in texts:
            box = text.get_window_extent()
            # A browser's font may be a little wider.
            room = 0.95 * (figure.bbox.width - box.x0)
            if box.width > room:
                width = max(int(len(title) * room / box.width), _SHORTEST)
                text.set_text(textwrap.fill(title, width))


def save_figure(figure, path, dpi=160):
    """Write a figure to a picture file, complete or not at all.

    Arguments
    ---------
    figure : matplotlib.figure.Figure
        Made inside ``style()``.
    path : str or Path
        The suffix selects the format (png, svg, pdf); folders are made.
    dpi : int
        Pixels per inch.

    Raises
    ------
    ValueError
        If the suffix is none that matplotlib writes.

    Example
    -------
    >>> with style():
    ...     figure = new_figure()
    >>> path = getfixture("tmp_path") / "a.png"
    >>> save_figure(figure, path)
    >>> path.read_bytes()[1:4]
    b'PNG'
    """
    path = Path(path)
    kind = path.suffix[1:].lower()
    known = figure.canvas.get_supported_filetypes()
    if kind not in known:
        raise ValueError(
            f"{path}: cannot draw '{path.suffix}' files; use one of "
            + ", ".join(f".{name}" for name in sorted(known))
        )
    with atomic_path(path) as temporary, style():
        _wrap_titles(figure)
        figure.savefig(temporary, format=kind, dpi=dpi)


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


def amount_plot(series, x_label, y_label, title=None, lines=None):
    """Results against amounts of data, with their spread, a line a method.

    Arguments
    ---------
    series : dict
        Method to (amounts, results, deviations); NaN for a deviation that is
        not known.
    x_label : str
        What there is more or less of.
    y_label : str
        With the unit.
    title : str, optional
        Short.
    lines : dict, optional
        Label to (amounts, results) of a baseline, or to one result that does
        not depend on the amount.

    Returns
    -------
    matplotlib.figure.Figure
        The picture; a doubling of the amount has always the same width.

    Example
    -------
    >>> figure = amount_plot(
    ...     {"fine-tuned": ([4, 16], [0.2, 0.1], [0.02, 0.01])}, "clips", "F")
    >>> [text.get_text() for text in figure.axes[0].get_xticklabels()]
    ['4', '16']
    """
    lines = lines or {}
    with style():
        figure = new_figure()
        axes = figure.add_subplot()
        shown = set()
        for index, (label, (amounts, results, deviations)) in enumerate(
            series.items()
        ):
            shown.update(amounts)
            axes.errorbar(
                amounts,
                results,
                deviations,
                label=label,
                color=PALETTE[index % len(PALETTE)],
                marker=MARKERS[index % len(MARKERS)],
                markersize=5,
                elinewidth=1.2,
                capsize=3,
            )
        for index, (label, value) in enumerate(lines.items()):
            look = {
                "label": label,
                "color": FAINT,
                "lw": 1.4,
                "ls": ("--", ":", "-.")[index % 3],
            }
            if np.ndim(value):
                axes.plot(*value, **look)
            else:
                axes.axhline(value, **look)
        axes.set_xscale("log", base=2)
        axes.xaxis.set_major_locator(FixedLocator(sorted(shown)))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.set_xticklabels([f"{amount:g}" for amount in sorted(shown)])
        axes.set(xlabel=x_label, ylabel=y_label)
        axes.set_ylim(bottom=0)
        finish(figure, axes, title, len(series) + len(lines))
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


def level_spectrogram(signal, fs):
    """Levels of a signal over time and frequency.

    Arguments
    ---------
    signal : array_like
        Shape [time].
    fs : int
        Sampling rate, Hz.

    Returns
    -------
    numpy.ndarray
        dB, shape [bin, frame]; Hann windows of 32 ms, a quarter apart.

    Example
    -------
    >>> level_spectrogram(np.ones(1000), 1000).shape
    (17, 122)
    """
    signal = np.asarray(signal, dtype=np.float64)
    frame = round(_WINDOW * fs)
    padded = np.pad(signal, (0, max(0, frame - len(signal))))
    frames = np.lib.stride_tricks.sliding_window_view(padded, frame)
    spectra = np.fft.rfft(frames[:: frame // 4] * np.hanning(frame))
    return 20 * np.log10(np.abs(spectra).T + 1e-12)


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


def condition_text(row, names=tuple(CONDITION_LABELS)):
    """Conditions of a recording, to be put behind its name.

    Arguments
    ---------
    row : dict
        Condition to a number, or to one number a source, whose mean is shown;
        None is left out.
    names : sequence of str
        Keys of ``CONDITION_LABELS``.

    Returns
    -------
    str

    Example
    -------
    >>> condition_text({"t60": 0.5, "snr": None, "distance": [1.0, 2.0]})
    ', T60 0.50 s, distance 1.5 m'
    """
    labels = {key: CONDITION_LABELS[key] for key in names}
    return "".join(
        f", {name} {float(np.mean(row[key])):.{digits}f} {unit}"
        for key, (name, unit, digits) in labels.items()
        if row.get(key) is not None
    )
