"""The tetrahedral array on its rigid sphere, as scenes need it.

What a capsule receives of a plane wave depends on one angle, that between
capsule and wave, and on the fraction of a sample at which the wave arrives.
So the response to a windowed sinc is computed once for a grid of both, from
the series of ``ambisonics.radial_response``; a wave adds 96 samples, read
between four entries. Up to 94 % of half the sampling rate the error is 60 dB
or more below the sound. Above begins the slope of the sinc: it passes the
sphere before it is sampled, so that nothing rings at half the sampling rate.

The table holds responses without the delay of a plane wave at the place of the
capsule, since what is left turns slowly with the angle.
"""

import functools
import math
from typing import NamedTuple

import torch

from spatial_brain.geometry import SPEED_OF_SOUND, tetrahedral_array
from spatial_brain.simulation.ambisonics import (
    SPHERE_RADIUS,
    legendre,
    needed_order,
    radial_response,
)
from spatial_brain.simulation.rir.fractional_delay import windowed_sinc

# Frequencies at which the factors of the diffuse field are computed.
KNOTS = 257
# Keeps the factors finite where channels receive the same (-60 dB).
_LOADING = 1e-6
# Angles of the table for each hertz of the sampling rate: one a degree at
# 24 kHz. Fractions of a sample, and samples before and after the wave.
_ANGLES_PER_HERTZ, _FRACTIONS = 180 / 24000, 32
_BEFORE, _AFTER = 40, 56
# Waves at a time where no loop can be compiled, which bounds the memory.
_WAVES = 2**12


class DiffuseField(NamedTuple):
    """A diffuse field at W, Y, Z, X and the four capsules.

    Arguments
    ---------
    factor : torch.Tensor
        Lower triangular factors of the cross-spectra at ``KNOTS``
        frequencies, complex64 [KNOTS, 8, 8].
    power : float
        Power of the capsules together in white noise, where W has 1.
    """

    factor: torch.Tensor
    power: float


@functools.lru_cache(maxsize=4)
def diffuse_field(fs):
    """Cross-spectra of first-order Ambisonics and the capsules.

    Arguments
    ---------
    fs : int
        Sampling rate, Hz.

    Returns
    -------
    DiffuseField

    Example
    -------
    >>> diffuse_field(16000).factor.shape
    torch.Size([257, 8, 8])
    """
    order = needed_order(fs / 2, SPHERE_RADIUS)
    frequency = torch.linspace(0.0, fs / 2, KNOTS, dtype=torch.float64)
    field = _cross_spectra(_axes(), radial_response(frequency, order))
    factor = torch.linalg.cholesky(field).to(torch.complex64)
    power = field.diagonal(dim1=1, dim2=2).real[:, 4:].sum(-1).mean()
    return DiffuseField(factor, float(power))


def _axes():
    """Directions of the capsules, float64 [4, 3]."""
    return torch.nn.functional.normalize(tetrahedral_array().double(), dim=-1)


def _cross_spectra(axes, radial):
    """Cross-spectra of W, Y, Z, X and four capsules, [F, 8, 8]."""
    field = torch.zeros(radial.shape[1], 8, 8, dtype=torch.complex128)
    field[:, range(4), range(4)] = torch.tensor([3.0, 1, 1, 1]).cdouble() / 3
    field[:, 4:, 0] = radial[0, :, None]
    field[:, 4:, 1:4] = radial[1, :, None, None] * axes[:, [1, 2, 0]]
    field[:, :4, 4:] = field[:, 4:, :4].mH
    cosine = (axes @ axes.T).clamp(-1.0, 1.0)
    for n, response in enumerate(radial):
        power = (2 * n + 1) * response.abs().square()
        field[:, 4:, 4:] += power[:, None, None] * legendre(n, cosine)
    return field + _LOADING * torch.eye(8)


