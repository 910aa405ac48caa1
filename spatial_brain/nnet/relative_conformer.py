"""Conformer blocks with positions of the Transformer-XL kind.

The blocks follow Gulati et al. (2020): half a feed-forward step, attention,
convolution, half a feed-forward step, layer norm. In the attention every
query meets the keys and, with a bias of its own, a sinusoidal table of
positions (Dai et al., 2019). Like the public sooftware/conformer, which
PSELDNets and SAR-SSL are built on, the table has the rows 0 to L - 1 only and
the scores are divided by the root of the model's size instead of the head's.
Names in the state dict are those of that family, so that their checkpoints
load with ``strict=True``.
"""

import math

import torch
from torch import nn
from torch.nn import functional as F

from spatial_brain.nnet.conformer import Transpose


def sinusoid_table(length, dim, device=None):
    """Sinusoids of falling frequency, one row a position.

    Entry (p, 2 i) is sin(p / 10000^(2 i / dim)) and entry (p, 2 i + 1) the
    cosine of the same angle (Vaswani et al., 2017).

    Arguments
    ---------
    length : int
        Rows, for the positions 0 to length - 1.
    dim : int
        Columns, even.
    device : torch.device, optional
        Where the table is made.

    Returns
    -------
    torch.Tensor
        float32 [length, dim].

    Example
    -------
    >>> sinusoid_table(2, 2)
    tensor([[0.0000, 1.0000],
            [0.8415, 0.5403]])
    """
    rate = torch.arange(0, dim, 2, device=device, dtype=torch.float32)
    rate = torch.exp(rate * (-math.log(10000.0) / dim))
    position = torch.arange(length, device=device, dtype=torch.float32)
    angle = position[:, None] * rate
    return torch.stack((angle.sin(), angle.cos()), dim=-1).flatten(1)


def _relative_shift(scores):
    """Slide the scores [..., L, L] of a table of positions into place."""
    # A column of zeros is put to the left and the matrix is read again from
    # its second row: entry (i, j) is entry (i, L - 1 - i + j) for j <= i, zero
    # for j = i + 1, and entry (i + 1, j - i - 2) beyond: keys after the query
    # see rows not meant for them. Released networks learnt with that.
    length = scores.shape[-1]
    read_again = F.pad(scores, (1, 0)).flatten(-2)[..., length:]
    return read_again.unflatten(-1, (length, length))


class _XavierLinear(nn.Linear):
    """Linear map, Xavier-uniform at first, without offset."""

    def reset_parameters(self):
        """Draw the weights anew."""
        nn.init.xavier_uniform_(self.weight)
        if self.bias is not None:
            nn.init.zeros_(self.bias)

    def _load_from_state_dict(self, state_dict, prefix, *args):
        # Some checkpoints wrap the map: ``linear.weight`` for ``weight``.
        for name in ("weight", "bias"):
            if f"{prefix}linear.{name}" in state_dict:
                value = state_dict.pop(f"{prefix}linear.{name}")
                state_dict[prefix + name] = value
        super()._load_from_state_dict(state_dict, prefix, *args)


class _PositionTable(nn.Module):
    """The table of positions, made when it is needed and never stored."""

    def __init__(self, dim):
        super().__init__()
        self.dim = dim

    def forward(self, length, device=None):
        """Rows 0 to length - 1, float32 [length, dim]."""
        return sinusoid_table(length, self.dim, device)

    def _load_from_state_dict(self, state_dict, prefix, *args):
        # The originals store 10,000 rows (82 MB of the large network).
        stored = state_dict.pop(prefix + "pe", None)
        if stored is not None and not self._agrees(stored):
            args[-1].append(
                f"{prefix}pe of shape {tuple(stored.shape)} is not the "
                f"sinusoidal table of {self.dim} columns that this network "
                "computes"
            )
        super()._load_from_state_dict(state_dict, prefix, *args)

    def _agrees(self, stored):
        """Whether a stored table is the one computed here."""
        if stored.ndim != 3 or stored.shape[-1] != self.dim:
            return False
        rows = stored[0, :64].float()
        own = self(len(rows), rows.device)
        return stored.is_meta or torch.allclose(rows, own, atol=1e-3)


