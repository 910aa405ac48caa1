import shutil

import pytest
import torch

from spatial_brain.dataio.audio import read_audio, write_audio
from spatial_brain.datasets.real_arrays.registry import open_corpus
from spatial_brain.datasets.real_arrays.synthetic.mc_wsj_av import (
    write_synthetic_mc_wsj_av,
)


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data") / "MC_WSJ_AV"
    write_synthetic_mc_wsj_av(folder, 1, 1, 1.0)
    return folder


@pytest.fixture
def folder(written, tmp_path):
    return shutil.copytree(written, tmp_path / written.name)


def test_recordings(folder):
    corpus = open_corpus("MC_WSJ_AV", folder.parent)
    assert corpus.folder == folder
    found = corpus.recordings("train")
    assert [recording.id for recording in found] == [
        f"MC_WSJ_AV_{part}/audio/stat/T{n}/array{k}/5k/"
        f"AMI_WSJ{n}-Array{k}_T{n}c0201"
        for part, n in (("Dev", 6), ("Eval", 7))
        for k in (1, 2)
    ]
    assert corpus.recordings("val") == corpus.recordings("test") == []
    assert found[0].speakers == ("T6",)
    assert (found[0].fs, found[0].num_samples) == (16000, 16000)
    preflight = corpus.preflight()
    assert preflight.complete, preflight.line()
    assert preflight.found["recordings"] == 4


def test_each_channel_is_read_from_its_own_file(folder):
    # The original read the first microphone twice.
    corpus = open_corpus("MC_WSJ_AV", folder)
    recording = corpus.recordings()[0]
    read = corpus.read_segment(recording, 100, 900, [6, 2])
    for column, channel in enumerate([6, 2]):
        path = next(folder.rglob(f"AMI_WSJ6-Array1-{channel + 1}_*.wav"))
        assert torch.equal(read[:, column], read_audio(path)[0][100:900, 0])
    assert not torch.equal(read[:, 0], read[:, 1])


def test_pairs(folder):
    corpus = open_corpus("MC_WSJ_AV", folder)
    assert corpus.count_pairs() == 28 == corpus.preflight().expected["pairs"]
    assert len(corpus.pairs("mc_wsj_av")) == 56
    compat = open_corpus("MC_WSJ_AV", folder, compat=True)
    assert compat.count_pairs() == 26 == compat.preflight().expected["pairs"]
    lost = {tuple(pair) for pair in corpus.pairs("mc_wsj_av").tolist()}
    lost -= {tuple(pair) for pair in compat.pairs("mc_wsj_av").tolist()}
    assert lost == {(1, 5), (5, 1), (3, 7), (7, 3)}


def test_missing_and_damaged(folder):
    first, *others = sorted(folder.rglob("*Array1-*.wav"))
    first.unlink()
    # The second recording: a channel in stereo; the third: one is longer.
    speaker = folder / "MC_WSJ_AV_Eval/audio/stat/T7"
    write_audio(
        speaker / "array1/5k/AMI_WSJ7-Array1-1_T7c0201.wav",
        torch.rand(16000, 2),
        16000,
    )
    write_audio(
        speaker / "array2/5k/AMI_WSJ7-Array2-8_T7c0201.wav",
        torch.rand(17000),
        16000,
    )
    corpus = open_corpus("MC_WSJ_AV", folder)
    assert len(corpus.recordings()) == 2
    assert len(corpus.unreadable) == 2
    preflight = corpus.preflight()
    assert not preflight.complete
    text = preflight.line()
    assert "channel files 1 are missing" in text
    assert "has 2 channels, the corpus has a file for each" in text
    assert "its channels differ in length or rate" in text


def test_half_of_it_and_other_levels(folder):
    (folder / "MC_WSJ_AV_Eval").rename(folder / "MC_WSJ_AV_Evaluation")
    text = open_corpus("MC_WSJ_AV", folder).preflight().line()
    assert "no MC_WSJ_AV_Eval, but MC_WSJ_AV_Evaluation; rename it" in text
    assert "2 recordings" in text
    deep = open_corpus("MC_WSJ_AV", folder / "MC_WSJ_AV_Dev").preflight()
    assert f"MC_WSJ_AV_Dev lies in {folder}, not here" in deep.line()
    audio = folder / "MC_WSJ_AV_Dev" / "audio"
    (audio / "stat").rename(audio / "static")
    text = open_corpus("MC_WSJ_AV", folder).preflight().line()
    assert "MC_WSJ_AV_Dev/audio/stat is missing; copy MC_WSJ_AV_Dev" in text
    (folder.parent / "up").mkdir()
    folder.rename(folder.parent / "up" / "corpus")
    high = open_corpus("MC_WSJ_AV", folder.parent / "up").preflight()
    assert "MC_WSJ_AV_Dev lies in" in high.line()
