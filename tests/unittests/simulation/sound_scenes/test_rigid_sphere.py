"""Waves at the capsules of a rigid sphere, by a table, equal the series."""

import sys

import pytest
import torch

from spatial_brain.geometry import tetrahedral_array
from spatial_brain.simulation.ambisonics import rigid_sphere_response
from spatial_brain.simulation.rir.fractional_delay import (
    SPREAD,
    add_impulses,
    grid_length,
    grid_to_samples,
    impulse_response,
)
from spatial_brain.simulation.sound_scenes.rigid_sphere import capsule_response

SAMPLES = 1024


def waves(count, first=100.0, last=900.0):
    state = torch.Generator().manual_seed(3)
    direction = torch.randn(count, 3, generator=state)
    direction = torch.nn.functional.normalize(direction, dim=-1)
    delay = first + (last - first) * torch.rand(count, generator=state)
    return direction, delay, 0.1 + torch.rand(count, generator=state)


def error_db(found, wanted):
    error = (found - wanted).abs().square().sum()
    return float(10 * torch.log10(error / wanted.abs().square().sum()))


@pytest.mark.parametrize("fs", [16000, 24000, 48000])
@pytest.mark.parametrize("count", [1, 60])
def test_error_is_below_60_db(fs, count):
    """Against the series for each wave, below the slope of the sinc."""
    direction, delay, gain = waves(count)
    found = capsule_response(direction, delay, gain, SAMPLES, fs)
    found = torch.fft.rfft(found.double())
    frequency = torch.fft.rfftfreq(SAMPLES, 1.0 / fs).double()
    below = int(0.94 * SAMPLES / 2)
    phase = -2 * torch.pi * frequency * delay.double()[:, None] / fs
    arrival = torch.polar(gain.double()[:, None].expand_as(phase), phase)
    capsules = tetrahedral_array().double()
    response = rigid_sphere_response(
        direction[:, None], capsules, frequency, order=40
    )
    wanted = (response * arrival[:, None]).sum(0)
    assert error_db(found[:, :below], wanted[:, :below]) < -60


def test_waves_at_the_poles_of_the_table():
    """Straight at a capsule and straight from behind it."""
    axes = torch.nn.functional.normalize(tetrahedral_array(), dim=-1)
    direction = torch.cat((axes, -axes))
    delay = torch.full((8,), 200.0)
    alone = [
        capsule_response(one[None], delay[:1], torch.ones(1), 400, 24000)
        for one in direction
    ]
    for capsule in range(4):
        assert int(alone[capsule].square().sum(-1).argmax()) == capsule
        front = alone[capsule][capsule].abs().argmax()
        back = alone[4 + capsule][capsule].abs().argmax()
        assert front < 200 < back


def test_what_comes_after_the_end_is_left_out():
    direction, delay, gain = waves(50, 0.0, 3000.0)
    long = capsule_response(direction, delay, gain, 3100, 24000)
    short = capsule_response(direction, delay, gain, SAMPLES, 24000)
    assert short.shape == (4, SAMPLES)
    assert torch.allclose(short[:, :-50], long[:, : SAMPLES - 50], atol=1e-6)


def test_without_numba_the_tensor_code_takes_over(monkeypatch):
    found = capsule_response(*waves(200), SAMPLES, 24000)
    for package in ("sound_scenes", "rir"):
        name = f"spatial_brain.simulation.{package}.kernels"
        monkeypatch.setitem(sys.modules, name, None)
        monkeypatch.delattr(name, raising=False)
    wanted = capsule_response(*waves(200), SAMPLES, 24000)
    assert error_db(found, wanted) < -100


@pytest.mark.parametrize("shared", [True, False])
def test_impulses_equal_the_tensor_code_bit_by_bit(shared):
    state = torch.Generator().manual_seed(4)
    rows = 1 if shared else 3
    delay = 300.0 * torch.rand(rows, 500, generator=state)
    amplitude = torch.randn(3, 500, generator=state)
    grid = torch.zeros(3, grid_length(256))
    inside = 4 * delay < grid.shape[1] - SPREAD
    amplitude = amplitude * inside
    row = torch.arange(3)[:, None].expand(amplitude.shape)
    add_impulses(grid, row, (delay * inside).expand(3, 500), amplitude)
    found = impulse_response(delay, amplitude, 256)
    assert torch.equal(found, grid_to_samples(grid, 256))
