#!/usr/bin/env python3
"""Sound event localization and detection (SELD) on synthetic scenes.

The pre-training of PSELDNets on its corpus of 170 classes, on a corpus of
your own, or on scenes that are drawn while training; and scenes simulated
from a folder of your own sounds. A network detects every 100 ms which classes
are active, and from which direction.

> python train.py hparams/mini.yaml                          # needs no data
> python train.py hparams/synth_maccdoa.yaml --data_folder /data/PSELDNets
> python train.py hparams/synth_maccdoa.yaml --data_folder ... --test_only
> python train.py hparams/own_events_htsat.yaml --event_folder /data/events
> torchrun --nproc_per_node=4 train.py hparams/synth_maccdoa.yaml --data_f...

``model`` and ``loss`` are exchanged in the YAML, the data set below:

* model(features [batch, channel, frame, bin]) returns a dictionary of the
  outputs of ``method``: "accdoa" [batch, frame, 3 * class], "multi_accdoa"
  [batch, frame, 9 * class], or "sed" [batch, frame, track, class] and "doa"
  [batch, frame, track, 3].
* loss(outputs, targets, mask [batch, frame] or None) returns a scalar; targets
  are "accdoa", "adpit" [batch, frame, 6, 4, class], or "sed" and "doa".

What happens to a batch, a clip and an epoch is in
spatial_brain/seld_experiment.py, ``SELDBrain``, which all SELD recipes share;
the training loop is SpeechBrain's ``Brain`` with what
spatial_brain/experiment.py adds: ``SpatialBrain`` (resuming, clipping,
learning rate) and ``run_experiment`` (from the command line to the test).
"""

import os
from pathlib import Path

from speechbrain.utils.logger import get_logger

from spatial_brain.dataio.files import read_json, write_json
from spatial_brain.datasets.scene_corpus.drawn_scenes import DrawnScenes
from spatial_brain.datasets.scene_corpus.options import read_scene_options
from spatial_brain.datasets.seld.pseldnets import (
    CLASSES_FILE,
    prepare_pseldnets,
    write_synthetic_pseldnets,
)
from spatial_brain.datasets.seld.synth_seld import prepare_simulated_scenes
from spatial_brain.datasets.speech.pool import speech_name
from spatial_brain.experiment import run_experiment
from spatial_brain.metrics.seld.files import score_folders
from spatial_brain.seld_experiment import SELDBrain, seld_datasets

logger = get_logger(__name__)


class SynthSELDBrain(SELDBrain):
    """Detects and localises sound events of synthetic scenes."""

    # Format of the predictions, and the challenge whose rules score them.
    dialect = "dcase2021"
    challenge = "SYNTH"

    @property
    def challenge_rules(self):
        """The number of classes is the user's."""
        return {"num_classes": self.hparams.num_classes}

    def describe_training(self):
        """What the model is for and what it learned from, for its card."""
        scenes = getattr(self.hparams, "train_scenes", None)
        events = getattr(self.hparams, "event_folder", None)
        data, facts = self.data_name("SYNTH of PSELDNets"), {}
        if "event_folder" in vars(self.hparams):
            sounds = "built-in sounds"
            if events is not None:
                sounds = f"sounds of {Path(events).resolve().name}"
            data = f"simulated scenes of {sounds}"
            facts = self.describe_scenes()
        elif scenes is not None:
            data = f"scenes drawn as {Path(scenes).name} says"
        return {**super().describe_training(), "data": data, **facts}

    def describe_scenes(self):
        """Ranges of the simulated scenes, as far as they are given."""
        scene = self.hparams.scene
        facts = {"t60": scene.get("t60_range"), "snr": scene.get("snr_range")}
        if "max_overlap" in scene:
            facts["sources"] = [0, scene["max_overlap"]]
        if getattr(self.hparams, "speech_folder", None) is not None:
            facts["speech"] = speech_name(self.hparams.speech_folder)
        return {name: fact for name, fact in facts.items() if fact is not None}

    def overlap_groups(self, entries):
        """The overlap that a scene was made with, where it is known."""
        known = {
            clip: entry["overlap"]
            for clip, entry in entries.items()
            if entry["overlap"] is not None
        }
        return {**super().overlap_groups(entries), **known}

    def challenge_scores(self, folder, entries):
        """Scores of the written files; of each part, for names recur."""
        if "event_folder" in vars(self.hparams):
            return super().challenge_scores(folder, entries)
        estimate = self.write_predictions(folder)
        parts = {
            os.path.dirname(clip): os.path.dirname(entry["events"])
            for clip, entry in entries.items()
        }
        return {
            part: score_folders(
                reference,
                estimate / part,
                self.challenge,
                intervals=False,
                **self.challenge_rules,
            )
            for part, reference in parts.items()
        }


