import json
import math
from itertools import permutations

import numpy as np
import pytest
import torch

from spatial_brain.geometry import cone_angle, unit_to_azel
from spatial_brain.metrics.localization import (
    LocalizationErrors,
    WindowErrors,
    best_even_directions,
    chance_directions,
    class_mae,
    localization_mae,
    match_directions,
)


def errors_of(estimate, reference, circular=False):
    """Errors of all sources, [mixture, source], without conditions."""
    errors = LocalizationErrors(circular=circular)
    errors.append(range(len(reference)), estimate, reference)
    return np.array([row["error"] for row in errors.rows()])


def constant_mae(constant, reference):
    """Mean error of the same directions for every mixture."""
    return localization_mae(
        np.broadcast_to(constant, reference.shape), reference
    )


def brute_force(estimate, reference, circular):
    """Smallest sum of errors over all assignments, by definition."""

    def error(a, b):
        if not circular:
            return abs(a - b)
        a, b = math.radians(a), math.radians(b)
        return math.degrees(abs(math.atan2(math.sin(a - b), math.cos(a - b))))

    return min(
        sum(
            error(estimate[p], r) for p, r in zip(order, reference, strict=True)
        )
        for order in permutations(range(len(reference)))
    ) / len(reference)


@pytest.mark.parametrize("circular", [False, True])
@pytest.mark.parametrize("size", [1, 2, 3, 5])
def test_mae_by_brute_force(size, circular):
    generator = np.random.default_rng(size)
    estimate, reference = generator.uniform(-180, 180, (2, 20, size))
    expected = np.mean(
        [
            brute_force(e, r, circular)
            for e, r in zip(estimate, reference, strict=True)
        ]
    )
    found = localization_mae(estimate, torch.tensor(reference), circular)
    assert found == pytest.approx(expected)
    errors = errors_of(estimate, reference, circular)
    assert errors.mean() == pytest.approx(expected)
    if circular:
        assert errors.max() <= 180
    else:
        # In one dimension ascending order is the best assignment.
        ranked = np.abs(np.sort(estimate) - np.sort(reference))
        assert ranked.mean() == pytest.approx(expected)


def test_mae_refuses_bad_values():
    with pytest.raises(ValueError, match="estimate 1 .*nan"):
        localization_mae([[1.0, 2.0], [math.nan, 3.0]], np.zeros((2, 2)))
    with pytest.raises(ValueError, match="reference 0 .*inf"):
        localization_mae([[1.0]], [[math.inf]])
    with pytest.raises(ValueError, match=r"\(2, 3\)"):
        localization_mae(np.zeros((2, 3)), np.zeros((2, 2)))
    with pytest.raises(ValueError, match="at least one row"):
        localization_mae(np.zeros((0, 2)), np.zeros((0, 2)))
    with pytest.raises(ValueError, match=r"\[batch, source\]"):
        localization_mae([1.0], [1.0])


def test_class_mae_is_head_by_head():
    targets = torch.randint(36, (50, 2)).sort(-1).values
    classes = torch.randint(36, (50, 2))
    logits = torch.nn.functional.one_hot(classes, 36).float()
    expected = [
        5
        * sum(abs(int(c) - int(t)) for c, t in zip(column, truth, strict=True))
        / 50
        for column, truth in zip(classes.T, targets.T, strict=True)
    ]
    assert class_mae(logits, targets).tolist() == pytest.approx(expected)
    assert class_mae(classes, targets).tolist() == pytest.approx(expected)
    # A swapped pair is charged in full, unlike after assignment.
    swapped = torch.tensor([[30, 2]])
    assert class_mae(swapped, swapped.flip(1)).tolist() == [140.0, 140.0]
    with pytest.raises(ValueError, match="same"):
        class_mae(classes, targets[:, :1])


def test_chance_is_the_best_constant():
    generator = np.random.default_rng(0)
    reference = generator.uniform(0, 180, (201, 2))
    low, high = chance_directions(reference)
    best = constant_mae((low, high), reference)
    for shift in (-5.0, -0.5, 0.5, 5.0):
        for constant in ((low + shift, high), (low, high + shift)):
            assert constant_mae(constant, reference) >= best


def test_uniform_pairs_at_chance():
    """E|min - median(min)| of two uniform angles, in closed form."""
    reference = np.random.default_rng(1).uniform(0, 180, (20_000, 2))
    low, high = chance_directions(reference)
    assert low == pytest.approx(180 * (1 - math.sqrt(0.5)), abs=2)
    assert high == pytest.approx(180 * math.sqrt(0.5), abs=2)
    # For F(x) = x^2: integral of |x - m| 2x, m = sqrt(1/2).
    expected = 180 * (2 - math.sqrt(2)) / 3
    found = constant_mae((low, high), reference)
    assert found == pytest.approx(expected, abs=0.5)


