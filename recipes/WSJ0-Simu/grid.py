#!/usr/bin/env python3
"""All downstream trainings by one command: tasks, modes, rooms, rates, trials.

> python grid.py hparams/downstream.yaml --pretext results/pretrain/1 \\
>     --data_folder /data/wsj0 --tasks TDOA T60 --rooms 8 32 --jobs 2
> python grid.py hparams/downstream.yaml ... --devices cuda:0 cuda:1

The same command again goes on where it stopped: finished runs stay, the one
that was interrupted resumes. Options that are not listed below go to
train_downstream.py. At the end the tables of results.py are printed, and
written beside the runs.
"""

import argparse
import itertools
import multiprocessing.connection
import os
import shlex
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from pathlib import Path
from typing import NamedTuple

import train_downstream
from data import MODES, downstream_datasets, prepare_task
from results import (
    RULES,
    choose,
    print_downstream,
    read_runs,
    write_results,
)
from train_downstream import AcousticsBrain

from spatial_brain.dataio.files import read_json, write_json
from spatial_brain.datasets.wsj0_simu.prepare import num_trials
from spatial_brain.experiment import run_experiment
from spatial_brain.metrics.room_acoustics import TASKS

HERE = Path(__file__).resolve().parent
# Runs are forked from a process that has loaded the packages, and no more.
PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(
    [
        "spatial_brain.datasets.wsj0_simu.prepare",
        "spatial_brain.experiment",
        "spatial_brain.models.mc_conformer",
        "spatial_brain.reporting.room_acoustics",
    ]
)


class Run(NamedTuple):
    """One training."""

    task: str
    mode: str
    num_rooms: int
    trial: int
    lr: float

    def folder(self, output):
        """Where it is kept; rates of a trial lie side by side."""
        rooms = f"R{self.num_rooms}_trial{self.trial}"
        return output / self.task / self.mode / rooms / f"lr{self.lr:g}"

    def is_finished(self, output):
        """Whether its results are there."""
        return (self.folder(output) / "metrics.json").is_file()


