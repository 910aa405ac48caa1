"""What a synthetic talker says: phrases, syllables and their sounds.

Turns random syllables into control tracks for the synthesiser of
``spatial_brain.simulation.sources``.
"""

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter1d

# Values per second of all tracks.
TRACK_RATE = 200
# Formants of vowels of adult males, Hz (Peterson and Barney, JASA 24, 1952).
VOWELS = np.array(
    [
        (270, 2290, 3010),
        (390, 1990, 2550),
        (530, 1840, 2480),
        (660, 1720, 2410),
        (730, 1090, 2440),
        (570, 840, 2410),
        (440, 1020, 2240),
        (300, 870, 2240),
        (640, 1190, 2390),
        (490, 1350, 1690),
    ],
    dtype=float,
)
# Places of articulation: second and third formant at the closure, centre of
# the burst (Hz) and its width (octaves): lips, teeth ridge, soft palate.
PLACES = (
    (900, 2200, 1100, 1.0),
    (1750, 2700, 4300, 0.5),
    (2000, 2400, 2000, 0.4),
)
# Friction of s, sh, f, th: centre (Hz), width (octaves), strength, and the
# place they are made at.
FRICATIVES = (
    (6000, 0.45, 1.0, 1),
    (3300, 0.45, 1.1, 1),
    (4500, 1.2, 0.3, 0),
    (5500, 1.0, 0.25, 1),
)
# Formants of w, j, r, l.
APPROXIMANTS = (
    (300, 700, 2200),
    (280, 2200, 3000),
    (400, 1200, 1600),
    (380, 1050, 2600),
)
ONSETS = ("stop", "fricative", "nasal", "approximant", "breath", "none")
ONSET_SHARES = (0.36, 0.22, 0.13, 0.16, 0.04, 0.09)
CODAS = ("nasal", "fricative", "stop", "none")
CODA_SHARES = (0.16, 0.12, 0.12, 0.60)
# Strength of friction and of aspiration against the voice.
FRICTION = 1.0
ASPIRATION = 0.25
# Columns of a sound: duration (s), three formants (Hz), voice, aspiration,
# friction, its centre (Hz) and width (octaves).
DURATION, F1, VOICE, BREATH, NOISE, CENTER, WIDTH = 0, 1, 4, 5, 6, 7, 8


@dataclass
class Tracks:
    """Controls of the synthesiser, TRACK_RATE values per second.

    Arguments
    ---------
    f0 : numpy.ndarray
        Pitch, Hz, shape [P].
    formants : numpy.ndarray
        The lowest three, Hz, shape [P, 3].
    voicing : numpy.ndarray
        Strength of the glottal pulses, shape [P].
    aspiration : numpy.ndarray
        Strength of noise at the glottis, shape [P].
    friction : numpy.ndarray
        Strength of noise at the place of articulation, shape [P].
    friction_center : numpy.ndarray
        Its centre, Hz, shape [P].
    friction_width : numpy.ndarray
        Its width, octaves, shape [P].

    Example
    -------
    >>> Tracks(*[np.zeros(3)] * 7).f0.shape
    (3,)
    """

    f0: np.ndarray
    formants: np.ndarray
    voicing: np.ndarray
    aspiration: np.ndarray
    friction: np.ndarray
    friction_center: np.ndarray
    friction_width: np.ndarray


def plan_utterance(talker, seconds, rng):
    """Draw phrases with pauses between them and lay out the tracks.

    Arguments
    ---------
    talker : spatial_brain.simulation.sources.SyntheticTalker
        The voice.
    seconds : float
        Length to fill.
    rng : numpy.random.Generator
        Source of randomness.

    Returns
    -------
    Tracks
        At least ``seconds`` long.

    Example
    -------
    >>> from spatial_brain.simulation.sources import SyntheticTalker
    >>> rng = np.random.default_rng(0)
    >>> tracks = plan_utterance(SyntheticTalker(0), 1.5, rng)
    >>> len(tracks.f0) >= 300
    True
    """
    needed = int(np.ceil(seconds * TRACK_RATE)) + 2
    sounds, pitch, total = [], [], 0
    lead = rng.uniform(0.0, 0.15)
    while total < needed:
        phrase, stresses = _phrase(talker, rng)
        phrase.insert(0, _silence(lead))
        lead = talker.pause * rng.uniform(0.5, 1.6)
        phrase = np.array(phrase)
        ticks = np.maximum(1, np.rint(phrase[:, DURATION] * TRACK_RATE))
        phrase[:, DURATION] = ticks
        sounds.append(phrase)
        pitch.append(_pitch(phrase, stresses, talker, rng))
        total += int(ticks.sum())
    sounds = np.concatenate(sounds)
    pitch = np.concatenate(pitch)[:needed]
    counts = sounds[:, DURATION].astype(int)
    values = np.repeat(sounds, counts, axis=0)[:needed]
    formants = _formants(sounds, counts, talker)[:needed]
    # The tongue moves slowly, the glottis faster, friction at once.
    return Tracks(
        f0=pitch,
        formants=formants,
        voicing=gaussian_filter1d(values[:, VOICE], 2.2),
        aspiration=gaussian_filter1d(values[:, BREATH], 1.5) * ASPIRATION,
        friction=gaussian_filter1d(values[:, NOISE], 1.0) * FRICTION,
        friction_center=values[:, CENTER] * talker.formant_scale**0.5,
        friction_width=values[:, WIDTH],
    )


