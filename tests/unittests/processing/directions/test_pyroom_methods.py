"""Methods of pyroomacoustics by our blocks: equal to calling it, and limits."""

import math
import warnings

import numpy as np
import pyroomacoustics
import pytest
import torch
from plane_waves import plane_wave

from spatial_brain.geometry import azel_to_unit, circular_array, linear_array
from spatial_brain.processing.directions.grid import DirectionGrid
from spatial_brain.processing.directions.pyroom_methods import (
    PyroomFrida,
    PyroomMaps,
)

FS = 16000
POSITIONS = circular_array(6, 0.05)
BAND = (300.0, 3000.0)
GRID = DirectionGrid.circle(6.0)
# One block of 0.25 s.
OPTIONS = {"block": 0.25, "hop": 0.25, "band": BAND}


def waves(*azimuths, positions=POSITIONS, samples=4352):
    """Waves from azimuths, a little noise, [1, time, microphone]."""
    sound = 0.05 * torch.randn(1, samples, len(positions))
    for seed, azimuth in enumerate(azimuths):
        wave = plane_wave(
            positions, azel_to_unit(azimuth, 0.0), samples, fs=FS, seed=seed
        )
        sound = sound + wave
    return sound


def by_hand(name, maps, waveform, number):
    """The library's object after it has located the first block."""
    frames = waveform[0].T.unfold(-1, maps.n_fft, maps.hop_length)
    spectra = torch.fft.rfft(frames * torch.hann_window(maps.n_fft)).mT
    spectra = spectra[..., : maps.block_frames].numpy().astype(complex)
    method = pyroomacoustics.doa.algorithms[name](
        POSITIONS.double().numpy().T,
        FS,
        maps.n_fft,
        c=343.0,
        num_src=number,
        azimuth=np.radians(GRID.azimuth.double().numpy()),
    )
    bins = np.arange(maps.bins.start, maps.bins.stop)
    if name == "TOPS":
        # Its own phases are wrong by the place of the first bin.
        moved = np.zeros_like(spectra)
        moved[:, : len(bins)] = spectra[:, bins]
        spectra, bins = moved, np.arange(len(bins))
    if name == "FRIDA":
        power = (np.abs(spectra[:, bins]) ** 2).sum((0, 2))
        bins = np.sort(bins[np.argsort(-power)[:20]])
        np.random.seed(0)  # noqa: NPY002
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        method.locate_sources(spectra, num_src=number, freq_bins=bins)
    return method


def away(found, wanted):
    """Degrees between azimuths."""
    return np.abs((np.asarray(found) - wanted + 180) % 360 - 180)


@pytest.mark.parametrize("number", [1, 2])
@pytest.mark.parametrize("name", ["CSSM", "WAVES", "TOPS"])
def test_maps_equal_the_library(name, number):
    sound = waves(*(40.0, -100.0)[:number])
    maps = PyroomMaps(
        POSITIONS, FS, GRID, algorithm=name, num_sources=number, **OPTIONS
    )
    found = maps(sound)[0, 0].numpy()
    values = by_hand(name, maps, sound, number).grid.values
    assert np.allclose(found, values / values.max(), atol=1e-3)
    peaks = maps.peaks(sound, num_peaks=number)
    for wanted in (40.0, -100.0)[:number]:
        assert away(peaks.azimuth[0, 0], wanted).min() < 6.0


@pytest.mark.parametrize("number", [1, 2])
def test_frida_equals_the_library(number):
    sound = waves(*(40.0, -100.0)[:number])
    frida = PyroomFrida(POSITIONS, FS, GRID, num_sources=number, **OPTIONS)
    state = np.random.get_state()  # noqa: NPY002
    found = frida.peaks(sound, num_peaks=number)
    assert np.random.get_state()[2] == state[2]  # noqa: NPY002
    wanted = np.degrees(by_hand("FRIDA", frida, sound, number).azimuth_recon)
    for azimuth in wanted:
        assert away(found.azimuth[0, 0], azimuth).min() < 1e-2
    for azimuth in (40.0, -100.0)[:number]:
        assert away(found.azimuth[0, 0], azimuth).min() < 3.0
    again = frida.peaks(sound, num_peaks=number)
    assert torch.equal(found.azimuth, again.azimuth)


def test_frida_keeps_the_stronger_of_two_that_are_near():
    frida = PyroomFrida(POSITIONS, FS, GRID, num_sources=3, **OPTIONS)
    angle = torch.tensor([10.0, 14.0, 90.0]).deg2rad()
    strength = torch.tensor([2.0, 1.9, 0.5])
    rows = torch.stack((angle.cos(), angle.sin(), strength), 1)
    vectors, height = frida.pick(rows[None, None], num_peaks=3)
    assert GRID.angles(vectors)[0][0, 0, :2].tolist() == pytest.approx([10, 90])
    assert height.tolist() == [[[1.0, 0.25, 0.0]]]
    assert vectors[0, 0, 2].isnan().all()


@pytest.mark.parametrize("name", ["CSSM", "WAVES", "TOPS", "FRIDA"])
def test_silence_has_no_direction(name):
    make = PyroomFrida if name == "FRIDA" else PyroomMaps
    options = OPTIONS if name == "FRIDA" else {**OPTIONS, "algorithm": name}
    sound = torch.cat((torch.zeros(1, 4352, 6), waves(40.0)), dim=1)
    found = make(POSITIONS, FS, GRID, **options).peaks(sound)
    assert found.azimuth[0, 0].isnan().all()
    assert away(found.azimuth[0, -1, 0], 40.0) < 6.0


def test_tops_is_right_in_a_high_band():
    options = {**OPTIONS, "band": (1500.0, 2500.0), "algorithm": "TOPS"}
    found = PyroomMaps(POSITIONS, FS, GRID, **options).peaks(waves(40.0))
    assert away(found.azimuth[0, 0, 0], 40.0) < 3.0


def test_limits_are_named():
    line = linear_array(4, 0.05)
    assert len(PyroomMaps(line, FS, **OPTIONS).grid) == 181
    with pytest.raises(ValueError, match="FRIDA needs .* stand on a line"):
        PyroomFrida(line, FS)
    with pytest.raises(ValueError, match="TOPS finds from 1 to 3 sources"):
        PyroomMaps(line, FS, num_sources=4)
    with pytest.raises(ValueError, match="without elevations"):
        PyroomMaps(POSITIONS, FS, DirectionGrid.sphere(20.0))
    assert math.isnan(GRID.angles(GRID.directions)[1][0])
