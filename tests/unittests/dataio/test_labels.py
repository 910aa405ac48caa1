"""Targets and decoded outputs against loops over their definitions."""

from math import acos, asin, atan2, cos, degrees, radians, sin, sqrt

import numpy as np
import pytest
import torch

from spatial_brain.dataio.events import EventTable
from spatial_brain.dataio.labels import (
    METHODS,
    decode_outputs,
    dropped_events,
    encode_labels,
    overlap_of,
)

L, C = 5, 3


def random_table(rng, rows=None):
    """Rows in any order, many in the same cell, some outside the clip."""
    rows = int(rng.integers(0, 25)) if rows is None else rows
    return EventTable(
        rng.integers(-1, L + 1, rows),
        rng.integers(0, C, rows),
        rng.uniform(-180, 180, rows),
        rng.uniform(-90, 90, rows),
    )


def unit(azimuth, elevation):
    a, e = radians(azimuth), radians(elevation)
    return cos(a) * cos(e), sin(a) * cos(e), sin(e)


def rows_of(table):
    return zip(
        table.frame.tolist(),
        table.label.tolist(),
        table.azimuth.tolist(),
        table.elevation.tolist(),
        strict=True,
    )


def test_encoders_equal_loops():
    rng = np.random.default_rng(0)
    for _ in range(1500):
        table = random_table(rng)
        accdoa, adpit = np.zeros((L, 3, C)), np.zeros((L, 6, 4, C))
        sed, doa = np.zeros((L, 3, C)), np.zeros((L, 3, 3))
        lost = {"accdoa": 0, "multi_accdoa": 0, "einv2": 0}
        cells, frames = {}, {}
        for row in rows_of(table):
            cells.setdefault(row[:2], []).append(row)
            frames.setdefault(row[0], []).append(row)
        for (frame, label), cell in cells.items():
            lost["accdoa"] += len(cell) - 1
            lost["multi_accdoa"] += max(0, len(cell) - 3)
            if not 0 <= frame < L:
                continue
            accdoa[frame, :, label] = unit(*cell[-1][2:])
            slots = {1: [0], 2: [1, 2]}.get(len(cell), [3, 4, 5])
            for slot, row in zip(slots, cell, strict=False):
                adpit[frame, slot, :, label] = (1, *unit(*row[2:]))
        for frame, events in frames.items():
            lost["einv2"] += max(0, len(events) - 3)
            for track, row in enumerate(events[:3]):
                if 0 <= frame < L:
                    sed[frame, track, row[1]] = 1
                    doa[frame, track] = unit(*row[2:])
        close = {"atol": 1e-6}
        ours = encode_labels(table, "accdoa", C, L)["accdoa"]
        np.testing.assert_allclose(ours, accdoa.reshape(L, -1), **close)
        ours = encode_labels(table, "multi_accdoa", C, L)["adpit"]
        np.testing.assert_allclose(ours, adpit, **close)
        ours = encode_labels(table, "seddoa", C, L)
        np.testing.assert_array_equal(ours["sed"], sed)
        np.testing.assert_allclose(ours["doa"], doa, **close)
        for method, number in lost.items():
            assert dropped_events(table, method) == number
        most = [len({row[1] for row in events}) for events in frames.values()]
        assert overlap_of(table, "accdoa") == max([1, *most])
        most = [len(events) for events in frames.values()]
        assert overlap_of(table, "einv2") == max([1, *most])


def polar(vector):
    x, y, z = vector
    return degrees(atan2(y, x)), degrees(atan2(z, sqrt(x * x + y * y)))


def angle(a, b):
    a, b = (
        [x / sqrt(sum(y * y for y in v) + 1e-10) for x in v] for v in (a, b)
    )
    cosine = sum(x * y for x, y in zip(a, b, strict=True))
    return degrees(acos(max(-1, min(1, cosine))))


