"""The command ``spatial-brain detect`` with a network made by hand."""

import json
import re

import pytest
import torch

from spatial_brain.cli.main import main
from spatial_brain.dataio.annotations import read_events
from spatial_brain.dataio.audio import write_audio
from spatial_brain.inference.seld_detector import SELDetector
from spatial_brain.simulation.ambisonics import encode_foa

RATE = 1000
NO_CARD = (
    "spatial-brain detect: model: no card: what it was trained for is unknown\n"
)


class Intensity(torch.nn.Module):
    """Feature of a label frame: the mean of W times W, Y, Z and X."""

    def forward(self, waveform):
        frames = waveform.unflatten(1, (-1, RATE // 10))
        return (frames[..., :1] * frames).mean(2)


class SoundNetwork(torch.nn.Module):
    """One class, where something sounds."""

    def forward(self, features):
        power, y, z, x = features.unbind(-1)
        gate = (power > 1e-6) / power.clamp(min=1e-12)
        return {"accdoa": torch.stack((x, y, z), -1) * gate[..., None]}


@pytest.fixture
def model(monkeypatch):
    """Serve a network made by hand under the name 'toy'."""
    real = SELDetector.from_hparams

    def from_hparams(source, run_opts, **options):
        if source != "toy":
            return real(source, run_opts=run_opts, **options)
        hparams = {
            "sample_rate": RATE,
            "chunk_length": 3.0,
            "detection_hop": 1.0,
            "method": "accdoa",
            "num_classes": 1,
            "class_names": ["hiss"],
            "threshold": 0.5,
            "features": Intensity(),
            "array_format": "foa",
        }
        return SELDetector({"model": SoundNetwork()}, hparams, run_opts)

    monkeypatch.setattr(SELDetector, "from_hparams", from_hparams)
    return "toy"


@pytest.fixture
def scene(tmp_path):
    """Sound from the left, then, after 2 s of silence, from the front."""
    generator = torch.Generator().manual_seed(0)
    sound = torch.randn(6000, generator=generator) * 0.1
    sound[2000:4000] = 0
    azimuth = torch.where(torch.arange(6000) < 3000, 90.0, -20.0)
    waveform = encode_foa(sound, azimuth, 10.0)
    write_audio(tmp_path / "scene.wav", waveform, RATE, subtype="FLOAT")
    return str(tmp_path / "scene.wav")


def test_table_csv_and_picture(model, scene, tmp_path, capsys):
    output, picture = tmp_path / "out" / "a.csv", tmp_path / "a.png"
    arguments = ["detect", scene, "--model", model, "--device", "cpu"]
    files = ["--output", str(output), "--picture", str(picture)]
    assert main([*arguments, *files]) == 0
    captured = capsys.readouterr()
    lines = captured.out.splitlines()
    assert lines[0].endswith("scene.wav: 6.0 s, 2 events")
    assert lines[3].split() == "hiss 0.0 - 2.0 90.0° 10.0°".split()
    assert lines[4].split() == "hiss 4.0 - 6.0 -20.0° 10.0°".split()
    assert lines[5:] == [f"events: {output}", f"picture: {picture}"]
    assert captured.err == NO_CARD
    assert picture.read_bytes()[1:4] == b"PNG"
    table = read_events(output, "dcase2021")
    assert table.frame.tolist() == [*range(20), *range(40, 60)]
    assert set(table.azimuth) == {90.0, -20.0}


def test_json_and_options(model, scene, tmp_path, capsys):
    output = tmp_path / "a.csv"
    arguments = ["detect", scene, "--model", model, "--json", "--hop", "2"]
    more = ["--output", str(output), "--format", "starss23"]
    assert main([*arguments, *more]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["duration"] == 6.0 and len(found["events"]) == 2
    event = found["events"][0]
    assert event["class"] == "hiss" and event["label"] == 0
    assert (event["start"], event["stop"]) == (0.0, 2.0)
    assert event["azimuth"] == pytest.approx(90, abs=0.1)
    # Predictions for the challenge of 2023 have no distance.
    assert output.read_text().splitlines()[0] == "0,0,0,90,10"
    assert main([*arguments, "--threshold", "1.5"]) == 0
    assert json.loads(capsys.readouterr().out)["events"] == []
    assert main([*arguments, "--channels", "0,3,1,2"]) == 0
    turned = json.loads(capsys.readouterr().out)["events"][0]
    assert turned["elevation"] == pytest.approx(80, abs=0.1)
    assert main([*arguments, "--channel-order", "WXYZ"]) == 0
    turned = json.loads(capsys.readouterr().out)["events"][0]
    # The file's Y, Z, X are taken for X, Y, Z.
    assert turned["azimuth"] == pytest.approx(10, abs=0.1)
    assert turned["elevation"] == pytest.approx(0, abs=0.1)


def test_long_tables_are_cut(model, tmp_path, capsys):
    sound = torch.randn(80_000) * 0.1
    sound *= torch.arange(80_000) % 2000 < 1000
    path = str(tmp_path / "long.wav")
    waveform = encode_foa(sound, 30.0, 10.0)
    write_audio(path, waveform, RATE, subtype="FLOAT")
    assert main(["detect", path, "--model", model]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].endswith("40 events")
    assert len(lines) == 34
    assert lines[-1].startswith("... and 10 more")


def test_silence_warns_in_one_line(model, tmp_path, capsys):
    path = str(tmp_path / "silent.wav")
    write_audio(path, torch.zeros(3000, 4), RATE)
    assert main(["detect", path, "--model", model]) == 0
    captured = capsys.readouterr()
    error = captured.err.replace(NO_CARD, "")
    assert captured.out == f"{path}: 3.0 s, 0 events\n"
    assert error.startswith(f"spatial-brain detect: warning: {path}: is silent")
    assert error.count("\n") == 1


def test_a_folder_to_rttm(model, scene, tmp_path, capsys):
    out = tmp_path / "out"
    (tmp_path / "broken.wav").write_text("no sound")
    arguments = ["detect", str(tmp_path), "--model", model, "--json"]
    files = ["--output", str(out), "--format", "rttm"]
    assert main([*arguments, *files]) == 2
    captured = capsys.readouterr()
    assert "1 of 2 recordings failed" in captured.err
    found = [json.loads(line) for line in captured.out.splitlines()]
    assert "error" in found[0] and len(found[1]["events"]) == 2
    fields = [line.split() for line in (out / "scene.rttm").open()]
    assert [(one[0], one[1], one[2], one[7]) for one in fields] == [
        ("SPEAKER", "scene", "1", "hiss")
    ] * 2
    spans = [(float(one[3]), float(one[4])) for one in fields]
    assert spans == [(0.0, 2.0), (4.0, 2.0)]
    assert {len(one) for one in fields} == {10}


def test_events_do_not_end_behind_the_recording(model, tmp_path, capsys):
    path = str(tmp_path / "odd.wav")
    waveform = encode_foa(torch.randn(2037) * 0.1, 30.0, 10.0)
    write_audio(path, waveform, RATE, subtype="FLOAT")
    output = tmp_path / "odd.csv"
    files = ["--output", str(output), "--format", "csv"]
    assert main(["detect", path, "--model", model, "--json", *files]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["duration"] == found["events"][0]["stop"] == 2.037
    row = output.read_text().splitlines()[1].split(",")
    assert row[:5] == ["0.000", "2.037", "hiss", "30.00", "10.00"]


def test_microphones_and_other_gains_are_noticed(model, tmp_path, capsys):
    sound = torch.randn(3000) * 0.1
    loud = encode_foa(sound, 30.0, 10.0) * torch.tensor([1, 3, 3, 3]).sqrt()
    path = str(tmp_path / "n3d.wav")
    write_audio(path, loud, RATE, subtype="FLOAT")
    line = ["detect", path, "--model", model]
    assert main(line) == 0
    error = capsys.readouterr().err
    assert "--channel-order acn-n3d fits" in error
    assert main([*line, "--channel-order", "acn-n3d"]) == 0
    assert "warning" not in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--format", "dcase2024"], "dcase2024 holds distances.*polar4"),
        (["--format", "xls"], "xls is not known; use one of .*dcase2021"),
        (["--format", "csv"], "csv is that of --output"),
        (["--output", "a.xls"], "files end in .csv, .json, .rttm"),
        (["--hop", "0.05"], "multiple of 0.1"),
        (["--channel-order", "LR"], "'LR'"),
        (["--device", "toaster"], "no device 'toaster'"),
        (["--picture", "a.xyz"], "cannot draw '.xyz'"),
    ],
)
def test_bad_options_are_one_line(model, scene, capsys, options, message):
    assert main(["detect", scene, "--model", model, *options]) == 2
    captured = capsys.readouterr()
    error = captured.err.replace(NO_CARD, "")
    assert error.startswith("spatial-brain detect: error: ")
    assert error.count("\n") == 1
    assert re.search(message, error)


def test_missing_things_are_one_line(model, scene, tmp_path, capsys):
    missing = str(tmp_path / "missing.wav")
    for arguments in ([missing, "--model", model], [scene, "--model", "./no"]):
        assert main(["detect", *arguments]) == 2
        captured = capsys.readouterr()
        error = captured.err.replace(NO_CARD, "")
        assert captured.out == ""
        assert error.count("\n") == 1
