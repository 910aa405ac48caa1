#!/usr/bin/env python3
"""All downstream trainings by one command: tasks, modes, folds, rates.

> python grid.py hparams/measured.yaml --data_folder /data/my_rooms \\
>     --speech_folder /data/wsj0 --pretext ../WSJ0-Simu/results/small/1 \\
>     --tasks TDOA DRR --folds lab hall --jobs 2

The same command again goes on where it stopped: finished runs stay, the one
that was interrupted resumes. Options that are not listed below go to
train_downstream.py. At the end the tables of results.py are printed, means
over the folds, and written beside the runs.
"""

import train_downstream
from measured_rooms import DESIGN, datasets, prepare

from spatial_brain.pair_experiment.grid import Grid, Training, run_grid

RATES = [1e-3]


def add_options(add):
    """Options for the corpus and for the rooms that are tested."""
    add("--corpus_name", default="TABLE", help="name of the corpus")
    add(
        "--folds",
        nargs="+",
        required=True,
        metavar="ROOM",
        help="rooms that are tested, one after the other",
    )


def cells(options):
    """The folds of the corpus."""
    return [
        {"corpus": options.corpus_name, "fold": fold} for fold in options.folds
    ]


def name(cell):
    """Folder of a training."""
    return f"{cell['corpus']}_{cell['fold']}"


GRID = Grid(
    Training(
        train_downstream.__file__,
        train_downstream.MeasuredAcoustics,
        prepare,
        datasets,
        preloaded=("spatial_brain.datasets.real_arrays.response_signals",),
    ),
    DESIGN,
    tasks=("TDOA", "DRR", "C50"),
    add_options=add_options,
    cells=cells,
    name=name,
    searched={"lr": ("--rates", float, RATES)},
)

if __name__ == "__main__":
    run_grid(GRID, __doc__)
