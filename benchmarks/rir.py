"""Room impulse responses: ours and others, time beside accuracy.

    python benchmarks/rir.py [--quick] [--threads 2]

One run measures all methods in turn on the same machine: a room of 5 x 4 x 3 m
with two sources and two microphones 10 cm apart at 16 kHz. Times are medians
of interleaved repeats; "ratio" is the time of pyroomacoustics' image sources
over that of the method. "error" is the energy of the difference to a
double-precision sum of exact windowed sincs, over the first 0.25 s (for a tail:
up to 0.15 T60, before it begins), without high-pass. "T20" is the measured
reverberation time with high-pass, over the requested one.
"""

import argparse
import dataclasses
import importlib.util
import math
import os
import platform
import statistics
import subprocess
import sys
import time

import numpy as np
import pyroomacoustics as pra
import torch

from spatial_brain.simulation import acoustics
from spatial_brain.simulation.rir import (
    calibration,
    simulate_rir,
    simulate_rir_batch,
)
from spatial_brain.simulation.rir.fractional_delay import windowed_sinc
from spatial_brain.simulation.rooms import sample_room

FS = 16000
SIZE = [5.0, 4.0, 3.0]
SOURCES = [[1.2, 1.3, 1.1], [3.9, 2.9, 1.8]]
MICS = [[2.5, 2.0, 1.5], [2.6, 2.0, 1.5]]
CHECKED = 0.25
# Rooms of ours, and how many of them pyroomacoustics gets.
FULL = (1, 10, 100, 1000), 10
PEER = "pyroomacoustics, image sources"


def exact(absorption, duration):
    """Exact sum of windowed sincs for the first source and microphone."""
    reach = 343.0 * (duration + 41 / FS)
    delta, gain = [], []
    for axis, length in enumerate(SIZE):
        most = math.ceil(reach / length) + 1
        cell = np.arange(-most, most + 1)
        start = SOURCES[0][axis]
        place = np.where(cell % 2, length - start, start) + cell * length
        delta.append(place - MICS[0][axis])
        gain.append((1 - absorption) ** (np.abs(cell) / 2))
    squared = [part**2 for part in delta]
    rir = np.zeros(int(duration * FS) + 100)
    taps = np.arange(-40, 42)
    for x, a in zip(squared[0], gain[0], strict=True):
        distance = np.sqrt(x + squared[1][:, None] + squared[2])
        inside = distance < reach
        amplitude = (a * gain[1][:, None] * gain[2])[inside] / distance[inside]
        delay = distance[inside] / 343.0 * FS
        first = np.floor(delay).astype(int)
        shape = windowed_sinc(taps - (delay - first)[:, None])
        index = first[:, None] + taps
        used = (index >= 0) & (index < len(rir))
        values = (amplitude[:, None] * shape)[used]
        rir += np.bincount(index[used], values, len(rir))
    return rir[: int(duration * FS)]


def with_pyroomacoustics(absorption, order, high_pass):
    """Responses [2, 2, N] without the bulk delay."""
    pra.constants.set("rir_hpf_enable", high_pass)
    room = pra.ShoeBox(
        SIZE, fs=FS, materials=pra.Material(absorption), max_order=order
    )
    for source in SOURCES:
        room.add_source(source)
    room.add_microphone_array(np.array(MICS).T)
    room.compute_rir()
    length = min(len(part) for mic in room.rir for part in mic)
    return torch.tensor(
        np.array([[m[s][40:length] for m in room.rir] for s in range(2)])
    )


def with_torchrir(absorption, order, t60, high_pass):
    """Responses [2, 2, N] of the package torchrir."""
    import torchrir
    from torchrir.config import RIRHighPassConfig, SimulationConfig
    from torchrir.sim import simulate

    beta = [math.sqrt(1 - absorption)] * 6
    scene = torchrir.StaticScene(
        room=torchrir.Room.shoebox(SIZE, fs=FS, beta=beta),
        sources=torchrir.Source.from_positions(SOURCES),
        mics=torchrir.MicrophoneArray.from_positions(MICS),
    )
    config = SimulationConfig(
        max_order=order,
        tmax=t60,
        high_pass=RIRHighPassConfig() if high_pass else None,
    )
    return simulate(scene, config).rirs


