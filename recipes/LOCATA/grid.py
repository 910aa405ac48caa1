#!/usr/bin/env python3
"""All trainings on LOCATA by one command: ratios, modes, rates, seeds.

> python grid.py hparams/tdoa.yaml --data_folder /data/LOCATA \\
>     --speech_folder /data/wsj0 --pretext ../RealArrays/results/pretrain/1

The same command again goes on where it stopped: finished runs stay, the one
that was interrupted resumes. Options that are not listed below go to train.py.
At the end the tables of results.py are printed, and written beside the runs.
"""

import train
from data import DESIGN, RATIOS, datasets, prepare

from spatial_brain.pair_experiment.grid import Grid, Training, run_grid

RATES = [1e-3, 1e-4]


def add_options(add):
    """Options for the ratios and how often a training is repeated."""
    add("--ratios", nargs="+", choices=RATIOS, default=list(RATIOS))
    add("--seeds", nargs="+", type=int, default=[1])


def cells(options):
    """Ratios, and the seeds of each."""
    return [
        {"real_sim_ratio": ratio, "seed": seed}
        for ratio in options.ratios
        for seed in options.seeds
    ]


def name(cell):
    """Folder of a training."""
    real, simulated = RATIOS[cell["real_sim_ratio"]]
    return f"real{real}sim{simulated}_seed{cell['seed']}"


GRID = Grid(
    Training(train.__file__, train.LocataAcoustics, prepare, datasets),
    DESIGN,
    tasks=("TDOA",),
    add_options=add_options,
    cells=cells,
    name=name,
    searched={"lr": ("--rates", float, RATES)},
)

if __name__ == "__main__":
    run_grid(GRID, __doc__)
