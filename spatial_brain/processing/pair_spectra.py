"""Spectra of microphone pairs, the input of SAR-SSL.

Both signals are transformed without padding, divided by the mean magnitude of
the first one, and given as real and imaginary part (Yang and Li, "Self-
Supervised Learning of Spatial Acoustic Representation with Cross-Channel
Signal Reconstruction and Multi-Channel Conformer", IEEE/ACM TASLP 32, 2024).
"""

import torch
from torch import nn
from torch.nn import functional as F

from spatial_brain.loadable import loadable
from spatial_brain.processing.stft import check_transform

SYNTHESES = ("window", "rectangular")


@loadable
class PairSpectra(nn.Module):
    """Short-time spectra of two or more channels, normalised by the first.

    Frames lie within the signal (no padding), the window is a periodic Hann
    window, the lowest bin (DC) is dropped. Every example is divided by m +
    1e-6, where m is the mean magnitude of channel 0 over all frames and all
    bins, DC included: levels vanish, the level of a channel relative to
    channel 0 stays.

    Arguments
    ---------
    n_fft : int
        Length of window and transform, samples; even.
    hop_length : int
        Samples from frame to frame.
    num_bins : int, optional
        Lowest bins to give, DC not counted; default: all. The division is by
        the mean over all of them in any case.

    Raises
    ------
    ValueError
        If ``n_fft`` is odd, ``hop_length`` not between 1 and ``n_fft``, or
        ``num_bins`` not between 1 and ``n_fft / 2``.

    Example
    -------
    >>> PairSpectra()(torch.randn(1, 65792, 2)).shape
    torch.Size([1, 2, 256, 256, 2])
    >>> PairSpectra(num_bins=64)(torch.randn(1, 65792, 2)).shape
    torch.Size([1, 2, 64, 256, 2])
    """

    EPSILON = 1e-6

    def __init__(self, n_fft=512, hop_length=256, num_bins=None):
        super().__init__()
        check_transform(n_fft, hop_length, n_fft)
        self.num_bins = n_fft // 2 if num_bins is None else num_bins
        if not 0 < self.num_bins <= n_fft // 2:
            raise ValueError(
                f"num_bins must be between 1 and {n_fft // 2} for "
                f"n_fft={n_fft}, got {num_bins}"
            )
        self.n_fft, self.hop_length = n_fft, hop_length
        self.register_buffer(
            "window", torch.hann_window(n_fft), persistent=False
        )

    def forward(self, waveform):
        """Normalised spectra.

        Arguments
        ---------
        waveform : torch.Tensor
            [batch, time, channel], at least two channels.

        Returns
        -------
        torch.Tensor
            float32 [batch, channel, bin, frame, re/im] with the bins 1 to
            ``num_bins`` and floor((time - n_fft) / hop_length) + 1 frames.

        Raises
        ------
        ValueError
            If the shape is wrong or the signal shorter than a frame.
        """
        return self.with_scale(waveform)[0]

    def with_scale(self, waveform):
        """Normalised spectra and what they were divided by.

        Arguments
        ---------
        waveform : torch.Tensor
            [batch, time, channel], at least two channels.

        Returns
        -------
        features : torch.Tensor
            As ``forward`` gives them.
        scale : torch.Tensor
            float32 [batch]; ``inverse`` takes it to restore levels.

        Raises
        ------
        ValueError
            If the shape is wrong or the signal shorter than a frame.

        Example
        -------
        >>> features, scale = PairSpectra().with_scale(torch.ones(1, 1024, 2))
        >>> scale.shape
        torch.Size([1])
        """
        self._check(waveform)
        # The transform stays in float32 when the network is run in less.
        with torch.autocast(waveform.device.type, enabled=False):
            rows = waveform.float().transpose(1, 2).flatten(0, 1)
            spectrum = torch.stft(
                rows,
                self.n_fft,
                self.hop_length,
                window=self.window,
                center=False,
                return_complex=True,
            ).unflatten(0, (len(waveform), waveform.shape[2]))
            scale = spectrum[:, 0].abs().mean((1, 2)) + self.EPSILON
            features = torch.view_as_real(spectrum[:, :, 1 : self.num_bins + 1])
            return features / scale[:, None, None, None, None], scale

    def _check(self, waveform):
        """Refuse shapes that are no microphone pairs."""
        if waveform.ndim != 3 or waveform.shape[2] < 2:
            raise ValueError(
                "expected a waveform [batch, time, channel] of at least two "
                f"channels, got {list(waveform.shape)}"
            )
        if waveform.shape[1] < self.n_fft:
            raise ValueError(
                f"a waveform of {waveform.shape[1]} samples is too short: one "
                f"frame takes {self.n_fft}"
            )

    def inverse(self, features, scale=None, synthesis="window"):
        """Waveforms of spectra; what DC and bins left out held is lost.

        Arguments
        ---------
        features : torch.Tensor
            [batch, channel, bin, frame, re/im], as ``forward`` gives them or
            as a network predicts them.
        scale : torch.Tensor, optional
            Factors, [batch]; default: levels stay normalised.
        synthesis : str
            ``"window"``: frames are weighted by the window, added and divided
            by the sum of its squares, which is exact and the least squares
            solution for spectra that belong to no signal (Griffin and Lim,
            1984). Where fewer frames overlap than inside the signal, its ends
            fade instead of being divided by nearly nothing.
            ``"rectangular"``: frames are averaged as they are, as SAR-SSL
            writes its examples; at the default sizes, half of the level.

        Returns
        -------
        torch.Tensor
            float32 [batch, time, channel] with n_fft + (frame - 1) *
            hop_length samples.

        Raises
        ------
        ValueError
            For another number of bins or an unknown synthesis.

        Example
        -------
        >>> spectra, waveform = PairSpectra(), torch.randn(1, 2048, 2)
        >>> waveform -= waveform.mean(1, keepdim=True)
        >>> again = spectra.inverse(*spectra.with_scale(waveform))
        >>> again.shape
        torch.Size([1, 2048, 2])
        """
        if features.ndim != 5 or features.shape[2] != self.num_bins:
            raise ValueError(
                f"expected features [batch, channel, {self.num_bins} bins, "
                f"frame, re/im], got {list(features.shape)}"
            )
        if synthesis not in SYNTHESES:
            raise ValueError(
                f"synthesis must be one of {', '.join(SYNTHESES)}, got "
                f"'{synthesis}'"
            )
        window = self.window
        if synthesis == "rectangular":
            window = torch.ones_like(window)
        features = features.detach().float().contiguous()
        missing = self.n_fft // 2 - self.num_bins
        spectrum = F.pad(torch.view_as_complex(features), (0, 0, 1, missing))
        frames = torch.fft.irfft(spectrum, self.n_fft, dim=2)
        frames = frames * window[:, None]
        added = self._overlap_add(frames.flatten(0, 1))
        weight = window.square()[None, :, None]
        weight = self._overlap_add(weight.expand(1, -1, frames.shape[-1]))
        waveform = added / weight.clamp(min=self._interior(window))
        waveform = waveform.unflatten(0, features.shape[:2]).transpose(1, 2)
        if scale is not None:
            waveform = waveform * scale[:, None, None]
        return waveform

    def _overlap_add(self, frames):
        """Add [row, sample, frame] -> [row, time]."""
        length = self.n_fft + (frames.shape[-1] - 1) * self.hop_length
        return F.fold(
            frames,
            (1, length),
            kernel_size=(1, self.n_fft),
            stride=(1, self.hop_length),
        )[:, 0, 0]

    def _interior(self, window):
        """Least sum of squares inside a long signal, for the ends too."""
        if window.min() > 0:
            return 1e-8
        count = -(-self.n_fft // self.hop_length)
        padded = F.pad(
            window.square(), (0, count * self.hop_length - self.n_fft)
        )
        return padded.view(count, -1).sum(0).min().item()


def pair_examples(features, which="reference"):
    """Every pair of channels as an example of its own.

    Arguments
    ---------
    features : torch.Tensor
        [batch, channel, ...], at least two channels.
    which : str
        ``"reference"``: channel 0 with each other one. ``"all"``: each
        channel with each later one.

    Returns
    -------
    torch.Tensor
        [batch * pair, 2, ...]; the pairs of an example follow each other.

    Raises
    ------
    ValueError
        If there is one channel only, or ``which`` is not known.

    Example
    -------
    >>> pair_examples(torch.arange(3)[None]).tolist()
    [[0, 1], [0, 2]]
    >>> pair_examples(torch.arange(3)[None], "all").tolist()
    [[0, 1], [0, 2], [1, 2]]
    """
    channels = features.shape[1]
    if channels < 2:
        raise ValueError("a microphone pair needs two channels, got one")
    if which not in ("reference", "all"):
        raise ValueError(f"which must be reference or all, got '{which}'")
    pairs = torch.triu_indices(channels, channels, 1, device=features.device).T
    if which == "reference":
        pairs = pairs[: channels - 1]
    return features[:, pairs].flatten(0, 1)
