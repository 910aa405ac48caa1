"""Separate scores of detection and localization: DCASE 2019.

Detection: error rate and F-score in segments of one second. Localization:
direction error and frame recall, blind to classes. Adavanne et al., "Sound
event localization and detection of overlapping sources using convolutional
recurrent neural networks" (JSTSP 2019), as the evaluator of the challenge
does it: directions fall on its grid of 10 degrees, and the last frame of each
segment is not looked at. Mode "corrected" does neither.
"""

import numpy as np

from spatial_brain.metrics.seld.matching import (
    angle_on_sphere,
    group_rows,
    match,
)
from spatial_brain.metrics.seld.rules import (
    class_mean,
    error_counts,
    inside,
    per_clip_and_class,
)

GRID = 10
# Lowest and highest direction of the grid, degrees.
AZIMUTHS, ELEVATIONS = (-180, 170), (-40, 40)


def count(clips, rules):
    """Count active segments and sum direction errors up.

    Arguments
    ---------
    clips : Clips
        Reference and estimate.
    rules : Rules
        For classes and frames a second (50 in the challenge).

    Returns
    -------
    dict
        ``TP``, ``references``, ``estimates``: segments, shape [clips, C];
        ``S``, ``D``, ``I``, ``DE_sum`` (degrees), ``DE_events`` (estimates),
        ``good_frames`` (as many estimates as references) and ``frames``,
        shape [clips].
    """
    sides = [
        inside(events, rules, clips.num_frames)
        for events in (clips.reference, clips.estimate)
    ]
    if not rules.corrected:
        sides = [_on_grid(events, rules) for events in sides]
    found = _detection(clips, sides, rules)
    found.update(_localization(clips, sides))
    return found


def _on_grid(events, rules):
    """Events moved to the grid, in its order, each once a frame."""
    azimuth, elevation = (
        GRID * np.floor((np.clip(angle, *ends) - ends[0]) / GRID) + ends[0]
        for angle, ends in (
            (events.azimuth, AZIMUTHS),
            (events.elevation, ELEVATIONS),
        )
    )
    moved = events._replace(azimuth=azimuth, elevation=elevation)
    columns = (elevation, azimuth, events.label, events.frame, events.clip)
    order = np.lexsort(columns)
    stacked = np.stack(columns)[:, order]
    new = np.ones(len(order), dtype=bool)
    new[1:] = (stacked[:, 1:] != stacked[:, :-1]).any(0)
    return moved.select(order[new])


def _detection(clips, sides, rules):
    """Counts of active classes a segment."""
    number, classes = len(clips.num_frames), rules.num_classes
    length = rules.frames_per_second
    span = -(-int(clips.num_frames.max(initial=0)) // length)
    keys = []
    for events in sides:
        if not rules.corrected:
            events = events.select(events.frame % length != length - 1)
        block = events.clip * span + events.frame // length
        keys.append(np.unique(block * classes + events.label))
    groups = np.union1d(*keys)
    here, there = (np.isin(groups, key, assume_unique=True) for key in keys)
    block, label = groups // classes, groups % classes
    clip = block // max(span, 1)
    counts = {"references": here, "estimates": there, "TP": here & there}
    found = {
        name: per_clip_and_class(clip, label, value, number, classes)
        for name, value in counts.items()
    }
    misses, extras = here & ~there, there & ~here
    found.update(error_counts(clip, block, misses, extras, number))
    return found


def _localization(clips, sides):
    """Sums of direction errors, and frames with the right number."""
    number = len(clips.num_frames)
    span = int(clips.num_frames.max(initial=0))
    cells = [group_rows(side.clip * span + side.frame) for side in sides]
    pairs = match(*cells, angle_on_sphere(*sides))
    frames = np.union1d(cells[0].key, cells[1].key)
    events = np.zeros((2, len(frames)), dtype=np.int64)
    for total, side in zip(events, cells, strict=True):
        total[np.searchsorted(frames, side.key)] = side.count
    wrong = frames[events[0] != events[1]] // max(span, 1)
    length = np.maximum(clips.num_frames, 0)
    return {
        "DE_sum": np.bincount(pairs.key // max(span, 1), pairs.cost, number),
        "DE_events": np.bincount(sides[1].clip, minlength=number),
        "good_frames": length - np.bincount(wrong, minlength=number),
        "frames": length,
    }


def score(counts, rules):
    """Scores of summed counts.

    Arguments
    ---------
    counts : dict
        As ``count`` gives; leading dimensions [...] instead of clips.
    rules : Rules
        With average "macro" the F-score is the mean over classes.

    Returns
    -------
    tuple of dict
        Overall, shape [...] (``LE``: direction error, ``LR``: frame recall),
        and per class, shape [..., C]: ``F`` alone.
    """
    eps = rules.eps
    error_rate = (counts["S"] + counts["D"] + counts["I"]) / (
        counts["references"].sum(-1) + eps
    )
    f_class = _f_score(
        counts["TP"], counts["references"], counts["estimates"], eps
    )
    if rules.average == "micro":
        f = _f_score(
            *(counts[n].sum(-1) for n in ("TP", "references", "estimates")), eps
        )
    else:
        f = class_mean(
            f_class,
            (counts["references"] > 0) | (rules.mode != "present"),
        )
    events = counts["DE_events"]
    error = np.where(
        events > 0, counts["DE_sum"] / np.maximum(events, 1), 180.0
    )
    recall = counts["good_frames"] / np.maximum(counts["frames"], 1)
    overall = {
        "ER": error_rate,
        "F": f,
        "LE": error,
        "LR": recall,
        "SELD": (error_rate + (1 - f) + error / 180 + (1 - recall)) / 4,
    }
    return overall, {"F": f_class}


def _f_score(hits, references, estimates, eps):
    """Harmonic mean of precision and recall."""
    precision, recall = hits / (estimates + eps), hits / (references + eps)
    return 2 * precision * recall / (precision + recall + eps)