def capsule_response(direction, delay, gain, num_samples, fs):
    """What the four capsules receive of plane waves.

    Arguments
    ---------
    direction : torch.Tensor
        Unit vectors towards the sources, float32 [I, 3].
    delay : torch.Tensor
        When the waves would be at the centre of the sphere, samples, at least
        0, float32 [I].
    gain : torch.Tensor
        Amplitudes there, float32 [I].
    num_samples : int
        Length N; waves that come later are left out.
    fs : int
        Sampling rate, Hz.

    Returns
    -------
    torch.Tensor
        float32 [4, N].

    Example
    -------
    >>> above = torch.tensor([[0.0, 0.0, 1.0]])
    >>> when = torch.tensor([100.0])
    >>> capsules = capsule_response(above, when, torch.ones(1), 200, 24000)
    >>> capsules.abs().argmax(-1)
    tensor([ 98, 102, 102,  98])
    """
    table, radius = _table(fs)
    # Of a capsule that faces the source the sound comes before time 0.
    spare = _BEFORE + math.ceil(radius) + 1
    received = torch.zeros(4, num_samples + spare + table.shape[-1])
    inside = delay < num_samples + radius
    waves = direction[inside], delay[inside] + spare, gain[inside]
    waves = [part.float().contiguous() for part in waves]
    try:
        from spatial_brain.simulation.sound_scenes import kernels
    except ImportError:  # numba supports few processors
        _add_waves(*waves, _axes().float(), table, radius, received)
    else:
        arrays = (*waves, _axes().float(), table)
        arrays = [part.numpy() for part in arrays]
        kernels.add_waves(*arrays, radius, received.numpy())
    first = spare + _BEFORE
    return received[:, first : first + num_samples].contiguous()


def _add_waves(direction, delay, gain, axes, table, radius, received):
    """Add waves to what the capsules receive, as ``kernels.add_waves``."""
    angles, fractions = table.shape[0] - 1, table.shape[1] - 1
    taps = torch.arange(table.shape[-1])
    for rows in torch.arange(len(delay)).split(_WAVES):
        for capsule, axis in enumerate(axes):
            cosine = (direction[rows] @ axis).clamp(-1.0, 1.0)
            angle = cosine.acos() * (angles / math.pi)
            row = angle.long().clamp_max(angles - 1)
            arrival = delay[rows] - radius * cosine
            first = arrival.long()
            step = (arrival - first) * fractions
            column = step.long().clamp_max(fractions - 1)
            aside, later = (angle - row)[:, None], (step - column)[:, None]
            wave = torch.lerp(
                torch.lerp(table[row, column], table[row, column + 1], later),
                torch.lerp(
                    table[row + 1, column], table[row + 1, column + 1], later
                ),
                aside,
            )
            received[capsule].index_add_(
                0,
                (first[:, None] + taps).flatten(),
                (wave * gain[rows, None]).flatten(),
            )


@functools.lru_cache(maxsize=4)
def _table(fs):
    """Responses [angle, fraction, tap], and the radius in samples."""
    radius = SPHERE_RADIUS / SPEED_OF_SOUND * fs
    angle = torch.linspace(
        0.0, math.pi, math.ceil(_ANGLES_PER_HERTZ * fs) + 1
    ).double()
    # Twice the rate holds all of the sinc, which ends 3 % above fs / 2.
    nfft = 2 ** math.ceil(math.log2(4 * (_BEFORE + _AFTER + 2 * radius)))
    frequency = torch.fft.rfftfreq(nfft, 0.5 / fs).double()
    order = needed_order(0.6 * fs, SPHERE_RADIUS)
    radial = radial_response(frequency, order)
    cosine = angle.cos()
    terms = [(2 * n + 1) * legendre(n, cosine) for n in range(order + 1)]
    sphere = torch.stack(terms, dim=-1).to(radial.dtype) @ radial
    time = 0.5 * torch.arange(nfft).double() - _BEFORE
    table = torch.empty(
        len(angle), _FRACTIONS + 1, _BEFORE + _AFTER, dtype=torch.float32
    )
    for step in range(_FRACTIONS + 1):
        arrival = step / _FRACTIONS + radius * cosine[:, None]
        pulse = torch.from_numpy(windowed_sinc((time - arrival).numpy()))
        spectrum = torch.fft.rfft(pulse) * sphere
        response = torch.fft.irfft(spectrum, n=nfft)[:, ::2]
        table[:, step] = response[:, : _BEFORE + _AFTER]
    return table, radius
