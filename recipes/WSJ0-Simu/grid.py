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

import train_downstream
from data import DESIGN, downstream_datasets, prepare_task

from spatial_brain.datasets.wsj0_simu.prepare import num_trials
from spatial_brain.pair_experiment.grid import Grid, Training, run_grid

ROOMS = [2, 4, 8, 16, 32, 64, 128, 256]
RATES = [1e-3, 5e-4, 1e-4, 5e-5]


def add_options(add):
    """Options for the rooms of the training, and how often others are tried."""
    add("--rooms", nargs="+", type=int, metavar="NUMBER", default=ROOMS)
    add("--trials", type=int, help="default: as the original, 16 to 1")


def cells(options):
    """Numbers of rooms, and the trials of each."""
    return [
        {"num_rooms": number, "trial": trial}
        for number in options.rooms
        for trial in range(options.trials or num_trials(number))
    ]


def name(cell):
    """Folder of a trial."""
    return f"R{cell['num_rooms']}_trial{cell['trial']}"


GRID = Grid(
    Training(
        train_downstream.__file__,
        train_downstream.SimulatedAcoustics,
        prepare_task,
        downstream_datasets,
        preloaded=("spatial_brain.datasets.wsj0_simu.prepare",),
    ),
    DESIGN,
    tasks=("TDOA", "DRR", "T60", "C50", "ABS"),
    add_options=add_options,
    cells=cells,
    name=name,
    searched={"lr": ("--rates", float, RATES)},
)

if __name__ == "__main__":
    run_grid(GRID, __doc__)
