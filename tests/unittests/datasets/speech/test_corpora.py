"""Corpora of dry speech in the layouts people have."""

import csv

import pytest
import torch

from spatial_brain.dataio.audio import write_audio
from spatial_brain.datasets.speech.corpora import list_utterances
from spatial_brain.datasets.speech.layouts import find_layout


def put(folder, *names, fs=16000):
    for number, name in enumerate(names):
        write_audio(folder / name, torch.zeros(100 + number), fs)


def summary(utterances):
    return [(u.id, u.speaker, u.split) for u in utterances]


@pytest.mark.parametrize("nested", ["LibriSpeech", ""])
def test_librispeech(tmp_path, nested):
    root = tmp_path / nested
    put(
        root,
        "dev-clean/84/121/84-121-0001.flac",
        "dev-clean/84/121/84-121-0000.flac",
        "test-clean/61/7/61-7-0000.flac",
    )
    (root / "dev-clean/84/121/84-121.trans.txt").write_text("x")
    assert find_layout(tmp_path) == "librispeech"
    found = list_utterances(tmp_path)
    assert summary(found) == [
        ("61-7-0000", "61", "test-clean"),
        ("84-121-0000", "84", "dev-clean"),
        ("84-121-0001", "84", "dev-clean"),
    ]
    assert [u.num_samples for u in found] == [102, 101, 100]
    assert found[0].fs == 16000 and found[0].path.startswith(str(tmp_path))
    assert len(list_utterances(tmp_path, splits=["dev-clean"])) == 2
    assert summary(list_utterances(root / "test-clean")) == summary(found[:1])
    with pytest.raises(FileNotFoundError, match="dev-other; there are dev-cl"):
        list_utterances(tmp_path, splits=["dev-other"])
    put(root, "dev-clean/84/121/99-121-0000.flac")
    with pytest.raises(ValueError, match="99-121-0000.flac: not named"):
        list_utterances(tmp_path)


@pytest.mark.parametrize("top", ["", "wsj0", "disc1/wsj0"])
def test_wsj0(tmp_path, top):
    root = tmp_path / top
    put(
        root,
        "si_tr_s/011/011c0201.wav",
        "si_tr_s/012/012c0201.sph",
        "si_et_05/440/440c0201.sph",
        "si_et_05/440/440c0202.sph",
    )
    # As on the discs; the second microphone and a converted copy beside it.
    folder = root / "si_et_05/440"
    (folder / "440c0201.sph").rename(folder / "440c0201.wv1")
    (folder / "440c0202.sph").rename(folder / "440c0202.wv2")
    (root / "si_tr_s/011/011c0201.wv1").write_text("not looked at")
    assert find_layout(tmp_path) == "wsj0"
    assert summary(list_utterances(tmp_path)) == [
        ("011c0201", "011", "si_tr_s"),
        ("012c0201", "012", "si_tr_s"),
        ("440c0201", "440", "si_et_05"),
    ]


def test_folders_of_speakers(tmp_path):
    put(tmp_path, "ann/a/1.wav", "ann/2.ogg", "bob/1.wav", ".hidden/1.wav")
    (tmp_path / "ann" / "notes.txt").write_text("x")
    assert find_layout(tmp_path) == "speakers"
    assert summary(list_utterances(tmp_path)) == [
        ("ann-2", "ann", None),
        ("ann-a-1", "ann", None),
        ("bob-1", "bob", None),
    ]


def test_folders_of_speakers_in_splits(tmp_path):
    put(tmp_path, "train/ann/1.wav", "valid/bob/1.wav", "test/cid/1.wav")
    assert summary(list_utterances(tmp_path)) == [
        ("ann-1", "ann", "train"),
        ("bob-1", "bob", "valid"),
        ("cid-1", "cid", "test"),
    ]


def test_flat_folder(tmp_path):
    put(tmp_path, "ann-1.wav", "ann-2.wav", "bob_1.flac")
    assert summary(list_utterances(tmp_path)) == [
        ("ann-1", "ann", None),
        ("ann-2", "ann", None),
        ("bob_1", "bob", None),
    ]
    put(tmp_path, "carol.wav")
    with pytest.raises(ValueError, match=r"carol.wav.*rename"):
        list_utterances(tmp_path)


def write_table(path, header, rows):
    with open(path, "w", newline="") as file:
        csv.writer(file).writerows([header, *rows])
    return path


def test_table(tmp_path):
    put(tmp_path, "speech/x.wav", "speech/sub/y.wav", "z.wav")
    rows = [
        ("ann", "x.wav", "train"),
        ("bob", "speech/sub/y.wav", "test"),
        ("cid", str(tmp_path / "z.wav"), ""),
    ]
    table = write_table(
        tmp_path / "speech/manifest.csv", ("speaker", "path", "split"), rows
    )
    expected = [
        ("x", "ann", "train"),
        ("y", "bob", "test"),
        ("z", "cid", None),
    ]
    assert summary(list_utterances(table)) == expected
    assert summary(list_utterances(tmp_path / "speech")) == expected
    write_table(table, ("speaker", "path"), [("ann", "nowhere.wav")])
    with pytest.raises(FileNotFoundError, match="line 2: no file 'nowhere.wav"):
        list_utterances(table)
    write_table(table, ("speaker", "file"), [])
    with pytest.raises(ValueError, match=r"no column path.*'file'"):
        list_utterances(table)
    write_table(table, ("speaker", "path"), [("", "x.wav")])
    with pytest.raises(ValueError, match="line 2: path or speaker is empty"):
        list_utterances(table)


def test_unusable_files(tmp_path, caplog):
    put(tmp_path, "ann/1.wav", "ann/2.wav", "bob/1.wav")
    put(tmp_path, "bob/2.wav", fs=8000)
    (tmp_path / "ann/2.wav").write_text("corrupt")
    with pytest.raises(ValueError, match="2 of 4 files are unusable") as caught:
        list_utterances(tmp_path, fs=16000)
    assert "2.wav" in str(caught.value) and "8000 Hz" in str(caught.value)
    found = list_utterances(tmp_path, fs=16000, on_corrupt="report")
    assert [u.id for u in found] == ["ann-1", "bob-1"]
    assert "2 of 4" in caplog.text


def test_what_cannot_be_a_corpus(tmp_path):
    with pytest.raises(FileNotFoundError, match="no such corpus"):
        list_utterances(tmp_path / "nowhere")
    with pytest.raises(ValueError, match="Known: a LibriSpeech tree"):
        list_utterances(tmp_path)
    put(tmp_path, "ann/1.wav", "ann/1.flac")
    with pytest.raises(ValueError, match="two files have the id 'ann-1'"):
        list_utterances(tmp_path)
    with pytest.raises(ValueError, match="layout must be one of"):
        list_utterances(tmp_path, layout="nist")
    put(tmp_path / "good", "ann-1.wav")
    with pytest.raises(ValueError, match="on_corrupt"):
        list_utterances(tmp_path / "good", on_corrupt="ignore")


def test_real_table(shared_data):
    found = list_utterances(shared_data / "speech" / "manifest.csv", fs=16000)
    with open(shared_data / "speech" / "manifest.csv", newline="") as file:
        rows = {row["id"]: row for row in csv.DictReader(file)}
    assert {u.id for u in found} == set(rows)
    for utterance in found:
        row = rows[utterance.id]
        assert utterance.speaker == row["speaker"]
        assert utterance.split == row["split"]
        assert abs(utterance.duration - float(row["duration"])) < 2e-3
