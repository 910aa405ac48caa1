#!/usr/bin/env python3
"""What pre-training is worth with few clips of new classes, in new rooms.

Pre-trains the small network on scenes of some classes, then trains it on 4, 16
and 64 clips of ten seconds of other classes, in rooms of their own:

* scratch: all weights, from random ones;
* finetune: all weights, from the pre-trained ones;
* adapterbit: adapters, biases and heads, from the pre-trained ones;
* bias: biases and heads, from the pre-trained ones;
* longer: as scratch, with five times the updates;

each several times, with other clips and random numbers. All others have the
same number of updates, all the same test clips. Writes a table and pictures of
the scores against the number of clips.

> python few_clips.py --event_folder /data/events
> python few_clips.py --event_folder /data/events --clips 8 32 --trials 5

What it does not know goes to all trainings, such as --precision bf16. Finished
trainings stay; given again, the command does what is missing.
"""

import argparse
import itertools
import json
import sys
from collections import defaultdict
from pathlib import Path
from statistics import mean, stdev

import train

from spatial_brain.dataio.files import read_json, write_table
from spatial_brain.pair_experiment.grid import (
    PROCESSES,
    Training,
    start_training,
)
from spatial_brain.reporting.plots import amount_plot, save_figure

HPARAMS = "hparams/own_events_small.yaml"
# Smaller than the default of the YAML: dozens of trainings.
WIDTH = 64
TRAINING = Training(
    train.__file__, train.SynthSELDBrain, train.prepare, train.make_datasets
)
SEEN = "baby_cry chainsaw clock_tick dog_bark fire_crackling helicopter".split()
# Embedded sounds, none of which stands for an unseen class.
EMBEDDED = (
    "alarm crash footsteps knock telephone piano bell laughter clapping door "
    "keyboard engine"
).split()
UNSEEN = ["rain", "rooster", "sea_waves", "sneeze"]
PRETRAINED = {
    "width": WIDTH,
    "class_names": SEEN + EMBEDDED,
    "embedded_classes": EMBEDDED,
    "num_classes": len(SEEN + EMBEDDED),
    "clips": {"train": 100, "valid": 6, "test": 6},
    "num_rooms": {"train": 100, "valid": 6, "test": 6},
    "number_of_epochs": 20,
}
DOWNSTREAM = {
    "width": WIDTH,
    "class_names": UNSEEN,
    "num_classes": len(UNSEEN),
    "clips": {"train": 96, "valid": 24, "test": 60},
    "num_rooms": {"train": 96, "valid": 24, "test": 60},
    "clip_duration": 10.0,
    "scene_seed": 7,
    "number_of_epochs": 5,
    "batch_size": 8,
}
# YAML key to value of each.
MODES = {
    "scratch": {},
    "longer": {"number_of_epochs": 25},
    "finetune": {},
    "adapterbit": {"adapter": "adapterbit"},
    "bias": {"adapter": "bias"},
}
FROM_SCRATCH = ("scratch", "longer")
SCORES = {
    "F": "F score, %",
    "LE": "localisation error, degrees",
    "LR": "localisation recall, %",
    "SELD": "SELD score",
}


def parse_arguments(argv=None):
    """Options, and what is passed on to the trainings."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("--event_folder", required=True, help="dry sounds by class")
    add("--output", default="results/few_clips", help="folder of all runs")
    add("--clips", nargs="+", type=int, default=[4, 16, 64])
    add("--trials", type=int, default=3, help="seeds")
    add("--modes", nargs="+", choices=MODES, default=list(MODES))
    return parser.parse_known_args(argv)


def list_runs(options):
    """Folder and overrides of every training; the first is the pre-training."""
    output = Path(options.output).resolve()
    events = {"event_folder": str(Path(options.event_folder).resolve())}
    first = output / "pretraining"
    runs = {first: {**PRETRAINED, **events}}
    # In the order of trials: whatever ends early has whole tables.
    for trial, number, mode in itertools.product(
        range(1, options.trials + 1), options.clips, options.modes
    ):
        run = {
            **DOWNSTREAM,
            **events,
            **MODES[mode],
            "seed": trial,
            "training_clips": number,
            # Scenes and features are those of all runs.
            "data_folder": str(output / "corpus" / "scenes"),
            "manifest_folder": str(output / "corpus" / "data"),
        }
        if mode not in FROM_SCRATCH:
            run["initial_weights"] = str(first / "pretrained")
        runs[output / f"{mode}_{number}_clips_{trial}"] = run
    return runs


def train_missing(runs, extra):
    """Do the trainings whose results are not there, one after the other."""
    PROCESSES.set_forkserver_preload(["train"])
    for done, (folder, run) in enumerate(runs.items(), 1):
        if not (folder / "metrics.json").is_file():
            folder.mkdir(parents=True, exist_ok=True)
            argv = [HPARAMS, "--noprogressbar", *extra]
            argv += [f"--{key}={json.dumps(x)}" for key, x in run.items()]
            argv += [f"--output_folder={folder}"]
            process = start_training(TRAINING, argv, folder / "console.txt")
            process.join()
            if process.exitcode:
                sys.exit(f"failed, see {folder / 'console.txt'}")
        print(f"{done}/{len(runs)} {folder.name}", flush=True)


def summarize(runs):
    """Mean and deviation over trials of each score, a line a condition."""
    found = defaultdict(list)
    for folder, run in runs.items():
        number = run.get("training_clips")
        if number is not None:
            mode = folder.name.partition("_")[0]
            scores = read_json(folder / "metrics.json")["methods"]["network"]
            found[mode, number].append(scores)
    lines = []
    for (mode, number), trials in found.items():
        line = {"mode": mode, "clips": number, "trials": len(trials)}
        for name in SCORES:
            values = [trial[name] for trial in trials]
            spread = stdev(values) if len(values) > 1 else float("nan")
            line |= {name: mean(values), f"{name}_deviation": spread}
        lines.append(line)
    return lines


def draw(lines, score):
    """Score against number of clips, a line a mode."""
    factor = 100 if "%" in SCORES[score] else 1
    series = {}
    for mode in MODES:
        rows = [line for line in lines if line["mode"] == mode]
        if rows:
            series[mode] = tuple(
                [scale * row[name] for row in rows]
                for name, scale in (
                    ("clips", 1),
                    (score, factor),
                    (f"{score}_deviation", factor),
                )
            )
    return amount_plot(series, "training clips of 10 s", SCORES[score])


def main():
    """Train what is missing, write the table and the pictures."""
    options, extra = parse_arguments()
    runs = list_runs(options)
    train_missing(runs, extra)
    lines = summarize(runs)
    output = Path(options.output)
    print(write_table(output / "few_clips.csv", lines).read_text())
    for score in SCORES:
        save_figure(draw(lines, score), output / f"{score}.png")


if __name__ == "__main__":
    main()
