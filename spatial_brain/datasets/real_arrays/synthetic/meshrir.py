"""Synthetic data in the format of MeshRIR, part S32-M441."""

from pathlib import Path

import numpy as np
import torch

from spatial_brain.atomic import atomic_path
from spatial_brain.dataio.files import write_json
from spatial_brain.datasets.real_arrays.responses.meshrir import PART, ROOM
from spatial_brain.datasets.real_arrays.synthetic.measurements import (
    simulate_responses,
)
from spatial_brain.datasets.synthetic_data import claim

# Metres between neighbours, and of the square of sources.
_STEP, _REACH = 0.05, 1.5
_CENTRE = torch.tensor([3.5, 3.2, 1.35])


def write_synthetic_meshrir(
    folder, *, points=21, num_sources=4, fs=16000, duration=0.05, seed=0
):
    """Write NPY files as MeshRIR has them.

    Arguments
    ---------
    folder : str or Path
        Becomes ``Mesh``.
    points : int
        Microphones along each side of the grid, odd; the real one has 21.
    num_sources : int
        On a square around the grid; the real one has 32.
    fs : int
        Sampling rate in Hz; the real one is 48000.
    duration : float
        Seconds of each response.
    seed : int
        Of the tails.

    Example
    -------
    >>> folder = getfixture("tmp_path") / "Mesh"
    >>> write_synthetic_meshrir(folder, points=3, num_sources=2)
    >>> np.load(folder / "S32-M441_npy" / "ir_8.npy").shape
    (2, 800)
    """
    claim(
        folder,
        {
            "corpus": "MeshRIR",
            "points": points,
            "num_sources": num_sources,
            "fs": fs,
            "duration": duration,
            "seed": seed,
        },
    )
    place = Path(folder, PART)
    if (place / "data.json").is_file():
        return
    microphones = _grid(points)
    sources = _square(num_sources)
    responses = simulate_responses(
        ROOM.size,
        ROOM.t60,
        torch.from_numpy(sources).float() + _CENTRE,
        torch.from_numpy(microphones).float() + _CENTRE,
        fs=fs,
        duration=duration,
        seed=seed,
    ).numpy()
    _save(place / "pos_mic.npy", microphones)
    _save(place / "pos_src.npy", sources)
    for number in range(len(microphones)):
        _save(place / f"ir_{number}.npy", responses[:, number])
    # Last: with it all is there.
    write_json(place / "data.json", {"samplerate": fs})


def _grid(points):
    """Microphones around the origin, float64 [points^2, 3]."""
    # Products, whose rounding gives the published number of pairs.
    line = _STEP * (np.arange(points) - points // 2)
    x, y = np.meshgrid(line, line, indexing="ij")
    return np.stack((x.ravel(), y.ravel(), np.zeros(x.size)), axis=-1)


def _square(number):
    """Sources at equal steps on a square, float64 [number, 3]."""
    angle = 2 * np.pi * (np.arange(number) + 0.5) / number
    unit = np.stack((np.cos(angle), np.sin(angle)), axis=-1)
    unit *= _REACH / np.abs(unit).max(axis=1, keepdims=True)
    return np.concatenate((unit, np.zeros((number, 1))), axis=-1)


def _save(path, array):
    """Write an array, complete or not at all."""
    with atomic_path(path, sync=False) as temporary:
        with open(temporary, "wb") as file:
            np.save(file, array, allow_pickle=False)
