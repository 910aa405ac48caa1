"""Receivers of sound scenes beside Ambisonics and the tetrahedral array.

A receiver has ``num_channels``; ``mean_gain`` [channel], the gain of a channel
averaged over directions; ``power``, that of all channels together in a diffuse
field of power 1; ``response(offset, gain, num_samples)``, what it receives of
image sources at some offsets [I, 3] from its centre with amplitudes [I],
[channel, time]; and ``noise(num_samples, seed)``, a white diffuse field
[channel, time].
"""

import math

import numpy as np
import torch

from spatial_brain.geometry import SPEED_OF_SOUND
from spatial_brain.simulation.noise_field import diffuse_noise
from spatial_brain.simulation.rir.fractional_delay import impulse_response

# Metres from the centre: a response has room for so much more delay.
LARGEST_RADIUS = 2.5


class OpenArray:
    """Omnidirectional microphones that do not disturb the sound field.

    Arguments
    ---------
    positions : torch.Tensor
        Seen from the centre of the array, metres, [M, 3].
    fs : int
        Sampling rate, Hz.

    Raises
    ------
    ValueError
        If the array is too large.

    Example
    -------
    >>> positions = torch.tensor([[0.0, 0.1, 0.0], [0.0, -0.1, 0.0]])
    >>> array = OpenArray(positions, 16000)
    >>> left = torch.tensor([[0.0, 1.1, 0.0]])
    >>> array.response(left, torch.ones(1), 100).abs().argmax(-1)
    tensor([47, 56])
    """

    def __init__(self, positions, fs):
        self.fs = fs
        self.positions = positions.float()
        radius = float(torch.linalg.vector_norm(self.positions, dim=-1).max())
        if radius > LARGEST_RADIUS:
            raise ValueError(
                f"a microphone is {radius:.2f} m from the centre of its array, "
                f"more than {LARGEST_RADIUS} m"
            )
        self.num_channels = len(self.positions)
        self.mean_gain = torch.ones(self.num_channels)
        self.power = float(self.num_channels)

    def response(self, offset, gain, num_samples):
        """What the microphones receive of image sources.

        Arguments
        ---------
        offset : torch.Tensor
            Seen from the centre of the array, metres, [I, 3].
        gain : torch.Tensor
            Amplitudes at the centre, [I].
        num_samples : int
            Length N.

        Returns
        -------
        torch.Tensor
            Shape [M, N].
        """
        center = torch.linalg.vector_norm(offset, dim=-1)
        apart = offset - self.positions[:, None]
        distance = torch.linalg.vector_norm(apart, dim=-1)
        # Nobody is nearer than a centimetre to a microphone.
        distance = distance.clamp_min(0.01)
        delay = distance * (self.fs / SPEED_OF_SOUND)
        amplitude = gain * center / distance * (delay < num_samples)
        return impulse_response(delay, amplitude, num_samples)

    def noise(self, num_samples, seed):
        """White noise from everywhere.

        Arguments
        ---------
        num_samples : int
            Length N.
        seed : int
            The same gives the same noise.

        Returns
        -------
        torch.Tensor
            Shape [M, N], of power 1.
        """
        return diffuse_noise(
            self.positions,
            num_samples,
            fs=self.fs,
            generator=seeded(seed),
        )


def seeded(*numbers):
    """Random generator of torch of some numbers.

    Arguments
    ---------
    *numbers : int
        Not negative.

    Returns
    -------
    torch.Generator

    Example
    -------
    >>> bool(torch.rand(1, generator=seeded(1, 2)) < 1)
    True
    """
    state = np.random.SeedSequence(numbers).generate_state(1)[0]
    return torch.Generator().manual_seed(int(state))


def coloured(noise, fs, colour):
    """Filter noise to a spectrum.

    Arguments
    ---------
    noise : torch.Tensor
        Shape [channel, time].
    fs : int
        Sampling rate, Hz.
    colour : callable
        From frequencies, Hz, to gains, both numpy arrays.

    Returns
    -------
    torch.Tensor
        Shape [channel, time].

    Example
    -------
    >>> coloured(torch.ones(1, 8), 8, lambda frequency: frequency > 0)
    tensor([[0., 0., 0., 0., 0., 0., 0., 0.]])
    """
    length = 2 ** math.ceil(math.log2(noise.shape[-1]))
    gain = np.asarray(colour(np.fft.rfftfreq(length, 1.0 / fs)), np.float32)
    spectrum = torch.fft.rfft(noise, n=length) * torch.from_numpy(gain)
    return torch.fft.irfft(spectrum, n=length)[..., : noise.shape[-1]]
