"""Synthetic sound events: strokes and noise, then voices and instruments.

Every recipe is ``kind(rng, num_samples, fs) -> [num_samples]`` at any level.
"""

import numpy as np

from spatial_brain.simulation.synthesis.event_parts import (
    arch,
    attack,
    beats,
    colour,
    glide,
    harmonics,
    log_uniform,
    modes,
    noise_band,
    note,
    peaks,
    phrases,
    scatter,
    strokes,
    wander,
)

# Modes of a church bell relative to its strike note (Fletcher and Rossing,
# The Physics of Musical Instruments, 1998).
BELL = np.array([0.5, 1.0, 1.2, 1.5, 2.0, 2.5, 3.0, 4.2, 5.4])
# Scales, semitones above the root.
MINOR, MAJOR = (0, 2, 3, 5, 7, 8, 10), (0, 2, 4, 5, 7, 9, 11)


def crash(rng, num_samples, fs):
    """Something heavy breaks: noise, then shards."""
    size = log_uniform(rng, 0.25, 0.9)
    body = noise_band(rng, num_samples, fs, rng.uniform(900, 2500), 1.3, 0.1)
    body *= attack(num_samples, fs, 0.003, 0.3 * size)
    seconds = num_samples / fs
    count = int(rng.uniform(20, 50) * min(seconds, 3.0)) + 3
    times = np.minimum(
        rng.exponential(size, count), seconds * rng.random(count)
    )
    rate = rng.uniform(0.7, 1.4)

    def shard():
        frequencies = rng.uniform(1800, 9000, 8) * rate
        decays = rng.uniform(0.01, 0.07, 8)
        return modes(rng, fs, frequencies, decays, rng.random(8), 1.0)

    shards = strokes(rng, num_samples, fs, times, shard, 0.7)
    # Pieces keep rolling until the end.
    rolling = noise_band(rng, num_samples, fs, 3500.0, 0.8)
    rolling *= wander(rng, num_samples, fs, 25.0, 1.0) * 0.03
    fade = np.linspace(1.0, 0.2, num_samples)
    return body * 4.0 + shards + (rolling * fade).astype(np.float32)


def footsteps(rng, num_samples, fs):
    """Heel and sole, about two steps a second."""
    low = log_uniform(rng, 70.0, 180.0)
    hard = rng.random()
    times = beats(rng, num_samples / fs, rng.uniform(1.5, 2.4), 0.05)
    sole = rng.uniform(0.06, 0.12)
    length = int(0.3 * fs)

    def step():
        heel = modes(
            rng,
            fs,
            low * np.array([1.0, 2.3, 4.1, 8.0]),
            [0.03, 0.02, 0.012, 0.006],
            [1.0, 0.6, 0.4, 0.5 * hard],
            0.5 * hard,
        )
        scuff = noise_band(rng, length, fs, rng.uniform(800, 2500), 1.0)
        scuff *= attack(length, fs, 0.01, 0.035)
        starts = [0, int(sole * fs), int(sole * fs)]
        return scatter(
            length, starts, [heel, 0.5 * heel, scuff], [1.0, 0.5, 0.25]
        )

    return strokes(rng, num_samples, fs, times, step, 0.15)


def knock(rng, num_samples, fs):
    """Three to six quick knocks on a door, again and again."""
    low = log_uniform(rng, 160.0, 420.0)
    rate = rng.uniform(4.0, 7.5)
    ratios = np.array([1.0, 1.7, 2.6, 3.7, 5.2]) * rng.uniform(0.93, 1.07, 5)
    times, start = [], 0.0
    while start < num_samples / fs:
        group = start + beats(rng, rng.integers(3, 7) / rate, rate, 0.05)
        times.extend(group)
        start = group[-1] + rng.uniform(0.6, 1.1)

    def hit():
        decays = np.array([0.035, 0.028, 0.02, 0.014, 0.01])
        return modes(rng, fs, low * ratios, decays, 0.7 ** np.arange(5), 0.3)

    times = [time for time in times if time < num_samples / fs]
    return strokes(rng, num_samples, fs, times, hit, 0.12)


