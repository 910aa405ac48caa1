"""Errors of room acoustics against closed forms; GCC-PHAT against physics."""

import math

import numpy as np
import pytest
import torch

from spatial_brain.metrics.room_acoustics import (
    BINS,
    TASKS,
    AcousticErrors,
    best_constant,
    find_quantity,
    gcc_phat_tdoa,
    training_mean,
)


def filled(task="DRR", number=400, seed=0, **conditions):
    rng = np.random.default_rng(seed)
    reference = rng.normal(3.0, 4.0, number)
    estimate = 0.5 * reference + rng.normal(1.0, 1.0, number)
    errors = AcousticErrors(task)
    ids = [f"e{k}" for k in range(number)]
    errors.append(ids, estimate, reference, **conditions)
    return errors, reference, estimate


def test_numbers_of_a_hand_made_set():
    errors = AcousticErrors("C50")
    errors.append(["a", "b"], torch.tensor([[1.0], [5.0]]), [2.0, 2.0])
    errors.append(["c"], [2.0], [4.0])
    summary = errors.summarize(num_bootstrap=0)
    assert summary["num_examples"] == len(errors) == 3
    assert summary["mae"] == pytest.approx((1 + 3 + 2) / 3)
    assert summary["median"] == 2.0
    assert summary["rmse"] == pytest.approx(math.sqrt((1 + 9 + 4) / 3))
    assert summary["bias"] == pytest.approx((-1 + 3 - 2) / 3)
    assert "mae_low" not in summary and summary["by"] == {}
    assert errors.rows()[1] == {"id": "b", "reference": 2.0, "estimate": 5.0}
    errors.clear()
    with pytest.raises(ValueError, match="nothing to sum up"):
        errors.summarize()


def test_correlation_is_pearsons_and_undefined_for_a_constant():
    errors, reference, estimate = filled()
    x, y = reference - reference.mean(), estimate - estimate.mean()
    expected = (x * y).sum() / math.sqrt((x**2).sum() * (y**2).sum())
    assert errors.summarize(0)["correlation"] == pytest.approx(expected)
    constant = AcousticErrors("DRR")
    constant.append(list("abc"), training_mean([1.0, 2], 3), [1.0, 2, 3])
    assert "correlation" not in constant.summarize()


def test_interval_agrees_with_the_normal_approximation():
    errors, reference, estimate = filled(number=1000)
    summary = errors.summarize()
    error = np.abs(reference - estimate)
    half = 1.96 * error.std() / math.sqrt(1000)
    assert summary["mae_low"] == pytest.approx(error.mean() - half, abs=0.02)
    assert summary["mae_high"] == pytest.approx(error.mean() + half, abs=0.02)
    assert summary == errors.summarize()  # the draws have a seed


def test_intervals_take_rooms_together():
    # All signals of a room share their error: 10 numbers, not 1000.
    rng = np.random.default_rng(1)
    offsets = rng.normal(0, 1, 10)
    rooms = np.repeat(np.arange(10), 100)
    reference = rng.uniform(0, 1, 1000)
    widths = []
    for conditions in ({"room": rooms}, {}):
        errors = AcousticErrors("T60")
        ids = map(str, range(1000))
        errors.append(ids, reference + offsets[rooms], reference, **conditions)
        summary = errors.summarize()
        widths.append(summary["mae_high"] - summary["mae_low"])
    expected = 2 * 1.96 * np.abs(offsets).std() / math.sqrt(10)
    assert widths[0] == pytest.approx(expected, rel=0.2)
    assert widths[0] > 6 * widths[1]


def test_conditions_make_ranges():
    number = 400
    snr = np.linspace(15, 30, number)
    errors, reference, estimate = filled(snr=snr, distance=[2.0] * number)
    by = errors.summarize(10)["by"]
    assert list(by) == ["snr", "distance"]
    assert sum(part["num_examples"] for part in by["snr"].values()) == number
    assert list(by["snr"]) == [
        "< 18", "18 to 21", "21 to 24", "24 to 27", ">= 27"
    ]  # fmt: skip
    inside = (snr >= 18) & (snr < 21)
    expected = np.abs(reference - estimate)[inside].mean()
    assert by["snr"]["18 to 21"]["mae"] == pytest.approx(expected)
    assert list(by["distance"]) == ["2 to 3"]


