"""Live directions: windows of the whole recording, linked without future."""

import numpy as np
import pytest
import torch
from plane_waves import plane_wave

from spatial_brain.geometry import azel_to_unit, circular_array
from spatial_brain.inference.any_array import AnyArrayLocalizer
from spatial_brain.inference.array_directions.finder import DirectionFinder
from spatial_brain.inference.array_directions.methods import METHODS
from spatial_brain.inference.array_directions.sources import LiveSources
from spatial_brain.models.any_array import AnyArrayNetwork

ARRAY, FS = "circular:4x0.05", 8000
OPTIONS = {"window": 0.5, "hop": 0.1}


def wave(azimuth, seconds=1.5, noise=0.3):
    """A wave from an azimuth with noise, [time, 4]."""
    samples = round(seconds * FS)
    found = plane_wave(
        circular_array(4, 0.05), azel_to_unit(azimuth, 0.0), samples, fs=FS
    )[0]
    return found / found.std() + noise * torch.randn(samples, 4)


def live(finder, sound, size=801):
    """Windows of a sound in chunks."""
    stream = finder.stream(FS)
    found = [window for c in sound.split(size) for window in stream.push(c)]
    return found + stream.flush()


def stacked(windows, name):
    return np.array([getattr(window, name) for window in windows])


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


@pytest.mark.parametrize("method", METHODS)
def test_windows_are_those_of_the_whole_recording(method):
    finder = DirectionFinder(ARRAY, method, **OPTIONS)
    sound = torch.cat((wave(40.0), wave(-100.0), 1e-3 * wave(0.0, 0.4)))
    times, azimuth, _, _ = finder.peaks_of(sound[None], FS, 4)
    for size in (160, 5000):
        windows = live(finder, sound, size)
        np.testing.assert_allclose(
            stacked(windows, "azimuth"), azimuth, atol=0.1
        )
    half = finder.locator(FS).block_length / FS / 2
    starts = stacked(windows, "start")
    np.testing.assert_allclose(starts, (times - half).clip(0), atol=1e-9)
    assert windows[-1].stop == pytest.approx(len(sound) / FS)


def test_confidence_is_that_of_a_recording_that_ends_there():
    finder = DirectionFinder(ARRAY, **OPTIONS)
    sound = torch.cat((wave(40.0, 0.8), wave(-100.0, 0.8)))
    windows = live(finder, sound)
    assert len(windows) > 8
    for index in (0, 2, 6, 9):
        stop = round(windows[index].stop * FS)
        peaks = finder.peaks_of(sound[None, :stop], FS, 4)[1:]
        wanted = finder.sure(*peaks, FS)[index]
        np.testing.assert_allclose(windows[index].confidence, wanted, atol=1e-4)


def test_sources_appear_with_the_second_window_and_are_known_again():
    finder = DirectionFinder(ARRAY, **OPTIONS)
    pause = 0.01 * torch.randn(3 * FS, 4)
    sound = torch.cat((wave(40.0), wave(-100.0), pause, wave(42.0, 1.0)))
    windows = live(finder, sound)
    shown = [[one.number for one in window.sources] for window in windows]
    assert shown[0] == [] and shown[1] == [1]
    assert shown[-2] == [1]
    assert {number for row in shown for number in row} == {1, 2}
    [second] = {
        round(one.azimuth / 10)
        for window in windows[20:25]
        for one in window.sources
        if one.number == 2
    }
    assert second == -10


def test_the_number_of_sources_is_kept():
    live = LiveSources(number=1)
    azimuth, none = np.array([30.0, 120.0]), np.full(2, np.nan)
    for step in range(6):
        sure = np.array([0.9, 0.5 if step else 0.95])
        found = live.push(0.1 * step, azimuth, none, sure)
    assert [one.number for one in found] == [1]
    assert found[0].azimuth == pytest.approx(30.0)


def test_a_library_method_has_no_confidence_and_ambisonics_elevations():
    finder = DirectionFinder(ARRAY, "frida", sources=1, **OPTIONS)
    *_, last, _ = live(finder, wave(30.0, 0.65))
    assert np.isnan(last.confidence).all()
    [source] = last.sources
    assert np.isnan(source.confidence)
    foa = DirectionFinder("foa", channel_order="fuma", **OPTIONS)
    up = torch.randn(FS, 1) * torch.tensor([0.7071, 0.0, 0.7071, 0.7071])
    [source] = live(foa, up + 0.1 * torch.randn(FS, 4))[-2].sources
    assert source.azimuth == pytest.approx(90.0, abs=4.0)
    assert source.elevation == pytest.approx(45.0, abs=4.0)


@pytest.mark.parametrize("fs", [16000, 24000])
def test_a_network_for_any_array_at_any_rate(fs):
    network = AnyArrayNetwork(channels=8, dilations=(1, 2)).eval()
    hparams = {
        "sample_rate": 16000,
        "window_length": 0.512,
        "hop_length": 0.128,
        "frame_length": 0.064,
        "num_directions": 72,
    }
    model = AnyArrayLocalizer({"model": network}, hparams, {"device": "cpu"})
    finder = model.finder("circular:4x0.05", resample=True)
    sound = 0.1 * torch.randn(round(1.7 * fs), 4)
    _, azimuth, _, height = finder.peaks_of(sound[None], fs, 4)
    stream = finder.stream(fs)
    for size in (480, 20000):
        windows = [one for c in sound.split(size) for one in stream.push(c)]
        windows += stream.flush()
        found = stacked(windows, "azimuth")
        np.testing.assert_allclose(found, azimuth, atol=0.1)
    assert np.isfinite(height).any()
    assert windows[-1].stop == pytest.approx(1.7)


def test_what_needs_the_whole_recording_is_refused():
    for option in ("distance", "speech_only"):
        finder = DirectionFinder(ARRAY, **{option: True})
        with pytest.raises(ValueError, match="needs the whole recording"):
            finder.stream(FS)
    stream = DirectionFinder(ARRAY, "srp-phat").stream(FS)
    with pytest.raises(ValueError, match="NaN"):
        stream.push(torch.full((10, 4), torch.nan))