class _TableAttention(nn.Module):
    """Self-attention whose scores also see a table of positions."""

    def __init__(self, dim, heads=8, dropout=0.0):
        super().__init__()
        if dim % heads or dim % 2:
            raise ValueError(
                f"dim={dim} must be even and a multiple of heads={heads}"
            )
        self.heads, self.dropout = heads, dropout
        self.scale = dim**-0.5
        self.query_proj = _XavierLinear(dim, dim)
        self.key_proj = _XavierLinear(dim, dim)
        self.value_proj = _XavierLinear(dim, dim)
        self.pos_proj = _XavierLinear(dim, dim, bias=False)
        self.u_bias = nn.Parameter(torch.empty(heads, dim // heads))
        self.v_bias = nn.Parameter(torch.empty(heads, dim // heads))
        nn.init.xavier_uniform_(self.u_bias)
        nn.init.xavier_uniform_(self.v_bias)
        self.out_proj = _XavierLinear(dim, dim)

    def _split(self, x):
        """[..., token, dim] to [..., head, token, dim / head]."""
        return x.unflatten(-1, (self.heads, -1)).transpose(-3, -2)

    def forward(self, x, table):
        """Map [batch, token, dim] to the same shape; table [token, dim]."""
        # softmax((q + u) k^T + shift((q + v) p^T)) over sqrt(dim).
        query = self._split(self.query_proj(x))
        key = self._split(self.key_proj(x))
        value = self._split(self.value_proj(x))
        # One projected table for the whole batch.
        rows = self._split(self.pos_proj(table.to(x.dtype)))
        content = query + self.u_bias[:, None].to(query.dtype)
        position = query + self.v_bias[:, None].to(query.dtype)
        scores = (position * self.scale) @ rows.transpose(-1, -2)
        attended = F.scaled_dot_product_attention(
            content,
            key,
            value,
            attn_mask=_relative_shift(scores),
            dropout_p=self.dropout if self.training else 0.0,
            scale=self.scale,
        )
        return self.out_proj(attended.transpose(1, 2).flatten(2))


class _Branch(nn.Module):
    """A module whose output, times a factor, is added to its input."""

    def __init__(self, module, factor=1.0):
        super().__init__()
        self.module, self.factor = module, factor

    def forward(self, x):
        return torch.add(x, self.module(x), alpha=self.factor)


class _FeedForward(nn.Module):
    """Layer norm, linear, Swish, linear."""

    def __init__(self, dim, mult, dropout):
        super().__init__()
        self.sequential = nn.Sequential(
            nn.LayerNorm(dim),
            _XavierLinear(dim, mult * dim),
            nn.SiLU(),
            nn.Dropout(dropout),
            _XavierLinear(mult * dim, dim),
            nn.Dropout(dropout),
        )

    def forward(self, x):
        return self.sequential(x)


class _Attention(nn.Module):
    """Layer norm and attention over the tokens' own positions."""

    def __init__(self, dim, heads, dropout):
        super().__init__()
        self.positional_encoding = _PositionTable(dim)
        self.layer_norm = nn.LayerNorm(dim)
        self.attention = _TableAttention(dim, heads, dropout)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x):
        table = self.positional_encoding(x.shape[1], x.device)
        return self.dropout(self.attention(self.layer_norm(x), table))


class _Filter(nn.Module):
    """A convolution over time that keeps the length."""

    def __init__(self, inputs, outputs, kernel_size=1, **options):
        super().__init__()
        self.conv = nn.Conv1d(
            inputs, outputs, kernel_size, padding=kernel_size // 2, **options
        )

    def forward(self, x):
        return self.conv(x)


class _Convolution(nn.Module):
    """Layer norm, pointwise GLU, depthwise filter, norm, Swish, pointwise."""

    def __init__(self, dim, kernel_size, dropout):
        super().__init__()
        self.sequential = nn.Sequential(
            nn.LayerNorm(dim),
            Transpose(),
            _Filter(dim, 2 * dim),
            nn.GLU(dim=1),
            _Filter(dim, dim, kernel_size, groups=dim, bias=False),
            nn.BatchNorm1d(dim),
            nn.SiLU(),
            _Filter(dim, dim),
            nn.Dropout(dropout),
            Transpose(),
        )

    def forward(self, x):
        return self.sequential(x)


class RelativeConformerBlock(nn.Module):
    """One Conformer block.

    Arguments
    ---------
    dim : int
        Size of the tokens, even.
    heads : int
        Attention heads; divides ``dim``.
    ff_mult : int
        Expansion of the feed-forward steps.
    conv_kernel : int
        Length of the depthwise filter, odd.
    dropout : float
        In every part of the block.

    Raises
    ------
    ValueError
        If ``heads`` does not divide ``dim`` or ``conv_kernel`` is even.

    Example
    -------
    >>> RelativeConformerBlock(16, heads=2)(torch.randn(2, 5, 16)).shape
    torch.Size([2, 5, 16])
    """

    def __init__(self, dim, heads=8, ff_mult=4, conv_kernel=31, dropout=0.1):
        super().__init__()
        if conv_kernel % 2 == 0:
            raise ValueError(f"conv_kernel must be odd, got {conv_kernel}")
        self.sequential = nn.Sequential(
            _Branch(_FeedForward(dim, ff_mult, dropout), 0.5),
            _Branch(_Attention(dim, heads, dropout)),
            _Branch(_Convolution(dim, conv_kernel, dropout)),
            _Branch(_FeedForward(dim, ff_mult, dropout), 0.5),
            nn.LayerNorm(dim),
        )

    def forward(self, x):
        """Map [batch, token, dim] to the same shape."""
        return self.sequential(x)


class RelativeConformer(nn.Module):
    """A stack of Conformer blocks.

    Arguments
    ---------
    dim : int
        Size of the tokens, even.
    depth : int
        Number of blocks.
    **block
        Passed to every `RelativeConformerBlock`.

    Example
    -------
    >>> RelativeConformer(16, 2, heads=2)(torch.randn(2, 5, 16)).shape
    torch.Size([2, 5, 16])
    """

    def __init__(self, dim, depth=1, **block):
        super().__init__()
        self.layers = nn.ModuleList(
            RelativeConformerBlock(dim, **block) for _ in range(depth)
        )

    def forward(self, x):
        """Map [batch, token, dim] to the same shape."""
        for layer in self.layers:
            x = layer(x)
        return x
