"""Annotated recordings of any names, formats, rates and rooms."""

import logging

import pytest
import torch
from own_scenes import write_own_scenes

from spatial_brain.dataio.audio import read_audio
from spatial_brain.dataio.manifest import read_manifest
from spatial_brain.datasets.own_folder.annotations import write_annotation
from spatial_brain.datasets.own_folder.recordings import find_recordings
from spatial_brain.datasets.own_folder.scenes import prepare_scenes
from spatial_brain.datasets.seld.chunks import (
    ClipReader,
    clip_events,
    make_chunks,
)

CLASSES = ["bell", "dog bark"]


def prepare(folder, **options):
    options = {"class_names": CLASSES, "num_classes": 2, "fs": 16000} | options
    paths = prepare_scenes(folder, folder.parent / "manifests", **options)
    return {
        split: read_manifest(path, data_root=folder)
        for split, path in paths.items()
    }


@pytest.fixture
def own(tmp_path):
    write_own_scenes(tmp_path / "own", 5)
    return tmp_path / "own"


def test_rooms_are_drawn_apart_and_named(own, caplog):
    caplog.set_level(logging.INFO)
    parts = prepare(own)
    assert [len(parts[s]) for s in ("train", "valid", "test")] == [3, 1, 1]
    [test] = parts["test"].values()
    assert f"test drawn by rooms with seed 0: {test['room']}" in caplog.text
    assert "5 audacity" in caplog.text
    assert prepare(own) == parts
    drawn = {tuple(prepare(own, seed=seed)["test"]) for seed in range(9)}
    assert len(drawn) > 1


@pytest.mark.parametrize(
    ("form", "text"),
    [
        ("dcase2021", "2,1,0,30,-10\n3,1,0,30,-10\n"),
        ("starss23", "2,1,0,30,-10,150\n3,1,0,30,-10,150\n"),
        ("l3das22_exact", "file,start,end,class,x,y,z\na,0.2,0.4,dog bark,"),
        ("cartesian6", "2,1,0,XYZ\n3,1,0,XYZ\n"),
        ("audacity", "0.2\t0.4\tdog bark 30 -10\n"),
    ],
)
def test_every_format_means_the_same_and_is_written_back(own, form, text):
    place = "0.852869,0.492404,-0.173648"
    text = text.replace("XYZ", place)
    text += f"{place}\n" if text.endswith("bark,") else ""
    suffix = "txt" if form == "audacity" else "csv"
    (own / "Aufnahme 0.txt").unlink()
    (own / f"Aufnahme 0.{suffix}").write_text(text)
    given = "cartesian6" if form == "cartesian6" else "auto"
    if given != "auto":
        for k in range(1, 5):
            (own / f"Aufnahme {k}.txt").write_text("")
    parts = prepare(own, annotation_format=given)
    entries = {k: e for part in parts.values() for k, e in part.items()}
    entry = entries["Aufnahme 0"]
    assert entry["annotation_format"] == form
    table = clip_events({"a": entry})["a"]
    assert table.frame.tolist() == [2, 3] and table.label.tolist() == [1, 1]
    assert table.azimuth == pytest.approx([30, 30], abs=0.01)
    assert table.elevation == pytest.approx([-10, -10], abs=0.01)
    path = write_annotation(own / "new", table, form, CLASSES)
    (own / f"Aufnahme 0.{suffix}").write_text(path.read_text())
    again = prepare(own, annotation_format=given)
    entries = {k: e for part in again.values() for k, e in part.items()}
    written = clip_events({"a": entries["Aufnahme 0"]})["a"]
    assert written.frame.tolist() == [2, 3] and written.label.tolist() == [1, 1]
    assert written.azimuth == pytest.approx([30, 30], abs=0.5)


