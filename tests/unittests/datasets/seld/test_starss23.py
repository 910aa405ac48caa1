"""STARSS23 and STARSS22: from folders or archives to manifests."""

import json
import re
import shutil
import zipfile
from pathlib import Path

import pytest
from seld_trees import tree, write_clip, write_rows, write_silence

from spatial_brain.dataio.manifest import read_manifest
from spatial_brain.datasets.scene_corpus.check import merge_corpus
from spatial_brain.datasets.scene_corpus.generate import generate_corpus
from spatial_brain.datasets.scene_corpus.options import scene_options
from spatial_brain.datasets.seld import starss23
from spatial_brain.datasets.seld.chunks import clip_events
from spatial_brain.datasets.seld.starss23 import (
    prepare_starss23,
    write_synthetic_starss23,
)
from spatial_brain.simulation.synthesis.events import EVENT_KINDS

CLIPS = {
    "dev-train-tau": ["fold3_room4_mix001", "fold3_room9_mix001"],
    "dev-train-sony": ["fold3_room21_mix001", "fold3_room22_mix001"],
    "dev-test-tau": ["fold4_room2_mix001"],
    "dev-test-sony": ["fold4_room23_mix001"],
}
ROWS = [(0, 3, 0, 30, 10, 154), (19, 12, 1, -170, -20, 80)]


def make_data(folder, layout="sub", form="foa", columns=6):
    for sub, names in CLIPS.items():
        place = sub if layout == "sub" else "."
        for number, name in enumerate(names):
            write_clip(
                folder / f"{form}_dev" / place / f"{name}.wav", seed=number
            )
            rows = [row[:columns] for row in ROWS]
            # A clip without events is legal.
            rows = rows if number == 0 else []
            write_rows(folder / "metadata_dev" / place / f"{name}.csv", rows)
    for number in (1, 2):
        write_clip(folder / f"{form}_eval" / f"mix{number:03d}.wav")
    return folder


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return make_data(tmp_path_factory.mktemp("STARSS23"))


def prepare(folder, save, **options):
    options = {"check_counts": False, **options}
    paths = prepare_starss23(folder, save, **options)
    return {
        name: read_manifest(path, data_root=folder)
        for name, path in paths.items()
    }


def rooms(entries):
    return sorted(int(entry["room"]) for entry in entries.values())


@pytest.mark.parametrize("layout", ["sub", "flat"])
@pytest.mark.parametrize("form", ["foa", "mic"])
def test_protocols_and_layouts(tmp_path, layout, form):
    folder = make_data(tmp_path / "data", layout, form)
    # What is not part of the data is not looked at.
    (folder / f"{form}_dev" / "._fold3_room4_mix001.wav").write_bytes(b"mac")
    (folder / "__MACOSX" / f"{form}_dev").mkdir(parents=True)
    before = tree(folder)
    dev = prepare(folder, tmp_path / "dev", format=form)
    assert {name: rooms(part) for name, part in dev.items()} == {
        "train": [4, 21],
        "valid": [9, 22],
        "test": [2, 23],
    }
    original = prepare(
        folder, tmp_path / "orig", format=form, protocol="original"
    )
    assert {name: rooms(part) for name, part in original.items()} == {
        "train": [4, 9, 21, 22],
        "valid": [2, 23],
        "test": [2, 23],
    }
    # Nothing was moved, copied or touched.
    assert tree(folder) == before
    entry = dev["train"]["fold3_room4_mix001"]
    assert Path(entry["wav"]).is_file() and Path(entry["events"]).is_file()
    assert f"{form}_dev" in entry["wav"]
    del entry["wav"], entry["events"]
    assert entry == {
        "num_samples": 48000,
        "fs": 24000,
        "dialect": "starss23",
        "room": "4",
        "fold": "3",
        "overlap": None,
    }
    raw = json.loads((tmp_path / "dev" / "train.json").read_text())
    assert all(e["wav"].startswith("{data_root}/") for e in raw.values())


