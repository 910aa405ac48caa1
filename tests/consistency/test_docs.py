"""Every example of the documentation runs as it stands."""

import re
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.DOTALL | re.MULTILINE)


def blocks():
    """Path and source of every block, at the lines it has on its page."""
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for match in BLOCK.finditer(text):
            line = text.count("\n", 0, match.start(1))
            name = f"{page.relative_to(ROOT)}:{line + 1}"
            yield pytest.param(page, "\n" * line + match[1], id=name)


@pytest.mark.parametrize(("page", "source"), blocks())
def test_examples_run(page, source, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    exec(compile(source, str(page), "exec"), {"__name__": "__main__"})


def test_pages_are_found():
    pages = {param.values[0].name for param in blocks()}
    assert {"README.md", "simulation.md"} <= pages
