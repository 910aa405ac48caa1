"""Impulses at fractional delays, and the low-frequency filter.

An impulse response is a sum of many impulses, each a windowed sinc of 81
taps (Hann) centred on its exact delay. Adding 81 taps per impulse is slow.
Instead every impulse is spread over three neighbouring points of a grid with
four points a sample (a quadratic B-spline), and one filter then turns the
grid into samples. The filter is the least-squares one: it makes up for the
spline, so that the result is 58.8 dB below the exact windowed sincs.
"""

import functools
import math

import numpy as np
import torch

TAPS = 81
OVERSAMPLING = 4
SPREAD = 3
# Samples after the last one of the response whose sinc reaches back into it.
SKIRT = TAPS // 2 + 1
_BLOCK = 16
HIGH_PASS_HZ = 10.0
# Cubic metres of a room below which the high-pass begins higher.
_SMALL = 20.0
# Samples that are transformed at a time, which bounds the memory.
_SAMPLES = 2**22


def windowed_sinc(time):
    """Hann-windowed sinc of 81 taps: the shape of one impulse.

    Arguments
    ---------
    time : numpy.ndarray
        Time from the centre of the impulse, in samples.

    Returns
    -------
    numpy.ndarray
        Same shape.

    Example
    -------
    >>> windowed_sinc(np.array([0.0, 1.0, 41.0])).round(12).tolist()
    [1.0, 0.0, 0.0]
    """
    window = 0.5 + 0.5 * np.cos(2 * np.pi * time / TAPS)
    return np.where(np.abs(time) < TAPS / 2, np.sinc(time) * window, 0.0)


def _spline_weights(fraction):
    """Quadratic B-spline on three points, at a fraction of a step in [0, 1)."""
    last = 0.5 * fraction * fraction
    return 0.5 - fraction + last, 0.5 + fraction - 2 * last, last


@functools.lru_cache(maxsize=1)
def _grid_filter():
    """Least-squares filter from the grid to samples, and its half length.

    The coefficient for offset m multiplies grid point n * OVERSAMPLING - m
    for sample n. Minimising the mean squared error over all positions of an
    impulse within a grid step gives banded normal equations.
    """
    from scipy.linalg import solveh_banded

    node, share = np.polynomial.legendre.leggauss(8)
    fraction, share = (node + 1) / 2, share / 2
    weights = np.stack(_spline_weights(fraction))
    half = math.ceil((TAPS / 2 + 1) * OVERSAMPLING) + SPREAD
    offset = np.arange(-half, half + 1)
    band = np.zeros((SPREAD, len(offset)))
    wanted = np.zeros(len(offset))
    for lag in range(SPREAD):
        products = weights[: SPREAD - lag] * weights[lag:]
        band[SPREAD - 1 - lag] = (products * share).sum()
        arrival = (offset[:, None] + lag - fraction) / OVERSAMPLING
        wanted += windowed_sinc(arrival) @ (weights[lag] * share)
    return solveh_banded(band, wanted), half


@functools.lru_cache(maxsize=8)
def _block_matrix(device):
    """Filter as a matrix from a block of grid points to blocks of samples.

    Returns the matrix [block grid points, reach * block samples] and the
    first block of samples (relative to the block of grid points) it feeds.
    """
    taps, half = _grid_filter()
    points = _BLOCK * OVERSAMPLING
    before = (half + points - 1) // points
    after = (half + points - OVERSAMPLING) // points
    block = np.arange(-before, after + 1)
    sample = np.arange(_BLOCK) * OVERSAMPLING
    offset = (block[:, None] * points + sample).reshape(-1)
    offset = offset[None, :] - np.arange(points)[:, None]
    inside = np.abs(offset) <= half
    matrix = np.where(inside, taps[np.clip(offset + half, 0, 2 * half)], 0.0)
    matrix = torch.from_numpy(matrix.astype(np.float32)).to(device)
    return matrix, -before


def grid_length(num_samples):
    """Number of grid points that reach into ``num_samples`` samples.

    Arguments
    ---------
    num_samples : int
        Length of the response.

    Returns
    -------
    int
        A multiple of the block the filter works on.

    Example
    -------
    >>> grid_length(100) // 64
    10
    """
    blocks = math.ceil((num_samples + SKIRT + SPREAD) / _BLOCK) + 1
    return blocks * _BLOCK * OVERSAMPLING


def add_impulses(grid, row, delay, amplitude):
    """Add impulses to a grid in place.

    Arguments
    ---------
    grid : torch.Tensor
        Shape [rows, points], contiguous; points from ``grid_length``.
    row : torch.Tensor
        Row of each impulse, integers, any shape.
    delay : torch.Tensor
        Delay of each impulse in samples, at least 0; broadcastable to
        ``row``. Impulses beyond the grid must have amplitude 0.
    amplitude : torch.Tensor
        Amplitude of each impulse, broadcastable to ``row``.

    Example
    -------
    >>> grid = torch.zeros(1, grid_length(8))
    >>> add_impulses(grid, torch.tensor([0]), torch.tensor([2.5]), 1.0)
    >>> round(grid.sum().item(), 6)
    1.0
    """
    points = grid.shape[1]
    delay = delay * OVERSAMPLING
    first = delay.floor()
    weights = _spline_weights((delay - first).to(grid.dtype))
    index = first.to(torch.int64).clamp_(0, points - SPREAD) + row * points
    flat = grid.view(-1)
    for step, weight in enumerate(weights):
        values = (amplitude * weight).expand(index.shape).reshape(-1)
        flat.index_add_(0, (index + step).reshape(-1), values)


