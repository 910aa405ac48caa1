"""What errors and documents name are options that exist."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest
from speechbrain.utils.run_opts import HELP_TEXTS

ROOT = Path(__file__).resolve().parents[2]
SOURCES = [
    path
    for folder in (
        "spatial_brain/datasets",
        "spatial_brain/dataio",
        "spatial_brain/pair_experiment",
        "recipes",
        "templates",
    )
    for path in sorted((ROOT / folder).rglob("*.py"))
]
YAMLS = [
    *ROOT.glob("recipes/*/hparams/*.yaml"),
    *ROOT.glob("templates/*/hparams.yaml"),
]
DOCUMENTS = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    *sorted(ROOT.glob("recipes/*/README.md")),
    *sorted(ROOT.glob("templates/*/README.md")),
]
# "... instead, or pass valid_rooms" names an option without its dashes.
REMEDY = re.compile(
    r"\b(?:as|another|allow|choose|give|lower|or|pass|raise|set|with)\s+"
    r"([a-z]+_[a-z_0-9]+)\b"
)
# Python's arguments are no options of a command.
ARGUMENT = re.compile(r"\b[a-z_]+=(?:True|False|None|[\"'])")


def texts(path):
    """Texts of the errors that a file raises, and of remedies kept for one."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        names = [getattr(t, "id", "") for t in getattr(node, "targets", ())]
        if isinstance(node, ast.Raise) or "remedy" in map(str.lower, names):
            parts = [
                part.value
                for part in ast.walk(node)
                if isinstance(part, ast.Constant)
                and isinstance(part.value, str)
            ]
            yield " ".join(parts)


@cache
def options():
    """Options of all commands: keys of YAML files, and those of parsers."""
    found = {*HELP_TEXTS, "standalone", "nproc_per_node", "help"}
    for path in YAMLS:
        text = path.read_text("utf-8")
        found |= {*re.findall(r"^([A-Za-z_]\w*):", text, re.MULTILINE)}
    for folder in ("recipes", "spatial_brain", "benchmarks"):
        for path in (ROOT / folder).rglob("*.py"):
            text = path.read_text("utf-8")
            found |= {*re.findall(r'"[^"\s]*--(\w+)"', text)}
    return found


@cache
def keys():
    """Keys of YAML files at any depth."""
    return {
        key
        for path in YAMLS
        for key in re.findall(r"([A-Za-z_]\w*):", path.read_text("utf-8"))
    }


@pytest.mark.parametrize(
    "path", SOURCES, ids=lambda path: str(path.relative_to(ROOT))
)
def test_errors_name_options_that_exist(path):
    for text in texts(path):
        assert {*re.findall(r"--([A-Za-z_]\w*)", text)} <= options(), text
        assert {*REMEDY.findall(text)} <= options() | keys(), text
        assert not ARGUMENT.search(text), text


@pytest.mark.parametrize(
    "path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT))
)
def test_documents_name_options_that_exist(path):
    text = path.read_text("utf-8").replace("\\\n", " ")
    # A table of another project's commands names its options, too.
    text = re.sub(r"(?s)### The commands of the original.*?\n### ", "", text)
    text = re.sub(r"(?m)^> .*|^.*(?:pip|torch\.distributed).*", "", text)
    found = re.findall(r"(?<![\w-])--([A-Za-z_]\w*)(?![\w-])", text)
    assert found and {*found} <= options()
