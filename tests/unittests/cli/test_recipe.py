"""Recipes are listed and copied whole, without what runs left."""

import subprocess
import sys

import pytest

from spatial_brain.cli.main import main
from spatial_brain.cli.recipe import copy_recipe, find_recipes


def test_list_shows_every_recipe_with_its_yamls(capsys):
    assert main(["recipe", "list"]) == 0
    text = capsys.readouterr().out
    for name, folder in find_recipes().items():
        assert f"{name}: " in text
        for path in folder.glob("hparams/*.yaml"):
            assert path.stem in text


def test_copy_is_complete_and_starts(tmp_path, capsys):
    folder = tmp_path / "mine"
    assert main(["recipe", "copy", "RealArrays", str(folder)]) == 0
    text = capsys.readouterr().out
    # Paths that lead out of the folder are named.
    assert "hparams/pretrain.yaml: warm_start: ../WSJ0-Simu" in text
    source = find_recipes()["RealArrays"]
    for path in (*source.glob("*.py"), *source.glob("hparams/*.yaml")):
        copy = folder / path.relative_to(source)
        assert copy.read_bytes() == path.read_bytes()
    done = subprocess.run(
        [sys.executable, "train.py", "--help"],
        cwd=folder,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr


def test_results_are_not_copied(tmp_path):
    source = tmp_path / "source"
    for name in ("train.py", "results/1/train.py", "notes.wav"):
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).touch()
    copy_recipe(source, tmp_path / "copy")
    assert [one.name for one in (tmp_path / "copy").rglob("*")] == ["train.py"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["copy", "STARS23", "{new}"], "did you mean STARSS23?"),
        (["copy", "ACE", "{full}"], "there is something already"),
        (["copy", "ACE"], "recipe copy NAME DIR"),
        (["list", "ACE"], "list takes no name"),
    ],
)
def test_bad_input_is_one_line(arguments, message, tmp_path, capsys):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "a").touch()
    places = {"new": tmp_path / "new", "full": tmp_path / "full"}
    given = [one.format(**places) for one in arguments]
    assert main(["recipe", *given]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "new").exists()


def test_a_copy_that_fails_leaves_nothing(tmp_path, monkeypatch):
    def fail(*_):
        raise OSError("no space left on device")

    monkeypatch.setattr("shutil.copyfile", fail)
    with pytest.raises(OSError, match="no space"):
        copy_recipe(find_recipes()["ACE"], tmp_path / "copy")
    assert list(tmp_path.iterdir()) == []
