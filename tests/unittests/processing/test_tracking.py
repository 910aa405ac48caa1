"""Tracks of directions: filters checked by linear ones, and scenes."""

import math

import numpy as np
import pytest

from spatial_brain.geometry import azel_to_unit
from spatial_brain.processing.tracking import DirectionTracker

NAN = float("nan")
CONSTANT = {"fading": math.inf, "gate": 50.0}


def wrap(degrees):
    return (np.asarray(degrees) + 180) % 360 - 180


def scene(rng, azimuths, spread=2.0, found=0.9, false=0.0):
    """Noisy peaks [block, peak] of azimuths [source, block], in any order."""
    peaks = azimuths.T + rng.normal(0, spread, azimuths.T.shape)
    peaks[rng.random(peaks.shape) > found] = NAN
    extra = rng.uniform(-180, 180, (len(peaks), 1))
    extra[rng.random(extra.shape) > false] = NAN
    return wrap(rng.permuted(np.hstack((peaks, extra)), axis=1))


def linear_filter(times, measured, noise, agility):
    """Textbook Kalman filter and RTS smoother of an angle on a line."""
    state, cov = np.array([measured[0], 0.0]), np.diag([noise, agility])
    steps = [(state, cov, state, cov, np.eye(2))]
    for step, value in zip(np.diff(times), measured[1:], strict=True):
        f = np.array([[1, step], [0, 1]])
        q = agility * np.array(
            [[step**3 / 3, step**2 / 2], [step**2 / 2, step]]
        )
        before, before_cov = f @ state, f @ cov @ f.T + q
        state, cov = before, before_cov
        if not np.isnan(value):
            gain = cov[:, 0] / (cov[0, 0] + noise)
            state = state + gain * (value - state[0])
            cov = cov - np.outer(gain, cov[0])
        steps.append((state, cov, before, before_cov, f))
    smooth = [state]
    for now, after in zip(steps[-2::-1], steps[::-1], strict=False):
        gain = now[1] @ after[4].T @ np.linalg.inv(after[3])
        smooth.append(now[0] + gain @ (smooth[-1] - after[2]))
    filtered = np.array([step[0][0] for step in steps])
    return filtered, np.array([state[0] for state in smooth[::-1]])


def test_on_a_circle_it_is_the_textbook_filter():
    rng = np.random.default_rng(0)
    times = np.cumsum(rng.uniform(0.05, 0.2, 80))
    truth = 160 + 25 * np.sin(times)
    measured = truth + rng.normal(0, 3, 80)
    measured[10:13] = NAN
    filtered, smooth = linear_filter(times, measured, 9.0, 400.0)
    options = dict(noise=3.0, agility=20.0, confirm=1, **CONSTANT)
    for lag, expected in ((0.0, filtered), (math.inf, smooth)):
        tracks = DirectionTracker(lag=lag, **options)(
            times, wrap(measured)[:, None]
        )
        assert len(tracks) == 1
        assert np.abs(wrap(tracks.azimuth[0] - expected)).max() < 1e-6
    # A lag that sees everything at the first times is the smoother there.
    tracks = DirectionTracker(lag=times[-1], **options)(
        times, wrap(measured)[:, None]
    )
    assert wrap(tracks.azimuth[0] - smooth) == pytest.approx(0, abs=1e-6)
    # One of a second does not see what comes later.
    ahead = DirectionTracker(lag=1.0, **options)
    short = times <= times[40] + 1.0
    whole = ahead(times, wrap(measured)[:, None])
    part = ahead(times[short], wrap(measured)[short, None])
    assert part.azimuth[0, :41] == pytest.approx(whole.azimuth[0, :41])
    error = {
        lag: np.abs(wrap(DirectionTracker(lag=lag, **options)(
            times, wrap(measured)[:, None]).azimuth[0] - truth)).mean()
        for lag in (0.0, 1.0)
    }  # fmt: skip
    assert error[1.0] < error[0.0]


