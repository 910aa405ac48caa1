#!/usr/bin/env python3
"""Test a trained localiser in real rooms, by measured impulse responses.

Dry speech is convolved with responses that were measured with a pair of
microphones; two talkers speak from two places of the same room.

> python evaluate_measured.py --model results/mini/1 \\
>     --speech speech/manifest.csv --split test --rirs rirs/manifest.csv

The table of responses has the columns ``path`` (one file a source position,
relative to ``--root``), ``azimuth`` and ``elevation`` (degrees, seen from the
array whose second channel lies on +x) and, if rooms differ, ``condition``;
other names can be given. Rows without an azimuth are left out.
"""

import argparse
from collections import defaultdict

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
from spatial_brain.geometry import cone_angle
from spatial_brain.inference import SoundLocalizer
from spatial_brain.metrics.localization import LocalizationErrors
from spatial_brain.processing.localization import (
    gcc_phat_directions,
    srp_phat_directions,
)
from spatial_brain.reporting.report import interval_text
from spatial_brain.simulation.mixing import add_noise, convolve, mix


def parse_arguments():
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", required=True, help="folder of a run")
    parser.add_argument("--speech", required=True, help="corpus or CSV table")
    parser.add_argument("--split", help="split of the corpus")
    parser.add_argument("--rirs", required=True, help="CSV table of responses")
    parser.add_argument("--root", help="folder of its paths; default: its own")
    parser.add_argument("--channels", default="0,1", help="of the responses")
    parser.add_argument("--spacing", type=float, default=0.1, help="metres")
    parser.add_argument("--azimuth", default="azimuth", help="column")
    parser.add_argument("--elevation", default="elevation", help="column")
    parser.add_argument("--condition", default="condition", help="column")
    parser.add_argument("--num_mixtures", type=int, default=300)
    parser.add_argument("--sir", type=float, default=5.0, help="dB, +-")
    parser.add_argument("--snr", type=float, default=20.0, help="dB, white")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", help="JSON file for the errors")
    return parser.parse_args()


def read_rooms(options):
    """Rooms: lists of (path, cone angle)."""
    rooms = defaultdict(list)
    for response in read_measured_responses(
        options.rirs,
        options.root,
        options.azimuth,
        options.elevation,
        condition=options.condition,
    ):
        angle = float(cone_angle(response.direction))
        rooms[response.condition].append((response.path, angle))
    rooms = [room for room in rooms.values() if len(room) > 1]
    if not rooms:
        raise ValueError(f"{options.rirs}: no room has two source positions")
    return rooms


def make_mixture(rng, room, utterances, length, fs, options):
    """Mixture [time, 2] and cone angles of its two sources."""
    places = [room[i] for i in rng.choice(len(room), 2, replace=False)]
    chosen = [utterances[rng.integers(len(utterances))]]
    while len(chosen) < 2:
        other = utterances[rng.integers(len(utterances))]
        if other.speaker != chosen[0].speaker:
            chosen.append(other)
    dry = torch.stack([dry_segment(rng, one, length) for one in chosen])
    channels = [int(c) for c in options.channels.split(",")]
    rirs = [
        read_audio(str(path), fs=fs, resample=True)[0][:, channels].T
        for path, _ in places
    ]
    images = convolve(dry, torch.stack(rirs), length)
    sir = rng.uniform(-options.sir, options.sir)
    mixture, _ = mix(images, [0.0, -sir], fs=fs)
    noise = torch.from_numpy(rng.standard_normal((length, 2))).float()
    return add_noise(mixture, noise, options.snr, fs=fs), [a for _, a in places]


def main():
    """Evaluate and print the errors."""
    options = parse_arguments()
    localizer = SoundLocalizer.from_hparams(source=options.model)
    fs = localizer.hparams.sample_rate
    length = int(localizer.hparams.window_length * fs)
    rooms = read_rooms(options)
    utterances = list_utterances(
        options.speech, splits=[options.split] if options.split else None, fs=fs
    )
    rng = np.random.default_rng(options.seed)
    errors = defaultdict(LocalizationErrors)
    for index in progress(range(options.num_mixtures), description="mixtures"):
        room = rooms[index % len(rooms)]
        mixture, angles = make_mixture(
            rng, room, utterances, length, fs, options
        )
        pair = {"spacing": options.spacing, "fs": fs}
        predictions = {
            "network": localizer.localize_batch(
                mixture[None], num_talkers=len(angles)
            ).degrees,
            "srp_phat": srp_phat_directions(mixture[None], **pair),
            "gcc_phat": gcc_phat_directions(mixture[None], **pair),
        }
        for name, prediction in predictions.items():
            errors[name].append([str(index)], prediction, [angles])
    results = {name: error.summarize() for name, error in errors.items()}
    print(f"{'':10}{'mean error':>12}{'95 % interval':>18}{'median':>9}")
    for name, result in results.items():
        interval = interval_text(result, "mae", 1) or "-"
        print(
            f"{name:10}{result['mae']:11.1f}°{interval:>18}"
            f"{result['median']:8.1f}°{100 * result['accuracy_10']:5.0f} % "
            "within 10°"
        )
    if options.output:
        write_json(options.output, results)


if __name__ == "__main__":
    with one_line_errors():
        main()
