"""Separated windows of a long recording to talkers of the whole of it.

Networks trained with permutation-invariant losses give the talkers of every
window in an order of their own. Neighbouring windows overlap: their samples
there show who is who. Where nobody, or not everybody, speaks in the overlap,
a memory of every talker's interaural cues and spectrum decides: talkers keep
their places and voices better than their turns.
"""

import math

import torch
from scipy.optimize import linear_sum_assignment

from spatial_brain.processing.stft import STFT

# Agreement in the overlap counts up to this many decibels, and as none where
# both are this far below the usual level of the loudest talker.
AGREEMENT_RANGE = 30.0
# What a perfect match of the memory is worth beside it, decibels.
MEMORY_WEIGHT = 8.0
# Cosine between the spectra of two: one talker, measured in windows of speech
# from fixed places, reaches 0.94 to 1, different ones 0.3 to 0.8.
STRANGER = 0.8
# Seconds of speech after which a memory has faded to 1 / e.
MEMORY_LENGTH = 30.0
# Of the spectra in the memory, seconds: long beside interaural delays.
FRAME_LENGTH = 0.032
TINY = 1e-20


class WindowStitcher:
    """Cross-fades separated windows in one order of talkers.

    Holds no more than the samples of a window.

    Arguments
    ---------
    fs : float
        Sampling rate, hertz.

    Example
    -------
    >>> stitcher = WindowStitcher(8000)
    >>> talkers = torch.randn(7000, 2, 2)
    >>> parts = [stitcher.push(0, talkers[:4000]),
    ...          stitcher.push(3000, talkers[3000:].flip(-1)),
    ...          stitcher.flush()]
    >>> [len(part) for part in parts]
    [0, 3000, 4000]
    >>> torch.allclose(torch.cat(parts), talkers, atol=1e-6)
    True
    """

    def __init__(self, fs):
        self._order = _TalkerOrder(fs)
        self._start = 0
        self._tail = None

    def push(self, start, window):
        """Add the next window.

        Arguments
        ---------
        start : int
            Its first sample in the recording.
        window : torch.Tensor
            Separated, [time, 2, source].

        Returns
        -------
        torch.Tensor
            [time, 2, source], what lies before this window and was not given
            yet. No later window can change it.

        Raises
        ------
        ValueError
            If the window leaves a gap, starts before the last one, or ends
            before it.
        """
        if self._tail is None:
            self._tail, self._start = window[:0], start
        finished = self._tail[: max(0, start - self._start)]
        old = self._tail[len(finished) :]
        if start != self._start + len(finished) or len(old) > len(window):
            raise ValueError(
                f"a window of {len(window)} samples from {start} on cannot "
                f"follow those from {self._start} to "
                f"{self._start + len(self._tail)}"
            )
        window = window[..., self._order.match(old, window)]
        # The ends of a window are what its network knows least about.
        fade = (torch.arange(len(old)) + 0.5) / max(1, len(old))
        fade = fade.to(window)[:, None, None]
        mixed = old + fade * (window[: len(old)] - old)
        self._tail = torch.cat((mixed, window[len(old) :]))
        self._start = start
        return finished

    def flush(self):
        """Give the rest and forget it.

        Returns
        -------
        torch.Tensor
            [time, 2, source], what ``push`` has not given.

        Raises
        ------
        ValueError
            If there was no window.
        """
        if self._tail is None:
            raise ValueError("there is nothing to flush: no window was pushed")
        rest, self._tail = self._tail, None
        return rest


