"""Pictures of directions: examples, accuracy, and tracks over time.

Directions are degrees in [0, 180] from the +x end of an array's axis. Every
function returns a ``matplotlib.figure.Figure``.
"""

import numpy as np

from spatial_brain.reporting.plots import finish
from spatial_brain.reporting.style import (
    FAINT,
    INK,
    MARKERS,
    PALETTE,
    RULE,
    new_figure,
    style,
)

# Beyond this many points an SVG gets slow; they are drawn as pixels then.
MANY_POINTS = 1500


def estimate_scatter(reference, estimate, label="network"):
    """Estimated against true directions with a band of 10 degrees.

    Arguments
    ---------
    reference : sequence of float
        True directions, degrees in [0, 180].
    estimate : sequence of float
        Estimates in the same order.
    label : str
        Method, for the title.

    Returns
    -------
    matplotlib.figure.Figure
        The picture.

    Example
    -------
    >>> estimate_scatter([10.0, 90.0], [12.0, 80.0]).axes[0].get_xlabel()
    'true direction, degrees'
    """
    with style():
        figure = new_figure()
        axes = figure.add_subplot()
        ends = np.array([0.0, 180.0])
        axes.fill_between(
            ends, ends - 10, ends + 10, color=PALETTE[2], alpha=0.15, lw=0
        )
        axes.plot(ends, ends, color=PALETTE[2], lw=1.0)
        axes.scatter(
            reference,
            estimate,
            s=14,
            color=PALETTE[0],
            alpha=0.35 if len(reference) > 400 else 0.6,
            linewidths=0,
            rasterized=len(reference) > MANY_POINTS,
        )
        axes.set(
            xlabel="true direction, degrees",
            ylabel="estimate, degrees",
            xlim=(0, 180),
            ylim=(0, 180),
            xticks=range(0, 181, 30),
            yticks=range(0, 181, 30),
        )
        axes.set_title(f"Truth and {label}, band of 10 degrees")
    return figure


def half_plane(reference, estimates, title=None, notes=None):
    """Directions on the half circle around an array along the x axis.

    Arguments
    ---------
    reference : sequence of float or None
        True directions, degrees in [0, 180]: rays to the rim.
    estimates : dict
        Method to its directions; the methods have rings of their own.
    title : str, optional
        Short.
    notes : str, optional
        A line below the picture.

    Returns
    -------
    matplotlib.figure.Figure
        The picture; 0 degrees is to the right.

    Example
    -------
    >>> figure = half_plane([30.0, 100.0], {"network": [32, 97]},
    ...                     "Mixture 3")
    >>> figure.axes[0].get_title(loc="left")
    'Mixture 3'
    """
    with style():
        figure = new_figure(4.4, 3.5)
        axes = figure.add_subplot()
        axes.set(xlim=(-1.2, 1.2), ylim=(-0.1, 1.2), aspect="equal")
        axes.set_axis_off()
        circle = np.radians(np.linspace(0, 180, 91))
        axes.fill(np.cos(circle), np.sin(circle), color=RULE, alpha=0.25, lw=0)
        for degrees in range(0, 181, 30):
            x, y = _on_circle(degrees)
            axes.plot([0, x], [0, y], color=RULE, lw=0.9, zorder=1)
            axes.text(
                1.1 * x,
                1.1 * y,
                f"{degrees}°",
                ha="center",
                va="center",
                color=FAINT,
            )
        for index, angle in enumerate(reference or ()):
            x, y = _on_circle(angle)
            label = "truth" if index == 0 else None
            axes.plot([0, x], [0, y], color=INK, lw=2.0, label=label)
        for index, (method, angles) in enumerate(estimates.items()):
            axes.plot(
                *_on_circle(angles, 0.88 - 0.2 * index),
                linestyle="none",
                marker=MARKERS[index % len(MARKERS)],
                markersize=9 if index == 0 else 7,
                color=PALETTE[index % len(PALETTE)],
                label=method,
                zorder=3,
            )
        # The two microphones, far from true to scale.
        axes.plot([-0.05, 0.05], [0, 0], "o", color=FAINT, ms=4)
        finish(figure, axes, title, len(estimates) + bool(reference))
        if notes:
            axes.text(0, -0.08, notes, ha="center", va="top", color=FAINT)
    return figure


def _on_circle(degrees, radius=1.0):
    """Point on the circle around the array."""
    angle = np.radians(degrees)
    return radius * np.cos(angle), radius * np.sin(angle)


def direction_trajectory(localization):
    """Directions of the talkers of a recording over time.

    Arguments
    ---------
    localization : spatial_brain.inference.localization.Localization
        What ``SoundLocalizer.localize_file`` returns.

    Returns
    -------
    matplotlib.figure.Figure
        Lines through the windows' centres, markers the larger the more
        confident, and each talker's median at the right.

    Example
    -------
    >>> from spatial_brain.inference.localization import Localization
    >>> found = Localization("a.wav", "cone", 4.0, np.array([0.0, 1.0]),
    ...                      np.array([3.0, 4.0]), np.array([[40.0], [44]]),
    ...                      np.array([[0.5], [0.9]]))
    >>> direction_trajectory(found).axes[0].get_ylabel()
    'direction, degrees'
    """
    centres = (localization.starts + localization.stops) / 2
    with style():
        figure = new_figure(7.2, 3.8)
        axes = figure.add_subplot()
        for index, talker in enumerate(localization.talkers):
            colour = PALETTE[index % len(PALETTE)]
            directions = localization.directions[:, index]
            axes.plot(centres, directions, color=colour, lw=1.5, alpha=0.6)
            axes.scatter(
                centres,
                directions,
                s=10 + 50 * np.nan_to_num(localization.confidence[:, index]),
                color=colour,
                marker=MARKERS[index % len(MARKERS)],
                label=f"talker {index + 1}: {talker['direction']:.0f}°",
                rasterized=len(centres) > MANY_POINTS,
            )
            axes.axhline(talker["direction"], color=colour, lw=0.9, ls=":")
        for index in np.flatnonzero(localization.silent):
            axes.axvspan(
                localization.starts[index],
                localization.stops[index],
                color=RULE,
                lw=0,
                zorder=0,
            )
        axes.set(
            xlabel="time, s",
            ylabel="direction, degrees",
            xlim=(0, localization.duration),
            ylim=(0, 180),
            yticks=range(0, 181, 30),
        )
        finish(figure, axes, None, 2)
        axes.set_title("Directions over time (marker size: confidence)")
    return figure
