#!/usr/bin/env python3
"""The network for any array beside methods that need no training.

> python benchmarks/pretrained_models/any_array.py --data DATA --results FILE

Measured rooms: speech of the test set at loudspeakers of R3VIVAL, the clips of
benchmarks/real_directions.py: one speaker or two, white noise 30 to 0 dB below,
one estimate a clip. Simulated rooms: test scenes of recipes/AnyArray, windows
of a second. The number of speakers is given; one who is not found counts 90
degrees. Also: how often the number is right where it is not given. Results are
appended clip by clip (JSON lines); what is there is kept.
"""

import importlib
import json
import sys
from collections import defaultdict
from pathlib import Path

import numpy as np
import ruamel.yaml
import torch
from hyperpyyaml import resolve_references
from measuring import measuring_parser, report

from spatial_brain.datasets.array_scenes import SceneDrawer
from spatial_brain.datasets.array_scenes.truth import window_truth
from spatial_brain.datasets.speech.reader import SpeechReader
from spatial_brain.geometry import MicrophoneArray
from spatial_brain.geometry.observable import front_azimuths
from spatial_brain.inference.any_array import AnyArrayLocalizer
from spatial_brain.inference.array_directions.finder import DirectionFinder
from spatial_brain.inference.array_directions.sources import follow_sources
from spatial_brain.inference.pretrained.figures import mean_figure
from spatial_brain.metrics.localization import (
    best_even_directions,
    match_directions,
)

ROOT = Path(__file__).resolve().parents[2]
RECIPES = ROOT / "recipes" / "AnyArray" / "hparams"
MODEL = "this model"
METHODS = ("mixture", "srp-phat", "norm-music")
SEED = 5
# Directions wanted of a window.
MOST = 4


def parse_arguments(text, name):
    """Read the command line."""
    parser = measuring_parser(text, name)
    add = parser.add_argument
    add("--results", type=Path, required=True, help="JSON lines, kept")
    add("--clips", type=int, default=100, help="of each measured cell")
    add("--scenes", type=int, default=100, help="simulated")
    return parser.parse_args()


def append(path, row):
    """Keep a result."""
    with open(path, "a", encoding="utf-8") as file:
        file.write(json.dumps(row) + "\n")


def measure_clips(args, localizer, real, rows, channels):
    """Add the clips in measured rooms that are missing."""
    done = {(r["clip"], r["talkers"], r["snr"]) for r in rows if "clip" in r}
    missing = [
        (index, number, snr)
        for index in range(args.clips)
        for number in (1, 2)
        for snr in real.SNRS
        if (index, number, snr) not in done
    ]
    array = MicrophoneArray.named("r3vival").select(channels)
    material, trial = real.Material(args.data), real.Trial(array, real.BAND)
    trial.finders = {MODEL: localizer.finder(array), **trial.finders}
    if array.dimensions < 3:
        # They do not know which side is meant, or need more microphones.
        trial.peers = {}
    for index, number, snr in missing:
        clean, azimuth, _ = material.clip(index, number)
        generator = torch.Generator().manual_seed(index)
        noise = torch.randn(clean.shape, generator=generator)
        noisy = clean + noise * clean.std() * 10 ** (-snr / 20)
        truth = torch.tensor(azimuth)
        level = torch.zeros_like(truth)
        azimuth = front_azimuths(truth, level, array.positions).tolist()
        found = trial(noisy[:, channels], azimuth)
        row = {"clip": index, "talkers": number, "snr": snr}
        row |= {"azimuth": azimuth, "estimates": found["estimates"]}
        append(args.results, {**row, "counts": found["counts"]})


def make_drawer(data, recipe):
    """Scenes of a recipe with the speech of the test."""
    text = (RECIPES / recipe).read_text("utf-8")
    text = resolve_references(text, {"data_folder": "-"})
    options = ruamel.yaml.YAML(typ="safe", pure=True)
    options.constructor.add_multi_constructor("!", lambda *_: None)
    scenes = options.load(text.getvalue())["scenes"]
    reading = importlib.import_module("beamforming").read_rows
    speech = {
        row["id"]: {
            "wav": row["path"],
            "speaker": row["speaker"],
            "num_samples": int(16000 * float(row["duration"])),
        }
        for row in reading(data / "speech" / "manifest.csv")
        if row["split"] == "test"
    }
    reader = SpeechReader(16000, data, remember=8)
    return SceneDrawer(speech, reader.read, **scenes)


def measure_scenes(args, localizer, rows, recipe):
    """Add the simulated scenes that are missing."""
    done = {row["scene"] for row in rows if "scene" in row}
    drawer = make_drawer(args.data, recipe)
    for index in sorted(set(range(args.scenes)) - done):
        rng = np.random.default_rng([SEED, index])
        scene = drawer.draw(rng, drawer.draw_microphones(rng))
        array = MicrophoneArray(scene.positions)
        finders = {MODEL: localizer.finder(array)}
        finders |= {name: DirectionFinder(array, name) for name in METHODS}
        row = {"scene": index, **scene.conditions, "errors": {}, "counts": {}}
        for name, finder in finders.items():
            errors, row["counts"][name], truth = judge_scene(finder, scene)
            row["errors"][name] = errors
            if name == MODEL:
                row["truth"] = truth
        append(args.results, row)


