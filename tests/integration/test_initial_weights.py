"""The trainings of the recipes begin with the weights that are named."""

import runpy
import sys
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def experiment(request, monkeypatch):
    """Class of the experiment of a recipe, whose modules are forgotten."""
    recipe, name = request.param
    folder = ROOT / "recipes" / recipe
    own = {path.stem for path in folder.glob("*.py")}
    monkeypatch.syspath_prepend(folder)
    yield runpy.run_path(folder / "train.py")[name]
    for module in own & set(sys.modules):
        del sys.modules[module]


@pytest.mark.parametrize(
    "experiment",
    [
        ("AnyArray", "AnyArrayBrain"),
        ("DualMic-LibriSpeech", "LocalizationBrain"),
        ("Binaural-WSJ0Mix", "SeparationBrain"),
        ("RoomAcoustics", "RoomAcousticsBrain"),
    ],
    indirect=True,
)
def test_weights_are_those_of_the_model(experiment, tmp_path):
    path = tmp_path / "model.pt"
    torch.save({"weight": torch.full((1, 2), 3.0)}, path)
    hparams = {"seed": 1, "learning_rate_schedule": None}
    names = ("window_length", "hop_length", "frame_length")
    hparams |= dict.fromkeys(names, 1.0)
    for source, same in ((str(path), True), (None, False)):
        model = torch.nn.Linear(2, 1, bias=False)
        brain = experiment(
            {"model": model},
            None,
            {**hparams, "initial_weights": source},
            {"device": "cpu", "noprogressbar": True},
        )
        assert (brain.modules.model.weight == 3).all() == same
