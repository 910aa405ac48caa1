"""Folders with links, leftovers and capitals."""

import logging
import os
import subprocess
from pathlib import Path

import pytest
import torch

from spatial_brain.dataio.audio import write_audio
from spatial_brain.datasets.binaural_wsj0mix.brirs import load_rooms
from spatial_brain.datasets.binaural_wsj0mix.noise import split_noise
from spatial_brain.datasets.seld.event_bank import _list_folders
from spatial_brain.datasets.seld.files import find_clips
from spatial_brain.datasets.speech.corpora import list_utterances
from spatial_brain.datasets.speech.wsj0 import find_wsj0
from spatial_brain.folders import find_files, find_folders
from spatial_brain.metrics.seld.files import score_folders
from spatial_brain.simulation.hrtf.readers import find_heads

LEFTOVERS = (
    ".DS_Store",
    "._a.wav",
    ".hidden.wav",
    ".a.wav.123.tmp",
    "Thumbs.db",
    "@eaDir/a.wav",
    "__MACOSX/._a.wav",
    "__macosx/a.wav",
    "$RECYCLE.BIN/a.wav",
    ".Trash/a.wav",
)


def make(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"content")
    return folder


def names_of(found, folder):
    return [path.relative_to(folder).as_posix() for path in found]


def test_leftovers_and_capitals(tmp_path):
    make(tmp_path, "b/A.WAV", "a.wav", "b/c/d.Wav", "notes.txt", *LEFTOVERS)
    found = find_files(tmp_path, (".wav", ".flac"))
    assert names_of(found, tmp_path) == ["a.wav", "b/A.WAV", "b/c/d.Wav"]
    assert found.skipped["of another kind"] == 1
    assert sum(found.skipped.values()) == 1 + len(LEFTOVERS)
    assert "3 files; skipped: 10 hidden or left by a system" in found.summary
    assert names_of(find_files(tmp_path), tmp_path)[-1] == "notes.txt"
    assert names_of(find_files(tmp_path, ".wav", depth=0), tmp_path) == [
        "a.wav"
    ]
    assert len(find_files(tmp_path, ".wav", depth=1)) == 2
    assert len(find_files(tmp_path, ".wav", skip="[bc]")) == 1


def test_a_hidden_folder_that_is_given_itself(tmp_path):
    folder = make(tmp_path / ".cache", "a.wav")
    assert len(find_files(folder, ".wav")) == 1


def test_links_are_followed_and_each_folder_visited_once(tmp_path):
    data, other = tmp_path / "data", tmp_path / "other"
    make(data, "one/a.wav", "two/b.wav")
    make(other, "c.wav", "deep/d.wav")
    (data / "all").symlink_to(data)
    (data / "a_link_to_one").symlink_to(data / "one")
    (data / "one" / "up").symlink_to("..")
    (data / "one" / "above").symlink_to(tmp_path)
    (data / "linked").symlink_to(other)
    (other / "back").symlink_to(data)
    (data / "link.wav").symlink_to(other / "c.wav")
    found = find_files(data, ".wav")
    assert names_of(found, data) == [
        "link.wav",
        "linked/c.wav",
        "linked/deep/d.wav",
        "one/a.wav",
        "two/b.wav",
    ]
    assert found.skipped == {
        "links to a folder that was visited or lies above": 5
    }
    assert names_of(find_folders(data), data) == ["linked", "one", "two"]
    # A folder that is a link itself.
    again = find_files(data / "linked", ".wav")
    assert {"c.wav", "deep/d.wav"} < set(names_of(again, data / "linked"))


def test_links_to_nothing_pipes_and_missing_folders(tmp_path, caplog):
    make(tmp_path, "a.wav")
    (tmp_path / "gone.wav").symlink_to("nowhere.wav")
    (tmp_path / "gone").symlink_to("nowhere")
    (tmp_path / "loop").symlink_to("loop")
    os.mkfifo(tmp_path / "pipe.wav")
    with caplog.at_level(logging.WARNING):
        assert len(find_files(tmp_path, ".wav")) == 1
    assert "3 links to nothing, 1 pipes or devices" in caplog.text
    with pytest.raises(FileNotFoundError):
        find_files(tmp_path / "nowhere")
    with pytest.raises(NotADirectoryError):
        find_files(tmp_path / "a.wav")


def test_no_folder_is_searched_in_another_way():
    root = Path(__file__).resolve().parents[2]
    words = subprocess.run(
        ["grep", "-rnE", r"rglob|os\.walk", "--include=*.py"]
        + [f"{root}/{name}" for name in ("spatial_brain", "recipes")],
        capture_output=True,
        text=True,
    ).stdout.splitlines()
    # What these two write themselves, hidden files too.
    allowed = (">>>", "dataio/archives.py", "dataio/checkpoints.py")
    assert not [w for w in words if not any(name in w for name in allowed)]