def _formants(sounds, counts, talker):
    """Formant tracks through the targets of the sounds, shape [P, 3]."""
    ends = np.cumsum(counts)
    middle = ends - counts / 2
    known = np.isfinite(sounds[:, F1])
    ticks = np.arange(ends[-1])
    tracks = []
    for number in range(3):
        target = np.repeat(
            np.interp(middle, middle[known], sounds[known, F1 + number]), counts
        )
        # Targets are reached in the middle of long sounds only.
        moving = np.interp(ticks, middle, target[middle.astype(int)])
        track = gaussian_filter1d(0.6 * target + 0.4 * moving, 4.5)
        tracks.append(track * talker.formant_shift[number])
    return np.stack(tracks, axis=1) * talker.formant_scale


def _pitch(phrase, stresses, talker, rng):
    """Pitch of a phrase, Hz: declination, accents, a final fall or rise.

    ``stresses`` are the rows of the accented vowels.
    """
    ends = np.cumsum(phrase[:, DURATION])
    ticks = np.arange(int(ends[-1]))
    spread = talker.f0_spread
    begin = ends[0]
    course = np.clip((ticks - begin) / (ends[-1] - begin), 0.0, 1.0)
    semitones = spread * (0.7 - 1.4 * course)
    for row in stresses:
        center = ends[row] - 0.6 * phrase[row, DURATION]
        width = rng.uniform(14.0, 24.0)
        height = spread * rng.uniform(0.4, 1.2)
        semitones += height * np.exp(-0.5 * ((ticks - center) / width) ** 2)
    final = np.clip(1.0 - (ends[-1] - ticks) / (0.3 * TRACK_RATE), 0.0, 1.0)
    semitones += final * (4.0 if rng.random() < 0.2 else -2.5)
    flutter = gaussian_filter1d(rng.standard_normal(len(ticks)), 3.0) * 0.6
    return talker.f0 * 2.0 ** ((semitones + flutter) / 12.0)


def _phrase(talker, rng):
    """Draw the sounds of a phrase; also the rows of its stressed vowels."""
    syllables = int(rng.integers(4, 13))
    sounds, stresses = [], []
    beat = 1.0 / talker.rate
    for number in range(syllables):
        stressed = bool(rng.random() < 0.4)
        onset = _consonant(rng.choice(ONSETS, p=ONSET_SHARES), rng)
        coda = _consonant(rng.choice(CODAS, p=CODA_SHARES), rng)
        loud = rng.uniform(0.85, 1.15) * (1.0 if stressed else 0.75)
        loud *= 1.0 - 0.3 * number / syllables
        taken = sum(row[DURATION] for row in onset + coda)
        length = beat * rng.uniform(0.8, 1.2) * (1.25 if stressed else 0.8)
        if number == syllables - 1:
            length *= 1.4
        vowel = VOWELS[rng.integers(len(VOWELS))]
        vowel = vowel * np.exp(rng.normal(0.0, 0.03, 3))
        # Row 0 of the phrase is the pause before it.
        row = 1 + len(sounds) + len(onset)
        if stressed:
            stresses.append(row)
        syllable = [*onset, _sound(max(0.05, length - taken), vowel), *coda]
        for values in syllable:
            values[VOICE : NOISE + 1] *= loud
        sounds.extend(syllable)
    return sounds, stresses


def _sound(
    duration,
    formants=(np.nan,) * 3,
    *,
    voice=1.0,
    breath=0.0,
    noise=0.0,
    center=4000.0,
    width=1.0,
):
    """Row of the columns DURATION to WIDTH."""
    return np.array([duration, *formants, voice, breath, noise, center, width])


def _silence(duration):
    """Row of a pause, whose formants are those of its neighbours."""
    return _sound(duration, voice=0.0)


def _consonant(kind, rng):
    """Rows of one consonant, none for "none"."""
    stretch = rng.uniform(0.8, 1.2)
    if kind == "stop":
        return _stop(stretch, rng)
    if kind == "fricative":
        choice = rng.integers(len(FRICATIVES))
        center, width, strength, place = FRICATIVES[choice]
        voiced = rng.random() < 0.35
        return [
            _sound(
                stretch * (0.065 if voiced else 0.095),
                (280.0, *PLACES[place][:2]),
                voice=0.35 if voiced else 0.0,
                noise=strength * (0.5 if voiced else 1.0),
                center=center,
                width=width,
            )
        ]
    if kind == "nasal":
        place = rng.integers(2)
        return [_sound(stretch * 0.06, (250.0, *PLACES[place][:2]), voice=0.35)]
    if kind == "approximant":
        formants = APPROXIMANTS[rng.integers(len(APPROXIMANTS))]
        return [_sound(stretch * 0.06, formants, voice=0.5)]
    if kind == "breath":
        return [_sound(stretch * 0.06, voice=0.0, breath=1.0)]
    return []


def _stop(stretch, rng):
    """Rows of closure, burst and, without voice, aspiration."""
    second, third, center, width = PLACES[rng.integers(len(PLACES))]
    voiced = rng.random() < 0.45
    formants = (220.0, second, third)
    rows = [
        _sound(stretch * 0.055, formants, voice=0.12 if voiced else 0.0),
        _sound(
            0.01,
            formants,
            voice=0.3 if voiced else 0.0,
            noise=0.7 if voiced else 1.3,
            center=center,
            width=width,
        ),
    ]
    if not voiced:
        rows.append(_sound(stretch * 0.035, voice=0.0, breath=1.0, noise=0.15))
    return rows
