"""Pictures of microphone arrays."""

import textwrap

import numpy as np

from spatial_brain.reporting.plots import (
    FAINT,
    INK,
    PALETTE,
    finish,
    new_figure,
    style,
)

# Share of the aperture that is left around the microphones.
_MARGIN = 0.45
# Characters below a view.
_LINE = 60
_PLANES = {
    "from above": (1, 0, "y, cm (left)", "x, cm (front)"),
    "from behind": (1, 2, "y, cm (left)", "z, cm (up)"),
    "from the right": (0, 2, "x, cm (front)", "z, cm (up)"),
}


def array_picture(array):
    """Microphones, numbers of channels and azimuth 0 of an array.

    Arguments
    ---------
    array : spatial_brain.geometry.MicrophoneArray
        The array.

    Returns
    -------
    matplotlib.figure.Figure
        From above with x upwards and y to the left; arrays that are not flat
        from behind and from the right, too. Centimetres.

    Example
    -------
    >>> from spatial_brain.geometry import MicrophoneArray
    >>> figure = array_picture(MicrophoneArray.resolve("circular:6x0.05"))
    >>> figure.axes[0].get_xlabel()
    'y, cm (left)'
    """
    positions = 100 * array.positions.double().numpy()
    positions = positions - positions.mean(0)
    flat = np.ptp(positions[:, 2]) < 0.1
    views = list(_PLANES)[:1] if flat else list(_PLANES)
    size = (1 + 2 * _MARGIN) * max(100 * array.aperture, 1.0)
    with style():
        figure = new_figure(4.6 * len(views), 5.2)
        for index, view in enumerate(views):
            axes = figure.add_subplot(1, len(views), index + 1)
            _draw(axes, positions, view, size)
            finish(figure, axes, None, 0)
            axes.set_title(
                f"{array.name}, {view}" if not index else view, fontsize=10
            )
        text = (
            f"{len(array)} microphones, aperture {100 * array.aperture:.1f} "
            f"cm; 0° is {array.front}"
        )
        figure.supxlabel(
            textwrap.fill(text, _LINE * len(views)), fontsize=8.5, color=FAINT
        )
    return figure


def _draw(axes, positions, view, size):
    """Microphones in one view, with their numbers and the axes."""
    across, up, x_label, y_label = _PLANES[view]
    x, y = positions[:, across], positions[:, up]
    reach = size / 2
    if view == "from above":
        _compass(axes, reach)
    for place, numbers in _places(x, y, size):
        axes.plot(*place, "o", color=PALETTE[0], ms=8, zorder=3)
        axes.annotate(
            ",".join(map(str, numbers)),
            place,
            xytext=_away(place, size),
            textcoords="offset points",
            ha="center",
            va="center",
            fontsize=9,
            color=INK,
            zorder=4,
        )
    axes.set(
        xlabel=x_label,
        ylabel=y_label,
        xlim=(reach, -reach) if across == 1 else (-reach, reach),
        ylim=(-reach, reach),
        aspect="equal",
    )


def _places(x, y, size):
    """Places of the microphones and the channels at each, in order."""
    places = {}
    for number, place in enumerate(zip(x, y, strict=True)):
        key = tuple(np.round(np.asarray(place) / (0.01 * size)).astype(int))
        places.setdefault(key, (place, []))[1].append(number)
    return places.values()


def _away(place, size):
    """Offset of a number outwards from the centre, points."""
    across, up = place
    length = np.hypot(across, up)
    if length < 0.02 * size:
        return (9, 9)
    # A little aside of the arrow at 0 degrees; the axis across runs to the
    # left in the views from above and behind.
    angle = np.arctan2(up, -across) - 0.5
    return (14 * np.cos(angle), 14 * np.sin(angle))


def _compass(axes, reach):
    """Azimuths around the array."""
    for azimuth in range(0, 360, 30):
        angle = np.deg2rad(azimuth)
        y, x = reach * np.sin(angle), reach * np.cos(angle)
        axes.plot([0.81 * y, 0.85 * y], [0.81 * x, 0.85 * x], color=FAINT, lw=1)
        label = f"{azimuth if azimuth <= 180 else azimuth - 360}°"
        axes.text(
            0.95 * y,
            0.95 * x,
            label,
            ha="center",
            va="center",
            fontsize=8,
            color=PALETTE[4] if azimuth == 0 else FAINT,
            weight="bold" if azimuth == 0 else "normal",
        )
    axes.annotate(
        "",
        (0, 0.8 * reach),
        (0, 0.0),
        arrowprops={"arrowstyle": "->", "color": PALETTE[4], "lw": 1.6},
    )
