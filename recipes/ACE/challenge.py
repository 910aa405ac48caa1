#!/usr/bin/env python3
"""Finished runs in the measures of the ACE challenge, and files of estimates.

> python challenge.py results/grid
> python challenge.py results/grid --rule mean --output challenge

Bias, mean squared error and correlation over the test signals of all folds
(J. Eaton, N. D. Gaubitch, A. H. Moore and P. A. Naylor, "Estimation of room
acoustic parameters: The ACE Challenge", IEEE/ACM TASLP 24, 2016), beside
published figures where there are. ``--output`` writes the measures by kind of
noise and, for each task, mode and ratio, a file with a line a signal:
``ACE_<task>_<mode>_real<a>sim<b>.csv``.
"""

import argparse
from collections import defaultdict
from pathlib import Path

from data import DESIGN, RATIOS

from spatial_brain.dataio.files import read_json, write_table
from spatial_brain.experiment import one_line_errors
from spatial_brain.metrics.room_acoustics import AcousticErrors, find_quantity
from spatial_brain.pair_experiment.results import RULES, choose, read_runs

METHODS = {"network": "network", "training_mean": "training mean"}
# Bias, mean squared error, correlation, on the evaluation set of the challenge
# (one microphone, signals of 4 s and more), as quoted by
# github.com/PoHsuChen/CRNN-T60-Estimation; not compared with the papers.
PUBLISHED = {
    "T60": {
        "CNN (Gamper and Tashev, IWAENC 2018)": (0.0304, 0.0384, 0.836),
        "CRNN (Deng et al., Interspeech 2020)": (-0.0488, 0.0206, 0.917),
    }
}


def estimates(run):
    """Lines of a file of estimates: the test signals of a run."""
    path = run["folder"] / "predictions.json"
    if not path.is_file():
        raise FileNotFoundError(
            f"{path}: no such file; the grid keeps it with --keep best or all"
        )
    return [
        {
            "signal": f"{run['fold']}/{row['id']}",
            "mic_config": row.get("array", ""),
            "room": row.get("room", ""),
            "room_config": row.get("position", ""),
            "noise": row.get("noise", ""),
            "snr": row.get("snr", ""),
            "ground_truth": row["reference"],
            "estimate": row["network"],
            "error": row["network"] - row["reference"],
            "training_mean": row["training_mean"],
        }
        for row in read_json(path)
    ]


def measures(task, lines, column):
    """The challenge's measures of a method."""
    errors = AcousticErrors(task)
    errors.append(
        [line["signal"] for line in lines],
        [line[column] for line in lines],
        [line["ground_truth"] for line in lines],
    )
    found = errors.summarize(0)
    return {
        "signals": found["num_examples"],
        "bias": found["bias"],
        "mse": found["rmse"] ** 2,
        "correlation": found.get("correlation", ""),
        "mae": found["mae"],
    }


def summarize(task, lines):
    """Measures of all methods, in all noises and in each kind."""
    kinds = sorted({line["noise"] for line in lines if line["noise"]})
    columns = {"estimate": "network", "training_mean": "training_mean"}
    rows = []
    for column, method in columns.items():
        for kind in ("all", *kinds):
            chosen = [x for x in lines if kind in ("all", x["noise"])]
            found = measures(task, chosen, column)
            rows.append({"method": METHODS[method], "noise": kind, **found})
    return rows


def print_table(task, cells):
    """Print the measures in all noises, and published ones."""
    quantity = find_quantity(task)
    print(f"{task} ({quantity.label}), measures of the ACE challenge\n")
    print("| mode | real:simulated | method | signals | bias | MSE | ρ |")
    print("| :--- | :--- | :--- | ---: | ---: | ---: | ---: |")
    for (mode, ratio), rows in cells.items():
        for row in rows:
            if row["noise"] == "all":
                rho = row["correlation"]
                rho = f"{rho:.3f}" if rho != "" else "–"
                print(
                    f"| {mode} | {ratio} | {row['method']} | {row['signals']} "
                    f"| {row['bias']:.4f} | {row['mse']:.4f} | {rho} |"
                )
    for name, (bias, mse, rho) in PUBLISHED.get(task, {}).items():
        print(
            f"| published | – | {name} | other ones | {bias:.4f} | {mse:.4f} "
            f"| {rho:.3f} |"
        )
    if task not in PUBLISHED:
        print("| published | – | not found | – | – | – | – |")
    print()


def main():
    """Read the command line, print and write."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawTextHelpFormatter,
    )
    parser.add_argument("folders", nargs="+", help="of runs, or above them")
    parser.add_argument("--rule", choices=RULES, default="trial")
    parser.add_argument("--output", help="folder for CSV files")
    options = parser.parse_args()
    _, runs = read_runs(options.folders)
    if not runs:
        raise SystemExit(f"no finished runs below {', '.join(options.folders)}")
    cells = defaultdict(list)
    for run in choose(runs, DESIGN, options.rule):
        key = run["task"], run["mode"], run["real_sim_ratio"]
        cells[key] += estimates(run)
    tasks, table = defaultdict(dict), []
    for (task, mode, ratio), lines in cells.items():
        rows = summarize(task, lines)
        tasks[task][mode, ratio] = rows
        facts = {"task": task, "mode": mode, "real_sim_ratio": ratio}
        table += [{**facts, **row} for row in rows]
        if options.output:
            real, simulated = RATIOS[ratio]
            name = f"ACE_{task}_{mode}_real{real}sim{simulated}.csv"
            write_table(Path(options.output, name), lines)
    for task, found in tasks.items():
        print_table(task, found)
    if options.output:
        write_table(Path(options.output, "measures.csv"), table)


if __name__ == "__main__":
    with one_line_errors():
        main()
