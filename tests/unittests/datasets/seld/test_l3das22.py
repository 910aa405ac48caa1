"""L3DAS22: from Kaggle's archives or folders to manifests; channel order."""

import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from seld_trees import tree, write_clip, write_rows

from spatial_brain.dataio.audio import read_audio
from spatial_brain.dataio.manifest import read_manifest
from spatial_brain.datasets.seld import l3das22
from spatial_brain.datasets.seld.chunks import clip_events, make_chunks
from spatial_brain.datasets.seld.l3das22 import (
    _estimate_channel_order,
    prepare_l3das22,
    write_synthetic_l3das22,
)

HEADER = ("File", "Start", "End", "Class", "X", "Y", "Z")
SETS = {0: "train", 1: "train", 2: "train", 3: "train", 4: "dev", 5: "test"}


def write_scene(path, rng, order, signs=(1, 1, 1, 1), noise=0.1, fs=32000):
    """Two sources one after the other; returns their rows."""
    seconds, rows = 2, []
    signal = noise * rng.normal(size=(seconds * fs, 4)) / 3**0.5
    for start in range(seconds):
        x, y, z = rng.uniform(-1, 1, 3) * (2.0, 1.5, 1.0)
        unit = np.array((x, y, z)) / np.linalg.norm((x, y, z))
        gains = np.array((1, unit[1], unit[2], unit[0]))
        part = slice(start * fs, round((start + 0.8) * fs))
        signal[part] += rng.normal(size=(part.stop - part.start, 1)) * gains
        rows.append((path.stem, start, start + 0.8, "Knock", x, y, z))
    path.parent.mkdir(parents=True, exist_ok=True)
    stored = (signal * signs)[:, order]
    soundfile.write(path, 0.05 * stored, fs, subtype="PCM_16")
    return rows


def place(folder, split, flat):
    """Folders of audio and labels of a split."""
    name = SETS[split]
    if flat:
        name = "test" if split == 5 else "train"
        return folder / f"data_{name}", folder / f"labels_{name}", ""
    root = folder / f"L3DAS22_Task2_{name}" / f"L3DAS22_Task2_{name}"
    return root / "data", root / "labels", "label_"


def make_data(folder, flat=False, order=(0, 2, 1, 3), signs=(1, 1, 1, 1)):
    rng = np.random.default_rng(0)
    for split in SETS:
        data, labels, prefix = place(folder, split, flat)
        for overlap in (1, 2):
            stem = f"split{split}_ov{overlap}_0"
            rows = write_scene(data / f"{stem}_A.wav", rng, order, signs)
            write_rows(labels / f"{prefix}{stem}.csv", [HEADER, *rows])
            # Nobody reads microphone B.
            (data / f"{stem}_B.wav").write_bytes(b"no audio")
    return folder


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return make_data(tmp_path_factory.mktemp("L3DAS22"))


def prepare(folder, save, **options):
    paths = prepare_l3das22(folder, save, **{"check_counts": False, **options})
    return {
        name: read_manifest(path, data_root=folder)
        for name, path in paths.items()
    }


def splits(entries):
    return sorted({int(entry["fold"]) for entry in entries.values()})


@pytest.mark.parametrize("flat", [False, True])
def test_protocols_and_layouts(tmp_path, flat):
    folder = make_data(tmp_path / "data", flat)
    # The other task is not looked at.
    write_clip(folder / "L3DAS22_Task1_dev" / "split0_ov1_0_A.wav")
    before = tree(folder)
    dev = prepare(folder, tmp_path / "dev")
    assert [splits(part) for part in dev.values()] == [[0, 1, 2, 3], [4], [5]]
    original = prepare(folder, tmp_path / "orig", protocol="original")
    assert [splits(part) for part in original.values()] == [
        [0, 1, 2, 3, 4],
        [5],
        [5],
    ]
    assert tree(folder) == before
    assert list(dev["test"]) == ["split5_ov1_0_A", "split5_ov2_0_A"]
    entry = dev["test"]["split5_ov1_0_A"]
    assert Path(entry.pop("wav")).name == "split5_ov1_0_A.wav"
    assert Path(entry.pop("events")).is_file()
    assert entry == {
        "num_samples": 64000,
        "fs": 32000,
        "dialect": "l3das22",
        "room": None,
        "fold": "5",
        "overlap": "ov1",
        "channels": [0, 2, 1, 3],
    }


