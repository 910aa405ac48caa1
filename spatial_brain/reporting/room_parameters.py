"""Picture of a measured room: decay curves and parameters per octave."""

import numpy as np

from spatial_brain.reporting.plots import (
    FAINT,
    MARKERS,
    PALETTE,
    new_figure,
    style,
)

_LOWEST = -70.0  # dB, end of the axis
_POINTS = 1000


def decays_and_bands(found, fs, title=None):
    """Decay curves of the bands beside their T20, T30 and EDT.

    Arguments
    ---------
    found : list of BandParameters
        From ``spatial_brain.simulation.room_parameters``, whole first.
    fs : int
        Sampling rate, hertz.
    title : str, optional
        Such as the file's name.

    Returns
    -------
    matplotlib.figure.Figure
        The picture; of channel 0.

    Example
    -------
    >>> import torch
    >>> from spatial_brain.simulation.room_parameters import room_parameters
    >>> decay = 10 ** (-3 * torch.arange(8000) / 16000 / 0.2)
    >>> noise = torch.randn(8000, generator=torch.Generator().manual_seed(0))
    >>> figure = decays_and_bands(
    ...     room_parameters((decay * noise)[None], 16000), 16000
    ... )
    >>> len(figure.axes)
    2
    """
    with style():
        figure = new_figure(width=9.2, height=3.6)
        curves, bars = figure.subplots(1, 2)
        for index, one in enumerate(found):
            level = one.decay[0].numpy()
            keep = np.unique(
                np.linspace(0, len(level) - 1, _POINTS).astype(int)
            )
            level = np.where(level >= _LOWEST, level, np.nan)
            curves.plot(
                keep / fs,
                level[keep],
                label=_name(one.band),
                color=PALETTE[(index - 1) % len(PALETTE)] if index else FAINT,
                linewidth=1.2 if index else 2.5,
                linestyle="--" if index > len(PALETTE) else "-",
            )
        curves.set(xlabel="time (s)", ylabel="energy still to come (dB)")
        curves.set_ylim(_LOWEST, 2)
        curves.set_title(title or "decay")
        curves.legend(title="band, Hz", ncols=2, fontsize=8)
        for index, name in enumerate(("t20", "t30", "edt")):
            bars.plot(
                range(len(found)),
                [one.values[name][0] for one in found],
                label=name.upper(),
                color=PALETTE[index],
                marker=MARKERS[index],
                linestyle="none",
            )
        bars.set_xticks(range(len(found)), [_name(one.band) for one in found])
        bars.set(ylabel="reverberation time (s)")
        bars.set_ylim(bottom=0)
        bars.set_title("per octave, Hz")
        bars.legend()
    return figure


def _name(band):
    """Short name of a band."""
    if band is None:
        return "all"
    return f"{band // 1000}k" if band >= 1000 else str(band)
