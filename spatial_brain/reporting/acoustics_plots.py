"""Pictures of room acoustics: estimates, errors, tracks over time."""

import numpy as np
from matplotlib.ticker import FixedLocator, NullLocator

from spatial_brain.metrics.room_acoustics import find_quantity
from spatial_brain.reporting.plots import finish
from spatial_brain.reporting.style import (
    FAINT,
    MARKERS,
    PALETTE,
    RULE,
    new_figure,
    style,
)

# Beyond this many points an SVG gets slow; they are drawn as pixels then.
MANY_POINTS = 1500


def value_scatter(reference, estimate, task, label="network"):
    """Estimated against true values, with the line of no error.

    Arguments
    ---------
    reference : sequence of float
        Labels, in the unit of the task.
    estimate : sequence of float
        Estimates in the same order.
    task : str
        Key of ``spatial_brain.metrics.room_acoustics.TASKS``.
    label : str
        Method, for the title.

    Returns
    -------
    matplotlib.figure.Figure
        The picture; both axes show the same range.

    Example
    -------
    >>> value_scatter([0.4, 0.9], [0.5, 0.8], "T60").axes[0].get_xlabel()
    'true T60, s'
    """
    reference, estimate = np.asarray(reference), np.asarray(estimate)
    both = np.concatenate((reference, estimate))
    margin = 0.04 * max(np.ptp(both), 1e-6)
    ends = np.array([both.min() - margin, both.max() + margin])
    with style():
        figure = new_figure(4.6, 4.2)
        axes = figure.add_subplot()
        axes.plot(ends, ends, color=PALETTE[2], lw=1.2)
        axes.scatter(
            reference,
            estimate,
            s=14,
            color=PALETTE[0],
            alpha=0.3 if len(reference) > 400 else 0.6,
            linewidths=0,
            rasterized=len(reference) > MANY_POINTS,
        )
        unit = _with_unit(task)
        axes.set(
            xlabel=f"true {unit}",
            ylabel=f"estimated {unit}",
            xlim=ends,
            ylim=ends,
            aspect="equal",
            title=f"Truth and {label}",
        )
    return figure


def error_by_condition(parts, task, title, x_label):
    """Mean error in each range of a condition, with intervals.

    Arguments
    ---------
    parts : dict
        Method to: range to statistics, as
        ``AcousticErrors.summarize()["by"][condition]`` is.
    task : str
        Key of ``spatial_brain.metrics.room_acoustics.TASKS``.
    title : str
        Short.
    x_label : str
        The condition with its unit.

    Returns
    -------
    matplotlib.figure.Figure
        Points with whiskers (95 % intervals, where there are any).

    Example
    -------
    >>> part = {"< 0.4": {"mae": 0.1}, ">= 0.4": {"mae": 0.2}}
    >>> figure = error_by_condition({"network": part}, "T60", "By T60", "s")
    >>> figure.axes[0].get_ylabel()
    'mean error, s'
    """
    ranges = list(next(iter(parts.values())))
    with style():
        figure = new_figure()
        axes = figure.add_subplot()
        places = np.arange(len(ranges))
        for index, (method, part) in enumerate(parts.items()):
            shift = 0.12 * (index - (len(parts) - 1) / 2)
            values, low, high = (
                np.array([part.get(r, {}).get(key, np.nan) for r in ranges])
                for key in ("mae", "mae_low", "mae_high")
            )
            axes.errorbar(
                places + shift,
                values,
                np.maximum((values - low, high - values), 0),
                label=method,
                color=PALETTE[index % len(PALETTE)],
                marker=MARKERS[index % len(MARKERS)],
                markersize=5,
                elinewidth=1.2,
            )
        axes.set(xlabel=x_label, ylabel=_error_label(task), xticks=places)
        axes.set_xticklabels(ranges)
        axes.set_ylim(bottom=0)
        finish(figure, axes, title, len(parts))
    return figure