class _TalkerOrder:
    """Finds the order of a window's talkers that fits the windows before."""

    def __init__(self, fs):
        n_fft = max(16, 2 ** round(math.log2(FRAME_LENGTH * fs)))
        self.fs = fs
        self.stft = STFT(n_fft, n_fft // 2)
        self._traits = None
        self._weight = None

    def match(self, before, window):
        """Order [source] of a window [time, 2, source], and remember it.

        Its first samples are known in the order of the recording: ``before``,
        [overlap, 2, source].
        """
        traits = self._observe(window)
        if self._traits is None:
            self._traits = torch.zeros_like(traits)
            self._weight = traits.new_zeros(len(traits))
        score = MEMORY_WEIGHT * self._recognise(traits)
        if len(before):
            score += self._agree(before, window)
        _, order = linear_sum_assignment(score.numpy(), maximize=True)
        order = order.tolist()
        self._remember(traits[order], len(window) / self.fs)
        return order

    def _observe(self, window):
        """Interaural covariance of every source and bin, [source, bin, 4].

        Powers of left and right ear, and real and imaginary part of their
        cross spectrum: level, time and timbre at once.
        """
        missing = self.stft.n_fft - len(window)
        if missing > 0:
            window = torch.nn.functional.pad(window, (0, 0, 0, 0, 0, missing))
        real, imag = self.stft(window.permute(2, 0, 1))
        spectrum = torch.complex(real, imag)
        left, right = spectrum.unbind(1)
        cross = (left * right.conj()).mean(1) * math.sqrt(2.0)
        powers = spectrum.abs().square().mean(2)
        parts = (powers[:, 0], powers[:, 1], cross.real, cross.imag)
        # A Hann window has a mean square of 3 / 8, half the bins are here.
        scale = 3 / 16 * self.stft.n_fft**2
        return torch.stack(parts, -1).double() / scale

    def _level(self):
        """Usual mean square of every talker while speaking, [source]."""
        return _power(self._traits) / self._weight.clamp_min(TINY)

    def _recognise(self, traits):
        """Whether talkers remembered and observed are the same, [old, new].

        1 for yes, -1 for no: a new talker shall rather take the place of one
        who has not spoken yet. Near 0 where either is faint, as what leaks of
        one talker into the output of another sounds like the former.
        """
        old, new = self._level(), _power(traits)
        loudest = old.max()
        # A window of mere background shows nothing.
        floor = max(new.max(), loudest * 10 ** (-AGREEMENT_RANGE / 10), TINY)
        trust = torch.outer(
            (old / loudest.clamp_min(TINY)).sqrt(), (new / floor).sqrt()
        )
        likeness = _compressed(self._traits) @ _compressed(traits).T
        likeness = (likeness - STRANGER) / (1 - STRANGER)
        return trust * likeness.clamp(-1, 1)

    def _agree(self, before, window):
        """Power of two talkers over that of their difference, decibels.

        Limited to the range from 0, unrelated, to AGREEMENT_RANGE.
        """
        after = window[: len(before)]
        common = torch.einsum("tec,ted->cd", before, after).double()
        both = before.double().square().sum((0, 1))[:, None]
        both = both + after.double().square().sum((0, 1))
        usual = self._level().max() * len(before)
        floor = usual * 10 ** (-AGREEMENT_RANGE / 10) + TINY
        difference = (both - 2 * common).clamp_min(0)
        ratio = 10 * torch.log10((both + floor) / (difference + floor))
        return ratio.clamp(0, AGREEMENT_RANGE)

    def _remember(self, traits, duration):
        """Blend a window, in the order of the recording, into the memory."""
        power, level = _power(traits), self._level()
        # A talker who is silent is not forgotten, whoever speaks meanwhile.
        active = (power / level.clamp_min(TINY)).clamp_max(1.0)
        fade = torch.exp(-active * duration / MEMORY_LENGTH)
        self._traits = self._traits * fade[:, None, None] + traits
        self._weight = self._weight * fade + active


def _power(traits):
    """Mean square of both ears together, [source]."""
    return traits[..., :2].sum((-2, -1))


def _compressed(traits):
    """Unit vectors [source, bin * 4] in which loud bins do not drown others."""
    root = traits[..., :2].sum(-1, keepdim=True).sqrt().clamp_min(TINY)
    return torch.nn.functional.normalize((traits / root).flatten(1), dim=-1)
