"""Norms of temporal convolutional networks, with channels before frames.

``"gLN"`` takes mean and variance over a whole signal, ``"cLN"`` over all
frames up to the present one (both: Luo and Mesgarani, 2019), ``"channel"``
over the channels of one frame (which SpeechBrain's Conv-TasNet calls cLN).
All have eps = 1e-8 under the root, the biased variance, and a scale and an
offset for each channel, named and shaped as in SpeechBrain.
"""

import torch
from torch import nn

EPS = 1e-8


class _Norm(nn.Module):
    """Scale and offset of channels."""

    def __init__(self, channels):
        super().__init__()
        self.gamma = nn.Parameter(torch.empty(1, 1, channels))
        self.beta = nn.Parameter(torch.empty(1, 1, channels))
        self.reset_parameters()

    def reset_parameters(self):
        """Start as a plain norm."""
        nn.init.ones_(self.gamma)
        nn.init.zeros_(self.beta)

    def _affine(self, x, mean, variance):
        """Normalise with given statistics."""
        scale = self.gamma.mT * torch.rsqrt(variance + EPS)
        return ((x - mean) * scale + self.beta.mT).to(x.dtype)


class ChannelNorm(_Norm):
    """Mean and variance over the channels of each frame.

    Arguments
    ---------
    channels : int
        Of the input.

    Example
    -------
    >>> y = ChannelNorm(4)(torch.randn(2, 4, 5))
    >>> torch.allclose(y.mean(1), torch.zeros(2, 5), atol=1e-6)
    True
    """

    def forward(self, x, frames=None):
        """Normalise [batch, channel, frame]; padding does not matter."""
        wide = _wide(x)
        mean = wide.mean(1, keepdim=True)
        variance = (wide - mean).square().mean(1, keepdim=True)
        return self._affine(x, mean, variance)


class GlobalNorm(_Norm):
    """Mean and variance over all channels and frames of each signal.

    Arguments
    ---------
    channels : int
        Of the input.

    Example
    -------
    >>> y = GlobalNorm(4)(torch.randn(2, 4, 5))
    >>> torch.allclose(y.mean((1, 2)), torch.zeros(2), atol=1e-6)
    True
    """

    def forward(self, x, frames=None):
        """Normalise [batch, channel, frame] over ``frames`` [batch] only."""
        wide = _wide(x)
        if frames is None:
            mean = wide.mean((1, 2), keepdim=True)
            variance = (wide - mean).square().mean((1, 2), keepdim=True)
            return self._affine(x, mean, variance)
        inside = torch.arange(x.shape[-1], device=x.device)
        inside = (inside < frames[:, None])[:, None]
        count = (frames * x.shape[1])[:, None, None]
        mean = (wide * inside).sum((1, 2), keepdim=True) / count
        variance = ((wide - mean) * inside).square().sum((1, 2), keepdim=True)
        return self._affine(x, mean, variance / count)


class CumulativeNorm(_Norm):
    """Mean and variance over all channels of all frames up to each frame.

    Sums run in float64, where they stay exact enough for days of audio.

    Arguments
    ---------
    channels : int
        Of the input.

    Example
    -------
    >>> norm, x = CumulativeNorm(4), torch.randn(2, 4, 5)
    >>> torch.allclose(norm(x)[..., :3], norm(x[..., :3]))
    True
    >>> torch.allclose(norm(x)[..., -1:], GlobalNorm(4)(x)[..., -1:], atol=1e-5)
    True
    """

    def forward(self, x, frames=None):
        """Normalise [batch, channel, frame]; padding does not matter."""
        count = torch.arange(1, x.shape[-1] + 1, device=x.device) * x.shape[1]
        wide = _wide(x)
        mean = _running(wide) / count
        power = _running(wide.square()) / count
        variance = (power - mean.square()).clamp(min=0)
        return self._affine(x, mean.to(wide), variance.to(wide))


def _wide(x):
    """Half precision to single: sums need it."""
    return x if x.dtype.itemsize > 2 else x.float()


def _running(x):
    """Sums over channels and frames so far, float64 [batch, 1, frame]."""
    return x.sum(1, keepdim=True).double().cumsum(-1)


NORMS = {"gLN": GlobalNorm, "cLN": CumulativeNorm, "channel": ChannelNorm}
