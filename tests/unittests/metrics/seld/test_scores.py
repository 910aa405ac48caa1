"""SELD scores in segments: closed forms, modes, subsets, intervals, input."""

import itertools
import math

import numpy as np
import pytest
import torch
from scipy import stats

from spatial_brain.dataio.events import EventTable
from spatial_brain.metrics.seld import scores as seld
from spatial_brain.metrics.seld.rules import METRICS
from spatial_brain.metrics.seld.scores import (
    SELDScores,
    constant_prediction,
    repeat_prediction,
)

NAMES = ("ER", "F", "LE", "LR", "SELD")


def sound(frames, label=0, azimuth=0.0, elevation=0.0):
    return [(frame, label, azimuth, elevation) for frame in frames]


ONE, TWO = range(10), range(20)
CASES = {
    "V1 equal": (sound(TWO), sound(TWO)),
    "V2 10 degrees off": (sound(TWO), sound(TWO, azimuth=10)),
    "V3 30 degrees off": (sound(TWO), sound(TWO, azimuth=30)),
    "V4 a class missed": (sound(TWO) + sound(ONE, 1), sound(TWO)),
    "V5 never together": (sound(range(5)), sound(range(5, 10))),
    "V6 other class": (sound(ONE), sound(ONE, 1)),
    "V7 one of two": (sound(ONE) + sound(ONE, 0, 90), sound(ONE, 0, 85)),
    "V8 nothing": ([], []),
}
THIRD = 1 / 3
EXPECTED = {
    ("micro", "official"): [
        (0, 1, 0, 1, 0),
        (0, 1, 10, 1, 0.013889),
        (1, 0, 30, 1, 0.541667),
        (THIRD, 0.8, 0, 2 / 3, 0.216667),
        (1, 0, 180, 0, 1),
        (1, 0, 180, 0, 1),
        (0.5, 2 / 3, 5, 0.5, 0.340278),
        (0, 0, 180, 0, 0.75),
    ],
    ("macro", "official"): [
        (0, THIRD, 120, THIRD, 0.5),
        (0, THIRD, 370 / 3, THIRD, 0.50463),
        (1, 0, 130, THIRD, 0.847222),
        (THIRD, THIRD, 120, THIRD, 0.583333),
        (1, 0, 180, 0, 1),
        (1, 0, 180, 0, 1),
        (0.5, 2 / 9, 365 / 3, 1 / 6, 0.696759),
        (0, 0, 180, 0, 0.75),
    ],
    ("macro", "pseldnets"): [
        (0, 1, 0, 1, 0),
        (0, 1, 10, 1, 0.013889),
        (1, 0, 30, 1, 0.541667),
        (THIRD, 1, 0, 1, 0.083333),
        (1, -1, 180, -1, 1),
        (1, -1, 180, -1, 1),
        (0.5, 2 / 3, 5, 0.5, 0.340278),
        (0, -1, 180, -1, 1),
    ],
    ("macro", "present"): [
        (0, 1, 0, 1, 0),
        (0, 1, 10, 1, 0.013889),
        (1, 0, 30, 1, 0.541667),
        (THIRD, 0.5, 90, 0.5, 0.458333),
        (1, 0, 180, 0, 1),
        (1, 0, 180, 0, 1),
        (0.5, 2 / 3, 5, 0.5, 0.340278),
        (0, math.nan, math.nan, math.nan, math.nan),
    ],
}


def scores_of(clips, num_classes=3, **rules):
    scores = SELDScores(num_classes, **rules)
    for reference, estimate in clips:
        scores.append(reference, estimate)
    return scores


@pytest.mark.parametrize("rules", list(EXPECTED))
def test_scores_of_known_cases(rules):
    average, mode = rules
    for case, expected in zip(CASES, EXPECTED[rules], strict=True):
        found = scores_of([CASES[case]], average=average, mode=mode).compute()
        values = [found[name] for name in NAMES]
        assert values == pytest.approx(expected, abs=1e-5, nan_ok=True), case
        assert (found["mode"], found["average"]) == (mode, average)


