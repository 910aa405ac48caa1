"""Hierarchical transformer with shifted windows for square images.

Liu et al., "Swin Transformer" (ICCV 2021), in the form that HTS-AT (Chen et
al., ICASSP 2022) uses for spectrograms; parameters and buffers bear the names
of those systems. Maps are [batch, row, column, channel] throughout. Pixels of a
window attend to each other with a learned bias for every relative position, and
with a mask where the map is cyclically shifted.
"""

import torch
import torch.nn.functional as F
from timm.layers import Mlp
from torch import nn
from torch.utils.checkpoint import checkpoint


def _relative_index(window):
    """Row of the bias table for each query and key, [window^2, window^2]."""
    row, column = torch.meshgrid(
        torch.arange(window), torch.arange(window), indexing="ij"
    )
    place = torch.stack([row.flatten(), column.flatten()], -1)
    # Of query less key, from 0 on.
    difference = place[:, None] - place[None] + window - 1
    return difference[..., 0] * (2 * window - 1) + difference[..., 1]


def _shift_mask(resolution, window, shift):
    """0 within a region and -100 between, [windows, window^2, window^2]."""
    edges = torch.tensor([resolution - window, resolution - shift])
    band = torch.bucketize(torch.arange(resolution), edges, right=True)
    region = (3 * band[:, None] + band[None]).view(
        resolution // window, window, resolution // window, window
    )
    region = region.transpose(1, 2).reshape(-1, window * window)
    apart = region[:, :, None] != region[:, None]
    return apart.float() * -100.0


class _WindowAttention(nn.Module):
    """Self-attention within square windows, with relative position bias."""

    def __init__(self, dim, num_heads, window):
        super().__init__()
        self.num_heads, self.window = num_heads, window
        self.relative_position_bias_table = nn.Parameter(
            torch.zeros((2 * window - 1) ** 2, num_heads)
        )
        self.register_buffer("relative_position_index", _relative_index(window))
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)
        nn.init.trunc_normal_(self.relative_position_bias_table, std=0.02)

    def forward(self, x, mask=None):
        """Map [batch, row, column, channel], already shifted, to its like."""
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


class _DropPath(nn.Module):
    """Leaves out a residual branch for random examples while training."""

    def __init__(self, probability):
        super().__init__()
        self.probability = probability

    def forward(self, x):
        """Drop and scale [batch, ...]."""
        if not self.training or self.probability == 0.0:
            return x
        # DropPath of timm draws other examples from the same seed.
        keep = 1.0 - self.probability
        shape = (x.shape[0],) + (1,) * (x.ndim - 1)
        return x * torch.bernoulli(x.new_full(shape, keep)) / keep


class _SwinBlock(nn.Module):
    """Window attention and MLP, each with a residual connection."""

    def __init__(
        self,
        dim,
        num_heads,
        resolution,
        window=8,
        shift=0,
        drop_path=0.0,
    ):
        super().__init__()
        # A map that is not larger than a window is one, and is not shifted.
        if resolution <= window:
            window, shift = resolution, 0
        self.shift = shift
        self.norm1 = nn.LayerNorm(dim)
        self.attn = _WindowAttention(dim, num_heads, window)
        self.drop_path = _DropPath(drop_path)
        self.norm2 = nn.LayerNorm(dim)
        self.mlp = Mlp(dim, 4 * dim)
        mask = _shift_mask(resolution, window, shift) if shift else None
        self.register_buffer("attn_mask", mask)

    def forward(self, x):
        """Transform a map [batch, row, column, channel]."""
        y = self.norm1(x)
        if self.shift:
            y = y.roll((-self.shift, -self.shift), (1, 2))
        y = self.attn(y, self.attn_mask)
        if self.shift:
            y = y.roll((self.shift, self.shift), (1, 2))
        x = x + self.drop_path(y)
        return x + self.drop_path(self.mlp(self.norm2(x)))


