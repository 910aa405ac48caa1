#!/usr/bin/env python3
"""All trainings by one command: tasks, modes, ratios, folds, rates.

> python grid.py hparams/ace.yaml --data_folder /data/ACE \\
>     --speech_folder /data/wsj0 --pretext ../RealArrays/results/pretrain/1 \\
>     --tasks T60 DRR --ratios 1:0 1:1 --jobs 2
> python grid.py hparams/ace.yaml ... --devices cuda:0 cuda:1

The same command again goes on where it stopped: finished runs stay, the one
that was interrupted resumes. Options that are not listed below go to train.py.
At the end the tables of results.py are printed, means over the folds, and
written beside the runs.
"""

import train
from data import DESIGN, FOLDS, MODES, RATIOS, datasets, prepare

from spatial_brain.pair_experiment.grid import Grid, Training, run_grid

RATES = [1e-3, 1e-4]


def add_options(add):
    """Options for the ratios of real to simulated, and for the folds."""
    add("--ratios", nargs="+", choices=RATIOS, default=list(RATIOS))
    add(
        "--folds",
        nargs="+",
        choices=FOLDS,
        metavar="ROOM",
        default=FOLDS,
        help="rooms that are tested, one after the other; default: all seven",
    )


def cells(options):
    """Ratios, and the folds of each."""
    return [
        {"real_sim_ratio": ratio, "fold": fold}
        for ratio in options.ratios
        for fold in options.folds
    ]


def name(cell):
    """Folder of a training."""
    real, simulated = RATIOS[cell["real_sim_ratio"]]
    return f"real{real}sim{simulated}_{cell['fold']}"


GRID = Grid(
    Training(
        train.__file__,
        train.AceAcoustics,
        prepare,
        datasets,
        preloaded=("spatial_brain.datasets.real_arrays.response_signals",),
    ),
    DESIGN,
    tasks=("T60", "DRR", "C50", "ABS", "SNR"),
    add_options=add_options,
    cells=cells,
    name=name,
    searched={"lr": ("--rates", float, RATES)},
    modes=MODES,
)

if __name__ == "__main__":
    run_grid(GRID, __doc__)
