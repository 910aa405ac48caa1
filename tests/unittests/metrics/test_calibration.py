"""Reliability and its error: against loops, and at their ends."""

import numpy as np
import pytest

from spatial_brain.metrics.calibration import (
    expected_calibration_error,
    reliability_curve,
)


@pytest.mark.parametrize("num_bins", [1, 4, 10])
def test_error_is_that_of_a_loop_over_bins(num_bins):
    rng = np.random.default_rng(num_bins)
    confidence, correct = rng.random(500), rng.random(500) < 0.6
    confidence[:3] = 0.0, 0.5, 1.0
    total = 0.0
    for k in range(num_bins):
        mine = [
            (p, right)
            for p, right in zip(confidence, correct, strict=True)
            if k / num_bins <= p < (k + 1) / num_bins
            or (p == 1.0 and k == num_bins - 1)
        ]
        if mine:
            sure = sum(p for p, _ in mine) / len(mine)
            share = sum(right for _, right in mine) / len(mine)
            total += len(mine) / 500 * abs(sure - share)
    found = expected_calibration_error(confidence, correct, num_bins)
    assert found == pytest.approx(total)


def test_what_is_always_sure_and_half_right_is_off_by_a_half():
    right = [True, False] * 50
    assert expected_calibration_error(np.ones(100), right) == 0.5
    [only] = reliability_curve(np.ones(100), right)
    assert (only["low"], only["high"], only["number"]) == (0.9, 1.0, 100)


def test_calibrated_confidences_have_little_error():
    rng = np.random.default_rng(0)
    confidence = rng.random(20_000)
    right = rng.random(20_000) < confidence
    assert expected_calibration_error(confidence, right) < 0.02


@pytest.mark.parametrize(
    ("confidence", "correct", "part"),
    [
        ([], [], "no prediction"),
        ([0.5], [True, False], "one shape"),
        ([1.1], [True], "not in"),
        ([np.nan], [True], "not in"),
    ],
)
def test_what_is_no_confidence_is_refused(confidence, correct, part):
    with pytest.raises(ValueError, match=part):
        expected_calibration_error(confidence, correct)
