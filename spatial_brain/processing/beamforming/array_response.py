"""What the channels of an array receive of plane waves and of diffuse sound."""

import torch

from spatial_brain.geometry import SPEED_OF_SOUND


class FreeFieldResponse:
    """Omnidirectional microphones with nothing between them.

    The response is relative to the sound at the centre of the array.

    Arguments
    ---------
    positions : torch.Tensor or sequence
        Metres, [channel, 3].
    c : float
        Speed of sound, m/s.

    Example
    -------
    >>> response = FreeFieldResponse([[0.1, 0.0, 0.0], [-0.1, 0.0, 0.0]])
    >>> front = torch.tensor([1.0, 0.0, 0.0])
    >>> steering = response.steering(front, torch.tensor([0.0, 857.5]))
    >>> steering.imag.round(decimals=3).abs()
    tensor([[0., 0.],
            [1., 1.]], dtype=torch.float64)
    """

    def __init__(self, positions, c=SPEED_OF_SOUND):
        positions = torch.as_tensor(positions, dtype=torch.float64)
        self.positions = positions - positions.mean(0)
        self.c = c

    @property
    def num_channels(self):
        """Number of channels."""
        return len(self.positions)

    def select(self, channels):
        """Response of some of the channels, to the same centre.

        Arguments
        ---------
        channels : sequence of int
            From 0.

        Returns
        -------
        FreeFieldResponse
        """
        response = FreeFieldResponse(self.positions, self.c)
        response.positions = self.positions[channels]
        return response

    def steering(self, directions, frequencies):
        """Response to plane waves: exp(i 2 pi f (r . u) / c).

        Arguments
        ---------
        directions : torch.Tensor
            Unit vectors towards the source, [..., 3].
        frequencies : torch.Tensor
            Hertz, [bin].

        Returns
        -------
        torch.Tensor
            complex128, [..., bin, channel]; a microphone that lies nearer to
            the source is ahead.
        """
        lead = directions.double() @ self.positions.T / self.c
        phase = (
            2 * torch.pi * frequencies.double()[:, None] * lead[..., None, :]
        )
        return torch.polar(torch.ones_like(phase), phase)

    def diffuse_coherence(self, frequencies):
        """Coherence in a spherically diffuse field: sin(x) / x.

        Arguments
        ---------
        frequencies : torch.Tensor
            Hertz, [bin].

        Returns
        -------
        torch.Tensor
            complex128, [bin, channel, channel].
        """
        distances = torch.linalg.vector_norm(
            self.positions[:, None] - self.positions, dim=-1
        )
        waves = 2 * frequencies.double()[:, None, None] * distances / self.c
        return torch.sinc(waves).to(torch.complex128)


class AmbisonicResponse:
    """First-order Ambisonics: channels W, Y, Z, X (ACN), SN3D.

    Example
    -------
    >>> left = torch.tensor([0.0, 1.0, 0.0])
    >>> AmbisonicResponse().steering(left, torch.zeros(1)).real
    tensor([[1., 1., 0., 0.]], dtype=torch.float64)
    """

    num_channels = 4

    def steering(self, directions, frequencies):
        """Gains (1, y, z, x) of plane waves, the same at every frequency.

        Arguments
        ---------
        directions : torch.Tensor
            Unit vectors towards the source, [..., 3].
        frequencies : torch.Tensor
            Hertz, [bin].

        Returns
        -------
        torch.Tensor
            complex128, [..., bin, 4].
        """
        x, y, z = directions.to(torch.complex128).unbind(-1)
        gains = torch.stack((torch.ones_like(x), y, z, x), dim=-1)
        return gains[..., None, :].expand(
            *gains.shape[:-1], len(frequencies), 4
        )

    def diffuse_coherence(self, frequencies):
        """Powers 1, 1/3, 1/3, 1/3 without correlation.

        Arguments
        ---------
        frequencies : torch.Tensor
            Hertz, [bin].

        Returns
        -------
        torch.Tensor
            complex128, [bin, 4, 4].
        """
        powers = torch.tensor([1.0, 1 / 3, 1 / 3, 1 / 3])
        matrix = powers.to(torch.complex128).diag()
        return matrix.expand(len(frequencies), 4, 4)
