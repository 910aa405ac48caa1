"""Scenes and labels equal to those published for the original's generator."""

import math

import numpy as np
import pytest
import torch

from spatial_brain.datasets.wsj0_simu.scenes import (
    SceneDistribution,
    draw_certain_room_scene,
    draw_room_scene,
    stage_seed,
)
from spatial_brain.simulation.room_labels import (
    decay_t60,
    direct_to_reverberant,
    early_to_late,
)

ORIGINAL = SceneDistribution(compat=True)


def test_scene_zero():
    scene = draw_room_scene(ORIGINAL, "pretrain", 0)
    np.testing.assert_allclose(
        scene.room_size, [8.00426, 8.04227, 2.50040], atol=6e-6
    )
    assert scene.t60_requested == pytest.approx(0.53257, abs=6e-6)
    assert scene.array_scale == pytest.approx(1.79280, abs=6e-6)
    assert scene.array_azimuth == pytest.approx(9.85953, abs=6e-6)
    np.testing.assert_allclose(
        scene.microphones,
        [[3.52574, 4.89954, 0.45453], [3.70238, 4.93024, 0.45453]],
        atol=6e-6,
    )
    np.testing.assert_allclose(
        scene.source, [6.37334, 6.26699, 1.36173], atol=6e-6
    )


def test_scene_one():
    scene = draw_room_scene(ORIGINAL, "pretrain", 1)
    np.testing.assert_allclose(
        scene.room_size, [8.23194, 3.18148, 4.42382], atol=6e-6
    )
    assert scene.t60_requested == pytest.approx(0.67885, abs=6e-6)
    assert scene.array_scale == pytest.approx(1.17308, abs=6e-6)
    assert scene.array_azimuth == pytest.approx(66.39835, abs=6e-6)
    np.testing.assert_allclose(
        scene.source, [3.55079, 1.34719, 2.18987], atol=6e-6
    )


def test_only_the_source_differs_by_default():
    # The array and the room are drawn before the source.
    ours = draw_room_scene(SceneDistribution(), "pretrain", 0)
    theirs = draw_room_scene(ORIGINAL, "pretrain", 0)
    np.testing.assert_array_equal(ours.microphones, theirs.microphones)
    np.testing.assert_array_equal(ours.reflection, theirs.reflection)
    assert not np.allclose(ours.source, theirs.source)


def reference_placement(rng, size):
    """The order of the original's draws after the room, written anew."""
    centre = np.array(
        [rng.uniform(0.2, 0.8), rng.uniform(0.2, 0.8), rng.uniform(0.1, 0.5)]
    )
    scale, azimuth = rng.uniform(0.3, 2), np.deg2rad(rng.uniform(0, 360))
    axis = 0.05 * scale * np.array([np.cos(azimuth), np.sin(azimuth), 0])
    return centre * size - axis, centre * size + axis


@pytest.mark.parametrize(("room", "rir"), [(0, 0), (3, 17), (19, 49)])
def test_certain_rooms_have_the_seeds_of_the_original(room, rir):
    scene = draw_certain_room_scene(ORIGINAL, "val", room, rir)
    of_room = np.random.RandomState(5_000_000 + room)
    size = [of_room.uniform(*r) for r in ((3, 15), (3, 10), (2.5, 6))]
    np.testing.assert_allclose(scene.room_size, size)
    of_rir = np.random.RandomState(5_000_000 + room * 50 + rir)
    expected = reference_placement(of_rir, np.array(size))
    np.testing.assert_allclose(scene.microphones, expected)


def test_seeds_of_the_stages():
    stages = "pretrain preval pretest pretest_ins_T200 train val test".split()
    seeds = [stage_seed(stage) for stage in stages]
    assert seeds == [1, 2000000, 3000000, 3000000, 4000000, 5000000, 6000000]
    with pytest.raises(ValueError, match="unknown stage"):
        stage_seed("pretest_in")


def test_label_vectors():
    time = torch.arange(8000, dtype=torch.float64)
    decay = torch.exp(-3 * math.log(10) * time / (16000 * 0.5)) * time.cos()
    rir = torch.cat((torch.zeros(100, dtype=torch.float64), decay))
    rir[100] = 2
    seconds, correlation = decay_t60(rir, 16000)
    assert float(seconds) == pytest.approx(0.499902, abs=6e-7)
    assert float(correlation) == pytest.approx(-0.9999999, abs=6e-8)
    peak = torch.tensor(100)
    assert float(direct_to_reverberant(rir, 16000, peak)) == pytest.approx(
        -10.72, abs=5e-3
    )
    # The published value went through half precision.
    c50 = early_to_late(rir, 16000, peak)
    assert float(c50.half()) == pytest.approx(4.812, abs=6e-4)
