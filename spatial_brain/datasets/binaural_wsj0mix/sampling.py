"""Binaural mixtures drawn from any speech: fixed lists, or anew in training.

The construction of Binaural-WSJ0Mix without its metadata: different speakers
in each mixture, one head or room for all of them, and each of them at another
azimuth, uniform on the grid of CIPIC. A mixture depends on the seed, the set
and its number alone.

Levels of fixed lists are those of wsj0-mix (Hershey et al., "Deep
clustering", ICASSP 2016): active levels that differ by up to 5 dB. Those of
dynamic mixing are those of the recipe BinauralWSJ0Mix of SpeechBrain: normal
deviates around the mean absolute amplitude.

The speakers and the listeners of a set are in no other. The heads of CIPIC
are divided as by Binaural-WSJ0Mix (github.com/huangzj421/Binaural-WSJ0Mix),
and so are the built-in spherical heads, which bear the same names.
"""

import logging
import math
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from spatial_brain.dataio.parallel import progress, run_jobs
from spatial_brain.datasets.binaural_wsj0mix.brirs import room_name
from spatial_brain.datasets.binaural_wsj0mix.noise import METADATA_FS
from spatial_brain.datasets.binaural_wsj0mix.rendering import BinauralMixture
from spatial_brain.datasets.speech.reader import SpeechReader
from spatial_brain.simulation.hrtf import head_names
from spatial_brain.simulation.hrtf.grid import CIPIC_LATERALS, CIPIC_POLARS
from spatial_brain.simulation.mixing import active_level

SPLITS = ("train", "valid", "test")
# Reverberation times of the reverberant Binaural-WSJ0Mix, seconds.
ROOM_T60S = {
    "train": (0.1, 0.2, 0.4, 0.7, 0.8),
    "valid": (0.5,),
    "test": (0.3, 0.6, 0.9),
}
# Largest sample of a mixture and its sources.
PEAK = 0.9
# Half the largest level difference of wsj0-mix, dB.
_HALF_RANGE = 2.5
# Dynamic mixing, dB: mean and deviation of the first source's level, and of
# that of each other source relative to the first; bounds of both.
_FIRST, _OTHER, _BOUNDS = (-27.43, 2.57), (-2.51, 2.66), (-45.0, 0.0)
# Tries to place all sources before it is given up.
_TRIES = 10000
# Mixtures whose gains are found in one job, and utterances it remembers.
_JOB, _REMEMBERED = 250, 500
# Numbers of CIPIC's subjects; all others are for training.
_VALID = (3, 12, 17, 40, 126, 147, 155, 158, 165)
_TEST = (18, 21, 33, 51, 61, 124, 133, 134, 148)
_PUBLISHED = {
    "valid": {f"subject{number:02d}" for number in _VALID},
    "test": {f"subject{number:02d}" for number in _TEST},
}
# Share of the heads of any other set for validation, and for the test.
_SHARE = 0.2

logger = logging.getLogger(__name__)


class BinauralScene(NamedTuple):
    """Choices that make a mixture, but for its levels.

    Arguments
    ---------
    utterances : list of str
        Ids, of different speakers.
    listener : str
        Name of the head, or of the room it is in.
    laterals : list of float
        Degrees to the right, all different.
    polars : list of float
        Degrees.
    """

    utterances: list
    listener: str
    laterals: list
    polars: list


