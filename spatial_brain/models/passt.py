"""PaSST for sound event localization and detection.

The light patch transformer of Koutini et al. (Interspeech 2022) with seven
blocks, as PSELDNets uses it (Hu et al., IEEE/ACM TASLP 33, 2025); the state
dict of the public network loads with ``strict=True``.
"""

from functools import partial

import torch
import torch.nn.functional as F
from timm.models.vision_transformer import Block
from torch import nn
from torch.utils.checkpoint import checkpoint

from spatial_brain.models.seld import (
    FRAMES_PER_LABEL,
    NUM_BINS,
    NUM_SPECTRA,
    NUM_TRACKS,
    WINDOW_FRAMES,
    WINDOW_LABELS,
    check_features,
    finish_outputs,
    output_sizes,
)
from spatial_brain.nnet.layers import CrossStitch, InputNorm

PATCH, STRIDE, PADDING = 16, FRAMES_PER_LABEL, 3
ROWS = (NUM_BINS + 2 * PADDING - PATCH) // STRIDE + 1  # patches over the bands
METHODS = ("accdoa", "multi_accdoa", "einv2")


def _windows(x):
    """Whole windows of ten seconds as one batch, then what is left."""
    frames = x.shape[2]
    whole = frames // FRAMES_PER_LABEL // WINDOW_LABELS
    if whole:
        needed = whole * WINDOW_FRAMES + 1
        # A negative padding cuts what belongs to the rest.
        y = F.pad(x, (0, 0, 0, needed - frames))
        y = y.unfold(2, WINDOW_FRAMES + 1, WINDOW_FRAMES)
        yield y.permute(0, 2, 1, 4, 3).flatten(0, 1)
    rest = x[:, :, whole * WINDOW_FRAMES :]
    if rest.shape[2] >= FRAMES_PER_LABEL:
        yield rest


class _PatchEmbedding(nn.Module):
    """Overlapping patches of a spectrogram, embedded."""

    def __init__(self, in_channels, dim):
        super().__init__()
        self.proj = nn.Conv2d(in_channels, dim, PATCH, STRIDE, PADDING)

    def forward(self, x):
        """[batch, channel, frame, bin] to [batch, dim, row, label frame]."""
        return self.proj(x.transpose(2, 3))


class _PaSSTEncoder(nn.Module):
    """Spectrogram of up to ten seconds to one embedding a label frame."""

    def __init__(
        self,
        in_channels,
        dim=768,
        depth=7,
        num_heads=12,
        checkpoint_blocks=False,
    ):
        super().__init__()
        self.dim = dim
        self.checkpoint_blocks = checkpoint_blocks
        self.patch_embed = _PatchEmbedding(in_channels, dim)
        self.cls_token = nn.Parameter(torch.empty(1, 1, dim))
        self.dist_token = nn.Parameter(torch.empty(1, 1, dim))
        self.new_pos_embed = nn.Parameter(torch.empty(1, 2, dim))
        self.freq_new_pos_embed = nn.Parameter(torch.empty(1, dim, ROWS, 1))
        self.time_new_pos_embed = nn.Parameter(
            torch.empty(1, dim, 1, WINDOW_LABELS)
        )
        norm = partial(nn.LayerNorm, eps=1e-6)
        self.blocks = nn.ModuleList(
            Block(dim, num_heads, 4.0, qkv_bias=True, norm_layer=norm)
            for _ in range(depth)
        )
        self.norm = norm(dim)
        self.head = nn.Sequential(nn.LayerNorm(dim))
        self._initialize()

    def _initialize(self):
        """Small normal weights, no biases; the convolution keeps its own."""
        tables = [p for name, p in self.named_parameters(recurse=False)]
        linear = [m for m in self.modules() if isinstance(m, nn.Linear)]
        for weight in tables + [layer.weight for layer in linear]:
            nn.init.trunc_normal_(weight, std=0.02)
        for layer in linear:
            nn.init.zeros_(layer.bias)

    def tokens(self, x):
        """Class tokens, then patches, time fastest: [batch, token, dim]."""
        x = self.patch_embed(x)
        x = x + self.time_new_pos_embed[..., : x.shape[-1]]
        x = (x + self.freq_new_pos_embed).flatten(2).transpose(1, 2)
        first = torch.cat([self.cls_token, self.dist_token], 1)
        first = (first + self.new_pos_embed).expand(len(x), -1, -1)
        return torch.cat([first.to(x.dtype), x], 1)

    def block(self, index, x):
        """Apply one transformer block to tokens [batch, token, dim]."""
        if self.checkpoint_blocks and self.training:
            return checkpoint(self.blocks[index], x, use_reentrant=False)
        return self.blocks[index](x)

    def pool(self, x):
        """Mean over frequency of the patches: [batch, label frame, dim]."""
        x = self.norm(x)[:, 2:].unflatten(1, (ROWS, -1))
        return self.head(x.mean(1))

    def forward(self, x):
        """Map [batch, channel, frame, 64] to [batch, frame // 10, dim]."""
        x = self.tokens(x)
        for index in range(len(self.blocks)):
            x = self.block(index, x)
        return self.pool(x)


