"""Manifests and their validation."""

import json

import pytest
import torch
from speechbrain.dataio.dataset import DynamicItemDataset

from spatial_brain.dataio import manifest as manifest_module
from spatial_brain.dataio.audio import write_audio
from spatial_brain.dataio.manifest import (
    is_prepared,
    options_path,
    read_manifest,
    validate_manifest,
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
        ('{"a": {"wav": "{root}/x"}}', "entry 'a'.*'root'"),
    ],
)
def test_errors_name_file_and_entry(tmp_path, text, message):
    path = tmp_path / "train.json"
    path.write_text(text)
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


def test_validation_counts_and_names(tmp_path, caplog):
    def entry(name, num_samples=16000, channels=1, fs=16000, **more):
        path = tmp_path / f"{name}.wav"
        write_audio(path, 0.1 * torch.randn(num_samples, channels), fs)
        return {"wav": str(path), **more}

    entries = {
        "good": entry("good", num_samples=16000),
        "declared": entry("declared", duration=1.0004),
        "missing": {"wav": str(tmp_path / "missing.wav")},
        "length": entry("length", duration=2.0),
        "rate": entry("rate", fs=8000),
        "stereo": entry("stereo", channels=2),
        "short": entry("short", 1600),
        "corrupt": entry("corrupt"),
        "count": entry("count") | {"num_samples": 15999},
    }
    (tmp_path / "corrupt.wav").write_bytes(b"RIFFxxxxWAVE")
    path = tmp_path / "train.json"
    write_manifest(path, entries, data_root=tmp_path)
    report = validate_manifest(
        path, data_root=tmp_path, fs=16000, num_channels=1, min_duration=0.5
    )
    assert report.num_entries == 9
    assert list(report.problems) == [
        key for key in entries if key not in ("good", "declared")
    ]
    for key, problem in report.problems.items():
        assert f"{key}.wav" in problem
    assert "corrupt.wav" in caplog.text
    with pytest.raises(ValueError, match="7 of 9 entries are unusable"):
        report.check()


def test_validation_decodes_if_asked(tmp_path):
    path = tmp_path / "x.flac"
    write_audio(path, 0.1 * torch.randn(50_000), 16000)
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 2000] = bytes(2000)
    path.write_bytes(content)
    write_manifest(tmp_path / "m.json", {"x": {"wav": str(path)}})
    assert not validate_manifest(tmp_path / "m.json").problems
    report = validate_manifest(tmp_path / "m.json", decode=True)
    assert "x.flac" in report.problems["x"]


def test_kill_while_writing_keeps_the_old(tmp_path, monkeypatch):
    path = tmp_path / "train.json"
    write_manifest(path, {"a": {}})

    def killed(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr("spatial_brain.atomic.os.replace", killed)
    with pytest.raises(KeyboardInterrupt):
        manifest_module.write_manifest(path, {"b": {}})
    assert list(read_manifest(path)) == ["a"]
    assert len(list(tmp_path.iterdir())) == 1
