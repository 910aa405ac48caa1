"""The report of a run that estimates one acoustic quantity."""

from pathlib import Path

import numpy as np

from spatial_brain.metrics.room_acoustics import find_quantity
from spatial_brain.reporting.plots import (
    CONDITION_LABELS,
    MANY_POINTS,
    MARKERS,
    PALETTE,
    RULE,
    amount_plot,
    finish,
    new_figure,
    style,
)
from spatial_brain.reporting.pretext import embedding_picture
from spatial_brain.reporting.report import (
    Report,
    check_results,
    interval_text,
)

METHODS = {
    "network": "network",
    "best": "network of the best epoch",
    "training_mean": "training mean",
    "best_constant": "best constant of the test set",
    "gcc_phat": "GCC-PHAT",
}
CONDITIONS = {
    "t60": ("By reverberation time", "T60, s"),
    "snr": ("By noise", "SNR, dB"),
    "distance": ("By distance", "distance of the source, m"),
}
NUM_TABLE_ROWS = 12


def _value_scatter(reference, estimate, task, label):
    """Estimated against true values, with the line of no error."""
    reference, estimate = np.asarray(reference), np.asarray(estimate)
    both = np.concatenate((reference, estimate))
    margin = 0.04 * max(np.ptp(both), 1e-6)
    ends = np.array([both.min() - margin, both.max() + margin])
    with style():
        figure = new_figure(4.6, 4.2)
        axes = figure.add_subplot()
        axes.plot(ends, ends, color=PALETTE[2], lw=1.2)
        axes.scatter(
            reference,
            estimate,
            s=14,
            color=PALETTE[0],
            alpha=0.3 if len(reference) > 400 else 0.6,
            linewidths=0,
            rasterized=len(reference) > MANY_POINTS,
        )
        quantity = _with_unit(task, find_quantity(task).unit)
        axes.set(
            xlabel=f"true {quantity}",
            ylabel=f"estimated {quantity}",
            xlim=ends,
            ylim=ends,
            aspect="equal",
            title=f"Truth and {label}",
        )
    return figure


def _error_by_condition(parts, task, title, x_label):
    """Mean error in each range of a condition, with 95 % intervals."""
    ranges = list(next(iter(parts.values())))
    with style():
        figure = new_figure()
        axes = figure.add_subplot()
        places = np.arange(len(ranges))
        for index, (method, part) in enumerate(parts.items()):
            shift = 0.12 * (index - (len(parts) - 1) / 2)
            values, low, high = (
                np.array([part.get(r, {}).get(key, np.nan) for r in ranges])
                for key in ("mae", "mae_low", "mae_high")
            )
            axes.errorbar(
                places + shift,
                values,
                np.maximum((values - low, high - values), 0),
                label=method,
                color=PALETTE[index % len(PALETTE)],
                marker=MARKERS[index % len(MARKERS)],
                markersize=5,
                elinewidth=1.2,
            )
        axes.set(xlabel=x_label, ylabel=_error_label(task), xticks=places)
        axes.set_xticklabels(ranges)
        axes.set_ylim(bottom=0)
        finish(figure, axes, title, len(parts))
    return figure


def error_by_rooms(series, task, lines=None):
    """Mean error against the number of training rooms, a line a mode.

    Arguments
    ---------
    series : dict
        Mode to (numbers of rooms, mean errors, deviations over trials);
        NaN for a deviation that is not known.
    task : str
        Key of ``spatial_brain.metrics.room_acoustics.TASKS``.
    lines : dict, optional
        Label to (numbers of rooms, errors) of a baseline, or to one error
        that does not depend on the number of rooms.

    Returns
    -------
    matplotlib.figure.Figure
        The picture; a doubling of the rooms has always the same width.

    Example
    -------
    >>> figure = error_by_rooms(
    ...     {"fine-tuned": ([2, 8], [0.2, 0.1], [0.02, 0.01])}, "T60",
    ...     {"training mean": 0.3})
    >>> figure.axes[0].get_title(loc="left")
    'T60'
    """
    return amount_plot(
        series, "training rooms", _error_label(task), task, lines
    )


