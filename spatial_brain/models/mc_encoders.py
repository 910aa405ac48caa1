"""Encoders of SAR-SSL: convolutions and a Conformer, one token a frame.

Source: Yang and Li, IEEE/ACM TASLP 32, 2024; see
:mod:`spatial_brain.models.mc_conformer` for the networks built of them.
"""

import torch
from torch import nn
from torch.nn import functional as F

from spatial_brain.nnet.relative_conformer import RelativeConformer

EMBEDDINGS = ("spat", "spec", "spec_spat")
NUM_MICS = 2
PLANES = 2 * NUM_MICS  # Re mic 0, Re mic 1, Im mic 0, Im mic 1


def convolution_format(device):
    """Order in memory in which the convolutions are fastest.

    Tensor cores and processors with AVX-512 prefer channels together; with
    AVX2 and less, a training step in single precision is slower so.

    Arguments
    ---------
    device : str or torch.device
        Where the network is.

    Returns
    -------
    torch.memory_format
        For ``network.to(memory_format=...)``.

    Example
    -------
    >>> convolution_format("cuda")
    torch.channels_last
    """
    together = (
        torch.device(device).type != "cpu"
        or torch.backends.cpu.get_cpu_capability() == "AVX512"
    )
    return torch.channels_last if together else torch.contiguous_format


class FrameProjection(nn.Conv2d):
    """A convolution as high as the image: one token a frame.

    Written as a matrix product, which is faster than a general convolution.

    Arguments
    ---------
    planes : int
        Planes of the image.
    num_bins : int
        Height of the image.
    dim : int
        Size of a token.

    Example
    -------
    >>> FrameProjection(4, 8, 16)(torch.randn(2, 4, 8, 5)).shape
    torch.Size([2, 5, 16])
    """

    def __init__(self, planes, num_bins, dim):
        super().__init__(planes, dim, (num_bins, 1), bias=False)

    def forward(self, x):
        """Map [batch, plane, bin, frame] to [batch, frame, dim]."""
        return F.linear(
            x.permute(0, 3, 1, 2).flatten(2), self.weight.flatten(1)
        )


