"""Other instances of a recorded sound: of another speed and colour.

A few recordings of a class become many, none of which a network can know by
heart.
"""

from dataclasses import dataclass

import numpy as np
import torch
from scipy.fft import next_fast_len
from scipy.signal import resample

# Gains are drawn at these frequencies, Hz, and interpolated in octaves.
_KNOTS = (62.5, 125.0, 250.0, 500.0, 1e3, 2e3, 4e3, 8e3, 16e3)


@dataclass(frozen=True)
class SoundVariation:
    """How much sounds vary; a seed decides how one does.

    Arguments
    ---------
    max_speed : float
        Sounds play up to so many times as fast, or as slow (pitch and
        duration change together); all ratios between are equally likely.
    max_gain : float
        Equaliser: gains in octave bands lie between plus and minus so many
        dB.

    Raises
    ------
    ValueError
        If the speed is below 1 or the gain below 0.

    Example
    -------
    >>> variation = SoundVariation(max_speed=1.25, max_gain=6.0)
    >>> 0.8 <= variation.speed(seed=3) <= 1.25
    True
    >>> sound = variation.apply(torch.randn(24000), 24000, seed=3)
    >>> len(sound) == round(24000 / variation.speed(seed=3))
    True
    """

    max_speed: float = 1.0
    max_gain: float = 0.0

    def __post_init__(self):
        if not self.max_speed >= 1 or not self.max_gain >= 0:
            raise ValueError(
                "max_speed must be at least 1 and max_gain (dB) at least 0, "
                f"got {self.max_speed} and {self.max_gain}"
            )

    def speed(self, seed):
        """How fast a sound plays.

        Arguments
        ---------
        seed : int
            Of the sound.

        Returns
        -------
        float
            2 is twice as fast and an octave higher.
        """
        exponent = np.random.default_rng((seed, 1)).uniform(-1.0, 1.0)
        return float(self.max_speed**exponent)

    def apply(self, waveform, fs, seed):
        """Vary a sound.

        Arguments
        ---------
        waveform : torch.Tensor
            [time].
        fs : int
            Sampling rate, Hz.
        seed : int
            Of the sound.

        Returns
        -------
        torch.Tensor
            float32 [time / speed].
        """
        number = max(round(len(waveform) / self.speed(seed)), 1)
        sound = resample(waveform.double().numpy(), number)
        rng = np.random.default_rng((seed, 2))
        gain = rng.uniform(-self.max_gain, self.max_gain, len(_KNOTS))
        # Zeros behind the sound: what rings does not come round to its start.
        size = next_fast_len(2 * number, real=True)
        frequency = np.fft.rfftfreq(size, 1.0 / fs)
        octave = np.log2(np.maximum(frequency, _KNOTS[0]))
        curve = np.interp(octave, np.log2(_KNOTS), gain)
        spectrum = np.fft.rfft(sound, n=size) * 10.0 ** (curve / 20.0)
        sound = np.fft.irfft(spectrum, n=size)[:number]
        return torch.from_numpy(sound.astype(np.float32))
