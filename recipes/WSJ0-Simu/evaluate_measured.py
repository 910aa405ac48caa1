#!/usr/bin/env python3
"""Test a trained network in real rooms, by measured impulse responses.

Dry speech is convolved with responses that were measured with an array, for
each of the named pairs of its microphones.

> python evaluate_measured.py --model results/small_downstream/TDOA/... \\
>     --speech speech/manifest.csv --split test --rirs rirs/manifest.csv \\
>     --array rirs/array.csv --pairs 0,1 2,3

The table of responses has the columns ``path`` (one file a source position,
relative to ``--root``), ``azimuth`` and ``elevation`` (degrees, seen from the
array) and, if known, ``distance`` (metres) and ``condition`` (the room); other
names can be given. Rows without an azimuth are left out. The table of the
array has a line a channel and the columns ``x_m,y_m,z_m`` (metres). Labels:
TDOA from these positions; T60, DRR and C50 from the responses themselves.
"""

import argparse
import csv
from collections import defaultdict
from pathlib import Path

import numpy as np
import torch

from spatial_brain.dataio.audio import read_audio
from spatial_brain.dataio.files import write_json
from spatial_brain.dataio.parallel import progress
from spatial_brain.datasets.measured_rirs import (
    dry_segment,
    read_measured_responses,
)
from spatial_brain.datasets.speech.corpora import list_utterances
from spatial_brain.experiment import one_line_errors
from spatial_brain.geometry import SPEED_OF_SOUND
from spatial_brain.inference.room_acoustics import RoomAcousticsEstimator
from spatial_brain.metrics.room_acoustics import (
    TASKS,
    AcousticErrors,
    gcc_phat_tdoa,
)
from spatial_brain.simulation.mixing import add_noise, convolve
from spatial_brain.simulation.noise_floor import find_noise_floor
from spatial_brain.simulation.room_labels import (
    decay_t60,
    direct_to_reverberant,
    early_to_late,
)

# A segment so many decibels below its utterance is a pause, and skipped.
PAUSE = 20.0
MEASURABLE = ("TDOA", "T60", "DRR", "C50")


def parse_arguments():
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--model", required=True, nargs="+", help="folders of runs of a task")
    add("--speech", required=True, help="corpus or CSV table")
    add("--split", help="split of the corpus")
    add("--rirs", required=True, help="CSV table of responses")
    add("--root", help="folder of its paths; default: its own")
    add("--array", required=True, help="CSV table of the microphones")
    add("--pairs", nargs="+", default=["0,1"], help="of channels from 0")
    add("--azimuth", default="azimuth", help="column")
    add("--elevation", default="elevation", help="column")
    add("--distance", default="distance", help="column")
    add("--condition", default="condition", help="column")
    add("--signals", type=int, default=2, help="of each response and pair")
    add("--snr", type=float, default=20.0, help="dB, white")
    add("--seed", type=int, default=0)
    add("--output", help="JSON file for the errors")
    return parser.parse_args()


