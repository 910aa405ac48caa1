"""Every recipe is listed, documented, and free of known traps."""

import csv
import dataclasses
import fnmatch
import re
from pathlib import Path

import pytest
from speechbrain.utils.run_opts import HELP_TEXTS, RunOptions

ROOT = Path(__file__).resolve().parents[2]
YAMLS = sorted(ROOT.glob("recipes/*/hparams/*.yaml"))
YAML_IDS = [str(path.relative_to(ROOT)) for path in YAMLS]
READMES = sorted(ROOT.glob("recipes/*/README.md"))
KEY = re.compile(r"^([A-Za-z_]\w*):", re.MULTILINE)


def table_rows():
    for table in sorted((ROOT / "tests" / "recipes").glob("*.csv")):
        with open(table, newline="", encoding="utf-8") as file:
            yield from csv.DictReader(file)


@pytest.mark.parametrize("yaml", YAMLS, ids=YAML_IDS)
def test_yaml_is_listed_with_files_which_exist(yaml):
    rows = [r for r in table_rows() if r["Hparam_file"] in YAML_IDS]
    names = [row["Hparam_file"] for row in rows]
    assert str(yaml.relative_to(ROOT)) in names
    for row in rows:
        for column in ("Script_file", "Hparam_file", "Readme_file"):
            assert (ROOT / row[column]).is_file(), row[column]


@pytest.mark.parametrize("yaml", YAMLS, ids=YAML_IDS)
def test_no_key_is_the_beginning_of_a_run_option(yaml):
    # argparse would take "--test 6" for "--test_only" and swallow it.
    options = {field.name for field in dataclasses.fields(RunOptions)}
    keys = KEY.findall(yaml.read_text("utf-8"))
    traps = {
        (key, option)
        for key in keys
        for option in options
        if option.startswith(key) and option != key
    }
    assert not traps


@pytest.mark.parametrize("yaml", YAMLS, ids=YAML_IDS)
def test_a_training_can_begin_with_a_model(yaml):
    keys = set(KEY.findall(yaml.read_text("utf-8")))
    # Encoders of SAR-SSL have ways of their own.
    own = {"pretext", "warm_start", "frozen_encoders"}
    assert keys & {"initial_weights", *own}


@pytest.mark.parametrize("yaml", YAMLS, ids=YAML_IDS)
def test_readme_names_the_yaml(yaml):
    readme = (yaml.parents[1] / "README.md").read_text(encoding="utf-8")
    assert f"hparams/{yaml.name}" in readme


@pytest.mark.parametrize(
    "script",
    sorted(ROOT.glob("recipes/*/train*.py")),
    ids=lambda p: p.parts[-2],
)
def test_scripts_use_wrapped_modules(script):
    # self.hparams.model has no distributed wrapper: ranks would drift apart.
    text = script.read_text(encoding="utf-8")
    assert not re.search(r"self\.hparams\.(model|modules)\b", text)
    assert len(text.splitlines()) <= 300


@pytest.mark.parametrize("yaml", YAMLS, ids=YAML_IDS)
def test_loss_is_exchanged_in_the_yaml(yaml):
    text = yaml.read_text(encoding="utf-8")
    assert re.search(
        r"^# Called with [^\n]*\n(#[^\n]*\n)*loss: !n", text, re.MULTILINE
    )


@pytest.mark.parametrize(
    "pattern",
    [
        "Binaural-WSJ0Mix/hparams/convtasnet-*.yaml",
        "*/hparams/maccdoa_htsat.yaml",
        "SynthSELD/hparams/synth_*.yaml",
    ],
)
def test_what_differs_stands_in_one_block(pattern):
    rests, keys = set(), []
    for path in ROOT.glob(f"recipes/{pattern}"):
        head, rest = path.read_text("utf-8").split("\n# The rest is the same")
        rests.add(rest)
        keys.append(KEY.findall(head))
    assert len(keys) > 2 and len(rests) == 1
    # Those of all files, in the order of each: the same order.
    shared = set.intersection(*map(set, keys))
    orders = {tuple(k for k in names if k in shared) for names in keys}
    assert shared and len(orders) == 1


