"""The command ``spatial-brain separate`` with a model made by hand."""

import json

import pytest
import torch

from spatial_brain.cli import main as command
from spatial_brain.dataio.audio import audio_info, read_audio, write_audio
from spatial_brain.inference.pretrained import save_pretrained

FS = 8000
NO_CARD = (
    "spatial-brain separate: model: no card: what it was trained for is "
    "unknown\n"
)


def main(arguments):
    """The command, with the layers of the model made by hand allowed."""
    return command.main([*arguments, "--allow", "torch.nn."])


YAML = """
net: !new:torch.nn.Sequential
  - !new:torch.nn.Linear [2, 4, False]
  - !new:torch.nn.Unflatten [2, [2, 2]]
modules: {model: !ref <net>}
sample_rate: 8000
num_sources: 2
window_length: 1.0
"""


@pytest.fixture
def model(tmp_path):
    """A folder whose model gives both ears to talker 1, a tenth to 2."""
    net = torch.nn.Sequential(
        torch.nn.Linear(2, 4, False), torch.nn.Unflatten(2, (2, 2))
    )
    rows = torch.tensor([[1, 0], [0.1, 0], [0, 1], [0, 0.1]])
    net[0].load_state_dict({"weight": rows})
    keys = ["sample_rate", "num_sources", "window_length"]
    return str(save_pretrained(tmp_path / "run", YAML, keys, {"model": net}))


@pytest.fixture
def scene(tmp_path):
    """Three seconds of a talker on the left: 6 dB louder, 0.5 ms earlier."""
    noise = torch.randn(3 * FS + 4) * 0.1
    pair = torch.stack((noise[4:], noise[:-4] / 2), 1)
    write_audio(tmp_path / "scene.wav", pair, FS, subtype="FLOAT")
    return str(tmp_path / "scene.wav")


def test_files_and_a_table(model, scene, tmp_path, capsys):
    out = tmp_path / "out"
    arguments = ["separate", scene, "--model", model, "--output", str(out)]
    assert main([*arguments, "--device", "cpu"]) == 0
    captured = capsys.readouterr()
    lines = captured.out.splitlines()
    assert lines[0].endswith("scene.wav: 3.0 s, 2 talkers, 8000 Hz")
    assert lines[2].split() == "talker level ILD ITD side file".split()
    for line, level, name in (
        (lines[3], -22.0, "scene_s1.wav"),
        (lines[4], -42.0, "scene_s2.wav"),
    ):
        _, found, _, ild, _, itd, _, side, file = line.split()
        assert float(found) == pytest.approx(level, abs=0.2)
        assert float(ild) == pytest.approx(6.0, abs=0.1)
        assert float(itd) == pytest.approx(-500, abs=10)
        assert (side, file) == ("left", str(out / name))
    assert captured.err == NO_CARD and "scaled" not in captured.out
    pair, _ = read_audio(scene)
    for name, gain in (("scene_s1.wav", 1), ("scene_s2.wav", 0.1)):
        assert torch.allclose(read_audio(out / name)[0], gain * pair, atol=1e-6)


