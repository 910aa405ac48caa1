"""Dynamic mixing: every training mixture is drawn anew.

The levels are those of dynamic mixing in BinauralWSJ0Mix of SpeechBrain: the
first source's level is normally distributed around a mean absolute amplitude
of -27.43 dB, those of the others around 2.51 dB less; in the end the largest
sample of mixture and sources is 0.9. Otherwise than there, a scene has one
head, a source one direction at both ears, sources have different directions,
only the speakers and heads of the training set are drawn, and a mixture
depends on seed, epoch and number alone.
"""

import logging
import os
from dataclasses import replace
from pathlib import Path

import torch

from spatial_brain.augment.binaural import summed
from spatial_brain.dataio.audio import audio_info
from spatial_brain.dataio.files import read_json
from spatial_brain.dataio.manifest import read_manifest
from spatial_brain.datasets.binaural_wsj0mix.noise import (
    METADATA_FS,
    SNR_RANGE,
    NoiseDrawer,
)
from spatial_brain.datasets.binaural_wsj0mix.rendering import BinauralMixture
from spatial_brain.datasets.binaural_wsj0mix.sampling import (
    PEAK,
    SceneDrawer,
    draw_levels,
    level_gains,
    noise_gain,
    scene_mixture,
)
from spatial_brain.datasets.speech.corpora import (
    find_utterances,
    read_headers,
)
from spatial_brain.datasets.speech.layouts import Utterance
from spatial_brain.datasets.splits import split_part

logger = logging.getLogger(__name__)

# What a preparation wrote about its drawing.
PLAN = "drawing.json"
# Stretches of speech to draw before silence is an error.
_TRIES = 20


def read_plan(manifest_folder, entries):
    """What drawn sets were drawn from, None for published ones.

    Arguments
    ---------
    manifest_folder : str or Path
        Given to the preparation.
    entries : dict
        Set to its manifest.

    Returns
    -------
    dict or None
        Content of ``drawing.json``, if the mixtures are of such a drawing:
        they have seeds.

    Example
    -------
    >>> read_plan("nowhere", {}) is None
    True
    """
    path = Path(manifest_folder, PLAN)
    drawn = all(
        "seed" in entry["mixture"]
        for these in entries.values()
        for entry in these.values()
    )
    return read_json(path) if drawn and path.is_file() else None


def dynamic_mixer(
    manifest_folder,
    entries,
    renderer,
    *,
    speech_folder=None,
    scenes=None,
    max_length=None,
):
    """Mixer that draws from what the training set may have, and nothing else.

    Arguments
    ---------
    manifest_folder : str or Path
        Given to the preparation. Drawn sets have ``drawing.json`` and
        ``speech_tr.json`` in it: all speech, heads, rooms, directions and
        noise of the training set. For published lists, these are those of
        their training mixtures.
    entries : dict
        "train", "valid" and "test" (those there are) to their manifests.
    renderer : MixtureRenderer
        Makes the mixtures.
    speech_folder : str or Path, optional
        Corpus of speech to draw from instead, such as ``wsj0/si_tr_s``; see
        ``spatial_brain.datasets.speech.corpora``. Utterances of other sets
        are left out.
    scenes : dict, optional
        Arguments of ``SceneDrawer`` in place of those of the preparation.
    max_length : int
        Longest mixture, samples at the renderer's rate; None: no limit.

    Returns
    -------
    callable
        From anything and a ``numpy.random.Generator`` to a dict of ``mix``
        [T, 2], ``sources`` [T, 2, C], ``noise`` [T, 2] or None, and their
        ``mixture``. Of each utterance a window is taken as long as the
        shortest one. ``speech`` is what is drawn from, by utterance.

    Raises
    ------
    FileNotFoundError
        If a file is missing, or there is nothing to draw from.
    ValueError
        If a file is damaged or not at ``METADATA_FS``, or a speaker of the
        test set is in ``speech_folder``.

    Example
    -------
    >>> dynamic_mixer("nowhere", {}, None)
    Traceback (most recent call last):
    FileNotFoundError: nowhere: no drawing.json and no training mixtures; ...
    """
    plan = read_plan(manifest_folder, entries)
    if plan is not None:
        speech = read_manifest(
            Path(manifest_folder, "speech_tr.json"),
            keys=("wav", "speaker", "num_samples"),
        )
    elif entries.get("train"):
        plan, speakers = _plan_of_list(entries["train"], renderer)
        if speech_folder is None:
            speech = _with_lengths(speakers, renderer.speech_root)
    else:
        raise FileNotFoundError(
            f"{manifest_folder}: no drawing.json and no training mixtures; "
            "run the preparation"
        )
    if speech_folder is not None:
        speech = _other_speech(speech_folder, entries, renderer.speech_root)
    drawer = SceneDrawer(
        speech,
        plan["listeners"]["train"],
        **{**plan["scenes"], **(scenes or {})},
    )
    noise = plan["noise"]
    if noise is not None:
        noise = NoiseDrawer(noise["files"]["train"], noise["snr_range"])
    return _DynamicMixer(
        drawer,
        speech,
        renderer,
        max_length=max_length,
        rooms=plan["rooms"],
        noise=noise,
    )


