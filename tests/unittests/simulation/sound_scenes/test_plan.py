"""Drawing of sound scenes: layers, rooms, paths."""

import numpy as np
import pytest
import torch

from spatial_brain.geometry import (
    angular_distance,
)
from spatial_brain.simulation.sound_scenes.plan import (
    _Box,
    _draw_path,
    draw_scene,
)


def rng(seed=0):
    return np.random.default_rng(seed)


class TestDrawing:
    def test_layers(self):
        for seed in range(6):
            plan = draw_scene(rng(seed), 5, duration=30.0, max_overlap=3)
            busy = np.zeros(300, int)
            for event in plan.events:
                first, count = event.onset * 10, event.duration * 10
                assert abs(first - round(first)) < 1e-6
                assert abs(count - round(count)) < 1e-6
                busy[round(first) : round(first + count)] += 1
            assert busy.max() <= 3
            # Each layer sounds for 65 % of the time or a little less.
            assert 0.85 * 0.65 * 900 < busy.sum() <= 0.65 * 900 + 1e-9
            onsets = [event.onset for event in plan.events]
            assert onsets == sorted(onsets)
            assert {event.label for event in plan.events} <= set(range(5))

    def test_gaps_of_a_layer(self):
        plan = draw_scene(rng(1), 4, duration=60.0, max_overlap=1, min_gap=0.7)
        stops = [e.onset + e.duration for e in plan.events]
        starts = [e.onset for e in plan.events]
        gaps = np.subtract(starts[1:], stops[:-1])
        assert len(gaps) > 5 and gaps.min() > 0.7 - 1e-9
        assert stops[-1] <= 60.0 + 1e-9

    def test_places(self):
        shares = []
        for seed in range(40):
            plan = draw_scene(rng(seed), 3, duration=20.0)
            size, center = np.array(plan.room_size), np.array(plan.center)
            shares.append(center / size)
            for event in plan.events:
                offset = np.linalg.norm(event.points - center, axis=1)
                assert offset.min() >= 0.7 - 1e-9
                assert event.points.min() >= 0.5 - 1e-9
                assert (size - event.points).min() >= 0.5 - 1e-9
        shares = np.array(shares)
        assert 0.4 <= shares.min() and shares.max() <= 0.6
        # Drawn per axis, not one number for all.
        assert np.abs(np.corrcoef(shares.T)[np.triu_indices(3, 1)]).max() < 0.5

    def test_same_state_same_scene(self):
        one, two, other = (
            draw_scene(rng(s), 3, duration=9.0) for s in (1, 1, 2)
        )
        assert repr(one) == repr(two) != repr(other)

    def test_rooms_are_shared_by_seed(self):
        one, two = (draw_scene(rng(s), 3, room_seed=5) for s in (1, 2))
        assert (one.room_size, one.t60) == (two.room_size, two.t60)
        assert one.center != two.center

    def test_mobility(self):
        plan = draw_scene(
            rng(3),
            2,
            duration=200.0,
            moving_probability=0.5,
            mobility=("static", "moving"),
        )
        for event in plan.events:
            moves = len(event.points) > 1
            assert moves == (event.label == 1 and event.duration >= 1.5)

    def test_interferers_are_one_more_layer(self):
        plan = draw_scene(
            rng(4), 2, interferers=(2, 3), interferer_probability=1.0
        )
        marked = {e.label for e in plan.events if e.interferer}
        assert marked and marked <= {2, 3}
        assert {e.label for e in plan.events if not e.interferer} == {0, 1}

    def test_pick_decides_source_and_length(self):
        plan = draw_scene(
            rng(5), [7], pick=lambda label, state: (label + 1, 0.33)
        )
        assert {e.source for e in plan.events} == {8}
        assert {round(e.duration, 6) for e in plan.events} == {0.4}

    def test_short_clips(self):
        for seconds in (0.3, 1.0, 2.5):
            plan = draw_scene(rng(6), 3, duration=seconds, max_overlap=1)
            [event] = plan.events
            assert event.onset + event.duration <= seconds + 1e-9

    def test_errors(self):
        with pytest.raises(ValueError, match="labels"):
            draw_scene(rng(), [])
        with pytest.raises(ValueError, match="activity"):
            draw_scene(rng(), 2, activity=1.5)
        with pytest.raises(ValueError, match="mobility of class 0"):
            draw_scene(rng(), 1, mobility=["quick"])
        with pytest.raises(ValueError, match="no room between"):
            draw_scene(rng(), 1, t60_range=(0.01, 0.05))
        with pytest.raises(ValueError, match="no place"):
            draw_scene(rng(), 1, wall_distance=2.0, size_high=(4.0, 4.0, 3.0))


def test_paths_are_smooth_and_dense():
    box = _Box(np.array([9.0, 7, 4]), np.array([4.0, 3.5, 2.0]), 0.5, 0.7)
    curves = 0
    for seed in range(60):
        points, times, _ = _draw_path(box, rng(seed), 4.0, (10.0, 20.0, 40.0))
        offset = points - box.center
        distance = np.linalg.norm(offset, axis=1)
        assert points.min() >= 0.5 and (box.size - points).min() >= 0.5
        assert distance.min() >= 0.7 - 1e-3
        steps = angular_distance(
            torch.from_numpy(offset[1:]), torch.from_numpy(offset[:-1])
        )
        assert steps.max() < 2.1
        assert np.abs(np.diff(distance)).max() < 0.055
        assert times[0] == 0.0 and times[-1] == 4.0
        azimuth = np.unwrap(np.arctan2(offset[:, 1], offset[:, 0]))
        speed = np.degrees(np.diff(azimuth) / np.diff(times))
        if np.ptp(speed) < 1e-6:
            curves += 1
            assert round(abs(speed[0]), 6) in (10.0, 20.0, 40.0)
    assert 15 < curves < 45
