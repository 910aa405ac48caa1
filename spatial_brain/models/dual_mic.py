"""Directions of two talkers from two microphones.

The network of the public system dual-mic-SSL (zszheng147/tencent-SSL, 2024),
whose state dict loads with ``strict=True`` into the default configuration, and
its smaller relatives: other features, sizes and heads of the same class.
"""

import math

import torch
from torch import nn

from spatial_brain.loadable import loadable
from spatial_brain.nnet.conformer import Conformer
from spatial_brain.processing.decoding import decode_classes
from spatial_brain.processing.localization import SteeredResponse
from spatial_brain.processing.spatial import ipd_features, log_magnitude
from spatial_brain.processing.stft import STFT, ConvSTFT

__all__ = ["DualMicLocalizer", "decode_classes"]

FEATURES = ("ipd", "ipd+magnitude", "steered", "steered+magnitude")
HEADS = ("tokens", "angles")


def _check_options(features, head, kernels, strides):
    """Raise ValueError for unknown names and sizes that do not fit."""
    for name, value, known in (
        ("features", features, FEATURES),
        ("head", head, HEADS),
    ):
        if value not in known:
            raise ValueError(f"{name} must be one of {known}, got {value!r}")
    if head == "angles" and "steered" not in features:
        raise ValueError('head="angles" needs steered features')
    pairs = zip(kernels, strides, strict=True)
    for kernel, stride in pairs:
        for k, s in zip(kernel, stride, strict=True):
            if k < s or (k - s) % 2:
                raise ValueError(
                    f"a kernel of {k} does not fit a stride of {s}: it must "
                    "be wider by an even number or equal"
                )


def _convolutions(channels, outputs, kernels, strides):
    """Stack of convolutions from n to floor(n / stride), norm and GELU."""
    layers = []
    for size, kernel, stride in zip(outputs, kernels, strides, strict=True):
        padding = tuple(
            (k - s) // 2 for k, s in zip(kernel, stride, strict=True)
        )
        layers += [
            nn.Conv2d(channels, size, kernel, stride, padding),
            nn.BatchNorm2d(size),
            nn.GELU(),
        ]
        channels = size
    return nn.Sequential(*layers)


def _standardize(x):
    """Zero mean and unit variance over all but the batch axis."""
    axes = tuple(range(1, x.ndim))
    x = x - x.mean(axes, keepdim=True)
    return x * torch.rsqrt(x.square().mean(axes, keepdim=True) + 1e-5)


def _initialize(module):
    """Initial values of the original: small linear maps, no biases."""
    if isinstance(module, nn.Linear):
        nn.init.trunc_normal_(module.weight, std=0.02, a=-2.0, b=2.0)
        if module.bias is not None:
            nn.init.zeros_(module.bias)


