"""The command ``spatial-brain acoustics`` with networks made by hand."""

import json
import re

import pytest
import torch

from spatial_brain.cli.main import main
from spatial_brain.dataio.audio import write_audio
from spatial_brain.inference.pretrained import Measure, ModelCard
from spatial_brain.inference.room_acoustics import RoomAcousticsEstimator

RATE = 1000
NO_CARD = (
    "spatial-brain acoustics: model: no card: what it was trained for is "
    "unknown\n"
)
# Window and hop in seconds, and the factor of a share of power.
TASKS = {
    "T60": (2.0, 1.0, 1.0),
    "DRR": (2.0, 1.0, -10.0),
    "ABS": (2.0, 1.0, 1.0),
    "TDOA": (1.0, 0.5, 0.4),
}


class Share(torch.nn.Module):
    """Estimates a multiple of the share of power in the second channel."""

    def __init__(self, factor):
        super().__init__()
        self.factor = factor

    def forward(self, waveform):
        power = waveform.square().mean(1)
        return self.factor * power[:, 1:] / power.sum(1, keepdim=True)


@pytest.fixture
def models(monkeypatch):
    """Serve a network made by hand under the name of each task."""
    real = RoomAcousticsEstimator.from_hparams

    def from_hparams(source, run_opts, **options):
        if source not in TASKS:
            return real(source, run_opts=run_opts, **options)
        duration, hop, factor = TASKS[source]
        hparams = {
            "sample_rate": RATE,
            "duration": duration,
            "hop_length": hop,
            "task": source,
            "features": torch.nn.Identity(),
        }
        return RoomAcousticsEstimator(
            {"model": Share(factor)}, hparams, run_opts
        )

    monkeypatch.setattr(RoomAcousticsEstimator, "from_hparams", from_hparams)
    return list(TASKS)


@pytest.fixture
def room(tmp_path):
    """Five seconds in which the second channel has half the power."""
    signs = torch.randn(5000, 2).sign() * 0.1
    write_audio(tmp_path / "room.wav", signs, RATE, subtype="FLOAT")
    return str(tmp_path / "room.wav")


def test_several_models_make_tables_and_a_picture(
    models, room, tmp_path, capsys
):
    picture = tmp_path / "out" / "a.png"
    arguments = ["acoustics", room, "--model", *models, "--device", "cpu"]
    more = ["--spacing", "0.1", "--picture", str(picture)]
    assert main([*arguments, *more]) == 0
    captured = capsys.readouterr()
    lines = captured.out.splitlines()
    assert lines[0].endswith("room.wav: 5.0 s")
    assert lines[2].split() == "median quartiles windows test error".split()
    assert lines[3].split() == "T60, s 0.500 0.500 - 0.500 4 -".split()
    assert lines[4].split() == "DRR, dB -5.00 -5.00 - -5.00 4 -".split()
    assert lines[5].split() == "ABS 0.500 0.500 - 0.500 4 -".split()
    assert lines[6].split() == "TDOA, samples 0.20 0.20 - 0.20 9 -".split()
    assert lines[7].split() == "delay, µs 200.0 200.0 - 200.0 9 -".split()
    # cos = -0.2e-3 s * 343 m/s / 0.1 m
    assert lines[8].split() == "angle, ° 133.3 133.3 - 133.3 9 -".split()
    assert lines[10] == "quartiles are the spread over windows, not the error"
    assert lines[14] == "TDOA: error not known"
    # Models with the same windows share a table, TDOA has its own.
    lines = lines[6:]
    assert lines[10].split() == "time, s T60, s DRR, dB ABS".split()
    assert lines[11].split() == "0.0 - 2.0 0.500 -5.00 0.500".split()
    assert lines[16].split() == (
        "time, s TDOA, samples delay, µs angle, °".split()
    )
    assert lines[25].split() == "4.0 - 5.0 0.20 200.0 133.3".split()
    assert lines[-1] == f"picture: {picture}" and len(lines) == 28
    assert picture.read_bytes()[1:4] == b"PNG"
    assert captured.err == 4 * NO_CARD
    # Columns stand below their heads.
    medians = captured.out.splitlines()[2:9]
    for group in (medians, lines[10:15], lines[16:26]):
        assert len({len(line) for line in group}) == 1


def test_json_is_one_object(models, room, capsys):
    arguments = ["acoustics", room, "--model", "TDOA", "--model", "T60"]
    assert main([*arguments, "--json", "--hop", "1"]) == 0
    first, second = json.loads(capsys.readouterr().out)["estimates"]
    assert (first["model"], second["task"]) == ("TDOA", "T60")
    assert first["starts"] == [0, 1, 2, 3, 4]
    assert first["tracks"]["delay"]["median"] == pytest.approx(200, rel=1e-4)
    assert set(first["tracks"]) == {"TDOA", "delay"}
    assert second["tracks"]["T60"]["quartiles"] == pytest.approx([0.5, 0.5])
    assert len(second["tracks"]["T60"]["values"]) == 4


