#!/usr/bin/env python3
"""Tables of finished runs: pretext task, and tasks by rooms and modes.

> python results.py results
> python results.py results/grid --rule mean --output tables

The learning rate of each cell is chosen by the validation: ``--rule trial``,
in every trial the one with the lowest loss; ``--rule mean``, one for all
trials, with the lowest mean absolute error on average. ``--output`` also
writes ``runs.csv`` (one line a run that was chosen), ``cells.csv`` (means over
trials), ``curves.csv`` (losses by epoch, means over trials), ``report.html``
and a picture a task into a folder.
"""

import argparse
from collections import defaultdict
from pathlib import Path

from spatial_brain.dataio.files import read_json, write_table
from spatial_brain.experiment import one_line_errors
from spatial_brain.folders import find_files
from spatial_brain.reporting.acoustics_grid import (
    format_grid,
    grid_picture,
    grid_report,
    summarize_grid,
)
from spatial_brain.reporting.plots import save_figure
from spatial_brain.reporting.report import read_train_log

RULES = ("trial", "mean")
COLUMNS = (
    "task",
    "mode",
    "num_rooms",
    "trial",
    "lr",
    "best_epoch",
    "valid_loss",
    "valid_mae",
    "test_mae",
    "best_epoch_mae",
    "training_mean",
    "gcc_phat",
    "folder",
)
CURVES = ("train loss", "valid loss", "valid mae")


def read_runs(folders):
    """Finished runs below some folders.

    Arguments
    ---------
    folders : list of str or Path
        Output folders, or folders above them.

    Returns
    -------
    tuple
        Runs of the pretext task and of the downstream tasks, two lists of
        dicts; ``folder`` is added to what ``metrics.json`` holds.
    """
    pretext, downstream = [], []
    for folder in folders:
        if not Path(folder).is_dir():
            raise FileNotFoundError(f"{folder}: no such folder of runs")
        for path in find_files(folder, "metrics.json"):
            run = {**read_json(path), "folder": path.parent}
            if "sets" in run:
                pretext.append(run)
            elif "task" in run:
                downstream.append(run)
    return pretext, downstream


def choose(runs, rule="trial"):
    """Runs of the learning rates that the validation chooses.

    Arguments
    ---------
    runs : list of dict
        From :func:`read_runs`.
    rule : str
        ``"trial"`` or ``"mean"``, see above.

    Returns
    -------
    list of dict
        One a task, mode, number of rooms and trial.
    """
    cells = defaultdict(lambda: defaultdict(dict))
    for run in runs:
        key = run["task"], run["mode"], run["num_rooms"]
        trials = cells[key][run["lr"]]
        if run["trial"] in trials:
            raise ValueError(
                f"{run['folder']} and {trials[run['trial']]['folder']} are "
                "the same trial; read one of them"
            )
        trials[run["trial"]] = run
    chosen = []
    for key in sorted(cells):
        rates = cells[key]
        trials = sorted({trial for runs in rates.values() for trial in runs})
        if rule == "trial":
            for trial in trials:
                there = [
                    runs[trial] for runs in rates.values() if trial in runs
                ]
                chosen.append(min(there, key=lambda run: run["valid"]["loss"]))
            continue
        # Averages over other trials cannot be compared.
        whole = [runs for runs in rates.values() if len(runs) == len(trials)]
        if whole:
            best = min(
                whole,
                key=lambda runs: sum(r["valid"]["mae"] for r in runs.values()),
            )
            chosen += [best[trial] for trial in trials]
    return chosen


def grid_rows(chosen):
    """Errors of the chosen runs and of the baselines beside them."""
    rows, baselines = [], {}
    for run in chosen:
        cell = {key: run[key] for key in ("task", "mode", "num_rooms")}
        methods = run["methods"]
        rows.append({**cell, "mae": methods["network"]["mae"]})
        # All modes have the same training rooms and test signals.
        key = run["task"], run["num_rooms"], run["trial"]
        baselines[key] = {
            **cell,
            "mode": "training_mean",
            "mae": methods["training_mean"]["mae"],
        }
        if "gcc_phat" in methods:
            baselines[run["task"]] = {
                **cell,
                "mode": "gcc_phat",
                "num_rooms": None,
                "mae": methods["gcc_phat"]["mae"],
            }
    return [*rows, *baselines.values()]


