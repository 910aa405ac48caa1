"""Broadband MUSIC of any array over time."""

import math

import torch

from spatial_brain.processing.directions.blocks import BlockMaps


class MUSIC(BlockMaps):
    """Multiple signal classification of the blocks, over a band.

    For each bin the pseudo-spectrum 1 / |a^H E_n|^2 of the steering vectors a
    and the noise subspace E_n (Schmidt, 1986) is divided by its maximum over
    the directions, so that no bin outvotes the others; a map is the mean over
    the bins (NormMUSIC; Salvati et al., 2014). Before, covariances and
    steering vectors can be whitened against diffuse noise.

    Arguments
    ---------
    microphones : torch.Tensor
        Positions, metres, [microphone, 3].
    fs : float
        Sampling rate, hertz.
    grid : DirectionGrid, optional
        Candidates; default: what the array can tell apart.
    num_sources : int
        Dimensions of the signal subspace, fewer than microphones.
    diffuse : float
        Share of spherically diffuse noise in the noise, in [0, 1); the rest
        is the microphones' own, alike and uncorrelated. Worth it only where
        the noise is diffuse indeed: against speech in rooms 0 was best.
    window : float
        Length of a frame, seconds.
    **options
        See :class:`BlockMaps`.

    Raises
    ------
    ValueError
        If ``num_sources`` or ``diffuse`` is out of range, and as
        :class:`BlockMaps`.

    Example
    -------
    >>> from spatial_brain.geometry import circular_array
    >>> music = MUSIC(circular_array(4, 0.05), 16000, num_sources=2)
    >>> music(torch.randn(2, 16000, 4)).shape
    torch.Size([2, 6, 360])
    """

    def __init__(
        self,
        microphones,
        fs,
        grid=None,
        *,
        num_sources=1,
        diffuse=0.0,
        window=0.032,
        **options,
    ):
        super().__init__(microphones, fs, grid, window=window, **options)
        number = len(self.microphones)
        if not 1 <= num_sources < number:
            raise ValueError(
                f"num_sources must be from 1 to {number - 1} for {number} "
                f"microphones, got {num_sources}"
            )
        if not 0 <= diffuse < 1:
            raise ValueError(f"diffuse must be in [0, 1), got {diffuse}")
        self.num_sources = num_sources
        distance = torch.cdist(self.microphones, self.microphones)
        argument = 2 * self.frequency[:, None, None] * distance / self.c
        noise = diffuse * torch.sinc(argument)
        noise = noise + (1 - diffuse) * torch.eye(number)
        # whitener @ noise @ whitener^T is the identity.
        root = torch.linalg.cholesky(noise.double())
        whitener = torch.linalg.inv(root).float()
        self.register_buffer("whitener", whitener, persistent=False)
        self.register_buffer(
            "delays",
            self.microphones @ self.grid.directions.T / self.c,
            persistent=False,
        )

    def evidence(self, spectra):
        """Maps of blocks, see ``BlockMaps.evidence``."""
        batch = len(spectra)
        whitened = torch.complex(
            self.whitener @ spectra.real, self.whitener @ spectra.imag
        )
        covariances = self._covariances(whitened).transpose(0, 1).flatten(1, 2)
        power = covariances.diagonal(dim1=-2, dim2=-1).real.sum(-1)
        # Of a silent bin any subspace is as good as another: it is left out.
        sounding = (power > 0).to(power.dtype)
        scale = torch.where(power > 0, power, 1.0)[..., None, None]
        vectors = torch.linalg.eigh(covariances / scale).eigenvectors
        signal = vectors[..., -self.num_sources :]
        maps = torch.zeros(
            len(self.grid), covariances.shape[1], device=spectra.device
        )
        for index in range(len(self.frequency)):
            maps += (
                self._pseudo_spectrum(index, signal[index]) * sounding[index]
            )
        maps = maps.T / len(self.frequency)
        return maps.unflatten(0, (batch, -1))

    def _pseudo_spectrum(self, index, signal):
        """Of one bin: [block, mic, source] -> [direction, block]."""
        angle = 2 * math.pi * self.frequency[index] * self.delays
        steering = torch.cat(
            (
                self.whitener[index] @ angle.cos(),
                self.whitener[index] @ angle.sin(),
            )
        )
        steering = steering / torch.linalg.vector_norm(steering, dim=0)
        real = torch.cat((signal.real, signal.imag), dim=1)
        imag = torch.cat((signal.imag, -signal.real), dim=1)
        parts = torch.stack((real, imag), dim=-1).flatten(2)
        found = steering.T @ parts.transpose(0, 1).flatten(1)
        inside = found.square().unflatten(1, (len(signal), -1)).sum(-1)
        # 1 / (1 - inside), over its maximum.
        rest = (1 - inside).clamp(min=1e-6)
        return rest.amin(0) / rest

    @staticmethod
    def _curve(values):
        return -1 / values.clamp(min=1e-6)

    def _numbers_a_block(self):
        number = len(self.microphones)
        mine = 4 * len(self.frequency) * number**2
        mine = max(mine, 4 * len(self.grid) * self.num_sources)
        return max(super()._numbers_a_block(), mine)
