"""What is imported is named in the requirements."""

import ast
import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
# Name to import -> name in the index, where they differ.
DISTRIBUTIONS = {
    "sklearn": "scikit-learn",
    "ruamel": "ruamel.yaml",
    "webrtcvad": "webrtcvad-wheels",
}
OPTIONAL = {
    "gpuRIR", "librosa", "pesq", "pystoi", "sklearn", "sounddevice", "torchrir",
    "webrtcvad",
}  # fmt: skip
BUILT = {"gpurir"}  # from its sources, see the comment there
INDIRECT = {"threadpoolctl"}  # comes with librosa


def named_in(*files):
    lines = "\n".join((ROOT / name).read_text("utf-8") for name in files)
    names = re.findall(r"^(?:# *)?([A-Za-z][\w.-]*)(?:[>=~]=|$)", lines, re.M)
    return {name.lower().replace("_", "-") for name in names}


def imported_by(path):
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module.split(".")[0]


@pytest.mark.parametrize(
    "folder", ["spatial_brain", "recipes", "templates", "tools", "benchmarks"]
)
def test_imports_are_required(folder):
    files = sorted((ROOT / folder).rglob("*.py"))
    own = {path.stem for path in files} | {"spatial_brain"}
    modules = {name for path in files for name in imported_by(path)}
    modules -= own | INDIRECT | set(sys.stdlib_module_names)
    required = named_in("requirements.txt")
    for name in sorted(modules):
        wanted = DISTRIBUTIONS.get(name, name).lower().replace("_", "-")
        if name in OPTIONAL:
            assert wanted in named_in("extra_requirements.txt") | BUILT
        else:
            assert wanted in required, f"{name} is not in requirements.txt"
