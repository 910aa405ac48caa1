import logging

import pytest

from spatial_brain.datasets.own_folder.files import (
    OwnManifests,
    _split_files,
    audio_files,
    listed_splits,
    read_table,
)

NONE = (None, None)
TEXTS = ("here", "name them")


def test_audio_files_are_found_in_sub_folders(tmp_path):
    for name in ("b.wav", "sub/a.FLAC", ".hidden/c.wav", "notes.txt"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.touch()
    assert list(audio_files(tmp_path)) == ["b", "sub/a"]
    (tmp_path / "b.flac").touch()
    with pytest.raises(ValueError, match="b.flac and .*b.wav have the same"):
        audio_files(tmp_path)


def test_table_as_spreadsheets_write_it(tmp_path):
    path = tmp_path / "a.csv"
    path.write_bytes(b"\xef\xbb\xbffile, azimuth\r\na.wav, 30\r\n")
    [(where, row)] = read_table(path, ["file", "azimuth"], "")
    assert where == f"{path}, line 2"
    assert row == {"file": "a.wav", "azimuth": "30"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("file;azimuth\n", "no column file, azimuth; its header is file;az"),
        ("file,azimuth\n", "holds no line but its header"),
        ("file,azimuth\na.wav,\n", "line 2: azimuth is empty"),
        ("file,azimuth\na.wav\n", "line 2: azimuth is empty"),
    ],
)
def test_table_that_is_malformed(tmp_path, text, message):
    path = tmp_path / "a.csv"
    path.write_text(text)
    with pytest.raises(ValueError, match=message):
        read_table(path, ["file", "azimuth"], "")


def test_splits_of_a_table_and_of_folders(tmp_path):
    names = ["tr/a", "cv/b", "other/c"]
    assert list(listed_splits(tmp_path, names).values()) == [
        "train",
        "valid",
        None,
    ]
    table = tmp_path / "splits.csv"
    table.write_text("file,split\ntr/a.wav,test\nother/c,train\n")
    assert list(listed_splits(tmp_path, names).values()) == [
        "test",
        None,
        "train",
    ]
    table.write_text("file,split\nd.wav,test\n")
    with pytest.raises(ValueError, match=r"line 2: there is no file 'd.wav'"):
        listed_splits(tmp_path, names)


def test_drawn_splits_depend_on_the_seed_alone(caplog):
    names = dict.fromkeys(f"file{k}" for k in range(40))
    shares = (0.1, 0.2)
    caplog.set_level(logging.INFO)
    drawn = _split_files(names, *shares, 1, *TEXTS)
    assert "splits drawn file by file" in caplog.text
    assert "seed 1" in caplog.text
    again = _split_files(dict(reversed(names.items())), *shares, 1, *TEXTS)
    assert drawn == again != _split_files(names, *shares, 2, *TEXTS)
    assert [len(part) for part in drawn.values()] == [28, 4, 8]
    assert set().union(*drawn.values()) == set(names)


@pytest.mark.parametrize(
    ("splits", "fractions", "message"),
    [
        (
            {"a": None},
            NONE,
            "has a split; name them, or draw",
        ),
        (
            {"a": "train", "b": None},
            NONE,
            "1 of 2 .*, b among",
        ),
        ({"a": "train"}, (0.1, 0.1), "splits of their own"),
        ({"a": "train", "b": "test"}, NONE, "no recording for valid"),
        ({"a": None}, (0.1, 0.1), "no recording for valid"),
        ({"a": None}, (0.5, 0.5), "their sum below 1"),
        ({"a": None}, (0.1, None), "above 0 .* got 0.1 and None"),
    ],
)
def test_splits_that_cannot_be(splits, fractions, message):
    with pytest.raises(ValueError, match=message):
        _split_files(splits, *fractions, 1, *TEXTS)


def test_manifests_follow_files_and_options(tmp_path):
    file = tmp_path / "a.wav"
    file.write_bytes(b"1")
    options = {
        "fs": 10,
        "valid_fraction": None,
        "test_fraction": None,
        "seed": 1,
    }

    def manifests(content=0, **changed):
        save = tmp_path / "save"
        return OwnManifests(tmp_path, save, [file], content, options | changed)

    names = {"a": "train", "b": "valid", "c": "test"}
    entries = {name: {"num_samples": 10, "fs": 10} for name in names}
    manifests().write_splits(entries, names, "name them", "{} files".format)
    assert manifests().ready
    assert not manifests(content=1).ready
    assert not manifests(fs=20).ready
    file.write_bytes(b"12")
    assert not manifests().ready
