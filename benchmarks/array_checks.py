"""Which faults of a recording are named, and how often a clean one is blamed.

Each fault is put into recordings of real speech: in simulated rooms for
several arrays, and convolved with the measured responses of R3VIVAL where
they lie beside the checkout. Prints a table in Markdown.

    python benchmarks/array_checks.py --clips 100
"""

import argparse
import csv
import math
import random
import tempfile
from itertools import combinations
from pathlib import Path

import numpy as np
import soundfile
import torch

from spatial_brain.dataio.audio import resample_audio
from spatial_brain.geometry import (
    MicrophoneArray,
    azel_to_unit,
    rotation_matrix,
)
from spatial_brain.inference.array_checks import (
    Clap,
    check_claps,
    check_recording,
)
from spatial_brain.inference.array_checks.order import (
    hidden_exchanges,
    same_exchange,
)
from spatial_brain.simulation import diffuse_noise, simulate_rir

SHARED = Path(__file__).resolve().parents[1].parent / "shared" / "data"
ARRAYS = (
    "respeaker_usb",
    "respeaker_6mic",
    "uma8",
    "kinect_v1",
    "linear:4x0.05",
    "locata_benchmark2",
    "pair:0.1",
)
CLAPPED = ("respeaker_usb", "uma8", "dcase_tetra", "matrix_creator")
FS, SECONDS = 16000, 8
# What each fault must be named.
KINDS = {
    "polarity reversed": "polarity",
    "two channels exchanged": "exchanged_channels",
    "dead: noise of the same level": "dead_channel",
    "dead: 30 dB below": "dead_channel",
    "two channels doubled": "doubled_channel",
    "clipped": "clipped",
    "1 ms late": "delay_forbidden",
    "clock 300 ppm off": "rate_drift",
}
# Notes describe a recording; they blame no channel.
BLAME = ("error", "warning")


def main():
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clips", type=int, default=30, help="clips a cell")
    parser.add_argument("--speech", type=Path, default=SHARED / "speech")
    parser.add_argument("--rirs", type=Path, default=SHARED / "rir/r3vival")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    print_claps(args.clips, args.seed)
    speech = read_speech(args.speech)
    sets = [("simulated", simulated)]
    if args.rirs.is_dir():
        sets.append(("R3VIVAL", measured_scenes(args.rirs)))
    for name, make in sets:
        print(f"\n{name}, {args.clips} clips a cell\n")
        print("| fault | 30 dB | 20 dB | 10 dB | 0 dB |")
        print("| --- | --- | --- | --- | --- |")
        cells = [
            cell(make, speech, snr, args.clips, f"{args.seed} {snr}")
            for snr in (30, 20, 10, 0)
        ]
        for row in cells[0]:
            values = " | ".join(one[row] for one in cells)
            print(f"| {row} | {values} |", flush=True)


def print_claps(clips, seed):
    """Table of what one and two claps in simulated rooms show."""
    print(f"\nclaps in simulated rooms, {clips} a cell\n")
    print("| fault | one clap | two claps |")
    print("| --- | --- | --- |")
    for fault in ("none", "two channels exchanged", "turned", "mirrored"):
        rates = []
        for number in (1, 2):
            rng = random.Random(f"{seed} {fault} {number}")
            right = sum(clap_is_right(fault, number, rng) for _ in range(clips))
            rates.append(f"{100 * right / clips:.0f}")
        print(f"| {fault} | {' | '.join(rates)} |", flush=True)


