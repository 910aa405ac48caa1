"""All trainings of a recipe: their folders, options and order."""

from types import SimpleNamespace

import pytest
from hyperpyyaml import load_hyperpyyaml

from spatial_brain.dataio.files import write_json
from spatial_brain.experiment import parse_arguments
from spatial_brain.pair_experiment import grid as module
from spatial_brain.pair_experiment.design import Design
from spatial_brain.pair_experiment.grid import Grid, Training, list_runs

YAML = """
task: T60
mode: finetune
real_sim_ratio: "1:0"
fold: 0
room: ""
batch_size: 8
lr: 0.1
output_folder: x
skip_prep: False
"""


def grid_of(training=None):
    """Folds and ratios, with two things that are searched."""
    return Grid(
        training,
        Design(("real_sim_ratio",), ("fold",), ("lr", "batch_size")),
        tasks=("T60", "DRR"),
        add_options=lambda add: add("--ratios", nargs="+", default=["1:0"]),
        cells=lambda options: [
            {"real_sim_ratio": ratio, "fold": fold, "room": "101"}
            for ratio in options.ratios
            for fold in (0, 1)
        ],
        name=lambda cell: (
            cell["real_sim_ratio"].replace(":", "to") + f"_fold{cell['fold']}"
        ),
        searched={
            "lr": ("--rates", float, [1e-3, 1e-4]),
            "batch_size": ("--batch_sizes", int, [8]),
        },
        modes=("finetune", "scratch"),
    )


def test_runs_and_their_options(tmp_path, monkeypatch):
    yaml = tmp_path / "a.yaml"
    yaml.write_text(YAML)
    argv = [str(yaml), "--ratios", "0:1", "1:1", "--output", str(tmp_path)]
    argv += ["--tasks", "DRR", "--pretext", "results/1"]
    grid = grid_of(Training("train_downstream.py", object, print, print))
    options, extra = module._parse_arguments(grid, "about", argv)
    assert extra == ["--pretext", "results/1"]
    runs = list_runs(grid, options)
    assert len({run.folder for run in runs}) == len(runs) == 2 * 2 * 2 * 2
    names = [str(run.folder.relative_to(tmp_path)) for run in runs]
    assert names[:3] == [
        "DRR/finetune/0to1_fold0/lr0.001_bs8",
        "DRR/finetune/0to1_fold0/lr0.0001_bs8",
        "DRR/scratch/0to1_fold0/lr0.001_bs8",
    ]
    assert [run.trial for run in runs[:2]] == [runs[0].folder.parent] * 2
    # What a run is started with gives back its facts, text as text.
    started = []
    monkeypatch.setattr(
        module.PROCESSES,
        "Process",
        lambda target, args: SimpleNamespace(
            start=lambda: started.append(args[1])
        ),
    )
    module._start(runs[-1], grid.training, options, [], None)
    _, _, overrides = parse_arguments(started[0])
    assert load_hyperpyyaml(YAML, overrides) == {
        "task": "DRR",
        "mode": "scratch",
        "real_sim_ratio": "1:1",
        "fold": 1,
        "room": "101",
        "batch_size": 8,
        "lr": 1e-4,
        "output_folder": str(runs[-1].folder),
        "skip_prep": True,
    }


@pytest.mark.parametrize("keep", ["all", "best", "none"])
def test_models_that_are_kept(keep, tmp_path):
    options = SimpleNamespace(
        output=tmp_path,
        tasks=["T60"],
        modes=["scratch"],
        ratios=["1:0"],
        lr=[1e-3, 1e-4],
        batch_size=[8],
    )
    runs = list_runs(grid_of(), options)
    for number, run in enumerate(runs):
        for name in ("save", "pretrained"):
            (run.folder / name).mkdir(parents=True)
        if number < 3:
            metrics = {"valid": {"loss": 2.0 - number}}
            write_json(run.folder / "metrics.json", metrics)
    for run in runs:
        module._tidy(run, runs, keep)
    there = [(run.folder / "pretrained").is_dir() for run in runs]
    saved = [(run.folder / "save").is_dir() for run in runs]
    # The second fold is not done: nothing of it is deleted.
    first = {"all": [True, True], "best": [False, True], "none": [False] * 2}
    assert there == [*first[keep], True, True]
    assert saved == [keep == "all"] * 2 + [True, True]
