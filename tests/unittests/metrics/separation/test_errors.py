"""Separation scores against closed forms, brute force, and the original."""

import csv
import sys
from itertools import permutations
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from spatial_brain.metrics.separation.errors import SeparationErrors
from spatial_brain.metrics.separation.interaural import compat_snr
from spatial_brain.metrics.separation.signals import (
    best_permutation,
    perceptual_score,
    sdr,
    si_snr,
    snr,
)

FS = 8000


def mixture_of(sources, seed=0, time=4000, noise=0.1):
    """Estimate in another order, reference and mixture of one batch."""
    generator = torch.Generator().manual_seed(seed)
    reference = torch.randn(1, time, 2, sources, generator=generator)
    reference = reference * torch.linspace(1, 0.5, 2)[:, None]
    order = torch.randperm(sources, generator=generator)
    estimate = reference[..., order]
    rest = torch.randn(reference.shape, generator=generator)
    return estimate + noise * rest, reference, reference.sum(-1), order


def test_compat_snr_is_the_published_value():
    t = np.arange(800)
    first = np.stack((np.sin(0.1 * t), 0.5 * np.sin(0.1 * t - 0.2)), 1)
    second = np.stack((np.cos(0.23 * t), 1.5 * np.cos(0.23 * t + 0.4)), 1)
    reference = np.stack((first, second), 2)
    estimate = np.stack(
        (0.9 * second + 0.1 * first + 0.05, 0.8 * first - 0.2 * second), 2
    )
    assert compat_snr(estimate, reference) == pytest.approx(12.867254601)
    order = best_permutation(estimate, reference)
    assert order.tolist() == [1, 0]
    assert snr(estimate[..., order], reference).mean() == pytest.approx(
        12.867254601, abs=1e-6
    )
    # An order of its own for the worst estimate, too, and a silent source.
    assert compat_snr(0 * reference, 0 * reference) == pytest.approx(-80)


@pytest.mark.parametrize("sources", [1, 2, 3, 4])
def test_permutation_is_the_best_of_all(sources):
    rng = np.random.default_rng(sources)
    for _ in range(6):
        reference = rng.standard_normal((300, 2, sources))
        mixing = rng.standard_normal((sources, sources))
        estimate = reference @ mixing + rng.standard_normal(reference.shape)
        scores = {
            order: snr(estimate[..., list(order)], reference).mean()
            for order in permutations(range(sources))
        }
        best = max(scores, key=scores.get)
        assert tuple(best_permutation(estimate, reference)) == best
        assert compat_snr(estimate, reference) == pytest.approx(
            scores[best], abs=1e-6
        )


def test_many_sources_are_put_in_order():
    reference = np.random.default_rng(0).standard_normal((200, 2, 12))
    order = np.random.default_rng(1).permutation(12)
    found = best_permutation(reference[..., order], reference)
    assert found.tolist() == np.argsort(order).tolist()


def test_one_order_for_both_ears():
    # The right ear alone would choose the other order.
    rng = np.random.default_rng(0)
    reference = rng.standard_normal((400, 2, 2))
    estimate = reference + 0.1 * rng.standard_normal(reference.shape)
    estimate[:, 1] = reference[:, 1, ::-1] * 0.6 + 0.3 * rng.standard_normal(
        (400, 2)
    )
    assert snr(estimate[:, 1, ::-1], reference[:, 1]).mean() > 5
    assert best_permutation(estimate, reference).tolist() == [0, 1]


def test_silent_reference_takes_what_is_left():
    reference = np.random.default_rng(0).standard_normal((300, 2, 3))
    estimate = reference[..., [2, 1, 0]].copy()
    reference[..., 1] = 0
    assert best_permutation(estimate, reference).tolist() == [2, 1, 0]
    assert np.isnan(snr(estimate, reference)[:, 1]).all()
    assert np.isnan(si_snr(estimate, reference)[:, 1]).all()
    assert np.isnan(sdr(estimate, reference)[:, 1]).all()
    silence = np.zeros_like(estimate)
    assert snr(silence, estimate) == pytest.approx(0, abs=1e-9)
    assert np.isnan(si_snr(silence, estimate)).all()


