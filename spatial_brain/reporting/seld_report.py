"""The report of a run that detects and localises sound events."""

from pathlib import Path

import numpy as np

from spatial_brain.reporting.event_plots import event_trajectories
from spatial_brain.reporting.localization_report import add_run
from spatial_brain.reporting.plots import grouped_bars, training_curves
from spatial_brain.reporting.report import Report
from spatial_brain.reporting.seld_plots import (
    class_confusion,
    class_scores,
    confusion_picture,
)
from spatial_brain.reporting.style import style

METHODS = {
    "network": "network",
    "rotated": "network, mean over rotations",
    "untrained": "untrained network",
    "constant": "best constant answer",
}
# Score: heading, factor, decimal places.
SCORES = {
    "ER": ("ER", 1, 3),
    "precision": ("precision, %", 100, 1),
    "recall": ("recall, %", 100, 1),
    "F": ("F, %", 100, 1),
    "LE": ("LE, °", 1, 1),
    "LR": ("LR, %", 100, 1),
    "DE": ("DE, m", 1, 2),
    "RDE": ("RDE, %", 100, 1),
    "SELD": ("SELD", 1, 3),
}
MEANING = (
    "ER: error rate; F: F-score of what is found in the right direction; LE "
    "and LR: error of the direction, and share of the events found in any "
    "direction. F and LR are the better the larger, the rest the smaller."
)
# Scores of the log that share a picture.
SHARED = ("ER", "F", "LR", "SELD")
CURVES = {
    "score": "Scores of the validation",
    "LE": "Direction error (LE) of the validation, degrees",
}
CONDITIONS = {"room": "By room", "overlap": "By simultaneous events"}
FRAMES_PER_SECOND = 10
AUDIO_SECONDS = 10
MAX_BARS = 10


def seld_report(
    folder,
    *,
    scores,
    train_log,
    clips,
    class_names,
    references=None,
    estimates=None,
    by_room=None,
    by_overlap=None,
    baselines=None,
    title="Sound events and their directions",
    subtitle="",
    notes="",
):
    """Write ``report.html`` of a run that detects and localises events.

    The command, the hyper-parameters and the environment are taken from
    ``command.txt``, ``hyperparams.yaml`` and ``env.log`` of the folder, as
    far as they are there.

    Arguments
    ---------
    folder : str or Path
        Folder of the run; the report is written into it.
    scores : dict
        Method (``"network"``, ``"untrained"``, ``"constant"`` or others) to
        what ``SELDScores.compute`` returns, with or without intervals.
    train_log : list of dict
        One an epoch, as ``read_train_log`` gives them; may be empty.
    clips : list of dict
        Recordings to show: ``name``, ``reference`` and ``estimate`` (event
        tables), ``waveform`` (FOA [time, 4], or None) and its ``fs``.
    class_names : sequence of str
        C names.
    references, estimates : dict, optional
        Clip to event table, of the whole test set, for the confusion of
        classes; default: those of ``clips``.
    by_room, by_overlap : dict, optional
        Group to scores of the network, as ``compute(by=...)["by"]`` is.
    baselines : dict, optional
        More methods, shown after those of ``scores``.
    title : str
        Heading.
    subtitle : str
        A sentence: data, model, device.
    notes : str
        Text below the results.

    Returns
    -------
    Path
        The report.

    Raises
    ------
    ValueError
        If there are no scores of the network.

    Example
    -------
    >>> from spatial_brain.dataio.events import EventTable
    >>> table = EventTable(range(9), [0] * 9, [30.0] * 9, [0.0] * 9)
    >>> scores = {"ER": 0.1, "F": 0.9, "LE": 8.0, "LR": 0.9, "SELD": 0.086,
    ...           "per_class": {"F": [0.9], "LE": [8.0], "references": [1]}}
    >>> path = seld_report(
    ...     getfixture("tmp_path"), scores={"network": scores}, train_log=[],
    ...     clips=[{"name": "a", "reference": table, "estimate": table,
    ...             "waveform": None, "fs": 24000}],
    ...     class_names=["dog"])
    >>> "0.086" in path.read_text()
    True
    """
    if "network" not in scores:
        raise ValueError(
            f"a report needs scores of the 'network', got {list(scores)}"
        )
    if references is None:
        references = {clip["name"]: clip["reference"] for clip in clips}
        estimates = {clip["name"]: clip["estimate"] for clip in clips}
    report = Report(title, subtitle or None)
    methods = {**scores, **(baselines or {})}
    _add_results(report, methods)
    if notes:
        report.add_text(notes)
    _add_classes(report, scores["network"], references, estimates, class_names)
    _add_conditions(report, {"room": by_room, "overlap": by_overlap})
    if train_log:
        report.add_section("Training")
        report.add_figures(_curves(train_log))
    if clips:
        _add_clips(report, clips, class_names)
    add_run(report, folder)
    return report.write(Path(folder) / "report.html")


def _known(results):
    """Names of scores that any of some results has, in order."""
    return [name for name in SCORES if any(name in r for r in results)]


def _add_scores(report, heading, results, caption, emphasis=None):
    """Add a table of scores, one row a result."""
    known = _known(results.values())
    header = [heading, *(SCORES[key][0] for key in known)]
    digits = [0, *(SCORES[key][2] for key in known)]
    rows = [
        [
            name,
            *(
                SCORES[key][1] * result[key] if key in result else None
                for key in known
            ),
        ]
        for name, result in results.items()
    ]
    if heading in CONDITIONS:
        header.append("clips")
        digits.append(0)
        for row, result in zip(rows, results.values(), strict=True):
            row.append(result.get("num_clips"))
    report.add_table(header, rows, caption, emphasis, digits)


