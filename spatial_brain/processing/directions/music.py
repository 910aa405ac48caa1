"""Broadband MUSIC of any array over time."""

import math

import torch

from spatial_brain.processing.directions.blocks import BlockMaps

# Numbers of the pseudo-spectra that are made together.
_TOGETHER = 2**18


class MUSIC(BlockMaps):
    """Multiple signal classification of the blocks, over a band.

    For each bin the pseudo-spectrum 1 / |a^H E_n|^2 of the steering vectors a
    and the noise subspace E_n (Schmidt, 1986) is divided by its maximum over
    the directions, so that no bin outvotes the others; a map is the mean over
    the bins (NormMUSIC; Salvati et al., 2014). Without the normalisation bins
    in which a plane wave fits best decide; the map is then 1 - 1 / P of the
    mean P of the pseudo-spectra, which is in [0, 1]. Before, covariances and
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
    normalize : bool
        Whether all bins count alike.
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
        normalize=True,
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
        self.num_sources, self.diffuse = num_sources, diffuse
        self.normalize = normalize
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
        if self.diffuse:
            spectra = torch.complex(
                self.whitener @ spectra.real, self.whitener @ spectra.imag
            )
        covariances = self._covariances(spectra).transpose(0, 1).flatten(1, 2)
        power = covariances.diagonal(dim1=-2, dim2=-1).real.sum(-1)
        # Of a silent bin any subspace is as good as another: it is left out.
        sounding = (power > 0).to(power.dtype)
        scale = torch.where(power > 0, power, 1.0)[..., None, None]
        vectors = torch.linalg.eigh(covariances / scale).eigenvectors
        signal = vectors[..., -self.num_sources :]
        maps = torch.zeros(
            len(self.grid), covariances.shape[1], device=spectra.device
        )
        together = max(1, _TOGETHER // (len(self.grid) * maps.shape[1]))
        for bins in torch.arange(len(self.frequency)).split(together):
            part = slice(int(bins[0]), int(bins[-1]) + 1)
            values = self._pseudo_spectra(part, signal[part])
            maps += (values * sounding[part, None]).sum(0)
        maps = maps.T / len(self.frequency)
        if not self.normalize:
            # Where all is silent P is 0, and the map flat as well.
            maps = 1 - 1 / maps.clamp(min=1.0)
        return maps.unflatten(0, (batch, -1))

    def _pseudo_spectra(self, bins, signal):
        """[bin, block, mic, source] -> [bin, direction, block]."""
        angle = 2 * math.pi * self.frequency[bins, None, None] * self.delays
        parts = (angle.cos(), angle.sin())
        if self.diffuse:
            parts = (self.whitener[bins] @ part for part in parts)
        steering = torch.cat(tuple(parts), dim=1)
        norm = torch.linalg.vector_norm(steering, dim=1, keepdim=True)
        steering = (steering / norm).mT
        real = torch.cat((signal.real, signal.imag), dim=2)
        imag = torch.cat((signal.imag, -signal.real), dim=2)
        # [bin, mic, source, block]
        real, imag = (part.permute(0, 2, 3, 1) for part in (real, imag))
        inside = 0.0
        for source in range(signal.shape[3]):
            for part in (real, imag):
                inside = inside + (steering @ part[:, :, source]).square()
        # 1 / (1 - inside), over its maximum.
        rest = (1 - inside).clamp(min=1e-6)
        return (rest.amin(1, keepdim=True) if self.normalize else 1.0) / rest

    def _curve(self, values):
        return -1 / values.clamp(min=1e-6) if self.normalize else values

    def _numbers_a_block(self):
        number = len(self.microphones)
        mine = 4 * len(self.frequency) * number**2
        mine = max(mine, 4 * len(self.grid) * self.num_sources)
        return max(super()._numbers_a_block(), mine)
