"""Directions of the maps over azimuth that a network gives."""

import math

import torch

from spatial_brain.geometry import unit_to_azel
from spatial_brain.geometry.observable import mirror_normal
from spatial_brain.processing.directions.grid import DirectionGrid
from spatial_brain.processing.directions.peaks import find_peaks

_LEAST = 1e-6


class MapDecoder:
    """Peaks of maps over the azimuths of an array, refined between them.

    What an array cannot tell apart is pooled first: the map of a line or an
    upright plane is made symmetric, and peaks are given on its front side.

    Arguments
    ---------
    positions : torch.Tensor
        Microphones, metres, [M, 3].
    num_directions : int
        Azimuths from -180 degrees on, evenly spaced.

    Raises
    ------
    ValueError
        If the microphones stand on a vertical line.

    Example
    -------
    >>> from spatial_brain.geometry import circular_array
    >>> decoder = MapDecoder(circular_array(4, 0.05), 72)
    >>> azimuth = -180 + 5.0 * torch.arange(72)
    >>> maps = (2.0 - 0.5 * ((azimuth - 32.0) / 5).square()).sigmoid()
    >>> found, height = decoder.pick(maps, 1)
    >>> round(found.item(), 1)
    32.0
    """

    def __init__(self, positions, num_directions):
        self.grid = DirectionGrid.circle(360 / num_directions)
        if len(self.grid) != num_directions:
            raise ValueError(
                f"{num_directions} directions are too few: 4 at least"
            )
        self.normal = mirror_normal(positions)
        if self.normal is not None:
            self.normal = self.normal.float()
            images, _ = unit_to_azel(self._mirror(self.grid.directions))
            place = (images + 180) / self.grid.resolution
            self._low = place.floor().long() % num_directions
            self._share = place - place.floor()

    def _mirror(self, vectors):
        """Mirror images at the plane of what cannot be told apart."""
        return vectors - 2 * (vectors @ self.normal)[..., None] * self.normal

    def fold(self, maps):
        """Maps whose mirror images are pooled.

        Arguments
        ---------
        maps : torch.Tensor
            [..., direction].

        Returns
        -------
        torch.Tensor
            Same shape.
        """
        if self.normal is None:
            return maps
        high = (self._low + 1) % len(self.grid)
        images = torch.lerp(maps[..., self._low], maps[..., high], self._share)
        return (maps + images) / 2

    def pick(self, maps, number, separation=15.0):
        """Directions of maps.

        Arguments
        ---------
        maps : torch.Tensor
            Probabilities, [..., direction].
        number : int
            Directions wanted of each.
        separation : float
            Smallest angle between two, degrees.

        Returns
        -------
        tuple of torch.Tensor
            Azimuth, degrees, highest first, NaN where there are fewer; and
            height, see ``find_peaks``; both [..., number].
        """
        mirrored = self.normal is not None
        vectors, height = find_peaks(
            self.fold(maps),
            self.grid,
            2 * number if mirrored else number,
            separation,
            lambda values: values.clamp(_LEAST, 1 - _LEAST).logit(),
        )
        if mirrored:
            vectors, height = self._one_side(vectors, height, separation)
        azimuth = unit_to_azel(vectors[..., :number, :])[0]
        return azimuth, height[..., :number]

    def _one_side(self, vectors, height, separation):
        """Peaks brought to the front side, each once."""
        behind = (vectors @ self.normal < 0)[..., None]
        vectors = torch.where(behind, self._mirror(vectors), vectors)
        cosine = vectors.nan_to_num(0.0) @ vectors.nan_to_num(0.0).mT
        close = cosine > math.cos(math.radians(separation))
        again = close.tril(-1).any(-1)
        vectors = vectors.masked_fill(again[..., None], math.nan)
        height = height.masked_fill(again, 0.0)
        order = (
            (again | vectors.isnan().any(-1))
            .long()
            .argsort(dim=-1, stable=True)
        )
        return (
            vectors.gather(-2, order[..., None].expand_as(vectors)),
            height.gather(-1, order),
        )


def pool_windows(logits, window, hop):
    """Probabilities of windows of frames.

    The odds are pooled by their quadratic mean: with several sources or much
    noise few frames show a source, and those are surest.

    Arguments
    ---------
    logits : torch.Tensor
        [..., frame, direction].
    window, hop : int
        Frames; of fewer frames than a window there is one pool.

    Returns
    -------
    torch.Tensor
        [..., window, direction].

    Example
    -------
    >>> odds = torch.tensor([1.0, 7.0, 3.0, 3.0])[:, None]
    >>> found = pool_windows(odds.log(), 2, 2)[:, 0]
    >>> (found / (1 - found)).round()
    tensor([5., 3.])
    """
    window = min(window, logits.shape[-2])
    parts = logits.unfold(-2, window, hop)
    odds = (torch.logsumexp(2 * parts, dim=-1) - math.log(window)) / 2
    return odds.sigmoid()
