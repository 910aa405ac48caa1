"""Joint scores frame by frame, with distances: DCASE 2024 and 2025.

Krause, Politis, Mesaros, "Sound event detection and localization with
distance estimation" (EUSIPCO 2024), as the evaluators of the challenges do
it. In 2025 the scenes are stereo: only azimuths count, the back folded to
the front. Where the reference distance is 0 a relative error is none: the
evaluators divide by 2.2e-16, mode "corrected" leaves such pairs out of it.
"""

import numpy as np

from spatial_brain.metrics.seld.matching import (
    angle_between_vectors,
    angle_to_the_front,
    group_rows,
    match,
)
from spatial_brain.metrics.seld.rules import (
    class_mean,
    error_counts,
    inside,
    per_clip_and_class,
)


def count(clips, rules):
    """Count what is found, missed and invented.

    Arguments
    ---------
    clips : Clips
        Reference and estimate, with distances in metres.
    rules : Rules
        Thresholds of angle and distance.

    Returns
    -------
    dict
        Arrays of shape [clips, C], and ``S``, ``D``, ``I`` of [clips].
    """
    number, classes = len(clips.num_frames), rules.num_classes
    span = int(clips.num_frames.max(initial=0))
    sides, cells = [], []
    for events in (clips.reference, clips.estimate):
        events = inside(events, rules, clips.num_frames)
        sides.append(events)
        frame = events.clip * span + events.frame
        cells.append(group_rows(frame * classes + events.label))
    reference, estimate = sides
    angle = (
        angle_to_the_front
        if rules.metric == "dcase2025"
        else angle_between_vectors
    )
    pairs = match(*cells, angle(reference, estimate))
    groups = np.union1d(cells[0].key, cells[1].key)
    events = [np.zeros(len(groups), dtype=np.int64) for _ in sides]
    for total, side in zip(events, cells, strict=True):
        total[np.searchsorted(groups, side.key)] = side.count
    counts = {
        "references": events[0],
        "FP": np.maximum(events[1] - events[0], 0),
        "FN": np.maximum(events[0] - events[1], 0),
        **_pair_counts(pairs, groups, reference, estimate, rules),
    }
    frame, label = groups // classes, groups % classes
    clip = frame // max(span, 1)
    found = {
        name: per_clip_and_class(clip, label, value, number, classes)
        for name, value in counts.items()
    }
    extras = counts["FP"] + counts["FP_spatial"]
    found.update(error_counts(clip, frame, counts["FN"], extras, number))
    return found


def _pair_counts(pairs, groups, reference, estimate, rules):
    """Hits, hits in the wrong place and sums of errors of each group."""
    place = np.searchsorted(groups, pairs.key)
    wrong = pairs.cost > rules.threshold
    errors = {"DE_sum": pairs.cost}
    if rules.evaluate_distance:
        truth = reference.distance[pairs.reference]
        distance = np.abs(truth - estimate.distance[pairs.estimate])
        zero = truth == 0
        relative = distance / (truth + rules.eps)
        if rules.corrected:
            relative = np.where(zero, 0.0, relative)
        wrong |= distance > rules.distance_threshold
        wrong |= relative > rules.relative_distance_threshold
        errors.update(
            distance_sum=distance, relative_sum=relative, zero_distance=zero
        )
    weights = {
        "TP": ~wrong,
        "FP_spatial": wrong,
        "DE_TP": np.ones(len(place)),
        **errors,
    }
    return {
        name: np.bincount(place, weight, len(groups))
        for name, weight in weights.items()
    }


def score(counts, rules):
    """Scores of summed counts.

    Arguments
    ---------
    counts : dict
        As ``count`` gives; leading dimensions [...] instead of clips.
    rules : Rules
        Average, mode and whether distances count.

    Returns
    -------
    tuple of dict
        Overall, shape [...], and per class, shape [..., C]; NaN where
        nothing was paired. ``SELD`` is the mean of 1 - F, LE / 180 and RDE,
        or, without distances, of ER, 1 - F, LE / 180 and 1 - LR.
    """
    error_rate = (counts["S"] + counts["D"] + counts["I"]) / (
        counts["references"].sum(-1) + rules.eps
    )
    per_class = _scores(counts, error_rate[..., None], rules)
    if rules.average == "micro":
        pooled = {
            name: value.sum(-1, keepdims=True)
            for name, value in counts.items()
            if name not in ("S", "D", "I")
        }
        overall = _scores(pooled, error_rate[..., None], rules)
        return {name: v[..., 0] for name, v in overall.items()}, per_class
    classes = np.ones(counts["references"].shape, dtype=bool)
    if rules.mode == "present":
        classes = counts["references"] > 0
    overall = {
        name: class_mean(value, classes & ~np.isnan(value))
        for name, value in per_class.items()
    }
    overall["ER"] = error_rate
    return overall, per_class


def _scores(counts, error_rate, rules):
    """Scores by name."""
    tp, pairs, eps = counts["TP"], counts["DE_TP"], rules.eps
    f = tp / (
        eps + tp + counts["FP_spatial"] + 0.5 * (counts["FP"] + counts["FN"])
    )

    def mean(name, number=pairs):
        return np.where(number > 0, counts[name] / (number + eps), np.nan)

    scores = {
        "ER": np.broadcast_to(error_rate, f.shape),
        "F": f,
        "LE": mean("DE_sum"),
        "LR": pairs / (eps + pairs + counts["FN"]),
    }
    if rules.evaluate_distance:
        scores["DE"] = mean("distance_sum")
        known = pairs - counts["zero_distance"] if rules.corrected else pairs
        scores["RDE"] = mean("relative_sum", known)
        parts = [1 - f, scores["LE"] / 180, scores["RDE"]]
    else:
        parts = [scores["ER"], 1 - f, scores["LE"] / 180, 1 - scores["LR"]]
    parts = np.stack(np.broadcast_arrays(*parts), axis=-1)
    scores["SELD"] = class_mean(parts, ~np.isnan(parts))
    return scores
