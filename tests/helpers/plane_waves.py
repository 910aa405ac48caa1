"""Plane waves at any array, with exact delays."""

import math

import torch


def plane_wave(microphones, direction, samples=8000, fs=16000, seed=0):
    """Noise from a distant source, [1, samples, microphone], circular."""
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(samples, generator=generator, dtype=torch.float64)
    advance = microphones.double() @ direction.double() / 343.0
    frequency = torch.arange(samples // 2 + 1) * (fs / samples)
    phase = 2 * math.pi * frequency[:, None] * advance
    spectrum = torch.fft.rfft(noise)[:, None] * torch.polar(
        torch.ones_like(phase), phase
    )
    return torch.fft.irfft(spectrum, n=samples, dim=0).float()[None]
