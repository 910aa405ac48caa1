"""Predictions of several methods for the same signals, and their errors."""

import math

import numpy as np

from spatial_brain.metrics.room_acoustics import (
    AcousticErrors,
    best_constant,
)

# Numbers by which errors are broken down, or whose signals go together (rooms
# that have numbers); text is a condition under any name.
CONDITIONS = ("t60", "snr", "room", "distance")


class Predictions:
    """Collects what methods predict for one quantity, signal by signal.

    Arguments
    ---------
    task : str
        Label that is predicted.

    Example
    -------
    >>> import torch
    >>> found = Predictions("T60")
    >>> batch = {"id": ["a", "b"], "set": ["test", "test"]}
    >>> labels = {"T60": torch.tensor([0.4, 0.6])}
    >>> facts = [{"room": "hall"}, {"room": "office"}]
    >>> found.append(batch, labels, {"network": labels["T60"] + 0.1}, facts)
    >>> summary = found.summarize("test", "network")
    >>> round(summary["by"]["room"]["hall"]["mae"], 3)
    0.1
    """

    def __init__(self, task):
        self.task = task
        self.rows, self.num_batches = [], 0

    def append(self, batch, labels, predictions, facts=None):
        """Add a batch.

        Arguments
        ---------
        batch : dict
            ``id`` and ``set``.
        labels : dict of torch.Tensor
            [batch] each; ``T60`` and ``SNR`` are conditions where they are
            known.
        predictions : dict of torch.Tensor
            Method to predictions, [batch] or [batch, 1].
        facts : list of dict, optional
            What else is known of each signal, numbers and text; None, NaN
            and "" stand for what is not.
        """
        columns = {"reference": labels[self.task]}
        columns |= {
            name.lower(): labels[name]
            for name in ("T60", "SNR")
            if name in labels
        }
        columns |= predictions
        columns = {
            name: values.detach().double().cpu().flatten().tolist()
            for name, values in columns.items()
        }
        for index, item in enumerate(batch["id"]):
            row = {
                "id": item,
                "stage": batch["set"][index],
                "batch": self.num_batches,
                **(facts[index] if facts else {}),
            }
            row |= {name: column[index] for name, column in columns.items()}
            self.rows.append(
                {
                    name: value
                    for name, value in row.items()
                    if name in predictions or _is_known(value)
                }
            )
        self.num_batches += 1

    def add_best_constant(self, stage):
        """Add the method ``best_constant`` to the signals of a set.

        Arguments
        ---------
        stage : str
            Such as ``"test"``.
        """
        rows = [row for row in self.rows if row["stage"] == stage]
        references = [row["reference"] for row in rows]
        constants = best_constant(references, len(rows)).tolist()
        for row, constant in zip(rows, constants, strict=True):
            row["best_constant"] = constant

    def of(self, stage):
        """Rows of a set, with the network's prediction as ``estimate``.

        Arguments
        ---------
        stage : str
            Such as ``"val"``.

        Returns
        -------
        list of dict
        """
        return [
            {**row, "estimate": row["network"]}
            for row in self.rows
            if row["stage"] == stage
        ]

    def conditions(self, stage):
        """What errors in a set are broken down by.

        Arguments
        ---------
        stage : str
            Such as ``"val"``.

        Returns
        -------
        tuple
            Names that all signals have, and a dictionary of those that only
            some have to the number that lacks them.
        """
        rows = self.of(stage)
        names = dict.fromkeys(
            name
            for row in rows
            for name, value in row.items()
            if name in CONDITIONS
            or (isinstance(value, str) and name not in ("id", "stage"))
        )
        lacking = {name: sum(name not in row for row in rows) for name in names}
        whole = [name for name, number in lacking.items() if not number]
        # In a fixed order: numbers first.
        whole.sort(key=lambda name: (*CONDITIONS, name).index(name))
        return whole, {name: n for name, n in lacking.items() if n}

    def summarize(self, stage, method, num_bootstrap=0, batch_means=False):
        """Errors of a method on the signals of a set.

        Arguments
        ---------
        stage : str
            Such as ``"val"``.
        method : str
            One of those appended.
        num_bootstrap : int
            See :class:`AcousticErrors`.
        batch_means : bool
            Average ``mae`` and ``loss`` over batches, whatever their size.

        Returns
        -------
        dict
            What ``AcousticErrors.summarize`` returns, and ``loss``, the mean
            squared error.
        """
        rows = self.of(stage)
        errors = AcousticErrors(self.task)
        errors.append(
            [row["id"] for row in rows],
            [row[method] for row in rows],
            [row["reference"] for row in rows],
            **{
                name: [row[name] for row in rows]
                for name in self.conditions(stage)[0]
            },
        )
        found = errors.summarize(num_bootstrap)
        found["loss"] = found["rmse"] ** 2
        if batch_means:
            error = np.array([row[method] - row["reference"] for row in rows])
            batch = np.array([row["batch"] for row in rows])
            parts = [error[batch == number] for number in np.unique(batch)]
            found["mae"] = float(np.mean([abs(e).mean() for e in parts]))
            found["loss"] = float(np.mean([(e**2).mean() for e in parts]))
        return found


def check_labels(ids, labels, task):
    """Refuse signals without a label of the task.

    Arguments
    ---------
    ids : list of str
        Of the signals.
    labels : dict of torch.Tensor
        [signal] each; NaN where a label is not known.
    task : str
        Which label is needed.

    Raises
    ------
    ValueError
        If one is missing or not a finite number; names the signals.

    Example
    -------
    >>> import torch
    >>> check_labels(["a", "b"], {"T60": torch.tensor([0.4, torch.nan])}, "T60")
    Traceback (most recent call last):
    ValueError: no label T60 of b: leave such signals out of the data, ...
    """
    known = [False] * len(ids)
    if task in labels:
        known = labels[task].isfinite().tolist()
    pairs = zip(ids, known, strict=True)
    wrong = [item for item, is_there in pairs if not is_there]
    if wrong:
        more = f" and {len(wrong) - 5} more" if len(wrong) > 5 else ""
        raise ValueError(
            f"no label {task} of {', '.join(wrong[:5])}{more}: leave such "
            "signals out of the data, or choose another task"
        )


def _is_known(value):
    """Whether a fact is there; NaN, None and "" stand for what is not."""
    return value not in (None, "") and not (
        isinstance(value, float) and math.isnan(value)
    )
