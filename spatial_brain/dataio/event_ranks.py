"""Which of several equal keys a row is: the order of same-class events."""

import numpy as np


def occurrence(keys):
    """Number the rows that share a key, in the order in which they come.

    Arguments
    ---------
    keys : array_like of int
        One key a row, shape [N].

    Returns
    -------
    tuple of numpy.ndarray
        How many rows before have the same key, and how many have it in all;
        int64, shape [N].

    Example
    -------
    >>> rank, count = occurrence([7, 3, 7, 7])
    >>> rank.tolist(), count.tolist()
    ([0, 0, 1, 2], [3, 1, 3, 3])
    """
    keys = np.asarray(keys, dtype=np.int64)
    order = np.argsort(keys, kind="stable")
    ordered = keys[order]
    first = np.flatnonzero(np.diff(ordered, prepend=ordered[:1] - 1))
    length = np.diff(first, append=len(keys))
    rank, count = np.empty((2, len(keys)), dtype=np.int64)
    rank[order] = np.arange(len(keys)) - np.repeat(first, length)
    count[order] = np.repeat(length, length)
    return rank, count
