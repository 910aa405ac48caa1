"""The sound from a direction, of files and batches, and its gain."""

import csv

import pytest
import torch
from plane_waves import plane_wave

from spatial_brain.dataio.audio import read_audio, resample_audio, write_audio
from spatial_brain.geometry import MicrophoneArray, azel_to_unit
from spatial_brain.inference.beamforming.beamformer import METHODS, Beamformer
from spatial_brain.inference.beamforming.simulated_gain import simulated_gain
from spatial_brain.metrics.separation.signals import si_snr
from spatial_brain.simulation.microphone_faults import MicrophoneFaults
from spatial_brain.simulation.mixing import convolve

ARRAY = "circular:6x0.0425"
FS = 16000


def _two_waves(samples=24000, fs=FS):
    positions = MicrophoneArray.resolve(ARRAY).positions
    return torch.stack(
        [
            plane_wave(positions, azel_to_unit(a, 0.0), samples, fs, seed)[0]
            for seed, a in enumerate((30.0, 150.0))
        ]
    )


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("fs", [8000, 22050])
def test_a_file_of_any_length_equals_the_whole(tmp_path, method, fs):
    parts = 0.1 * _two_waves(2 * fs, fs)
    beamformer = Beamformer.from_array(ARRAY, method, segment=0.8)
    nulls = [150.0] if method == "lcmv" else []
    write_audio(tmp_path / "in.wav", parts.sum(0), fs, subtype="FLOAT")
    beam = beamformer.beamform_file(
        tmp_path / "in.wav", tmp_path / "o.wav", 30.0, 0.0, nulls,
        subtype="FLOAT",
    )  # fmt: skip
    found, rate = read_audio(tmp_path / "o.wav")
    whole, passed = (
        beamformer.beamform_batch(
            parts.sum(0)[None], fs, 30.0, nulls=nulls, parts=given
        )[0]
        for given in (None, parts[None])
    )
    assert (rate, len(found), beam.gain) == (fs, 2 * fs, 1.0)
    assert torch.allclose(found[:, 0], whole, atol=1e-6)
    # What passes of the parts adds up; the other wave has become softer.
    assert torch.allclose(passed.sum(0), whole, atol=1e-5)
    assert passed[0].var() > (1.5 if method == "delay-and-sum" else 5) * (
        passed[1].var()
    )
    if method in ("delay-and-sum", "mvdr"):
        once = Beamformer.from_array(ARRAY, method, noise="diffuse")
        pieces = Beamformer.from_array(
            ARRAY, method, noise="diffuse", segment=0.31
        )
        one, other = (
            b.beamform_batch(parts.sum(0)[None], fs, 30.0)
            for b in (once, pieces)
        )
        assert torch.allclose(one, other, atol=1e-6)


def test_uneven_and_dead_channels_do_no_harm():
    signals = 0.1 * _two_waves().sum(0)

    def listen(faults, **options):
        spoilt = MicrophoneFaults(**faults).draw(6).apply(signals.T).T
        beamformer = Beamformer.from_array(ARRAY, **options)
        return beamformer.beamform_batch(spoilt[None], FS, 30.0)[0]

    clean, uneven = listen({}), {"gain": [0, 3, -4, 2, 0, -3]}
    assert si_snr(listen(uneven), clean) > 25
    assert si_snr(listen(uneven, equalize=False), clean) < 15
    dead = MicrophoneArray.resolve(ARRAY)
    assert si_snr(listen({"dead": [4]}), clean) > 6
    five = dead.select([0, 1, 2, 3, 5])
    alone = Beamformer.from_array(five, "delay-and-sum").beamform_batch(
        signals[None][..., [0, 1, 2, 3, 5]], FS, 30.0
    )
    found = listen({"dead": [4]}, method="delay-and-sum")
    # The same but for the centre, which stays that of the whole array.
    lag = (five.centre - dead.centre).norm() / 343 * FS
    assert lag < 1 and found.var() == pytest.approx(
        alone.var().item(), rel=1e-3
    )
    with pytest.raises(ValueError, match="one channel at most"):
        listen({"dead": [0, 1, 2, 3, 4]})