def clap_is_right(fault, number, rng):
    """Whether claps, which a hand misses by 5 degrees, place the channels."""
    array = MicrophoneArray.resolve(rng.choice(CLAPPED))
    order = list(range(len(array)))
    turn = rng.uniform(30, 330) if fault == "turned" else 0.0
    positions = array.positions @ rotation_matrix(turn).T
    if fault == "mirrored":
        positions = positions * torch.tensor([1.0, -1.0, 1.0])
    if fault == "two channels exchanged":
        one, two = rng.sample(order, 2)
        order[one], order[two] = two, one
    size = [rng.uniform(4, 8), rng.uniform(3.5, 6), rng.uniform(2.5, 3.5)]
    centre = torch.tensor([size[0] / 2, size[1] / 2, 1.2])
    azimuths = [rng.uniform(-180, 180)]
    azimuths += [azimuths[0] + rng.uniform(60, 120)] * (number - 1)
    sources = [
        (centre + 1.2 * azel_to_unit(a + rng.gauss(0, 5), 0.0)).tolist()
        for a in azimuths
    ]
    t60 = rng.choice((0.2, 0.4, 0.6, 0.8))
    microphones = (positions - positions.mean(0) + centre).tolist()
    responses = simulate_rir(
        size, sources, microphones, fs=FS, t60=t60, diffuse_from=15.0,
        generator=torch.Generator().manual_seed(rng.randrange(2**31)),
    )  # fmt: skip
    generator = torch.Generator().manual_seed(rng.randrange(2**31))
    claps = []
    with tempfile.TemporaryDirectory() as folder:
        for azimuth, response in zip(azimuths, responses, strict=True):
            dry = torch.zeros(FS)
            fade = torch.linspace(1, 0, FS // 200)
            burst = torch.randn(len(fade), generator=generator) * fade
            dry[FS // 4 : FS // 4 + len(burst)] = burst
            wet = convolve(dry, response)
            noise = torch.randn(wet.shape, generator=generator)
            wet = wet / wet.abs().max() + 0.003 * noise
            path = Path(folder, f"{len(claps)}.wav")
            samples = (0.5 * wet[order]).T.numpy()
            soundfile.write(path, samples, FS, subtype="FLOAT")
            claps.append(Clap(str(path), azimuth))
        found = check_claps(claps, array, range(len(array)))[1]
    error = (found - positions[order]).norm(dim=1)
    return bool(error.max() < 0.015)


def cell(make, speech, snr, clips, seed):
    """Rates of all faults at one signal-to-noise ratio, as text."""
    rng = random.Random(seed)
    named, right, blamed, tried = {}, {}, [], {}
    for _ in range(clips):
        array, waveform = make(speech, snr, rng)
        found = check(array, waveform)
        blamed.append(
            [
                one.kind
                for one in found
                if one.severity in BLAME and one.kind != "low_snr"
            ]
        )
        for fault, kind in KINDS.items():
            changed, guilty = spoil(fault, waveform, array, rng)
            if changed is None:
                continue
            kinds = {kind, "incoherent"} if "dead" in kind else {kind}
            found = [one for one in check(array, changed) if one.kind in kinds]
            tried[fault] = tried.get(fault, 0) + 1
            named[fault] = named.get(fault, 0) + bool(found)
            hit = any(is_right(one, guilty, array) for one in found)
            right[fault] = right.get(fault, 0) + hit
    rows = {
        fault: f"{100 * named[fault] / tried[fault]:.0f} "
        f"({100 * right[fault] / tried[fault]:.0f})"
        for fault in KINDS
    }
    alarms = sum(bool(kinds) for kinds in blamed)
    kinds = sorted({kind for kinds in blamed for kind in kinds})
    rows["none: false alarms"] = " ".join(
        [f"{100 * alarms / clips:.1f} %", *kinds]
    )
    return rows


def is_right(finding, guilty, array):
    """Whether a finding names the channels at fault."""
    if finding.kind != "exchanged_channels":
        return bool(set(finding.channels) & guilty)
    pair = tuple(sorted(guilty))
    return same_exchange(finding.channels, pair, array.distances)


def check(array, waveform):
    """Findings on a waveform [time, channel]."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "a.wav")
        soundfile.write(path, waveform, FS, subtype="FLOAT")
        return check_recording(path, array)


def spoil(fault, waveform, array, rng):
    """A waveform with a fault, and the channels that it concerns."""
    number = len(array)
    changed = waveform.copy()
    one, two = rng.sample(range(number), 2)
    guilty = {one}
    generator = np.random.default_rng(rng.randrange(2**31))
    if fault == "polarity reversed":
        changed[:, one] *= -1
        if number == 2:
            guilty = {0, 1}
    elif fault == "two channels exchanged":
        visible = visible_exchanges(array)
        if not visible:
            return None, None
        one, two = guilty = rng.choice(visible)
        guilty = set(guilty)
        changed[:, [one, two]] = waveform[:, [two, one]]
    elif fault.startswith("dead"):
        level = waveform[:, one].std()
        level *= 1 if "same" in fault else 10**-1.5
        changed[:, one] = level * generator.standard_normal(len(waveform))
        if number == 2:
            guilty = {0, 1}
    elif fault == "two channels doubled":
        guilty = {one, two}
        changed[:, one] = waveform[:, two]
    elif fault == "clipped":
        changed *= 3 / abs(changed).max()
        changed[:, one] = changed[:, one].clip(-1, 1)
    elif fault == "1 ms late":
        changed[:, one] = np.roll(waveform[:, one], FS // 1000)
        if number == 2:
            guilty = {0, 1}
    else:
        time = np.arange(len(waveform))
        changed[:, one] = np.interp(time * (1 - 3e-4), time, waveform[:, one])
        if number == 2:
            guilty = {0, 1}
    return changed, guilty


def visible_exchanges(array):
    """Exchanges of two microphones that are no symmetry of the array."""
    hidden = set(hidden_exchanges(array.distances))
    return [p for p in combinations(range(len(array)), 2) if p not in hidden]


def read_speech(folder):
    """Paths of the test split."""
    with open(folder / "manifest.csv", newline="", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["split"] == "test"]
    return [folder.parent / row["path"] for row in rows]


def utterance(speech, rng):
    """Some seconds of a speaker, power 1, [time]."""
    samples, _ = soundfile.read(rng.choice(speech), dtype="float32")
    samples = np.tile(samples, math.ceil(SECONDS * FS / len(samples)))
    samples = samples[: SECONDS * FS]
    return torch.from_numpy(samples / samples.std())


def convolve(signal, response):
    """[time] with [channel, time] to [channel, time]."""
    size = len(signal) + response.shape[-1]
    spectrum = torch.fft.rfft(signal, size) * torch.fft.rfft(response, size)
    return torch.fft.irfft(spectrum, size)[:, : len(signal)]


def with_noise(sound, positions, snr, rng):
    """Waveform [time, channel] with noise, half white and half diffuse."""
    generator = torch.Generator().manual_seed(rng.randrange(2**31))
    white = torch.randn(sound.shape, generator=generator)
    diffuse = diffuse_noise(
        positions, sound.shape[1], fs=FS, generator=generator
    )
    noise = 0.5**0.5 * (white + diffuse)
    power = sound.pow(2).mean().sqrt()
    mixed = sound / power + noise * 10 ** (-snr / 20)
    return (0.05 * mixed).T.numpy().copy()


def simulated(speech, snr, rng):
    """An array and its recording of one or two talkers in a random room."""
    array = MicrophoneArray.resolve(rng.choice(ARRAYS))
    size = [rng.uniform(4, 8), rng.uniform(3.5, 6), rng.uniform(2.5, 3.5)]
    centre = [rng.uniform(1.2, size[0] - 1.2), rng.uniform(1.2, size[1] - 1.2)]
    centre = torch.tensor([*centre, rng.uniform(1.0, 1.5)])
    microphones = array.positions - array.centre + centre
    sources = []
    while len(sources) < rng.choice((1, 2)):
        angle, distance = rng.uniform(-math.pi, math.pi), rng.uniform(0.8, 3)
        place = centre + torch.tensor(
            [
                distance * math.cos(angle),
                distance * math.sin(angle),
                rng.uniform(-0.2, 0.6),
            ]
        )
        if all(0.3 < p < s - 0.3 for p, s in zip(place, size, strict=True)):
            sources.append(place.tolist())
    t60 = rng.choice((0.0, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8))
    walls = {"t60": t60, "diffuse_from": 15.0} if t60 else {"absorption": 1.0}
    responses = simulate_rir(
        size,
        sources,
        microphones.tolist(),
        fs=FS,
        generator=torch.Generator().manual_seed(rng.randrange(2**31)),
        **walls,
    )
    sound = sum(convolve(utterance(speech, rng), one) for one in responses)
    return array, with_noise(sound, array.positions, snr, rng)


def measured_scenes(folder):
    """Function that makes recordings with measured responses."""
    with open(folder / "manifest.csv", newline="", encoding="utf-8") as file:
        paths = [
            folder.parents[1] / row["path"] for row in csv.DictReader(file)
        ]
    array = MicrophoneArray.resolve("r3vival").select(range(6))

    def make(speech, snr, rng):
        sound = 0
        for _ in range(rng.choice((1, 2))):
            response, fs = soundfile.read(rng.choice(paths), dtype="float32")
            response = resample_audio(
                torch.from_numpy(response[:, :6].copy()), fs, FS
            )
            sound = sound + convolve(utterance(speech, rng), response.T)
        return array, with_noise(sound, array.positions, snr, rng)

    return make


if __name__ == "__main__":
    main()
