"""Directions over time from first-order Ambisonics."""

import math

import torch

from spatial_brain.processing.beamforming.array_response import (
    AmbisonicResponse,
)
from spatial_brain.processing.directions.grid import DirectionGrid
from spatial_brain.processing.directions.mixture import LocalMixture

# Gains that make N3D of SN3D, of which diffuse sound has alike powers.
N3D_GAINS = (1.0, math.sqrt(3), math.sqrt(3), math.sqrt(3))


class AmbisonicMixture(LocalMixture):
    """Sources that together explain the tiles of an Ambisonic recording.

    As :class:`LocalMixture`, with the real gains (1, sqrt(3) y, sqrt(3) z,
    sqrt(3) x) as steering vector of all frequencies. Diffuse sound favours no
    direction. Channels are W, Y, Z, X (ACN), SN3D.

    Arguments
    ---------
    fs : float
        Sampling rate, hertz.
    grid : DirectionGrid, optional
        Candidates; default: a sphere of 3 degrees.
    **options
        See :class:`BlockMaps`.

    Raises
    ------
    ValueError
        As :class:`BlockMaps`.

    Example
    -------
    >>> mixture = AmbisonicMixture(16000, DirectionGrid.sphere(10.0))
    >>> left = torch.randn(1, 16000, 1) * torch.tensor([1.0, 1.0, 0.0, 0.0])
    >>> mixture.peaks(left).azimuth.round().unique()
    tensor([90.])
    """

    def __init__(self, fs, grid=None, **options):
        grid = grid or DirectionGrid.sphere()
        super().__init__(torch.zeros(4, 3), fs, grid, **options)
        gains = torch.tensor(N3D_GAINS)
        self.register_buffer("gains", gains, persistent=False)

    def spectra(self, waveform):
        """Spectra of N3D channels, see ``BlockMaps.spectra``."""
        return super().spectra(waveform * self.gains)

    def _steering(self):
        gains = AmbisonicResponse().steering(
            self.grid.directions, torch.zeros(1)
        )
        gains = gains[:, 0].real * torch.tensor(N3D_GAINS)
        first, second = torch.triu_indices(4, 4)
        # The length of the vector is 2; pairs stand twice in a^H R a.
        twice = torch.where(first == second, 1.0, 2.0)
        terms = (gains[:, first] * gains[:, second] * twice / 4).T.float()
        return terms.expand(len(self.frequency), -1, -1)

    def _observed(self, covariance):
        first, second = torch.triu_indices(4, 4)
        return covariance[..., first, second].real
