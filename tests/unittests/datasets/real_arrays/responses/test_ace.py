import shutil

import numpy as np
import pytest
import torch

from spatial_brain.dataio.audio import read_audio, write_audio
from spatial_brain.datasets.real_arrays.registry import open_corpus
from spatial_brain.datasets.real_arrays.responses.ace import (
    ACE,
    TABLE,
)
from spatial_brain.datasets.real_arrays.synthetic.ace import (
    write_synthetic_ace,
)


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    """All rooms with two arrays."""
    folder = tmp_path_factory.mktemp("data") / "ACE"
    arrays = ["Chromebook", "Mobile"]
    write_synthetic_ace(folder, arrays=arrays, seconds=0.2)
    return folder


@pytest.fixture
def copy(tree, tmp_path):
    return shutil.copytree(tree, tmp_path / "ACE")


def opened(folder):
    return open_corpus("ACE", folder, arrays=["Chromebook", "Mobile"])


def test_published_counts(tree):
    # Exactly placed microphones 6 and 8 of EM32 are two, not one.
    assert ACE(tree, compat=True).expected["pairs"] == 433
    assert ACE(tree).expected["pairs"] > 433
    em32 = ACE(tree, compat=True)._wanted["EM32"]
    assert len(em32.pairs(0.03, 0.2)) == 411
    assert torch.equal(em32.positions[5], em32.positions[7])
    assert not torch.equal(*ACE(tree)._wanted["EM32"].positions[[5, 7]])


def test_a_complete_tree(tree):
    corpus = opened(tree.parent)
    found = corpus.preflight()
    assert found.complete, found.line()
    assert found.found["pairs"] == 4
    assert found.found["responses"] == 28 and found.found["noises"] == 84
    assert found.found["hours"] == pytest.approx(84 * 0.2 / 3600)
    assert corpus.rooms["Lecture_Room_2"].size == (13.6, 9.29, 2.94)
    ids = [one.id for one in corpus.responses()]
    assert ids == sorted(ids) and len(set(ids)) == 28
    assert "Office_1/Mobile/SP1_MP2" in ids
    assert corpus.responses("val") == [] == corpus.noises("test")
    assert len(corpus.responses("train")) == 28


def test_what_is_read_is_what_is_there(tree):
    corpus = opened(tree)
    [one] = [r for r in corpus.responses() if r.id.startswith("Office_2/M")][:1]
    waveform, fs = corpus.read_response(one)
    path = tree / "RIRN/Mobile/Office_2/1/Mobile_Office_2_1_RIR.wav"
    assert one.files == (path,) and fs == 48000
    torch.testing.assert_close(waveform, read_audio(path)[0].T)
    # The second microphone is not the first one again.
    assert not torch.equal(waveform[0], waveform[1])
    matching = corpus.matching(one, corpus.noises())
    assert {n.kind for n in matching} == {"ambient", "babble", "fan"}
    assert {n.position for n in matching} == {one.position}
    noise = matching[1]
    part = corpus.read_noise(noise, 100, 300)
    torch.testing.assert_close(part, read_audio(noise.files[0])[0][100:300])


def test_published_labels_belong_to_their_channel(tree):
    text = (tree / "Data" / TABLE).read_text()
    rows = [row.split(", ") for row in text.splitlines()]
    row = [r for r in rows if r[:2] == ["Mobile", "Office_1"]][2]
    assert row[3:5] == ["1", "3"]
    one = next(
        r for r in opened(tree).responses() if r.id == "Office_1/Mobile/SP1_MP1"
    )
    assert one.published["t60"][2] == float(row[5])
    assert one.published["drr"][2] == float(row[6])
    assert one.t60 == pytest.approx(np.mean(one.published["t60"]))
    assert one.published["frequency"] == [500, 1000, 2000]
    assert np.shape(one.published["band_t60"]) == (3, 3)


def test_table_without_bands(copy):
    path = copy / "Data" / TABLE
    rows = [r.split(", ")[:7] for r in path.read_text().splitlines()]
    path.write_text("\n".join(", ".join(row) for row in rows))
    one = opened(copy).responses()[0]
    assert set(one.published) == {"t60", "drr"} and one.t60 > 0