def tracks_over_time(found, spacing=None):
    """What models found in a recording, over time.

    Arguments
    ---------
    found : list of RoomAcoustics or RoomParameters
        Of one recording, one a model; see ``spatial_brain.inference``.
    spacing : float, optional
        Distance of the microphones, metres: a TDOA is drawn as an angle.

    Returns
    -------
    matplotlib.figure.Figure
        A panel a quantity: windows, and median and quartiles, or estimate
        and interval.

    Example
    -------
    >>> from spatial_brain.inference.room_acoustics import RoomAcoustics
    >>> one = RoomAcoustics("a.wav", "T60", 6.0, 16000, np.array([0.0, 2.0]),
    ...                     np.array([4.0, 6.0]), np.array([0.5, 0.6]))
    >>> tracks_over_time([one]).axes[0].get_ylabel()
    'T60, s'
    """
    drawn = [pair for one in found for pair in _panels_of(one, spacing)]
    with style():
        figure = new_figure(7.2, 1.0 + 1.7 * len(drawn))
        panels = figure.subplots(len(drawn), 1, sharex=True, squeeze=False)
        for index, (axes, (one, track)) in enumerate(
            zip(panels[:, 0], drawn, strict=True)
        ):
            colour = PALETTE[index % len(PALETTE)]
            middle, ends = track.median, track.quartiles
            if track.whole is not None:
                middle, ends = track.whole[1], track.whole[::2]
            axes.axhspan(*ends, color=colour, alpha=0.15, lw=0)
            axes.axhline(middle, color=colour, lw=1.0, ls=":")
            centres = (one.starts + one.stops) / 2
            axes.plot(
                centres,
                track.values,
                color=colour,
                marker="o" if len(centres) <= 60 else None,
                markersize=4,
                lw=1.5,
            )
            for window in np.flatnonzero(one.silent):
                ends = one.starts[window], one.stops[window]
                axes.axvspan(*ends, color=RULE, lw=0, zorder=0)
            axes.set_ylabel(_with_unit(track.name, track.unit))
        axes.set(xlabel="time, s", xlim=(0, found[0].duration))
        bands = {track.whole is None for _, track in drawn}
        kinds = ("estimate and interval", "median and quartiles")
        title = "; ".join(kinds[band] for band in sorted(bands))
        panels[0, 0].set_title(f"Acoustics over time: {title}")
        figure.align_ylabels(panels)
    return figure


def _panels_of(one, spacing):
    """What is drawn of what a model found: it, and each track of it."""
    tracks = one.tracks(spacing)
    if tracks[0].whole is None:
        tracks = [tracks[-1] if tracks[-1].name == "angle" else tracks[0]]
    return [(one, track) for track in tracks]


def _with_unit(name, unit):
    """A name with its unit, if it has one."""
    return f"{name}, {unit}" if unit else name


def _error_label(task):
    """Name of an axis of errors."""
    return _with_unit("mean error", find_quantity(task).unit)


