"""Reverberation times of rooms of few cubic metres."""

import logging

import pytest
import torch

from spatial_brain.simulation import acoustics
from spatial_brain.simulation.noise_floor import NoiseFloor
from spatial_brain.simulation.rir import simulate_rir
from spatial_brain.simulation.rir.calibration import calibrated_walls
from spatial_brain.simulation.rir.fractional_delay import (
    high_pass,
    high_pass_cutoff,
)

FS = 16000
PLACES = torch.tensor(
    [[0.3, 0.25, 0.6], [0.7, 0.4, 0.35], [0.55, 0.75, 0.7], [0.2, 0.6, 0.4]]
)


def simulated(size, t60, **options):
    """Responses of two sources at two microphones, and their facts."""
    places = PLACES * torch.tensor(size)
    return simulate_rir(
        size, places[:2], places[2:], t60=t60, details=True, **options
    )


@pytest.mark.parametrize("backend", ["image_source", "fra_corrected"])
@pytest.mark.parametrize(
    ("size", "t60"),
    [
        ((1.2, 1.0, 1.0), 0.05),
        ((1.2, 1.0, 1.0), 0.08),
        ((2.0, 1.5, 1.2), 0.12),
        ((2.0, 2.0, 2.0), 0.08),
        ((3.0, 2.0, 2.2), 0.2),
    ],
)
def test_the_t60_holds_in_small_rooms(size, t60, backend):
    options = {"generator": torch.Generator().manual_seed(0)}
    info = simulated(size, t60, backend=backend, **options).info
    assert abs(float(info.t60.mean()) / t60 - 1) < 0.15


def test_pyroomacoustics_has_the_same_walls():
    one, other = (
        simulated((1.2, 1.0, 1.0), 0.08, backend=backend).info
        for backend in ("image_source", "pyroomacoustics")
    )
    assert one.absorption == other.absorption
    assert abs(float(other.t60.mean()) / 0.08 - 1) < 0.15


def test_the_high_pass_is_shorter_than_the_reverberation():
    # At 10 Hz its own decay makes 0.08 s of these walls 0.19 s.
    size = (1.2, 1.0, 1.0)
    full = simulated(size, 0.08, high_pass=False, duration=0.5).full
    measured = [
        float(acoustics.t60(part, FS, floor=NoiseFloor.absent(part)).mean())
        for part in (
            high_pass(full, FS),
            high_pass(full, FS, high_pass_cutoff(size)),
        )
    ]
    assert measured[0] > 0.16
    assert measured[1] == pytest.approx(0.08, rel=0.15)


def test_rooms_from_20_cubic_metres_on_keep_the_high_pass_of_10_hertz():
    assert high_pass_cutoff((3.0, 3.0, 2.5)) == 10.0
    assert 10.0 < high_pass_cutoff((3.0, 2.0, 2.2)) < 13.0
    assert high_pass_cutoff((0.5, 0.5, 0.8)) == 100.0


def test_what_cannot_be_reached_is_logged(caplog):
    with caplog.at_level(logging.WARNING):
        calibrated_walls([((1.0, 0.4, 0.5), 0.015, None)], fs=FS)
    assert "t60 0.015 s in a room of [1.0, 0.4, 0.5] m" in caplog.text
    with caplog.at_level(logging.WARNING):
        simulated((5.0, 4.0, 3.0), 0.5, backend="fra")
    assert "t60 0.5 s was asked for; the responses of 'fra'" in caplog.text
