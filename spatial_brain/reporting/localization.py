"""The report of a run that localises two talkers, and its pictures.

Directions are degrees in [0, 180] from the +x end of an array's axis.
"""

from pathlib import Path

import numpy as np

from spatial_brain.metrics.localization import LocalizationErrors
from spatial_brain.reporting.plots import (
    FAINT,
    INK,
    MANY_POINTS,
    MARKERS,
    PALETTE,
    RULE,
    condition_text,
    cumulative_error,
    finish,
    grouped_bars,
    new_figure,
    style,
)
from spatial_brain.reporting.report import (
    Report,
    check_results,
    interval_text,
)

METHODS = {
    "network": "network",
    "gcc_phat": "GCC-PHAT",
    "srp_phat": "SRP-PHAT",
    "chance": "chance",
    "best_constant": "best constant of the test set",
    "oracle": "cone-angle oracle",
}
# Where a mixture's row keeps the directions of each method.
ROW_KEYS = {
    "estimate": "network",
    "gcc_phat": "GCC-PHAT",
    "srp_phat": "SRP-PHAT",
}
CONDITIONS = {
    "t60": ("By reverberation time", "T60, s"),
    "separation": ("By angle between the talkers", "separation, degrees"),
    "distance": ("By distance", "distance of the talker, m"),
    "snr": ("By noise", "SNR, dB"),
}
# Columns of the table of results: metric, heading, factor.
COLUMNS = {
    "mae": ("mean error, °", 1),
    "median": ("median, °", 1),
    "rmse": ("RMSE, °", 1),
    "accuracy_5": ("within 5°, %", 100),
    "accuracy_10": ("within 10°, %", 100),
    "accuracy_15": ("within 15°, %", 100),
}
# Shown in words, or as an interval.
NO_COLUMN = ("num_mixtures", "num_talkers", "mae_low", "mae_high")
NUM_EXAMPLES = 6
# Talkers that a picture over time shows.
MAX_TALKERS = 9
NUM_TABLE_ROWS = 12


def _estimate_scatter(reference, estimate):
    """Estimated against true directions, degrees, with a band of 10 degrees."""
    with style():
        figure = new_figure()
        axes = figure.add_subplot()
        ends = np.array([0.0, 180.0])
        axes.fill_between(
            ends, ends - 10, ends + 10, color=PALETTE[2], alpha=0.15, lw=0
        )
        axes.plot(ends, ends, color=PALETTE[2], lw=1.0)
        axes.scatter(
            reference,
            estimate,
            s=14,
            color=PALETTE[0],
            alpha=0.35 if len(reference) > 400 else 0.6,
            linewidths=0,
            rasterized=len(reference) > MANY_POINTS,
        )
        axes.set(
            xlabel="true direction, degrees",
            ylabel="estimate, degrees",
            xlim=(0, 180),
            ylim=(0, 180),
            xticks=range(0, 181, 30),
            yticks=range(0, 181, 30),
        )
        axes.set_title("Truth and network, band of 10 degrees")
    return figure


def half_plane(reference, estimates, title=None, notes=None):
    """Directions on the half circle around an array along the x axis.

    Arguments
    ---------
    reference : sequence of float or None
        True directions, degrees in [0, 180]: rays to the rim.
    estimates : dict
        Method to its directions; the methods have rings of their own.
    title : str, optional
        Short.
    notes : str, optional
        A line below the picture.

    Returns
    -------
    matplotlib.figure.Figure
        The picture; 0 degrees is to the right.

    Example
    -------
    >>> figure = half_plane([30.0, 100.0], {"network": [32, 97]},
    ...                     "Mixture 3")
    >>> figure.axes[0].get_title(loc="left")
    'Mixture 3'
    """
    with style():
        figure = new_figure(4.4, 3.5)
        axes = figure.add_subplot()
        axes.set(xlim=(-1.2, 1.2), ylim=(-0.1, 1.2), aspect="equal")
        axes.set_axis_off()
        circle = np.radians(np.linspace(0, 180, 91))
        axes.fill(np.cos(circle), np.sin(circle), color=RULE, alpha=0.25, lw=0)
        for degrees in range(0, 181, 30):
            x, y = _on_circle(degrees)
            axes.plot([0, x], [0, y], color=RULE, lw=0.9, zorder=1)
            axes.text(
                1.1 * x,
                1.1 * y,
                f"{degrees}°",
                ha="center",
                va="center",
                color=FAINT,
            )
        for index, angle in enumerate(reference or ()):
            x, y = _on_circle(angle)
            label = "truth" if index == 0 else None
            axes.plot([0, x], [0, y], color=INK, lw=2.0, label=label)
        for index, (method, angles) in enumerate(estimates.items()):
            axes.plot(
                *_on_circle(angles, 0.88 - 0.2 * index),
                linestyle="none",
                marker=MARKERS[index % len(MARKERS)],
                markersize=9 if index == 0 else 7,
                color=PALETTE[index % len(PALETTE)],
                label=method,
                zorder=3,
            )
        # The two microphones, far from true to scale.
        axes.plot([-0.05, 0.05], [0, 0], "o", color=FAINT, ms=4)
        finish(figure, axes, title, len(estimates) + bool(reference))
        if notes:
            axes.text(0, -0.08, notes, ha="center", va="top", color=FAINT)
    return figure


