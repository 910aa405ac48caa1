#!/usr/bin/env python3
"""LOCATA: checked, cut into segments, opened; with simulated signals or not.

Run as a script it does the preparation alone; under ``torchrun`` the
processes share the work. ``--preflight`` only shows what is there:

> python data.py hparams/tdoa.yaml --data_folder /data/LOCATA --preflight
> torchrun --nproc_per_node=4 data.py hparams/tdoa.yaml --data_folder ...
"""

import logging
from pathlib import Path

from spatial_brain.dataio.files import read_json, write_json
from spatial_brain.datasets.microphone_pairs.storage import (
    check_storage,
    open_stored,
    store_pairs,
)
from spatial_brain.datasets.real_arrays.corpus_mixture import CorpusMixture
from spatial_brain.datasets.real_arrays.locata_segments import LocataSegments
from spatial_brain.datasets.real_arrays.recordings.locata import Locata
from spatial_brain.datasets.real_arrays.synthetic.locata import (
    write_synthetic_locata,
)
from spatial_brain.datasets.wsj0_simu.prepare import (
    open_pairs,
    prepare_wsj0_simu,
)
from spatial_brain.pair_experiment.acoustics import check_task
from spatial_brain.pair_experiment.design import Design
from spatial_brain.pair_experiment.preparation import run_preparation
from spatial_brain.pair_experiment.sets import EvaluationSets, labels_of

logger = logging.getLogger(__name__)
# What tells the trainings of a mode apart.
DESIGN = Design(conditions=("real_sim_ratio",), repeats=("seed",))
RATIOS = {"1:0": (1, 0), "1:1": (1, 1), "0:1": (0, 1)}
STAGES = ("train", "val", "test")


def check(hparams):
    """Refuse what cannot be trained."""
    if hparams["task"] != "TDOA":
        raise ValueError(
            f"--task {hparams['task']}: LOCATA has labels for TDOA only; "
            "T60, DRR and C50 are tasks of the recipe ACE"
        )
    check_task(hparams, modes=("finetune", "scratch"))
    if hparams["real_sim_ratio"] not in RATIOS:
        raise ValueError(
            f"--real_sim_ratio must be one of {', '.join(RATIOS)}, got "
            f"{hparams['real_sim_ratio']!r}"
        )
    check_storage(hparams["storage"])


def open_locata(hparams):
    """LOCATA with all that the experiment uses of it."""
    return Locata(
        hparams["data_folder"],
        tasks=hparams["locata_tasks"],
        arrays=hparams["arrays"],
    )


def segments(hparams, stage):
    """Segments of a stage, read when they are asked for."""
    return LocataSegments(
        hparams["data_folder"],
        stage,
        hparams["num_segments"][stage],
        duration=hparams["duration"],
        fs=hparams["sample_rate"],
        tasks=hparams["locata_tasks"],
        arrays=hparams["arrays"],
        renew=hparams["renew"] and stage == "train",
        compat=hparams["locata_compat"],
    )


def prepare(hparams, rank=0, num_ranks=1):
    """Check LOCATA and store segments and simulated signals; resumable."""
    check(hparams)
    if hparams.get("synthetic_data") is not None and rank == 0:
        write_synthetic_locata(
            hparams["data_folder"], **hparams["synthetic_data"]
        )
    if hparams["skip_prep"]:
        return
    folder = Path(hparams["manifest_folder"])
    if rank == 0:
        logger.info("%s", open_locata(hparams).preflight().line())
    share = {"num_workers": hparams["preparation_workers"]}
    share |= {"rank": rank, "num_ranks": num_ranks}
    for stage in STAGES:
        pairs, path = segments(hparams, stage), folder / f"{stage}.json"
        if rank == 0:
            logger.info(
                "%s: segments of %d recordings; %d left out, too short or "
                "without positions of one source",
                stage,
                len(pairs.places),
                pairs.left_out,
            )
        if hparams["storage"] != "on_the_fly":
            store_pairs(
                pairs,
                path,
                hparams["storage"],
                items_per_file=hparams["items_per_file"],
                dtype=hparams["stored_dtype"],
                **share,
            )
        elif rank == 0:
            write_json(path, {"on_the_fly": pairs.options()})
    if RATIOS[hparams["real_sim_ratio"]][1]:
        prepare_wsj0_simu(
            hparams["speech_folder"],
            folder / "simulated",
            stages={"train": hparams["simulated_rooms"]},
            storage=hparams["storage"],
            distribution=hparams["distribution"],
            speech=hparams["speech"],
            items_per_file=hparams["items_per_file"],
            dtype=hparams["stored_dtype"],
            **share,
        )


def open_segments(hparams, stage):
    """Segments of a stage, however they are held."""
    path = Path(hparams["manifest_folder"]) / f"{stage}.json"
    content = read_json(path)
    if "on_the_fly" in content:
        return segments(hparams, stage)
    return open_stored(path, content)


def training_set(hparams):
    """Segments, simulated signals, or both in equal parts."""
    real, simulated = RATIOS[hparams["real_sim_ratio"]]
    sources = {}
    if real:
        sources["LOCATA"] = open_segments(hparams, "train")
    if simulated:
        path = Path(hparams["manifest_folder"]) / "simulated" / "train.json"
        sources["simulated"] = open_pairs(path, crop=hparams["duration"])
    return CorpusMixture(
        sources,
        dict.fromkeys(sources, 1.0),
        hparams["num_segments"]["train"],
        seed=hparams["seed"],
    )


def datasets(hparams):
    """Data sets; the validation is part of the final test."""
    valid = open_segments(hparams, "val")
    return {
        "train": training_set(hparams),
        "valid": EvaluationSets({"val": valid}),
        "test": EvaluationSets(
            {"val": valid, "test": open_segments(hparams, "test")}
        ),
    }


def training_labels(hparams):
    """Labels that a run learns from; of many, of a part."""
    return labels_of(training_set(hparams), "TDOA", hparams["num_workers"])


def preflight(hparams):
    """What is there of LOCATA, in one line."""
    return [open_locata(hparams).preflight().line()]


if __name__ == "__main__":
    run_preparation(prepare, preflight)