class SceneDrawer:
    """Draws scenes from the speech and the listeners of one set.

    A speaker is as likely as the share of his or her utterances. Listeners
    are uniform; so are azimuths, within what ``min_gap`` allows, and
    elevations, which do not depend on each other.

    Arguments
    ---------
    speech : dict
        Id of an utterance to ``speaker`` and ``num_samples``.
    listeners : sequence of str
        Names of heads or rooms.
    num_speakers : int
        Sources in a scene, each another speaker.
    min_gap : float
        Least difference of the azimuths of two sources, degrees; azimuths
        differ in any case.
    laterals : sequence of float
        Azimuths to choose from, degrees to the right.
    polars : sequence of float
        Elevations to choose from, degrees in CIPIC's polar angle.
    min_samples : int
        Shorter utterances are left out.
    frontal : sequence of str
        Listeners whose sources are all in front, at the height of the ears.

    Raises
    ------
    ValueError
        If there are too few speakers, no listener, or no place for all
        sources.

    Example
    -------
    >>> speech = {s: {"speaker": s, "num_samples": 9} for s in "abc"}
    >>> drawer = SceneDrawer(speech, ["subject08"], min_gap=90)
    >>> scene = drawer.draw(np.random.default_rng(0))
    >>> len(scene.utterances), scene.listener
    (2, 'subject08')
    >>> abs(scene.laterals[0] - scene.laterals[1]) >= 90
    True
    """

    def __init__(
        self,
        speech,
        listeners,
        *,
        num_speakers=2,
        min_gap=0.0,
        laterals=CIPIC_LATERALS,
        polars=CIPIC_POLARS,
        min_samples=1,
        frontal=(),
    ):
        speakers = {}
        for key, entry in speech.items():
            if entry["num_samples"] >= min_samples:
                speakers.setdefault(entry["speaker"], []).append(key)
        if num_speakers < 1 or len(speakers) < num_speakers:
            raise ValueError(
                f"mixtures of {num_speakers} talkers need as many speakers; "
                f"there are {len(speakers)} (of {len(speech)} utterances, with "
                f"at least {min_samples} samples): "
                f"{', '.join(sorted(speakers)[:10])}. Give more speech for "
                "this set"
            )
        self.listeners = list(listeners)
        if not self.listeners:
            raise ValueError("scenes need at least one head or room")
        self.utterances = list(speakers.values())
        self.share = np.array([len(keys) for keys in self.utterances], float)
        self.num_speakers, self.min_gap = num_speakers, min_gap
        self.laterals = np.array(sorted(laterals), float)
        self.polars = np.array(polars, float)
        self.frontal = frozenset(frontal)
        self._check_places()

    def _check_places(self):
        """Put sources as close as allowed: do all find a place."""
        placed, last = 0, -np.inf
        for lateral in self.laterals:
            if lateral - last >= self.min_gap and lateral > last:
                placed, last = placed + 1, lateral
        if placed < self.num_speakers:
            raise ValueError(
                f"no place for {self.num_speakers} talkers at least "
                f"{self.min_gap:g} degrees apart between azimuths "
                f"{self.laterals[0]:g} and {self.laterals[-1]:g}: {placed} "
                "find one. Choose a smaller min_gap in --scenes"
            )

    def draw(self, rng):
        """Draw a scene.

        Arguments
        ---------
        rng : numpy.random.Generator
            Source of all choices.

        Returns
        -------
        BinauralScene
        """
        share = self.share.copy()
        utterances = []
        for _ in range(self.num_speakers):
            speaker = int(rng.choice(len(share), p=share / share.sum()))
            share[speaker] = 0.0
            keys = self.utterances[speaker]
            utterances.append(keys[rng.integers(len(keys))])
        listener = self.listeners[rng.integers(len(self.listeners))]
        polars = rng.choice(self.polars, self.num_speakers)
        if listener in self.frontal:
            polars = np.zeros(self.num_speakers)
        return BinauralScene(
            utterances,
            listener,
            self._laterals(rng),
            polars.tolist(),
        )

    def _laterals(self, rng):
        """Azimuths far enough from each other, in random order."""
        for _ in range(_TRIES):
            laterals = rng.choice(
                self.laterals, self.num_speakers, replace=False
            )
            gaps = np.diff(np.sort(laterals))
            if not (gaps < self.min_gap).any():
                return laterals.tolist()
        raise ValueError(
            f"no azimuths of {self.num_speakers} talkers at least "
            f"{self.min_gap:g} degrees apart in {_TRIES} tries; choose a "
            "smaller min_gap in --scenes"
        )


