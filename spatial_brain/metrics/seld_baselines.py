"""The best answer to a sound scene that hears nothing."""

import numpy as np

from spatial_brain.dataio.events import EventTable, concatenate


def constant_answer(references, num_classes, make_scores, num_frames=None):
    """Choose which classes to report always, each from one direction.

    Classes are tried from the most to the least frequent; the direction of a
    class is that of the mean of its unit vectors. The answer may be silence.

    Arguments
    ---------
    references : sequence of EventTable
        The scenes to choose by, such as those of the validation.
    num_classes : int
        C.
    make_scores : callable
        Makes an empty :class:`spatial_brain.metrics.seld.SELDScores`.
    num_frames : int, optional
        Length of clips which do not know theirs, frames.

    Returns
    -------
    EventTable
        The events of one frame; see :func:`repeat_answer`.

    Example
    -------
    >>> from spatial_brain.metrics.seld import SELDScores
    >>> scene = EventTable(range(20), [1] * 20, [30.0] * 20, [0.0] * 20,
    ...                    num_frames=20)
    >>> answer = constant_answer([scene], 3, lambda: SELDScores(3))
    >>> answer.label.tolist(), answer.azimuth.round().tolist()
    ([1], [30.0])
    """
    lengths = [_length(table, num_frames) for table in references]
    every = concatenate(references)
    counts = np.bincount(every.label, minlength=num_classes)
    order = [label for label in np.argsort(-counts) if counts[label]]
    mean = (
        np.stack(
            [
                every.directions[every.label == label].mean(axis=0)
                for label in order
            ]
        )
        if order
        else np.zeros((0, 3))
    )
    azimuth = np.degrees(np.arctan2(mean[:, 1], mean[:, 0]))
    flat = np.hypot(mean[:, 0], mean[:, 1])
    elevation = np.degrees(np.arctan2(mean[:, 2], flat))
    best, lowest = None, np.inf
    for size in range(len(order) + 1):
        answer = EventTable(
            np.zeros(size), order[:size], azimuth[:size], elevation[:size]
        )
        scores = make_scores()
        for table, length in zip(references, lengths, strict=True):
            estimate = repeat_answer(answer, length)
            scores.append(table, estimate, num_frames=length)
        value = scores.compute()["SELD"]
        if value < lowest:
            best, lowest = answer, value
    return best


def repeat_answer(answer, num_frames):
    """Give the same answer in every frame of a clip.

    Arguments
    ---------
    answer : EventTable
        Events of one frame.
    num_frames : int
        Length of the clip, frames.

    Returns
    -------
    EventTable
        ``num_frames`` times as many rows, in the order of frames.

    Example
    -------
    >>> repeat_answer(EventTable([0], [1], [30.0], [0.0]), 3).frame.tolist()
    [0, 1, 2]
    """
    rows = np.tile(np.arange(len(answer)), num_frames)
    table = answer.select(rows)
    frame = np.repeat(np.arange(num_frames), len(answer))
    return EventTable(
        frame,
        table.label,
        table.azimuth,
        table.elevation,
        num_frames=num_frames,
    )


def _length(table, num_frames):
    """Length of a clip, frames."""
    if table.num_frames is not None:
        return table.num_frames
    if num_frames is not None:
        return num_frames
    return int(table.frame.max(initial=-1)) + 1