def test_events_of_the_manifest(data, tmp_path):
    test = prepare(data, tmp_path)["test"]
    table = clip_events(test, num_classes=13)["fold4_room2_mix001"]
    assert table.num_frames == 20
    assert table.label.tolist() == [3, 12]
    assert table.azimuth.tolist() == [30, -170]
    assert table.distance.tolist() == [1.54, 0.8]


def test_evaluation_clips_are_in_no_manifest(data, tmp_path):
    parts = prepare(data, tmp_path)
    assert (data / "foa_eval" / "mix001.wav").is_file()
    clips = {clip for part in parts.values() for clip in part}
    assert clips and not clips & {"mix001", "mix002"}


def test_starss22_is_recognised(tmp_path):
    folder = make_data(tmp_path / "data", columns=5)
    parts = prepare(folder, tmp_path, check_counts=True)
    assert {e["dialect"] for e in parts["train"].values()} == {"starss22"}


def last_frame(path):
    lines = path.read_text().splitlines()
    return max((int(line.split(",")[0]) for line in lines), default=0)


def test_real_annotations(shared_data, tmp_path):
    source = shared_data / "annotations" / "starss22"
    places = {}
    for sub in CLIPS:
        path = min(sorted((source / sub).glob("*.csv")), key=last_frame)
        places[path.stem] = tmp_path / "metadata_dev" / sub / path.name
        places[path.stem].parent.mkdir(parents=True)
        shutil.copy(path, places[path.stem])
        seconds = (last_frame(path) + 1) / 10
        write_silence(tmp_path / "foa_dev" / f"{path.stem}.flac", seconds)
    room = int(re.search(r"room(\d+)", list(places)[1])[1])
    parts = prepare(tmp_path, tmp_path / "save", valid_rooms=[room])
    found = {k: v for part in parts.values() for k, v in part.items()}
    assert found.keys() == places.keys()
    for name, table in clip_events(found, num_classes=13).items():
        lines = places[name].read_text().split()
        assert len(table) == len(lines)
        assert table.num_frames == last_frame(places[name]) + 1
    # Audio of two seconds: annotations of minutes belong to other files.
    for path in tmp_path.glob("foa_dev/*"):
        write_silence(path, 2.0)
    with pytest.raises(ValueError, match="belongs to another clip"):
        prepare(tmp_path, tmp_path / "again")


def test_done_once(data, tmp_path):
    prepare(data, tmp_path)
    before = tree(tmp_path)
    prepare(data, tmp_path)
    assert tree(tmp_path) == before
    prepare(data, tmp_path, valid_rooms=[4])
    assert tree(tmp_path) != before
    shutil.rmtree(tmp_path / "nowhere", ignore_errors=True)
    paths = prepare_starss23("nowhere", tmp_path, skip_prep=True)
    assert paths["train"] == tmp_path / "train.json"


def test_archives_are_unpacked_once(data, tmp_path):
    folder = tmp_path / "data"
    folder.mkdir()
    for part, inside in (("foa_dev", "foa_dev/"), ("metadata_dev", "")):
        with zipfile.ZipFile(folder / f"{part}.zip", "w") as file:
            for path in sorted((data / part).rglob("*.*")):
                file.write(path, inside + str(path.relative_to(data / part)))
    parts = prepare(folder, tmp_path / "save")
    assert rooms(parts["train"]) == [4, 21]
    before = tree(folder)
    prepare(folder, tmp_path / "other")
    assert tree(folder) == before
    # Half unpacked, as a kill leaves it.
    marker = folder / ".foa_dev.zip.unpacked.json"
    marker.write_text(marker.read_text().replace("true", "false"))
    next((folder / "foa_dev").rglob("*.wav")).unlink()
    assert prepare(folder, tmp_path / "again") == parts
    marker.write_text(marker.read_text().replace("true", "false"))
    (folder / "foa_dev.zip").unlink()
    with pytest.raises(FileNotFoundError, match=r"foa_dev\.zip is gone"):
        prepare(folder, tmp_path / "gone")