def read_array(path):
    """Positions of the microphones in metres, float32 [channel, 3]."""
    if not Path(path).is_file():
        raise FileNotFoundError(f"{path}: no such table of microphones")
    with open(path, newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    try:
        places = [[float(row[f"{axis}_m"]) for axis in "xyz"] for row in rows]
    except (KeyError, ValueError) as problem:
        raise ValueError(
            f"{path}: {problem!r}; needed are the columns x_m, y_m, z_m with "
            "metres"
        ) from problem
    return torch.tensor(places)


def read_pairs(pairs, num_channels):
    """Two channels each."""
    known = range(num_channels)
    found = []
    for pair in pairs:
        parts = pair.split(",")
        if len(parts) != 2 or not all(p.isdigit() for p in parts):
            raise ValueError(f"--pairs {pair}: give two channels, such as 0,1")
        one, two = map(int, parts)
        if one == two or one not in known or two not in known:
            raise ValueError(
                f"--pairs {pair}: two different channels from 0 to "
                f"{num_channels - 1} are needed"
            )
        found.append([one, two])
    return found


def label_of(task, rir, places, source, fs):
    """Truth of a response [2, time] to a source [3] at two places [2, 3]."""
    if task == "TDOA":
        away = (places - source).norm(dim=-1)
        return float(away[1] - away[0]) / SPEED_OF_SOUND * fs
    # The measures would take noise for reverberation.
    if task == "T60":
        return float(decay_t60(rir, fs, find_noise_floor(rir, fs))[0].mean())
    measure = direct_to_reverberant if task == "DRR" else early_to_late
    first, floor = rir[0], find_noise_floor(rir[0], fs)
    return float(measure(first, fs, first.abs().argmax(), floor))


def make_signals(options, task, fs, length):
    """Signals [time, 2] of all responses, with what is true of each."""
    array = read_array(options.array)
    pairs = read_pairs(options.pairs, len(array))
    responses = read_measured_responses(
        options.rirs,
        options.root,
        options.azimuth,
        options.elevation,
        options.distance,
        options.condition,
    )
    utterances = list_utterances(
        options.speech, splits=[options.split] if options.split else None, fs=fs
    )
    rng = np.random.default_rng(options.seed)
    rooms = sorted({response.condition for response in responses})
    for response in progress(responses, description="responses"):
        rirs = read_audio(str(response.path), fs=fs, resample=True)[0].T
        if len(rirs) != len(array):
            raise ValueError(
                f"{response.path}: has {len(rirs)} channels, {options.array} "
                f"has {len(array)} microphones"
            )
        for pair in pairs:
            places, rir = array[pair], rirs[pair]
            facts = {
                "reference": label_of(task, rir, places, response.position, fs),
                "spacing": (places[1] - places[0]).norm().item(),
                "room": float(rooms.index(response.condition)),
            }
            for _ in range(options.signals):
                utterance = utterances[rng.integers(len(utterances))]
                dry = dry_segment(rng, utterance, length, PAUSE)
                image = convolve(dry[None], rir[None], length)[0].T
                noise = torch.from_numpy(rng.standard_normal((length, 2)))
                yield (
                    add_noise(image, noise.float(), options.snr, fs=fs),
                    facts,
                )


def main():
    """Evaluate and print the errors."""
    options = parse_arguments()
    models = {
        name: RoomAcousticsEstimator.from_hparams(source=name)
        for name in options.model
    }
    first = next(iter(models.values())).hparams
    task, fs = first.task, first.sample_rate
    if {model.hparams.task for model in models.values()} != {task}:
        raise ValueError("--model: the runs must be of one task")
    if task not in MEASURABLE:
        raise ValueError(
            f"{options.model[0]}: {task} cannot be read from a response; "
            f"tasks: {', '.join(MEASURABLE)}"
        )
    length = round(first.duration * fs)
    errors = defaultdict(lambda: AcousticErrors(task))
    signals = list(make_signals(options, task, fs, length))
    for number, (waveform, facts) in enumerate(
        progress(signals, description="signals")
    ):
        predictions = {
            name: model.estimate_batch(waveform[None])
            for name, model in models.items()
        }
        if task == "TDOA":
            predictions["GCC-PHAT"] = gcc_phat_tdoa(
                waveform[None], facts["spacing"], fs
            )
        for name, prediction in predictions.items():
            errors[name].append(
                [str(number)],
                prediction,
                [facts["reference"]],
                room=[facts["room"]],
            )
    results = {name: error.summarize() for name, error in errors.items()}
    print_errors(task, results, len(signals))
    if options.output:
        write_json(options.output, results)


def print_errors(task, results, num_signals):
    """Print a line a method."""
    quantity = TASKS[task]
    print(f"{quantity.label}, {num_signals} signals, mean absolute error:")
    for name, found in results.items():
        error = f"{found['mae']:.{quantity.digits}f}"
        if "mae_low" in found:
            low, high = (
                f"{found[key]:.{quantity.digits}f}"
                for key in ("mae_low", "mae_high")
            )
            error += f" [{low}, {high}]"
        median = f"median {found['median']:.{quantity.digits}f}"
        print(f"  {error:24s}{median:16s}{name}")


if __name__ == "__main__":
    with one_line_errors():
        main()
