"""Cards of released weights: of the right task, with published figures."""

import pytest

from spatial_brain.inference.convert import DUAL_MIC_SSL, FORMATS
from spatial_brain.inference.convert.cards import RELEASED, write_released_card
from spatial_brain.inference.convert.dcase_baseline import BASELINE
from spatial_brain.inference.convert.pseldnets import AUDIOSET, PSELDNETS
from spatial_brain.inference.convert.sar_ssl import DOWNSTREAM, PRETEXT
from spatial_brain.inference.convert.speechbrain_binaural import TEXT
from spatial_brain.inference.pretrained import read_card


def card_of(format, text, folder):
    (folder / "hyperparams.yaml").write_text(text)
    card = write_released_card(format, folder)
    assert read_card(folder / "card.json") == card
    assert "not measured here" in card.summary() and not card.measures
    return card


def pseldnets(number, backbone="htsat", method="multi_accdoa"):
    return PSELDNETS.format(
        backbone=backbone,
        method=method,
        num_classes=number,
        sample_rate=24000,
        class_names=", ".join(f"class {n}" for n in range(number)),
    )


def test_every_format_of_a_whole_model_has_a_card():
    assert {*RELEASED, "adapters", *AUDIOSET} == set(FORMATS)


def test_two_microphones(tmp_path):
    card = card_of("dual-mic-ssl", DUAL_MIC_SSL, tmp_path)
    assert card.positions == [[-0.05, 0.0, 0.0], [0.05, 0.0, 0.0]]
    assert "published: 6.08 and 5.65 degrees" in card.summary()
    assert card.contradictions(spacing=0.06) and not card.contradictions(0.1)


def test_the_task_of_a_downstream_network(tmp_path):
    options = {"embedding": "spat", "duration": 4.112, "hop_length": 2.056}
    text = DOWNSTREAM.format(task="DRR", **options)
    assert card_of("sar-ssl", text, tmp_path).task == "DRR"
    assert "pretext" in card_of("sar-ssl", PRETEXT, tmp_path).task


@pytest.mark.parametrize(
    ("text", "published"),
    [
        (pseldnets(170), "SELD 0.569 on its synthetic test set"),
        (pseldnets(170, "passt"), "SELD 0.562 on its synthetic test set"),
        # Of fine-tuned networks no figures were found.
        (pseldnets(13), None),
    ],
)
def test_sound_events(text, published, tmp_path):
    card = card_of("pseldnets", text, tmp_path)
    assert card.published == published
    assert len(card.classes) in (13, 170) and "ACN" in card.channel_order


@pytest.mark.parametrize("array", ["foa", "mic"])
def test_the_baseline(array, tmp_path):
    text = BASELINE.format(
        format=array,
        num_classes=2,
        num_channels=7,
        sample_rate=24000,
        class_names="[speech, dog]",
    )
    card = card_of("dcase2024-baseline", text, tmp_path)
    assert card.classes == ["speech", "dog"]
    assert ("four microphones" in card.channel_order) is (array == "mic")


@pytest.mark.parametrize(
    ("options", "rate", "published"),
    [
        ("    rule: cross", 8000, "SNR improvement 11.9 dB"),
        ("    rule: parallel\n    causal: true", 8000, None),
        ("    rule: cross", 16000, None),
    ],
)
def test_separation(options, rate, published, tmp_path):
    text = TEXT.format(options=options, sample_rate=rate, num_sources=2)
    card = card_of("speechbrain-binaural", text, tmp_path)
    assert card.published == published
    assert (card.sample_rate, card.sources) == (rate, [2, 2])
    assert card.causal is ("causal" in options)
