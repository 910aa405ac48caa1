"""PSELDNets' corpus: as published, in parts, damaged, and others for it."""

import shutil
import zipfile

import pytest
from seld_trees import tree, write_clip, write_rows

from spatial_brain.dataio.audio import audio_info
from spatial_brain.dataio.files import read_json
from spatial_brain.dataio.manifest import read_manifest
from spatial_brain.datasets.scene_corpus.check import merge_corpus
from spatial_brain.datasets.scene_corpus.generate import generate_corpus
from spatial_brain.datasets.scene_corpus.options import scene_options
from spatial_brain.datasets.seld import pseldnets
from spatial_brain.datasets.seld.chunks import clip_events, make_chunks
from spatial_brain.datasets.seld.pseldnets import (
    prepare_pseldnets,
    write_synthetic_pseldnets,
)

PARTS = {"train": ["train20000_ov1_1"], "test": ["test1800_ov1", "test360_ov3"]}
COUNTS = {"train20000_ov1_1": 3, "test1800_ov1": 2, "test360_ov3": 2}


def write_part(folder, part):
    for number in range(COUNTS[part]):
        name = f"fold0_room0_mix{number}"
        if part.startswith("test"):
            name = f"fold1_room{number + 1}_mix001"
        write_clip(folder / part / "foa" / f"{name}.flac", seed=number)
        write_rows(
            folder / part / "metadata" / f"{name}.csv",
            [(number, number % 2, 0, 30, 0)],
        )


def write_lists(folder, names=("Meow", "Bark")):
    lines = [f"{n}\t/m/{n}\t{name}\t9\t60.5\n" for n, name in enumerate(names)]
    for name in ("cls_indices_train.tsv", "cls_indices_test.tsv"):
        (folder / name).write_text("".join(lines))


@pytest.fixture
def data(tmp_path, monkeypatch):
    """The corpus in the small, as if so much had been published."""
    monkeypatch.setattr(pseldnets, "PARTS", COUNTS)
    monkeypatch.setattr(pseldnets, "DURATION", 2.0)
    folder = tmp_path / "data"
    for part in COUNTS:
        write_part(folder, part)
    write_lists(folder)
    return folder


def prepare(folder, save, parts=PARTS, **options):
    paths = prepare_pseldnets(
        folder, save, **{"parts": parts, "num_classes": 2, **options}
    )
    return {name: read_manifest(path) for name, path in paths.items()}


def test_entries_and_held_out_clips(data, tmp_path):
    before = tree(data)
    splits = prepare(data, tmp_path / "s")
    assert tree(data) == before
    assert {name: list(entries) for name, entries in splits.items()} == {
        "train": [
            "train20000_ov1_1/fold0_room0_mix0",
            "train20000_ov1_1/fold0_room0_mix1",
        ],
        "valid": ["train20000_ov1_1/fold0_room0_mix2"],
        "test": [
            "test1800_ov1/fold1_room1_mix001",
            "test1800_ov1/fold1_room2_mix001",
            "test360_ov3/fold1_room1_mix001",
            "test360_ov3/fold1_room2_mix001",
        ],
    }
    name = "test360_ov3/fold1_room2_mix001"
    assert splits["test"][name] == {
        "wav": "{data_root}/test360_ov3/foa/fold1_room2_mix001.flac",
        "num_samples": 48000,
        "fs": 24000,
        "events": "{data_root}/test360_ov3/metadata/fold1_room2_mix001.csv",
        "dialect": "dcase2021",
        "room": "2",
        "fold": "1",
        "overlap": "ov3",
    }
    assert read_json(tmp_path / "s" / "classes.json") == ["Meow", "Bark"]
    original = prepare(data, tmp_path / "s", protocol="original")
    assert original["valid"] == original["test"] == splits["test"]
    assert len(original["train"]) == 3


def test_parts_are_chosen(data, tmp_path):
    shutil.rmtree(data / "test360_ov3")
    parts = {**PARTS, "test": ["test1800_ov1"]}
    assert len(prepare(data, tmp_path / "s", parts)["test"]) == 2
    parts = {"train": None, "test": ["test1800_ov1"]}
    splits = prepare(data, tmp_path / "s", parts, protocol="original")
    assert list(splits) == ["valid", "test"]


@pytest.mark.parametrize(
    ("parts", "options", "message"),
    [
        ({"test": None}, {}, "no folder of test"),
        ({"train": None}, {}, "nothing can be held out"),
        ({"test": PARTS["train"]}, {}, "names train20000_ov1_1 in two splits"),
        ({"valid": ["a"]}, {"protocol": "original"}, "leave a out"),
        ({}, {"protocol": "mine"}, "protocol must be one of"),
        ({}, {"format": "both"}, "format must be one of"),
        ({}, {"num_classes": 3}, "give --num_classes 2, not 3"),
    ],
)
def test_wrong_arguments(data, tmp_path, parts, options, message):
    with pytest.raises(ValueError, match=message):
        prepare(data, tmp_path / "s", {**PARTS, **parts}, **options)


