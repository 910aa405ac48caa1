"""Tables of finished runs: pretext task, and downstream tasks by conditions.

The learning rate (or whatever else was searched) of each cell is chosen by the
validation: rule ``trial``, in every trial the one with the lowest loss; rule
``mean``, one for all trials, with the lowest mean absolute error on average.
A cell is a task, a mode and a value of each condition of the
:class:`spatial_brain.pair_experiment.design.Design`; trials are its repeats.
"""

import argparse
from collections import defaultdict
from pathlib import Path

from spatial_brain.dataio.files import read_json, write_table
from spatial_brain.folders import find_files
from spatial_brain.reporting.acoustics_grid import (
    format_grid,
    grid_picture,
    grid_report,
    order_of,
    summarize_grid,
)
from spatial_brain.reporting.plots import save_figure
from spatial_brain.reporting.report import read_train_log

RULES = ("trial", "mean")
ERRORS = (
    "best_epoch",
    "valid_loss",
    "valid_mae",
    "test_mae",
    "best_epoch_mae",
    "training_mean",
    "best_constant",
    "correlation",
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

    Raises
    ------
    FileNotFoundError
        If there is no such folder.

    Example
    -------
    >>> read_runs([getfixture("tmp_path")])
    ([], [])
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


def choose(runs, design, rule="trial"):
    """Runs of the learning rates that the validation chooses.

    Arguments
    ---------
    runs : list of dict
        Of downstream tasks, from :func:`read_runs`.
    design : Design
        What tells them apart.
    rule : str
        ``"trial"`` or ``"mean"``, see above.

    Returns
    -------
    list of dict
        One a task, mode, condition and trial.

    Raises
    ------
    ValueError
        If two are the same, or one is of another experiment.

    Example
    -------
    >>> from spatial_brain.pair_experiment.design import Design
    >>> design = Design(("num_rooms",), ("trial",))
    >>> run = {"task": "T60", "mode": "scratch", "num_rooms": 8, "trial": 0}
    >>> runs = [
    ...     {**run, "lr": rate, "valid": {"loss": rate}} for rate in (0.1, 0.2)
    ... ]
    >>> [run["lr"] for run in choose(runs, design)]
    [0.1]
    """
    cells = defaultdict(lambda: defaultdict(dict))
    for run in runs:
        key = _cell(run, design)
        trials = cells[key][design.values(run, design.searched)]
        trial = design.values(run, design.repeats)
        if trial in trials:
            raise ValueError(
                f"{run['folder']} and {trials[trial]['folder']} are "
                "the same trial; read one of them"
            )
        trials[trial] = run
    chosen = []
    for key in sorted(cells, key=order_of):
        rates = cells[key]
        trials = sorted(
            {trial for runs in rates.values() for trial in runs}, key=order_of
        )
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


def _cell(run, design):
    """Task, mode and conditions of a run."""
    return run["task"], run["mode"], *design.values(run, design.conditions)


def grid_rows(chosen, design):
    """Errors of the chosen runs and of the baselines beside them.

    Arguments
    ---------
    chosen : list of dict
        From :func:`choose`.
    design : Design
        What tells them apart.

    Returns
    -------
    list of dict
        For :func:`spatial_brain.reporting.acoustics_grid.summarize_grid`.

    Example
    -------
    >>> from spatial_brain.pair_experiment.design import Design
    >>> run = {"task": "T60", "mode": "scratch", "fold": 0, "methods": {
    ...     "network": {"mae": 0.1}, "training_mean": {"mae": 0.2}}}
    >>> [row["mae"] for row in grid_rows([run], Design((), ("fold",)))]
    [0.1, 0.2]
    """
    rows, baselines = [], {}
    for run in chosen:
        cell = {key: run[key] for key in ("task", "mode", *design.conditions)}
        methods = run["methods"]
        rows.append({**cell, "mae": methods["network"]["mae"]})
        # All modes have the same training rooms and test signals.
        names = "task", *design.conditions, *design.repeats
        baselines[("training_mean", *design.values(run, names))] = {
            **cell,
            "mode": "training_mean",
            "mae": methods["training_mean"]["mae"],
        }
        if "gcc_phat" in methods:
            tested = design.values(run, design.tested)
            baselines[("gcc_phat", run["task"], *tested)] = {
                **cell,
                "mode": "gcc_phat",
                **{
                    name: None
                    for name in design.conditions
                    if name not in design.tested
                },
                "mae": methods["gcc_phat"]["mae"],
            }
    return [*rows, *baselines.values()]


def _columns(design):
    """Columns of the table of runs."""
    return ("task", "mode", *design.names, *ERRORS)


def _flat(run, design):
    """A run as a line of a table."""
    methods = run["methods"]
    facts = {
        **run,
        "valid_loss": run["valid"]["loss"],
        "valid_mae": run["valid"]["mae"],
        "test_mae": methods["network"]["mae"],
        "best_epoch_mae": methods["best"]["mae"],
        "training_mean": methods["training_mean"]["mae"],
        # Runs of before have no best constant; one that is constant itself
        # has no correlation.
        "best_constant": methods.get("best_constant", {}).get("mae"),
        "correlation": methods["network"].get("correlation"),
        "gcc_phat": methods.get("gcc_phat", {}).get("mae"),
    }
    return {name: facts[name] for name in _columns(design)}


def _mean_curves(chosen, design):
    """Means over trials by epoch; shorter runs go on with their last value."""
    cells = defaultdict(list)
    for run in chosen:
        log = read_train_log(run["folder"] / "train_log.txt")
        cells[_cell(run, design)].append(log)
    rows, names = [], ("task", "mode", *design.conditions)
    for cell, logs in cells.items():
        for epoch in range(max(len(log) for log in logs)):
            records = [log[min(epoch, len(log) - 1)] for log in logs]
            row = dict(zip(names, cell, strict=True))
            row["epoch"] = epoch + 1
            for name in CURVES:
                row[name] = sum(r[name] for r in records) / len(records)
            rows.append(row)
    return rows


def write_results(folder, chosen, design, subtitle=None):
    """Write tables, curves and the report.

    Arguments
    ---------
    folder : str or Path
        Gets ``runs.csv`` (one line a run that was chosen), ``cells.csv``
        (means over trials), ``curves.csv`` (losses by epoch, means over
        trials), ``report.html`` and a picture a task; made if it is missing.
    chosen : list of dict
        From :func:`choose`, at least one.
    design : Design
        What tells them apart.
    subtitle : str, optional
        Of the report: data, scale, device.

    Example
    -------
    >>> write_results.__name__  # see tests/integration
    'write_results'
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    rows = grid_rows(chosen, design)
    write_table(folder / "runs.csv", [_flat(run, design) for run in chosen])
    cells = summarize_grid(rows, design.conditions)
    write_table(folder / "cells.csv", cells)
    write_table(folder / "curves.csv", _mean_curves(chosen, design))
    grid_report(
        folder / "report.html", rows, design.conditions, subtitle=subtitle
    )
    for task in dict.fromkeys(cell["task"] for cell in cells):
        picture = grid_picture(cells, task)
        if picture is not None:
            save_figure(picture, folder / f"errors_{task}.png")


def print_pretext(runs):
    """Print what runs of the pretext task reached.

    Arguments
    ---------
    runs : list of dict
        From :func:`read_runs`.

    Example
    -------
    >>> print_pretext([])
    """
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


def print_downstream(chosen, design, every_run=False):
    """Print the tables of the downstream tasks.

    Arguments
    ---------
    chosen : list of dict
        From :func:`choose`, at least one.
    design : Design
        What tells them apart.
    every_run : bool
        Print a line a run, too.

    Example
    -------
    >>> from spatial_brain.pair_experiment.design import Design
    >>> run = {"task": "T60", "mode": "scratch", "methods": {
    ...     "network": {"mae": 0.1}, "training_mean": {"mae": 0.2}}}
    >>> print_downstream([run], Design((), ()))
    T60 (reverberation time, s), mean absolute error
    <BLANKLINE>
    | from scratch | training mean |
    | -----------: | ------------: |
    |        0.100 |         0.200 |
    """
    if every_run:
        columns = [name for name in _columns(design) if name != "folder"]
        print("| " + " | ".join(columns) + " |")
        print("|" + " --- |" * len(columns))
        for run in chosen:
            cells = [_flat(run, design)[name] for name in columns]
            cells = [f"{c:.4g}" if isinstance(c, float) else c for c in cells]
            print(
                "| " + " | ".join("" if c is None else f"{c}" for c in cells),
                "|",
            )
        print()
    print(format_grid(grid_rows(chosen, design), design.conditions))


def print_results(design, description):
    """Read the command line, print and write: a recipe's ``results.py``.

    Arguments
    ---------
    design : Design
        What tells the runs of the recipe apart.
    description : str
        Of the help.

    Raises
    ------
    FileNotFoundError, ValueError
        If runs are missing or cannot be compared.

    Example
    -------
    >>> print_results.__name__  # see recipes/WSJ0-Simu/results.py
    'print_results'
    """
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawTextHelpFormatter
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
    chosen = choose(downstream, design, options.rule)
    if chosen:
        print_downstream(chosen, design, options.runs)
        if options.output:
            write_results(options.output, chosen, design)
