"""The small network for SELD: convolutions, a recurrent layer, attention.

The baseline of the DCASE challenge (Adavanne et al., 2019; with attention and
multi-ACCDOA since 2022), for features at 100 frames a second instead of 50 and
with normalised inputs, for every method. ``causal`` is a form of ours whose
outputs depend on no later frame.
"""

import torch
from torch import nn
from torch.nn import functional as F

from spatial_brain.models.seld import (
    NUM_BINS,
    NUM_SPECTRA,
    check_features,
    finish_outputs,
    output_sizes,
)
from spatial_brain.models.seld_crnn.stream import CRNNStream
from spatial_brain.nnet.layers import CrossStitch, InputNorm

# Frames and bins that become one behind each convolution: ten frames of
# 10 ms become one of 100 ms.
POOLS = ((5, 4), (2, 4), (1, 2))
MIN_BINS = 32


def _convolution(inputs, outputs):
    """A convolution of three frames and bins around the present."""
    return nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)


class _GatedGRU(nn.Module):
    """A GRU in both directions whose halves gate each other."""

    def __init__(self, inputs, outputs, depth=2, dropout=0.0):
        super().__init__()
        self.gru = nn.GRU(
            inputs,
            outputs,
            depth,
            batch_first=True,
            dropout=dropout if depth > 1 else 0.0,
            bidirectional=True,
        )
        self.adapter_dim = outputs

    def forward(self, x):
        """Map [batch, frame, inputs] to [batch, frame, outputs]."""
        forward, backward = self.gru(x)[0].tanh().chunk(2, dim=-1)
        return forward * backward


class _CausalConv2d(nn.Conv2d):
    """A convolution of three frames and bins, the last frame the present."""

    def __init__(self, inputs, outputs):
        super().__init__(inputs, outputs, 3, padding=(0, 1), bias=False)

    def forward(self, x):
        """Map [batch, inputs, frame, bin] to [batch, outputs, frame, bin]."""
        return super().forward(F.pad(x, (0, 0, 2, 0)))


class _CausalGRU(nn.Module):
    """A GRU in one direction, half of whose states gate the others."""

    def __init__(self, inputs, outputs, depth=2, dropout=0.0):
        super().__init__()
        self.gru = nn.GRU(
            inputs,
            2 * outputs,
            depth,
            batch_first=True,
            dropout=dropout if depth > 1 else 0.0,
        )
        self.adapter_dim = outputs

    def forward(self, x):
        """Map [batch, frame, inputs] to [batch, frame, outputs]."""
        return self.run(x)[0]

    def run(self, x, hidden=None):
        """The same from a hidden state on, with the one that is left."""
        x, hidden = self.gru(x, hidden)
        value, gate = x.chunk(2, dim=-1)
        return value * gate, hidden


class _AttentionLayer(nn.Module):
    """Self-attention, added to its input, and layer norm."""

    def __init__(self, dim, heads=8, dropout=0.0):
        super().__init__()
        self.attention = nn.MultiheadAttention(
            dim, heads, dropout=dropout, batch_first=True
        )
        self.norm = nn.LayerNorm(dim)
        self.adapter_dim = dim

    def forward(self, x):
        """Map [batch, frame, dim] to the same shape."""
        return self.norm(x + self.attention(x, x, x, need_weights=False)[0])


class _Branch(nn.Module):
    """Convolutions, and what looks along time, of one branch."""

    def __init__(self, channels, width, bins, options):
        super().__init__()
        dim, dropout = 2 * width, options["dropout"]
        convolution, recurrent = _convolution, _GatedGRU
        if options["causal"]:
            convolution, recurrent = _CausalConv2d, _CausalGRU
        stages = []
        for pool in POOLS:
            layers = [
                nn.BatchNorm2d(width),
                # Before the ReLU: the same maxima, less work.
                nn.MaxPool2d(pool),
            ]
            if options["causal"]:
                layers.reverse()  # less work still
            stages.append(
                nn.Sequential(
                    convolution(channels, width),
                    *layers,
                    nn.ReLU(inplace=True),
                    nn.Dropout2d(dropout),
                )
            )
            channels, bins = width, bins // pool[1]
        self.stages = nn.ModuleList(stages)
        layers = [
            _AttentionLayer(dim, options["heads"], dropout)
            for _ in range(options["attention_layers"])
        ]
        self.along_time = nn.Sequential(
            recurrent(width * bins, dim, options["gru_layers"], dropout),
            *layers,
            nn.Linear(dim, dim),
        )

    @staticmethod
    def sequence(x):
        """Map [batch, channel, frame, bin] to [batch, frame, value]."""
        return x.transpose(1, 2).flatten(2)

    def look_along_time(self, x):
        """Map [batch, channel, frame, bin] to [batch, frame, dim]."""
        return self.along_time(self.sequence(x))


