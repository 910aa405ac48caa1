"""The report of a run that localises talkers with any array."""

from pathlib import Path

from spatial_brain.reporting.localization import reliability_diagram
from spatial_brain.reporting.report import Report, interval_text

CONDITIONS = {
    "talkers": "By number of talkers at once",
    "snr": "By SNR, dB",
    "t60": "By T60, s",
    "array": "By array",
}
COLUMNS = [
    "mean error, °",
    "95 % interval",
    "median, °",
    "within 10°, %",
    "directions",
]


def any_array_report(output_folder, metrics, records, subtitle=None):
    """Write ``report.html`` of a run.

    Arguments
    ---------
    output_folder : str or Path
        Folder of the run.
    metrics : dict
        ``methods``: method to what ``WindowErrors`` sums up, that of
        ``"network"`` first; ``numbers``: method to the share of scenes whose
        number of talkers is right; ``confidence``: ``directions``, ``right``,
        ``expected_calibration_error`` and ``reliability``.
    records : list of dict
        One an epoch, see ``read_train_log``.
    subtitle : str, optional
        A sentence: data, model.

    Returns
    -------
    Path
        The report.

    Example
    -------
    >>> summary = {"mae": 2.0, "median": 1.0, "accuracy_10": 0.9,
    ...            "num_directions": 10, "by": {}}
    >>> path = any_array_report(
    ...     getfixture("tmp_path"),
    ...     {"methods": {"network": summary}, "numbers": {"network": 0.8},
    ...      "confidence": {"directions": 0}}, [])
    >>> "2.00" in path.read_text()
    True
    """
    folder, methods = Path(output_folder), metrics["methods"]
    report = Report("Talkers around any array", subtitle)
    network = methods["network"]
    report.add_headline(f"{network['mae']:.1f}°", "mean error", main=True)
    report.add_headline(f"{network['accuracy_10']:.0%}", "within 10°")
    numbers = metrics["numbers"]
    report.add_headline(f"{numbers['network']:.0%}", "scenes counted right")
    report.add_section("Results").add_table(
        ["method", *COLUMNS, "number right, %"],
        [
            [name, *_cells(summary), _percent(numbers.get(name))]
            for name, summary in methods.items()
        ],
        "One window of a second, the number of its talkers given; who is not "
        "found counts 90 degrees. Intervals are over scenes.",
    )
    for condition, title in CONDITIONS.items():
        if condition in network["by"]:
            _add_condition(report, methods, condition, title)
    _add_confidence(report, metrics["confidence"])
    report.add_training(records)
    report.add_run(folder)
    return report.write(folder / "report.html")


def _cells(summary):
    """Cells of a method's figures."""
    return [
        summary["mae"],
        interval_text(summary, "mae", 1),
        summary["median"],
        100 * summary["accuracy_10"],
        summary["num_directions"],
    ]


def _percent(share):
    """A share in per cent, or None."""
    return None if share is None else 100 * share


def _add_condition(report, methods, condition, title):
    """Mean errors of all methods by one condition."""
    values = list(methods["network"]["by"][condition])
    rows = [
        [
            name,
            *(
                part["mae"] if part else None
                for part in map(summary["by"][condition].get, values)
            ),
        ]
        for name, summary in methods.items()
    ]
    report.add_section(title)
    report.add_table(["mean error, °", *values], rows, digits=1)


def _add_confidence(report, measured):
    """What confidences are worth."""
    if not measured["directions"]:
        return
    report.add_section("Confidence").add_text(
        f"Of {measured['directions']} directions {measured['right']:.0%} are "
        "within 10 degrees of a talker of their own; expected calibration "
        f"error {measured['expected_calibration_error']:.3f}."
    )
    report.add_figure(reliability_diagram(measured["reliability"]))
