"""Rows of errors, their means by conditions, and 95 % intervals."""

from contextlib import contextmanager

import numpy as np
import torch
from scipy import stats

from spatial_brain.dataio.files import write_table


class Metric:
    """One interface for all that collects a test set and then scores it.

    ``update``, ``compute`` and ``reset``, as torchmetrics names them, beside
    the names that each class has: ``append`` takes what ``update`` takes and
    ``clear`` forgets as ``reset`` does. ``compute`` changes nothing: a second
    call gives the same, and more can be added after it.

    Example
    -------
    >>> class Mean(Metric):
    ...     def clear(self):
    ...         self.values = []
    ...     def append(self, *values):
    ...         self.values += values
    ...     def compute(self):
    ...         return sum(self.values) / len(self.values)
    >>> mean = Mean()
    >>> mean.reset()
    >>> mean.update(1.0, 2.0)
    >>> mean.compute(), mean.compute()
    (1.5, 1.5)
    """

    def update(self, *args, **kwargs):
        """Add to what is scored; the same as ``append``.

        Arguments
        ---------
        *args, **kwargs
            Those of ``append``.
        """
        self.append(*args, **kwargs)

    def reset(self):
        """Forget everything added; the same as ``clear``."""
        self.clear()

    def append(self, *args, **kwargs):
        """Add to what is scored.

        Arguments
        ---------
        *args, **kwargs
            By the class.
        """
        raise NotImplementedError

    def clear(self):
        """Forget everything added."""
        raise NotImplementedError

    def compute(self):
        """Scores of what was added.

        Returns
        -------
        dict
            By name.
        """
        raise NotImplementedError


class ErrorCollector(Metric):
    """Collects rows of errors of a test set and sums them up.

    The base of the collectors of all tasks. One of them makes rows in its
    ``append``, and computes in ``_statistics`` the numbers of some of them.

    Arguments
    ---------
    bins : dict
        Condition to the inner edges of its ranges. What a row has of such a
        condition is a number, or one number a source.

    Raises
    ------
    ValueError
        If edges do not ascend.

    Example
    -------
    >>> class Counter(ErrorCollector):
    ...     def append(self, ids, **conditions):
    ...         conditions = self._checked(conditions, (len(ids),))
    ...         self._extend([{"id": name} for name in ids], conditions)
    ...     def _statistics(self, chosen, num_bootstrap, seed):
    ...         return {"number": len(self._chosen(chosen))}
    >>> counter = Counter({"t60": (0.5,)})
    >>> counter.append(["a", "b", "c"], t60=[0.2, 0.9, 0.6])
    >>> counter.summarize()["by"]
    {'t60': {'< 0.5': {'number': 1}, '>= 0.5': {'number': 2}}}
    """

    # What messages call a row.
    _ITEM = "mixture"
    # Columns of a table whose mean over the sources means nothing.
    _NO_MEANS = ()

    def __init__(self, bins):
        for name, edges in bins.items():
            if not len(edges) or list(edges) != sorted(set(edges)):
                raise ValueError(
                    f"edges of {name!r} must ascend, got {list(edges)}"
                )
        self.bins = bins
        self.clear()

    def clear(self):
        """Forget everything appended."""
        self._rows = []

    def __len__(self):
        return len(self._rows)

    @contextmanager
    def _naming(self, ids):
        """Let errors name the rows that they are about."""
        try:
            yield
        except ValueError as problem:
            names = ", ".join(ids[:8]) + (", ..." if len(ids) > 8 else "")
            raise ValueError(f"{self._ITEM}s {names}: {problem}") from problem

    def _checked(self, conditions, *shapes):
        """Condition to its values: a number, text or list of numbers a row."""
        return {
            name: _check_condition(name, values, shapes)
            for name, values in conditions.items()
        }

    def _extend(self, rows, conditions):
        """Keep rows, each with its own of the checked conditions."""
        for number, row in enumerate(rows):
            own = {name: values[number] for name, values in conditions.items()}
            if taken := own.keys() & row.keys():
                raise ValueError(
                    f"a condition cannot be called {', '.join(sorted(taken))}: "
                    "metrics have these names"
                )
            self._rows.append(row | own)

    def rows(self):
        """What was appended.

        Returns
        -------
        list of dict
            One a mixture (of room acoustics: one an example).
        """
        return [dict(row) for row in self._rows]

    def summarize(self, num_bootstrap=1000, seed=0):
        """Statistics of all rows and by conditions.

        Arguments
        ---------
        num_bootstrap : int
            Draws for the 95 % intervals ``<metric>_low`` to ``<metric>_high``
            (percentile bootstrap over mixtures); 0 leaves them out, as does
            a single mixture, which says nothing about others.
        seed : int
            Of the draws.

        Returns
        -------
        dict
            Statistics; and ``by``: condition -> range or text -> the same.

        Raises
        ------
        ValueError
            If nothing was appended.
        """
        if not self._rows:
            raise ValueError(f"no {self._ITEM} was appended: nothing to sum up")
        options = (num_bootstrap, seed)
        every = np.ones((len(self._rows), 1), dtype=bool)
        result = self._statistics(every, *options)
        result["by"] = {
            name: {
                label: self._statistics(chosen, *options)
                for label, chosen in parts.items()
            }
            for name, parts in self._parts().items()
        }
        return result

    def compute(self, num_bootstrap=1000, seed=0):
        """Statistics of all rows and by conditions; see ``summarize``.

        Arguments
        ---------
        num_bootstrap : int
            As there.
        seed : int
            As there.

        Returns
        -------
        dict
            As there.
        """
        return self.summarize(num_bootstrap, seed)

    def _statistics(self, chosen, num_bootstrap, seed):
        """Plain numbers of what is chosen, bool [row, 1] or [row, source]."""
        raise NotImplementedError

    def _parts(self):
        """Condition that all rows have -> range or text -> what is in it."""
        parts = {}
        for name in dict.fromkeys((*self.bins, *self._rows[0])):
            values = [row.get(name) for row in self._rows]
            if name == "id" or None in values:
                continue
            if all(isinstance(value, str) for value in values):
                values = np.array(values)[:, None]
                parts[name] = {
                    str(text): values == text for text in np.unique(values)
                }
            elif name in self.bins:
                parts[name] = _ranges(values, self.bins[name])
        return parts

    def _chosen(self, chosen):
        """Rows by a mask [row, 1]."""
        masked = zip(self._rows, chosen[:, 0], strict=True)
        return [row for row, mine in masked if mine]

    def write_csv(self, path):
        """Write one line a row, complete or not at all.

        What a source has of its own stands as the mean under the plain name,
        and as ``<name>_1``, ``<name>_2``, ...; ``missing`` is how many
        numbers could not be computed (they are empty, and not in the means).

        Arguments
        ---------
        path : str or Path
            Its folder is made.

        Returns
        -------
        Path
            The file.
        """
        lines = [_flat_row(row, self._NO_MEANS) for row in self._rows]
        return write_table(path, lines)


