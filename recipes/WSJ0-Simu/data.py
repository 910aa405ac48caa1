#!/usr/bin/env python3
"""Speech in simulated rooms: prepared, opened, and simulated on a device.

Run as a script it does the preparation alone; under ``torchrun`` the
processes share the work:

> python data.py hparams/pretrain.yaml --data_folder /data/wsj0
> torchrun --nproc_per_node=4 data.py hparams/pretrain.yaml --data_folder ...
"""

from pathlib import Path

import numpy as np

from spatial_brain.dataio.files import read_json, write_json
from spatial_brain.datasets.speech.pool import part_of_stage
from spatial_brain.datasets.wsj0_simu.dataset import SimulatedPairs
from spatial_brain.datasets.wsj0_simu.prepare import (
    open_pairs,
    prepare_wsj0_simu,
    trial_rooms,
)
from spatial_brain.datasets.wsj0_simu.scenes import SceneDistribution
from spatial_brain.datasets.wsj0_simu.simulate import SceneBatch, render_pairs
from spatial_brain.pair_experiment.acoustics import check_task
from spatial_brain.pair_experiment.brain import check_exists
from spatial_brain.pair_experiment.design import Design
from spatial_brain.pair_experiment.preparation import run_preparation
from spatial_brain.pair_experiment.sets import EvaluationSets, labels_of

# Test instances of the pretext task: any number of such stages.
INSTANCES = "pretest_ins_"
# What tells the trainings of a task and mode apart.
DESIGN = Design(conditions=("num_rooms",), repeats=("trial",))


def prepare(hparams, rank=0, num_ranks=1):
    """Write manifests, store what is to be stored; resumable."""
    folder = Path(hparams["manifest_folder"])
    prepare_wsj0_simu(
        hparams["data_folder"],
        folder,
        stages=hparams["stages"],
        storage=hparams["storage"],
        distribution=hparams["distribution"],
        speech=hparams["speech"],
        items_per_file=hparams["items_per_file"],
        dtype=hparams["stored_dtype"],
        num_workers=hparams["preparation_workers"],
        rank=rank,
        num_ranks=num_ranks,
        skip_prep=hparams["skip_prep"],
    )
    if "test" in hparams["stages"] and rank == 0 and not hparams["skip_prep"]:
        write_scenes(hparams, folder / "scenes.json")


def prepare_pretext(hparams):
    """Refuse encoders that are not there, then prepare the data."""
    check_exists("--frozen_encoders", hparams["frozen_encoders"])
    prepare(hparams)


def prepare_task(hparams):
    """Refuse what cannot be trained, then prepare the data."""
    check_task(hparams)
    prepare(hparams)


def write_scenes(hparams, path):
    """Write facts of the evaluated scenes that are no labels.

    GCC-PHAT has to know how far apart the microphones are.
    """
    facts = {}
    for stage in ("val", "test"):
        options = dict(hparams["stages"][stage])
        options["rooms"] = [0, options.pop("num_rooms")]
        speech = path.parent / f"speech_{part_of_stage(stage)}.json"
        pairs = SimulatedPairs(
            stage, None, speech, hparams["distribution"], **options
        )
        scenes = {}
        for index in range(len(pairs)):
            place = pairs.place(index)[:2]
            if place not in scenes:
                scene = pairs.scene(index)
                apart = scene.microphones[1] - scene.microphones[0]
                away = scene.source - scene.microphones.mean(0)
                scenes[place] = {
                    "spacing": float(np.linalg.norm(apart)),
                    "distance": float(np.linalg.norm(away)),
                }
            facts[pairs.name(index)] = scenes[place]
    write_json(path, facts)


def open_stage(hparams, stage, **options):
    """Signals of a stage; those on the fly obey ``renew`` and ``render``."""
    path = Path(hparams["manifest_folder"]) / f"{stage}.json"
    if stage in ("pretrain", "train") and "simulate" in read_json(path):
        options["renew"] = hparams["renew"]
        options["render"] = not hparams["simulate_on_device"]
    return open_pairs(path, crop=hparams["duration"], **options)


def pretext_datasets(hparams):
    """Data sets of the pretext task; the test has the instances as well."""
    names = [s for s in hparams["stages"] if s.startswith(INSTANCES)]
    tests = {name: open_stage(hparams, name) for name in ("pretest", *names)}
    return {
        "train": open_stage(hparams, "pretrain"),
        "valid": EvaluationSets({"preval": open_stage(hparams, "preval")}),
        "test": EvaluationSets(tests),
    }


def downstream_datasets(hparams):
    """Data sets of a trial; the validation is part of the final test."""
    if hparams["task"] == "TDOA":
        hparams["duration"] = hparams["tdoa_duration"]
    rooms = trial_rooms(hparams["num_rooms"], hparams["trial"])
    valid = open_stage(hparams, "val")
    return {
        "train": open_stage(hparams, "train", rooms=rooms),
        "valid": EvaluationSets({"val": valid}),
        "test": EvaluationSets(
            {"val": valid, "test": open_stage(hparams, "test")}
        ),
    }


def training_labels(hparams):
    """Labels that a trial learns from; of many, of a part."""
    path = Path(hparams["manifest_folder"]) / "train.json"
    rooms = trial_rooms(hparams["num_rooms"], hparams["trial"])
    return labels_of(
        open_pairs(path, rooms=rooms), hparams["task"], hparams["num_workers"]
    )


class SimulatedSignals:
    """Beside a ``PairBrain``: simulates what its data set left to be."""

    def signals(self, batch):
        """Waveforms [batch, time, 2] and labels of a batch."""
        if "scene" not in batch:
            return super().signals(batch)
        distribution = SceneDistribution(**self.hparams.distribution)
        noise = batch.get("noise")
        pairs = render_pairs(
            distribution,
            SceneBatch.unpack(batch["scene"]),
            batch["speech"].to(self.device),
            batch["snr"].to(self.device),
            batch["seeds"],
            None if noise is None else noise.to(self.device),
        )
        crop = int(self.hparams.duration * distribution.fs)
        return pairs.waveform[:, :crop], pairs.labels


if __name__ == "__main__":
    run_preparation(prepare)