def _on_circle(degrees, radius=1.0):
    """Point on the circle around the array."""
    angle = np.radians(degrees)
    return radius * np.cos(angle), radius * np.sin(angle)


def direction_trajectory(localization):
    """Directions of the talkers of a recording over time.

    Arguments
    ---------
    localization : spatial_brain.inference.localizer.Localization
        What ``SoundLocalizer.localize_file`` returns.

    Returns
    -------
    matplotlib.figure.Figure
        Lines through the windows' centres, markers the larger the more
        confident; no lines, but the map if there is one, for an array that
        was used without training. Dotted is each talker's median.

    Example
    -------
    >>> from spatial_brain.inference.localizer import Localization
    >>> found = Localization("a.wav", "cone", 4.0, np.array([0.0, 1.0]),
    ...                      np.array([3.0, 4.0]), np.array([[40.0], [44]]),
    ...                      np.array([[0.5], [0.9]]))
    >>> direction_trajectory(found).axes[0].get_ylabel()
    'direction, degrees'
    """
    centres = (localization.starts + localization.stops) / 2
    with style():
        figure = new_figure(7.2, 3.8)
        axes = figure.add_subplot()
        if localization.map is not None:
            _draw_map(axes, localization)
        for index, talker in enumerate(localization.talkers[:MAX_TALKERS]):
            colour = PALETTE[index % len(PALETTE)]
            directions = localization.directions[:, index]
            confidence = localization.confidence[:, index]
            if localization.array is None:
                axes.plot(centres, directions, color=colour, lw=1.5, alpha=0.6)
            axes.scatter(
                centres,
                directions,
                s=10 + 50 * np.nan_to_num(confidence, nan=0.5),
                color=colour,
                marker=MARKERS[index % len(MARKERS)],
                label=_talker_label(localization, index, talker),
                rasterized=len(centres) > MANY_POINTS,
            )
            axes.axhline(talker["direction"], color=colour, lw=0.9, ls=":")
        for index in np.flatnonzero(localization.silent):
            axes.axvspan(
                localization.starts[index],
                localization.stops[index],
                color=RULE,
                lw=0,
                zorder=0,
            )
        axes.set(
            xlabel="time, s",
            ylabel="direction, degrees",
            xlim=(0, localization.duration),
            ylim=localization.limits,
            yticks=np.linspace(*localization.limits, 7),
        )
        shown = min(MAX_TALKERS, localization.directions.shape[1])
        finish(figure, axes, None, 2 if shown else 0)
        known = np.isfinite(localization.confidence).any()
        title = "Directions over time"
        axes.set_title(title + " (marker size: confidence)" * bool(known))
    return figure


def _talker_label(localization, index, talker):
    """What the legend shows of a talker."""
    if np.isnan(talker["direction"]):
        return f"talker {index + 1}: silent"
    name = "talker" if localization.array is None else "source"
    return f"{name} {index + 1}: {talker['direction']:.0f}°"


def _draw_map(axes, localization):
    """Strength of all directions over time, behind everything."""
    strength = localization.map.strength.T
    low, high = np.nanpercentile(strength[np.isfinite(strength)], (50, 99.8))
    axes.imshow(
        strength,
        origin="lower",
        aspect="auto",
        extent=(0, localization.duration, *localization.limits),
        cmap="Greys",
        vmin=low,
        vmax=max(high, low + 1e-9),
        alpha=0.7,
        zorder=0,
    )


