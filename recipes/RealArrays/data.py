#!/usr/bin/env python3
"""Corpora of real arrays: looked for, prepared, opened, mixed.

Run as a script it does the preparation alone; under ``torchrun`` the
processes share the work. ``--preflight`` only shows what is there:

> python data.py hparams/pretrain.yaml --data_folder /data --preflight
> python data.py hparams/pretrain.yaml --data_folder /data \\
>     --download '{MeshRIR: , RealMAN: [Gym]}' --data_type '[]'
> torchrun --nproc_per_node=4 data.py hparams/pretrain.yaml \\
>     --data_folder /data --speech_folder /data/wsj0 \\
>     --only_corpora '[DCASE, ACE]' --data_type '[rir, noise, signals]'
"""

import json
import logging
from datetime import timedelta
from functools import cache
from pathlib import Path

import torch

from spatial_brain.datasets.real_arrays.corpus import ResponseCorpus
from spatial_brain.datasets.real_arrays.corpus_mixture import CorpusMixture
from spatial_brain.datasets.real_arrays.download import (
    download_corpus,
    downloads,
    how_to_get,
)
from spatial_brain.datasets.real_arrays.recorded_segments import (
    RecordedSegments,
)
from spatial_brain.datasets.real_arrays.registry import (
    corpus_class,
    find_corpus,
    look_for,
    open_corpus,
    write_synthetic_corpora,
)
from spatial_brain.datasets.real_arrays.resampled_cache import fill_cache
from spatial_brain.datasets.real_arrays.response_cache import (
    KINDS,
    ResponseCache,
    write_response_caches,
)
from spatial_brain.datasets.real_arrays.signal_preparation import (
    open_response_signals,
    prepare_response_signals,
)
from spatial_brain.datasets.speech.pool import prepare_speech
from spatial_brain.pair_experiment.preparation import run_preparation
from spatial_brain.pair_experiment.reconstruction import check_warm_start
from spatial_brain.pair_experiment.sets import EvaluationSets

logger = logging.getLogger(__name__)
DATA_TYPES = (*KINDS, "signals", "recordings")
# Stage of signals from responses that belongs to a split.
STAGES = {"train": "pretrain", "val": "preval", "test": "pretest"}


def chosen(hparams):
    """Name of a corpus to its options, of all that may be used."""
    given, only = hparams["corpora"], hparams["only_corpora"]
    for name in (*given, *(only or ()), *hparams["monitored"]):
        corpus_class(name)
    without = [name for name in only or () if name not in given]
    if without:
        raise ValueError(
            f"--only_corpora {', '.join(without)}: corpora gives no weight; "
            f"--corpora '{{{without[0]}: {{weight: 5}}}}'"
        )
    return {name: dict(given[name] or {}) for name in only or given}


def reader_options(hparams, name):
    """What a corpus is opened with, beside its folder."""
    options = {"compat": hparams["corpus_compat"], **chosen(hparams)[name]}
    for key in ("weight", "val_weight"):
        options.pop(key, None)
    return options


def corpora_there(hparams):
    """Name of a corpus to arguments of ``open_corpus``, of those there are."""
    found = {}
    for name in chosen(hparams):
        options = reader_options(hparams, name)
        folder = options.get("folder")
        folder = folder or find_corpus(hparams["data_folder"], name)
        if folder is not None:
            found[name] = {**options, "folder": str(folder)}
        elif hparams["only_corpora"]:
            line = look_for(name, hparams["data_folder"], **options).line()
            raise FileNotFoundError(f"{line}; {_remedy(hparams, name)}")
    if not found:
        raise FileNotFoundError(
            f"{hparams['data_folder']}: none of the corpora is there "
            f"({', '.join(chosen(hparams))}); data.py --preflight shows where "
            "they should be and how to get them"
        )
    return found


def _remedy(hparams, name):
    """How to get a corpus, in one line."""
    if name not in downloads():
        return f"give its folder: --corpora '{{{name}: {{folder: ...}}}}'"
    return " ".join(how_to_get(name, hparams["data_folder"]).split())


def has_responses(name):
    """Whether a corpus has impulse responses, or recordings."""
    return issubclass(corpus_class(name), ResponseCorpus)


@cache
def _opened(arguments):
    """Open a corpus of recordings, once in a process."""
    return open_corpus(**json.loads(arguments))


def open_recordings(name, arguments):
    """Open a corpus of recordings."""
    return _opened(json.dumps({"name": name, **arguments}))


