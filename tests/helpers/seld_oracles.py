"""Signals and direct sums that the tests of SELD features compare with."""

import math

import numpy as np
import torch

from spatial_brain.simulation.ambisonics import encode_foa


def noise(samples=6000, channels=4, seed=0):
    generator = np.random.default_rng(seed)
    return generator.standard_normal((samples, channels)) * 0.1


def as_batch(signal):
    return torch.from_numpy(signal).float()[None]


def plane_wave(azimuth, elevation, signal):
    """FOA signal of a plane wave."""
    return encode_foa(torch.from_numpy(signal).float(), azimuth, elevation)


def naive_spectra(signal, n_fft, hop, window_length, mode, frames):
    """Sums of sines and cosines, [channel, frame, bin], complex128."""
    n = np.arange(window_length)
    window = np.zeros(n_fft)
    left = (n_fft - window_length) // 2
    window[left : left + window_length] = 0.5 - 0.5 * np.cos(
        2 * np.pi * n / window_length
    )
    half = n_fft // 2
    padded = np.pad(signal, ((half, half), (0, 0)), mode)
    steps = np.outer(np.arange(n_fft), np.arange(half + 1)) % n_fft
    kernel = np.exp(-2j * np.pi * steps / n_fft)
    return np.stack(
        [
            (padded[t * hop : t * hop + n_fft].T * window) @ kernel
            for t in range(frames)
        ],
        axis=1,
    )


def naive_bank(rate, n_fft, low, scale):
    """64 mel filters, triangle by triangle."""

    def to_mel(f):
        if scale == "htk":
            return 2595 * math.log10(1 + f / 700)
        return f * 3 / 200 if f < 1000 else 15 + 27 * math.log(f / 1e3, 6.4)

    def to_hertz(m):
        if scale == "htk":
            return 700 * (10 ** (m / 2595) - 1)
        return m * 200 / 3 if m < 15 else 1e3 * 6.4 ** ((m - 15) / 27)

    first, last = to_mel(low), to_mel(rate / 2)
    edges = [to_hertz(first + (last - first) * i / 65) for i in range(66)]
    bank = np.zeros((n_fft // 2 + 1, 64))
    for band in range(64):
        left, middle, right = edges[band : band + 3]
        for k in range(n_fft // 2 + 1):
            f = k * rate / n_fft
            if left < f <= middle:
                bank[k, band] = (f - left) / (middle - left)
            elif middle < f < right:
                bank[k, band] = (right - f) / (right - middle)
        bank[:, band] *= 2 / (right - left)
    return bank


def naive_level(spectrum, bank):
    return 10 * np.log10(np.maximum(np.abs(spectrum) ** 2 @ bank, 1e-10))


def naive_gcc(spectrum):
    out = []
    for m in range(4):
        for n in range(m + 1, 4):
            cross = np.conj(spectrum[m]) * spectrum[n]
            lags = np.fft.irfft(np.exp(1j * np.angle(cross)))
            out.append(np.concatenate((lags[:, -32:], lags[:, :32]), 1))
    return np.stack(out)
