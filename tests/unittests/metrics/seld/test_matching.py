"""Counts equal those of plain loops over frames, classes and permutations."""

import itertools
import math
from collections import defaultdict

import numpy as np
import pytest
from scipy.optimize import linear_sum_assignment

from spatial_brain.metrics.seld.matching import _assign
from spatial_brain.metrics.seld.scores import SELDScores

CLASSES = 3


def angle(a, b):
    """Great-circle angle between two rows, by the haversine formula."""
    az1, el1, az2, el2 = map(math.radians, (*a[2:4], *b[2:4]))
    h = (
        math.sin((el1 - el2) / 2) ** 2
        + math.cos(el1) * math.cos(el2) * math.sin((az1 - az2) / 2) ** 2
    )
    return math.degrees(2 * math.asin(min(1.0, math.sqrt(h))))


def best_pairs(references, estimates, cost):
    """Cheapest assignment, found by trying all; first rows win ties."""
    few, many = sorted((len(references), len(estimates)))
    best = None
    for places in itertools.permutations(range(many), few):
        pairs = [
            (i, j) if len(references) <= len(estimates) else (j, i)
            for i, j in enumerate(places)
        ]
        pairs.sort()
        costs = [cost(references[i], estimates[j]) for i, j in pairs]
        key = (round(sum(costs), 7), [round(c, 7) for c in costs])
        if best is None or key < best[0]:
            best = key, [(*p, c) for p, c in zip(pairs, costs, strict=True)]
    return best[1]


def by_frame(rows, num_frames):
    """Frame -> class -> rows, without what is not looked at."""
    table = defaultdict(lambda: defaultdict(list))
    for row in rows:
        if 0 <= row[0] < num_frames and 0 <= row[1] < CLASSES:
            table[row[0]][row[1]].append(row)
    return table


def segment_oracle(reference, estimate, num_frames, corrected=False):
    """Counters of DCASE 2021 to 2023, second by second."""
    total = defaultdict(float)
    seconds = math.ceil(num_frames / 10)
    ours, theirs = (by_frame(r, 10 * seconds) for r in (reference, estimate))
    for second in range(seconds):
        frames = range(10 * second, 10 * second + 10)
        misses = extras = 0
        for label in range(CLASSES):
            most = max(len(ours[f][label]) for f in frames)
            most_estimated = max(len(theirs[f][label]) for f in frames)
            tracks = defaultdict(list)
            for f in frames:
                if ours[f][label] and theirs[f][label]:
                    found = best_pairs(ours[f][label], theirs[f][label], angle)
                    for i, _, degrees in found:
                        tracks[i].append(degrees)
            total["references", label] += most
            for errors in tracks.values():
                mean = sum(errors) / len(errors)
                total["DE_sum", label] += mean
                total["DE_TP", label] += 1
                if mean <= 20 + 1e-9:
                    total["TP", label] += 1
                else:
                    total["FP_spatial", label] += 1
                    extras += 1
            fn, fp = (
                max(0, most - most_estimated),
                max(0, most_estimated - most),
            )
            if most and most_estimated and not tracks:
                fn, fp = (
                    (most, most_estimated) if corrected else (most_estimated, 0)
                )
            total["FN", label] += fn
            total["FP", label] += fp
            misses, extras = misses + fn, extras + fp
        total["S"] += min(misses, extras)
        total["D"] += max(0, misses - extras)
        total["I"] += max(0, extras - misses)
    return total


def frame_oracle(reference, estimate, num_frames):
    """Counters of DCASE 2024, frame by frame; rows end in cm."""
    total = defaultdict(float)
    ours, theirs = (by_frame(r, num_frames) for r in (reference, estimate))
    for f in range(num_frames):
        misses = extras = 0
        for label in range(CLASSES):
            here, there = ours[f][label], theirs[f][label]
            total["references", label] += len(here)
            fn, fp = (
                max(0, len(here) - len(there)),
                max(0, len(there) - len(here)),
            )
            if here and there:
                for i, j, degrees in best_pairs(here, there, angle):
                    metres = abs(here[i][4] - there[j][4]) / 100
                    share = metres / (here[i][4] / 100)
                    wrong = degrees > 20 or share > 1
                    total["FP_spatial" if wrong else "TP", label] += 1
                    extras += wrong
                    total["DE_TP", label] += 1
                    total["DE_sum", label] += degrees
                    total["distance_sum", label] += metres
                    total["relative_sum", label] += share
            total["FN", label] += fn
            total["FP", label] += fp
            misses, extras = misses + fn, extras + fp
        total["S"] += min(misses, extras)
        total["D"] += max(0, misses - extras)
        total["I"] += max(0, extras - misses)
    return total


def l3das_oracle(reference, estimate, num_frames, corrected):
    """Counters of L3DAS22; exact matching by trying all assignments."""
    total = defaultdict(float)

    def place(row):
        az, el = math.radians(row[2]), math.radians(row[3])
        flat = math.cos(el)
        unit = (math.cos(az) * flat, math.sin(az) * flat, math.sin(el))
        return [row[4] / 100 * u for u in unit]

    for f in range(num_frames):
        here = [r for r in reference if r[0] == f]
        there = [r for r in estimate if r[0] == f]
        near = {
            (i, j)
            for i, a in enumerate(here)
            for j, b in enumerate(there)
            if a[1] == b[1] and math.dist(place(a), place(b)) < 1.0
        }
        if corrected:
            edge = {k: [j for i, j in near if i == k] for k, _ in near}
            hits = longest(list(edge.values()), set())
        else:
            hits = min(len({i for i, _ in near}), len({j for _, j in near}))
        total["TP"] += hits
        total["FN"] += len(here) - hits
        total["FP"] += len(there) - hits
    return total


