"""All downstream trainings of a recipe by one command.

Finished trainings stay and the one that was interrupted resumes when the same
command is given again.
"""

import argparse
import itertools
import json
import multiprocessing
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
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from spatial_brain.dataio.files import read_json, write_json
from spatial_brain.experiment import run_experiment
from spatial_brain.metrics.room_acoustics import TASKS
from spatial_brain.pair_experiment.acoustics import MODES
from spatial_brain.pair_experiment.design import Design
from spatial_brain.pair_experiment.results import (
    RULES,
    choose,
    print_downstream,
    read_runs,
    write_results,
)

# Trainings are forked from a process that has loaded the packages, and no more.
PROCESSES = multiprocessing.get_context("forkserver")
PRELOADED = (
    "spatial_brain.models.mc_conformer",
    "spatial_brain.pair_experiment.acoustics",
)
# Short names of what is searched, in names of folders.
SHORT = {"batch_size": "bs"}


class Training(NamedTuple):
    """What a recipe's training script does, for processes of their own.

    Arguments
    ---------
    script : str
        Its path.
    brain_class, prepare, make_datasets
        As ``spatial_brain.experiment.run_experiment`` takes them.
    preloaded : tuple of str
        Modules of its data sets.
    preparation : str
        Script beside it that prepares the data, see ``run_preparation``.
    """

    script: str
    brain_class: type
    prepare: Callable
    make_datasets: Callable
    preloaded: tuple = ()
    preparation: str = "data.py"


class Grid(NamedTuple):
    """All trainings of a recipe.

    Arguments
    ---------
    training : Training
        What one does.
    design : Design
        What tells them apart.
    tasks : tuple of str
        The default of ``--tasks``.
    add_options : callable
        ``add_options(add)`` adds options for conditions and repeats by
        ``add("--rooms", ...)``, which is ``ArgumentParser.add_argument``.
    cells : callable
        ``cells(options)``: a dictionary of conditions and repeats, YAML key to
        value, for each of them, in the order of the trainings.
    name : callable
        ``name(cell)``: a folder name for such a dictionary.
    searched : dict
        YAML key to (option, type, default values) of what the validation
        chooses, such as ``{"lr": ("--rates", float, [1e-3, 1e-4])}``.
    modes : tuple of str
        Modes there are.
    """

    training: Training
    design: Design
    tasks: tuple
    add_options: Callable
    cells: Callable
    name: Callable
    searched: dict
    modes: tuple = MODES


class Run(NamedTuple):
    """One training: its folder, and what distinguishes it, YAML key to value.

    Those of a ``trial`` differ in what is searched, and lie side by side.
    """

    folder: Path
    facts: dict

    @property
    def trial(self):
        """Folder of all runs of which the validation chooses one."""
        return self.folder.parent

    def is_finished(self):
        """Whether its results are there."""
        return (self.folder / "metrics.json").is_file()


def run_grid(grid, description, argv=None):
    """Prepare the data once, do the trainings, print the tables.

    Arguments
    ---------
    grid : Grid
        Of a recipe.
    description : str
        Of the help.
    argv : list of str, optional
        Command line; default that of the process.

    Raises
    ------
    SystemExit
        If the preparation or a training failed, or runs that are there were
        made with other options.

    Example
    -------
    >>> run_grid.__name__  # see recipes/WSJ0-Simu/grid.py
    'run_grid'
    """
    options, extra = _parse_arguments(grid, description, argv)
    PROCESSES.set_forkserver_preload([*PRELOADED, *grid.training.preloaded])
    # A kill ends the runs as well.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("terminated"))
    runs, output = list_runs(grid, options), Path(options.output)
    _check_options(runs, extra)
    if not all(run.is_finished() for run in runs):
        script = Path(grid.training.script)
        script = script.with_name(grid.training.preparation)
        line = [sys.executable, str(script), options.hparams, *extra]
        if subprocess.run(line, check=False).returncode:
            raise SystemExit("the preparation of the data failed, see above")
    failed = _work(runs, grid.training, options, extra)
    wanted = {run.folder for run in runs}
    _, found = read_runs([output] if output.is_dir() else [])
    chosen = choose(
        [run for run in found if run["folder"] in wanted],
        grid.design,
        options.rule,
    )
    if chosen:
        print_downstream(chosen, grid.design)
        write_results(
            output,
            chosen,
            grid.design,
            f"{len(found)} runs, rule: {options.rule}",
        )
    if failed:
        names = "\n".join(f"  {run.folder}/console.txt" for run in failed)
        raise SystemExit(f"{len(failed)} runs failed; see\n{names}")