def write_wav(path, fs=16000, channels=1):
    write_audio(path, 0.1 * torch.randn(800, channels), fs)


def test_speech_with_a_link_to_the_parent(tmp_path):
    for speaker in ("ann", "bob"):
        write_wav(tmp_path / speaker / "1.wav")
    (tmp_path / "ann" / "up").symlink_to("..")
    (tmp_path / "all").symlink_to(".")
    (tmp_path / "ann2").symlink_to("ann")
    make(tmp_path, "ann/._1.wav", "@eaDir/1.wav", "__MACOSX/ann/1.wav")
    found = list_utterances(tmp_path)
    assert [utterance.id for utterance in found] == ["ann-1", "bob-1"]


def test_wsj0_behind_a_link(tmp_path):
    make(tmp_path / "disc", "si_tr_s/01t/01to030v.WAV")
    make(tmp_path / "data", "si_dt_05/050/._050a0501.wav")
    (tmp_path / "data" / "wsj0").symlink_to(tmp_path / "disc")
    name = "wsj0/si_tr_s/01t/01to030v.wav"
    found = find_wsj0(tmp_path / "data", [name])
    assert found[name].endswith("01to030v.WAV")


def test_noise_rooms_heads_and_events(tmp_path):
    away = tmp_path / "away"
    for name in "abc":
        write_wav(away / f"{name}.WAV")
    make(away, "._a.wav", "@eaDir/a.wav")
    noise = tmp_path / "noise"
    noise.mkdir()
    (noise / "link").symlink_to(away)
    (noise / "loop").symlink_to(noise)
    assert sorted(sum(map(list, split_noise(noise).values()), [])) == [
        f"link/{name}.WAV" for name in "abc"
    ]
    assert len(_list_folders(noise, None)["link"]) == 3
    rooms = tmp_path / "rooms"
    rooms.mkdir()
    write_wav(tmp_path / "measured" / "CATT_0_4s_90.WAV", channels=2)
    (rooms / "0_4s").symlink_to(tmp_path / "measured")
    assert list(load_rooms(rooms, 16000).rooms) == ["0_4s"]
    heads = make(tmp_path / "heads", "P1.SOFA", "._P1.sofa", "x/P2.Npz")
    (heads / "linked").symlink_to(make(tmp_path / "more", "P3.sofa"))
    make(heads, "subject_003/HRIR_FINAL.MAT", "subject12/0AZLEFT.WAV")
    make(heads, "subject12/10azleft.wav", "subject12/neg80azleft.wav")
    assert {n: form for n, (form, _) in find_heads(heads).items()} == {
        "P1": "sofa",
        "P2": "npz",
        "P3": "sofa",
        "subject03": "mat",
        "subject12": "wav",
    }


def test_sounds_without_a_class_are_counted(tmp_path, caplog):
    make(tmp_path, "dog/a.wav", "b.wav")
    assert list(_list_folders(tmp_path, None)) == ["dog"]
    assert "1 files lie in no sub-folder" in caplog.text


def test_scores_count_clips_behind_links(tmp_path):
    line = "0,3,0,10,0\n1,3,0,10,0\n"
    for side in ("reference", "estimate"):
        for number in range(4):
            name = "sub/" if number > 1 else ""
            path = tmp_path / f"{side}_{bool(name)}" / f"mix{number}.CSV"
            path.parent.mkdir(exist_ok=True)
            path.write_text(line)
        link = tmp_path / f"{side}_False" / "linked"
        link.symlink_to(tmp_path / f"{side}_True")
        make(tmp_path / f"{side}_False", "._mix0.csv")
    # Two of the linked estimates are wrong: it shows if they are scored.
    for number in (2, 3):
        (tmp_path / "estimate_True" / f"mix{number}.CSV").write_text(
            line.replace(",10,", ",100,")
        )
    found = score_folders(
        tmp_path / "reference_False",
        tmp_path / "estimate_False",
        "DCASE2021",
        intervals=False,
    )
    assert found["missing"] == [] and 0.1 < found["F"] < 0.9


def test_annotations_without_audio_are_counted(tmp_path, caplog):
    make(tmp_path, "foa_dev/mix001.wav")
    make(tmp_path, *(f"metadata_dev/mix00{n}.csv" for n in (1, 2, 3)))
    make(tmp_path, "Thumbs.db", "@eaDir/foa_dev/mix001.wav")
    clips = find_clips(tmp_path, "foa_dev", "metadata_dev", r"mix\d+", "Get it")
    assert [clip.id for clip in clips] == ["mix001"]
    assert "2 of 3 annotations have no audio" in caplog.text
    assert "mix002.csv" in caplog.text
    (tmp_path / "same").symlink_to(".")
    again = find_clips(tmp_path, "foa_dev", "metadata_dev", r"mix\d+", "Get it")
    assert again == clips