def flat(run):
    """A run as a line of a table."""
    methods = run["methods"]
    facts = {
        **run,
        "valid_loss": run["valid"]["loss"],
        "valid_mae": run["valid"]["mae"],
        "test_mae": methods["network"]["mae"],
        "best_epoch_mae": methods["best"]["mae"],
        "training_mean": methods["training_mean"]["mae"],
        "gcc_phat": methods.get("gcc_phat", {}).get("mae"),
    }
    return {name: facts[name] for name in COLUMNS}


def mean_curves(chosen):
    """Means over trials by epoch; shorter runs go on with their last value."""
    cells = defaultdict(list)
    for run in chosen:
        key = run["task"], run["mode"], run["num_rooms"]
        cells[key].append(read_train_log(run["folder"] / "train_log.txt"))
    rows = []
    for (task, mode, num_rooms), logs in cells.items():
        for epoch in range(max(len(log) for log in logs)):
            records = [log[min(epoch, len(log) - 1)] for log in logs]
            row = {"task": task, "mode": mode, "num_rooms": num_rooms}
            row["epoch"] = epoch + 1
            for name in CURVES:
                row[name] = sum(r[name] for r in records) / len(records)
            rows.append(row)
    return rows


def write_results(folder, chosen, subtitle=None):
    """Write tables, curves and the report.

    Arguments
    ---------
    folder : str or Path
        Gets the files; made if it is missing.
    chosen : list of dict
        From :func:`choose`, at least one.
    subtitle : str, optional
        Of the report: data, scale, device.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    rows = grid_rows(chosen)
    write_table(folder / "runs.csv", [flat(run) for run in chosen])
    cells = summarize_grid(rows)
    write_table(folder / "cells.csv", cells)
    write_table(folder / "curves.csv", mean_curves(chosen))
    grid_report(folder / "report.html", rows, subtitle=subtitle)
    for task in dict.fromkeys(cell["task"] for cell in cells):
        picture = grid_picture(cells, task)
        if picture is not None:
            save_figure(picture, folder / f"errors_{task}.png")


def print_pretext(runs):
    """Print what runs of the pretext task reached."""
    for run in runs:
        log = read_train_log(run["folder"] / "train_log.txt")
        best = min(log, key=lambda record: record["valid loss"])
        print(
            f"pretext task, {run['folder']}: epoch {best['epoch']} of "
            f"{len(log)} has the lowest validation loss, "
            f"{best['valid loss']:.4g}\n"
        )
        print("| recordings | error | other channel copied | silence |")
        print("| :--- | ---: | ---: | ---: |")
        for name, found in run["sets"].items():
            print(
                f"| {name} | {found['loss']:.4f} | {found['reference']:.4f} "
                f"| {found['silence']:.4f} |"
            )
        print()


def print_downstream(chosen, every_run):
    """Print the tables of the downstream tasks."""
    if every_run:
        columns = [name for name in COLUMNS if name != "folder"]
        print("| " + " | ".join(columns) + " |")
        print("|" + " --- |" * len(columns))
        for run in chosen:
            cells = [flat(run)[name] for name in columns]
            cells = [f"{c:.4g}" if isinstance(c, float) else c for c in cells]
            print(
                "| " + " | ".join("" if c is None else f"{c}" for c in cells),
                "|",
            )
        print()
    print(format_grid(grid_rows(chosen)))


def main():
    """Read the command line, print and write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("folders", nargs="+", help="of runs, or above them")
    parser.add_argument("--rule", choices=RULES, default="trial")
    parser.add_argument("--runs", action="store_true", help="a line a run, too")
    parser.add_argument("--output", help="folder for CSV files and report")
    options = parser.parse_args()
    pretext, downstream = read_runs(options.folders)
    if not pretext and not downstream:
        raise SystemExit(f"no finished runs below {', '.join(options.folders)}")
    print_pretext(pretext)
    chosen = choose(downstream, options.rule)
    if chosen:
        print_downstream(chosen, options.runs)
        if options.output:
            write_results(options.output, chosen)


if __name__ == "__main__":
    with one_line_errors():
        main()