def preflight(hparams):
    """What is there of each corpus, and how to get what is not; lines."""
    lines, absent = [], []
    for name in chosen(hparams):
        found = look_for(
            name, hparams["data_folder"], **reader_options(hparams, name)
        )
        lines.append(found.line())
        if not found.found and name in downloads():
            absent.append(how_to_get(name, hparams["data_folder"]))
    for text in absent:
        lines += ["", *text.splitlines()]
    return lines


def check(hparams):
    """Refuse what cannot be, before anything is prepared."""
    unknown = sorted(set(hparams["data_type"]) - set(DATA_TYPES))
    if unknown:
        raise ValueError(
            f"--data_type {', '.join(unknown)}: known are "
            f"{', '.join(DATA_TYPES)}"
        )
    check_warm_start(hparams)


def prepare(hparams, rank=0, num_ranks=1, wait=lambda: None):
    """Get, read, resample and synthesise what is asked for; resumable.

    Ranks share the work; they ``wait`` for each other between the steps.
    """
    if rank == 0:
        check(hparams)
        synthetic = hparams.get("synthetic_data") or {}
        write_synthetic_corpora(
            hparams["data_folder"],
            {n: o for n, o in synthetic.items() if n in chosen(hparams)},
        )
        wanted = hparams["download"]
        if not isinstance(wanted, dict):
            wanted = dict.fromkeys(wanted)
        for name, subsets in wanted.items():
            download_corpus(name, hparams["data_folder"], subsets)
    wait()
    if hparams["skip_prep"] or not hparams["data_type"]:
        return
    share = {"num_workers": hparams["preparation_workers"]}
    share |= {"rank": rank, "num_ranks": num_ranks}
    there = corpora_there(hparams)
    responses = {n: a for n, a in there.items() if has_responses(n)}
    recordings = {n: a for n, a in there.items() if n not in responses}
    folder, fs = Path(hparams["manifest_folder"]), hparams["sample_rate"]
    for name, arguments in recordings.items():
        corpus = open_recordings(name, arguments)
        if rank == 0:
            logger.info("%s", corpus.preflight().line(most=1))
        if "recordings" in hparams["data_type"]:
            fill_cache(corpus, folder / "recordings", fs, **share)
    kinds = [kind for kind in KINDS if kind in hparams["data_type"]]
    if kinds and responses:
        write_response_caches(
            responses,
            folder / "responses",
            kinds=kinds,
            fs=fs,
            label_compat=hparams["label_compat"],
            **share,
        )
    if "signals" in hparams["data_type"] and responses:
        prepare_signals(hparams, list(responses), share, wait)


def prepare_signals(hparams, names, share, wait):
    """Make signals of the corpora of responses, when all have been read."""
    folder = Path(hparams["manifest_folder"])
    speech = {"fs": hparams["sample_rate"], **hparams["speech"]}
    wait()
    if share["rank"] == 0:
        prepare_speech(hparams["speech_folder"], folder, **speech)
    wait()
    speech = prepare_speech(hparams["speech_folder"], folder, **speech)
    for name in names:
        path = folder / "responses" / f"{name}.json"
        prepare_response_signals(
            {name: path},
            speech,
            folder,
            stages=stages_of(hparams, name, ResponseCache(path)),
            storage=hparams["storage"],
            items_per_file=hparams["items_per_file"],
            dtype=hparams["stored_dtype"],
            snr_range=hparams["snr_range"],
            T=hparams["duration"],
            compat=hparams["signal_compat"],
            **share,
        )


def stages_of(hparams, name, responses):
    """Stages for which a corpus of responses has signals, with options."""
    there = {response.split for response in responses.responses}
    stages = {}
    for split, stage in STAGES.items():
        if not weight_of(hparams, name, split):
            continue
        options = dict(hparams["stages"][stage])
        # Where nothing is held out for a test, all is watched.
        if split == "test" and split not in there:
            options["split"] = "all"
        if {split, options.get("split")} & {*there, "all"}:
            stages[stage] = options
    return stages


def weight_of(hparams, name, split):
    """How often a corpus is drawn for a split; 0: never."""
    if split == "test":
        return int(name in hparams["monitored"])
    key = {"train": "weight", "val": "val_weight"}[split]
    return chosen(hparams)[name].get(key) or 0


