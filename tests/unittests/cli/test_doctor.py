"""The machine as it is, and what does not fit, with its remedy."""

import importlib.metadata
import json

import pytest

from spatial_brain.cli.main import main


@pytest.fixture
def versions(monkeypatch):
    """Let packages have other versions; None is not installed."""
    changed = {}
    real = importlib.metadata.version

    def version(name):
        found = changed.get(name, "real")
        if found is None:
            raise importlib.metadata.PackageNotFoundError(name)
        return real(name) if found == "real" else found

    monkeypatch.setattr(importlib.metadata, "version", version)
    return changed


def test_a_machine_in_order(capsys):
    assert main(["doctor", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert set(found) == {"packages", "devices", "audio", "disk"}
    assert "a file was written and read again" in found["audio"]
    assert any(line.startswith("CPU: ") for line in found["devices"])


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"soundfile": None}, "soundfile is missing: pip install 'soundfile"),
        ({"scipy": "1.0"}, "scipy is 1.0: pip install 'scipy>="),
        ({"torchaudio": "2.10.0"}, "of two releases: pip install torchaudio=="),
    ],
)
def test_packages_that_do_not_fit(changes, line, versions, capsys):
    versions.update(changes)
    assert main(["doctor"]) == 2
    streams = capsys.readouterr()
    assert "problem: " in streams.out
    assert line in streams.out
    assert "1 of these lines" in streams.err


def test_data_sets_are_named_with_their_licences(tmp_path, capsys):
    (tmp_path / "metadata_dev" / "dev-train-sony").mkdir(parents=True)
    (tmp_path / "empty").mkdir()
    assert main(["doctor", str(tmp_path), str(tmp_path / "empty")]) == 0
    text = capsys.readouterr().out
    assert "STARSS22 or STARSS23: " in text
    assert "licence: MIT; recipes: STARSS23" in text
    assert "empty: no data set" in text


def test_a_wrong_folder_is_named(capsys):
    assert main(["doctor", "/no/such/folder"]) == 2
    assert "/no/such/folder" in capsys.readouterr().err
