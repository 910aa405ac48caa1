"""Joint scores in segments of one second: DCASE 2020 to 2023.

Mesaros et al., "Joint measurement of localization and detection of sound
events" (WASPAA 2019); Politis et al., "Overview and evaluation of sound event
localization and detection in DCASE 2019" (TASLP 2021). What those leave open
follows the evaluators of the challenges.
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


def count(clips, rules):
    """Count what is found, missed and invented.

    Arguments
    ---------
    clips : Clips
        Reference and estimate.
    rules : Rules
        The metric decides between the counts of 2020 and of later years.

    Returns
    -------
    dict
        Arrays of shape [clips, C], and ``S``, ``D``, ``I`` of [clips].
    """
    number, classes = len(clips.num_frames), rules.num_classes
    length = rules.frames_per_second
    blocks = -(-np.maximum(clips.num_frames, 0) // length)
    span = int(blocks.max(initial=0))
    sides, keys, cells = [], [], []
    for events in (clips.reference, clips.estimate):
        # The last segment is whole, also beyond the end of the clip.
        events = inside(events, rules, blocks * length)
        block = events.clip * span + events.frame // length
        sides.append(events)
        keys.append(block * classes + events.label)
        cells.append(group_rows(keys[-1] * length + events.frame % length))
    groups = np.unique(np.concatenate(keys))
    tracks = [_tracks(side, groups, length) for side in cells]
    pairs = match(*cells, angle_on_sphere(*sides))
    place = np.searchsorted(groups, pairs.key // length)
    counting = _count_2020 if rules.metric == "dcase2020" else _count_tracks
    counts = counting(tracks, place, pairs, rules)
    block, label = groups // classes, groups % classes
    clip = block // max(span, 1)
    found = {
        name: per_clip_and_class(clip, label, value, number, classes)
        for name, value in counts.items()
    }
    # Wrong places are misses in 2020 (counted in FN), later false alarms.
    extras = counts["FP"] + counts.get("FP_spatial", 0)
    found.update(error_counts(clip, block, counts["FN"], extras, number))
    return found


def _tracks(cells, groups, length):
    """Most events at once of each group of a segment and class."""
    result = np.zeros(len(groups), dtype=np.int64)
    if len(cells.key):
        group = cells.key // length
        start = np.flatnonzero(np.diff(group, prepend=-1))
        most = np.maximum.reduceat(cells.count, start)
        result[np.searchsorted(groups, group[start])] = most
    return result


def _count_tracks(tracks, place, pairs, rules):
    """Counts of 2021 to 2023: several tracks a class."""
    references, estimates = tracks
    number = len(references)
    width = int(pairs.position.max(initial=0)) + 1
    track, index = np.unique(
        place * width + pairs.position, return_inverse=True
    )
    distance = np.bincount(index, pairs.cost) / np.bincount(index)
    group = track // width
    matched = np.bincount(group, minlength=number)
    near = np.bincount(group, distance <= rules.threshold, number)
    misses = np.maximum(references - estimates, 0)
    extras = np.maximum(estimates - references, 0)
    apart = (references > 0) & (estimates > 0) & (matched == 0)
    if rules.corrected:
        misses[apart], extras[apart] = references[apart], estimates[apart]
    else:
        # Evaluators take tracks that never sound together for so many misses.
        misses[apart], extras[apart] = estimates[apart], 0
    return {
        "references": references,
        "TP": near,
        "FP_spatial": matched - near,
        "FP": extras,
        "FN": misses,
        "DE_sum": np.bincount(group, distance, number),
        "DE_TP": matched,
    }


def _count_2020(tracks, place, pairs, rules):
    """Counts of 2020: a class once a segment, a wrong place is a miss."""
    references, estimates = tracks[0] > 0, tracks[1] > 0
    number = len(references)
    keys, first, index = np.unique(
        pairs.key, return_index=True, return_inverse=True
    )
    frame_cost = np.bincount(index, pairs.cost, len(keys))
    group = place[first]
    frames = np.bincount(group, minlength=number)
    total = np.bincount(group, frame_cost, number)
    distance = total / np.maximum(frames, 1)
    together = frames > 0
    near = together & (distance <= rules.threshold)
    extras = estimates & ~references
    if rules.corrected:
        extras = extras | (estimates & ~together)
    return {
        "references": references,
        "estimates": estimates,
        "TP": near,
        "FP": extras,
        "FN": references & ~near,
        "DE_sum": np.where(together, distance, 0.0),
        "DE_TP": together,
    }


def score(counts, rules):
    """Scores of summed counts.

    Arguments
    ---------
    counts : dict
        As ``count`` gives; leading dimensions [...] instead of clips.
    rules : Rules
        Average, mode and metric.

    Returns
    -------
    tuple of dict
        Overall, shape [...], and per class, shape [..., C].
    """
    error_rate = (counts["S"] + counts["D"] + counts["I"]) / (
        counts["references"].sum(-1) + rules.eps
    )
    compute = _scores_2020 if rules.metric == "dcase2020" else _scores
    per_class = compute(counts, error_rate[..., None], rules)
    if rules.average == "micro":
        pooled = {
            name: value.sum(-1, keepdims=True)
            for name, value in counts.items()
            if name not in ("S", "D", "I")
        }
        overall = compute(pooled, error_rate[..., None], rules)
        return {name: v[..., 0] for name, v in overall.items()}, per_class
    if rules.mode == "pseldnets":
        mask = per_class["LE"] != 180.0
    elif rules.mode == "present":
        mask = counts["references"] > 0
    else:
        mask = np.ones(counts["references"].shape, dtype=bool)
    overall = {
        name: class_mean(value, mask) for name, value in per_class.items()
    }
    overall["ER"] = error_rate
    if rules.mode == "pseldnets":
        nothing = {"F": -1.0, "LE": 180.0, "LR": -1.0, "SELD": 1.0}
        for name, value in nothing.items():
            overall[name] = np.where(mask.any(-1), overall[name], value)
    return overall, per_class


def _scores(counts, error_rate, rules):
    """Scores of 2021 to 2023."""
    tp, eps = counts["TP"], rules.eps
    away = counts["FP_spatial"]
    if rules.metric == "dcase2021":
        away = 0.5 * away
    f = tp / (eps + tp + away + 0.5 * (counts["FP"] + counts["FN"]))
    recall = counts["DE_TP"] / (eps + counts["DE_TP"] + counts["FN"])
    return _joined(error_rate, f, _mean_angle(counts, eps), recall)


def _scores_2020(counts, error_rate, rules):
    """Scores of 2020, with an F-score in the place of the recall."""
    error = _mean_angle(counts, rules.eps)
    f, localized = (
        _f_score(counts[hits], counts, rules.eps) for hits in ("TP", "DE_TP")
    )
    return _joined(error_rate, f, error, localized)


def _f_score(hits, counts, eps):
    """Harmonic mean of precision and recall."""
    precision = hits / (counts["estimates"] + eps)
    recall = hits / (counts["references"] + eps)
    return 2 * precision * recall / (precision + recall + eps)


def _mean_angle(counts, eps):
    """Localization error; 180 degrees without any pair."""
    mean = counts["DE_sum"] / (counts["DE_TP"] + eps)
    return np.where(counts["DE_TP"] > 0, mean, 180.0)


def _joined(error_rate, f, error, recall):
    """Scores by name, with the mean of the four."""
    error_rate = np.broadcast_to(error_rate, f.shape)
    mean = (error_rate + (1 - f) + error / 180 + (1 - recall)) / 4
    return {"ER": error_rate, "F": f, "LE": error, "LR": recall, "SELD": mean}
