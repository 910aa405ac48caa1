"""Which stretch of DEMAND each noisy mixture of Binaural-WSJ0Mix hears.

The published lists hold gains that were computed for certain excerpts; the
excerpts themselves follow from the order of draws of one generator, which is
replayed here. Each draw depends on how long all utterances and noise files
before it are, so that all three splits have to be gone through, and where
speech begins within the noise is known from the lists: a check of all draws.
"""

import logging
from dataclasses import replace
from pathlib import Path

import numpy as np

from spatial_brain.dataio.audio import audio_info
from spatial_brain.datasets.binaural_metadata import read_rows
from spatial_brain.datasets.binaural_metadata_files import SPLITS
from spatial_brain.datasets.binaural_noise import METADATA_FS

logger = logging.getLogger(__name__)

_SEED = 28
# Samples at 16 kHz before and after speech, at most; dB.
_MOST_PAUSE = 32000
_SNR = (-2.5, 15.0)
_SPLIT_NAMES = {"tr": "Train", "cv": "Valid", "tt": "Test"}


def noise_files(metadata_folder):
    """Noise files of each split.

    Arguments
    ---------
    metadata_folder : str or Path
        Folder with the published ``file_splits.csv``.

    Returns
    -------
    dict
        "tr", "cv", "tt" to names as ``demand/DWASHING/ch01.wav``, in order.

    Raises
    ------
    FileNotFoundError
        If the file is missing.
    ValueError
        If it is damaged.

    Example
    -------
    >>> noise_files("nowhere")
    Traceback (most recent call last):
    FileNotFoundError: nowhere/file_splits.csv: no such list ...
    """
    rows = read_rows(
        Path(metadata_folder, "file_splits.csv"), ["Filename", "Split"]
    )
    return {
        split: [row["Filename"] for row in rows if row["Split"] == name]
        for split, name in _SPLIT_NAMES.items()
    }


def noise_lengths(files, noise):
    """Samples of each noise file.

    Arguments
    ---------
    files : dict
        From ``noise_files``.
    noise : FolderNoise
        Where they are.

    Returns
    -------
    dict
        By name, samples.

    Raises
    ------
    FileNotFoundError
        If a file is missing.
    ValueError
        If a file is damaged or not at 16 kHz.

    Example
    -------
    >>> noise_lengths({"tr": []}, None)
    {}
    """
    lengths = {}
    for name in (name for names in files.values() for name in names):
        info = audio_info(noise.path(name))
        if info.fs != METADATA_FS:
            raise ValueError(
                f"{info.path}: rate is {info.fs} Hz; the gains were computed "
                "for DEMAND at 16 kHz (archives <environment>_16k.zip)"
            )
        lengths[name] = info.num_samples
    return lengths


def replay_excerpts(speech_lengths, files, lengths):
    """Replay the draws of noise excerpts.

    Arguments
    ---------
    speech_lengths : dict
        "tr", "cv", "tt" to the length of the longest utterance of each
        mixture, samples at 16 kHz, in the published order. All before a
        wanted split are needed.
    files : dict
        From ``noise_files``.
    lengths : dict
        From ``noise_lengths``.

    Returns
    -------
    dict
        Split to a list of dicts with ``noise``, ``noise_start``,
        ``noise_length`` and ``speech_start`` of each mixture, as in
        ``BinauralMixture``.

    Raises
    ------
    ValueError
        If a noise file is too short.

    Example
    -------
    >>> files = {split: ["a.wav", "b.wav"] for split in ("tr", "cv", "tt")}
    >>> lengths = {"a.wav": 4800000, "b.wav": 4800000}
    >>> [first] = replay_excerpts({"tr": [80000]}, files, lengths)["tr"]
    >>> first["speech_start"]
    9473
    """
    rng = np.random.RandomState(_SEED)
    excerpts = {}
    for split in SPLITS.values():
        if split not in speech_lengths:
            break
        names = files[split]
        durations = np.array(
            [lengths[name] / METADATA_FS / 60 for name in names]
        )
        shares = durations / np.sum(durations)
        excerpts[split] = [
            _draw(rng, names, shares, lengths, int(length))
            for length in speech_lengths[split]
        ]
    return excerpts


def _draw(rng, names, shares, lengths, speech):
    """One excerpt; the order of draws is what counts."""
    before, after = rng.randint(0, _MOST_PAUSE, size=2)
    rng.uniform(*_SNR)
    # A band out of one.
    rng.randint(0, 1)
    length = speech + int(before) + int(after)
    name = str(rng.choice(names, p=shares))
    if lengths[name] <= length:
        raise ValueError(
            f"{name}: {lengths[name]} samples, a mixture needs {length}; not "
            "the file of DEMAND (300 s)"
        )
    start = rng.randint(0, lengths[name] - length)
    return {
        "noise": name,
        "noise_start": int(start),
        "noise_length": length,
        "speech_start": int(before),
    }


def with_demand(mixtures, speech_lengths, metadata_folder, noise):
    """Give published noisy mixtures their stretches of noise.

    Arguments
    ---------
    mixtures : dict
        "tr", "cv", "tt" to lists of BinauralMixture, from
        ``read_published``.
    speech_lengths : dict
        Utterance to samples at 16 kHz.
    metadata_folder : str or Path
        Folder of the published files.
    noise : FolderNoise
        DEMAND.

    Returns
    -------
    dict
        The same with noise. A warning is logged where the draws are not
        those which the gains were computed with.

    Raises
    ------
    FileNotFoundError
        If a noise file is missing.
    ValueError
        If one is damaged or too short.

    Example
    -------
    >>> with_demand({}, {}, "nowhere", None)
    Traceback (most recent call last):
    FileNotFoundError: nowhere/file_splits.csv: no such list ...
    """
    files = noise_files(metadata_folder)
    lengths = noise_lengths(files, noise)
    longest = {
        split: [
            max(speech_lengths[name] for name in mixture.utterances)
            for mixture in mixtures[split]
        ]
        for split in SPLITS.values()
    }
    excerpts = replay_excerpts(longest, files, lengths)
    result, others = {}, []
    for split, part in mixtures.items():
        result[split] = []
        for mixture, excerpt, speech in zip(
            part, excerpts[split], longest[split], strict=True
        ):
            begin = mixture.speech_start
            if excerpt["speech_start"] != begin:
                others.append(mixture.name)
            length = max(excerpt["noise_length"], begin + speech)
            excerpt |= {"speech_start": begin, "noise_length": length}
            result[split].append(replace(mixture, **excerpt))
    if others:
        logger.warning(
            "%d mixtures hear other noise than the published ones, the first "
            "is %s: by the draws of the noise, speech begins elsewhere. Some "
            "utterance of WSJ0 or file of DEMAND has another length than the "
            "lists were made with; check for files cut off",
            len(others),
            others[0],
        )
    return result
