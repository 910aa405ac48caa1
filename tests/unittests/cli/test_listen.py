"""The command that writes the sound from a direction."""

import json

import pytest
import torch

from spatial_brain.cli.main import main
from spatial_brain.dataio.audio import audio_info, write_audio
from spatial_brain.simulation.ambisonics import encode_foa


@pytest.fixture
def recording(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_audio("foa.wav", 0.1 * encode_foa(torch.randn(8000), 30.0, 0.0), 8000)
    return "foa.wav"


def test_it_writes_a_file_and_reports_what_it_did(recording, capsys):
    line = ["listen", recording, "--array", "foa", "--azimuth", "30"]
    assert main([*line, "--null=-60,10", "--noise", "diffuse"]) == 0
    printed = capsys.readouterr().out
    assert "lcmv, noise: diffuse" in printed and "SN3D" in printed
    assert "written to foa_30.wav" in printed and "SI-SDR" in printed
    assert audio_info("foa_30.wav").num_samples == 8000
    assert main([*line, "--json", "--no-gain", "--output", "o.wav"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["method"], found["noise"]) == ("mvdr", "recording")
    assert found["output"] == "o.wav" and found["simulated"] == []


def test_bad_arguments_end_in_one_line(recording, capsys):
    line = ["listen", recording, "--azimuth", "30", "--array"]
    for more, expected in (
        (["libricss"], "the array libricss"),
        (["foa", "--method", "best"], "use one of delay-and-sum"),
        (["foa", "--null", "left"], "azimuth,elevation"),
        (["foa", "--output", "o.flac"], "name it o.wav"),
    ):
        assert main([*line, *more]) == 2
        error = capsys.readouterr().err
        assert expected in error and error.count("\n") == 1