def bell(rng, num_samples, fs):
    """Strokes of a bell, long and inharmonic."""
    strike = log_uniform(rng, 400.0, 1600.0)
    times = beats(rng, num_samples / fs, rng.uniform(0.6, 2.0), 0.05)
    ratios = BELL * np.exp(0.01 * rng.standard_normal(len(BELL)))
    decays = rng.uniform(0.5, 1.2) / ratios**0.7
    weights = rng.uniform(0.3, 1.0, len(BELL))

    def stroke():
        return modes(rng, fs, strike * ratios, decays, weights, 0.3)

    return strokes(rng, num_samples, fs, times, stroke, 0.15)


def clapping(rng, num_samples, fs):
    """Hands of one to six people."""
    people = int(rng.integers(1, 7))
    total = np.zeros(num_samples, np.float32)
    for _ in range(people):
        center = rng.uniform(700, 2200)

        def clap(center=center):
            length = int(0.06 * fs)
            hit = noise_band(rng, length, fs, center, 0.55, 0.05)
            return hit * attack(length, fs, 0.001, rng.uniform(0.006, 0.012))

        times = beats(rng, num_samples / fs, rng.uniform(2.5, 5.0), 0.12)
        total += strokes(rng, num_samples, fs, times, clap, 0.2)
    return total


def water(rng, num_samples, fs):
    """Tap: broad steady noise and bubbles that chirp upwards."""
    jet = noise_band(rng, num_samples, fs, rng.uniform(2500, 5500), 0.9, 0.05)
    jet *= wander(rng, num_samples, fs, 8.0, 0.12)
    count = int(rng.uniform(15, 60) * num_samples / fs) + 1
    size = int(0.04 * fs)
    rise = glide([1.0, rng.uniform(1.2, 1.8)], size)
    bubbles = [
        harmonics(log_uniform(rng, 500, 1800) * rise, fs, [1.0])
        * attack(size, fs, 0.003, 0.01)
        for _ in range(12)
    ]
    pieces = [bubbles[rng.integers(12)] for _ in range(count)]
    starts = rng.integers(0, num_samples, count)
    plinks = scatter(num_samples, starts, pieces, rng.random(count) * 2.0)
    return jet.astype(np.float32) + rng.uniform(0.3, 1.0) * plinks


def domestic(rng, num_samples, fs):
    """Appliance: hum of a motor and the noise of air."""
    f0 = log_uniform(rng, 90.0, 240.0)
    speed = wander(rng, num_samples, fs, 1.0, 0.02)
    partials = rng.random(30) * np.arange(1, 31) ** -0.7
    hum = harmonics(f0 * speed, fs, partials)
    air = noise_band(rng, num_samples, fs, rng.uniform(500, 1200), 1.2, 0.05)
    return hum + rng.uniform(0.6, 1.5) * air


def door(rng, num_samples, fs):
    """Creak that turns into a slam and a rattling latch, again and again."""
    weight = log_uniform(rng, 50.0, 110.0)
    pitch = log_uniform(rng, 180.0, 500.0)

    def move(length):
        creak_length = max(length - int(0.3 * fs), 16)
        bend = pitch * glide(rng.uniform(0.8, 1.3, 4), creak_length)
        creak = harmonics(bend, fs, np.arange(1, 20) ** -0.5)
        creak *= wander(rng, creak_length, fs, 30.0, 0.6)
        creak *= arch(creak_length, fs, 0.05, 0.05)
        slam = modes(
            rng,
            fs,
            weight * np.array([1.0, 1.9, 3.2, 5.5, 9.0]),
            [0.09, 0.07, 0.05, 0.03, 0.02],
            [1.0, 0.9, 0.6, 0.5, 0.4],
            1.0,
        )
        latch = modes(rng, fs, [2100, 3300], [0.01, 0.008], [0.5, 0.4], 0.5)
        late = creak_length + int(0.07 * fs)
        return scatter(
            length, [0, creak_length, late], [creak, slam, latch], [0.1, 1, 0.5]
        )

    return phrases(rng, num_samples, fs, (0.7, 1.6), (0.3, 0.6), move)


