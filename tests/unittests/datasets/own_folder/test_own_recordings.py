"""The three preparations, on folders as users have them."""

import logging

import pytest
import torch

from spatial_brain.dataio.audio import write_audio
from spatial_brain.dataio.manifest import read_manifest
from spatial_brain.datasets.own_folder.localization import prepare_localization
from spatial_brain.datasets.own_folder.seld import prepare_seld
from spatial_brain.datasets.own_folder.separation import prepare_separation

FRACTIONS = {"valid_fraction": 0.25, "test_fraction": 0.25}


def write(path, channels, length=1600, fs=8000):
    write_audio(path, torch.zeros(length, channels), fs)


@pytest.fixture
def array(tmp_path):
    """Four recordings of three microphones."""
    lines = ["file,azimuth,split"]
    for k, split in enumerate(("train", "train", "valid", "test")):
        write(tmp_path / "day one" / f"{k}.wav", 3)
        lines.append(f"day one/{k}.wav,{90 * k - 180},{split}")
    (tmp_path / "directions.csv").write_text("\n".join(lines))
    return tmp_path


def localization(folder, **options):
    options = {"fs": 8000, "num_microphones": 3} | options
    return prepare_localization(folder, folder / "save", **options)


def test_localization_manifests(array, caplog):
    caplog.set_level(logging.INFO)
    paths = localization(array)
    train = read_manifest(paths["train"], data_root=array)
    assert [entry["azimuths"] for entry in train.values()] == [[-180], [-90]]
    assert train["day one/0.wav"] == {
        "wav": str(array / "day one" / "0.wav"),
        "azimuths": [-180.0],
        "num_samples": 1600,
        "fs": 8000,
    }
    [line] = caplog.messages
    assert line.startswith(
        f"{array}, 8000 Hz, 3 microphones, 1 source(s), training azimuths "
        "-180 to -90 degrees: train: 2 clips, 0.000111 h; valid: 1 clip, "
    )
    localization(array)
    assert caplog.messages == [line, f"{line} (prepared before)"]
    localization(array, microphone_positions=[[0, 0, 0], [0.1, 0, 0], [0] * 3])
    assert "3 microphones, at most 0.100 m apart" in caplog.text


def test_corrected_azimuth_is_noticed(array):
    table = array / "directions.csv"
    localization(array)
    table.write_text(table.read_text().replace("-90", "-80"))
    train = read_manifest(localization(array)["train"])
    assert train["day one/1.wav"]["azimuths"] == [-80]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("day one/1.wav", "lost.wav", "lost.wav"),
        ("-90", "270", "line 3: azimuth is '270', expected degrees from -180"),
        ("-90", "left", "azimuth is 'left'"),
        ("-90", "nan", "azimuth is 'nan'"),
        ("azimuth,", "angle,", "no column azimuth; its header is file,angle"),
        ("valid", "dev", "line 4: split is 'dev', expected train, valid or te"),
        ("valid", "train", "no recording for valid; name some"),
        ("day one/1", "day one/0", "line 3: file 'day one/0.wav' stands there"),
    ],
)
def test_localization_tables_that_are_wrong(array, old, new, message):
    table = array / "directions.csv"
    table.write_text(table.read_text().replace(old, new))
    with pytest.raises(ValueError, match=message):
        localization(array)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"fs": 16000}, "0.wav: sampling rate is 8000 Hz, expected 16000 Hz"),
        ({"num_microphones": 4}, "0.wav: has 3 channels, expected 4"),
        ({"min_duration": 1.0}, r"0.wav: lasts 0.20 s, at least 1 s are"),
        ({"microphone_positions": [[0, 0, 0]]}, "must be 3 positions of 3 num"),
        ({"microphone_positions": [[0, 0]] * 3}, "must be 3 positions of 3 nu"),
        ({"azimuth_range": [0, 180]}, "'-180', expected degrees from 0 to 180"),
    ],
)
def test_recordings_that_do_not_fit(array, options, message):
    with pytest.raises(ValueError, match=message):
        localization(array, **options)


def test_several_sources_and_drawn_splits(array):
    lines = ["file,left,right"]
    lines += [f"day one/{k}.wav,{k},{-k}" for k in range(4)]
    (array / "directions.csv").write_text("\n".join(lines))
    paths = localization(array, azimuth_columns=["left", "right"], **FRACTIONS)
    entries = [read_manifest(path) for path in paths.values()]
    assert [len(part) for part in entries] == [2, 1, 1]
    for part in entries:
        for entry in part.values():
            left, right = entry["azimuths"]
            assert left == -right


