"""Short-time Fourier transforms as real tensors.

Both transforms give the same numbers for the same window; one can be learned,
the other is fast. Real and imaginary part are separate tensors, so that
phase features need no complex numbers on the way to the network.
"""

import math

import torch
from torch import nn
from torch.nn import functional as F


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


def _check_sizes(n_fft, hop_length):
    if n_fft < 2 or n_fft % 2 or not 0 < hop_length <= n_fft:
        raise ValueError(
            "n_fft must be even and hop_length between 1 and n_fft, got "
            f"n_fft={n_fft}, hop_length={hop_length}"
        )


class ConvSTFT(nn.Module):
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
        super().__init__()
        _check_sizes(n_fft, hop_length)
        self.n_fft, self.hop_length = n_fft, hop_length
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
        rows = _to_rows(waveform, self.n_fft)[:, None]
        shape = (waveform.shape[0], waveform.shape[2])
        return tuple(
            conv(rows).unflatten(0, shape).transpose(2, 3)
            for conv in (self.conv_real, self.conv_imag)
        )


class STFT(nn.Module):
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
        super().__init__()
        _check_sizes(n_fft, hop_length)
        self.n_fft, self.hop_length = n_fft, hop_length
        self.register_buffer(
            "window",
            torch.hann_window(
                n_fft, periodic=True, dtype=torch.float64
            ).float(),
            persistent=False,
        )

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
        frames = rows.unfold(-1, self.n_fft, self.hop_length) * self.window
        spectrum = torch.fft.rfft(frames)
        spectrum = spectrum.unflatten(0, (waveform.shape[0], waveform.shape[2]))
        return spectrum.real, spectrum.imag
