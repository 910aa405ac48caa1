"""What lines and planes cannot tell apart."""

import math

import pytest
import torch

from spatial_brain.geometry import (
    azel_to_unit,
    circular_array,
    linear_array,
    observable_azimuths,
    rotation_matrix,
    tetrahedral_array,
    wrap_azimuth,
)
from spatial_brain.geometry.observable import mirror_normal


def observed(azimuth, elevation, positions):
    values = (torch.tensor([value]) for value in (azimuth, elevation))
    return observable_azimuths(*values, positions[None])[0]


def delays(azimuth, elevation, positions):
    unit = azel_to_unit(torch.tensor(azimuth), torch.tensor(elevation))
    found = positions.double() @ unit.double()
    return found - found.mean()


@pytest.mark.parametrize("yaw", [0.0, 70.0, -120.0])
@pytest.mark.parametrize("azimuth", [15.0, -160.0, 100.0])
@pytest.mark.parametrize("elevation", [0.0, 35.0])
def test_both_azimuths_of_a_line_have_the_delays_of_the_source(
    yaw, azimuth, elevation
):
    line = linear_array(3, 0.05) @ rotation_matrix(yaw=yaw).T
    ways = observed(azimuth, elevation, line)
    for way in ways.tolist():
        torch.testing.assert_close(
            delays(way, 0.0, line),
            delays(azimuth, elevation, line),
            atol=1e-6,
            rtol=0,
        )
    assert abs(float(wrap_azimuth(ways[0] - ways[1]))) > 1
    if not elevation:
        assert float(wrap_azimuth(ways[0] - azimuth)) == pytest.approx(0, abs=1)


def test_an_upright_plane_mirrors_and_others_do_not():
    circle = circular_array(5, 0.05)
    upright = circle @ rotation_matrix(pitch=90.0).T
    ways = observed(30.0, 0.0, upright)
    assert sorted(ways.round().tolist()) == [30.0, 150.0]
    for array in (circle, tetrahedral_array(0.05)):
        ways = observed(30.0, 20.0, array)
        torch.testing.assert_close(ways, torch.full((2,), 30.0))
    assert observed(math.nan, 0.0, circle).isnan().all()


def test_normals_point_to_the_front():
    line = linear_array(2, 0.1) @ rotation_matrix(yaw=90.0).T
    normal = mirror_normal(line).float()
    torch.testing.assert_close(normal, torch.tensor([1.0, 0, 0]))
    upright = circular_array(5, 0.05) @ rotation_matrix(pitch=90.0).T
    normal = mirror_normal(upright).float()
    torch.testing.assert_close(
        normal, torch.tensor([1.0, 0, 0]), atol=1e-5, rtol=0
    )
    assert mirror_normal(circular_array(5, 0.05)) is None
    assert mirror_normal(tetrahedral_array(0.05)) is None


def test_a_vertical_line_and_wrong_shapes_are_refused():
    line = torch.tensor([[0.0, 0, 0], [0, 0, 0.1]])
    with pytest.raises(ValueError, match="vertical line"):
        mirror_normal(line)
    with pytest.raises(ValueError, match=r"positions \[batch, M, 3\]"):
        observable_azimuths(torch.zeros(2), torch.zeros(2), line[None])
