"""Scores that are no measure: divisions by nothing, impossible intervals."""

import math

import numpy as np
import pytest
from scipy import stats

from spatial_brain.metrics.seld.reliability import (
    RANGES,
    possible_interval,
)
from spatial_brain.metrics.seld.rules import METRICS
from spatial_brain.metrics.seld.scores import SELDScores


def rows(frames, label=0, azimuth=0.0, metres=1.0):
    return [(frame, label, 0, azimuth, 0, 100 * metres) for frame in frames]


def scores_of(*clips, num_classes=3, **rules):
    scores = SELDScores(num_classes, **rules)
    for reference, estimate in clips:
        scores.append(reference, estimate)
    return scores


def lines_on(found, word):
    return [line for line in found["warnings"] if word in line]


@pytest.mark.parametrize("metric", METRICS)
def test_a_set_without_events_has_no_corrected_score(metric):
    clips = [([], rows(range(20))), ([], [])]
    official = scores_of(*clips, metric=metric).compute(intervals=True)
    # What the evaluators print, and a line that says what it is worth.
    assert official["ER"] > 1e14
    assert lines_on(official, "no reference events: ER is")
    found = scores_of(*clips, metric=metric, mode="corrected")
    found = found.compute(intervals=True)
    assert all(math.isnan(found[name]) for name in RANGES if name in found)
    assert found["warnings"][0] == "no reference events: no score is defined"
    # One reference is enough for both.
    clips[1] = rows(range(20)), rows(range(20))
    for mode in ("official", "corrected"):
        found = scores_of(*clips, metric=metric, mode=mode).compute()
        assert found["ER"] == pytest.approx(1.0)
        assert not lines_on(found, "no reference events")


@pytest.mark.parametrize("metric", ["dcase2024", "dcase2025"])
@pytest.mark.parametrize("average", ["micro", "macro"])
def test_reference_distance_zero(metric, average):
    rng = np.random.default_rng(3)
    truth, guess, relative, absolute = [], [], [], []
    for frame in range(40):
        metres = 0.0 if frame % 4 == 0 else rng.uniform(1, 3)
        found = metres + rng.uniform(0, 0.5)
        truth += rows([frame], metres=metres)
        guess += rows([frame], metres=found)
        absolute.append(found - metres)
        if metres:
            relative.append((found - metres) / metres)
    rules = {"metric": metric, "average": average, "num_classes": 1}
    official = scores_of((truth, guess), **rules).compute()
    assert official["RDE"] > 1e10
    assert lines_on(official, "distance 0 in 10 of 40 pairs: relative errors")
    found = scores_of((truth, guess), mode="corrected", **rules).compute()
    assert found["RDE"] == pytest.approx(np.mean(relative))
    assert found["DE"] == pytest.approx(np.mean(absolute))
    # Their direction is right, and no relative error says otherwise.
    assert (found["F"], official["F"]) == pytest.approx((1, 0.75))
    assert found["SELD"] == pytest.approx(np.mean(relative) / 3, abs=1e-5)
    assert lines_on(found, "distance 0 in 10 of 40 pairs: they are left out")
    # Nothing but such pairs: no relative error, and the score is of the rest.
    clip = rows(range(9), metres=0), rows(range(9))
    found = scores_of(clip, mode="corrected", **rules).compute()
    assert math.isnan(found["RDE"]) and found["SELD"] < 1e-5


def test_classes_without_references_are_said():
    clip = rows(range(20)), rows(range(20))
    found = scores_of(clip).compute()
    assert found["F"] == pytest.approx(1 / 3)
    assert found["warnings"] == [
        "2 of 3 classes have no reference and count as F 0, LE 180 and LR 0 in "
        "the means; mode present leaves them out"
    ]
    for rules in ({"average": "micro"}, {"mode": "present"}):
        assert not scores_of(clip, **rules).compute()["warnings"]
    missed = rows(range(20)) + rows(range(20), 2), rows(range(20))
    found = scores_of(missed, mode="pseldnets").compute()
    assert found["F"] == pytest.approx(1)
    assert lines_on(found, "1 of 2 classes with references have no pair")


def test_intervals_that_cannot_be():
    # Three perfect clips and one of three times their length without a hit.
    good, bad = rows(range(10)), rows(range(30))
    clips = [(good, good)] * 3 + [(bad, rows(range(30), azimuth=90))]
    found = scores_of(*clips, num_classes=1).compute(intervals=True)
    counts = scores_of(*clips, num_classes=1).counters["TP"][:, 0]
    assert counts.tolist() == [1, 1, 1, 0]
    partial = [2 / 5, 2 / 5, 2 / 5, 1.0]
    center, value = np.mean(partial), 0.5
    half = stats.t.ppf(0.975, 3) * math.sqrt(
        3 * np.mean((np.array(partial) - center) ** 2)
    )
    low = value - 3 * (center - value) - half
    assert found["F"] == pytest.approx(value) and low < 0
    assert np.isnan(found["intervals"]["F"]).all()
    assert "4 clips are few" in found["warnings"][-1]
    assert "ER, F" in found["warnings"][-1]
    one = scores_of(clips[0], num_classes=1).compute(intervals=True)
    assert one["warnings"] == ["intervals need two clips, here is one"]
    many = scores_of(*[(good, good)] * 12, num_classes=1)
    many = many.compute(intervals=True)
    assert many["intervals"]["F"] == pytest.approx([1, 1])
    assert not many["warnings"]


def test_a_class_in_one_clip_is_said():
    good = rows(range(10)), rows(range(10))
    clips = [good] * 11 + [(rows(range(10), 1), rows(range(10), 1))]
    found = scores_of(*clips, num_classes=2).compute(intervals=True)
    # Without its only clip the class counts 0: an interval beside the score.
    assert found["F"] == pytest.approx(1)
    assert np.isnan(found["intervals"]["F"]).all()
    assert "1 of 2 classes is in one clip only" in found["warnings"][-1]


def test_possible_intervals_against_a_loop():
    rng = np.random.default_rng(0)
    for name, (lowest, highest) in RANGES.items():
        top = highest if np.isfinite(highest) else 3.0
        value = rng.uniform(0, top, 200)
        ends = value[:, None] + rng.normal(0, top / 4, (200, 2))
        ends.sort(axis=1)
        found = possible_interval(name, value, ends)
        for v, (low, high), kept in zip(value, ends, found, strict=True):
            good = lowest <= low <= v <= high <= highest
            assert np.isfinite(kept).all() == good
