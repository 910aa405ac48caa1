"""Heads: coordinates, the spherical models, cues, resampling, directions."""

import math
import tracemalloc

import numpy as np
import pytest
import scipy.signal
import torch

from spatial_brain.geometry import (
    angular_distance,
    azel_to_unit,
    unit_to_azel,
)
from spatial_brain.simulation.hrtf import hrtf_for, interpolation, load_hrtfs
from spatial_brain.simulation.hrtf.grid import (
    CIPIC_LATERALS,
    CIPIC_POLARS,
    CIPIC_SUBJECTS,
    HrtfSet,
    interaural_to_unit,
    unit_to_interaural,
)
from spatial_brain.simulation.hrtf.interpolation import (
    _delay_between,
    ild,
    itd,
    resample_responses,
    shift_responses,
)
from spatial_brain.simulation.hrtf.sphere import (
    _ear_delay,
    _head_shadow,
    draw_head,
    spherical_head_hrtfs,
    spherical_head_responses,
    woodworth_itd,
)

LATERALS = torch.tensor([-80.0, -45.0, -15.0, 5.0, 30.0, 65.0])
# Head radius over speed of sound, seconds.
CROSSING = 0.0875 / 343.0


def empty_set(subjects=("a", "b"), length=4):
    responses = torch.zeros(len(subjects), 25, 50, 2, length)
    responses += torch.arange(len(subjects)).view(-1, 1, 1, 1, 1)
    return HrtfSet(responses, 8000, list(subjects))


def test_coordinates_of_cipic():
    assert (len(CIPIC_LATERALS), len(CIPIC_POLARS)) == (25, 50)
    assert len(set(CIPIC_SUBJECTS)) == 45
    assert CIPIC_POLARS[8] == 0 and CIPIC_POLARS[24] == 90
    assert CIPIC_POLARS[40] == 180
    # A lateral angle to the right is an azimuth to the right, which is
    # negative; behind, it is mirrored.
    azimuth, elevation = unit_to_azel(interaural_to_unit(30.0, [0.0, 180.0]))
    torch.testing.assert_close(azimuth, torch.tensor([-30.0, -150.0]))
    torch.testing.assert_close(
        interaural_to_unit(0.0, 90.0),
        torch.tensor([0.0, 0, 1]),
        atol=1e-6,
        rtol=0,
    )
    lateral = torch.tensor(CIPIC_LATERALS, dtype=torch.float64)[:, None]
    polar = torch.tensor(CIPIC_POLARS, dtype=torch.float64)
    back = unit_to_interaural(interaural_to_unit(lateral, polar))
    torch.testing.assert_close(back[0], lateral.expand(25, 50))
    torch.testing.assert_close(back[1], polar.expand(25, 50))


def test_sets_check_what_they_hold(tmp_path):
    heads = empty_set()
    assert len(heads) == 2 and heads.index(1) == 1
    assert heads.subset(["b"]).responses.unique().tolist() == [1.0]
    with pytest.raises(ValueError, match="no subject 'c'.*a, b"):
        heads.subset(["c"])
    with pytest.raises(ValueError, match=r"\[1, 25, 50, 2, 'L'\]"):
        HrtfSet(torch.zeros(1, 25, 50, 4), 8000, ["a"])
    with pytest.raises(ValueError, match="different names"):
        HrtfSet(heads.responses, 8000, ["a", "a"])
    with pytest.raises(ValueError, match="b: .*NaN"):
        bad = heads.responses.clone()
        bad[1, 3, 4, 0, 0] = torch.nan
        HrtfSet(bad, 8000, ["a", "b"])


def test_nearest_is_at_the_least_angle():
    heads = empty_set()
    generator = torch.Generator().manual_seed(3)
    lateral = torch.rand(40, generator=generator) * 180 - 90
    polar = torch.rand(40, generator=generator) * 360 - 90
    row, column = heads.nearest(lateral, polar)
    distance = angular_distance(
        interaural_to_unit(lateral, polar)[:, None, None].double(),
        heads.directions(),
    )
    chosen = distance[torch.arange(40), row, column]
    torch.testing.assert_close(chosen, distance.flatten(1).amin(-1))


def test_save_and_load(tmp_path):
    heads = spherical_head_hrtfs(8000, 2)
    path = tmp_path / "folder" / "heads.safetensors"
    heads.save(path)
    assert [p.name for p in path.parent.iterdir()] == ["heads.safetensors"]
    again = HrtfSet.load(path)
    assert (again.fs, again.subjects) == (8000, heads.subjects)
    torch.testing.assert_close(again.responses, heads.responses, rtol=0, atol=0)
    torch.testing.assert_close(again.polars, heads.polars, rtol=0, atol=0)
    one = load_hrtfs(path, 16000, subjects=["subject08"])
    assert one.fs == 16000 and one.subjects == ["subject08"]
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(ValueError, match="heads.safetensors: not a file"):
        HrtfSet.load(path)