def test_sixteen_bits_get_one_gain_instead_of_clipping(tmp_path):
    wave = _two_waves()[0]
    write_audio(tmp_path / "in.wav", wave, FS, subtype="FLOAT")
    beamformer = Beamformer.from_array(ARRAY, "delay-and-sum")
    paths = tmp_path / "in.wav", tmp_path / "out" / "o.wav"
    beam = beamformer.beamform_file(*paths, 30.0)
    whole = beamformer.beamform_batch(wave[None], FS, 30.0)[0]
    assert beam.gain == pytest.approx(1 / whole.abs().max().item())
    found, _ = read_audio(paths[1])
    assert torch.allclose(found[:, 0], beam.gain * whole, atol=1e-4)


def test_bad_input_is_refused_with_the_remedy(tmp_path):
    write_audio(tmp_path / "in.wav", torch.zeros(800, 8), FS)
    beamformer = Beamformer.from_array(ARRAY)
    with pytest.raises(ValueError, match="--channels 0,1,2,3,4,5"):
        beamformer.beamform_file(tmp_path / "in.wav", tmp_path / "o.wav", 0.0)
    for name, match in (("in.wav", "itself"), ("o.mp3", "name it o.wav")):
        with pytest.raises(ValueError, match=match):
            beamformer.beamform_file(
                tmp_path / "in.wav", tmp_path / name, 0.0, channels=range(6)
            )
    assert sorted(p.name for p in tmp_path.iterdir()) == ["in.wav"]
    silent = torch.zeros(1, 800, 6)
    for angles, nulls, match in (
        ((float("nan"), 0.0), [], "azimuth"),
        ((0.0, 91.0), [], "elevation"),
        ((0.0, 0.0), [90.0], "--method lcmv"),
    ):
        with pytest.raises(ValueError, match=match):
            beamformer.beamform_batch(silent, FS, *angles, nulls)
    assert not beamformer.beamform_batch(silent, FS, 0.0).any()
    for options in ({"method": "best"}, {"noise": "pink"}, {"segment": 0.0}):
        with pytest.raises(ValueError, match=f"{next(iter(options.values()))}"):
            Beamformer.from_array(ARRAY, **options)


def test_simulated_gains_grow_with_the_method_and_fall_with_the_room():
    plain, best = (
        Beamformer.from_array(ARRAY, name) for name in ("delay-and-sum", "mvdr")
    )
    free, room = simulated_gain(best, 30.0, t60s=(0.0, 0.4))
    assert free["snr_gain"] > 12 and free["si_sdr_gain"] > 10
    assert 4 < room["snr_gain"] < free["snr_gain"] - 3
    [worse] = simulated_gain(plain, 30.0, t60s=[0.0])
    assert worse["snr_gain"] < free["snr_gain"] - 6
    [foa] = simulated_gain(Beamformer.from_array("foa"), 30.0, t60s=[0.0])
    assert foa["snr_gain"] > 10


def test_a_talker_in_a_real_room_comes_out(shared_data):
    folder = shared_data / "rir" / "r3vival"
    array = MicrophoneArray.from_file(folder / "array_geometry.csv")
    with open(folder / "manifest.csv") as file:
        rows = {row["id"]: row for row in csv.DictReader(file)}
    with open(shared_data / "speech" / "manifest.csv") as file:
        speech = [r for r in csv.DictReader(file) if r["split"] == "test"][:2]
    images, direct = [], None
    for name, row in zip(("100_S030-150", "100_S150-150"), speech, strict=True):
        rir, fs = read_audio(shared_data / rows[name]["path"])
        rir = resample_audio(rir, fs, FS).T
        dry = read_audio(shared_data / row["path"])[0][: 5 * FS, 0]
        images.append(convolve(dry[None], rir[None], 5 * FS)[0])
        if direct is None:
            early = rir[-1:, : round(0.0125 * FS)]
            direct = convolve(dry[None], early[None], 5 * FS)[0, 0]
    images = torch.stack([one / one.std() for one in images])
    azimuth = float(rows["100_S030-150"]["azimuth_deg"])
    # The seventh, in the centre, is another model, and louder.
    *channels, centre = images.sum(0)
    mixture = torch.stack(channels, dim=-1)[None]
    array = array.select(range(6))
    before = si_snr(centre, direct)
    for method, least in (("delay-and-sum", 0.0), ("mvdr", 5.0), ("gev", 4.0)):
        beamformer = Beamformer.from_array(array, method)
        output = beamformer.beamform_batch(mixture, FS, azimuth)[0]
        assert si_snr(output, direct) - before > least, method
