"""Dynamic mixing: every training mixture is drawn anew.

The levels are those of dynamic mixing in BinauralWSJ0Mix of SpeechBrain. Of
what its code does otherwise here: one head hears the whole scene, one
direction is a talker's at both ears, talkers stand in different directions,
only the talkers and heads of the training set are drawn, and a mixture
depends on seed, epoch and number alone.
"""

from dataclasses import replace
from pathlib import Path

import torch

from spatial_brain.dataio.corpora import Utterance, read_headers
from spatial_brain.dataio.json_files import read_json
from spatial_brain.dataio.manifest import read_manifest
from spatial_brain.datasets.binaural_drawing import scene_mixture
from spatial_brain.datasets.binaural_levels import (
    PEAK,
    draw_levels,
    level_gains,
)
from spatial_brain.datasets.binaural_mixtures import METADATA_FS
from spatial_brain.datasets.binaural_scenes import SceneDrawer

# Stretches of speech to draw before silence is an error.
_TRIES = 20


class DynamicMixer:
    """Draws a mixture and renders it.

    Talkers, head and directions are those of a ``SceneDrawer``. Of each
    utterance a window is taken as long as the shortest one, at most
    ``max_length``. The first talker's level is normally distributed around
    a mean absolute amplitude of -27.43 dB, those of the others around 2.51 dB
    less; in the end the largest sample of mixture and sources is 0.9.

    Arguments
    ---------
    drawer : SceneDrawer
        Of the training set's talkers and listeners.
    speech : dict
        Id of an utterance to ``wav``, ``speaker`` and ``num_samples``.
    renderer : SpeechRenderer
        Makes the mixtures.
    max_length : int
        Longest mixture, samples at the renderer's rate; None: no limit.
    rooms : dict, optional
        Where listeners are rooms: their names to their T60 in seconds.
    noise : callable, optional
        From a mixture, the mean power of its first talker and a generator to
        noise [T, 2], see ``binaural_ambience``.

    Example
    -------
    >>> import numpy as np
    >>> from spatial_brain.dataio.audio import write_audio
    >>> from spatial_brain.datasets.binaural_speech import SpeechRenderer
    >>> from spatial_brain.simulation.hrtf import load_hrtfs
    >>> folder = getfixture("tmp_path")
    >>> speech = {}
    >>> for name in "ab":
    ...     write_audio(folder / f"{name}.wav", torch.rand(4000), 16000)
    ...     speech[name] = {
    ...         "wav": f"{folder}/{name}.wav", "speaker": name,
    ...         "num_samples": 4000}
    >>> heads = load_hrtfs("sphere", 8000, subjects=["subject08"])
    >>> drawer = SceneDrawer(speech, heads.subjects)
    >>> renderer = SpeechRenderer("", heads, 8000)
    >>> mixer = DynamicMixer(drawer, speech, renderer, max_length=1500)
    >>> signals = mixer(None, np.random.default_rng(0))
    >>> signals["mix"].shape, signals["mixture"].head
    (torch.Size([1500, 2]), 'subject08')
    """

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
        """Draw and render a mixture.

        Arguments
        ---------
        entry : Any
            Not used: nothing is fixed.
        rng : numpy.random.Generator
            Source of all choices.

        Returns
        -------
        dict
            ``mix`` [T, 2], ``sources`` [T, 2, C], ``noise`` [T, 2] or None,
            ``mixture``.

        Raises
        ------
        FileNotFoundError
            If a file is missing.
        ValueError
            If a file is damaged, or all that is drawn is silent.
        """
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
        signals = self.renderer.render(mixture)
        sources, noise = signals["sources"], None
        if self.noise is not None:
            power = sources[..., 0].square().mean()
            noise = self.noise(mixture, len(sources), power, rng)
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
    mix = sources.sum(-1)
    if noise is not None:
        mix = mix + noise
    gain = PEAK / max(float(mix.abs().max()), float(sources.abs().max()))
    sources = sources * gain
    if noise is None:
        return {"mix": sources.sum(-1), "sources": sources, "noise": None}
    noise = noise * gain
    return {
        "mix": sources.sum(-1) + noise,
        "sources": sources,
        "noise": noise,
    }


def dynamic_mixer(manifest_folder, entries, renderer, scenes=None, **options):
    """Mixer that draws from what the training set may hear, and no other.

    Arguments
    ---------
    manifest_folder : str or Path
        Given to the preparation. Drawn sets have ``drawing.json`` and
        ``speech_tr.json`` in it: all speech, heads and directions of the
        training set. For published lists, these are those of ``entries``.
    entries : dict
        Manifest of the training mixtures; may be empty for drawn sets.
    renderer : SpeechRenderer
        Makes the mixtures.
    scenes : dict, optional
        Arguments of ``SceneDrawer`` in place of those of the preparation.
    **options
        ``max_length``, ``noise`` of ``DynamicMixer``.

    Returns
    -------
    DynamicMixer
        The mixer.

    Raises
    ------
    FileNotFoundError
        If a file is missing, or there is nothing to draw from.
    ValueError
        If a file is damaged, or not at ``METADATA_FS``.

    Example
    -------
    >>> dynamic_mixer("nowhere", {}, None)
    Traceback (most recent call last):
    FileNotFoundError: nowhere: no drawing.json and no training mixtures; ...
    """
    plan = Path(manifest_folder, "drawing.json")
    if plan.is_file():
        plan = read_json(plan)
        speech = read_manifest(
            Path(manifest_folder, "speech_tr.json"),
            keys=("wav", "speaker", "num_samples"),
        )
    elif entries:
        plan, speech = _published(entries, renderer.speech_root)
    else:
        raise FileNotFoundError(
            f"{manifest_folder}: no drawing.json and no training mixtures; "
            "run the preparation"
        )
    drawer = SceneDrawer(
        speech,
        plan["listeners"]["train"],
        **{**plan["scenes"], **(scenes or {})},
    )
    return DynamicMixer(
        drawer, speech, renderer, rooms=plan["rooms"], **options
    )


def _published(entries, speech_root):
    """What the training mixtures of a list are made of."""
    mixtures = [entry["mixture"] for entry in entries.values()]
    speakers, laterals, polars, heads, rooms = {}, set(), set(), set(), {}
    for mixture in mixtures:
        speakers.update(
            zip(mixture["utterances"], mixture["speakers"], strict=True)
        )
        laterals.update(mixture["laterals"])
        polars.update(mixture["polars"])
        heads.add(mixture.get("head", ""))
        if "room" in mixture:
            rooms[mixture["room"]] = mixture.get("t60")
    utterances = read_headers(
        [
            Utterance(name, str(Path(speech_root, name)), speaker)
            for name, speaker in sorted(speakers.items())
        ],
        fs=METADATA_FS,
    )
    speech = {
        u.id: {"wav": u.id, "speaker": u.speaker, "num_samples": u.num_samples}
        for u in utterances
    }
    scenes = {
        "num_speakers": len(mixtures[0]["utterances"]),
        "laterals": sorted(laterals),
        "polars": sorted(polars),
    }
    listeners = {"train": sorted(rooms or heads)}
    return {
        "listeners": listeners,
        "rooms": rooms or None,
        "scenes": scenes,
    }, speech
