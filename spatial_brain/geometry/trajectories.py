"""Points along lines and arcs."""

import math

import torch

from spatial_brain.geometry.directions import (
    as_vectors,
    azel_to_unit,
    check_positive,
)


def path_trajectory(waypoints, num_points):
    """Points at equal distances along straight lines through waypoints.

    Arguments
    ---------
    waypoints : torch.Tensor
        Shape [W, 3] with W >= 1, metres. One waypoint stands still.
    num_points : int
        Number of points, at least 1.

    Returns
    -------
    torch.Tensor
        Shape [num_points, 3]; first and last are the first and last
        waypoint (for one point, the first).

    Raises
    ------
    ValueError
        If ``waypoints`` is not [W, 3] or ``num_points`` is not positive.

    Example
    -------
    >>> path_trajectory([[0.0, 0, 0], [1, 0, 0], [1, 1, 0]], 3)
    tensor([[0., 0., 0.],
            [1., 0., 0.],
            [1., 1., 0.]])
    """
    waypoints = as_vectors(waypoints)
    if waypoints.ndim != 2:
        raise ValueError(
            f"waypoints must be [W, 3], got {tuple(waypoints.shape)}"
        )
    check_positive(num_points=num_points)
    steps = torch.linalg.vector_norm(waypoints.diff(dim=0), dim=-1)
    travelled = torch.cat((steps.new_zeros(1), steps.cumsum(0)))
    if len(waypoints) == 1 or travelled[-1] == 0:
        return waypoints[:1].expand(num_points, 3).clone()
    wanted = torch.linspace(
        0, 1, num_points, dtype=waypoints.dtype, device=waypoints.device
    )
    wanted = wanted * travelled[-1]
    index = torch.searchsorted(travelled, wanted, right=True) - 1
    index = index.clamp(0, len(steps) - 1)
    # Repeated waypoints make steps of length zero.
    tiny = torch.finfo(steps.dtype).tiny
    share = (wanted - travelled[index]) / steps[index].clamp_min(tiny)
    return torch.lerp(
        waypoints[index], waypoints[index + 1], share.clamp(0, 1)[:, None]
    )


def arc_trajectory(center, radius, start, stop, num_points, elevation=0.0):
    """Points on an arc around a centre.

    Arguments
    ---------
    center : torch.Tensor or sequence
        Shape [3], metres.
    radius : float
        Distance from the centre, metres.
    start : float
        First azimuth, degrees.
    stop : float
        Last azimuth, degrees; may lie more than a turn away.
    num_points : int
        Number of points, at least 1.
    elevation : float
        Degrees.

    Returns
    -------
    torch.Tensor
        Shape [num_points, 3].

    Example
    -------
    >>> arc_trajectory([2.0, 2.0, 1.0], 1.0, 0.0, 90.0, 2)
    tensor([[3., 2., 1.],
            [2., 3., 1.]])
    """
    check_positive(radius=radius, num_points=num_points)
    azimuth = math.radians(start) + torch.linspace(0, 1, num_points) * (
        math.radians(stop) - math.radians(start)
    )
    directions = azel_to_unit(torch.rad2deg(azimuth), elevation)
    return as_vectors(center) + radius * directions
