"""Errors of estimated directions, with the best assignment to the sources."""

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment

from spatial_brain.metrics.statistics import (
    ErrorCollector,
    interval_of_mean,
)

THRESHOLDS = (5.0, 10.0, 15.0)
# Edges of the ranges by which errors are broken down.
BINS = {
    "t60": (0.3, 0.4, 0.5, 0.6),
    "distance": (1.0, 2.0, 3.0),
    "separation": (15.0, 30.0, 60.0, 90.0),
    "snr": (10.0, 20.0, 30.0),
}


def localization_mae(estimate, reference, circular=False):
    """Mean absolute error after the best assignment, degrees.

    Arguments
    ---------
    estimate : torch.Tensor or array
        Degrees, [batch, K], in any order.
    reference : torch.Tensor or array
        Degrees, [batch, K].
    circular : bool
        Whether -180 and 180 degrees are the same direction. Cone angles and
        folded azimuths in [0, 180] are not circular.

    Returns
    -------
    float

    Raises
    ------
    ValueError
        If the shapes differ, the batch is empty, or a value is not finite.

    Example
    -------
    >>> localization_mae([[100.0, 31.0]], [[30.0, 90.0]])
    5.5
    """
    estimate = _check_angles(estimate, "estimate")
    reference = _check_angles(reference, "reference")
    return float(_assign(estimate, reference, circular)[1].mean())


def class_mae(classes, targets, width=5.0):
    """Error of the public system dual-mic-SSL, head by head.

    ``width`` times the mean absolute difference of class indices: head h is
    compared with the h-th smallest class, no other assignment is tried.

    Arguments
    ---------
    classes : torch.Tensor
        Logits [batch, K, class] or class indices [batch, K].
    targets : torch.Tensor
        Class indices, ascending, [batch, K].
    width : float
        Degrees per class.

    Returns
    -------
    torch.Tensor
        Degrees, one a head, [K].

    Raises
    ------
    ValueError
        If the shapes do not fit.

    Example
    -------
    >>> targets = torch.tensor([[2, 9], [4, 6]])
    >>> class_mae(torch.tensor([[3, 9], [4, 4]]), targets)
    tensor([2.5000, 5.0000])
    """
    if classes.ndim == 3:
        classes = classes.argmax(-1)
    if classes.shape != targets.shape or targets.ndim != 2 or not len(targets):
        raise ValueError(
            f"classes {tuple(classes.shape)} and targets "
            f"{tuple(targets.shape)} must be the same [batch, K]"
        )
    return width * (classes - targets).abs().float().mean(0)


def chance_directions(reference):
    """The constant prediction with the smallest error.

    Arguments
    ---------
    reference : torch.Tensor or array
        Degrees, not circular, [batch, K].

    Returns
    -------
    numpy.ndarray
        Medians of the sorted angles, degrees, ascending, [K].

    Example
    -------
    >>> chance_directions([[90.0, 30.0], [40.0, 120.0], [20.0, 100.0]])
    array([ 30., 100.])
    """
    return np.median(
        np.sort(_check_angles(reference, "reference"), axis=1), axis=0
    )


