"""Recordings against their array: each fault is named, clean ones are not."""

from dataclasses import replace

import numpy as np
import pytest
import soundfile
import torch

from spatial_brain.geometry import (
    SPEED_OF_SOUND,
    MicrophoneArray,
    azel_to_unit,
    rotation_matrix,
)
from spatial_brain.inference.array_checks import (
    Clap,
    check_claps,
    check_recording,
)
from spatial_brain.inference.array_checks.order import (
    hidden_exchanges,
    same_exchange,
)

FS = 16000
CIRCLE = MicrophoneArray.resolve("circular:4x0.04")


@pytest.fixture
def noise():
    """One second of four microphones that agree in part, [time, 4]."""
    generator = np.random.default_rng(0)
    common = generator.standard_normal((FS, 1))
    own = generator.standard_normal((FS, 4))
    return 0.05 * (common + 0.3 * own)


# What describes a recording that is in order; noise has no pauses.
ROOM = ("snr", "low_snr", "reverberation", "reverberant", "spacing_aliasing")


def check_all(tmp_path, samples, array=CIRCLE, **options):
    path = tmp_path / "a.wav"
    soundfile.write(path, samples, FS, subtype="FLOAT")
    return check_recording(path, array, **options)


def check(*args, **options):
    """Findings on channels."""
    found = check_all(*args, **options)
    return [one for one in found if one.kind not in ROOM]


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


@pytest.mark.parametrize(("snr", "t60"), [(20, 0.5), (25, 0.8), (0, 0.5)])
def test_noise_and_reverberation_are_estimated(tmp_path, snr, t60):
    generator = np.random.default_rng(0)
    size = 12 * FS
    time = np.arange(FS) / FS
    tail = 10 ** (-3 * time / t60)[:, None] * generator.standard_normal((FS, 4))
    # Bursts of 0.2 s with pauses.
    bursts = generator.standard_normal(size)
    bursts *= np.arange(size) % round(1.2 * FS) < 0.2 * FS
    length = 2 * size
    spectrum = np.fft.rfft(bursts, length)[:, None]
    sound = np.fft.irfft(spectrum * np.fft.rfft(tail, length, axis=0), axis=0)
    sound = sound[:size] / sound[:size].std()
    noise = generator.standard_normal(sound.shape) * 10 ** (-snr / 20)
    found = check_all(tmp_path, 0.05 * (sound + noise))
    values = {one.kind: one.value for one in found}
    if snr > 3:
        assert values["snr"] == pytest.approx(snr, abs=1.5)
        kind = "reverberant" if t60 > 0.7 else "reverberation"
        assert values[kind] == pytest.approx(t60, rel=0.15)
    else:
        assert values["low_snr"] == pytest.approx(0, abs=1.5)


def test_spacing_against_the_band(tmp_path, noise):
    array = MicrophoneArray.resolve("linear:4x0.1")
    found = check_all(tmp_path, noise, array)
    (one,) = [one for one in found if one.kind == "spacing_aliasing"]
    assert one.value == pytest.approx(1715, rel=1e-3)
    assert "--band 300 1715" in one.message
    found = check_all(tmp_path, noise, array, band=(300, 1700))
    assert "spacing_aliasing" not in {one.kind for one in found}


def noisy_plane_waves(array, seconds=4, snr=20, seed=0):
    """White noise from a direction that changes each half second."""
    generator = np.random.default_rng(seed)
    size = FS // 2
    frequency = np.fft.rfftfreq(2 * size, 1 / FS)
    pieces = []
    for _ in range(round(2 * seconds)):
        azimuth = generator.uniform(-180, 180)
        delays = plane_wave_delays(array, azimuth, 10.0)
        spectrum = np.fft.rfft(generator.standard_normal(size), 2 * size)
        shift = np.exp(-2j * np.pi * frequency[:, None] * delays)
        wave = np.fft.irfft(spectrum[:, None] * shift, axis=0)
        pieces.append(wave[:size])
    waveform = np.concatenate(pieces)
    noise = generator.standard_normal(waveform.shape) * 10 ** (-snr / 20)
    return 0.05 * (waveform + noise)


def plane_wave_delays(array, azimuth, elevation=0.0):
    unit = azel_to_unit(azimuth, elevation)
    return -(array.positions @ unit).double().numpy() / SPEED_OF_SOUND