def test_direct_path_as_published(tree):
    corpus = opened(tree)
    rir = torch.zeros(4, 1000)
    # The largest is 60, the earliest of at least half of it 30.
    rir[0, [10, 30, 60]] = torch.tensor([0.4, 0.6, 1.0])
    # A later one counts only where the first 6.25 ms have none.
    rir[1, [50, 300]] = torch.tensor([0.1, 1.0])
    rir[2, 300] = 1.0
    rir[3, [20, 25, 30, 35, 40, 45]] = torch.arange(6) / 10 + 0.5
    found = corpus.direct_path(rir, 16000).tolist()
    # 20 is the sixth of the maxima.
    assert found == [30, 50, 300, 25]
    for one in corpus.responses()[:4]:
        waveform, fs = corpus.read_response(one)
        distance = corpus.direct_path(waveform, fs) / fs * 343
        wanted = {"1": 0.9, "2": 1.5}[one.position]
        assert distance.mean().item() == pytest.approx(wanted, abs=0.03)


def test_files_of_another_rate(tmp_path):
    write_synthetic_ace(
        tmp_path, rooms=["Office_1"], arrays=["Mobile"], seconds=0.1, fs=16000
    )
    corpus = open_corpus("ACE", tmp_path, arrays=["Mobile"])
    assert corpus.read_response(corpus.responses()[0])[1] == 16000


def problems_of(folder):
    found = opened(folder).preflight()
    assert not found.complete
    return "\n".join(found.problems)


def test_damaged_and_missing_files_are_named(copy):
    rir = copy / "RIRN/Mobile/Office_1/1/Mobile_Office_1_1_RIR.wav"
    rir.write_bytes(rir.read_bytes()[:50])
    noise = copy / "RIRN/Mobile/Office_1/2/Mobile_Office_1_2_Noise_Fan.wav"
    noise.unlink()
    babble = noise.with_name("Mobile_Office_1_2_Noise_Babble.wav")
    write_audio(babble, torch.zeros(100, 2), 48000)
    shutil.rmtree(copy / "RIRN/Chromebook/Office_2")
    (copy / "RIRN/Mobile/Lecture_Room_1").rename(
        copy / "RIRN/Mobile/LectureRoom1"
    )
    text = problems_of(copy)
    assert str(rir) in text
    assert f"{noise.parent}: noise Fan is missing" in text
    assert f"{babble}: has 2 channels" in text and "left out" in text
    assert "Chromebook: rooms Office_2 are missing" in text
    assert "LectureRoom1: not a room of ACE" in text
    assert "rename it to Lecture_Room_1" in text
    with pytest.raises(ValueError, match="_RIR.wav"):
        corpus = opened(copy)
        for one in corpus.responses():
            corpus.read_response(one)
    assert babble not in [n.files[0] for n in corpus.noises()]


def test_wrong_channels_and_several_responses(copy):
    folder = copy / "RIRN/Mobile/Office_1/1"
    write_audio(folder / "old_RIR.wav", torch.zeros(100, 3), 48000)
    assert f"{folder}: has 2 files *RIR*.wav" in problems_of(copy)
    with pytest.raises(ValueError, match="several responses"):
        opened(copy).responses()
    (folder / "old_RIR.wav").unlink()
    path = folder / "Mobile_Office_1_1_RIR.wav"
    write_audio(path, torch.zeros(100, 2), 48000)
    assert f"{path}: has 2 channels, the array Mobile 3" in problems_of(copy)


def test_table_that_is_not_there_or_incomplete(copy):
    path = copy / "Data" / TABLE
    rows = path.read_text().splitlines()
    path.write_text("\n".join(rows[:-1]))
    [gone] = opened(copy).preflight().problems
    assert f"{path}: has no channel 3 of Mobile/Office_2/2" in gone
    broken = rows[-1].replace(", 3, ", ", three, ")
    path.write_text("\n".join([*rows[:-1], broken]))
    assert "line 71" in problems_of(copy)
    path.write_text("a, b\n")
    assert "has no column Mic config:" in problems_of(copy)
    path.unlink()
    assert "no such file; it has the T60 and DRR of ACE" in problems_of(copy)
    with pytest.raises(FileNotFoundError, match="Corpus_Mean"):
        opened(copy).responses()


def test_a_level_too_high_or_too_deep(tree, tmp_path):
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "corpora").symlink_to(tree)
    assert "give" in problems_of(tmp_path / "more")
    assert "give that folder" in problems_of(tree / "RIRN")
    assert "give that folder" in problems_of(tree / "Data")
    with pytest.raises(ValueError, match="arrays must be some of"):
        open_corpus("ACE", tree, arrays=["Single"])
