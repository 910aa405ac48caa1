"""Synthetic sound events with pitch: voices, alarms, music.

Every recipe is ``kind(rng, num_samples, fs) -> [num_samples]`` at any level.
"""

import numpy as np

from spatial_brain.simulation.sources_event_parts import (
    arch,
    attack,
    colour,
    glide,
    harmonics,
    log_uniform,
    modes,
    noise_band,
    note,
    peaks,
    wander,
)
from spatial_brain.simulation.sources_event_patterns import (
    beats,
    phrases,
    scatter,
)

MINOR, MAJOR = (0, 2, 3, 5, 7, 8, 10), (0, 2, 4, 5, 7, 9, 11)


def alarm(rng, num_samples, fs):
    """Siren, two tones in turn, or beeps."""
    time = np.arange(num_samples) / fs
    low = log_uniform(rng, 500.0, 1100.0)
    high = low * rng.uniform(1.3, 2.2)
    rate = log_uniform(rng, 0.7, 4.0)
    turn = time * rate + rng.random()
    partials = rng.uniform(0.2, 0.8) ** np.arange(10)
    style = rng.integers(3)
    if style == 0:
        sweep = 0.5 - 0.5 * np.cos(2.0 * np.pi * turn)
        if rng.random() < 0.4:
            sweep = turn % 1.0
        return harmonics(low * (high / low) ** sweep, fs, partials)
    if style == 1:
        return harmonics(np.where(turn % 1.0 < 0.5, low, high), fs, partials)
    share = rng.uniform(0.4, 0.7)
    # Square gates without clicks.
    gate = np.clip(np.sin(2.0 * np.pi * time * rate * 2.0) * 40.0 + share, 0, 1)
    gate[: int(0.05 * fs)] = 1.0
    return harmonics(np.full(num_samples, high), fs, partials[::2]) * gate


def _voiced(rng, num_samples, fs, contour, formants, tilt, breath, rough=0.0):
    """Voice with given pitch in Hz, formants (Hz), tilt (dB per octave)."""
    f0 = contour * wander(rng, num_samples, fs, 12.0, 0.012)
    partials = np.arange(1, 33) ** (tilt / 6.02)
    tone = harmonics(f0, fs, partials, rng.uniform(0, 6.28))
    if rough:
        rate = rng.uniform(45.0, 90.0)
        time = np.arange(num_samples) / fs
        tone *= (1.0 - rough * np.cos(2.0 * np.pi * rate * time) ** 2).astype(
            np.float32
        )
    noise = rng.standard_normal(num_samples, dtype=np.float32)
    tone = tone / np.sqrt(np.mean(tone**2) + 1e-12) + breath * noise
    return colour(tone, fs, peaks(formants, [0.28] * len(formants), 0.06))


def crying_baby(rng, num_samples, fs):
    """Wails of half a second and longer, with gasps between them."""
    pitch = log_uniform(rng, 380.0, 560.0)
    formants = np.array([1100.0, 3000.0, 5200.0]) * rng.uniform(0.85, 1.2)

    def wail(length):
        bend = np.array([0.75, 1.1, 1.15, 1.0, 0.8]) * rng.uniform(0.95, 1.1, 5)
        contour = pitch * glide(bend, length)
        voice = _voiced(rng, length, fs, contour, formants, -5.0, 0.1, 0.25)
        return voice * arch(length, fs, 0.08, 0.2)

    return phrases(rng, num_samples, fs, (0.5, 1.3), (0.15, 0.4), wail)


def scream(rng, num_samples, fs, pitches):
    """One cry, or two, high and rough."""
    pitch = log_uniform(rng, *pitches)
    formants = np.array([1300.0, 2500.0, 3900.0]) * rng.uniform(0.85, 1.2)

    def cry(length):
        bend = [rng.uniform(0.7, 0.9), 1.15, rng.uniform(1.0, 1.3), 1.0, 0.8]
        contour = pitch * glide(bend, length)
        voice = _voiced(rng, length, fs, contour, formants, -2.0, 0.5, 0.7)
        return voice * arch(length, fs, 0.04, 0.15)

    return phrases(rng, num_samples, fs, (0.8, 2.2), (0.2, 0.5), cry)


