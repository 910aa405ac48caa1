"""Errors of a set of estimates: overall, by conditions, with intervals."""

import math

import numpy as np
import torch

from spatial_brain.metrics.direction_errors import (
    assign,
    assigned_errors,
    chance_answer,
    chance_errors,
    check_angles,
    class_mae,
    cone_angle_oracle,
    localization_mae,
)

__all__ = [
    "LocalizationErrors",
    "assigned_errors",
    "chance_answer",
    "chance_errors",
    "class_mae",
    "cone_angle_oracle",
    "localization_mae",
]

THRESHOLDS = (5.0, 10.0, 15.0)
# Edges of the ranges by which errors are broken down.
BINS = {
    "t60": (0.3, 0.4, 0.5, 0.6),
    "distance": (1.0, 2.0, 3.0),
    "separation": (15.0, 30.0, 60.0, 90.0),
    "snr": (10.0, 20.0, 30.0),
}


def _statistics(errors, thresholds, num_bootstrap, seed):
    """Plain numbers for errors [mixture, K]; NaN marks talkers left out."""
    here = ~np.isnan(errors)
    values = errors[here]
    result = {
        "num_mixtures": int(here.any(axis=1).sum()),
        "num_talkers": int(here.sum()),
        "mae": float(values.mean()),
        "median": float(np.median(values)),
        "rmse": float(np.sqrt(np.mean(values**2))),
    }
    for threshold in thresholds:
        result[f"accuracy_{threshold:g}"] = float(np.mean(values <= threshold))
    # Mixtures are drawn anew, not talkers: errors in one mixture go together.
    used = here.any(axis=1)
    sums, counts = np.nansum(errors[used], axis=1), here[used].sum(axis=1)
    generator = np.random.default_rng(seed)
    means = np.empty(num_bootstrap)
    for k in range(num_bootstrap):
        draw = generator.integers(len(sums), size=len(sums))
        means[k] = sums[draw].sum() / counts[draw].sum()
    if num_bootstrap:
        low, high = np.percentile(means, (2.5, 97.5))
        result["mae_low"], result["mae_high"] = float(low), float(high)
    return result