def open_split(hparams, split):
    """Name to data set, of the corpora that have something for a split."""
    sets, folder = {}, Path(hparams["manifest_folder"])
    for name, arguments in corpora_there(hparams).items():
        if not weight_of(hparams, name, split):
            continue
        if has_responses(name):
            path = folder / f"{STAGES[split]}_{name}.json"
            responses = ResponseCache(folder / "responses" / f"{name}.json")
            if STAGES[split] in stages_of(hparams, name, responses):
                renew = hparams["renew"] and split == "train"
                options = {"renew": True} if renew else {}
                sets[name] = open_response_signals(path, **options)
            continue
        corpus = open_recordings(name, arguments)
        if corpus.recordings(split):
            sets[name] = RecordedSegments(
                corpus,
                split,
                hparams["num_items"][split],
                duration=hparams["duration"],
                fs=hparams["sample_rate"],
                seed=hparams["seed"],
                cache_folder=folder / "recordings",
                on_corrupt=hparams["on_corrupt"],
            )
    return sets


def mix(hparams, split):
    """Data sets of a split, mixed by their weights."""
    weights = {n: weight_of(hparams, n, split) for n in chosen(hparams)}
    weights = {name: weight for name, weight in weights.items() if weight}
    sets = open_split(hparams, split)
    if not sets:
        key = {"train": "weight", "val": "val_weight"}[split]
        raise ValueError(
            f"no corpus for {split} is there (those with a {key}: "
            f"{', '.join(weights) or 'none'}); data.py --preflight shows what "
            f"is. Others take part by --corpora '{{NAME: {{{key}: 1}}}}' if "
            "they have recordings or rooms for it"
        )
    return CorpusMixture(
        sets, weights, hparams["num_items"][split], seed=hparams["seed"]
    )


def datasets(hparams):
    """Data sets; validation and test are the same, the first set decides."""
    watched = {"val": mix(hparams, "val"), **open_split(hparams, "test")}
    return {
        "train": mix(hparams, "train"),
        "valid": EvaluationSets(watched),
        "test": EvaluationSets(watched),
    }


def rooms_of(hparams, name, arguments, split):
    """Names of the rooms of a corpus in a split; recordings with their ids."""
    if has_responses(name):
        folder = Path(hparams["manifest_folder"]) / "responses"
        found = ResponseCache(folder / f"{name}.json")
        stage = stages_of(hparams, name, found).get(STAGES[split])
        wanted = None if stage is None else stage.get("split", split)
        return {
            response.room
            for response in found.responses
            if wanted in ("all", response.split)
        }, set()
    found = open_recordings(name, arguments).recordings(split)
    return {one.room for one in found}, {one.id for one in found}


def trained_with(hparams):
    """Name of a corpus to its share of the training and its rooms there."""
    rooms = {
        name: sorted(rooms_of(hparams, name, arguments, "train")[0])
        for name, arguments in corpora_there(hparams).items()
        if weight_of(hparams, name, "train")
    }
    weights = {n: weight_of(hparams, n, "train") for n in rooms if rooms[n]}
    total = sum(weights.values())
    return {
        name: {"share": weight / total, "rooms": rooms[name]}
        for name, weight in weights.items()
    }


def leakage(hparams):
    """What the watched sets have in common with the training; lines."""
    lines = []
    for name, arguments in corpora_there(hparams).items():
        if not weight_of(hparams, name, "train"):
            continue
        trained, known = rooms_of(hparams, name, arguments, "train")
        for split in ("val", "test"):
            if not weight_of(hparams, name, split):
                continue
            rooms, ids = rooms_of(hparams, name, arguments, split)
            common = sorted(rooms & trained)
            if not common:
                continue
            line = f"rooms {', '.join(common)} of {name}"
            if ids & known:
                number = f"{len(ids & known)} of its {len(ids)}"
                line += f", and {number} recordings themselves,"
            what = "validation" if split == "val" else f"test set {name}"
            lines.append(f"{line} are in the training and in the {what}")
    return lines


def prepare_together(hparams, rank, num_ranks):
    """Prepare as one of several processes that wait for each other."""
    wait = None
    if num_ranks > 1:
        # One may work for days while others wait.
        torch.distributed.init_process_group("gloo", timeout=timedelta(days=30))
        wait = torch.distributed.barrier
    prepare(hparams, rank, num_ranks, wait or (lambda: None))


if __name__ == "__main__":
    run_preparation(prepare_together, preflight)