def scream_female(rng, num_samples, fs):
    """Scream of a woman."""
    return scream(rng, num_samples, fs, (850.0, 1500.0))


def scream_male(rng, num_samples, fs):
    """Scream of a man."""
    return scream(rng, num_samples, fs, (330.0, 580.0))


def laughter(rng, num_samples, fs):
    """Series of short voiced puffs, five a second, falling in pitch."""
    pitch = log_uniform(rng, 140.0, 420.0)
    formants = np.array([750.0, 1400.0, 2700.0]) * rng.uniform(0.9, 1.25)
    rate = rng.uniform(4.2, 6.0)
    fall = rng.uniform(0.03, 0.12)

    def series(length):
        times = beats(rng, length / fs, rate, 0.06)
        puffs = []
        for number in range(len(times)):
            size = int(rng.uniform(0.55, 0.75) / rate * fs)
            height = pitch * max(1.25 - fall * number, 0.65)
            contour = height * glide([1.1, 1.0, 0.9], size)
            puff = _voiced(rng, size, fs, contour, formants, -6.0, 0.6)
            puffs.append(puff * arch(size, fs, 0.02, 0.08))
        starts = (times * fs).astype(int)
        return scatter(length, starts, puffs, np.linspace(1, 0.6, len(times)))

    return phrases(rng, num_samples, fs, (0.9, 2.2), (0.25, 0.5), series)


def barking_dog(rng, num_samples, fs):
    """Barks of a fifth of a second, alone or in pairs."""
    pitch = log_uniform(rng, 240.0, 750.0)
    formants = np.array([pitch * 2.2, pitch * 5.0])
    pair = rng.random() < 0.4

    def bark(length):
        bend = pitch * glide([0.7, 1.3, 0.8], length)
        voice = _voiced(rng, length, fs, bend, formants, -4.0, 1.0, 0.3)
        return voice * arch(length, fs, 0.015, 0.1)

    def group(length):
        first = bark(int(rng.uniform(0.12, 0.22) * fs))
        if not pair:
            return first
        gap = int(rng.uniform(0.22, 0.3) * fs)
        return scatter(gap + len(first), [0, gap], [first, first], [1.0, 0.8])

    pause = rng.uniform(0.4, 0.8)
    return phrases(
        rng, num_samples, fs, (0.2, 0.2), (pause, 1.5 * pause), group
    )


