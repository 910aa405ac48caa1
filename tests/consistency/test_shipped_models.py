"""Every model that is shipped is small, whole, and computes what it shall."""

import runpy
from pathlib import Path

import pytest

from spatial_brain.dataio.files import file_digest
from spatial_brain.inference.interfaces import find_interface
from spatial_brain.inference.pretrained import (
    PretrainedModel,
    check_golden,
    read_card,
)
from spatial_brain.inference.pretrained.figures import headline
from spatial_brain.inference.publishing.page import model_page
from spatial_brain.inference.publishing.shipping import (
    MAX_SIZE,
    missing_facts,
)
from spatial_brain.inference.shipped import SHIPPED, shipped_folders

ROOT = Path(__file__).resolve().parents[2]


def test_nothing_else_lies_there():
    found = {path.name for path in SHIPPED.glob("*")}
    assert found == set(shipped_folders())


@pytest.fixture(params=shipped_folders().items(), ids=lambda pair: pair[0])
def shipped(request):
    """Name, folder and card of a model."""
    name, folder = request.param
    return name, folder, read_card(folder / "card.json")


def test_files(shipped):
    _, folder, card = shipped
    files = {path.name for path in folder.iterdir()}
    hashed = {name for name in files if name not in ("card.json", "README.md")}
    assert set(card.hashes) == hashed
    assert all(file_digest(folder / n) == card.hashes[n] for n in hashed)
    kinds = {Path(name).suffix for name in files}
    assert kinds == {".yaml", ".safetensors", ".json", ".md"}
    assert sum(p.stat().st_size for p in folder.iterdir()) < MAX_SIZE


def test_it_computes_here_what_it_was_published_with(shipped):
    assert check_golden(shipped[1]) <= 1


def test_the_card_is_complete_and_the_page_is_made_of_it(shipped):
    name, folder, card = shipped
    assert not missing_facts(card)
    assert (ROOT / card.training["recipe"]).is_file()
    command, interface = find_interface(
        PretrainedModel.from_hparams(folder), folder
    )
    assert command == card.command
    page = model_page(card, name, command, interface)
    assert (folder / "README.md").read_text(encoding="utf-8") == page


def test_it_is_better_than_what_ignores_the_input(shipped):
    own, *others = headline(shipped[2].figures)
    trivial = [one for one in others if one.kind == "trivial"]
    assert trivial and all(own.beats(one) for one in trivial)


def test_the_table_of_the_readme_is_made_of_the_cards():
    """Remedy: python tools/model_table.py."""
    tool = runpy.run_path(ROOT / "tools/model_table.py")
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert tool["with_table"](text) == text