def test_head_shadow_and_delays_have_the_published_values():
    b0, b1, a1 = _head_shadow(torch.tensor([0.0, 90.0, 150.0, 180.0]), 8000)
    expected = torch.tensor([1.67114, 0.83653, 0.39597, 0.51774])
    torch.testing.assert_close(b0, expected, atol=6e-6, rtol=0)
    expected = torch.tensor([-1.01342, -0.17881, 0.26174, 0.13998])
    torch.testing.assert_close(b1, expected, atol=6e-6, rtol=0)
    assert a1 == pytest.approx(-0.34228, abs=6e-6)
    microseconds = woodworth_itd(torch.tensor([15.0, 45.0, 80.0, 90.0])) * 1e6
    assert microseconds.round().tolist() == [133, 381, 607, 656]
    # The delays of both ears are those of the formula.
    difference = _ear_delay(90 + LATERALS) - _ear_delay(90 - LATERALS)
    torch.testing.assert_close(difference, woodworth_itd(LATERALS))


def test_brown_duda_response_is_delay_and_shadow():
    fs = 48000
    direction = interaural_to_unit(LATERALS.double(), 0.0)
    responses = spherical_head_responses(direction, fs)
    incidence = torch.stack((90 + LATERALS, 90 - LATERALS), -1).double()
    b0, b1, a1 = _head_shadow(incidence[..., None], fs)
    frequency = torch.fft.rfftfreq(1024, 1 / fs, dtype=torch.float64)
    z = torch.polar(torch.ones_like(frequency), -2 * math.pi * frequency / fs)
    shadow = (b0 + b1 * z) / (1 + a1 * z)
    spectrum = torch.fft.rfft(responses, n=1024)
    low = frequency < 0.75 * fs / 2
    torch.testing.assert_close(
        spectrum.abs()[..., low], shadow.abs()[..., low], rtol=0.01, atol=1e-3
    )
    # What is left without the shadow is the delay of the ray.
    ray = torch.fft.irfft(spectrum / shadow * (frequency < 18000), n=1024)
    torch.testing.assert_close(
        itd(ray, fs), woodworth_itd(LATERALS.double()), atol=2e-7, rtol=0
    )


def test_rigid_sphere_has_both_limits_of_theory():
    fs = 48000
    direction = interaural_to_unit(LATERALS.double(), 0.0)
    responses = spherical_head_responses(direction, fs, model="rigid-sphere")
    low = itd(responses, fs, band=(50.0, 250.0))
    sine = torch.sin(torch.deg2rad(LATERALS.double()))
    torch.testing.assert_close(low, 3 * CROSSING * sine, rtol=0.04, atol=1e-6)
    high = itd(responses, fs, band=(5000.0, 15000.0))
    expected = woodworth_itd(LATERALS.double())
    torch.testing.assert_close(high, expected, rtol=0.08, atol=1e-6)
    # A wall in front of the ear doubles the pressure of high frequencies.
    ahead = spherical_head_responses(
        torch.tensor([0.0, 1.0, 0.0]), fs, model="rigid-sphere"
    )
    spectrum = torch.fft.rfft(ahead[0], n=480).abs()
    assert spectrum[0].item() == pytest.approx(1.0, abs=0.01)
    assert spectrum[100:180].mean().item() == pytest.approx(2.0, abs=0.06)
    # Nothing arrives before the sphere can be reached.
    assert responses[..., :6].abs().max() < 1e-3 * responses.abs().max()


@pytest.mark.parametrize("model", ["brown-duda", "rigid-sphere"])
def test_level_differences_grow_to_the_side(model):
    lateral = torch.tensor([0.0, -20.0, -40.0, -60.0])
    responses = spherical_head_responses(
        interaural_to_unit(lateral, 0.0), 16000, model=model
    )
    level = ild(responses, 16000, band=(3000.0, 6500.0))
    assert abs(level[0]) < 1e-6
    assert (level.diff() > 2.0).all()
    # Long waves bend around a head.
    assert ild(responses, 16000, band=(0.0, 300.0)).abs().max() < 1.5


def test_spherical_heads_fit_the_lists_of_cipic():
    heads = spherical_head_hrtfs(8000, 46)
    assert heads.subjects == [*CIPIC_SUBJECTS, "sphere046"]
    heads = heads.subset(CIPIC_SUBJECTS)
    assert heads.responses.shape == (45, 25, 50, 2, 37)
    assert heads.responses.dtype == torch.float32
    energy = heads.responses[:, 12, 8].square().sum(-1).mean(-1)
    torch.testing.assert_close(energy, torch.ones(45))
    # The last samples hold next to nothing: no head is cut off.
    assert heads.responses[..., -1].abs().max() < 2e-3
    cue = itd(heads.responses[:, [0, -1], 8], 8000)
    assert (cue[:, 0] < -450e-6).all() and (cue[:, 1] > 450e-6).all()
    assert cue[:, 1].std() > 15e-6
    # Ears behind the middle separate front and back.
    front, back = ild(heads.responses[:, 4, [8, 40]], 8000).unbind(-1)
    assert (front - back).abs().median() > 0.1


