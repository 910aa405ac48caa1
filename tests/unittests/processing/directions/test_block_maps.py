"""SRP-PHAT and MUSIC over time: exact waves, other systems, memory."""

from functools import partial

import numpy as np
import pyroomacoustics
import pytest
import torch
from plane_waves import plane_wave

from spatial_brain.geometry import (
    angular_distance,
    azel_to_unit,
    circular_array,
    linear_array,
    tetrahedral_array,
)
from spatial_brain.processing.directions import blocks as blocks_module
from spatial_brain.processing.directions.grid import DirectionGrid
from spatial_brain.processing.directions.mixture import (
    MOST_MICROPHONES,
    LocalMixture,
)
from spatial_brain.processing.directions.music import MUSIC
from spatial_brain.processing.directions.srp_phat import SRPPhat
from spatial_brain.processing.spatial import srp_phat

METHODS = (SRPPhat, MUSIC, partial(MUSIC, normalize=False))
FS = 16000


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("azimuth, elevation", [
    (33.3, 12.2), (-179.6, -40.0), (10.0, 88.0), (0.0, -90.0),
])  # fmt: skip
def test_plane_waves_at_a_volume(method, azimuth, elevation):
    array, wanted = tetrahedral_array(), azel_to_unit(azimuth, elevation)
    locate = method(array, FS, DirectionGrid.sphere(5.0))
    found = locate.peaks(plane_wave(array, wanted))
    vectors = azel_to_unit(found.azimuth, found.elevation)
    assert angular_distance(vectors, wanted).max() < 0.3
    assert found.confidence.min() > 0.95


@pytest.mark.parametrize("method", METHODS)
def test_plane_waves_at_planes_and_lines(method):
    array = circular_array(5, 0.06)
    waves = plane_wave(array, azel_to_unit(-123.4, 0.0))
    found = method(array, FS).peaks(waves)
    assert (found.azimuth + 123.4).abs().max() < 0.1
    assert found.elevation.isnan().all()
    # From behind a line the wave looks like one from the front.
    array = linear_array(4, 0.05)[:, [1, 0, 2]]
    waves = plane_wave(array, azel_to_unit(150.0, 0.0))
    found = method(array, FS).peaks(waves)
    assert (found.azimuth - 30.0).abs().max() < 0.2


def test_narrow_lobes_of_a_large_array_are_found():
    array = torch.zeros(7, 3)
    array[:, 1] = torch.tensor([-1.0, -0.6, -0.2, 0.0, 0.3, 0.7, 1.0])
    array[-1, 2] = array[0, 2] = 0.4
    locate = SRPPhat(array, FS)
    assert locate.grid.resolution < 2 and locate.grid.has_elevation
    for azimuth, elevation in ((33.3, 12.2), (-61.7, -5.0), (1.1, 41.0)):
        wanted = azel_to_unit(azimuth, elevation)
        found = locate.peaks(plane_wave(array, wanted))
        vectors = azel_to_unit(found.azimuth, found.elevation)
        assert angular_distance(vectors, wanted).max() < 1.0


@pytest.mark.parametrize("fs", [8000, 44100])
def test_any_rate(fs):
    array = circular_array(4, 0.05)
    waves = plane_wave(array, azel_to_unit(70.0, 0.0), samples=fs, fs=fs)
    for method in METHODS:
        found = method(array, fs).peaks(waves)
        assert (found.azimuth - 70.0).abs().max() < 0.2


def test_maps_equal_the_direct_steered_response():
    torch.manual_seed(0)
    array, grid = tetrahedral_array(), DirectionGrid.sphere(10.0)
    waves = plane_wave(array, azel_to_unit(20.0, 30.0), 6000)
    waves = waves + 0.5 * torch.randn_like(waves)
    locate = SRPPhat(array, FS, grid, block=0.25, band=(0.0, 8000.0))
    length = (locate.block_frames - 1) * locate.hop_length + locate.n_fft
    half = locate.n_fft // 2
    # That pads by half a frame; here the ends are cut away.
    direct = srp_phat(
        waves[:, half : length - half], array, grid.directions, FS
    )
    frames = locate.block_frames
    ours = locate(waves)[:, 0]
    assert frames > 10 and (ours - direct).abs().max() < 0.06
    assert torch.corrcoef(torch.cat((ours, direct)))[0, 1] > 0.995


