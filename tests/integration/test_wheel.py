"""The wheel holds all that a machine without a checkout needs."""

import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from spatial_brain.inference.shipped import shipped_folders

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    command = ["build", "-b", folder / "b", "egg_info", "-e", folder]
    command += ["bdist_wheel", "-d", folder, "--bdist-dir", folder / "d"]
    subprocess.run(
        [sys.executable, "setup.py", "-q", *map(str, command)],
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
    with zipfile.ZipFile(next(folder.glob("*.whl"))) as archive:
        archive.extractall(folder / "site")
    return folder / "site"


def test_it_holds_packages_and_recipes(wheel):
    package = wheel / "spatial_brain"
    tracked = subprocess.run(
        ["git", "ls-files", "recipes", "templates", "spatial_brain"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    ).stdout.split()
    assert len(tracked) > 300
    for name in tracked:
        copy = wheel / name if name[:7] == "spatial" else package / name
        assert copy.read_bytes() == (ROOT / name).read_bytes(), name
    assert not list(package.rglob("results"))


def test_it_runs_without_the_checkout(wheel, tmp_path):
    def run(*arguments):
        done = subprocess.run(
            [sys.executable, *arguments],
            cwd=tmp_path,
            env={"PYTHONPATH": str(wheel), "PATH": "", "HOME": str(tmp_path)},
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    run("-m", "spatial_brain", "recipe", "copy", "STARSS23", "mine")
    names = {path.name for path in (tmp_path / "mine").iterdir()}
    assert {"README.md", "hparams", "train.py"} <= names
    program = "from spatial_brain.inference.shipped import shipped_folders as f"
    found = run("-c", f"{program}; print(*f().values())").split()
    there = wheel / "spatial_brain" / "pretrained_models"
    assert found == [str(there / name) for name in shipped_folders()]


def test_the_page_of_the_index_has_no_dead_links(wheel):
    text = next(wheel.glob("*.dist-info/METADATA")).read_text("utf-8")
    page = text.split("# SpatialBrain", 1)[1]
    links = re.findall(r"\]\(([^)]+)\)", page)
    assert links and all(link.startswith("https://") for link in links)
    assert "Made by `make demo`" not in page
