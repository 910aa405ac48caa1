"""Figures of a test as the measures of a model's card, task by task."""

import math

from spatial_brain.inference.pretrained.figures import Measure


def acoustic_measures(methods, unit=""):
    """Of a quantity of a room or a source.

    Arguments
    ---------
    methods : dict
        ``network`` and ``best_constant`` to what
        :class:`spatial_brain.metrics.room_acoustics.AcousticErrors` sums up.
    unit : str
        Of the quantity.

    Returns
    -------
    list of Measure

    Example
    -------
    >>> methods = {"network": {"mae": 0.1}, "best_constant": {"mae": 0.2}}
    >>> [str(measure) for measure in acoustic_measures(methods, "s")]
    ['mean absolute error 0.1 s, best constant 0.2 s']
    """
    network = methods["network"]
    return [
        _measure(
            "mean absolute error",
            network,
            "mae",
            unit,
            constant=methods["best_constant"]["mae"],
            correlation=network.get("correlation"),
        )
    ]


def interval_measures(figures, units):
    """Of several quantities of a room, each with intervals.

    Arguments
    ---------
    figures : dict
        Name of a quantity to what
        :class:`spatial_brain.metrics.room_acoustics.AcousticErrors` sums up,
        with ``constant``, the mean absolute error of the best constant, and
        ``coverage``, the share of the true values that their intervals of
        90 % hold.
    units : dict
        Name of a quantity to its unit.

    Returns
    -------
    list of Measure
        Errors of all quantities first.

    Example
    -------
    >>> figures = {"T60": {"mae": 0.1, "constant": 0.2, "coverage": 0.9}}
    >>> [str(measure) for measure in interval_measures(figures, {"T60": "s"})]
    ['T60 mean absolute error 0.1 s, best constant 0.2 s',
     'T60 in its interval of 90 % 90 %']
    """
    errors = [
        _measure(
            f"{name} mean absolute error",
            found,
            "mae",
            units[name],
            constant=found["constant"],
            correlation=found.get("correlation"),
        )
        for name, found in figures.items()
    ]
    held = [
        Measure(
            f"{name} in its interval of 90 %",
            100 * found["coverage"],
            "%",
            better="higher",
        )
        for name, found in figures.items()
    ]
    return errors + held


def direction_measures(network, constant=None):
    """Of directions of talkers.

    Arguments
    ---------
    network, constant : dict
        What :class:`spatial_brain.metrics.localization.LocalizationErrors`
        sums up, of the network and of the best constant directions.

    Returns
    -------
    list of Measure

    Example
    -------
    >>> [str(measure) for measure in direction_measures({"mae": 5.0})]
    ['mean absolute error 5 degrees']
    """
    constant = constant and constant["mae"]
    return [
        _measure(
            "mean absolute error", network, "mae", "degrees", constant=constant
        )
    ]


def separation_measures(summary):
    """Of separated talkers, beside the mixture left as it is.

    Arguments
    ---------
    summary : dict
        What :class:`spatial_brain.metrics.separation.errors.SeparationErrors`
        sums up.

    Returns
    -------
    list of Measure

    Example
    -------
    >>> summary = {"snr_i": 5.0, "snr_i_low": 4.0, "snr_i_high": 6.0}
    >>> [str(measure) for measure in separation_measures(summary)]
    ['SNR improvement 5 dB [4, 6], the mixture 0 dB']
    """
    mixture = {"snr_i": 0.0, "si_snr_i": 0.0, **summary.get("mixture", {})}
    rows = (
        ("SNR improvement", "snr_i", "dB", "higher"),
        ("SI-SNR improvement", "si_snr_i", "dB", "higher"),
        ("error of the time difference", "itd_error", "µs", "lower"),
        ("error of the level difference", "ild_error", "dB", "lower"),
    )
    return [
        _measure(
            name,
            summary,
            key,
            unit,
            constant=mixture.get(key),
            constant_name="the mixture",
            better=better,
        )
        for name, key, unit, better in rows
        if _is_known(summary.get(key))
    ]


def event_measures(network, constant=None):
    """Of detected and localised sound events.

    Arguments
    ---------
    network, constant : dict
        What :class:`spatial_brain.metrics.seld.SELDScores` computes, of the
        network and of the best constant prediction.

    Returns
    -------
    list of Measure
        F first; those that are not known are left out.

    Example
    -------
    >>> scores = {"F": 0.5, "intervals": {"F": [0.4, 0.6]}, "LE": math.nan}
    >>> [str(measure) for measure in event_measures(scores, {"F": 0.1})]
    ['F 50 % [40, 60], best constant of the validation 10 %']
    """
    rows = (
        ("F", "F", 100, "%", "higher"),
        ("error rate", "ER", 1, "", "lower"),
        ("localisation error", "LE", 1, "degrees", "lower"),
        ("localisation recall", "LR", 100, "%", "higher"),
        ("SELD score", "SELD", 1, "", "lower"),
    )
    measures = []
    for name, key, scale, unit, better in rows:
        if not _is_known(network.get(key)):
            continue
        low, high = network.get("intervals", {}).get(key, (None, None))
        scores = {
            "value": scale * network[key],
            "value_low": scale * low if _is_known(low) else None,
            "value_high": scale * high if _is_known(high) else None,
        }
        other = (constant or {}).get(key)
        measures.append(
            _measure(
                name,
                scores,
                "value",
                unit,
                constant=scale * other if _is_known(other) else None,
                constant_name="best constant of the validation",
                better=better,
            )
        )
    return measures


def _is_known(value):
    """Whether a figure is there and finite."""
    return value is not None and math.isfinite(value)


def _measure(name, summary, key, unit, **others):
    """A figure with its interval, without what is not known."""
    figures = {
        "low": summary.get(f"{key}_low"),
        "high": summary.get(f"{key}_high"),
        **others,
    }
    known = {
        name: value
        for name, value in figures.items()
        if isinstance(value, str) or _is_known(value)
    }
    return Measure(name, summary[key], unit, **known)
