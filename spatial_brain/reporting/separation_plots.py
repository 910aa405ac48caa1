"""Pictures of separated talkers: spectrograms, cues, errors by angle."""

import numpy as np
from matplotlib.ticker import FuncFormatter, NullFormatter

from spatial_brain.reporting.plots import finish, line_plot
from spatial_brain.reporting.style import (
    FAINT,
    MARKERS,
    PALETTE,
    new_figure,
    style,
)

# Levels below the loudest one that a spectrogram shows, dB.
DYNAMIC_RANGE = 60.0
WINDOW = 0.032
# Beyond this many points an SVG gets slow; they are drawn as pixels then.
MANY_POINTS = 1500
# Ranges of the angle with equally many mixtures, at most, and the smallest
# number of mixtures in one.
MAX_RANGES, MIN_MIXTURES = 8, 5
FREQUENCY_TICKS = (125, 250, 500, 1000, 2000, 4000, 8000)


def level_spectrogram(signal, fs):
    """Levels over time and frequency.

    Arguments
    ---------
    signal : array
        Shape [time].
    fs : float
        Sampling rate, Hz.

    Returns
    -------
    numpy.ndarray
        Decibels, [bin, frame], of Hann windows of 32 ms, a quarter apart.

    Example
    -------
    >>> level_spectrogram(np.random.default_rng(0).random(8000), 8000).shape
    (129, 122)
    """
    signal = np.asarray(signal, dtype=np.float64)
    frame = round(WINDOW * fs)
    padded = np.pad(signal, (0, max(0, frame - len(signal))))
    frames = np.lib.stride_tricks.sliding_window_view(padded, frame)
    spectra = np.fft.rfft(frames[:: frame // 4] * np.hanning(frame))
    return 20 * np.log10(np.abs(spectra).T + 1e-12)


def separation_spectrograms(mixture, reference, estimate, fs, names=None):
    """One ear of a mixture, of its talkers, and of what was separated.

    Arguments
    ---------
    mixture : array
        Shape [time].
    reference : array
        Shape [time, source].
    estimate : array
        Same shape, in the order of the references.
    fs : float
        Sampling rate, Hz.
    names : sequence of str, optional
        Of the talkers; numbers by default.

    Returns
    -------
    matplotlib.figure.Figure
        Mixture on top; below, a row a talker: as it was, and as separated.
        One scale of levels for all.

    Example
    -------
    >>> noise = np.random.default_rng(0).standard_normal((8000, 2))
    >>> figure = separation_spectrograms(noise.sum(1), noise, noise, 8000)
    >>> [axes.get_title("left") for axes in figure.axes[:3]]
    ['mixture', 'talker 1', 'talker 1, separated']
    """
    reference, estimate = np.asarray(reference), np.asarray(estimate)
    talkers = reference.shape[1]
    if names is None:
        names = [f"talker {k + 1}" for k in range(talkers)]
    panels = [("mixture", np.asarray(mixture))]
    for k, name in enumerate(names):
        panels.append((name, reference[:, k]))
        panels.append((f"{name}, separated", estimate[:, k]))
    levels = [level_spectrogram(signal, fs) for _, signal in panels]
    # What was played sets the scale: a wild estimate must not darken it.
    loudest = max(level.max() for level in levels[:2])
    with style():
        figure = new_figure(8.2, 2.1 * (talkers + 1))
        grid = figure.add_gridspec(talkers + 1, 2)
        places = [grid[0, :]]
        places += [grid[1 + k, j] for k in range(talkers) for j in (0, 1)]
        for index, (place, level) in enumerate(
            zip(places, levels, strict=True)
        ):
            axes = figure.add_subplot(place)
            axes.grid(False)
            image = axes.imshow(
                level,
                cmap="magma",
                vmin=loudest - DYNAMIC_RANGE,
                vmax=loudest,
                origin="lower",
                aspect="auto",
                extent=(0, len(reference) / fs, 0, fs / 2000),
            )
            axes.set_title(panels[index][0])
            if index % 2 == 1 or index == 0:
                axes.set_ylabel("kHz")
            if index in (0, len(panels) - 1, len(panels) - 2):
                axes.set_xlabel("time, s")
        bar = figure.colorbar(image, ax=figure.axes, label="level, dB")
        bar.outline.set_visible(False)
    return figure


def error_by_angle(angles, values, y_label, title=None):
    """An error of each mixture against the angle between its talkers.

    Arguments
    ---------
    angles : array
        Degrees, [mixture].
    values : dict
        Method to its error, [mixture]; NaN is left out. The first one is
        drawn as points, too.
    y_label : str
        With the unit.
    title : str, optional
        Short.

    Returns
    -------
    matplotlib.figure.Figure
        Lines: means over ranges of the angle that hold about
        equally many mixtures, with their 95 % intervals (1.96 standard errors).

    Example
    -------
    >>> angles = np.linspace(5, 90, 40)
    >>> figure = error_by_angle(angles, {"network": 90 - angles}, "error, µs")
    >>> len(figure.axes[0].lines)
    1
    """
    angles = np.asarray(angles, dtype=float)
    with style():
        figure = new_figure()
        axes = figure.add_subplot()
        for index, (label, errors) in enumerate(values.items()):
            colour = PALETTE[index % len(PALETTE)]
            errors = np.asarray(errors, dtype=float)
            known = np.isfinite(errors)
            if not known.any():
                continue
            x, mean, half = _range_means(angles[known], errors[known])
            if index == 0:
                many = known.sum() > MANY_POINTS
                axes.scatter(
                    angles[known],
                    errors[known],
                    s=7,
                    color=colour,
                    alpha=0.35,
                    linewidths=0,
                    rasterized=bool(many),
                )
            axes.fill_between(
                x, mean - half, mean + half, color=colour, alpha=0.2, lw=0
            )
            axes.plot(
                x,
                mean,
                label=label,
                color=colour,
                marker=MARKERS[index % len(MARKERS)],
                markersize=4.5,
            )
        axes.set(xlabel="angle between talkers, degrees", ylabel=y_label)
        axes.set_xlim(left=0)
        _limit(axes, next(iter(values.values())))
        finish(figure, axes, title, len(values))
    return figure


def _range_means(angles, errors):
    """Mean angle, mean error and half interval in ranges of the angle."""
    count = np.clip(len(angles) // MIN_MIXTURES, 1, MAX_RANGES)
    shares = np.arange(1, count) / count
    # Angles often lie on a grid; equal ones stay together.
    edges = np.unique(np.quantile(angles, shares, method="lower"))
    index = np.digitize(angles, edges)
    parts = [index == k for k in np.unique(index)]
    mean = np.array([errors[part].mean() for part in parts])
    half = np.array(
        [1.96 * errors[part].std() / np.sqrt(part.sum()) for part in parts]
    )
    return np.array([angles[part].mean() for part in parts]), mean, half


def _limit(axes, errors):
    """Cut single points that would press all others to the axis."""
    errors = np.asarray(errors, dtype=float)
    errors = errors[np.isfinite(errors)]
    if not len(errors):
        return
    usual = np.quantile(errors, 0.98)
    lines = max(line.get_ydata().max() for line in axes.lines)
    if errors.min() >= 0:
        top = 1.15 * max(usual, lines)
        axes.set_ylim(0, top if errors.max() > 2 * top else None)


def delay_scatter(reference, delays, title="Time differences of the talkers"):
    """Estimated interaural time differences against the true ones.

    Arguments
    ---------
    reference : array
        Microseconds, positive where the left ear is later, [talker].
    delays : dict
        Method to microseconds, [talker]; the last one is drawn on top.
    title : str
        Short.

    Returns
    -------
    matplotlib.figure.Figure
        One point a talker and method, and the line of a perfect answer.

    Example
    -------
    >>> figure = delay_scatter([100.0, -300.0], {"network": [105.0, -290.0]})
    >>> figure.axes[0].get_xlabel()
    'true delay of the left ear, µs'
    """
    with style():
        figure = new_figure(5.2, 4.4)
        axes = figure.add_subplot()
        axes.plot((-1000, 1000), (-1000, 1000), color=FAINT, lw=1.0)
        for index, (label, values) in enumerate(delays.items()):
            axes.scatter(
                reference,
                values,
                s=9,
                alpha=0.5,
                linewidths=0,
                label=label,
                # As in the other pictures: the network first in the palette.
                color=PALETTE[len(delays) - 1 - index],
                marker=MARKERS[len(delays) - 1 - index],
                rasterized=len(reference) > MANY_POINTS,
            )
        reach = np.abs(np.asarray(reference, dtype=float))
        reach = 1.1 * max(300.0, np.nanmax(reach, initial=0.0))
        axes.set(
            xlim=(-reach, reach),
            ylim=(-1050, 1050),
            xlabel="true delay of the left ear, µs",
            ylabel="delay after separation, µs",
        )
        finish(figure, axes, title, len(delays))
    return figure


def level_error_bands(by_band, title="Level differences by frequency"):
    """Mean error of the interaural level difference in each band.

    Arguments
    ---------
    by_band : dict
        ``frequency`` (Hz) and methods, dB, lists of one a band.
    title : str
        Short.

    Returns
    -------
    matplotlib.figure.Figure
        Lines over a logarithmic axis.

    Example
    -------
    >>> figure = level_error_bands(
    ...     {"frequency": [200.0, 900.0], "network": [1.0, 2.0]})
    >>> figure.axes[0].get_xscale()
    'log'
    """
    frequency = by_band["frequency"]
    series = {
        name: (frequency, values)
        for name, values in by_band.items()
        if name != "frequency"
    }
    figure = line_plot(series, "frequency, Hz", "mean ILD error, dB", title)
    axes = figure.axes[0]
    low, high = min(frequency) / 1.15, max(frequency) * 1.15
    axes.set_xscale("log")
    axes.set_xticks([tick for tick in FREQUENCY_TICKS if low < tick < high])
    axes.xaxis.set_major_formatter(FuncFormatter(lambda hz, _: f"{hz:g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.minorticks_off()
    axes.set_xlim(low, high)
    return figure