def draw_mixtures(
    drawer, speech, num_mixtures, seed, *, rooms=None, noise=None
):
    """Draw the mixtures of a set, all gains being 1.

    Arguments
    ---------
    drawer : SceneDrawer
        Of the speakers and listeners of the set.
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
        List of BinauralMixture; list of the levels of their sources, dB; and
        list of the level of the first source over the noise, dB, None
        without noise.

    Raises
    ------
    ValueError
        If the number is not positive.

    Example
    -------
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
        levels.append(_draw_snrs(rng, drawer.num_speakers))
        name = _scene_name(scene)
        if name in names:
            name = f"{name}_{number}"
        names.add(name)
        noise_values, snr = {}, None
        if noise is not None:
            longest = max(speech[u]["num_samples"] for u in scene.utterances)
            noise_values, snr = noise.draw(rng, longest)
        snrs.append(snr)
        mixtures.append(
            scene_mixture(scene, speech, name, rng, rooms, **noise_values)
        )
    return mixtures, levels, snrs


def scene_mixture(scene, speech, name, rng, rooms=None, **values):
    """Description of a scene, all gains being 1.

    Arguments
    ---------
    scene : BinauralScene
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
    >>> scene = BinauralScene(["a"], "0_4s", [5.0], [0.0])
    >>> speech = {"a": {"wav": "a.wav", "speaker": "ann"}}
    >>> rng = np.random.default_rng(0)
    >>> scene_mixture(scene, speech, "x", rng, {"0_4s": 0.4}).t60
    0.4
    """
    entries = [speech[key] for key in scene.utterances]
    if scene.listener not in (rooms or {}):
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
    """Give the sources of fixed mixtures their gains, as in wsj0-mix.

    Arguments
    ---------
    mixtures : list of BinauralMixture
        Their gains are of no account; paths are absolute.
    levels : list of list of float
        Levels of their sources, dB.
    fs : int
        Rate at which peaks are looked for, Hz.
    mode : str
        "min" or "max": which part counts.
    num_workers : int
        Processes.
    snrs : list of float, optional
        Level of the first source over the noise of each mixture, dB.
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


