"""Peaks of maps over directions: several sources with a confidence each."""

import math
from typing import NamedTuple

import torch


class DirectionPeaks(NamedTuple):
    """Directions of the peaks of each block of a recording.

    Arguments
    ---------
    times : torch.Tensor
        Centres of the blocks, seconds, [block].
    azimuth : torch.Tensor
        Degrees, [batch, block, peak], the most confident first; NaN where
        there are fewer peaks.
    elevation : torch.Tensor
        Degrees, same shape; NaN also where the array cannot tell it.
    confidence : torch.Tensor
        In [0, 1], same shape: how far the peak stands above the mean of the
        map, as a share of what a single plane wave can reach; 0 without peak.
    """

    times: torch.Tensor
    azimuth: torch.Tensor
    elevation: torch.Tensor
    confidence: torch.Tensor


def find_peaks(
    maps, grid, num_peaks=1, min_separation=15.0, curve=lambda values: values
):
    """Highest local maxima of maps, apart from each other, between points.

    Arguments
    ---------
    maps : torch.Tensor
        Values of at most 1, which a plane wave reaches, [..., direction].
    grid : DirectionGrid
        Where the values are.
    num_peaks : int
        At most so many.
    min_separation : float
        Smallest angle between peaks, degrees.
    curve : callable
        Monotonic; makes paraboloids of the values around a peak.

    Returns
    -------
    tuple of torch.Tensor
        Unit vectors [..., num_peaks, 3], NaN where there are fewer peaks, and
        confidence [..., num_peaks]; see :class:`DirectionPeaks`.

    Raises
    ------
    ValueError
        If the maps are not of this grid or hold values that are not finite.

    Example
    -------
    >>> from spatial_brain.processing.directions.grid import DirectionGrid
    >>> grid = DirectionGrid.circle(10.0)
    >>> maps = ((grid.azimuth - 33.0).deg2rad().cos() + 1) / 2
    >>> vectors, confidence = find_peaks(maps, grid)
    >>> azimuth, elevation = grid.angles(vectors)
    >>> round(azimuth.item(), 1), elevation.item()
    (33.0, nan)
    """
    if maps.shape[-1] != len(grid):
        raise ValueError(
            f"maps of {maps.shape[-1]} directions do not fit a grid of "
            f"{len(grid)}"
        )
    if not maps.isfinite().all():
        raise ValueError("a map holds values which are not finite")
    rows = maps.reshape(-1, len(grid))
    neighbours = grid.neighbours.to(maps.device)
    directions = grid.directions.to(maps.device)
    mean = rows.mean(-1)
    rest = rows.masked_fill(~_local_maxima(rows, neighbours), -math.inf)
    limit = math.cos(math.radians(min_separation))
    vectors, confidence = [], []
    for _ in range(num_peaks):
        height, index = rest.max(-1)
        there = height > -math.inf
        around = torch.cat((index[:, None], neighbours[index]), dim=1)
        found = grid.refine(index, curve(rows.gather(1, around)))
        vectors.append(found.masked_fill(~there[:, None], math.nan))
        share = (height - mean) / (1 - mean).clamp(min=1e-6)
        confidence.append(share.clamp(0, 1))
        close = directions[index] @ directions.T > limit
        rest = rest.masked_fill(close, -math.inf)
    shape = maps.shape[:-1]
    return (
        torch.stack(vectors, dim=1).reshape(*shape, num_peaks, 3),
        torch.stack(confidence, dim=1).reshape(*shape, num_peaks),
    )


def _local_maxima(rows, neighbours):
    """Which values no neighbour exceeds; none in a flat map."""
    highest = rows[:, neighbours[:, 0]]
    for column in neighbours.T[1:]:
        highest = torch.maximum(highest, rows[:, column])
    return (rows >= highest) & (rows > rows.mean(-1, keepdim=True) + 1e-6)