def clink(rng, num_samples, fs):
    """Glasses touch: few high modes that ring on."""
    base = log_uniform(rng, 2200.0, 4200.0)
    times = beats(rng, num_samples / fs, rng.uniform(2.0, 4.5), 0.3)

    def touch():
        ratios = np.array([1.0, 1.53, 2.31, 3.05]) * rng.uniform(0.9, 1.1)
        decays = [0.12, 0.09, 0.05, 0.03]
        return modes(rng, fs, base * ratios, decays, [1, 0.8, 0.5, 0.3], 0.1)

    return strokes(rng, num_samples, fs, times, touch, 0.3)


def keyboard(rng, num_samples, fs):
    """Typing: ten light clicks a second, each with its release."""
    base = log_uniform(rng, 1500.0, 3000.0)
    times = beats(rng, num_samples / fs, rng.uniform(6.0, 11.0), 0.45)
    gap = int(rng.uniform(0.05, 0.08) * fs)

    def press():
        frequencies = base * np.array([0.25, 1.0, 2.3])
        decays = [0.008, 0.004, 0.003]
        down = modes(rng, fs, frequencies, decays, [0.5, 0.7, 0.4], 0.8)
        length = gap + len(down)
        return scatter(length, [0, gap], [down, down], [1.0, 0.35])

    return strokes(rng, num_samples, fs, times, press, 0.35)


def cupboard(rng, num_samples, fs):
    """Wooden box that shuts with a double thump."""
    base = log_uniform(rng, 110.0, 210.0)
    times = beats(rng, num_samples / fs, rng.uniform(0.8, 1.3), 0.15)
    ratios = np.array([1.0, 1.45, 2.2, 3.1, 4.4, 6.0])

    def thump():
        decays = 0.07 / ratios**0.5
        hit = modes(rng, fs, base * ratios, decays, 0.8 ** np.arange(6), 0.3)
        gap = int(rng.uniform(0.05, 0.11) * fs)
        length = gap + len(hit)
        return scatter(length, [0, gap], [hit, hit], [0.6, 1.0])

    return strokes(rng, num_samples, fs, times, thump, 0.15)


def drawer(rng, num_samples, fs):
    """Low rumble of sliding that ends in a rattle."""
    center = log_uniform(rng, 250.0, 550.0)

    def slide(length):
        rumble = noise_band(rng, length, fs, center, 0.7, 0.02)
        rumble *= wander(rng, length, fs, 40.0, 0.7) * glide([0.3, 1], length)
        contents = []
        for _ in range(6):
            frequencies = rng.uniform(700.0, 4000.0, 4)
            contents.append(modes(rng, fs, frequencies, [0.015] * 4, [1] * 4))
        starts = length - (rng.uniform(0.02, 0.2, 6) * fs).astype(int)
        rattle = scatter(length, np.maximum(starts, 0), contents, [1.0] * 6)
        return rumble * arch(length, fs, 0.05, 0.02) + rattle

    return phrases(rng, num_samples, fs, (0.5, 1.0), (0.2, 0.4), slide)


def finger_snap(rng, num_samples, fs):
    """One sharp resonance about 2 kHz, twice a second."""
    base = log_uniform(rng, 1600.0, 2800.0)
    times = beats(rng, num_samples / fs, rng.uniform(1.6, 3.0), 0.06)

    def snap():
        decays = [0.009, 0.005]
        return modes(rng, fs, [base, 1.9 * base], decays, [1.0, 0.4], 0.15)

    return strokes(rng, num_samples, fs, times, snap, 0.15)


def keys(rng, num_samples, fs):
    """Bunch of keys that jingles: showers of bright, short rings."""
    rate = rng.uniform(18.0, 35.0)
    times = beats(rng, num_samples / fs, rate, 0.8)
    base = log_uniform(rng, 3800.0, 5500.0)
    rings = []
    for _ in range(8):
        frequencies = base * rng.uniform(0.8, 1.9, 6)
        decays = rng.uniform(0.02, 0.06, 6)
        rings.append(modes(rng, fs, frequencies, decays, rng.random(6), 0.2))
    pieces = [rings[rng.integers(8)] for _ in times]
    shake = wander(rng, num_samples, fs, 3.0, 0.6)
    gains = np.exp(0.5 * rng.standard_normal(len(times)))
    return scatter(num_samples, (times * fs).astype(int), pieces, gains) * shake