ARRAYS = ("respeaker_6mic", "kinect_v1", "uma8")


@pytest.mark.parametrize("name", [*ARRAYS, "dcase_tetra", "pair:0.1"])
def test_a_clean_recording_is_not_blamed(tmp_path, name):
    array = MicrophoneArray.resolve(name)
    found = check(tmp_path, noisy_plane_waves(array), array)
    assert not [one for one in found if one.severity != "note"]


@pytest.mark.parametrize("name", [*ARRAYS, "dcase_tetra"])
def test_reversed_polarity(tmp_path, name):
    array = MicrophoneArray.resolve(name)
    fault = noisy_plane_waves(array)
    fault[:, 2] *= -1
    assert ("polarity", (2,)) in named(check(tmp_path, fault, array))


@pytest.mark.parametrize("name", ["circular:16x0.1", "eigenmike_em32"])
def test_many_microphones(tmp_path, name):
    array = MicrophoneArray.resolve(name)
    fault = noisy_plane_waves(array)
    assert not named(check(tmp_path, fault, array))
    fault[:, 5] *= -1
    fault[:, 9] *= 0.003
    found = named(check(tmp_path, fault, array))
    assert {("polarity", (5,)), ("dead_channel", (9,))} <= found


def test_reversed_polarity_of_a_pair(tmp_path):
    array = MicrophoneArray.resolve("pair:0.1")
    fault = noisy_plane_waves(array, snr=0)
    fault[:, 1] *= -1
    (one,) = check(tmp_path, fault, array)
    assert one.kind == "polarity"
    assert "which are wrong cannot be seen" in one.message


@pytest.mark.parametrize("name", ARRAYS)
def test_exchanged_channels(tmp_path, name):
    array = MicrophoneArray.resolve(name)
    fault = noisy_plane_waves(array, seconds=8)
    fault[:, [1, 2]] = fault[:, [2, 1]]
    found = check(tmp_path, fault, array)
    assert ("exchanged_channels", (1, 2)) in named(found)
    # The remedy is what the message says.
    order = ",".join(str(i) for i in (0, 2, 1, *range(3, len(array))))
    assert f"--channels {order}" in found[0].message
    order = [int(part) for part in order.split(",")]
    assert not named(check(tmp_path, fault, array, channels=order))


def test_exchanges_that_nothing_shows():
    square = MicrophoneArray.resolve("respeaker_usb").distances
    assert hidden_exchanges(square) == [(0, 2), (1, 3)]
    assert same_exchange((0, 1), (2, 3), square)
    assert not same_exchange((0, 1), (1, 2), square)
    assert not hidden_exchanges(MicrophoneArray.resolve("uma8").distances)


def test_a_channel_of_something_else(tmp_path, noise):
    array = MicrophoneArray.resolve("respeaker_6mic")
    fault = noisy_plane_waves(array)
    generator = np.random.default_rng(1)
    fault[:, 4] = fault.std() * generator.standard_normal(len(fault))
    assert named(check(tmp_path, fault, array)) == {("dead_channel", (4,))}
    fault = 0.1 * generator.standard_normal(fault.shape)
    (one,) = check(tmp_path, fault, array)
    assert one.kind == "incoherent"


@pytest.mark.parametrize("guilty", [0, 3])
def test_late_channels_and_other_clocks(tmp_path, guilty):
    array = MicrophoneArray.resolve("respeaker_4mic")
    clean = noisy_plane_waves(array, seconds=16)
    late = clean.copy()
    late[:, guilty] = np.roll(clean[:, guilty], 48)
    (one,) = check(tmp_path, late, array)
    assert (one.kind, one.channels) == ("delay_forbidden", (guilty,))
    assert "ms late" in one.message
    assert one.value == pytest.approx(0.003, abs=3e-4)
    slow = clean.copy()
    time = np.arange(len(clean))
    slow[:, guilty] = np.interp(time * (1 - 2e-4), time, clean[:, guilty])
    (one,) = check(tmp_path, slow, array)
    assert (one.kind, one.channels) == ("rate_drift", (guilty,))
    assert one.value == pytest.approx(2e-4, rel=0.1)