def options_of(recipe):
    """Options that the commands of a recipe have."""
    options = {*HELP_TEXTS, "standalone", "nproc_per_node"}
    for path in recipe.glob("hparams/*.yaml"):
        options |= {*KEY.findall(path.read_text("utf-8"))}
    for path in recipe.glob("*.py"):
        text = path.read_text()
        # What a script shares with others has its options there.
        shared = re.findall(
            r"^from spatial_brain\.(\w+_experiment\.\w+)", text, re.M
        )
        for module in shared:
            source = ROOT / "spatial_brain" / f"{module.replace('.', '/')}.py"
            text += source.read_text()
        options |= {*re.findall(r'add\w*\(\s*"--(\w+)"', text)}
        options |= {*re.findall(r'\("--(\w+)", (?:float|int|str),', text)}
    return options


@pytest.mark.parametrize("readme", READMES, ids=lambda p: p.parts[-2])
def test_options_of_the_readme_exist(readme):
    text = readme.read_text("utf-8").replace("\\\n", " ")
    # A table of another project's commands names its options, too.
    text = re.sub(r"(?s)### The commands of the original.*?\n### ", "", text)
    blocks = re.findall(r"```\n(.*?)```", text, re.DOTALL)
    lines = [line for block in blocks for line in block.splitlines()]
    commands = [x for x in lines if ".py " in x and "benchmarks/" not in x]
    commands += re.findall(r"`(--[^`]*)`", text)
    named = re.findall(r"(?<!\S)--([\w-]+)", "\n".join(commands))
    assert named and {*named} <= options_of(readme.parent)


def written_folders(recipe):
    """Patterns of the folders that the runs of a recipe write."""
    patterns = []
    for path in recipe.glob("hparams/*.yaml"):
        text = path.read_text("utf-8")
        [folder] = re.findall(r"^output_folder: !ref (\S+)", text, re.M)
        patterns.append(re.sub(r"<\w+>", "*", folder))
    shared = ROOT / "spatial_brain/pair_experiment/grid.py"
    scripts = [shared, *recipe.glob("*.py")]
    texts = [path.read_text("utf-8") for path in scripts]
    texts.append((recipe / "README.md").read_text("utf-8"))
    for text in texts:
        # Defaults of scripts, and what a command of the page names itself.
        patterns += re.findall(r'"(results/[^"{}]+)"', text)
        patterns += re.findall(r"--output(?:_folder)? (results/[^\s`]+)", text)
    return [pattern.split("/") for pattern in patterns]


@pytest.mark.parametrize("readme", READMES, ids=lambda p: p.parts[-2])
def test_folders_of_the_readme_are_written(readme):
    text = readme.read_text("utf-8")
    named = re.findall(r"(?<![\w/])results/[\w./:+-]*[\w+]", text)
    patterns = written_folders(readme.parent)
    unknown = [
        path
        for path in named
        if not any(
            all(map(fnmatch.fnmatch, path.split("/"), pattern))
            for pattern in patterns
        )
    ]
    assert not unknown


def original_commands():
    table = Path(__file__).with_name("seed_commands.csv")
    with open(table, newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            yield pytest.param(row, id=row["command"])


@pytest.mark.parametrize("row", original_commands())
def test_commands_of_the_originals_have_a_line_to_type(row):
    readme = ROOT / "recipes" / row["readme"] / "README.md"
    lines = readme.read_text("utf-8").splitlines()
    assert any(row["line"] in line for line in lines)


@pytest.mark.parametrize("readme", READMES, ids=lambda p: p.parts[-2])
def test_extra_requirements_are_found_from_the_recipe(readme):
    link = readme.parent / "../extra_requirements.txt"
    [line] = [x for x in link.read_text().splitlines() if x[0] != "#"]
    target = link.parent / line.removeprefix("-r ")
    assert target.resolve() == ROOT / "extra_requirements.txt"


def markdown_links():
    for page in [ROOT / "README.md", *READMES]:
        for target in re.findall(r"\]\(([^)#]+)", page.read_text("utf-8")):
            if "://" not in target:
                yield page, target


def test_links_of_the_documents_exist():
    broken = [
        f"{page.relative_to(ROOT)}: {target}"
        for page, target in markdown_links()
        if not (page.parent / target).exists()
    ]
    assert not broken


def test_torch_load_is_safe_everywhere():
    unsafe = [
        f"{path.relative_to(ROOT)}:{number}"
        for folder in ("spatial_brain", "recipes", "tools", "benchmarks")
        for path in (ROOT / folder).rglob("*.py")
        for number, line in enumerate(path.read_text("utf-8").splitlines(), 1)
        if "torch.load(" in line and "weights_only=True" not in line
    ]
    assert not unsafe
