"""Manifests and their options files."""

import json

import pytest
from speechbrain.dataio.dataset import DynamicItemDataset

from spatial_brain.dataio.manifest import (
    is_prepared,
    options_path,
    read_manifest,
    write_manifest,
    write_options,
)


def test_round_trip_and_speechbrain(tmp_path):
    path = tmp_path / "save" / "train.json"
    entries = {
        "b": {
            "wav": "/data/x/b.wav",
            "list": [["/data/x/1"], {"deep": "/data/x"}],
            "other": "/data/xyz/c.wav",
            "text": "{curly}",
            "value": 1.5,
        },
        "a": {
            "wav": "/data/x/{odd}.wav",
            "list": [],
            "other": "",
            "text": "",
            "value": None,
        },
    }
    write_manifest(path, entries, data_root="/data/x/")
    stored = json.loads(path.read_text())
    assert stored["b"]["wav"] == "{data_root}/b.wav"
    assert stored["b"]["other"] == "/data/xyz/c.wav"
    assert list(stored) == ["b", "a"]
    assert read_manifest(path, data_root="/data/x") == entries
    dataset = DynamicItemDataset.from_json(
        path, replacements={"data_root": "/new"}, output_keys=["wav", "text"]
    )
    assert dataset[0] == {"wav": "/new/b.wav", "text": "{curly}"}
    assert dataset[1]["wav"] == "/data/x/{odd}.wav".replace("/data/x", "/new")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"a": ', "line 1: not valid JSON"),
        ("[1]", "not a manifest"),
        ("{}", "not a manifest"),
        ('{"a": 1}', "entry 'a' is not a JSON object"),
        ('{"a": {}}', "entry 'a' has no 'wav'"),
        ('{"a": {"wav": "{root}/x"}}', "entry 'a'.*root"),
        ('{"a": {"wav": "{data_root.__class__}"}}', "unknown placeholder"),
        ('{"a": {"wav": "{data_root:9999999999}"}}', "unknown placeholder"),
        ('{"a": {"wav": "{x"}}', "unknown placeholder"),
        ('{"a": {"wav": 3}}', "wav of entry 'a' is 3, expected the path"),
        ('{"a": {"wav": ["x"]}}', "expected the path of a file"),
        ('{"a": {"wav": ""}}', "expected the path of a file"),
        ('{"a": {"wav": "x\\u0000"}}', "expected the path of a file"),
        ('{"a": {"wav": "x", "speaker": null}}', "speaker of entry 'a' is N"),
        ('{"a": {"wav": "x", "num_samples": "9"}}', "num_samples of entry"),
        ('{"a": {"wav": "x", "num_samples": 1.5}}', "a number of samples"),
        ('{"a": {"wav": "x", "num_samples": -1}}', "a number of samples"),
        ('{"a": {"wav": "x", "num_samples": true}}', "a number of samples"),
        ('{"a": {"wav": "x", "num_samples": 9e99}}', "a number of sam"),
        ('{"a": {"n": ' + "9" * 5000 + "}}", "not valid JSON"),
        ('{"a": {"wav": "x", "num_samples": [5, 0]}}', "a number of samples"),
        ('{"a": {"wav": "x", "num_samples": [[5]]}}', "a number of samples"),
        ('{"a": {"wav": "x", "n": NaN}}', "NaN is no number"),
        ('{"a": {"wav": "x", "n": -1e999}}', "-1e999 is no number"),
        ('{"a": {"wav": "x"}, "a": {"wav": "y"}}', "key 'a' is there twice"),
        ("[" * 100_000, "not valid JSON"),
        ("\udcff", "not valid JSON"),
    ],
)
def test_errors_name_file_and_entry(tmp_path, text, message):
    path = tmp_path / "train.json"
    path.write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(ValueError, match=message) as caught:
        read_manifest(path, data_root="/d", keys=["wav"])
    assert str(path) in str(caught.value)


def test_refused_content(tmp_path):
    path = tmp_path / "train.json"
    with pytest.raises(FileNotFoundError, match="run the preparation"):
        read_manifest(path)
    with pytest.raises(ValueError, match="without entries"):
        write_manifest(path, {})
    with pytest.raises(ValueError, match="'a' is not a dict"):
        write_manifest(path, {"a": 1})
    with pytest.raises(ValueError, match="cannot be written as JSON"):
        write_manifest(path, {"a": {"x": float("nan")}})
    assert not list(tmp_path.iterdir())


def test_options_decide_whether_it_is_made_again(tmp_path):
    path = tmp_path / "train.json"
    options = {"seed": 1, "size": (3, 4), "folder": tmp_path}
    assert not is_prepared(path, options)
    write_manifest(path, {"a": {}})
    assert not is_prepared(path, options)
    write_options(path, options)
    assert is_prepared(path, options)
    assert not is_prepared(path, options | {"seed": 2})
    options_path(path).write_text("{")
    assert not is_prepared(path, options)
    write_options(path, options)
    path.unlink()
    assert not is_prepared(path, options)


def flip(path):
    """Change a digit of a number: still a manifest, but another one."""
    content = path.read_text()
    path.write_text(content.replace("7", "6"))
    assert path.read_text() != content


def swap(path):
    """Exchange a manifest with another of the same preparation."""
    other = path.with_name("test.json")
    write_manifest(other, {"b": {"num_samples": 1}})
    write_options(other, {"seed": 1})
    for file in (path, options_path(path)):
        second = file.with_name(file.name.replace("train", "test"))
        content = file.read_bytes()
        file.write_bytes(second.read_bytes())
        second.write_bytes(content)


def rewrite(path):
    """A manifest of other options, killed before these were written."""
    write_manifest(path, {"b": {"num_samples": 1}})


@pytest.mark.parametrize("change", [flip, swap, rewrite])
def test_another_manifest_is_made_again_and_not_read(tmp_path, change, caplog):
    path = tmp_path / "train.json"
    write_manifest(path, {"a": {"num_samples": 70}})
    write_options(path, {"seed": 1}, notes="1 file")
    change(path)
    assert not is_prepared(path, {"seed": 1})
    assert f"{path}: damaged, changed, or another file" in caplog.text
    with pytest.raises(ValueError, match="train.json: damaged.*checksum diff"):
        read_manifest(path)


def test_manifests_of_version_0_1_have_no_checksum(tmp_path):
    path = tmp_path / "train.json"
    write_manifest(path, {"a": {}})
    options_path(path).write_text('{"seed": 1, "notes": "1 file"}')
    assert is_prepared(path, {"seed": 1})
    assert read_manifest(path) == {"a": {}}


def test_kill_while_writing_keeps_the_old(tmp_path, monkeypatch):
    path = tmp_path / "train.json"
    write_manifest(path, {"a": {}})

    def killed(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr("spatial_brain.atomic.os.replace", killed)
    with pytest.raises(KeyboardInterrupt):
        write_manifest(path, {"b": {}})
    assert list(read_manifest(path)) == ["a"]
    assert len(list(tmp_path.iterdir())) == 1
