import shutil

import numpy as np
import pytest
import torch

from spatial_brain.dataio.audio import read_audio, write_audio
from spatial_brain.datasets.real_arrays.recordings.aishell4 import AISHELL4
from spatial_brain.datasets.real_arrays.recordings.alimeeting import AliMeeting
from spatial_brain.datasets.real_arrays.recordings.overlap import (
    single_speaker_intervals,
)
from spatial_brain.datasets.real_arrays.registry import open_corpus
from spatial_brain.datasets.real_arrays.synthetic.aishell4 import (
    write_synthetic_aishell4,
)
from spatial_brain.datasets.real_arrays.synthetic.alimeeting import (
    write_synthetic_alimeeting,
)
from spatial_brain.datasets.real_arrays.synthetic.recorded_speech import (
    plan_meeting,
    write_textgrid,
)


@pytest.fixture(scope="module")
def aishell4(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data") / "AISHELL-4"
    write_synthetic_aishell4(folder, duration=12.0)
    return folder


@pytest.fixture(scope="module")
def alimeeting(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data") / "M2MeT"
    write_synthetic_alimeeting(folder, duration=12.0)
    return folder


@pytest.fixture
def damaged(tmp_path, aishell4):
    return shutil.copytree(aishell4, tmp_path / "AISHELL-4")


def test_rooms_and_splits():
    assert AISHELL4.ROOMS == (
        *("L_R001", "L_R002", "M_R001", "M_R002", "S_R001"),
        *("S_R003", "S_R004", "L_R003", "L_R004", "M_R003"),
    )
    assert AISHELL4.PARTS["test"]["val"] == ("M_R003",)
    assert len(AliMeeting.ROOMS) == 21
    assert AliMeeting.PARTS["Test_Ali"]["val"] == ("R8002", "R8006")
    train = AliMeeting.PARTS["Train_Ali"]["train"]
    assert len(train) == 12 and not any(room[1] == "8" for room in train)


def test_aishell4(aishell4):
    corpus = open_corpus("AISHELL4", aishell4.parent)
    assert [(one.room, one.id) for one in corpus.recordings("train")] == [
        ("S_R003", "test/S_R003S01C01"),
        ("L_R001", "train_L/20200701_L_R001S01C01"),
        ("M_R002", "train_M/20200701_M_R002S01C01"),
    ]
    [val] = corpus.recordings("val")
    assert val.room == "M_R003" and corpus.recordings("test") == []
    assert corpus.count_pairs() == 28
    sentences = [(a, b) for a, b, _ in plan_meeting(12.0, 5, 3)]
    expected = single_speaker_intervals(sentences, 12.0)
    assert np.allclose(val.intervals, expected)
    compat = open_corpus("AISHELL4", aishell4, compat=True)
    [shorter] = compat.recordings("val")
    assert shorter.intervals == val.intervals[:-1]
    whole, _ = read_audio(val.files[0])
    read = corpus.read_segment(val, 10, 30, [7, 1])
    assert torch.equal(read, whole[10:30][:, [7, 1]])


def test_aishell4_preflight_names_missing_rooms(aishell4):
    preflight = open_corpus("AISHELL4", aishell4).preflight()
    assert not preflight.complete
    text = preflight.line()
    assert "4 of 10 rooms" in text and "28 pairs" in text
    assert (
        "missing rooms: L_R002, M_R001, S_R001, S_R004, L_R003, L_R004" in text
    )
    assert "no train_S; it comes from https://www.openslr.org/111" in text


def test_meetings_that_the_original_leaves_out(damaged):
    for suffix, place in ((".flac", "wav"), (".TextGrid", "TextGrid")):
        path = damaged / "train_M" / place / f"20200701_M_R002S01C01{suffix}"
        path.rename(path.with_name(f"20200622_M_R002S07C01{suffix}"))
    corpus = open_corpus("AISHELL4", damaged)
    assert "M_R002" not in {one.room for one in corpus.recordings()}
    assert corpus.unreadable == []


def test_damaged_and_renamed(damaged):
    wav, grid = "train_L/wav", "train_L/TextGrid"
    name = "20200701_L_R001S01C01"
    (damaged / grid / f"{name}.TextGrid").rename(damaged / grid / "x.TextGrid")
    text = (damaged / "test/TextGrid/S_R003S01C01.TextGrid").read_text()
    (damaged / "test/TextGrid/S_R003S01C01.TextGrid").write_text(text[:600])
    for place, suffix in (("wav", ".flac"), ("TextGrid", ".TextGrid")):
        path = damaged / "train_M" / place / f"20200701_M_R002S01C01{suffix}"
        path.rename(path.with_name(f"20200701_K_R002S01C01{suffix}"))
    write_audio(
        damaged / "test/wav/M_R003S01C01.flac",
        torch.rand(16000, 7) / 2,
        16000,
    )
    corpus = open_corpus("AISHELL4", damaged)
    assert corpus.recordings() == []
    assert len(corpus.unreadable) == 4
    text = corpus.preflight().line()
    assert f"{name}.flac: there is no {name}.TextGrid in" in text
    assert "x.TextGrid: there is no audio for it" in text
    assert "S_R003S01C01.TextGrid: cannot be read as a TextGrid" in text
    assert "has 7 channels, the array aishell4 8 microphones" in text
    assert "room 20200701_K_R002S01C01 of train_M is in no split" in text
    assert str(damaged / wav) in text


def test_alimeeting(alimeeting):
    corpus = open_corpus("AliMeeting", alimeeting.parent)
    assert [(one.room, one.id) for one in corpus.recordings("train")] == [
        ("R8008", "Eval_Ali/R8008_M0002"),
        ("R8008", "Test_Ali/R8008_M0003"),
        ("R0003", "Train_Ali/R0003_M0001"),
    ]
    assert [one.room for one in corpus.recordings("val")] == ["R8002"]
    assert corpus.count_pairs() == 28 and len(corpus.rooms) == 3


def test_alimeeting_ignores_pauses(alimeeting):
    [val] = open_corpus("AliMeeting", alimeeting).recordings("val")
    sentences = [(a, b) for a, b, _ in plan_meeting(12.0, 4, 4)]
    expected = single_speaker_intervals(sentences, 12.0)
    assert np.allclose(val.intervals, expected)
    [compat] = open_corpus("AliMeeting", alimeeting, True).recordings("val")
    assert compat.intervals == val.intervals[:-1]


def test_without_a_part_of_one_speaker(damaged):
    for name, rows in (("S_R003", 1), ("M_R003", 2)):
        sentences = [(0.0, 12.0, k) for k in range(rows)]
        path = damaged / f"test/TextGrid/{name}S01C01.TextGrid"
        write_textgrid(path, sentences, 12.0)
    corpus = open_corpus("AISHELL4", damaged)
    rooms = {one.room for one in corpus.recordings()}
    assert rooms == {"S_R003", "L_R001", "M_R002"}
    assert corpus.unreadable == []
    assert "M_R003S01C01: nobody speaks alone" in corpus.preflight().line()


def test_a_meeting_in_two_parts_is_used_once(tmp_path, alimeeting):
    folder = shutil.copytree(alimeeting, tmp_path / "AliMeeting")
    for place in ("audio_dir", "textgrid_dir"):
        for path in (folder / "Eval_Ali/Eval_Ali_far" / place).iterdir():
            shutil.copy(path, folder / "Test_Ali/Test_Ali_far" / place)
    corpus = open_corpus("AliMeeting", folder)
    assert len(corpus.recordings()) == 4
    assert "R8008_M0002 is there twice" in corpus.preflight().line()


def test_training_part_as_its_archive_unpacks(tmp_path, alimeeting):
    folder = shutil.copytree(alimeeting, tmp_path / "AliMeeting")
    (folder / "Train_Ali/Train_Ali_far").rename(folder / "Train_Ali_far")
    corpus = open_corpus("AliMeeting", folder)
    assert len(corpus.recordings("train")) == 3
