"""The command that writes the sound from a direction."""

import json

import pytest
import torch

from spatial_brain.cli.main import main
from spatial_brain.dataio.audio import audio_info, read_audio, write_audio
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
    assert "lcmv, noise: diffuse" in printed and "(acn-sn3d)" in printed
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


def test_orders_and_gains_of_ambisonics(recording, capsys):
    sound, fs = read_audio(recording)
    # Furse-Malham: W, X, Y, Z, and W 3 dB lower.
    fuma = sound[:, [0, 3, 1, 2]] * torch.tensor([0.5**0.5, 1, 1, 1])
    write_audio("fuma.wav", fuma, fs, subtype="FLOAT")
    line = ["--array", "foa", "--azimuth", "30", "--no-gain"]
    line += ["--method", "delay-and-sum", "--subtype", "FLOAT", "--output"]
    assert main(["listen", recording, *line, "one.wav"]) == 0
    assert "fuma" not in capsys.readouterr().out
    order = ["--channel-order", "fuma"]
    assert main(["listen", "fuma.wav", *line, "two.wav", *order]) == 0
    one, two = read_audio("one.wav")[0], read_audio("two.wav")[0]
    torch.testing.assert_close(one, two, atol=1e-5, rtol=1e-4)
    assert main(["listen", "fuma.wav", *line, "three.wav"]) == 0
    assert "--channel-order fuma fits" in capsys.readouterr().out
    line[1] = "circular:4x0.05"
    assert main(["listen", recording, *line, "four.wav", *order]) == 2
    assert "a channel order is of Ambisonics" in capsys.readouterr().err


def test_several_recordings_go_to_a_folder(recording, tmp_path, capsys):
    sound = encode_foa(torch.randn(44100), 30.0, 0.0)
    write_audio("fast.wav", 0.1 * sound, 44100)
    line = ["listen", recording, "fast.wav", "--array", "foa"]
    line += ["--azimuth", "30", "--no-gain"]
    assert main([*line, "--output", "beams"]) == 0
    assert capsys.readouterr().out.count("written to beams/") == 2
    info = audio_info("beams/fast_30.wav")
    assert (info.fs, info.num_samples) == (44100, 44100)
    assert main([*line, "--output", "beams"]) == 2
    assert "beams/foa_30.wav (and 1 more)" in capsys.readouterr().err
    # Recordings behind the options belong to the others.
    assert main(["listen", *line[3:], recording, "fast.wav"]) == 0
    assert (tmp_path / "fast_30.wav").exists()