def mean(*vectors):
    return [sum(axis) / len(vectors) for axis in zip(*vectors, strict=True)]


def unify(vectors, merge_angle):
    """One to three detections of a class in one frame, merged."""
    if merge_angle is None or len(vectors) == 1:
        return vectors
    if len(vectors) == 2:
        near = angle(*vectors) < merge_angle
        return [mean(*vectors)] if near else vectors
    a, b, c = vectors
    near = [angle(*pair) < merge_angle for pair in ((a, b), (b, c), (a, c))]
    if sum(near) == 0:
        return vectors
    if sum(near) > 1:
        return [mean(a, b, c)]
    if near[0]:
        return [mean(a, b), c]
    return [a, mean(b, c)] if near[1] else [mean(a, c), b]


def random_vectors(rng, *shape):
    """Vectors of which many are near to others, [*shape, 3]."""
    centre = rng.integers(0, 3, shape)
    azimuth = np.radians(60 * centre + rng.normal(0, 8, shape))
    elevation = np.radians(rng.normal(0, 8, shape))
    vectors = np.stack(
        (
            np.cos(azimuth) * np.cos(elevation),
            np.sin(azimuth) * np.cos(elevation),
            np.sin(elevation),
        ),
        axis=-1,
    )
    return vectors * rng.uniform(0.2, 1, shape)[..., None]


def assert_rows(table, expected):
    ours = np.array(list(rows_of(table))).reshape(-1, 4)
    expected = np.array(expected).reshape(-1, 4)
    assert ours.shape == expected.shape
    np.testing.assert_allclose(ours, expected, atol=1e-6)


@pytest.mark.parametrize("merge_angle", [15.0, 40.0, None])
def test_multi_accdoa_decoder_equals_loop(merge_angle):
    rng = np.random.default_rng(1)
    thresholds = [0.5, 0.3, 0.7]
    for _ in range(1000):
        vectors = random_vectors(rng, L, 3, C)
        expected = []
        for frame in range(L):
            for label in range(C):
                found = [
                    v
                    for v in vectors[frame, :, label].tolist()
                    if sqrt(sum(x * x for x in v)) > thresholds[label]
                ]
                if found:
                    expected += [
                        (frame, label, *polar(v))
                        for v in unify(found, merge_angle)
                    ]
        output = torch.from_numpy(vectors.swapaxes(2, 3).reshape(L, 9 * C))
        table = decode_outputs(
            {"multi_accdoa": output},
            "multi_accdoa",
            threshold=thresholds,
            merge_angle=merge_angle,
        )
        assert_rows(table, expected)


@pytest.mark.parametrize("merge_angle", [15.0, 40.0, None])
def test_track_decoder_equals_loop(merge_angle):
    rng = np.random.default_rng(2)
    for _ in range(1000):
        sed = rng.normal(0, 2, (L, 3, C))
        sed[..., 2] = -9
        doa = random_vectors(rng, L, 3)
        expected = []
        for frame in range(L):
            tracks = {}
            for track in range(3):
                label = int(np.argmax(sed[frame, track]))
                if 1 / (1 + np.exp(-sed[frame, track, label])) > 0.4:
                    tracks.setdefault(label, []).append(doa[frame, track])
            expected += [
                (frame, label, *polar(v))
                for label, vectors in tracks.items()
                for v in unify(vectors, merge_angle)
            ]
        table = decode_outputs(
            {"sed": torch.from_numpy(sed), "doa": doa},
            "einv2",
            threshold=0.4,
            merge_angle=merge_angle,
        )
        # The loop goes by class, the decoder by track.
        order = np.lexsort((table.azimuth, table.label, table.frame))
        expected.sort(key=lambda row: row[:3])
        assert_rows(table.select(order), expected)
        assert (np.diff(table.frame) >= 0).all()