def test_training_on_single_sources(data, tmp_path):
    parts = prepare(data, tmp_path, overlap=["ov1"])
    assert {e["overlap"] for e in parts["train"].values()} == {"ov1"}
    assert len(parts["valid"]) == len(parts["test"]) == 2


def test_events(data, tmp_path):
    entries = prepare(data, tmp_path)["test"]
    table = clip_events(entries, num_classes=14)["split5_ov1_0_A"]
    assert table.num_frames == 20
    assert set(table.label) == {7}
    assert table.frame.tolist() == [*range(8), *range(10, 18)]
    assert np.isfinite(table.distance).all()


def test_chunks_come_in_the_order_wyzx(data, tmp_path):
    entries = prepare(data, tmp_path)["test"]
    chunks = make_chunks(
        entries, "accdoa", 14, fs=32000, chunk_length=2.0, hop_length=2.0
    )
    stored, _ = read_audio(entries["split5_ov1_0_A"]["wav"])
    assert torch.equal(chunks[0]["waveform"], stored[:, [0, 2, 1, 3]])


@pytest.mark.parametrize(
    ("order", "channels", "name", "signs"),
    [
        ((0, 1, 2, 3), (0, 1, 2, 3), "WYZX", (1, 1, 1, 1)),
        ((0, 2, 1, 3), (0, 2, 1, 3), "WZYX", (1, 1, 1, 1)),
        ((0, 2, 1, 3), (0, 2, 1, 3), "WZYX", (1, -1, 1, 1)),
        ((0, 3, 1, 2), (0, 2, 3, 1), "WXYZ", (1, 1, -1, -1)),
    ],
)
def test_channel_order_is_found(tmp_path, order, channels, name, signs):
    folder = make_data(tmp_path / "data", True, order, signs)
    entries = prepare(folder, tmp_path, channel_order="WYZX")["train"]
    found = _estimate_channel_order(entries)
    assert (found.channels, found.signs) == (channels, signs)
    assert found.name == name
    assert found.cosine > 0.9 and found.lead > 0.1
    # What is written is what turns the file into W, Y, Z, X.
    entry = prepare(folder, tmp_path)["train"]["split0_ov1_0_A"]
    assert entry["channels"] == list(channels)
    assert entry.get("channel_signs", [1, 1, 1, 1]) == list(signs)
    chunk = make_chunks({"a": entry}, "accdoa", 14, fs=32000, chunk_length=0.8)[
        0
    ]
    waveform = chunk["waveform"].double()
    intensity = (waveform[:, :1] * waveform).mean(0)[[3, 1, 2]]
    label = clip_events({"a": entry})["a"].directions[0]
    cosine = intensity.numpy() @ label / np.linalg.norm(intensity.numpy())
    assert cosine > 0.99


def test_channel_order_that_cannot_be_found(tmp_path):
    folder = make_data(tmp_path / "data", True)
    entries = prepare(folder, tmp_path, channel_order="WZYX")["train"]
    assert entries["split0_ov1_0_A"]["channels"] == [0, 2, 1, 3]
    with pytest.raises(ValueError, match="frames with one source"):
        _estimate_channel_order({"a": entries["split0_ov1_0_A"]})
    rng = np.random.default_rng(1)
    for entry in entries.values():
        noise = rng.normal(size=(64000, 4))
        soundfile.write(entry["wav"], 0.05 * noise, 32000, subtype="PCM_16")
    with pytest.raises(ValueError, match="does not follow their labels"):
        _estimate_channel_order(entries)