class LocalizationErrors(ErrorCollector):
    """Collects estimated directions of a test set and sums their errors up.

    Rows have ``id``; ``reference``, ``estimate`` (in the order of the
    references) and ``error``, degrees, lists of K; and conditions. The
    summary has ``num_mixtures``, ``num_talkers``, ``mae``, ``median``,
    ``rmse`` (degrees), ``accuracy_5`` and so on (shares), ``mae_low`` and
    ``mae_high`` (left out with a single mixture).

    Arguments
    ---------
    thresholds : sequence of float
        Degrees for ``accuracy_<threshold>``: share of sources whose error is
        at most so large.
    bins : dict, optional
        Condition to the inner edges of its ranges, besides or instead of
        those of ``BINS``. Conditions without edges are kept in the rows only.
    circular : bool
        Whether -180 and 180 degrees are the same direction.

    Raises
    ------
    ValueError
        If edges do not ascend.

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

    _NO_MEANS = ("reference", "estimate")

    def __init__(self, thresholds=THRESHOLDS, bins=None, circular=False):
        self.thresholds, self.circular = tuple(thresholds), circular
        super().__init__({**BINS, **(bins or {})})

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
            Numbers, [batch] or, one a source in the order of the references,
            [batch, K]; for example ``t60`` (s), ``distance`` (m), ``snr``
            (dB). ``separation``, the smallest angle between two sources,
            is computed unless given. Or texts, [batch].

        Raises
        ------
        ValueError
            If shapes do not fit or a value is not finite; names the mixture.
        """
        ids = [str(name) for name in ids]
        with self._naming(ids):
            estimate = _check_angles(estimate, "estimate")
            reference = _check_angles(reference, "reference")
            if len(ids) != len(reference):
                raise ValueError(f"{len(ids)} ids for {len(reference)} rows")
            matched, errors = _assign(estimate, reference, self.circular)
            if reference.shape[1] > 1:
                separation = self._separation(reference)
                conditions = {"separation": separation, **conditions}
            shape = errors.shape
            conditions = self._checked(conditions, shape[:1], shape)
        rows = [
            {
                "id": name,
                "reference": reference[k].tolist(),
                "estimate": matched[k].tolist(),
                "error": errors[k].tolist(),
            }
            for k, name in enumerate(ids)
        ]
        self._extend(rows, conditions)

    def _separation(self, reference):
        """Smallest angle between two sources of each mixture."""
        difference = np.abs(reference[:, :, None] - reference[:, None, :])
        if self.circular:
            difference = np.abs((difference + 180.0) % 360.0 - 180.0)
        first, second = np.triu_indices(reference.shape[1], 1)
        return difference[:, first, second].min(axis=1)

    def _statistics(self, chosen, num_bootstrap, seed):
        """Plain numbers of the chosen sources, bool [row, 1 or source]."""
        errors = np.array([row["error"] for row in self._rows])
        chosen = np.broadcast_to(chosen, errors.shape)
        values = errors[chosen]
        used = chosen.any(axis=1)
        result = {
            "num_mixtures": int(used.sum()),
            "num_talkers": int(chosen.sum()),
            "mae": float(values.mean()),
            "median": float(np.median(values)),
            "rmse": float(np.sqrt(np.mean(values**2))),
        }
        for threshold in self.thresholds:
            share = float(np.mean(values <= threshold))
            result[f"accuracy_{threshold:g}"] = share
        sums = np.where(chosen, errors, 0.0)[used].sum(axis=1)
        counts = chosen[used].sum(axis=1)
        return result | interval_of_mean(
            "mae", sums, counts, num_bootstrap, seed
        )


def _check_angles(value, name):
    """Finite angles as float64 array [batch, source]."""
    if isinstance(value, torch.Tensor):
        value = value.detach().cpu()
    value = np.asarray(value, dtype=np.float64)
    if value.ndim != 2 or value.shape[1] == 0:
        raise ValueError(
            f"{name} must have shape [batch, source], got {value.shape}"
        )
    bad = ~np.isfinite(value).all(axis=1)
    if bad.any():
        row = int(bad.argmax())
        raise ValueError(
            f"{name} {row} holds a value which is not a finite angle: "
            f"{value[row].tolist()}"
        )
    return value


def _assign(estimate, reference, circular):
    """Estimates and errors, [batch, K], assigned for the smallest sum."""
    if estimate.shape != reference.shape or not len(estimate):
        raise ValueError(
            f"estimates {estimate.shape} and references {reference.shape} "
            "must have the same shape, and at least one row"
        )
    errors = np.abs(estimate[:, None, :] - reference[:, :, None])
    if circular:
        errors = np.abs((errors + 180.0) % 360.0 - 180.0)
    order = np.stack([linear_sum_assignment(cost)[1] for cost in errors])
    errors = np.take_along_axis(errors, order[:, :, None], axis=2)[:, :, 0]
    return np.take_along_axis(estimate, order, axis=1), errors


