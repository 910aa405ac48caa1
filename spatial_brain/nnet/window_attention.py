"""Self-attention within square windows of a map.

The attention of Swin (Liu et al., ICCV 2021): a learned bias for every
relative position, and a mask for windows of a cyclically shifted map.
"""

import torch
import torch.nn.functional as F
from torch import nn


def relative_index(window):
    """Place of each pair of pixels in a table of relative positions.

    Arguments
    ---------
    window : int
        Side of the square window.

    Returns
    -------
    torch.Tensor
        int64 [window^2, window^2]: (row difference + window - 1) times
        (2 window - 1) plus (column difference + window - 1), differences
        being query less key.

    Example
    -------
    >>> relative_index(2)
    tensor([[4, 3, 1, 0],
            [5, 4, 2, 1],
            [7, 6, 4, 3],
            [8, 7, 5, 4]])
    """
    row, column = torch.meshgrid(
        torch.arange(window), torch.arange(window), indexing="ij"
    )
    place = torch.stack([row.flatten(), column.flatten()], -1)
    difference = place[:, None] - place[None] + window - 1
    return difference[..., 0] * (2 * window - 1) + difference[..., 1]


def shift_mask(resolution, window, shift):
    """Keep pixels apart that only the cyclic shift made neighbours.

    Arguments
    ---------
    resolution : int
        Side of the square map.
    window : int
        Side of a window.
    shift : int
        Cyclic shift, pixels.

    Returns
    -------
    torch.Tensor
        [windows, window^2, window^2], 0 within a region and -100 between.

    Example
    -------
    >>> mask = shift_mask(16, 8, 4)
    >>> mask.shape, mask[0].abs().max().item(), mask[3].min().item()
    (torch.Size([4, 64, 64]), 0.0, -100.0)
    """
    edges = torch.tensor([resolution - window, resolution - shift])
    band = torch.bucketize(torch.arange(resolution), edges, right=True)
    region = (3 * band[:, None] + band[None]).view(
        resolution // window, window, resolution // window, window
    )
    region = region.transpose(1, 2).reshape(-1, window * window)
    apart = region[:, :, None] != region[:, None]
    return apart.float() * -100.0


class WindowAttention(nn.Module):
    """Self-attention within square windows, with relative position bias.

    Arguments
    ---------
    dim : int
        Channels.
    num_heads : int
        Heads; they divide ``dim``.
    window : int
        Side of the windows; it divides the sides of the map.

    Example
    -------
    >>> attention = WindowAttention(8, 2, 4)
    >>> attention(torch.randn(3, 8, 8, 8)).shape
    torch.Size([3, 8, 8, 8])
    """

    def __init__(self, dim, num_heads, window):
        super().__init__()
        self.num_heads, self.window = num_heads, window
        self.relative_position_bias_table = nn.Parameter(
            torch.zeros((2 * window - 1) ** 2, num_heads)
        )
        self.register_buffer("relative_position_index", relative_index(window))
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)
        nn.init.trunc_normal_(self.relative_position_bias_table, std=0.02)

    def forward(self, x, mask=None):
        """Attend within windows.

        Arguments
        ---------
        x : torch.Tensor
            Map [batch, row, column, channel], already shifted.
        mask : torch.Tensor, optional
            [windows, window^2, window^2], added to the scores.

        Returns
        -------
        torch.Tensor
            Map of the same shape.
        """
        batch, rows, columns, dim = x.shape
        w, heads = self.window, self.num_heads
        grid = (batch, rows // w, w, columns // w, w)
        windows = (rows // w) * (columns // w)
        # One copy brings query, key and value of each window together.
        qkv = self.qkv(x).view(*grid, 3, heads, dim // heads)
        qkv = qkv.permute(5, 0, 1, 3, 6, 2, 4, 7)
        bias = self.relative_position_bias_table[self.relative_position_index]
        bias = bias.permute(2, 0, 1)
        if mask is None:
            qkv = qkv.reshape(3, batch * windows, heads, w * w, -1)
        else:
            # Windows beside heads: the mask is then one for the whole batch.
            qkv = qkv.reshape(3, batch, windows * heads, w * w, -1)
            bias = (bias + mask[:, None]).flatten(0, 1)
        query, key, value = qkv.unbind(0)
        bias = bias[None].to(query.dtype)
        x = F.scaled_dot_product_attention(query, key, value, bias)
        x = x.reshape(batch, rows // w, columns // w, heads, w, w, -1)
        x = x.permute(0, 1, 4, 2, 5, 3, 6)
        return self.proj(x.reshape(batch, rows, columns, dim))
