"""Temporal convolutional network that finds masks, as in Conv-TasNet.

Source: Luo and Mesgarani, "Conv-TasNet: Surpassing Ideal Time-Frequency
Magnitude Masking for Speech Separation", IEEE/ACM TASLP 27(8), 2019. Names in
the state dict are those of SpeechBrain's Conv-TasNet, whose checkpoints load
with ``strict=True``. Unlike there, channels come before frames, signals of
any length are taken, and padding has no effect.

Of the norms ``"gLN"`` takes mean and variance over a whole signal, ``"cLN"``
over all frames up to the present one (both: Luo and Mesgarani, 2019),
``"channel"`` over the channels of one frame (which SpeechBrain's Conv-TasNet
calls cLN). All have eps = 1e-8 under the root, the biased variance, and a scale
and an offset for each channel, named and shaped as in SpeechBrain.
"""

import torch
from torch import nn
from torch.nn import functional as F

from spatial_brain.nnet.causal_stack import run_causal_stack
from spatial_brain.nnet.temporal_stack import EPS, Weights, run_stack


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


class _ChannelNorm(_Norm):
    """Mean and variance over the channels of each frame."""

    def forward(self, x, frames=None):
        """Normalise [batch, channel, frame]; padding does not matter."""
        wide = _wide(x)
        mean = wide.mean(1, keepdim=True)
        variance = (wide - mean).square().mean(1, keepdim=True)
        return self._affine(x, mean, variance)


class _GlobalNorm(_Norm):
    """Mean and variance over all channels and frames of each signal."""

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


class _CumulativeNorm(_Norm):
    """Mean and variance over all channels of all frames up to each frame."""

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


NORMS = {"gLN": _GlobalNorm, "cLN": _CumulativeNorm, "channel": _ChannelNorm}


def _reflect_frames(x, size, frames=None):
    """Continue [batch, channel, frame] on both sides as in a mirror."""
    # The outermost frame is not repeated. What is too short for one mirror
    # gets two that face each other, which PyTorch's own padding refuses.
    total = x.shape[-1]
    if frames is None and size < total:
        return F.pad(x, (size, size), mode="reflect")
    place = torch.arange(-size, total + size, device=x.device)
    if frames is None:
        return x[..., _fold(place, torch.tensor(total, device=x.device))]
    place = _fold(place, frames[:, None])[:, None]
    return x.gather(2, place.expand(-1, x.shape[1], -1))


def _fold(place, total):
    """Places in a hall of mirrors to places between its walls."""
    period = (2 * (total - 1)).clamp(min=1)
    place = place % period
    return torch.minimum(place, period - place).clamp(max=total - 1)


class _Layers(nn.ModuleDict):
    """Layers under the names that checkpoints use."""


def _pointwise(inputs, outputs):
    """Linear map of every frame, under the name a checkpoint uses."""
    return _Layers({"conv": nn.Conv1d(inputs, outputs, 1, bias=False)})


