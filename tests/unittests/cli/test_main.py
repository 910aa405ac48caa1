"""The command: quick help, one clear line for bad input, real results."""

import json
import signal
import subprocess
import sys

import pytest
import torch

from spatial_brain import __version__
from spatial_brain.cli.main import COMMANDS, _make_parser, main
from spatial_brain.dataio.audio import write_audio
from spatial_brain.inference import SoundLocalizer


class Loudness(torch.nn.Module):
    """Two talkers whose angles depend on the power of microphone 1."""

    def forward(self, waveform):
        power = waveform.square().mean(1)
        angle = 180 * power[:, 1] / power.sum(1).clamp_min(1e-12)
        pair = torch.stack((180 - angle, angle), 1)
        return -((torch.arange(180) + 0.5 - pair[..., None]) ** 2) / 8


@pytest.fixture
def model(monkeypatch):
    """Serve a network made by hand under the name 'toy'."""
    real = SoundLocalizer.from_hparams

    def from_hparams(source, run_opts, **options):
        if source != "toy":
            return real(source, run_opts=run_opts, **options)
        hparams = {
            "sample_rate": 1000,
            "microphone_positions": [[-0.05, 0, 0], [0.05, 0, 0]],
            "window_length": 1.0,
            "hop_length": 0.5,
            "target": "cone",
            "decoder": lambda logits: logits.argmax(-1) + 0.5,
        }
        return SoundLocalizer({"model": Loudness()}, hparams, run_opts)

    monkeypatch.setattr(SoundLocalizer, "from_hparams", from_hparams)
    return "toy"


@pytest.fixture
def scene(tmp_path):
    """Recording in which a talker is at 60 and another at 120 degrees."""
    generator = torch.Generator().manual_seed(0)
    waveform = torch.randn(2000, 2, generator=generator) * 0.1
    waveform *= torch.tensor([1 / 3, 2 / 3]).sqrt()
    write_audio(tmp_path / "scene.wav", waveform, 1000, subtype="FLOAT")
    return str(tmp_path / "scene.wav")