def test_a_task_that_is_a_condition_is_broken_down_by_its_labels():
    errors = AcousticErrors("T60", bins={"t60": (0.5,)})
    errors.append(["a", "b"], [0.5, 0.5], [0.4, 1.0])
    by = errors.summarize()["by"]["t60"]
    assert by["< 0.5"]["mae"] == pytest.approx(0.1)
    assert by[">= 0.5"]["mae"] == pytest.approx(0.5)
    assert BINS["t60"] != (0.5,)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (([1.0, 2.0], [1.0, math.nan]), "a, b: reference.*not finite"),
        (([1.0], [1.0, 2.0]), "2 ids for 1 values of estimate"),
        (([[1.0, 2.0]], [1.0, 2.0]), r"estimate must have shape \[example\]"),
    ],
)
def test_bad_values_are_named(values, message):
    with pytest.raises(ValueError, match=message):
        AcousticErrors("T60").append(["a", "b"], *values)
    with pytest.raises(ValueError, match="condition 'snr'"):
        AcousticErrors("T60").append(["a"], [1.0], [1.0], snr=[math.inf])


def test_bad_options_are_refused():
    with pytest.raises(ValueError, match="no task 'EDT'"):
        AcousticErrors("EDT")
    with pytest.raises(ValueError, match="ascend"):
        AcousticErrors("T60", bins={"snr": (2.0, 1.0)})
    with pytest.raises(ValueError, match="no training labels"):
        training_mean([], 3)
    assert find_quantity("ABS").label == "mean absorption"
    assert list(TASKS)[:5] == ["TDOA", "T60", "DRR", "C50", "ABS"]


def test_the_training_mean_is_the_best_constant_in_the_square():
    labels = np.random.default_rng(0).exponential(1.0, 500)
    constant = training_mean(torch.from_numpy(labels), 500)
    assert constant.shape == (500,) and len(set(constant)) == 1
    square = np.mean((labels - constant) ** 2)
    assert square == pytest.approx(labels.var())


def delayed_pairs(delays, num_samples=16000, seed=0):
    """Pairs whose second channel is later by fractions of samples."""
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(
        len(delays), num_samples, generator=generator, dtype=torch.float64
    )
    omega = 2 * math.pi * torch.fft.rfftfreq(num_samples).double()
    turn = torch.exp(-1j * omega * torch.tensor(delays)[:, None].double())
    late = torch.fft.irfft(torch.fft.rfft(noise) * turn, num_samples)
    return torch.stack((noise, late), -1).float()


def test_tdoa_is_exact_to_hundredths_of_a_sample():
    delays = [-4.66, -3.0, -0.04, 0.0, 0.31, 1.57, 4.5]
    found = gcc_phat_tdoa(delayed_pairs(delays), spacing=0.1)
    assert torch.allclose(found, torch.tensor(delays), atol=0.02)


def test_tdoa_has_the_sign_of_the_labels():
    # A source on the side of the first microphone: it reaches the second later.
    microphones = torch.tensor([[-0.05, 0.0, 0.0], [0.05, 0.0, 0.0]])
    source = torch.tensor([-3.0, 1.0, 0.0])
    distance = torch.linalg.vector_norm(microphones - source, dim=-1)
    label = ((distance[1] - distance[0]) / 343 * 16000).item()
    assert label > 3
    found = gcc_phat_tdoa(delayed_pairs([label]), 0.1).item()
    assert found == pytest.approx(label, abs=0.02)


def test_tdoa_stays_within_what_the_spacing_allows():
    pairs = delayed_pairs([9.0, -9.0, 2.0])
    spacing = torch.tensor([0.1, 0.05, 0.3])
    found = gcc_phat_tdoa(pairs, spacing)
    assert (found.abs() <= spacing / 343 * 16000 + 1e-4).all()
    assert found[2].item() == pytest.approx(2.0, abs=0.02)
    # With room enough the true delays are found.
    wide = gcc_phat_tdoa(pairs, 0.3)
    assert torch.allclose(wide, torch.tensor([9.0, -9.0, 2.0]), atol=0.02)


def test_tdoa_of_silence_is_zero_and_bad_pairs_are_refused():
    assert gcc_phat_tdoa(torch.zeros(2, 4000, 2), 0.1).tolist() == [0, 0]
    with pytest.raises(ValueError, match="2 microphones"):
        gcc_phat_tdoa(torch.zeros(1, 4000, 4), 0.1)
    for spacing in (0.0, -0.1, math.nan):
        with pytest.raises(ValueError, match="positive"):
            gcc_phat_tdoa(torch.zeros(1, 4000, 2), spacing)


@pytest.mark.parametrize("number", [1, 2, 7, 50])
def test_no_constant_is_better_than_the_best(number):
    rng = np.random.default_rng(number)
    reference = rng.exponential(size=number)
    error = np.abs(reference - best_constant(reference, number)).mean()
    # Among all that are as good as any: the references themselves.
    others = [np.abs(reference - one).mean() for one in reference]
    grid = np.linspace(-1, reference.max() + 1, 997)
    others += [np.abs(reference - one).mean() for one in grid]
    assert error <= min(others) + 1e-12
    for wrong in ([], [0.1, np.nan]):
        with pytest.raises(ValueError, match=r"no labels|not finite"):
            best_constant(wrong, 3)
