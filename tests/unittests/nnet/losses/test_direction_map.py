"""Targets of maps of directions, and their loss."""

import math

import pytest
import torch

from spatial_brain.geometry import circular_array, linear_array
from spatial_brain.nnet.losses.direction_map import (
    DirectionMapLoss,
    direction_targets,
)

CIRCLE = circular_array(4, 0.05)[None]
LINE = linear_array(2, 0.1)[None]
OPTIONS = {"num_directions": 72, "width": 5.0, "hold": 0}


def targets(azimuth, active, positions, **options):
    azimuth = torch.tensor([azimuth])
    active = torch.tensor([active])
    options = {**OPTIONS, **options}
    return direction_targets(
        azimuth, torch.zeros_like(azimuth), active, positions, **options
    )[0]


def test_a_bump_for_each_source_that_sounds():
    found = targets(
        [[20.0] * 3, [178.0] * 3, [math.nan] * 3],
        [[True, True, False], [False, True, False], [False] * 3],
        CIRCLE,
    )
    assert found[0].argmax() == 40 and float(found[0, 40]) == 1
    assert float(found[0, 41]) == pytest.approx(math.exp(-0.5))
    # Across the end of the circle.
    assert float(found[1, 0]) == pytest.approx(math.exp(-0.5 * 0.4**2))
    assert not found[2].any() and found[0, 0] < 1e-6


def test_a_line_has_both_sides():
    found = targets([[60.0]], [[True]], LINE)
    assert found[0].topk(2).indices.sort().values.tolist() == [24, 48]


def test_pauses_are_held():
    active = [[True, False, False, False, False]]
    found = targets([[0.0] * 5], active, CIRCLE, hold=2).amax(1)
    assert found.tolist() == [1.0, 1.0, 1.0, 0.0, 0.0]


def test_frames_pool_labels_and_the_target_is_the_best_output():
    loss = DirectionMapLoss(width=5.0, hold=0, labels_per_frame=4)
    azimuth = torch.full((1, 1, 9), 30.0)
    active = torch.zeros(1, 1, 9).bool()
    active[..., 6] = True
    labels = azimuth, torch.zeros_like(azimuth), active, CIRCLE
    target = loss.targets((1, 2, 72), *labels)
    assert target[0].amax(1).tolist() == [0.0, 1.0]
    best = loss(target.clamp(1e-4, 1 - 1e-4).logit(), *labels)
    assert best < loss(target.roll(1, 2).clamp(1e-4, 0.9999).logit(), *labels)
    with pytest.raises(ValueError, match="need 12 labels"):
        loss(torch.zeros(1, 3, 72), *labels)
    with pytest.raises(ValueError, match="width"):
        DirectionMapLoss(width=0.0)