def _parse_arguments(grid, description, argv):
    """Read the command line; what is unknown is for the training."""
    parser = argparse.ArgumentParser(
        description=description,
        formatter_class=argparse.RawTextHelpFormatter,
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("hparams", help="hparams/downstream.yaml or another")
    add(
        "--tasks",
        nargs="+",
        choices=TASKS,
        metavar="TASK",
        default=list(grid.tasks),
    )
    add("--modes", nargs="+", choices=grid.modes, default=grid.modes)
    grid.add_options(add)
    for key, (option, kind, default) in grid.searched.items():
        add(
            option,
            dest=key,
            nargs="+",
            type=kind,
            default=default,
            metavar="VALUE",
            help=f"of {key}; the validation chooses",
        )
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
    return parser.parse_known_args(argv)


def list_runs(grid, options):
    """All trainings, those of a trial one after the other.

    Arguments
    ---------
    grid : Grid
        Of a recipe.
    options : argparse.Namespace
        ``output``, ``tasks``, ``modes``, the searched keys, and what
        ``grid.cells`` takes.

    Returns
    -------
    list of Run

    Example
    -------
    >>> from types import SimpleNamespace
    >>> design = Design(("num_rooms",), ("trial",))
    >>> grid = Grid(None, design, (), None, lambda options: [{"num_rooms": 2}],
    ...     lambda cell: f"R{cell['num_rooms']}", {"lr": ()})
    >>> options = SimpleNamespace(
    ...     output="out", tasks=["T60"], modes=["scratch"], lr=[1e-3])
    >>> str(list_runs(grid, options)[0].folder)
    'out/T60/scratch/R2/lr0.001'
    """
    runs = []
    values = [getattr(options, key) for key in grid.searched]
    for task in options.tasks:
        for cell, mode in itertools.product(grid.cells(options), options.modes):
            trial = Path(options.output, task, mode, grid.name(cell))
            for chosen in itertools.product(*values):
                searched = dict(zip(grid.searched, chosen, strict=True))
                name = "_".join(
                    f"{SHORT.get(key, key)}{value:g}"
                    for key, value in searched.items()
                )
                facts = {"task": task, "mode": mode, **cell, **searched}
                runs.append(Run(trial / name, facts))
    return runs


def _start(run, training, options, extra, device):
    """Start a run in a process of its own."""
    run.folder.mkdir(parents=True, exist_ok=True)
    write_json(run.folder / "grid.json", extra)
    argv = [options.hparams]
    argv += [f"--{key}={_as_yaml(x)}" for key, x in run.facts.items()]
    argv += [f"--output_folder={run.folder}"]
    argv += ["--skip_prep=True", "--noprogressbar"]
    argv += [*extra, *([f"--device={device}"] if device else [])]
    return start_training(training, argv, run.folder / "console.txt")


def start_training(training, argv, console):
    """Start a training in a process of its own.

    It ends with the process that started it.

    Arguments
    ---------
    training : Training
        What it does.
    argv : list of str
        Command line of its script.
    console : Path
        File that what it prints is added to.

    Returns
    -------
    multiprocessing.Process
        Its ``exitcode`` is 0 in the end if nothing failed.

    Example
    -------
    >>> start_training.__name__  # see recipes/SynthSELD/few_clips.py
    'start_training'
    """
    process = PROCESSES.Process(
        target=_train_alone, args=(training, argv, console)
    )
    process.start()
    return process


def _as_yaml(value):
    """A fact as YAML; text that is no name is quoted ("1:0")."""
    if not isinstance(value, str) or value.isidentifier():
        return value
    return json.dumps(value)


def _train_alone(training, argv, console):
    """Do what the script does; what it prints goes into a file."""
    # Or data loaders would start every worker from nothing.
    multiprocessing.set_start_method("fork", force=True)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    with open(console, "a", encoding="utf-8") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    sys.argv = [training.script, *argv]
    run_experiment(
        training.brain_class, training.prepare, training.make_datasets
    )


def _end_with_parent():
    """End this run when the grid was killed: it may be started again."""
    multiprocessing.connection.wait([multiprocessing.parent_process().sentinel])
    os._exit(1)


def _check_options(runs, extra):
    """Refuse to mix runs that were made with other options."""
    for run in runs:
        record = run.folder / "grid.json"
        if record.is_file() and read_json(record) != extra:
            raise SystemExit(
                f"{record.parent} was made with other options: "
                f"{shlex.join(read_json(record))}. Give the same ones, or "
                "another --output"
            )


def _work(runs, training, options, extra):
    """Do the runs that are missing, several at a time; return the failed."""
    waiting = deque(run for run in runs if not run.is_finished())
    total, done, failed = len(waiting), 0, []
    devices = itertools.cycle(options.devices or [None])
    free = deque(next(devices) for _ in range(options.jobs))
    busy = {}
    print(f"{len(runs)} runs, {total} to do", flush=True)
    for run in runs:
        _tidy(run, runs, options.keep)
    try:
        while waiting or busy:
            while waiting and free:
                run, device = waiting.popleft(), free.popleft()
                process = _start(run, training, options, extra, device)
                busy[run.folder] = run, process, device
            time.sleep(0.2)
            for run, process, device in list(busy.values()):
                if process.is_alive():
                    continue
                del busy[run.folder]
                free.append(device)
                done += 1
                result = "done" if process.exitcode == 0 else "FAILED"
                print(f"{done}/{total} {result}: {run.folder}", flush=True)
                if process.exitcode:
                    failed.append(run)
                else:
                    _tidy(run, runs, options.keep)
    finally:
        for _, process, _ in busy.values():
            process.terminate()
        for _, process, _ in busy.values():
            process.join()
    return failed


def _tidy(run, runs, keep):
    """Delete what is not to be kept when all runs of a trial are done."""
    trial = [one for one in runs if one.trial == run.trial]
    if keep == "all" or not all(one.is_finished() for one in trial):
        return
    best = min(
        trial,
        key=lambda one: read_json(one.folder / "metrics.json")["valid"]["loss"],
    )
    for one in trial:
        shutil.rmtree(one.folder / "save", ignore_errors=True)
        if keep == "none" or one != best:
            shutil.rmtree(one.folder / "pretrained", ignore_errors=True)
            (one.folder / "predictions.json").unlink(missing_ok=True)
