"""Layers that several networks share.

`CrossStitch` is the unit of Misra et al., "Cross-stitch networks for multi-task
learning" (CVPR 2016), with one 2 x 2 mixture a channel, through which the two
branches of EINV2 share what they learn (Cao et al., ICASSP 2021); `InputNorm`
normalises feature maps.
"""

import torch
from torch import nn


class CrossStitch(nn.Module):
    """Mixes two feature maps channel by channel.

    By default the second output is made with the first *output*:
    ``x' = w00 x + w01 y`` and ``y' = w10 x' + w11 y``. This is how the public
    PSELDNets networks were trained, and their weights want it. The symmetric
    form of the paper takes the first *input*: ``y' = w10 x + w11 y``.

    Arguments
    ---------
    num_channels : int
        Channels of both maps.
    symmetric : bool
        Whether to use the form of the paper.
    channel_axis : int
        Axis of the channels in the maps, -1 for [batch, ..., channel].

    Example
    -------
    >>> stitch = CrossStitch(2)
    >>> _ = torch.nn.init.constant_(stitch.weight, 0.5)
    >>> stitch(torch.ones(1, 2), torch.zeros(1, 2))
    (tensor([[0.5000, 0.5000]], ...), tensor([[0.2500, 0.2500]], ...))
    """

    def __init__(self, num_channels, symmetric=False, channel_axis=-1):
        super().__init__()
        self.symmetric = symmetric
        self.channel_axis = channel_axis
        self.weight = nn.Parameter(torch.empty(num_channels, 2, 2))
        nn.init.uniform_(self.weight, 0.1, 0.9)

    def forward(self, x, y):
        """Mix two maps.

        Arguments
        ---------
        x, y : torch.Tensor
            Maps of equal shape.

        Returns
        -------
        tuple of torch.Tensor
            Mixed maps of the same shape.
        """
        shape = [1] * x.ndim
        shape[self.channel_axis] = -1
        (w00, w01), (w10, w11) = (
            [self.weight[:, i, j].view(shape) for j in range(2)]
            for i in range(2)
        )
        mixed = w00 * x + w01 * y
        return mixed, w10 * (x if self.symmetric else mixed) + w11 * y


class InputNorm(nn.ModuleList):
    """Normalises every (channel, bin) of a feature map over batch and frames.

    Holds one ``BatchNorm2d`` of ``num_bins`` features a channel, under the
    names 0, 1, ... (entries such as ``scalar.0.weight`` in the networks that
    call it ``scalar``), but computes all of them at once and leaves its
    input untouched. Results, gradients and running statistics are those of
    the separate modules.

    Under ``DistributedDataParallel`` every process normalises with its own
    batch and the buffers of the first process are kept, as with any
    ``BatchNorm2d``. After ``torch.nn.SyncBatchNorm.convert_sync_batchnorm``
    the modules held here are synchronised ones and are called one by one.

    Arguments
    ---------
    num_channels : int
        Feature channels.
    num_bins : int
        Bins (mel bands) a channel.

    Example
    -------
    >>> norm = InputNorm(7, 64)
    >>> x = 3 + 5 * torch.randn(2, 7, 101, 64)
    >>> y = norm(x)
    >>> y.shape
    torch.Size([2, 7, 101, 64])
    >>> bool(y.mean((0, 2)).abs().max() < 1e-4)
    True
    >>> list(norm.state_dict())[0]
    '0.weight'
    """

    def __init__(self, num_channels=7, num_bins=64):
        super().__init__(nn.BatchNorm2d(num_bins) for _ in range(num_channels))

    def forward(self, x):
        """Normalise a batch of feature maps.

        Arguments
        ---------
        x : torch.Tensor
            Features [batch, channel, frame, bin].

        Returns
        -------
        torch.Tensor
            Normalised features of the parameters' type, in new memory.
        """
        # Differences of log energies need the full precision under autocast.
        x = x if x.dtype == torch.float64 else x.float()
        with torch.autocast(x.device.type, enabled=False):
            if any(type(norm) is not nn.BatchNorm2d for norm in self):
                return self._one_by_one(x)
            if self[0].training:
                variance, mean = torch.var_mean(x, dim=(0, 2), correction=0)
                self._update(mean, variance, x.shape[0] * x.shape[2])
            else:
                mean = self._stack("running_mean")
                variance = self._stack("running_var")
            scale = self._stack("weight") * torch.rsqrt(variance + self[0].eps)
            shift = self._stack("bias") - mean * scale
            # [channel, bin] against [batch, channel, frame, bin].
            x = torch.addcmul(shift[:, None], x, scale[:, None])
            return x.to(self[0].weight.dtype)

    def _stack(self, name):
        """One tensor [channel, bin] of a parameter or buffer."""
        return torch.stack([getattr(norm, name) for norm in self])

    @torch.no_grad()
    def _update(self, mean, variance, count):
        """Move the running statistics as ``BatchNorm2d`` does."""
        variance = variance * (count / max(count - 1, 1))
        for norm, m, v in zip(self, mean, variance, strict=True):
            norm.running_mean.lerp_(m.to(norm.running_mean), norm.momentum)
            norm.running_var.lerp_(v.to(norm.running_var), norm.momentum)
            norm.num_batches_tracked.add_(1)

    def _one_by_one(self, x):
        """Call the modules held, whose bins are their channel axis."""
        maps = x.transpose(2, 3).unsqueeze(-1)
        maps = [norm(maps[:, i]) for i, norm in enumerate(self)]
        return torch.stack(maps, 1).squeeze(-1).transpose(2, 3)