def test_an_array_whose_positions_are_too_large(tmp_path):
    array = MicrophoneArray.resolve("respeaker_6mic")
    recording = noisy_plane_waves(array)
    for factor in (10, 100):
        wrong = replace(array, positions=factor * array.positions)
        (one,) = check(tmp_path, recording, wrong)
        assert one.kind == "array_too_large"
        assert "in metres" in one.message
    # In front of a line all delays may be small.
    kinect = MicrophoneArray.resolve("kinect_v1")
    wrong = replace(kinect, positions=10 * kinect.positions)
    found = check(tmp_path, noisy_plane_waves(kinect), wrong)
    assert "array_too_large" not in {one.kind for one in found}


def clap(array, azimuth, seed=0):
    """A burst from a known direction, with reflections and noise."""
    generator = np.random.default_rng(seed)
    size = FS // 2
    spectrum = np.fft.rfft(generator.standard_normal(40), 2 * size)
    frequency = np.fft.rfftfreq(2 * size, 1 / FS)
    waveform = 0.001 * generator.standard_normal((size, len(array)))
    for at, level, angle in ((0.1, 1, azimuth), (0.106, 0.7, azimuth + 100)):
        delays = at + plane_wave_delays(array, angle)
        shift = np.exp(-2j * np.pi * frequency[:, None] * delays)
        wave = np.fft.irfft(spectrum[:, None] * shift, axis=0)[:size]
        waveform += 0.1 * level * wave
    return waveform


def check_at(tmp_path, array, recorded, azimuths=(30, 120), order=None):
    """Verdict on claps that the array 'recorded' made."""
    claps = []
    for azimuth in azimuths:
        path = tmp_path / f"{azimuth}.wav"
        waveform = clap(recorded, azimuth)
        if order is not None:
            waveform = waveform[:, order]
        soundfile.write(path, waveform, FS, subtype="FLOAT")
        claps.append(Clap(str(path), azimuth))
    return check_claps(claps, array, range(len(array)))


@pytest.mark.parametrize("name", ["respeaker_usb", "dcase_tetra", "uma8"])
def test_claps_confirm_the_order(tmp_path, name):
    array = MicrophoneArray.resolve(name)
    found, positions = check_at(tmp_path, array, array)
    assert [one.kind for one in found] == ["order_confirmed"]
    assert torch.equal(positions, array.positions)


@pytest.mark.parametrize("name", ["respeaker_usb", "dcase_tetra"])
def test_claps_show_exchanges_that_recordings_hide(tmp_path, name):
    array = MicrophoneArray.resolve(name)
    found, positions = check_at(tmp_path, array, array, order=[2, 1, 0, 3])
    assert found[0].kind == "exchanged_channels"
    assert found[0].channels == (0, 2)
    assert "--channels 2,1,0,3" in found[0].message
    assert torch.allclose(positions, array.positions[[2, 1, 0, 3]], atol=1e-3)


def test_claps_show_a_turned_and_a_mirrored_array(tmp_path):
    array = MicrophoneArray.resolve("uma8")
    turned = replace(array, positions=array.positions @ rotation_matrix(40).T)
    found, positions = check_at(tmp_path, array, turned)
    assert found[0].kind == "rotated"
    assert found[0].value == pytest.approx(-40, abs=2)
    assert torch.allclose(positions, turned.positions, atol=2e-3)
    mirror = array.positions * torch.tensor([-1.0, 1, 1])
    mirrored = replace(array, positions=mirror)
    found, positions = check_at(tmp_path, array, mirrored)
    assert found[0].kind == "mirrored"
    assert torch.allclose(positions, mirror, atol=2e-3)
    # One clap cannot decide, and says so.
    found, _ = check_at(tmp_path, array, mirrored, azimuths=(30,))
    assert "add a clap from another direction" in found[1].message


def test_claps_of_another_array_and_of_a_wrong_sign(tmp_path):
    array = MicrophoneArray.resolve("respeaker_usb")
    other = MicrophoneArray.resolve("circular:4x0.08")
    found, _ = check_at(tmp_path, array, other)
    assert found[0].kind == "unexplained"
    path = tmp_path / "sign.wav"
    waveform = clap(array, 10) * [1, 1, 1, -1]
    soundfile.write(path, waveform, FS, subtype="FLOAT")
    found, _ = check_claps([Clap(str(path), 10)], array, range(4))
    assert [one.kind for one in found] == ["order_confirmed", "polarity"]
    assert found[1].channels == (3,)