class SELDCRNN(nn.Module):
    """Sound events and their directions, with few parameters.

    Normalisation of every channel and bin -> three convolutions with pooling
    (down to label frames of 100 ms) -> gated bidirectional GRU -> attention
    -> linear maps. With ``width`` 64 these are the sizes of the challenge's
    baseline: 64 channels, 128 states, 8 heads.

    With "einv2" two such branches, for classes (the first four channels only)
    and directions, share what they learn through cross-stitch units behind
    every convolution and at the end.

    Arguments
    ---------
    method : str
        "accdoa", "multi_accdoa", "einv2" or "seddoa".
    num_classes : int
        Classes of sound events.
    num_channels : int
        Feature channels.
    width : int
        Channels of the convolutions; everything behind has twice that.
    gru_layers : int
        Recurrent layers.
    attention_layers : int
        Layers of self-attention.
    heads : int
        Attention heads; divides ``2 * width``.
    dropout : float
        Everywhere.
    num_bins : int
        Frequency bins, at least 32.
    sed_channels : int
        First channels, which the classes of "einv2" are found from.
    symmetric_stitch : bool
        Form of the cross-stitch units, see ``CrossStitch``.
    causal : bool
        Whether no output depends on later frames; ``attention_layers`` must
        then be 0.

    Raises
    ------
    ValueError
        If the method is unknown, there are too few bins, or a causal network
        has attention.

    Example
    -------
    >>> net = SELDCRNN("multi_accdoa", 5, width=8)
    >>> net(torch.randn(1, 7, 101, 64))["multi_accdoa"].shape
    torch.Size([1, 10, 45])
    """

    def __init__(
        self,
        method,
        num_classes,
        num_channels=7,
        width=64,
        gru_layers=2,
        attention_layers=2,
        heads=8,
        dropout=0.05,
        num_bins=NUM_BINS,
        sed_channels=NUM_SPECTRA,
        symmetric_stitch=False,
        causal=False,
    ):
        super().__init__()
        sizes = output_sizes(method, num_classes)
        if num_bins < MIN_BINS:
            raise ValueError(
                f"num_bins={num_bins}: the pooling needs at least {MIN_BINS}"
            )
        if causal and attention_layers:
            raise ValueError(
                f"a causal network has no attention, got attention_layers="
                f"{attention_layers}; give 0"
            )
        self.method, self.num_classes = method, num_classes
        self.causal = causal
        self.num_channels, self.num_bins = num_channels, num_bins
        self.sed_channels, dim = sed_channels, 2 * width
        options = {
            "gru_layers": gru_layers,
            "attention_layers": attention_layers,
            "heads": heads,
            "dropout": dropout,
            "causal": causal,
        }
        self.scalar = InputNorm(num_channels, num_bins)
        if causal:
            # Gradients of the input would take a third of a training step.
            self.scalar.requires_grad_(False)
        self.encoder = _Branch(num_channels, width, num_bins, options)
        if method == "einv2":
            self.sed_encoder = _Branch(sed_channels, width, num_bins, options)
            self.stitch = nn.ModuleList(
                [CrossStitch(width, symmetric_stitch, 1) for _ in POOLS]
                + [CrossStitch(dim, symmetric_stitch)]
            )
        self.heads = nn.ModuleDict(
            {name: nn.Linear(dim, size) for name, size in sizes.items()}
        )

    def forward(self, features):
        """Outputs for every label frame.

        Arguments
        ---------
        features : torch.Tensor
            [batch, channel, frame, bin], 100 frames a second.

        Returns
        -------
        dict of torch.Tensor
            See ``spatial_brain.models.seld.finish_outputs``.

        Raises
        ------
        ValueError
            If channels or bins are others, or frames fewer than ten.
        """
        check_features(features, self.num_channels, self.num_bins)
        return self.run(
            features, lambda stage, x: stage(x), _Branch.look_along_time
        )

    def run(self, features, convolve, recur):
        """Outputs, with stages and what looks along time as callables.

        Arguments
        ---------
        features : torch.Tensor
            As for ``forward``.
        convolve : callable
            Called with a stage and its input.
        recur : callable
            Called with a branch and what its stages give.

        Returns
        -------
        dict of torch.Tensor
            As ``forward``.
        """
        # Channels last in memory: faster convolutions and pooling.
        x = self.scalar(features).contiguous(memory_format=torch.channels_last)
        if self.method == "einv2":
            sed, doa = self._run_branches(x, convolve, recur)
        else:
            for stage in self.encoder.stages:
                x = convolve(stage, x)
            sed = doa = recur(self.encoder, x)
        return finish_outputs(
            {
                name: head(sed if name == "sed" else doa)
                for name, head in self.heads.items()
            }
        )

    def stream(self):
        """What takes the features of live sound.

        Returns
        -------
        spatial_brain.models.seld_crnn.stream.CRNNStream
            ``push(features)`` gives the label frames that are final.

        Raises
        ------
        ValueError
            If the network is not causal, or in training.
        """
        return CRNNStream(self)

    def no_frames(self):
        """Outputs of no label frames, without a batch.

        Returns
        -------
        dict of torch.Tensor
            [0, ...], each as ``forward`` names and shapes it.
        """
        outputs = finish_outputs(
            {
                name: torch.zeros(1, 0, head.out_features)
                for name, head in self.heads.items()
            }
        )
        return {name: part[0] for name, part in outputs.items()}

    def _run_branches(self, x, convolve, recur):
        """Frames of the classes' and the directions' branch."""
        sed, doa = x[:, : self.sed_channels], x
        *early, last = self.stitch
        for sed_stage, doa_stage, stitch in zip(
            self.sed_encoder.stages, self.encoder.stages, early, strict=True
        ):
            sed, doa = stitch(
                convolve(sed_stage, sed), convolve(doa_stage, doa)
            )
        return last(recur(self.sed_encoder, sed), recur(self.encoder, doa))