def room(seed):
    """Two talking noises in a small reverberant room, [1, time, mic]."""
    rng = np.random.default_rng(seed)
    array = circular_array(6, 0.05)
    shoebox = pyroomacoustics.ShoeBox(
        [5.0, 4.0, 3.0], fs=FS, materials=pyroomacoustics.Material(0.4),
        max_order=6,
    )  # fmt: skip
    centre = np.array([2.3, 1.8, 1.4])
    shoebox.add_microphone_array(centre[:, None] + array.numpy().T)
    for start in rng.uniform(-180, 180) + np.array([0.0, 110.0]):
        angle = np.radians(start)
        place = centre + 1.3 * np.array([np.cos(angle), np.sin(angle), 0])
        noise = rng.standard_normal(12000) * np.repeat(rng.random(24), 500)
        shoebox.add_source(place, signal=noise)
    shoebox.simulate()
    signals = shoebox.mic_array.signals.T[:12000]
    return array, torch.tensor(signals, dtype=torch.float32)[None]


def theirs(name, locate, array, waves, block):
    """The map of one block by pyroomacoustics, on our frames and grid."""
    start = block * locate.step_frames
    frames = waves[0].T.unfold(-1, locate.n_fft, locate.hop_length)
    frames = frames[:, start : start + locate.block_frames]
    window = torch.hann_window(locate.n_fft)
    spectra = torch.fft.rfft(frames * window).permute(0, 2, 1)
    doa = pyroomacoustics.doa.algorithms[name](
        array.double().numpy().T, FS, locate.n_fft, num_src=1,
        azimuth=np.radians(locate.grid.azimuth.double().numpy()),
    )  # fmt: skip
    doa.locate_sources(
        spectra.numpy().astype(complex),
        freq_bins=np.arange(locate.bins.start, locate.bins.stop),
    )
    return doa.grid.values


@pytest.mark.parametrize("seed", range(3))
def test_maps_equal_those_of_pyroomacoustics(seed):
    array, waves = room(seed)
    pairs = len(array) * (len(array) - 1) / 2
    for name, locate in (
        ("SRP", SRPPhat(array, FS, DirectionGrid.circle(2.0))),
        ("NormMUSIC", MUSIC(array, FS, DirectionGrid.circle(2.0))),
        ("MUSIC", MUSIC(array, FS, DirectionGrid.circle(2.0), normalize=False)),
    ):
        maps = locate(waves)[0]
        for block in range(2):
            other = theirs(name, locate, array, waves, block)
            if name == "SRP":
                # Theirs counts pairs twice and adds the microphones' power.
                other = (other - len(array) / pairs) / 2
            if name == "MUSIC":
                # Its steering vectors have the length of their number.
                other = 1 - 1 / (len(array) * other)
            mine = maps[block].numpy()
            assert np.abs(mine - other).max() < 1e-3
            best = locate.grid.azimuth[mine.argmax()]
            assert best == locate.grid.azimuth[other.argmax()]


@pytest.mark.parametrize("pooling", ["mean", "max"])
def test_chunks_do_not_change_anything(pooling, monkeypatch):
    array, waves = room(0)
    waves = torch.cat((waves, waves.flip(1)))
    for locate in (
        SRPPhat(array, FS, pooling=pooling, block=0.2),
        MUSIC(array, FS, block=0.2, num_sources=2, diffuse=0.5),
    ):
        whole, peaks = locate(waves), locate.peaks(waves, 2)
        with monkeypatch.context() as patch:
            patch.setattr(blocks_module, "_CHUNK", 1)
            assert (locate(waves) - whole).abs().max() < 1e-3
            assert torch.equal(locate.peaks(waves, 2).times, peaks.times)
        assert whole.shape == (2, len(peaks.times), 360)
        single = locate(waves[1:])
        assert (single - whole[1:]).abs().max() < 1e-3


def test_times_are_the_centres_of_the_blocks():
    array = circular_array(4, 0.05)
    locate = SRPPhat(array, FS, block=0.25, hop=0.1)
    first, second = (
        plane_wave(array, azel_to_unit(a, 0.0), 16000, seed=1)
        for a in (20.0, 100.0)
    )
    found = locate.peaks(torch.cat((first, second), dim=1))
    azimuth = found.azimuth[0, :, 0]
    # Blocks with less of the other half than of their own.
    last = found.times[(azimuth - 20).abs() < 10][-1]
    next_ = found.times[(azimuth - 100).abs() < 10][0]
    assert last < next_ <= last + 0.25
    assert (last + next_) / 2 == pytest.approx(1.0, abs=0.06)
    assert found.times[-1] == pytest.approx(2.0, abs=0.2)


