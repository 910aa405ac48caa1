"""Errors of a set of estimates: overall, by conditions, with intervals."""

import math

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment

from spatial_brain.geometry import cone_angle, unit_to_azel


def check_angles(value, name):
    """Angles as a float64 array, checked to be finite.

    Arguments
    ---------
    value : torch.Tensor or array
        Degrees, [batch, K].
    name : str
        What messages call it.

    Returns
    -------
    numpy.ndarray
        [batch, K].

    Raises
    ------
    ValueError
        If the shape is not [batch, K] or a value is not finite.

    Example
    -------
    >>> check_angles(torch.tensor([[30.0, 90.0]]), "estimate")
    array([[30., 90.]])
    """
    if isinstance(value, torch.Tensor):
        value = value.detach().cpu()
    value = np.asarray(value, dtype=np.float64)
    if value.ndim != 2 or value.shape[1] == 0:
        raise ValueError(
            f"{name} must have shape [batch, talker], got {value.shape}"
        )
    bad = ~np.isfinite(value).all(axis=1)
    if bad.any():
        row = int(bad.argmax())
        raise ValueError(
            f"{name} {row} holds a value which is not a finite angle: "
            f"{value[row].tolist()}"
        )
    return value


def assign(estimate, reference, circular=False):
    """Pair estimates with references so that the errors are smallest.

    Arguments
    ---------
    estimate : numpy.ndarray
        Degrees, finite, [batch, K], in any order.
    reference : numpy.ndarray
        Degrees, finite, [batch, K].
    circular : bool
        Whether -180 and 180 degrees are the same direction.

    Returns
    -------
    tuple of numpy.ndarray
        Estimates and their absolute errors, degrees, [batch, K], both in the
        order of the references.

    Raises
    ------
    ValueError
        If the shapes differ or the batch is empty.

    Example
    -------
    >>> assign(np.array([[100.0, 31.0]]), np.array([[30.0, 90.0]]))
    (array([[ 31., 100.]]), array([[ 1., 10.]]))
    """
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


def assigned_errors(estimate, reference, circular=False):
    """Absolute errors after the assignment that minimises their sum.

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
    numpy.ndarray
        Degrees, [batch, K], in the order of the references.

    Raises
    ------
    ValueError
        If the shapes differ, the batch is empty, or a value is not finite.

    Example
    -------
    >>> assigned_errors([[100.0, 31.0]], [[30.0, 90.0]])
    array([[ 1., 10.]])
    """
    return assign(
        check_angles(estimate, "estimate"),
        check_angles(reference, "reference"),
        circular,
    )[1]


def localization_mae(estimate, reference, circular=False):
    """Mean absolute error after the best assignment, degrees.

    Arguments
    ---------
    estimate : torch.Tensor or array
        Degrees, [batch, K], in any order.
    reference : torch.Tensor or array
        Degrees, [batch, K].
    circular : bool
        Whether -180 and 180 degrees are the same direction.

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
    return float(assigned_errors(estimate, reference, circular).mean())


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
    """The constant answer with the smallest error: medians of sorted angles.

    Arguments
    ---------
    reference : torch.Tensor or array
        Degrees, not circular, [batch, K].

    Returns
    -------
    numpy.ndarray
        Degrees, ascending, [K].

    Example
    -------
    >>> chance_directions([[90.0, 30.0], [40.0, 120.0], [20.0, 100.0]])
    array([ 30., 100.])
    """
    return np.median(
        np.sort(check_angles(reference, "reference"), axis=1), axis=0
    )


def chance_errors(reference, training=None):
    """Errors of always giving the `chance_directions`.

    Arguments
    ---------
    reference : torch.Tensor or array
        Degrees, not circular, [batch, K].
    training : torch.Tensor or array
        Where the constant comes from, [any, K]; the references by default.

    Returns
    -------
    numpy.ndarray
        Degrees, [batch, K], in the order of the references.

    Example
    -------
    >>> chance_errors([[20.0, 90.0], [110.0, 40.0]])
    array([[10., 10.],
           [10., 10.]])
    """
    reference = check_angles(reference, "reference")
    answer = chance_directions(reference if training is None else training)
    constant = np.broadcast_to(answer, reference.shape)
    return assigned_errors(constant, reference)


def cone_angle_oracle(directions):
    """The answer of a perfect pair where the label is the folded azimuth.

    A pair on the x axis observes the cone angle; for a source above or below
    it differs from the azimuth, and no estimator can close this gap from
    the delay of the direct path alone.

    Arguments
    ---------
    directions : torch.Tensor
        From the centre of the pair to the talkers, in the frame in which
        the pair lies on the x axis, any length, [batch, K, 3].

    Returns
    -------
    tuple of torch.Tensor
        Estimates (cone angles) and references (|azimuth|), degrees,
        [batch, K].

    Example
    -------
    >>> estimate, azimuth = cone_angle_oracle(torch.tensor([[[1.0, 0, 1.0]]]))
    >>> estimate.round(), azimuth
    (tensor([[45.]]), tensor([[0.]]))
    """
    return cone_angle(directions), unit_to_azel(directions)[0].abs()


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