def prepare(hparams):
    """Find or simulate the scenes, check them and write the manifests."""
    if "event_folder" in hparams:
        simulate(hparams)
        return
    if hparams["synthetic_data"] is not None:
        write_synthetic_pseldnets(
            hparams["data_folder"], **hparams["synthetic_data"]
        )
    parts = dict(hparams["parts"])
    if hparams["train_scenes"] is not None:
        parts["train"] = None
        note_scenes(hparams)
    prepare_pseldnets(
        hparams["data_folder"],
        hparams["manifest_folder"],
        parts=parts,
        num_classes=hparams["num_classes"],
        format=hparams["array_format"],
        protocol=hparams["protocol"],
        check_counts=hparams["check_counts"],
        skip_prep=hparams["skip_prep"],
    )


def note_scenes(hparams):
    """Keep what scenes are drawn from; warn if checkpoints know others."""
    options = read_scene_options(hparams["train_scenes"]).as_dict()
    path = Path(hparams["save_folder"]) / "scenes.json"
    before = read_json(path) if path.is_file() else options
    changed = [k for k, value in options.items() if before.get(k) != value]
    if changed and any(path.parent.glob("CKPT*")):
        logger.warning(
            f"{hparams['train_scenes']}: the checkpoints in {path.parent} were "
            "trained with other scenes: "
            + ", ".join(f"{k} {before.get(k)} -> {options[k]}" for k in changed)
        )
    write_json(path, options)


def simulate(hparams):
    """Simulate scenes from a folder of sounds."""
    names, number = hparams["class_names"], hparams["num_classes"]
    if len(names) != number:
        raise ValueError(
            f"--class_names gives {len(names)} classes ({', '.join(names)}), "
            f"--num_classes is {number}; give both"
        )
    speech = None
    if hparams.get("speech_folder") is not None:
        speech = {"folder": hparams["speech_folder"]}
        speech["fs"] = hparams["speech_rate"]
    prepare_simulated_scenes(
        hparams["data_folder"],
        hparams["manifest_folder"],
        class_names=hparams["class_names"],
        event_folder=hparams["event_folder"],
        clips=hparams["clips"],
        num_rooms=hparams["num_rooms"],
        duration=hparams["clip_duration"],
        format=hparams["array_format"],
        fs=hparams["sample_rate"],
        seed=hparams["scene_seed"],
        num_workers=hparams["preparation_workers"],
        scene=with_draws(hparams["scene"], hparams.get("draws"), names),
        variation=hparams["variation"],
        embedded_classes=hparams["embedded_classes"],
        speech=speech,
        pauses=hparams.get("pauses"),
    )


def with_draws(scene, draws, names):
    """Options of scenes with the classes to draw from, some several times."""
    if draws is None:
        return scene
    strangers = ", ".join(sorted(set(draws) - set(names)))
    if strangers:
        raise ValueError(f"--draws: {strangers} are none of --class_names")
    numbers = [
        number
        for number, name in enumerate(names)
        for _ in range(draws.get(name, 1))
    ]
    return {**scene, "classes": numbers}


def make_datasets(hparams):
    """Chunks of recordings, perhaps of a few clips, or scenes drawn anew."""
    if "event_folder" in hparams:
        datasets = seld_datasets(hparams)
        number = hparams["training_clips"]
        if number is not None:
            datasets["train"].keep_clips(number, hparams["seed"])
        return datasets
    hparams["class_names"] = read_json(
        Path(hparams["manifest_folder"]) / CLASSES_FILE
    )
    if hparams["train_scenes"] is None:
        return seld_datasets(hparams)
    scenes = draw_scenes(hparams, hparams["class_names"])
    return {"train": scenes, **seld_datasets(hparams, ("valid", "test"))}


def draw_scenes(hparams, names):
    """Scenes that are drawn while training, of the classes of the test."""
    path = hparams["train_scenes"]
    if hparams["feature_cache"]:
        raise ValueError(
            "--feature_cache True keeps features of recordings; scenes that "
            "are drawn while training need --feature_cache False"
        )
    options = read_scene_options(path)
    if options.sample_rate != hparams["sample_rate"]:
        raise ValueError(
            f"{path}: sample_rate is {options.sample_rate}, --sample_rate is "
            f"{hparams['sample_rate']}; they must agree"
        )
    scenes = DrawnScenes(
        options,
        hparams["method"],
        format=hparams["array_format"],
        duration=hparams["chunk_length"],
    )
    if list(scenes.class_names) != names:
        raise ValueError(
            f"{path}: the classes are {', '.join(scenes.class_names)}, those "
            f"of validation and test {', '.join(names)}; list these as "
            "classes, in this order"
        )
    return scenes


if __name__ == "__main__":
    run_experiment(SynthSELDBrain, prepare, make_datasets)
