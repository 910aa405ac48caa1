"""Templates stay small, documented, and free of known traps."""

import dataclasses
import re
from pathlib import Path

import pytest
from speechbrain.utils.run_opts import HELP_TEXTS, RunOptions

ROOT = Path(__file__).resolve().parents[2]
TEMPLATES = sorted(path.parent for path in ROOT.glob("templates/*/train.py"))
# Options of torchrun and of the command spatial-brain.
LAUNCHER = {"standalone", "nproc_per_node", "model", "output", "allow"}
DOCUMENTS = [
    ROOT / "CONTRIBUTING.md",
    ROOT / "templates" / "README.md",
    *(template / "README.md" for template in TEMPLATES),
]


def each_template(function):
    return pytest.mark.parametrize(
        "template", TEMPLATES, ids=lambda path: path.name
    )(function)


def test_there_is_one_of_each_kind():
    names = [template.name for template in TEMPLATES]
    assert names == ["localization", "seld", "separation"]
    overview = (ROOT / "templates" / "README.md").read_text("utf-8")
    assert all(f"]({name}/README.md)" in overview for name in names)


@each_template
def test_training_is_short_and_in_plain_sight(template):
    text = (template / "train.py").read_text("utf-8")
    assert len(text.splitlines()) < 140
    assert re.search(r"^\* model\(.*^\* loss\(", text, re.M | re.S)
    assert "self.hparams.loss(" in text
    assert "self.modules.model(" in text
    # No distributed wrapper there: ranks would drift apart.
    assert not re.search(r"self\.hparams\.(model|modules)\b", text)


@each_template
def test_hyper_parameters_are_complete(template):
    text = (template / "hparams.yaml").read_text("utf-8")
    keys = re.findall(r"^([A-Za-z_]\w*):", text, re.MULTILINE)
    wanted = {"seed", "__set_seed", "loss", "model", "modules", "data_folder"}
    wanted |= {"synthetic_data", "valid_fraction", "checkpointer"}
    wanted |= {"inference_keys", "selection_metric", "output_folder"}
    assert wanted <= set(keys)
    assert "AtomicCheckpointer" in text
    assert re.search(r"^# Called with [^\n]*\n(#[^\n]*\n)*loss: !n", text, re.M)
    assert "!PLACEHOLDER" not in text  # it runs as it stands
    # argparse would take "--test 6" for "--test_only" and swallow it.
    options = {field.name for field in dataclasses.fields(RunOptions)}
    for key in keys:
        assert not [x for x in options if x.startswith(key) and x != key]


@each_template
def test_readme_names_what_there_is(template):
    text = (template / "README.md").read_text("utf-8")
    yaml = (template / "hparams.yaml").read_text("utf-8")
    for heading in ("Your data", "Run", "Use the trained model", "Exchange"):
        assert f"\n## {heading}\n" in text
    for path in template.glob("*.*"):
        assert path.name == "README.md" or f"]({path.name})" in text
    named = set(re.findall(r"`(\w+):", text)) | set(
        re.findall(r"`(\w+_\w+)`", text)
    )
    named |= set(re.findall(r" --(\w+)", text)) - {*HELP_TEXTS, *LAUNCHER}
    code = (template / "train.py").read_text("utf-8")
    for name in named - {"perceptual", "metric", "threshold", "average"}:
        assert re.search(rf"\b{name}\b", yaml + code), name


@pytest.mark.parametrize("page", DOCUMENTS, ids=lambda p: p.parent.name)
def test_links_of_the_documents_exist(page):
    for target in re.findall(r"\]\(([^)#]+)", page.read_text("utf-8")):
        assert "://" in target or (page.parent / target).exists(), target