class MCConformer(nn.Module):
    """Convolutions over time and frequency, then a Conformer over frames.

    ``network.to(memory_format=convolution_format(device))`` makes the
    convolutions as fast as the device allows.

    Arguments
    ---------
    dim : int
        Size of a token, even.
    depth : int
        Conformer blocks.
    num_bins : int
        Frequency bins.
    channels : int
        Planes inside the convolutional part.
    heads : int
        Attention heads; divides ``dim``.
    conv_kernel : int
        Frames under the Conformer's depthwise filter, odd.
    dropout : float
        In the Conformer.

    Example
    -------
    >>> encoder = MCConformer(16, 1, num_bins=8, channels=4)
    >>> encoder(torch.randn(2, 4, 8, 5)).shape
    torch.Size([2, 5, 16])
    """

    def __init__(
        self,
        dim,
        depth,
        num_bins=256,
        channels=64,
        heads=4,
        conv_kernel=31,
        dropout=0.1,
    ):
        super().__init__()
        layers = []
        for inputs, outputs, size in (
            (PLANES, channels, 1),
            (channels, channels, 3),
            (channels, channels, 3),
            (channels, PLANES, 1),
        ):
            layers += [
                nn.Conv2d(inputs, outputs, size, padding=size // 2, bias=False),
                nn.BatchNorm2d(outputs),
                nn.ReLU(inplace=True),
            ]
        self.patch_embed = nn.Sequential(
            *layers, FrameProjection(PLANES, num_bins, dim)
        )
        self.embed = RelativeConformer(
            dim, depth, heads=heads, conv_kernel=conv_kernel, dropout=dropout
        )

    def forward(self, planes):
        """Map [batch, 4, bin, frame] to tokens [batch, frame, dim]."""
        return self.embed(self.patch_embed(planes))


class PairEncoders(nn.Module):
    """The two encoders that pretext and downstream networks share.

    The spectral encoder is meant for what the source says, the spatial one
    for what the room does to it. The defaults are the sizes of the paper.

    Arguments
    ---------
    num_bins : int
        Frequency bins.
    channels : int
        Planes inside the convolutional parts.
    spec_dim : int
        Size of the spectral tokens, even.
    spat_dim : int
        Size of the spatial tokens, even.
    spec_depth : int
        Conformer blocks of the spectral encoder.
    spat_depth : int
        Conformer blocks of the spatial encoder.
    heads : int
        Attention heads; divides both sizes.
    conv_kernel : int
        Frames under the Conformers' depthwise filters, odd.
    dropout : float
        In the Conformers.

    Example
    -------
    >>> sum(p.numel() for p in PairEncoders().parameters())
    12025104
    """

    def __init__(
        self,
        num_bins=256,
        channels=64,
        spec_dim=512,
        spat_dim=256,
        spec_depth=1,
        spat_depth=3,
        heads=4,
        conv_kernel=31,
        dropout=0.1,
    ):
        super().__init__()
        shared = (num_bins, channels, heads, conv_kernel, dropout)
        self.num_bins = num_bins
        self.dims = {"spec": spec_dim, "spat": spat_dim}
        self.spec_encoder = MCConformer(spec_dim, spec_depth, *shared)
        self.spat_encoder = MCConformer(spat_dim, spat_depth, *shared)
        self.used = ("spec", "spat")
        self._at_rest = False

    def freeze(self, at_rest=True):
        """Exclude the encoders from training.

        Arguments
        ---------
        at_rest : bool
            Whether they also stay in evaluation mode when the network is
            trained. Otherwise dropout works and batch statistics adapt, as
            in the original's "linear evaluation".

        Example
        -------
        >>> encoders = PairEncoders(num_bins=8, channels=4)
        >>> encoders.freeze()
        >>> encoders.train().spat_encoder.training
        False
        """
        for encoder in self.encoders().values():
            encoder.requires_grad_(False)
        self._at_rest = at_rest
        self.train(self.training)

    def train(self, mode=True):
        """Choose the mode; encoders at rest stay in evaluation mode."""
        super().train(mode)
        if self._at_rest:
            for encoder in self.encoders().values():
                encoder.eval()
        return self

    def planes(self, features):
        """Check features and order them for the encoders.

        Arguments
        ---------
        features : torch.Tensor
            [batch, 2, bin, frame, re/im].

        Returns
        -------
        torch.Tensor
            [batch, re/im, mic, bin, frame].

        Raises
        ------
        ValueError
            If the shape is another one.

        Example
        -------
        >>> encoders = PairEncoders(num_bins=8, channels=4)
        >>> encoders.planes(torch.zeros(1, 2, 8, 5, 2)).shape
        torch.Size([1, 2, 2, 8, 5])
        """
        wanted = (NUM_MICS, self.num_bins, 2)
        if features.ndim != 5 or wanted != (
            *features.shape[1:3],
            features.shape[4],
        ):
            raise ValueError(
                f"expected features [batch, {NUM_MICS} microphones, "
                f"{self.num_bins} bins, frame, 2 (re, im)], got "
                f"{list(features.shape)}"
            )
        return features.permute(0, 4, 1, 2, 3)

    def use(self, embedding):
        """Choose the encoders that are run and trained.

        The others get no gradient, for which distributed training would wait.

        Arguments
        ---------
        embedding : str
            ``"spat"``, ``"spec"`` or ``"spec_spat"``.

        Returns
        -------
        int
            Size of the embedding.

        Raises
        ------
        ValueError
            If there is no such embedding.

        Example
        -------
        >>> PairEncoders(num_bins=8, channels=4).use("spec_spat")
        768
        """
        if embedding not in EMBEDDINGS:
            raise ValueError(
                f"embedding must be one of {', '.join(EMBEDDINGS)}, got "
                f"'{embedding}'"
            )
        self.used = tuple(embedding.split("_"))
        for name, encoder in self.encoders().items():
            encoder.requires_grad_(name in self.used)
        return sum(self.dims[name] for name in self.used)

    def encoders(self):
        """Both encoders by name, ``"spec"`` and ``"spat"``."""
        return {"spec": self.spec_encoder, "spat": self.spat_encoder}

    def embed_pair(self, features):
        """Tokens of the encoders in use, averaged over the frames.

        Arguments
        ---------
        features : torch.Tensor
            [batch, 2, bin, frame, re/im].

        Returns
        -------
        torch.Tensor
            [batch, size of the embedding].

        Example
        -------
        >>> encoders = PairEncoders(num_bins=8, channels=4)
        >>> encoders.embed_pair(torch.randn(1, 2, 8, 5, 2)).shape
        torch.Size([1, 768])
        """
        planes = self.planes(features).flatten(1, 2)
        encoders = self.encoders()
        tokens = [encoders[name](planes) for name in self.used]
        return torch.cat(tokens, dim=-1).mean(1)