def test_locate_prints_a_table_and_draws(model, scene, tmp_path, capsys):
    picture = tmp_path / "out.png"
    arguments = ["locate", scene, "--model", model, "--device", "cpu"]
    assert main([*arguments, "--picture", str(picture)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].endswith(
        "scene.wav: 2.0 s, 3 windows; angle from the +x axis of the array"
    )
    assert lines[1].startswith("assumes the array of the model: 2 microphones")
    assert lines[2].startswith("the model is not calibrated")
    first, second = (line.split() for line in lines[5:7])
    assert float(first[1][:-1]) == pytest.approx(60, abs=5)
    assert float(second[1][:-1]) == pytest.approx(120, abs=5)
    assert len([line for line in lines if line.endswith("°")]) == 3
    assert picture.read_bytes()[1:4] == b"PNG"


def test_locate_writes_segments_and_directions(model, scene, tmp_path):
    line = ["locate", scene, "--model", model, "--output"]
    assert main([*line, str(tmp_path / "a.rttm")]) == 0
    assert main([*line, str(tmp_path / "a.json")]) == 0
    fields = [one.split() for one in (tmp_path / "a.rttm").open()]
    assert [(one[1], one[7]) for one in fields] == [
        ("scene", "talker1"),
        ("scene", "talker2"),
    ]
    assert {(float(one[3]), float(one[4])) for one in fields} == {(0, 2)}
    found = json.loads((tmp_path / "a.json").read_text())
    # Not calibrated: nobody knows how sure it is.
    assert {one[8] for one in fields} == {"<NA>"}
    assert [talker["confidence"] for talker in found["talkers"]] == [None] * 2


def test_locate_json_is_one_object(model, scene, capsys):
    assert main(["locate", scene, "--model", model, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["duration"] == 2.0 and found["target"] == "cone"
    assert [len(window["directions"]) for window in found["windows"]] == [2] * 3
    assert found["talkers"][0]["direction"] == pytest.approx(60, abs=5)
    options = ["--json", "--window", "2", "--channels", "1,0"]
    assert main(["locate", scene, "--model", model, *options]) == 0
    assert len(json.loads(capsys.readouterr().out)["windows"]) == 1


def test_locate_refuses_the_model_of_another_array(model, scene, capsys):
    arguments = ["locate", scene, "--model", model]
    assert main([*arguments, "--spacing", "0.06"]) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert "2 microphones 6.0 cm apart" in error and "10.0 cm" in error
    for stated in (["--spacing", "0.1"], ["--positions", "pair:0.1"]):
        assert main([*arguments, *stated]) == 0
        lines = capsys.readouterr().out.splitlines()
        assert lines[1].endswith("is that of the model to 0.0 degrees")
    both = ["--spacing", "0.1", "--positions", "pair:0.1"]
    for wrong, part in ((both, "one of them"), (["--spacing", "0"], "metres")):
        assert main([*arguments, *wrong]) == 2
        assert part in capsys.readouterr().err
    assert main(["locate", scene, "--array", "pair:0.1", "--spacing", "1"]) == 2
    assert "--spacing needs --model" in capsys.readouterr().err


def test_locate_gives_the_number_of_talkers_asked_for(model, scene, capsys):
    arguments = ["locate", scene, "--model", model, "--json", "--num-talkers"]
    assert main([*arguments, "1"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert len(found["talkers"]) == 1 and found["num_talkers"] == 1
    assert found["talkers"][0]["confidence"] is None
    assert main([*arguments, "3"]) == 2
    assert "auto or 1 to 2" in capsys.readouterr().err


def test_silence_has_no_direction(model, tmp_path, capsys):
    path = str(tmp_path / "silent.wav")
    picture = str(tmp_path / "silent.png")
    write_audio(path, torch.zeros(2000, 2), 1000)
    assert main(["locate", path, "--model", model, "--picture", picture]) == 0
    captured = capsys.readouterr()
    card, warning = captured.err.splitlines()
    assert card.startswith("spatial-brain locate: model: ")
    assert warning.startswith(f"spatial-brain locate: warning: {path}: is sil")
    lines = captured.out.splitlines()
    assert lines[5].split() == ["1", "-", "-", "0.00", "0"]
    assert sum(line.endswith("silent") for line in lines) == 3
    assert main(["locate", path, "--model", model, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["talkers"][0]["direction"] is None


def test_long_tables_are_cut(model, tmp_path, capsys):
    waveform = torch.randn(40_000, 2) * 0.1
    path = str(tmp_path / "long.wav")
    write_audio(path, waveform, 1000, subtype="FLOAT")
    assert main(["locate", path, "--model", model]) == 0
    out = capsys.readouterr().out
    assert "... and 49 more windows (--json shows all)" in out


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (["{scene}", "--model", "nowhere"], ["no such folder: nowhere"]),
        (["{scene}", "--model", "{tmp}"], ["hyperparams.yaml", "pretrained"]),
        (["missing.wav", "--model", "toy"], ["missing.wav", "not exist"]),
        (["{tmp}/text.wav", "--model", "toy"], ["text.wav", "decoded"]),
        (
            ["{scene}", "--model", "toy", "--channels", "0,5"],
            ["scene.wav", "from 0 to 1"],
        ),
        (
            ["{scene}", "--model", "toy", "--device", "cuda:99"],
            ["no device 'cuda:99'", "cpu"],
        ),
        (
            ["{scene}", "--model", "toy", "--picture", "{tmp}/a.bmp"],
            ["a.bmp", ".png"],
        ),
        (["{scene}"], ["--array", "--model"]),
        (
            ["{scene}", "--model", "toy", "--window", "0.1", "--hop", "1"],
            ["window"],
        ),
    ],
)
def test_bad_input_ends_with_2_and_one_line(
    model, scene, tmp_path, capsys, arguments, parts
):
    (tmp_path / "text.wav").write_text("this is no audio")
    filled = [part.format(scene=scene, tmp=tmp_path) for part in arguments]
    assert main(["locate", *filled]) == 2
    captured = capsys.readouterr()
    # What the model is for stands before it, once that is loaded.
    *_, error = captured.err.splitlines()
    assert error.startswith("spatial-brain locate: error: ")
    assert len(captured.err.splitlines()) <= 2
    assert "Traceback" not in captured.err
    for part in parts:
        assert part in captured.err
    assert not captured.out


@pytest.mark.parametrize("arguments", [[], ["separate"], ["convert"]])
def test_usage_errors_end_with_2(arguments, capsys):
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    assert stop.value.code == 2
    assert "usage" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        ("locat", ": no command locat; did you mean locate?"),
        ("sing a.wav --modle m", ": no command sing; see --help"),
        ("--verison", ": no option --verison; did you mean --version?"),
        (
            "locate a.wav --modle m",
            " locate: no option --modle; did you mean --model?",
        ),
        (
            "detect --model=m --treshold=0.5 a.wav",
            " detect: no option --treshold; did you mean --threshold?",
        ),
        (
            "separate a.wav -model m",
            " separate: no option -model; did you mean --model?",
        ),
        (
            "acoustics a.wav --model m --colour red --spacin 1",
            " acoustics: no option --colour; see --help",
        ),
        (
            "score-seld --perclass",
            " score-seld: no option --perclass; did you mean --per-class?",
        ),
    ],
)
def test_unknown_names_end_with_2_and_the_nearest(arguments, line, capsys):
    with pytest.raises(SystemExit) as stop:
        main(arguments.split())
    assert stop.value.code == 2
    captured = capsys.readouterr()
    assert captured.err == f"spatial-brain{line}\n" and not captured.out


def test_abbreviations_and_values_are_no_unknown_names(model, scene, capsys):
    arguments = ["locate", "--mod", model, "--js", "--windo=1", "--hop", ".5"]
    assert main([*arguments, "--", scene]) == 0
    assert main([*arguments, "--", "--modle"]) == 2
    assert "--modle: audio file does not exist" in capsys.readouterr().err
    assert main([*arguments, "--hop", "-1", scene]) == 2
    assert "got 1.0 s and -1.0 s" in capsys.readouterr().err


def test_bad_channel_lists_are_explained(capsys):
    with pytest.raises(SystemExit):
        main(["locate", "a.wav", "--model", "m", "--channels", "one"])
    assert "no list of channels such as 0,3" in capsys.readouterr().err


def test_convert_names_what_there_is(capsys, tmp_path):
    options = ["--checkpoint", "a.pth", "--output", str(tmp_path / "out")]
    assert main(["convert", "--format", "mp3", *options]) == 2
    error = capsys.readouterr().err
    assert "'mp3'" in error and "dual-mic-ssl" in error
    assert not (tmp_path / "out").exists()


def test_help_and_version_import_nothing_heavy():
    code = (
        "import sys\n"
        "from spatial_brain.cli.main import main\n"
        "try:\n"
        "    main([sys.argv[1]])\n"
        "except SystemExit as stop:\n"
        "    assert stop.code == 0\n"
        "heavy = {'torch', 'numpy', 'matplotlib', 'speechbrain'}\n"
        "assert not heavy & set(sys.modules)\n"
    )
    for option, part in (("--help", "locate"), ("--version", __version__)):
        done = subprocess.run(
            [sys.executable, "-c", code, option],
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == 0, done.stderr
        assert part in done.stdout
    listed = _make_parser()[0].format_help().split()
    assert set(COMMANDS) <= set(listed)


def test_a_stopped_command_says_so(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(
        "spatial_brain.cli.simulate.run",
        lambda args: signal.raise_signal(signal.SIGTERM),
    )
    with pytest.raises(SystemExit) as ended:
        main(["simulate", "room.yaml", "--output", str(tmp_path)])
    assert ended.value.code == 143
    error = capsys.readouterr().err
    assert error == "terminated; files that were written are complete\n"


def test_the_package_is_the_command():
    done = subprocess.run(
        [sys.executable, "-m", "spatial_brain", "--version"],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.stdout.strip() == f"spatial-brain {__version__}"
