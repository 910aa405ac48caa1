"""Measures of direction tracks against all assignments tried, and by hand."""

import itertools
import math

import numpy as np
import pytest

from spatial_brain.metrics.tracking import TrackingErrors, tracking_measures
from spatial_brain.processing.tracks import DirectionTracks

NAN = float("nan")


def circle(a, b):
    """Distance of azimuths by the arc between their points."""
    a, b = math.radians(a), math.radians(b)
    return math.degrees(abs(math.atan2(math.sin(a - b), math.cos(a - b))))


def best_assignment(sources, tracks, allowed, cost):
    """Most pairs first, then the smallest sum: every possibility is tried."""
    best = (0, 0.0, {})
    slots = [*tracks, *[None] * len(sources)]
    for chosen in set(itertools.permutations(slots, len(sources))):
        pairs = {s: t for s, t in zip(sources, chosen, strict=True)
                 if t is not None}  # fmt: skip
        if not all(allowed(s, t) for s, t in pairs.items()):
            continue
        total = sum(cost(s, t) for s, t in pairs.items())
        if (-len(pairs), total) < (-best[0], best[1]):
            best = (len(pairs), total, pairs)
    return best


def runs(active):
    """Lists of the frames of each stretch."""
    found, current = [], []
    for frame, on in enumerate(active):
        if on:
            current.append(frame)
        elif current:
            found.append(current)
            current = []
    return [*found, current] if current else found


def mean(values):
    values = [v for v in values if not math.isnan(v)]
    return sum(values) / len(values) if values else NAN


def oracle(reference, estimate):
    """The measures by their definitions, frame by frame."""
    times, active = reference.times, reference.active
    sources, length = range(len(reference)), len(times)
    error, rise, missed, swapped = {}, {}, {}, {}
    false, last = [0] * length, {}
    ospa = {p: [NAN] * length for p in (1.0, 1.5, 2.0, 5.0)}
    ungated = {}
    for t in range(length):
        on = [s for s in sources if active[s, t]]
        tracks = [
            k for k in range(len(estimate))
            if not math.isnan(estimate.azimuth[k, t])
        ]  # fmt: skip
        distance = {
            (s, k): circle(reference.azimuth[s, t], estimate.azimuth[k, t])
            for s in sources
            for k in tracks
        }
        pairs = {}
        if on and tracks:
            _, _, pairs = best_assignment(
                sources,
                tracks,
                lambda s, k, d=distance: d[s, k] <= 30.0,
                lambda s, k, d=distance: d[s, k] + 1e-7 * d[s, k] ** 2,
            )
        false[t] = len(tracks) - len(pairs)
        for s in on:
            missed[s, t] = s not in pairs
            if s in pairs:
                error[s, t] = distance[s, pairs[s]]
                rise[s, t] = abs(
                    reference.elevation[s, t] - estimate.elevation[pairs[s], t]
                )
            ungated[s, t] = [distance[s, k] for k in tracks]
        for s, k in pairs.items():
            swapped[s, t] = last.get(s, k) != k
            last[s] = k
        for p in ospa:
            most, least = max(len(on), len(tracks)), min(len(on), len(tracks))
            if most:
                total = 0.0
                if least:
                    few, many = sorted((on, tracks), key=len)
                    flip = few is not on
                    _, total, _ = best_assignment(
                        few,
                        many,
                        lambda *_: True,
                        lambda a, b, d=distance, p=p, flip=flip: (
                            min(30.0, d[(b, a) if flip else (a, b)]) ** p
                        ),
                    )
                total += 30.0**p * (most - least)
                ospa[p][t] = (total / most) ** (1 / p)
    out = {
        name: []
        for name in (
            "azimuth_error", "elevation_error", "ungated_azimuth_error",
            "detection", "accuracy_5", "accuracy_10", "latency",
            "fragmentation_rate", "swap_rate",
        )
    }  # fmt: skip
    for s in sources:
        latency, breaks, swaps = [], [], []
        for run in runs(active[s]):
            span = times[run[-1]] - times[run[0]]
            found = [t for t in run if not missed[s, t]]
            out["azimuth_error"].append(mean([error[s, t] for t in found]))
            out["elevation_error"].append(mean([rise[s, t] for t in found]))
            out["detection"].append(len(found) / len(run))
            for limit in (5, 10):
                near = [t for t in found if error[s, t] <= limit]
                out[f"accuracy_{limit}"].append(len(near) / len(run))
            if len(reference) == 1:
                every = itertools.chain(*(ungated[s, t] for t in run))
                out["ungated_azimuth_error"].append(mean(list(every)))
            latency.append(times[(found or run[-1:])[0]] - times[run[0]])
            changes = sum(swapped.get((s, t), False) for t in run)
            resumed = sum(
                missed[s, a] and not missed[s, b]
                for a, b in itertools.pairwise(run)
            )
            if span:
                breaks.append((resumed + changes) / span)
                swaps.append(changes / span)
        out["latency"].append(mean(latency))
        out["fragmentation_rate"].append(mean(breaks))
        out["swap_rate"].append(mean(swaps))
    out["false_alarm_rate"] = [sum(false) / (times[-1] - times[0])]
    out["active_false_alarm_rate"] = [
        sum(false[t] for t in run) / (times[run[-1]] - times[run[0]])
        if len(run) > 1
        else NAN
        for run in runs(active.any(0))
    ]
    return out | {f"ospa_{p:g}": values for p, values in ospa.items()}


