"""One look for all pictures: colours, type, and theme-aware SVG.

Figures are drawn on the Agg canvas without touching matplotlib's global
state, so that a training run may plot in any environment.
"""

import io
import os
import re
from pathlib import Path

import matplotlib
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

INK = "#1f2430"
FAINT = "#69707d"
RULE = "#d8dce4"
PAPER = "#fdfdfe"

# Told apart by people who see colours differently (Okabe and Ito), lightened
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
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with style():
            figure.savefig(temporary, format=kind, dpi=dpi)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
