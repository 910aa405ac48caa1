"""Directions from time differences of pairs."""

import math

import pytest
import torch

from spatial_brain.geometry import (
    angular_distance,
    azel_to_unit,
    circular_array,
    linear_array,
    tetrahedral_array,
)
from spatial_brain.processing.directions.grid import DirectionGrid
from spatial_brain.processing.directions.tdoa import TDOALocalizer
from spatial_brain.processing.spatial import microphone_pairs, pair_delays


def volume():
    array = tetrahedral_array(0.08)
    return array, TDOALocalizer(array, DirectionGrid.for_array(array))


def test_exact_differences_give_exact_directions():
    array, locate = volume()
    wanted = torch.nn.functional.normalize(torch.randn(5, 40, 3), dim=-1)
    tdoa = pair_delays(array, wanted.flatten(0, 1)).T.unflatten(0, (5, 40))
    azimuth, elevation, confidence = locate(tdoa)
    assert azimuth.shape == (5, 40, 1)
    found = azel_to_unit(azimuth, elevation)[..., 0, :]
    assert angular_distance(found, wanted).max() < 0.05
    assert confidence.min() > 0.9


def test_wrong_and_missing_pairs_do_not_pull():
    array, locate = volume()
    wanted = torch.nn.functional.normalize(torch.randn(50, 3), dim=-1)
    tdoa = pair_delays(array, wanted).T
    tdoa[:, 1] = 0.0004
    tdoa[:, 4] = math.nan
    azimuth, elevation, _ = locate(tdoa)
    found = azel_to_unit(azimuth, elevation)[:, 0]
    assert angular_distance(found, wanted).quantile(0.9) < 0.5
    # A weight of zero is as good as a missing difference.
    weights = torch.ones(6)
    weights[4] = 0
    again = locate(tdoa.nan_to_num(0.5), weights)
    assert torch.allclose(again[0], azimuth, atol=1e-3)


def test_small_errors_give_the_least_squares_direction():
    array, locate = volume()
    locate.scale = 1e-3  # all pairs count alike
    generator = torch.Generator().manual_seed(0)
    wanted = azel_to_unit(40.0, 20.0)
    tdoa = pair_delays(array, wanted[None]).T
    tdoa = tdoa + 1e-5 * torch.randn(20, 6, generator=generator)
    azimuth, elevation, _ = locate(tdoa)
    fine = azel_to_unit(
        *torch.meshgrid(
            torch.arange(30, 50, 0.1), torch.arange(10, 30, 0.1), indexing="ij"
        )
    ).flatten(0, 1)
    delays = pair_delays(array, fine)
    best = ((tdoa[..., None] - delays) ** 2).sum(1).argmin(-1)
    found = azel_to_unit(azimuth, elevation)[:, 0]
    assert angular_distance(found, fine[best]).max() < 0.15


def test_several_sources_of_one_pair_each():
    array = circular_array(6, 0.1)
    pairs = microphone_pairs(6) * 2
    locate = TDOALocalizer(array, DirectionGrid.for_array(array), pairs)
    both = azel_to_unit(torch.tensor([20.0, 110.0]), 0.0)
    tdoa = pair_delays(array, both).T.reshape(1, -1)
    azimuth, elevation, confidence = locate(tdoa, num_peaks=2)
    assert azimuth.sort().values[0].tolist() == pytest.approx([20, 110], abs=1)
    assert elevation.isnan().all()
    assert confidence.max() < 0.6


def test_long_baselines_are_not_missed_between_the_points():
    array = linear_array(3, 1.0)[:, [1, 0, 2]]
    grid = DirectionGrid.for_array(array, 3.0)
    locate = TDOALocalizer(array, grid, scale=1e-5)
    wanted = azel_to_unit(torch.arange(-60.0, 61.0, 0.7), 0.0)
    azimuth, _, _ = locate(pair_delays(array, wanted).T)
    error = azimuth[:, 0] - torch.arange(-60.0, 61.0, 0.7)
    assert error.abs().max() < 0.05


def test_nothing_and_bad_input():
    array, locate = volume()
    azimuth, _, confidence = locate(torch.full((2, 6), math.nan))
    assert azimuth.isnan().all() and (confidence == 0).all()
    with pytest.raises(ValueError, match="6 pairs"):
        locate(torch.zeros(2, 5))
    with pytest.raises(ValueError, match="at least 0"):
        locate(torch.zeros(6), -torch.ones(6))
    with pytest.raises(ValueError, match=r"\(0, 9\) is no pair"):
        TDOALocalizer(array, locate.grid, [(0, 9)])
    with pytest.raises(ValueError, match="scale"):
        TDOALocalizer(array, locate.grid, scale=0)