def test_maxima_show_sources_that_take_turns():
    array = circular_array(6, 0.05)
    waves = [
        plane_wave(array, azel_to_unit(a, 0.0), 2400, seed=int(a))
        for a in (20.0, 100.0, 20.0)
    ]
    locate = SRPPhat(array, FS, pooling="max", block=0.4)
    found = locate.peaks(torch.cat(waves, dim=1), 2)
    azimuth = found.azimuth[0, 0].sort().values
    assert azimuth.tolist() == pytest.approx([20, 100], abs=1)
    assert found.confidence[0, 0].min() > 0.9


def test_two_sources_at_once():
    array = circular_array(8, 0.08)
    waves = sum(
        plane_wave(array, azel_to_unit(a, 0.0), 16000, seed=int(a))
        for a in (20.0, 100.0)
    )
    found = MUSIC(array, FS, num_sources=2).peaks(waves, 2)
    azimuth = found.azimuth.sort(-1).values
    assert (azimuth - torch.tensor([20.0, 100.0])).abs().max() < 1


def test_silence_and_dead_channels():
    array = circular_array(4, 0.05)
    for method in METHODS:
        locate = method(array, FS)
        assert not locate(torch.zeros(1, 8000, 4)).any()
        found = locate.peaks(torch.zeros(1, 8000, 4))
        assert found.azimuth.isnan().all() and (found.confidence == 0).all()
        waves = plane_wave(array, azel_to_unit(70.0, 0.0))
        waves[..., 1] = 0
        assert (locate.peaks(waves).azimuth - 70).abs().median() < 5
        # Shorter than a block, even than a frame.
        assert locate.peaks(waves[:, :300]).azimuth.shape == (1, 1, 1)


def test_diffuse_noise_is_whitened():
    locate = MUSIC(tetrahedral_array(), FS, diffuse=0.9)
    distance = torch.cdist(locate.microphones, locate.microphones)
    wave = 2 * locate.frequency[:, None, None] * distance / 343.0
    noise = 0.9 * torch.sinc(wave) + 0.1 * torch.eye(4)
    white = locate.whitener @ noise @ locate.whitener.mT
    assert (white - torch.eye(4)).abs().max() < 1e-4


def test_bad_input_is_named():
    array = circular_array(4, 0.05)
    with pytest.raises(ValueError, match=r"4 microphones\], got shape"):
        SRPPhat(array, FS)(torch.zeros(1, 8000, 3))
    with pytest.raises(ValueError, match="no samples"):
        SRPPhat(array, FS)(torch.zeros(1, 0, 4))
    with pytest.raises(ValueError, match="no frequency bin"):
        SRPPhat(array, FS, band=(9000.0, 12000.0))
    with pytest.raises(ValueError, match="pooling"):
        SRPPhat(array, FS, pooling="sum")
    with pytest.raises(ValueError, match="block must be positive"):
        MUSIC(array, FS, block=0.0)
    with pytest.raises(ValueError, match="num_sources must be from 1 to 3"):
        MUSIC(array, FS, num_sources=4)
    with pytest.raises(ValueError, match="diffuse"):
        MUSIC(array, FS, diffuse=1.0)
    with pytest.raises(ValueError, match="two microphones"):
        SRPPhat(array[:1], FS)


@pytest.mark.parametrize("block, hop", [(0.5, 0.1), (0.25, 0.25), (0.2, 0.4)])
def test_covariances_of_blocks_are_the_means_of_their_frames(block, hop):
    locate = SRPPhat(circular_array(4, 0.05), FS, block=block, hop=hop)
    spectra = locate.spectra(torch.randn(2, 2 * FS, 4))
    found = locate._covariances(spectra)
    step, length = locate.step_frames, locate.block_frames
    assert found.shape[2] == (spectra.shape[-1] - length) // step + 1
    for number in range(found.shape[2]):
        frames = spectra[..., number * step : number * step + length]
        wanted = frames @ frames.mH / length
        assert torch.allclose(found[:, :, number], wanted, atol=1e-4)


@pytest.mark.parametrize("number", [16, 32])
def test_mixture_of_large_arrays_has_bounded_tables(number):
    array = circular_array(number, 0.1)
    mixture = LocalMixture(array, FS, DirectionGrid.circle(2.0), block=0.5)
    terms = MOST_MICROPHONES * (MOST_MICROPHONES - 1) + 1
    assert mixture.steering.shape[1] == terms
    waves = plane_wave(array, azel_to_unit(70.0, 0.0))
    away = (mixture.peaks(waves).azimuth - 70.0).abs()
    assert away.max() < 0.5