def archive(path, folder, inside):
    path.parent.mkdir(exist_ok=True)
    with zipfile.ZipFile(path, "w") as file:
        for member in sorted(folder.rglob("*.*")):
            file.write(member, inside / member.relative_to(folder))


def test_archives(data, tmp_path):
    expected = prepare(data, tmp_path / "s")
    whole = tmp_path / "whole" / "l3das22.zip"
    archive(whole, data, Path("."))
    parts = prepare(whole.parent, tmp_path / "t")
    assert {k: list(v) for k, v in parts.items()} == {
        k: list(v) for k, v in expected.items()
    }
    three = tmp_path / "three"
    for name in ("train", "dev", "test"):
        name = f"L3DAS22_Task2_{name}"
        archive(three / f"{name}.zip", data / name, Path(name))
    assert [list(p) for p in prepare(three, tmp_path / "u").values()] == [
        list(part) for part in expected.values()
    ]
    # Flattened by hand, with the archives still there: left alone.
    flat = make_data(tmp_path / "flat", True)
    shutil.copy(three / "L3DAS22_Task2_dev.zip", flat)
    prepare(flat, tmp_path / "v")
    assert not (flat / "L3DAS22_Task2_dev").exists()


def test_messages(data, tmp_path):
    with pytest.raises(FileNotFoundError, match="kaggle datasets download"):
        prepare(tmp_path / "nowhere", tmp_path)
    folder = tmp_path / "data"
    shutil.copytree(data, folder)
    with pytest.raises(ValueError, match="split 0, microphone A: has 2 clips"):
        prepare(folder, tmp_path / "s", check_counts=True)
    for options in (
        {"protocol": "official"},
        {"channel_order": "WXYZ"},
        {"overlap": ["ov4"]},
    ):
        with pytest.raises(ValueError, match="must be one of"):
            prepare(folder, tmp_path / "s", **options)
    _, labels, _ = place(folder, 0, False)
    path = labels / "label_split0_ov1_0.csv"
    write_rows(path, [HEADER, ("a", 0, 1, "Dog", 1, 1, 0)])
    with pytest.raises(ValueError, match=r"label_split0_ov1_0\.csv.*Dog"):
        prepare(folder, tmp_path / "s")
    path.unlink()
    with pytest.raises(FileNotFoundError, match="annotation: split0_ov1_0_A"):
        prepare(folder, tmp_path / "s")
    shutil.rmtree(folder / "L3DAS22_Task2_dev")
    with pytest.raises(FileNotFoundError, match="clips of L3DAS22_Task2_dev"):
        prepare(folder, tmp_path / "s")


def test_channel_order_of_synthetic_data(tmp_path):
    folder = tmp_path / "L3DAS22"
    numbers = {"train": 1, "valid": 1, "test": 3}
    write_synthetic_l3das22(folder, clips=numbers, duration=5.0)
    before = tree(folder)
    write_synthetic_l3das22(folder, clips=numbers, duration=5.0)
    assert tree(folder) == before
    # Counts and durations are those of synthetic data.
    parts = prepare(folder, tmp_path / "s", check_counts=True)
    assert [len(part) for part in parts.values()] == [1, 1, 3]
    entry = parts["test"]["split5_ov3_0_A"]
    assert (entry["fs"], entry["num_samples"]) == (32000, 160000)
    assert entry["channels"] == [0, 1, 2, 3]
    label = Path(entry["events"])
    assert label.name == "label_split5_ov3_0.csv"
    assert label.read_text().splitlines()[0] == ",".join(HEADER)
    for name, table in clip_events(parts["test"], num_classes=14).items():
        assert len(table) and table.num_frames == 50
        assert table.overlap().max() <= int(name[9])


def test_class_names():
    assert len(l3das22.CLASS_NAMES) == len(l3das22.KINDS) == 14
    assert l3das22.CLASS_NAMES[13] == "Writing"
