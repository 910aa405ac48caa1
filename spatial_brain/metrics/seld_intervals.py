"""Confidence intervals of scores that come from sums over clips."""

import numpy as np
from scipy import stats


def leave_one_out(counts):
    """Sums over all clips but one, for each clip.

    Arguments
    ---------
    counts : dict
        Name to array of shape [clips, ...].

    Returns
    -------
    dict
        Name to array of the same shape.

    Example
    -------
    >>> leave_one_out({"TP": np.array([1.0, 2.0, 4.0])})["TP"].tolist()
    [6.0, 5.0, 3.0]
    """
    return {name: value.sum(0) - value for name, value in counts.items()}


def jackknife(value, partial, confidence=0.95):
    """Interval of a score from those with one clip left out.

    Arguments
    ---------
    value : array_like
        Score of all clips, shape [...].
    partial : array_like
        Scores with each of the clips left out, shape [clips, ...].
    confidence : float
        Of the interval (Student's t).

    Returns
    -------
    numpy.ndarray
        Lower and upper end around the bias-corrected score, shape [..., 2];
        NaN for fewer than two clips.

    Example
    -------
    >>> jackknife(2.0, [2.5, 2.0, 1.5]).round(2).tolist()
    [-0.48, 4.48]
    """
    partial = np.asarray(partial, dtype=np.float64)
    number = len(partial)
    if number < 2:
        return np.full((*np.shape(value), 2), np.nan)
    center = partial.mean(0)
    bias = (number - 1) * (center - value)
    error = np.sqrt((number - 1) * np.mean((partial - center) ** 2, axis=0))
    half = stats.t.ppf(0.5 + confidence / 2, number - 1) * error
    estimate = value - bias
    return np.stack((estimate - half, estimate + half), axis=-1)
