"""Drawn arrays and scenes: geometry, physics of labels, seeds, refusals."""

import numpy as np
import pytest
import torch

from spatial_brain.datasets.array_scenes import (
    SceneDrawer,
    SceneGroups,
    draw_array,
)
from spatial_brain.datasets.array_scenes.truth import window_truth
from spatial_brain.geometry import MicrophoneArray, azel_to_unit, wrap_azimuth

SPEECH = {
    f"{name}{k}": {"wav": f"{name}{k}", "speaker": name, "num_samples": 20000}
    for name in "abc"
    for k in range(2)
}
ROOM = {"t60_range": (0.2, 0.3), "distance_range": (0.6, 2.0)}


def read(wav, start, count):
    """Noise with pauses; another one for each file."""
    rng = np.random.default_rng([*wav.encode()])
    signal = rng.standard_normal(20000)
    signal[6000:9000] = 0.0
    return signal[start : start + count]


def make_drawer(**options):
    options = {
        "num_samples": 20480,
        "room": ROOM,
        "shifts": (0.0,),
        "snr_range": (40.0, 40.0),
        "moving": 0.0,
        "pausing": 0.0,
        **options,
    }
    return SceneDrawer(SPEECH, read, **options)


@pytest.mark.parametrize("number", [2, 3, 5, 16])
def test_arrays_keep_their_ranges(number):
    rng = np.random.default_rng(number)
    kinds = set()
    for _ in range(30):
        kind, positions = draw_array(
            rng, number, aperture=(0.05, 0.2), nearest=0.012
        )
        array = MicrophoneArray(positions)
        kinds.add(kind)
        assert 0.049 < array.aperture < 0.201
        assert number == 2 or float(torch.pdist(positions).min()) >= 0.012
        dimensions = {"line": 1, "volume": 3}.get(kind, 2)
        assert array.dimensions == dimensions
        torch.testing.assert_close(
            positions.mean(0), torch.zeros(3).double(), atol=1e-9, rtol=0
        )
    assert len(kinds) == {2: 1, 3: 3}.get(number, 5)


def test_arrays_that_cannot_be_are_refused():
    rng = np.random.default_rng(0)
    with pytest.raises(ValueError, match="at least 2"):
        draw_array(rng, 1)
    with pytest.raises(ValueError, match="larger aperture"):
        draw_array(rng, 8, aperture=(0.03, 0.04), nearest=0.05)


def test_sound_comes_from_where_the_labels_say():
    # Loud direct sound: the delays of pairs are those of the direction.
    near = {"distance_range": (0.6, 0.8), "t60_range": (0.2, 0.2)}
    drawer = make_drawer(talkers={1: 1}, room=near)
    for seed in range(3):
        scene = drawer.draw(np.random.default_rng(seed), 4)
        unit = azel_to_unit(scene.azimuth[0, 0], scene.elevation[0, 0])
        lead = scene.positions @ unit / 343.0 * 16000
        spectra = torch.fft.rfft(scene.waveform.T, n=2**16)
        for one in range(1, 4):
            cross = spectra[0] * spectra[one].conj()
            cross = torch.fft.irfft(cross / cross.abs().clamp_min(1e-9))
            delay = int(torch.cat((cross[-40:], cross[:40])).argmax()) - 40
            assert delay == pytest.approx(float(lead[one] - lead[0]), abs=1.6)


def test_speech_is_active_where_it_arrives():
    drawer = make_drawer(talkers={2: 1}, room=ROOM)
    scene = drawer.draw(np.random.default_rng(2), 3)
    share = scene.active.float().mean(1)
    # 17,000 of 20,480 samples sound.
    assert ((share > 0.7) & (share < 0.9)).all()
    assert not scene.active[:, 0].any()
    assert scene.conditions["talkers"] == 2
    assert scene.conditions["microphones"] == 3


def test_who_goes_around_has_another_azimuth():
    drawer = make_drawer(talkers={1: 1}, moving=1.0, turn_range=(20.0, 30.0))
    turns = []
    for seed in range(4):
        azimuth = drawer.draw(np.random.default_rng(seed), 2).azimuth[0]
        turns.append(abs(float(wrap_azimuth(azimuth[-1] - azimuth[0]))))
    # Some have no room for it.
    assert max(turns) > 18 and max(turns) < 30


def test_no_talker_is_noise_and_a_dead_channel_is_silent():
    drawer = make_drawer(
        talkers={0: 1}, faults={"dead": [1, 1.0], "gain": [3.0, 1.0]}
    )
    scenes = [drawer.draw(np.random.default_rng(k), 4) for k in range(4)]
    for scene in scenes:
        assert scene.azimuth.shape[0] == 0 and scene.waveform.abs().max() > 0
    level = torch.stack([s.waveform.square().mean(0).sqrt() for s in scenes])
    assert (level.amin(1) < 0.1 * level.amax(1)).all()
    three = drawer.draw(np.random.default_rng(1), 3).waveform
    assert (three.std(0) > 0.1 * three.std(0).max()).all()


def test_bad_options_are_refused():
    for options, message in (
        ({"num_samples": 1000}, "multiple of 256"),
        ({"talkers": {4: 1}}, "3 speakers"),
        ({"microphones": {1: 1}}, "from 2 on"),
        ({"microphones": {2: 0}}, "sum up to nothing"),
        ({"faults": {"rust": [1, 1]}}, "rust"),
    ):
        with pytest.raises((ValueError, TypeError), match=message):
            make_drawer(**options)
    walls = {**ROOM, "distance_range": (30.0, 40.0)}
    drawer = make_drawer(talkers={1: 1}, room=walls)
    with pytest.raises(ValueError, match="no place for source"):
        drawer.draw(np.random.default_rng(1), 2)


def test_groups_depend_on_seed_epoch_and_place_alone():
    drawer = make_drawer(
        talkers={1: 1}, microphones={2: 1, 3: 1}, num_samples=5120
    )
    groups = SceneGroups(drawer, num_groups=3, group_size=2, seed=1)
    first = groups[1]
    assert first["waveform"].shape[:2] == (2, 5120)
    assert first["names"] == ["scene000002", "scene000003"]
    again = torch.utils.data.DataLoader(
        groups, batch_size=None, num_workers=2, collate_fn=lambda item: item
    )
    assert list(again)[1]["waveform"].equal(first["waveform"])
    groups.set_epoch(1)
    assert not groups[1]["waveform"].equal(first["waveform"])
    other = SceneGroups(drawer, num_groups=3, group_size=2, seed=2)
    assert not other[1]["waveform"].equal(first["waveform"])


def test_truth_follows_a_talker_and_folds_a_line():
    drawer = make_drawer(talkers={1: 1}, moving=1.0, turn_range=(25.0, 30.0))
    scene = drawer.draw(np.random.default_rng(0), 2)
    early, late = window_truth(scene, [0.2, 1.1], 0.3, 16000)
    assert len(early) == len(late) == 1
    along = scene.positions[0] - scene.positions[1]
    for angle, label in ((early[0], 12), (late[0], 69)):
        ways = torch.tensor([float(angle), float(scene.azimuth[0, label])])
        level = torch.stack((torch.tensor(0.0), scene.elevation[0, label]))
        cosines = azel_to_unit(ways, level) @ along
        assert float(cosines[0]) == pytest.approx(
            float(cosines[1]), abs=0.03 * float(along.norm())
        )
