"""Outer ears of computed heads: spectra that depend on the direction.

A sphere has the time and level differences of a head and a smooth spectrum. An
outer ear adds notches that move with the direction, and no two ears have the
same. Here it is the structural model of Brown and Duda (1998), "A structural
model for binaural sound synthesis": five echoes of the pinna, whose delays
depend on the direction. Their coefficients are drawn around the published ones,
for each head, and a little differently for its two ears. Behind them comes a
short tail that does not depend on the direction, for the canal of the ear and
for what a measurement adds.
"""

import zlib
from dataclasses import dataclass

import numpy as np
import torch

from spatial_brain.simulation.hrtf.grid import unit_to_interaural

# Table II of Brown and Duda: reflection, amplitude and mean of the delay
# (samples at 44.1 kHz), and how fast the delay changes with elevation.
_REFLECTIONS = (0.5, -1.0, 0.5, -0.25, 0.25)
_AMPLITUDES = (1.0, 5.0, 5.0, 5.0, 5.0)
_MEANS = (2.0, 4.0, 7.0, 11.0, 13.0)
_RATES = (1.0, 0.5, 0.5, 0.5, 0.5)
_TABLE_FS = 44100
# Deviations of what is drawn: of a reflection, the size of the pinna, a delay,
# and of all of them between the ears of one head.
_REFLECTION, _SIZE, _DELAY, _BETWEEN_EARS = 0.3, 0.12, 0.15, 0.05
# An echo comes no earlier than this after the direct sound, samples of the
# table.
_EARLIEST = 0.5
# Tail: its energy over that of the direct sound, the share in it of what both
# ears have in common, and its decay, seconds.
_TAIL, _COMMON, _DECAY = 0.15, 0.8, 0.2e-3
_TAIL_LENGTH = 1e-3  # s
# Responses at a time, which bounds the memory.
_BLOCK = 256


@dataclass(frozen=True)
class Pinnae:
    """Outer ears of one head.

    Arguments
    ---------
    reflections : numpy.ndarray
        Of each echo, [2, 5], ear 0 left.
    amplitudes, means : numpy.ndarray
        Of the echoes' delays, seconds, [2, 5].
    noise_seed : int
        What the tails are drawn from: as many samples as a rate needs.

    Example
    -------
    >>> draw_pinnae("subject03").reflections.shape
    (2, 5)
    """

    reflections: np.ndarray
    amplitudes: np.ndarray
    means: np.ndarray
    noise_seed: int


def draw_pinnae(subject, seed=0):
    """Outer ears of a head, by its name and a seed.

    Arguments
    ---------
    subject : str
        Name; the same name and seed always have the same ears.
    seed : int
        Not negative.

    Returns
    -------
    Pinnae

    Example
    -------
    >>> ears = draw_pinnae("subject03")
    >>> bool((ears.means[0] != ears.means[1]).all())
    True
    """
    name = zlib.crc32(subject.encode())
    random = np.random.default_rng([seed, name, 1])
    count = len(_MEANS)

    def around(deviation, shape=count):
        return np.exp(deviation * random.standard_normal(shape))

    def both(values):
        return values * around(_BETWEEN_EARS, (2, count))

    size = around(_SIZE, 1) / _TABLE_FS
    return Pinnae(
        reflections=both(_REFLECTIONS * around(_REFLECTION)),
        amplitudes=both(_AMPLITUDES * around(_DELAY) * size),
        means=both(_MEANS * around(_DELAY) * size),
        noise_seed=int(random.integers(2**31)),
    )


def with_pinnae(responses, directions, fs, pinnae):
    """Responses of a head without outer ears, as they are with them.

    Arguments
    ---------
    responses : torch.Tensor
        Shape [..., 2, L], ear 0 left.
    directions : torch.Tensor
        Towards the sources, [..., 3]: x front, y left, z up.
    fs : int
        Sampling rate, Hz.
    pinnae : Pinnae
        From ``draw_pinnae``.

    Returns
    -------
    torch.Tensor
        Shape [..., 2, L'], float64: longer by what echoes and tails need.

    Example
    -------
    >>> front = torch.tensor([1.0, 0.0, 0.0])
    >>> with_pinnae(torch.eye(2, 9), front, 16000, draw_pinnae("a")).shape
    torch.Size([2, 38])
    """
    delays = _delays(directions, pinnae)
    longest = float(delays.max()) + _TAIL_LENGTH
    length = responses.shape[-1] + int(np.ceil(longest * fs)) + 8
    n_fft = 2 * length
    turn = -2j * torch.pi * fs / n_fft * torch.arange(n_fft // 2 + 1)
    tails = torch.fft.rfft(_tails(fs, pinnae), n=n_fft)
    reflections = torch.from_numpy(pinnae.reflections)
    places = responses.shape[:-2]
    whole = responses.double().reshape(-1, *responses.shape[-2:])
    delays = delays.reshape(-1, *delays.shape[-2:])
    result = []
    for rows in torch.arange(len(whole)).split(_BLOCK):
        echoes = torch.exp(delays[rows, ..., None] * turn)
        ears = 1.0 + (reflections[..., None] * echoes).sum(-2)
        spectrum = torch.fft.rfft(whole[rows], n=n_fft) * ears * tails
        result.append(torch.fft.irfft(spectrum, n=n_fft)[..., :length])
    return torch.cat(result).reshape(*places, 2, length)


def _delays(directions, pinnae):
    """Seconds from the direct sound to each echo, [..., 2, echo]."""
    lateral, polar = unit_to_interaural(directions)
    lateral = torch.deg2rad(lateral.double())[..., None, None]
    polar = polar.double()[..., None, None]
    rates = torch.tensor(_RATES, dtype=torch.float64)
    turn = torch.deg2rad(rates * (90.0 - polar))
    swing = torch.cos(lateral / 2.0) * torch.sin(turn)
    amplitudes, means = map(torch.from_numpy, (pinnae.amplitudes, pinnae.means))
    # Behind the head the formula goes on where the paper's ends.
    return (amplitudes * swing + means).clamp_min(_EARLIEST / _TABLE_FS)


def _tails(fs, pinnae):
    """Direct sound and a decaying tail, which differ by ear, [2, time]."""
    random = np.random.default_rng(pinnae.noise_seed)
    length = max(2, round(_TAIL_LENGTH * fs))
    noise = random.standard_normal((3, length - 1))
    ears = _COMMON**0.5 * noise[:1] + (1.0 - _COMMON) ** 0.5 * noise[1:]
    decay = np.exp(-np.arange(1, length) / (fs * _DECAY))
    scale = np.sqrt(_TAIL / np.square(decay).sum())
    tail = np.concatenate((np.ones((2, 1)), scale * ears * decay), 1)
    return torch.from_numpy(tail)
