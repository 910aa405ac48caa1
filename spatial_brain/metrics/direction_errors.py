"""Errors of direction estimates, and the points they are compared with."""

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


def chance_answer(reference):
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
    >>> chance_answer([[90.0, 30.0], [40.0, 120.0], [20.0, 100.0]])
    array([ 30., 100.])
    """
    return np.median(
        np.sort(check_angles(reference, "reference"), axis=1), axis=0
    )


def chance_errors(reference, training=None):
    """Errors of always giving the `chance_answer`.

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
    answer = chance_answer(reference if training is None else training)
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
