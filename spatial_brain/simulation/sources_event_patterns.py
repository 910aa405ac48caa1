"""Patterns in time of synthetic sound events: strokes, bursts, phrases."""

import numpy as np


def scatter(num_samples, starts, pieces, gains):
    """Add pieces of sound at places in time.

    Arguments
    ---------
    num_samples : int
        Length T of the result.
    starts : sequence of int
        Sample at which each piece starts.
    pieces : sequence of numpy.ndarray
        Pieces; what passes the end is cut off.
    gains : sequence of float
        Amplitudes.

    Returns
    -------
    numpy.ndarray
        float32 [T].

    Example
    -------
    >>> scatter(4, [1, 3], [np.ones(2), np.ones(2)], [1.0, 2.0]).tolist()
    [0.0, 1.0, 1.0, 2.0]
    """
    total = np.zeros(num_samples, np.float32)
    for start, piece, gain in zip(starts, pieces, gains, strict=True):
        part = piece[: max(num_samples - start, 0)]
        total[start : start + len(part)] += np.float32(gain) * part
    return total


def beats(rng, seconds, rate, jitter=0.1):
    """Times of strokes that repeat almost regularly, the first at 0.

    Arguments
    ---------
    rng : numpy.random.Generator
        Source of randomness.
    seconds : float
        Length of the pattern.
    rate : float
        Strokes per second.
    jitter : float
        Standard deviation of the steps, relative to their mean.

    Returns
    -------
    numpy.ndarray
        Seconds, rising, at least one, below ``seconds``.

    Example
    -------
    >>> beats(np.random.default_rng(0), 1.0, 4.0, 0.0).tolist()
    [0.0, 0.25, 0.5, 0.75]
    """
    count = int(np.ceil(seconds * rate * 2.0)) + 2
    steps = 1.0 + jitter * rng.standard_normal(count)
    times = np.cumsum(np.clip(steps, 0.3, 3.0)) / rate
    times -= times[0]
    return times[times < max(seconds, 1e-9)]


def bursts(rng, seconds, on, off):
    """Stretches of sound with pauses between them, the first at 0.

    Arguments
    ---------
    rng : numpy.random.Generator
        Source of randomness.
    seconds : float
        Length of the pattern.
    on, off : tuple of float
        Shortest and longest burst and pause, seconds.

    Returns
    -------
    list of tuple
        Pairs (start, length), seconds; the last burst ends with the pattern
        at the latest.

    Example
    -------
    >>> bursts(np.random.default_rng(0), 1.0, (0.4, 0.4), (0.2, 0.2))
    [(0.0, 0.4), (0.6..., 0.39...)]
    """
    pattern, start = [], 0.0
    while start < seconds - 0.03 or not pattern:
        length = min(rng.uniform(*on), seconds - start)
        pattern.append((start, length))
        start += length + rng.uniform(*off)
    return pattern


def strokes(rng, num_samples, fs, times, make, spread=0.25):
    """Strokes of three slightly different kinds, of varying strength.

    Arguments
    ---------
    rng : numpy.random.Generator
        Source of randomness.
    num_samples : int
        Length T.
    fs : int
        Sampling rate, Hz.
    times : sequence of float
        When they sound, seconds.
    make : callable
        Gives one stroke, an array; called up to three times.
    spread : float
        Standard deviation of the amplitudes, in natural logarithm.

    Returns
    -------
    numpy.ndarray
        float32 [T].

    Example
    -------
    >>> rng = np.random.default_rng(0)
    >>> strokes(rng, 3, 1, [0.0, 2.0], lambda: np.ones(1), 0.0).tolist()
    [1.0, 0.0, 1.0]
    """
    kinds = [make() for _ in range(min(3, len(times)))]
    pieces = [kinds[rng.integers(len(kinds))] for _ in times]
    gains = np.exp(spread * rng.standard_normal(len(times)))
    starts = (np.asarray(times) * fs).astype(int)
    return scatter(num_samples, starts, pieces, gains)


def phrases(rng, num_samples, fs, on, off, sing):
    """Bursts with pauses between them, each made anew.

    Arguments
    ---------
    rng : numpy.random.Generator
        Source of randomness.
    num_samples : int
        Length T.
    fs : int
        Sampling rate, Hz.
    on, off : tuple of float
        As for :func:`bursts`.
    sing : callable
        From a length in samples to an array.

    Returns
    -------
    numpy.ndarray
        float32 [T].

    Example
    -------
    >>> rng = np.random.default_rng(0)
    >>> phrases(rng, 90, 100, (0.4, 0.4), (0.2, 0.2), np.ones).shape
    (90,)
    """
    pattern = bursts(rng, num_samples / fs, on, off)
    pieces = [sing(max(int(length * fs), 16)) for _, length in pattern]
    gains = np.exp(0.15 * rng.standard_normal(len(pieces)))
    starts = [int(start * fs) for start, _ in pattern]
    return scatter(num_samples, starts, pieces, gains)
