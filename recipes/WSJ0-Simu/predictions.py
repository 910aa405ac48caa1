"""Predictions of several methods for the same signals, and their errors."""

import numpy as np

from spatial_brain.metrics.room_acoustics import AcousticErrors

CONDITIONS = ("t60", "snr", "room", "distance")


class Predictions:
    """Collects what methods predict for one quantity, signal by signal.

    Arguments
    ---------
    task : str
        Label that is predicted.
    scenes : dict, optional
        Id of a signal to further facts, such as its ``distance``.
    """

    def __init__(self, task, scenes=None):
        self.task, self.scenes = task, scenes or {}
        self.rows, self.num_batches = [], 0

    def append(self, batch, labels, predictions):
        """Add a batch.

        Arguments
        ---------
        batch : dict
            ``id`` and ``room``.
        labels : dict of torch.Tensor
            [batch] each.
        predictions : dict of torch.Tensor
            Method to predictions, [batch] or [batch, 1].
        """
        columns = {
            "room": batch["room"],
            "reference": labels[self.task],
            "t60": labels["T60"],
            "snr": labels["SNR"],
            **predictions,
        }
        columns = {
            name: values.detach().double().cpu().flatten().tolist()
            for name, values in columns.items()
        }
        for index, item in enumerate(batch["id"]):
            self.rows.append(
                {
                    "id": item,
                    "stage": item.split("_")[0],
                    "batch": self.num_batches,
                    **self.scenes.get(item, {}),
                    **{name: column[index] for name, column in columns.items()},
                }
            )
        self.num_batches += 1

    def of(self, stage):
        """Rows of a stage, with the network's prediction as ``estimate``."""
        return [
            {**row, "estimate": row["network"]}
            for row in self.rows
            if row["stage"] == stage
        ]

    def summarize(self, stage, method, num_bootstrap=0, batch_means=False):
        """Errors of a method on the signals of a stage.

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
                for name in CONDITIONS
                if all(name in row for row in rows)
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
