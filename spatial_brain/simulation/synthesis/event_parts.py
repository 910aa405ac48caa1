"""Building blocks of synthetic sound events.

Harmonic tones that glide, coloured noise, envelopes, damped modes that are
struck. Everything works on whole signals at once; what is random takes a
NumPy generator.
"""

import numpy as np
from scipy.fft import next_fast_len

# Partials and modes above this share of the sampling rate are left out.
HIGHEST = 0.46


def log_uniform(rng, low, high):
    """Draw a number whose logarithm is uniform.

    Arguments
    ---------
    rng : numpy.random.Generator
        Source of randomness.
    low, high : float
        Bounds, positive.

    Returns
    -------
    float

    Example
    -------
    >>> 1.0 <= log_uniform(np.random.default_rng(0), 1.0, 2.0) <= 2.0
    True
    """
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


def note(semitones, base=220.0):
    """Frequency of a note in equal temperament.

    Arguments
    ---------
    semitones : float or array_like
        Above the base.
    base : float
        Hz.

    Returns
    -------
    float or numpy.ndarray
        Hz.

    Example
    -------
    >>> float(note(12))
    440.0
    """
    return base * 2.0 ** (np.asarray(semitones) / 12.0)


def harmonics(f0, fs, amplitudes, phase=0.0):
    """Harmonic tone that glides.

    Arguments
    ---------
    f0 : numpy.ndarray
        Frequency at each sample, Hz, shape [T].
    fs : int
        Sampling rate, Hz.
    amplitudes : sequence of float
        Of the harmonics from the first on.
    phase : float
        Of the first harmonic at the start, radians.

    Returns
    -------
    numpy.ndarray
        float32 [T]; harmonics that pass 0.46 ``fs`` are left out.

    Example
    -------
    >>> tone = harmonics(np.full(800, 100.0), 8000, [1.0])
    >>> round(float((tone**2).mean()), 2)
    0.5
    """
    turn = 2.0 * np.pi * np.cumsum(f0, dtype=np.float64) / fs + phase
    cosine = np.cos(turn).astype(np.float32)
    number = int(min(len(amplitudes), HIGHEST * fs / max(f0.max(), 1.0)))
    # cos(h x) = 2 cos(x) cos((h - 1) x) - cos((h - 2) x)
    before, now = np.ones_like(cosine), cosine
    tone = np.zeros_like(cosine)
    twice = 2.0 * cosine
    for amplitude in amplitudes[:number]:
        tone += np.float32(amplitude) * now
        before, now = now, twice * now - before
    return tone


def glide(points, num_samples):
    """Curve through values at equal distances, without corners.

    Arguments
    ---------
    points : sequence of float
        Values, at least one.
    num_samples : int
        Length T.

    Returns
    -------
    numpy.ndarray
        float64 [T]; between points it follows half a cosine.

    Example
    -------
    >>> glide([0.0, 1.0], 3).round(2).tolist()
    [0.0, 0.5, 1.0]
    """
    points = np.asarray(points, dtype=float)
    place = np.linspace(0.0, len(points) - 1.0, num_samples)
    first = np.minimum(place.astype(int), max(len(points) - 2, 0))
    last = np.minimum(first + 1, len(points) - 1)
    share = 0.5 - 0.5 * np.cos(np.pi * (place - first))
    return points[first] + (points[last] - points[first]) * share


def wander(rng, num_samples, fs, rate, size):
    """Slow random curve around 1.

    Arguments
    ---------
    rng : numpy.random.Generator
        Source of randomness.
    num_samples : int
        Length T.
    fs : int
        Sampling rate, Hz.
    rate : float
        New values per second.
    size : float
        Standard deviation of the values, in natural logarithm.

    Returns
    -------
    numpy.ndarray
        Positive, [T].

    Example
    -------
    >>> wander(np.random.default_rng(0), 5, 8000, 4.0, 0.0).tolist()
    [1.0, 1.0, 1.0, 1.0, 1.0]
    """
    count = int(np.ceil(num_samples / fs * rate)) + 2
    return np.exp(glide(size * rng.standard_normal(count), num_samples))


def colour(signal, fs, gain):
    """Filter by a gain that depends on frequency, without delay.

    Arguments
    ---------
    signal : numpy.ndarray
        Shape [T].
    fs : int
        Sampling rate, Hz.
    gain : callable
        From frequencies in Hz to gains.

    Returns
    -------
    numpy.ndarray
        float32 [T].

    Example
    -------
    >>> colour(np.ones(4), 8000, lambda f: 0.5 + 0 * f).tolist()
    [0.5, 0.5, 0.5, 0.5]
    """
    length = next_fast_len(len(signal), real=True)
    frequency = np.fft.rfftfreq(length, 1.0 / fs)
    spectrum = np.fft.rfft(signal, length) * gain(frequency)
    return np.fft.irfft(spectrum, length)[: len(signal)].astype(np.float32)


