"""Short-time Fourier transforms as real tensors, and mel filters.

`ConvSTFT` and `STFT` give the same numbers; one can be learned, the other is
fast. Real and imaginary part are separate tensors, so that phase features
need no complex numbers on the way to the network. `SpectralFeatures` is the
base of features that treat every frame on its own: on a processor it works
block by block, so that every step finds its input still in the cache; on
other devices in one piece.
"""

import math

import torch
from torch import nn
from torch.nn import functional as F
from torchaudio.functional import melscale_fbanks

FLOOR = 1e-10  # of a power, before its logarithm
PAD_MODES = ("reflect", "constant")
MAX_N_FFT = 16384
# Frames of all channels and items together. Threads wait for each other after
# every step, long where cores are shared: they get fewer and larger blocks.
_BLOCK_ROWS = 512
_BLOCK_ROWS_OF_A_THREAD = 4096


def check_transform(n_fft, hop_length, win_length):
    """Refuse sizes of a short-time transform that cannot be meant.

    Arguments
    ---------
    n_fft, hop_length, win_length : int
        Samples.

    Raises
    ------
    ValueError
        If they contradict each other, or ``n_fft`` is odd or above 16384,
        which is 85 ms at 192 kHz.

    Example
    -------
    >>> check_transform(512, 160, 400)
    >>> check_transform(512, 600, 400)
    Traceback (most recent call last):
    ...
    ValueError: 0 < hop_length <= win_length <= n_fft <= 16384 and an even ...
    """
    ordered = 0 < hop_length <= win_length <= n_fft <= MAX_N_FFT
    whole = all(type(size) is int for size in (n_fft, hop_length, win_length))
    if not whole or not ordered or n_fft % 2:
        raise ValueError(
            f"0 < hop_length <= win_length <= n_fft <= {MAX_N_FFT} and an even "
            f"n_fft are needed, got hop_length={hop_length}, "
            f"win_length={win_length}, n_fft={n_fft}"
        )