class _TemporalBlock(nn.Module):
    """Widen, look around with a dilated kernel, narrow, add."""

    def __init__(
        self,
        channels,
        hidden,
        kernel_size=3,
        dilation=1,
        norm="gLN",
        causal=False,
        extra_lag=False,
    ):
        super().__init__()
        self.dilation, self.causal = dilation, causal
        self.extra_lag = extra_lag
        self.reach = (kernel_size - 1) * dilation
        depthwise = nn.Conv1d(
            hidden,
            hidden,
            kernel_size,
            dilation=dilation,
            groups=hidden,
            bias=False,
        )
        self.layers = _Layers(
            {
                "conv": _pointwise(channels, hidden),
                "act": nn.PReLU(),
                "norm": NORMS[norm](hidden),
                "DSconv": _Layers(
                    {
                        "conv_0": _Layers({"conv": depthwise}),
                        "act": nn.PReLU(),
                        # The original registers it under a taken name.
                        "act_0": NORMS[norm](hidden),
                        "conv_1": _pointwise(hidden, channels),
                    }
                ),
            }
        )

    def forward(self, x, frames=None):
        """Map [batch, channel, frame] to the same shape."""
        layers, narrow = self.layers, self.layers["DSconv"]
        y = layers["act"](layers["conv"]["conv"](x))
        y = self._surround(layers["norm"](y, frames), frames)
        y = narrow["act"](narrow["conv_0"]["conv"](y))
        y = narrow["act_0"](y, frames)
        return x + narrow["conv_1"]["conv"](y)

    @property
    def weights(self):
        """All parameters, for the way that takes less time and memory."""
        layers, narrow = self.layers, self.layers["DSconv"]
        return Weights(
            layers["conv"]["conv"].weight,
            layers["act"].weight,
            layers["norm"].gamma,
            layers["norm"].beta,
            narrow["conv_0"]["conv"].weight,
            narrow["act"].weight,
            narrow["act_0"].gamma,
            narrow["act_0"].beta,
            narrow["conv_1"]["conv"].weight,
        )

    def _surround(self, y, frames):
        """Frames that the kernel needs beyond those given."""
        if not self.causal:
            return _reflect_frames(y, self.reach // 2, frames)
        lag = self.dilation if self.extra_lag else 0
        return F.pad(y, (self.reach + lag, 0))[..., : self.reach + y.shape[-1]]


class MaskNet(nn.Module):
    """Masks of all sources from encoded frames.

    Channel norm, bottleneck, ``num_repeats`` times ``num_blocks`` temporal
    blocks with dilations 1, 2, 4 and so on, a linear map and a ReLU.

    Arguments
    ---------
    num_filters : int
        Channels of the input and of a mask (N).
    num_sources : int
        Masks (C).
    bottleneck : int
        Channels between blocks (B).
    hidden : int
        Channels within blocks (H).
    kernel_size : int
        Taps of the depthwise convolutions (P), odd.
    num_blocks : int
        Blocks in a repeat (X).
    num_repeats : int
        Repeats (R).
    norm : str
        ``"gLN"``, ``"cLN"`` or ``"channel"``, see
        :mod:`spatial_brain.nnet.temporal_convolution`.
    causal : bool
        Whether a mask depends on its own and earlier frames only; not with
        ``"gLN"``.
    extra_lag : bool
        Causal blocks as SpeechBrain has them: every tap looks one dilation
        further back, the present frame is not among them.

    Raises
    ------
    ValueError
        If the norm is not known or takes the future of a causal network, or
        the kernel is even.

    Example
    -------
    >>> network = MaskNet(6, 2, 4, 8, num_blocks=2, num_repeats=1)
    >>> network(torch.rand(3, 6, 10)).shape
    torch.Size([3, 2, 6, 10])
    """

    def __init__(
        self,
        num_filters=128,
        num_sources=2,
        bottleneck=64,
        hidden=128,
        kernel_size=3,
        num_blocks=8,
        num_repeats=4,
        norm="gLN",
        causal=False,
        extra_lag=False,
    ):
        super().__init__()
        if norm not in NORMS:
            raise ValueError(
                f"norm must be one of {', '.join(NORMS)}, got {norm!r}"
            )
        if causal and norm == "gLN":
            raise ValueError(
                "gLN is taken over the whole signal: a causal network needs "
                "norm cLN or channel"
            )
        if extra_lag and not causal:
            raise ValueError("extra_lag is a matter of causal networks only")
        if kernel_size % 2 == 0:
            raise ValueError(f"kernel_size must be odd, got {kernel_size}")
        self.num_filters, self.num_sources = num_filters, num_sources
        self.norm, self.causal = norm, causal
        self.layer_norm = NORMS["channel"](num_filters)
        self.bottleneck_conv1x1 = _pointwise(num_filters, bottleneck)
        self.temporal_conv_net = _Layers(
            {
                f"temporalblock_{repeat}_{block}": _TemporalBlock(
                    bottleneck,
                    hidden,
                    kernel_size,
                    2**block,
                    norm,
                    causal,
                    extra_lag,
                )
                for repeat in range(num_repeats)
                for block in range(num_blocks)
            }
        )
        self.mask_conv1x1 = _pointwise(bottleneck, num_sources * num_filters)

    @property
    def blocks(self):
        """The temporal blocks, first to last."""
        return self.temporal_conv_net.values()

    @property
    def receptive_field(self):
        """Frames that the convolutions see, the present one included."""
        lag = sum(block.dilation for block in self.blocks if block.extra_lag)
        return 1 + sum(block.reach for block in self.blocks) + lag

    def forward(self, x, frames=None, rows=None, extra=None):
        """Find the masks.

        Arguments
        ---------
        x : torch.Tensor
            [batch, filter, frame].
        frames : torch.Tensor, optional
            Frames of each signal, int64 [batch]; what lies behind has
            no effect, and the masks there have no meaning.
        rows : int, optional
            Only so many of the filters of each mask.
        extra : torch.Tensor, optional
            What is added to the output of the bottleneck, [batch, bottleneck,
            frame].

        Returns
        -------
        torch.Tensor
            At least 0, [batch, source, filter, frame].
        """
        x = self.bottleneck_conv1x1["conv"](self.layer_norm(x))
        if extra is not None:
            x = x + extra
        x = self._look_around(x, frames)
        weight = self.mask_conv1x1["conv"].weight
        weight = weight.unflatten(0, (self.num_sources, -1))[:, :rows]
        masks = F.conv1d(x, weight.flatten(0, 1))
        return masks.relu().unflatten(1, (self.num_sources, -1))

    def _look_around(self, x, frames):
        """Run all blocks, by the quicker way where it gives the same."""
        if not self._is_quick(x, frames):
            for block in self.blocks:
                x = block(x, frames)
            return x
        weights = [block.weights for block in self.blocks]
        dilations = [block.dilation for block in self.blocks]
        if self.norm != "gLN":
            return run_causal_stack(x, weights, dilations, self.norm == "cLN")
        if frames is None:
            return run_stack(x, weights, dilations)
        rows = [
            run_stack(row[None, :, :count], weights, dilations)[0]
            for row, count in zip(x, frames.tolist(), strict=True)
        ]
        total = x.shape[-1]
        return torch.stack([F.pad(y, (0, total - y.shape[-1])) for y in rows])

    def _is_quick(self, x, frames):
        """Whether a stack written by hand can be used, and is quicker.

        Signals of different lengths, and causal ones, go through it one by
        one, which takes longer on a GPU. Mixed precision is a matter of the
        layers.
        """
        device = x.device.type
        if torch.is_autocast_enabled(device):
            return False
        if self.norm != "gLN":
            lags = any(block.extra_lag for block in self.blocks)
            return device == "cpu" and self.causal and not lags
        shortest = x.shape[-1]
        if frames is not None:
            if device != "cpu":
                return False
            shortest = frames.min().item()
        return shortest > max(block.reach for block in self.blocks) // 2
