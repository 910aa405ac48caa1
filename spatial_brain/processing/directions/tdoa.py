"""From time differences of microphone pairs to directions.

Whatever estimates them, a network or a correlation: each pair votes for the
directions that explain its difference.
"""

import math

import torch

from spatial_brain.geometry import SPEED_OF_SOUND
from spatial_brain.processing.directions.peaks import find_peaks
from spatial_brain.processing.spatial import microphone_pairs, pair_delays

# Numbers held at once while pairs vote.
_CHUNK = 2**24
_STEPS = 5


class TDOALocalizer:
    """Directions from the time differences of arrival of pairs.

    A pair with the weight w and the difference t votes for a direction with
    the delay d by w exp(-(t - d)^2 / (2 scale^2)), so that a wrong difference
    does not pull: the maximum is Welsch's M-estimator. It is found on the
    grid, and from there by reweighted least squares.

    Arguments
    ---------
    microphones : torch.Tensor
        Positions, metres, [microphone, 3].
    grid : DirectionGrid
        Candidates, such as ``DirectionGrid.for_array(microphones)``.
    pairs : list of tuple of int, optional
        (i, j) of each difference; all pairs by default. A pair may stand
        several times, with a difference for each of several sources.
    scale : float
        Error of a good difference, seconds; by default half a sample at
        16 kHz.
    c : float
        Speed of sound, m/s.

    Raises
    ------
    ValueError
        If the scale is not positive or a pair names no two microphones.

    Example
    -------
    >>> from spatial_brain.geometry import azel_to_unit, circular_array
    >>> from spatial_brain.processing.directions.grid import DirectionGrid
    >>> array = circular_array(4, 0.05)
    >>> tdoa = pair_delays(array, azel_to_unit(40.0, 0.0)[None]).T
    >>> tdoa[0, 2] += 0.001  # one pair is wrong
    >>> locate = TDOALocalizer(array, DirectionGrid.for_array(array))
    >>> azimuth, elevation, confidence = locate(tdoa)
    >>> round(azimuth.item(), 2), round(confidence.item(), 1)
    (40.0, 0.8)
    """

    def __init__(
        self, microphones, grid, pairs=None, scale=3e-5, c=SPEED_OF_SOUND
    ):
        microphones = torch.as_tensor(microphones, dtype=torch.float32)
        number = len(microphones)
        pairs = list(pairs or microphone_pairs(number))
        for i, j in pairs:
            if i == j or not (0 <= i < number and 0 <= j < number):
                raise ValueError(
                    f"({i}, {j}) is no pair of {number} microphones"
                )
        if not scale > 0:
            raise ValueError(f"scale must be positive, got {scale}")
        self.grid, self.scale = grid, scale
        # Per unit of direction, seconds.
        self.baselines = pair_delays(microphones, torch.eye(3), pairs, c)
        self.delays = self.baselines @ grid.directions.T

    def __call__(self, tdoa, weights=None, num_peaks=1, min_separation=15.0):
        """Directions of the highest votes.

        Arguments
        ---------
        tdoa : torch.Tensor
            Seconds by which microphone j is reached before i, [..., pair];
            NaN where a pair has none.
        weights : torch.Tensor, optional
            Trust in each, at least 0, same shape or broadcastable to it.
        num_peaks : int
            Directions wanted.
        min_separation : float
            Smallest angle between two of them, degrees.

        Returns
        -------
        tuple of torch.Tensor
            Azimuth and elevation in degrees and confidence in [0, 1],
            [..., num_peaks], as ``find_peaks`` gives them.

        Raises
        ------
        ValueError
            If the number of pairs is another, or a weight negative.
        """
        tdoa = torch.as_tensor(tdoa, dtype=torch.float32)
        if tdoa.shape[-1:] != (len(self.baselines),):
            raise ValueError(
                f"expected time differences of {len(self.baselines)} pairs, "
                f"got shape {list(tdoa.shape)}"
            )
        weights = torch.ones(()) if weights is None else weights
        weights = torch.as_tensor(weights, dtype=torch.float32)
        weights = weights.to(tdoa.device).broadcast_to(tdoa.shape)
        if not (weights >= 0).all():
            raise ValueError("weights of time differences must be at least 0")
        shape, number = tdoa.shape[:-1], len(self.baselines)
        weights = weights.masked_fill(tdoa.isnan(), 0).reshape(-1, number)
        total = weights.sum(-1, keepdim=True)
        weights = weights / torch.where(total > 0, total, 1.0)
        rows = tdoa.nan_to_num().reshape(-1, number)
        size = max(1, _CHUNK // self.delays.numel())
        parts = [
            self._locate(*part, num_peaks, min_separation)
            for part in zip(rows.split(size), weights.split(size), strict=True)
        ]
        vectors, confidence = (
            torch.cat(part).reshape(*shape, num_peaks, *part[0].shape[2:])
            for part in zip(*parts, strict=True)
        )
        return *self.grid.angles(vectors), confidence

    def _locate(self, tdoa, weights, num_peaks, min_separation):
        """Of some rows [row, pair]: vectors and confidence [row, peak]."""
        errors = tdoa[..., None] - self.delays.to(tdoa.device)
        # Between the points of the grid no vote may be lost.
        step = math.radians(self.grid.resolution) / 2
        reach = self.baselines.norm(dim=1, keepdim=True).to(tdoa.device) * step
        width = (self.scale**2 + reach**2).sqrt()
        votes = (-0.5 * (errors / width) ** 2).exp()
        maps = (weights[:, None] @ votes)[:, 0]
        vectors, confidence = find_peaks(
            maps, self.grid, num_peaks, min_separation
        )
        return self._polish(vectors, tdoa, weights), confidence

    def _polish(self, vectors, tdoa, weights):
        """Reweighted least squares from directions, [row, peak, 3]."""
        baselines = self.baselines.to(tdoa.device)
        points = self.grid.directions.to(tdoa.device)
        near = (vectors.nan_to_num() @ points.T).argmax(-1)
        tangent = self.grid.tangents.to(tdoa.device)[near]
        slopes = baselines @ tangent
        limit = math.radians(self.grid.resolution)
        for _ in range(_STEPS):
            error = tdoa[:, None] - (vectors @ baselines.T)
            trust = weights[:, None] * (-0.5 * (error / self.scale) ** 2).exp()
            weighted = slopes.mT * trust[..., None, :]
            # So little that it matters only where the pairs say nothing.
            floor = 1e-9 * baselines.square().sum()
            eye = torch.eye(tangent.shape[-1], device=tdoa.device)
            move = torch.linalg.solve(
                weighted @ slopes + floor * eye, weighted @ error[..., None]
            )
            length = move.norm(dim=-2, keepdim=True)
            move = move * (limit / length.clamp(min=limit))
            vectors = vectors + (tangent @ move)[..., 0]
            vectors = vectors / vectors.norm(dim=-1, keepdim=True)
        return vectors
