"""Direction tracks: their picture over time and the table of measures."""

import numpy as np
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from spatial_brain.reporting.plots import (
    FAINT,
    INK,
    MANY_POINTS,
    MARKERS,
    PALETTE,
    RULE,
    new_figure,
    style,
)
from spatial_brain.reporting.report import interval_text

# Tracks with looks of their own; the others share one.
MAX_SHOWN = 12
# Columns of the table: measure, heading, factor.
COLUMNS = {
    "azimuth_error": ("azimuth error, °", 1),
    "ungated_azimuth_error": ("without gate, °", 1),
    "elevation_error": ("elevation error, °", 1),
    "detection": ("detected, %", 100),
    "accuracy_5": ("within 5°, %", 100),
    "accuracy_10": ("within 10°, %", 100),
    "active_false_alarm_rate": ("false alarms in activity, 1/s", 1),
    "false_alarm_rate": ("false alarms, 1/s", 1),
    "latency": ("latency, s", 1),
    "fragmentation_rate": ("fragmentations, 1/s", 1),
    "swap_rate": ("swaps, 1/s", 1),
    "ospa_1": ("OSPA p=1, °", 1),
    "ospa_5": ("OSPA p=5, °", 1),
}


def direction_tracks(
    estimate, reference=None, title="Directions over time", duration=None
):
    """Azimuth and elevation of tracks over time, a colour a track.

    Arguments
    ---------
    estimate : spatial_brain.processing.tracks.DirectionTracks
        Drawn as coloured points, the twelve longest tracks with looks of
        their own; paler where they were only bridged.
    reference : spatial_brain.processing.tracks.DirectionTracks, optional
        Drawn as dark lines; where a source is active, with a broad shade
        around the line.
    title : str, optional
        Short.
    duration : float, optional
        Seconds shown; default: up to the last time.

    Returns
    -------
    matplotlib.figure.Figure
        The elevation is left out if no track has one.

    Example
    -------
    >>> from spatial_brain.processing.tracks import DirectionTracks
    >>> tracks = DirectionTracks([0.0, 0.1], [[90.0, 95.0]])
    >>> figure = direction_tracks(tracks, reference=tracks)
    >>> [axes.get_ylabel() for axes in figure.axes]
    ['azimuth, degrees']
    """
    everything = [estimate] if reference is None else [reference, estimate]
    both = not np.isnan(estimate.elevation).all()
    if duration is None:
        duration = max(part.times.max(initial=0.0) for part in everything)
    with style():
        figure = new_figure(7.2, 5.0 if both else 3.6)
        if both:
            axes = figure.subplots(2, 1, sharex=True, height_ratios=(3, 2))
            axes[1].set(ylim=(-94, 94), yticks=range(-90, 91, 45))
            axes[1].set_ylabel("elevation, degrees")
        else:
            axes = [figure.add_subplot()]
        axes[0].set(ylim=(-184, 184), yticks=range(-180, 181, 90))
        axes[0].set_ylabel("azimuth, degrees")
        axes[-1].set(xlabel="time, s", xlim=(0, max(duration, 1e-3)))
        if reference is not None:
            _draw_reference(axes, reference)
        handles = _draw_tracks(axes, estimate)
        figure.align_ylabels(axes)
        if title:
            axes[0].set_title(title)
        if reference is not None:
            handles += [
                Line2D([], [], color=INK, lw=1.2, label="source"),
                Patch(color=RULE, lw=0, label="source active"),
            ]
        if handles:
            figure.legend(
                handles=handles,
                loc="outside lower left",
                ncols=4,
                handlelength=1.6,
                columnspacing=1.4,
            )
    return figure


def _values(tracks, axes):
    """(Axes, values) of azimuth and, with two axes, elevation."""
    return zip(axes, (tracks.azimuth, tracks.elevation), strict=False)


