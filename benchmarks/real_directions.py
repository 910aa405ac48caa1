#!/usr/bin/env python3
"""Directions without training in a measured room: ours and pyroomacoustics.

> python benchmarks/real_directions.py --results FILE.jsonl --picture FILE.png

Speakers of the test set at loudspeakers of R3VIVAL (measured responses of six
microphones, five panel conditions, 1.5 to 3 m away, T60 0.5 to 0.75 s), one of
2 s or two of 4 s that are 30 degrees or more apart and equally loud, and white
noise. A clip has one estimate of as many directions as there are speakers;
one that is not found counts as 90 degrees, what guessing gives. pyroomacoustics
has a grid of 1 degree, the frames of ours, and of some bands the one with the
least mean error. Results are appended clip by clip; what is there is kept.
"""

import argparse
import json
import time
from pathlib import Path

import numpy as np
import pyroomacoustics
import torch
from beamforming import FS, draw, read_rows
from direction_confidence import are_right
from scipy.optimize import linear_sum_assignment

from spatial_brain.dataio.audio import read_audio, resample_audio
from spatial_brain.geometry import MicrophoneArray
from spatial_brain.inference.array_directions.finder import (
    BAND,
    METHODS,
    MOST_SOURCES,
    DirectionFinder,
)
from spatial_brain.inference.array_directions.methods import LIBRARY_METHODS
from spatial_brain.inference.array_directions.sources import follow_sources
from spatial_brain.inference.localization import median_direction
from spatial_brain.metrics.calibration import (
    expected_calibration_error,
    reliability_curve,
)
from spatial_brain.reporting.plots import line_plot, save_figure
from spatial_brain.simulation.mixing import convolve

SEED = 2
SECONDS = {0: 2.0, 1: 2.0, 2: 4.0}
SNRS = (30.0, 20.0, 10.0, 0.0)
PEERS = {"SRP": "pyroomacoustics SRP", "NormMUSIC": "pyroomacoustics NormMUSIC"}
BANDS = ((300, 4000), (500, 4000), (500, 7000))
FRAME = 512
NOT_FOUND, NEAR = 90.0, 10.0
LIBRARY_SNR = 20.0
# Short pieces, seconds; those that far below the loudest are pauses, dB.
PIECE, PAUSE, PIECE_SNR = 0.25, 15.0, 10.0


def parse_arguments():
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--data", type=Path, default=Path("../shared/data"))
    add("--clips", type=int, default=20, help="of each cell")
    add("--results", type=Path, help="JSON lines, a band each")
    add("--band", type=float, nargs=2, default=BAND, help="of ours, Hz")
    add("--picture", type=Path, help="reliability of the confidence")
    add("--library", type=int, metavar="CLIPS", help="instead: all methods, "
        "those of pyroomacoustics too, on so many clips at 20 dB")  # fmt: skip
    options = parser.parse_args()
    if options.results is None and not options.library:
        parser.error("give --results, or --library")
    return options


class Material:
    """Loudspeakers and utterances that clips are made of."""

    def __init__(self, data):
        rooms = read_rows(data / "rir" / "r3vival" / "manifest.csv")
        rooms = [r for r in rooms if r["source_type"].startswith("direct")]
        names = sorted({row["condition"] for row in rooms})
        self.conditions = [
            [row for row in rooms if row["condition"] == name] for name in names
        ]
        longest = max(SECONDS.values())
        self.speech = [
            row
            for row in read_rows(data / "speech" / "manifest.csv")
            if row["split"] == "test" and float(row["duration"]) > longest
        ]
        self.data = data

    def clip(self, index, number):
        """Signal [time, microphone] without noise, azimuths, condition."""
        generator = torch.Generator().manual_seed(1000 * SEED + index)
        rooms = self.conditions[index % len(self.conditions)]
        while True:
            places, speech = draw(rooms, self.speech, generator)
            if speech[0]["speaker"] != speech[1]["speaker"]:
                break
        length = round(SECONDS[number] * FS)
        signal = torch.zeros(length, 6)
        pairs = list(zip(places, speech, strict=True))[:number]
        for place, utterance in pairs:
            rir, fs = read_audio(self.data / place["path"])
            rir = resample_audio(rir[:, :6], fs, FS).T
            dry = read_audio(self.data / utterance["path"], fs=FS)[0][:, 0]
            start = torch.randint(len(dry) - length, (), generator=generator)
            dry = dry[None, start : start + length]
            image = convolve(dry, rir[None], length)[0].T
            signal += image / image.std()
        azimuth = [float(place["azimuth_deg"]) for place, _ in pairs]
        return signal, azimuth, rooms[0]["condition"]


