"""The baseline network of DCASE2024 Task 3, as it is published.

Convolutions, a recurrent layer and self-attention (Adavanne et al., IEEE JSTSP
13, 2019; Shimada et al., ICASSP 2022) over the features of
``spatial_brain.processing.seld_features.BaselineFeatures``, a frame every
20 ms; the state dicts of the public networks load under their own names. To
train a network of this kind take ``spatial_brain.models.seld_crnn.SELDCRNN``.
"""

import torch
from torch import nn
from torch.nn import functional as F

from spatial_brain.loadable import loadable

NUM_BINS = 64
NUM_TRACKS = 3
POOLS = ((5, 4), (1, 4), (1, 2))  # frames, bins; five frames are a label frame
CHANNELS, STATES, HEADS = 64, 128, 8


class _ConvBlock(nn.Module):
    """A 3 x 3 convolution, batch norm and ReLU."""

    def __init__(self, inputs):
        super().__init__()
        self.conv = nn.Conv2d(inputs, CHANNELS, 3, padding=1)
        self.bn = nn.BatchNorm2d(CHANNELS)

    def forward(self, x):
        """Map [batch, channel, frame, bin] to as many frames and bins."""
        return F.relu(self.bn(self.conv(x)))


@loadable
class DCASEBaseline(nn.Module):
    """Features of the baseline to its vectors of three tracks a class.

    The network was trained on features normalised by mean and deviation of
    its data. They are buffers here, ``mean`` and ``deviation`` [channel, bin],
    0 and 1 until they are set.

    It also estimates distances, which are left out: outputs are the vectors
    that the decoding of multi-ACCDOA takes. There is no tanh behind them.

    Arguments
    ---------
    num_classes : int
        Event classes.
    num_channels : int
        Of the features: 7 (Ambisonics) or 10 (microphones).

    Example
    -------
    >>> network = DCASEBaseline(13).eval()
    >>> network(torch.randn(1, 7, 250, 64))["multi_accdoa"].shape
    torch.Size([1, 50, 117])
    """

    def __init__(self, num_classes=13, num_channels=7):
        super().__init__()
        self.num_classes = num_classes
        for name, value in (("mean", 0.0), ("deviation", 1.0)):
            self.register_buffer(
                name, torch.full((num_channels, NUM_BINS), value)
            )
        self.conv_block_list = nn.ModuleList()
        for pool in POOLS:
            inputs = CHANNELS if self.conv_block_list else num_channels
            self.conv_block_list.append(_ConvBlock(inputs))
            self.conv_block_list.append(nn.MaxPool2d(pool))
            self.conv_block_list.append(nn.Dropout2d(0.05))
        self.gru = nn.GRU(
            CHANNELS * (NUM_BINS // 32),
            STATES,
            2,
            batch_first=True,
            dropout=0.05,
            bidirectional=True,
        )
        self.mhsa_block_list = nn.ModuleList(
            nn.MultiheadAttention(STATES, HEADS, dropout=0.05, batch_first=True)
            for _ in range(2)
        )
        self.layer_norm_list = nn.ModuleList(
            nn.LayerNorm(STATES) for _ in range(2)
        )
        self.fnn_list = nn.ModuleList(
            nn.Linear(STATES, size)
            for size in (STATES, 4 * NUM_TRACKS * num_classes)
        )

    def vectors_and_distances(self, features):
        """All that the network estimates.

        Arguments
        ---------
        features : torch.Tensor
            [batch, channel, frame, 64], a frame every 20 ms.

        Returns
        -------
        torch.Tensor
            [batch, frame // 5, 12 classes]: track, then x, y, z and distance,
            then class.
        """
        x = (features - self.mean[:, None]) / self.deviation[:, None]
        for layer in self.conv_block_list:
            x = layer(x)
        x = self.gru(x.transpose(1, 2).flatten(2))[0].tanh()
        forward, backward = x.chunk(2, dim=-1)
        x = forward * backward
        for attention, norm in zip(
            self.mhsa_block_list, self.layer_norm_list, strict=True
        ):
            x = norm(x + attention(x, x, x, need_weights=False)[0])
        for layer in self.fnn_list:
            x = layer(x)
        return x

    def forward(self, features):
        """Vectors of three tracks a class.

        Arguments
        ---------
        features : torch.Tensor
            [batch, channel, frame, 64], a frame every 20 ms, at least five.

        Returns
        -------
        dict of torch.Tensor
            ``multi_accdoa`` [batch, frame // 5, 9 classes].

        Raises
        ------
        ValueError
            If channels or bins are others, or frames fewer than five.
        """
        channels, bins = self.mean.shape
        frames = features.shape[2] if features.ndim == 4 else 0
        if features.shape[1:] != (channels, max(frames, 5), bins):
            raise ValueError(
                f"expected features [batch, {channels}, at least 5 frames, "
                f"{bins}], got {tuple(features.shape)}"
            )
        x = self.vectors_and_distances(features)
        x = x.unflatten(-1, (NUM_TRACKS, 4, self.num_classes))
        return {"multi_accdoa": x[:, :, :, :3].flatten(2).float()}
