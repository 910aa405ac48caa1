"""Binaural mixtures of synthetic talkers, in the folder that train.py takes.

For the first run, without data of your own; delete this file, its import and
the key ``synthetic_data`` when you have some.
"""

from functools import partial
from pathlib import Path

import numpy as np
import torch

from spatial_brain.dataio.audio import write_audio
from spatial_brain.dataio.parallel import progress, run_jobs
from spatial_brain.datasets.synthetic_data import claim
from spatial_brain.geometry import azel_to_unit
from spatial_brain.simulation import SyntheticTalker, synthetic_speech
from spatial_brain.simulation.hrtf import hrtf_for, spherical_head_hrtfs
from spatial_brain.simulation.mixing import convolve, mix


def write_synthetic_mixtures(
    data_folder, *, num_mixtures, num_workers=1, **options
):
    """Write ``<split>/mix/<n>.wav``, ``<split>/s1/<n>.wav`` and so on.

    Each mixture has its own talkers, which depend on seed, split and number
    alone. What is there already is kept.

    Arguments
    ---------
    data_folder : str or Path
        Gets the files; real data in it are never touched.
    num_mixtures : dict
        Split to its number of mixtures.
    num_workers : int
        Processes.
    **options
        ``duration`` (seconds), ``num_sources``, ``level_range`` (of the
        other talkers against the first, dB), ``fs`` (Hz) and ``seed``.
    """
    folder = Path(data_folder)
    claim(folder, {"num_mixtures": num_mixtures, **options})
    names = [
        (folder / split, index, number)
        for index, (split, count) in enumerate(num_mixtures.items())
        for number in range(count)
    ]
    heads = spherical_head_hrtfs(options["fs"], 1)
    simulate = partial(_simulate, heads=heads, **options)
    for _ in progress(
        run_jobs(simulate, names, num_workers),
        total=len(names),
        description="simulating",
        unit="file",
    ):
        pass


def _simulate(job, *, heads, duration, num_sources, level_range, fs, seed):
    """Write a mixture and its sources unless they are there."""
    folder, index, number = job
    name = f"mix{number:04d}.wav"
    if (folder / "mix" / name).is_file():
        return
    rng = np.random.default_rng([seed, index, number])
    generator = torch.Generator().manual_seed(int(rng.integers(2**62)))
    length = round(duration * fs)
    talkers = [
        SyntheticTalker(int(rng.integers(2**31))) for _ in range(num_sources)
    ]
    dry = [synthetic_speech(length, fs, x, generator) for x in talkers]
    # A sector each, from -90 degrees (right) to 90.
    sectors = rng.permutation(num_sources) + rng.uniform(0.1, 0.9, num_sources)
    ways = azel_to_unit(torch.tensor(sectors * 180 / num_sources - 90), 0.0)
    images = convolve(torch.stack(dry), hrtf_for(ways, heads), length)
    levels = [0.0, *rng.uniform(*level_range, num_sources - 1)]
    mixture, images = mix(images, levels, fs=fs)
    scale = 0.5 / mixture.abs().max()
    for source, image in enumerate(images):
        write_audio(folder / f"s{source + 1}" / name, scale * image.T, fs)
    # Last: it says that the sources are there.
    write_audio(folder / "mix" / name, scale * mixture, fs)