def methods(t60):
    """Name -> (function of high_pass, absorption if given, checked seconds)."""
    absorption, order = pra.inverse_sabine(t60, SIZE)
    walls = {"absorption": absorption, "duration": t60}

    def ours(**options):
        def run(high_pass=True):
            return simulate_rir(
                SIZE, SOURCES, MICS, high_pass=high_pass, **options
            )

        return run

    def unknown(function):
        def run(high_pass=True):
            calibration.forget()
            return function(high_pass)

        return run

    tail = {"diffuse_from": 15.0}
    until = min(CHECKED, 0.15 * t60)
    checked = min(CHECKED, t60)
    table = {
        PEER: (
            lambda high_pass=True: with_pyroomacoustics(
                absorption, order, high_pass
            ),
            checked,
        ),
        "torchrir": (
            lambda high_pass=True: with_torchrir(
                absorption, order, t60, high_pass
            ),
            checked,
        ),
        "ours, image_source, walls given": (ours(**walls), checked),
        "ours, image_source, T60, new room": (unknown(ours(t60=t60)), None),
        "ours, image_source, T60, known room": (ours(t60=t60), None),
        "ours, tail from 15 dB, walls given": (ours(**walls, **tail), until),
        "ours, tail from 15 dB, T60, new room": (
            unknown(ours(t60=t60, **tail)),
            None,
        ),
        "ours, tail from 15 dB, T60, known room": (
            ours(t60=t60, **tail),
            None,
        ),
        "ours, fra": (ours(t60=t60, backend="fra"), None),
        "ours, fra_corrected": (ours(t60=t60, backend="fra_corrected"), None),
    }
    if has_gpurir():
        table["gpuRIR"] = (ours(backend="gpurir", **walls), checked)
    return table, absorption


def median_times(functions, repeats, patience):
    """Median seconds of each function, called in turn, and last results."""
    times, results = {}, {}
    for name, function in functions.items():
        start = time.perf_counter()
        results[name] = function()  # compiles, fills caches
        spent = time.perf_counter() - start
        times[name] = [spent] if spent > patience else []
    for _ in range(repeats):
        for name, function in functions.items():
            # A slow one is measured three times, a very slow one once.
            enough = 1 if times[name] and times[name][0] > patience else 3
            if len(times[name]) >= enough and sum(times[name]) > patience:
                continue
            start = time.perf_counter()
            results[name] = function()
            times[name].append(time.perf_counter() - start)
    medians = {name: statistics.median(part) for name, part in times.items()}
    return medians, results


def compare(t60, repeats, patience, skipped=()):
    """Print the table for one reverberation time."""
    table, absorption = methods(t60)
    table = {name: table[name] for name in table if name not in skipped}
    truth = torch.from_numpy(exact(absorption, min(CHECKED, t60)))
    times, results = median_times(
        {name: entry[0] for name, entry in table.items()}, repeats, patience
    )
    print(f"\nT60 {t60:g} s")
    print(f"{'method':40}{'ms':>10}{'ratio':>8}{'error dB':>10}{'T20':>7}")
    for name, (function, checked) in table.items():
        error = "-"
        if checked is not None:
            length = int(checked * FS)
            rir = function(high_pass=False)[0, 0, :length].double()
            wanted = truth[: len(rir)]
            power = (rir - wanted).square().sum() / wanted.square().sum()
            error = f"{10 * math.log10(power):.1f}"
        measured = acoustics.t60(results[name], FS) / t60
        print(
            f"{name:40}{1e3 * times[name]:10.2f}"
            f"{times[PEER] / times[name]:8.2f}{error:>10}"
            f"{float(measured.nanmean()):7.2f}"
        )
    for name in skipped:
        print(f"{name:40}{'not measured at this T60 (minutes)':>42}")


def time_peer(rooms):
    """Seconds a room of pyroomacoustics' image sources."""
    start = time.perf_counter()
    for room in rooms:
        absorption, order = pra.inverse_sabine(room.t60, room.size.tolist())
        box = pra.ShoeBox(
            room.size.tolist(),
            fs=FS,
            materials=pra.Material(absorption),
            max_order=order,
        )
        for source in room.sources.numpy():
            box.add_source(source)
        box.add_microphone_array(room.microphones.numpy().T)
        box.compute_rir()
    return (time.perf_counter() - start) / len(rooms)


def batch_function(device, generator, **options):
    """Function which simulates a list of rooms on a device."""

    def run(rooms):
        simulate_rir_batch(rooms, device=device, generator=generator, **options)
        if device == "cuda":
            torch.cuda.synchronize()

    return run


