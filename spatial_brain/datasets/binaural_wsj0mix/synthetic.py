"""Synthetic WSJ0, DEMAND and room responses, for runs that need no data.

Same folders, names and formats as the real ones, so that they are prepared in
the same way. Interrupted, each goes on where it stopped; with other arguments
it is made again; real data are never touched.

Rooms are those of the "BRIR Sim Set" of the IoSR, Surrey
(``CATT_RIRs/Binaural/16k/0_4s/CATT_0_4s_-45.wav``): a room each reverberation
time, and sources in front of the head 1.5 m away. Unlike there, every room has
its own size and head.
"""

import math
from functools import partial
from pathlib import Path

import numpy as np
import torch

from spatial_brain.dataio.audio import write_audio
from spatial_brain.dataio.parallel import progress, run_jobs
from spatial_brain.datasets.binaural_wsj0mix.brirs import room_name
from spatial_brain.datasets.binaural_wsj0mix.head_rooms import draw_room_size
from spatial_brain.datasets.binaural_wsj0mix.noise import DEMAND_SPLITS
from spatial_brain.datasets.binaural_wsj0mix.sampling import ROOM_T60S
from spatial_brain.datasets.synthetic_data import claim
from spatial_brain.geometry import azel_to_unit
from spatial_brain.simulation.hrtf.rooms import HeadRoom
from spatial_brain.simulation.hrtf.sphere import (
    draw_head,
    spherical_head_responses,
)
from spatial_brain.simulation.synthesis.speech import (
    SyntheticTalker,
    synthetic_babble,
    synthetic_speech,
)

_WSJ0_SUBSETS = {"train": "si_tr_s", "valid": "si_dt_05", "test": "si_et_05"}
_FS = 16000
_NUM_SPEAKERS = {"train": 24, "valid": 8, "test": 8}
# Environments of DEMAND in which people talk.
_TALKING = {"OMEETING", "OHALLWAY", "PCAFETER", "PRESTO", "SCAFE"}
# Share of the voices in their power, and level of recordings, RMS.
_VOICES, _LEVEL = 0.7, 0.05
# Azimuths of the sources, degrees, positive to the right.
_ROOM_AZIMUTHS = tuple(range(-90, 91, 5))
_DISTANCE = 1.5  # m
# What is kept from the walls, metres.
_MARGIN = 0.3
_EAR_HEIGHT = 1.5
# Loudest sample of a room's responses.
_PEAK = 0.9


def write_synthetic_wsj0(
    folder,
    num_talkers=None,
    utterances_per_talker=8,
    *,
    duration=(3.0, 6.0),
    seed=0,
):
    """Write a small WSJ0 of synthetic voices.

    Files ``wsj0/si_tr_s/001/001a0001.wav``, 16 kHz, 16 bits; of validation and
    test in ``si_dt_05`` and ``si_et_05``. No speaker is in two of them.

    Arguments
    ---------
    folder : str or Path
        Gets the folder ``wsj0``.
    num_talkers : dict, optional
        Of "train", "valid", "test"; default 24, 8 and 8.
    utterances_per_talker : int
        Files of each.
    duration : tuple of float
        Shortest and longest utterance, seconds.
    seed : int
        The same seed writes the same files.

    Returns
    -------
    Path
        The folder given.

    Raises
    ------
    ValueError
        If real data lie there, or a number is not positive.

    Example
    -------
    >>> one = {"train": 1, "valid": 1, "test": 1}
    >>> root = write_synthetic_wsj0(getfixture("tmp_path"), one, 1)
    >>> sorted(path.name for path in root.rglob("*.wav"))
    ['001a0001.wav', '002a0001.wav', '003a0001.wav']
    """
    num_talkers = dict(num_talkers or _NUM_SPEAKERS)
    if (
        set(num_talkers) != set(_WSJ0_SUBSETS)
        or min(num_talkers.values()) < 1
        or utterances_per_talker < 1
    ):
        raise ValueError(
            f"num_talkers needs positive numbers for {list(_WSJ0_SUBSETS)}, "
            "and utterances_per_talker must be positive, got "
            f"{num_talkers} and {utterances_per_talker}"
        )
    root = Path(folder, "wsj0")
    claim(
        root,
        {
            "num_talkers": num_talkers,
            "utterances_per_talker": utterances_per_talker,
            "duration": list(duration),
            "seed": seed,
        },
    )
    subsets = [
        _WSJ0_SUBSETS[split]
        for split in _WSJ0_SUBSETS
        for _ in range(num_talkers[split])
    ]
    for speaker, subset in enumerate(
        progress(subsets, description="writing voices", unit="speaker"), 1
    ):
        voice = SyntheticTalker(seed * 1_000_003 + speaker)
        for number in range(1, utterances_per_talker + 1):
            name = f"{speaker:03d}a{number:04d}.wav"
            path = root / subset / f"{speaker:03d}" / name
            if path.is_file():
                continue
            rng = np.random.default_rng([seed, speaker, number])
            length = int(rng.uniform(*duration) * _FS)
            generator = torch.Generator().manual_seed(int(rng.integers(2**62)))
            speech = synthetic_speech(length, _FS, voice, generator)
            write_audio(path, speech, _FS, clip=True)
    return Path(folder)


