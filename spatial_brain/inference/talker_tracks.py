"""Talkers over the windows of a recording, from the directions of each."""

import numpy as np
from scipy.optimize import linear_sum_assignment

from spatial_brain.inference.localization import (
    median_direction,
    wrap_direction,
)
from spatial_brain.inference.talkers import ABSTENTION

# How many of a talker's latest windows show where it is expected next.
MEMORY = 5
# Degrees from the known talkers, from which on a direction is another one's.
_ANOTHER = 20.0
# Windows in succession in which a talker is found, of recordings with more.
_CONFIRM = 2


def follow_talkers(degrees, confidence, target):
    """Order the talkers of all windows alike, by their median directions.

    Arguments
    ---------
    degrees, confidence : numpy.ndarray
        Of each window, [window, talker]; NaN where there is no direction.
    target : str
        What the degrees mean, a key of ``localization.MEANINGS``.

    Returns
    -------
    tuple of numpy.ndarray
        Both in the new order, same shape.

    Example
    -------
    >>> degrees = np.array([[50.0, 90.0], [91.0, np.nan], [92.0, 51.0]])
    >>> follow_talkers(degrees, np.ones((3, 2)), "cone")[0]
    array([[50., 90.],
           [nan, 91.],
           [51., 92.]])
    """
    directions = np.full_like(degrees, np.nan)
    weights = np.full_like(degrees, np.nan)
    # Each window's directions go to the nearest of the running medians.
    for index in np.flatnonzero(~np.isnan(degrees).all(1)):
        here = np.flatnonzero(~np.isnan(degrees[index]))
        found = degrees[index, here]
        expected = _expected(directions[:index], target)
        if np.isnan(expected).all():
            order = np.arange(len(here)), np.argsort(found)
        else:
            cost = np.abs(wrap_direction(expected[:, None] - found, target))
            order = linear_sum_assignment(np.nan_to_num(cost, nan=_ANOTHER))
        directions[index, order[0]] = found[order[1]]
        weights[index, order[0]] = confidence[index, here[order[1]]]
    order = np.argsort(median_direction(directions, target), kind="stable")
    return directions[:, order], weights[:, order]


def _expected(directions, target):
    """Where each talker is next: median of its latest windows, or NaN."""
    latest = np.full((MEMORY, directions.shape[1]), np.nan)
    for talker, track in enumerate(directions.T):
        track = track[~np.isnan(track)][-MEMORY:]
        latest[: len(track), talker] = track
    return median_direction(latest, target)


def confirmed_talkers(directions, confidence):
    """Which talkers are no mere errors of single windows.

    Arguments
    ---------
    directions, confidence : numpy.ndarray
        From :func:`follow_talkers`, [window, talker].

    Returns
    -------
    numpy.ndarray
        Bool, [talker]: found in two windows in succession, if the recording
        has more than two, with a mean confidence that suffices.

    Example
    -------
    >>> directions = np.array([[50.0, np.nan], [50.0, 80.0], [51.0, np.nan]])
    >>> confirmed_talkers(directions, np.ones((3, 2)))
    array([ True, False])
    """
    there = ~np.isnan(directions)
    if len(there) > _CONFIRM:
        lasting = (there[1:] & there[:-1]).any(0)
    else:
        lasting = there.any(0)
    total = np.where(there, np.nan_to_num(confidence), 0.0).sum(0)
    return lasting & (total >= ABSTENTION * np.maximum(there.sum(0), 1))
