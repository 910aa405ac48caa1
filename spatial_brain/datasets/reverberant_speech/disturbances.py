"""What a recording differs by that its room has nothing to do with."""

from dataclasses import dataclass

import numpy as np
from scipy import fft

# Gains are drawn at these octaves, Hz.
_KNOTS = 62.5 * 2.0 ** np.arange(8)
# Slope of band limits, dB an octave.
_SLOPE = 36.0


@dataclass(frozen=True)
class Disturbances:
    """How much recordings vary: colour, band limits, noise.

    Arguments
    ---------
    max_gain : float
        Gains in octaves lie between plus and minus so many dB.
    limited_share : float
        How often the band is limited, as by a telephone or a codec.
    high_pass_range : tuple of float
        Lower limit of such a band, Hz.
    low_pass_range : tuple of float
        Its upper limit, Hz.
    tilt_range : tuple of float
        Slope of the noise's spectrum, dB an octave.
    varying_share : float
        How often the level of the noise varies in time.

    Example
    -------
    >>> rng = np.random.default_rng(0)
    >>> Disturbances(max_gain=3.0).colour(rng, 1025, 16000).shape
    (1025,)
    """

    max_gain: float = 6.0
    limited_share: float = 0.3
    high_pass_range: tuple = (60.0, 350.0)
    low_pass_range: tuple = (3000.0, 7500.0)
    tilt_range: tuple = (-9.0, 1.0)
    varying_share: float = 0.4

    def colour(self, rng, num_bins, fs):
        """Gain of a microphone and what lies behind it.

        Arguments
        ---------
        rng : numpy.random.Generator
            Draws it.
        num_bins : int
            Of a spectrum from 0 to half the sampling rate.
        fs : int
            Sampling rate, Hz.

        Returns
        -------
        numpy.ndarray
            float32 [num_bins], amplitude.
        """
        octave = _octaves(num_bins, fs)
        knots = np.log2(_KNOTS / _KNOTS[0])
        gain = rng.uniform(-self.max_gain, self.max_gain, len(knots))
        level = np.interp(octave, knots, gain)
        if rng.random() < self.limited_share:
            low = np.log2(rng.uniform(*self.high_pass_range) / _KNOTS[0])
            high = np.log2(rng.uniform(*self.low_pass_range) / _KNOTS[0])
            level -= _SLOPE * np.maximum(low - octave, 0.0)
            level -= 2 * _SLOPE * np.maximum(octave - high, 0.0)
        return (10.0 ** (level / 20.0)).astype(np.float32)

    def noise(self, rng, num_channels, num_samples, fs, colour):
        """Noise whose spectrum slopes and whose level may vary.

        Arguments
        ---------
        rng : numpy.random.Generator
            Draws it.
        num_channels, num_samples : int
            Its shape; channels are independent.
        fs : int
            Sampling rate, Hz.
        colour : numpy.ndarray
            From :meth:`colour`, [num_samples / 2 + 1].

        Returns
        -------
        numpy.ndarray
            float32 [num_channels, num_samples].
        """
        tilt = rng.uniform(*self.tilt_range) * _octaves(len(colour), fs)
        shape = (num_channels, len(colour), 2)
        spectrum = rng.standard_normal(shape, np.float32)
        spectrum = spectrum.view(np.complex64)[..., 0]
        spectrum *= colour * (10.0 ** (tilt / 20.0)).astype(np.float32)
        noise = fft.irfft(spectrum, num_samples)
        if rng.random() < self.varying_share:
            noise *= self._envelope(rng, num_samples, fs)
        return noise

    def _envelope(self, rng, num_samples, fs):
        """Level that changes from second to second, amplitude."""
        knots = rng.uniform(0.3, 2.0) * np.arange(2 + 4 * num_samples // fs)
        level = rng.normal(0.0, rng.uniform(1.0, 5.0), len(knots))
        level = np.interp(np.arange(num_samples) / fs, knots, level)
        return (10.0 ** (level / 20.0)).astype(np.float32)


def _octaves(num_bins, fs):
    """Bins of a spectrum in octaves above the lowest knot, at least 0."""
    frequency = np.linspace(0.0, fs / 2, num_bins)
    return np.log2(np.maximum(frequency, _KNOTS[0]) / _KNOTS[0])