def match_directions(estimate, reference, missing=90.0):
    """Errors of sources whose estimates may be too few, degrees.

    Arguments
    ---------
    estimate : array
        Azimuths, degrees, the most likely first, [K']; NaN is none. As many as
        there are sources are used.
    reference : array
        Azimuths, degrees, [K].
    missing : float
        What a source counts that is not found; 90 is what guessing gives.

    Returns
    -------
    numpy.ndarray
        For the assignment with the smallest sum, [K].

    Example
    -------
    >>> match_directions([-179.0], [100.0, 178.0])
    array([90.,  3.])
    """
    reference = np.asarray(reference, dtype=np.float64)
    estimate = np.asarray(estimate, dtype=np.float64)[: len(reference)]
    estimate = estimate[~np.isnan(estimate)]
    away = np.abs((estimate - reference[:, None] + 180.0) % 360.0 - 180.0)
    cost = np.full((len(reference), len(reference)), missing)
    cost[:, : len(estimate)] = away
    return cost[linear_sum_assignment(cost)]


def best_even_directions(references, step=5.0):
    """Evenly spread azimuths that are best for all of some truths.

    What an estimate that looks at no recording can reach at most, with
    equally many sources in all of them.

    Arguments
    ---------
    references : array
        Azimuths, degrees, [truth, K].
    step : float
        Between the turns that are tried, degrees.

    Returns
    -------
    numpy.ndarray
        Azimuths, degrees, [K].

    Raises
    ------
    ValueError
        If there are no truths or no sources.

    Example
    -------
    >>> best_even_directions([[10.0, 170.0], [-20.0, -160.0]])
    array([-180.,    0.])
    """
    references = np.asarray(references, dtype=np.float64)
    if references.ndim != 2 or not references.size:
        raise ValueError(
            "references must be [truth, source] with one of each at least, "
            f"got the shape {references.shape}"
        )
    spread = np.arange(references.shape[1]) * 360.0 / references.shape[1]
    # Turned by one distance, they are the same directions.
    turns = np.arange(-180.0, -180.0 + 360.0 / references.shape[1], step)
    constants = (turns[:, None] + spread + 180.0) % 360.0 - 180.0
    errors = [
        sum(match_directions(constant, one).sum() for one in references)
        for constant in constants
    ]
    return constants[int(np.argmin(errors))]


class WindowErrors(ErrorCollector):
    """Collects errors of the windows of recordings, and sums them up.

    A row is a recording, or a part of it that a condition tells apart: windows
    that share their sound are not independent, and intervals know it. Rows
    have ``id``, ``error`` (degrees, of all its windows and sources) and
    conditions; the summary ``num_recordings``, ``num_directions``, ``mae``,
    ``median``, ``accuracy_5`` and so on, ``mae_low`` and ``mae_high``.

    Arguments
    ---------
    bins : dict, optional
        As for :class:`LocalizationErrors`.

    Example
    -------
    >>> errors = WindowErrors()
    >>> errors.append("a", [1.0, 2.0], snr=0.0)
    >>> errors.append("b", [9.0], snr=25.0)
    >>> errors.summarize()["mae"]
    4.0
    """

    _ITEM = "recording"
    _NO_MEANS = ("error",)

    def __init__(self, bins=None):
        super().__init__({**BINS, **(bins or {})})

    def append(self, name, errors, **conditions):
        """Add a recording; without errors it does not count.

        Arguments
        ---------
        name : str
            Of the recording.
        errors : sequence of float
            Degrees.
        **conditions
            Numbers or texts.

        Raises
        ------
        ValueError
            If an error is no finite number.
        """
        errors = np.asarray(errors, dtype=np.float64).ravel()
        if not np.isfinite(errors).all():
            raise ValueError(f"{name}: errors are not finite: {errors}")
        if not len(errors):
            return
        row = {"id": str(name), "error": errors.tolist()}
        conditions = {key: [value] for key, value in conditions.items()}
        self._extend([row], self._checked(conditions, (1,)))

    def _statistics(self, chosen, num_bootstrap, seed):
        """Plain numbers of the chosen rows, bool [row, 1]."""
        errors = [np.array(row["error"]) for row in self._chosen(chosen)]
        values = np.concatenate(errors)
        result = {
            "num_recordings": len(errors),
            "num_directions": len(values),
            "mae": float(values.mean()),
            "median": float(np.median(values)),
        }
        for threshold in THRESHOLDS:
            share = float(np.mean(values <= threshold))
            result[f"accuracy_{threshold:g}"] = share
        sums = np.array([part.sum() for part in errors])
        counts = np.array([len(part) for part in errors])
        return result | interval_of_mean(
            "mae", sums, counts, num_bootstrap, seed
        )
