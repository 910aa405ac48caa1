"""SELD scores frame by frame with distances (DCASE 2024, 2025)."""

import math

import pytest

from spatial_brain.metrics.seld.scores import SELDScores

NAMES = ("ER", "F", "LE", "DE", "RDE", "LR", "SELD")
NAN = math.nan


def sound(frames, azimuth=0.0, far=200.0, elevation=0.0, label=0):
    """Rows of six columns; distance in cm."""
    return [(frame, label, 0, azimuth, elevation, far) for frame in frames]


ALL, HALF = range(10), range(5)
CASES = {
    "W1": (sound(ALL), sound(ALL, 10, 300)),
    "W2": (sound(ALL), sound(ALL, 10, 500)),
    "W3": (sound(ALL), sound(HALF)),
    "W4": ([], []),
}
FLOOR = 8.1e-4  # degrees between equal directions, in the evaluator
EXPECTED = {
    "micro": {
        "W1": (0, 1, 10, 1, 0.5, 1, 0.185185),
        "W2": (1, 0, 10, 3, 1.5, 1, 0.851852),
        "W3": (0.5, 2 / 3, FLOOR, 0, 0, 0.5, 0.111113),
        "W4": (0, 0, NAN, NAN, NAN, 0, 1),
    },
    "macro": {
        "W1": (0, 0.5, 10, 1, 0.5, 0.5, 0.592593),
        "W2": (1, 0, 10, 3, 1.5, 0.5, 0.925926),
        "W3": (0.5, 1 / 3, FLOOR, 0, 0, 0.25, 0.555556),
        "W4": (0, 0, NAN, NAN, NAN, 0, 1),
    },
}


def scored(case, num_classes=2, **rules):
    scores = SELDScores(num_classes, **{"metric": "dcase2024", **rules})
    scores.append(*case)
    return scores.compute()


@pytest.mark.parametrize("average", list(EXPECTED))
def test_scores_of_known_cases(average):
    for case, expected in EXPECTED[average].items():
        found = scored(CASES[case], average=average)
        values = [found[name] for name in NAMES]
        assert values == pytest.approx(expected, abs=2e-5, nan_ok=True), case


def test_only_classes_that_occur():
    found = scored(CASES["W1"], mode="present")
    assert [found[name] for name in NAMES] == pytest.approx(
        EXPECTED["micro"]["W1"], abs=2e-5
    )


@pytest.mark.parametrize(
    ("far", "rules", "right"),
    [
        (399.0, {}, 1),  # 1.99 m too far is less than the 2 m there are
        (401.0, {}, 0),
        (250.0, {"distance_threshold": 0.4}, 0),
        (250.0, {"distance_threshold": 0.6}, 1),
        (250.0, {"relative_distance_threshold": 0.2}, 0),
        (900.0, {"evaluate_distance": False}, 1),
    ],
)
def test_distance_gates(far, rules, right):
    found = scored((sound(ALL), sound(ALL, far=far)), 1, **rules)
    assert found["F"] == pytest.approx(right)
    assert found["LR"] == pytest.approx(1)
    assert ("RDE" in found) == rules.get("evaluate_distance", True)


def test_without_distances_the_score_is_that_of_2023():
    rows = [(f, c, a, e) for f, c, _, a, e, _ in sound(ALL, 10)]
    truth = [row[:5] for row in sound(ALL)]
    found = scored((truth, rows), 1, evaluate_distance=False)
    assert found["SELD"] == pytest.approx(10 / 180 / 4)


def test_distances_do_not_decide_who_is_meant():
    # By angle the estimates go to their neighbours, although far wrong.
    truth = sound(ALL, 0, 100) + sound(ALL, 40, 300)
    guess = sound(ALL, 2, 300) + sound(ALL, 42, 100)
    found = scored((truth, guess), 1)
    assert found["LE"] == pytest.approx(2, abs=1e-3)
    assert found["DE"] == pytest.approx(2)
    assert found["RDE"] == pytest.approx((2 + 2 / 3) / 2)
    assert found["F"] == pytest.approx(2 / (2 + 2))  # half are too far


def test_the_back_is_the_front_in_2025():
    rules = {"metric": "dcase2025", "num_classes": 1}
    for truth, guess, error in (
        (30, 150, 0),
        (-170, -5, 5),
        (100, 70, 10),
        (80, 100, 0),
        (-90, 90, 180),
        (0, 180, 0),
    ):
        case = sound(ALL, truth), sound(ALL, guess, elevation=50)
        assert scored(case, **rules)["LE"] == pytest.approx(error)
