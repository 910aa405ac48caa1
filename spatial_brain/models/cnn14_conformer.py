"""Convolutions over spectrograms and a Conformer over time, for SELD.

The CNN14-Conformer of PSELDNets (Hu et al., 2025): the convolutions of CNN14
(Kong et al., PANNs, 2020) with less pooling, one Conformer block, and a linear
map to the outputs. State dicts have the names of the public networks.
"""

import torch
from torch import nn
from torch.nn import functional as F

from spatial_brain.models.seld import (
    FRAMES_PER_LABEL,
    NUM_BINS,
    NUM_SPECTRA,
    NUM_TRACKS,
    check_features,
    finish_outputs,
    output_sizes,
)
from spatial_brain.nnet.layers import CrossStitch, InputNorm
from spatial_brain.nnet.relative_conformer import RelativeConformer

# Channels of the blocks. The first three halve frames and bins, the others
# the bins alone.
ENCODERS = {
    "cnn8": (32, 64, 128, 256),
    "cnn12": (64, 128, 256, 512, 1024, 2048),
}
DECODERS = ("conformer", "gru", "transformer", "identity")
TRACKS = range(1, NUM_TRACKS + 1)


def _steps_to_labels(x, num_labels):
    """Steps of 8 feature frames [batch, step, dim] to label frames of 10."""
    # Every step repeated 8 times, then means of 10: label frame 4 g + n lies on
    # the steps 5 g + n and 5 g + n + 1. The last step is repeated if missing.
    groups = -(-num_labels // 4)
    missing = 5 * groups - x.shape[1]
    if missing > 0:
        x = torch.cat((x, x[:, -1:].expand(-1, missing, -1)), dim=1)
    x = x[:, : 5 * groups].unflatten(1, (groups, 5))
    weight = torch.arange(1, 5, device=x.device, dtype=x.dtype) / 5
    labels = torch.lerp(x[:, :, :4], x[:, :, 1:], weight[:, None])
    return labels.flatten(1, 2)[:, :num_labels]


class _ConvBlock(nn.Module):
    """Twice a 3 x 3 convolution, batch norm and ReLU; then average pooling."""

    def __init__(self, inputs, outputs, pool):
        super().__init__()
        self.pool = tuple(pool)
        self.conv1 = nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.bn2 = nn.BatchNorm2d(outputs)

    def forward(self, x):
        """Map [batch, channel, frame, bin] to fewer frames and bins."""
        x = F.relu_(self.bn1(self.conv1(x)))
        x = F.relu_(self.bn2(self.conv2(x)))
        return F.avg_pool2d(x, self.pool)


class _ConvEncoder(nn.Module):
    """A stack of `_ConvBlock`, named ``conv_block1`` and so on."""

    def __init__(self, inputs, widths):
        super().__init__()
        self.num_blocks = len(widths)
        for number, width in enumerate(widths, 1):
            pool = (2, 2) if number <= 3 else (1, 2)
            self.add_module(
                f"conv_block{number}", _ConvBlock(inputs, width, pool)
            )
            inputs = width

    @property
    def blocks(self):
        """The blocks in order."""
        return [
            getattr(self, f"conv_block{number}")
            for number in range(1, self.num_blocks + 1)
        ]

    def forward(self, x):
        """Map [batch, channel, frame, bin] to a frame in eight."""
        for block in self.blocks:
            x = block(x)
        return x


class _Decoder(nn.Module):
    """What looks along time behind the convolutions."""

    def __init__(self, kind, dim, depth=1, heads=8, dropout=0.1):
        super().__init__()
        if kind == "conformer":
            self.decoder = RelativeConformer(
                dim, depth, heads=heads, dropout=dropout
            )
        elif kind == "gru":
            self.decoder = nn.GRU(
                dim, dim // 2, depth, batch_first=True, bidirectional=True
            )
        elif kind == "transformer":
            layer = nn.TransformerEncoderLayer(
                dim, heads, dropout=dropout, batch_first=True
            )
            self.decoder = nn.TransformerEncoder(layer, depth)
        elif kind == "identity":
            self.decoder = nn.Identity()
        else:
            raise ValueError(f"decoder must be one of {DECODERS}, got {kind!r}")

    def forward(self, x):
        """Map [batch, step, dim] to the same shape."""
        x = self.decoder(x)
        return x[0] if isinstance(self.decoder, nn.GRU) else x


class CNN14Conformer(nn.Module):
    """Sound events and their directions from spectrograms, by convolutions.

    Normalisation of every channel and bin -> convolutions -> mean over
    frequency -> decoder over steps of 80 ms -> label frames of 100 ms ->
    linear maps. The defaults are the public network (179,406,906 parameters
    with 170 classes and "multi_accdoa"); ``encoder="cnn8"``,
    ``decoder="gru"``, ``num_decoder_layers=2`` its small relative
    (2,161,370).

    With "einv2" two stacks of convolutions, for classes (the first four
    channels only) and directions, and a decoder for each of three tracks in
    both, share what they learn through cross-stitch units. With "seddoa" one
    network gives both.

    Arguments
    ---------
    method : str
        "accdoa", "multi_accdoa", "einv2" or "seddoa".
    num_classes : int
        Classes of sound events.
    num_channels : int
        Feature channels.
    encoder : str
        "cnn12" or "cnn8".
    decoder : str
        "conformer", "gru", "transformer" or "identity".
    num_decoder_layers : int
        Layers of the decoder.
    widths : sequence of int, optional
        Channels of the convolutions instead of the encoder's own, as many.
    heads : int
        Attention heads of the decoder.
    dropout : float
        Of the decoder.
    num_bins : int
        Frequency bins (mel bands).
    sed_channels : int
        First channels, which the classes of "einv2" are found from.
    symmetric_stitch : bool
        Form of the cross-stitch units, see ``CrossStitch``.

    Raises
    ------
    ValueError
        If a name is unknown, the widths do not fit, or there are too few
        bins.

    Example
    -------
    >>> net = CNN14Conformer("accdoa", 5, widths=(8, 8, 8, 8, 8, 16))
    >>> net(torch.randn(1, 7, 101, 64))["accdoa"].shape
    torch.Size([1, 10, 15])
    """

    def __init__(
        self,
        method,
        num_classes,
        num_channels=7,
        encoder="cnn12",
        decoder="conformer",
        num_decoder_layers=1,
        widths=None,
        heads=8,
        dropout=0.1,
        num_bins=NUM_BINS,
        sed_channels=NUM_SPECTRA,
        symmetric_stitch=False,
    ):
        super().__init__()
        sizes = output_sizes(method, num_classes)
        if encoder not in ENCODERS:
            raise ValueError(
                f"encoder must be one of {tuple(ENCODERS)}, got {encoder!r}"
            )
        widths = tuple(widths or ENCODERS[encoder])
        if len(widths) != len(ENCODERS[encoder]):
            raise ValueError(
                f"{encoder} has {len(ENCODERS[encoder])} blocks, got "
                f"widths={widths}"
            )
        if num_bins < 2 ** len(widths):
            raise ValueError(
                f"num_bins={num_bins}: the pooling of {encoder} needs at "
                f"least {2 ** len(widths)}"
            )
        self.method, self.num_classes = method, num_classes
        self.num_channels, self.num_bins = num_channels, num_bins
        self.sed_channels, dim = sed_channels, widths[-1]
        self.scalar = InputNorm(num_channels, num_bins)

        def make_decoder():
            return _Decoder(decoder, dim, num_decoder_layers, heads, dropout)

        if method == "einv2":
            self.sed_convs = _ConvEncoder(sed_channels, widths)
            self.doa_convs = _ConvEncoder(num_channels, widths)
            self.stitch = nn.ModuleList(
                [CrossStitch(w, symmetric_stitch, 1) for w in widths[:-1]]
                + [CrossStitch(dim, symmetric_stitch) for _ in TRACKS]
            )
        else:
            self.convs = _ConvEncoder(num_channels, widths)
            self.decoder = make_decoder()
        for output, size in sizes.items():
            if method == "einv2":
                for n in TRACKS:
                    fc = nn.Linear(dim, size // NUM_TRACKS)
                    self.add_module(f"{output}_track{n}", make_decoder())
                    self.add_module(f"fc_{output}_track{n}", fc)
            else:
                self.add_module(_head_name(output), nn.Linear(dim, size))

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
        labels = features.shape[2] // FRAMES_PER_LABEL
        x = self.scalar(features)
        if self.method == "einv2":
            return finish_outputs(self._run_branches(x, labels))
        x = self.decoder(self.convs(x).mean(3).transpose(1, 2))
        x = _steps_to_labels(x, labels)
        names = ("sed", "doa") if self.method == "seddoa" else (self.method,)
        return finish_outputs(
            {name: self.get_submodule(_head_name(name))(x) for name in names}
        )

    def _run_branches(self, x, labels):
        """Classes and directions of "einv2", before the activation."""
        sed, doa = x[:, : self.sed_channels], x
        pairs = zip(self.sed_convs.blocks, self.doa_convs.blocks, strict=True)
        for index, (sed_block, doa_block) in enumerate(pairs):
            sed, doa = sed_block(sed), doa_block(doa)
            # Not behind the last one.
            if index < len(self.stitch) - NUM_TRACKS:
                sed, doa = self.stitch[index](sed, doa)
        sed, doa = sed.mean(3).transpose(1, 2), doa.mean(3).transpose(1, 2)
        outputs = {"sed": [], "doa": []}
        for n, stitch in zip(TRACKS, self.stitch[-NUM_TRACKS:], strict=True):
            mixed = stitch(
                self.get_submodule(f"sed_track{n}")(sed),
                self.get_submodule(f"doa_track{n}")(doa),
            )
            for name, y in zip(outputs, mixed, strict=True):
                fc = self.get_submodule(f"fc_{name}_track{n}")
                outputs[name].append(fc(_steps_to_labels(y, labels)))
        return {name: torch.cat(parts, -1) for name, parts in outputs.items()}


def _head_name(output):
    """Name of the original for the linear map that makes an output."""
    return f"fc_{output}" if output in ("sed", "doa") else "fc"