def test_perfect_estimates_stay_finite():
    reference = np.random.default_rng(0).standard_normal((2000, 2))
    assert snr(reference, reference).tolist() == [100, 100]
    assert si_snr(3 * reference, reference) == pytest.approx([100, 100])
    assert (sdr(reference, reference) > 80).all()


def test_si_snr_forgives_levels_and_snr_does_not():
    rng = np.random.default_rng(0)
    reference = rng.standard_normal((5000, 2))
    noise = rng.standard_normal((5000, 2))
    reference, noise = (
        signal - signal.mean(0) for signal in (reference, noise)
    )
    noise -= reference * (noise * reference).sum(0) / (reference**2).sum(0)
    noise *= 0.1 * np.linalg.norm(reference, axis=0) / np.linalg.norm(noise)
    expected = 20 * np.log10(
        np.linalg.norm(reference, axis=0) / np.linalg.norm(noise, axis=0)
    )
    for gain in (0.2, 1.0, -3.0):
        found = si_snr(gain * (reference + noise) + 0.7, reference)
        assert found == pytest.approx(expected)
    assert snr(reference + noise + 0.7, reference) == pytest.approx(expected)
    assert snr(0.5 * reference, reference) == pytest.approx(20 * np.log10(2))


def test_sdr_is_the_least_squares_projection():
    rng = np.random.default_rng(0)
    taps, time = 8, 200
    reference = rng.standard_normal(time)
    estimate = np.convolve(reference, [0.5, 0, -0.3])[:time]
    estimate += 0.2 * rng.standard_normal(time)
    delayed = np.zeros((time + taps - 1, taps))
    for k in range(taps):
        delayed[k : k + time, k] = reference
    padded = np.append(estimate, np.zeros(taps - 1))
    weights = np.linalg.lstsq(delayed, padded, rcond=None)[0]
    target = delayed @ weights
    expected = 10 * np.log10((target**2).sum() / ((padded - target) ** 2).sum())
    assert sdr(estimate, reference, taps) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("sources", [2, 3])
def test_rows_hold_improvements_in_one_order(sources):
    estimate, reference, mixture, order = mixture_of(sources)
    errors = SeparationErrors(FS)
    errors.append(["a"], estimate, reference, mixture)
    row = errors.rows()[0]
    back = torch.argsort(order)
    assert row["permutation"] == back.tolist()
    found, truth = estimate[0][..., back].numpy(), reference[0].numpy()
    stacked = np.repeat(mixture[0][..., None].numpy(), sources, axis=2)
    for name, function in (("snr", snr), ("si_snr", si_snr), ("sdr", sdr)):
        after, before = function(found, truth), function(stacked, truth)
        assert row[name] == pytest.approx(after.mean(0), abs=1e-4)
        assert row[f"mixture_{name}"] == pytest.approx(before.mean(0), abs=1e-4)
        assert row[f"{name}_i"] == pytest.approx(
            (after - before).mean(0), abs=1e-4
        )
        assert row[f"{name}_i_left"] == pytest.approx(
            (after - before)[0], abs=1e-4
        )
    assert row["snr"] == pytest.approx([17.4] * sources, abs=3)
    assert row["compat_snr"] == pytest.approx(np.mean(row["snr"]), abs=1e-5)
    assert row["compat_snr_i"] == pytest.approx(np.mean(row["snr_i"]), abs=1e-4)


def test_mixture_is_its_own_baseline():
    _, reference, mixture, _ = mixture_of(2)
    errors = SeparationErrors(FS)
    same = mixture[..., None].expand_as(reference)
    errors.append(["a"], same, reference, mixture)
    row, summary = errors.rows()[0], errors.summarize(num_bootstrap=0)
    for name in ("snr", "si_snr", "sdr"):
        assert row[f"{name}_i"] == [0, 0]
        assert summary[name] == summary["mixture"][name]
    assert summary["itd_error"] == summary["mixture"]["itd_error"]
    assert summary["ild_error"] == summary["mixture"]["ild_error"]
    bands = summary["ild_error_by_band"]
    assert bands["estimate"] == bands["mixture"] and len(
        bands["frequency"]
    ) == len(bands["mixture"])


