"""Shipped models are listed, shown, and taken where they fit."""

import json

import pytest
import torch
from small_models import ship_run, write_run

from spatial_brain.cli.main import main
from spatial_brain.dataio.audio import write_audio
from spatial_brain.inference import shipped
from spatial_brain.inference.pretrained import Figure, write_card
from spatial_brain.inference.pretrained.choice import choose_model
from spatial_brain.inference.publishing.shipping import write_figures


@pytest.fixture
def models(tmp_path, monkeypatch):
    """Folder of shipped models: none yet."""
    folder = tmp_path / "pretrained_models"
    monkeypatch.setattr(shipped, "SHIPPED", folder)
    return folder


@pytest.fixture
def pair(models, tmp_path):
    """A shipped localiser of two microphones 0.1 m apart."""
    return ship_run(write_run(tmp_path / "run"), models / "pair")


def add_card(models, name, **facts):
    """A model of which there is a card only."""
    facts = {"task": "a", "sample_rate": 16000, "channels": 2, **facts}
    write_card(models / name, facts)
    (models / name / "hyperparams.yaml").touch()


def recording(folder, channels=2, fs=16000, name="scene.wav"):
    path = folder / name
    write_audio(path, 0.1 * torch.randn(2 * fs, channels), fs)
    return str(path)


def test_the_list_shows_what_each_is_worth(pair, capsys):
    row = {"test_set": "office", "rooms": "measured", "name": "error"}
    own = Figure(**row, method="this model", kind="model", value=3.0)
    other = Figure(**row, method="SRP-PHAT", kind="classical", value=5.0)
    write_figures("pair", [own, other])
    assert main(["models"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "pair: locate; 16000 Hz, 2 channels (left, right), spacing 0.1 m, not "
        "causal, latency 1000 ms; 0.1 MB",
        "    azimuth",
        "    error 3, SRP-PHAT 5 (measured rooms: office)",
    ]
    assert main(["models", "--json"]) == 0
    [found] = json.loads(capsys.readouterr().out)
    assert found["name"] == "pair" and found["card"]["t60"] == [0.2, 0.8]
    assert main(["models", "pair"]) == 0
    printed = capsys.readouterr().out
    assert "- data licences: VCTK: CC BY 4.0\n" in printed
    assert "| measured | office   | 3          | 5        |" in printed
    assert main(["models", "pairs"]) == 2
    assert "shipped are pair; did you mean pair?" in capsys.readouterr().err


def test_locate_takes_the_pair_by_its_spacing(pair, tmp_path, capsys):
    path = recording(tmp_path)
    assert main(["locate", path, "--spacing", "0.1", "--json"]) == 0
    captured = capsys.readouterr()
    assert json.loads(captured.out)["card"]["spacing"] == [0.1, 0.1]
    assert captured.err.splitlines()[0] == (
        "spatial-brain locate: takes the shipped model pair: 2 channels, "
        "16000 Hz, channels taken as left, right"
    )
    # By its name for the array that it is, and a rate that has to be lowered.
    assert (
        main(["locate", path, "--array", "pair:0.1", "--method", "pair"]) == 0
    )
    path = recording(tmp_path, fs=48000, name="fast.wav")
    capsys.readouterr()
    assert main(["locate", path, "--spacing", "0.1"]) == 0
    assert (
        "48000 Hz, channels taken as left, right, converted to 16000"
        in capsys.readouterr().err
    )
    # Another spacing is no other array for it.
    assert main(["locate", path, "--spacing", "0.3"]) == 2
    assert "apart, not 0.3 m" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["acoustics", "detect", "separate"])
def test_where_nothing_is_shipped(command, models, tmp_path, capsys):
    path = recording(tmp_path)
    assert main([command, path]) == 2
    error = capsys.readouterr().err
    assert f"scene.wav: no model is shipped for {command}; give" in error


@pytest.mark.parametrize("command", ["acoustics", "detect", "separate"])
def test_the_model_that_fits_is_loaded(command, models, tmp_path, capsys):
    """The empty description shows that this one would be."""
    add_card(models, "small", command=command, channels=[1, 2])
    add_card(models, "large", command=command, channels=4)
    add_card(models, "other", command="locate")
    for channels, name in ((2, "small"), (4, "large")):
        path = recording(tmp_path, channels, name=f"{channels}.wav")
        # What is no audio is left to the turn of each recording.
        (tmp_path / "a.wav").write_text("no audio")
        assert main([command, str(tmp_path / "a.wav"), path]) == 2
        error = capsys.readouterr().err
        assert f"takes the shipped model {name}: {channels} channels" in error
        assert f"pretrained_models/{name}/hyperparams.yaml" in error
    path = recording(tmp_path, 6, name="6.wav")
    assert main([command, path]) == 2
    error = capsys.readouterr().err
    assert "no shipped model fits 6 channels, 16000 Hz: large takes 4" in error
    assert "small takes 1 to 2 channels" in error and "other" not in error
    assert main([command, path, "--channels", "1,2"]) == 2
    assert "takes the shipped model small: 2 chan" in capsys.readouterr().err


def test_fewer_numbers_of_channels_go_first(models):
    add_card(models, "any", command="locate", channels=[2, 16])
    add_card(models, "two", command="locate", spacing=[0.05, 0.1])
    assert choose_model("locate", "a.wav", 2, 16000, 0.1).name == "two"
    assert choose_model("locate", "a.wav", 2, 16000, 0.2).name == "any"
    with pytest.raises(ValueError, match=r"needs 16000 Hz \(--resample"):
        choose_model("locate", "a.wav", 2, 8000, 0.1)
    found = choose_model("locate", "a.wav", 2, 8000, 0.1, resample=True)
    assert found.reason == "2 channels, 8000 Hz, converted to 16000 Hz"
    # Of live sound neither has to be known.
    assert choose_model("locate", "a", None, None, 0.1).name == "two"
