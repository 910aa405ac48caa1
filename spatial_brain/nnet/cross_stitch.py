"""Units through which two branches of a network share what they learn.

The unit of Misra et al., "Cross-stitch networks for multi-task learning"
(CVPR 2016), with one 2 x 2 mixture a channel, as EINV2 uses it (Cao et al.,
ICASSP 2021).
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