def parse_arguments():
    """Read the command line; what is unknown is for the training."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawTextHelpFormatter,
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("hparams", help="hparams/downstream.yaml or another")
    add("--tasks", nargs="+", choices=TASKS, metavar="TASK")
    add("--modes", nargs="+", choices=MODES, default=MODES)
    add("--rooms", nargs="+", type=int, metavar="NUMBER")
    add("--trials", type=int, help="default: as the original, 16 to 1")
    add("--rates", nargs="+", type=float, metavar="RATE")
    add("--output", default="results/grid", help="folder of all runs")
    add("--jobs", type=int, default=1, help="runs at the same time")
    add("--devices", nargs="+", metavar="DEVICE", help="to be used in turn")
    add(
        "--keep",
        choices=("all", "best", "none"),
        default="best",
        help="checkpoints and models: of all runs; models of the best rate\n"
        "of each trial (default); only numbers and reports",
    )
    add("--rule", choices=RULES, default="trial", help="see results.py")
    parser.set_defaults(
        tasks=["TDOA", "DRR", "T60", "C50", "ABS"],
        rooms=[2, 4, 8, 16, 32, 64, 128, 256],
        rates=[1e-3, 5e-4, 1e-4, 5e-5],
    )
    return parser.parse_known_args()


def list_runs(options):
    """All runs, those of a trial one after the other."""
    cells = itertools.product(options.tasks, options.rooms)
    return [
        Run(task, mode, num_rooms, trial, rate)
        for task, num_rooms in cells
        for trial in range(options.trials or num_trials(num_rooms))
        for mode in options.modes
        for rate in options.rates
    ]


def start(run, options, extra, device):
    """Start a run in a process of its own."""
    folder = run.folder(Path(options.output))
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / "grid.json", extra)
    argv = [options.hparams]
    argv += [f"--{key}={value}" for key, value in run._asdict().items()]
    argv += [f"--output_folder={folder}", "--skip_prep=True", "--noprogressbar"]
    argv += [*extra, *([f"--device={device}"] if device else [])]
    process = PROCESSES.Process(
        target=train_alone, args=(argv, folder / "console.txt")
    )
    process.start()
    return process


def train_alone(argv, console):
    """Do what train_downstream.py does; what it prints goes into a file."""
    # Or data loaders would start every worker from nothing.
    multiprocessing.set_start_method("fork", force=True)
    threading.Thread(target=end_with_parent, daemon=True).start()
    with open(console, "a", encoding="utf-8") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    sys.argv = [train_downstream.__file__, *argv]
    run_experiment(AcousticsBrain, prepare_task, downstream_datasets)


def end_with_parent():
    """End this run when the grid was killed: it may be started again."""
    multiprocessing.connection.wait([multiprocessing.parent_process().sentinel])
    os._exit(1)


def check_options(runs, output, extra):
    """Refuse to mix runs that were made with other options."""
    for run in runs:
        record = run.folder(output) / "grid.json"
        if record.is_file() and read_json(record) != extra:
            raise SystemExit(
                f"{record.parent} was made with other options: "
                f"{shlex.join(read_json(record))}. Give the same ones, or "
                "another --output"
            )


def work(runs, options, extra):
    """Do the runs that are missing, several at a time; return the failed."""
    output = Path(options.output)
    waiting = deque(run for run in runs if not run.is_finished(output))
    total, done, failed = len(waiting), 0, []
    devices = itertools.cycle(options.devices or [None])
    free = deque(next(devices) for _ in range(options.jobs))
    busy = {}
    print(f"{len(runs)} runs, {total} to do", flush=True)
    for run in runs:
        tidy(run, options)
    try:
        while waiting or busy:
            while waiting and free:
                run, device = waiting.popleft(), free.popleft()
                busy[run] = start(run, options, extra, device), device
            time.sleep(0.2)
            for run, (process, device) in list(busy.items()):
                if process.is_alive():
                    continue
                del busy[run]
                free.append(device)
                done += 1
                result = "done" if process.exitcode == 0 else "FAILED"
                print(
                    f"{done}/{total} {result}: {run.folder(output)}",
                    flush=True,
                )
                if process.exitcode:
                    failed.append(run)
                else:
                    tidy(run, options)
    finally:
        for process, _ in busy.values():
            process.terminate()
        for process, _ in busy.values():
            process.join()
    return failed


def tidy(run, options):
    """Delete what is not to be kept when all rates of a trial are done."""
    output = Path(options.output)
    trial = [run._replace(lr=rate) for rate in options.rates]
    if options.keep == "all" or not all(r.is_finished(output) for r in trial):
        return
    folders = [one.folder(output) for one in trial]
    best = min(
        folders,
        key=lambda f: read_json(f / "metrics.json")["valid"]["loss"],
    )
    for folder in folders:
        shutil.rmtree(folder / "save", ignore_errors=True)
        if options.keep == "none" or folder != best:
            shutil.rmtree(folder / "pretrained", ignore_errors=True)
            (folder / "predictions.json").unlink(missing_ok=True)


def main():
    """Prepare the data once, do the runs, print the tables."""
    options, extra = parse_arguments()
    # A kill ends the runs as well.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("terminated"))
    runs, output = list_runs(options), Path(options.output)
    check_options(runs, output, extra)
    if not all(run.is_finished(output) for run in runs):
        line = [sys.executable, str(HERE / "data.py"), options.hparams, *extra]
        if subprocess.run(line, check=False).returncode:
            raise SystemExit("the preparation of the data failed, see above")
    failed = work(runs, options, extra)
    wanted = {run.folder(output) for run in runs}
    _, found = read_runs([output] if output.is_dir() else [])
    chosen = choose(
        [run for run in found if run["folder"] in wanted], options.rule
    )
    if chosen:
        print_downstream(chosen, False)
        write_results(
            output, chosen, f"{len(found)} runs, rule: {options.rule}"
        )
    if failed:
        names = "\n".join(f"  {r.folder(output)}/console.txt" for r in failed)
        raise SystemExit(f"{len(failed)} runs failed; see\n{names}")


if __name__ == "__main__":
    main()