def random_scene(rng):
    """Sources that pause, tracks near them that break, swap and lie."""
    sources, length = rng.integers(1, 4), rng.integers(4, 25)
    times = np.cumsum(rng.uniform(0.05, 0.15, length))
    walk = rng.uniform(-180, 180, (sources, 1)) + np.cumsum(
        rng.normal(0, 6, (sources, length)), axis=1
    )
    active = np.repeat(rng.random((sources, length)) < 0.6, 3, axis=1)
    active = active[:, :length] & (rng.random((sources, length)) < 0.95)
    height = rng.uniform(-60, 60, (sources, length))
    reference = DirectionTracks(times, (walk + 180) % 360 - 180, height, active)
    tracks = rng.integers(0, 5)
    azimuth = np.full((tracks, length), NAN)
    for track in range(tracks):
        followed = rng.integers(sources)
        for frame in range(length):
            if rng.random() < 0.15:
                followed = rng.integers(sources)
            value = walk[followed, frame] + rng.normal(0, 12)
            if rng.random() < 0.1:
                value = rng.uniform(-180, 180)
            if rng.random() < 0.75:
                azimuth[track, frame] = (value + 180) % 360 - 180
    elevation = np.where(rng.random(azimuth.shape) < 0.8, 10.0, NAN)
    return reference, DirectionTracks(times, azimuth, elevation)


@pytest.mark.parametrize("seed", range(8))
def test_measures_equal_the_oracle(seed):
    rng = np.random.default_rng(seed)
    for _ in range(50):
        reference, estimate = random_scene(rng)
        expected = oracle(reference, estimate)
        measures = tracking_measures(reference, estimate)
        assert measures.keys() == expected.keys()
        for name, values in expected.items():
            np.testing.assert_allclose(
                measures[name], values, atol=1e-9, err_msg=name
            )


def scene(azimuths, estimates, active=None, step=0.5):
    times = np.arange(len(azimuths[0])) * step
    return (
        DirectionTracks(times, azimuths, active=active),
        DirectionTracks(times, estimates),
    )


