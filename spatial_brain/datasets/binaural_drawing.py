"""Two-ear mixtures drawn from any speech: fixed lists for each set.

The construction of Binaural-WSJ0Mix without its metadata: the talkers and the
listeners of a set are in no other, levels are those of wsj0-mix, directions
uniform on the grid of CIPIC. A mixture depends on the seed, the set and its
number alone.
"""

from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import torch

from spatial_brain.dataio.progress import progress
from spatial_brain.dataio.workers import run_jobs
from spatial_brain.datasets.binaural_levels import (
    draw_snrs,
    mixture_gains,
    noise_gain,
)
from spatial_brain.datasets.binaural_mixtures import (
    METADATA_FS,
    BinauralMixture,
)
from spatial_brain.datasets.binaural_speech import SpeechReader

# Mixtures whose gains are found in one job.
_JOB = 250
# Utterances that a job remembers.
_REMEMBERED = 500


def draw_mixtures(
    drawer, speech, num_mixtures, seed, *, rooms=None, noise=None
):
    """Draw the mixtures of a set, all gains being 1.

    Arguments
    ---------
    drawer : SceneDrawer
        Of the talkers and listeners of the set.
    speech : dict
        Id of an utterance to ``wav``, ``speaker`` and ``num_samples``.
    num_mixtures : int
        How many.
    seed : int or sequence of int
        Not negative; different for each set.
    rooms : dict, optional
        Where listeners are rooms: their names to their T60 in seconds.
    noise : NoiseDrawer, optional
        Noise of the set.

    Returns
    -------
    tuple
        List of BinauralMixture; list of the levels of their talkers, dB; and
        list of the level of the first talker over the noise, dB, None
        without noise.

    Raises
    ------
    ValueError
        If the number is not positive.

    Example
    -------
    >>> from spatial_brain.datasets.binaural_scenes import SceneDrawer
    >>> speech = {
    ...     s: {"wav": f"{s}.wav", "speaker": s, "num_samples": 9} for s in "ab"
    ... }
    >>> drawer = SceneDrawer(speech, ["subject08"], polars=[0.0])
    >>> [mixture], [levels], _ = draw_mixtures(drawer, speech, 1, seed=0)
    >>> mixture.name, mixture.head
    ('subject08_b_-65_0_a_-25_0', 'subject08')
    """
    if num_mixtures < 1:
        raise ValueError(f"num_mixtures must be positive, got {num_mixtures}")
    mixtures, levels, snrs, names = [], [], [], set()
    for number in range(num_mixtures):
        rng = np.random.default_rng([*np.atleast_1d(seed), number])
        scene = drawer.draw(rng)
        levels.append(draw_snrs(rng, drawer.num_speakers))
        name = scene_name(scene)
        if name in names:
            name = f"{name}_{number}"
        names.add(name)
        heard, snr = {}, None
        if noise is not None:
            longest = max(speech[u]["num_samples"] for u in scene.utterances)
            heard, snr = noise.draw(rng, longest)
        snrs.append(snr)
        mixtures.append(scene_mixture(scene, speech, name, rng, rooms, **heard))
    return mixtures, levels, snrs


def scene_name(scene):
    """Name of a scene, as Binaural-WSJ0Mix names its files.

    Arguments
    ---------
    scene : Scene
        From ``SceneDrawer``.

    Returns
    -------
    str
        ``<listener>_<utterance>_<azimuth>_<elevation>_...``, whole degrees.

    Example
    -------
    >>> from spatial_brain.datasets.binaural_scenes import Scene
    >>> scene_name(Scene(["a", "b"], "x", [5.0, -80.0], [-39.4, 0.0]))
    'x_a_5_-39_b_-80_0'
    """
    parts = [scene.listener]
    for utterance, lateral, polar in zip(
        scene.utterances, scene.laterals, scene.polars, strict=True
    ):
        parts += [Path(utterance).name, f"{lateral:.0f}", f"{polar:.0f}"]
    return "_".join(parts)