def test_all_that_is_missing_is_named_at_once(data, tmp_path):
    shutil.rmtree(data / "test360_ov3")
    shutil.rmtree(data / "test1800_ov1" / "foa")
    (data / "train20000_ov1_1" / "foa" / "fold0_room0_mix1.flac").unlink()
    with pytest.raises(FileNotFoundError) as caught:
        prepare(data, tmp_path / "s")
    message = str(caught.value)
    for part in (
        "3 of 3 parts",
        "test360_ov3: not there",
        "test1800_ov1: no folder foa, 2 of 2 in metadata (holds metadata)",
        "train20000_ov1_1: 2 of 3 in foa, 3 of 3 in metadata",
        "--check_counts False",
    ):
        assert part in message
    parts = {"train": ["train20000_ov1_1"], "test": ["test1800_ov1"]}
    write_part(data, "test1800_ov1")
    splits = prepare(data, tmp_path / "s", parts, check_counts=False)
    assert len(splits["train"]) + len(splits["valid"]) == 2


def test_folders_too_high_and_too_deep(data, tmp_path):
    for wrong in ("test1800_ov1", "test1800_ov1/foa"):
        with pytest.raises(ValueError, match=f"--data_folder {data}$"):
            prepare(data / wrong, tmp_path / "s")
    with pytest.raises(FileNotFoundError, match="no such folder"):
        prepare(data / "nowhere", tmp_path / "s")
    # Unpacked into a folder of its own, or all one level deeper.
    part = data / "test1800_ov1"
    part.rename(data / "other")
    part.mkdir()
    (data / "other").rename(part / "test1800_ov1")
    assert len(prepare(data, tmp_path / "s")["test"]) == 4
    data.rename(tmp_path / "datasets")
    data.mkdir()
    (tmp_path / "datasets").rename(data / "datasets")
    assert len(prepare(data, tmp_path / "t")["test"]) == 4


def test_archives_are_unpacked(data, tmp_path):
    part = data / "test360_ov3"
    with zipfile.ZipFile(data / "test360_ov3.zip", "w") as file:
        for path in sorted(part.rglob("*.*")):
            file.write(path, path.relative_to(data))
    shutil.rmtree(part)
    assert len(prepare(data, tmp_path / "s")["test"]) == 4


def test_lists_of_classes(data, tmp_path):
    def message():
        with pytest.raises((ValueError, FileNotFoundError)) as caught:
            prepare(data, tmp_path / "s")
        return str(caught.value)

    train = data / "cls_indices_train.tsv"
    (data / "cls_indices_test.tsv").write_text("0\t/m/1\tBark\n1\t/m/0\tMeow\n")
    assert "class 0 is ('Meow',)" in message()
    train.write_text("0\t/m/1\tBark\n1\t/m/1\tBark\n")
    assert "line 2: 'Bark' is also the label of line 1" in message()
    train.write_text("0,/m/1,Bark\n")
    assert "line 1: '0,/m/1,Bark' has no label" in message()
    train.write_text("\n")
    assert "holds no classes" in message()
    train.unlink()
    assert f"{train}: not there" in message()


def test_damaged_and_renamed_files(data, tmp_path):
    folder = data / "test360_ov3"
    audio = folder / "foa" / "fold1_room1_mix001.flac"
    audio.write_bytes(audio.read_bytes()[:30])
    with pytest.raises(ValueError, match="test360_ov3/foa/fold1_room1_mix001"):
        prepare(data, tmp_path / "s")
    write_part(data, "test360_ov3")
    write_rows(
        folder / "metadata" / "fold1_room1_mix001.csv", [(0, 2, 0, 0, 0)]
    )
    with pytest.raises(ValueError, match=r"fold1_room1_mix001\.csv.*2"):
        prepare(data, tmp_path / "s")
    audio.rename(folder / "foa" / "fold1_room7_mix001.flac")
    with pytest.raises(FileNotFoundError, match="no annotation: fold1_room7"):
        prepare(data, tmp_path / "s")
    (folder / "foa" / "fold1_room7_mix001.flac").rename(folder / "foa/b.flac")
    with pytest.raises(ValueError, match="b.flac: unexpected name"):
        prepare(data, tmp_path / "s")