@pytest.mark.parametrize("elevation", [0.0, 60.0, 88.0])
def test_neither_poles_nor_the_back_are_special(elevation):
    # Across the pole, on a great circle: what is smooth there is smooth here.
    times = np.arange(60) * 0.1
    way = np.radians(15 * times - 45)
    tilt = np.radians(elevation)
    # A great circle through (180, elevation), to the pole's side.
    centre = np.array([-np.cos(tilt), 0, np.sin(tilt)])
    side = np.array([np.sin(tilt), 0, np.cos(tilt)])
    unit = np.cos(way)[:, None] * centre + np.sin(way)[:, None] * side
    rng = np.random.default_rng(1)
    noisy = unit + rng.normal(0, 0.03, unit.shape)
    azimuth = np.degrees(np.arctan2(noisy[:, 1], noisy[:, 0]))
    height = np.degrees(np.arcsin(noisy[:, 2] / np.linalg.norm(noisy, axis=1)))
    tracks = DirectionTracker(noise=2.0, lag=math.inf)(
        times, azimuth[:, None], height[:, None]
    )
    assert len(tracks) == 1
    found = azel_to_unit(tracks.azimuth[0], tracks.elevation[0]).numpy()
    error = np.degrees(np.arccos(np.clip((found * unit).sum(-1), -1, 1)))
    assert error.max() < 3.0 and error.mean() < 1.2


def test_crossing_sources_keep_their_tracks():
    rng = np.random.default_rng(2)
    times = np.arange(100) * 0.1
    truth = np.stack((-60 + 12 * times, 60 - 12 * times))
    for lag in (0.0, 0.5, math.inf):
        tracker = DirectionTracker(noise=2.0, agility=5.0, fading=5.0, lag=lag)
        tracks = tracker(times, scene(rng, truth))
        assert len(tracks) == 2
        ends = wrap(tracks.azimuth[:, [5, 95]] - truth[:, [5, 95]])
        if abs(ends[0, 0]) > 60:
            ends = wrap(tracks.azimuth[::-1, [5, 95]] - truth[:, [5, 95]])
        assert np.abs(ends).max() < 6


def test_a_pause_is_bridged_or_ends_the_track():
    times = np.arange(80) * 0.1
    peaks = np.full((80, 1), 170.0) + 4 * times[:, None]
    peaks[30:45] = NAN
    bridged = DirectionTracker(max_gap=2.0)(times, wrap(peaks))
    assert len(bridged) == 1
    assert not np.isnan(bridged.azimuth[0, 3:]).any()
    assert not bridged.active[0, 30:45].any() and bridged.active[0, 45:].all()
    cut = DirectionTracker(max_gap=1.0)(times, wrap(peaks))
    assert len(cut) == 2
    # A causal output cannot know the end before the gap is over.
    assert np.flatnonzero(~np.isnan(cut.azimuth[0]))[-1] == 39
    later = DirectionTracker(max_gap=1.0, lag=math.inf)(times, wrap(peaks))
    assert np.flatnonzero(~np.isnan(later.azimuth[0]))[[0, -1]].tolist() == [
        0,
        29,
    ]
    assert np.flatnonzero(~np.isnan(later.azimuth[1]))[0] == 45


def test_a_track_that_was_lost_does_not_take_the_peaks_of_another():
    times = np.arange(34) * 0.1
    peaks = np.tile([0.0, 24.0], (34, 1))
    peaks[20:, 1] = NAN
    peaks[32, 0] = 8.0
    tracks = DirectionTracker(max_gap=2.0)(times, peaks)
    assert tracks.active[0, 32] and not tracks.active[1, 32]


def test_births_deaths_and_the_delay_of_confirmation():
    times = np.arange(60) * 0.1
    peaks = np.full((60, 2), NAN)
    peaks[5:30, 0], peaks[20:60, 1] = 20.0, -100.0
    causal = DirectionTracker(confirm=3, within=5, max_gap=0.3)(times, peaks)
    assert len(causal) == 2
    shown = [np.flatnonzero(~np.isnan(row)) for row in causal.azimuth]
    assert (shown[0][0], shown[0][-1]) == (7, 32)
    assert (shown[1][0], shown[1][-1]) == (22, 59)
    ahead = DirectionTracker(confirm=3, within=5, max_gap=0.3, lag=0.2)
    shown = np.flatnonzero(~np.isnan(ahead(times, peaks).azimuth[0]))
    assert (shown[0], shown[-1]) == (5, 30)