def test_late_lost_and_false_counted_by_hand():
    # Active from 0.5 s to 2.5 s: missed, found, missed, found, found.
    truth, found = scene(
        [[175.0] * 7],
        [
            [NAN, NAN, -179.0, NAN, 175.0, 177.0, 175.0],
            [NAN, NAN, 20.0, NAN, NAN, NAN, NAN],
        ],
        active=[[0, 1, 1, 1, 1, 1, 0]],
    )
    measures = tracking_measures(truth, found)
    assert measures["azimuth_error"] == pytest.approx([(6 + 0 + 2) / 3])
    assert measures["ungated_azimuth_error"] == pytest.approx(
        [(6 + 0 + 2 + 155) / 4]
    )
    assert measures["detection"] == pytest.approx([3 / 5])
    assert measures["accuracy_5"] == pytest.approx([2 / 5])
    assert measures["latency"] == pytest.approx([0.5])
    assert measures["fragmentation_rate"] == pytest.approx([2 / 2.0])
    assert measures["swap_rate"] == pytest.approx([0])
    # One beside the source, one when all is silent; 3 s and 2 s.
    assert measures["false_alarm_rate"] == pytest.approx([2 / 3.0])
    assert measures["active_false_alarm_rate"] == pytest.approx([1 / 2.0])
    assert measures["ospa_1"][[1, 2, 6]] == pytest.approx(
        [30, (6 + 30) / 2, 30]
    )
    assert np.isnan(measures["ospa_1"][0])


def test_two_sources_exchange_their_tracks():
    truth, found = scene(
        [[0.0] * 6, [90.0] * 6],
        [[0.0] * 3 + [90.0] * 3, [90.0] * 3 + [0.0] * 3],
    )
    assert tracking_measures(truth, found)["swap_rate"].tolist() == [0.4, 0.4]
    # The published evaluation does not see it.
    active = np.ones((2, 6), dtype=bool)
    active[:, 0] = False
    truth = DirectionTracks(truth.times, truth.azimuth, active=active)
    both = [tracking_measures(truth, found, compat=c) for c in (False, True)]
    assert both[0]["swap_rate"].tolist() == [0.5, 0.5]
    assert both[1]["swap_rate"].tolist() == [0.0, 0.0]


def test_a_new_track_is_a_swap_for_both():
    active = [[0, 1, 1, 1, 1, 1]]
    truth, found = scene(
        [[0.0] * 6], [[1.0] * 3 + [NAN] * 3, [NAN] * 3 + [1.0] * 3], active
    )
    for compat in (False, True):
        measures = tracking_measures(truth, found, compat)
        assert measures["swap_rate"].tolist() == [0.5]
        assert measures["fragmentation_rate"].tolist() == [0.5]


def test_what_the_published_evaluation_does_differently():
    # A period from the first frame on is lost, and shifts those after it.
    truth, found = scene(
        [[0.0] * 10], [[NAN] * 10], [[1, 1, 0, 0, 1, 1, 1, 0, 0, 0]]
    )
    ours, theirs = (tracking_measures(truth, found, c) for c in (False, True))
    assert ours["detection"].tolist() == [0.0, 0.0]
    assert ours["latency"] == pytest.approx([(0.5 + 1.0) / 2])
    assert np.isnan(theirs["detection"]).all()
    assert theirs["detection"].shape == (1,)
    assert theirs["latency"].tolist() == [0.0]
    # Latency: the time stamp at the index of the first miss in the period.
    truth, found = scene(
        [[0.0] * 8],
        [[NAN, NAN, 0.0, 0.0, 0.0, NAN, 0.0, NAN]],
        [[0, 0, 1, 1, 1, 1, 1, 0]],
    )
    assert tracking_measures(truth, found)["latency"].tolist() == [0.0]
    assert tracking_measures(truth, found, True)["latency"].tolist() == [1.5]
    # OSPA: errors of 4 and 10 degrees; theirs has the smaller only.
    truth, found = scene([[0.0] * 2, [90.0] * 2], [[4.0] * 2, [100.0] * 2])
    assert tracking_measures(truth, found)["ospa_1"][0] == pytest.approx(7)
    assert tracking_measures(truth, found, True)["ospa_1"][0] == pytest.approx(
        2
    )