def test_heads_are_those_of_their_names_and_seed():
    one = spherical_head_hrtfs(8000, ["subject21"], seed=5)
    both = spherical_head_hrtfs(8000, ["subject03", "subject21"], seed=5)
    torch.testing.assert_close(one.responses[0], both.responses[1])
    other = spherical_head_hrtfs(8000, ["subject21"], seed=6)
    assert (one.responses - other.responses).abs().max() > 0.01
    drawn = [draw_head(f"head{number}") for number in range(200)]
    radius = np.array([head["radius"] for head in drawn])
    angle = np.array([head["ear_angle"] for head in drawn])
    assert 0.0865 < radius.mean() < 0.0885 and 0.003 < radius.std() < 0.005
    assert radius.min() >= 0.075 and radius.max() <= 0.1
    assert angle.min() >= 90 and angle.max() <= 105 and angle.std() > 3
    with pytest.raises(ValueError, match="at least one"):
        spherical_head_hrtfs(8000, 0)
    with pytest.raises(ValueError, match="no model 'cube'"):
        spherical_head_hrtfs(8000, 1, model="cube")
    with pytest.raises(ValueError, match="radius"):
        spherical_head_responses(torch.eye(3), 8000, radius=0.2)


def test_time_difference_at_fractions_of_a_sample():
    fs, generator = 8000, torch.Generator().manual_seed(0)
    noise = torch.zeros(5, 96).double()
    noise[:, 30:60] = torch.randn(5, 30, generator=generator).double()
    taps = torch.from_numpy(scipy.signal.firwin(31, 0.7))
    noise = torch.nn.functional.conv1d(
        noise[:, None], taps[None, None], padding="same"
    )[:, 0]
    delay = torch.tensor([-3.3, -0.25, 0.0, 0.6, 5.71])
    ears = torch.stack((shift_responses(noise, delay), noise), 1)
    torch.testing.assert_close(
        itd(ears, fs), delay.double() / fs, atol=5e-7, rtol=0
    )
    # The bound holds, for each of them.
    bound = torch.tensor([1e-4, 1e-4, 1e-4, 1e-4, 1e-3])
    found = _delay_between(ears[:, 0], ears[:, 1], fs, bound)
    assert found[0].abs() <= 1.3e-4
    assert found[4].item() == pytest.approx(5.71 / fs, abs=1e-6)
    with pytest.raises(ValueError, match="2, L"):
        itd(torch.zeros(3, 5), fs)
    with pytest.raises(ValueError, match="band"):
        itd(ears, fs, band=(5000.0, 6000.0))


def test_level_difference_in_a_band():
    time = torch.arange(4000) / 8000.0
    low = torch.sin(2 * math.pi * 500 * time)
    high = torch.sin(2 * math.pi * 2500 * time)
    ears = torch.stack((low + 0.1 * high, 0.5 * low + high))
    assert ild(ears, 8000, (300, 700)).item() == pytest.approx(6.02, abs=0.05)
    assert ild(ears, 8000, (2300, 2700)).item() == pytest.approx(-20, abs=0.1)
    with pytest.raises(ValueError, match="needs the sampling rate"):
        ild(ears, band=(300, 700))


def test_resampling_as_the_original_generator():
    values = np.random.default_rng(0).integers(-99, 99, (3, 2, 200))
    expected = scipy.signal.resample_poly(values, 80, 441, axis=-1)
    found = resample_responses(torch.from_numpy(values), 44100, 8000, True)
    np.testing.assert_array_equal(found.numpy(), expected)
    assert (
        resample_responses(torch.zeros(200), 44100, 16000, True).numel() == 73
    )