def many_rooms(counts, peer_rooms):
    """Print the cost per room for more and more rooms."""
    generator = torch.Generator().manual_seed(0)
    rooms = [
        sample_room(generator, t60_range=(0.2, 0.8)) for _ in range(max(counts))
    ]
    walls = [
        dataclasses.replace(
            room,
            t60=None,
            absorption=pra.inverse_sabine(room.t60, room.size.tolist())[0],
        )
        for room in rooms
    ]
    peer = time_peer(rooms[:peer_rooms])
    print(
        "\nrandom rooms, 3 x 3 x 2.5 to 10 x 8 x 4 m, T60 0.2 to 0.8 s, all "
        f"new;\npyroomacoustics, first {peer_rooms} of them: "
        f"{1e3 * peer:.1f} ms a room"
    )
    print(f"{'method':34}{'rooms':>7}{'s':>9}{'ms a room':>11}{'ratio':>8}")
    runs = []
    for device in ("cpu", "cuda") if torch.cuda.is_available() else ("cpu",):
        full = batch_function(device, generator)
        tail = batch_function(device, generator, diffuse_from=15.0)
        fixed = batch_function(device, generator, duration=0.8)
        runs += [
            (f"image_source, {device}", rooms, full),
            (f"tail from 15 dB, {device}", rooms, tail),
            (f"image_source, {device}, walls given", walls, fixed),
        ]
    if has_gpurir():
        runs.append(("gpuRIR, walls given", rooms, run_gpurir))
    for name, some, function in runs:
        for count in counts:
            function(some[:count])  # compiles, fills the memory pool
            calibration.forget()
            start = time.perf_counter()
            function(some[:count])
            spent = time.perf_counter() - start
            print(
                f"{name:34}{count:7}{spent:9.3f}{1e3 * spent / count:11.2f}"
                f"{peer * count / spent:8.1f}"
            )


def run_gpurir(rooms):
    """Simulate 0.8 s of rooms one after the other, as gpuRIR does."""
    import gpuRIR

    for room in rooms:
        size = room.size.numpy()
        gpuRIR.simulateRIR(
            size,
            -gpuRIR.beta_SabineEstimation(size, room.t60),
            room.sources.numpy(),
            room.microphones.numpy(),
            gpuRIR.t2n(0.8, size),
            0.8,
            FS,
        )


def has_gpurir():
    """Whether the optional package is there."""
    return importlib.util.find_spec("gpuRIR") is not None


def memory(t60):
    """Print the peak memory that one room takes, in a fresh process."""
    code = (
        "from pathlib import Path\n"
        "from spatial_brain.simulation.rir import simulate_rir\n"
        "def status(name):\n"
        "    text = Path('/proc/self/status').read_text()\n"
        "    return int(text.split(name + ':')[1].split()[0]) / 1024\n"
        f"places = {SIZE}, {SOURCES}, {MICS}\n"
        "simulate_rir(*places, absorption=0.9, duration=0.05)\n"
        "Path('/proc/self/clear_refs').write_text('5')  # forget the peak\n"
        "before = status('VmRSS')\n"
        f"simulate_rir(*places, t60={t60})\n"
        "print(status('VmHWM') - before)\n"
    )
    command = [sys.executable, "-c", code]
    result = subprocess.run(command, capture_output=True, text=True)
    if result.returncode:
        print("peak memory of one room: not measured (needs Linux)")
    else:
        spent = float(result.stdout)
        print(f"peak memory of one room, T60 {t60:g} s: {spent:.1f} MB")


def main():
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    pra.constants.set("num_threads", arguments.threads)
    print(
        f"{platform.processor() or platform.machine()}, {arguments.threads} "
        f"threads, torch {torch.__version__}, pyroomacoustics "
        f"{pra.__version__}"
    )
    if torch.cuda.is_available():
        print(torch.cuda.get_device_name())
    simulate_rir(SIZE, SOURCES, MICS, t60=0.2)  # loads compiled code
    times = (0.2, 0.5) if arguments.quick else (0.2, 0.5, 0.8, 1.2)
    slowest = 0.2 if arguments.quick else 0.5
    for t60 in times:
        compare(
            t60,
            5 if arguments.quick else 15,
            1.0 if arguments.quick else 4.0,
            () if t60 <= slowest else ("torchrir",),
        )
    many_rooms(*(((1, 10, 100), 3) if arguments.quick else FULL))
    for t60 in times[1:]:
        memory(t60)


if __name__ == "__main__":
    main()