class _PatchMerging(nn.Module):
    """Halves both sides of a map and doubles its channels."""

    def __init__(self, dim):
        super().__init__()
        self.norm = nn.LayerNorm(4 * dim)
        self.reduction = nn.Linear(4 * dim, 2 * dim, bias=False)

    def forward(self, x):
        """Merge groups of 2 x 2 pixels of [batch, row, column, channel]."""
        batch, rows, columns, dim = x.shape
        x = x.view(batch, rows // 2, 2, columns // 2, 2, dim)
        # Order of the four: down the rows first.
        x = x.permute(0, 1, 3, 4, 2, 5).flatten(3)
        return self.reduction(self.norm(x))


class _SwinStage(nn.Module):
    """Blocks of one resolution, then (but for the last stage) a merging."""

    def __init__(
        self,
        dim,
        num_heads,
        resolution,
        drop_paths,
        window=8,
        merge=True,
        checkpoint_blocks=False,
    ):
        super().__init__()
        self.dim = dim
        self.checkpoint_blocks = checkpoint_blocks
        self.blocks = nn.ModuleList(
            _SwinBlock(
                dim,
                num_heads,
                resolution,
                window,
                shift=window // 2 if i % 2 else 0,
                drop_path=drop_path,
            )
            for i, drop_path in enumerate(drop_paths)
        )
        self.downsample = _PatchMerging(dim) if merge else None

    def forward(self, x):
        """Transform a map [batch, row, column, channel]."""
        for block in self.blocks:
            if self.checkpoint_blocks and self.training:
                x = checkpoint(block, x, use_reentrant=False)
            else:
                x = block(x)
        return x if self.downsample is None else self.downsample(x)


class _PatchEmbedding(nn.Module):
    """Cuts an image into patches and embeds each."""

    def __init__(self, in_channels, dim, patch=4):
        super().__init__()
        self.proj = nn.Conv2d(in_channels, dim, patch, patch)
        self.norm = nn.LayerNorm(dim)

    def forward(self, image):
        """Embed [batch, channel, row, column]; channels come last then."""
        return self.norm(self.proj(image).permute(0, 2, 3, 1))


class SwinTransformer(nn.Module):
    """Image to a map of 1 / 32 of its size.

    The defaults are those of HTS-AT. Call the module, or its ``patch_embed``,
    each of its ``layers`` and its ``norm`` one after the other to work on the
    maps between.

    Arguments
    ---------
    in_channels : int
        Channels of the image.
    image_size : int
        Side of the square image, pixels.
    patch : int
        Side of the patches, pixels.
    embed_dim : int
        Channels of the first stage; each following one has twice as many.
    depths : sequence of int
        Blocks a stage.
    num_heads : sequence of int
        Heads a stage.
    window : int
        Side of the windows, patches.
    drop_path : float
        Probability of leaving a branch out in the last block; it rises
        linearly from 0 in the first.
    checkpoint_blocks : bool
        Whether training computes blocks again in the backward pass instead
        of keeping what is inside them: more time, less memory.

    Example
    -------
    >>> encoder = SwinTransformer(2, 64, embed_dim=8, depths=(2, 2),
    ...                           num_heads=(2, 2))
    >>> encoder(torch.randn(1, 2, 64, 64)).shape
    torch.Size([1, 8, 8, 16])
    """

    def __init__(
        self,
        in_channels=7,
        image_size=256,
        patch=4,
        embed_dim=96,
        depths=(2, 2, 6, 2),
        num_heads=(4, 8, 16, 32),
        window=8,
        drop_path=0.1,
        checkpoint_blocks=False,
    ):
        super().__init__()
        self.patch_embed = _PatchEmbedding(in_channels, embed_dim, patch)
        count = sum(depths)
        rates = [drop_path * i / max(count - 1, 1) for i in range(count)]
        last = len(depths) - 1
        self.layers = nn.ModuleList()
        for i, (depth, heads) in enumerate(zip(depths, num_heads, strict=True)):
            first = sum(depths[:i])
            self.layers.append(
                _SwinStage(
                    embed_dim * 2**i,
                    heads,
                    image_size // patch // 2**i,
                    rates[first : first + depth],
                    window,
                    merge=i < last,
                    checkpoint_blocks=checkpoint_blocks,
                )
            )
        self.dim = embed_dim * 2**last
        self.norm = nn.LayerNorm(self.dim)
        self.apply(_initialize)

    def forward(self, image):
        """Encode images.

        Arguments
        ---------
        image : torch.Tensor
            [batch, channel, side, side].

        Returns
        -------
        torch.Tensor
            Map [batch, row, column, channel].
        """
        x = self.patch_embed(image)
        for layer in self.layers:
            x = layer(x)
        return self.norm(x)


def _initialize(module):
    """Small normal linear weights without biases, as Swin begins."""
    if isinstance(module, nn.Linear):
        nn.init.trunc_normal_(module.weight, std=0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
