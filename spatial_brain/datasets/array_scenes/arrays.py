"""Microphone arrays of any geometry, drawn at random."""

import numpy as np
import torch

from spatial_brain.geometry import (
    circular_array,
    linear_array,
    rotation_matrix,
)

# Kind to its share, and the fewest microphones it takes.
_KINDS = {
    "circle": (0.3, 3),
    "circle and centre": (0.13, 4),
    "line": (0.2, 2),
    "plane": (0.19, 3),
    "volume": (0.18, 4),
}
# Share of the lines whose microphones are not evenly spaced.
_UNEVEN = 0.3
# Share of the planes that are grids, in half of them off by this part of a cell
# at most.
_GRID, _OFF_GRID = 0.5, 0.2
_TRIES = 1000


def draw_array(
    rng, num_microphones, *, aperture=(0.03, 0.25), nearest=0.02, upright=0.1
):
    """Draw an array: circle, line, plane or volume, turned at random.

    Arguments
    ---------
    rng : numpy.random.Generator
        Source of all choices.
    num_microphones : int
        At least 2.
    aperture : tuple of float
        Largest distance of two microphones, metres, uniform in this range as
        far as so many microphones have room in it.
    nearest : float
        Least distance of two microphones, metres.
    upright : float
        Share of the circles and planes that stand instead of lying.

    Returns
    -------
    tuple
        Kind, and positions around their mean, metres, float64 [M, 3].

    Raises
    ------
    ValueError
        If there are less than two microphones, or no array is found.

    Example
    -------
    >>> kind, positions = draw_array(np.random.default_rng(1), 2)
    >>> kind, positions.shape
    ('line', torch.Size([2, 3]))
    """
    if num_microphones < 2:
        raise ValueError(
            f"num_microphones must be at least 2, got {num_microphones}"
        )
    kinds = [k for k, (_, least) in _KINDS.items() if least <= num_microphones]
    shares = np.array([_KINDS[kind][0] for kind in kinds])
    for _ in range(_TRIES):
        kind = str(rng.choice(kinds, p=shares / shares.sum()))
        positions = _shape(rng, kind, num_microphones)
        distances = torch.pdist(positions)
        scale = rng.uniform(*aperture) / float(distances.max())
        if num_microphones > 2 and float(distances.min()) * scale < nearest:
            continue
        stands = kind not in ("line", "volume") and rng.random() < upright
        yaw, pitch = rng.uniform(-180, 180), 90.0 if stands else 0.0
        turn = rotation_matrix(*torch.tensor([yaw, pitch]).double())
        positions = (positions - positions.mean(0)) * scale
        return kind, positions @ turn.T
    raise ValueError(
        f"no array of {num_microphones} microphones found in {_TRIES} tries: "
        f"apertures {tuple(aperture)} m, microphones at least {nearest:g} m "
        "apart; take a larger aperture or a smaller distance"
    )


def _shape(rng, kind, number):
    """Positions of a kind of array, of any size, not turned, [M, 3]."""
    if kind == "circle":
        return circular_array(number, 1.0).double()
    if kind == "circle and centre":
        around = circular_array(number - 1, 1.0).double()
        return torch.cat((around, torch.zeros(1, 3, dtype=torch.float64)))
    if kind == "line":
        positions = linear_array(number, 1.0).double()
        if number > 2 and rng.random() < _UNEVEN:
            positions[:, 0] = torch.from_numpy(np.sort(rng.random(number)))
        return positions
    positions = torch.from_numpy(rng.uniform(-1, 1, (number, 3)))
    if kind == "plane":
        if rng.random() < _GRID:
            positions = _grid(rng, number)
        positions[:, 2] = 0.0
    return positions


def _grid(rng, number):
    """Points of a square grid, more or less exactly, [M, 3]."""
    side = int(np.ceil(np.sqrt(number)))
    places = np.stack(np.meshgrid(*2 * [np.arange(side)]), -1).reshape(-1, 2)
    chosen = rng.permutation(places)[:number]
    off = rng.choice([0.0, _OFF_GRID]) * rng.uniform(-1, 1, (number, 2))
    return torch.from_numpy(np.pad(chosen + off, ((0, 0), (0, 1))))
