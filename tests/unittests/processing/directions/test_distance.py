"""Distances from spherical waves of known points, and what cannot be told."""

import math

import pytest
import torch

from spatial_brain.geometry import (
    MicrophoneArray,
    azel_to_unit,
    circular_array,
    linear_array,
)
from spatial_brain.processing.directions.distance import NearField

FS = 16000


def point_source(positions, azimuth, elevation, distance, noise=0.1):
    """Noise from a point, with exact delays, [time, microphone]."""
    samples = FS // 2
    generator = torch.Generator().manual_seed(1)
    sound = torch.randn(samples, generator=generator, dtype=torch.float64)
    positions = positions.double() - positions.double().mean(0)
    point = distance * azel_to_unit(azimuth, elevation).double()
    delay = torch.linalg.vector_norm(point - positions, dim=1) / 343.0
    frequency = torch.arange(samples // 2 + 1) * (FS / samples)
    phase = -2 * math.pi * frequency[:, None] * (delay - delay.mean())
    spectrum = torch.fft.rfft(sound)[:, None] * torch.polar(
        torch.ones_like(phase), phase
    )
    waves = torch.fft.irfft(spectrum, n=samples, dim=0).float()
    own = torch.randn(waves.shape, generator=generator)
    return waves + noise * own


def estimate(positions, place, farthest, azimuth, elevation=None):
    """Distance of a point, its direction given."""
    near = NearField(positions, FS, farthest)
    return near.estimate(
        near.phases(point_source(positions, *place)), azimuth, elevation
    )


@pytest.mark.parametrize("distance", [0.4, 1.3, 3.0])
@pytest.mark.parametrize("positions, angles, given", [
    # Azimuth alone: the elevation is found with it.
    (circular_array(8, 0.3), (70.0, 25.0), 71.0),
    (linear_array(6, 0.15)[:, [1, 0, 2]], (20.0, 0.0), 18.5),
    (linear_array(6, 0.15), (110.0, 0.0), 110.0),
])  # fmt: skip
def test_points(positions, angles, given, distance):
    found = estimate(positions, (*angles, distance), 10.0, given)
    assert found.low < distance < found.high
    assert found.metres == pytest.approx(distance, rel=0.05)
    assert found.high / found.low < 1.5


def test_a_volume_with_known_elevation():
    generator = torch.Generator().manual_seed(0)
    positions = 0.4 * (torch.rand(6, 3, generator=generator) - 0.5)
    found = estimate(positions, (-130.0, 50.0, 0.9), 10.0, -130.0, 49.0)
    assert found.metres == pytest.approx(0.9, rel=0.05)
    assert found.low < 0.9 < found.high < 1.2


@pytest.mark.parametrize("name, distance", [
    ("respeaker_usb", 1.0), ("respeaker_4mic", 3.0), ("ami", 8.0),
    ("ace_lin8ch", math.inf),
])  # fmt: skip
def test_what_cannot_be_told(name, distance):
    array = MicrophoneArray.named(name)
    place = 30.0, 5.0, min(distance, 1e3)
    farthest = min(array.far_field, 10.0)
    found = estimate(array.positions, place, farthest, 30.0)
    assert math.isnan(found.metres) and math.isinf(found.high)
    assert 0.1 <= found.low <= min(distance, farthest)


def test_a_point_gives_more_than_noise():
    positions = circular_array(8, 0.3)
    near = NearField(positions, FS, 10.0)
    noise = torch.randn(FS // 2, 8)
    assert near.estimate(near.phases(noise), 30.0).low < 0.3
    # Pieces are added.
    sound = point_source(positions, 30.0, 0.0, 1.0)
    parts = near.phases(sound[:4000]) + near.phases(sound[4000:])
    assert near.estimate(parts, 30.0).metres == pytest.approx(1.0, rel=0.05)


def test_refusals():
    with pytest.raises(ValueError, match="apart need frequencies above 8575"):
        NearField(circular_array(4, 0.01), FS, 1.0)
    near = NearField(circular_array(4, 0.1), FS, 1.0)
    with pytest.raises(ValueError, match="silent"):
        near.estimate(near.phases(torch.zeros(4000, 4)), 0.0)
