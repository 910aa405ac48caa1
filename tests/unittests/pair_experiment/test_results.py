"""Rules of selection, means and tables of many trainings."""

import pytest

from spatial_brain.pair_experiment.design import Design
from spatial_brain.pair_experiment.results import (
    choose,
    grid_rows,
    print_downstream,
)
from spatial_brain.reporting.acoustics_grid import (
    format_grid,
    summarize_grid,
)

ROOMS = Design(("num_rooms",), ("trial",))
FOLDS = Design(("real_sim_ratio",), ("fold",), ("lr", "batch_size"))


def run(valid, test, mean=7.0, gcc=None, **facts):
    """What ``metrics.json`` of a run holds."""
    loss, mae = valid
    methods = {"network": {"mae": test}, "training_mean": {"mae": mean}}
    methods["best"] = {"mae": test}
    if gcc is not None:
        methods["gcc_phat"] = {"mae": gcc}
    return {
        **facts,
        "folder": "-".join(map(str, facts.values())),
        "best_epoch": 1,
        "valid": {"loss": loss, "mae": mae},
        "methods": methods,
    }


def test_rules_of_selection():
    # (rate, trial): validation loss, validation MAE, test MAE.
    table = {
        (0.1, 0): (1.0, 5.0, 10.0),
        (0.1, 1): (4.0, 1.0, 20.0),
        (0.2, 0): (2.0, 2.0, 30.0),
        (0.2, 1): (3.0, 3.0, 40.0),
        (0.3, 0): (0.5, 0.1, 50.0),
    }
    shared = {"task": "TDOA", "mode": "finetune", "num_rooms": 8}
    runs = [
        run(
            valid,
            test,
            mean=7.0 + trial,
            gcc=6.0,
            **shared,
            trial=trial,
            lr=rate,
        )
        for (rate, trial), (*valid, test) in table.items()
    ]
    by_trial = choose(runs, ROOMS, "trial")
    assert [run["lr"] for run in by_trial] == [0.3, 0.2]
    # The rate without a second trial cannot be compared.
    by_mean = choose(runs, ROOMS, "mean")
    assert [run["lr"] for run in by_mean] == [0.2, 0.2]
    cells = summarize_grid(grid_rows(by_mean, ROOMS))
    errors = {cell["mode"]: cell["mae"] for cell in cells}
    assert errors == {"finetune": 35.0, "training_mean": 7.5, "gcc_phat": 6.0}
    with pytest.raises(ValueError, match="same trial"):
        choose(runs + runs[:1], ROOMS)
    with pytest.raises(ValueError, match="lacks real_sim_ratio; it is a run"):
        choose(runs, FOLDS)


def folds():
    """Two folds, three ratios, two modes, two rates, two batch sizes."""
    base = {"1:0": 1.0, "1:1": 2.0, "0:1": 4.0}
    return [
        run(
            # The small rate is better in validation, and batches of 8.
            (rate * size, rate * size),
            error + fold + 10 * (mode == "scratch") + 100 * (size == 16),
            mean=5.0 + fold,
            task="DRR",
            mode=mode,
            real_sim_ratio=ratio,
            fold=fold,
            lr=rate,
            batch_size=size,
        )
        for ratio, error in base.items()
        for fold in (0, 1)
        for mode in ("finetune", "scratch")
        for rate in (1e-3, 1e-4)
        for size in (8, 16)
    ]


@pytest.mark.parametrize("rule", ["trial", "mean"])
def test_means_over_folds_by_ratio(rule, capsys):
    chosen = choose(folds(), FOLDS, rule)
    assert {(run["lr"], run["batch_size"]) for run in chosen} == {(1e-4, 8)}
    assert len(chosen) == 3 * 2 * 2
    cells = summarize_grid(grid_rows(chosen, FOLDS), FOLDS.conditions)
    found = {(cell["mode"], cell["real_sim_ratio"]): cell for cell in cells}
    assert found["finetune", "1:1"]["mae"] == 2.5
    assert found["scratch", "0:1"]["mae"] == 14.5
    assert found["training_mean", "1:0"]["mae"] == 5.5
    assert {cell["num_trials"] for cell in cells} == {2}
    print_downstream(chosen, FOLDS, every_run=True)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith(
        "| task | mode | real_sim_ratio | fold | lr | ba"
    )
    [line] = [line for line in lines if line.startswith("|            1:1 |")]
    assert [cell.strip() for cell in line.split("|")[2:-1]] == [
        "2.50 ± 0.71", "12.50 ± 0.71", "5.50 ± 0.71"
    ]  # fmt: skip


def test_classical_method_has_an_error_for_each_test_set():
    design = Design(("corpus", "num_rooms"), ("trial",), tested=("corpus",))
    runs = [
        run(
            (1.0, 1.0),
            1.0,
            gcc=error,
            task="TDOA",
            mode="finetune",
            corpus=corpus,
            num_rooms=number,
            trial=0,
            lr=1e-3,
        )
        for corpus, error in (("LOCATA", 0.5), ("MIR", 0.7))
        for number in (2, 8)
    ]
    rows = grid_rows(choose(runs, design), design)
    gcc = [row for row in rows if row["mode"] == "gcc_phat"]
    assert [(r["corpus"], r["num_rooms"], r["mae"]) for r in gcc] == [
        ("LOCATA", None, 0.5),
        ("MIR", None, 0.7),
    ]
    # It stands in every row of its corpus.
    lines = format_grid(rows, design.conditions).splitlines()[4:]
    cells = [[c.strip() for c in line.split("|")[1:-1]] for line in lines]
    assert [row[-1] for row in cells] == ["0.50", "0.50", "0.70", "0.70"]
