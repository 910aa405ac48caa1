"""Location-sensitive detection of L3DAS22: positions in metres.

A reference is found where an estimate of its class lies nearer than a
threshold in the same frame (L3DAS22 challenge, task 2). Its evaluator takes
the smaller of the numbers of matched references and matched estimates, which
can be more than can be paired one to one; mode "corrected" pairs.
"""

from dataclasses import replace

import numpy as np

from spatial_brain.metrics.seld.matching import (
    angle_on_sphere,
    common_cells,
    group_rows,
    match,
)
from spatial_brain.metrics.seld.rules import (
    class_mean,
    error_counts,
    inside,
    per_clip_and_class,
)

# Rounding of coordinates must not bring what lies on the threshold inside.
ROUNDING = 1e-9
# Dearer than any chain of near pairs: far events are paired last.
FAR = 1e9


def count(clips, rules):
    """Count what is found, missed and invented.

    Arguments
    ---------
    clips : Clips
        Reference and estimate, with distances in metres.
    rules : Rules
        ``distance_threshold`` in metres.

    Returns
    -------
    dict
        ``class_*`` and ``references``: shape [clips, C]; the others of shape
        [clips].
    """
    number = len(clips.num_frames)
    span = int(clips.num_frames.max(initial=0))
    # The evaluator counts events of any class.
    labels = (side.label.max(initial=0) for side in clips[:2])
    classes = max(rules.num_classes, *(int(label) + 1 for label in labels))
    every = replace(rules, num_classes=classes)
    reference, estimate = (
        inside(events, every, clips.num_frames)
        for events in (clips.reference, clips.estimate)
    )
    cells = [
        group_rows((side.clip * span + side.frame) * classes + side.label)
        for side in (reference, estimate)
    ]
    gap = _distances(reference, estimate)
    limit = rules.distance_threshold - ROUNDING

    def cost(r, e):
        metres = gap(r, e)
        return np.where(metres < limit, metres, FAR)

    pairs = match(*cells, cost)
    near = pairs.cost < FAR
    key = pairs.key[near]
    if rules.corrected:
        hits = (key, np.ones(len(key)), np.ones(len(key)))
    else:
        hits = _touched(cells, cost)
    counts = _totals(cells, hits, classes, span, number, rules.num_classes)
    rows = pairs.reference[near], pairs.estimate[near]
    clip = key // (classes * max(span, 1))
    angle = angle_on_sphere(reference, estimate)(*rows)
    counts["pairs"] = np.bincount(clip, minlength=number)
    counts["distance_sum"] = np.bincount(clip, pairs.cost[near], number)
    counts["DE_sum"] = np.bincount(clip, angle, number)
    return counts


def _distances(reference, estimate):
    """Rows to distances between positions, metres."""
    ours, theirs = _positions(reference), _positions(estimate)
    return lambda r, e: np.linalg.norm(ours[r] - theirs[e], axis=-1)


def _positions(events):
    """Metres, shape [N, 3]."""
    azimuth, elevation = np.radians((events.azimuth, events.elevation))
    flat = np.cos(elevation)
    direction = np.stack(
        (np.cos(azimuth) * flat, np.sin(azimuth) * flat, np.sin(elevation)), -1
    )
    return direction * events.distance[:, None]


def _touched(cells, cost):
    """Cells, and how many references and estimates have a near partner."""
    found = [(np.empty(0, np.int64), np.empty(0), np.empty(0))]
    for keys, rows, columns in common_cells(*cells):
        near = cost(rows[:, :, None], columns[:, None, :]) < FAR
        found.append((keys, near.any(2).sum(1), near.any(1).sum(1)))
    return tuple(np.concatenate(part) for part in zip(*found, strict=True))


def _totals(cells, hits, classes, span, number, num_classes):
    """Hits, misses and false alarms: of each class, and of whole frames."""
    groups = np.union1d(cells[0].key, cells[1].key)
    events = [np.zeros(len(groups)) for _ in cells]
    for total, side in zip(events, cells, strict=True):
        total[np.searchsorted(groups, side.key)] = side.count
    place = np.searchsorted(groups, hits[0])
    found = [np.bincount(place, part, len(groups)) for part in hits[1:]]
    frames, first, index = np.unique(
        groups // classes, return_index=True, return_inverse=True
    )
    whole = np.stack(
        [np.bincount(index, part, len(frames)) for part in (*events, *found)]
    )
    alone = np.stack((*events, *found))
    clip = groups // (classes * max(span, 1))
    counts = {}
    for name, value in _split(whole).items():
        counts[name] = np.bincount(clip[first], value, number)
    misses, extras = _split(whole)["FN"], _split(whole)["FP"]
    counts.update(error_counts(clip[first], frames, misses, extras, number))
    label = groups % classes
    known = label < num_classes
    for name, value in {**_split(alone), "references": alone[0]}.items():
        key = name if name == "references" else f"class_{name}"
        counts[key] = per_clip_and_class(
            clip[known], label[known], value[known], number, num_classes
        )
    return counts


def _split(table):
    """Counts from references, estimates and matched ones of both."""
    references, estimates, found, right = table
    hits = np.minimum(found, right)
    return {"TP": hits, "FN": references - hits, "FP": estimates - hits}


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
        Overall, shape [...]: the challenge's ``F``, ``precision`` and
        ``recall``; ``LR`` is the recall, ``LE`` (degrees) and ``DE`` (metres)
        are means over one-to-one pairs within the threshold, ``ER`` counts
        frames as segments. Per class, shape [..., C]: ``F``.
    """
    eps = rules.eps
    f, precision, recall = _f_score(
        *(counts[name] for name in ("TP", "FP", "FN")), eps
    )
    f_class = _f_score(
        *(counts[f"class_{name}"] for name in ("TP", "FP", "FN")), eps
    )[0]
    if rules.average == "macro":
        f = class_mean(
            f_class, (counts["references"] > 0) | (rules.mode != "present")
        )
    references = counts["references"].sum(-1)
    errors = counts["S"] + counts["D"] + counts["I"]
    pairs = counts["pairs"]
    angle, metres = (
        np.where(pairs > 0, counts[name] / np.maximum(pairs, 1), missing)
        for name, missing in (("DE_sum", 180.0), ("distance_sum", np.nan))
    )
    overall = {
        "ER": errors / (references + eps),
        "F": f,
        "LE": angle,
        "LR": recall,
        "DE": metres,
        "precision": precision,
        "recall": recall,
    }
    parts = (overall["ER"], 1 - f, angle / 180, 1 - recall)
    overall["SELD"] = sum(parts) / 4
    return overall, {"F": f_class}


def _f_score(hits, extras, misses, eps):
    """F-score, precision and recall."""
    precision = hits / (hits + extras + eps)
    recall = hits / (hits + misses + eps)
    return (
        2 * precision * recall / (precision + recall + eps),
        precision,
        recall,
    )