def test_reference_points_over_random_rooms():
    """Rooms of the public system dual-mic-SSL: oracle 8, chance 44 degrees."""
    generator = np.random.default_rng(0)
    directions = []
    for _ in range(3000):
        room = generator.uniform([3, 3, 2.5], [10, 6, 4])
        centre = generator.uniform([0.55] * 3, room - 0.55)
        pair = []
        while len(pair) < 2:
            offset = generator.uniform([0.5] * 3, room - 0.5) - centre
            if 0.2 <= np.linalg.norm(offset) <= 5.0:
                pair.append(offset)
        directions.append(pair)
    directions = torch.tensor(np.array(directions))
    azimuth = unit_to_azel(directions)[0].abs()
    # A perfect pair observes the cone angle.
    error = (cone_angle(directions) - azimuth).abs().mean().item()
    assert error == pytest.approx(8.2, abs=0.5)
    chance = constant_mae(chance_directions(azimuth), azimuth)
    assert chance == pytest.approx(44.2, abs=1.5)


def collect(num=40, size=2, seed=0):
    generator = np.random.default_rng(seed)
    reference = generator.uniform(0, 180, (num, size))
    estimate = reference[:, ::-1] + generator.normal(0, 8, (num, size))
    t60 = generator.uniform(0.1, 0.9, num)
    distance = generator.uniform(0.3, 4.0, (num, size))
    errors = LocalizationErrors(bins={"sir": (0.0,)})
    names = [f"mix{k}" for k in range(num)]
    half = num // 2
    for part in (slice(0, half), slice(half, num)):
        errors.append(
            names[part],
            torch.tensor(estimate[part].copy()),
            reference[part],
            t60=torch.tensor(t60[part]),
            distance=distance[part],
            room=np.arange(num)[part],
        )
    return errors, estimate, reference, t60, distance


def test_summary_equals_direct_numbers():
    errors, estimate, reference, t60, distance = collect()
    assert len(errors) == 40
    summary = errors.summarize()
    direct = errors_of(estimate, reference)
    assert summary["mae"] == pytest.approx(direct.mean())
    assert summary["median"] == pytest.approx(np.median(direct))
    assert summary["rmse"] == pytest.approx(np.sqrt((direct**2).mean()))
    for limit in (5, 10, 15):
        expected = (direct <= limit).mean()
        assert summary[f"accuracy_{limit}"] == pytest.approx(expected)
    assert (summary["num_mixtures"], summary["num_talkers"]) == (40, 80)
    # By mixture and by source.
    chosen = (t60 >= 0.4) & (t60 < 0.5)
    part = summary["by"]["t60"]["0.4 to 0.5"]
    assert part["mae"] == pytest.approx(direct[chosen].mean())
    assert part["num_mixtures"] == chosen.sum()
    chosen = distance >= 3.0
    part = summary["by"]["distance"][">= 3"]
    assert part["mae"] == pytest.approx(direct[chosen].mean())
    assert part["num_talkers"] == chosen.sum()
    separation = np.abs(reference[:, 0] - reference[:, 1])
    part = summary["by"]["separation"]["< 15"]
    assert part["mae"] == pytest.approx(direct[separation < 15].mean())
    # Without values or without edges: no table.
    assert set(summary["by"]) == {"t60", "distance", "separation"}
    for table in summary["by"].values():
        total = sum(part["num_talkers"] for part in table.values())
        assert total == 80


def test_summary_is_plain_and_reproducible():
    errors = collect()[0]
    summary = errors.summarize()
    assert json.loads(json.dumps(summary, allow_nan=False)) == summary
    assert summary == errors.summarize()
    assert summary != errors.summarize(seed=1)
    assert "mae_low" not in errors.summarize(num_bootstrap=0)


def test_interval_has_the_width_of_theory():
    """For many mixtures it is 1.96 standard errors on either side."""
    generator = np.random.default_rng(0)
    reference = generator.uniform(0, 180, (400, 1))
    error = generator.exponential(5.0, (400, 1))
    errors = LocalizationErrors()
    errors.append(range(400), reference + error, reference)
    summary = errors.summarize(num_bootstrap=4000)
    expected = 2 * 1.96 * error.std() / math.sqrt(400)
    width = summary["mae_high"] - summary["mae_low"]
    assert width == pytest.approx(expected, rel=0.05)
    assert summary["mae_low"] < summary["mae"] < summary["mae_high"]


