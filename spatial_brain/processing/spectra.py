"""What all spectral features of a multichannel signal have in common.

The signal is cut into windowed frames centred on multiples of the hop and
transformed. On a processor this goes block by block, so that every step of a
feature finds its input still in the cache; on other devices in one piece.
"""

import torch
from torch import nn
from torch.nn import functional as F

FLOOR = 1e-10  # of a power, before its logarithm
PAD_MODES = ("reflect", "constant")
# Frames of all channels and items together. Threads wait for each other after
# every step, long where cores are shared: they get fewer and larger blocks.
_BLOCK_ROWS = 512
_BLOCK_ROWS_OF_A_THREAD = 4096


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
        if not (0 < hop_length <= win_length <= n_fft and n_fft % 2 == 0):
            raise ValueError(
                "0 < hop_length <= win_length <= n_fft and an even n_fft are "
                f"needed, got hop_length={hop_length}, win_length="
                f"{win_length}, n_fft={n_fft}"
            )
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
