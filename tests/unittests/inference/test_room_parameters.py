"""Several quantities of a room from one model, with intervals."""

import json

import numpy as np
import pytest
import torch

from spatial_brain.dataio.audio import write_audio
from spatial_brain.inference.pretrained import ModelCard
from spatial_brain.inference.pretrained.figures import Figure, Measure
from spatial_brain.inference.room_acoustics import RoomAcousticsEstimator
from spatial_brain.inference.room_parameters import IntervalCalibration

RATE = 1000
CALIBRATION = {
    "coverage": 0.9,
    "windows": [1, 3],
    "factors": [
        {"T60": [2.0, 1.0], "DRR": [1.0, 1.0]},
        {"T60": [1.0, 0.5], "DRR": [1.0, 1.0]},
    ],
}


class Levels(torch.nn.Module):
    """T60 0.5 s, and a DRR that is the level of the channel."""

    def forward(self, waveform):
        level = 10 * waveform.square().mean(1).log10()
        time = torch.full_like(level, 0.5).log()
        middle = torch.stack((time, level), -1)
        return torch.stack((middle - 0.1, middle, middle + 0.2), -1)


def make_estimator(**changes):
    hparams = {
        "sample_rate": RATE,
        "duration": 1.0,
        "hop_length": 0.5,
        "quantities": ["T60", "DRR"],
        "calibration": CALIBRATION,
        **changes,
    }
    return RoomAcousticsEstimator(
        {"model": Levels()}, hparams, run_opts={"device": "cpu"}
    )


def square(seconds, level=-20.0):
    """A signal of one level, dB."""
    signs = torch.tensor([1.0, -1.0]).repeat(round(seconds * RATE / 2))
    return (10 ** (level / 20) * signs)[:, None]


def test_the_interval_is_that_of_windows_and_channels():
    estimator = make_estimator()
    short = estimator.estimate_batch(square(1.0)[None])[0]
    assert short.shape == (2, 3)
    assert short[1].tolist() == pytest.approx([-20.1, -20.0, -19.8], abs=1e-3)
    # One window: twice as wide on the scale of the network.
    factors = [np.exp(-0.2), 1.0, np.exp(0.4)]
    assert short[0].tolist() == pytest.approx([0.5 * x for x in factors])
    # Two windows are calibrated as one, three as three.
    two = estimator.estimate_batch(square(1.5)[None])[0]
    assert torch.allclose(two, short)
    three = estimator.estimate_batch(square(2.0)[None])[0]
    assert three[0, 2].item() == pytest.approx(0.5 * np.exp(0.2))
    both = estimator.estimate_batch(square(2.0).expand(-1, 2)[None])[0]
    assert both[0, 2].item() == pytest.approx(0.5 * np.exp(0.1))


def test_files_of_one_and_two_channels(tmp_path):
    estimator = make_estimator()
    pair = torch.cat((square(2.0), square(2.0, -10.0)), 1)
    write_audio(tmp_path / "two.wav", pair, RATE, subtype="FLOAT")
    found = estimator.estimate_file(tmp_path / "two.wav")
    assert found.intervals[1, 1] == pytest.approx(-15.0, abs=1e-3)
    assert found.values.shape == (3, 2)
    alone = estimator.estimate_file(tmp_path / "two.wav", channels=[1])
    assert alone.intervals[1, 1] == pytest.approx(-10.0, abs=1e-3)
    # Windows that overlap more say no more.
    again = estimator.estimate_file(tmp_path / "two.wav", hop_length=0.1)
    assert len(again.starts) == 11
    assert np.allclose(again.intervals, found.intervals, atol=1e-3)
    wide = torch.cat((pair, pair), 1)
    write_audio(tmp_path / "four.wav", wide, RATE, subtype="FLOAT")
    with pytest.raises(ValueError, match="--channels 0,1"):
        estimator.estimate_file(tmp_path / "four.wav")


def test_silent_windows_are_left_out(tmp_path):
    estimator = make_estimator()
    signal = torch.cat((square(1.0), torch.zeros(1000, 1)))
    write_audio(tmp_path / "a.wav", signal, RATE, subtype="FLOAT")
    with pytest.warns(UserWarning, match="silent"):
        found = estimator.estimate_file(tmp_path / "a.wav")
    assert found.silent.tolist() == [False, False, True]
    json.loads(json.dumps(found.to_dict(), allow_nan=False))
    # Half of the second window is silence, and louder ones do not matter.
    assert found.intervals[0, 1] == pytest.approx(0.5)
    with pytest.warns(UserWarning, match="silent"):
        nothing = estimator.estimate_batch(torch.zeros(1, 1000, 1))
    assert nothing.isnan().all()


def test_figures_of_measured_rooms_come_first():
    row = {"name": "T60 mean absolute error", "unit": "s"}
    own = {"method": "this model", "kind": "model"}
    other = {"method": "best constant", "kind": "trivial"}
    figures = [
        Figure("set", "simulated", **own, **row, value=0.05),
        Figure("flat", "measured", **own, **row, value=0.09, high=0.11),
        Figure("flat", "measured", **other, **row, value=0.10),
    ]
    measures = [Measure(**row, value=0.04, constant=0.2)]
    card = ModelCard("room acoustics", figures=figures, measures=measures)
    estimator = make_estimator()
    outputs = estimator.mods.model(square(1.0)[None])
    empty = np.zeros(1)
    found = estimator.calibration.parameters(
        outputs, path="a", duration=1.0, starts=empty, stops=empty, card=card
    )
    first, *_, last = found.worth("T60")
    assert str(first) == "0.09 s, best constant 0.1 s, in measured rooms (flat)"
    # A value below the constant is not enough: its interval is not.
    assert not first.beats_constant or first.figure.high < 0.1
    assert last.beats_constant and found.worth("DRR") == []


@pytest.mark.parametrize(
    "changes",
    (
        {"coverage": 2.0},
        {"windows": [3, 1]},
        {"factors": []},
        {"factors": [{"T60": [1.0, 1.0]}]},
        {"factors": [{"T60": [1.0], "DRR": [1.0]}]},
        {"factors": [{"T60": [1.0, -1.0], "DRR": [1.0, 1.0]}]},
        {"more": 1},
    ),
)
def test_other_calibrations_are_refused(changes):
    with pytest.raises(ValueError, match="calibration must hold coverage"):
        IntervalCalibration(["T60", "DRR"], {**CALIBRATION, **changes})


def test_a_model_needs_a_task_or_quantities():
    with pytest.raises(ValueError, match="task, features"):
        RoomAcousticsEstimator(
            {"model": Levels()},
            {"sample_rate": RATE, "duration": 1.0, "hop_length": 0.5},
            run_opts={"device": "cpu"},
        )


def test_outputs_of_another_shape_are_refused():
    estimator = make_estimator(quantities=["T60"], calibration={
        "coverage": 0.9, "windows": [1], "factors": [{"T60": [1.0]}]
    })  # fmt: skip
    with pytest.raises(ValueError, match="expected quantiles"):
        estimator.estimate_batch(square(1.0)[None])
