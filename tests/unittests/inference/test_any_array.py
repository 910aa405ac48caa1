"""Localising with a network for any array; one that is made by hand."""

import json

import numpy as np
import pytest
import torch
from plane_waves import plane_wave

from spatial_brain.cli.main import main
from spatial_brain.dataio.audio import write_audio
from spatial_brain.geometry import MicrophoneArray, azel_to_unit
from spatial_brain.inference import AnyArrayLocalizer, SoundLocalizer
from spatial_brain.inference.any_array import is_any_array
from spatial_brain.inference.pretrained import save_pretrained, write_card
from spatial_brain.inference.pretrained.card import make_card
from spatial_brain.models.any_array import AnyArrayNetwork

FS, ARRAY = 16000, "circular:4x0.05"
HPARAMS = {
    "sample_rate": FS,
    "window_length": 0.512,
    "hop_length": 0.128,
    "frame_length": 0.064,
    "num_directions": 72,
}
# Of the features of a direction: the height counts.
WEIGHTS = [3.0, 0.0, 0.0, 1.0, 0.0, 0.0, -2.0]


class SteeredNetwork(torch.nn.Module):
    """A bump where a plane wave fits a frame best, if it is no silence."""

    def stream(self, positions):
        return SteeredStream(positions)


class SteeredStream:
    def __init__(self, positions):
        self.positions, self.rest = positions, None
        azimuth = -180 + 5.0 * torch.arange(72)
        units = azel_to_unit(azimuth, torch.zeros(()))
        frequency = torch.fft.rfftfreq(1024, 1 / FS)[10:300]
        lead = units @ positions.T / 343
        self.steering = torch.exp(
            2j * torch.pi * frequency[:, None, None] * lead
        )
        self.azimuth = azimuth

    def push(self, chunk):
        if self.rest is not None:
            chunk = torch.cat((self.rest, chunk))
        whole = len(chunk) // 1024
        self.rest = chunk[whole * 1024 :]
        logits = torch.full((whole, 72), -6.0)
        for number in range(whole):
            frame = chunk[number * 1024 : (number + 1) * 1024]
            if frame.square().mean() < 1e-6:
                continue
            spectra = torch.fft.rfft(frame.T)[:, 10:300]
            spectra = spectra / spectra.abs().clamp_min(1e-9)
            power = (self.steering.conj() @ spectra.T[..., None]).abs()
            best = self.azimuth[power[..., 0].square().sum(0).argmax()]
            off = (self.azimuth - best + 180) % 360 - 180
            logits[number] = 3 - 0.5 * (off / 5).square().clamp(max=18)
        return logits


def make_localizer(network=None, **facts):
    model = AnyArrayLocalizer(
        {"model": network or SteeredNetwork()}, HPARAMS, {"device": "cpu"}
    )
    if facts:
        model.card = make_card({"task": "directions of talkers", **facts})
    return model


def wave(azimuth, array=ARRAY, seconds=1.5, fs=FS):
    positions = MicrophoneArray.resolve(array).positions
    unit, samples = azel_to_unit(azimuth, 0.0), round(seconds * fs)
    found = plane_wave(positions, unit, samples, fs=fs)[0]
    return 0.1 * found / found.std()


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def test_a_source_and_then_another(tmp_path):
    path = tmp_path / "two.wav"
    quiet = torch.zeros(FS, 4)
    sound = torch.cat((wave(40.0), quiet, wave(-100.0), quiet))
    write_audio(path, sound + 1e-5 * torch.randn(sound.shape), FS)
    model = make_localizer(calibration={"weights": WEIGHTS})
    found = model.localize_file(path, ARRAY)
    talkers = sorted(found.talkers, key=lambda one: one["start"])
    directions = [one["direction"] for one in talkers]
    assert directions == pytest.approx([40.0, -100.0], abs=1.0)
    assert talkers[0]["stop"] < 2.04 < talkers[1]["start"]
    assert found.target == "full_azimuth" and found.method == "any-array"
    assert 0.5 < found.talkers[0]["confidence"] <= 0.99
    one = model.localize_file(path, ARRAY, sources=1)
    assert len(one.talkers) == 1


def test_live_sound_gives_the_windows_of_the_file():
    network = AnyArrayNetwork(channels=8, dilations=(1, 2)).eval()
    finder = make_localizer(network).finder(ARRAY, sources=2)
    sound = torch.cat((wave(40.0, seconds=1.0), wave(-90.0, seconds=0.73)))
    times, azimuth, _, height = finder.peaks_of(sound[None], FS, 4)
    for size in (333, 20000):
        stream = finder.stream(FS)
        live = [w for c in sound.split(size) for w in stream.push(c)]
        live += stream.flush()
        assert len(live) == len(times)
        np.testing.assert_allclose(
            np.array([window.azimuth for window in live]), azimuth, atol=0.05
        )
    length = finder.locator(FS).block_length / FS
    assert length == pytest.approx(0.512)
    np.testing.assert_allclose(np.diff(times), 0.128, atol=1e-9)
    # The end is in a window.
    assert times[-1] + length / 2 >= len(sound) / FS > times[-2] + length / 2
    assert (height <= 1).all()


def test_other_rates_are_converted(tmp_path):
    path = tmp_path / "48k.wav"
    write_audio(path, wave(70.0, fs=48000), 48000)
    model = make_localizer()
    found = model.localize_file(path, ARRAY, sources=1)
    assert found.talkers[0]["direction"] == pytest.approx(70, abs=1)
    assert found.duration == pytest.approx(1.5)
    [note] = [one for one in found.findings if one.kind == "converted"]
    assert "48000 Hz" in note.message


