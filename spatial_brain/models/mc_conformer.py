"""Multi-channel Conformer: pretext and downstream networks of SAR-SSL.

Source: Yang and Li, "Self-Supervised Learning of Spatial Acoustic
Representation with Cross-Channel Signal Reconstruction and Multi-Channel
Conformer", IEEE/ACM TASLP 32, pp. 4211-4225, 2024. Names in the state dicts
are those of its public implementation, whose checkpoints load with
``strict=True``.

:class:`CrossChannelReconstruction` is the pretext task; its encoders estimate
numbers about a room or a source from two microphones
(:class:`SpatialAcousticsEstimator`) or from more (:class:`MultiPairEstimator`):

>>> small = {"num_bins": 8, "channels": 4, "spec_dim": 16, "spat_dim": 8}
>>> pair = SpatialAcousticsEstimator(**small)
>>> pair(torch.randn(1, 2, 8, 10, 2)).shape
torch.Size([1, 1])
>>> tdoas = MultiPairEstimator(num_pairs=3, task_outputs=3, **small)
>>> tdoas(torch.randn(1, 4, 8, 10, 2)).shape
torch.Size([1, 3])
"""

import torch
from torch import nn
from torch.nn import functional as F

from spatial_brain.loadable import loadable
from spatial_brain.models.mc_pretext import copy_error, draw_masks, masked_error
from spatial_brain.nnet.relative_conformer import RelativeConformer
from spatial_brain.processing.pair_spectra import pair_examples

EMBEDDINGS = ("spat", "spec", "spec_spat")
NUM_MICS = 2
PLANES = 2 * NUM_MICS  # Re mic 0, Re mic 1, Im mic 0, Im mic 1
SPEC_INPUTS = ("single", "hidden")


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


class _FrameProjection(nn.Conv2d):
    """A convolution as high as the image: one token a frame."""

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
            *layers, _FrameProjection(PLANES, num_bins, dim)
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


class _Decoder(nn.Module):
    """Both channels of a frame from its tokens."""

    def __init__(self, dim, outputs):
        super().__init__()
        self.proj = nn.Sequential(
            nn.Linear(dim, 3 * outputs),
            nn.ReLU(),
            nn.Linear(3 * outputs, outputs),
        )

    def forward(self, x):
        return self.proj(x)


@loadable
class CrossChannelReconstruction(PairEncoders):
    """The pretext task: one channel's hidden frames from what is left.

    In every frame the spectral encoder sees one channel only: the other one
    where frames are hidden, the hidden channel elsewhere; so it can learn
    nothing of space. The spatial encoder sees both channels, but not the
    hidden frames; so it cannot copy the source. A frame-wise decoder joins
    them.

    Arguments
    ---------
    mask_mode : str
        Which frames are hidden, see
        :func:`spatial_brain.models.mc_pretext.draw_masks`.
    spec_input : str
        What the spectral encoder sees: ``"single"``, one channel in every
        frame, as said above; ``"hidden"``, the other channel where frames are
        hidden, and nothing elsewhere, as in the paper's analysis of frozen
        encoders.
    **encoders
        Those of :class:`PairEncoders`.

    Raises
    ------
    ValueError
        If there is no such mode or input.

    Example
    -------
    >>> network = CrossChannelReconstruction(
    ...     num_bins=8, channels=4, spec_dim=16, spat_dim=8)
    >>> outputs = network(torch.randn(3, 2, 8, 10, 2))
    >>> outputs["prediction"].shape
    torch.Size([3, 2, 8, 10, 2])
    """

    def __init__(self, mask_mode="frames", spec_input="single", **encoders):
        super().__init__(**encoders)
        if spec_input not in SPEC_INPUTS:
            raise ValueError(
                f"spec_input must be one of {', '.join(SPEC_INPUTS)}, got "
                f"{spec_input!r}"
            )
        self.mask_mode, self.spec_input = mask_mode, spec_input
        draw_masks(torch.zeros(1, dtype=torch.int64), 2, mode=mask_mode)
        self.decoder = _Decoder(sum(self.dims.values()), PLANES * self.num_bins)

    def forward(
        self,
        features,
        mask_frames=None,
        mask_channel=None,
        generator=None,
        seeds=None,
    ):
        """Hide, reconstruct, compare.

        Arguments
        ---------
        features : torch.Tensor
            [batch, 2, bin, frame, re/im], as
            :class:`spatial_brain.processing.pair_spectra.PairSpectra` gives
            them.
        mask_frames : torch.Tensor, optional
            Frames to hide, bool [batch, frame]; with ``mask_channel``.
        mask_channel : torch.Tensor, optional
            Channel to hide them in, int64 [batch].
        generator : torch.Generator, optional
            Draws masks in training; default: PyTorch's own, as for dropout.
        seeds : torch.Tensor, optional
            One an example, int64 [batch]: masks that depend on nothing else.
            In evaluation these or masks must be given.

        Returns
        -------
        dict
            ``loss`` and ``reference`` (what copying the other channel would
            cost), means over the batch; ``loss_per_example`` and
            ``reference_per_example`` [batch]; ``prediction`` and ``target``
            in the layout of ``features``; ``masked_frames`` and
            ``masked_channel``; ``spec`` and ``spat``, the tokens.

        Raises
        ------
        ValueError
            If shapes do not fit, only one of the masks is given, or masks
            have to be drawn in evaluation without seeds.
        """
        planes = self.planes(features)
        frames, channel = self._masks(
            planes, mask_frames, mask_channel, generator, seeds
        )
        mic = torch.arange(NUM_MICS, device=planes.device)
        hidden = mic == channel[:, None]
        single = hidden[:, :, None] != frames[:, None]
        if self.spec_input == "hidden":
            single = single & frames[:, None]
        # [batch, re/im, mic, bin, frame]
        single = single[:, None, :, None]
        both = ~frames[:, None, None, None]
        spec = self.spec_encoder((planes * single).flatten(1, 2))
        spat = self.spat_encoder((planes * both).flatten(1, 2))
        decoded = self.decoder(torch.cat((spec, spat), dim=-1)).float()
        prediction = decoded.unflatten(-1, (-1, 2, NUM_MICS))
        prediction = prediction.permute(0, 4, 2, 1, 3)
        loss = masked_error(prediction, features, frames, channel)
        with torch.no_grad():
            reference = copy_error(features, frames)
        return {
            "loss": loss.mean(),
            "reference": reference.mean(),
            "loss_per_example": loss.detach(),
            "reference_per_example": reference,
            "prediction": prediction,
            "target": features,
            "masked_frames": frames,
            "masked_channel": channel,
            "spec": spec,
            "spat": spat,
        }

    def _masks(self, planes, frames, channel, generator, seeds):
        """Given masks, or drawn ones."""
        batch, length = len(planes), planes.shape[-1]
        if (frames is None) != (channel is None):
            raise ValueError("give mask_frames and mask_channel, or neither")
        if frames is not None:
            if frames.shape != (batch, length) or channel.shape != (batch,):
                raise ValueError(
                    f"masks for features of {batch} examples and {length} "
                    f"frames have the shapes {list(frames.shape)} and "
                    f"{list(channel.shape)}"
                )
            return frames.bool(), channel
        if seeds is None:
            if not self.training:
                raise ValueError(
                    "in evaluation give seeds, such as item_seeds(ids), or "
                    "masks: drawn ones would depend on what was drawn before"
                )
            device = planes.device if generator is None else generator.device
            seeds = torch.randint(
                2**62, (batch,), generator=generator, device=device
            )
        return draw_masks(seeds.to(planes.device), length, mode=self.mask_mode)


