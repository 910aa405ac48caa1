"""Multi-channel Conformer: pretext and downstream networks of SAR-SSL.

Source: Yang and Li, "Self-Supervised Learning of Spatial Acoustic
Representation with Cross-Channel Signal Reconstruction and Multi-Channel
Conformer", IEEE/ACM TASLP 32, pp. 4211-4225, 2024. Names in the state dicts
are those of its public implementation, whose checkpoints load with
``strict=True``.
"""

import torch
from torch import nn

from spatial_brain.models.mc_encoders import NUM_MICS, PLANES, PairEncoders
from spatial_brain.models.mc_masking import (
    copy_error,
    draw_masks,
    masked_error,
)
from spatial_brain.processing.pair_spectra import microphone_pairs

SPEC_INPUTS = ("single", "hidden")


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
        :func:`spatial_brain.models.mc_masking.draw_masks`.
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


class SpatialAcousticsEstimator(PairEncoders):
    """Answers with numbers about a room or a source from a microphone pair.

    Both encoders are there, so that checkpoints keep their meaning; only
    those whose tokens are used are run and trained.

    Arguments
    ---------
    task_outputs : int
        Numbers to answer with; one has a linear head, more a hidden layer.
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
        """Answer.

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


class MultiPairEstimator(nn.Module):
    """Answers from all pairs of more than two microphones together.

    One network embeds every pair of channel 0 with another channel; a head
    sees all embeddings at once.

    Arguments
    ---------
    num_pairs : int
        Pairs; one less than channels.
    task_outputs : int
        Numbers to answer with; for TDOAs one a pair.
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
        pairs = self.model_sch.embed_pair(microphone_pairs(features))
        return pairs.unflatten(0, (-1, self.num_pairs)).flatten(1)

    def forward(self, features):
        """Answer, float32 [batch, task_outputs].

        Arguments
        ---------
        features : torch.Tensor
            [batch, channel, bin, frame, re/im].

        Returns
        -------
        torch.Tensor
            [batch, task_outputs].

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
