"""Error of directions against each fault of the microphones.

    python benchmarks/microphone_faults.py [--array respeaker_4mic]
        [--recordings 20] [--picture docs/images/microphone_faults.png]

One source of speech (synthetic) 1.5 m from the array in rooms of T60 0.3 s,
diffuse noise 20 dB below, 3 s at 16 kHz; the same rooms, signals and random
numbers for every fault and method. Methods are told the array as it is said
to be. The error is the mean over windows of 1 s, in degrees of azimuth.
"mixture", "norm-music" and "srp-phat" are ours; "music" is that of
pyroomacoustics.
"""

import argparse
from functools import partial

import numpy as np
import pyroomacoustics as pra
import torch

from spatial_brain.geometry import (
    MicrophoneArray,
    azel_to_unit,
    rotation_matrix,
    wrap_azimuth,
)
from spatial_brain.processing.directions.mixture import LocalMixture
from spatial_brain.processing.directions.music import MUSIC
from spatial_brain.processing.directions.srp_phat import SRPPhat
from spatial_brain.reporting.plots import new_figure, save_figure, style
from spatial_brain.simulation.microphone_faults import MicrophoneFaults
from spatial_brain.simulation.mixing import add_noise, convolve
from spatial_brain.simulation.noise_field import diffuse_noise
from spatial_brain.simulation.rir import simulate_rir
from spatial_brain.simulation.synthesis.speech import synthetic_speech

FS = 16000
SECONDS = 3
WINDOW = 1.0
SIZE, CENTRE, DISTANCE, T60, SNR = (
    (6.0, 5.0, 3.0),
    (3.0, 2.4, 1.4),
    1.5,
    0.3,
    20,
)
BAND = (300.0, 4000.0)
SWEEPS = {
    "gain": ("dB, spread", (0.0, 1.0, 3.0, 6.0, 10.0)),
    "delay": ("samples, spread", (0.0, 0.25, 0.5, 1.0, 2.0)),
    "position": ("mm, spread", (0.0, 1.0, 3.0, 6.0, 10.0)),
    "polarity": ("channels reversed", (0, 1, 2)),
    "dead": ("channels dead", (0, 1, 2)),
    "noise": ("dB SNR", (40.0, 20.0, 10.0, 0.0)),
}


def record(array, index, faults):
    """Recording [time, microphone] and the azimuth of its source."""
    generator = torch.Generator().manual_seed(index)
    azimuth, turn = (
        360 * float(torch.rand(1, generator=generator)) - 180 for _ in range(2)
    )
    turn = rotation_matrix(yaw=turn)
    drawn = MicrophoneFaults(**faults).draw(
        len(array), torch.Generator().manual_seed(1000 + index)
    )
    own = array.positions - array.centre + drawn.offset
    centre = torch.tensor(CENTRE)
    source = centre + DISTANCE * turn @ azel_to_unit(azimuth, 0.0)
    microphones = centre + own @ turn.T
    rir = simulate_rir(SIZE, source[None], microphones, fs=FS, t60=T60)
    dry = synthetic_speech(SECONDS * FS, FS, index, generator)
    clean = convolve(dry[None], rir, SECONDS * FS)[0].T
    noise = diffuse_noise(own, SECONDS * FS, fs=FS, generator=generator)
    noisy = add_noise(clean, noise.T, SNR, fs=FS)
    return drawn.record(noisy.T, generator).T, azimuth


def peaks(kind, waveform, array):
    """Azimuths of one of our methods, degrees, [window]."""
    options = {"block": WINDOW, "hop": WINDOW / 2, "band": BAND}
    maps = kind(array.positions, FS, **options)
    return maps.peaks(waveform[None]).azimuth[0, :, 0]


def peer(waveform, array):
    """Azimuths of pyroomacoustics' MUSIC, degrees, [window]."""
    positions = (array.positions - array.centre).T.double().numpy()
    doa = pra.doa.MUSIC(
        positions[:2], FS, 512, num_src=1, azimuth=np.deg2rad(np.arange(360))
    )
    found = []
    size = round(WINDOW * FS)
    for start in range(0, len(waveform) - size + 1, size // 2):
        window = waveform[start : start + size].double().numpy()
        spectra = pra.transform.stft.analysis(
            window, 512, 128, win=np.hanning(512)
        )
        doa.locate_sources(spectra.transpose(2, 1, 0), freq_range=list(BAND))
        found.append(np.rad2deg(doa.azimuth_recon[0]))
    return torch.tensor(found)


METHODS = {
    "mixture": partial(peaks, LocalMixture),
    "srp-phat": partial(peaks, SRPPhat),
    "norm-music": partial(peaks, MUSIC),
    "music": peer,
}


def sweep(array, recordings):
    """Mean errors, fault to method to [value]."""
    errors = {}
    for fault, (unit, values) in SWEEPS.items():
        table = {name: [] for name in METHODS}
        for value in values:
            made = [record(array, i, {fault: value}) for i in range(recordings)]
            for name, method in METHODS.items():
                off = [
                    wrap_azimuth(method(waveform, array) - azimuth).abs()
                    for waveform, azimuth in made
                ]
                table[name].append(torch.cat(off).mean().item())
        errors[fault] = table
        print(f"\n| {fault}, {unit} | {' | '.join(map(str, values))} |")
        print("| --- " * (1 + len(values)) + "|")
        for name, row in table.items():
            print(f"| {name} | {' | '.join(f'{e:.1f}' for e in row)} |")
    return errors


def draw(errors, path):
    """Draw a panel a fault."""
    with style():
        figure = new_figure(width=9.0, height=5.4)
        panels = figure.subplots(2, 3, sharey=True).flat
        for panel, (fault, table) in zip(panels, errors.items(), strict=True):
            unit, values = SWEEPS[fault]
            for name, row in table.items():
                panel.plot(range(len(values)), row, marker="o", label=name)
            panel.set(xlabel=f"{fault}, {unit}", ylim=(0, 150))
            panel.set_xticks(range(len(values)), [f"{v:g}" for v in values])
        figure.axes[0].legend()
        figure.supylabel("mean error, degrees")
        save_figure(figure, path)


def main():
    """Sweep all faults."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--array", default="respeaker_4mic")
    parser.add_argument("--recordings", type=int, default=20)
    parser.add_argument("--picture", help="draw the errors (png)")
    args = parser.parse_args()
    array = MicrophoneArray.resolve(args.array)
    errors = sweep(array, args.recordings)
    if args.picture:
        draw(errors, args.picture)


if __name__ == "__main__":
    main()