@loadable
class SpatialAcousticsEstimator(PairEncoders):
    """Estimates numbers about a room or a source from a microphone pair.

    Both encoders are there, so that checkpoints keep their meaning; only
    those whose tokens are used are run and trained.

    Arguments
    ---------
    task_outputs : int
        Numbers to estimate; one has a linear head, more a hidden layer.
    embedding : str
        ``"spat"``, ``"spec"`` or ``"spec_spat"``.
    **encoders
        Those of :class:`PairEncoders`.

    Raises
    ------
    ValueError
        If there is no such embedding.

    Example
    -------
    >>> network = SpatialAcousticsEstimator()
    >>> sum(p.numel() for p in network.parameters())
    12025873
    >>> sum(p.numel() for p in network.parameters() if p.requires_grad)
    5103753
    """

    def __init__(self, task_outputs=1, embedding="spat", **encoders):
        super().__init__(**encoders)
        dim = self.use(embedding)
        if task_outputs == 1:
            self.mlp_head = nn.Sequential(nn.LayerNorm(dim), nn.Linear(dim, 1))
        else:
            self.joint_head = _hidden_head(dim, task_outputs)

    def embed(self, features):
        """Pooled embedding, [batch, size], of a pair's features."""
        return self.embed_pair(features)

    def forward(self, features):
        """Estimate.

        Arguments
        ---------
        features : torch.Tensor
            [batch, 2, bin, frame, re/im], as
            :class:`spatial_brain.processing.pair_spectra.PairSpectra` gives
            them; any number of frames.

        Returns
        -------
        torch.Tensor
            float32 [batch, task_outputs].

        Raises
        ------
        ValueError
            If the shape of the features is wrong.
        """
        head = self.mlp_head if hasattr(self, "mlp_head") else self.joint_head
        return head(self.embed(features)).float()


@loadable
class MultiPairEstimator(nn.Module):
    """Estimates from all pairs of more than two microphones together.

    One network embeds every pair of channel 0 with another channel; a head
    sees all embeddings at once.

    Arguments
    ---------
    num_pairs : int
        Pairs; one less than channels.
    task_outputs : int
        Numbers to estimate; for TDOAs one a pair.
    **encoders
        Those of :class:`PairEncoders`.

    Example
    -------
    >>> network = MultiPairEstimator(3, task_outputs=3)
    >>> sum(p.numel() for p in network.parameters())
    12619539
    """

    def __init__(self, num_pairs, task_outputs=1, **encoders):
        super().__init__()
        self.num_pairs = num_pairs
        self.model_sch = PairEncoders(**encoders)
        dim = self.model_sch.use("spat")
        self.head_mch = _hidden_head(num_pairs * dim, task_outputs)

    def embed(self, features):
        """Embeddings of the pairs side by side, [batch, pair * size]."""
        if features.shape[1] != self.num_pairs + 1:
            raise ValueError(
                f"{self.num_pairs} pairs with channel 0 need "
                f"{self.num_pairs + 1} channels, got {features.shape[1]}"
            )
        pairs = self.model_sch.embed_pair(pair_examples(features))
        return pairs.unflatten(0, (-1, self.num_pairs)).flatten(1)

    def forward(self, features):
        """Estimate.

        Arguments
        ---------
        features : torch.Tensor
            [batch, channel, bin, frame, re/im].

        Returns
        -------
        torch.Tensor
            float32 [batch, task_outputs].

        Raises
        ------
        ValueError
            If the number of channels or the shape is wrong.
        """
        return self.head_mch(self.embed(features)).float()


def _hidden_head(dim, outputs):
    """Layer norm and two linear layers."""
    return nn.Sequential(
        nn.LayerNorm(dim),
        nn.Linear(dim, dim),
        nn.ReLU(),
        nn.Linear(dim, outputs),
    )
