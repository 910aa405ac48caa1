"""Figures of a model stand beside those of other methods."""

import numpy as np
import pytest

from spatial_brain.inference.pretrained import (
    Figure,
    ModelCard,
    mean_figure,
    read_card,
    write_card,
)
from spatial_brain.inference.pretrained.figures import figure_tables

ROW = {
    "test_set": "office",
    "rooms": "measured",
    "name": "error",
    "unit": "degrees",
}
OWN = Figure(**ROW, method="this model", kind="model", value=3, low=2, high=4)
OTHERS = [
    Figure(**ROW, method="SRP-PHAT", kind="classical", value=5.0),
    Figure(**ROW, method="best constant", kind="trivial", value=45.0),
]
SIMULATED = Figure(
    **{**ROW, "test_set": "boxes", "rooms": "simulated"},
    method="this model",
    kind="model",
    value=1.0,
)


def test_they_come_back_from_a_card(tmp_path):
    facts = {
        "task": "azimuth",
        "channels": [2, 16],
        "figures": [SIMULATED, OWN, *OTHERS],
        "training": {"recipe": "a.yaml", "steps": 5, "hours": 0.5, "cores": 1},
        "golden": {"file": "golden.safetensors", "tolerance": 1e-4},
        "commit": 40 * "a",
        "data_licences": ["VCTK: CC BY 4.0"],
        "real_time_factor": 0.01,
        "machine": "one thread",
    }
    card = write_card(tmp_path, facts)
    assert read_card(tmp_path / "card.json") == card == ModelCard(**facts)
    # The line shows what is worth most: measured rooms.
    assert card.summary() == (
        "azimuth: 2 to 16 channels; test: error 3 degrees [2, 4], SRP-PHAT 5, "
        "best constant 45 (measured rooms: office)"
    )


def test_a_table_has_a_row_a_test_set_and_a_column_a_method():
    [(title, rows)] = figure_tables([SIMULATED, OWN, *OTHERS])
    assert title == "error, degrees"
    assert rows == [
        ["rooms", "test set", "this model", "SRP-PHAT", "best constant"],
        ["simulated", "boxes", "1", "", ""],
        ["measured", "office", "3 [2, 4]", "5", "45"],
    ]


def test_the_interval_holds_and_follows_groups():
    generator = np.random.default_rng(0)
    # Twenty of one room have one error: they say as much as one.
    rooms = np.repeat(np.arange(30), 20)
    errors = generator.normal(10, 2, 30)[rooms]
    alone = mean_figure(errors, **ROW, method="a", kind="model")
    grouped = mean_figure(errors, rooms, **ROW, method="a", kind="model")
    assert alone.value == pytest.approx(grouped.value)
    width = grouped.high - grouped.low
    assert width > 3 * (alone.high - alone.low)
    assert width == pytest.approx(2 * 1.96 * 2 / 30**0.5, rel=0.3)
    with_gaps = mean_figure([1.0, np.nan, 3.0], **ROW, method="a", kind="model")
    assert (with_gaps.value, with_gaps.items) == (2.0, 3)
    with pytest.raises(ValueError, match="no value of error"):
        mean_figure([np.nan], **ROW, method="a", kind="model")


def test_better_is_the_whole_interval():
    assert OWN.beats(OTHERS[0])
    close = Figure(**ROW, method="MUSIC", kind="classical", value=3.5)
    assert not OWN.beats(close)


@pytest.mark.parametrize(
    "wrong",
    [
        {"figures": [{**OWN.to_dict(), "rooms": "mine"}]},
        {"figures": [{**OWN.to_dict(), "kind": "best"}]},
        {"figures": [{"name": "error", "value": 3}]},
        {"figures": [OWN] * 1001},
        {"golden": {"file": "../../etc/passwd", "tolerance": 1.0}},
        {"golden": {"file": "golden.safetensors"}},
        {"training": {"hours": "many"}},
        {"training": {"speed": 3}},
        {"channels": [16, 2]},
        {"commit": "main"},
    ],
)
def test_what_a_card_may_not_hold(wrong, tmp_path):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        write_card(tmp_path, {"task": "azimuth", **wrong})
