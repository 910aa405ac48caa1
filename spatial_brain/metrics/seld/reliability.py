"""What SELD scores are worth: intervals that can be, and lines of warning.

The evaluators add a tiny number to what they divide by. Where that is all
there is to divide by, their score is a number without meaning; modes other
than "corrected" keep it, for it is what a challenge would print.
"""

import numpy as np

# Where each score can lie.
_SHARE, _ANGLE, _ABOVE = (0.0, 1.0), (0.0, 180.0), (0.0, np.inf)
RANGES = {
    "ER": _ABOVE,
    "F": _SHARE,
    "LE": _ANGLE,
    "LR": _SHARE,
    "DE": _ABOVE,
    "RDE": _ABOVE,
    "precision": _SHARE,
    "recall": _SHARE,
    "SELD": _ABOVE,
}
# Jackknife intervals of fewer clips deserve a line.
FEW_CLIPS = 10
# Less than is shown; more than what is added to quotients makes of intervals
# of no width.
_ROUNDING = 1e-5


def possible_interval(name, value, interval):
    """An interval, unless it cannot be one of this score.

    The jackknife's are symmetric about a corrected score and know no bounds:
    with few clips they can lie beside the score, or beyond 100 %.

    Arguments
    ---------
    name : str
        Key of ``RANGES``.
    value : numpy.ndarray
        The score, shape [...].
    interval : numpy.ndarray
        Lower and upper end, shape [..., 2].

    Returns
    -------
    numpy.ndarray
        The same; NaN where the interval does not hold the score or leaves the
        range of the score.

    Example
    -------
    >>> possible_interval("F", np.array([1.0, 0.5]),
    ...                   np.array([[1.5, 1.5], [0.4, 0.7]])).tolist()
    [[nan, nan], [0.4, 0.7]]
    """
    low, high = interval[..., 0], interval[..., 1]
    lowest, highest = RANGES[name]
    margin = _ROUNDING * (1 + np.abs(value))
    possible = (
        (np.maximum(low, lowest) - margin <= value)
        & (value <= np.minimum(high, highest) + margin)
        & (low >= lowest - margin)
        & (high <= highest + margin)
    )
    return np.where(possible[..., None], interval, np.nan)


def score_warnings(total, rules):
    """Lines on scores that are no measure of anything.

    Arguments
    ---------
    total : dict
        Counts of the set, each of shape [C] or [].
    rules : Rules
        Mode, metric and average.

    Returns
    -------
    list of str
        One line each.
    """
    lines = []
    if not total["references"].sum():
        lines.append(
            "no reference events: no score is defined"
            if rules.corrected
            else "no reference events: ER is errors divided by (almost) 0, and "
            "says nothing, nor does SELD; mode corrected gives none"
        )
    zero = int(total.get("zero_distance", np.zeros(1)).sum())
    if zero:
        pairs = int(total["DE_TP"].sum())
        lines.append(
            f"reference distance 0 in {zero} of {pairs} pairs: they are left "
            "out of the relative distance error (RDE)"
            if rules.corrected
            else f"reference distance 0 in {zero} of {pairs} pairs: relative "
            "errors divide by (almost) 0, and RDE and SELD say nothing; mode "
            "corrected leaves these pairs out"
        )
    if rules.average == "macro" and total["references"].sum():
        lines += _class_warnings(total, rules)
    return lines


def _class_warnings(total, rules):
    """Line on classes that decide the means without having been tried."""
    present = total["references"] > 0
    if rules.mode == "pseldnets":
        missed = int((present & (total["DE_TP"] == 0)).sum())
        if missed:
            return [
                f"{missed} of {present.sum()} classes with references have no "
                "pair at all and are left out of the means, as PSELDNets does; "
                "mode present counts them"
            ]
        return []
    absent = int((~present).sum())
    if not absent or rules.mode == "present":
        return []
    count_as = {"dcase2019": "F 0", "l3das22": "F 0"}.get(
        rules.metric,
        "F 0 and LR 0"
        if rules.metric in ("dcase2024", "dcase2025")
        else "F 0, LE 180 and LR 0",
    )
    return [
        f"{absent} of {len(present)} classes have no reference and count as "
        f"{count_as} in the means; mode present leaves them out"
    ]


def interval_warnings(references, intervals, rules):
    """Line on intervals that are missing or rest on little.

    Arguments
    ---------
    references : numpy.ndarray
        Counted references, shape [clips, C].
    intervals : dict
        Score to ends as ``possible_interval`` gives them.
    rules : Rules
        Average.

    Returns
    -------
    list of str
        At most one line.

    Example
    -------
    >>> from spatial_brain.metrics.seld.rules import Rules
    >>> references = np.array([[1, 0], [1, 1], [1, 0]])
    >>> ends = {"F": np.array([0.1, 0.9]), "ER": np.full(2, np.nan)}
    >>> interval_warnings(references, ends, Rules(2))[0]
    'intervals: 3 clips are few, 1 of 2 classes is in one clip only, none for \
ER (it would leave the range of the score or not hold it)'
    """
    number = len(references)
    if number < 2:
        return [f"intervals need two clips, here {_are(number)}"]
    parts = []
    if number < FEW_CLIPS:
        parts.append(f"{number} clips are few")
    present = (references > 0).sum(0)
    alone = int((present == 1).sum())
    if alone and rules.average == "macro":
        parts.append(
            f"{alone} of {int((present > 0).sum())} classes "
            f"{'is' if alone == 1 else 'are'} in one clip only"
        )
    gone = [name for name, ends in intervals.items() if np.isnan(ends).any()]
    if gone:
        it = "it" if len(gone) == 1 else "they"
        parts.append(
            f"none for {', '.join(gone)} ({it} would leave the range of the "
            "score or not hold it)"
        )
    return [f"intervals: {', '.join(parts)}"] if parts else []


def _are(number):
    """How many clips there are."""
    return "is one" if number else "is none"