class _DynamicMixer:
    """Draws a mixture and renders it."""

    def __init__(
        self,
        drawer,
        speech,
        renderer,
        *,
        max_length=None,
        rooms=None,
        noise=None,
    ):
        self.drawer, self.speech, self.renderer = drawer, speech, renderer
        self.max_samples = None
        if max_length is not None:
            self.max_samples = max_length * METADATA_FS // renderer.fs
        self.rooms, self.noise = rooms, noise

    def __call__(self, entry, rng):
        """Signals and ``mixture`` drawn by a generator; no entry is needed."""
        for _ in range(_TRIES):
            mixture = self._draw(rng)
            dry = [
                torch.from_numpy(signal)
                for signal in self.renderer.dry(mixture)
            ]
            levels = draw_levels(rng, len(dry))
            if all(bool(signal.any()) for signal in dry):
                break
        else:
            raise ValueError(
                f"{_TRIES} stretches of speech in a row are silent, at last in "
                f"{' or '.join(mixture.utterances)}; check the corpus"
            )
        mixture = replace(mixture, gains=level_gains(dry, levels))
        sources, noise = self.renderer.render(mixture)["sources"], None
        if self.noise is not None:
            values, snr = self.noise.draw(rng, mixture.num_samples)
            mixture = replace(mixture, **values)
            noise = self.renderer.noise.excerpt(
                mixture, self.renderer.fs, len(sources)
            )
            power = float(sources[..., 0].square().mean())
            gain = noise_gain(power, noise, snr)
            noise = torch.from_numpy(noise * gain).float()
        return _at_peak(sources, noise) | {"mixture": mixture}

    def _draw(self, rng):
        """Describe a mixture, all gains being 1."""
        scene = self.drawer.draw(rng)
        lengths = [self.speech[key]["num_samples"] for key in scene.utterances]
        length = min(lengths)
        if self.max_samples is not None:
            length = min(length, self.max_samples)
        starts = [int(rng.integers(total - length + 1)) for total in lengths]
        return scene_mixture(
            scene,
            self.speech,
            "dynamic",
            rng,
            self.rooms,
            starts=starts,
            num_samples=length,
        )


def _at_peak(sources, noise):
    """Signals scaled so that their largest sample is 0.9."""
    mix = summed(sources, noise)
    gain = PEAK / max(float(mix.abs().max()), float(sources.abs().max()))
    sources = sources * gain
    noise = None if noise is None else noise * gain
    return {"mix": summed(sources, noise), "sources": sources, "noise": noise}


def _other_speech(folder, entries, speech_root):
    """Speech of a corpus without that of validation and test."""
    files, speakers = set(), set()
    for split in ("valid", "test"):
        for entry in entries.get(split, {}).values():
            mixture = entry["mixture"]
            for name in mixture["utterances"]:
                files.add(os.path.realpath(Path(speech_root, name)))
            if split == "test":
                speakers |= set(mixture["speakers"])
    corpus = find_utterances(folder)
    # WSJ0's speakers bear the names of their subsets in drawn sets.
    found = [
        utterance
        for utterance in corpus
        if os.path.realpath(utterance.path) not in files
        and split_part(utterance.split) in (None, "train")
    ]
    if not found:
        raise FileNotFoundError(
            f"{folder}: no training speech in it; give the folder of the "
            "training speakers"
        )
    logger.info(
        "%s: %d of %d utterances are drawn from, the others are of validation "
        "or test",
        folder,
        len(found),
        len(corpus),
    )
    shared = {
        utterance.speaker
        for utterance in found
        if {utterance.speaker, f"{utterance.split}-{utterance.speaker}"}
        & speakers
    }
    if shared:
        raise ValueError(
            f"{folder}: speakers of the test set are in it: "
            f"{', '.join(sorted(shared)[:5])}; give the folder of the training "
            "speakers"
        )
    return {
        u.id: {
            "wav": os.path.abspath(u.path),
            "speaker": u.speaker,
            "num_samples": u.num_samples,
        }
        for u in read_headers(found, fs=METADATA_FS)
    }


def _plan_of_list(entries, renderer):
    """Plan of the training mixtures of a list, and the speaker of each file."""
    speakers, laterals, polars, heads = {}, set(), set(), set()
    rooms, noise = {}, {}
    for entry in entries.values():
        mixture = BinauralMixture.from_dict(entry["mixture"])
        speakers |= zip(mixture.utterances, mixture.speakers, strict=True)
        laterals |= set(mixture.laterals)
        polars |= set(mixture.polars)
        heads.add(mixture.head)
        if mixture.room:
            rooms[mixture.room] = mixture.t60
        if mixture.noise:
            noise[mixture.noise] = None
    for name in noise:
        info = audio_info(renderer.noise.path(name))
        noise[name] = info.num_samples * METADATA_FS // info.fs
    scenes = {
        "num_speakers": mixture.num_sources,
        "laterals": sorted(laterals),
        "polars": sorted(polars),
    }
    plan = {
        "listeners": {"train": sorted(rooms or heads)},
        "rooms": rooms or None,
        "scenes": scenes,
        "noise": {"files": {"train": noise}, "snr_range": SNR_RANGE}
        if noise
        else None,
    }
    return plan, speakers


def _with_lengths(speakers, speech_root):
    """Speech of a file name to its speaker, with the files' lengths."""
    utterances = read_headers(
        [
            Utterance(name, str(Path(speech_root, name)), speaker)
            for name, speaker in sorted(speakers.items())
        ],
        fs=METADATA_FS,
    )
    return {
        u.id: {"wav": u.id, "speaker": u.speaker, "num_samples": u.num_samples}
        for u in utterances
    }
