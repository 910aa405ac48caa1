#!/usr/bin/env python3
"""Speech in simulated rooms: prepared, opened, and simulated on a device.

Run as a script it does the preparation alone; under ``torchrun`` the
processes share the work:

> python data.py hparams/pretrain.yaml --data_folder /data/wsj0
> torchrun --nproc_per_node=4 data.py hparams/pretrain.yaml --data_folder ...
"""

import os
import sys
from pathlib import Path

import numpy as np
import torch
from hyperpyyaml import load_hyperpyyaml
from torch.utils.data import ConcatDataset, DataLoader, Dataset

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
from spatial_brain.experiment import (
    SpatialBrain,
    one_line_errors,
    parse_arguments,
)
from spatial_brain.metrics.room_acoustics import find_quantity
from spatial_brain.models.mc_conformer import convolution_format

# Test instances of the pretext task: any number of such stages.
INSTANCES = "pretest_ins_"
MODES = ("finetune", "scratch", "lineareval")
# Enough for a mean; more would be simulated for nothing else.
MOST_LABELS = 25600


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


def check_exists(option, source):
    """Refuse weights that are not there."""
    if source is not None and not Path(source).exists():
        raise FileNotFoundError(
            f"{option} {source}: no such folder or checkpoint"
        )


def prepare_task(hparams):
    """Refuse what cannot be trained, then prepare the data."""
    mode, source = hparams["mode"], hparams["pretext"]
    find_quantity(hparams["task"])
    if mode not in MODES:
        raise ValueError(
            f"mode must be one of {', '.join(MODES)}, got {mode!r}"
        )
    if mode != "scratch":
        if source is None:
            raise ValueError(
                f"mode {mode} begins with encoders of the pretext task: give "
                "--pretext <output folder of train.py, or a checkpoint>; "
                "--mode scratch needs none"
            )
        check_exists("--pretext", source)
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
    tests = [s for s in hparams["stages"] if s.startswith(INSTANCES)]
    tests = [open_stage(hparams, stage) for stage in ("pretest", *tests)]
    return {
        "train": open_stage(hparams, "pretrain"),
        "valid": open_stage(hparams, "preval"),
        "test": ConcatDataset(tests),
    }


def downstream_datasets(hparams):
    """Data sets of a trial; the validation is part of the final test."""
    if hparams["task"] == "TDOA":
        hparams["duration"] = hparams["tdoa_duration"]
    rooms = trial_rooms(hparams["num_rooms"], hparams["trial"])
    valid = open_stage(hparams, "val")
    return {
        "train": open_stage(hparams, "train", rooms=rooms),
        "valid": valid,
        "test": ConcatDataset([valid, open_stage(hparams, "test")]),
    }


class Labels(Dataset):
    """One label of each signal of a data set, or of as many as asked for."""

    def __init__(self, pairs, task, most):
        self.pairs, self.task = pairs, task
        self.chosen = np.linspace(
            0, len(pairs) - 1, min(most, len(pairs)), dtype=int
        ).tolist()

    def __len__(self):
        return len(self.chosen)

    def __getitem__(self, index):
        return self.pairs[self.chosen[index]]["labels"][self.task]


def training_mean(hparams):
    """Mean of the labels that a trial learns from; of many, of a part."""
    path = Path(hparams["manifest_folder"]) / "train.json"
    rooms = trial_rooms(hparams["num_rooms"], hparams["trial"])
    loader = DataLoader(
        Labels(open_pairs(path, rooms=rooms), hparams["task"], MOST_LABELS),
        batch_size=16,
        num_workers=hparams["num_workers"],
    )
    return torch.cat(list(loader)).double().mean().item()


class PairBrain(SpatialBrain):
    """What both tasks on signals of two microphones have in common.

    The hyper-parameters hold ``compat``: behaviours of the original, a list
    of names or True for all of ``COMPAT``.

    * ``"new_optimizer"``: every epoch starts with a new Adam. Default: one
      Adam, saved with the weights.
    * ``"batch_means"``: errors are averaged over batches, whatever their
      size. Default: over signals.
    """

    COMPAT = ("new_optimizer", "batch_means")

    def __init__(self, modules, opt_class, hparams, run_opts, checkpointer):
        compat = hparams["compat"]
        if isinstance(compat, bool):
            compat = self.COMPAT if compat else ()
        unknown = sorted(set(compat) - set(self.COMPAT))
        if unknown:
            raise ValueError(
                f"unknown compat {', '.join(unknown)}; known: "
                f"{', '.join(self.COMPAT)}"
            )
        self.compat = tuple(compat)
        super().__init__(modules, opt_class, hparams, run_opts, checkpointer)
        # In any precision, as moments of the optimiser have this order, too.
        self.modules.model.to(memory_format=convolution_format(self.device))

    def features_and_labels(self, batch):
        """Spectra [batch, 2, bin, frame, re/im] and labels of a batch."""
        with torch.autocast(self.device_type, enabled=False), torch.no_grad():
            if "scene" in batch:
                waveform, labels = self.simulate(batch)
            else:
                waveform, labels = batch["waveform"], batch["labels"]
            features = self.modules.features(waveform.to(self.device))
        labels = {name: x.to(self.device) for name, x in labels.items()}
        return features, labels

    def simulate(self, batch):
        """Waveforms and labels of what was left to be simulated."""
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

    def forget_optimizer(self):
        """Start an epoch as the original does, unless amid one."""
        if "new_optimizer" in self.compat and self.step == 0:
            for optimizer in self.optimizers_dict.values():
                optimizer.state.clear()


def main():
    """Prepare the data of a YAML file, this process's share of it."""
    hparams_file, _, overrides = parse_arguments(sys.argv[1:])
    # No network is needed, and no folder for its checkpoints.
    overrides += "\nmodel: null\ncheckpointer: null"
    with open(hparams_file, encoding="utf-8") as file:
        hparams = load_hyperpyyaml(file, overrides)
    rank, num_ranks = os.environ.get("RANK", 0), os.environ.get("WORLD_SIZE", 1)
    prepare(hparams, int(rank), int(num_ranks))


if __name__ == "__main__":
    with one_line_errors():
        main()