def _add_results(report, methods):
    """Add the big numbers, the table of all methods, and intervals."""
    network = methods["network"]
    main = "SELD" if "SELD" in network else "F"
    for method, result in methods.items():
        name = METHODS.get(method, method)
        report.add_headline(
            _text(main, result[main]),
            f"{main} score, {name}",
            main=method == "network",
        )
    for key, label in (("F", "F-score"), ("LE", "direction error")):
        if key in network and key != main:
            report.add_headline(_text(key, network[key]), f"{label}, network")
    report.add_section("Results")
    told = [
        f"{label}{network[key]}"
        for key, label in (
            ("metric", "metric "),
            ("mode", "mode "),
            ("average", "average "),
            ("num_clips", "number of clips "),
        )
        if key in network
    ]
    caption = MEANING
    if told:
        caption += f" Scored with {', '.join(told)}."
    named = {METHODS.get(key, key): value for key, value in methods.items()}
    place = list(methods).index("network")
    _add_scores(report, "method", named, caption, place)
    ranges = {
        name: result["intervals"]
        for name, result in named.items()
        if "intervals" in result
    }
    if ranges:
        known = _known(ranges.values())
        report.add_table(
            ["95 % interval", *(SCORES[key][0] for key in known)],
            [
                [name, *(_range(key, found.get(key)) for key in known)]
                for name, found in ranges.items()
            ],
            "Jackknife over the clips.",
            emphasis=place if len(ranges) == len(named) else None,
        )


def _text(key, value):
    """A score with its unit."""
    _, factor, digits = SCORES[key]
    unit = {100: " %"}.get(factor, "°" if key == "LE" else "")
    return f"{factor * value:.{digits}f}{unit}"


def _range(key, ends):
    """An interval as text, None if there is none."""
    if ends is None or not np.isfinite(ends).all():
        return None
    _, factor, digits = SCORES[key]
    return " to ".join(f"{factor * end:.{digits}f}" for end in ends)


def _add_classes(report, network, references, estimates, class_names):
    """Add scores of each class, and what is taken for what."""
    report.add_section("Classes")
    per_class = network.get("per_class", {})
    if {"F", "LE", "references"} <= set(per_class):
        report.add_figure(
            class_scores(
                per_class,
                class_names,
                network.get("intervals", {}).get("per_class"),
            ),
            "Classes of the test set with the number of their references as "
            "the metric counts them; lines are 95 % intervals.",
        )
    number = len(class_names)
    confusion = sum(
        (
            class_confusion(table, estimates[clip], number)
            for clip, table in references.items()
        ),
        np.zeros((number + 1, number + 1), dtype=np.int64),
    )
    report.add_figure(
        confusion_picture(confusion, class_names),
        "Of the frames in which a class sounds, how many were taken for which "
        "class, or missed. The last row: what was reported where nothing, or "
        "nothing more, sounded.",
    )


def _add_conditions(report, tables):
    """Add scores by condition, as tables and bars."""
    tables = {key: table for key, table in tables.items() if table}
    if not tables:
        return
    report.add_section("Where it is hard")
    figures = []
    for condition, table in tables.items():
        shown = dict(list(table.items())[:MAX_BARS])
        series = {
            key: [100 * result[key] for result in shown.values()]
            for key in ("F", "LR")
            if all(key in result for result in shown.values())
        }
        figures.append(
            grouped_bars(list(shown), series, "%", CONDITIONS[condition])
        )
    report.add_figures(figures)
    for condition, table in tables.items():
        _add_scores(report, condition, table, "Scores of the network.")


def _curves(records):
    """Learning curves; scores between 0 and 1 share a picture."""
    renamed = []
    for record in records:
        pairs = ((name.rpartition(" ")[2], name) for name in record)
        renamed.append(
            {
                f"{key} score" if key in SHARED else name: record[name]
                for key, name in pairs
            }
        )
    figures = training_curves(renamed)
    for figure in figures:
        axes = figure.axes[0]
        title = CURVES.get(axes.get_ylabel())
        if title:
            with style():
                axes.set_title(title)
    return figures


def _add_clips(report, clips, class_names):
    """Add directions over time, and the sound, of some recordings."""
    report.add_section("Recordings")
    report.add_text(
        "Directions over time, the truth and what was found. The players have "
        "the first channel, of the seconds in which most events sound."
    )
    for clip in clips:
        reference = clip["reference"]
        report.add_figure(
            event_trajectories(
                clip["estimate"],
                reference,
                class_names=class_names,
                title=clip["name"],
            ),
            f"Up to {reference.overlap().max(initial=0)} events at a time.",
        )
        if clip["waveform"] is not None:
            _add_sound(report, clip)


def _add_sound(report, clip):
    """Add the seconds of a recording in which most happens."""
    waveform, fs = clip["waveform"], clip["fs"]
    seconds = len(waveform) / fs
    length = min(AUDIO_SECONDS, seconds)
    frames = int(seconds * FRAMES_PER_SECOND)
    width = int(length * FRAMES_PER_SECOND)
    busy = np.cumsum(np.append(0, clip["reference"].overlap(frames)))
    first = int(np.argmax(busy[width:] - busy[: len(busy) - width]))
    start = first / FRAMES_PER_SECOND
    part = waveform[round(start * fs) : round((start + length) * fs), 0]
    report.add_audio(
        part,
        fs,
        f"{clip['name']}, seconds {start:.1f} to {start + length:.1f}",
    )
