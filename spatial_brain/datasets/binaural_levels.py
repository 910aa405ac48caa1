"""Levels of the talkers in a mixture.

Fixed sets follow wsj0-mix (Hershey et al., "Deep clustering", ICASSP 2016):
active levels that differ by up to 5 dB. Dynamic mixing follows the recipe
BinauralWSJ0Mix of SpeechBrain: normal deviates around the mean absolute
amplitude.
"""

import math

import torch

from spatial_brain.simulation.levels import active_level

# Largest sample of a mixture and its sources.
PEAK = 0.9
# Half the largest level difference of wsj0-mix, dB.
HALF_RANGE = 2.5
# Dynamic mixing, dB: mean and deviation of the first talker's level, and of
# that of each other talker relative to the first; bounds of both.
FIRST, OTHER, BOUNDS = (-27.43, 2.57), (-2.51, 2.66), (-45.0, 0.0)


def draw_snrs(rng, num_speakers):
    """Levels of the talkers of a fixed mixture, as in wsj0-mix.

    Arguments
    ---------
    rng : numpy.random.Generator
        Source of one number.
    num_speakers : int
        At least 1.

    Returns
    -------
    list of float
        dB: the first in [0, 2.5], the second its opposite, others 0.

    Example
    -------
    >>> import numpy as np
    >>> first, second, third = draw_snrs(np.random.default_rng(0), 3)
    >>> first == -second, 0 <= first <= 2.5, third
    (True, True, 0.0)
    """
    level = round(float(rng.uniform(0.0, HALF_RANGE)), 4)
    return [level, -level, *[0.0] * num_speakers][:num_speakers]


def mixture_gains(signals, snrs, fs, mode="min"):
    """Gains of the talkers of a fixed mixture, as in wsj0-mix.

    Each talker's active level is brought to its SNR; then the largest sample
    of the mixture and of its sources, before they get a direction, is 0.9.

    Arguments
    ---------
    signals : list of torch.Tensor
        Dry speech, [time], of any lengths.
    snrs : list of float
        dB, one a talker.
    fs : int
        Sampling rate, Hz.
    mode : str
        "min": the peak is that of the shortest talker's time; "max": of all.

    Returns
    -------
    list of float
        Factors.

    Raises
    ------
    ValueError
        If a signal is silent in that time.

    Example
    -------
    >>> loud = torch.sin(torch.arange(8000.0))
    >>> mixture_gains([loud, 0.1 * loud], [0.0, 0.0], 8000)
    [0.450..., 4.50...]
    """
    shortest = min(len(signal) for signal in signals)
    longest = max(len(signal) for signal in signals)
    gains, parts = [], []
    for signal, snr in zip(signals, snrs, strict=True):
        part = signal[:shortest] if mode == "min" else signal
        if not bool(part.any()):
            raise ValueError(f"silent for {len(part)} samples")
        gain = 10.0 ** ((snr - float(active_level(signal, fs))) / 20.0)
        part = torch.nn.functional.pad(part, (0, longest - len(part)))
        gains.append(gain)
        parts.append(gain * part)
    parts = torch.stack(parts)
    peak = max(float(parts.abs().max()), float(parts.sum(0).abs().max()))
    return [gain * PEAK / peak for gain in gains]


def draw_levels(rng, num_speakers):
    """Levels of the talkers of a mixture that is drawn anew.

    Arguments
    ---------
    rng : numpy.random.Generator
        Source of one number a talker.
    num_speakers : int
        At least 1.

    Returns
    -------
    list of float
        dB relative to a mean absolute amplitude of 1, in [-45, 0].

    Example
    -------
    >>> import numpy as np
    >>> len(draw_levels(np.random.default_rng(0), 3))
    3
    """
    low, high = BOUNDS
    first = min(max(float(rng.normal(*FIRST)), low), high)
    others = [
        min(max(first + float(rng.normal(*OTHER)), low), high)
        for _ in range(num_speakers - 1)
    ]
    return [first, *others]


def level_gains(signals, levels):
    """Gains that give talkers their mean absolute amplitude.

    Arguments
    ---------
    signals : list of torch.Tensor
        [time].
    levels : list of float
        dB, from ``draw_levels``.

    Returns
    -------
    list of float
        Factors.

    Raises
    ------
    ValueError
        If a signal is silent.

    Example
    -------
    >>> level_gains([torch.full((4,), 0.5)], [-20.0])
    [0.2]
    """
    gains = []
    for signal, level in zip(signals, levels, strict=True):
        mean = float(signal.abs().mean())
        if mean == 0.0:
            raise ValueError(f"silent for {len(signal)} samples")
        gains.append(10.0 ** (level / 20.0) / mean)
    return gains


def noise_gain(power, noise, snr):
    """Gain of noise for a level of the first talker over it.

    Arguments
    ---------
    power : float
        Of the first talker, mean over time and ears.
    noise : numpy.ndarray or torch.Tensor
        Shape [T, 2].
    snr : float
        dB.

    Returns
    -------
    float
        Factor.

    Raises
    ------
    ValueError
        If the noise is silent.

    Example
    -------
    >>> noise_gain(1.0, torch.full((4, 2), 0.5), 0.0)
    2.0
    """
    there = float((noise**2).mean())
    if there == 0.0:
        raise ValueError("noise is silent")
    return math.sqrt(float(power) / there) * 10.0 ** (-snr / 20.0)
