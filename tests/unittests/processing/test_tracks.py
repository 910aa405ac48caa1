"""Directions of several tracks over time."""

import numpy as np
import pytest

from spatial_brain.geometry import azel_to_unit
from spatial_brain.processing.tracks import DirectionTracks

NAN = float("nan")


def test_between_its_times_a_track_follows_great_circles():
    tracks = DirectionTracks([0.0, 1.0], [[0.0, 90.0]], [[0.0, 60.0]])
    middle = tracks.at([0.25, 0.5])
    ends = azel_to_unit(tracks.azimuth[0], tracks.elevation[0]).numpy()
    sum_ = ends.sum(0)
    expected = sum_ / np.linalg.norm(sum_)
    found = azel_to_unit(middle.azimuth[0], middle.elevation[0]).numpy()
    assert found[1] == pytest.approx(expected, abs=1e-9)
    whole = np.arccos(ends[0] @ ends[1])
    assert np.arccos(ends[0] @ found[0]) == pytest.approx(whole / 4)


def test_azimuths_wrap_and_unknown_elevations_stay_unknown():
    tracks = DirectionTracks([0.0, 1.0], [[170.0, -170.0]])
    middle = tracks.at([0.25, 0.5, 0.75])
    assert middle.azimuth[0] == pytest.approx([175, -180, -175])
    assert np.isnan(middle.elevation).all()


def test_absent_stretches_stay_absent():
    times = np.arange(6.0)
    tracks = DirectionTracks(
        times, [[0.0, 10.0, NAN, NAN, 40.0, 50.0], [NAN] * 6]
    )
    other = tracks.at([0.5, 1.25, 1.75, 2.5, 3.75, 4.5, 5.4, 5.6])
    expected = [5, 10, NAN, NAN, 40, 45, 50, NAN]
    assert other.azimuth[0] == pytest.approx(expected, nan_ok=True)
    assert np.isnan(other.azimuth[1]).all()
    assert other.active[0].tolist() == [~np.isnan(v) for v in expected]
    wide = tracks.at([-3.0, 2.4], reach=5.0)
    assert wide.azimuth[0] == pytest.approx([0.0, 10.0])


def test_its_own_times_change_nothing():
    rng = np.random.default_rng(0)
    times = np.cumsum(rng.uniform(0.1, 0.2, 30))
    azimuth = rng.uniform(-180, 180, (3, 30))
    azimuth[rng.random((3, 30)) < 0.3] = NAN
    active = ~np.isnan(azimuth) & (rng.random((3, 30)) < 0.5)
    tracks = DirectionTracks(times, azimuth, azimuth / 3, active, list("abc"))
    same = tracks.at(times)
    assert same.azimuth == pytest.approx(azimuth, abs=1e-6, nan_ok=True)
    assert same.elevation == pytest.approx(azimuth / 3, abs=1e-6, nan_ok=True)
    assert np.array_equal(same.active, active)
    assert same.names == ("a", "b", "c")


def test_no_tracks_and_bad_ones():
    assert DirectionTracks([0.0, 1.0], []).at([0.5]).azimuth.shape == (0, 1)
    with pytest.raises(ValueError, match="ascending"):
        DirectionTracks([1.0, 0.0], [[0.0, 0.0]])
    with pytest.raises(ValueError, match="elevation of 1 tracks at 2 times"):
        DirectionTracks([0.0, 1.0], [[0.0, 0.0]], [[0.0]])
    with pytest.raises(ValueError, match="track x is active at 1 s"):
        DirectionTracks([0.0, 1.0], [[0.0, NAN]], None, [[1, 1]], ["x"])
