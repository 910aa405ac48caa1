"""Sound events over time: where each class is heard from."""

import numpy as np
from matplotlib.lines import Line2D

from spatial_brain.dataio.event_tracks import link_events
from spatial_brain.dataio.events import FRAME_LENGTH
from spatial_brain.reporting.style import (
    FAINT,
    MARKERS,
    PALETTE,
    new_figure,
    style,
)

# The most frequent classes have a colour and a sign of their own.
MAX_CLASSES = 12
# Beyond this many points an SVG gets slow; they are drawn as pixels then.
MANY_POINTS = 1500
OTHERS = "other classes"


def event_trajectories(
    estimate,
    reference=None,
    class_names=None,
    duration=None,
    title="Directions over time",
):
    """Azimuth and elevation of sound events over time, a colour a class.

    Arguments
    ---------
    estimate : spatial_brain.dataio.events.EventTable
        Drawn as points.
    reference : spatial_brain.dataio.events.EventTable, optional
        Drawn as broad pale lines below.
    class_names : sequence of str, optional
        For the legend; default: numbers.
    duration : float, optional
        Seconds shown; default: as long as the tables are.
    title : str, optional
        Short.

    Returns
    -------
    matplotlib.figure.Figure
        Two pictures above each other; the twelve classes with the most frames
        are told apart.

    Example
    -------
    >>> from spatial_brain.dataio.events import EventTable
    >>> table = EventTable([0, 1], [3, 3], [90.0, 95.0], [0.0, 0.0])
    >>> figure = event_trajectories(table, class_names=list("abcd"))
    >>> [axes.get_ylabel() for axes in figure.axes]
    ['azimuth, degrees', 'elevation, degrees']
    """
    tables = [estimate] if reference is None else [reference, estimate]
    if duration is None:
        duration = max(_duration(table) for table in tables)
    labels = np.concatenate([table.label for table in tables])
    looks = _looks(labels)
    with style():
        figure = new_figure(7.2, 5.0)
        axes = figure.subplots(2, 1, sharex=True, height_ratios=(3, 2))
        for label, (colour, marker) in looks.items():
            for table in tables:
                rows = _is_label(table.label, label, looks)
                draw = _draw_points if table is estimate else _draw_lines
                draw(axes, table.select(rows), colour, marker)
        axes[0].set(ylim=(-184, 184), yticks=range(-180, 181, 90))
        axes[1].set(ylim=(-94, 94), yticks=range(-90, 91, 45))
        axes[0].set_ylabel("azimuth, degrees")
        axes[1].set(xlabel="time, s", ylabel="elevation, degrees")
        axes[0].set_xlim(0, max(duration, FRAME_LENGTH))
        figure.align_ylabels(axes)
        if title:
            axes[0].set_title(title)
        _add_legend(figure, looks, class_names, reference is not None)
    return figure


def _duration(table):
    """Length of a table in seconds."""
    frames = table.num_frames
    if frames is None:
        frames = int(table.frame.max(initial=-1)) + 1
    return frames * FRAME_LENGTH


def _looks(labels):
    """Class to (colour, marker), the most frequent classes, then others."""
    found, counts = np.unique(labels, return_counts=True)
    frequent = found[np.argsort(-counts, kind="stable")[:MAX_CLASSES]]
    looks = {}
    for index, label in enumerate(sorted(frequent.tolist())):
        turn = index // len(PALETTE)
        looks[label] = (
            PALETTE[index % len(PALETTE)],
            MARKERS[(index + turn) % len(MARKERS)],
        )
    if len(found) > len(frequent):
        looks[OTHERS] = (FAINT, ".")
    return looks


def _is_label(labels, label, looks):
    """Which rows are of a class, or of none that has a look."""
    if label == OTHERS:
        return ~np.isin(labels, [key for key in looks if key != OTHERS])
    return labels == label


def _draw_points(axes, table, colour, marker):
    """One point a frame and event."""
    time = (table.frame + 0.5) * FRAME_LENGTH
    many = len(table) > MANY_POINTS
    for part, values in zip(
        axes, (table.azimuth, table.elevation), strict=True
    ):
        part.scatter(
            time,
            values,
            s=6 if many else 14,
            color=colour,
            marker=marker,
            linewidths=0,
            rasterized=many,
            zorder=3,
        )


def _draw_lines(axes, table, colour, _):
    """One broad line an event."""
    tracks = link_events(table)
    order = np.lexsort((table.frame, tracks))
    table, tracks = table.select(order), tracks[order]
    new = np.flatnonzero(np.diff(tracks)) + 1
    # Where the azimuth passes 180 degrees the line starts again.
    turns = np.flatnonzero(np.abs(np.diff(table.azimuth)) > 180) + 1
    for part, values, breaks in (
        (axes[0], table.azimuth, np.union1d(new, turns)),
        (axes[1], table.elevation, new),
    ):
        # A line covers its frames from edge to edge.
        stretches = np.split(np.arange(len(table)), breaks)
        x, y = [], []
        for rows in stretches:
            if len(rows):
                centre = (table.frame[rows] + 0.5) * FRAME_LENGTH
                half = FRAME_LENGTH / 2
                x += [centre[0] - half, *centre, centre[-1] + half, np.nan]
                y += [values[rows[0]], *values[rows], values[rows[-1]], np.nan]
        part.plot(
            x,
            y,
            color=colour,
            alpha=0.35,
            lw=6.0,
            solid_capstyle="butt",
            zorder=2,
        )


def _add_legend(figure, looks, class_names, with_reference):
    """Classes with their signs, then what lines and points are."""
    handles = []
    for label, (colour, marker) in looks.items():
        name = label
        if label != OTHERS and class_names is not None:
            name = str(class_names[label]).replace("_", " ")
        elif label != OTHERS:
            name = f"class {label}"
        handles.append(
            Line2D([], [], color=colour, marker=marker, ls="none", label=name)
        )
    if with_reference:
        handles += [
            Line2D([], [], color=FAINT, alpha=0.35, lw=6.0, label="truth"),
            Line2D([], [], color=FAINT, marker="o", ls="none", label="found"),
        ]
    if handles:
        figure.legend(
            handles=handles,
            loc="outside lower left",
            ncols=3,
            handlelength=1.6,
            columnspacing=1.4,
        )
