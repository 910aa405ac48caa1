"""An array without training: directions, silence, rates, pieces, refusals."""

import json

import numpy as np
import pytest
import torch
from plane_waves import plane_wave

from spatial_brain.cli.main import main
from spatial_brain.dataio.audio import write_audio
from spatial_brain.geometry import (
    MicrophoneArray,
    azel_to_unit,
    circular_array,
)
from spatial_brain.inference.array_directions.finder import DirectionFinder
from spatial_brain.inference.array_directions.methods import METHODS
from spatial_brain.inference.array_directions.sources import follow_sources
from spatial_brain.processing.directions import blocks as blocks_module
from spatial_brain.processing.directions.mixture import LocalMixture
from spatial_brain.simulation import simulate_rir
from spatial_brain.simulation.mixing import convolve
from spatial_brain.simulation.noise_field import diffuse_noise

ARRAY = "circular:6x0.05"
FS = 16000


def waves(azimuth, seconds=3.0, fs=FS, noise=0.3):
    """A wave from an azimuth with noise of the microphones, [time, 6]."""
    samples = round(seconds * fs)
    wave = plane_wave(
        circular_array(6, 0.05), azel_to_unit(azimuth, 0.0), samples, fs=fs
    )[0]
    return 0.1 * (wave / wave.std() + noise * torch.randn(samples, 6))


@pytest.fixture
def record(tmp_path):
    def write(waveform, fs=FS):
        path = tmp_path / "scene.wav"
        write_audio(path, waveform.clamp(-0.99, 0.99), fs, subtype="FLOAT")
        return str(path)

    return write


def away(found, wanted):
    """Degrees between azimuths."""
    return np.abs((np.asarray(found) - wanted + 180) % 360 - 180)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("fs", [8000, 44100])
def test_one_source_at_any_rate(record, method, fs):
    path = record(waves(-140.0, fs=fs), fs)
    found = DirectionFinder(ARRAY, method).localize_file(path)
    assert away(found.talkers[0]["direction"], -140.0) < 1.0
    assert found.talkers[0]["confidence"] > 0.6
    assert found.talkers[0]["elevation"] is None
    batch = DirectionFinder(ARRAY, method, sources=1).localize_batch(
        waves(50.0, fs=fs)[None], fs=fs
    )
    assert batch.degrees.shape == (1, 1)
    assert away(batch.degrees, 50.0) < 1.0


