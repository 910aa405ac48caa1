"""The machine as it is, and what does not fit, with its remedy."""

import importlib.metadata
import json

import pytest
from small_models import save_network, ship_run, write_run

from spatial_brain.cli.main import main
from spatial_brain.inference import shipped


@pytest.fixture(autouse=True)
def models(tmp_path, monkeypatch):
    """Folder of shipped models: none yet."""
    monkeypatch.setattr(shipped, "SHIPPED", tmp_path / "pretrained_models")
    return tmp_path / "pretrained_models"


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
    assert set(found) == {*("packages", "devices", "audio", "disk", "models")}
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


def test_models_compute_what_they_were_published_with(models, tmp_path, capsys):
    ship_run(write_run(tmp_path / "run"), models / "pair")
    assert main(["doctor"]) == 0
    assert "pair: 0.1 MB, computes here what it was" in capsys.readouterr().out
    save_network(models / "pair")
    assert main(["doctor"]) == 2
    line = capsys.readouterr().out.split("problem: pair: ")[1]
    assert "is not the file of its card" in line
    assert "install the package again" in line


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