def localization_report(
    output_folder,
    metrics,
    records,
    rows,
    title="Two talkers, two microphones",
    subtitle=None,
    notes=None,
    calibration=None,
):
    """Write ``report.html`` of a two-talker run.

    How the run was made is read from its folder; see ``Report.add_run``.

    Arguments
    ---------
    output_folder : str or Path
        Folder of the run; the report is written into it.
    metrics : dict
        Method (``"network"``, ``"gcc_phat"``, ``"srp_phat"``, ``"chance"``,
        ``"oracle"`` or others) to a dictionary of numbers, such as
        ``LocalizationErrors.summarize`` returns; ``mae`` is shown big.
    records : list of dict
        One an epoch, as ``read_train_log`` gives them; may be empty.
    rows : list of dict
        One a mixture of the test set: ``id``; ``reference``, ``estimate``
        and, if there are any, ``gcc_phat`` and ``srp_phat``, each the
        directions of the talkers in degrees in [0, 180]; and conditions
        ``t60`` (s), ``distance`` (m, one or one a talker), ``separation``
        (degrees; computed if missing), ``snr`` (dB).
    title : str
        Heading.
    subtitle : str, optional
        A sentence: data, model, device.
    notes : str, optional
        Text below the results.
    calibration : dict, optional
        What the estimated numbers of talkers and the confidences are worth:
        ``recordings``, ``numbers`` (recordings by true number, in rows, and
        estimate), ``number_right`` and ``right`` (shares),
        ``two_right`` (by separation), ``abstention``,
        ``expected_calibration_error`` and ``reliability``, as
        ``metrics.calibration.reliability_curve`` gives it.

    Returns
    -------
    Path
        The report.

    Raises
    ------
    ValueError
        If there are no results of the network, or no rows.

    Example
    -------
    >>> row = {"id": "a", "reference": [30.0, 90.0], "estimate": [33.0, 90.0],
    ...        "gcc_phat": [50.0, 90.0], "t60": 0.4}
    >>> path = localization_report(
    ...     getfixture("tmp_path"), {"network": {"mae": 1.5},
    ...     "gcc_phat": {"mae": 10.0}}, [], [row])
    >>> "GCC-PHAT" in path.read_text()
    True
    """
    check_results(metrics, rows)
    folder = Path(output_folder)
    report = Report(title, subtitle)
    _add_results(report, metrics, len(rows))
    if notes:
        report.add_text(notes)
    _add_accuracy(report, rows)
    if calibration is not None:
        _add_calibration(report, calibration)
    report.add_training(records)
    _add_examples(report, rows)
    report.add_run(folder)
    return report.write(folder / "report.html")


def _collect_errors(rows, key):
    """Errors of one method with the conditions that all rows have."""
    conditions = {
        name: [row[name] for row in rows]
        for name in CONDITIONS
        if all(row.get(name) is not None for row in rows)
    }
    errors = LocalizationErrors()
    errors.append(
        [row["id"] for row in rows],
        [row[key] for row in rows],
        [row["reference"] for row in rows],
        **conditions,
    )
    return errors


def _methods(rows):
    """Keys of the methods that all rows have, with their names."""
    return {
        key: name
        for key, name in ROW_KEYS.items()
        if all(key in row for row in rows)
    }


def _add_results(report, metrics, num_mixtures):
    """Add the big numbers and the table of all methods."""
    names = []
    for values in metrics.values():
        for name, value in values.items():
            shown = isinstance(value, int | float) and name not in NO_COLUMN
            if shown and name not in names:
                names.append(name)
    for method, values in metrics.items():
        if "mae" in values:
            report.add_headline(
                f"{values['mae']:.1f}°",
                f"{METHODS.get(method, method)}, mean error",
                main=method == "network",
            )
    columns = [COLUMNS.get(n, (n.replace("_", " "), 1)) for n in names]
    intervals = any("mae_low" in values for values in metrics.values())
    header = ["method", *(heading for heading, _ in columns)]
    rows = []
    for method, values in metrics.items():
        cells = [
            values[name] * factor if name in values else None
            for name, (_, factor) in zip(names, columns, strict=True)
        ]
        rows.append([METHODS.get(method, method), *cells])
        if intervals:
            rows[-1].append(interval_text(values, "mae"))
    report.add_section("Results")
    report.add_table(
        [*header, "95 % interval"] if intervals else header,
        rows,
        f"All methods had the same {num_mixtures} test mixtures; errors "
        "after optimal assignment of estimates to talkers.",
        emphasis=list(metrics).index("network"),
    )


def _add_accuracy(report, rows):
    """Add distribution of errors, scatter, and errors by condition."""
    errors = {
        name: _collect_errors(rows, key) for key, name in _methods(rows).items()
    }
    report.add_section("Accuracy")
    matched = errors["network"].rows()
    report.add_figures(
        [
            cumulative_error(
                {
                    name: np.ravel([row["error"] for row in found.rows()])
                    for name, found in errors.items()
                }
            ),
            _estimate_scatter(
                np.ravel([row["reference"] for row in matched]),
                np.ravel([row["estimate"] for row in matched]),
            ),
        ],
        [
            "Share of the talkers whose direction is at most so far off.",
            "Each dot is a talker of the test set.",
        ],
    )
    parts = {
        name: found.summarize(num_bootstrap=0)["by"]
        for name, found in errors.items()
    }
    figures = []
    for condition, (title, label) in CONDITIONS.items():
        ranges = list(parts["network"].get(condition, ()))
        if len(ranges) > 1:
            series = {
                name: [part[condition][key]["mae"] for key in ranges]
                for name, part in parts.items()
            }
            figures.append(
                grouped_bars(
                    ranges, series, "mean error, degrees", title, label
                )
            )
    if figures:
        report.add_section("Where it is hard")
        report.add_figures(figures)