def _to_rows(waveform, n_fft):
    """Pad [batch, time, channel] by reflection -> [batch * channel, time]."""
    if waveform.ndim != 3:
        raise ValueError(
            "expected a waveform of shape [batch, time, channel], got "
            f"{tuple(waveform.shape)}"
        )
    if waveform.shape[1] <= n_fft // 2:
        raise ValueError(
            f"a waveform of {waveform.shape[1]} samples is too short for "
            f"n_fft={n_fft}: at least {n_fft // 2 + 1} are needed"
        )
    rows = waveform.transpose(1, 2).flatten(0, 1)
    return F.pad(rows, (n_fft // 2, n_fft // 2), mode="reflect")


class _Transform(nn.Module):
    """Base class; ``_spectra`` maps [row, time] to two [row, frame, bin]."""

    def __init__(self, n_fft, hop_length):
        super().__init__()
        check_transform(n_fft, hop_length, n_fft)
        self.n_fft, self.hop_length = n_fft, hop_length

    def forward(self, waveform):
        """Transform a batch of waveforms.

        Arguments
        ---------
        waveform : torch.Tensor
            Shape [batch, time, channel].

        Returns
        -------
        tuple of torch.Tensor
            Real and imaginary part, each [batch, channel, frame, bin] with
            1 + floor(time / hop_length) frames.

        Raises
        ------
        ValueError
            If the shape is wrong or the signal too short to be reflected.
        """
        rows = _to_rows(waveform, self.n_fft)
        shape = (waveform.shape[0], waveform.shape[2])
        return tuple(part.unflatten(0, shape) for part in self._spectra(rows))


class ConvSTFT(_Transform):
    """Fourier transform by two convolutions, whose kernels can be learned.

    The kernels start as the real and the imaginary part of
    exp(-2j pi k n / n_fft) times a periodic Hann window, without scaling.
    The signal is padded by reflection with n_fft / 2 samples on both sides.

    Arguments
    ---------
    n_fft : int
        Length of window and transform, samples.
    hop_length : int
        Samples from frame to frame.
    trainable : bool
        Whether the kernels are learned.

    Example
    -------
    >>> stft = ConvSTFT()
    >>> real, imag = stft(torch.randn(1, 48000, 2))
    >>> real.shape
    torch.Size([1, 2, 301, 257])
    """

    def __init__(self, n_fft=512, hop_length=160, trainable=True):
        super().__init__(n_fft, hop_length)
        bins = n_fft // 2 + 1
        # Whole-number phase steps keep the arguments of sine and cosine small.
        n = torch.arange(n_fft)
        steps = (torch.arange(bins)[:, None] * n) % n_fft
        phase = steps.double() * (2 * math.pi / n_fft)
        window = torch.hann_window(n_fft, periodic=True, dtype=torch.float64)
        self.conv_real = nn.Conv1d(1, bins, n_fft, hop_length, bias=False)
        self.conv_imag = nn.Conv1d(1, bins, n_fft, hop_length, bias=False)
        with torch.no_grad():
            self.conv_real.weight.copy_((phase.cos() * window)[:, None])
            self.conv_imag.weight.copy_((-phase.sin() * window)[:, None])
        self.requires_grad_(trainable)

    def _spectra(self, rows):
        # Frames times kernels are what the convolutions give, in less time.
        frames = rows.unfold(-1, self.n_fft, self.hop_length).contiguous()
        return (
            F.linear(frames, conv.weight[:, 0])
            for conv in (self.conv_real, self.conv_imag)
        )


class STFT(_Transform):
    """Fourier transform by FFT: a `ConvSTFT` which is fast but not learned.

    Arguments
    ---------
    n_fft : int
        Length of window (periodic Hann) and transform, samples.
    hop_length : int
        Samples from frame to frame.

    Example
    -------
    >>> waveform = torch.randn(1, 4000, 2)
    >>> real, imag = STFT()(waveform)
    >>> torch.allclose(real, ConvSTFT()(waveform)[0], atol=1e-3)
    True
    """

    def __init__(self, n_fft=512, hop_length=160):
        super().__init__(n_fft, hop_length)
        self.register_buffer(
            "window",
            torch.hann_window(
                n_fft, periodic=True, dtype=torch.float64
            ).float(),
            persistent=False,
        )

    def _spectra(self, rows):
        frames = rows.unfold(-1, self.n_fft, self.hop_length) * self.window
        spectrum = torch.fft.rfft(frames)
        return spectrum.real, spectrum.imag


def decibels(power):
    """Level of a power, at least -100 dB.

    Arguments
    ---------
    power : torch.Tensor
        Any shape.

    Returns
    -------
    torch.Tensor
        10 log10(max(power, 1e-10)), same shape.

    Example
    -------
    >>> decibels(torch.tensor([0.0, 100.0]))
    tensor([-100.,   20.])
    """
    return 10.0 * torch.log10(power.clamp(min=FLOOR))


class SpectralFeatures(nn.Module):
    """Base class: from a waveform to features of its spectra.

    A subclass sets ``num_channels`` and ``num_bins`` and defines
    ``features(real, imag)``, which maps spectra [batch, channel, frame, bin]
    to features [batch, num_channels, frame, num_bins], each frame on its own.
    Everything is computed in float32, under autocast too.

    Arguments
    ---------
    n_fft : int
        Length of the transform, samples; even.
    hop_length : int
        Samples from frame to frame.
    win_length : int, optional
        Length of the periodic Hann window, in the middle of the frame;
        default ``n_fft``.
    pad_mode : str
        How half a frame is added at both ends: ``"reflect"`` or
        ``"constant"`` (zeros).
    drop_last : bool
        Whether to return floor(time / hop_length) frames instead of one more.
    in_channels : int
        Channels that the waveform must have.

    Example
    -------
    >>> class Power(SpectralFeatures):
    ...     def features(self, real, imag):
    ...         return decibels(real.square() + imag.square())
    >>> Power(512, 160, in_channels=2)(torch.zeros(1, 1600, 2)).shape
    torch.Size([1, 2, 11, 257])
    """

    # Whether a frame depends on its own samples alone, so that live sound
    # has the same (``FeatureStream``).
    frame_by_frame = True

    def __init__(
        self,
        n_fft,
        hop_length,
        win_length=None,
        pad_mode="reflect",
        drop_last=False,
        in_channels=4,
    ):
        super().__init__()
        win_length = n_fft if win_length is None else win_length
        check_transform(n_fft, hop_length, win_length)
        if pad_mode not in PAD_MODES:
            raise ValueError(
                f"pad_mode must be one of {PAD_MODES}, got {pad_mode!r}"
            )
        self.n_fft, self.hop_length = n_fft, hop_length
        self.pad_mode, self.drop_last = pad_mode, drop_last
        self.in_channels = in_channels
        window = torch.hann_window(win_length, dtype=torch.float64).float()
        left = (n_fft - win_length) // 2
        window = F.pad(window, (left, n_fft - win_length - left))
        self.register_buffer("window", window, persistent=False)

    def forward(self, waveform):
        """Compute the features of a batch of waveforms.

        Arguments
        ---------
        waveform : torch.Tensor
            Shape [batch, time, channel], at any device.

        Returns
        -------
        torch.Tensor
            float32, shape [batch, num_channels, frame, num_bins], with
            1 + floor(time / hop_length) frames (without the last one if
            ``drop_last``).

        Raises
        ------
        ValueError
            If the shape or the number of channels is wrong, or the signal
            too short.
        """
        with torch.autocast(waveform.device.type, enabled=False):
            return self._compute(waveform)

    def _compute(self, waveform):
        """Features, block by block."""
        frames = self.frames(waveform)
        step = frames.shape[2]
        if frames.device.type == "cpu":
            threads = torch.get_num_threads()
            rows = _BLOCK_ROWS
            if threads > 1:
                rows = threads * _BLOCK_ROWS_OF_A_THREAD
            step = max(1, rows // (frames.shape[0] * frames.shape[1]))
        blocks = [
            self.features(*self.spectra(block))
            for block in frames.split(step, dim=2)
        ]
        return torch.cat(blocks, dim=2)

    def features(self, real, imag):
        """From spectra to features: to be defined by the subclass.

        Arguments
        ---------
        real, imag : torch.Tensor
            Shape [batch, channel, frame, n_fft / 2 + 1].

        Returns
        -------
        torch.Tensor
            Shape [batch, num_channels, frame, num_bins].
        """
        raise NotImplementedError

    def frames(self, waveform):
        """Cut a waveform into frames.

        Arguments
        ---------
        waveform : torch.Tensor
            Shape [batch, time, channel].

        Returns
        -------
        torch.Tensor
            A view, shape [batch, channel, frame, n_fft].
        """
        self._check(waveform)
        half = self.n_fft // 2
        padded = F.pad(
            waveform.float().transpose(1, 2), (half, half), self.pad_mode
        )
        frames = padded.unfold(-1, self.n_fft, self.hop_length)
        if self.drop_last:
            frames = frames[:, :, : waveform.shape[1] // self.hop_length]
        return frames

    def spectra(self, frames):
        """Fourier transform of windowed frames.

        Arguments
        ---------
        frames : torch.Tensor
            Shape [..., n_fft].

        Returns
        -------
        tuple of torch.Tensor
            Real and imaginary part, each contiguous,
            [..., n_fft / 2 + 1].
        """
        spectrum = torch.fft.rfft(frames * self.window)
        return spectrum.real.contiguous(), spectrum.imag.contiguous()

    def _check(self, waveform):
        """Refuse what cannot be transformed."""
        if waveform.ndim != 3 or waveform.shape[2] != self.in_channels:
            raise ValueError(
                f"expected a waveform [batch, time, {self.in_channels} "
                f"channels], got shape {list(waveform.shape)}"
            )
        shortest = self.n_fft // 2 + 1 if self.pad_mode == "reflect" else 1
        if self.drop_last:
            shortest = max(shortest, self.hop_length)
        if waveform.shape[1] < shortest:
            raise ValueError(
                f"a waveform of {waveform.shape[1]} samples is too short: "
                f"{type(self).__name__} needs at least {shortest}"
            )


def mel_filter_bank(
    sample_rate, n_fft, n_mels=64, f_min=0.0, f_max=None, scale="htk"
):
    """Triangular filters of equal area, evenly spaced in mel.

    The area is Slaney's: a filter has the height 2 over its width in hertz.

    Arguments
    ---------
    sample_rate : int
        Hertz; even.
    n_fft : int
        Length of the transform, samples.
    n_mels : int
        Number of filters.
    f_min : float
        Lower edge of the first filter, hertz.
    f_max : float, optional
        Upper edge of the last filter, hertz; half the sampling rate by
        default.
    scale : str
        ``"slaney"``: linear below 1 kHz and logarithmic above (Auditory
        Toolbox, 1998; the default of librosa); ``"htk"``: 2595 log10(1 + f /
        700) (the default of torchaudio). They differ by up to a band: a
        network trained on one does not fit the other.

    Returns
    -------
    torch.Tensor
        float32, shape [n_fft / 2 + 1, n_mels]: power spectra times this are
        mel spectra.

    Raises
    ------
    ValueError
        For another scale, edges out of order or outside of 0 to half the
        sampling rate, or more filters than the transform can resolve.

    Example
    -------
    >>> bank = mel_filter_bank(24000, 1024, 64, f_min=20.0)
    >>> bank.shape, round(bank[:, 18].sum().item(), 4)
    (torch.Size([513, 64]), 0.0427)
    """
    if scale not in ("htk", "slaney"):
        raise ValueError(f"scale must be 'htk' or 'slaney', got {scale!r}")
    f_max = sample_rate / 2 if f_max is None else f_max
    if not 0 <= f_min < f_max <= sample_rate / 2:
        raise ValueError(
            f"mel bands need 0 <= f_min < f_max <= {sample_rate / 2:g} Hz, got "
            f"f_min={f_min} and f_max={f_max}"
        )
    if n_mels > n_fft // 2 + 1:
        raise ValueError(
            f"{n_mels} mel bands are more than the bins of n_fft={n_fft}"
        )
    bank = melscale_fbanks(
        n_fft // 2 + 1, f_min, f_max, n_mels, sample_rate, "slaney", scale
    )
    if (bank.sum(0) == 0).any():
        raise ValueError(
            f"{n_mels} mel bands are too many for n_fft={n_fft} at "
            f"{sample_rate} Hz: some hold no bin; use fewer, or a longer "
            "transform"
        )
    return bank