def test_json_holds_the_common_gain(model, scene, tmp_path, capsys):
    pair, _ = read_audio(scene)
    loud = torch.cat((8 * pair, pair), 1)
    path = str(tmp_path / "loud.wav")
    write_audio(path, loud, 2 * FS, subtype="FLOAT")
    arguments = ["separate", path, "--model", model, "--json"]
    arguments += ["--subtype", "PCM_16", "--output", str(tmp_path)]
    assert main([*arguments, "--channels", "0,1"]) == 2
    assert "--resample" in capsys.readouterr().err
    arguments += ["--channels", "0,1", "--resample", "--window", "2"]
    assert main([*arguments, "--hop", "1"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert 0.1 < found["gain"] < 0.9 and found["subtype"] == "PCM_16"
    files = [talker["file"] for talker in found["talkers"]]
    assert [audio_info(file).subtype for file in files] == ["PCM_16"] * 2
    peaks = [read_audio(file)[0].abs().max().item() for file in files]
    assert peaks == pytest.approx([1, 0.1], abs=1e-3)
    assert found["talkers"][0]["side"] == "left"


def test_a_gain_is_shown_and_mono_is_warned_of(
    model, tmp_path, capsys, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    mono = torch.randn(FS, 1).expand(-1, 2)
    write_audio("mono.wav", mono, FS, subtype="FLOAT")
    arguments = ["separate", "mono.wav", "--model", model]
    assert main([*arguments, "--subtype", "PCM_16"]) == 0
    captured = capsys.readouterr()
    error = captured.err.replace(NO_CARD, "")
    assert "all files are scaled by 0." in captured.out.splitlines()[-1]
    assert error.startswith("spatial-brain separate: warning: mono.wav")
    assert error.count("\n") == 1
    assert (tmp_path / "separated" / "mono_s2.wav").exists()


def test_silence_has_no_cues(model, tmp_path, capsys):
    path = str(tmp_path / "silent.wav")
    write_audio(path, torch.zeros(FS, 2), FS)
    arguments = ["separate", path, "--model", model, "--output", str(tmp_path)]
    assert main(arguments) == 0
    captured = capsys.readouterr()
    error = captured.err.replace(NO_CARD, "")
    assert "is silent" in error and error.count("\n") == 1
    lines = captured.out.splitlines()
    assert lines[3].split() == ["1", "silent", str(tmp_path / "silent_s1.wav")]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--hop", "9"], "hop shorter"),
        (["--device", "toaster"], "no device 'toaster'"),
        (["--channels", "0,5"], "from 0 to 1"),
        (["--channels", "0"], "2 different ones"),
        (["--subtype", "mp3"], "'mp3' is not known; use FLOAT or PCM_16"),
        (["--streaming"], "do without --streaming"),
        (["--model", "./no"], "no such folder"),
        (["--output", "{scene}"], "scene.wav"),
    ],
)
def test_bad_options_are_one_line(
    model, scene, tmp_path, capsys, monkeypatch, options, message
):
    monkeypatch.chdir(tmp_path)
    options = [option.format(scene=scene) for option in options]
    assert main(["separate", scene, "--model", model, *options]) == 2
    captured = capsys.readouterr()
    error = captured.err.replace(NO_CARD, "")
    assert error.startswith("spatial-brain separate: error: ")
    assert error.count("\n") == 1 and message in error
    assert not list(tmp_path.rglob("*_s1.wav*"))


def test_usage_errors(model, scene, capsys):
    with pytest.raises(SystemExit):
        main(["separate", scene, "--model", model, "--channels", "a,b"])
    assert "no list of channels" in capsys.readouterr().err


def test_a_second_run_replaces_nothing_unasked(model, scene, tmp_path, capsys):
    out = tmp_path / "out"
    line = ["separate", str(tmp_path), "--model", model, "--output", str(out)]
    assert main(line) == 0
    before = (out / "scene_s2.wav").stat().st_mtime_ns
    (out / "scene_s1.wav").unlink()
    # What it wrote stands in the folder of the recordings.
    assert main([*line[:1], scene, *line[2:]]) == 2
    assert "scene_s2.wav: is there already" in capsys.readouterr().err
    assert (out / "scene_s2.wav").stat().st_mtime_ns == before
    assert main([*line[:1], scene, *line[2:], "--force"]) == 0
    assert (out / "scene_s1.wav").exists()


def test_files_have_the_rate_of_the_recording(model, tmp_path, capsys):
    path, out = str(tmp_path / "fast.wav"), tmp_path / "out"
    write_audio(path, torch.randn(44107, 2) * 0.1, 44100, subtype="FLOAT")
    line = ["separate", path, "--model", model, "--resample"]
    assert main([*line, "--output", str(out)]) == 0
    text = capsys.readouterr().out
    assert "44100 Hz; the model works at 8000 Hz, so they hold nothing" in text
    info = audio_info(out / "fast_s1.wav")
    assert (info.fs, info.num_samples) == (44100, 44107)
    assert main([*line, "--output", str(out), "--force", "--model-rate"]) == 0
    assert audio_info(out / "fast_s1.wav").fs == FS
    assert "nothing above" not in capsys.readouterr().out