def test_accdoa_decoder_equals_loop():
    rng = np.random.default_rng(3)
    thresholds = rng.uniform(0.2, 0.9, 6).tolist()
    for _ in range(1000):
        vectors = rng.uniform(-0.7, 0.7, (L, 6, 3))
        output = vectors.swapaxes(1, 2).reshape(L, 18)
        for limit in (None, 1, 6):
            expected = []
            for frame in range(L):
                length = [sqrt(sum(v * v)) for v in vectors[frame]]
                best = sorted(range(6), key=lambda c: -length[c])[: limit or 3]
                expected += [
                    (frame, label, *polar(vectors[frame, label]))
                    for label in sorted(best)
                    if length[label] > thresholds[label]
                ]
            assert_rows(
                decode_outputs(
                    {"accdoa": output},
                    "accdoa",
                    threshold=thresholds,
                    max_events=limit,
                ),
                expected,
            )


def test_specified_vector():
    def vector(azimuth, length):
        return [length * x for x in unit(azimuth, 0)]

    output = torch.zeros(1, 3, 3, 2)
    for track, (azimuth, length) in enumerate([(0, 1), (10, 1), (0, 0.4)]):
        output[0, track, :, 0] = torch.tensor(vector(azimuth, length))
    for track, axis in enumerate([(0, 0.6, 0), (0, -0.6, 0), (0, 0, 0.6)]):
        output[0, track, :, 1] = torch.tensor(axis)
    table = decode_outputs({"multi_accdoa": output.flatten(1)}, "multi_accdoa")
    assert_rows(
        table, [(0, 0, 5, 0), (0, 1, 90, 0), (0, 1, -90, 0), (0, 1, 0, 90)]
    )
    assert table.source.tolist() == [0, 0, 1, 2]
    assert table.num_frames == 1


@pytest.mark.parametrize("instances", [1, 2, 3])
@pytest.mark.parametrize("method", ["multi_accdoa", "einv2"])
def test_round_trip_of_events_of_one_class(method, instances):
    azimuth = np.array([-170.0, 20.0, 75.0])[:instances]
    table = EventTable(
        np.repeat([0, 3], instances),
        [1] * 2 * instances,
        [*azimuth, *azimuth[::-1]],
        [0.0, 35.0, -80.0][:instances] * 2,
        num_frames=4,
    )
    targets = encode_labels(table, method, 2, 4)
    if method == "einv2":
        outputs = {"sed": 20 * targets["sed"] - 10, "doa": targets["doa"]}
    else:
        # The order that duplicating training accepts for each number.
        slots = {1: [0, 0, 0], 2: [2, 1, 2], 3: [5, 3, 4]}[instances]
        tracks = targets["adpit"][:, slots, 1:]
        outputs = {"multi_accdoa": tracks.reshape(4, -1)}
    decoded = decode_outputs(outputs, method)
    expected = sorted(rows_of(table))
    np.testing.assert_allclose(sorted(rows_of(decoded)), expected, atol=1e-4)
    assert decoded.num_frames == 4


def test_round_trip_of_accdoa_keeps_the_last_row():
    table = EventTable([0, 0, 2], [1, 1, 0], [10.0, 80.0, -5.0], [0, 0, 60.0])
    decoded = decode_outputs(encode_labels(table, "accdoa", 2, 3), "accdoa")
    np.testing.assert_allclose(decoded.azimuth, [80, -5], atol=1e-5)
    np.testing.assert_allclose(decoded.elevation, [0, 60], atol=1e-5)


def test_duplicate_tracks_are_one_event_unless_merging_is_off():
    sed = torch.full((1, 3, 2), -9.0)
    sed[0, :, 1] = torch.tensor([3.0, 9.0, 1.0])
    sed[0, 2] = torch.tensor([5.0, 1.0])
    doa = torch.tensor([unit(0, 0), unit(10, 0), unit(5, 0)])[None]
    outputs = {"sed": sed, "doa": doa}
    table = decode_outputs(outputs, "einv2")
    assert_rows(table, [(0, 1, 5, 0), (0, 0, 5, 0)])
    assert len(decode_outputs(outputs, "einv2", merge_angle=None)) == 3