def test_estimates_without_references_v9():
    for mode, eps in (("official", 2.0**-52), ("pseldnets", 2.0**-23)):
        found = scores_of([([], sound(ONE))], mode=mode).compute()
        assert found["ER"] == 1 / eps


def test_tracks_that_never_sound_together():
    # Two references, three estimates, no common frame: the evaluators count
    # three misses and no false alarm; corrected are two and three.
    reference = sound(range(5)) + sound(range(5), azimuth=90)
    estimate = [row for a in (0, 50, 99) for row in sound(range(5, 10), 0, a)]
    for mode, misses, extras in (("official", 3, 0), ("corrected", 2, 3)):
        counts = scores_of([(reference, estimate)], mode=mode).counters
        assert counts["FN"].tolist() == [[misses, 0, 0]]
        assert counts["FP"].tolist() == [[extras, 0, 0]]


def test_length_of_the_clip():
    # An estimate after the last reference counts once the clip is long enough.
    reference, estimate = sound(ONE), sound(range(30))
    for frames, extras in ((10, 0), (11, 1), (30, 2), (None, 2)):
        scores = SELDScores(1)
        scores.append(reference, estimate, num_frames=frames)
        assert scores.counters["FP"].sum() == extras, frames
    table = EventTable(*zip(*reference, strict=True), num_frames=15)
    scores = SELDScores(1)
    scores.append(table, estimate)
    assert scores.counters["FP"].sum() == 1


def test_years_weigh_wrong_places_differently():
    # One right, one 30 degrees off, in a second each.
    clip = (sound(TWO), sound(ONE) + sound(range(10, 20), azimuth=30))
    rules = {"average": "micro", "num_classes": 1}
    f = {
        metric: scores_of([clip], metric=metric, **rules).compute()["F"]
        for metric in ("dcase2020", "dcase2021", "dcase2022", "dcase2023")
    }
    # 2020: a miss, not a false alarm: precision 1 / 2 over 2 estimates.
    assert f == pytest.approx(
        {
            "dcase2020": 0.5,
            "dcase2021": 1 / 1.5,
            "dcase2022": 0.5,
            "dcase2023": 0.5,
        }
    )
    # A class counts once a segment in 2020, whatever its number of tracks.
    pair = (sound(ONE) + sound(ONE, 0, 90), sound(ONE))
    found = scores_of([pair], metric="dcase2020", **rules).compute()
    assert (found["F"], found["LR"]) == pytest.approx((1, 1))
    found = scores_of([pair], metric="dcase2021", **rules).compute()
    assert (found["F"], found["LR"]) == pytest.approx((1 / 1.5, 0.5))


def test_separate_scores_of_2019():
    rules = {"metric": "dcase2019", "average": "micro", "frames_per_second": 50}
    reference = sound(range(100), azimuth=10)
    estimate = sound(range(50), azimuth=30) + sound(range(50, 75), 1, 10)
    scores = SELDScores(2, **rules)
    scores.append(reference, estimate, num_frames=100)
    found = scores.compute()
    assert found["ER"] == pytest.approx(0.5)  # a substitution of two seconds
    assert found["F"] == pytest.approx(0.5)
    assert found["LE"] == pytest.approx(50 * 20 / 75)
    assert found["LR"] == pytest.approx(0.75)
    parts = (0.5, 0.5, 50 * 20 / 75 / 180, 0.25)
    assert found["SELD"] == pytest.approx(sum(parts) / 4)


def test_what_2019_overlooks():
    # The last frame of a second, and where in its cell of 10 degrees.
    reference, estimate = sound([49], azimuth=11), sound([49], azimuth=19)
    for mode, hits, error in (("official", 0, 0), ("corrected", 1, 8)):
        scores = SELDScores(
            1, metric="dcase2019", frames_per_second=50, mode=mode
        )
        scores.append(reference, estimate + estimate, num_frames=50)
        counts = scores.counters
        assert counts["TP"].sum() == hits
        assert counts["DE_sum"].sum() == pytest.approx(error)
        # Equal rows are one in the evaluator, a wrong number if corrected.
        assert counts["good_frames"].sum() == (50 if hits == 0 else 49)