def test_summary_by_angle_and_text_adds_up():
    errors = SeparationErrors(FS, sdr=False)
    azimuths = [[30, 60], [-170, 175], [0, 90], [20, -25]]
    for k, pair in enumerate(azimuths):
        estimate, reference, mixture, _ = mixture_of(2, k, noise=0.05 + 0.1 * k)
        errors.append(
            [f"m{k}"],
            estimate,
            reference,
            mixture,
            azimuths=[pair],
            listener=["one" if k else "two"],
            t60=torch.tensor([0.5]),
            level=[k],
        )
    summary = errors.summarize(num_bootstrap=50)
    assert [row["angle"] for row in errors.rows()] == [30, 15, 90, 45]
    # The edges belong to the range above them.
    by = summary["by"]
    assert {k: v["num_mixtures"] for k, v in by["angle"].items()} == {
        "15 to 30": 1,
        "30 to 60": 2,
        ">= 90": 1,
    }
    assert set(by) == {"angle", "listener", "t60"}
    assert by["listener"]["one"]["num_talkers"] == 6
    for key in ("snr_i", "itd_error", "ild_error"):
        parts = by["listener"].values()
        weighted = sum(part[key] * part["num_talkers"] for part in parts) / 8
        assert summary[key] == pytest.approx(weighted)
        assert summary[f"{key}_low"] <= summary[key] <= summary[f"{key}_high"]
    assert summary == errors.summarize(num_bootstrap=50)
    assert summary != errors.summarize(num_bootstrap=50, seed=1)
    assert summary["mixture"]["snr"] < 1 < summary["snr"]
    assert "sdr" not in summary


def test_elevations_count_for_the_angle():
    errors = SeparationErrors(FS, sdr=False)
    estimate, reference, mixture, _ = mixture_of(3)
    errors.append(
        ["a"],
        estimate,
        reference,
        mixture,
        azimuths=[[0, 0, 90]],
        elevations=[[0, 40, 0]],
    )
    assert errors.rows()[0]["angle"] == pytest.approx(40)


def test_intervals_cover_the_mean_of_many():
    errors = SeparationErrors(FS, sdr=False)
    for k in range(12):
        estimate, reference, mixture, _ = mixture_of(
            2, k, 600, noise=10 ** (-k / 12)
        )
        errors.append([str(k)], estimate, reference, mixture)
    summary = errors.summarize(num_bootstrap=500)
    means = [np.mean(row["snr"]) for row in errors.rows()]
    half = (summary["snr_high"] - summary["snr_low"]) / 2
    assert half == pytest.approx(1.96 * np.std(means) / 12**0.5, rel=0.15)


def test_silence_is_counted_and_written_as_missing(tmp_path):
    estimate, reference, mixture, order = mixture_of(2)
    errors = SeparationErrors(FS)
    errors.append(["whole"], estimate, reference, mixture)
    estimate[..., 0] = 0
    errors.append(["half"], estimate, reference, mixture)
    summary = errors.summarize(num_bootstrap=10)
    # A silent estimate has an SNR of about 0 dB, but no cues.
    assert [row["silent_ears"] for row in errors.rows()] == [0, 2]
    assert summary["compat"]["silent"] == 1
    assert summary["missing"]["itd_error"] == 1
    assert summary["missing"]["si_snr"] == summary["missing"]["sdr"] == 1
    assert "snr" not in summary["missing"]
    assert summary["mixture"]["missing"] == {}
    assert np.isfinite(summary["itd_error"])
    path = errors.write_csv(tmp_path / "folder" / "results.csv")
    with open(path, newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["id"] for row in rows] == ["whole", "half"]
    assert rows[0]["missing"] == "0" and int(rows[1]["missing"]) > 2
    silent = order[0].item() + 1
    assert rows[1][f"itd_error_{silent}"] == ""
    assert float(rows[1]["itd_error"]) == float(
        rows[1][f"itd_error_{3 - silent}"]
    )
    assert {"snr_i", "si_snr_i", "compat_delta_ITD"} <= rows[0].keys()
    assert len(list(path.parent.iterdir())) == 1