def downstream_report(
    folder,
    *,
    task,
    metrics,
    records,
    rows,
    embeddings=None,
    embedding_method="auto",
    title=None,
    subtitle=None,
    notes=None,
):
    """Write ``report.html`` of a run that estimates one quantity.

    How the run was made is read from its folder; see ``Report.add_run``.

    Arguments
    ---------
    folder : str or Path
        Folder of the run; the report is written into it.
    task : str
        Key of ``spatial_brain.metrics.room_acoustics.TASKS``.
    metrics : dict
        Method (``"network"``, ``"training_mean"``, ``"gcc_phat"`` or others)
        to what ``AcousticErrors.summarize`` returns.
    records : list of dict
        One an epoch, as ``read_train_log`` gives them; may be empty.
    rows : list of dict
        One an example of the test set: ``id``, ``reference``, ``estimate``
        of the network; those of other methods under their names; conditions
        ``t60`` (s), ``snr`` (dB), ``distance`` (m).
    embeddings : torch.Tensor, optional
        [example, dimension], in the order of the rows.
    embedding_method : str
        As :func:`spatial_brain.reporting.pretext.embedding_picture` takes it.
    title : str, optional
        Heading; default: the quantity.
    subtitle : str, optional
        A sentence: data, mode of training, device.
    notes : str, optional
        Text below the results.

    Returns
    -------
    Path
        The report.

    Raises
    ------
    ValueError
        If the task is not known, or there are no results of the network or
        no rows, or embeddings are not as many as rows.

    Example
    -------
    >>> row = {"id": "a", "reference": 0.4, "estimate": 0.5, "t60": 0.4}
    >>> path = downstream_report(
    ...     getfixture("tmp_path"), task="T60", records=[], rows=[row],
    ...     metrics={"network": {"mae": 0.1}, "training_mean": {"mae": 0.3}})
    >>> "training mean" in path.read_text()
    True
    """
    quantity = find_quantity(task)
    check_results(metrics, rows)
    if embeddings is not None and len(embeddings) != len(rows):
        raise ValueError(f"{len(embeddings)} embeddings for {len(rows)} rows")
    name = quantity.name
    report = Report(title or f"{name[0].upper()}{name[1:]} ({task})", subtitle)
    _add_results(report, metrics, quantity, len(rows))
    if notes:
        report.add_text(notes)
    _add_accuracy(report, task, metrics, rows)
    report.add_training(records)
    if embeddings is not None:
        _add_embeddings(report, task, embeddings, embedding_method, rows)
    _add_worst(report, quantity, metrics, rows)
    report.add_run(folder)
    return report.write(Path(folder) / "report.html")


def _add_results(report, metrics, quantity, num_examples):
    """Add the big numbers and the table of all methods."""
    digits, unit = quantity.digits, quantity.unit
    for method, values in metrics.items():
        report.add_headline(
            f"{values['mae']:.{digits}f} {unit}".strip(),
            f"{METHODS.get(method, method)}, mean error",
            main=method == "network",
        )
    correlation = metrics["network"].get("correlation")
    report.add_headline(
        "–" if correlation is None else f"{correlation:.2f}",
        "correlation of estimate and truth",
    )
    table = []
    for method, values in metrics.items():
        correlation = values.get("correlation")
        table.append(
            [
                METHODS.get(method, method),
                values["mae"],
                interval_text(values, "mae", digits),
                values.get("median"),
                values.get("rmse"),
                values.get("bias"),
                "–" if correlation is None else f"{correlation:.2f}",
            ]
        )
    heads = ["mean error", "95 % interval", "median", "RMSE", "bias"]
    heads = [_with_unit(head, unit) for head in heads]
    report.add_section("Results")
    report.add_table(
        ["method", *heads, "correlation"],
        table,
        f"All methods had the same {num_examples} test signals; constants "
        "ignore them, and the best one is made from their labels."
        + _verdict(metrics),
        emphasis=list(metrics).index("network"),
        digits=digits,
    )


def _verdict(metrics):
    """A sentence if the network is no better than a constant."""
    network, constant = metrics["network"], metrics.get("best_constant")
    if constant is None:
        return ""
    if network.get("mae_high", network["mae"]) < constant["mae"]:
        return ""
    return " The network does not beat the best constant."