class Peer:
    """A method of pyroomacoustics."""

    def __init__(self, name, positions, band):
        self.name, self.positions, self.band = name, positions, band
        self.methods = {}

    def __call__(self, waveform, number):
        """Azimuths of so many sources, degrees; fewer if it has none."""
        if number not in self.methods:
            self.methods[number] = pyroomacoustics.doa.algorithms[self.name](
                self.positions.T,
                FS,
                FRAME,
                num_src=number,
                azimuth=np.radians(np.arange(360.0)),
            )
        method = self.methods[number]
        frames = waveform.T.unfold(-1, FRAME, FRAME // 2)
        spectra = torch.fft.rfft(frames * torch.hann_window(FRAME))
        method.locate_sources(
            spectra.mT.numpy(), num_src=number, freq_range=list(self.band)
        )
        return np.degrees(method.azimuth_recon).tolist()


class Trial:
    """All methods for one array."""

    def __init__(self, array, band):
        positions = array.positions.double().numpy()
        self.finders = {
            name: DirectionFinder(array, name, band=band) for name in METHODS
        }
        self.short = {
            name: DirectionFinder(
                array, name, band=band, window=PIECE, hop=PIECE
            )
            for name in ("mixture", "srp-phat")
        }
        self.peers = {
            f"{label}, {band[0]} to {band[1]} Hz": Peer(name, positions, band)
            for name, label in PEERS.items()
            for band in BANDS
        }

    def __call__(self, waveform, azimuth):
        """What all methods find: estimates, counts, windows."""
        result = {"estimates": {}, "counts": {}, "windows": {}}
        for name, finder in self.finders.items():
            times, *found = finder.peaks_of(waveform[None], FS, MOST_SOURCES)
            sure = finder.sure(*found, FS)
            auto = follow_sources(times, *found[:2], sure)
            result["counts"][name] = auto.azimuth.shape[1]
            if azimuth:
                known = follow_sources(times, *found[:2], sure, len(azimuth))
                angles = median_direction(known.azimuth, finder.target)
                result["estimates"][name] = angles.tolist()
                result["windows"][name] = [
                    (float(sure[window, place]), right)
                    for window, place, right in are_right(found[0], azimuth)
                ]
        if azimuth:
            for name, peer in self.peers.items():
                result["estimates"][name] = peer(waveform, len(azimuth))
        return result

    def pieces(self, waveform, clean, azimuth):
        """Error of each piece with speech, by itself, of each method."""
        length = round(PIECE * FS)
        level = clean.unfold(0, length, length).square().mean((1, 2))
        loud = np.flatnonzero(level > level.max() * 10 ** (-PAUSE / 10))
        errors = {}
        for name, finder in self.short.items():
            found = finder.peaks_of(waveform[None], FS, 1)[1]
            errors[name] = [_errors(found[i], azimuth)[0] for i in loud]
        for name, peer in self.peers.items():
            parts = waveform.unfold(0, length, length)[loud].mT
            found = [peer(part, 1) for part in parts]
            errors[name] = [_errors(one, azimuth)[0] for one in found]
        return errors


def _away(one, other):
    """Angle between azimuths, degrees."""
    return float(abs((one - other + 180) % 360 - 180))


def _errors(found, azimuth):
    """Error of each source, degrees, for the best assignment."""
    found = [one for one in found if not np.isnan(one)]
    cost = np.full((len(azimuth), len(azimuth)), NOT_FOUND)
    for row, truth in enumerate(azimuth):
        for column, one in enumerate(found[: len(azimuth)]):
            cost[row, column] = _away(one, truth)
    return cost[linear_sum_assignment(cost)].tolist()


def measure(options, array):
    """Add the clips that the file of results lacks."""
    known = read_results(options.results)
    done = {(row["clip"], row["talkers"], row["snr"]) for row in known}
    cells = [(0, None), *((number, snr) for number in (1, 2) for snr in SNRS)]
    missing = [
        (index, *cell)
        for index in range(options.clips)
        for cell in cells
        if (index, *cell) not in done
    ]
    if not missing:
        return
    material, trial = Material(options.data), Trial(array, options.band)
    for index, number, snr in missing:
        clean, azimuth, condition = material.clip(index, number)
        generator = torch.Generator().manual_seed(index)
        noise = torch.randn(clean.shape, generator=generator)
        if number:
            noise *= clean.std() * 10 ** (-snr / 20)
        row = {"clip": index, "talkers": number, "snr": snr}
        row |= {"condition": condition, "azimuth": azimuth}
        row |= trial(clean + noise, azimuth)
        if number == 1 and snr == PIECE_SNR:
            row["pieces"] = trial.pieces(clean + noise, clean, azimuth)
        with open(options.results, "a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")


def read_results(path):
    """Rows so far."""
    if not path.exists():
        return []
    return [json.loads(x) for x in path.read_text("utf-8").splitlines()]


def show(rows):
    """Print the tables of errors, of pieces and of counts."""
    found = [row for row in rows if row["talkers"]]
    errors = {
        name: {
            (number, snr): [
                error
                for row in found
                if (row["talkers"], row["snr"]) == (number, snr)
                for error in _errors(row["estimates"][name], row["azimuth"])
            ]
            for number in (1, 2)
            for snr in SNRS
        }
        for name in found[0]["estimates"]
    }
    best = [*METHODS]
    for label in PEERS.values():
        bands = [name for name in errors if name.startswith(label + ",")]
        best.append(min(bands, key=lambda x: sum(map(sum, errors[x].values()))))
    print("| talkers | SNR, dB | method | mean | median | <= 5 | <= 10 |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for number, snr in errors["mixture"]:
        for name in best:
            cells = _summary(errors[name][number, snr])
            print(f"| {number} | {snr:.0f} | {name} | {cells} |")
    pieces = [row["pieces"] for row in found if "pieces" in row]
    for name in [one for one in best if one in pieces[0]]:
        values = [error for row in pieces for error in row[name]]
        print(f"| piece ({len(values)}) | {name} | {_summary(values)} |")
    show_counts(rows)


def _summary(errors):
    """Mean, median, shares within 5 and 10 degrees, as cells."""
    errors = np.array(errors)
    shares = [f"{(errors <= limit).mean():.0%}" for limit in (5, NEAR)]
    return " | ".join(
        [f"{errors.mean():.1f}", f"{np.median(errors):.1f}", *shares]
    )


def show_counts(rows):
    """Print how often the number of talkers was right and too high."""
    print("| talkers | SNR, dB | clips | right (more), for each method |")
    for number in SECONDS:
        for snr in SNRS if number else (None,):
            mine = [
                row
                for row in rows
                if (row["talkers"], row["snr"]) == (number, snr)
            ]
            cells = []
            for name in METHODS:
                counts = np.array([row["counts"][name] for row in mine])
                right, more = (counts == number).mean(), (counts > number)
                cells.append(f"{right:.0%} ({more.mean():.0%})")
            print(f"| {number} | {snr} | {len(mine)} | {' | '.join(cells)} |")


def show_confidence(rows, picture):
    """Print confidence against what was right, and draw it."""
    series = {}
    for name in METHODS:
        pairs = [x for row in rows for x in row["windows"].get(name, [])]
        sure, right = np.array(pairs, dtype=float).T
        error = expected_calibration_error(sure, right)
        print(f"{name}: expected calibration error {error:.3f}")
        curve = reliability_curve(sure, right)
        for one in curve:
            print(
                "| {confidence:.2f} | {correct:.2f} | {number} |".format(**one)
            )
        series[name] = (
            np.array([one["confidence"] for one in curve]),
            np.array([one["correct"] for one in curve]),
        )
    if picture:
        draw_reliability(series, picture)


def draw_reliability(series, path):
    """Draw the share that is right against the confidence."""
    figure = line_plot(
        series,
        "confidence",
        "share within 10 degrees",
        "Confidence in a measured room",
    )
    axes = figure.axes[0]
    axes.plot([0, 1], [0, 1], color="0.5", ls=":", lw=1)
    axes.set(xlim=(0, 1), ylim=(0, 1))
    save_figure(figure, path, dpi=110)


def show_library(material, array, clips):
    """Print errors and times of all methods, one window a clip."""
    print("| method | speakers | mean | median | <= 5 | <= 10 | s a s |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for name in (*METHODS, *LIBRARY_METHODS):
        for number in (1, 2):
            # One window: the library takes seconds for each.
            whole = {"window": SECONDS[number], "hop": SECONDS[number]}
            finder = DirectionFinder(array, name, sources=number, **whole)
            errors, taken = [], 0.0
            for index in range(clips):
                clean, azimuth, _ = material.clip(index, number)
                generator = torch.Generator().manual_seed(index)
                noise = torch.randn(clean.shape, generator=generator)
                noisy = clean + noise * clean.std() * 10 ** (-LIBRARY_SNR / 20)
                start = time.perf_counter()
                found = finder.localize_batch(noisy[None], fs=FS).degrees[0]
                taken += time.perf_counter() - start
                errors += _errors(found.numpy(), azimuth)
            taken /= clips * SECONDS[number]
            cells = f"{number} | {_summary(errors)} | {taken:.2g}"
            print(f"| {name} | {cells} |", flush=True)


def main():
    """Measure what is missing, and print."""
    options = parse_arguments()
    torch.set_num_threads(1)
    array = MicrophoneArray.named("r3vival").select(range(6))
    if options.library:
        show_library(Material(options.data), array, options.library)
        return
    measure(options, array)
    rows = read_results(options.results)
    rows = [row for row in rows if row["clip"] < options.clips]
    show(rows)
    show_confidence(rows, options.picture)


if __name__ == "__main__":
    main()