def test_the_error_of_the_test_stands_beside_the_estimate(
    models, room, monkeypatch, capsys
):
    facts = {"task": "T60", "spacing": [0.1, 0.2], "labels": [0.2, 0.4]}
    good = Measure("error", 0.06, "s", 0.05, 0.07, 0.1, correlation=0.8)
    poor = Measure("error", 0.06, "s", 0.05, 0.12, 0.1, correlation=0.1)
    command = ["acoustics", room, "--model", "T60"]
    for measure, line in (
        (good, f"T60: on the model's test set: {good}"),
        (
            poor,
            "T60: this model does not beat a constant (0.1): its estimates "
            f"say nothing; {poor}",
        ),
    ):
        card = ModelCard(**facts, measures=[measure])
        monkeypatch.setattr(RoomAcousticsEstimator, "card", card)
        assert main([*command, "--spacing", "0.15"]) == 0
        captured = capsys.readouterr()
        lines = captured.out.splitlines()
        assert lines[3].split()[-1] == "0.060"
        assert lines[6] == line
        first, second = captured.err.splitlines()
        assert first == f"spatial-brain acoustics: model: {card.summary()}"
        assert "the T60 estimated is 0.5 s, the model was trained" in second
        assert main([*command, "--json"]) == 0
        [found] = json.loads(capsys.readouterr().out)["estimates"]
        assert found["test_error"]["beats_constant"] is (measure is good)
        assert found["card"]["labels"] == [0.2, 0.4]
    assert main([*command, "--spacing", "0.5"]) == 0
    assert "0.5 m apart, the model was trained for" in capsys.readouterr().err


def test_long_tables_are_cut_and_silence_is_shown(models, tmp_path, capsys):
    waveform = torch.randn(25000, 2) * 0.1
    waveform[3000:6000] = 0
    path = str(tmp_path / "long.wav")
    write_audio(path, waveform, RATE, subtype="FLOAT")
    assert main(["acoustics", path, "--model", "TDOA"]) == 0
    captured = capsys.readouterr()
    assert "warning: " + path + ": 3 of 25 windows" in captured.err
    lines = captured.out.splitlines()
    assert lines[3].split()[-2] == "44"
    assert sum("silent" in line for line in lines) == 5
    assert len(lines) == 9 + 31 + 1
    assert lines[-1].startswith("... and 19 more")


def test_a_silent_room_is_warned_of_once(models, tmp_path, capsys):
    path, picture = str(tmp_path / "silent.wav"), str(tmp_path / "a.png")
    write_audio(path, torch.zeros(5000, 2), RATE)
    arguments = ["acoustics", path, "--model", *models]
    assert main([*arguments, "--picture", picture]) == 0
    captured = capsys.readouterr()
    error = captured.err.replace(NO_CARD, "")
    assert error.count("is silent") == error.count("\n") == 1
    lines = captured.out.splitlines()
    assert lines[3].split() == ["T60,", "s", "silent", "0", "-"]
    assert len({len(line) for line in lines[2:8]}) == 1
    assert main([*arguments, "--json"]) == 0
    first = json.loads(capsys.readouterr().out)["estimates"][0]["tracks"]
    assert first["T60"]["median"] is None


def test_channels_and_one_short_window(models, tmp_path, capsys):
    pair = torch.randn(1200, 2).sign() * 0.1
    four = torch.stack((pair[:, 0], pair[:, 0], pair[:, 1] / 3, pair[:, 1]), 1)
    path = str(tmp_path / "four.wav")
    write_audio(path, four, 2 * RATE, subtype="FLOAT")
    arguments = ["acoustics", path, "--model", "TDOA", "--channels", "0,3"]
    assert main(arguments) == 2
    assert "--resample" in capsys.readouterr().err
    assert main([*arguments, "--resample"]) == 0
    # A single window needs no table over time.
    assert len(capsys.readouterr().out.splitlines()) == 8


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--spacing", "-1"], "positive, in metres"),
        (["--hop", "0"], "hop"),
        (["--device", "toaster"], "no device 'toaster'"),
        (["--picture", "a.xyz"], "cannot draw '.xyz'"),
        (["--channels", "0,5"], "from 0 to 1"),
        (["--channels", "0"], "2 different ones"),
        (["--model", "./no"], "no such folder"),
    ],
)
def test_bad_options_are_one_line(models, room, capsys, options, message):
    assert main(["acoustics", room, "--model", "TDOA", *options]) == 2
    captured = capsys.readouterr()
    error = captured.err.replace(NO_CARD, "")
    assert error.startswith("spatial-brain acoustics: error: ")
    assert error.count("\n") == 1
    assert re.search(message, error)


def test_usage_errors(models, room, capsys):
    with pytest.raises(SystemExit):
        main(["acoustics", room, "--model", "TDOA", "--channels", "a,b"])
    assert "no list of channels" in capsys.readouterr().err


def test_missing_recording_is_one_line(models, tmp_path, capsys):
    missing = str(tmp_path / "missing.wav")
    assert main(["acoustics", missing, "--model", "T60"]) == 2
    error = capsys.readouterr().err.replace(NO_CARD, "")
    assert error.count("\n") == 1


def test_a_table_for_each_of_several_recordings(models, tmp_path, capsys):
    for name in ("a", "b"):
        sound = torch.randn(3 * RATE, 2) * 0.1
        write_audio(tmp_path / "in" / f"{name}.wav", sound, RATE)
    line = ["acoustics", str(tmp_path / "in"), "--output"]
    line += [str(tmp_path / "out"), "--model", "T60", "ABS"]
    assert main([*line, "--json"]) == 0
    found = [json.loads(row) for row in capsys.readouterr().out.splitlines()]
    assert [len(one["estimates"]) for one in found] == [2, 2]
    rows = (tmp_path / "out" / "b.csv").read_text().splitlines()
    assert rows[0] == "start,stop,quantity,unit,value,model"
    assert [row.split(",")[2] for row in rows[1:]] == ["T60"] * 2 + ["ABS"] * 2
    values = found[1]["estimates"][0]["tracks"]["T60"]["values"]
    assert float(rows[1].split(",")[4]) == values[0]
    assert main(line) == 2
    assert "is there already" in capsys.readouterr().err