def judge_scene(finder, scene):
    """Errors and truth by number of speakers at once, and how many it finds."""
    waveform = scene.waveform[None]
    times, *found = finder.peaks_of(waveform, 16000, MOST)
    sure = finder.sure(*found, 16000)
    count = follow_sources(times, *found[:2], sure).azimuth.shape[1]
    length = finder.locator(16000).block_length / 16000
    errors, known = defaultdict(list), defaultdict(list)
    truths = window_truth(scene, times.tolist(), length, 16000)
    for truth, azimuth in zip(truths, found[0], strict=True):
        if truth is not None and len(truth):
            errors[str(len(truth))] += match_directions(azimuth, truth).tolist()
            known[str(len(truth))].append(np.asarray(truth).tolist())
    return errors, count, known


def clip_figures(rows, peers, text):
    """Figures of the cells in measured rooms."""
    figures = []
    cells = sorted({(r["talkers"], r["snr"]) for r in rows if "clip" in r})
    # The hardest that is decided by the method, not by the noise, first.
    for number, snr in sorted(cells, key=lambda x: (-x[0], abs(x[1] - 10))):
        mine = [
            r
            for r in rows
            if "clip" in r and (r["talkers"], r["snr"]) == (number, snr)
        ]
        people = "one speaker" if number == 1 else "two speakers"
        test = {
            "test_set": f"R3VIVAL{text}, {people}, SNR {snr:g} dB",
            "rooms": "measured",
        }
        errors = {
            name: [match_directions(r["estimates"][name], r["azimuth"])
                   for r in mine]
            for name in mine[0]["estimates"]
        }  # fmt: skip
        for label in peers:
            bands = [name for name in errors if name.startswith(f"{label},")]
            if not bands:
                continue
            best = min(bands, key=lambda name: np.mean(errors[name]))
            errors[label] = errors[best]
            for name in bands:
                del errors[name]
        errors["best constant"] = best_constant([[r["azimuth"]] for r in mine])
        figures += error_figures(errors, test)
        counts = {
            name: [r["counts"][name] == number for r in mine]
            for name in mine[0]["counts"]
        }
        figures += count_figures(counts, test)
    return figures


def best_constant(truths):
    """Errors of the best evenly spread directions, for each clip or scene."""
    constant = best_even_directions(np.concatenate(truths))
    return [
        np.concatenate([match_directions(constant, one) for one in part])
        for part in truths
    ]


def scene_figures(rows):
    """Figures of the simulated scenes."""
    rows, figures = [row for row in rows if "scene" in row], []
    for number in ("1", "2", "3"):
        mine = [row for row in rows if number in row["errors"][MODEL]]
        if not mine:
            continue
        errors = {
            name: [row["errors"][name].get(number, []) for row in mine]
            for name in (MODEL, *METHODS)
        }
        errors["best constant"] = best_constant(
            [row["truth"][number] for row in mine]
        )
        speakers = "speaker" if number == "1" else "speakers"
        test = {
            "test_set": f"drawn arrays and rooms, {number} {speakers} at once",
            "rooms": "simulated",
        }
        figures += error_figures(errors, test)
    counts = {
        name: [row["counts"][name] == row["talkers"] for row in rows]
        for name in (MODEL, *METHODS)
    }
    test = {"test_set": "drawn arrays and rooms", "rooms": "simulated"}
    return figures + count_figures(counts, test)


def error_figures(errors, test):
    """Mean errors of methods, with intervals over clips or scenes."""
    return [
        mean_figure(
            np.concatenate(parts),
            np.repeat(np.arange(len(parts)), [len(part) for part in parts]),
            method=name,
            kind=kind_of(name),
            name="mean absolute error",
            unit="degrees",
            **test,
        )
        for name, parts in errors.items()
    ]


def count_figures(counts, test):
    """How often methods find the number of speakers."""
    return [
        mean_figure(
            100.0 * np.array(right),
            method=name,
            kind=kind_of(name),
            name="number of speakers right",
            unit="%",
            better="higher",
            **test,
        )
        for name, right in counts.items()
    ]


def kind_of(method):
    """Kind of a method, as figures have it."""
    known = {MODEL: "model", "best constant": "trivial"}
    return known.get(method, "classical")


def measure(text, name, recipe, channels):
    """Measure what is missing of a model, and report.

    Arguments
    ---------
    text, name : str
        Docstring of the command, and the shipped model.
    recipe : str
        YAML of recipes/AnyArray whose scenes are drawn.
    channels : sequence of int
        Microphones of R3VIVAL that are used.
    """
    args = parse_arguments(text, name)
    torch.set_num_threads(1)
    sys.path.insert(0, str(ROOT / "benchmarks"))
    real = importlib.import_module("real_directions")
    localizer = AnyArrayLocalizer.from_hparams(args.model)
    rows = real.read_results(args.results)
    measure_clips(args, localizer, real, rows, channels)
    measure_scenes(args, localizer, rows, recipe)
    rows = real.read_results(args.results)
    part = "" if len(channels) == 6 else f", {len(channels)} microphones"
    figures = clip_figures(rows, real.PEERS.values(), part)
    figures += scene_figures(rows)
    array = MicrophoneArray.named("r3vival").select(channels)
    finder = localizer.finder(array, sources=1)
    sound = 0.1 * torch.randn(1, 160000, len(channels))
    report(args, figures, lambda: finder.localize_batch(sound, fs=16000), 10.0)


if __name__ == "__main__":
    measure(__doc__, "any-array", "any_array.yaml", list(range(6)))
