"""Stand-ins for speech that need no download.

A talker is a set of voice parameters drawn from a seed. Speech is made as in
a formant synthesiser (Klatt, JASA 67, 1980): a glottal pulse train and noise
pass resonances that follow control tracks of random syllables. It has no words,
but the pitch, formants, pauses, modulation and long-term spectrum of speech.
"""

from dataclasses import dataclass, field

import numpy as np
import torch
from scipy import signal
from scipy.ndimage import gaussian_filter1d

from spatial_brain.simulation.mixing import active_level

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
# Level of the active parts of all speech made here, dB full scale.
ACTIVE_LEVEL = -26.0
# Voice types: probability, median f0 in Hz (range), and the scale of the
# formants (range) relative to an adult male, the inverse of the length of
# the vocal tract (ranges cover Peterson and Barney, JASA 24, 1952).
VOICES = {
    "male": (0.42, (80.0, 150.0), (0.92, 1.06)),
    "female": (0.42, (160.0, 255.0), (1.08, 1.24)),
    "child": (0.16, (230.0, 340.0), (1.22, 1.42)),
}
# Resonances above the third, of an adult male, and bandwidths of all, Hz.
# A tube has one every kilohertz; those above Nyquist are left out.
HIGH_FORMANTS = (3500.0, 4500.0, 5500.0, 6500.0, 7500.0)
BANDWIDTHS = (70.0, 90.0, 130.0, 200.0, 260.0, 400.0, 500.0, 600.0)
# Frame and step of the time-varying filters, seconds.
FRAME, STEP = 0.020, 0.010
# Longest piece made at once, seconds; bounds the memory.
PIECE = 60.0


@dataclass
class _Tracks:
    """Controls of the synthesiser, TRACK_RATE values per second, [P]."""

    f0: np.ndarray  # Hz
    formants: np.ndarray  # the lowest three, Hz [P, 3]
    voicing: np.ndarray
    aspiration: np.ndarray
    friction: np.ndarray
    friction_center: np.ndarray  # Hz
    friction_width: np.ndarray  # octaves


