"""Responses between measured directions.

Responses of neighbouring directions differ most in their delays. Mixed as
they are, they would comb-filter each other, and the time difference between
the ears would jump instead of moving. So they are aligned in time, ear by
ear, before they are mixed, and the mixture gets the mean of their delays.
"""

from dataclasses import dataclass

import numpy as np
import torch
from scipy.spatial import ConvexHull, QhullError

from spatial_brain.geometry import SPEED_OF_SOUND
from spatial_brain.simulation.hrtf_responses import (
    delay_between,
    shift_responses,
)

METHODS = ("barycentric", "nearest")
# Directions closer than this to a measured one take its response, degrees.
SAME_DIRECTION = 0.2
# A wave crosses two places of an ear's surroundings, metres a radian apart,
# at most this much later; generous for any head.
_REACH = 0.15
# Directions at a time, which bounds the memory.
_BLOCK = 256


@dataclass(frozen=True)
class Neighbours:
    """Measured directions around wanted ones.

    Arguments
    ---------
    index : torch.Tensor
        Shape [Q, 3], int64, the nearest first.
    weight : torch.Tensor
        Shape [Q, 3], float64, not negative, of sum 1.
    angle : torch.Tensor
        To the nearest one, shape [Q], degrees.

    Example
    -------
    >>> find_neighbours(torch.eye(3), torch.eye(3)[:1]).index[0, 0].item()
    0
    """

    index: torch.Tensor
    weight: torch.Tensor
    angle: torch.Tensor


def find_neighbours(measured, wanted, method="barycentric", max_gap=30.0):
    """Measured directions, with weights, that stand for wanted ones.

    Arguments
    ---------
    measured : torch.Tensor
        Shape [M, 3].
    wanted : torch.Tensor
        Shape [Q, 3].
    method : str
        ``"nearest"`` takes the direction at the least angle;
        ``"barycentric"`` the corners of the triangle (of the convex hull of
        all measured directions) in which a wanted direction lies, and the
        nearest one where there is no triangle with corners within
        ``max_gap``: beyond the edge of a grid.
    max_gap : float
        Largest angle between a wanted direction and a measured one, degrees.

    Returns
    -------
    Neighbours
        Indices into ``measured`` and weights.

    Raises
    ------
    ValueError
        If the method is unknown, or nothing was measured within ``max_gap``
        of a direction.

    Example
    -------
    >>> measured = torch.tensor([[1.0, 0, 0], [0, 1, 0], [0, 0, 1],
    ...                          [-1, -1, -1]])
    >>> wanted = torch.tensor([[1.0, 1.0, 1.0]])
    >>> find_neighbours(measured, wanted, max_gap=60).weight.round(decimals=2)
    tensor([[0.3300, 0.3300, 0.3300]], dtype=torch.float64)
    """
    if method not in METHODS:
        raise ValueError(f"no method {method!r} between directions: {METHODS}")
    unit = torch.nn.functional.normalize
    measured = unit(torch.as_tensor(measured, dtype=torch.float64), dim=-1)
    wanted = unit(torch.as_tensor(wanted, dtype=torch.float64), dim=-1)
    cosine, nearest = (wanted @ measured.T).max(-1)
    # From the chord, as arccos is coarse near zero.
    chord = torch.linalg.vector_norm(wanted - measured[nearest], dim=-1)
    angle = torch.rad2deg(2.0 * torch.asin((chord / 2.0).clamp_max(1.0)))
    if angle.max() > max_gap:
        x, y, z = wanted[angle.argmax()].tolist()
        raise ValueError(
            f"nothing was measured within {max_gap:g} degrees of the "
            f"direction ({x:.2f}, {y:.2f}, {z:.2f}) (x front, y left, z up): "
            f"the nearest of {len(measured)} lies {angle.max():.0f} degrees "
            "away. Take a set that covers the sphere, or allow a larger gap"
        )
    index = nearest[:, None].repeat(1, 3)
    weight = torch.zeros(len(wanted), 3, dtype=torch.float64)
    weight[:, 0] = 1.0
    corners = _triangles(measured) if method == "barycentric" else []
    between = (angle > SAME_DIRECTION).nonzero()[:, 0]
    if len(corners) and len(between):
        for rows in between.split(_BLOCK):
            found, part, share = _locate(
                measured, corners, wanted[rows], max_gap
            )
            index[rows[found]], weight[rows[found]] = part, share
    return Neighbours(index, weight, angle)