def test_padding_does_not_count():
    estimate, reference, mixture, _ = mixture_of(2)
    errors = SeparationErrors(FS)
    errors.append(["a"], estimate, reference, mixture)
    signals = [
        torch.cat((signal, torch.randn(1, 1000, *signal.shape[2:])), dim=1)
        for signal in (estimate, reference, mixture)
    ]
    errors.append(["a"], *signals, lengths=[0.8])
    alone, padded = errors.rows()
    assert alone == padded


@pytest.mark.parametrize(
    "change, message",
    [
        ({"mixture": torch.zeros(1, 4000, 2, 2)}, "mixture .batch, time, 2."),
        ({"ids": ["bad one", "b"]}, "2 ids for 1"),
        ({"estimate": torch.full((1, 4000, 2, 2), torch.inf)}, "not finite"),
        ({"azimuths": [[1.0], [2.0]]}, "must be .1, source."),
        ({"t60": [0.1, 0.2]}, "t60"),
    ],
)
def test_bad_mixtures_are_named(change, message):
    estimate, reference, mixture, _ = mixture_of(2)
    arguments = {
        "ids": ["bad one"],
        "estimate": estimate,
        "reference": reference,
        "mixture": mixture,
        **change,
    }
    errors = SeparationErrors(FS)
    with pytest.raises(ValueError, match=message) as caught:
        errors.append(**arguments)
    assert "bad one" in str(caught.value)
    assert len(errors) == 0
    with pytest.raises(ValueError, match="nothing to sum up"):
        errors.summarize()
    with pytest.raises(ValueError, match="cannot be called snr"):
        errors.append(["a"], estimate, reference, mixture, snr=[0.1])
    assert len(errors) == 0


def test_perceptual_metrics_need_their_libraries(monkeypatch):
    monkeypatch.setitem(sys.modules, "pystoi", None)
    with pytest.raises(ImportError, match="pip install pystoi"):
        SeparationErrors(FS, perceptual=["stoi"])
    with pytest.raises(ValueError, match="no metric 'mos'"):
        SeparationErrors(FS, perceptual=["mos"])


def test_perceptual_metrics_reach_rows_and_summary(monkeypatch):
    def stoi(wanted, found, fs, extended):
        assert fs == FS and not extended
        return float(np.corrcoef(wanted, found)[0, 1])

    monkeypatch.setitem(sys.modules, "pystoi", SimpleNamespace(stoi=stoi))
    estimate, reference, mixture, _ = mixture_of(2)
    errors = SeparationErrors(FS, sdr=False, perceptual=["stoi"])
    errors.append(["a"], estimate, reference, mixture)
    summary = errors.summarize(num_bootstrap=0)
    assert summary["stoi"] > 0.95 > summary["mixture"]["stoi"]
    assert summary["stoi_i"] == pytest.approx(
        summary["stoi"] - summary["mixture"]["stoi"]
    )


def test_pesq_at_its_rates(monkeypatch):
    class NoSpeech(Exception):
        pass

    def pesq(fs, wanted, found, mode):
        if not found[0]:
            raise NoSpeech
        return {"nb": 1.0, "wb": 2.0}[mode]

    library = SimpleNamespace(
        pesq=pesq, NoUtterancesError=NoSpeech, BufferTooShortError=NoSpeech
    )
    monkeypatch.setitem(sys.modules, "pesq", library)
    estimate = np.ones((100, 3))
    estimate[0, 1] = estimate[:, 2] = 0
    for fs, score in ((8000, 1.0), (16000, 2.0)):
        found = perceptual_score("pesq", estimate, np.ones((100, 3)), fs)
        np.testing.assert_equal(found, [score, np.nan, np.nan])
    with pytest.raises(ValueError, match="8000 and 16000"):
        perceptual_score("pesq", estimate, estimate, 44100)
