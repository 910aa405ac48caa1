"""Augmentation of binaural mixtures whose sources are known.

What BinauralWSJ0Mix of SpeechBrain does to its training mixtures, item by
item, so that it works with any batch size, and from a given generator.
"""

import math

import torch
from speechbrain.augment.time_domain import DropChunk, DropFreq
from torchaudio.functional import resample

# Percentages of the speed.
_SPEEDS = (95, 100, 105)


class BinauralAugmentation:
    """Changes the sources of a mixture, cuts, and drops parts of the mixture.

    In this order: each source gets a speed of its own, the same at both ears,
    and all signals are cut to the shortest; each source is shifted in a
    circle; the mixture becomes the sum of what its sources now are, and of
    its noise; a window is cut out of all signals; chunks of time and bands
    of frequency of the mixture are silenced. Without change of speed and
    shift the mixture stays as it is.

    Arguments
    ---------
    speeds : sequence of int
        Percentages to choose from; None or (100,) for no change of speed.
    max_shift : int
        Shifts are uniform in [-max_shift, max_shift), samples; 0 for none.
    max_length : int
        Longest signal, samples; None keeps all.
    drop_chunk : tuple of int
        Least and most length of the chunks that are dropped, 1 to 5 of them,
        samples; None drops none.
    drop_freq : int
        Most bands that are dropped, at least one; 0 drops none.

    Raises
    ------
    ValueError
        If a number is out of range.

    Example
    -------
    >>> import numpy as np
    >>> sources = torch.randn(8000, 2, 3)
    >>> signals = {"mix": sources.sum(-1), "sources": sources, "noise": None}
    >>> augment = BinauralAugmentation(max_length=4000)
    >>> changed = augment(signals, np.random.default_rng(0))
    >>> changed["sources"].shape
    torch.Size([4000, 2, 3])
    >>> bool((changed["mix"] == changed["sources"].sum(-1)).all())
    True
    """

    def __init__(
        self,
        speeds=_SPEEDS,
        *,
        max_shift=0,
        max_length=None,
        drop_chunk=None,
        drop_freq=0,
    ):
        self.speeds = [int(speed) for speed in speeds or (100,)]
        if min(self.speeds) < 1 or max_shift < 0 or drop_freq < 0:
            raise ValueError(
                "speeds must be positive percentages, max_shift and drop_freq "
                f"not negative, got {speeds}, {max_shift} and {drop_freq}"
            )
        if max_length is not None and max_length < 1:
            raise ValueError(f"max_length must be positive, got {max_length}")
        self.max_shift, self.max_length = int(max_shift), max_length
        self.drops = []
        if drop_chunk is not None:
            low, high = drop_chunk
            self.drops.append(DropChunk(low, high, 1, 5))
        if drop_freq:
            self.drops.append(DropFreq(0, 1, 1, drop_freq, 0.05))

    @property
    def needed_length(self):
        """Samples from which any speed gives ``max_length``, or None."""
        if self.max_length is None:
            return None
        return math.ceil(self.max_length * max(self.speeds) / 100)

    def __call__(self, signals, rng):
        """Augment one mixture.

        Arguments
        ---------
        signals : dict
            ``mix`` [T, 2], ``sources`` [T, 2, C], ``noise`` [T, 2] or None;
            what else there is stays.
        rng : numpy.random.Generator
            Source of all choices.

        Returns
        -------
        dict
            The same keys.
        """
        signals = self._cut(signals, self.needed_length, rng)
        sources, noise = signals["sources"], signals["noise"]
        count = sources.shape[-1]
        if self.speeds != [100]:
            sources = self._change_speeds(sources, rng)
        if self.max_shift:
            sources = torch.stack(
                [
                    sources[..., index].roll(int(shift), dims=0)
                    for index, shift in enumerate(
                        rng.integers(-self.max_shift, self.max_shift, count)
                    )
                ],
                dim=-1,
            )
        if sources is not signals["sources"]:
            signals = _with_sources(signals, sources, noise)
        signals = self._cut(signals, self.max_length, rng)
        return self._drop(signals, rng) if self.drops else signals

    def _change_speeds(self, sources, rng):
        """Sources at speeds of their own, cut to the shortest."""
        changed = [
            _change_speed(source, self.speeds[choice])
            for source, choice in zip(
                sources.unbind(-1),
                rng.integers(len(self.speeds), size=sources.shape[-1]),
                strict=True,
            )
        ]
        length = min(len(source) for source in changed)
        return torch.stack([source[:length] for source in changed], dim=-1)

    @staticmethod
    def _cut(signals, length, rng):
        """A window of all signals, where they are longer."""
        total = len(signals["mix"])
        if length is None or total <= length:
            return signals
        start = int(rng.integers(total - length + 1))
        window = slice(start, start + length)
        return signals | {
            key: signals[key] if signals[key] is None else signals[key][window]
            for key in ("mix", "sources", "noise")
        }

    def _drop(self, signals, rng):
        """Silence parts of the mixture."""
        mix = signals["mix"].T.contiguous()
        # The library draws from the global generator, which stays as it was.
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(int(rng.integers(2**62)))
            lengths = torch.ones(len(mix))
            for drop in self.drops:
                if isinstance(drop, DropChunk):
                    # Both ears lose the same.
                    both = torch.ones(1, mix.shape[-1])
                    mix = mix * (drop(both, lengths[:1]) != 0)
                else:
                    mix = drop(mix)
        return signals | {"mix": mix.T.contiguous()}


def summed(sources, noise=None):
    """Mixture of sources and noise.

    Arguments
    ---------
    sources : torch.Tensor
        Shape [T, 2, C].
    noise : torch.Tensor, optional
        Shape [T, 2].

    Returns
    -------
    torch.Tensor
        Shape [T, 2].

    Example
    -------
    >>> summed(torch.ones(1, 2, 3), torch.ones(1, 2))
    tensor([[4., 4.]])
    """
    # Quicker than a sum over an axis of two.
    first, *others = sources.unbind(-1)
    mix = first.clone()
    for other in others if noise is None else (*others, noise):
        mix += other
    return mix


def _change_speed(waveform, speed):
    """Play [time, ...] at a speed in percent; its pitch changes too.

    By windowed-sinc resampling with the defaults of torchaudio, all channels
    alike: time differences between them change by the same percentage.
    """
    if speed == 100:
        return waveform
    changed = resample(waveform.movedim(0, -1).contiguous(), speed, 100)
    return changed.movedim(-1, 0)


def _with_sources(signals, sources, noise):
    """Signals with new sources; the shorter of sources and noise counts."""
    if noise is not None:
        length = min(len(sources), len(noise))
        sources, noise = sources[:length], noise[:length]
    return signals | {
        "sources": sources,
        "noise": noise,
        "mix": summed(sources, noise),
    }