def _triangles(measured):
    """Corners of the hull of directions [F, 3], none if they are flat."""
    try:
        return torch.from_numpy(ConvexHull(measured.numpy()).simplices).long()
    except QhullError:
        return []


def _locate(measured, corners, wanted, max_gap):
    """Rows of ``wanted`` in a near triangle, its corners, and weights."""
    first, second, third = measured[corners].unbind(1)
    # Cramer's rule: wanted = sum of weight times corner.
    normals = torch.stack(
        (
            torch.linalg.cross(second, third),
            torch.linalg.cross(third, first),
            torch.linalg.cross(first, second),
        ),
        dim=1,
    )
    volume = (first * normals[:, 0]).sum(-1)
    flat = volume.abs() < 1e-9
    scale = torch.where(flat, 1.0, volume)
    shares = torch.einsum("qd,fkd->qfk", wanted, normals / scale[:, None, None])
    cosine = torch.einsum("qd,fkd->qfk", wanted, measured[corners]).amin(-1)
    inside = (shares.amin(-1) >= -1e-9) & ~flat
    inside &= cosine >= np.cos(np.deg2rad(max_gap))
    score = torch.where(inside, cosine, -torch.inf)
    best = score.argmax(-1)
    found = inside.any(-1).nonzero()[:, 0]
    share = shares[found, best[found]].clamp_min(0.0)
    share = share / share.sum(-1, keepdim=True)
    share, order = share.sort(-1, descending=True)
    return found, corners[best[found]].gather(-1, order), share


def responses_between(responses, measured, neighbours, fs):
    """Mix the responses of neighbours, aligned in time.

    The delay of the second and third neighbour against the first is that of
    their largest cross-correlation, ear by ear, within what the angle
    between them allows. All are brought to the mean delay, with their
    weights, and summed. Where the first has all the weight, its response is
    returned as it is.

    Arguments
    ---------
    responses : torch.Tensor
        Shape [M, 2, L].
    measured : torch.Tensor
        Their directions, shape [M, 3].
    neighbours : Neighbours
        Of ``find_neighbours``.
    fs : int
        Sampling rate, Hz.

    Returns
    -------
    torch.Tensor
        Shape [Q, 2, L], float64.

    Example
    -------
    >>> measured = torch.eye(3)
    >>> near = find_neighbours(measured, measured[:1])
    >>> responses_between(torch.ones(3, 2, 4), measured, near, 8000).shape
    torch.Size([1, 2, 4])
    """
    responses = torch.as_tensor(responses).double()
    measured = torch.nn.functional.normalize(
        torch.as_tensor(measured, dtype=torch.float64), dim=-1
    )
    result = responses[neighbours.index[:, 0]]
    mixed = (neighbours.weight[:, 1:] > 0).any(-1).nonzero()[:, 0]
    for rows in mixed.split(_BLOCK) if len(mixed) else ():
        index, weight = neighbours.index[rows], neighbours.weight[rows]
        parts, places = responses[index], measured[index]
        chord = torch.linalg.vector_norm(places - places[:, :1], dim=-1)
        bound = _REACH * chord / SPEED_OF_SOUND + 0.5 / fs
        delay = delay_between(
            parts, parts[:, :1], fs, bound[..., None].expand(-1, -1, 2)
        )
        delay[:, 0] = 0.0
        share = weight[..., None]
        mean = (share * delay).sum(1, keepdim=True)
        parts = shift_responses(parts, (mean - delay) * fs)
        result[rows] = (share[..., None] * parts).sum(1)
    return result
