"""Cards of models: written whole, read with distrust, shown in one line."""

import json

import pytest

from spatial_brain.inference.pretrained import (
    Measure,
    ModelCard,
    read_card,
    write_card,
)

FACTS = {
    "task": "T60",
    "sample_rate": 16000,
    "channels": 2,
    "channel_order": "microphones, any order",
    "spacing": [0.03, 0.2],
    "positions": [[0, 0, 0], [0.1, 0, 0]],
    "angles": "degrees, 0 in front",
    "causal": False,
    "latency": 0.02,
    "data": "simulated rooms",
    "speech": "WSJ0",
    "room_size": [[3, 10], [3, 8], [2.5, 6]],
    "t60": [0.2, 1.3],
    "snr": [15, 30],
    "sources": [1, 2],
    "classes": ["speech", "dog"],
    "items": 1024,
    "seeds": [1],
    "test": "simulated rooms that are in no training",
    "test_items": 800,
    "measures": [
        Measure("mean absolute error", 0.12, "s", 0.11, 0.13, 0.2, "mean", 0.7)
    ],
    "calibration": {"threshold": 0.5, "points": [[0.1, 0.2], [0.9, 0.8]]},
}


def test_a_card_comes_back_as_it_was_written(tmp_path):
    (tmp_path / "pretrained").mkdir()
    card = write_card(tmp_path, FACTS)
    assert card == ModelCard(**FACTS)
    for folder in (tmp_path, tmp_path / "pretrained"):
        assert read_card(folder / "card.json") == card
    # What is not known is not there.
    assert write_card(tmp_path, {"task": "T60", "snr": None}).snr is None
    assert json.loads((tmp_path / "card.json").read_text()) == {
        "card_version": 1,
        "task": "T60",
    }


def test_the_summary_is_one_line():
    line = ModelCard(**FACTS).summary()
    assert line == (
        "T60: 16000 Hz, 2 channels (microphones, any order), spacing 0.03 to "
        "0.2 m, not causal, latency 20 ms; trained on simulated rooms, speech "
        "of WSJ0, 1,024 items, rooms 22.5 to 480 m³, T60 0.2 to 1.3 s, SNR 15 "
        "to 30 dB, sources 1 to 2, 2 classes; test: mean absolute error 0.12 "
        "s [0.11, 0.13], correlation 0.70, mean 0.2 s (simulated rooms that "
        "are in no training, 800 items)"
    )
    assert ModelCard("T60").summary() == "T60: test: not measured here"
    assert ModelCard("T60", published="MAE 0.1 s").summary() == (
        "T60: test: not measured here; published: MAE 0.1 s"
    )


@pytest.mark.parametrize(
    ("measure", "beaten"),
    [
        (Measure("error", 1.0), None),
        (Measure("error", 1.0, constant=2.0), True),
        (Measure("error", 1.0, low=0.5, high=2.1, constant=2.0), False),
        (Measure("error", 2.0, constant=2.0), False),
        (Measure("F", 1.0, constant=0.5, better="higher"), True),
        (Measure("F", 1.0, low=0.4, constant=0.5, better="higher"), False),
    ],
)
def test_a_constant_is_beaten_by_the_whole_interval(measure, beaten):
    assert measure.beats_constant is beaten


def test_what_contradicts_a_card():
    card = ModelCard(**FACTS, labels=[0.2, 1.3])
    assert not card.contradictions(0.03, 1.3)
    assert not card.contradictions()
    # Nothing estimated, as of silence.
    assert not card.contradictions(0.1, float("nan"))
    assert card.contradictions(0.5, 2.0) == [
        "the microphones are 0.5 m apart, the model was trained for 0.03 to "
        "0.2 m",
        "the T60 estimated is 2 s, the model was trained for 0.2 to 1.3 s",
    ]
    assert not ModelCard("T60").contradictions(0.5, 2.0, 3)
    card = ModelCard("azimuth", channels=[2, 16])
    assert not card.contradictions(channels=16)
    assert card.contradictions(channels=17) == [
        "the recording has 17 channels, the model was trained for 2 to 16"
    ]


BROKEN = {
    "no JSON": "task: T60",
    "not UTF-8": b"\xff\xfe{}",
    "list": "[]",
    "deep": "[" * 100_000,
    "long": '{"task": "' + "a" * 200_000 + '"}',
    "twice": '{"task": "T60", "task": "DRR"}',
    "version": {"card_version": 2},
    "no version": {"card_version": None},
    "flag for a version": {"card_version": True},
    "no task": {"task": None},
    "unknown": {"tassk": "T60"},
    "number for text": {"data": 3},
    "text for a number": {"items": "many"},
    "negative": {"items": -1},
    "flag for a number": {"items": True},
    "NaN": '{"card_version": 1, "task": "T60", "latency": NaN}',
    "infinite": '{"card_version": 1, "task": "T60", "latency": 1e999}',
    "huge": {"sample_rate": 10**300},
    "range of one": {"t60": [1.0]},
    "range upside down": {"t60": [2.0, 1.0]},
    "flat positions": {"positions": [0, 0, 0]},
    "terminal": {"task": "\x1b[2J"},
    "two lines": {"data": "a\nb"},
    "long text": {"data": "a" * 2000},
    "long list": {"classes": ["a"] * 2000},
    "measure without value": {"measures": [{"name": "error"}]},
    "measure of text": {"measures": [{"name": "error", "value": "low"}]},
    "measure with more": {"measures": [{"name": "e", "value": 1, "x": 1}]},
    "measures of text": {"measures": ["error 0.1"]},
    "calibration of text": {"calibration": "0.5"},
    "calibration too deep": {"calibration": {"a": [[[[[[[1]]]]]]]}},
}


@pytest.mark.parametrize("kind", BROKEN)
def test_a_broken_card_is_named(kind, tmp_path):
    content, path = BROKEN[kind], tmp_path / "card.json"
    if isinstance(content, dict):
        content = {"card_version": 1, "task": "T60", **content}
        content = json.dumps({k: v for k, v in content.items() if v})
    if isinstance(content, str):
        content = content.encode()
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"card\.json") as error:
        read_card(path)
    message = str(error.value)
    assert len(message) < 400 + len(str(path)) and message.isprintable()


def test_nothing_broken_is_written(tmp_path):
    for wrong in ({"t60": 3}, {"calibration": {"a": float("nan")}}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            write_card(tmp_path, {"task": "T60", **wrong})
    assert not list(tmp_path.iterdir())