def test_synthetic_clips_join_the_training(data, tmp_path):
    extra = tmp_path / "extra"
    write_clip(extra / "foa" / "fold1_room1_mix001.wav")
    write_rows(extra / "metadata" / "fold1_room1_mix001.csv", [ROWS[0][:5]])
    parts = prepare(data, tmp_path / "s", synthetic_folder=extra)
    assert len(parts["train"]) == 3
    entry = parts["train"]["synthetic_fold1_room1_mix001"]
    assert entry["dialect"] == "starss22"
    assert Path(entry["wav"]).is_file()
    assert len(parts["valid"]) == 2
    shutil.rmtree(extra / "metadata")
    with pytest.raises(FileNotFoundError, match="neither metadata_dev"):
        prepare(data, tmp_path / "t", synthetic_folder=extra)


def test_a_corpus_of_the_scene_generator_joins_the_training(
    data, tmp_path, caplog
):
    options = {
        "scenes": 2,
        "events": None,
        "classes": ["speech_female", "speech_male"],
        "duration": 1.0,
        "t60": 0,
        "formats": ["foa"],
    }
    corpus = tmp_path / "corpus"
    generate_corpus(scene_options(options), corpus)
    with pytest.raises(FileNotFoundError, match=r"no corpus\.json"):
        prepare(data, tmp_path / "s", synthetic_folder=corpus)
    merge_corpus(corpus)
    with caplog.at_level("INFO"):
        parts = prepare(data, tmp_path / "s", synthetic_folder=corpus)
    assert "1 'speech_male' for 'Male speech, man speaking'" in caplog.text
    names = [name for name in parts["train"] if name.startswith("synthetic_")]
    assert len(names) == 2
    assert parts["train"][names[0]]["dialect"] == "starss23"
    options |= {"classes": list(EVENT_KINDS)[:14]}
    generate_corpus(scene_options(options), tmp_path / "more")
    merge_corpus(tmp_path / "more")
    with pytest.raises(ValueError, match="has 14 classes, STARSS23 has 13"):
        prepare(data, tmp_path / "t", synthetic_folder=tmp_path / "more")


def test_other_folds_are_left_out(tmp_path, caplog):
    folder = make_data(tmp_path / "data")
    write_clip(folder / "foa_dev" / "fold1_room1_mix001.wav")
    write_rows(folder / "metadata_dev" / "fold1_room1_mix001.csv", [])
    parts = prepare(folder, tmp_path / "s")
    assert rooms(parts["train"]) == [4, 21]
    assert "1 clips of other folds" in caplog.text


def break_mono(folder):
    write_clip(folder / "foa_dev/dev-test-tau/fold4_room2_mix001.wav", 24000, 1)


def break_rate(folder):
    write_clip(folder / "foa_dev/dev-test-tau/fold4_room2_mix001.wav", 16000)


def break_truncated(folder):
    path = folder / "foa_dev/dev-test-tau/fold4_room2_mix001.wav"
    path.write_bytes(path.read_bytes()[:5000])


def break_label(folder):
    path = folder / "metadata_dev/dev-test-tau/fold4_room2_mix001.csv"
    write_rows(path, [(0, 13, 0, 30, 10, 154)])


def break_row(folder):
    path = folder / "metadata_dev/dev-test-tau/fold4_room2_mix001.csv"
    write_rows(path, [ROWS[0], (0, "dog", 0, 30, 10, 154)])


def break_end(folder):
    path = folder / "metadata_dev/dev-test-tau/fold4_room2_mix001.csv"
    write_rows(path, [(31, 3, 0, 30, 10, 154)])


def break_metadata(folder):
    (folder / "metadata_dev/dev-test-tau/fold4_room2_mix001.csv").unlink()