def _add_accuracy(report, task, metrics, rows):
    """Add truth against estimates, and errors by condition."""
    reference = [row["reference"] for row in rows]
    figures, captions = [], []
    for key, method in (("estimate", "network"), ("gcc_phat", "gcc_phat")):
        if all(key in row for row in rows):
            label = METHODS[method]
            estimate = [row[key] for row in rows]
            figures.append(_value_scatter(reference, estimate, task, label))
            captions.append("Each dot is a signal of the test set.")
    report.add_section("Accuracy")
    if len(figures) > 1:
        report.add_figures(figures, captions)
    else:
        report.add_figure(figures[0], captions[0])
    parts = {
        METHODS.get(method, method): values["by"]
        for method, values in metrics.items()
        if "by" in values
    }
    figures = []
    for condition, (title, label) in CONDITIONS.items():
        shown = {
            method: by[condition]
            for method, by in parts.items()
            if len(by.get(condition, ())) > 1
        }
        if shown:
            figures.append(_error_by_condition(shown, task, title, label))
    if figures:
        report.add_section("Where it is hard")
        if any(
            np.isfinite(values.get("mae_low", np.nan))
            for part in parts.values()
            for ranges in part.values()
            for values in ranges.values()
        ):
            report.add_text("Whiskers are 95 % intervals.")
        report.add_figures(figures)
    _add_groups(report, task, parts)


def _add_groups(report, task, parts):
    """Add a table of errors for each condition that is text (rooms, arrays)."""
    quantity = find_quantity(task)
    network = parts.get(METHODS["network"], {})
    for condition in network:
        groups = network[condition]
        if condition in CONDITIONS or len(groups) < 2:
            continue
        report.add_section(f"By {condition.replace('_', ' ')}")
        report.add_table(
            [condition.replace("_", " "), "signals", *parts],
            [
                [
                    name,
                    found["num_examples"],
                    *(by[condition][name]["mae"] for by in parts.values()),
                ]
                for name, found in groups.items()
            ],
            f"Mean absolute error, {quantity.label}.",
            digits=[0, 0, *[quantity.digits] * len(parts)],
        )


def _add_embeddings(report, task, embeddings, method, rows):
    """Add embeddings coloured by the label and by conditions."""
    labels = {_with_unit(task, find_quantity(task).unit): "reference"}
    for key, (name, unit, _) in CONDITION_LABELS.items():
        if name != task and all(row.get(key) is not None for row in rows):
            labels[_with_unit(name, unit)] = key
    report.add_section("Embeddings")
    report.add_text(
        "The features of each test signal that the head gets, laid into the "
        "plane. Where colours run smoothly, the quantity has been learned."
    )
    report.add_figures(
        [
            embedding_picture(
                embeddings, [row[key] for row in rows], label, method
            )
            for label, key in labels.items()
        ],
        [f"Coloured by {label}." for label in labels],
    )


def _add_worst(report, quantity, metrics, rows):
    """Add a table of the signals with the largest errors."""
    methods = [
        key
        for key in metrics
        if key != "network" and all(key in row for row in rows)
    ]
    error = np.array([row["estimate"] - row["reference"] for row in rows])
    order = np.argsort(-np.abs(error), kind="stable")[:NUM_TABLE_ROWS]
    conditions = [
        key
        for key in CONDITION_LABELS
        if all(row.get(key) is not None for row in rows)
    ]
    report.add_section("Largest errors")
    report.add_table(
        [
            "signal",
            "truth",
            "network",
            *(METHODS.get(key, key) for key in methods),
            "error",
            *(_with_unit(*CONDITION_LABELS[key][:2]) for key in conditions),
        ],
        [
            [
                str(rows[index]["id"]),
                float(rows[index]["reference"]),
                float(rows[index]["estimate"]),
                *(float(rows[index][key]) for key in methods),
                float(error[index]),
                *(float(rows[index][key]) for key in conditions),
            ]
            for index in order
        ],
        f"{len(order)} of {len(rows)} test signals"
        + (f"; values in {quantity.unit}." if quantity.unit else "."),
        digits=[
            *[quantity.digits] * (4 + len(methods)),
            *(CONDITION_LABELS[key][2] for key in conditions),
        ],
    )