def printer(rng, num_samples, fs):
    """Carriage that moves back and forth over a motor's whirr."""
    rate = rng.uniform(1.0, 1.8)
    time = np.arange(num_samples) / fs
    sweep = 0.5 - 0.5 * np.cos(2.0 * np.pi * rate * time)
    f0 = log_uniform(rng, 260.0, 420.0) * (0.8 + 0.5 * sweep)
    motor = harmonics(f0, fs, np.arange(1, 16) ** -0.6)
    feed = noise_band(rng, num_samples, fs, 3500.0, 0.6) * sweep**4
    times = beats(rng, num_samples / fs, 2.0 * rate, 0.0)
    clack = modes(rng, fs, [600, 1400, 2900], [0.012] * 3, [1, 1, 1], 0.5)
    clacks = strokes(rng, num_samples, fs, times, lambda: clack, 0.1)
    return 0.5 * motor + 1.5 * feed.astype(np.float32) + 2.0 * clacks


def scissors(rng, num_samples, fs):
    """Blades: rising hiss of a cut and the click at its end."""
    rate = rng.uniform(1.8, 3.2)
    center = log_uniform(rng, 4500.0, 6500.0)
    ring = center * rng.uniform(0.6, 0.8)

    def cut():
        length = int(0.6 / rate * fs)
        hiss = noise_band(rng, length, fs, center, 0.35)
        hiss *= glide([0.0, 0.3, 1.0], length)
        click = modes(rng, fs, [ring, 1.6 * ring], [0.015] * 2, [1, 0.8], 0.4)
        total = length + len(click)
        return scatter(total, [0, length], [hiss, click], [0.5, 1.5])

    times = beats(rng, num_samples / fs, rate, 0.08)
    return strokes(rng, num_samples, fs, times, cut, 0.1)


def writing(rng, num_samples, fs):
    """Pen on paper: strokes of rustling noise, five a second."""
    center = log_uniform(rng, 1500.0, 3200.0)
    shortest = rng.uniform(0.06, 0.1)

    def stroke(length):
        rustle = noise_band(rng, length, fs, center, 0.8, 0.05)
        rustle *= wander(rng, length, fs, 90.0, 0.5)
        return rustle * arch(length, fs, 0.02, 0.04)

    on, off = (shortest, 3.0 * shortest), (0.02, 0.12)
    return phrases(rng, num_samples, fs, on, off, stroke)


def engine(rng, num_samples, fs):
    """Firing of cylinders, a low tone with rough pulses."""
    f0 = log_uniform(rng, 28.0, 60.0) * wander(rng, num_samples, fs, 1.5, 0.08)
    partials = rng.uniform(0.3, 1.0, 60) * np.arange(1, 61) ** -0.6
    body = colour(harmonics(f0, fs, partials), fs, peaks([120, 320], [0.8] * 2))
    exhaust = noise_band(rng, num_samples, fs, 300.0, 1.0)
    return body / np.abs(body).max() + 0.1 * exhaust


def fire(rng, num_samples, fs):
    """Crackling over a low roar."""
    roar = noise_band(rng, num_samples, fs, 180.0, 1.0, 0.005)
    roar *= wander(rng, num_samples, fs, 6.0, 0.3)
    rate = rng.uniform(12.0, 40.0)
    times = np.append(0.0, rng.random(int(rate * num_samples / fs)))
    times *= num_samples / fs

    def crackle():
        decay = log_uniform(rng, 0.0006, 0.002)
        length = int(7 * decay * fs) + 8
        noise = rng.standard_normal(length, dtype=np.float32)
        return noise * attack(length, fs, 1.0 / fs, decay)

    crackles = strokes(rng, num_samples, fs, times, crackle, 0.6)
    return 0.25 * roar.astype(np.float32) + crackles


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


def _scream(rng, num_samples, fs, pitches):
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
    return _scream(rng, num_samples, fs, (850.0, 1500.0))


def scream_male(rng, num_samples, fs):
    """Scream of a man."""
    return _scream(rng, num_samples, fs, (330.0, 580.0))


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