def test_two_who_alternate_in_the_same_windows():
    turn = (torch.arange(48000) // 1600 % 2)[:, None]
    sound = torch.where(turn == 0, waves(20.0), waves(-95.0))
    found = LocalMixture(circular_array(6, 0.05), FS, block=1.0).peaks(
        sound[None], num_peaks=2
    )
    for wanted in (20.0, -95.0):
        assert (away(found.azimuth, wanted).min(2) < 2.0).all()


def test_noise_and_silence_give_no_source(record):
    noise = record(0.1 * torch.randn(4 * FS, 6))
    found = DirectionFinder(ARRAY).localize_file(noise)
    assert found.silent.mean() > 0.8
    found = DirectionFinder(ARRAY).localize_file(record(torch.zeros(FS, 6)))
    assert found.silent.all() and not found.talkers
    assert {one.kind for one in found.findings} >= {"silent"}
    json.dumps(found.to_dict(), allow_nan=False)


@pytest.mark.parametrize("method", ["mixture", "srp-phat", "norm-music"])
def test_diffuse_noise_gives_no_source(record, method):
    generator = torch.Generator().manual_seed(3)
    noise = diffuse_noise(
        circular_array(6, 0.05), 4 * FS, fs=FS, generator=generator
    )
    found = DirectionFinder(ARRAY, method).localize_file(record(0.1 * noise.T))
    assert found.silent.mean() > 0.7


def test_noise_as_loud_as_a_source_hides_no_direction():
    torch.manual_seed(0)
    mixture = LocalMixture(circular_array(6, 0.05), FS, block=0.25)
    found = mixture.peaks(waves(20.0, 2.0, noise=1.5)[None]).azimuth
    assert np.isfinite(found).all()
    assert np.median(away(found, 20.0)) < 10.0
    assert mixture.peaks(torch.zeros(1, FS, 6)).azimuth.isnan().all()


@pytest.mark.parametrize("azimuth", [20.0, 160.0])
def test_the_mirror_image_of_an_upright_plane_is_named(record, azimuth):
    upright = circular_array(6, 0.05)[:, [2, 0, 1]]
    wave = plane_wave(upright, azel_to_unit(azimuth, 0.0), 3 * FS)[0]
    sound = 0.1 * (wave / wave.std() + 0.1 * torch.randn(3 * FS, 6))
    finder = DirectionFinder(MicrophoneArray(upright, "upright"))
    found = finder.localize_file(record(sound))
    assert len(found.talkers) == 1
    assert away(found.talkers[0]["direction"], 20.0) < 2.0
    note = next(x for x in found.findings if x.kind == "mirror_images")
    place = note.message.split(" may be at ")[1].removesuffix(" degrees")
    image = [float(part) for part in place.split(",")]
    assert away(image[0], 160.0) < 2.0 and abs(image[1]) < 2.0


def test_a_source_ends_and_another_begins(record):
    quiet = 0.03 * torch.randn(3 * FS, 6)
    path = record(torch.cat((waves(20.0), quiet, waves(-95.0))))
    found = DirectionFinder(ARRAY).localize_file(path)
    spans = {
        round(talker["direction"], -1): (talker["start"], talker["stop"])
        for talker in found.talkers
    }
    assert set(spans) == {20, -100} or set(spans) == {20, -90}
    assert spans[20][0] == 0.0 and spans[20][1] == pytest.approx(3.0, abs=1.0)
    last = next(span for key, span in spans.items() if key != 20)
    assert last[0] == pytest.approx(6.0, abs=1.0)


def test_a_known_number_of_sources_brings_less_certain_ones():
    """Those that are missing are taken at less confidence, not all noise."""
    times = 0.25 * np.arange(12)
    azimuth = np.tile([30.0, 100.0, -80.0], (12, 1))
    nothing = np.full_like(azimuth, np.nan)
    sure = np.tile([0.9, 0.1, 0.03], (12, 1))

    def found(number):
        sources = follow_sources(times, azimuth, nothing, sure, number)
        return np.nanmedian(sources.azimuth, axis=0).round(3).tolist()

    assert found(None) == found(1) == [30.0]
    assert found(2) == found(3) == [30.0, 100.0]


def test_pieces_change_nothing(record, monkeypatch):
    path = record(waves(77.0, 4.0))
    whole = DirectionFinder(ARRAY).localize_file(path)
    monkeypatch.setattr(blocks_module, "_CHUNK", 1)
    parts = DirectionFinder(ARRAY).localize_file(path)
    assert np.allclose(
        whole.directions, parts.directions, atol=1e-3, equal_nan=True
    )


@pytest.mark.parametrize("method", ["cssm", "tops", "frida"])
def test_methods_of_the_library(record, tmp_path, capsys, method):
    path = record(waves(-40.0, 1.5))
    options = ["--array", ARRAY, "--method", method, "--sources", "1"]
    options += ["--band", "1500", "2500", "--hop", "0.5"]
    tables = [str(tmp_path / "a.csv"), str(tmp_path / "b.png")]
    files = ["--csv", tables[0], "--picture", tables[1]]
    assert main(["locate", path, *options, *files]) == 0
    shown = capsys.readouterr()
    assert f"method {method}" in shown.out and "without a confidence" in (
        shown.err
    )
    [line] = [one for one in shown.out.splitlines() if one.startswith("     1")]
    assert away(float(line.split()[1].rstrip("°")), -40.0) < 3.0
    assert line.split()[3] == "-"
    rows = (tmp_path / "a.csv").read_text().splitlines()
    assert len(rows) == 3 and all(row.endswith(",") for row in rows[1:])
    assert main(["locate", path, *options, "--json"]) == 0
    content = json.loads(capsys.readouterr().out)
    assert content["talkers"][0]["confidence"] is None
    assert content["windows"][0]["confidence"] == [None]


def test_command(record, tmp_path, capsys):
    path = record(waves(30.0))
    files = {
        option: str(tmp_path / name)
        for option, name in (
            ("--csv", "a.csv"),
            ("--dcase", "b.csv"),
            ("--picture", "c.png"),
            ("--report", "d.html"),
        )
    }
    options = [part for pair in files.items() for part in pair]
    options += ["--map", "--array", ARRAY]
    assert main(["locate", path, *options]) == 0
    shown = capsys.readouterr().out
    assert "array circular:6x0.05, method mixture" in shown
    assert "     1      30." in shown or "     1      29." in shown
    for file in files.values():
        assert file in shown
    frames = np.loadtxt(files["--dcase"], delimiter=",", ndmin=2)
    assert away(np.median(frames[:, 3]), 30.0) <= 1 and len(frames) > 25
    assert "<audio" in (tmp_path / "d.html").read_text()
    assert main(["locate", path, "--array", ARRAY, "--json"]) == 0
    content = json.loads(capsys.readouterr().out)
    assert content["array"] == ARRAY and content["method"] == "mixture"
    assert all(one["message"] for one in content["findings"])
    assert away(content["talkers"][0]["direction"], 30.0) < 1


def test_distance(record, tmp_path, capsys):
    # A wave from afar, at an array that can tell up to 0.7 m.
    path, table = record(waves(30.0, 1.5)), tmp_path / "a.csv"
    command = ["locate", path, "--array", ARRAY, "--distance"]
    assert main([*command, "--csv", str(table)]) == 0
    shown = capsys.readouterr().out
    assert "active, s  distance" in shown and "  > 0." in shown
    rows = table.read_text().splitlines()
    assert rows[0].endswith("confidence,distance,nearest,farthest")
    *_, metres, low, high = rows[1].split(",")
    assert metres == high == "" and 0.1 <= float(low) <= 0.73
    assert main([*command, "--json"]) == 0
    [talker] = json.loads(capsys.readouterr().out)["talkers"]
    assert talker["distance"]["metres"] is None
    assert talker["distance"]["high"] is None
    assert talker["distance"]["low"] == pytest.approx(float(low), abs=0.01)
    with pytest.raises(ValueError, match="which Ambisonics has not"):
        DirectionFinder("foa", distance=True)


def test_distance_is_that_of_the_room(record):
    array = MicrophoneArray.named("circular:6x0.2")
    rng = np.random.default_rng(0)
    places = [2.5, 2.0, 1.4] + azel_to_unit(
        torch.tensor([60.0, -100.0]), 0.0
    ).numpy() * [[0.8], [1.4]]
    responses = simulate_rir(
        (5.0, 4.0, 3.0), places, array.positions.numpy() + [2.5, 2.0, 1.4],
        t60=0.3, generator=torch.Generator().manual_seed(0),
    )  # fmt: skip
    sounds = []
    for response in responses:
        dry = torch.from_numpy(rng.standard_normal(3 * FS)).float()
        sounds.append(0.05 * convolve(dry[None], response[None], 3 * FS)[0].T)
    path = record(torch.cat(sounds))
    finder = DirectionFinder(array, sources=2, distance=True)
    found = finder.localize_file(path)
    for azimuth, distance in ((60.0, 0.8), (-100.0, 1.4)):
        [talker] = [
            one
            for one in found.talkers
            if away(one["direction"], azimuth) < 3.0
        ]
        bounds = talker["distance"]
        assert bounds["low"] < distance < bounds["high"] < 2 * distance
        assert bounds["metres"] == pytest.approx(distance, rel=0.15)


@pytest.mark.parametrize("options, message", [
    ([], "give --array"),
    (["--array", ARRAY, "--model", "x"], "give --array"),
    (["--array", "circular:5x0.05"], "has 6 channel(s), the array circular:5"),
    (["--array", "alimeting"], "did you mean alimeeting"),
    (["--array", ARRAY, "--method", "srp-phta"], "did you mean srp-phat"),
    (["--array", ARRAY, "--sources", "0"], "from 1 to 10"),
    (["--array", ARRAY, "--method", "tops"], "needs the number of sources"),
    (["--array", ARRAY, "--method", "cssm", "--sources", "6"], "from 1 to 5"),
    (["--array", "linear:6x0.05", "--method", "frida", "--sources", "1"],
     "stand on a line"),
    (["--array", ARRAY, "--method", "frida", "--sources", "1", "--map"],
     "has no map"),
    (["--array", ARRAY, "--band", "9000", "9500"], "no frequency bin"),
    (["--array", ARRAY, "--band", "900", "300"], "lower to a higher"),
    (["--array", ARRAY, "--map"], "--picture"),
    (["--array", ARRAY, "--resample"], "--resample needs --model"),
    (["--model", "x", "--sources", "2"], "--sources needs --array"),
    (["--model", "x", "--distance"], "--distance needs --array"),
])  # fmt: skip
def test_refusals(record, capsys, options, message):
    path = record(torch.randn(FS, 6) * 0.1)
    assert main(["locate", path, *options]) == 2
    assert message in capsys.readouterr().err