def at(*places):
    """Rows with positions (class, x, y, z) in frame 0, metres."""
    rows = []
    for label, x, y, z in places:
        azimuth = math.degrees(math.atan2(y, x))
        elevation = math.degrees(math.atan2(z, math.hypot(x, y)))
        far = 100 * math.sqrt(x * x + y * y + z * z)
        rows.append((0, label, 0, azimuth, elevation, far))
    return rows


def test_positions_of_l3das22():
    rules = {"metric": "l3das22", "average": "micro"}
    scores = SELDScores(3, **rules)
    reference = at((0, 1, 0, 0), (1, 0, 1.5, 0))
    scores.append(reference, at((0, 1, 0.5, 0), (1, 0, 0.5, 0), (2, 1, 0, 0)))
    found = scores.compute()  # the second is exactly 1 m away: not found
    assert found["precision"] == pytest.approx(1 / 3)
    assert found["recall"] == found["LR"] == pytest.approx(1 / 2)
    assert found["F"] == pytest.approx(0.4)
    assert found["DE"] == pytest.approx(0.5)
    assert found["LE"] == pytest.approx(math.degrees(math.atan(0.5)))
    assert found["per_class"]["F"] == pytest.approx([1, 0, 0])
    near = SELDScores(3, distance_threshold=1.01, **rules)
    near.append(reference, at((0, 1, 0.5, 0), (1, 0, 0.5, 0)))
    assert near.compute()["F"] == pytest.approx(1)


def test_l3das22_pairs_one_to_one_when_corrected():
    # Two references near one estimate, and the reverse: three touched on
    # either side, but only two can be paired.
    reference = at((0, 0.1, 0, 0), (0, 0.2, 0, 0), (1, 1, 1, 0))
    estimate = at((0, 0.3, 0, 0), (1, 1, 1.1, 0), (1, 1, 0.9, 0))
    for mode, hits in (("official", 3), ("corrected", 2)):
        scores = SELDScores(2, metric="l3das22", mode=mode)
        scores.append(reference, estimate)
        assert scores.counters["TP"].tolist() == [hits]


@pytest.mark.parametrize("metric", METRICS)
def test_nothing_at_all(metric):
    for clips in ([], [([], [])]):
        found = scores_of(clips, metric=metric).compute(intervals=True)
        assert found["ER"] == 0 and found["F"] == 0
        assert found["num_clips"] == len(clips)
        assert found["intervals"]["F"] == pytest.approx(
            [math.nan] * 2, nan_ok=True
        )


def random_clips(number, seed=0):
    rng = np.random.default_rng(seed)
    clips = []
    for _ in range(number):
        reference, estimate = [], []
        for label in rng.permutation(3)[:2]:
            start = int(rng.integers(0, 40))
            a = rng.uniform(-180, 180)
            for frame in range(start, start + int(rng.integers(5, 40))):
                reference.append((frame, label, 0, a, 10.0, 200.0))
                if rng.random() < 0.8:
                    far = 200 * rng.uniform(0.5, 2.5)
                    guess = (a + rng.normal(0, 15), 10.0, far)
                    estimate.append((frame, rng.integers(0, 3), 0, *guess))
        clips.append((reference, estimate))
    return clips


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("average", ["micro", "macro"])
def test_intervals_equal_leaving_out_one_by_one(metric, average):
    clips = random_clips(6)
    rules = {"metric": metric, "average": average}
    found = scores_of(clips, **rules).compute(intervals=True)
    t = stats.t.ppf(0.975, 5)
    for name in NAMES:
        partial = np.array(
            [
                scores_of(clips[:k] + clips[k + 1 :], **rules).compute()[name]
                for k in range(6)
            ]
        )
        center = partial.mean()
        estimate = found[name] - 5 * (center - found[name])
        half = t * math.sqrt(5 * np.mean((partial - center) ** 2))
        low, high = estimate - half, estimate + half
        top = {"F": 1, "LR": 1, "LE": 180}.get(name, math.inf)
        if low < 0 or high > top or not low <= found[name] <= high:
            low = high = math.nan
            assert name in found["warnings"][-1]
        assert found["intervals"][name] == pytest.approx(
            [low, high], abs=1e-8, nan_ok=True
        ), name
    assert np.shape(found["intervals"]["per_class"]["F"]) == (3, 2)