def test_other_rates_and_channels_are_read_on_demand(own):
    write_own_scenes(own, 5, fs=48000, channels=6)
    with pytest.raises(ValueError, match=r"6 channels.*--channels '\[0, 1, 2"):
        prepare(own)
    order = {"channels": [5, 1, 0, 2]}
    with pytest.raises(ValueError, match="48000 Hz.*or give --resample True"):
        prepare(own, **order)
    entries = prepare(own, **order, resample=True)["train"]
    name, entry = next(iter(entries.items()))
    expected, _ = read_audio(entry["wav"], fs=16000, resample=True)
    assert entry["num_samples"] == len(expected) == 32000
    for memory in (False, True):
        part = ClipReader(entries, memory).read(name, 8000, 16000, 16000)
        torch.testing.assert_close(
            part, expected[8000:24000, order["channels"]]
        )
    chunks = make_chunks(entries, "accdoa", 2, fs=16000, chunk_length=1.0)
    assert len(chunks) == 6 and chunks[0]["accdoa"].abs().sum() > 0


def test_what_has_no_partner_is_named(own, caplog):
    (own / "Aufnahme 1.txt").unlink()
    (own / "lonely.csv").write_text("")
    assert len(find_recordings(own)) == 4
    assert "1 of 5 recordings have no annotation" in caplog.text
    assert "Aufnahme 1;" in caplog.text and "lonely.csv" in caplog.text
    for path in own.glob("*.txt"):
        path.unlink()
    with pytest.raises(FileNotFoundError, match="none of 5 recordings has an"):
        find_recordings(own)


def test_same_names_are_paired_by_their_folders(tmp_path):
    for split in ("train", "valid", "test"):
        write_own_scenes(tmp_path / "own" / split / "audio", 1)
        audio = tmp_path / "own" / split / "audio"
        (audio / "recordings.csv").unlink()
        (audio.parent / "labels").mkdir()
        (audio / "Aufnahme 0.txt").rename(
            audio.parent / "labels/Aufnahme 0.txt"
        )
    found = find_recordings(tmp_path / "own")
    assert [r.split for r in found] == ["test", "train", "valid"]
    assert all(r.annotation.parts[-3] == r.split for r in found)
    copy = tmp_path / "own/train/labels 2"
    copy.mkdir()
    (copy / "Aufnahme 0.txt").write_text("")
    with pytest.raises(ValueError, match="its annotation, or .* --recordings"):
        find_recordings(tmp_path / "own")


def test_classes_are_listed_with_the_line_to_type(own, tmp_path):
    line = 'Give: --class_names \'\\["bell", "dog bark"\\]\' --num_classes 2'
    with pytest.raises(ValueError, match=rf"hold 2: .*bell \(5\).*{line}"):
        prepare(own, class_names=[], num_classes=1)
    (tmp_path / "classes.txt").write_text("bell\ndog bark\n")
    with pytest.raises(ValueError, match=f"classes.txt has 2. {line}"):
        prepare(own, class_names=[], class_file=tmp_path / "classes.txt")
    with pytest.raises(ValueError, match="gives 2 classes .bell, dog bark"):
        prepare(own, num_classes=3)
    with pytest.raises(ValueError, match="'dog bark', expected one of bell"):
        prepare(own, class_names=["bell"], num_classes=1)


def test_classes_of_the_test_alone_are_named(own, caplog):
    table = own / "recordings.csv"
    lines = table.read_text().splitlines()
    splits = ["split", "test", "train", "train", "train", "valid"]
    table.write_text(
        "\n".join(f"{a},{b}" for a, b in zip(lines, splits, strict=True))
    )
    (own / "Aufnahme 0.txt").write_text("0\t1\tsiren 0 0\n")
    parts = prepare(own, class_names=[*CLASSES, "siren"], num_classes=3)
    assert list(parts["test"]) == ["Aufnahme 0"]
    assert "siren never sounds in the training, only in test" in caplog.text
    assert "class bell never sounds in the test" in caplog.text


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("Aufnahme 1.wav", "lost.wav", "line 3: .*lost.wav: no such file"),
        ("Aufnahme 1.wav", "Aufnahme 0.wav", "have the same name"),
        ("path,", "file,", "no column path"),
    ],
)
def test_tables_that_are_wrong(own, old, new, message):
    table = own / "recordings.csv"
    table.write_text(table.read_text().replace(old, new))
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        prepare(own)


def test_annotation_of_another_recording_is_refused(own):
    (own / "Aufnahme 0.txt").write_text("5\t6\tbell 0 0\n")
    with pytest.raises(ValueError, match="an event at 5.9 s, but .* ends at 2"):
        prepare(own)