def mixture_seconds(mixture, speech_lengths, mode="min"):
    """Duration of a mixture.

    Arguments
    ---------
    mixture : BinauralMixture
        The mixture.
    speech_lengths : dict
        File of an utterance to its samples at ``METADATA_FS``.
    mode : str
        "min": that of the shortest utterance; "max": that of the noise if it
        is given, else of the longest utterance.

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
    if mode == "min":
        return min(lengths) / METADATA_FS
    return (mixture.noise_length or max(lengths)) / METADATA_FS


def draw_levels(rng, num_speakers):
    """Levels of the sources of a mixture that is drawn anew.

    Arguments
    ---------
    rng : numpy.random.Generator
        Source of one number a speaker.
    num_speakers : int
        At least 1.

    Returns
    -------
    list of float
        dB relative to a mean absolute amplitude of 1, in [-45, 0].

    Example
    -------
    >>> import numpy as np
    >>> len(draw_levels(np.random.default_rng(0), 3))
    3
    """
    low, high = _BOUNDS
    first = min(max(float(rng.normal(*_FIRST)), low), high)
    others = [
        min(max(first + float(rng.normal(*_OTHER)), low), high)
        for _ in range(num_speakers - 1)
    ]
    return [first, *others]


def level_gains(signals, levels):
    """Gains that give sources their mean absolute amplitude.

    Arguments
    ---------
    signals : list of torch.Tensor
        [time].
    levels : list of float
        dB, from ``draw_levels``.

    Returns
    -------
    list of float
        Factors.

    Raises
    ------
    ValueError
        If a signal is silent.

    Example
    -------
    >>> level_gains([torch.full((4,), 0.5)], [-20.0])
    [0.2]
    """
    gains = []
    for signal, level in zip(signals, levels, strict=True):
        mean = float(signal.abs().mean())
        if mean == 0.0:
            raise ValueError(f"silent for {len(signal)} samples")
        gains.append(10.0 ** (level / 20.0) / mean)
    return gains


def noise_gain(power, noise, snr):
    """Gain of noise for a level of the first source over it.

    Arguments
    ---------
    power : float
        Of the first source, mean over time and ears.
    noise : numpy.ndarray or torch.Tensor
        Shape [T, 2].
    snr : float
        dB.

    Returns
    -------
    float
        Factor.

    Raises
    ------
    ValueError
        If the noise is silent.

    Example
    -------
    >>> noise_gain(1.0, torch.full((4, 2), 0.5), 0.0)
    2.0
    """
    there = float((noise**2).mean())
    if there == 0.0:
        raise ValueError("noise is silent")
    return math.sqrt(float(power) / there) * 10.0 ** (-snr / 20.0)


def split_listeners(subjects, seed=0):
    """Divide heads, or rooms, among training, validation and test.

    Arguments
    ---------
    subjects : sequence of str
        Names. Heads of CIPIC's names (27, 9 and 9) and rooms of the BRIR Sim
        Set are divided as published, if that leaves some for each set; any
        others by seed, a fifth each for validation and test.
    seed : int
        Not negative.

    Returns
    -------
    dict
        "train", "valid", "test" to a list of names. Of two, one is for
        training and one for the rest, a single one is in all sets; both are
        logged as a warning.

    Raises
    ------
    ValueError
        If there is none, or one is there twice.

    Example
    -------
    >>> from spatial_brain.simulation.hrtf import CIPIC_SUBJECTS
    >>> parts = split_listeners(CIPIC_SUBJECTS)
    >>> {part: len(names) for part, names in parts.items()}
    {'train': 27, 'valid': 9, 'test': 9}
    """
    subjects = list(subjects)
    if not subjects or len(set(subjects)) != len(subjects):
        raise ValueError(
            f"heads and rooms need different names, got {subjects}"
        )
    parts = _published_heads(subjects) or _published_rooms(subjects)
    if parts is None:
        parts = _divided(sorted(subjects), np.random.default_rng(seed))
    if len(subjects) < len(SPLITS):
        logger.warning(
            "only %d head or room for training, validation and test: %s. "
            "Results say little about others; give more for that",
            len(subjects),
            "; ".join(f"{part}: {', '.join(parts[part])}" for part in SPLITS),
        )
    return parts


def split_heads(source, seed=0, sizes=(1.0,)):
    """Divide the heads of all sources among training, validation and test.

    Arguments
    ---------
    source : str, Path, None, list or dict
        As for ``load_hrtfs``; or "train", "valid" and "test" to such a source
        each. A source that is named for several sets is divided among them as
        by ``split_listeners``; one that is named for one set is all in it.
    seed : int
        Not negative.
    sizes : sequence of float
        Of measured heads in training, see ``load_hrtfs``.

    Returns
    -------
    dict
        "train", "valid", "test" to a list of names.

    Raises
    ------
    FileNotFoundError
        If there is no such file or folder, or no head in it.
    ValueError
        If a set has no head, or a source is of no known form.

    Example
    -------
    >>> sets = {"train": "pinnae", "valid": "pinnae", "test": "pinnae"}
    >>> parts = split_heads(sets)
    >>> {part: len(names) for part, names in parts.items()}
    {'train': 27, 'valid': 9, 'test': 9}
    """
    if not isinstance(source, dict):
        source = dict.fromkeys(SPLITS, source)
    if set(source) != set(SPLITS):
        raise ValueError(
            f"heads of sets need {', '.join(SPLITS)}, got "
            f"{', '.join(map(str, source)) or 'none'}"
        )
    listed = {split: _as_list(source[split]) for split in SPLITS}
    parts = {split: [] for split in SPLITS}
    for place in head_sources(source):
        names = head_names(place)
        using = [split for split in SPLITS if place in listed[split]]
        divided = dict.fromkeys(SPLITS, names)
        if len(using) > 1:
            divided = split_listeners(names, seed)
        for split in using:
            parts[split] += divided[split]
    sized = head_names(head_sources(source), sizes)
    parts["train"] = [
        name for name in sized if name.rsplit("-size", 1)[0] in parts["train"]
    ]
    return parts


def head_sources(source):
    """All sources of heads, each once, as ``load_hrtfs`` takes them.

    Arguments
    ---------
    source : str, Path, None, list or dict
        As for ``split_heads``.

    Returns
    -------
    list
        In order.

    Example
    -------
    >>> head_sources({"train": ["pinnae", "a.sofa"], "test": "pinnae"})
    ['pinnae', 'a.sofa']
    """
    if not isinstance(source, dict):
        return _as_list(source)
    places = [place for part in source.values() for place in _as_list(part)]
    return list(dict.fromkeys(places))


def _as_list(source):
    """Sources of a set."""
    return list(source) if isinstance(source, list | tuple) else [source]


def _scene_name(scene):
    """Name of a scene, as Binaural-WSJ0Mix names its files."""
    parts = [scene.listener]
    for utterance, lateral, polar in zip(
        scene.utterances, scene.laterals, scene.polars, strict=True
    ):
        parts += [Path(utterance).name, f"{lateral:.0f}", f"{polar:.0f}"]
    return "_".join(parts)


def _draw_snrs(rng, num_speakers):
    """Levels of the sources of a fixed mixture in dB, as in wsj0-mix."""
    level = round(float(rng.uniform(0.0, _HALF_RANGE)), 4)
    return [level, -level, *[0.0] * num_speakers][:num_speakers]


def _with_gains(job, fs, mode, noise):
    """Mixtures of one job with their gains."""
    reader = SpeechReader(fs, remember=_REMEMBERED)
    result = []
    for mixture, levels, snr in job:
        signals = [
            torch.from_numpy(reader.read(name)) for name in mixture.utterances
        ]
        try:
            gains = _mixture_gains(signals, levels, fs, mode)
        except ValueError as error:
            raise ValueError(
                f"mixture of {' and '.join(mixture.utterances)}: a talker is "
                f"{error}; remove the file"
            ) from error
        mixture = replace(mixture, gains=gains)
        if snr is not None:
            lengths = [len(signal) for signal in signals]
            length = (min if mode == "min" else max)(lengths)
            # What a direction does to a source keeps the mean power.
            first = signals[0][:length] * gains[0]
            power = float(first.square().sum()) / length
            gain = noise_gain(power, noise.excerpt(mixture, fs, length), snr)
            mixture = replace(mixture, noise_gain=gain)
        result.append(mixture)
    return result


def _mixture_gains(signals, snrs, fs, mode="min"):
    """Gains of the sources of a fixed mixture, as in wsj0-mix.

    Each source's active level is brought to its SNR; then the largest sample
    of the mixture and of its sources, before they get a direction, is 0.9.
    """
    shortest = min(len(signal) for signal in signals)
    longest = max(len(signal) for signal in signals)
    gains, parts = [], []
    for signal, snr in zip(signals, snrs, strict=True):
        part = signal[:shortest] if mode == "min" else signal
        if not bool(part.any()):
            raise ValueError(f"silent for {len(part)} samples")
        gain = 10.0 ** ((snr - float(active_level(signal, fs))) / 20.0)
        part = torch.nn.functional.pad(part, (0, longest - len(part)))
        gains.append(gain)
        parts.append(gain * part)
    parts = torch.stack(parts)
    peak = max(float(parts.abs().max()), float(parts.sum(0).abs().max()))
    return [gain * PEAK / peak for gain in gains]


def _published_heads(subjects):
    """Division of Binaural-WSJ0Mix, None where it does not apply."""
    if not all(name.startswith("subject") for name in subjects):
        return None
    parts = {
        part: [name for name in subjects if name in _PUBLISHED[part]]
        for part in ("valid", "test")
    }
    taken = {*parts["valid"], *parts["test"]}
    rest = [name for name in subjects if name not in taken]
    parts = {"train": rest, **parts}
    return parts if all(parts.values()) else None


def _published_rooms(names):
    """Division of the reverberant set, None where it does not apply."""
    parts = {
        part: [room_name(t60) for t60 in t60s if room_name(t60) in names]
        for part, t60s in ROOM_T60S.items()
    }
    known = sum(map(len, parts.values())) == len(names)
    return parts if known and all(parts.values()) else None


def _divided(subjects, rng):
    """Division by seed."""
    if len(subjects) == 1:
        return {part: list(subjects) for part in SPLITS}
    order = [subjects[index] for index in rng.permutation(len(subjects))]
    if len(order) == 2:
        return {"train": order[:1], "valid": order[1:], "test": order[1:]}
    count = max(1, round(_SHARE * len(order)))
    return {
        "train": sorted(order[2 * count :]),
        "valid": sorted(order[:count]),
        "test": sorted(order[count : 2 * count]),
    }
