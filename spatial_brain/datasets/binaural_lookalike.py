"""Stand-ins for WSJ0, DEMAND and room responses, for runs that need no data.

Same folders, names and formats as the real ones, so that they are prepared in
the same way; content is synthetic. Interrupted, each goes on where it stopped;
with other arguments it is made again; real data are never touched.
"""

import math
from pathlib import Path

import numpy as np
import torch

from spatial_brain.dataio.audio import write_audio
from spatial_brain.dataio.progress import progress
from spatial_brain.datasets.binaural_ambience import DEMAND_SPLITS
from spatial_brain.datasets.lookalikes import claim
from spatial_brain.simulation.sources import (
    SyntheticTalker,
    synthetic_babble,
    synthetic_speech,
)

WSJ0_SUBSETS = {"train": "si_tr_s", "valid": "si_dt_05", "test": "si_et_05"}
_FS = 16000
_NUM_TALKERS = {"train": 24, "valid": 8, "test": 8}
# Environments of DEMAND in which people talk.
_TALKING = {"OMEETING", "OHALLWAY", "PCAFETER", "PRESTO", "SCAFE"}
# Share of the voices in their power, and level of recordings, RMS.
_VOICES, _LEVEL = 0.7, 0.05


def write_wsj0_lookalike(
    folder,
    num_talkers=None,
    utterances_per_talker=8,
    *,
    duration=(3.0, 6.0),
    seed=0,
):
    """Write a small WSJ0 of synthetic talkers.

    Files ``wsj0/si_tr_s/001/001a0001.wav``, 16 kHz, 16 bits; of validation and
    test in ``si_dt_05`` and ``si_et_05``. No talker is in two of them.

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
    >>> root = write_wsj0_lookalike(getfixture("tmp_path"), one, 1)
    >>> sorted(path.name for path in root.rglob("*.wav"))
    ['001a0001.wav', '002a0001.wav', '003a0001.wav']
    """
    num_talkers = dict(num_talkers or _NUM_TALKERS)
    if (
        set(num_talkers) != set(WSJ0_SUBSETS)
        or min(num_talkers.values()) < 1
        or utterances_per_talker < 1
    ):
        raise ValueError(
            f"num_talkers needs positive numbers for {list(WSJ0_SUBSETS)}, "
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
        WSJ0_SUBSETS[split]
        for split in WSJ0_SUBSETS
        for _ in range(num_talkers[split])
    ]
    for talker, subset in enumerate(
        progress(subsets, description="writing voices", unit="talker"), 1
    ):
        voice = SyntheticTalker(seed * 1_000_003 + talker)
        for number in range(1, utterances_per_talker + 1):
            name = f"{talker:03d}a{number:04d}.wav"
            path = root / subset / f"{talker:03d}" / name
            if path.is_file():
                continue
            rng = np.random.default_rng([seed, talker, number])
            length = int(rng.uniform(*duration) * _FS)
            generator = torch.Generator().manual_seed(int(rng.integers(2**62)))
            speech = synthetic_speech(length, _FS, voice, generator)
            write_audio(path, speech, _FS, clip=True)
    return Path(folder)


def write_noise_lookalike(folder, seconds=20.0, seed=0):
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
    >>> root = write_noise_lookalike(getfixture("tmp_path"), seconds=1.0)
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
