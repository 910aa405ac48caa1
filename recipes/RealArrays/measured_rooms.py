#!/usr/bin/env python3
"""Speech in measured rooms, each tested once: data of the downstream tasks.

Any corpus of impulse responses will do; ``TABLE`` takes those of one's own
array. Run as a script it reads the responses, and stores the signals of all
folds:

> python measured_rooms.py hparams/measured.yaml --data_folder /data/my_rooms
"""

import logging
from pathlib import Path

from spatial_brain.dataio.files import read_json
from spatial_brain.datasets.microphone_pairs.room_folds import (
    leave_one_room_out,
)
from spatial_brain.datasets.microphone_pairs.storage import (
    check_storage,
    open_stored,
    store_pairs,
)
from spatial_brain.datasets.real_arrays.corpus import ResponseCorpus
from spatial_brain.datasets.real_arrays.registry import corpus_class
from spatial_brain.datasets.real_arrays.response_cache import (
    ResponseCache,
    write_response_caches,
)
from spatial_brain.datasets.real_arrays.response_signals import (
    ResponseSignals,
)
from spatial_brain.datasets.speech.pool import part_of_stage, prepare_speech
from spatial_brain.pair_experiment.acoustics import check_task
from spatial_brain.pair_experiment.design import Design
from spatial_brain.pair_experiment.preparation import run_preparation
from spatial_brain.pair_experiment.sets import EvaluationSets, labels_of

logger = logging.getLogger(__name__)
# What tells the trainings of a task and mode apart.
DESIGN = Design(conditions=("corpus",), repeats=("fold",), tested=("fold",))
STAGES = ("train", "val", "test")


def check(hparams):
    """Refuse what cannot be trained."""
    check_task(hparams)
    check_storage(hparams["storage"])
    if not issubclass(corpus_class(hparams["corpus"]), ResponseCorpus):
        raise ValueError(
            f"--corpus {hparams['corpus']}: has recordings, no impulse "
            "responses, and no labels of rooms"
        )


def open_cache(hparams):
    """Responses of the corpus."""
    folder = Path(hparams["manifest_folder"])
    return ResponseCache(folder / f"{hparams['corpus']}.json")


def room_fold(hparams):
    """Rooms that train, validate and are tested."""
    rooms = sorted(open_cache(hparams).rooms)
    return leave_one_room_out(rooms, hparams["fold"], hparams["fold_seed"])


def prepare(hparams, rank=0, num_ranks=1):
    """Read the responses once, and store the signals of all folds."""
    check(hparams)
    if hparams["skip_prep"]:
        return
    folder = Path(hparams["manifest_folder"])
    options = {"folder": hparams["data_folder"], **hparams["corpus_options"]}
    share = {"num_workers": hparams["preparation_workers"]}
    share |= {"rank": rank, "num_ranks": num_ranks}
    write_response_caches(
        {hparams["corpus"]: options},
        folder,
        fs=hparams["sample_rate"],
        label_compat=hparams["label_compat"],
        **share,
    )
    prepare_speech(hparams["speech_folder"], folder, **hparams["speech"])
    if hparams["storage"] == "on_the_fly":
        return
    # Those of all folds, so that runs side by side find them.
    for room in sorted(open_cache(hparams).rooms):
        fold = {**hparams, "fold": room}
        for stage in STAGES:
            store_pairs(
                signals(fold, stage),
                stored(fold, stage),
                hparams["storage"],
                items_per_file=hparams["items_per_file"],
                dtype=hparams["stored_dtype"],
                **share,
            )


def stored(hparams, stage):
    """Where the signals of a fold are stored."""
    name = f"{stage}_{room_fold(hparams).test}.json"
    return Path(hparams["manifest_folder"]) / name


def signals(hparams, stage):
    """Speech in the rooms of a stage, mixed when it is asked for."""
    fold = room_fold(hparams)
    rooms = {"train": fold.train, "val": [fold.val], "test": [fold.test]}
    folder = Path(hparams["manifest_folder"])
    return ResponseSignals(
        stage,
        open_cache(hparams),
        hparams["num_signals"][stage],
        folder / f"speech_{part_of_stage(stage)}.json",
        rooms=rooms[stage],
        noise=hparams["noise"],
        snr_range=hparams["snr_range"],
        T=hparams["duration"],
        renew=hparams["renew"] and stage == "train",
    )


def open_stage(hparams, stage):
    """Signals of a stage, however they are held."""
    if hparams["storage"] == "on_the_fly":
        return signals(hparams, stage)
    path = stored(hparams, stage)
    return open_stored(path, read_json(path), ["renew"] * hparams["renew"])


def datasets(hparams):
    """Data sets of a fold; the validation is part of the final test."""
    fold = room_fold(hparams)
    hparams["fold"] = fold.test  # whether a number was given or a name
    logger.info(
        "fold: test %s, validation %s, training %s",
        fold.test,
        fold.val,
        ", ".join(fold.train),
    )
    valid = open_stage(hparams, "val")
    return {
        "train": open_stage(hparams, "train"),
        "valid": EvaluationSets({"val": valid}),
        "test": EvaluationSets(
            {"val": valid, "test": open_stage(hparams, "test")}
        ),
    }


def training_labels(hparams):
    """Labels that a run learns from."""
    return labels_of(
        open_stage(hparams, "train"), hparams["task"], hparams["num_workers"]
    )


if __name__ == "__main__":
    run_preparation(prepare)