def longest(options, taken):
    """Size of the largest one-to-one matching, by trying all."""
    if not options:
        return 0
    first, rest = options[0], options[1:]
    choices = [longest(rest, taken)]
    choices += [1 + longest(rest, taken | {j}) for j in first if j not in taken]
    return max(choices)


def draw_rows(rng, kind, frames):
    """Rows (frame, class, azimuth, elevation, cm) of one side."""
    rows = []
    for _ in range(rng.integers(0, 5)):
        label = int(rng.integers(-1, CLASSES + 1))
        first = int(rng.integers(0, frames))
        last = min(frames + 5, first + int(rng.integers(1, 18)))
        azimuth, elevation = rng.uniform(-180, 180), rng.uniform(-80, 80)
        if kind == "crowded":
            label, azimuth = 1, rng.uniform(-30, 30)
            elevation /= 8
        far = rng.uniform(30, 400)
        for frame in range(first, last):
            rows.append((frame, label, azimuth, elevation, far))
            azimuth += 1.3
    return rows


def disturb(rng, rows, kind):
    """Estimates: rows moved, dropped, renamed, doubled, shuffled."""
    result = []
    deaf = rng.integers(0, 2 * CLASSES)
    for frame, label, azimuth, elevation, far in rows:
        if rng.random() < 0.2 or label == deaf:
            continue
        if rng.random() < 0.1:
            label = int(rng.integers(0, CLASSES + 2))
        moved = azimuth + rng.normal(0, 14)
        elevation = float(np.clip(elevation + rng.normal(0, 6), -90, 90))
        row = (frame, label, moved, elevation, far * rng.uniform(0.4, 2.6))
        result += [row] * (2 if rng.random() < 0.03 else 1)
    if kind == "unsorted":
        rng.shuffle(result)
    return [tuple(row) for row in result]


def draw_tables(seed):
    """A clip: references, estimates, number of frames."""
    rng = np.random.default_rng(seed)
    kind = ("plain", "crowded", "unsorted", "one-sided", "end")[seed % 5]
    frames = int(rng.integers(1, 35))
    reference = draw_rows(rng, kind, frames)
    estimate = disturb(rng, reference, kind) + draw_rows(rng, kind, frames)
    if kind == "one-sided":
        sides = [reference, estimate]
        sides[seed % 2] = []
        reference, estimate = sides
    if kind == "end":
        frames += 5  # events end with the clip, at any place of a segment
    return reference, estimate, frames


def wide(rows):
    """Rows of six columns."""
    return [(f, c, 0, az, el, cm) for f, c, az, el, cm in rows]


def assert_same(scores, oracles):
    for name, table in scores.counters.items():
        for clip, oracle in enumerate(oracles):
            if table.ndim == 1:
                expected = oracle[name]
            else:
                expected = [oracle[name, c] for c in range(CLASSES)]
            np.testing.assert_allclose(
                table[clip], expected, atol=1e-3, err_msg=f"{name}, {clip}"
            )


@pytest.mark.parametrize("mode", ["official", "corrected"])
def test_segment_counts(mode):
    scores, oracles = SELDScores(CLASSES, mode=mode), []
    for seed in range(1000):
        reference, estimate, frames = draw_tables(seed)
        # Four columns on one side, all on the other: the counts agree.
        scores.append(
            [row[:4] for row in reference], wide(estimate), num_frames=frames
        )
        oracles.append(
            segment_oracle(reference, estimate, frames, mode == "corrected")
        )
    assert_same(scores, oracles)
    assert scores.counters["FP_spatial"].sum() > 80
    assert scores.counters["S"].sum() > 80


def test_frame_counts():
    scores, oracles = SELDScores(CLASSES, metric="dcase2024"), []
    for seed in range(1000):
        reference, estimate, frames = draw_tables(seed)
        scores.append(wide(reference), wide(estimate), num_frames=frames)
        oracles.append(frame_oracle(reference, estimate, frames))
    assert_same(scores, oracles)


@pytest.mark.parametrize("mode", ["official", "corrected"])
def test_l3das_counts(mode):
    scores, oracles = SELDScores(CLASSES, metric="l3das22", mode=mode), []
    for seed in range(1000):
        reference, estimate, frames = draw_tables(seed)
        reference = [row for row in reference if row[1] >= 0]
        scores.append(wide(reference), wide(estimate), num_frames=frames)
        estimate = [row for row in estimate if row[1] >= 0]
        oracles.append(
            l3das_oracle(reference, estimate, frames, mode == "corrected")
        )
    for name in ("TP", "FN", "FP"):
        expected = [oracle[name] for oracle in oracles]
        assert scores.counters[name].tolist() == expected
    assert scores.counters["TP"].sum() > 100


@pytest.mark.parametrize("shape", [(2, 2), (1, 4), (3, 1), (3, 2), (3, 3)])
def test_ties_fall_as_in_scipy(shape):
    # Small whole numbers: nearly every problem has several solutions.
    rng = np.random.default_rng(0)
    costs = rng.integers(0, 4, size=(4000, *shape)).astype(float)
    rows, columns = _assign(costs)
    for k, cost in enumerate(costs):
        expected = linear_sum_assignment(cost)
        assert (rows[k] == expected[0]).all()
        assert (columns[k] == expected[1]).all()


def test_ties_of_rounded_sums_fall_as_in_scipy():
    rng = np.random.default_rng(1)
    x = rng.integers(-18, 18, size=(4000, 4)) * 0.1
    costs = np.abs(x[:, :2, None] - x[:, None, 2:])  # on a line: a + d = b + c
    _, columns = _assign(costs)
    expected = [linear_sum_assignment(cost)[1] for cost in costs]
    assert (columns == np.array(expected)).all()
