"""Synthetic data in the format of MIR."""

from itertools import product
from pathlib import Path

import numpy as np
import scipy.io
import torch

from spatial_brain.atomic import atomic_path
from spatial_brain.datasets.real_arrays.responses.mir import (
    ANGLES,
    ARRAYS,
    DISTANCES,
    ROOM_SIZE,
    STEM,
    TIMES,
)
from spatial_brain.datasets.real_arrays.synthetic.measurements import (
    simulate_responses,
)
from spatial_brain.datasets.synthetic_data import claim
from spatial_brain.geometry import azel_to_unit

# Where the array stands in the laboratory; sources are in front of it.
_CENTRE = torch.tensor([2.0, 2.8, 1.0])
# Microphones 1 to 4 to the right, 5 to 8 to the left.
_SIDES = "1-4: 270deg, 5-8: 90deg"


def write_synthetic_mir(
    folder,
    *,
    times=tuple(TIMES),
    arrays=ARRAYS,
    distances=DISTANCES,
    angles=ANGLES[::4],
    fs=16000,
    duration=None,
    seed=0,
):
    """Write MAT files as the Bar-Ilan database has them.

    Arguments
    ---------
    folder : str or Path
        Becomes ``MIR``.
    times, arrays, distances, angles : sequence of str
        Which of the files, as in their names.
    fs : int
        Sampling rate in Hz; the real one is 48000.
    duration : float, optional
        Seconds of each response; default: its T60.
    seed : int
        Of the tails.

    Raises
    ------
    ValueError
        If the database has no such files.

    Example
    -------
    >>> folder = getfixture("tmp_path") / "MIR"
    >>> write_synthetic_mir(
    ...     folder, times=["0.160"], arrays=["3-3-3-8-3-3-3"], angles=["000"]
    ... )
    >>> len(list(folder.glob("*/*.mat")))
    2
    """
    for known, wanted in (
        (TIMES, times),
        (ARRAYS, arrays),
        (DISTANCES, distances),
        (ANGLES, angles),
    ):
        unknown = [one for one in wanted if one not in known]
        if unknown:
            raise ValueError(
                f"MIR has no {unknown[0]!r}, only {', '.join(known)}"
            )
    claim(
        folder,
        {
            "corpus": "MIR",
            "times": list(times),
            "arrays": list(arrays),
            "distances": list(distances),
            "angles": list(angles),
            "fs": fs,
            "duration": duration,
            "seed": seed,
        },
    )
    where = list(product(distances, angles))
    directions = azel_to_unit(
        torch.tensor([float(angle) for _, angle in where]),
        torch.zeros(len(where)),
    )
    metres = torch.tensor([float(d.removesuffix("m")) for d, _ in where])
    sources = _CENTRE + metres[:, None] * directions
    for time, array in product(times, arrays):
        names = [
            f"{STEM}_(Reverberation_{time}s)_{array}_{distance}_{angle}.mat"
            for distance, angle in where
        ]
        paths = [Path(folder, STEM, name) for name in names]
        if all(path.is_file() for path in paths):
            continue
        responses = simulate_responses(
            ROOM_SIZE,
            float(time),
            sources,
            _microphones(array),
            fs=fs,
            duration=duration or float(time),
            seed=seed,
        )
        for path, (distance, angle), response in zip(
            paths, where, responses, strict=True
        ):
            content = _content(response, fs, time, array, distance, angle)
            with atomic_path(path) as temporary:
                scipy.io.savemat(
                    temporary, content, appendmat=False, oned_as="row"
                )


def _microphones(array):
    """Positions in the room, from right to left."""
    spacing = torch.tensor([float(part) / 100 for part in array.split("-")])
    ends = torch.cat((torch.zeros(1), spacing.cumsum(0)))
    positions = torch.zeros(8, 3)
    positions[:, 1] = ends - ends[-1] / 2
    return _CENTRE + positions


def _content(response, fs, time, array, distance, angle):
    """Variables of a file."""
    return {
        "impulse_response": response.T.double().numpy(),
        "metapar": {
            "reverberation": float(time),
            "mic_spacing": np.array([float(p) for p in array.split("-")]),
            "mic_position": _SIDES,
            "azimuth": float(angle),
            "distance": float(distance.removesuffix("m")),
        },
        "simpar": {"fs": float(fs)},
    }
