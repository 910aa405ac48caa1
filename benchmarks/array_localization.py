#!/usr/bin/env python3
"""Directions of an array over time: ours and pyroomacoustics, from one run.

> python benchmarks/array_localization.py

SRP-PHAT and frequency-normalised MUSIC of blocks of half a second, both on
the same frames, bins and grid of azimuths, on one thread: what is timed goes
from the waveform to the direction of each block. "alike" is the share of the
blocks whose highest grid point is the same or a neighbour. CPU seconds are
those of the process; "ratio" is the peer's over ours.
"""

import argparse
import time

import numpy as np
import pyroomacoustics
import torch

from spatial_brain.geometry import MicrophoneArray, azel_to_unit
from spatial_brain.processing.directions.grid import DirectionGrid
from spatial_brain.processing.directions.music import MUSIC
from spatial_brain.processing.directions.srp_phat import SRPPhat
from spatial_brain.simulation import simulate_rir
from spatial_brain.simulation.mixing import convolve

FS = 16000
METHODS = {"SRP": SRPPhat, "NormMUSIC": MUSIC}


def record(array, seconds, seed=0):
    """A noise in a room at 50 degrees, [1, time, microphone]."""
    rng = torch.Generator().manual_seed(seed)
    centre = torch.tensor([2.6, 2.1, 1.4])
    response = simulate_rir(
        (5.5, 4.5, 3.0),
        (centre + 1.5 * azel_to_unit(50.0, 0.0))[None],
        array.positions + centre,
        t60=0.4,
    )
    dry = torch.randn(1, round(seconds * FS), generator=rng)
    image = convolve(dry, response, dry.shape[1])[0].T
    noise = torch.randn(image.shape, generator=rng)
    return (image / image.std() + 0.1 * noise)[None]


def peer(name, ours, waveform):
    """Directions of the blocks by pyroomacoustics, degrees."""
    frames = waveform[0].T.unfold(-1, ours.n_fft, ours.hop_length)
    spectra = torch.fft.rfft(frames * ours.taper).permute(0, 2, 1)
    doa = pyroomacoustics.doa.algorithms[name](
        ours.microphones.T.double().numpy(),
        FS,
        ours.n_fft,
        c=ours.c,
        azimuth=np.radians(ours.grid.azimuth.double().numpy()),
    )
    bins = np.arange(ours.bins.start, ours.bins.stop)
    found = []
    for start in range(
        0, spectra.shape[2] - ours.block_frames + 1, ours.step_frames
    ):
        block = spectra[..., start : start + ours.block_frames].numpy()
        doa.locate_sources(block, freq_bins=bins)
        found.append(doa.grid.values.argmax())
    return ours.grid.azimuth[found].numpy()


def clock(work, *arguments):
    """CPU seconds and what came of it."""
    begin = time.process_time()
    found = work(*arguments)
    return time.process_time() - begin, found


def main():
    """Time both methods for some arrays."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument(
        "--arrays",
        nargs="+",
        default=["circular:4x0.0325", "circular:6x0.0463", "circular:16x0.1"],
    )
    options = parser.parse_args()
    torch.set_num_threads(1)
    print("array              method      ours, s  peer, s  ratio  alike")
    for name in options.arrays:
        array = MicrophoneArray.resolve(name)
        waveform = record(array, options.seconds)
        for method, ours in METHODS.items():
            locate = ours(array.positions, FS, DirectionGrid.circle(2.0))
            with torch.no_grad():
                locate.peaks(waveform)
                mine, found = clock(locate.peaks, waveform)
            other, theirs = clock(peer, method, locate, waveform)
            azimuth = found.azimuth[0, : len(theirs), 0].numpy()
            away = np.abs((azimuth - theirs + 180) % 360 - 180)
            print(
                f"{name:18s} {method:10s} {mine:8.3f} {other:8.2f} "
                f"{other / mine:6.1f} {np.mean(away <= 3.0):6.0%}",
                flush=True,
            )


if __name__ == "__main__":
    main()
