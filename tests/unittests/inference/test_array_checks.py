"""Recordings against their array: each fault is named, clean ones are not."""

import numpy as np
import pytest
import soundfile

from spatial_brain.geometry import MicrophoneArray
from spatial_brain.inference.array_checks import check_recording

FS = 16000
CIRCLE = MicrophoneArray.resolve("circular:4x0.04")


@pytest.fixture
def noise():
    """One second of four microphones that agree in part, [time, 4]."""
    generator = np.random.default_rng(0)
    common = generator.standard_normal((FS, 1))
    own = generator.standard_normal((FS, 4))
    return 0.05 * (common + 0.3 * own)


def check(tmp_path, samples, array=CIRCLE, **options):
    path = tmp_path / "a.wav"
    soundfile.write(path, samples, FS, subtype="FLOAT")
    return check_recording(path, array, **options)


def named(found):
    return {(one.kind, one.channels) for one in found}


def test_levels(tmp_path, noise):
    assert named(check(tmp_path, noise)) == set()
    fault = noise.copy()
    fault[:, 2] = 0
    assert ("silent", (2,)) in named(check(tmp_path, fault))
    fault = noise * [1, 0.01, 1, 1]
    assert ("dead_channel", (1,)) in named(check(tmp_path, fault))
    fault = noise * [1, 1, 1, 3]
    assert ("level_difference", (3,)) in named(check(tmp_path, fault))
    fault = noise + [0.05, 0, 0, 0]
    assert ("dc_offset", (0,)) in named(check(tmp_path, fault))
    fault = (noise * [40, 1, 1, 1]).clip(-1, 1)
    assert ("clipped", (0,)) in named(check(tmp_path, fault))


def test_doubled_channels(tmp_path, noise):
    fault = noise.copy()
    fault[:, 3] = -0.5 * fault[:, 1]
    found = check(tmp_path, fault)
    assert ("doubled_channel", (1, 3)) in named(found)
    (one,) = check(tmp_path, noise[:, [0, 0, 0, 0]])
    assert one.severity == "error"
    assert "mono" in one.message


def test_channels_are_those_of_the_file(tmp_path, noise):
    wide = np.concatenate([noise[:, :1] * 3, noise], axis=1)
    wide[:, 4] = 0
    found = check(tmp_path, wide, channels=[4, 3, 2, 1])
    assert ("silent", (4,)) in named(found)
    (one,) = check(tmp_path, wide)
    assert one.kind == "channel_count"
    assert one.severity == "error"
    assert "--channels 0,1,2,3" in one.message
    (one,) = check(tmp_path, wide, channels=[1, 1, 2, 3])
    assert "4 different ones" in one.message
