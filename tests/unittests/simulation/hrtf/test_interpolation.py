"""Responses between measured directions, against a head known everywhere."""

import math

import numpy as np
import pytest
import torch

from spatial_brain.geometry import angular_distance, azel_to_unit
from spatial_brain.simulation.hrtf.grid import (
    CIPIC_LATERALS,
    CIPIC_POLARS,
    interaural_to_unit,
)
from spatial_brain.simulation.hrtf.interpolation import (
    find_neighbours,
    itd,
    responses_between,
)
from spatial_brain.simulation.hrtf.sphere import spherical_head_responses


def sphere_grid(step):
    """Directions all around, denser in azimuth near the horizon."""
    rows = []
    for elevation in np.arange(-90.0, 91.0, step):
        count = max(1, round(360 / step * math.cos(math.radians(elevation))))
        azimuth = torch.arange(count) * (360.0 / count)
        rows.append(azel_to_unit(azimuth.double(), float(elevation)))
    return torch.cat(rows)


@pytest.fixture(scope="module")
def measured_sphere():
    """A head measured every ten degrees, and its true grid of CIPIC."""
    fs = 16000
    heads = {"radius": 0.09, "ear_angle": 97.0, "model": "rigid-sphere"}
    measured = sphere_grid(10.0)
    wanted = interaural_to_unit(
        torch.tensor(CIPIC_LATERALS).double()[:, None],
        torch.tensor(CIPIC_POLARS).double(),
    ).flatten(0, 1)
    return (
        measured,
        spherical_head_responses(measured, fs, **heads),
        wanted,
        spherical_head_responses(wanted, fs, **heads),
    )


def test_aligned_mixture_is_the_response_between(measured_sphere):
    measured, responses, wanted, truth = measured_sphere

    def error(found):
        difference = (found - truth).square().sum(-1)
        share = difference / truth.square().sum(-1)
        return 10 * share.quantile(0.9).log10()

    found, cue = {}, itd(truth, 16000)
    for method in ("barycentric", "nearest"):
        near = find_neighbours(measured, wanted, method)
        torch.testing.assert_close(
            near.weight.sum(-1), torch.ones(len(wanted)).double()
        )
        found[method] = responses_between(responses, measured, near, 16000)
    assert error(found["barycentric"]) < -16
    assert error(found["barycentric"]) < error(found["nearest"]) - 12
    deviation = (itd(found["barycentric"], 16000) - cue).abs()
    assert deviation.median() < 2e-6 and deviation.quantile(0.99) < 12e-6
    # Without the alignment the same weights do worse.
    near = find_neighbours(measured, wanted)
    plain = (near.weight[..., None, None] * responses[near.index]).sum(1)
    assert error(found["barycentric"]) < error(plain) - 5


def test_measured_directions_are_taken_as_they_are(measured_sphere):
    measured, responses, _, _ = measured_sphere
    rows = torch.tensor([5, 100, 300])
    near = find_neighbours(measured, 2.0 * measured[rows])
    found = responses_between(responses, measured, near, 16000)
    assert torch.equal(found, responses[rows])
    assert near.angle.max() < 1e-6


def test_neighbours_reproduce_the_direction(measured_sphere):
    measured, _, wanted, _ = measured_sphere
    near = find_neighbours(measured, wanted)
    point = (near.weight[..., None] * measured[near.index]).sum(1)
    assert angular_distance(point, wanted).max() < 0.21


def test_gaps_of_a_grid():
    circle = azel_to_unit(torch.arange(0.0, 360.0, 5.0), 0.0)
    above = torch.tensor([[0.0, 0.0, 1.0]])
    with pytest.raises(ValueError, match="72 lies 90 degrees away"):
        find_neighbours(circle, above)
    # Flat sets have no triangles.
    near = find_neighbours(circle, azel_to_unit([12.0], 0.0))
    assert near.index[0, 0] == 2 and near.weight[0, 0] == 1
    # Below a grid that ends at -40 degrees, the nearest stands in.
    upper = sphere_grid(10.0)
    upper = upper[upper[:, 2] > -0.7]
    near = find_neighbours(upper, azel_to_unit([0.0], -60.0))
    assert near.weight[0].tolist() == [1, 0, 0]
    assert near.angle[0].item() == pytest.approx(20.0, abs=1e-4)
    with pytest.raises(ValueError, match="no method"):
        find_neighbours(upper, above, "linear")
