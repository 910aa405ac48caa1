#!/usr/bin/env python3
"""Tables of finished runs: tasks by ratios and modes, means over the folds.

> python results.py results
> python results.py results/grid --rule mean --output tables

The learning rate of each cell is chosen by the validation: ``--rule trial``,
in every fold the one with the lowest loss; ``--rule mean``, one for all folds,
with the lowest mean absolute error on average. ``--output`` also writes
``runs.csv`` (one line a run that was chosen), ``cells.csv`` (means over
folds), ``curves.csv`` (losses by epoch, means over folds) and ``report.html``
into a folder. Measures and files of the ACE challenge: challenge.py.
"""

from data import DESIGN

from spatial_brain.experiment import one_line_errors
from spatial_brain.pair_experiment.results import print_results

if __name__ == "__main__":
    with one_line_errors():
        print_results(DESIGN, __doc__)