@pytest.fixture
def scenes(tmp_path):
    """A recording a split, of a second each, with an event of class 1."""
    for split in ("train", "valid", "test"):
        write(tmp_path / "audio" / split / "a.wav", 4, 24000, 24000)
        path = tmp_path / "metadata" / split / "a.csv"
        path.parent.mkdir(parents=True)
        path.write_text("2,1,0,-30,10\n3,1,0,-30,10\n")
    return tmp_path


def seld(folder, **options):
    options = {"fs": 24000, "class_names": ["door", "bell"]} | options
    options.setdefault("num_classes", len(options["class_names"]))
    return prepare_seld(folder, folder / "save", **options)


def test_seld_manifests(scenes, caplog):
    caplog.set_level(logging.INFO)
    entries = read_manifest(seld(scenes)["valid"], data_root=scenes)
    assert list(entries) == ["valid/a"]
    assert entries["valid/a"]["events"].endswith("metadata/valid/a.csv")
    assert "class 0 (door) never sounds in the training" in caplog.text
    assert (
        "24000 Hz, 4 channels, training events: door 0 s, bell 0 s: train: "
        "1 clip, "
    ) in caplog.messages[-1]
    assert sum("train: 1 clip" in line for line in caplog.messages) == 1


def test_recording_without_events(scenes):
    (scenes / "metadata" / "valid" / "a.csv").write_text("")
    assert set(seld(scenes)) == {"train", "valid", "test"}


def test_seld_folders_that_are_wrong(scenes):
    with pytest.raises(ValueError, match="2 names, num_classes is 3; set it"):
        seld(scenes, num_classes=3)
    with pytest.raises(ValueError, match=r"train/a.csv.*line 1.*1"):
        seld(scenes, class_names=["door"])
    (scenes / "metadata" / "test" / "a.csv").rename(scenes / "a.csv")
    with pytest.raises(FileNotFoundError, match="test/a.csv: no such file"):
        seld(scenes)
    (scenes / "metadata").rename(scenes / "labels")
    with pytest.raises(FileNotFoundError, match="metadata: no such folder"):
        seld(scenes)


@pytest.fixture
def mixtures(tmp_path):
    """Four mixtures of two sources, without splits."""
    for name in ("mix", "s1", "s2"):
        for k in range(4):
            write(tmp_path / name / f"{k}.wav", 2)
    return tmp_path


def separation(folder, **options):
    options = {"fs": 8000} | options
    return prepare_separation(folder, folder / "save", **options)


def test_separation_manifests(mixtures):
    train = read_manifest(
        separation(mixtures, **FRACTIONS)["train"], data_root=mixtures
    )
    name, entry = next(iter(train.items()))
    assert entry == {
        "mix_wav": str(mixtures / "mix" / f"{name}.wav"),
        "sources_wav": [
            str(mixtures / source / f"{name}.wav") for source in ("s1", "s2")
        ],
        "num_samples": 1600,
        "fs": 8000,
    }


def test_separation_in_folders_of_wsj0_2mix(mixtures, tmp_path):
    for split in ("tr", "cv", "tt"):
        for name in ("mix", "s1", "s2"):
            write(tmp_path / "new" / split / name / "x.wav", 2)
    paths = separation(tmp_path / "new")
    assert list(read_manifest(paths["test"])) == ["tt/x"]


def test_separation_folders_that_are_wrong(mixtures):
    with pytest.raises(ValueError, match="no recording has a split; use fold"):
        separation(mixtures)
    with pytest.raises(FileNotFoundError, match=r"s3/0.wav: no such file"):
        separation(mixtures, num_sources=3)
    write(mixtures / "s2" / "3.wav", 2, 1500)
    with pytest.raises(ValueError, match="s2/3.wav: has 1500 samples, 3.wav"):
        separation(mixtures)
    write(mixtures / "s2" / "3.wav", 1)
    with pytest.raises(ValueError, match="s2/3.wav: has 1 channels"):
        separation(mixtures)
    (mixtures / "mix").rename(mixtures / "mixed")
    with pytest.raises(FileNotFoundError, match="no folder mix in it"):
        separation(mixtures)