def error_by_rooms(series, task, lines=None):
    """Mean error against the number of training rooms, a line a mode.

    Arguments
    ---------
    series : dict
        Mode to (numbers of rooms, mean errors, deviations over trials);
        NaN for a deviation that is not known.
    task : str
        Key of ``spatial_brain.metrics.room_acoustics.TASKS``.
    lines : dict, optional
        Label to (numbers of rooms, errors) of a baseline, or to one error
        that does not depend on the number of rooms.

    Returns
    -------
    matplotlib.figure.Figure
        The picture; a doubling of the rooms has always the same width.

    Example
    -------
    >>> figure = error_by_rooms(
    ...     {"fine-tuned": ([2, 8], [0.2, 0.1], [0.02, 0.01])}, "T60",
    ...     {"training mean": 0.3})
    >>> figure.axes[0].get_title(loc="left")
    'T60'
    """
    lines = lines or {}
    with style():
        figure = new_figure()
        axes = figure.add_subplot()
        shown = set()
        for index, (mode, (rooms, errors, deviations)) in enumerate(
            series.items()
        ):
            shown.update(rooms)
            axes.errorbar(
                rooms,
                errors,
                deviations,
                label=mode,
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
        axes.set_xticklabels([f"{rooms:g}" for rooms in sorted(shown)])
        axes.set(xlabel="training rooms", ylabel=_error_label(task))
        axes.set_ylim(bottom=0)
        finish(figure, axes, task, len(series) + len(lines))
    return figure


def tracks_over_time(found, spacing=None):
    """What models found in a recording, over time.

    Arguments
    ---------
    found : list of spatial_brain.inference.acoustic_tracks.RoomAcoustics
        Of one recording, one a model.
    spacing : float, optional
        Distance of the microphones, metres: a TDOA is drawn as an angle.

    Returns
    -------
    matplotlib.figure.Figure
        A panel a model: windows, median and quartiles.

    Example
    -------
    >>> from spatial_brain.inference.acoustic_tracks import RoomAcoustics
    >>> one = RoomAcoustics("a.wav", "T60", 6.0, 16000, np.array([0.0, 2.0]),
    ...                     np.array([4.0, 6.0]), np.array([0.5, 0.6]))
    >>> tracks_over_time([one]).axes[0].get_ylabel()
    'T60, s'
    """
    with style():
        figure = new_figure(7.2, 1.0 + 1.7 * len(found))
        panels = figure.subplots(len(found), 1, sharex=True, squeeze=False)
        for index, (axes, one) in enumerate(
            zip(panels[:, 0], found, strict=True)
        ):
            tracks = one.tracks(spacing)
            track = tracks[-1] if tracks[-1].name == "angle" else tracks[0]
            colour = PALETTE[index % len(PALETTE)]
            axes.axhspan(*track.quartiles, color=colour, alpha=0.15, lw=0)
            axes.axhline(track.median, color=colour, lw=1.0, ls=":")
            centres = (one.starts + one.stops) / 2
            axes.plot(
                centres,
                track.values,
                color=colour,
                marker="o" if len(centres) <= 60 else None,
                markersize=4,
                lw=1.5,
            )
            for window in np.flatnonzero(one.silent):
                ends = one.starts[window], one.stops[window]
                axes.axvspan(*ends, color=RULE, lw=0, zorder=0)
            unit = f", {track.unit}" if track.unit else ""
            axes.set_ylabel(track.name + unit)
        axes.set(xlabel="time, s", xlim=(0, found[0].duration))
        panels[0, 0].set_title("Acoustics over time: median and quartiles")
        figure.align_ylabels(panels)
    return figure


def _with_unit(task):
    """Short name of a task with its unit."""
    unit = find_quantity(task).unit
    return f"{task}, {unit}" if unit else task


def _error_label(task):
    """Name of an axis of errors."""
    unit = find_quantity(task).unit
    return f"mean error, {unit}" if unit else "mean error"
