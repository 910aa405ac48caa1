"""Which estimated event is paired with which reference event.

Events meet in cells: same clip, frame and class. Cells with the same numbers
of references and estimates are treated together. Where several assignments
cost the same, the one that ``scipy.optimize.linear_sum_assignment`` finds is
taken, since scores depend on the choice: angles are mostly whole degrees,
and ties are frequent.
"""

from typing import NamedTuple

import numpy as np
from scipy.optimize import linear_sum_assignment


class Cells(NamedTuple):
    """Rows grouped by cell, cells ascending, rows of a cell in file order."""

    key: np.ndarray
    start: np.ndarray
    count: np.ndarray
    row: np.ndarray


class Pairs(NamedTuple):
    """Matched events, by ascending cell; each column has shape [pairs].

    ``position`` is the place of the reference among those of its cell.
    """

    key: np.ndarray
    position: np.ndarray
    reference: np.ndarray
    estimate: np.ndarray
    cost: np.ndarray


def group_rows(key):
    """Group rows by cell.

    Arguments
    ---------
    key : numpy.ndarray
        int64, the cell of each row, shape [N].

    Returns
    -------
    Cells
        Distinct keys, and the rows of each.

    Example
    -------
    >>> cells = group_rows(np.array([7, 3, 7]))
    >>> cells.key.tolist(), cells.count.tolist(), cells.row.tolist()
    ([3, 7], [1, 2], [1, 0, 2])
    """
    row = np.argsort(key, kind="stable")
    key = key[row]
    first = np.ones(len(key), dtype=bool)
    np.not_equal(key[1:], key[:-1], out=first[1:])
    start = np.flatnonzero(first)
    count = np.diff(start, append=len(key))
    return Cells(key[start], start, count, row)


def common_cells(reference, estimate):
    """Cells with references and estimates, by the numbers of both.

    Arguments
    ---------
    reference, estimate : Cells
        Of both sides.

    Yields
    ------
    tuple of numpy.ndarray
        Keys, shape [cells]; rows of the references, [cells, R]; rows of the
        estimates, [cells, E].
    """
    if not len(reference.key) or not len(estimate.key):
        return
    place = np.searchsorted(estimate.key, reference.key)
    place[place == len(estimate.key)] = 0
    ours = np.flatnonzero(estimate.key[place] == reference.key)
    theirs = place[ours]
    rows, columns = reference.count[ours], estimate.count[theirs]
    shape = rows * (columns.max(initial=0) + 1) + columns
    for value in np.unique(shape):
        some = np.flatnonzero(shape == value)
        r, e = ours[some], theirs[some]
        yield (
            reference.key[r],
            _rows_of(reference, r, rows[some[0]]),
            _rows_of(estimate, e, columns[some[0]]),
        )


def _rows_of(cells, index, count):
    """Rows of some cells of equal size, shape [cells, count]."""
    return cells.row[cells.start[index][:, None] + np.arange(count)]


def match(reference, estimate, cost):
    """Assign estimates to references so that the total cost is smallest.

    Arguments
    ---------
    reference, estimate : Cells
        Of both sides.
    cost : callable
        Rows of references and of estimates, of equal shape, to their costs.

    Returns
    -------
    Pairs
        min(R, E) pairs of each common cell.

    Example
    -------
    >>> cells = group_rows(np.array([0, 0]))
    >>> a, b = np.array([0.0, 9.0]), np.array([8.0, 1.0])
    >>> pairs = match(cells, cells, lambda r, e: abs(a[r] - b[e]))
    >>> pairs.estimate.tolist(), pairs.cost.tolist()
    ([1, 0], [1.0, 1.0])
    """
    found = []
    for keys, rows, columns in common_cells(reference, estimate):
        shape = (len(keys), rows.shape[1], columns.shape[1])
        r = np.broadcast_to(rows[:, :, None], shape)
        e = np.broadcast_to(columns[:, None, :], shape)
        costs = cost(r.reshape(-1), e.reshape(-1)).reshape(shape)
        i, j = _assign(costs)
        cell = np.arange(len(keys))[:, None]
        found.append(
            Pairs(
                np.repeat(keys, i.shape[1]),
                i.reshape(-1),
                rows[cell, i].reshape(-1),
                columns[cell, j].reshape(-1),
                costs[cell, i, j].reshape(-1),
            )
        )
    if not found:
        empty = np.empty(0, dtype=np.int64)
        return Pairs(empty, empty, empty, empty, np.empty(0))
    pairs = Pairs(
        *(np.concatenate(column) for column in zip(*found, strict=True))
    )
    # Means over frames are sums in the order of time.
    order = np.argsort(pairs.key, kind="stable")
    return Pairs(*(column[order] for column in pairs))