class PaSST(nn.Module):
    """Patch transformer with one head an output.

    Clips longer than ten seconds are cut into windows of ten which do not
    see each other; shorter ones, and what is left after whole windows, are
    short sequences.

    Arguments
    ---------
    method : str
        "accdoa", "multi_accdoa" or "einv2" (two encoders that share what
        they learn before every second block, and three heads a branch).
    num_classes : int
        Event classes.
    num_channels : int
        Feature channels, spectra first. The sound-event branch of "einv2"
        takes the first four only.
    symmetric_stitch : bool
        Form of the cross-stitch units, see ``CrossStitch``.
    stitch_gap : int
        Blocks from one cross-stitch unit to the next.
    checkpoint_blocks : bool
        Whether training computes blocks twice to save memory.

    Raises
    ------
    ValueError
        If the method is none of these.

    Example
    -------
    >>> network = PaSST("accdoa", 3).eval()
    >>> with torch.no_grad():
    ...     outputs = network(torch.randn(1, 7, 201, 64))
    >>> outputs["accdoa"].shape
    torch.Size([1, 20, 9])
    """

    def __init__(
        self,
        method,
        num_classes,
        num_channels=7,
        symmetric_stitch=False,
        stitch_gap=2,
        checkpoint_blocks=False,
    ):
        super().__init__()
        if method not in METHODS:
            raise ValueError(
                f"PaSST has the methods {METHODS}, not {method!r}; "
                "backbone htsat has all"
            )
        self.method = method
        self.stitch_gap = stitch_gap
        self.scalar = InputNorm(num_channels, NUM_BINS)
        encoder = partial(_PaSSTEncoder, checkpoint_blocks=checkpoint_blocks)
        if method != "einv2":
            self.encoder = encoder(num_channels)
            (size,) = output_sizes(method, num_classes).values()
            self.fc = nn.Linear(self.encoder.dim, size)
            return
        self.sed_encoder = encoder(min(NUM_SPECTRA, num_channels))
        self.doa_encoder = encoder(num_channels)
        dim, depth = self.doa_encoder.dim, len(self.doa_encoder.blocks)
        count = (depth - 1) // stitch_gap + 1
        self.stitch1, self.stitch2 = (
            nn.ModuleList(CrossStitch(dim, symmetric_stitch) for _ in range(n))
            for n in (count, NUM_TRACKS)
        )
        self.fc_sed, self.fc_doa = (
            nn.ModuleList(nn.Linear(dim, size) for _ in range(NUM_TRACKS))
            for size in (num_classes, 3)
        )

    def forward(self, features):
        """Compute the outputs of the method.

        Arguments
        ---------
        features : torch.Tensor
            [batch, channel, frame, 64], at least 10 frames.

        Returns
        -------
        dict of torch.Tensor
            See ``spatial_brain.models.seld.finish_outputs``.

        Raises
        ------
        ValueError
            If channels or bins are others, or frames fewer than ten.
        """
        check_features(features, len(self.scalar), NUM_BINS)
        parts = [self._encode(x) for x in _windows(self.scalar(features))]
        joined = {
            name: torch.cat(
                [
                    # Windows of one clip stand one after the other.
                    part[name].reshape(len(features), -1, part[name].shape[-1])
                    for part in parts
                ],
                dim=1,
            )
            for name in parts[0]
        }
        return finish_outputs(joined)

    def _encode(self, x):
        """Outputs before their activation for clips of up to ten seconds."""
        if self.method == "einv2":
            return self._encode_two(x)
        return {self.method: self.fc(self.encoder(x))}

    def _encode_two(self, x):
        """Both branches, mixed between blocks and again for each track."""
        x, y = (
            self.sed_encoder.tokens(x[:, :NUM_SPECTRA]),
            self.doa_encoder.tokens(x),
        )
        for index in range(len(self.doa_encoder.blocks)):
            if index % self.stitch_gap == 0:
                x, y = self.stitch1[index // self.stitch_gap](x, y)
            x = self.sed_encoder.block(index, x)
            y = self.doa_encoder.block(index, y)
        x, y = self.sed_encoder.pool(x), self.doa_encoder.pool(y)
        sed, doa = [], []
        for stitch, fc_sed, fc_doa in zip(
            self.stitch2, self.fc_sed, self.fc_doa, strict=True
        ):
            track_x, track_y = stitch(x, y)
            sed.append(fc_sed(track_x))
            doa.append(fc_doa(track_y))
        return {"sed": torch.cat(sed, -1), "doa": torch.cat(doa, -1)}
