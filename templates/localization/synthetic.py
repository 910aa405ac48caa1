"""Recordings in simulated rooms, in the folder that train.py takes.

For the first run, without data of your own; delete this file, its import and
the key ``synthetic_data`` when you have some.
"""

from functools import partial
from pathlib import Path

import numpy as np
import torch

from spatial_brain.dataio.audio import write_audio
from spatial_brain.dataio.files import write_table
from spatial_brain.dataio.parallel import progress, run_jobs
from spatial_brain.datasets.synthetic_data import claim
from spatial_brain.geometry import unit_to_azel
from spatial_brain.simulation import (
    SyntheticTalker,
    sample_room,
    simulate_rir,
    synthetic_speech,
)
from spatial_brain.simulation.mixing import add_noise, convolve, mix


def write_synthetic_recordings(
    data_folder, *, num_recordings, num_workers=1, **options
):
    """Write ``recordings/<split>_<n>.wav`` and ``directions.csv``.

    Each recording has its own room and talkers, which depend on seed, split
    and number alone. What is there already is kept.

    Arguments
    ---------
    data_folder : str or Path
        Gets the files; real data in it are never touched.
    num_recordings : dict
        Split to its number of recordings.
    num_workers : int
        Processes.
    **options
        ``duration`` (seconds), ``t60_range`` (seconds), ``snr_range`` (dB),
        ``microphone_positions`` (metres), ``azimuth_columns`` (one a talker),
        ``fs`` (Hz) and ``seed``.
    """
    folder = Path(data_folder)
    claim(folder, {"num_recordings": num_recordings, **options})
    names = [
        (index, f"{split}_{number:04d}", split)
        for index, (split, count) in enumerate(num_recordings.items())
        for number in range(count)
    ]
    simulate = partial(_simulate, folder=folder / "recordings", **options)
    jobs = run_jobs(simulate, names, num_workers)
    rows = [None] * len(names)
    for place, azimuths in progress(
        jobs, total=len(names), description="simulating", unit="file"
    ):
        _, name, split = names[place]
        columns = zip(options["azimuth_columns"], azimuths, strict=True)
        rows[place] = {"file": f"recordings/{name}.wav", **dict(columns)}
        rows[place]["split"] = split
    write_table(folder / "directions.csv", rows)


def _simulate(
    job,
    folder,
    *,
    duration,
    t60_range,
    snr_range,
    microphone_positions,
    azimuth_columns,
    fs,
    seed,
):
    """Simulate a recording unless it is there; azimuths in degrees."""
    index, name, _ = job
    rng = np.random.default_rng([seed, index, int(name.split("_")[1])])
    generator = torch.Generator().manual_seed(int(rng.integers(2**62)))
    array = torch.tensor(microphone_positions, dtype=torch.float64)
    room = sample_room(
        generator,
        t60_range=t60_range,
        array=array,
        num_sources=len(azimuth_columns),
        distance_range=(0.8, 3.0),
        random_yaw=False,
        height_range=(1.2, 1.8),
        min_angle=20.0,
    )
    azimuths, _ = unit_to_azel(room.sources - (room.microphones - array)[0])
    path, length = folder / f"{name}.wav", round(duration * fs)
    if not path.is_file():
        talkers = [SyntheticTalker(int(rng.integers(2**31))) for _ in azimuths]
        dry = [synthetic_speech(length, fs, x, generator) for x in talkers]
        rirs = simulate_rir(
            room.size, room.sources, room.microphones, fs=fs, t60=room.t60
        )
        images = convolve(torch.stack(dry), rirs, length)
        clean, _ = mix(images, torch.zeros(len(dry)), fs=fs)
        noise = torch.randn(clean.shape, generator=generator)
        noisy = add_noise(clean, noise, rng.uniform(*snr_range), fs=fs)
        write_audio(path, 0.5 * noisy / noisy.abs().max(), fs)
    return [round(azimuth, 1) for azimuth in azimuths.tolist()]