@pytest.mark.parametrize("metric", METRICS)
def test_counts_add_up(metric, monkeypatch):
    clips = random_clips(7)
    whole = scores_of(clips, metric=metric)
    # The same in batches, and from two processes.
    monkeypatch.setattr(seld, "_BATCH_ROWS", 100)
    halves = [scores_of(part, metric=metric) for part in (clips[:3], clips[3:])]
    halves[0].merge(halves[1])
    assert len(halves[0]) == 7
    for name, value in whole.counters.items():
        np.testing.assert_allclose(halves[0].counters[name], value, atol=1e-9)
    expected = whole.compute()
    for name in NAMES:
        assert halves[0].compute()[name] == pytest.approx(expected[name])
    with pytest.raises(ValueError, match="mode 'official' and 'present'"):
        whole.merge(SELDScores(3, metric=metric, mode="present"))


def test_subsets_by_room():
    clips = random_clips(4)
    scores = SELDScores(3)
    for k, clip in enumerate(clips):
        scores.append(*clip, name=f"mix{k}")
    rooms = {"mix0": 10, "mix1": 2, "mix2": 2, "mix3": 10}
    found = scores.compute(by=rooms)
    assert list(found["by"]) == ["2", "10"]
    alone = scores_of([clips[1], clips[2]]).compute()
    assert found["by"]["2"] == alone and alone["num_clips"] == 2
    with pytest.raises(ValueError, match="'mix3' is in no group"):
        scores.compute(by={k: rooms[k] for k in ("mix0", "mix1", "mix2")})
    scores.clear()
    assert len(scores) == 0 and scores.compute()["num_clips"] == 0


def test_kinds_of_input_score_the_same():
    rows = [(4, 1, 0, 30.0, 10.0, 150.0), (5, 2, 1, -60.0, 0.0, 90.0)]
    array = np.array(rows)
    table = EventTable(*array[:, [0, 1, 3, 4]].T, distance=array[:, 5] / 100)
    kinds = [
        rows,
        array,
        torch.tensor(rows),
        [row[:2] + row[3:5] for row in rows],
        array[:, :5],
        table,
    ]
    for reference in kinds:
        for estimate in kinds:
            found = scores_of([(reference, estimate)], average="micro")
            assert found.compute()["F"] == pytest.approx(1)
    frames = SELDScores(3, metric="dcase2024", average="micro")
    frames.append([rows, table, []], [table, array, []], name=["a", "b", "c"])
    found = frames.compute()
    assert found["num_clips"] == 3 and frames.names == ["a", "b", "c"]
    assert (found["F"], found["DE"]) == pytest.approx((1, 0))


def test_unknown_classes_and_frames_are_not_looked_at():
    odd = [(3, 7, 0, 0), (3, -1, 0, 0), (-2, 0, 0, 0)]
    clip = (sound(ONE), sound(ONE) + odd)
    found = scores_of([clip], num_classes=1).compute()
    assert (found["ER"], found["F"]) == pytest.approx((0, 1))


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (
            [(0, 1, 2)],
            r"clip 0: reference must have rows of 4, 5 or 6 .*\(1, 3",
        ),
        ([(0, 1, 2, 3), (0, 1)], "clip 0: reference: rows must be numbers"),
        ([(0, 1, 2, 3), (0.5, 1, 2, 3)], "row 1: frame must be a whole .*0.5"),
        ([(0, math.nan, 2, 3)], "row 0: class must be a whole number; got nan"),
        ([(0, 1, math.inf, 3)], "row 0: azimuth must be a finite .*got inf"),
        ([("a", 1, 2, 3)], "rows must be numbers"),
    ],
)
def test_malformed_rows_are_named(rows, message):
    with pytest.raises(ValueError, match=message):
        SELDScores(3).append(rows, [])