def grid_to_samples(grid, num_samples):
    """Turn a grid of impulses into a sampled response.

    Arguments
    ---------
    grid : torch.Tensor
        Shape [rows, points] with ``points = grid_length(num_samples)``.
    num_samples : int
        Length of the response.

    Returns
    -------
    torch.Tensor
        Shape [rows, num_samples].

    Example
    -------
    >>> grid = torch.zeros(1, grid_length(128))
    >>> add_impulses(grid, torch.tensor([0]), torch.tensor([50.0]), 2.0)
    >>> grid_to_samples(grid, 128).argmax().item()
    50
    """
    matrix, first = _block_matrix(grid.device)
    rows, points = grid.shape
    blocks = points // matrix.shape[0]
    reach = matrix.shape[1] // _BLOCK
    part = (grid.view(rows * blocks, -1) @ matrix).view(
        rows, blocks, reach, _BLOCK
    )
    samples = grid.new_zeros(rows, blocks + reach - 1, _BLOCK)
    for step in range(reach):
        samples[:, step : step + blocks] += part[:, :, step]
    samples = samples.view(rows, -1)
    return samples[:, -first * _BLOCK :][:, :num_samples].contiguous()


def impulse_response(delay, amplitude, num_samples):
    """Sampled responses that consist of impulses.

    Arguments
    ---------
    delay : torch.Tensor
        In samples, at least 0, [rows, impulses] or, if all rows share them,
        [1, impulses]; impulses behind the end are left out.
    amplitude : torch.Tensor
        float32 [rows, impulses].
    num_samples : int
        Length of the responses.

    Returns
    -------
    torch.Tensor
        float32 [rows, num_samples].

    Example
    -------
    >>> delay = torch.tensor([[3.0, 900.0]])
    >>> impulse_response(delay, torch.ones(2, 2), 9).argmax(-1)
    tensor([3, 3])
    """
    points = grid_length(num_samples)
    grid = torch.zeros(len(amplitude), points, device=amplitude.device)
    late = delay >= (points - SPREAD) // OVERSAMPLING
    delay = delay.masked_fill(late, 0.0)
    amplitude = amplitude.masked_fill(late, 0.0)
    kernels = None
    if grid.device.type == "cpu":
        try:
            from spatial_brain.simulation.rir import kernels
        except ImportError:  # numba supports few processors
            kernels = None
    if kernels is None:
        row = torch.arange(len(amplitude), device=grid.device)[:, None]
        row = row.expand(amplitude.shape)
        add_impulses(grid, row, delay.expand(amplitude.shape), amplitude)
    else:
        arrays = (part.contiguous().numpy() for part in (delay, amplitude))
        kernels.add_impulse_rows(*arrays, grid.numpy())
    return grid_to_samples(grid, num_samples)


@functools.lru_cache(maxsize=64)
def _high_pass_response(fs, length, device, cutoff):
    """Squared magnitude of the Butterworth filter of order 2."""
    frequency = np.fft.rfftfreq(length, 1.0 / fs)
    # Bilinear transform: the analogue frequency is the tangent of the half.
    warped = np.tan(np.pi * frequency[1:] / fs)
    ratio = np.tan(np.pi * cutoff / fs) / warped
    squared = np.concatenate(([0.0], 1.0 / (1.0 + ratio**4)))
    return torch.from_numpy(squared.astype(np.float32)).to(device)


def high_pass_cutoff(room_size):
    """Where the high-pass of a room begins.

    At 10 Hz the filter itself takes 0.16 s to decay by 60 dB, which in a room
    of few cubic metres is longer than the reverberation; and there the mean of
    the lattice is loudest. The lowest resonance of such a room is far higher,
    so the filter may begin higher as well.

    Arguments
    ---------
    room_size : sequence of float
        Three lengths in metres.

    Returns
    -------
    float
        Hertz: 10 from 20 cubic metres on, below 10 sqrt(20 / V).

    Example
    -------
    >>> high_pass_cutoff([5.0, 4.0, 3.0]), high_pass_cutoff([2.0, 2.5, 1.0])
    (10.0, 20.0)
    """
    volume = math.prod(float(length) for length in room_size)
    return HIGH_PASS_HZ * max(1.0, math.sqrt(_SMALL / volume))


def high_pass(rir, fs, cutoff=HIGH_PASS_HZ):
    """Remove what builds up at low frequencies, without shifting anything.

    In a lattice of positive images the mean of the response grows with the
    density of the images, which no room does. As in pyroomacoustics a
    Butterworth filter of order 2 runs forward and backward; here it is its
    squared magnitude, applied in the frequency domain.

    Arguments
    ---------
    rir : torch.Tensor
        Shape [..., time].
    fs : int
        Sampling rate in Hz.
    cutoff : float
        Hertz, see :func:`high_pass_cutoff`.

    Returns
    -------
    torch.Tensor
        Same shape.

    Example
    -------
    >>> high_pass(torch.ones(1, 16000), 16000).abs().mean() < 0.1
    tensor(True)
    """
    from scipy.fft import next_fast_len

    length = rir.shape[-1]
    # 0.2 s of zeros: the filter has decayed by 70 dB when it wraps around.
    padded = next_fast_len(length + math.ceil(0.2 * fs), real=True)
    response = _high_pass_response(fs, padded, rir.device, cutoff)
    result = torch.empty_like(rir, memory_format=torch.contiguous_format)
    rows, filtered = rir.reshape(-1, length), result.view(-1, length)
    step = max(1, _SAMPLES // padded)
    for first in range(0, len(rows), step):
        part = slice(first, first + step)
        spectrum = torch.fft.rfft(rows[part], n=padded) * response
        filtered[part] = torch.fft.irfft(spectrum, n=padded)[:, :length]
    return result
