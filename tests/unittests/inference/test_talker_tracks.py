"""Talkers over time: kept apart, joined again, and confirmed."""

import numpy as np
import pytest

from spatial_brain.inference.localization import Localization
from spatial_brain.inference.talker_tracks import (
    confirmed_talkers,
    follow_talkers,
)

NONE = np.nan


def test_tracking_bridges_silence_and_keeps_confidence_with_its_talker():
    degrees = np.array([[100.0, 50], [0, 0], [55, 98], [97, 60]])
    confidence = np.array([[0.1, 0.9], [0, 0], [0.9, 0.1], [0.1, 0.9]])
    degrees[1] = np.nan
    tracks, sure = follow_talkers(degrees, confidence, "cone")
    assert tracks[[0, 2, 3]].tolist() == [[50, 100], [55, 98], [60, 97]]
    assert np.isnan(tracks[1]).all()
    assert sure[[0, 2, 3], 0].tolist() == [0.9, 0.9, 0.9]
    nothing = follow_talkers(degrees * np.nan, confidence, "cone")
    assert np.isnan(nothing[0]).all()


def test_tracks_all_around_cross_the_back():
    degrees = np.array([[178.0, 20.0], [22.0, -179.0], [-176.0, 18.0]])
    ones = np.ones((3, 2))
    tracks, _ = follow_talkers(degrees, ones, "full_azimuth")
    assert tracks.T.tolist() == [[178.0, -179.0, -176.0], [20.0, 22.0, 18.0]]
    found = Localization(
        "a.wav",
        "full_azimuth",
        3.0,
        np.arange(3.0),
        np.arange(1, 4.0),
        tracks,
        ones,
    )
    behind, front = found.talkers
    assert behind["direction"] == pytest.approx(-179.0)
    assert behind["spread"] == pytest.approx(3.0)
    assert front["direction"] == pytest.approx(20.0)
    assert found.limits == (-180.0, 180.0)
    assert "counter-clockwise" in found.to_dict()["meaning"]


def test_talkers_who_speak_in_turn_are_two():
    degrees = np.array([[40.0, NONE]] * 4 + [[110.0, NONE]] * 4)
    degrees[4:6, 1] = [41.0, 40.0]
    tracks, _ = follow_talkers(degrees, np.ones_like(degrees), "cone")
    assert tracks[:4, 0].tolist() == [40.0] * 4
    assert tracks[4:6, 0].tolist() == [41.0, 40.0]
    assert np.isnan(tracks[:4, 1]).all() and (tracks[4:, 1] == 110).all()


def test_what_moves_a_little_stays_the_same_talker():
    degrees = np.stack((np.linspace(40.0, 75.0, 8), np.full(8, NONE)), 1)
    tracks, sure = follow_talkers(degrees, np.ones_like(degrees), "cone")
    assert confirmed_talkers(tracks, sure).tolist() == [True, False]
    assert np.isnan(tracks[:, 1]).all()


def test_errors_of_single_windows_are_no_talkers():
    tracks = np.array([[40.0, NONE, 90.0]] * 6)
    tracks[[1, 4], 1] = 140.0
    sure = np.where(np.isnan(tracks), NONE, [0.9, 0.9, 0.45])
    assert confirmed_talkers(tracks, sure).tolist() == [True, False, False]
    # Of two windows one may be all that there is of a talker.
    assert confirmed_talkers(tracks[:2], sure[:2]).tolist() == [
        True,
        True,
        False,
    ]
