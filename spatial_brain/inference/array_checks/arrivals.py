"""When a clap reaches each microphone."""

import math

import torch

from spatial_brain.geometry import SPEED_OF_SOUND
from spatial_brain.processing.spatial import bin_frequencies

# Hertz: where claps are loud and reflections of the table are not.
_BAND = (300.0, 8000.0)
# Seconds of direct sound used, and before its onset.
_DIRECT, _BEFORE = 0.003, 0.001
# Of the highest short power: its onset is where so much is reached.
_ONSET = 0.1
# Points of a correlation per sample.
_FINE = 16
# Seconds: a delay that differs so much from what the others say counts half.
_SCATTER = 3e-5
_REPEATS = 10


def arrival_times(waveform, fs, aperture):
    """Arrival of the loudest transient at each microphone.

    Arguments
    ---------
    waveform : torch.Tensor
        [time, channel].
    fs : float
        Sampling rate, hertz.
    aperture : float
        Largest distance of two microphones, metres.

    Returns
    -------
    tuple of torch.Tensor
        Seconds relative to the mean, [channel]; and the sign of each
        channel relative to the majority, [channel].

    Example
    -------
    >>> clap = torch.zeros(4000, 3)
    >>> clap[1000, 0] = clap[1002, 1] = 1.0
    >>> clap[1004, 2] = -1.0
    >>> times, signs = arrival_times(clap, 16000, 0.2)
    >>> (times * 16000).round().abs().tolist(), signs.tolist()
    ([2.0, 0.0, 2.0], [1.0, 1.0, -1.0])
    """
    reach = 1.2 * aperture / SPEED_OF_SOUND + 1e-4
    window = _direct_sound(waveform, fs, reach)
    number = window.shape[1]
    n_fft = 2 ** math.ceil(math.log2(2 * len(window)))
    spectra = torch.fft.rfft(window.T.double(), n_fft)
    frequency = bin_frequencies(n_fft, fs)
    used = (frequency >= _BAND[0]) & (frequency <= min(_BAND[1], 0.45 * fs))
    cross = spectra[:, None].conj() * spectra
    # Half way to the phase transform: sharp, and not noise alone.
    cross = used * cross / cross.abs().clamp(min=1e-20).sqrt()
    size = n_fft * _FINE
    curves = torch.fft.irfft(cross, size).roll(size // 2, -1)
    steps = math.ceil(reach * fs * _FINE)
    curves = curves[..., size // 2 - steps : size // 2 + steps + 1]
    place = curves.abs().argmax(-1)
    values = curves.gather(-1, place[..., None])[..., 0]
    delays = (place - steps).double() / (fs * _FINE)
    signs = torch.linalg.eigh(values.sign())[1][:, -1].sign()
    signs = signs * (1.0 if signs.sum() >= 0 else -1.0)
    return _least_squares(delays, number).float(), signs.float()


def _direct_sound(waveform, fs, reach):
    """The direct sound of the loudest transient, [time, channel]."""
    short = max(1, round(0.001 * fs))
    centred = waveform - waveform.mean(0)
    power = centred.square().mean(1)
    power = torch.nn.functional.avg_pool1d(
        power[None], 2 * short + 1, 1, short
    )[0]
    peak = int(power.argmax())
    early = max(0, peak - round((reach + 0.01) * fs))
    above = power[early : peak + 1] >= _ONSET * power[peak]
    onset = early + int(above.nonzero()[0])
    start = max(0, onset - round((reach + _BEFORE) * fs))
    stop = onset + round((reach + _DIRECT) * fs)
    window = centred[start:stop]
    fade = torch.ones(len(window))
    ramp = min(short, len(window) // 4)
    fade[len(window) - ramp :] = torch.linspace(1, 0, ramp)
    fade[:ramp] = torch.linspace(0, 1, ramp)
    return window * fade[:, None]


def _least_squares(delays, number):
    """Times whose differences are the delays [i, j] = t_j - t_i, robustly."""
    times = delays.mean(0)
    for _ in range(_REPEATS):
        error = delays - (times - times[:, None])
        weight = 1 / (1 + (error / _SCATTER).square())
        weight.fill_diagonal_(0.0)
        # Normal equations of a weighted graph, whose mean is fixed to 0.
        laplacian = torch.diag(weight.sum(0)) - weight
        right = (weight * delays).sum(0)
        times = torch.linalg.solve(laplacian + 1 / number, right)
    return times - times.mean()
