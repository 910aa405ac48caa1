"""Numbers of talkers and confidences from posteriors made by hand."""

import numpy as np
import pytest
import torch
from posteriors import outputs, recordings

from spatial_brain.inference.talkers import (
    ABSTENTION,
    TalkerCalibration,
    directions_of,
    estimate_talkers,
    near_talkers,
)
from spatial_brain.metrics.calibration import expected_calibration_error
from spatial_brain.processing.decoding import decode_classes

MEANING = decode_classes, "cone"


@pytest.fixture(scope="module")
def calibration():
    return TalkerCalibration.fit(*recordings(120, seed=1), *MEANING)


def test_numbers_and_directions_of_known_posteriors(calibration):
    logits, truth = recordings(60, seed=50)
    found = estimate_talkers(logits, "auto", *MEANING, calibration)
    expected = np.repeat([0, 1, 2], 60)
    assert (found.chances.argmax(1) == expected).mean() > 0.95
    assert np.allclose(found.chances.sum(1), 1)
    given = (~np.isnan(found.degrees)).sum(1)
    # Noise has no direction, one talker has one.
    assert (given[:60] == 0).mean() > 0.95
    assert (given[60:120] == 1).mean() > 0.95
    one = found.degrees[60:120, 0]
    assert np.nanmedian(np.abs(one - truth[60:120, 0])) < 3
    # What is given at all is sure enough.
    assert np.nanmin(found.confidence) >= ABSTENTION


def test_confidence_is_the_share_that_is_right(calibration):
    logits, truth = recordings(300, seed=90)
    sure, right = [], []
    for number in (1, 2):
        found = estimate_talkers(logits, number, *MEANING, calibration)
        given = ~np.isnan(found.degrees)
        sure.append(found.confidence[given])
        right.append(near_talkers(found.degrees, truth, "cone")[given])
    sure, right = np.concatenate(sure), np.concatenate(right)
    assert expected_calibration_error(sure, right) < 0.05
    # The second direction of one talker is a phantom, and is known as such.
    alone = found.confidence[300:600]
    assert np.median(alone.min(1)) < ABSTENTION
    assert np.median(alone.max(1)) > ABSTENTION


def test_confidence_does_not_fall_with_evidence(calibration):
    mass = np.linspace(0, 1, 101)[:, None]
    certain = np.tile([0.0, 1.0, 0.0], (101, 1))
    sure = calibration.confidence(mass, certain)[:, 0]
    assert (np.diff(sure) >= 0).all()
    assert 0 <= sure[0] < 0.2 and 0.8 < sure[-1] < 1


def test_one_talker_lies_between_outputs_that_agree():
    logits = outputs([[57.0, 63.0]], noise=0.0)
    degrees, mass = directions_of(logits, 1, *MEANING)
    assert degrees[0] == pytest.approx([60.0], abs=0.3) and mass[0] > 0.9
    # Of three outputs those which agree best become one.
    logits = outputs([[40.0, 120.0, 43.0]], noise=0.0)
    degrees, _ = directions_of(logits, 2, *MEANING)
    assert sorted(degrees[0]) == pytest.approx([41.5, 120.0], abs=0.5)


def test_outputs_that_disagree_do_not_meet_in_the_middle():
    logits = outputs([[40.0, 120.0]], noise=0.0)
    logits[0, 1] *= 0.5
    degrees, mass = directions_of(logits, 1, *MEANING)
    assert degrees[0] == pytest.approx([40.0], abs=2) and mass[0] < 0.99


def test_without_calibration_every_output_is_a_direction():
    logits = outputs([[30.0, 100.0]])
    found = estimate_talkers(logits, "auto", *MEANING)
    assert found.degrees[0] == pytest.approx([30.0, 100.0], abs=2)
    assert np.isnan(found.confidence).all() and found.chances is None


def test_a_network_with_one_output_tells_none_from_one():
    rng = np.random.default_rng(3)
    angles = rng.uniform(20, 160, (80, 1))
    logits = torch.cat([outputs(angles, 60.0), outputs(angles)])
    truth = np.concatenate([angles * np.nan, angles])
    calibration = TalkerCalibration.fit(logits, truth, *MEANING)
    found = estimate_talkers(logits, "auto", *MEANING, calibration)
    assert np.isnan(found.degrees[:80]).mean() > 0.95
    assert np.isnan(found.degrees[80:]).mean() < 0.05


def test_a_card_gives_it_back(calibration):
    again = TalkerCalibration.from_dict(calibration.to_dict())
    logits, _ = recordings(20, seed=7)
    one, two = (
        estimate_talkers(logits, 2, *MEANING, which)
        for which in (calibration, again)
    )
    assert np.allclose(one.confidence, two.confidence, atol=1e-4)
    same = TalkerCalibration.fit(*recordings(120, seed=1), *MEANING)
    assert same.to_dict() == calibration.to_dict()


@pytest.mark.parametrize(
    ("changes", "part"),
    [
        ({"weights": "none"}, "weights must be numbers"),
        ({"weights": [[1.0, 2.0, 3.0]]}, "those of no number of outputs"),
        ({"evidence": [0.5, 0.2]}, "must ascend"),
        ({"probability": [2.0, 3.0]}, "must ascend"),
        ({"evidence": []}, "must ascend"),
    ],
)
def test_a_damaged_calibration_is_refused(calibration, changes, part):
    values = {
        **calibration.to_dict(),
        "evidence": [0.1, 0.2],
        "probability": [0.3, 0.4],
        **changes,
    }
    with pytest.raises(ValueError, match=part):
        TalkerCalibration.from_dict(values)


def test_every_number_of_talkers_is_needed():
    logits, truth = recordings(10, seed=1)
    with pytest.raises(ValueError, match="no recording with 0 talkers"):
        TalkerCalibration.fit(logits[10:], truth[10:], *MEANING)
