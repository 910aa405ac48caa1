"""What the room and the band leave of a recording: noise, echo, aliasing."""

import math

import torch

from spatial_brain.geometry import SPEED_OF_SOUND
from spatial_brain.inference.array_checks.finding import Finding
from spatial_brain.processing.spatial import bin_frequencies

# Seconds of a frame; frames follow each other by a quarter.
_FRAME = 0.032
# Octaves whose decays are measured, hertz; and all frequencies of the level.
_OCTAVES = ((500.0, 1000.0), (1000.0, 2000.0), (2000.0, 4000.0))
_LEVEL_BAND = (200.0, 6000.0)
# Share of the frames that are taken as noise; and what their mean is above
# their limit.
_PAUSES, _ABOVE = 0.05, 1.1
# Decays: frames, decibels, decibels above noise, frames left out at the start.
_LONG, _DEEP, _CLEAR, _EARLY = 18, 10.0, 6.0, 3
# Decays that make an estimate.
_DECAYS = 3
# Decibels below which directions are doubtful, and above which pauses of a
# recording say no more.
_LOW, _HIGH = 3.0, 20.0
# Seconds; shorter ones cannot be told from the decay of speech.
_SHORT, _LONG_T60 = 0.4, 0.7
# Band that localization uses unless told otherwise.
_USUAL_BAND = (300.0, 5500.0)


def room_findings(pieces, fs, kept, distances, band):
    """Notes on noise, reverberation and aliasing.

    Arguments
    ---------
    pieces : list of tuple
        Start in seconds and waveform [time, channel] of each piece.
    fs : int
        Sampling rate, hertz.
    kept : list of int
        Microphones that record something of their own.
    distances : torch.Tensor
        Between them, metres, [M, M].
    band : tuple of float or None
        Lowest and highest frequency used, hertz.

    Returns
    -------
    list of Finding
    """
    spectra = [
        power
        for _, waveform in pieces
        if (power := _spectra(waveform[:, kept], fs)) is not None
    ]
    if not spectra:
        return []
    found = [_noise(spectra, fs), _reverberation(spectra, fs)]
    return [one for one in [*found, _aliasing(distances, fs, band)] if one]


def _spectra(waveform, fs):
    """Power of the frames of a piece, mean over channels, [frame, bin]."""
    n_fft = 2 ** round(math.log2(_FRAME * fs))
    if len(waveform) < n_fft:
        return None
    taper = torch.hann_window(n_fft)
    power = 0.0
    for channel in waveform.T:
        frames = (channel - channel.mean()).unfold(-1, n_fft, n_fft // 4)
        power = power + torch.fft.rfft(frames * taper).abs().square()
    return power / waveform.shape[1]


def _levels(spectra, fs, band):
    """Power in a band of the frames of each piece, list of [frame]."""
    frequency = bin_frequencies(2 * (spectra[0].shape[1] - 1), fs)
    used = (frequency >= band[0]) & (frequency < band[1])
    return [power[:, used].sum(1) for power in spectra]


def _noise(spectra, fs):
    """Finding on the signal-to-noise ratio, from the quietest frames."""
    levels = torch.cat(_levels(spectra, fs, _LEVEL_BAND))
    noise = _ABOVE * float(levels.quantile(_PAUSES))
    ratio = float(levels.mean()) / max(noise, 1e-20) - 1
    decibels = 10 * math.log10(max(ratio, 1e-2))
    if decibels < _LOW:
        return Finding(
            "low_snr",
            "warning",
            (),
            f"the sound is hardly above the noise (about {decibels:.0f} dB), "
            "or has no pauses; record nearer, or believe the loudest only",
            decibels,
        )
    about = f"about {decibels:.0f}" if decibels < _HIGH else f"over {_HIGH:.0f}"
    return Finding(
        "snr", "note", (), f"signal-to-noise ratio {about} dB", decibels
    )


def _reverberation(spectra, fs):
    """Finding on the reverberation time, from decays of the sound, or None."""
    times = []
    for band in _OCTAVES:
        if band[1] > fs / 2:
            continue
        levels = [10 * (x + 1e-20).log10() for x in _levels(spectra, fs, band)]
        floor = float(torch.cat(levels).quantile(_PAUSES)) + _CLEAR
        step = (spectra[0].shape[1] - 1) // 2 / fs
        for level in levels:
            times += _decays(level, floor, step)
    if len(times) < _DECAYS:
        return None
    t60 = float(torch.tensor(times).median())
    about = f"about {t60:.1f}" if t60 > _SHORT else f"up to {_SHORT:g}"
    many = "; directions scatter, more so far from the source"
    return Finding(
        "reverberant" if t60 > _LONG_T60 else "reverberation",
        "note",
        (),
        f"reverberation time {about} s{many if t60 > _LONG_T60 else ''}",
        t60,
    )


def _decays(level, floor, step):
    """Reverberation times of the free decays of a level in decibels."""
    smooth = level.unfold(0, 3, 1).mean(-1).tolist()
    times, start = [], 0
    while start < len(smooth) - _LONG:
        stop = start
        while (
            stop + 1 < len(smooth)
            and floor < smooth[stop + 1] < smooth[stop] + 0.3
        ):
            stop += 1
        deep = smooth[start] - smooth[stop] > _DEEP
        if stop - start >= _LONG and deep:
            part = torch.tensor(smooth[start + _EARLY : stop + 1])
            time = torch.arange(len(part)) * step
            time = time - time.mean()
            slope = float((time * part).sum() / time.square().sum())
            times += [-60 / slope] if slope < 0 else []
        start = max(stop, start + 1)
    return times


def _aliasing(distances, fs, band):
    """Finding on microphones too far apart for the band, or None."""
    nearest = float((distances + 1e3 * torch.eye(len(distances))).min())
    limit = SPEED_OF_SOUND / (2 * nearest)
    low, high = band or _USUAL_BAND
    if limit >= min(high, fs / 2):
        return None
    remedy = (
        f"; --band {low:.0f} {limit:.0f} avoids it"
        if limit > 2 * low
        else ", as it is in this band"
    )
    return Finding(
        "spacing_aliasing",
        "note",
        (),
        f"the nearest microphones are {100 * nearest:.1f} cm apart: above "
        f"{limit:.0f} Hz a tone has several directions, broad sounds have "
        f"one{remedy}",
        limit,
    )