def test_class_ids_in_the_labels(data, tmp_path):
    for path in (data / "test360_ov3" / "metadata").iterdir():
        path.write_text('3,1,0,40,-10,250,"/m/1"\n')
    entries = prepare(data, tmp_path / "s")["test"]
    entry = entries["test360_ov3/fold1_room1_mix001"]
    assert entry["dialect"] == "synthetic_mids"


def test_twin_is_found_and_read(tmp_path):
    clips = {"train20000_ov1_1": 2, "train3500_ov3_1": 2, "test360_ov3": 1}
    scene = {"t60_range": (0.15, 0.25), "size_high": (5, 4, 3)}
    folder = write_synthetic_pseldnets(
        tmp_path / "twin",
        clips=clips,
        duration=2.0,
        formats=("foa", "sum"),
        kinds=["knock", "piano"],
        scene=scene,
    )
    parts = {"train": [*clips][:2], "test": [*clips][2:]}
    splits = prepare(folder, tmp_path / "s", parts)
    assert [len(entries) for entries in splits.values()] == [2, 2, 1]
    entries = read_manifest(tmp_path / "s" / "train.json", data_root=folder)
    chunks = make_chunks(entries, "accdoa", 2, chunk_length=1.0)
    assert len(chunks) == 4 and chunks[0]["waveform"].abs().max() > 0
    for clip, table in clip_events(entries).items():
        most = 1 if "ov1" in clip else 3
        assert 1 <= table.overlap().max() <= most
    dry = folder / "test360_ov3" / "sum" / "fold1_room1_mix001.flac"
    assert audio_info(dry).num_channels == 1
    (folder / "train20000_ov1_1/foa/fold0_room0_mix00001.flac").unlink()
    with pytest.raises(FileNotFoundError, match="1 of 2 in foa, 2 of 2 in"):
        prepare(folder, tmp_path / "t", parts)


def write_corpus(folder, **changes):
    options = scene_options(
        {
            "scenes": 3,
            "events": None,
            "classes": ["knock", "piano"],
            "duration": 2.0,
            "t60": 0,
            "formats": ["foa"],
            "overlap": [1, 2],
            **changes,
        }
    )
    generate_corpus(options, folder)
    return folder


def test_corpora_of_the_scene_generator(tmp_path):
    parts = {"train": ["a"], "test": ["b"]}
    for seed, name in enumerate("ab"):
        write_corpus(tmp_path / name, seed=seed, rooms=2)
    with pytest.raises(FileNotFoundError, match=r"a: no corpus\.json"):
        prepare(tmp_path, tmp_path / "s", parts)
    for name in "ab":
        merge_corpus(tmp_path / name)
    splits = prepare(tmp_path, tmp_path / "s", parts)
    assert [len(entries) for entries in splits.values()] == [2, 1, 3]
    entry = splits["test"]["b/fold1_room2_mix0001"]
    record = read_json(tmp_path / "b/scenes/fold1_room2_mix0001.json")
    assert entry["overlap"] == f"ov{record['max_overlap']}"
    assert (entry["room"], entry["dialect"]) == ("b: 2", "starss23")
    assert read_json(tmp_path / "s" / "classes.json") == ["knock", "piano"]
    # One scene more: other manifests, when it is merged.
    write_corpus(tmp_path / "b", seed=1, rooms=2, scenes=4)
    with pytest.raises(FileNotFoundError, match="has 3 scenes, 4 are wanted"):
        prepare(tmp_path, tmp_path / "s", parts)
    merge_corpus(tmp_path / "b")
    assert len(prepare(tmp_path, tmp_path / "s", parts)["test"]) == 4
    with pytest.raises(ValueError, match="has the formats foa, not mic"):
        prepare(tmp_path, tmp_path / "s", parts, format="mic")
    (tmp_path / "b/metadata/fold1_room2_mix0001.csv").unlink()
    with pytest.raises(FileNotFoundError, match="1 of 8 files are missing"):
        prepare(tmp_path, tmp_path / "t", parts)
    with pytest.raises(ValueError, match=f"--data_folder {tmp_path}$"):
        prepare(tmp_path / "a", tmp_path / "t", parts)


def test_corpora_with_other_classes_or_without_elevation(tmp_path):
    parts = {"train": ["a"], "test": ["b"]}
    merge_corpus(write_corpus(tmp_path / "a"))
    merge_corpus(write_corpus(tmp_path / "b", classes=["piano", "knock"]))
    with pytest.raises(
        ValueError, match="a and b have different classes, from"
    ):
        prepare(tmp_path, tmp_path / "s", parts)
    merge_corpus(write_corpus(tmp_path / "c", dialect="dcase2025"))
    with pytest.raises(ValueError, match="have no elevation"):
        prepare(tmp_path, tmp_path / "s", {"train": ["a"], "test": ["c"]})
