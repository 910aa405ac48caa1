"""Binaural separation of sources that keeps their directions.

Source: Han, Luo and Mesgarani, "Real-time binaural speech separation with
preserved spatial cues", ICASSP 2020, in the form of SpeechBrain's recipe
Binaural-WSJ0Mix. Names in the state dict are those of the recipe's modules,
so that its checkpoints load with ``strict=True``.
"""

import math
from functools import partial

import torch
from torch import nn
from torch.nn import functional as F

from spatial_brain.loadable import loadable
from spatial_brain.models.binaural_tasnet.interaural_cues import InterauralCues
from spatial_brain.models.binaural_tasnet.stream import NUM_EARS, BinauralStream
from spatial_brain.nnet.temporal_convolution import MaskNet

RULES = ("parallel", "independent", "cross", "joint")
# Transform of the level differences of the rule "cross", samples.
_ILD_WINDOW, _ILD_HOP = 256, 128
_ILD_BINS = _ILD_WINDOW // 2 + 1


@loadable
class BinauralTasNet(nn.Module):
    """Conv-TasNet with binaural input, and binaural output for every source.

    Arguments
    ---------
    rule : str
        How the ears are linked. ``"parallel"``: the masks of each ear are
        found from both ears, weigh both ears, and the sum is decoded.
        ``"independent"``: each ear for itself. ``"cross"``: each ear, with
        the level differences between the ears as further input.
        ``"joint"``: one mask network finds the masks of both ears from both,
        and from their differences in narrow bands
        (:class:`~spatial_brain.models.binaural_tasnet.interaural_cues
        .InterauralCues`); the masks weigh both ears as those of parallel.
    num_sources : int
        Sources to separate.
    num_filters : int
        Filters of an encoder.
    kernel_size : int
        Taps of a filter, samples. The recipe's 16 are 2 ms at 8 kHz.
    stride : int
        Samples from frame to frame, at most ``kernel_size``.
    bottleneck, hidden, num_blocks, num_repeats : int
        Of the mask networks, see
        :class:`spatial_brain.nnet.temporal_convolution.MaskNet`.
    causal : bool
        Whether the output depends on the input so far alone; not with
        ``"cross"``, whose spectra look ahead.
    norm : str, optional
        ``"gLN"`` (default), ``"cLN"`` (default if causal) or ``"channel"``.
    causal_legacy : bool
        Causal blocks as SpeechBrain has them, which look one dilation
        further back, for weights trained with them. Their norm, called cLN
        there, is ``"channel"``, the default then.
    cue_window : int
        For ``"joint"``: samples over which differences are taken, even. They
        end with the encoder's window and add no latency.
    compat : bool
        For ``"cross"``: project the level differences by weights drawn anew
        in every call, as the original does, from PyTorch's generator.

    Raises
    ------
    ValueError
        If the rule is not known or options do not go together.

    Example
    -------
    >>> network = BinauralTasNet(num_filters=8, bottleneck=4, hidden=8,
    ...     num_blocks=2, num_repeats=1)
    >>> network(torch.randn(3, 800, 2)).shape
    torch.Size([3, 800, 2, 2])
    """

    def __init__(
        self,
        rule="parallel",
        num_sources=2,
        num_filters=64,
        kernel_size=16,
        stride=8,
        bottleneck=64,
        hidden=128,
        num_blocks=8,
        num_repeats=4,
        causal=False,
        norm=None,
        causal_legacy=False,
        compat=False,
        cue_window=256,
    ):
        super().__init__()
        _check(rule, num_sources, kernel_size, stride, causal, causal_legacy)
        if norm is None:
            norm = "channel" if causal_legacy else "cLN" if causal else "gLN"
        self.rule, self.num_sources = rule, num_sources
        self.num_filters, self.causal, self.norm = num_filters, causal, norm
        self.kernel_size, self.stride = kernel_size, stride
        self.compat = compat
        num_inputs = 1 if rule == "independent" else 2
        masks = partial(
            MaskNet,
            num_inputs * num_filters,
            bottleneck=bottleneck,
            hidden=hidden,
            num_blocks=num_blocks,
            num_repeats=num_repeats,
            norm=norm,
            causal=causal,
            extra_lag=causal_legacy,
        )
        for ear in "LR":
            filters = num_filters, kernel_size, stride
            setattr(self, f"encoder{ear}", _Encoder(*filters))
            if rule != "joint":
                setattr(self, f"masknet{ear}", masks(num_sources=num_sources))
            setattr(self, f"decoder{ear}", _Decoder(*filters))
        if rule == "joint":
            _check_window(cue_window, kernel_size)
            self.masknet = masks(num_sources=NUM_EARS * num_sources)
            self.cues = InterauralCues(
                cue_window, kernel_size, stride, bottleneck
            )
        if rule == "cross" and not compat:
            self.ild_proj = nn.Conv1d(_ILD_BINS, num_filters, 1)

    @property
    def latency(self):
        """Samples a source comes later than the mixture; inf if not causal.

        The window of the encoder: a sample is final when the last window
        that covers it is full.
        """
        return self.kernel_size if self.causal else math.inf

    @property
    def receptive_field(self):
        """Samples that the convolutions see for one frame.

        Norms over time see more: ``"gLN"`` everything, ``"cLN"`` everything
        so far.
        """
        if self.rule == "joint":
            frames = self.masknet.receptive_field
            window = self.cues.window_length
        else:
            frames = self.masknetL.receptive_field
            window = self.kernel_size
        return (frames - 1) * self.stride + window

    def forward(self, waveform, lengths=None):
        """Separate the sources.

        Arguments
        ---------
        waveform : torch.Tensor
            [batch, time, 2], left ear first, of any length.
        lengths : torch.Tensor, optional
            Relative lengths in (0, 1], [batch]; what lies behind has no
            influence, and is zero in the output.

        Returns
        -------
        torch.Tensor
            [batch, time, 2, source].

        Raises
        ------
        ValueError
            For a wrong shape or an empty waveform.
        """
        if waveform.ndim != 3 or waveform.shape[2] != NUM_EARS:
            raise ValueError(
                f"expected a waveform [batch, time, {NUM_EARS} ears], got "
                f"{list(waveform.shape)}"
            )
        total = waveform.shape[1]
        if not total:
            raise ValueError("the waveform has no samples")
        samples = _absolute(lengths, total, waveform.device)
        frames = None
        if samples is not None:
            waveform = waveform * _inside(samples, total)[..., None]
            frames = (samples - self.kernel_size).clamp(min=0)
            frames = frames // self.stride + 1
        short = max(0, self.kernel_size - total)
        ears = F.pad(waveform.mT, (0, short)).contiguous()
        sources = torch.stack(self._separate(ears, samples, frames), -1)
        missing = total - sources.shape[2]
        sources = F.pad(sources.permute(0, 2, 3, 1), (0, 0) * 2 + (0, missing))
        if samples is not None:
            sources = sources * _inside(samples, total)[..., None, None]
        return sources

    def stream(self):
        """Separate live sound block by block.

        Returns
        -------
        spatial_brain.models.binaural_tasnet.stream.BinauralStream
            ``push(block [time, 2])`` and ``flush()``, both giving
            [time, 2, source].

        Raises
        ------
        ValueError
            If the network is not causal.
        """
        return BinauralStream(self)

    def _separate(self, ears, samples, frames):
        """Sources at each ear, [batch, source, time], of [batch, ear, time].

        Time ends with the last whole frame.
        """
        if self.rule == "joint":
            return self._separate_jointly(ears, frames)
        rows = self.num_filters if self.rule == "cross" else None
        outputs = []
        for features, weighed, network, decoder in zip(
            *self._encode(ears, samples, frames),
            (self.masknetL, self.masknetR),
            (self.decoderL, self.decoderR),
            strict=True,
        ):
            masked = network(features, frames, rows) * weighed[:, None]
            outputs.append(_decoded(masked, frames, decoder))
        return outputs

    def _separate_jointly(self, ears, frames):
        """The same with one mask network for both ears."""
        left, right = ears.unbind(1)
        features = torch.cat((self.encoderL(left), self.encoderR(right)), 1)
        masks = self.masknet(features, frames, extra=self.cues(ears))
        # [batch, ear, source, filter, frame]
        masks = masks.unflatten(1, (NUM_EARS, self.num_sources))
        decoders = self.decoderL, self.decoderR
        return [
            _decoded(masks[:, ear] * features[:, None], frames, decoder)
            for ear, decoder in enumerate(decoders)
        ]

    def _encode(self, ears, samples, frames):
        """Features for each ear's mask network, and what its masks weigh."""
        left, right = ears.unbind(1)
        if self.rule == "parallel":
            features = [
                torch.cat((self.encoderL(left), self.encoderR(right)), 1),
                torch.cat((self.encoderR(left), self.encoderL(right)), 1),
            ]
            return features, features
        weighed = [self.encoderL(left), self.encoderR(right)]
        if self.rule == "independent":
            return weighed, weighed
        level = self._level(ears, samples, frames, weighed[0].shape[-1])
        features = [
            torch.cat((weighed[0], level), 1),
            torch.cat((weighed[1], -level), 1),
        ]
        return features, weighed

    def _level(self, ears, samples, frames, num_frames):
        """Projected level differences at the encoders' frames."""
        ild = _level_difference(ears)
        project = self._random_projection if self.compat else self.ild_proj
        projected = project(ild)
        if samples is None:
            return F.interpolate(projected, num_frames)
        # The nearest, as interpolate() finds it, at each signal's own rate.
        ratio = (samples // _ILD_HOP + 1).to(ild) / frames.to(ild)
        place = torch.arange(num_frames, device=ild.device) * ratio[:, None]
        place = place.long().clamp(max=projected.shape[-1] - 1)[:, None]
        return projected.gather(2, place.expand(-1, projected.shape[1], -1))

    def _random_projection(self, ild):
        """A layer that is new in every call."""
        layer = nn.Conv1d(_ILD_BINS, self.num_filters, 1)
        return layer.to(ild)(ild)


class _Encoder(nn.Module):
    """Learnt filters in place of a spectrum, rectified."""

    def __init__(self, num_filters, kernel_size, stride):
        super().__init__()
        self.conv1d = nn.Conv1d(
            1, num_filters, kernel_size, stride=stride, bias=False
        )

    def forward(self, waveform):
        """Encode [batch, time] to [batch, filter, frame]."""
        return self.conv1d(waveform[:, None]).relu()


class _Decoder(nn.ConvTranspose1d):
    """Waveforms of masked frames."""

    def __init__(self, num_filters, kernel_size, stride):
        super().__init__(num_filters, 1, kernel_size, stride, bias=False)

    def forward(self, frames):
        """Decode [batch, filter, frame] to [batch, time].

        Frames with twice the filters are those of two signals to be added.
        """
        copies = frames.shape[1] // self.in_channels
        weight = self.weight.repeat(copies, 1, 1)
        (size,), (stride,) = self.kernel_size, self.stride
        if size % stride:
            return F.conv_transpose1d(frames, weight, stride=stride)[:, 0]
        # The same sums, which a map of every frame and shifts give sooner.
        pieces = F.conv1d(frames, weight.permute(2, 0, 1))
        parts = pieces.unflatten(1, (-1, stride)).unbind(1)
        last = len(parts) - 1
        parts = [F.pad(part, (k, last - k)) for k, part in enumerate(parts)]
        return sum(parts[1:], parts[0]).mT.flatten(1)


def _decoded(masked, frames, decoder):
    """Waveforms [batch, source, time] of masked frames."""
    if frames is not None:
        inside = _inside(frames, masked.shape[-1])
        masked = masked * inside[:, None, None]
    decoded = decoder(masked.flatten(0, 1))
    return decoded.unflatten(0, masked.shape[:2])


def _level_difference(ears):
    """Level of the left over the right ear, [batch, bin, frame].

    10 log10 of the ratio of magnitudes, as in the original: half of the
    level difference in dB. Ears are [batch, 2, time].
    """
    spectra = torch.stft(
        ears.flatten(0, 1),
        _ILD_WINDOW,
        _ILD_HOP,
        window=torch.hamming_window(
            _ILD_WINDOW, dtype=ears.dtype, device=ears.device
        ),
        pad_mode="constant",
        return_complex=True,
    )
    power = torch.view_as_real(spectra).square().sum(-1)
    left, right = (power + 1e-14).sqrt().unflatten(0, (-1, NUM_EARS)).unbind(1)
    return 10 * torch.log10(left / (right + 1e-8) + 1e-8)


def _absolute(lengths, total, device):
    """Lengths in samples, or None if all signals are whole."""
    if lengths is None:
        return None
    samples = (lengths.to(device).double() * total).round().long()
    samples = samples.clamp(1, total)
    return None if (samples == total).all() else samples


def _inside(counts, total):
    """Which places of each signal are no padding, bool [batch, total]."""
    return torch.arange(total, device=counts.device) < counts[:, None]


def _check(rule, num_sources, kernel_size, stride, causal, causal_legacy):
    """Refuse options that are wrong or do not go together."""
    if rule not in RULES:
        raise ValueError(
            f"rule must be one of {', '.join(RULES)}, got {rule!r}"
        )
    if num_sources < 1:
        raise ValueError(f"num_sources must be at least 1, got {num_sources}")
    if not 0 < stride <= kernel_size:
        raise ValueError(
            f"stride must be 1 to kernel_size={kernel_size}, got {stride}"
        )
    if causal and rule == "cross":
        raise ValueError(
            'rule "cross" looks 16 ms ahead and cannot be causal; use parallel'
        )
    if causal_legacy and not causal:
        raise ValueError("causal_legacy needs causal=True")


def _check_window(cue_window, kernel_size):
    """Refuse a window of cues that does not fit the encoder's."""
    if cue_window % 2 or cue_window < max(kernel_size, 4):
        raise ValueError(
            f"cue_window must be even and at least kernel_size={kernel_size} "
            f"samples, got {cue_window}"
        )
