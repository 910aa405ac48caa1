#!/usr/bin/env python3
"""How far sources are, by `locate --distance`, in simulated rooms.

> python benchmarks/source_distance.py --speech FOLDER

One speaker of 4 s in rooms of T60 0.2 to 0.7 s, 0.35 m (or just outside of the
array) to 5 m from it, 10 below to 30 degrees above, noise of the microphones at
10, 20 or 30 dB; the direction is estimated, too. Of each array: how often the
true distance was within the interval, how often a distance was given at all,
by how many percent it was off and how wide its interval was (median), and how
often "farther than" was right.
"""

import argparse
import math
import tempfile
from pathlib import Path

import numpy as np
import torch

from spatial_brain.dataio.audio import read_audio, write_audio
from spatial_brain.folders import find_files
from spatial_brain.geometry import azel_to_unit
from spatial_brain.inference.array_directions.finder import DirectionFinder
from spatial_brain.simulation import simulate_rir
from spatial_brain.simulation.mixing import convolve

ARRAYS = (
    "locata_dicit", "circular:8x0.2", "ace_lin8ch", "kinect_v1", "ami",
    "aishell4", "libricss", "respeaker_usb",
)  # fmt: skip
FS, SECONDS = 16000, 4.0
NEAREST, FARTHEST = 0.35, 5.0
SNRS = (10.0, 20.0, 30.0)


def parse_arguments():
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--speech", required=True, help="folder of dry speech")
    add("--rooms", type=int, default=24, help="of each array")
    add("--arrays", nargs="+", default=ARRAYS)
    return parser.parse_args()


def draw_place(array, rng):
    """Size of a room, microphones, place and distance of the source."""
    own = (array.positions - array.centre).double().numpy()
    nearest = max(NEAREST, 0.55 * array.aperture)
    while True:
        size = rng.uniform((5, 4, 2.5), (9, 7, 3.5))
        centre = rng.uniform((1.3, 1.3, 0.9), (*(size[:2] - 1.3), 1.5))
        distance = math.exp(rng.uniform(math.log(nearest), math.log(FARTHEST)))
        azimuth = rng.uniform(-180, 180)
        if array.dimensions == 1:
            # Along a line nothing is told.
            x, y, _ = own[-1] - own[0]
            azimuth = math.degrees(math.atan2(y, x)) + rng.uniform(30, 150)
        unit = azel_to_unit(azimuth, rng.uniform(-10, 30)).numpy()
        place, microphones = centre + distance * unit, centre + own
        everything = np.concatenate((place[None], microphones))
        if (everything > 0.2).all() and (everything < size - 0.2).all():
            return size, microphones, place, distance


def draw_recording(array, speech, seed):
    """Waveform [time, microphone] of a room, and the distance."""
    rng = np.random.default_rng(seed)
    size, microphones, place, distance = draw_place(array, rng)
    response = simulate_rir(
        tuple(size),
        place[None],
        microphones,
        t60=rng.uniform(0.2, 0.7),
        diffuse_from=15.0,
        generator=torch.Generator().manual_seed(seed),
    )
    length = round(SECONDS * FS)
    dry, _ = read_audio(rng.choice(speech), fs=FS, resample=True)
    dry = dry[:, 0].repeat(1 + length // len(dry))[None, :length]
    signal = convolve(dry, response[0][None], length)[0].T
    noise = torch.from_numpy(rng.standard_normal(signal.shape)).float()
    signal = signal / signal.std()
    return signal + 10 ** (-rng.choice(SNRS) / 20) * noise, distance


def measure(name, speech, rooms):
    """True distance and what was found, of each room with a direction."""
    finder = DirectionFinder(name, sources=1, distance=True)
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "room.wav"
        for seed in range(rooms):
            waveform, distance = draw_recording(finder.array, speech, seed)
            write_audio(path, 0.05 * waveform, FS, subtype="FLOAT")
            found = finder.localize_file(path).distances
            if found:
                rows.append((distance, *found[0]))
    return finder.array, np.array(rows)


def show(array, rows):
    """Print a row of the table."""
    true, metres, low, high = rows.T
    inside = (low <= true) & (true <= high)
    told = np.isfinite(metres)
    cells = [array.name, f"{array.far_field:.2g} m", f"{inside.mean():.0%}"]
    cells.append(f"{told.sum()} of {len(rows)}")
    if told.any():
        off = np.abs(metres[told] / true[told] - 1)
        width = high[told] / low[told]
        cells += [f"{np.median(off):.0%}", f"{np.median(width):.2f}"]
    else:
        cells += ["-", "-"]
    far = inside[~told]
    cells.append(f"{far.mean():.0%}, {np.median(low[~told]):.1f} m"
                 if len(far) else "-")  # fmt: skip
    print(f"| {' | '.join(cells)} |", flush=True)


def main():
    """Measure all arrays and print a table."""
    options = parse_arguments()
    torch.set_num_threads(1)
    speech = find_files(options.speech, [".flac", ".wav"])
    print(
        "| array | told up to | in the interval | distance given | off "
        "(median) | high / low | farther than: right, median |"
    )
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for name in options.arrays:
        show(*measure(name, speech, options.rooms))


if __name__ == "__main__":
    main()
