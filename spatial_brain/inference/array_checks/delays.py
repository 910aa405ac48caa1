"""Delays that the array forbids, and delays that grow: other clocks."""

import math

import torch

from spatial_brain.geometry import SPEED_OF_SOUND, azel_to_unit
from spatial_brain.inference.array_checks.finding import Finding
from spatial_brain.processing.spatial import bin_frequencies

# Seconds of a frame: delays up to a quarter of it are found.
FRAME = 0.5
# Peak of a correlation: by how much it must exceed the highest one that the
# array allows, and the scatter of the others.
_HIGHER, _CLEAR = 1.5, 8.0
# Seconds by which a delay may exceed that of the way between microphones.
_SLACK = 1e-4
# Of the pieces that show a clear delay: how many must show a wrong one; and
# of all pieces: how many must be clear.
_MOST, _SEEN = 0.6, 0.3
# Pieces that a line is fitted to.
_PIECES = 4
# Clocks differ by less than this.
_FASTEST = 1e-3
# Delays of any source up to this elevation, degrees, are at least a smallest
# one; half of it is too small. It must be so many samples to be measured.
_HIGHEST, _TOO_SMALL, _SAMPLES = 60, 0.5, 2.5


class PairDelays:
    """Delay of every channel against one of them, piece by piece.

    Arguments
    ---------
    reference : int
        The channel that the others are compared with.
    fs : float
        Sampling rate, hertz.
    band : tuple of float
        Lowest and highest frequency used, hertz.
    """

    def __init__(self, reference, fs, band):
        self.reference, self.fs, self.band = reference, fs, band
        self.times, self._correlations = [], []

    def add(self, start, waveform):
        """Add a piece.

        Arguments
        ---------
        start : float
            When it begins, seconds.
        waveform : torch.Tensor
            [time, channel].
        """
        n_fft = 2 ** round(math.log2(FRAME * self.fs))
        if len(waveform) < n_fft:
            return
        frequency = bin_frequencies(n_fft, self.fs)
        used = (frequency >= self.band[0]) & (frequency <= self.band[1])
        frames = waveform.T.unfold(-1, n_fft, n_fft // 2)
        spectra = torch.fft.rfft(frames * torch.hann_window(n_fft))
        cross = spectra * spectra[self.reference].conj()
        cross = cross / cross.abs().clamp(min=1e-20)
        mean = torch.fft.irfft((cross * used).mean(1), n_fft)
        # Of a band of that share, the peak of equal signals is 1.
        mean = mean.roll(n_fft // 2, -1) * (n_fft / 2 / used.sum())
        quarter = n_fft // 4
        self.times.append(start)
        self._correlations.append(mean[:, quarter:-quarter].abs())

    def peaks(self, allowed):
        """Highest correlations of each piece and channel.

        Arguments
        ---------
        allowed : torch.Tensor
            Largest delay of each channel, seconds, [channel].

        Returns
        -------
        tuple of torch.Tensor
            Delay of the highest one in seconds, positive where the channel is
            late; whether it is clear; and whether the array forbids it; each
            [piece, channel].
        """
        correlations = torch.stack(self._correlations)
        middle = correlations.shape[-1] // 2
        lags = (torch.arange(2 * middle) - middle) / self.fs
        inside = lags.abs() <= allowed[:, None] + _SLACK
        within = correlations.masked_fill(~inside, 0.0).amax(-1)
        height, place = correlations.max(-1)
        scatter = correlations.median(-1).values / 0.6745
        clear = height > _CLEAR * scatter
        forbidden = clear & (height > _HIGHER * within)
        return lags[place], clear, forbidden


def size_finding(delays, positions):
    """That all delays are too small for an array of that size.

    Arguments
    ---------
    delays : PairDelays
        Of the whole recording.
    positions : torch.Tensor
        Of the microphones, metres, [M, 3].

    Returns
    -------
    Finding or None
        ``None`` as well where a source may reach all microphones at once: in
        front of a line or an upright plane.
    """
    if not delays.times:
        return None
    azimuth = torch.arange(0.0, 360.0, 5.0)[:, None]
    elevation = torch.arange(-_HIGHEST, _HIGHEST + 1, 5.0)
    ways = positions - positions[delays.reference]
    expected = azel_to_unit(azimuth, elevation) @ ways.T / SPEED_OF_SOUND
    least = float(expected.abs().amax(-1).min())
    late, clear, _ = delays.peaks(ways.norm(dim=1) / SPEED_OF_SOUND)
    seen = torch.where(clear, late.abs(), torch.nan).nanmedian(0).values
    if seen.isnan().any() or least * delays.fs < _SAMPLES:
        return None
    largest = float(seen.max())
    if largest >= _TOO_SMALL * least:
        return None
    return Finding(
        "array_too_large",
        "error",
        (),
        f"the largest delay is {1000 * largest:.2f} ms, this array gives "
        f"{1000 * least:.2f} ms or more: its positions are too large (they "
        "are in metres), or the sound is from straight above",
        largest,
    )


def delay_findings(delays, channels, distances):
    """Channels that are late, early or on another clock.

    Arguments
    ---------
    delays : PairDelays
        Of the whole recording.
    channels : sequence of int
        Number in the file of each of its channels.
    distances : torch.Tensor
        Between microphones, metres, [M, M].

    Returns
    -------
    list of Finding
    """
    if not delays.times:
        return []
    allowed = distances[delays.reference].float() / SPEED_OF_SOUND
    late, clear, forbidden = delays.peaks(allowed)
    times = torch.tensor(delays.times)
    drifts = [
        _drift(times[ok], at[ok], float(limit))
        for ok, at, limit in zip(clear.T, late.T, allowed, strict=True)
    ]
    share = forbidden.float().sum(0) / clear.float().sum(0).clamp(min=1)
    seen = clear.float().mean(0) >= _SEEN
    wrong = {
        index: float(late[forbidden[:, index], index].median())
        for index in ((share >= _MOST) & seen).nonzero()[:, 0].tolist()
    }
    others = len(channels) - 1
    if others > 1 and 2 * len(wrong) > others:
        # Most are off against the reference alone: it is the one.
        middle = torch.tensor(sorted(wrong.values())).median()
        wrong, drift = {delays.reference: -float(middle)}, _most(drifts)
        drifts = [None] * len(channels)
        drifts[delays.reference] = drift and -drift
    found = []
    for index, channel in enumerate(channels):
        limit = float(allowed[index]) or float(allowed.max())
        if drifts[index]:
            found.append(_clock(channel, drifts[index]))
        elif index in wrong:
            found.append(_lateness(channel, wrong[index], limit))
    return found


def _drift(times, late, limit):
    """Slope of delays that grow beyond what the array allows, or None."""
    if len(times) < _PIECES:
        return None
    times = times - times.mean()
    slope = float((times * late).sum() / times.square().sum().clamp(min=1e-9))
    rest = late - late.mean() - slope * times
    growth = abs(slope) * float(times.max() - times.min())
    straight = float(rest.abs().median()) < max(limit, _SLACK)
    far = growth > 2 * limit + 4 * _SLACK
    return slope if straight and far and abs(slope) < _FASTEST else None


def _most(drifts):
    """Median of the drifts of the channels that have one, or None."""
    there = [drift for drift in drifts if drift]
    return float(torch.tensor(there).median()) if there else None


def _lateness(channel, seconds, limit):
    """Finding on a channel with a delay that no sound can have."""
    word = "late" if seconds > 0 else "early"
    return Finding(
        "delay_forbidden",
        "error",
        (channel,),
        f"channel {channel} is {1000 * abs(seconds):.2f} ms {word}, the array "
        f"allows {1000 * limit:.2f} ms; record all channels with one device, "
        "or shift that channel",
        seconds,
    )


def _clock(channel, slope):
    """Finding on a channel that runs on another clock."""
    return Finding(
        "rate_drift",
        "error",
        (channel,),
        f"channel {channel} falls {'behind' if slope > 0 else 'ahead'} by "
        f"{1e6 * abs(slope):.0f} microseconds a second: it has another clock; "
        "record all channels with one device",
        slope,
    )