def test_false_alarms_seldom_become_tracks():
    rng = np.random.default_rng(3)
    times = np.arange(600) * 0.1
    truth = np.stack((30 * np.sin(times / 3), 150 + 5 * times))
    peaks = scene(rng, truth, found=0.8, false=0.5)
    tracks = DirectionTracker(lag=0.5, noise=3.0)(times, peaks)
    length = (~np.isnan(tracks.azimuth)).sum(1)
    assert (length > 550).sum() == 2
    assert length.sum() - length[length > 550].sum() < 60
    loose = DirectionTracker(lag=0.5, noise=3.0, confirm=1, within=1)
    assert len(loose(times, peaks)) > 5 * len(tracks)


def test_weak_peaks_continue_but_start_nothing():
    times = np.arange(40) * 0.1
    peaks = np.tile([10.0, -90.0], (40, 1))
    confidence = np.tile([0.3, 0.3], (40, 1))
    confidence[:10, 0] = 0.9
    tracks = DirectionTracker(birth_confidence=0.5, min_confidence=0.2)(
        times, peaks, confidence=confidence
    )
    assert len(tracks) == 1 and tracks.active[0, 2:].all()
    tracks = DirectionTracker(birth_confidence=0.5, min_confidence=0.4)(
        times, peaks, confidence=confidence
    )
    assert tracks.active[0].sum() == 8


def test_causal_means_that_the_future_changes_nothing():
    rng = np.random.default_rng(4)
    times = np.arange(120) * 0.1
    truth = np.stack((20 * times, 90 - 10 * times))
    peaks = scene(rng, truth, found=0.7, false=0.4)
    tracker = DirectionTracker()
    whole, part = tracker(times, peaks), tracker(times[:70], peaks[:70])
    later = [row for row in whole.azimuth[:, :70] if not np.isnan(row).all()]
    assert np.array_equal(later, part.azimuth, equal_nan=True)


def test_nothing_and_bad_input():
    times = np.arange(5) * 0.1
    assert len(DirectionTracker()(times, np.full((5, 2), NAN))) == 0
    assert len(DirectionTracker()([], np.zeros((0, 2)))) == 0
    with pytest.raises(ValueError, match=r"azimuth must be \[block, peak\]"):
        DirectionTracker()(times, np.zeros(5))
    with pytest.raises(ValueError, match="confidence must be"):
        DirectionTracker()(times, np.zeros((5, 1)), confidence=np.ones((4, 1)))
    with pytest.raises(ValueError, match="ascend"):
        DirectionTracker()(times[::-1], np.zeros((5, 1)))
    with pytest.raises(ValueError, match="some have none"):
        DirectionTracker()(times, np.zeros((5, 1)), [[0.0]] * 3 + [[NAN]] * 2)
    for options in ({"noise": 0}, {"confirm": 6}, {"lag": -1.0}):
        with pytest.raises(ValueError, match=next(iter(options))):
            DirectionTracker(**options)


def test_live_tracks_are_those_without_lag():
    random = np.random.default_rng(0)
    times = np.arange(120) * 0.1
    azimuth = np.stack((10.0 + 2 * times, np.full(120, -90.0)), 1)
    azimuth += random.normal(0, 2, azimuth.shape)
    azimuth[random.random(azimuth.shape) < 0.3] = np.nan
    azimuth[60:90, 1] = np.nan
    sure = random.random(azimuth.shape)
    tracker = DirectionTracker(
        min_confidence=0.2, birth_confidence=0.4, max_gap=0.5
    )
    segments = tracker.segments(times, azimuth, None, sure)
    wanted = sorted(
        (block, azimuth, active)
        for one in segments
        for block, azimuth, active in zip(
            one.blocks, one.azimuth, one.active, strict=True
        )
    )
    live, found = tracker.live(), []
    for block, time in enumerate(times):
        for point in live.push(time, azimuth[block], None, sure[block]):
            angle = np.degrees(np.arctan2(point.unit[1], point.unit[0]))
            found.append((block, angle, point.detected))
    np.testing.assert_allclose(sorted(found), wanted, atol=1e-9)
    assert len(segments) > 2