def test_lower_rates_are_converted_if_that_is_wanted(tmp_path):
    path = tmp_path / "12k.wav"
    write_audio(path, wave(70.0, fs=12000), 12000)
    model = make_localizer()
    with pytest.raises(ValueError, match="12k.wav: a sampling rate of 12000"):
        model.localize_file(path, ARRAY)
    found = model.localize_file(path, ARRAY, resample=True, sources=1)
    assert found.talkers[0]["direction"] == pytest.approx(70, abs=3)


def test_mirror_images_are_named_as_by_other_methods(tmp_path):
    path = tmp_path / "pair.wav"
    write_audio(path, wave(130.0, "pair:0.1"), FS)
    model = make_localizer(calibration={"weights": WEIGHTS})
    found = model.localize_file(path, "pair:0.1")
    assert found.target == "line_azimuth"
    assert found.talkers[0]["direction"] == pytest.approx(50, abs=2)
    upright = tmp_path / "upright.json"
    square = [[0, y, z] for y in (-0.05, 0.05) for z in (-0.05, 0.05)]
    upright.write_text(json.dumps({"positions": square}))
    path = tmp_path / "plane.wav"
    write_audio(path, wave(130.0, upright), FS)
    found = model.localize_file(path, upright)
    assert found.talkers[0]["direction"] == pytest.approx(50, abs=2)
    mirror = [f for f in found.findings if f.kind == "mirror_images"]
    assert "source 1 may be at 130" in mirror[0].message


def test_what_the_card_does_not_hold_is_a_warning(tmp_path):
    path = tmp_path / "wide.wav"
    write_audio(path, wave(0.0, "circular:4x0.5"), FS)
    model = make_localizer(
        channels=[2, 3],
        spacing=[0.03, 0.25],
        calibration={"weights": WEIGHTS},
    )
    found = model.localize_file(path, "circular:4x0.5")
    messages = [f.message for f in found.findings if f.severity == "warning"]
    assert any("has 4 microphones, the model was" in one for one in messages)
    assert any("1 m apart, the model was" in one for one in messages)
    # No option of other methods is proposed.
    assert not any("--band" in f.message for f in found.findings)
    assert not model.contradictions("circular:3x0.05")


def test_without_calibration_there_is_no_confidence():
    model = make_localizer()
    found = model(wave(20.0)[None], ARRAY)
    assert found.degrees[0, 0] == pytest.approx(20, abs=1)
    assert found.confidence.isnan().all()
    limits = model.finder(ARRAY).limits()
    assert [one.severity for one in limits] == ["warning"]


def test_ambisonics_and_a_vertical_line_are_refused():
    model = make_localizer()
    with pytest.raises(ValueError, match="Ambisonics"):
        model.finder("foa")
    line = MicrophoneArray([[0, 0, 0], [0, 0, 0.1]])
    with pytest.raises(ValueError, match="vertical line"):
        model.finder(line).localize_batch(torch.randn(1, FS, 2))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A model as a run leaves it, of random weights."""
    folder = tmp_path_factory.mktemp("models") / "tiny"
    torch.manual_seed(0)
    network = AnyArrayNetwork(channels=8, dilations=(1,))
    with torch.no_grad():
        # Some direction has a peak.
        network.output.bias += 3.0
    text = "\n".join(
        [
            "modules:",
            "  model: !new:spatial_brain.models.any_array.AnyArrayNetwork",
            "    channels: 8",
            "    dilations: [1]",
            *(f"{name}: {value}" for name, value in HPARAMS.items()),
        ]
    )
    save_pretrained(folder, text, list(HPARAMS), {"model": network})
    write_card(
        folder,
        {
            "task": "directions of talkers",
            "command": "locate",
            "channels": [2, 16],
            "calibration": {"weights": WEIGHTS},
        },
    )
    return folder


def test_the_command_takes_it_as_method_and_as_model(
    folder, tmp_path, capsys, monkeypatch
):
    path = tmp_path / "a.wav"
    write_audio(path, wave(30.0, "pair:0.1", seconds=0.8), FS)
    outputs = []
    for options in (
        ["--array", "pair:0.1", "--method", str(folder)],
        ["--positions", "pair:0.1", "--model", str(folder)],
        ["--spacing", "0.1", "--model", str(folder)],
    ):
        command = ["locate", str(path), "--json", "--device", "cpu"]
        assert main([*command, *options, "--sources", "1"]) == 0
        outputs.append(json.loads(capsys.readouterr().out))
    assert outputs[0]["method"] == "tiny" and outputs[0]["array"] == "pair:0.1"
    assert outputs[0]["card"]["channels"] == [2, 16]
    assert all(one == outputs[0] for one in outputs[1:])
    monkeypatch.chdir(folder.parent)
    finder = SoundLocalizer.from_array("pair:0.1", method="tiny", sources=1)
    assert finder.localize_file(path).method == "tiny"
    assert is_any_array(folder)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], "give --array, its name"),
        (["--array", "pair:0.1", "--spacing", "0.1"], "one of them"),
        (["--spacing", "-1"], "no distance"),
        (["--array", "pair:0.1", "--band", "300", "4000"], "--band does not"),
        (["--array", "pair:0.1", "--num-talkers", "1"], "--sources N"),
        (["--array", "foa"], "Ambisonics"),
        (["--array", "pair:0.1", "--map"], "add --picture"),
        (["--array", ARRAY], "4 microphones"),
    ],
)
def test_the_command_refuses_what_does_not_go(
    folder, tmp_path, capsys, options, message
):
    path = tmp_path / "a.wav"
    write_audio(path, wave(30.0, "pair:0.1"), FS)
    assert main(["locate", str(path), "--model", str(folder), *options]) == 2
    error = capsys.readouterr().err
    assert message in error and "Traceback" not in error
