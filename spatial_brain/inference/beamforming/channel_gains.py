"""Gains that make the channels of an array equally loud.

Microphones close to each other receive the same power; where their channels
differ it is the microphones or their preamplifiers. Beamformers that rest on
small differences of channels fail at a few decibels.
"""

import torch

# Speech, without rumble and hiss, hertz.
_BAND = (300.0, 4000.0)
# Seconds read at once.
_PIECE = 8.0
# Below the median by more than this: no microphone, dB.
DEAD_DB = -20.0
# Largest correction, dB.
_LARGEST_DB = 12.0


def channel_gains(read, total, fs):
    """Gain of each channel, from the power of the whole recording.

    Arguments
    ---------
    read : callable
        From first sample and the one after the last to [part, channel, time];
        the first part counts.
    total : int
        Samples.
    fs : float
        Sampling rate, hertz.

    Returns
    -------
    torch.Tensor
        Factors [channel]: 1 for the mean level, at most 12 dB up or down; 0
        for channels without sound, unless none has any.

    Example
    -------
    >>> noise = torch.randn(1, 3, 8000) * torch.tensor([[1.0], [2.0], [0.0]])
    >>> gains = channel_gains(lambda a, b: noise[..., a:b], 8000, 8000)
    >>> round(float(gains[0] / gains[1])), float(gains[2])
    (2, 0.0)
    """
    power = 0.0
    piece = max(1, round(_PIECE * fs))
    for start in range(0, total, piece):
        signals = read(start, min(total, start + piece))[0]
        spectra = torch.fft.rfft(signals)
        frequency = torch.fft.rfftfreq(signals.shape[-1], 1 / fs)
        band = (frequency >= _BAND[0]) & (frequency <= _BAND[1])
        power = power + spectra[:, band].abs().square().double().sum(-1)
    level = 10 * (power + 1e-30).log10()
    if not bool((power > 0).any()):
        return torch.ones(len(level))
    alive = level > level[power > 0].median() + DEAD_DB
    correction = (level[alive].mean() - level).clamp(-_LARGEST_DB, _LARGEST_DB)
    return (10 ** (correction / 20) * alive).float()