@loadable
class DualMicLocalizer(nn.Module):
    """Scores of direction classes for each of two (or more) talkers.

    Waveform -> features of the microphone pair -> convolutions -> patches as
    tokens -> Conformer -> one distribution over classes a talker. The defaults
    are the original network with 57,102,224 parameters: cosine and sine of
    the phase difference from a learned transform, and a learned class token
    for each talker.

    With ``head="angles"`` the tokens are the angles of a steered response: the
    map keeps its angle axis, frames are pooled (half of the channels by their
    mean, half by their maximum), and every angle token scores its own
    classes. It needs no class tokens, few parameters and little data.

    Arguments
    ---------
    num_classes : int
        Equal bins over [0, 180] degrees.
    num_talkers : int
        Distributions given.
    features : str
        "ipd": map over frames and bins. "steered": map over frames and
        angles with frequency bands as channels. With "+magnitude" also the
        standardised log magnitude (a microphone; or a band).
    head : str
        "tokens" (one class token a talker) or "angles" (steered features
        and patches which keep the angle axis).
    dim : int
        Size of the tokens.
    depth : int
        Conformer blocks.
    front_channels : sequence of int
        Outputs of the convolutions at full resolution.
    front_kernel : int
        Their kernel size, odd.
    patch_channels : sequence of int
        Outputs of the patch convolutions; the last one gives ``dim``.
    patch_strides : sequence of (int, int)
        Their strides over frames and bins (or angles), one more than
        ``patch_channels``.
    patch_kernels : sequence of (int, int)
        Their kernel sizes, as wide as the strides by default. A kernel of
        stride + 2 k is padded by k on both sides.
    n_fft : int
        Length of window and transform, samples.
    hop_length : int
        Samples from frame to frame.
    trainable_stft : bool
        Learn the transform's kernels; otherwise a fixed FFT.
    max_frequency : float
        Bins up to here are used, hertz; all by default.
    fs : float
        Sampling rate, hertz.
    spacing : float
        Distance of the microphones, metres ("steered" only).
    num_angles : int
        Angles steered to over [0, 180] degrees ("steered" only).
    num_bands : int
        Frequency bands; divides the number of bins ("steered" only).
    max_tokens : int
        Rows of the table of positions (head "tokens").
    **block
        Options of `ConformerBlock`: ``heads`` (8), ``dim_head`` (64),
        ``ff_mult`` (4), ``conv_expansion`` (2), ``conv_kernel`` (31),
        ``dropout`` (0), ``max_distance`` (512).

    Raises
    ------
    ValueError
        If an option is unknown or the sizes do not fit together.

    Example
    -------
    >>> net = DualMicLocalizer(dim=32, depth=1, heads=2, dim_head=16,
    ...                        patch_channels=(8, 16))
    >>> net(torch.randn(1, 48000, 2)).shape
    torch.Size([1, 2, 36])
    """

    def __init__(
        self,
        num_classes=36,
        num_talkers=2,
        *,
        features="ipd",
        head="tokens",
        dim=512,
        depth=8,
        front_channels=(4, 8),
        front_kernel=3,
        patch_channels=(32, 128),
        patch_strides=((4, 4), (4, 4), (4, 4)),
        patch_kernels=None,
        n_fft=512,
        hop_length=160,
        trainable_stft=True,
        max_frequency=None,
        fs=16000,
        spacing=0.1,
        num_angles=36,
        num_bands=16,
        max_tokens=512,
        **block,
    ):
        super().__init__()
        strides = [tuple(stride) for stride in patch_strides]
        kernels = [tuple(kernel) for kernel in patch_kernels or strides]
        _check_options(
            features, head, [(front_kernel, 1), *kernels], [(1, 1), *strides]
        )
        self.features, self.head_kind = features, head
        self.num_talkers, self.num_classes = num_talkers, num_classes
        self.stft = (ConvSTFT if trainable_stft else STFT)(n_fft, hop_length)
        limit = fs / 2 if max_frequency is None else max_frequency
        self.num_bins = min(int(limit * n_fft / fs), n_fft // 2)
        channels, width = 2, self.num_bins
        if "steered" in features:
            self.steer = SteeredResponse(
                spacing, num_angles, num_bands, self.num_bins, n_fft, fs
            )
            channels, width = num_bands, num_angles
        channels *= 1 + ("magnitude" in features)
        count = len(front_channels)
        self.inter_conv = _convolutions(
            channels,
            front_channels,
            [(front_kernel, front_kernel)] * count,
            [(1, 1)] * count,
        )
        self.patch_embed = _convolutions(
            (channels, *front_channels)[-1],
            (*patch_channels, dim),
            kernels,
            strides,
        )
        self._build_head(dim, width, strides, max_tokens)
        self.backbone = Conformer(dim, depth, **block)
        self.norm = nn.LayerNorm(dim)
        self.apply(_initialize)

    def _build_head(self, dim, width, strides, max_tokens):
        """Class tokens, table of positions and the final linear map."""
        # Frames and bins (or angles) that one patch covers.
        self.patch_frames = math.prod(stride[0] for stride in strides)
        columns = width // math.prod(stride[1] for stride in strides)
        if not columns:
            raise ValueError(
                f"patch_strides={strides} leave nothing of {width} bins or "
                "angles: their product must not exceed that number"
            )
        self.columns = columns
        if self.head_kind == "tokens":
            positions, outputs = max_tokens, self.num_classes
            self.cls_token = nn.Parameter(torch.empty(1, self.num_talkers, dim))
            nn.init.trunc_normal_(self.cls_token, std=0.02, a=-2.0, b=2.0)
        else:
            if self.num_classes % columns:
                raise ValueError(
                    f"num_classes={self.num_classes} must be a multiple of "
                    f"the {columns} angles left by the patches"
                )
            positions = columns
            outputs = self.num_talkers * (self.num_classes // columns)
        self.pos_embed = nn.Parameter(torch.empty(1, positions, dim))
        nn.init.trunc_normal_(self.pos_embed, std=0.02, a=-2.0, b=2.0)
        self.head = nn.Linear(dim, outputs)

    @property
    def min_samples(self):
        """Shortest waveform that gives a patch, samples."""
        return max(
            self.stft.n_fft // 2 + 1,
            (self.patch_frames - 1) * self.stft.hop_length,
        )

    def compute_features(self, waveform):
        """Map of the microphone pair.

        Arguments
        ---------
        waveform : torch.Tensor
            [batch, time, 2].

        Returns
        -------
        torch.Tensor
            [batch, channel, frame, bin or angle], float32 also under
            automatic mixed precision: phases do not survive half precision.

        Raises
        ------
        ValueError
            If the waveform does not have two channels or is too short.
        """
        if waveform.ndim != 3 or waveform.shape[-1] != 2:
            raise ValueError(
                "expected a two-channel waveform [batch, time, 2], got "
                f"{tuple(waveform.shape)}"
            )
        if waveform.shape[1] < self.min_samples:
            raise ValueError(
                f"a waveform of {waveform.shape[1]} samples is too short: "
                f"this network needs at least {self.min_samples}"
            )
        with torch.autocast(waveform.device.type, enabled=False):
            real, imag = self.stft(waveform)
            used = slice(1, self.num_bins + 1)
            if "steered" in self.features:
                # Unit variance for random phases.
                bins = self.num_bins // self.steer.num_bands
                maps = [self.steer(real, imag) * (2 * bins) ** 0.5]
            else:
                maps = [ipd_features(real, imag, num_bins=self.num_bins)]
            if "magnitude" in self.features:
                level = log_magnitude(real[..., used], imag[..., used])
                if "steered" in self.features:
                    level = level.mean(1).unflatten(
                        -1, (self.steer.num_bands, -1)
                    )
                    level = level.mean(-1).transpose(1, 2)[..., None]
                maps.append(
                    _standardize(level).expand(-1, -1, -1, maps[0].shape[-1])
                )
            return torch.cat(maps, dim=1)

    def embed(self, features):
        """Tokens for the Conformer.

        Arguments
        ---------
        features : torch.Tensor
            [batch, channel, frame, bin or angle].

        Returns
        -------
        torch.Tensor
            [batch, token, dim], positions added. Head "tokens": the
            talkers' class tokens, then the patches, frame by frame. Head
            "angles": one token an angle.

        Raises
        ------
        ValueError
            If there are more tokens than the table has rows.
        """
        patches = self.patch_embed(self.inter_conv(features))
        if self.head_kind == "angles":
            # Half of the channels hold what lasts, half what stood out.
            steady, brief = patches.chunk(2, dim=1)
            pooled = torch.cat((steady.mean(2), brief.amax(2)), dim=1)
            return pooled.transpose(1, 2) + self.pos_embed
        tokens = patches.flatten(2).transpose(1, 2)
        tokens = torch.cat(
            (self.cls_token.expand(len(tokens), -1, -1), tokens), dim=1
        )
        rows = self.pos_embed.shape[1]
        if tokens.shape[1] > rows:
            frames = (rows - self.num_talkers) // self.columns
            frames = (frames + 1) * self.patch_frames - 1
            raise ValueError(
                f"{tokens.shape[1]} tokens, but the table of positions has "
                f"{rows}: give at most {frames * self.stft.hop_length - 1} "
                "samples, window by window, or raise max_tokens"
            )
        return tokens + self.pos_embed[:, : tokens.shape[1]]

    def forward(self, waveform):
        """Score the direction classes of each talker.

        Arguments
        ---------
        waveform : torch.Tensor
            [batch, time, 2], from the microphone at -x to the one at +x.

        Returns
        -------
        torch.Tensor
            Logits, [batch, talker, class].

        Raises
        ------
        ValueError
            If the waveform does not have two channels, is too short, or is
            too long for the table of positions.
        """
        tokens = self.backbone(self.embed(self.compute_features(waveform)))
        if self.head_kind == "tokens":
            return self.head(self.norm(tokens[:, : self.num_talkers]))
        scores = self.head(self.norm(tokens))
        scores = scores.unflatten(-1, (self.num_talkers, -1))
        return scores.transpose(1, 2).flatten(2)