class LocalizationErrors:
    """Collects estimates of a test set and sums them up.

    Arguments
    ---------
    thresholds : sequence of float
        Degrees for ``accuracy_<threshold>``: share of talkers whose error is
        at most so large.
    bins : dict
        Condition to the inner edges of its ranges, besides or instead of
        those of ``BINS``. Conditions without edges are kept in the rows only.
    circular : bool
        Whether -180 and 180 degrees are the same direction.

    Example
    -------
    >>> errors = LocalizationErrors()
    >>> errors.append(["a", "b"], [[31.0, 90.0], [50.0, 20.0]],
    ...               [[30.0, 90.0], [20.0, 60.0]], t60=[0.2, 0.5])
    >>> summary = errors.summarize()
    >>> summary["mae"], summary["accuracy_5"]
    (2.75, 0.75)
    >>> summary["by"]["t60"]["< 0.3"]["mae"]
    0.5
    """

    def __init__(self, thresholds=THRESHOLDS, bins=None, circular=False):
        self.thresholds, self.circular = tuple(thresholds), circular
        self.bins = {**BINS, **(bins or {})}
        for name, edges in self.bins.items():
            if list(edges) != sorted(set(edges)) or not len(edges):
                raise ValueError(
                    f"edges of {name!r} must ascend, got {list(edges)}"
                )
        self.clear()

    def clear(self):
        """Forget everything appended."""
        self._rows = []

    def __len__(self):
        return len(self._rows)

    def append(self, ids, estimate, reference, **conditions):
        """Add a batch.

        Arguments
        ---------
        ids : sequence of str
            Names of the mixtures.
        estimate : torch.Tensor or array
            Degrees, [batch, K], in any order.
        reference : torch.Tensor or array
            Degrees, [batch, K].
        **conditions
            Numbers, [batch] or, one a talker in the order of the references,
            [batch, K]; for example ``t60`` (s), ``distance`` (m), ``snr``
            (dB). ``separation``, the smallest angle between two talkers,
            is computed unless given.

        Raises
        ------
        ValueError
            If shapes do not fit or a value is not finite; names the mixture.
        """
        ids = [str(name) for name in ids]
        try:
            estimate = check_angles(estimate, "estimate")
            reference = check_angles(reference, "reference")
            if len(ids) != len(reference):
                raise ValueError(f"{len(ids)} ids for {len(reference)} rows")
            matched, errors = assign(estimate, reference, self.circular)
        except ValueError as problem:
            names = ", ".join(ids[:8]) + (", ..." if len(ids) > 8 else "")
            raise ValueError(f"mixtures {names}: {problem}") from problem
        if reference.shape[1] > 1:
            separation = self._separation(reference)
            conditions = {"separation": separation, **conditions}
        checked = {
            name: _condition(name, values, errors.shape)
            for name, values in conditions.items()
        }
        for k, name in enumerate(ids):
            row = {
                "id": name,
                "reference": reference[k].tolist(),
                "estimate": matched[k].tolist(),
                "error": errors[k].tolist(),
            }
            row.update((key, v[k].tolist()) for key, v in checked.items())
            self._rows.append(row)

    def _separation(self, reference):
        """Smallest angle between two talkers of each mixture."""
        difference = np.abs(reference[:, :, None] - reference[:, None, :])
        if self.circular:
            difference = np.abs((difference + 180.0) % 360.0 - 180.0)
        first, second = np.triu_indices(reference.shape[1], 1)
        return difference[:, first, second].min(axis=1)

    def rows(self):
        """One dictionary a mixture.

        Returns
        -------
        list of dict
            ``id``; ``reference``, ``estimate`` (in the order of the
            references) and ``error``, degrees, lists of K; conditions.
        """
        return [dict(row) for row in self._rows]

    def summarize(self, num_bootstrap=1000, seed=0):
        """Errors over all mixtures and by conditions.

        Arguments
        ---------
        num_bootstrap : int
            Draws for the 95 % intervals ``mae_low`` ... ``mae_high``
            (percentile bootstrap over mixtures); 0 leaves them out.
        seed : int
            Of the draws.

        Returns
        -------
        dict
            ``num_mixtures``, ``num_talkers``, ``mae``, ``median``, ``rmse``
            (degrees), ``accuracy_5`` and so on (shares), ``mae_low``,
            ``mae_high``; and ``by``: condition -> range -> the same.

        Raises
        ------
        ValueError
            If nothing was appended.
        """
        if not self._rows:
            raise ValueError("no mixture was appended: nothing to sum up")
        errors = np.array([row["error"] for row in self._rows])
        options = (self.thresholds, num_bootstrap, seed)
        result = _statistics(errors, *options)
        result["by"] = {}
        for name, edges in self.bins.items():
            if any(name not in row for row in self._rows):
                continue
            values = np.stack(
                [
                    np.broadcast_to(row[name], errors[0].shape)
                    for row in self._rows
                ]
            )
            index = np.digitize(values, edges)
            result["by"][name] = {
                _label(edges, k): _statistics(
                    np.where(index == k, errors, math.nan), *options
                )
                for k in np.unique(index)
            }
        return result


def _condition(name, values, shape):
    """Values of a condition as array [batch] or [batch, K]."""
    if isinstance(values, torch.Tensor):
        values = values.detach().cpu()
    values = np.asarray(values, dtype=np.float64)
    if values.shape not in (shape[:1], shape):
        raise ValueError(
            f"condition {name!r} must have shape {shape[:1]} or {shape}, got "
            f"{values.shape}"
        )
    if np.isnan(values).any():
        raise ValueError(
            f"condition {name!r} holds values that are not numbers"
        )
    return values


def _label(edges, index):
    """Name of the range below edge ``index``."""
    if index == 0:
        return f"< {edges[0]:g}"
    if index == len(edges):
        return f">= {edges[-1]:g}"
    return f"{edges[index - 1]:g} to {edges[index]:g}"