def _plan_utterance(talker, seconds, rng):
    """Draw phrases with pauses between them and lay out the tracks."""
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
    return _Tracks(
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


def numpy_generator(generator):
    """NumPy generator seeded by the next number of a torch generator.

    Arguments
    ---------
    generator : torch.Generator or None
        None takes the global state of torch.

    Returns
    -------
    numpy.random.Generator

    Example
    -------
    >>> generator = torch.Generator().manual_seed(0)
    >>> numpy_generator(generator).random() < 1.0
    True
    """
    device = generator.device if generator is not None else "cpu"
    seed = torch.randint(2**62, (1,), generator=generator, device=device)
    return np.random.default_rng(int(seed))


@dataclass
class SyntheticTalker:
    """One voice; the same seed is the same voice.

    Arguments
    ---------
    seed : int
        Not negative. Decides everything below.
    voice : str, optional
        "male", "female" or "child"; drawn from the seed by default.

    Attributes
    ----------
    f0 : float
        Median pitch, Hz.
    f0_spread : float
        Size of the pitch movements, semitones.
    formant_scale : float
        Formants relative to an adult male's.
    formant_shift : numpy.ndarray
        Factor of each formant, the talker's own.
    open_quotient : float
        Share of the glottal period with flow; more sounds softer.
    breathiness : float
        Noise relative to the voice.
    tilt : float
        Slope of the spectrum against the average talker's, dB per octave.
    rate : float
        Syllables per second.
    pause : float
        Mean pause between phrases, seconds.

    Example
    -------
    >>> male, child = SyntheticTalker(1, "male"), SyntheticTalker(1, "child")
    >>> male.f0 < child.f0, male.formant_scale < child.formant_scale
    (True, True)
    """

    seed: int
    voice: str | None = None
    f0: float = field(init=False)
    f0_spread: float = field(init=False)
    formant_scale: float = field(init=False)
    formant_shift: np.ndarray = field(init=False)
    open_quotient: float = field(init=False)
    breathiness: float = field(init=False)
    tilt: float = field(init=False)
    rate: float = field(init=False)
    pause: float = field(init=False)

    def __post_init__(self):
        if self.seed < 0:
            raise ValueError(f"seed must not be negative, got {self.seed}")
        rng = np.random.default_rng((self.seed, 0x5AEEC4))
        shares = [share for share, _, _ in VOICES.values()]
        drawn = str(rng.choice(list(VOICES), p=shares))
        self.voice = drawn if self.voice is None else self.voice
        if self.voice not in VOICES:
            raise ValueError(
                f"voice must be one of {tuple(VOICES)}, got {self.voice!r}"
            )
        _, pitches, scales = VOICES[self.voice]
        self.f0 = float(np.exp(rng.uniform(*np.log(pitches))))
        self.f0_spread = rng.uniform(1.5, 4.5)
        self.formant_scale = rng.uniform(*scales)
        self.formant_shift = np.exp(rng.normal(0.0, 0.04, len(BANDWIDTHS)))
        self.open_quotient = rng.uniform(0.45, 0.75)
        self.breathiness = 10.0 ** (rng.uniform(-36.0, -18.0) / 20.0)
        self.tilt = rng.uniform(-1.5, 1.5)
        self.rate = rng.uniform(3.6, 5.8)
        self.pause = rng.uniform(0.25, 0.6)


def synthetic_speech(num_samples, fs=16000, talker=None, generator=None):
    """Speech-like signal of one talker.

    Arguments
    ---------
    num_samples : int
        Length T.
    fs : int
        Sampling rate, Hz, at least 8000.
    talker : SyntheticTalker or int, optional
        Voice or its seed; by default one drawn with ``generator``.
    generator : torch.Generator, optional
        Decides what is said; the same state gives the same signal. Without
        one the global state of torch is used.

    Returns
    -------
    torch.Tensor
        Shape [T], float32; the level of its active parts (see
        ``spatial_brain.simulation.mixing.active_level``) is -26 dB full
        scale.

    Raises
    ------
    ValueError
        If ``num_samples`` is not positive or ``fs`` below 8000.

    Example
    -------
    >>> generator = torch.Generator().manual_seed(0)
    >>> speech = synthetic_speech(32000, 16000, SyntheticTalker(3), generator)
    >>> speech.shape, round(active_level(speech).item(), 1)
    (torch.Size([32000]), -26.0)
    """
    if num_samples < 1:
        raise ValueError(f"num_samples must be positive, got {num_samples}")
    if fs < 8000:
        raise ValueError(f"fs must be at least 8000 Hz, got {fs}")
    rng = numpy_generator(generator)
    if talker is None:
        talker = int(rng.integers(2**31))
    if not isinstance(talker, SyntheticTalker):
        talker = SyntheticTalker(int(talker))
    longest = int(PIECE * fs)
    pieces = [
        _speak(min(longest, num_samples - start), fs, talker, rng)
        for start in range(0, num_samples, longest)
    ]
    speech = torch.from_numpy(np.concatenate(pieces).astype(np.float32))
    gain = 10.0 ** ((ACTIVE_LEVEL - active_level(speech, fs)) / 20.0)
    return speech * gain


def _speak(num_samples, fs, talker, rng):
    """Synthesise one piece, shape [num_samples], of no fixed level."""
    seconds = num_samples / fs
    tracks = _plan_utterance(talker, seconds, rng)
    time = np.arange(num_samples) * (TRACK_RATE / fs)
    points = np.arange(len(tracks.f0))

    def sampled(track):
        return np.interp(time, points, track).astype(np.float32)

    phase = np.cumsum(sampled(tracks.f0) / fs, dtype=np.float64)
    noise = rng.standard_normal(num_samples, dtype=np.float32)
    pulses = _glottis(phase, talker, fs)
    # Breath flows while the glottis is open; half of it always.
    breath = noise * (0.5 + 0.5 * (phase % 1.0 < talker.open_quotient))
    voice = pulses * sampled(tracks.voicing)
    voice += breath * sampled(
        tracks.aspiration + talker.breathiness * tracks.voicing
    )
    friction = noise[::-1] * sampled(tracks.friction)
    frames = np.arange(int(np.ceil(seconds / STEP)) + 1) * STEP
    index = np.minimum((frames * TRACK_RATE).astype(int), len(points) - 1)
    nfft = 2 ** int(np.ceil(np.log2(1.6 * FRAME * fs)))
    frequencies = np.fft.rfftfreq(nfft, 1.0 / fs)
    speech = _filter_frames(
        (voice, friction),
        (
            _vocal_tract(tracks.formants[index], frequencies, fs, talker),
            _friction_shape(
                tracks.friction_center[index],
                tracks.friction_width[index],
                frequencies,
            ),
        ),
        fs,
        nfft,
    )
    return signal.sosfilt(_high_pass(fs), speech)


def _high_pass(fs):
    """Second-order sections that remove what no microphone keeps."""
    return signal.butter(2, 60.0, "highpass", fs=fs, output="sos")


def _glottis(phase, talker, fs):
    """Derivative of the glottal flow at phases in periods.

    Rosenberg's pulse: rises over two thirds of the open phase, falls over
    the rest; read from a table of one period.
    """
    size = 1024
    open_quotient = talker.open_quotient
    table_phase = np.arange(size) / size
    peak = open_quotient * 2.0 / 3.0
    fall = (table_phase - peak) / (open_quotient - peak)
    flow = np.where(
        table_phase < peak,
        0.5 - 0.5 * np.cos(np.pi * table_phase / peak),
        np.where(table_phase < open_quotient, np.cos(0.5 * np.pi * fall), 0.0),
    )
    table = np.diff(flow, append=flow[0])
    table /= np.sqrt(np.mean(table**2))
    # The closure is an edge; round it off, so that it does not alias.
    rounding = size * talker.f0 / (2.0 * np.pi * 0.35 * fs)
    table = gaussian_filter1d(table, rounding, mode="wrap").astype(np.float32)
    return table[(phase * size).astype(np.int64) % size]


def _vocal_tract(formants, frequencies, fs, talker):
    """Response of the resonances of each frame, [frame, bin], complex64.

    Digital resonators in cascade as in Klatt's synthesiser, each with gain 1
    at 0 Hz, and the talker's tilt.
    """
    high = np.array(HIGH_FORMANTS) * talker.formant_scale
    high = np.broadcast_to(
        high * talker.formant_shift[3:], (len(formants), len(high))
    )
    centers = np.concatenate((formants, high), axis=1)
    delay = np.exp(-2j * np.pi * frequencies / fs).astype(np.complex64)
    response = np.ones((len(formants), len(frequencies)), np.complex64)
    for center, bandwidth in zip(centers.T, BANDWIDTHS, strict=True):
        if center.max() > 0.49 * fs:
            continue
        radius = np.exp(-np.pi * bandwidth / fs)
        b = 2.0 * radius * np.cos(2.0 * np.pi * center / fs)
        b = b.astype(np.float32)[:, None]
        c = np.float32(-(radius**2))
        response *= (1.0 - b - c) / (1.0 - b * delay - c * delay**2)
    octaves = np.log2(np.maximum(frequencies, 200.0) / 500.0)
    shape = 10.0 ** (talker.tilt * octaves / 20.0)
    return response * shape.astype(np.float32)


def _friction_shape(center, width, frequencies):
    """Spectrum of friction noise of each frame, [frame, bin]."""
    distance = np.log2(np.maximum(frequencies, 50.0) / center[:, None])
    shape = np.exp(-0.5 * (distance / width[:, None]) ** 2)
    return shape.astype(np.float32)


def _filter_frames(signals, responses, fs, nfft):
    """Filter by responses that change from frame to frame, and add up.

    Hann frames with half overlap; the transform is longer than a frame, and
    the tails of the filters are overlapped and added.
    """
    hop = int(round(STEP * fs))
    length = len(signals[0])
    count = len(responses[0])
    window = signal.get_window("hann", 2 * hop).astype(np.float32)
    total = 0.0
    for samples, response in zip(signals, responses, strict=True):
        padded = np.zeros((count + 1) * hop, np.float32)
        padded[hop : hop + length] = samples[: count * hop]
        frames = np.lib.stride_tricks.sliding_window_view(padded, 2 * hop)
        spectrum = torch.fft.rfft(
            torch.from_numpy(frames[::hop] * window), n=nfft
        )
        total = total + spectrum * torch.from_numpy(response)
    blocks = torch.fft.irfft(total, n=nfft).numpy()
    parts = -(-nfft // hop)
    output = np.zeros((count + parts, hop), np.float32)
    for part in range(parts):
        block = blocks[:, part * hop : (part + 1) * hop]
        output[part : part + count, : block.shape[1]] += block
    return output.reshape(-1)[hop : hop + length]


def synthetic_babble(
    num_samples, fs=16000, *, num_channels=1, num_talkers=8, generator=None
):
    """Many talkers at once, in independent channels.

    Each channel holds all talkers, circularly shifted by random times of
    their own, so that channels of long signals are uncorrelated.

    Arguments
    ---------
    num_samples : int
        Length T.
    fs : int
        Sampling rate, Hz.
    num_channels : int
        Number of channels M.
    num_talkers : int
        Number of voices.
    generator : torch.Generator, optional
        Decides voices and speech; see :func:`synthetic_speech`.

    Returns
    -------
    torch.Tensor
        Shape [M, T], float32.

    Raises
    ------
    ValueError
        If a number is not positive.

    Example
    -------
    >>> generator = torch.Generator().manual_seed(0)
    >>> synthetic_babble(8000, num_channels=2, generator=generator).shape
    torch.Size([2, 8000])
    """
    if num_channels < 1 or num_talkers < 1:
        raise ValueError(
            "num_channels and num_talkers must be positive, got "
            f"{num_channels} and {num_talkers}"
        )
    rng = numpy_generator(generator)
    inner = torch.Generator().manual_seed(int(rng.integers(2**62)))
    # At least two seconds, so that short channels differ as well.
    length = max(num_samples, 2 * fs)
    babble = torch.zeros(num_channels, num_samples)
    for _ in range(num_talkers):
        speech = synthetic_speech(length, fs, generator=inner)
        for channel in range(num_channels):
            shift = int(rng.integers(length))
            babble[channel] += speech.roll(shift)[:num_samples]
    return babble
