"""Two-microphone training examples: ours and pyroomacoustics, from one run.

    python benchmarks/simulated_pairs.py [--examples 40] [--workers 2]
                                         [--device cuda] [--batch 128] [--full]

The scenes are those of WSJ0-Simu: stage "pretrain", rooms of 3 x 3 x 2.5 to
15 x 10 x 6 m, T60 up to 1.3 s, 4.112 s of speech, diffuse noise, direct sound
as well. Both get the same scenes and the same speech and work on one thread,
in turn. pyroomacoustics is measured with image sources as far as ours (the
first 12 dB of the decay, nothing after that, so less than what is asked for),
with its own way of making long responses quickly (image sources of order 3
and rays), and with --full with image sources for all of the 40 dB that our
responses have. It has neither labels nor diffuse noise to make. CPU seconds
are those of the process, wall seconds what a clock shows; on a busy machine
only the former mean anything. "ratio" is CPU seconds of the peer over ours.
"""

import argparse
import math
import os
import platform
import tempfile
import time

import numpy as np
import pyroomacoustics as pra
import torch

from spatial_brain.datasets.speech.pool import prepare_speech
from spatial_brain.datasets.wsj0_simu.dataset import (
    SimulatedPairs,
    render_items,
)
from spatial_brain.datasets.wsj0_simu.scenes import SceneDistribution
from spatial_brain.datasets.wsj0_simu.simulate import SceneBatch, render_pairs

ORDER, SCATTERING = 3, 0.1


def peer(scene, speech, distribution, level):
    """Microphone signals and direct sound by pyroomacoustics.

    Image sources down to ``level`` dB; 0 for few of them and rays.
    """
    signals = []
    names = "west", "east", "south", "north", "floor", "ceiling"
    # No image within reach has a higher order.
    reach = distribution.c * level / 60 * scene.t60
    order = math.ceil(reach * np.linalg.norm(1 / scene.room_size))
    rays, order = level == 0, order or ORDER
    for most, traced in ((order, rays), (0, False)):
        walls = {
            name: pra.Material(float(value), SCATTERING if traced else None)
            for name, value in zip(names, scene.absorption, strict=True)
        }
        room = pra.ShoeBox(
            scene.room_size,
            fs=distribution.fs,
            materials=walls,
            max_order=most,
            ray_tracing=traced,
        )
        room.add_source(scene.source, signal=speech)
        room.add_microphone_array(scene.microphones.T)
        signals.append(room.simulate(return_premix=True))
    mixture, direct = (s[0, :, : len(speech)] for s in signals)
    power = (direct**2).mean() / 100
    noise = np.random.default_rng(0).standard_normal(mixture.shape)
    return mixture + np.sqrt(power) * noise, direct


def measure(functions, count):
    """CPU and wall seconds of each function, called in turn."""
    spent = np.zeros((len(functions), 2))
    for index in range(-1, count):
        for row, function in enumerate(functions):
            before = time.process_time(), time.perf_counter()
            function(max(index, 0))
            after = time.process_time(), time.perf_counter()
            if index >= 0:  # the first call is for warming up
                spent[row] += np.subtract(after, before)
    return spent / count


def report(name, seconds, ours):
    """Print a line of the table."""
    cpu, wall = seconds
    print(
        f"{name:44s} {1 / cpu:10.2f} {1 / wall:10.2f} {cpu / ours[0]:8.1f}",
        flush=True,
    )


def compare(pairs, examples, full):
    """Ours and the peer's ways, on one thread."""
    distribution = pairs.distribution
    items = [pairs.ingredients(index) for index in range(examples)]
    scenes = [pairs.scene(index) for index in range(examples)]

    def ours(index):
        item = items[index]
        return render_pairs(
            distribution,
            SceneBatch.unpack(item["scene"][None]),
            item["speech"][None],
            item["snr"][None],
            item["seeds"][None],
        )

    def theirs(level):
        return lambda index: peer(
            scenes[index], items[index]["speech"].numpy(), distribution, level
        )

    ways = {
        "ours: noise, labels, tail": ours,
        "ours, speech read from disk as well": pairs.simulate,
        "pyroomacoustics: image sources to 12 dB": theirs(12),
        "pyroomacoustics: order 3 and rays": theirs(0),
    }
    if full:
        ways["pyroomacoustics: image sources to 40 dB"] = theirs(40)
    seconds = measure(list(ways.values()), examples)
    print(f"{'one thread':44s} {'1/CPU s':>10s} {'1/wall s':>10s} ratio")
    for name, row in zip(ways, seconds, strict=True):
        report(name, row, seconds[0])


def with_workers(pairs, workers, batch):
    """Examples per second of a data loader."""
    loader = torch.utils.data.DataLoader(
        pairs, batch_size=batch, num_workers=workers
    )
    count, begin = 0, None
    for items in loader:
        if begin is None:  # workers have started
            begin = time.perf_counter()
        else:
            count += len(items["room"])
    rate = count / (time.perf_counter() - begin)
    print(f"data loader, {workers} workers: {rate:.1f} examples/s (wall)")


def on_device(pairs, device, batch):
    """Examples per second of whole batches on an accelerator."""
    items = [pairs.ingredients(index) for index in range(batch)]
    best = math.inf
    for _ in range(4):
        begin = time.perf_counter()
        rendered = render_items(items, pairs.distribution, device)
        float(rendered[0]["waveform"].sum())
        best = min(best, time.perf_counter() - begin)
    print(
        f"batches of {batch} on {device}: {batch / best:.1f} examples/s (wall)"
    )


def main():
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--examples", type=int, default=40)
    parser.add_argument("--workers", type=int, default=0)
    parser.add_argument("--device")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--full", action="store_true")
    parser.add_argument(
        "--speech", help="folder of a corpus; default: synthetic talkers"
    )
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    pra.constants.set("num_threads", 1)
    print(
        f"{platform.processor() or platform.machine()}, {os.cpu_count()} CPUs"
    )
    few = {"train-clean-100": 4, "dev-clean": 1, "test-clean": 1}
    with tempfile.TemporaryDirectory() as folder:
        speech = prepare_speech(
            arguments.speech, folder, num_talkers=few, utterances_per_talker=4
        )
        pairs = SimulatedPairs(
            "pretrain", 512_000, speech["tr"], SceneDistribution()
        )
        compare(pairs, arguments.examples, arguments.full)
        if arguments.workers:
            size = 8 * arguments.batch * arguments.workers
            shorter = SimulatedPairs("pretrain", size, speech["tr"])
            with_workers(shorter, arguments.workers, arguments.batch)
        if arguments.device:
            on_device(pairs, arguments.device, arguments.batch)


if __name__ == "__main__":
    main()
