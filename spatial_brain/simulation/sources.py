"""Stand-ins for speech that need no download.

A talker is a set of voice parameters drawn from a seed. Speech is made as in
a formant synthesiser (Klatt, JASA 67, 1980): a glottal pulse train and noise
pass resonances that follow a random sequence of syllables. It has no words,
but the pitch, formants, pauses, modulation and long-term spectrum of speech.
"""

from dataclasses import dataclass, field

import numpy as np
import torch
from scipy import signal
from scipy.ndimage import gaussian_filter1d

from spatial_brain.simulation.levels import active_level
from spatial_brain.simulation.sources_speech import (
    TRACK_RATE,
    plan_utterance,
)

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
        ``spatial_brain.simulation.levels.active_level``) is -26 dB full
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
    tracks = plan_utterance(talker, seconds, rng)
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