def test_a_silent_source_takes_its_track():
    # While another one speaks, a track at a silent source is no false alarm.
    azimuth, tracks = [[0.0] * 4, [90.0] * 4], [[0.0] * 4, [90.0] * 4]
    truth, found = scene(azimuth, tracks, [[1, 1, 1, 1], [0, 0, 0, 0]])
    assert tracking_measures(truth, found)["false_alarm_rate"] == [0.0]
    truth, found = scene(azimuth, tracks, [[0, 0, 1, 1], [0, 0, 0, 0]])
    measures = tracking_measures(truth, found)
    assert measures["false_alarm_rate"] == pytest.approx([4 / 1.5])


def test_gate_and_most_pairs_first():
    # 29.9 + 29.9 beats 0 alone.
    truth, found = scene([[0.0] * 2, [29.9] * 2], [[29.9] * 2, [59.8] * 2])
    measures = tracking_measures(truth, found)
    assert measures["azimuth_error"] == pytest.approx([29.9, 29.9])
    truth, found = scene([[0.0] * 2], [[30.1] * 2])
    measures = tracking_measures(truth, found)
    assert measures["detection"] == [0.0]
    assert measures["ungated_azimuth_error"] == pytest.approx([30.1])


def test_between_equal_sums_the_even_one_is_taken():
    # Both tracks on one side of both sources: 6 + 16 is 12 + 10.
    truth, found = scene([[0.0] * 2, [6.0] * 2], [[12.0] * 2, [16.0] * 2])
    for tracks in (found.azimuth, found.azimuth[::-1]):
        estimate = DirectionTracks(found.times, tracks)
        measures = tracking_measures(truth, estimate)
        assert measures["azimuth_error"] == pytest.approx([12.0, 10.0])


def test_nothing_estimated_and_absent_sources():
    times = np.arange(4) * 0.5
    truth = DirectionTracks(times, [[0.0] * 4, [NAN, NAN, 5.0, 5.0]])
    nothing = DirectionTracks(times, [])
    measures = tracking_measures(truth, nothing)
    assert measures["detection"].tolist() == [0.0, 0.0]
    assert measures["latency"].tolist() == [1.5, 0.5]
    assert measures["false_alarm_rate"] == [0.0]
    assert np.isnan(measures["azimuth_error"]).all()


def test_times_must_agree():
    truth, found = scene([[0.0] * 3], [[0.0] * 3])
    late = DirectionTracks(found.times + 0.1, found.azimuth)
    with pytest.raises(ValueError, match="estimate.at"):
        tracking_measures(truth, late)
    with pytest.raises(ValueError, match="recordings x: rates need two"):
        TrackingErrors().append("x", truth.at([0.0]), found)


def test_task_means_pool_periods_not_recordings():
    errors = TrackingErrors()
    # Two periods with errors 2 and 4; then one period with 9.
    truth, found = scene(
        [[0.0] * 6], [[2.0] * 3 + [4.0] * 3], [[0, 1, 1, 0, 1, 1]]
    )
    errors.append("a", truth, found, task="1", t60=0.3)
    truth, found = scene([[0.0] * 3], [[9.0] * 3], [[0, 1, 1]])
    errors.append("b", truth, found, task="3", t60=0.9)
    summary = errors.summarize(num_bootstrap=200)
    assert summary["azimuth_error"] == pytest.approx(5.0)
    assert summary["azimuth_error_low"] == pytest.approx(3.0)
    assert summary["azimuth_error_high"] == pytest.approx(9.0)
    assert math.isnan(summary["elevation_error"])
    assert summary["by"]["task"]["1"]["azimuth_error"] == pytest.approx(3.0)
    assert errors.rows()[1]["num_tracks"] == 1
    errors.clear()
    with pytest.raises(ValueError, match="nothing to sum up"):
        errors.summarize()


def test_csv_has_a_line_a_recording(tmp_path):
    errors = TrackingErrors()
    truth, found = scene([[0.0] * 3], [[9.0] * 3])
    errors.append("a", truth, found, array="dicit")
    lines = errors.write_csv(tmp_path / "rows.csv").read_text().splitlines()
    row = dict(zip(*(line.split(",") for line in lines), strict=True))
    assert (row["id"], row["array"], row["detection"]) == ("a", "dicit", "1.0")
    assert row["elevation_error"] == ""
