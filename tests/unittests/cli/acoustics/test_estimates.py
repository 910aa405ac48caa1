"""Quantities of one model with their intervals, as the command prints them."""

import csv
import json

import pytest
import torch

from spatial_brain.cli.main import main
from spatial_brain.dataio.audio import write_audio
from spatial_brain.inference.pretrained import ModelCard
from spatial_brain.inference.pretrained.figures import Figure
from spatial_brain.inference.room_acoustics import RoomAcousticsEstimator

RATE = 1000
FACTORS = {"T60": [1.0], "DRR": [1.0]}


class Constant(torch.nn.Module):
    """T60 of 0.5 s [0.4, 0.7] and DRR of 2 dB [0, 3]."""

    def forward(self, waveform):
        time = torch.tensor([0.4, 0.5, 0.7]).log()
        quantiles = torch.stack((time, torch.tensor([0.0, 2.0, 3.0])))
        shape = len(waveform), waveform.shape[-1], 2, 3
        return quantiles.expand(shape)


def figures():
    """T60 beats a constant in measured rooms, DRR does not."""
    for name, unit, error, constant in (
        ("T60", "s", 0.05, 0.08),
        ("DRR", "dB", 3.0, 2.5),
    ):
        row = {"test_set": "seven rooms", "rooms": "measured", "unit": unit}
        row["name"] = f"{name} mean absolute error"
        yield Figure(**row, method="this model", kind="model", value=error)
        yield Figure(
            **row, method="best constant", kind="trivial", value=constant
        )


@pytest.fixture
def room(tmp_path, monkeypatch):
    def from_hparams(source, run_opts, **options):
        hparams = {
            "sample_rate": RATE,
            "duration": 2.0,
            "hop_length": 1.0,
            "quantities": ["T60", "DRR"],
            "calibration": {
                "coverage": 0.9,
                "windows": [1],
                "factors": [FACTORS],
            },
        }
        return RoomAcousticsEstimator(
            {"model": Constant()}, hparams, {"device": "cpu"}
        )

    card = ModelCard("room acoustics", figures=[*figures()])
    monkeypatch.setattr(RoomAcousticsEstimator, "from_hparams", from_hparams)
    monkeypatch.setattr(RoomAcousticsEstimator, "card", card)
    path = tmp_path / "room.wav"
    write_audio(path, 0.1 * torch.randn(3000, 1).sign(), RATE)
    return str(path)


def test_estimate_interval_and_what_they_are_worth(room, tmp_path, capsys):
    picture, table = tmp_path / "a.png", tmp_path / "a.csv"
    line = ["acoustics", room, "--model", "any", "--picture", str(picture)]
    assert main([*line, "--output", str(table)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[2].split() == "estimate 90% interval windows".split()
    assert lines[3].split() == "T60, s 0.500 0.400 - 0.700 2".split()
    assert lines[4].split() == "DRR, dB 2.00 0.00 - 3.00 2".split()
    assert len({len(line) for line in lines[2:5]}) == 1
    assert lines[6] == "mean absolute errors of the model:"
    assert lines[7] == (
        "T60: 0.05 s, best constant 0.08 s, in measured rooms (seven rooms)"
    )
    assert lines[8].startswith("DRR: does not beat a constant, do not use it")
    assert lines[10].split() == "time, s T60, s DRR, dB".split()
    assert picture.read_bytes()[1:4] == b"PNG"
    with open(table, encoding="utf-8") as file:
        whole, first, *_ = csv.DictReader(file)
    assert (whole["stop"], first["stop"]) == ("3.000", "2.000")
    assert float(whole["low"]) == pytest.approx(0.4) and first["low"] == ""


def test_json_has_intervals_and_errors(room, capsys):
    assert main(["acoustics", room, "--model", "any", "--json"]) == 0
    [found] = json.loads(capsys.readouterr().out)["estimates"]
    quantity = found["quantities"]["T60"]
    assert quantity["estimate"] == pytest.approx(0.5)
    assert quantity["interval"] == pytest.approx([0.4, 0.7])
    assert found["coverage"] == 0.9 and len(quantity["values"]) == 2
    assert quantity["errors"][0]["beats_constant"] is True
    assert found["quantities"]["DRR"]["errors"][0]["beats_constant"] is False
