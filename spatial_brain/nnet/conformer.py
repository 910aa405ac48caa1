"""Conformer blocks with relative positions of Shaw's kind.

The blocks follow Gulati et al. (2020): half a feed-forward step, attention,
convolution, half a feed-forward step, layer norm. Positions enter the
attention through a table of learned vectors, one a distance (Shaw et al.,
2018). Names of parameters are those of the two-microphone localiser whose
state dict `spatial_brain.models.dual_mic` reads.
"""

import torch
from torch import nn
from torch.nn import functional as F


class _HalfStep(nn.Module):
    """Half of what a module gives."""

    def __init__(self, fn):
        super().__init__()
        self.fn = fn

    def forward(self, x):
        """Half of ``fn(x)``."""
        return 0.5 * self.fn(x)


class _PreNorm(nn.Module):
    """A module behind a layer norm of its own."""

    def __init__(self, dim, fn):
        super().__init__()
        self.norm = nn.LayerNorm(dim)
        self.fn = fn

    def forward(self, x):
        """``fn`` of the normalised ``x``."""
        return self.fn(self.norm(x))


class _FeedForward(nn.Module):
    """Linear, Swish, linear."""

    def __init__(self, dim, mult=4, dropout=0.0):
        super().__init__()
        self.net = nn.Sequential(
            nn.Linear(dim, mult * dim),
            nn.SiLU(),
            nn.Dropout(dropout),
            nn.Linear(mult * dim, dim),
            nn.Dropout(dropout),
        )

    def forward(self, x):
        """Map [..., dim] to the same shape."""
        return self.net(x)


class _RelativeAttention(nn.Module):
    """Self-attention whose scores see the distance of the tokens."""

    def __init__(
        self, dim, heads=8, dim_head=64, dropout=0.0, max_distance=512
    ):
        super().__init__()
        inner = heads * dim_head
        self.heads, self.max_distance = heads, max_distance
        self.scale = dim_head**-0.5
        self.to_q = nn.Linear(dim, inner, bias=False)
        self.to_kv = nn.Linear(dim, 2 * inner, bias=False)
        self.to_out = nn.Linear(inner, dim)
        self.rel_pos_emb = nn.Embedding(2 * max_distance + 1, dim_head)
        self.dropout = nn.Dropout(dropout)

    def _relative_scores(self, query):
        """[..., i, j] = query_i . table[clamp(i - j)]."""
        length = query.shape[-2]
        # Column r of `scores` belongs to distance i - j = length - 1 - r.
        distance = torch.arange(
            length - 1, -length, -1, device=query.device
        ).clamp(-self.max_distance, self.max_distance)
        table = self.rel_pos_emb(distance + self.max_distance)
        scores = query @ table.T
        if length == 1:
            return scores
        # Entry (i, j) sits at column j - i + length - 1: rows one shorter
        # than the matrix slide it into place without a gather.
        scores = scores.flatten(-2)[..., length - 1 :]
        scores = scores[..., : length * (2 * length - 2)]
        return scores.unflatten(-1, (length, 2 * length - 2))[..., :length]

    def forward(self, x):
        """Map [batch, token, dim] to the same shape."""

        def split(projected):
            return projected.unflatten(-1, (self.heads, -1)).transpose(1, 2)

        # q_i . (k_j + table[i - j]) / sqrt(dim_head); values know no distance.
        query = split(self.to_q(x)) * self.scale
        key, value = map(split, self.to_kv(x).chunk(2, dim=-1))
        scores = query @ key.transpose(-1, -2) + self._relative_scores(query)
        weight = self.dropout(scores.softmax(dim=-1))
        attended = (weight @ value).transpose(1, 2).flatten(-2)
        return self.dropout(self.to_out(attended))


class _DepthwiseConv(nn.Module):
    """One filter a channel, zero padding that keeps the length."""

    def __init__(self, channels, kernel_size):
        super().__init__()
        if kernel_size % 2 == 0:
            raise ValueError(f"kernel_size must be odd, got {kernel_size}")
        self.conv = nn.Conv1d(
            channels,
            channels,
            kernel_size,
            padding=kernel_size // 2,
            groups=channels,
        )

    def forward(self, x):
        """Filter [batch, channel, time]."""
        return self.conv(x)