def write_synthetic_noise(folder, seconds=20.0, seed=0):
    """Write a small DEMAND of synthetic noise.

    Files ``demand/DWASHING/ch01.wav``, 16 kHz, 16 bits, of DEMAND's 18
    environments: noise with a spectrum and slow fluctuations of its own;
    voices are in it where people talk.

    Arguments
    ---------
    folder : str or Path
        Gets the folder ``demand``.
    seconds : float
        Length of each.
    seed : int
        The same seed writes the same files.

    Returns
    -------
    Path
        The folder given.

    Raises
    ------
    ValueError
        If real data lie there, or they would be shorter than 1 s.

    Example
    -------
    >>> root = write_synthetic_noise(getfixture("tmp_path"), seconds=1.0)
    >>> len(list(root.glob("demand/*/ch01.wav")))
    18
    """
    if seconds < 1.0:
        raise ValueError(f"seconds must be at least 1, got {seconds}")
    root = Path(folder, "demand")
    claim(root, {"seconds": seconds, "seed": seed})
    names = sorted(name for part in DEMAND_SPLITS.values() for name in part)
    for index, name in enumerate(
        progress(names, description="writing noise", unit="file")
    ):
        path = root / name / "ch01.wav"
        if path.is_file():
            continue
        rng = np.random.default_rng([seed, index])
        noise = _environment(int(seconds * _FS), rng, name in _TALKING)
        write_audio(path, noise, _FS, clip=True)
    return Path(folder)


def write_synthetic_rooms(
    folder, t60s=None, azimuths=_ROOM_AZIMUTHS, *, seed=0, num_workers=1
):
    """Simulate the room responses of all sets.

    Arguments
    ---------
    folder : str or Path
        Gets ``CATT_RIRs``.
    t60s : sequence of float, optional
        Seconds; default those of ``ROOM_T60S``.
    azimuths : sequence of int
        Degrees, positive to the right, in [-90, 90].
    seed : int
        Of rooms and heads; the same seed writes the same files, but for
        rounding.
    num_workers : int
        Processes.

    Returns
    -------
    Path
        The folder ``CATT_RIRs``.

    Raises
    ------
    ValueError
        If real data lie there, or no room can have such a T60.

    Example
    -------
    >>> root = write_synthetic_rooms(getfixture("tmp_path"), [0.2], [-45, 45])
    >>> sorted(path.name for path in root.rglob("*.wav"))
    ['CATT_0_2s_-45.wav', 'CATT_0_2s_45.wav']
    """
    if t60s is None:
        t60s = sorted(t60 for part in ROOM_T60S.values() for t60 in part)
    azimuths = [int(azimuth) for azimuth in azimuths]
    root = Path(folder, "CATT_RIRs")
    options = {"t60s": list(t60s), "azimuths": azimuths, "seed": seed}
    claim(root, options)
    paths = {
        t60: [
            root / "Binaural" / "16k" / room_name(t60) / name
            for name in (
                f"CATT_{room_name(t60)}_{azimuth}.wav" for azimuth in azimuths
            )
        ]
        for t60 in t60s
    }
    missing = [t60 for t60 in t60s if not all(p.is_file() for p in paths[t60])]
    job = partial(_room_responses, azimuths=azimuths, seed=seed)
    for index, responses in progress(
        run_jobs(job, missing, num_workers),
        total=len(missing),
        description="simulating rooms",
        unit="room",
    ):
        for path, response in zip(
            paths[missing[index]], responses, strict=True
        ):
            write_audio(path, response.T, _FS, subtype="PCM_24")
    return root


def _environment(length, rng, talking):
    """Noise of one environment, [length]."""
    frequency = np.fft.rfftfreq(length, 1.0 / _FS)
    # Falls by 0 to 6 dB an octave from a corner on, with a hum somewhere.
    corner = 2.0 ** rng.uniform(6.0, 9.5)
    shape = (1.0 + (frequency / corner) ** 2) ** (-0.5 * rng.uniform(0.3, 1.0))
    center = 2.0 ** rng.uniform(7.0, 11.0)
    octaves = np.log2(np.maximum(frequency, 1.0) / center)
    shape *= 1.0 + rng.uniform(0.0, 3.0) * np.exp(-0.5 * (octaves / 0.3) ** 2)
    noise = np.fft.irfft(
        np.fft.rfft(rng.standard_normal(length)) * shape, length
    )
    knots = rng.normal(0.0, 2.0, max(2, math.ceil(length / _FS)) + 1)
    level = np.interp(
        np.linspace(0.0, len(knots) - 1, length), np.arange(len(knots)), knots
    )
    noise = noise * 10.0 ** (level / 20.0)
    noise /= np.sqrt(np.mean(noise**2))
    if talking:
        generator = torch.Generator().manual_seed(int(rng.integers(2**62)))
        voices = synthetic_babble(
            length, _FS, num_talkers=5, generator=generator
        )[0].numpy()
        voices = voices / np.sqrt(np.mean(voices**2))
        noise = noise * (1.0 - _VOICES) ** 0.5 + voices * _VOICES**0.5
    return torch.from_numpy((_LEVEL * noise).astype(np.float32))


def _room_responses(t60, azimuths, seed):
    """Responses of one room, [azimuth, 2, N]."""
    rng = np.random.default_rng([seed, round(1000 * t60)])
    size = draw_room_size(t60, rng)
    # In front of the head there is place for all sources.
    low = np.array([_MARGIN, _DISTANCE + _MARGIN])
    high = np.array([size[0] - low[1], size[1] - low[1]])
    center = [*rng.uniform(low, high).tolist(), _EAR_HEIGHT]
    head = draw_head(f"room {room_name(t60)}", seed)
    gains = 10.0 ** (np.array(head.pop("gains_db")) / 20.0)
    room = HeadRoom(
        size,
        t60,
        center,
        _FS,
        head=partial(spherical_head_responses, fs=_FS, **head),
    )
    directions = azel_to_unit(-torch.tensor(azimuths, dtype=torch.float64), 0.0)
    sources = torch.tensor(center, dtype=torch.float64) + _DISTANCE * directions
    responses = room.binaural(sources, int(rng.integers(2**31)))
    responses = responses * torch.from_numpy(gains).float()[:, None]
    return responses * (_PEAK / float(responses.abs().max()))