def _draw_reference(axes, reference):
    """Lines of the sources, with shades where they are active."""
    for part, values in _values(reference, axes):
        for row, active in zip(values, reference.active, strict=True):
            time, line = _unwrapped(reference.times, row)
            part.plot(time, line, color=INK, lw=1.2, zorder=3)
            time, line = _unwrapped(
                reference.times, np.where(active, row, np.nan)
            )
            part.plot(
                time,
                line,
                color=RULE,
                lw=11.0,
                solid_capstyle="butt",
                zorder=1,
            )


def _unwrapped(times, angles):
    """A line that is broken where it passes 180 degrees."""
    breaks = np.flatnonzero(np.abs(np.diff(angles)) > 180) + 1
    return np.insert(times, breaks, np.nan), np.insert(angles, breaks, np.nan)


def _draw_tracks(axes, estimate):
    """Points of the tracks; returns what the legend shows."""
    length = (~np.isnan(estimate.azimuth)).sum(1)
    ranked = np.argsort(-length, kind="stable")
    shown = sorted(ranked[:MAX_SHOWN].tolist())
    rest = sorted(ranked[MAX_SHOWN:].tolist())
    many = length.sum() > MANY_POINTS
    size = 5 if many else 14
    handles = []
    for index, track in enumerate([*shown, *rest]):
        own = index < MAX_SHOWN
        turn = index // len(PALETTE)
        look = {
            "color": PALETTE[index % len(PALETTE)] if own else FAINT,
            "marker": MARKERS[(index + turn) % len(MARKERS)] if own else ".",
        }
        for part, values in _values(estimate, axes):
            for rows, alpha in (
                (estimate.active[track], 1.0),
                (~estimate.active[track], 0.3),
            ):
                part.scatter(
                    estimate.times[rows],
                    values[track, rows],
                    s=size,
                    alpha=alpha,
                    linewidths=0,
                    rasterized=many,
                    zorder=4,
                    **look,
                )
        if own:
            name = f"track {estimate.names[track]}"
            handles.append(Line2D([], [], ls="none", label=name, **look))
    if rest:
        label = f"{len(rest)} shorter tracks"
        handles.append(
            Line2D([], [], ls="none", color=FAINT, marker=".", label=label)
        )
    return handles


def add_tracking_measures(report, summaries, name="method", caption=None):
    """Add the table of the measures of tracks to a report.

    Arguments
    ---------
    report : spatial_brain.reporting.report.Report
        Gets the table.
    summaries : dict
        Method, task or array to what ``TrackingErrors.summarize`` gives, or
        one of the parts of its ``by``.
    name : str
        Heading of the first column.
    caption : str, optional
        Sentence below; default: how the measures are made.

    Returns
    -------
    Report
        The same report. Measures that none of the rows has are left out.

    Example
    -------
    >>> from spatial_brain.reporting.report import Report
    >>> report = add_tracking_measures(Report("Tracks"), {
    ...     "SRP-PHAT": {"azimuth_error": 3.25, "detection": 0.5}})
    >>> page = report.write(getfixture("tmp_path") / "a.html").read_text()
    >>> "<td>3.25</td>" in page, "detected, %" in page
    (True, True)
    """
    used = [
        measure
        for measure in COLUMNS
        if any(_known(row, measure) for row in summaries.values())
    ]
    intervals = any("azimuth_error_low" in row for row in summaries.values())
    header = [name, *(COLUMNS[measure][0] for measure in used)]
    rows = []
    for label, summary in summaries.items():
        cells = [
            summary[measure] * COLUMNS[measure][1]
            if _known(summary, measure)
            else None
            for measure in used
        ]
        rows.append([label, *cells])
        if intervals:
            rows[-1].append(interval_text(summary, "azimuth_error"))
    if intervals:
        header.append("azimuth error, 95 % interval")
    if caption is None:
        caption = (
            "Measures of the LOCATA challenge: tracks are assigned to sources "
            "within 30 degrees of azimuth; false alarms count every reference "
            "time."
        )
    return report.add_table(header, rows, caption)


def _known(summary, measure):
    """Whether a summary has a number for a measure."""
    value = summary.get(measure)
    return value is not None and not np.isnan(value)
