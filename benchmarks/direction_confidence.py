#!/usr/bin/env python3
"""How sure the directions of windows are: fitted and tested on rooms.

> python benchmarks/direction_confidence.py --speech FOLDER

Simulates rooms (T60 0.2 to 0.9 s, one or two sources 40 degrees apart or
more, noise of the microphones or from everywhere 30 to -5 dB below, some with
noise alone), fits
for each method the probability that a direction is within 10 degrees of a
source, and shows on other rooms how often those of each probability were.
Ambisonics are fitted on their own.
The coefficients belong into
spatial_brain/inference/array_directions/confidence.py.
"""

import argparse

import numpy as np
import torch

from spatial_brain.dataio.audio import read_audio
from spatial_brain.folders import find_files
from spatial_brain.geometry import azel_to_unit
from spatial_brain.inference.array_directions.confidence import (
    features,
    fit_weights,
)
from spatial_brain.inference.array_directions.finder import (
    FOA,
    METHODS,
    MOST_SOURCES,
    SEPARATION,
    DirectionFinder,
)
from spatial_brain.metrics.calibration import (
    expected_calibration_error,
    reliability_curve,
)
from spatial_brain.simulation import diffuse_noise, simulate_rir
from spatial_brain.simulation.ambisonics import foa_rir
from spatial_brain.simulation.mixing import convolve

ARRAYS = ("pair:0.1", "circular:4x0.0325", "circular:6x0.0463", "dcase_tetra")
SNRS = (30.0, 20.0, 10.0, 5.0, 0.0, -5.0)
FS, SECONDS = 16000, 4.0
NEAR = 10.0


def parse_arguments():
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--speech", required=True, help="folder of dry speech")
    add("--rooms", type=int, default=36, help="of each array, to fit")
    add("--tests", type=int, default=18, help="of each array, to test")
    add("--only", help="foa or a method (default: all)")
    return parser.parse_args()


def draw_place(rng, number):
    """Size of a room, centre of the array, azimuths, places of sources."""
    while True:
        size = rng.uniform((4, 3.5, 2.4), (10, 7, 3.5))
        centre = rng.uniform((1.2, 1.2, 0.9), (*(size[:2] - 1.2), 1.6))
        azimuth = rng.uniform(-180, 180, number)
        away = np.abs((azimuth[0] - azimuth[-1] + 180) % 360 - 180)
        units = azel_to_unit(
            torch.from_numpy(azimuth),
            torch.from_numpy(rng.uniform(-8, 15, number)),
        ).numpy()
        places = centre + rng.uniform(0.8, 3, (number, 1)) * units
        inside = (places > 0.3).all() and (places < size - 0.3).all()
        if inside and (number == 1 or away >= 40):
            return size, centre, azimuth, places


def draw_noise(finder, length, rng):
    """Noise of the microphones, or diffuse (not of Ambisonics), power 1."""
    positions = finder.array.positions
    if finder.ambisonic or rng.random() < 0.5:
        return torch.from_numpy(rng.standard_normal((length, len(positions))))
    generator = torch.Generator().manual_seed(int(rng.integers(2**31)))
    return diffuse_noise(positions, length, fs=FS, generator=generator).T


def draw_scene(finder, speech, seed):
    """Waveform [time, microphone] of a room, and the sources' azimuths."""
    rng = np.random.default_rng(seed)
    length = int(SECONDS * FS)
    array = finder.array
    noise = draw_noise(finder, length, rng)
    if seed[-1] % 6 == 5:
        return noise.float(), np.zeros(0)
    number = 1 + (seed[-1] // 2) % 2
    size, centre, azimuth, places = draw_place(rng, number)
    options = {
        "t60": rng.uniform(0.2, 0.9),
        "diffuse_from": 15.0,
        "generator": torch.Generator().manual_seed(seed[-1]),
    }
    responses = (
        foa_rir(tuple(size), places, centre, **options)
        if finder.ambisonic
        else simulate_rir(
            tuple(size), places, array.positions.numpy() + centre, **options
        )
    )
    signal = 0.0
    for response in responses:
        dry, _ = read_audio(rng.choice(speech), fs=FS, resample=True)
        dry = dry[:, 0].repeat(2 + length // len(dry))
        start = rng.integers(len(dry) - length)
        image = convolve(dry[None, start : start + length], response[None])
        image = image[0, ..., :length]
        signal = signal + image / image.std()
    gain = 10 ** (-rng.choice(SNRS) / 20)
    return (signal.T / signal.std() + gain * noise).float(), azimuth


def judge(finder, waveform, azimuth):
    """Features [direction, feature], and whether each is right."""
    found = finder.peaks_of(waveform[None], FS, MOST_SOURCES, SEPARATION)
    values = features(*found[1:], finder.noise_peaks(FS))
    fold = finder.target == "line_azimuth"
    judged = are_right(found[1], azimuth, fold)
    return (
        [values[window, place] for window, place, _ in judged],
        [float(right) for *_, right in judged],
    )


def are_right(directions, azimuth, fold=False):
    """Window, place and whether it is right, of directions of windows."""
    judged = []
    azimuth = np.array(azimuth)
    for window, angles in enumerate(directions):
        used = set()
        for place in np.flatnonzero(~np.isnan(angles)).tolist():
            away = _away(angles[place], azimuth, fold)
            right = bool(len(away) and away.min() <= NEAR)
            right = right and int(away.argmin()) not in used
            used |= {int(away.argmin())} if right else set()
            judged.append((window, place, right))
    return judged


def _away(angle, azimuth, fold):
    """Degrees to the sources; of a line (on y) both sides are alike."""
    if fold:
        angle, azimuth = (
            np.degrees(np.arcsin(np.sin(np.radians(value))))
            for value in (angle, azimuth)
        )
    return np.abs((angle - azimuth + 180) % 360 - 180)


def collect(arrays, method, speech, rooms, seed):
    """Features and judgements of rooms of some arrays."""
    rows, right = [], []
    for name in arrays:
        finder = DirectionFinder(name, method)
        for index in range(rooms):
            scene = draw_scene(finder, speech, (seed, index))
            for total, part in zip(
                (rows, right), judge(finder, *scene), strict=True
            ):
                total.extend(part)
    return np.array(rows), np.array(right)


def show(rows, right, weights):
    """Print how often directions of each probability were right."""
    sure = 1 / (1 + np.exp(-(rows @ weights[:-1] + weights[-1])))
    print("  confidence   right  directions")
    for one in reliability_curve(sure, right):
        print("{confidence:12.2f}{correct:8.2f}{number:12d}".format(**one))
    error = expected_calibration_error(sure, right)
    print(f"  expected calibration error {error:.3f}", flush=True)


def main():
    """Fit and test all methods."""
    options = parse_arguments()
    torch.set_num_threads(1)
    speech = find_files(options.speech, [".flac", ".wav"])
    half = len(speech) // 2
    kinds = [(method, ARRAYS, method) for method in METHODS]
    for name, arrays, method in [(FOA, [FOA], "mixture"), *kinds]:
        if options.only not in (None, name):
            continue
        kind = arrays, method
        weights = fit_weights(*collect(*kind, speech[:half], options.rooms, 1))
        numbers = ", ".join(f"{weight:.3f}" for weight in weights)
        print(f'"{name}": ({numbers}),')
        show(*collect(*kind, speech[half:], options.tests, 2), weights)


if __name__ == "__main__":
    main()