def test_strongest_events_are_kept():
    output = torch.zeros(2, 3, 3, 3)
    output[:, 0, 0] = torch.tensor([0.6, 0.9, 0.7])
    table = decode_outputs(
        {"multi_accdoa": output.flatten(1)}, "multi_accdoa", max_events=2
    )
    assert table.label.tolist() == [1, 2, 1, 2]
    # What was merged counts as its strongest member.
    sed = torch.full((1, 3, 3), -9.0)
    sed[0, 0, 0], sed[0, 1, 1], sed[0, 2, 0] = 1.0, 2.0, 3.0
    doa = torch.tensor([1.0, 0, 0]).expand(1, 3, 3)
    table = decode_outputs({"sed": sed, "doa": doa}, "einv2", max_events=1)
    assert table.label.tolist() == [0]


def test_activity_has_to_exceed_the_threshold():
    output = torch.zeros(1, 3, 3, 1)
    output[0, 0, 0] = 0.5
    outputs = {
        "accdoa": output[:, 0].flatten(1),
        "multi_accdoa": output.flatten(1),
        "sed": torch.zeros(1, 3, 2),
        "doa": output[..., 0],
    }
    for method in METHODS:
        assert len(decode_outputs(outputs, method)) == 0


def test_nothing_in_nothing_out():
    empty = EventTable([], [], [], [])
    for method in METHODS:
        targets = encode_labels(empty, method, C, L)
        assert all(not target.any() for target in targets.values())
        assert all(t.dtype == torch.float32 for t in targets.values())
        assert overlap_of(empty, method) == 1
        assert dropped_events(empty, method) == 0
    zeros = {
        "accdoa": torch.zeros(L, 3 * C),
        "multi_accdoa": torch.zeros(0, 9 * C),
        "sed": torch.full((L, 3, C), -800.0),
        "doa": torch.zeros(L, 3, 3, dtype=torch.bfloat16, requires_grad=True),
    }
    for method in METHODS:
        assert len(decode_outputs(zeros, method)) == 0


def test_bad_input_is_refused():
    table = EventTable([0], [3], [0.0], [0.0])
    for method in METHODS:
        with pytest.raises(
            ValueError, match=r"class 3, expected one in 0\.\.2"
        ):
            encode_labels(table, method, 3, 5)
    for call in (
        lambda: encode_labels(table, "acdoa", 3, 5),
        lambda: decode_outputs({}, "acdoa"),
        lambda: dropped_events(table, "acdoa"),
        lambda: overlap_of(table, "acdoa"),
    ):
        with pytest.raises(ValueError, match="'acdoa', expected one of accdoa"):
            call()
    with pytest.raises(ValueError, match=r"shape \(1, 5, 9\)"):
        decode_outputs({"multi_accdoa": torch.zeros(1, 5, 9)}, "multi_accdoa")
    with pytest.raises(ValueError, match=r"shape \(5, 10\)"):
        decode_outputs({"multi_accdoa": torch.zeros(5, 10)}, "multi_accdoa")
    with pytest.raises(ValueError, match=r"one for each of 2 classes"):
        decode_outputs(
            {"accdoa": torch.zeros(5, 6)}, "accdoa", threshold=[0.5] * 3
        )
    with pytest.raises(ValueError, match=r"\(5, 2, 4\) and \(5, 3, 3\)"):
        decode_outputs(
            {"sed": torch.zeros(5, 2, 4), "doa": torch.zeros(5, 3, 3)}, "einv2"
        )


def test_elevation_of_a_pole_is_right():
    down = torch.tensor([[0.0, 0.0, -0.9]])
    table = decode_outputs({"accdoa": down}, "accdoa")
    assert table.elevation.tolist() == [degrees(asin(-1))]
