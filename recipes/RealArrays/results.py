#!/usr/bin/env python3
"""Tables of finished downstream trainings, by corpus and mode.

> python results.py results
> python results.py results/grid --rule mean --output tables

The learning rate of each cell is chosen by the validation: ``--rule trial``,
for every fold the one with the lowest loss; ``--rule mean``, one for all
folds, with the lowest mean absolute error on average. ``--output`` also
writes ``runs.csv``, ``cells.csv``, ``curves.csv``, ``report.html`` and a
picture into a folder.
"""

from measured_rooms import DESIGN

from spatial_brain.experiment import one_line_errors
from spatial_brain.pair_experiment.results import print_results

if __name__ == "__main__":
    with one_line_errors():
        print_results(DESIGN, __doc__)
