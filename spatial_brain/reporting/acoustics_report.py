"""The report of a run that estimates one acoustic quantity."""

from pathlib import Path

import numpy as np

from spatial_brain.metrics.room_acoustics import find_quantity
from spatial_brain.reporting.acoustics_plots import (
    error_by_condition,
    value_scatter,
)
from spatial_brain.reporting.localization_report import add_run
from spatial_brain.reporting.plots import training_curves
from spatial_brain.reporting.report import Report
from spatial_brain.reporting.representation_plots import embedding_picture

METHODS = {
    "network": "network",
    "best": "network of the best epoch",
    "training_mean": "training mean",
    "gcc_phat": "GCC-PHAT",
}
CONDITIONS = {
    "t60": ("By reverberation time", "T60, s"),
    "snr": ("By noise", "SNR, dB"),
    "distance": ("By distance", "distance of the source, m"),
}
# Conditions told in captions: name, unit, decimal places.
TOLD = {
    "t60": ("T60", "s", 2),
    "snr": ("SNR", "dB", 0),
    "distance": ("distance", "m", 1),
}
NUM_TABLE_ROWS = 12


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

    The command, the hyper-parameters and the environment are taken from
    ``command.txt``, ``hyperparams.yaml`` and ``env.log`` of the folder, as
    far as they are there.

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
        As ``flatten_embeddings`` takes it.
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
    if "network" not in metrics or not rows:
        raise ValueError(
            "a report needs metrics of the 'network' and rows of the test "
            f"set, got metrics of {list(metrics)} and {len(rows)} rows"
        )
    if embeddings is not None and len(embeddings) != len(rows):
        raise ValueError(f"{len(embeddings)} embeddings for {len(rows)} rows")
    name = quantity.name
    report = Report(title or f"{name[0].upper()}{name[1:]} ({task})", subtitle)
    _add_results(report, metrics, quantity, len(rows))
    if notes:
        report.add_text(notes)
    _add_accuracy(report, task, metrics, rows)
    if records:
        report.add_section("Training")
        report.add_figures(training_curves(records))
    if embeddings is not None:
        _add_embeddings(report, task, embeddings, embedding_method, rows)
    _add_worst(report, quantity, metrics, rows)
    add_run(report, folder)
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
    table = []
    for method, values in metrics.items():
        interval = None
        if "mae_low" in values:
            low, high = values["mae_low"], values["mae_high"]
            interval = f"{low:.{digits}f} to {high:.{digits}f}"
        correlation = values.get("correlation")
        table.append(
            [
                METHODS.get(method, method),
                values["mae"],
                interval,
                values.get("median"),
                values.get("rmse"),
                values.get("bias"),
                "–" if correlation is None else f"{correlation:.2f}",
            ]
        )
    heads = ["mean error", "95 % interval", "median", "RMSE", "bias"]
    if unit:
        heads = [f"{head}, {unit}" for head in heads]
    report.add_section("Results")
    report.add_table(
        ["method", *heads, "correlation"],
        table,
        f"All methods heard the same {num_examples} test signals; the "
        "training mean hears nothing.",
        emphasis=list(metrics).index("network"),
        digits=digits,
    )


def _add_accuracy(report, task, metrics, rows):
    """Add truth against estimates, and errors by condition."""
    reference = [row["reference"] for row in rows]
    figures, captions = [], []
    for key, method in (("estimate", "network"), ("gcc_phat", "gcc_phat")):
        if all(key in row for row in rows):
            label = METHODS[method]
            estimate = [row[key] for row in rows]
            figures.append(value_scatter(reference, estimate, task, label))
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
            figures.append(error_by_condition(shown, task, title, label))
    if figures:
        report.add_section("Where it is hard")
        report.add_text("Whiskers are 95 % intervals.")
        report.add_figures(figures)


def _add_embeddings(report, task, embeddings, method, rows):
    """Add embeddings coloured by the label and by conditions."""
    unit = find_quantity(task).unit
    labels = {f"{task}, {unit}" if unit else task: "reference"}
    for key, (name, unit, _) in TOLD.items():
        if name != task and all(row.get(key) is not None for row in rows):
            labels[f"{name}, {unit}"] = key
    report.add_section("Embeddings")
    report.add_text(
        "What the head hears of each test signal, laid into the plane. "
        "Colours that run smoothly say that the quantity has been learned."
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
        key for key in TOLD if all(row.get(key) is not None for row in rows)
    ]
    report.add_section("Largest errors")
    report.add_table(
        [
            "signal",
            "truth",
            "network",
            *(METHODS.get(key, key) for key in methods),
            "error",
            *(f"{TOLD[key][0]}, {TOLD[key][1]}" for key in conditions),
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
            *(TOLD[key][2] for key in conditions),
        ],
    )
