"""A room imports only floors below it, and never a recipe."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[2] / "spatial_brain"
FLOORS = {
    "geometry": 0,
    "compilation": 0,
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
    "seld_experiment": 5,
    "cli": 5,
}
FORBIDDEN = {
    ("models", "dataio"),
    ("processing", "simulation"),
    ("processing", "dataio"),
    ("nnet", "simulation"),
    ("nnet", "dataio"),
}


def room_of(path):
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
    room = room_of(path)
    for module in imported_modules(path):
        assert not module.startswith("recipes")
        if not module.startswith("spatial_brain."):
            continue
        other = module.split(".")[1]
        if other == room:
            continue
        assert FLOORS[other] < FLOORS[room], f"{room} imports {module}"
        assert (room, other) not in FORBIDDEN, f"{room} imports {module}"


def test_every_room_has_a_floor():
    rooms = {room_of(path) for path in PACKAGE.rglob("*.py")} - {"__init__"}
    assert rooms <= set(FLOORS)