@pytest.mark.parametrize("fs", [8000, 16000, 96000])
def test_resampling_keeps_the_frequency_response(fs):
    old = 44100
    direction = interaural_to_unit(LATERALS.double(), 20.0)
    responses = spherical_head_responses(direction, old, model="rigid-sphere")
    found = resample_responses(responses, old, fs)
    highest = 0.87 * min(fs, old) / 2
    frequency = torch.arange(100.0, highest, 50.0, dtype=torch.float64)

    def response(values, rate):
        time = torch.arange(values.shape[-1], dtype=torch.float64) / rate
        angle = 2 * math.pi * frequency[:, None] * time
        wave = torch.polar(torch.ones_like(angle), -angle)
        return values.to(wave.dtype) @ wave.T

    level = response(found, fs).abs() / response(responses, old).abs()
    inside = response(responses, old).abs() > 0.05
    assert (20 * torch.log10(level[inside])).abs().max() < 0.06
    # All are delayed alike, by a whole number of samples at the new rate.
    delay = _delay_between(
        torch.nn.functional.pad(found, (0, 900)),
        resample_responses(responses, old, fs, compat=True),
        fs,
        9e-3,
    )
    assert (delay * fs - round((delay * fs).mean().item())).abs().max() < 0.02
    torch.testing.assert_close(
        itd(found, fs, (200, 3000)),
        itd(responses, old, (200, 3000)),
        atol=1e-6,
        rtol=0,
    )
    with pytest.raises(ValueError, match="whole and positive"):
        resample_responses(responses, old, 0)


@pytest.mark.parametrize(
    ("old", "fs"),
    [(47999, 16000), (44101, 16000), (8000, 47999), (999983, 8000)],
)
def test_resampling_has_bounded_memory_at_any_rates(old, fs):
    """A head of 1250 directions; the table alone would have 23 MB and more."""
    responses = torch.zeros(1250, 2, 20, dtype=torch.float64)
    responses[:, 0, 0] = 1.0
    tracemalloc.start()
    found = resample_responses(responses, old, fs)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1.2 * found.numel() * 8 + 2e6


def test_computed_filters_are_those_of_the_table(monkeypatch):
    generator = torch.Generator().manual_seed(0)
    responses = torch.randn(3, 2, 300, dtype=torch.float64, generator=generator)
    for old, fs in ((44100, 16000), (16000, 44100), (44100, 48000)):
        expected = resample_responses(responses, old, fs)
        with monkeypatch.context() as patch:
            patch.setattr(interpolation, "_MOST_PHASES", 0)
            found = resample_responses(responses, old, fs)
        torch.testing.assert_close(found, expected, atol=1e-6, rtol=0)


def test_directions_of_a_set():
    heads = spherical_head_hrtfs(16000, 2)
    grid = heads.directions()[[3, 20], [10, 30]]
    found = hrtf_for(3.0 * grid, heads, "subject08")
    torch.testing.assert_close(found[0], heads.responses[1, 3, 10])
    torch.testing.assert_close(found[1], heads.responses[1, 20, 30])
    assert hrtf_for(torch.ones(4, 2, 3), heads).shape == (4, 2, 2, 73)
    # Between the directions of the grid, cues move and do not jump.
    around = azel_to_unit(torch.arange(-70.0, 71.0, 1.0), 0.0)
    cue = itd(hrtf_for(around, heads), 16000)
    assert (cue.diff() < 0).all() and cue.diff().abs().max() < 16e-6
    steps = itd(hrtf_for(around, heads, method="nearest"), 16000).diff()
    assert steps.abs().max() > 30e-6
    with pytest.raises(ValueError, match=r"\[..., 3\]"):
        hrtf_for(torch.zeros(2), heads)
    with pytest.raises(ValueError, match="length above zero"):
        hrtf_for(torch.zeros(2, 3), heads)
    with pytest.raises(ValueError, match="no subject"):
        hrtf_for(torch.eye(3), heads, "nobody")


def test_outer_ears_have_moving_notches_and_differ():
    """As those of measured heads: 2 to 7 dB over the frequencies."""
    sphere, heads = (
        spherical_head_hrtfs(16000, 4, model=model).responses
        for model in ("rigid-sphere", "pinnae")
    )
    level = 20 * torch.log10(torch.fft.rfft(heads.double(), n=512).abs())
    level = level[..., 16:224]
    assert 2 < level.std(-1).mean() < 7
    # With the elevation, between the ears of a head, and between heads.
    front = CIPIC_LATERALS.index(0)
    assert 2 < level[:, front].std(1).mean() < 7
    assert 0.5 < (level[:, front, :, 0] - level[:, front, :, 1]).std(-1).mean()
    assert 1 < level[:, front].std(0).mean()
    # Delays are those of the sphere.
    delays = [itd(x[:, ::4, 8], 16000) for x in (sphere, heads)]
    assert (delays[0] - delays[1]).abs().max() < 60e-6
    alone = spherical_head_hrtfs(16000, ["subject10"], model="pinnae")
    other = spherical_head_hrtfs(16000, ["subject10"], 1, "pinnae")
    length = alone.responses.shape[-1]
    assert torch.equal(alone.responses[0], heads[3, ..., :length])
    assert not torch.equal(alone.responses, other.responses)
    with pytest.raises(ValueError, match="no model 'cone' of heads"):
        spherical_head_hrtfs(16000, 1, model="cone")