@pytest.mark.parametrize(
    ("rules", "message"),
    [
        ({"mode": "fair"}, "mode must be one of official, present, .*'fair'"),
        ({"average": "all"}, "average must be one of macro, micro; got 'all'"),
        ({"metric": "dcase2018"}, "metric must be one of dcase2019"),
        ({"threshold": 0}, "threshold must be above 0; got 0"),
        ({"num_classes": 0}, "num_classes must be 1, 2"),
        ({"frames_per_second": 0.5}, "frames_per_second must be"),
        ({"mode": "pseldnets", "metric": "dcase2024"}, "segment metrics"),
    ],
)
def test_settings_are_checked(rules, message):
    with pytest.raises(ValueError, match=message):
        SELDScores(**{"num_classes": 3, **rules})


def test_lists_of_clips_are_checked():
    scores = SELDScores(3)
    many = [sound(ONE), sound(ONE)]
    with pytest.raises(ValueError, match="2 clips of reference, 1 of"):
        scores.append(many, many[:1])
    with pytest.raises(ValueError, match="name must be a list of 2"):
        scores.append(many, many, name="a")
    with pytest.raises(ValueError, match="num_frames must be 0, 1"):
        scores.append(many[0], many[0], num_frames=-1)


def test_missing_distances_are_reported():
    for metric in ("dcase2024", "l3das22"):
        with pytest.raises(ValueError, match="a: reference has no distance"):
            SELDScores(3, metric=metric).append(sound(ONE), [], name="a")


def scene_of(rng, num_frames=50):
    """Class 1 mostly to the left, class 2 now and then, class 0 never."""
    frames = np.flatnonzero(rng.random(num_frames) < 0.9)
    rare = np.flatnonzero(rng.random(num_frames) < 0.1)
    return EventTable(
        np.concatenate((frames, rare)),
        [1] * len(frames) + [2] * len(rare),
        np.concatenate(
            (rng.normal(90, 5, len(frames)), rng.uniform(-180, 180, len(rare)))
        ),
        np.zeros(len(frames) + len(rare)),
        num_frames=num_frames,
    )


def seld_of(references, prediction):
    scores = SELDScores(3, average="micro")
    for table in references:
        estimate = repeat_prediction(prediction, table.num_frames)
        scores.append(table, estimate, num_frames=table.num_frames)
    return scores.compute()["SELD"]


def test_constant_prediction_is_the_best_of_all_class_sets():
    rng = np.random.default_rng(1)
    references = [scene_of(rng) for _ in range(4)]
    best = constant_prediction(
        references, 3, lambda: SELDScores(3, average="micro")
    )
    assert best.label.tolist() == [1]
    assert abs(best.azimuth[0] - 90) < 3
    every = {1: best.azimuth[0], 2: 0.0}
    for size in range(3):
        for labels in itertools.combinations(every, size):
            other = EventTable(
                [0] * size, labels, [every[k] for k in labels], [0.0] * size
            )
            assert (
                seld_of(references, best) <= seld_of(references, other) + 1e-9
            )


def test_constant_prediction_of_silence():
    empty = EventTable([], [], [], [], num_frames=30)
    assert len(constant_prediction([empty], 3, lambda: SELDScores(3))) == 0


def test_repeated_prediction():
    prediction = EventTable([0, 0], [2, 0], [10.0, -20.0], [5.0, 0.0])
    table = repeat_prediction(prediction, 3)
    assert table.frame.tolist() == [0, 0, 1, 1, 2, 2]
    assert table.label.tolist() == [2, 0] * 3
    assert table.num_frames == 3
