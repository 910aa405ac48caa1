"""``spatial-brain acoustics`` with measured responses."""

import csv
import json

import pytest
import torch

from spatial_brain.cli.main import main
from spatial_brain.dataio.audio import read_audio, write_audio

FS = 16000


@pytest.fixture
def measured(tmp_path):
    """A response of two channels with 0.4 s, after which there is noise."""
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(2, FS, 2, generator=generator)
    time = torch.arange(FS)[:, None] / FS
    rir = noise[0] * 10 ** (-3 * time / 0.4) + noise[1] * 10 ** (-38 / 20)
    path = tmp_path / "response.wav"
    write_audio(path, 0.1 * rir, FS, subtype="FLOAT")
    return path


def test_a_response_gives_a_table_a_picture_and_a_file(
    measured, tmp_path, capsys
):
    picture, table = tmp_path / "a.png", tmp_path / "a.csv"
    arguments = ["acoustics", str(measured), "--impulse-response"]
    more = ["--picture", str(picture), "--csv", str(table)]
    assert main([*arguments, *more]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].endswith("response.wav: 1.00 s, 2 channels, 16000 Hz")
    values = lines[3].split()
    assert values[:2] == ["all", "0"] and values[3] == "-"
    assert abs(float(values[2]) - 0.4) < 0.03
    assert any("T30 of channel 0" in line for line in lines)
    assert picture.stat().st_size > 10_000
    with open(table, newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 14 and rows[0]["t30"] == ""
    assert float(rows[0]["t20"]) == pytest.approx(0.4, abs=0.03)


def test_json_names_what_is_missing(measured, capsys):
    arguments = ["acoustics", str(measured), "--impulse-response", "--json"]
    assert main([*arguments, "--channels", "1"]) == 0
    content = json.loads(capsys.readouterr().out)
    assert content["fs"] == FS and len(content["parameters"]) == 7
    assert "T30 of channel 0" in content["notes"]["all"][0]


def test_a_recorded_clap_is_measured_from_its_onset(measured, capsys):
    assert main(["acoustics", str(measured), "--clap", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)["parameters"]
    assert rows[0]["t20"] == pytest.approx(0.4, abs=0.03)


def test_a_response_is_not_taken_as_speech(measured, tmp_path, capsys):
    rir, fs = read_audio(measured)
    noise = torch.randn(3 * fs, rir.shape[1]) * rir.std() * 1e-2
    noise[: len(rir)] += rir
    longer = tmp_path / "longer.wav"
    write_audio(longer, noise, fs)
    for path in (measured, longer):
        assert main(["acoustics", str(path)]) == 2
        error = capsys.readouterr().err
        assert "of a measured response; --impulse-response" in error
    # By its name the model takes what it is given.
    arguments = ["acoustics", str(longer), "--model", "room-acoustics"]
    assert main(arguments) == 0


def test_what_does_not_go_together_is_refused(measured, tmp_path, capsys):
    write_audio(tmp_path / "sweep.wav", torch.ones(100, 1) * 0.1, 8000)
    sweep = ["--sweep", str(tmp_path / "sweep.wav")]
    assert main(["acoustics", str(measured), *sweep]) == 2
    assert "must have one channel at the 16000 Hz" in capsys.readouterr().err
    arguments = ["acoustics", str(measured), "--clap", "--channels", "2"]
    assert main(arguments) == 2
    assert "no channels [2]" in capsys.readouterr().err
