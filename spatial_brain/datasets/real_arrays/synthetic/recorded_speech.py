"""Speech in simulated rooms, written as corpora of recordings have it."""

import numpy as np
import textgrid
import torch

from spatial_brain.atomic import atomic_path
from spatial_brain.dataio.audio import write_audio
from spatial_brain.geometry import azel_to_unit
from spatial_brain.simulation import simulate_rir
from spatial_brain.simulation.mixing import convolve
from spatial_brain.simulation.synthesis.speech import synthetic_speech

# Metres; the array stands near the centre, speakers sit around it.
ROOM = (5.2, 4.4, 2.8)
_ARRAY_AT = (2.5, 2.1, 1.1)
DISTANCE = 1.3
T60 = 0.25
# Decay in dB after which the tail is diffuse.
_DIFFUSE_FROM = 15.0
# Standard deviation of the microphones' noise, and peak of a recording.
_NOISE, _PEAK = 1e-4, 0.5
# Seconds of a meeting in which somebody speaks.
_SHORTEST = 5.0


def record_speech(
    array, sentences, duration, seed, fs=16000, *, direct_only=False
):
    """Simulate people who speak around an array.

    Arguments
    ---------
    array : MicrophoneArray
        Its positions are moved to the middle of the room.
    sentences : list of tuple of float
        Start and end in seconds, and azimuth of the speaker in degrees; the
        same azimuth is the same speaker.
    duration : float
        Seconds.
    seed : int
        The same seed gives the same recording.
    fs : int
        Sampling rate, Hz.
    direct_only : bool
        Without reflections and without noise, at the same level.

    Returns
    -------
    torch.Tensor
        float32 [time, microphone].

    Example
    -------
    >>> from spatial_brain.geometry import MicrophoneArray
    >>> pair = MicrophoneArray([[0, 0.05, 0], [0, -0.05, 0]])
    >>> record_speech(pair, [(0.1, 0.9, 30)], 1.0, 0).shape
    torch.Size([16000, 2])
    """
    azimuths = sorted({azimuth for _, _, azimuth in sentences})
    num_samples = round(duration * fs)
    dry = torch.zeros(len(azimuths), num_samples)
    for number, (start, stop, azimuth) in enumerate(sentences):
        first, last = round(start * fs), min(round(stop * fs), num_samples)
        generator = torch.Generator().manual_seed(1000 * seed + number)
        speaker = azimuths.index(azimuth)
        dry[speaker, first:last] += synthetic_speech(
            last - first, fs, 100 * seed + speaker, generator
        )
    centre = torch.tensor(_ARRAY_AT)
    angles = torch.tensor(azimuths, dtype=torch.float32)
    sources = DISTANCE * azel_to_unit(angles, torch.zeros(len(angles)))
    generator = torch.Generator().manual_seed(seed)
    arguments = ROOM, centre + sources, centre + array.positions
    rirs = simulate_rir(
        *arguments,
        fs=fs,
        t60=T60,
        diffuse_from=_DIFFUSE_FROM,
        generator=generator,
    )
    recording = convolve(dry, rirs, num_samples).sum(0).T
    gain = _PEAK / recording.abs().max()
    if direct_only:
        rirs = simulate_rir(*arguments, fs=fs, t60=T60, direct_only=True)
        return gain * convolve(dry, rirs, num_samples).sum(0).T
    noise = torch.randn(recording.shape, generator=generator)
    return gain * recording + _NOISE * noise


def write_speech(paths, *scene, fs=16000):
    """Write a recording unless it is there.

    Arguments
    ---------
    paths : sequence of Path
        One file for all channels, or one a channel.
    *scene
        The first arguments of :func:`record_speech`.
    fs : int
        Sampling rate, Hz.

    Example
    -------
    >>> from spatial_brain.geometry import MicrophoneArray
    >>> pair = MicrophoneArray([[0, 0.05, 0], [0, -0.05, 0]])
    >>> path = getfixture("tmp_path") / "a.wav"
    >>> write_speech([path], pair, [(0, 0.5, 30)], 0.5, 0)
    """
    if all(path.is_file() for path in paths):
        return
    recording = record_speech(*scene, fs=fs)
    if len(paths) == 1:
        write_audio(paths[0], recording, fs)
        return
    for path, signal in zip(paths, recording.T, strict=True):
        write_audio(path, signal, fs)


def plan_meeting(duration, num_speakers, seed):
    """Sentences of a meeting, some of which overlap.

    Arguments
    ---------
    duration : float
        Seconds.
    num_speakers : int
        They sit around the table.
    seed : int
        The same seed is the same meeting.

    Returns
    -------
    list of tuple of float
        Start, end, azimuth of the speaker, sorted.

    Raises
    ------
    ValueError
        If it is shorter than 5 s.

    Example
    -------
    >>> meeting = plan_meeting(30.0, 3, 0)
    >>> len({azimuth for _, _, azimuth in meeting}) <= 3
    True
    """
    if duration < _SHORTEST:
        raise ValueError(
            f"a meeting lasts at least {_SHORTEST:g} s, got {duration:g} s"
        )
    rng = np.random.default_rng([seed, num_speakers])
    seats = rng.uniform(-180, 180) + 360.0 * np.arange(num_speakers)
    seats = [round(float(s), 1) for s in seats / num_speakers]
    ends = dict.fromkeys(seats, 0.0)
    sentences, time = [], 0.4
    while time < duration - 3.0:
        seat = seats[int(rng.integers(num_speakers))]
        start = max(time, ends[seat] + 0.1)
        stop = min(start + rng.uniform(2.0, 6.0), duration - 0.5)
        if stop - start > 0.5:
            sentences.append((round(start, 3), round(stop, 3), seat))
            ends[seat] = stop
        # The next one starts after a pause, or while this one is speaking.
        time = stop + rng.choice([0.6, 0.3, -0.8], p=[0.5, 0.3, 0.2])
    return sorted(sentences)


def write_textgrid(path, sentences, duration):
    """Write sentences as a TextGrid with a tier a speaker.

    Arguments
    ---------
    path : Path
        File to write.
    sentences : list of tuple
        From :func:`plan_meeting`.
    duration : float
        Seconds.

    Example
    -------
    >>> path = getfixture("tmp_path") / "a.TextGrid"
    >>> write_textgrid(path, [(0.5, 2.0, 30.0)], 3.0)
    >>> path.read_text().startswith('File type = "ooTextFile"')
    True
    """
    grid = textgrid.TextGrid(path.stem, 0.0, duration)
    for number, seat in enumerate(sorted({one[2] for one in sentences}), 1):
        tier = textgrid.IntervalTier(f"{number:03d}-M", 0.0, duration)
        for start, stop, azimuth in sentences:
            if azimuth == seat:
                tier.add(start, stop, "synthetic speech")
        grid.append(tier)
    with atomic_path(path) as temporary:
        grid.write(str(temporary))
