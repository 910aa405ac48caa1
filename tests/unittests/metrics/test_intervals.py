"""Calibrated intervals hold what they say."""

import pytest
import torch

from spatial_brain.metrics.intervals import (
    combine_estimates,
    interval_coverage,
    interval_factors,
    scale_intervals,
)


def draw(number, seed):
    """Labels about 0, and intervals that are too narrow above."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randn(number, 2, generator=generator)
    ends = torch.tensor([-1.0, 0.0, 0.5]).expand(number, 2, 3)
    return ends, labels


@pytest.mark.parametrize("coverage", (0.5, 0.9))
def test_intervals_hold_for_others_of_the_same_kind(coverage):
    factors = interval_factors(*draw(2000, 0), coverage)
    quantiles, labels = draw(5000, 1)
    found = interval_coverage(scale_intervals(quantiles, factors), labels)
    assert found.tolist() == pytest.approx([coverage, coverage], abs=0.03)
    # On the very ones that it was calibrated with at least as many.
    quantiles, labels = draw(2000, 0)
    held = interval_coverage(scale_intervals(quantiles, factors), labels)
    assert (held >= coverage).all()


def test_few_recordings_give_the_widest_interval():
    quantiles, labels = draw(4, 0)
    factors = interval_factors(quantiles, labels, 0.9)
    held = interval_coverage(scale_intervals(quantiles, factors), labels)
    assert held.tolist() == [1.0, 1.0]


def test_wide_intervals_count_for_little():
    sure = torch.tensor([[-1.0, 0.0, 1.0]])
    unsure = torch.tensor([[0.0, 10.0, 20.0]])
    found = combine_estimates(torch.stack((sure, unsure)))
    assert found[0, 1].item() == pytest.approx(10 / 101, rel=1e-3)
    assert found[0, 2] - found[0, 1] < 1.2