def _check_condition(name, values, shapes):
    """Values of a condition as list; its shape must be one of some."""
    if isinstance(values, torch.Tensor):
        values = values.detach().cpu()
    text = len(values) and all(isinstance(value, str) for value in values)
    values = np.asarray(values, dtype=None if text else np.float64)
    if values.shape not in shapes:
        wanted = " or ".join(str(shape) for shape in shapes)
        raise ValueError(
            f"condition {name!r} must have shape {wanted}, got {values.shape}"
        )
    if not text and np.isnan(values).any():
        raise ValueError(
            f"condition {name!r} holds values that are not numbers"
        )
    return values.tolist()


def _ranges(values, edges):
    """Range -> bool [row, source or 1], of a number or numbers a row."""
    values = [np.atleast_1d(value) for value in values]
    width = max(map(len, values))
    index = np.digitize(
        [np.broadcast_to(value, width) for value in values], edges
    )
    return {_range_label(edges, k): index == k for k in np.unique(index)}


def _range_label(edges, index):
    """Name of the range below edge ``index`` of ascending edges."""
    if index == 0:
        return f"< {edges[0]:g}"
    if index == len(edges):
        return f">= {edges[-1]:g}"
    return f"{edges[index - 1]:g} to {edges[index]:g}"


def _flat_row(row, no_means):
    """A row without lists: the mean of a list, its numbers at the end."""
    flat, own, missing = {}, {}, 0
    for name, value in row.items():
        values = value if isinstance(value, list) else [value]
        known = [v for v in values if v == v]
        missing += len(values) - len(known)
        if not isinstance(value, list):
            flat[name] = value if known else ""
            continue
        if name not in no_means:
            flat[name] = float(np.mean(known)) if known else ""
        for source, number in enumerate(values, start=1):
            own[f"{name}_{source}"] = number if number == number else ""
    return {**flat, "missing": missing, **own}


def bootstrap_interval(sums, counts, num_bootstrap, seed):
    """Interval of a mean over groups of values that are drawn anew.

    What happens in one mixture or room goes together, so whole groups are
    drawn.

    Arguments
    ---------
    sums : numpy.ndarray
        Of the values of each group, [group].
    counts : numpy.ndarray
        Values of each group, [group].
    num_bootstrap : int
        Draws.
    seed : int
        Of the draws.

    Returns
    -------
    tuple of float
        Ends of the 95 % interval.

    Example
    -------
    >>> sums, counts = np.array([3.0, 3.0]), np.array([1, 1])
    >>> bootstrap_interval(sums, counts, 10, seed=0)
    (3.0, 3.0)
    """
    generator = np.random.default_rng(seed)
    means = np.empty(num_bootstrap)
    for k in range(num_bootstrap):
        draw = generator.integers(len(sums), size=len(sums))
        means[k] = sums[draw].sum() / counts[draw].sum()
    return percentile_interval(means)


def interval_of_mean(name, sums, counts, num_bootstrap, seed):
    """Ends of the interval of a mean, as a collector's summary has them.

    Arguments
    ---------
    name : str
        Of the mean.
    sums, counts, num_bootstrap, seed
        As for :func:`bootstrap_interval`; 0 draws: no interval.

    Returns
    -------
    dict
        ``<name>_low`` and ``<name>_high``; empty with fewer than two groups.

    Example
    -------
    >>> interval_of_mean("mae", np.array([3.0]), np.array([1]), 10, seed=0)
    {}
    """
    if not num_bootstrap or len(sums) < 2:
        return {}
    low, high = bootstrap_interval(sums, counts, num_bootstrap, seed)
    return {f"{name}_low": low, f"{name}_high": high}


def percentile_interval(means):
    """Ends of the 95 % interval of bootstrapped means.

    Arguments
    ---------
    means : numpy.ndarray
        One a draw; draws without a value (NaN) do not count.

    Returns
    -------
    tuple of float
        NaN without any value.

    Example
    -------
    >>> percentile_interval(np.arange(101.0))
    (2.5, 97.5)
    """
    means = means[~np.isnan(means)]
    if not len(means):
        return float("nan"), float("nan")
    low, high = np.percentile(means, (2.5, 97.5))
    return float(low), float(high)


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
