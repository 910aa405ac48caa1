#!/usr/bin/env python3
"""ACE: checked, read once, and mixed with speech; with simulated rooms or not.

Run as a script it does the preparation alone, for all folds, tasks and
ratios; under ``torchrun`` the processes share the work. ``--preflight`` only
shows what is there:

> python data.py hparams/ace.yaml --data_folder /data/ACE --preflight
> torchrun --nproc_per_node=4 data.py hparams/ace.yaml --data_folder ...

Of ACE, responses and noises at 16 kHz are stored. Signals are drawn from them
when they are asked for: a response, noise of the same array and place, speech.
"""

import logging
from pathlib import Path

from spatial_brain.dataio.files import read_json
from spatial_brain.datasets.microphone_pairs.room_folds import (
    leave_one_room_out,
)
from spatial_brain.datasets.microphone_pairs.storage import check_storage
from spatial_brain.datasets.real_arrays.corpus_mixture import CorpusMixture
from spatial_brain.datasets.real_arrays.registry import open_corpus
from spatial_brain.datasets.real_arrays.response_cache import (
    ResponseCache,
    write_response_caches,
)
from spatial_brain.datasets.real_arrays.response_signals import (
    ResponseSignals,
)
from spatial_brain.datasets.real_arrays.responses.ace import ROOM_SIZES
from spatial_brain.datasets.real_arrays.synthetic.ace import (
    write_synthetic_ace,
)
from spatial_brain.datasets.speech.pool import (
    part_of_stage,
    prepare_speech,
    speech_name,
)
from spatial_brain.datasets.wsj0_simu.prepare import (
    open_pairs,
    prepare_wsj0_simu,
)
from spatial_brain.datasets.wsj0_simu.scenes import SceneDistribution
from spatial_brain.pair_experiment.acoustics import check_task
from spatial_brain.pair_experiment.design import Design
from spatial_brain.pair_experiment.preparation import run_preparation
from spatial_brain.pair_experiment.sets import EvaluationSets, labels_of

logger = logging.getLogger(__name__)
# What tells the trainings of a task and mode apart.
DESIGN = Design(
    conditions=("real_sim_ratio",), repeats=("fold",), tested=("fold",)
)
MODES = ("finetune", "scratch")
RATIOS = {"1:0": (1, 0), "1:1": (1, 1), "0:1": (0, 1)}
FOLDS = tuple(ROOM_SIZES)
# Draws whose mean label is the baseline; each has to be mixed.
MOST_LABELS = 3200


def check(hparams):
    """Refuse what cannot be trained."""
    if hparams["task"] == "TDOA":
        raise ValueError(
            "--task TDOA: ACE does not publish where array and source stood; "
            "time differences are the task of the recipe LOCATA"
        )
    check_task(hparams, MODES)
    if hparams["real_sim_ratio"] not in RATIOS:
        raise ValueError(
            f"--real_sim_ratio must be one of {', '.join(RATIOS)}, got "
            f"{hparams['real_sim_ratio']!r}"
        )
    check_storage(hparams["simulated_storage"])


def reader_options(hparams):
    """Arguments of ``open_corpus``."""
    return {
        "folder": hparams["data_folder"],
        "compat": hparams["ace_compat"],
        "arrays": hparams["arrays"],
    }


def prepare(hparams, rank=0, num_ranks=1):
    """Check ACE, read it, store simulated signals; resumable."""
    check(hparams)
    if hparams["synthetic_data"] is not None:
        if num_ranks > 1:
            raise ValueError(
                "synthetic data are written by one process: run data.py "
                "without torchrun, or set --synthetic_data null once they are "
                "there"
            )
        write_synthetic_ace(hparams["data_folder"], **hparams["synthetic_data"])
    if hparams["skip_prep"]:
        return
    folder = Path(hparams["manifest_folder"])
    share = {"num_workers": hparams["preparation_workers"]}
    share |= {"rank": rank, "num_ranks": num_ranks}
    write_response_caches(
        {"ACE": reader_options(hparams)},
        folder,
        fs=hparams["sample_rate"],
        label_compat=hparams["label_compat"],
        **share,
    )
    if not RATIOS[hparams["real_sim_ratio"]][1]:
        prepare_speech(hparams["speech_folder"], folder, **hparams["speech"])
        return
    prepare_wsj0_simu(
        hparams["speech_folder"],
        folder,
        stages={"train": hparams["simulated_rooms"]},
        storage=hparams["simulated_storage"],
        distribution=hparams["distribution"],
        speech=hparams["speech"],
        items_per_file=hparams["items_per_file"],
        **share,
    )


