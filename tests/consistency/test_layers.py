"""A package imports only layers below its own, and never a recipe."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[2] / "spatial_brain"
LAYERS = {
    "geometry": 0,
    "atomic": 0,
    "folders": 0,
    "compilation": 0,
    "loadable": 0,
    "stopping": 0,
    "suggestions": 0,
    "training_time": 0,
    "simulation": 1,
    "dataio": 1,
    "processing": 2,
    "augment": 2,
    "nnet": 2,
    "models": 3,
    "metrics": 3,
    "datasets": 3,
    "inference": 4,
    "reporting": 4,
    "experiment": 4,
    "pair_experiment": 5,
    "seld_experiment": 5,
    "cli": 5,
    "__main__": 6,
}
FORBIDDEN = {
    ("models", "dataio"),
    ("processing", "simulation"),
    ("processing", "dataio"),
    ("nnet", "simulation"),
    ("nnet", "dataio"),
}
# Modules in one folder, ``__init__`` aside.
MAX_MODULES = 15


def package_of(path):
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported_modules(path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            yield node.module


@pytest.mark.parametrize(
    "path",
    [p for p in sorted(PACKAGE.rglob("*.py")) if p.parent != PACKAGE]
    + [p for p in sorted(PACKAGE.glob("*.py")) if p.stem != "__init__"],
    ids=lambda path: str(path.relative_to(PACKAGE)),
)
def test_imports_go_down(path):
    package = package_of(path)
    for module in imported_modules(path):
        assert not module.startswith("recipes")
        if not module.startswith("spatial_brain."):
            continue
        other = module.split(".")[1]
        if other == package:
            continue
        assert LAYERS[other] < LAYERS[package], f"{package} imports {module}"
        assert (package, other) not in FORBIDDEN, f"{package} imports {module}"


def test_every_package_has_a_layer():
    packages = {package_of(path) for path in PACKAGE.rglob("*.py")}
    assert packages - {"__init__"} <= set(LAYERS)


def test_no_folder_is_a_flat_list():
    folders = {path.parent for path in PACKAGE.rglob("*.py")}
    modules = {
        str(folder.relative_to(PACKAGE)): [
            path.stem for path in folder.glob("*.py") if path.stem != "__init__"
        ]
        for folder in folders
    }
    large = {k: len(v) for k, v in modules.items() if len(v) > MAX_MODULES}
    assert not large, f"more than {MAX_MODULES} modules in a folder: {large}"
    for folder, names in modules.items():
        prefixes = [name.split("_")[0] for name in names if "_" in name]
        crowded = {p for p in prefixes if prefixes.count(p) > 2}
        assert not crowded, f"{folder}: make a folder of {crowded}_*"