def _add_calibration(report, measured):
    """Add estimated numbers of talkers, and what confidences are worth."""
    report.add_section("How many talkers, and how sure")
    numbers = measured["numbers"]
    report.add_table(
        ["true number", *(f"estimate {k}" for k in range(len(numbers)))],
        [[str(true), *row] for true, row in enumerate(numbers)],
        f"{measured['recordings']} recordings of the test set with no, one "
        "and more talkers, numbers estimated from the outputs: right in "
        f"{100 * measured['number_right']:.0f} %. Nothing was learned from "
        "them.",
    )
    if measured["two_right"]:
        shares = [100 * share for share in measured["two_right"].values()]
        report.add_table(
            ["between the talkers, °", *measured["two_right"]],
            [["both counted, %", *shares]],
            digits=0,
        )
    if measured["reliability"]:
        report.add_figure(
            reliability_diagram(measured["reliability"]),
            "Directions that are given, of a confidence of "
            f"{measured['abstention']:g} or more: share that is within 10 "
            "degrees of a talker of its own, against the confidence. Expected "
            "calibration error "
            f"{measured['expected_calibration_error']:.3f}, "
            f"{100 * measured['right']:.0f} % right.",
        )


def reliability_diagram(curve):
    """Share of correct predictions against their confidence.

    Arguments
    ---------
    curve : list of dict
        As ``metrics.calibration.reliability_curve`` gives it.

    Returns
    -------
    matplotlib.figure.Figure
        What lies on the diagonal is calibrated; areas show how many
        predictions a point stands for.

    Example
    -------
    >>> figure = reliability_diagram(
    ...     [{"confidence": 0.85, "correct": 0.9, "number": 40}])
    >>> figure.axes[0].get_xlabel()
    'confidence'
    """
    confidence, correct, number = (
        np.array([one[name] for one in curve])
        for name in ("confidence", "correct", "number")
    )
    with style():
        figure = new_figure(3.6, 3.4)
        axes = figure.add_subplot()
        axes.plot([0, 1], [0, 1], color=PALETTE[2], lw=1.0)
        axes.plot(confidence, correct, color=PALETTE[0], lw=1.2)
        axes.scatter(
            confidence,
            correct,
            s=15 + 120 * number / number.max(),
            color=PALETTE[0],
            clip_on=False,
            zorder=3,
        )
        axes.set(
            xlabel="confidence",
            ylabel="share that is right",
            xlim=(0, 1),
            ylim=(0, 1),
        )
        axes.set_title("Reliability of the confidence")
    return figure


def _add_examples(report, rows):
    """Add pictures from the best to the worst mixture, and a table."""
    methods = _methods(rows)
    found = _collect_errors(rows, "estimate").rows()
    error = np.mean([row["error"] for row in found], axis=1)
    ranks = np.linspace(0, len(rows) - 1, min(NUM_EXAMPLES, len(rows)))
    order = np.argsort(error, kind="stable")
    figures, captions = [], []
    for index in order[np.round(ranks).astype(int)]:
        row = rows[index]
        estimates = {name: row[key] for key, name in methods.items()}
        figures.append(half_plane(row["reference"], estimates))
        captions.append(
            f"{row['id']}: error {error[index]:.1f}°"
            + condition_text(row, ("t60", "distance", "snr"))
        )
    report.add_section("Examples")
    report.add_text(
        "Mixtures at equal steps from the smallest to the largest error of "
        "the network. The array lies along the line at the bottom; each "
        "method has its own ring."
    )
    report.add_figures(figures, captions)
    report.add_table(
        ["mixture", "truth", *methods.values(), "error of the network"],
        [
            [
                str(row["id"]),
                _degrees(row["reference"]),
                *(_degrees(row[key]) for key in methods),
                float(error[index]),
            ]
            for index, row in enumerate(rows[:NUM_TABLE_ROWS])
        ],
        f"The first {min(NUM_TABLE_ROWS, len(rows))} of {len(rows)} "
        "mixtures; directions and errors in degrees.",
    )


def _degrees(angles):
    """Directions as text, ascending."""
    return ", ".join(f"{angle:.0f}" for angle in sorted(angles))
