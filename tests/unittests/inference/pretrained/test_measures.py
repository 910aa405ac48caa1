"""Figures of a test become measures, whose intervals fit their values."""

import math

from spatial_brain.inference.pretrained.measures import (
    acoustic_measures,
    direction_measures,
    event_measures,
    separation_measures,
)


def test_acoustics_stand_beside_the_best_constant():
    network = {"mae": 0.2, "mae_low": 0.1, "mae_high": 0.3, "correlation": 0.5}
    methods = {"network": network, "best_constant": {"mae": 0.25}}
    [error] = acoustic_measures(methods, "s")
    assert error.to_dict() == {
        "name": "mean absolute error",
        "value": 0.2,
        "unit": "s",
        "low": 0.1,
        "high": 0.3,
        "constant": 0.25,
        "constant_name": "best constant",
        "correlation": 0.5,
        "better": "lower",
    }
    assert error.beats_constant is False


def test_directions():
    [error] = direction_measures({"mae": 5.0}, {"mae": 30.0})
    assert (error.value, error.constant, error.low) == (5.0, 30.0, None)
    assert direction_measures({"mae": 5.0})[0].beats_constant is None


def test_separation_stands_beside_the_mixture():
    summary = {
        "snr_i": -1.0,
        "si_snr_i": math.nan,
        "itd_error": 20.0,
        "mixture": {"itd_error": 80.0, "snr": 1.0},
    }
    gain, itd = separation_measures(summary)
    assert (gain.constant, gain.beats_constant) == (0.0, False)
    assert (itd.constant, itd.unit, itd.beats_constant) == (80.0, "µs", True)


def test_events_without_a_score_are_left_out():
    network = {
        "F": 0.5,
        "LE": math.nan,
        "LR": None,
        "SELD": 0.4,
        "intervals": {"F": [0.4, math.nan], "SELD": [0.3, 0.5]},
    }
    f_score, seld = event_measures(network, {"F": 0.0, "SELD": 0.6})
    assert (f_score.value, f_score.low, f_score.high) == (50.0, 40.0, None)
    assert f_score.beats_constant and seld.beats_constant
    assert (seld.low, seld.high, seld.constant) == (0.3, 0.5, 0.6)
