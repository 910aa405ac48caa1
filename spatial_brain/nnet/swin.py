"""Hierarchical transformer with shifted windows for square images.

Liu et al., "Swin Transformer" (ICCV 2021), in the form that HTS-AT (Chen et
al., ICASSP 2022) uses for spectrograms; parameters and buffers bear the names
of those systems. Maps are [batch, row, column, channel] throughout.
"""

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.checkpoint import checkpoint

from spatial_brain.nnet.window_attention import WindowAttention, shift_mask


class DropPath(nn.Module):
    """Leaves out a residual branch for random examples while training.

    Arguments
    ---------
    probability : float
        Share of examples without the branch; the others are scaled up so
        that the mean stays.

    Example
    -------
    >>> DropPath(0.5).eval()(torch.ones(2, 3)).sum()
    tensor(6.)
    """

    def __init__(self, probability):
        super().__init__()
        self.probability = probability

    def forward(self, x):
        """Drop and scale [batch, ...]."""
        if not self.training or self.probability == 0.0:
            return x
        keep = 1.0 - self.probability
        shape = (x.shape[0],) + (1,) * (x.ndim - 1)
        return x * torch.bernoulli(x.new_full(shape, keep)) / keep


class MLP(nn.Module):
    """Two linear layers with a GELU between.

    Arguments
    ---------
    dim : int
        Size of input and output.
    hidden : int
        Size between.

    Example
    -------
    >>> MLP(4, 16)(torch.ones(2, 4)).shape
    torch.Size([2, 4])
    """

    def __init__(self, dim, hidden):
        super().__init__()
        self.fc1 = nn.Linear(dim, hidden)
        self.fc2 = nn.Linear(hidden, dim)

    def forward(self, x):
        """Transform [..., dim]."""
        return self.fc2(F.gelu(self.fc1(x)))


class SwinBlock(nn.Module):
    """Window attention and MLP, each with a residual connection.

    Arguments
    ---------
    dim : int
        Channels.
    num_heads : int
        Heads of the attention.
    resolution : int
        Side of the square map.
    window : int
        Side of the windows. A map that is not larger is one window.
    shift : int
        Cyclic shift before the windows are cut; none for a single window.
    mlp_ratio : float
        Hidden size of the MLP over ``dim``.
    drop_path : float
        Probability of leaving a branch out.

    Example
    -------
    >>> block = SwinBlock(8, 2, resolution=16, window=8, shift=4)
    >>> block(torch.randn(1, 16, 16, 8)).shape
    torch.Size([1, 16, 16, 8])
    """

    def __init__(
        self,
        dim,
        num_heads,
        resolution,
        window=8,
        shift=0,
        mlp_ratio=4.0,
        drop_path=0.0,
    ):
        super().__init__()
        if resolution <= window:
            window, shift = resolution, 0
        self.shift = shift
        self.norm1 = nn.LayerNorm(dim)
        self.attn = WindowAttention(dim, num_heads, window)
        self.drop_path = DropPath(drop_path)
        self.norm2 = nn.LayerNorm(dim)
        self.mlp = MLP(dim, int(dim * mlp_ratio))
        mask = shift_mask(resolution, window, shift) if shift else None
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


class PatchMerging(nn.Module):
    """Halves both sides of a map and doubles its channels.

    Arguments
    ---------
    dim : int
        Channels before.

    Example
    -------
    >>> PatchMerging(8)(torch.randn(1, 4, 4, 8)).shape
    torch.Size([1, 2, 2, 16])
    """

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


class SwinStage(nn.Module):
    """Blocks of one resolution, then (but for the last stage) a merging.

    Arguments
    ---------
    dim : int
        Channels.
    num_heads : int
        Heads.
    resolution : int
        Side of the square map.
    drop_paths : sequence of float
        One probability a block.
    window : int
        Side of the windows.
    merge : bool
        Whether a patch merging follows.
    checkpoint_blocks : bool
        Whether to compute the blocks again in the backward pass instead of
        keeping what is inside them.

    Example
    -------
    >>> SwinStage(8, 2, 16, [0.0, 0.1])(torch.randn(1, 16, 16, 8)).shape
    torch.Size([1, 8, 8, 16])
    """

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
            SwinBlock(
                dim,
                num_heads,
                resolution,
                window,
                shift=window // 2 if i % 2 else 0,
                drop_path=drop_path,
            )
            for i, drop_path in enumerate(drop_paths)
        )
        self.downsample = PatchMerging(dim) if merge else None

    def forward(self, x):
        """Transform a map [batch, row, column, channel]."""
        for block in self.blocks:
            if self.checkpoint_blocks and self.training:
                x = checkpoint(block, x, use_reentrant=False)
            else:
                x = block(x)
        return x if self.downsample is None else self.downsample(x)


class PatchEmbedding(nn.Module):
    """Cuts an image into patches and embeds each.

    Arguments
    ---------
    in_channels : int
        Channels of the image.
    dim : int
        Channels of the map.
    patch : int
        Side of the patches.

    Example
    -------
    >>> PatchEmbedding(7, 96)(torch.randn(1, 7, 32, 32)).shape
    torch.Size([1, 8, 8, 96])
    """

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
        Whether training trades time for memory (see ``SwinStage``).

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
        self.patch_embed = PatchEmbedding(in_channels, embed_dim, patch)
        count = sum(depths)
        rates = [drop_path * i / max(count - 1, 1) for i in range(count)]
        last = len(depths) - 1
        self.layers = nn.ModuleList()
        for i, (depth, heads) in enumerate(zip(depths, num_heads, strict=True)):
            first = sum(depths[:i])
            self.layers.append(
                SwinStage(
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