def scene_mixture(scene, speech, name, rng, rooms=None, **values):
    """Description of a scene, all gains being 1.

    Arguments
    ---------
    scene : Scene
        From ``SceneDrawer``.
    speech : dict
        Id of an utterance to ``wav`` and ``speaker``.
    name : str
        Of the mixture.
    rng : numpy.random.Generator
        Source of its seed.
    rooms : dict, optional
        Where listeners are rooms: their names to their T60 in seconds.
    **values
        More fields of ``BinauralMixture``.

    Returns
    -------
    BinauralMixture
        The description.

    Example
    -------
    >>> from spatial_brain.datasets.binaural_scenes import Scene
    >>> scene = Scene(["a"], "0_4s", [5.0], [0.0])
    >>> speech = {"a": {"wav": "a.wav", "speaker": "ann"}}
    >>> rng = np.random.default_rng(0)
    >>> scene_mixture(scene, speech, "x", rng, {"0_4s": 0.4}).t60
    0.4
    """
    entries = [speech[key] for key in scene.utterances]
    if rooms is None:
        values["head"] = scene.listener
    else:
        values |= {"room": scene.listener, "t60": rooms[scene.listener]}
    return BinauralMixture(
        name=name,
        utterances=[entry["wav"] for entry in entries],
        speakers=[entry["speaker"] for entry in entries],
        gains=[1.0] * len(entries),
        laterals=scene.laterals,
        polars=scene.polars,
        seed=int(rng.integers(2**53)),
        **values,
    )


def set_gains(
    mixtures, levels, fs, mode="min", num_workers=1, *, snrs=None, noise=None
):
    """Give the talkers of fixed mixtures their gains, as in wsj0-mix.

    Arguments
    ---------
    mixtures : list of BinauralMixture
        Their gains are of no account; paths are absolute.
    levels : list of list of float
        Levels of their talkers, dB.
    fs : int
        Rate at which peaks are looked for, Hz.
    mode : str
        "min" or "max": which part counts.
    num_workers : int
        Processes.
    snrs : list of float, optional
        Level of the first talker over the noise of each mixture, dB.
    noise : object, optional
        Where the noise is from, as for ``MixtureRenderer``; with ``snrs``.

    Returns
    -------
    list of BinauralMixture
        With gains, also of the noise.

    Raises
    ------
    FileNotFoundError
        If a file is missing.
    ValueError
        If a file is damaged or silent; names it.

    Example
    -------
    >>> from spatial_brain.dataio.audio import write_audio
    >>> wav = f"{getfixture('tmp_path')}/a.wav"
    >>> write_audio(wav, torch.sin(torch.arange(4000)), 16000)
    >>> mixture = BinauralMixture("x", (wav,), ("a",), (1.0,), (0.0,))
    >>> set_gains([mixture], [[0.0]], 16000)[0].gains
    (0.9...,)
    """
    snrs = [None] * len(mixtures) if snrs is None else snrs
    items = list(zip(mixtures, levels, snrs, strict=True))
    jobs = [items[start:][:_JOB] for start in range(0, len(items), _JOB)]
    found = [None] * len(jobs)
    job = partial(_with_gains, fs=fs, mode=mode, noise=noise)
    for index, done in progress(
        run_jobs(job, jobs, num_workers),
        total=len(jobs),
        description="setting levels",
        unit="job",
    ):
        found[index] = done
    return [mixture for part in found for mixture in part]


def _with_gains(job, fs, mode, noise):
    """Mixtures of one job with their gains."""
    reader = SpeechReader(fs, remember=_REMEMBERED)
    result = []
    for mixture, levels, snr in job:
        signals = [
            torch.from_numpy(reader.read(name)) for name in mixture.utterances
        ]
        try:
            gains = mixture_gains(signals, levels, fs, mode)
        except ValueError as error:
            raise ValueError(
                f"mixture of {' and '.join(mixture.utterances)}: a talker is "
                f"{error}; remove the file"
            ) from error
        mixture = replace(mixture, gains=gains)
        if snr is not None:
            lengths = [len(signal) for signal in signals]
            length = (min if mode == "min" else max)(lengths)
            # What a direction does to a talker keeps the mean power.
            first = signals[0][:length] * gains[0]
            power = float(first.square().sum()) / length
            heard = noise.excerpt(mixture, fs, length)
            mixture = replace(mixture, noise_gain=noise_gain(power, heard, snr))
        result.append(mixture)
    return result


def mixture_seconds(mixture, speech_lengths, mode="min"):
    """Duration of a mixture.

    Arguments
    ---------
    mixture : BinauralMixture
        The mixture.
    speech_lengths : dict
        File of an utterance to its samples at ``METADATA_FS``.
    mode : str
        "min" or "max".

    Returns
    -------
    float
        Seconds.

    Example
    -------
    >>> mixture = BinauralMixture(
    ...     "x", ("a", "b"), ("a", "b"), (1.0, 1.0), (0.0, 5.0)
    ... )
    >>> mixture_seconds(mixture, {"a": 8000, "b": 16000})
    0.5
    """
    lengths = [speech_lengths[name] for name in mixture.utterances]
    return (min if mode == "min" else max)(lengths) / METADATA_FS