def open_cache(hparams):
    """Responses and noises of ACE."""
    return ResponseCache(Path(hparams["manifest_folder"]) / "ACE.json")


def room_fold(hparams):
    """Rooms that train, validate and are tested."""
    there = open_cache(hparams).rooms
    return leave_one_room_out(
        [room for room in FOLDS if room in there],
        hparams["fold"],
        hparams["fold_seed"],
    )


def signals(hparams, stage, rooms, size):
    """Speech in rooms of ACE with their noise."""
    folder = Path(hparams["manifest_folder"])
    return ResponseSignals(
        stage,
        open_cache(hparams),
        size,
        folder / f"speech_{part_of_stage(stage)}.json",
        rooms=rooms,
        snr_range=hparams["snr_range"],
        T=hparams["duration"],
        compat=hparams["signal_compat"],
        renew=hparams["renew"] and stage == "train",
    )


def simulated_signals(hparams):
    """Speech in simulated rooms."""
    path = Path(hparams["manifest_folder"]) / "train.json"
    drawn = "simulate" in read_json(path)
    options = {"renew": hparams["renew"]} if drawn else {}
    return open_pairs(path, crop=hparams["duration"], **options)


def training_set(hparams):
    """Signals of ACE, simulated ones, or both in equal parts."""
    ratio = hparams["real_sim_ratio"]
    real, simulated = RATIOS[ratio]
    size = hparams["train_signals"][hparams["mode"]][ratio]
    sources = {}
    if real:
        rooms = room_fold(hparams).train
        sources["ACE"] = signals(hparams, "train", rooms, size)
    if simulated:
        sources["simulated"] = simulated_signals(hparams)
    weights = dict.fromkeys(sources, 1.0)
    return CorpusMixture(sources, weights, size, seed=hparams["seed"])


def datasets(hparams):
    """Data sets of a fold; the validation is part of the final test."""
    rooms = room_fold(hparams)
    hparams["fold"] = rooms.test  # whether a number was given or a name
    logger.info(
        "fold: test %s, validation %s, training %s",
        rooms.test,
        rooms.val,
        ", ".join(rooms.train),
    )
    valid = signals(hparams, "val", [rooms.val], hparams["val_signals"])
    test = signals(hparams, "test", [rooms.test], hparams["test_signals"])
    return {
        "train": training_set(hparams),
        "valid": EvaluationSets({"val": valid}),
        "test": EvaluationSets({"val": valid, "test": test}),
    }


def training_labels(hparams):
    """Labels that a run learns from, of many draws."""
    return labels_of(
        training_set(hparams),
        hparams["task"],
        hparams["num_workers"],
        MOST_LABELS,
    )


def describe_data(hparams):
    """What the model learns from, for its card."""
    real, simulated = RATIOS[hparams["real_sim_ratio"]]
    rooms, names, sizes = room_fold(hparams).train, [], []
    if real:
        names.append(f"{', '.join(rooms)} of ACE")
        sizes += [[[x, x] for x in ROOM_SIZES[room]] for room in rooms]
    if simulated:
        number = hparams["simulated_rooms"]["num_rooms"]
        names.append(f"{number} simulated rooms")
        drawn = SceneDistribution(**hparams["distribution"]).ranges()
        sizes.append(drawn["room_size"])
    return {
        "data": " and ".join(names),
        "speech": speech_name(hparams["speech_folder"]),
        "snr": hparams["snr_range"],
        "sources": [1, 1],
        "room_size": [
            [min(low for low, _ in spans), max(high for _, high in spans)]
            for spans in zip(*sizes, strict=True)
        ],
    }


def preflight(hparams):
    """What is there of ACE, in one line."""
    return [open_corpus("ACE", **reader_options(hparams)).preflight().line()]


if __name__ == "__main__":
    run_preparation(prepare, preflight)
