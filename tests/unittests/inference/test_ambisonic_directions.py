"""Directions of first-order Ambisonics, and recordings that are none."""

import numpy as np
import pytest
import torch
from plane_waves import plane_wave

from spatial_brain.cli.main import main
from spatial_brain.dataio.audio import write_audio
from spatial_brain.geometry import (
    angular_distance,
    azel_to_unit,
    tetrahedral_array,
)
from spatial_brain.inference.array_checks import check_ambisonics
from spatial_brain.inference.array_directions.finder import DirectionFinder
from spatial_brain.simulation.ambisonics import encode_foa

FS = 16000
N3D = torch.tensor([1.0, 3**0.5, 3**0.5, 3**0.5])


def wave(azimuth, elevation, seconds=1.75):
    """A plane wave with some noise, SN3D, [time, 4]."""
    samples = int(seconds * FS)
    generator = torch.Generator().manual_seed(int(azimuth) % 100)
    sound = torch.randn(samples, generator=generator)
    noise = torch.randn(samples, 4, generator=generator)
    return 0.1 * (encode_foa(sound, azimuth, elevation) + 0.1 * noise)


@pytest.fixture(scope="module")
def finders():
    """Finders by channel order: they keep tables for a rate."""
    return {
        name: DirectionFinder("foa", channel_order=name)
        for name in ("acn-sn3d", "acn-n3d", "fuma")
    }


@pytest.fixture
def record(tmp_path):
    def write(waveform):
        path = tmp_path / "scene.wav"
        write_audio(path, waveform, FS, subtype="FLOAT")
        return str(path)

    return write


def away(talker, azimuth, elevation):
    """Degrees between a source that was found and a direction."""
    found = azel_to_unit(talker["direction"], talker["elevation"])
    return angular_distance(found, azel_to_unit(azimuth, elevation))


@pytest.mark.parametrize("order", ["acn-sn3d", "acn-n3d", "fuma"])
def test_one_source(record, finders, order):
    sound = wave(-140.0, 35.0)
    if order == "acn-n3d":
        sound = sound * N3D
    if order == "fuma":
        sound = sound[:, [0, 3, 1, 2]] * torch.tensor([0.5**0.5, 1, 1, 1])
    path = record(sound)
    found = finders[order].localize_file(path)
    [assumed] = found.findings
    assert assumed.kind == "assumed" and order in str(assumed)
    assert ("W, X, Y, Z" in str(assumed)) == (order == "fuma")
    assert len(found.talkers) == 1
    assert away(found.talkers[0], -140.0, 35.0) < 1.5
    assert found.talkers[0]["confidence"] > 0.8


def test_two_sources(record, finders):
    turn = (torch.arange(28000) // 1600 % 2)[:, None]
    path = record(torch.where(turn == 0, wave(20, 10), wave(-95, -40)))
    found = finders["acn-sn3d"].localize_file(path)
    assert len(found.talkers) == 2
    for wanted in ((20.0, 10.0), (-95.0, -40.0)):
        assert min(away(one, *wanted) for one in found.talkers) < 3.0


def test_noise_gives_no_source(record, finders):
    noise = torch.randn(2 * FS, 4) / N3D
    found = finders["acn-sn3d"].localize_file(record(0.1 * noise))
    assert found.silent.mean() > 0.7


def test_orders_give_the_same(finders):
    sound = wave(45.0, 35.0)[None]
    wanted = finders["acn-sn3d"].localize_batch(sound)
    fuma = sound[..., [0, 3, 1, 2]] * torch.tensor([0.5**0.5, 1, 1, 1])
    for name, waveform in (("acn-n3d", sound * N3D), ("fuma", fuma)):
        found = finders[name].localize_batch(waveform)
        for one, other in zip(found, wanted, strict=True):
            torch.testing.assert_close(one, other, atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize("ratio, said, fits", [
    (3, "acn-sn3d", "acn-n3d"),
    (2, "acn-sn3d", "fuma"),
    (2, "acn-n3d", "fuma"),
    (1, "fuma", "acn-sn3d"),
    (1, "acn-n3d", "acn-sn3d"),
])  # fmt: skip
def test_wrong_gains_are_noticed(record, ratio, said, fits):
    path = record(wave(45.0, 35.0) * torch.tensor([ratio**-0.5, 1, 1, 1]))
    [found] = check_ambisonics(path, range(4), said)
    assert found.value == pytest.approx(ratio, rel=0.05)
    assert f"--channel-order {fits} fits" in str(found)


def test_wrong_gains_are_shown(record, capsys):
    path = record(wave(45.0, 35.0) * N3D)
    assert main(["locate", path, "--array", "foa"]) == 0
    shown = capsys.readouterr()
    assert "--channel-order acn-n3d fits" in shown.err
    assert "array foa, method mixture" in shown.out


def test_microphones_are_noticed(record):
    microphones = tetrahedral_array()
    sound = sum(
        plane_wave(microphones, azel_to_unit(*angles), FS, seed=seed)[0]
        for seed, angles in enumerate([(30.0, 10.0), (-120.0, 40.0)])
    )
    path = record(0.05 * sound)
    for order in ("acn-sn3d", "acn-n3d"):
        found = check_ambisonics(path, range(4), order)
        kinds = [one.kind for one in found]
        assert kinds == ["not_ambisonics"]


@pytest.mark.parametrize("channels, options, message", [
    (3, [], "Ambisonics 4 (W, Y, Z, X); of microphones give their --array"),
    (16, [], "choose them with --channels 0,1,2,3"),
    (4, ["--method", "norm-music"], "use mixture"),
    (4, ["--array", "pair:0.1", "--channel-order", "fuma"], "of Ambisonics"),
    (4, ["--channel-order", "fumo"], "known: acn-sn3d, acn-n3d, fuma"),
])  # fmt: skip
def test_refusals(record, capsys, channels, options, message):
    path = record(0.1 * torch.randn(FS, channels))
    assert main(["locate", path, "--array", "foa", *options]) == 2
    assert message in capsys.readouterr().err


def test_real_recordings(shared_data, finders):
    folder = shared_data / "recordings" / "aalto_eigenmike_hoa3"
    paths = sorted(folder.glob("*_foa.flac"))
    if not paths:
        pytest.skip("the recordings are not here")
    for path in paths:
        found = finders["acn-n3d"].localize_file(path)
        kinds = {one.kind for one in found.findings}
        assert not kinds & {"normalization", "not_ambisonics"}
        assert found.talkers and not np.isnan(found.elevation).all()