@pytest.mark.parametrize("size", [2, 3])
def test_rows(size):
    errors, estimate, reference, t60, distance = collect(size=size)
    rows = errors.rows()
    assert json.loads(json.dumps(rows)) == rows
    assert [row["id"] for row in rows] == [f"mix{k}" for k in range(40)]
    direct = errors_of(estimate, reference)
    for k, row in enumerate(rows):
        assert row["reference"] == pytest.approx(reference[k].tolist())
        assert row["error"] == pytest.approx(direct[k].tolist())
        difference = np.abs(np.subtract(row["estimate"], row["reference"]))
        assert difference == pytest.approx(direct[k])
        assert sorted(row["estimate"]) == pytest.approx(sorted(estimate[k]))
        assert row["t60"] == pytest.approx(t60[k])
        assert row["distance"] == pytest.approx(distance[k].tolist())


def test_circular_errors():
    errors = LocalizationErrors(circular=True)
    errors.append(["a"], [[-179.0, 10.0]], [[179.0, 0.0]])
    assert errors.summarize(0)["mae"] == pytest.approx(6.0)
    errors.append(["b"], [[-170.0, 170.0]], [[-175.0, 175.0]])
    assert errors.rows()[1]["separation"] == pytest.approx(10.0)


def test_append_names_the_mixture():
    errors = LocalizationErrors()
    with pytest.raises(ValueError, match="mixtures good, bad: estimate 1"):
        errors.append(["good", "bad"], [[1.0], [math.nan]], [[1.0], [2.0]])
    with pytest.raises(ValueError, match="1 ids for 2"):
        errors.append(["a"], [[1.0], [2.0]], [[1.0], [2.0]])
    with pytest.raises(ValueError, match="'t60'"):
        errors.append(["a"], [[1.0]], [[1.0]], t60=[0.1, 0.2])
    with pytest.raises(ValueError, match="'snr'.*not numbers"):
        errors.append(["a"], [[1.0]], [[1.0]], snr=[math.nan])
    assert len(errors) == 0
    with pytest.raises(ValueError, match="nothing"):
        errors.summarize()
    with pytest.raises(ValueError, match="ascend"):
        LocalizationErrors(bins={"t60": (0.5, 0.3)})


def test_directions_that_are_missing_count_as_guessed():
    errors = match_directions([np.nan, 10.0, 99.0], [12.0, -170.0])
    # Of the first two one is none.
    assert errors.tolist() == [2.0, 90.0]
    errors = match_directions([179.0, 10.0], [12.0, -179.0])
    assert errors.tolist() == [2.0, 2.0]
    assert match_directions([], [5.0, 6.0]).tolist() == [90.0, 90.0]


@pytest.mark.parametrize("number", [1, 2, 3])
def test_best_even_directions_are_the_best_of_all_turns(number):
    rng = np.random.default_rng(number)
    references = rng.uniform(-60, 180, (20, number))
    best = best_even_directions(references)
    apart = np.diff(np.sort(best)) % 360
    assert apart == pytest.approx([360 / number] * (number - 1))

    def error(constant):
        errors = [
            min(
                sum(
                    abs((one - other + 180) % 360 - 180)
                    for one, other in zip(truth, order, strict=True)
                )
                for order in permutations(constant)
            )
            for truth in references
        ]
        return sum(errors)

    spread = np.arange(number) * 360 / number
    least = min(error(turn + spread) for turn in range(-180, 180, 5))
    assert error(best) == pytest.approx(least)
    with pytest.raises(ValueError, match="one of each"):
        best_even_directions(np.zeros((3, 0)))


def test_windows_of_a_recording_are_one_draw():
    errors = WindowErrors({"snr": (10.0,)})
    for name, value, snr in (("a", 1.0, 5.0), ("b", 3.0, 20.0)):
        errors.append(name, [value] * 50, snr=snr, array="line")
    errors.append("silent", [], snr=5.0, array="line")
    summary = errors.summarize()
    assert summary["num_recordings"] == 2 and summary["num_directions"] == 100
    assert summary["mae"] == 2.0 and summary["accuracy_5"] == 1.0
    # As wide as two recordings have it, not a hundred windows.
    assert (summary["mae_low"], summary["mae_high"]) == (1.0, 3.0)
    assert summary["by"]["snr"]["< 10"]["mae"] == 1.0
    assert summary["by"]["array"]["line"]["mae"] == 2.0
    with pytest.raises(ValueError, match="not finite"):
        errors.append("c", [np.nan], snr=1.0, array="line")