def break_name(folder):
    write_clip(folder / "foa_dev" / "recording.wav")


def break_copy(folder):
    shutil.copy(
        folder / "foa_dev/dev-test-tau/fold4_room2_mix001.wav",
        folder / "foa_dev",
    )


@pytest.mark.parametrize(
    ("damage", "messages"),
    [
        (break_mono, ["fold4_room2_mix001.wav", "1 channels, expected 4"]),
        (break_rate, ["fold4_room2_mix001.wav", "16000 Hz, expected 24000"]),
        (break_truncated, ["1 of 6 audio files", "truncated"]),
        (break_label, ["fold4_room2_mix001.csv", "13"]),
        (break_row, ["fold4_room2_mix001.csv", "line 2", "dog"]),
        (break_end, ["event in frame 31", "ends after frame 19"]),
        (break_metadata, ["1 of 6 clips have no annotation: fold4_room2_mix"]),
        (break_name, ["recording.wav", "unexpected name"]),
        (break_copy, ["have the same name", "remove the copy"]),
    ],
)
def test_broken_data_are_named(data, tmp_path, damage, messages):
    folder = tmp_path / "data"
    shutil.copytree(data, folder)
    damage(folder)
    with pytest.raises((ValueError, FileNotFoundError)) as caught:
        prepare(folder, tmp_path / "save")
    for message in messages:
        assert message in str(caught.value)
    assert not (tmp_path / "save").exists()


def test_events_just_behind_the_end_are_dropped(data, tmp_path, caplog):
    folder = tmp_path / "data"
    shutil.copytree(data, folder)
    path = folder / "metadata_dev/dev-test-tau/fold4_room2_mix001.csv"
    write_rows(path, [*ROWS, (20, 3, 0, 30, 10, 154)])
    test = prepare(folder, tmp_path / "save")["test"]
    assert "1 rows after the end" in caplog.text
    assert len(clip_events(test)["fold4_room2_mix001"]) == 2


def test_wrong_arguments(data, tmp_path):
    for options, message in (
        ({"format": "wav"}, "format must be one of"),
        ({"protocol": "official"}, "protocol must be one of"),
        ({"valid_rooms": [5]}, r"rooms \[4, 9, 21, 22\]"),
        ({"valid_rooms": [4, 9, 21, 22]}, "not all"),
        ({"check_counts": True}, "has 6 clips, 168 were published"),
    ):
        with pytest.raises(ValueError, match=message):
            prepare(data, tmp_path, **options)
    with pytest.raises(FileNotFoundError, match="records/7880637"):
        prepare(tmp_path, tmp_path)
    with pytest.raises(FileNotFoundError, match="--download True"):
        prepare(tmp_path / "nowhere", tmp_path)


def test_synthetic_data(tmp_path):
    folder = tmp_path / "STARSS23"
    numbers = {"train": 2, "valid": 2, "test": 2}
    write_synthetic_starss23(
        folder, clips=numbers, duration=4.0, scene={"t60_range": (0.2, 0.25)}
    )
    parts = prepare(folder, tmp_path / "s", check_counts=True)
    assert {name: len(part) for name, part in parts.items()} == numbers
    assert [rooms(parts[name]) for name in ("train", "valid", "test")] == [
        [4, 21],
        [9, 22],
        [2, 23],
    ]
    place = folder / "metadata_dev" / "dev-test-sony"
    rows = (place / "fold4_room23_mix001.csv").read_text().split()
    # Frame, class, source, azimuth, elevation and centimetres.
    values = [list(map(int, row.split(","))) for row in rows]
    assert values and all(len(row) == 6 for row in values)
    assert 50 < min(row[5] for row in values)
    tables = clip_events(parts["test"], num_classes=13)
    assert all(len(table) for table in tables.values())


def test_class_names():
    assert len(starss23.CLASS_NAMES) == len(set(starss23.CLASS_NAMES)) == 13
    assert starss23.CLASS_NAMES[12] == "Knock"
