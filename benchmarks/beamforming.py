"""Sound from a direction in a real room: gain of each method.

    python benchmarks/beamforming.py [--data ../shared/data] [--mixtures 40]

Two speakers of the test set at random loudspeakers of R3VIVAL (measured
responses of six microphones around a sphere of 4.8 cm, T60 0.5 to 0.75 s, 1.5
to 3 m away), 30 degrees or more apart, equally loud, white noise 30 dB below,
8 s at 16 kHz. "SNR" is the source, with its reverberation, over the other and
the noise, at the mean microphone before and in the output after; "SI-SDR" is
against the direct sound, over the seventh microphone, which is in the centre.
"x real time" is the duration of the sound over the time needed.
"""

import argparse
import csv
import time
from pathlib import Path

import torch

from spatial_brain.dataio.audio import read_audio, resample_audio
from spatial_brain.geometry import MicrophoneArray, wrap_azimuth
from spatial_brain.inference.beamforming.beamformer import Beamformer
from spatial_brain.metrics.separation.signals import si_snr
from spatial_brain.simulation.mixing import convolve

FS, SECONDS = 16000, 8
NOISE_DB, APART = -30.0, 30.0
# The direct sound arrives at 10 ms.
DIRECT = 0.0125
METHODS = {
    "delay-and-sum": {"method": "delay-and-sum"},
    "mvdr, noise diffuse": {"method": "mvdr", "noise": "diffuse"},
    "mvdr, noise of the recording": {"method": "mvdr"},
    "lcmv, noise diffuse": {"method": "lcmv", "noise": "diffuse"},
    "lcmv, noise of the recording": {"method": "lcmv"},
    "gev": {"method": "gev"},
}


def read_rows(path):
    """Rows of a table."""
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def draw(rooms, speech, generator):
    """Two loudspeakers of one condition, and an utterance for each."""
    while True:
        first = rooms[int(torch.randint(len(rooms), (1,), generator=generator))]
        others = [
            row
            for row in rooms
            if row["condition"] == first["condition"]
            and _angle(row, first) >= APART
        ]
        if others:
            break
    second = others[int(torch.randint(len(others), (1,), generator=generator))]
    order = torch.randperm(len(speech), generator=generator).tolist()
    return (first, second), [speech[i] for i in order[:2]]


def _angle(one, other):
    """Between two loudspeakers, degrees."""
    apart = float(one["azimuth_deg"]) - float(other["azimuth_deg"])
    return float(wrap_azimuth(apart).abs())


def images_of(folder, places, utterances):
    """What the microphones receive of both, [2, 7, time], and the direct."""
    images = []
    total = SECONDS * FS
    for place, utterance in zip(places, utterances, strict=True):
        rir, fs = read_audio(folder / place["path"])
        rir = resample_audio(rir, fs, FS).T
        dry = read_audio(folder / utterance["path"], fs=FS)[0][:total, 0]
        dry = torch.nn.functional.pad(dry, (0, total - len(dry)))
        images.append(convolve(dry[None], rir[None], total)[0])
        if len(images) == 1:
            early = rir[-1:, : round(DIRECT * FS)]
            direct = convolve(dry[None], early[None], total)[0, 0]
    return torch.stack([one / one[-1].std() for one in images]), direct


def gains(images, direct, azimuths, generator):
    """SNR and SI-SDR gain (dB) and seconds of each method."""
    noise = torch.randn(images[0].shape, generator=generator)
    parts = torch.stack((images[0], images[1] + noise * 10 ** (NOISE_DB / 20)))
    channels, centre = parts[:, :-1].mT, parts[:, -1]
    array = MicrophoneArray.named("r3vival").select(range(6))
    before = (
        _ratio(channels[0], channels[1]),
        float(si_snr(centre.sum(0), direct)),
    )
    found = {}
    for name, options in METHODS.items():
        began = time.perf_counter()
        beamformer = Beamformer.from_array(array, **options)
        output = beamformer.beamform_batch(
            channels.sum(0)[None],
            FS,
            azimuths[0],
            nulls=azimuths[1:] if beamformer.method == "lcmv" else (),
            parts=channels[None],
        )[0]
        seconds = time.perf_counter() - began
        after = _ratio(*output), float(si_snr(output.sum(0), direct))
        found[name] = (after[0] - before[0], after[1] - before[1], seconds)
    return found


def _ratio(target, rest):
    """Power of two signals, dB."""
    return float(10 * (target.square().mean() / rest.square().mean()).log10())


def main():
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--mixtures", type=int, default=40)
    args = parser.parse_args()
    rooms = read_rows(args.data / "rir" / "r3vival" / "manifest.csv")
    rooms = [r for r in rooms if r["source_type"].startswith("directional")]
    speech = read_rows(args.data / "speech" / "manifest.csv")
    speech = [row for row in speech if row["split"] == "test"]
    generator = torch.Generator().manual_seed(0)
    rows = {name: [] for name in METHODS}
    for _ in range(args.mixtures):
        places, utterances = draw(rooms, speech, generator)
        images, direct = images_of(args.data, places, utterances)
        azimuths = [float(place["azimuth_deg"]) for place in places]
        found = gains(images, direct, azimuths, generator)
        for name, row in found.items():
            rows[name].append(row)
    print("| method | SNR gain, dB | SI-SDR gain, dB | x real time |")
    print("| --- | --- | --- | --- |")
    for name, row in rows.items():
        snr, sdr, seconds = torch.tensor(row).mean(0).tolist()
        print(f"| {name} | {snr:.1f} | {sdr:.1f} | {SECONDS / seconds:.0f} |")


if __name__ == "__main__":
    main()
