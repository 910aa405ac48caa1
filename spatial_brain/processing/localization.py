"""Directions from the phase differences of a microphone pair.

A pair observes the cone angle: 0 degrees is along the axis from the first to
the second microphone, 180 degrees the other way. The two baselines need no
training; the steered response is also a front end of networks.
"""

import math

import torch
from torch import nn

from spatial_brain.geometry import SPEED_OF_SOUND
from spatial_brain.processing.decoding import angle_grid, pick_peaks
from spatial_brain.processing.spatial import (
    bin_frequencies,
    gcc_phat,
    phase_difference,
)
from spatial_brain.processing.stft import STFT


def _check_pair(waveform):
    if waveform.ndim != 3 or waveform.shape[-1] != 2:
        raise ValueError(
            "expected a two-channel waveform [batch, time, 2], got "
            f"{tuple(waveform.shape)}"
        )


def gcc_phat_directions(
    waveform,
    spacing,
    num_sources=2,
    *,
    fs=16000,
    min_separation=10.0,
    interpolation=16,
    n_fft=1024,
    hop_length=256,
    c=SPEED_OF_SOUND,
):
    """Cone angles from the best peaks of the mean cross-correlation.

    The GCC-PHAT averaged over frames, interpolated, and read on a grid of
    half degrees.

    Arguments
    ---------
    waveform : torch.Tensor
        [batch, time, 2].
    spacing : float
        Distance of the microphones, metres.
    num_sources : int
        Angles wanted.
    fs : float
        Sampling rate, hertz.
    min_separation : float
        Smallest distance between angles, degrees.
    interpolation : int
        Points of the correlation per sample.
    n_fft : int
        Frame length, samples.
    hop_length : int
        Samples from frame to frame.
    c : float
        Speed of sound, m/s.

    Returns
    -------
    torch.Tensor
        Degrees in [0, 180], ascending, [batch, num_sources].

    Raises
    ------
    ValueError
        If the waveform does not have two channels or is too short.

    Example
    -------
    >>> noise = torch.randn(16003)
    >>> pair = torch.stack((noise[:-3], noise[3:]), dim=-1)[None]
    >>> gcc_phat_directions(pair, 0.1, num_sources=1).round()
    tensor([[50.]])
    """
    _check_pair(waveform)
    # One sample of margin, so that the ends of the grid can be interpolated.
    correlation, delays = gcc_phat(
        waveform,
        fs=fs,
        max_delay=spacing / c + 1 / fs,
        interpolation=interpolation,
        n_fft=n_fft,
        hop_length=hop_length,
    )
    angles = torch.linspace(0, 180, 361, device=waveform.device)
    wanted = torch.deg2rad(angles).cos() * (spacing / c)
    place = (wanted - delays[0]) * (fs * interpolation)
    index = place.long().clamp(0, len(delays) - 2)
    spectrum = torch.lerp(
        correlation[:, 0, index], correlation[:, 0, index + 1], place - index
    )
    return pick_peaks(spectrum, angles, num_sources, min_separation)


