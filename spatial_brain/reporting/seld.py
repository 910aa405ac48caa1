"""The report of a run that detects and localises sound events."""

from pathlib import Path

import numpy as np
from matplotlib.colors import LinearSegmentedColormap, to_rgb
from matplotlib.lines import Line2D

from spatial_brain.dataio.events import FRAME_LENGTH, link_events
from spatial_brain.metrics.seld.matching import (
    angle_on_sphere,
    group_rows,
    match,
)
from spatial_brain.reporting.plots import (
    FAINT,
    INK,
    MANY_POINTS,
    MARKERS,
    PALETTE,
    grouped_bars,
    new_figure,
    style,
    training_curves,
)
from spatial_brain.reporting.report import Report

# More classes than this are not readable; the most frequent are shown.
MAX_CLASSES = 24
# Numbers are written into the cells of a matrix of at most so many classes.
MAX_NUMBERED = 14
NAME_LENGTH = 22
# The metrics' direction error of a class of which nothing was found.
NOTHING_FOUND = 180.0
# Ends of the axis of direction errors, degrees.
ERROR_LIMITS = (20, 40, 60, 120, 180)
# Dearer than any angle: pairs of one class come first.
_OTHER_CLASS = 1e4
# The most frequent classes have a colour and a sign of their own.
MAX_SHOWN_CLASSES = 12
OTHERS = "other classes"
METHODS = {
    "network": "network",
    "rotated": "network, mean over rotations",
    "untrained": "untrained network",
    "constant": "best constant prediction",
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


def _class_confusion(reference, estimate, num_classes):
    """Frames [C + 1, C + 1]: class of the reference, class of the estimate."""
    for name, table in (("reference", reference), ("estimate", estimate)):
        beyond = table.label[(table.label < 0) | (table.label >= num_classes)]
        if len(beyond):
            raise ValueError(
                f"{name} has an event of class {beyond[0]}, there are "
                f"{num_classes} classes"
            )
    angle = angle_on_sphere(reference, estimate)

    def cost(ours, theirs):
        other = reference.label[ours] != estimate.label[theirs]
        return angle(ours, theirs) + _OTHER_CLASS * other

    pairs = match(group_rows(reference.frame), group_rows(estimate.frame), cost)
    confusion = np.zeros((num_classes + 1, num_classes + 1), dtype=np.int64)
    paired = (reference.label[pairs.reference], estimate.label[pairs.estimate])
    np.add.at(confusion, paired, 1)
    for side, table, axis in (
        (confusion[:-1, -1], reference, 1),
        (confusion[-1, :-1], estimate, 0),
    ):
        total = np.bincount(table.label, minlength=num_classes)
        side += total - confusion[:-1, :-1].sum(axis)
    return confusion


def _confusion_picture(confusion, class_names):
    """Matrix of classes, each row as shares of its references."""
    chosen = _frequent(confusion[:-1].sum(1))
    keep = np.append(chosen, len(confusion) - 1)
    # Before classes are left out, so that rows of all are shares of all.
    share = 100 * confusion / np.maximum(confusion.sum(1, keepdims=True), 1)
    share = share[np.ix_(keep, keep)]
    names = [_short_name(class_names[label]) for label in chosen]
    number = len(keep)
    # From nothing to blue, so that the page's colour shines through.
    rgb = to_rgb(PALETTE[0])
    colours = LinearSegmentedColormap.from_list(
        "share", [(*rgb, 0.0), (*rgb, 0.75)]
    )
    with style():
        size = 2.6 + 0.36 * number
        figure = new_figure(min(size + 0.6, 9.0), min(size, 8.4))
        axes = figure.add_subplot()
        axes.pcolormesh(share, cmap=colours, vmin=0, vmax=100)
        places = np.arange(number) + 0.5
        axes.set(
            xticks=places,
            yticks=places,
            xlabel="estimate",
            ylabel="reference",
            title="Confusion, %",
        )
        axes.set_xticklabels([*names, "missed"], rotation=45, ha="right")
        axes.set_yticklabels([*names, "nothing"])
        axes.axhline(number - 1, color=INK, lw=0.8)
        axes.axvline(number - 1, color=INK, lw=0.8)
        axes.grid(False)
        axes.invert_yaxis()
        if number <= MAX_NUMBERED + 1:
            for row, column in np.argwhere(share >= 0.5):
                axes.text(
                    column + 0.5,
                    row + 0.5,
                    f"{share[row, column]:.0f}",
                    ha="center",
                    va="center",
                    fontsize=8,
                )
    return figure


def _class_scores(per_class, class_names, intervals=None):
    """F-score and direction error of each class, with intervals as whiskers."""
    references = np.asarray(per_class["references"])
    chosen = _frequent(references)
    names = [
        f"{_short_name(class_names[label])} ({references[label]})"
        for label in chosen
    ]
    error = np.asarray(per_class["LE"], dtype=float)[chosen]
    found = error < NOTHING_FOUND
    widest = error[found].max(initial=0)
    panels = (
        ("F", 100, "F-score, %", PALETTE[0], 100),
        (
            "LE",
            1,
            "direction error (LE), degrees",
            PALETTE[1],
            next(limit for limit in ERROR_LIMITS if limit >= widest),
        ),
    )
    with style():
        figure = new_figure(8.2, 1.3 + 0.32 * max(len(chosen), 2))
        places = np.arange(len(chosen))
        for axes, (key, factor, label, colour, limit) in zip(
            figure.subplots(1, 2, sharey=True), panels, strict=True
        ):
            shown = found if key == "LE" else np.ones_like(found)
            rows, labels = places[shown], chosen[shown]
            values = factor * np.asarray(per_class[key], dtype=float)
            axes.barh(rows, values[labels], 0.66, color=colour)
            if intervals:
                ends = factor * np.asarray(intervals[key], dtype=float)
                low, high = np.clip(ends[labels], 0, limit).T
                axes.hlines(rows, low, high, color=INK, lw=1.2)
            for row in places[~shown]:
                axes.text(0.02 * limit, row, "none found", va="center")
            axes.set(xlabel=label, yticks=places, xlim=(0, limit))
            axes.set_yticklabels(names)
            axes.set_xticks(np.linspace(0, limit, 5))
            axes.grid(False, axis="y")
        axes.invert_yaxis()
    return figure


def _frequent(counts):
    """The most frequent of the classes that occur, ascending."""
    order = np.argsort(-np.asarray(counts), kind="stable")[:MAX_CLASSES]
    return np.sort(order[np.asarray(counts)[order] > 0])


def _short_name(name):
    """Name of a class that fits beside a picture."""
    name = str(name).replace("_", " ")
    if len(name) <= NAME_LENGTH:
        return name
    return name[: NAME_LENGTH - 1].rstrip() + "…"


def event_trajectories(
    estimate,
    reference=None,
    class_names=None,
    duration=None,
    title="Directions over time",
):
    """Azimuth and elevation of sound events over time, a colour a class.

    Arguments
    ---------
    estimate : spatial_brain.dataio.events.EventTable
        Drawn as points.
    reference : spatial_brain.dataio.events.EventTable, optional
        Drawn as broad pale lines below.
    class_names : sequence of str, optional
        For the legend; default: numbers.
    duration : float, optional
        Seconds shown; default: as long as the tables are.
    title : str, optional
        Short.

    Returns
    -------
    matplotlib.figure.Figure
        Two pictures above each other; the twelve classes with the most frames
        have looks of their own.

    Example
    -------
    >>> from spatial_brain.dataio.events import EventTable
    >>> table = EventTable([0, 1], [3, 3], [90.0, 95.0], [0.0, 0.0])
    >>> figure = event_trajectories(table, class_names=list("abcd"))
    >>> [axes.get_ylabel() for axes in figure.axes]
    ['azimuth, degrees', 'elevation, degrees']
    """
    tables = [estimate] if reference is None else [reference, estimate]
    if duration is None:
        duration = max(_duration(table) for table in tables)
    labels = np.concatenate([table.label for table in tables])
    looks = _looks(labels)
    with style():
        figure = new_figure(7.2, 5.0)
        axes = figure.subplots(2, 1, sharex=True, height_ratios=(3, 2))
        for label, (colour, marker) in looks.items():
            for table in tables:
                rows = _is_label(table.label, label, looks)
                draw = _draw_points if table is estimate else _draw_lines
                draw(axes, table.select(rows), colour, marker)
        axes[0].set(ylim=(-184, 184), yticks=range(-180, 181, 90))
        axes[1].set(ylim=(-94, 94), yticks=range(-90, 91, 45))
        axes[0].set_ylabel("azimuth, degrees")
        axes[1].set(xlabel="time, s", ylabel="elevation, degrees")
        axes[0].set_xlim(0, max(duration, FRAME_LENGTH))
        figure.align_ylabels(axes)
        if title:
            axes[0].set_title(title)
        _add_legend(figure, looks, class_names, reference is not None)
    return figure


def _duration(table):
    """Length of a table in seconds."""
    frames = table.num_frames
    if frames is None:
        frames = int(table.frame.max(initial=-1)) + 1
    return frames * FRAME_LENGTH


def _looks(labels):
    """Class to (colour, marker), the most frequent classes, then others."""
    found, counts = np.unique(labels, return_counts=True)
    frequent = found[np.argsort(-counts, kind="stable")[:MAX_SHOWN_CLASSES]]
    looks = {}
    for index, label in enumerate(sorted(frequent.tolist())):
        turn = index // len(PALETTE)
        looks[label] = (
            PALETTE[index % len(PALETTE)],
            MARKERS[(index + turn) % len(MARKERS)],
        )
    if len(found) > len(frequent):
        looks[OTHERS] = (FAINT, ".")
    return looks


def _is_label(labels, label, looks):
    """Which rows are of a class, or of none that has a look."""
    if label == OTHERS:
        return ~np.isin(labels, [key for key in looks if key != OTHERS])
    return labels == label


def _draw_points(axes, table, colour, marker):
    """One point a frame and event."""
    time = (table.frame + 0.5) * FRAME_LENGTH
    many = len(table) > MANY_POINTS
    for part, values in zip(
        axes, (table.azimuth, table.elevation), strict=True
    ):
        part.scatter(
            time,
            values,
            s=6 if many else 14,
            color=colour,
            marker=marker,
            linewidths=0,
            rasterized=many,
            zorder=3,
        )


def _draw_lines(axes, table, colour, _):
    """One broad line an event."""
    tracks = link_events(table)
    order = np.lexsort((table.frame, tracks))
    table, tracks = table.select(order), tracks[order]
    new = np.flatnonzero(np.diff(tracks)) + 1
    # Where the azimuth passes 180 degrees the line starts again.
    turns = np.flatnonzero(np.abs(np.diff(table.azimuth)) > 180) + 1
    for part, values, breaks in (
        (axes[0], table.azimuth, np.union1d(new, turns)),
        (axes[1], table.elevation, new),
    ):
        # A line covers its frames from edge to edge.
        stretches = np.split(np.arange(len(table)), breaks)
        x, y = [], []
        for rows in stretches:
            if len(rows):
                centre = (table.frame[rows] + 0.5) * FRAME_LENGTH
                half = FRAME_LENGTH / 2
                x += [centre[0] - half, *centre, centre[-1] + half, np.nan]
                y += [values[rows[0]], *values[rows], values[rows[-1]], np.nan]
        part.plot(
            x,
            y,
            color=colour,
            alpha=0.35,
            lw=6.0,
            solid_capstyle="butt",
            zorder=2,
        )


def _add_legend(figure, looks, class_names, with_reference):
    """Classes with their signs, then what lines and points are."""
    handles = []
    for label, (colour, marker) in looks.items():
        name = label
        if label != OTHERS and class_names is not None:
            name = str(class_names[label]).replace("_", " ")
        elif label != OTHERS:
            name = f"class {label}"
        handles.append(
            Line2D([], [], color=colour, marker=marker, ls="none", label=name)
        )
    if with_reference:
        handles += [
            Line2D([], [], color=FAINT, alpha=0.35, lw=6.0, label="truth"),
            Line2D([], [], color=FAINT, marker="o", ls="none", label="found"),
        ]
    if handles:
        figure.legend(
            handles=handles,
            loc="outside lower left",
            ncols=3,
            handlelength=1.6,
            columnspacing=1.4,
        )


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

    How the run was made is read from its folder; see ``Report.add_run``.

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
    report.add_run(folder)
    return report.write(Path(folder) / "report.html")


def _known(results):
    """Names of scores that any of some results has, in order."""
    return [name for name in SCORES if any(name in r for r in results)]


def _has_events(result):
    """Whether there was anything to find; else scores say nothing."""
    return any(result.get("per_class", {}).get("references", [True]))


def _add_scores(report, heading, results, caption, emphasis=None):
    """Add a table of scores, one row a result."""
    known = _known(results.values())
    header = [heading, *(SCORES[key][0] for key in known)]
    digits = [0, *(SCORES[key][2] for key in known)]
    rows = [
        [
            name,
            *(
                SCORES[key][1] * result[key]
                if key in result and _has_events(result)
                else None
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
    settings = [
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
    if settings:
        caption += f" Scored with {', '.join(settings)}."
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
    lines = network.get("warnings", [])
    if lines:
        report.add_text(f"Of the network's scores: {'; '.join(lines)}.")


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
            _class_scores(
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
            _class_confusion(table, estimates[clip], number)
            for clip, table in references.items()
        ),
        np.zeros((number + 1, number + 1), dtype=np.int64),
    )
    report.add_figure(
        _confusion_picture(confusion, class_names),
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
        tried = {k: found for k, found in table.items() if _has_events(found)}
        if not tried:
            continue
        shown = dict(list(tried.items())[:MAX_BARS])
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
