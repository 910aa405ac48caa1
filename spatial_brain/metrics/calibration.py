"""Whether confidences are what they claim: shares of what turned out right."""

import numpy as np


def reliability_curve(confidence, correct, num_bins=10):
    """Share of correct predictions against their confidence, in equal bins.

    Arguments
    ---------
    confidence : array_like
        In [0, 1], [prediction].
    correct : array_like
        Whether each prediction is, [prediction].
    num_bins : int
        Equal parts of [0, 1]; the last one holds 1.

    Returns
    -------
    list of dict
        One a bin that is not empty: ``low, high`` (its ends), ``number``,
        ``confidence`` (mean) and ``correct`` (share).

    Raises
    ------
    ValueError
        If shapes differ, nothing is there, or a confidence is not in [0, 1].

    Example
    -------
    >>> curve = reliability_curve([0.2, 0.9, 0.9], [False, True, False], 2)
    >>> [(one["number"], one["correct"]) for one in curve]
    [(1, 0.0), (2, 0.5)]
    """
    confidence = np.asarray(confidence, dtype=np.float64)
    correct = np.asarray(correct, dtype=bool)
    if confidence.ndim != 1 or confidence.shape != correct.shape:
        raise ValueError(
            f"confidences {confidence.shape} and what is correct "
            f"{correct.shape} must have one shape [prediction]"
        )
    if not confidence.size:
        raise ValueError("there is no prediction whose confidence can be right")
    if not ((confidence >= 0) & (confidence <= 1)).all():
        raise ValueError("a confidence is not in [0, 1]")
    place = np.minimum((confidence * num_bins).astype(int), num_bins - 1)
    return [
        {
            "low": k / num_bins,
            "high": (k + 1) / num_bins,
            "number": int((place == k).sum()),
            "confidence": float(confidence[place == k].mean()),
            "correct": float(correct[place == k].mean()),
        }
        for k in np.unique(place).tolist()
    ]


def expected_calibration_error(confidence, correct, num_bins=10):
    """Mean distance of confidence and share of correct predictions.

    Over the bins of :func:`reliability_curve`, weighted by their numbers
    (Guo, Pleiss, Sun and Weinberger, "On calibration of modern neural
    networks", ICML 2017).

    Arguments
    ---------
    confidence, correct, num_bins
        As for :func:`reliability_curve`.

    Returns
    -------
    float
        In [0, 1]; 0 is perfect.

    Raises
    ------
    ValueError
        As :func:`reliability_curve`.

    Example
    -------
    >>> expected_calibration_error([0.75] * 4, [True, True, True, False])
    0.0
    """
    curve = reliability_curve(confidence, correct, num_bins)
    off = [
        one["number"] * abs(one["confidence"] - one["correct"]) for one in curve
    ]
    return float(sum(off) / len(np.asarray(confidence)))