class Transpose(nn.Module):
    """Exchange the last two axes.

    Example
    -------
    >>> Transpose()(torch.zeros(2, 3, 4)).shape
    torch.Size([2, 4, 3])
    """

    def forward(self, x):
        """Exchange the last two axes of ``x``."""
        return x.transpose(-1, -2)


class _PointwiseConv(nn.Conv1d):
    """Convolution over one token: a linear map, much faster when it is one."""

    def forward(self, x):
        """Map [batch, channel, time], fastest where channels lie together."""
        mapped = F.linear(x.transpose(1, 2), self.weight[..., 0], self.bias)
        return mapped.transpose(1, 2)


class _ConvolutionModule(nn.Module):
    """Layer norm, pointwise GLU, depthwise filter, batch norm, pointwise."""

    def __init__(self, dim, expansion=2, kernel_size=31, dropout=0.0):
        super().__init__()
        inner = expansion * dim
        self.net = nn.Sequential(
            nn.LayerNorm(dim),
            Transpose(),
            _PointwiseConv(dim, 2 * inner, 1),
            nn.GLU(dim=1),
            _DepthwiseConv(inner, kernel_size),
            nn.BatchNorm1d(inner),
            nn.SiLU(),
            _PointwiseConv(inner, dim, 1),
            Transpose(),
            nn.Dropout(dropout),
        )

    def forward(self, x):
        """Map [batch, token, dim] to the same shape."""
        return self.net(x)


class ConformerBlock(nn.Module):
    """One Conformer block.

    Arguments
    ---------
    dim : int
        Size of the tokens.
    heads : int
        Attention heads.
    dim_head : int
        Size of a head.
    ff_mult : int
        Expansion of the feed-forward steps.
    conv_expansion : int
        Expansion of the convolution module.
    conv_kernel : int
        Length of the depthwise filter, odd.
    dropout : float
        In every part of the block.
    max_distance : int
        Of the relative positions.

    Example
    -------
    >>> ConformerBlock(16, heads=2, dim_head=8)(torch.randn(2, 5, 16)).shape
    torch.Size([2, 5, 16])
    """

    def __init__(
        self,
        dim,
        heads=8,
        dim_head=64,
        ff_mult=4,
        conv_expansion=2,
        conv_kernel=31,
        dropout=0.0,
        max_distance=512,
    ):
        super().__init__()

        def feed_forward():
            return _HalfStep(_PreNorm(dim, _FeedForward(dim, ff_mult, dropout)))

        self.ff1 = feed_forward()
        attention = _RelativeAttention(
            dim, heads, dim_head, dropout, max_distance
        )
        self.attn = _PreNorm(dim, attention)
        self.conv = _ConvolutionModule(
            dim, conv_expansion, conv_kernel, dropout
        )
        self.ff2 = feed_forward()
        self.post_norm = nn.LayerNorm(dim)

    def forward(self, x):
        """Map [batch, token, dim] to the same shape."""
        x = x + self.ff1(x)
        x = x + self.attn(x)
        x = x + self.conv(x)
        x = x + self.ff2(x)
        return self.post_norm(x)


class Conformer(nn.Module):
    """A stack of Conformer blocks.

    Arguments
    ---------
    dim : int
        Size of the tokens.
    depth : int
        Number of blocks.
    **block
        Passed to every `ConformerBlock`.

    Example
    -------
    >>> Conformer(16, 2, heads=2, dim_head=8)(torch.randn(2, 5, 16)).shape
    torch.Size([2, 5, 16])
    """

    def __init__(self, dim, depth, **block):
        super().__init__()
        self.layers = nn.ModuleList(
            ConformerBlock(dim, **block) for _ in range(depth)
        )

    def forward(self, x):
        """Map [batch, token, dim] to the same shape."""
        for layer in self.layers:
            x = layer(x)
        return x