def _assign(costs):
    """Rows and columns [problems, pairs] of many problems [problems, R, E]."""
    number, num_rows, num_columns = costs.shape
    if num_rows == 1 or num_columns == 1:
        best = costs.reshape(number, -1).argmin(1)[:, None]
        return best // num_columns, best % num_columns
    if num_rows == num_columns == 2:
        return _assign_two(costs)
    shape = (number, min(num_rows, num_columns))
    rows, columns = np.empty(shape, np.int64), np.empty(shape, np.int64)
    for k in range(number):
        rows[k], columns[k] = linear_sum_assignment(costs[k])
    return rows, columns


def _assign_two(costs):
    """Two references and two estimates, as shortest augmenting paths do."""
    # The first row takes its cheaper column. If the second row wants the same
    # one more than the free one, the first moves when that is a gain.
    cell = np.arange(len(costs))
    taken = (costs[:, 0, 1] < costs[:, 0, 0]).astype(np.int64)
    free = 1 - taken
    wanted = costs[cell, 1, taken]
    alone = costs[cell, 1, free]
    # Rounding decides between equal sums: the order of terms matters.
    moved = (wanted + costs[cell, 0, free]) - costs[cell, 0, taken]
    swap = (wanted < alone) & (moved < alone)
    first = np.where(swap, free, taken)
    rows = np.broadcast_to(np.arange(2), (len(costs), 2))
    return rows, np.stack((first, 1 - first), axis=1)


def angle_on_sphere(reference, estimate):
    """Cost of events by azimuth and elevation: great-circle angle.

    Arguments
    ---------
    reference, estimate : Events
        With azimuth and elevation in degrees.

    Returns
    -------
    callable
        Rows to angles in degrees, for ``match``.
    """
    # Terms and their order are the evaluators': ties fall as they do there.
    az1, el1, az2, el2 = (
        angle * np.pi / 180.0
        for angle in (
            reference.azimuth,
            reference.elevation,
            estimate.azimuth,
            estimate.elevation,
        )
    )
    sin1, cos1, sin2, cos2 = np.sin(el1), np.cos(el1), np.sin(el2), np.cos(el2)

    def cost(r, e):
        cosine = sin1[r] * sin2[e] + cos1[r] * cos2[e] * np.cos(
            np.abs(az1[r] - az2[e])
        )
        return np.arccos(np.clip(cosine, -1, 1)) * 180 / np.pi

    return cost


def angle_between_vectors(reference, estimate):
    """Cost of events by direction vectors.

    Arguments
    ---------
    reference, estimate : Events
        With azimuth and elevation in degrees.

    Returns
    -------
    callable
        Rows to angles in degrees, for ``match``. The evaluator adds 1e-10 to
        squared lengths: equal directions are about 0.0008 degrees apart.
    """
    ours, theirs = _directions(reference), _directions(estimate)

    def cost(r, e):
        (x1, y1, z1), (x2, y2, z2) = ours[:, r], theirs[:, e]
        cosine = x1 * x2 + y1 * y2 + z1 * z2
        return np.arccos(np.clip(cosine, -1, 1)) * 180 / np.pi

    return cost


def _directions(events):
    """Vectors of length nearly 1, shape [3, N]."""
    azimuth = events.azimuth * np.pi / 180.0
    elevation = events.elevation * np.pi / 180.0
    flat = np.cos(elevation)
    vector = np.stack(
        (np.cos(azimuth) * flat, np.sin(azimuth) * flat, np.sin(elevation))
    )
    x, y, z = vector
    return vector / np.sqrt(x**2 + y**2 + z**2 + 1e-10)


def angle_to_the_front(reference, estimate):
    """Cost of events in stereo: azimuth, the back folded to the front.

    Arguments
    ---------
    reference, estimate : Events
        With azimuth in degrees.

    Returns
    -------
    callable
        Rows to angles in degrees, for ``match``.
    """
    ours, theirs = _fold(reference.azimuth), _fold(estimate.azimuth)
    return lambda r, e: np.abs(ours[r] - theirs[e])


def _fold(azimuth):
    """Mirror directions behind the head to the front, in [-90, 90]."""
    azimuth = (azimuth + 180) % 360 - 180
    folded = np.where(azimuth < -90, -180 - azimuth, azimuth)
    return np.where(azimuth > 90, 180 - azimuth, folded)