def srp_phat_directions(
    waveform,
    spacing,
    num_sources=2,
    *,
    fs=16000,
    pooling="max",
    max_frequency=None,
    min_separation=10.0,
    n_fft=1024,
    hop_length=256,
    c=SPEED_OF_SOUND,
):
    """Cone angles from the pooled angular spectrum of a steered pair.

    Each frame gives the mean over frequencies of
    cos(phase difference - 2 pi f delay); the frames are pooled by their
    maximum, which finds a source in the frames where it sounds alone, or by
    their sum, which is the textbook SRP-PHAT (Blandin, Ozerov and Vincent,
    2012, compare both). For two sources in reverberation the maximum is the
    stronger baseline.

    Arguments
    ---------
    waveform : torch.Tensor
        [batch, time, 2].
    spacing : float
        Distance of the microphones, metres.
    num_sources : int
        Angles wanted.
    fs : float
        Sampling rate, hertz.
    pooling : str
        "max" or "sum" over frames.
    max_frequency : float
        Use bins up to here, hertz; all by default. Above c / (2 spacing)
        single bins are ambiguous, but the band as a whole is not.
    min_separation : float
        Smallest distance between angles, degrees.
    n_fft : int
        Frame length, samples.
    hop_length : int
        Samples from frame to frame.
    c : float
        Speed of sound, m/s.

    Returns
    -------
    torch.Tensor
        Degrees in [0, 180], ascending, [batch, num_sources].

    Raises
    ------
    ValueError
        If the waveform does not have two channels or is too short, or
        ``pooling`` is unknown.

    Example
    -------
    >>> noise = torch.randn(16003)
    >>> pair = torch.stack((noise[:-3], noise[3:]), dim=-1)[None]
    >>> srp_phat_directions(pair, 0.1, num_sources=1).round()
    tensor([[50.]])
    """
    _check_pair(waveform)
    if pooling not in ("max", "sum"):
        raise ValueError(f'pooling must be "max" or "sum", got {pooling!r}')
    real, imag = STFT(n_fft, hop_length).to(waveform.device)(waveform)
    cos, sin = phase_difference(real, imag)
    # A silent bin has no phase and must not vote.
    sounding = ((real * real + imag * imag).prod(1) > 0).to(cos.dtype)
    angles = torch.linspace(0, 180, 361, device=waveform.device)
    frequency = bin_frequencies(n_fft, fs, waveform.device)
    used = (frequency > 0) & (frequency <= (max_frequency or fs / 2))
    steering = _steering(frequency[used], angles, spacing, c)
    observed = torch.cat((cos[:, 0] * sounding, sin[:, 0] * sounding), dim=-1)
    response = observed[..., used.repeat(2)] @ steering
    pooled = response.amax(1) if pooling == "max" else response.sum(1)
    return pick_peaks(pooled, angles, num_sources, min_separation)


def _steering(frequency, angles, spacing, c):
    """[2 * bin, angle]: cosines of the steering phases, then sines."""
    delay = torch.deg2rad(angles).cos() * (spacing / c)
    phase = 2 * math.pi * frequency[:, None] * delay
    return torch.cat((phase.cos(), phase.sin()))


class SteeredResponse(nn.Module):
    """Map of the directions from which each frame and band arrives.

    The value is the mean over the bins of a band of
    cos(phase difference - 2 pi f delay(angle)), in [-1, 1].

    Arguments
    ---------
    spacing : float
        Distance of the microphones, metres.
    num_angles : int
        Bins over [0, 180] degrees; their centres are steered to.
    num_bands : int
        Number of bands of equal width; divides ``num_bins``.
    num_bins : int
        Bins 1 ... num_bins of the transform are used.
    n_fft : int
        Length of the transform, samples.
    fs : float
        Sampling rate, hertz.
    c : float
        Speed of sound, m/s.

    Example
    -------
    >>> stft, steer = STFT(512, 256), SteeredResponse(0.1)
    >>> steer(*stft(torch.randn(2, 16000, 2))).shape
    torch.Size([2, 16, 63, 36])
    """

    def __init__(
        self,
        spacing,
        num_angles=36,
        num_bands=16,
        num_bins=256,
        n_fft=512,
        fs=16000,
        c=SPEED_OF_SOUND,
    ):
        super().__init__()
        if num_bins > n_fft // 2 or num_bins < 1 or num_bins % num_bands:
            raise ValueError(
                f"num_bins must be a multiple of num_bands={num_bands} and at "
                f"most n_fft / 2 = {n_fft // 2}, got {num_bins}"
            )
        self.num_bands, self.num_bins = num_bands, num_bins
        frequency = bin_frequencies(n_fft, fs)[1 : num_bins + 1]
        angles = angle_grid(num_angles)
        steering = torch.stack(
            [
                _steering(band, angles, spacing, c)
                for band in frequency.chunk(num_bands)
            ]
        )
        steering = steering / (num_bins // num_bands)
        self.register_buffer("steering", steering, persistent=False)

    def forward(self, real, imag):
        """Steer the spectra of two microphones.

        Arguments
        ---------
        real : torch.Tensor
            Real part of the spectra, [batch, 2, frame, n_fft / 2 + 1].
        imag : torch.Tensor
            Imaginary part, same shape.

        Returns
        -------
        torch.Tensor
            [batch, band, frame, angle].
        """
        used = slice(1, self.num_bins + 1)
        cos, sin = (
            part[:, 0].unflatten(-1, (self.num_bands, -1)).transpose(1, 2)
            for part in phase_difference(real[..., used], imag[..., used])
        )
        return torch.cat((cos, sin), dim=-1) @ self.steering
