"""Means and intervals of the rows which a collection of errors keeps."""

import numpy as np
from scipy import stats

from spatial_brain.dataio.files import write_table


def statistics(rows, names, num_bootstrap=1000, seed=0):
    """Means over the talkers of all mixtures, with 95 % intervals.

    Mixtures are drawn anew for the intervals, not talkers: what happens in
    one mixture goes together.

    Arguments
    ---------
    rows : list of dict
        One a mixture: metric to a number, or to a list of one a talker; NaN
        where it could not be computed.
    names : dict
        Part of the result to the metrics in it. Part ``""`` is the result
        itself; the metrics of a part ``"mixture"`` stand in the rows as
        ``mixture_<metric>``.
    num_bootstrap : int
        Draws; 0 leaves the intervals out.
    seed : int
        Of the draws.

    Returns
    -------
    dict
        ``num_mixtures``, ``num_talkers``; ``<metric>``, ``<metric>_low``,
        ``<metric>_high``; ``missing``: metric to the number of values that
        are NaN, of those which have such; the parts. A metric without any
        value is NaN.

    Example
    -------
    >>> rows = [{"num_talkers": 2, "snr": [1.0, 3.0]},
    ...         {"num_talkers": 2, "snr": [5.0, float("nan")]}]
    >>> result = statistics(rows, {"": ["snr"]}, num_bootstrap=0)
    >>> result["snr"], result["missing"]
    (3.0, {'snr': 1})
    """
    number = len(rows)
    result = {
        "num_mixtures": number,
        "num_talkers": sum(row["num_talkers"] for row in rows),
    }
    draws = np.random.default_rng(seed).multinomial(
        number, np.full(number, 1 / number), size=num_bootstrap
    )
    for part, metrics in names.items():
        found = result.setdefault(part, {}) if part else result
        found["missing"] = {}
        for metric in metrics:
            key = f"{part}_{metric}" if part else metric
            values = [np.atleast_1d(row[key]) for row in rows]
            sums = np.array([np.nansum(value) for value in values])
            counts = np.array([(~np.isnan(v)).sum() for v in values])
            missing = sum(map(len, values)) - int(counts.sum())
            if missing:
                found["missing"][metric] = missing
            found[metric] = _mean(sums.sum(), counts.sum())
            if num_bootstrap:
                means = _mean(draws @ sums, draws @ counts)
                low, high = _interval(means)
                found[f"{metric}_low"], found[f"{metric}_high"] = low, high
    return result


def _mean(total, count):
    """Total by count; NaN where there is nothing."""
    with np.errstate(invalid="ignore"):
        mean = np.true_divide(total, count)
    return float(mean) if mean.ndim == 0 else mean


def _interval(means):
    """Ends of the 95 % interval; draws without a value do not count."""
    means = means[~np.isnan(means)]
    if not len(means):
        return float("nan"), float("nan")
    low, high = np.percentile(means, (2.5, 97.5))
    return float(low), float(high)


def range_label(edges, index):
    """Name of the range below edge ``index``.

    Arguments
    ---------
    edges : sequence of float
        Ascending.
    index : int
        As ``numpy.digitize`` gives it.

    Returns
    -------
    str

    Example
    -------
    >>> [range_label((15.0, 30.0), k) for k in range(3)]
    ['< 15', '15 to 30', '>= 30']
    """
    if index == 0:
        return f"< {edges[0]:g}"
    if index == len(edges):
        return f">= {edges[-1]:g}"
    return f"{edges[index - 1]:g} to {edges[index]:g}"


def flat_row(row):
    """A row without lists, for a table.

    Arguments
    ---------
    row : dict
        Name to a number, a text, or a list of one number a talker.

    Returns
    -------
    dict
        Of a list ``snr``: ``snr``, the mean of what is there, and
        ``snr_1``, ``snr_2``, ... at the end; ``missing``: how many numbers
        are NaN, which are replaced by empty texts.

    Example
    -------
    >>> flat_row({"id": "a", "snr": [1.0, float("nan")]})
    {'id': 'a', 'snr': 1.0, 'missing': 1, 'snr_1': 1.0, 'snr_2': ''}
    """
    flat, own, missing = {}, {}, 0
    for name, value in row.items():
        values = value if isinstance(value, list) else [value]
        known = [v for v in values if v == v]
        missing += len(values) - len(known)
        if not isinstance(value, list):
            flat[name] = value if known else ""
            continue
        if name != "permutation":
            flat[name] = float(np.mean(known)) if known else ""
        for talker, number in enumerate(values, start=1):
            own[f"{name}_{talker}"] = number if number == number else ""
    return {**flat, "missing": missing, **own}


def write_rows(path, rows):
    """Write what metrics give of mixtures and talkers as CSV.

    Arguments
    ---------
    path : str or Path
        Its folder is made.
    rows : list of dict
        As ``flat_row`` takes them; what a row does not have stays empty.

    Returns
    -------
    Path
        The file, complete or not there.

    Example
    -------
    >>> path = getfixture("tmp_path") / "a.csv"
    >>> write_rows(path, [{"id": "a", "snr": [1.0, 3.0]}]).read_text().split()
    ['id,snr,missing,snr_1,snr_2', 'a,2.0,0,1.0,3.0']
    """
    return write_table(path, [flat_row(row) for row in rows])


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
