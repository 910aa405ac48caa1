"""update, compute and reset: the same for all that collects a test set."""

import copy

import numpy as np
import pytest

from spatial_brain.metrics import (
    AcousticErrors,
    LocalizationErrors,
    Metric,
    SELDScores,
    SeparationErrors,
    TrackingErrors,
)
from spatial_brain.processing.tracks import DirectionTracks


def acoustic_batch(seed):
    rng = np.random.default_rng(seed)
    truth = rng.uniform(0.2, 1, 4)
    return ([f"{seed}-{k}" for k in range(4)], truth + 0.1, truth)


def direction_batch(seed):
    rng = np.random.default_rng(seed)
    truth = rng.uniform(0, 180, (3, 2))
    return ([f"{seed}-{k}" for k in range(3)], truth + 5, truth)


def seld_clip(seed):
    rng = np.random.default_rng(seed)
    rows = [(k, int(rng.integers(2)), 10.0 * k, 0.0) for k in range(30)]
    return rows, [(f, c, a + 15 * (f % 3), e) for f, c, a, e in rows]


def separated(seed):
    rng = np.random.default_rng(seed)
    sources = rng.standard_normal((1, 800, 2, 2))
    noise = 0.3 * rng.standard_normal(sources.shape)
    return ([str(seed)], sources + noise, sources, sources.sum(-1))


def tracks(seed):
    times = np.arange(6) * 0.1
    truth = DirectionTracks(times, [[20.0 + seed] * 6], active=[[1] * 6])
    return (str(seed), truth, DirectionTracks(times, [[25.0] * 6]))


METRICS = {
    "acoustics": (lambda: AcousticErrors("T60"), acoustic_batch),
    "localization": (LocalizationErrors, direction_batch),
    "seld": (lambda: SELDScores(2), seld_clip),
    "separation": (lambda: SeparationErrors(8000, sdr=False), separated),
    "tracking": (TrackingErrors, tracks),
}


@pytest.mark.parametrize("name", METRICS)
def test_update_compute_and_reset(name):
    make, batch = METRICS[name]
    metric, again = make(), make()
    assert isinstance(metric, Metric)
    for seed in range(3):
        metric.update(*batch(seed))
        again.append(*batch(seed))
    found = copy.deepcopy(metric.compute())
    # Neither what is computed nor a caller who changes it has an effect.
    metric.compute().clear()
    np.testing.assert_equal(metric.compute(), found)
    np.testing.assert_equal(again.compute(), found)
    number = len(metric)
    # More can be added afterwards, and changes the result.
    metric.update(*batch(3))
    more = metric.compute()
    assert len(metric) > number and str(more) != str(found)
    metric.reset()
    assert len(metric) == 0
    for seed in range(3):
        metric.update(*batch(seed))
    np.testing.assert_equal(metric.compute(), found)
    metric.clear()
    metric.append(*batch(3))
    again.reset()
    again.update(*batch(3))
    np.testing.assert_equal(metric.compute(), again.compute())


@pytest.mark.parametrize("name", sorted(set(METRICS) - {"seld"}))
def test_compute_is_the_summary(name):
    make, batch = METRICS[name]
    metric = make()
    metric.update(*batch(0))
    metric.update(*batch(1))
    for options in ({}, {"num_bootstrap": 0}, {"num_bootstrap": 9, "seed": 3}):
        np.testing.assert_equal(
            metric.compute(**options), metric.summarize(**options)
        )


@pytest.mark.parametrize("name", ["localization", "separation", "tracking"])
def test_a_single_item_has_no_interval(name):
    make, batch = METRICS[name]
    metric = make()
    arguments = batch(0)
    if name == "localization":
        arguments = [part[:1] for part in arguments]
    metric.update(*arguments)
    assert not [key for key in metric.compute() if key.endswith("_low")]
    metric.update(*batch(1))
    assert [key for key in metric.compute() if key.endswith("_low")]
