"""What users of ACE rely on: folds, leakage, test only, grid, challenge."""

import csv
import json
import shutil
import sys
from pathlib import Path

import pytest
import running
from running import check, metrics_of

RECIPE = Path(__file__).resolve().parents[2] / "recipes/ACE"
ROOMS = ["Lecture_Room_1", "Office_1", "Office_2"]
SIZES = '{"1:0": 8, "1:1": 8, "0:1": 8}'
OPTIONS = {
    "synthetic_data": f"{{rooms: [{', '.join(ROOMS)}], arrays: [Mobile], "
    "seconds: 0.6, fs: 16000}",
    "arrays": "[Mobile]",
    "speech": "{num_talkers: {train-clean-100: 2, dev-clean: 1, "
    "test-clean: 1}, utterances_per_talker: 1}",
    "simulated_rooms": "{num_rooms: 2, rirs_per_room: 2, signals_per_rir: 2}",
    "duration": "0.5",
    "train_signals": f"{{finetune: {SIZES}, scratch: {SIZES}}}",
    "val_signals": "4",
    "test_signals": "6",
    "number_of_epochs": "2",
    "batch_size": "4",
    "num_workers": "0",
    "preparation_workers": "1",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("ace")


def command(folder, script, *flags, **options):
    """Run a script of the recipe on data of the folder; what it printed."""
    options = {"manifest_folder": folder / "data", **OPTIONS, **options}
    line = [sys.executable, script, "hparams/mini.yaml", *flags]
    for name, value in options.items():
        line += [f"--{name}", f"{value}"]
    return running.run(line, RECIPE)


def train(folder, name, *flags, **options):
    done = command(
        folder,
        "train.py",
        "--noprogressbar",
        *flags,
        output_folder=folder / name,
        **options,
    )
    return check(done)


@pytest.fixture(scope="module")
def run(folder):
    train(folder, "run", fold="1", real_sim_ratio="1:0", task="ABS")
    return folder / "run"


def rows_of(run):
    return json.loads((run / "predictions.json").read_text())


def test_a_fold_tests_one_room_and_learns_from_others(run):
    metrics = metrics_of(run)
    # Whether it was given by number or by name.
    assert metrics["fold"] == "Office_1"
    rows = rows_of(run)
    assert len(rows) == 6 and {row["room"] for row in rows} == {"Office_1"}
    assert {row["array"] for row in rows} == {"Mobile"}
    assert {row["position"] for row in rows} <= {"1", "2"}
    assert {row["noise"] for row in rows} <= {"ambient", "babble", "fan"}
    # All walls: absorption of half of them would be twice as large.
    x, y, z = 3.32, 4.83, 2.95
    surface = 2 * (x * y + x * z + y * z)
    for row in rows:
        expected = 0.161 * x * y * z / (surface * row["t60"])
        assert row["reference"] == pytest.approx(expected, rel=1e-5)
    log = (run / "log.txt").read_text()
    assert "fold: test Office_1, validation" in log
    assert "leakage" not in log and "leakage" not in metrics
    assert "findfont" not in log


def test_test_only_gives_the_same_and_leaves_the_weights(run, folder):
    before = metrics_of(run), rows_of(run)
    weights = (run / "pretrained/model.safetensors").read_bytes()
    (run / "metrics.json").unlink()
    train(
        folder,
        "run",
        "--test_only",
        fold="1",
        real_sim_ratio="1:0",
        task="ABS",
    )
    assert (metrics_of(run), rows_of(run)) == before
    assert (run / "pretrained/model.safetensors").read_bytes() == weights


@pytest.fixture(scope="module")
def leaky(run, folder):
    """Output folder of a run whose encoders have had all rooms."""
    pretext = shutil.copytree(run / "pretrained", folder / "pretext")
    corpora = {"ACE": {"rooms": ROOMS}, "MIR": {"rooms": ["R1"]}}
    metrics = {"sets": {}, "corpora": corpora}
    (pretext / "metrics.json").write_text(json.dumps(metrics))
    options = {"real_sim_ratio": "1:1", "pretext": pretext, "fold": "Office_2"}
    train(folder, "leaky", mode="finetune", **options)
    return folder / "leaky"


def test_rooms_of_the_pre_training_are_reported(leaky):
    test, val = metrics_of(leaky)["leakage"]
    assert test.startswith("room Office_2 of ACE, which is the test, is in")
    assert "of ACE, which is the validation, is in the pre-training" in val
    assert val.split()[1] in ROOMS[:2]
    assert test in (leaky / "report.html").read_text()
    assert f"leakage: {test}" in (leaky / "log.txt").read_text()


def test_measures_and_files_of_the_challenge(run, leaky, folder):
    tables = folder / "challenge"
    line = [sys.executable, "challenge.py", str(run), str(leaky)]
    said = check(running.run([*line, "--output", str(tables)], RECIPE))
    assert "| scratch | 1:0 | network | 6 |" in said
    assert "| finetune | 1:1 | network | 6 |" in said
    # There are published figures of T60, and none of absorption.
    assert "| published | – | CNN" in said and "not found" in said
    with open(tables / "ACE_T60_finetune_real1sim1.csv", newline="") as file:
        lines = list(csv.DictReader(file))
    assert {(x["room"], x["mic_config"]) for x in lines} == {
        ("Office_2", "Mobile")
    }
    errors = [float(x["estimate"]) - float(x["ground_truth"]) for x in lines]
    with open(tables / "measures.csv", newline="") as file:
        found = [x for x in csv.DictReader(file) if x["task"] == "T60"][0]
    assert (found["method"], found["noise"]) == ("network", "all")
    assert float(found["bias"]) == pytest.approx(sum(errors) / 6)
    squares = sum(error**2 for error in errors)
    assert float(found["mse"]) == pytest.approx(squares / 6)


GRID = """
from types import SimpleNamespace
from data import FOLDS, RATIOS
from grid import GRID, RATES
from spatial_brain.pair_experiment.grid import list_runs
options = SimpleNamespace(output="out", tasks=GRID.tasks, modes=GRID.modes,
                          ratios=RATIOS, folds=FOLDS, lr=RATES)
for run in list_runs(GRID, options):
    print(run.folder)
"""


def test_grid_has_all_tasks_modes_ratios_folds_and_rates():
    folders = check(running.run([sys.executable, "-c", GRID], RECIPE)).split()
    assert len(set(folders)) == len(folders) == 5 * 2 * 3 * 7 * 2
    assert folders[0] == "out/T60/finetune/real1sim0_Building_Lobby/lr0.001"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"task": "TDOA"}, "time differences are the task of the recipe"),
        ({"fold": "Office_3"}, "fold must be a number from 0 to 2 or one of"),
    ],
)
def test_what_cannot_be_trained(run, folder, options, words):
    done = command(
        folder,
        "train.py",
        "--noprogressbar",
        output_folder=folder / "bad",
        **{"real_sim_ratio": "1:0", **options},
    )
    assert done.returncode
    assert words in done.stderr and "Traceback" not in done.stderr