def peaks(centers, widths, floor=0.0):
    """Gain with bell-shaped peaks on a logarithmic frequency axis.

    Arguments
    ---------
    centers : sequence of float
        Hz.
    widths : sequence of float
        Standard deviation of each bell, octaves.
    floor : float
        Gain away from the peaks.

    Returns
    -------
    callable
        From frequencies in Hz to gains; 0 Hz gets none.

    Example
    -------
    >>> peaks([100.0], [1.0])(np.array([0.0, 100.0, 200.0])).round(2).tolist()
    [0.0, 1.0, 0.61]
    """

    def gain(frequency):
        octave = np.log2(np.maximum(frequency, 1.0))
        total = np.full(len(frequency), floor)
        for center, width in zip(centers, widths, strict=True):
            distance = (octave - np.log2(center)) / width
            total = total + np.exp(-0.5 * distance**2)
        return np.where(frequency > 0, total, 0.0)

    return gain


def noise_band(rng, num_samples, fs, center, width, floor=0.0):
    """Noise around a frequency.

    Arguments
    ---------
    rng : numpy.random.Generator
        Source of randomness.
    num_samples : int
        Length T.
    fs : int
        Sampling rate, Hz.
    center : float
        Hz.
    width : float
        Octaves, standard deviation of the amplitude's bell.
    floor : float
        Amplitude far from the centre.

    Returns
    -------
    numpy.ndarray
        float32 [T] of root mean square 1.

    Example
    -------
    >>> noise = noise_band(np.random.default_rng(0), 800, 8000, 1000.0, 0.5)
    >>> round(float((noise**2).mean()), 3)
    1.0
    """
    noise = rng.standard_normal(num_samples, dtype=np.float32)
    noise = colour(noise, fs, peaks([center], [width], floor))
    return noise / np.sqrt(np.mean(noise**2) + 1e-20)


def attack(num_samples, fs, rise, decay):
    """Envelope that rises linearly and decays exponentially.

    Arguments
    ---------
    num_samples : int
        Length T.
    fs : int
        Sampling rate, Hz.
    rise : float
        Seconds.
    decay : float
        Time constant of the amplitude, seconds.

    Returns
    -------
    numpy.ndarray
        float32 [T], largest value 1.

    Example
    -------
    >>> attack(3, 1, 1.0, 1.0).tolist()
    [0.0, 1.0, 0.367...]
    """
    time = np.arange(num_samples) / fs
    fall = np.exp(-np.maximum(time - rise, 0.0) / decay)
    return (np.minimum(time / rise, 1.0) * fall).astype(np.float32)


def arch(num_samples, fs, rise=0.02, fall=0.05):
    """Envelope of a burst: rises, stays at 1 and falls, without corners.

    Arguments
    ---------
    num_samples : int
        Length T.
    fs : int
        Sampling rate, Hz.
    rise, fall : float
        Seconds; shortened to half of the burst each.

    Returns
    -------
    numpy.ndarray
        float32 [T].

    Example
    -------
    >>> arch(5, 100, 0.02, 0.02).round(2).tolist()
    [0.0, 0.5, 1.0, 0.5, 0.0]
    """
    last = max(num_samples - 1, 1)
    time = np.arange(num_samples) / fs
    rise, fall = (min(part, 0.5 * last / fs) for part in (rise, fall))
    share = np.minimum(time / rise, (last / fs - time) / fall)
    share = np.clip(share, 0.0, 1.0)
    return (0.5 - 0.5 * np.cos(np.pi * share)).astype(np.float32)


def modes(rng, fs, frequencies, decays, amplitudes, click=0.0):
    """Response of something struck: damped sines and a click.

    Arguments
    ---------
    rng : numpy.random.Generator
        Source of randomness, for phases and the click.
    fs : int
        Sampling rate, Hz.
    frequencies : array_like
        Hz, shape [K].
    decays : array_like
        Time constants of the amplitudes, seconds, shape [K].
    amplitudes : array_like
        Shape [K].
    click : float
        Amplitude of 4 ms of decaying noise at the start.

    Returns
    -------
    numpy.ndarray
        float32, as long as the slowest mode takes to fall by 60 dB, at most
        2.5 s.

    Example
    -------
    >>> modes(np.random.default_rng(0), 8000, [500.0], [0.01], [1.0]).shape
    (553,)
    """
    decays = np.asarray(decays, dtype=float)
    longest = min(float(decays.max()) * 6.91, 2.5)
    time = np.arange(max(int(np.ceil(longest * fs)), 8)) / fs
    struck = np.zeros(len(time), np.float32)
    for frequency, decay, amplitude in zip(
        np.asarray(frequencies), decays, np.asarray(amplitudes), strict=True
    ):
        if frequency > HIGHEST * fs:
            continue
        part = time[: int(decay * 6.91 * fs) + 1]
        pole = -1.0 / decay + 2j * np.pi * frequency
        wave = np.exp(pole * part + 1j * rng.uniform(0.0, 2.0 * np.pi)).imag
        struck[: len(part)] += (amplitude * wave).astype(np.float32)
    if click:
        hit = rng.standard_normal(len(time), dtype=np.float32)
        struck += (click * hit * np.exp(-time / 0.004)).astype(np.float32)
    return struck


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


def _bursts(rng, seconds, on, off):
    """Pairs (start, length) of _bursts with pauses between them, seconds."""
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
        Shortest and longest burst and pause, seconds.
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
    pattern = _bursts(rng, num_samples / fs, on, off)
    pieces = [sing(max(int(length * fs), 16)) for _, length in pattern]
    gains = np.exp(0.15 * rng.standard_normal(len(pieces)))
    starts = [int(start * fs) for start, _ in pattern]
    return scatter(num_samples, starts, pieces, gains)
