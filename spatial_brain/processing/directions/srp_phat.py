"""SRP-PHAT of any array over time, by looking the delays up.

The cross-correlations of all pairs are made once a block on a fine grid of
delays; the response towards a direction is the sum of their values at its
delays. That takes far fewer operations than steering every bin.
"""

import math

import torch
from torch.nn import functional as F

from spatial_brain.processing.directions.blocks import BlockMaps
from spatial_brain.processing.spatial import microphone_pairs, pair_delays

# Delays in the period of twice the highest frequency. Interpolated by cubics,
# the response is off by less than 0.001.
_OVERSAMPLING = 8


class SRPPhat(BlockMaps):
    """Steered response power with phase transform of the blocks.

    A map is the mean over pairs, frames and bins of
    cos(phase difference - 2 pi f delay) (DiBiase, 2000), as
    ``processing.spatial.srp_phat`` gives it for a whole signal.

    Arguments
    ---------
    microphones : torch.Tensor
        Positions, metres, [microphone, 3].
    fs : float
        Sampling rate, hertz.
    grid : DirectionGrid, optional
        Candidates; default: what the array can tell apart.
    pooling : str
        "mean" over the frames of a block, or "max" of their maps, which
        shows each of several sources where it sounds alone.
    **options
        See :class:`BlockMaps`.

    Raises
    ------
    ValueError
        For another pooling, and as :class:`BlockMaps`.

    Example
    -------
    >>> from spatial_brain.geometry import circular_array
    >>> srp = SRPPhat(circular_array(4, 0.05), 16000)
    >>> srp(torch.randn(2, 16000, 4)).shape
    torch.Size([2, 6, 360])
    >>> srp.peaks(torch.randn(2, 16000, 4), num_peaks=2).azimuth.shape
    torch.Size([2, 6, 2])
    """

    def __init__(
        self, microphones, fs, grid=None, *, pooling="mean", **options
    ):
        super().__init__(microphones, fs, grid, **options)
        if pooling not in ("mean", "max"):
            raise ValueError(
                f'pooling must be "mean" or "max", got {pooling!r}'
            )
        self.pooling = pooling
        pairs = torch.tensor(microphone_pairs(len(self.microphones)))
        delays = pair_delays(
            self.microphones, self.grid.directions, pairs.tolist(), self.c
        )
        step = 1 / (2 * _OVERSAMPLING * float(self.frequency[-1]))
        # Two more, for the interpolation of the last delay.
        reach = math.ceil(float(delays.abs().max()) / step) + 2
        lags = torch.arange(-reach, reach + 1) * step
        angle = 2 * math.pi * self.frequency[:, None] * lags
        table = torch.cat((angle.cos(), angle.sin())) / len(self.frequency)
        place = delays.T / step + reach
        low = place.floor()
        first = low.long() + torch.arange(len(pairs)) * len(lags)
        places = torch.cat([first + tap for tap in (-1, 0, 1, 2)], dim=1)
        shares = torch.cat(cubic_weights(place - low), dim=1) / len(pairs)
        self.register_buffer("pairs", pairs, persistent=False)
        self.register_buffer("lag_table", table, persistent=False)
        self.register_buffer("places", places, persistent=False)
        self.register_buffer("shares", shares, persistent=False)

    def evidence(self, spectra):
        """Maps of blocks, see ``BlockMaps.evidence``."""
        magnitude = spectra.abs()
        # A silent bin has no phase and must not vote.
        whitened = spectra / torch.where(magnitude > 0, magnitude, 1.0)
        if self.pooling == "mean":
            return self._look_up(self._covariances(whitened))
        frames = whitened.transpose(2, 3)[..., None]
        maps = self._look_up(frames @ frames.mH)
        return maps.unfold(1, self.block_frames, self.step_frames).amax(-1)

    def _look_up(self, covariances):
        """[batch, bin, block, mic, mic] -> [batch, block, direction]."""
        batch, _, blocks = covariances.shape[:3]
        first, second = self.pairs.T
        # Phase of the second microphone minus that of the first.
        cross = covariances[..., second, first].permute(0, 2, 3, 1)
        observed = torch.cat((cross.real, cross.imag), dim=-1)
        correlation = (observed @ self.lag_table).flatten(0, 1)
        correlation = correlation.flatten(1).T.contiguous()
        maps = F.embedding_bag(
            self.places, correlation, per_sample_weights=self.shares, mode="sum"
        )
        return maps.T.unflatten(0, (batch, blocks))

    def _numbers_a_block(self):
        pairs = len(self.pairs)
        rows = self.block_frames if self.pooling == "max" else 1
        wide = pairs * sum(self.lag_table.shape)
        square = 2 * len(self.frequency) * len(self.microphones) ** 2
        mine = rows * max(wide, square, 2 * len(self.grid))
        return max(super()._numbers_a_block(), mine)


def cubic_weights(x):
    """Weights of the points -1, 0, 1, 2 for a place between 0 and 1.

    Arguments
    ---------
    x : torch.Tensor
        Places, in [0, 1].

    Returns
    -------
    tuple of torch.Tensor
        Four, of the shape of ``x`` (Lagrange).

    Example
    -------
    >>> [round(float(w), 4) for w in cubic_weights(torch.tensor(0.5))]
    [-0.0625, 0.5625, 0.5625, -0.0625]
    """
    return (
        -x * (x - 1) * (x - 2) / 6,
        (x + 1) * (x - 1) * (x - 2) / 2,
        -(x + 1) * x * (x - 2) / 2,
        (x + 1) * x * (x - 1) / 6,
    )
