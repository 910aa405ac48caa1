"""Pictures of sound event localization and detection by class."""

import numpy as np
from matplotlib.colors import LinearSegmentedColormap, to_rgb

from spatial_brain.metrics.seld_matching import (
    angle_on_sphere,
    group_rows,
    match,
)
from spatial_brain.reporting.style import INK, PALETTE, new_figure, style

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


def class_confusion(reference, estimate, num_classes):
    """Count which class is taken for which, frame by frame.

    In each frame references and estimates are paired: as many as possible
    with one of their own class, the rest with one of another, near ones
    first. Directions decide who is paired, not whether.

    Arguments
    ---------
    reference : spatial_brain.dataio.events.EventTable
        What sounds.
    estimate : spatial_brain.dataio.events.EventTable
        What was found.
    num_classes : int
        C.

    Returns
    -------
    numpy.ndarray
        int64, shape [C + 1, C + 1], in frames: rows are classes of
        references, columns of estimates. Last column: references without an
        estimate; last row: estimates without a reference.

    Raises
    ------
    ValueError
        If there are events of classes beyond.

    Example
    -------
    >>> from spatial_brain.dataio.events import EventTable
    >>> truth = EventTable([0, 0, 1], [0, 1, 1], [0, 90, 90], [0, 0, 0])
    >>> found = EventTable([0, 1, 1], [0, 0, 1], [0, 0, 80], [0, 0, 0])
    >>> class_confusion(truth, found, 2)
    array([[1, 0, 0],
           [0, 1, 1],
           [1, 0, 0]])
    """
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


def confusion_picture(confusion, class_names):
    """Matrix of classes, each row as shares of its references.

    Arguments
    ---------
    confusion : numpy.ndarray
        Of ``class_confusion``, or a sum of several, shape [C + 1, C + 1].
    class_names : sequence of str
        C names.

    Returns
    -------
    matplotlib.figure.Figure
        With more than 24 classes, of the most frequent ones.

    Example
    -------
    >>> figure = confusion_picture(np.eye(3, dtype=int), ["dog", "bell"])
    >>> [text.get_text() for text in figure.axes[0].get_xticklabels()]
    ['dog', 'bell', 'missed']
    """
    chosen = _frequent(confusion[:-1].sum(1))
    keep = np.append(chosen, len(confusion) - 1)
    # Before classes are left out, so that rows of all are shares of all.
    share = 100 * confusion / np.maximum(confusion.sum(1, keepdims=True), 1)
    share = share[np.ix_(keep, keep)]
    names = [short_name(class_names[label]) for label in chosen]
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
            title="Which class is taken for which, % of a row",
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


def class_scores(per_class, class_names, intervals=None):
    """F-score and direction error of each class.

    Arguments
    ---------
    per_class : dict
        ``F`` (1 is 100 %), ``LE`` (degrees, NaN or 180 if there is none) and
        ``references``, each a list of C, as ``SELDScores`` gives them.
    class_names : sequence of str
        C names.
    intervals : dict, optional
        ``F`` and ``LE`` to C pairs of ends; drawn as whiskers.

    Returns
    -------
    matplotlib.figure.Figure
        Classes that never sound are left out; with more than 24, the most
        frequent are shown.

    Example
    -------
    >>> scores = {"F": [0.5, 0.0], "LE": [9.0, 180.0], "references": [7, 0]}
    >>> figure = class_scores(scores, ["dog", "bell"])
    >>> [text.get_text() for text in figure.axes[0].get_yticklabels()]
    ['dog (7)']
    """
    references = np.asarray(per_class["references"])
    chosen = _frequent(references)
    names = [
        f"{short_name(class_names[label])} ({references[label]})"
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


def short_name(name):
    """Name of a class that fits beside a picture.

    Arguments
    ---------
    name : str
        As the data set has it.

    Returns
    -------
    str
        At most 22 characters.

    Example
    -------
    >>> short_name("Female_speech_and_woman_speaking")
    'Female speech and wom…'
    """
    name = str(name).replace("_", " ")
    if len(name) <= NAME_LENGTH:
        return name
    return name[: NAME_LENGTH - 1].rstrip() + "…"
