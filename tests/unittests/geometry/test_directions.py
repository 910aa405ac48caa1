"""Directions and trajectories against closed forms."""

import math

import pytest
import torch

from spatial_brain.geometry import (
    angular_distance,
    arc_trajectory,
    azel_to_unit,
    circular_array,
    cone_angle,
    linear_array,
    path_trajectory,
    rotation_matrix,
    tetrahedral_array,
    unit_to_azel,
    wrap_azimuth,
)


def test_axes_are_front_left_up():
    front, left, up = torch.eye(3)
    assert torch.allclose(azel_to_unit(0.0, 0.0), front)
    assert torch.allclose(azel_to_unit(90.0, 0.0), left, atol=1e-7)
    assert torch.allclose(azel_to_unit(17.0, 90.0), up, atol=1e-7)


def test_round_trip_on_a_grid():
    azimuth, elevation = torch.meshgrid(
        torch.arange(-180.0, 180.0, 7.5, dtype=torch.float64),
        torch.arange(-85.0, 86.0, 5.0, dtype=torch.float64),
        indexing="ij",
    )
    back = unit_to_azel(3.0 * azel_to_unit(azimuth, elevation))
    assert torch.allclose(back[0], azimuth, atol=1e-9)
    assert torch.allclose(back[1], elevation, atol=1e-9)


def test_back_is_minus_180_never_plus_180():
    azimuth, _ = unit_to_azel(torch.tensor([-1.0, 0.0, 0.0]))
    assert azimuth.item() == -180.0
    almost = wrap_azimuth(torch.tensor([180.0 - 1e-6, -1e-30, 540.0, -180.0]))
    assert (almost < 180.0).all() and (almost >= -180.0).all()


@pytest.mark.parametrize("angle", [1e-4, 1e-2, 30.0, 90.0, 179.99])
def test_angular_distance_keeps_accuracy_at_the_ends(angle):
    a = torch.tensor([1.0, 0.0, 0.0])
    b = torch.tensor(
        [math.cos(math.radians(angle)), math.sin(math.radians(angle)), 0.0]
    )
    assert angular_distance(a, 5 * b).item() == pytest.approx(angle, rel=2e-3)


def test_angular_distance_broadcasts():
    a = azel_to_unit(torch.tensor([[0.0], [10.0]]), 0.0)
    b = azel_to_unit(torch.tensor([0.0, 30.0, 60.0]), 0.0)
    expected = torch.tensor([[0.0, 30, 60], [10, 20, 50]])
    assert torch.allclose(angular_distance(a, b), expected, atol=1e-4)


def test_cone_angle_ignores_rotation_about_the_axis():
    circle = torch.arange(0.0, 360.0, 30.0)
    directions = torch.stack(
        (
            torch.full_like(circle, math.cos(math.radians(40.0))),
            math.sin(math.radians(40.0)) * torch.cos(torch.deg2rad(circle)),
            math.sin(math.radians(40.0)) * torch.sin(torch.deg2rad(circle)),
        ),
        dim=-1,
    )
    angles = cone_angle(directions)
    assert torch.allclose(angles, torch.full_like(angles, 40.0), atol=1e-4)
    turned = cone_angle(directions, axis=(-1.0, 0.0, 0.0))
    assert torch.allclose(turned, torch.full_like(angles, 140.0), atol=1e-4)


def test_rotation_turns_azimuth_and_is_orthogonal():
    direction = rotation_matrix(yaw=25.0) @ azel_to_unit(10.0, 20.0)
    azimuth, elevation = unit_to_azel(direction)
    assert azimuth.item() == pytest.approx(35.0, abs=1e-4)
    assert elevation.item() == pytest.approx(20.0, abs=1e-4)
    tipped = rotation_matrix(pitch=30.0) @ torch.tensor([1.0, 0.0, 0.0])
    assert unit_to_azel(tipped)[1].item() == pytest.approx(30.0, abs=1e-4)
    rolled = rotation_matrix(roll=30.0) @ torch.tensor([0.0, -1.0, 0.0])
    assert rolled[2] < 0
    matrix = rotation_matrix(torch.tensor([11.0, 50.0]), 22.0, 33.0)
    assert torch.allclose(
        matrix @ matrix.transpose(-1, -2),
        torch.eye(3).expand(2, 3, 3),
        atol=1e-6,
    )
    assert torch.linalg.det(matrix).allclose(torch.ones(2), atol=1e-6)


def test_layouts():
    assert linear_array(4, 0.05)[:, 0].diff().allclose(torch.tensor(0.05))
    assert linear_array(3, 0.1).mean(0).abs().max() < 1e-8
    circle = circular_array(6, 0.1)
    assert circle.norm(dim=-1).allclose(torch.tensor(0.1))
    assert circle[1, 1] > 0
    capsules = tetrahedral_array()
    azimuth, elevation = unit_to_azel(capsules)
    assert azimuth.allclose(torch.tensor([45.0, -45.0, 135.0, -135.0]))
    assert elevation.allclose(torch.tensor([35.0, -35.0, -35.0, 35.0]))


def test_paths_have_equal_steps():
    corners = torch.tensor([[0.0, 0, 0], [2.0, 0, 0], [2.0, 0, 0], [2.0, 2, 0]])
    path = path_trajectory(corners, 9)
    assert path[0].equal(corners[0]) and path[-1].equal(corners[-1])
    assert path.diff(dim=0).norm(dim=-1).allclose(torch.tensor(0.5))
    assert path_trajectory(corners[:1], 3).equal(corners[:1].expand(3, 3))
    arc = arc_trajectory([1.0, 1.0, 1.0], 0.5, -90.0, 90.0, 7)
    assert (arc - 1).norm(dim=-1).allclose(torch.tensor(0.5))
    assert (arc[0] - 1).allclose(torch.tensor([0, -0.5, 0]), atol=1e-6)


@pytest.mark.parametrize(
    "call",
    [
        lambda: unit_to_azel(torch.ones(2)),
        lambda: angular_distance(torch.ones(4), torch.ones(4)),
        lambda: linear_array(0, 0.1),
        lambda: circular_array(3, -1.0),
        lambda: path_trajectory(torch.ones(3), 4),
        lambda: path_trajectory(torch.ones(2, 3), 0),
    ],
)
def test_bad_input_is_refused(call):
    with pytest.raises(ValueError, match="got"):
        call()