def telephone(rng, num_samples, fs):
    """Ring: two warbling tones, an electric bell, or a short melody."""
    style = rng.integers(3)
    base = log_uniform(rng, 700.0, 1500.0)
    rate = rng.uniform(14.0, 28.0)
    tune = rng.choice([0, 3, 5, 7, 10, 12], 6)

    def ring(length):
        time = np.arange(length) / fs
        if style == 0:
            high = np.sin(2.0 * np.pi * rate * time) > 0
            f0 = base * np.where(high, 1.25, 1.0)
            return harmonics(f0, fs, [1.0, 0.0, 0.4, 0.0, 0.2]) * arch(
                length, fs
            )
        if style == 1:
            blow = modes(
                rng,
                fs,
                base * np.array([1.0, 1.13, 2.4, 3.9]),
                [0.12, 0.12, 0.06, 0.04],
                [1.0, 0.9, 0.6, 0.4],
                0.2,
            )
            starts = (beats(rng, length / fs, rate, 0.0) * fs).astype(int)
            hits = [blow] * len(starts)
            return scatter(length, starts, hits, np.ones(len(starts)))
        step = int(0.13 * fs)
        pieces = []
        for number in range(length // step + 1):
            f0 = np.full(step, note(tune[number % 6], base))
            tone = harmonics(f0, fs, [1.0, 0.3, 0.0, 0.15])
            pieces.append(tone * attack(step, fs, 0.005, 0.06))
        starts = np.arange(len(pieces)) * step
        return scatter(length, starts, pieces, np.ones(len(pieces)))

    return phrases(rng, num_samples, fs, (0.8, 1.6), (0.3, 0.8), ring)


def piano(rng, num_samples, fs):
    """Notes of a scale, struck strings with stretched partials."""
    scale = np.array(MINOR if rng.random() < 0.5 else MAJOR)
    base = log_uniform(rng, 110.0, 330.0)
    times = beats(rng, num_samples / fs, rng.uniform(2.0, 5.0), 0.04)
    stretch = 10.0 ** rng.uniform(-4.0, -3.2)
    bright = rng.uniform(-9.0, -5.0)
    order = np.arange(1, 15)
    degrees = np.clip(np.cumsum(rng.integers(-2, 3, len(times))), -7, 10)
    table = {}
    for degree in np.unique(degrees):
        f0 = note(scale[degree % 7] + 12 * (degree // 7), base)
        frequencies = f0 * order * np.sqrt(1.0 + stretch * order**2)
        table[degree] = modes(
            rng,
            fs,
            frequencies,
            0.35 / order**0.6,
            order ** (bright / 6.02),
            0.03,
        )
    pieces = [table[degree] for degree in degrees]
    gains = np.exp(0.2 * rng.standard_normal(len(times)))
    return scatter(num_samples, (times * fs).astype(int), pieces, gains)


def instrument(rng, num_samples, fs):
    """One bowed or blown melody with vibrato."""
    scale = np.array(MAJOR)
    base = log_uniform(rng, 200.0, 500.0)
    odd = rng.random() < 0.4
    partials = np.arange(1, 25) ** rng.uniform(-1.8, -1.0)
    if odd:
        partials[1::2] *= 0.1
    rate, depth = rng.uniform(4.5, 6.5), rng.uniform(0.004, 0.015)
    body = rng.uniform(400, 2500, 4)

    def tone(length):
        degree = int(rng.integers(0, 10))
        f0 = note(scale[degree % 7] + 12 * (degree // 7), base)
        time = np.arange(length) / fs
        vibrato = 1.0 + depth * np.sin(2.0 * np.pi * rate * time)
        return harmonics(f0 * vibrato, fs, partials) * arch(
            length, fs, 0.06, 0.08
        )

    melody = phrases(rng, num_samples, fs, (0.25, 0.9), (0.0, 0.02), tone)
    return colour(melody, fs, peaks(body, [0.4] * 4, 0.3))


def music(rng, num_samples, fs):
    """Chords, bass and drums in time."""
    beat = 60.0 / rng.uniform(80.0, 150.0)
    root = log_uniform(rng, 110.0, 200.0)
    count = int(np.ceil(num_samples / fs / (4 * beat)))
    bar = int(4 * beat * fs)
    pieces, starts = [], []
    for number in range(count):
        offset = int(rng.choice([0, 5, 7, 9, -3]))
        third = int(rng.integers(3, 5))
        partials = np.arange(1, 13) ** -1.2
        chord = sum(
            harmonics(np.full(bar, note(offset + step, root * 2)), fs, partials)
            for step in (0, third, 7)
        )
        bass = harmonics(np.full(bar, note(offset, root / 2)), fs, [1, 0.5])
        pieces.append((0.3 * chord + bass) * arch(bar, fs, 0.01, 0.05))
        starts.append(number * bar)
    size = int(0.2 * fs)
    drop = np.linspace(0.0, 1.0, size)
    kick = harmonics(120.0 * 0.4**drop, fs, [2.5]) * attack(
        size, fs, 0.002, 0.07
    )
    hat = noise_band(rng, size, fs, 7000.0, 0.5) * attack(size, fs, 0.001, 0.02)
    snare = noise_band(rng, size, fs, 1800.0, 1.0) * attack(
        size, fs, 0.002, 0.06
    )
    for number in range(int(num_samples / fs / beat * 2) + 1):
        drum = (kick, hat, snare, hat)[number % 4]
        pieces.append(drum)
        starts.append(int(number * beat * fs / 2))
    starts = np.minimum(starts, num_samples)
    return scatter(num_samples, starts, pieces, np.ones(len(pieces)))
