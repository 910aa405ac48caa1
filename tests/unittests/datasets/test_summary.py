"""Preparations end with one line, in the log and beside the manifests."""

import logging

import pytest
import torch

from spatial_brain.dataio.audio import write_audio
from spatial_brain.dataio.manifest import is_prepared, read_notes, write_options
from spatial_brain.datasets.binaural_wsj0mix.prepare import (
    prepare_drawn_mixtures,
)
from spatial_brain.datasets.seld.starss23 import (
    prepare_starss23,
    write_synthetic_starss23,
)
from spatial_brain.datasets.speech.librispeech import prepare_librispeech
from spatial_brain.datasets.speech.pool import prepare_speech
from spatial_brain.datasets.wsj0_simu.prepare import prepare_wsj0_simu


@pytest.fixture
def corpus(tmp_path):
    for speaker in ("p225", "p226", "p227"):
        for mic in (1, 2):
            path = tmp_path / f"vctk/{speaker}/{speaker}_001_mic{mic}.flac"
            write_audio(path, torch.full((36000,), 0.1), 16000)
    (tmp_path / "vctk/p225/p225_002_mic1.flac").write_text("damaged")
    return tmp_path / "vctk"


def lines(caplog):
    found = [r.getMessage() for r in caplog.records if "skipped" in r.message]
    caplog.clear()
    return found


def test_speech(corpus, tmp_path, caplog):
    caplog.set_level(logging.INFO)
    expected = (
        f"{corpus}, layout vctk: tr: 1 speaker, 1 file, 0.000625 h; "
        "dt: 1 speaker, 1 file, 0.000625 h; et: 1 speaker, 1 file, 0.000625 h; "
        "skipped: 3 other microphones or copies of an utterance, 1 unusable"
    )
    for ending in ("", " (prepared before)"):
        paths = prepare_speech(corpus, tmp_path / "a", on_corrupt="report")
        assert "p225" in caplog.text or ending
        assert lines(caplog) == [expected + ending]
        assert {read_notes(path) for path in paths.values()} == {expected}


def test_librispeech(corpus, tmp_path, caplog):
    caplog.set_level(logging.INFO)
    options = {"test": None, "test_speakers": 1, "on_corrupt": "report"}
    for _ in range(2):
        prepare_librispeech(corpus, tmp_path / "a", **options)
        [line] = lines(caplog)
        assert f"{corpus}, layout vctk: train: 2 speakers, 2 files" in line
        assert "3 other microphones or copies of an utterance, 1 unusab" in line


def test_sound_scenes(tmp_path, caplog):
    caplog.set_level(logging.INFO)
    clips = {"train": 1, "valid": 1, "test": 1}
    write_synthetic_starss23(tmp_path, clips=clips, duration=1.0)
    for _ in range(2):
        prepare_starss23(tmp_path, tmp_path / "a", valid_rooms=[9])
        [line] = lines(caplog)
        assert f"{tmp_path}, 13 classes: train: 1 room, 1 clip, 0.0002" in line


def test_drawn_mixtures(tmp_path, caplog):
    caplog.set_level(logging.INFO)
    few = {"train": 2, "valid": 2, "test": 2}
    voices = {"num_talkers": few, "utterances_per_talker": 1}
    for _ in range(2):
        prepare_drawn_mixtures(
            None, tmp_path, num_mixtures={**few, "train": 3}, voices=voices
        )
        speech, mixtures = lines(caplog)
        assert "layout wsj0: tr: 2 speakers, 2 files" in speech
        assert "train: 2 speakers, " in mixtures and "3 mixtures" in mixtures
        assert " heads, " in mixtures


def test_simulated_pairs(tmp_path, caplog):
    caplog.set_level(logging.INFO)
    few = {"train-clean-100": 1, "dev-clean": 1, "test-clean": 1}
    prepare_wsj0_simu(
        None,
        tmp_path,
        stages={"preval": {"size": 2}},
        distribution={"T": 0.5},
        speech={"num_talkers": few, "utterances_per_talker": 1},
    )
    _, line = lines(caplog)
    assert "preval: 2 rooms, 2 examples, 0.000278 h" in line


def test_notes_do_not_matter_for_what_is_prepared(tmp_path):
    path = tmp_path / "train.json"
    path.write_text("{}")
    write_options(path, {"seed": 1}, notes="3 files")
    assert is_prepared(path, {"seed": 1})
    assert not is_prepared(path, {"seed": 2})
    assert read_notes(tmp_path / "nowhere.json") is None
