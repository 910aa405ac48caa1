"""Diffuse tails with the right coherence between microphones.

Late reverberation is close to a diffuse field: waves from all directions,
independent of each other. The cross-spectrum of microphones i and j is then

    G_ij(f) = < g_i(u) g_j(u) exp(i k u . (r_i - r_j)) >,

the mean over directions u, with gains g, places r and k = 2 pi f / c. Between
omnidirectional microphones at distance d that is sin(k d) / (k d) (Cook et
al., JASA 1955). First-order gains have closed forms too, by spherical Bessel
functions; other gains are summed over directions.
"""

import math

import torch

_BINS = 513
_DIRECTIONS = 512
# Keeps the factorisation real where microphones receive the same (-60 dB).
_LOADING = 1e-6
# Samples that are mixed at a time, which bounds the memory.
_SAMPLES = 2**22


def diffuse_noise_field(
    microphones,
    patterns,
    num_sources,
    num_samples,
    *,
    fs,
    sound_speed=343.0,
    generator=None,
):
    """White noise as a diffuse field gives it to microphones.

    Arguments
    ---------
    microphones : torch.Tensor
        Positions in metres, float64 [M, 3].
    patterns : Patterns
        Their directional patterns.
    num_sources : int
        Number of independent fields S.
    num_samples : int
        Length.
    fs : int
        Sampling rate in Hz.
    sound_speed : float
        Metres per second.
    generator : torch.Generator, optional
        Source of random numbers, on the CPU; default: torch's own.

    Returns
    -------
    torch.Tensor
        float32 [S, M, num_samples] on the CPU; an omnidirectional microphone
        has unit power.

    Example
    -------
    >>> from spatial_brain.simulation.rir.patterns import resolve_patterns
    >>> omni = resolve_patterns("omni", None, 2)
    >>> noise = diffuse_noise_field(
    ...     torch.zeros(2, 3).double(), omni, 1, 4096, fs=16000,
    ...     generator=torch.Generator().manual_seed(0),
    ... )
    >>> bool((noise[0, 0] - noise[0, 1]).std() < 0.01)
    True
    """
    # An FFT of a power of two is quick; any length of it is the same noise.
    length = 2 ** math.ceil(math.log2(max(num_samples, 2)))
    bins = length // 2 + 1
    knots = min(_BINS, bins)
    frequency = torch.linspace(0, fs / 2, knots, dtype=torch.float64)
    wave = 2 * math.pi / sound_speed * frequency
    factor = _factor(coherence_matrix(microphones, patterns, wave))
    count = len(microphones)
    noise = torch.randn(num_sources, count, bins, 2, generator=generator)
    noise = torch.view_as_complex(noise) * math.sqrt(length / 2)
    field = torch.empty(num_sources, count, num_samples)
    step = max(1, _SAMPLES // (count * length))
    for first in range(0, num_sources, step):
        rows = slice(first, first + step)
        mixed = torch.zeros_like(noise[rows])
        for i in range(count):
            for j in range(i + 1):
                mixed[:, i] += _stretch(factor[:, i, j], bins) * noise[rows, j]
        field[rows] = torch.fft.irfft(mixed, n=length)[..., :num_samples]
    return field


def _stretch(values, bins):
    """Interpolate a function of frequency, to a multiple of the steps."""
    steps = (bins - 1) // (len(values) - 1)
    share = torch.arange(steps) / steps
    between = values[:-1, None] + values.diff()[:, None] * share
    return torch.cat((between.flatten(), values[-1:]))


def _factor(matrix):
    """Lower triangular factor of each matrix, in single precision."""
    loading = _LOADING * torch.eye(matrix.shape[-1], dtype=matrix.dtype)
    factor = torch.linalg.cholesky(matrix + loading)
    return factor.to(torch.complex64 if factor.is_complex() else torch.float32)


def coherence_matrix(microphones, patterns, wave_number):
    """Cross-spectra between microphones in a diffuse field of unit power.

    Arguments
    ---------
    microphones : torch.Tensor
        Positions in metres, float64 [M, 3].
    patterns : Patterns
        Their directional patterns.
    wave_number : torch.Tensor
        2 pi f / c in radians per metre, float64 [F].

    Returns
    -------
    torch.Tensor
        [F, M, M], float64 if all are omnidirectional, else complex128.

    Example
    -------
    >>> from spatial_brain.simulation.rir.patterns import resolve_patterns
    >>> places = torch.tensor([[0.0, 0, 0], [0.1, 0, 0]]).double()
    >>> omni = resolve_patterns("omni", None, 2)
    >>> wave = torch.tensor([0.0, 10 * math.pi]).double()
    >>> coherence_matrix(places, omni, wave)[:, 0, 1].abs().round(decimals=6)
    tensor([1., 0.], dtype=torch.float64)
    """
    if not patterns.is_first_order:
        return _summed_coherence(microphones, patterns, wave_number)
    offset = microphones[:, None] - microphones
    distance = torch.linalg.vector_norm(offset, dim=-1)
    phase = wave_number[:, None, None] * distance
    monopole = torch.special.spherical_bessel_j0(phase)
    if patterns.is_omni:
        return monopole
    axis = offset / distance.clamp_min(1e-12)[..., None]
    # j1(x) / x and j2(x), from series where x is small.
    small = phase < 0.05
    safe = torch.where(small, 1.0, phase)
    ratio = (monopole - torch.cos(phase)) / safe**2
    ratio = torch.where(small, 1 / 3 - phase**2 / 30, ratio)
    quadrupole = 3 * ratio - monopole
    pressure, velocity = patterns.coefficients.split([1, 3], dim=1)
    along = torch.einsum("id,ijd->ij", velocity, axis)
    odd = pressure.T * along - pressure * along.T
    even = ratio * (velocity @ velocity.T) + quadrupole * along * along.T
    return torch.complex(
        pressure * pressure.T * monopole + even, odd * ratio * phase
    )


def sphere_directions(count=_DIRECTIONS):
    """Directions spread evenly over the sphere (Fibonacci spiral).

    Arguments
    ---------
    count : int
        Number of directions.

    Returns
    -------
    torch.Tensor
        Unit vectors, float64 [count, 3].

    Example
    -------
    >>> bool(sphere_directions(64).mean(0).abs().max() < 0.01)
    True
    """
    index = torch.arange(count, dtype=torch.float64)
    height = 1 - (2 * index + 1) / count
    angle = index * math.pi * (1 + 5**0.5)
    radius = (1 - height**2).sqrt()
    return torch.stack(
        (radius * angle.cos(), radius * angle.sin(), height), dim=-1
    )


def _summed_coherence(microphones, patterns, wave_number):
    """Coherence of any gains, summed over directions."""
    directions = sphere_directions()
    gains = torch.stack(
        [patterns.gain(index, directions) for index in range(len(microphones))]
    )
    centred = microphones - microphones.mean(0)
    delay = centred @ directions.T
    wave = wave_number[:, None, None]
    steering = gains * torch.polar(torch.ones_like(wave * delay), wave * delay)
    return steering @ steering.mH / _DIRECTIONS
