"""Which directions an array can tell apart, and the places between."""

import math

import pytest
import torch

from spatial_brain.geometry import (
    angular_distance,
    azel_to_unit,
    circular_array,
    linear_array,
    rotation_matrix,
    tetrahedral_array,
)
from spatial_brain.processing.directions.grid import DirectionGrid
from spatial_brain.processing.directions.peaks import find_peaks


def test_a_line_sees_half_a_circle_in_front():
    along_y = linear_array(4, 0.1) @ rotation_matrix(yaw=90.0).T
    grid = DirectionGrid.for_array(along_y, 10.0)
    assert len(grid) == 19 and not grid.has_elevation
    assert grid.directions[:, 0].min() > -1e-6
    assert grid.elevation.abs().max() < 1e-4
    # A line from back to front: the left half.
    grid = DirectionGrid.for_array(linear_array(4, 0.1), 10.0)
    assert grid.directions[:, 1].min() > -1e-6


def test_planes_and_volumes():
    circle = circular_array(6, 0.05)
    assert not DirectionGrid.for_array(circle).has_elevation
    assert len(DirectionGrid.for_array(circle)) == 360
    # Upright, facing the front: half of the sphere.
    upright = circle @ rotation_matrix(pitch=90.0).T
    grid = DirectionGrid.for_array(upright, 5.0)
    sphere = DirectionGrid.for_array(tetrahedral_array(), 5.0)
    assert grid.has_elevation and sphere.has_elevation
    assert grid.directions[:, 0].min() > -1e-6
    assert len(grid) == pytest.approx(len(sphere) / 2, abs=2)
    # Slightly uneven is flat still.
    bent = circle + 0.003 * torch.randn(6, 3)
    assert not DirectionGrid.for_array(bent).has_elevation


def test_a_sphere_has_no_holes():
    grid = DirectionGrid.sphere(5.0)
    directions = torch.nn.functional.normalize(torch.randn(2000, 3), dim=-1)
    nearest = (directions @ grid.directions.T).amax(-1).clamp(max=1).acos()
    assert nearest.rad2deg().max() < 5.0


@pytest.mark.parametrize("microphones", [
    torch.zeros(3, 3),
    torch.zeros(3, 2),
    torch.tensor([[0.0, 0, 0], [0, 0, 1]]),
])  # fmt: skip
def test_arrays_without_directions_are_refused(microphones):
    with pytest.raises(ValueError, match="microphone"):
        DirectionGrid.for_array(microphones)


@pytest.mark.parametrize("azimuth, elevation", [
    (0.0, 0.0), (33.3, 20.2), (179.7, -41.0), (-179.6, 3.0),
    (12.0, 88.9), (0.0, 90.0), (-77.0, -89.2),
])  # fmt: skip
def test_peaks_are_found_between_the_points_of_a_sphere(azimuth, elevation):
    grid = DirectionGrid.sphere(5.0)
    wanted = azel_to_unit(azimuth, elevation)
    vectors, _ = find_peaks((grid.directions @ wanted).exp() - 2, grid)
    assert angular_distance(vectors[0], wanted) < 0.1


@pytest.mark.parametrize("azimuth", [-180.0, -179.7, 0.2, 99.4, 179.6])
def test_peaks_are_found_between_the_points_of_a_circle(azimuth):
    grid = DirectionGrid.circle(3.0)
    maps = (grid.azimuth - azimuth).deg2rad().cos().exp() - 2
    found, elevation = grid.angles(find_peaks(maps, grid)[0])
    assert abs((found.item() - azimuth + 180) % 360 - 180) < 0.05
    assert elevation.isnan()


def test_peaks_keep_apart_and_those_missing_are_nan():
    grid = DirectionGrid.circle(1.0)

    def bump(azimuth, height):
        distance = (grid.azimuth - azimuth + 180) % 360 - 180
        return height * (-0.5 * (distance / 3) ** 2).exp()

    maps = bump(10, 0.9) + bump(22, 0.6) + bump(-175, 0.4)
    near, wide = (
        find_peaks(maps[None, None], grid, 3, separation)
        for separation in (8.0, 15.0)
    )
    assert near[0].shape == (1, 1, 3, 3)
    azimuth = grid.angles(near[0])[0][0, 0]
    assert azimuth.round().tolist() == [10, 22, -175]
    azimuth = grid.angles(wide[0])[0][0, 0]
    assert azimuth[:2].round().tolist() == [10, -175]
    assert azimuth[2].isnan() and wide[1][0, 0, 2] == 0
    assert (near[1][0, 0].diff() < 0).all()
    assert near[1][0, 0, 0] == pytest.approx(0.9, abs=0.02)


def test_flat_and_broken_maps():
    grid = DirectionGrid.circle(10.0)
    vectors, confidence = find_peaks(torch.full((2, 36), 0.3), grid, 2)
    assert vectors.isnan().all() and (confidence == 0).all()
    with pytest.raises(ValueError, match="not finite"):
        find_peaks(torch.full((36,), math.nan), grid)
    with pytest.raises(ValueError, match="35 directions"):
        find_peaks(torch.zeros(35), grid)
