"""Events from start to end."""

import itertools

import numpy as np
import pytest
from event_tracks import TRACKS

from spatial_brain.dataio.events import (
    EventTable,
    concatenate,
    link_events,
    sound_events,
)


def shuffled(table, seed=0):
    return table.select(np.random.default_rng(seed).permutation(len(table)))


def groups(table, tracks):
    """The rows of each track as a set of sets."""
    rows = zip(
        table.frame.tolist(),
        table.label.tolist(),
        table.azimuth.round(6).tolist(),
        strict=True,
    )
    found = {}
    for row, number in zip(rows, tracks.tolist(), strict=True):
        found.setdefault(number, set()).add(row)
    return sorted(map(sorted, found.values()))


def test_tracks_are_followed():
    parts = [concatenate([part]) for part in TRACKS]
    table = concatenate(parts)
    owner = np.repeat(range(len(parts)), [len(part) for part in parts])
    for seed in range(3):
        order = np.random.default_rng(seed).permutation(len(table))
        found = link_events(table.select(order))
        assert groups(table.select(order), found) == groups(table, owner)
        # Numbered in the order in which they begin.
        starts = [
            table.select(order).frame[found == number].min()
            for number in range(len(parts))
        ]
        assert starts == sorted(starts)


def test_jumps_begin_an_event():
    table = EventTable([0, 1, 2], [0] * 3, [0, 31, 60], [0] * 3)
    assert link_events(table).tolist() == [0, 1, 1]
    assert link_events(table, max_angle=35.0).tolist() == [0, 0, 0]
    assert link_events(table, max_angle=10.0).tolist() == [0, 1, 2]


def test_the_nearest_are_linked():
    """The sum of angles is the smallest, for every assignment."""
    generator = np.random.default_rng(0)
    for _ in range(20):
        azimuth = generator.uniform(-40, 40, 6)
        table = EventTable([0] * 3 + [1] * 3, [0] * 6, azimuth, [0.0] * 6)
        found = link_events(table, max_angle=180.0)
        linked = [list(found[:3]).index(number) for number in found[3:]]
        cost = np.abs(azimuth[3:, None] - azimuth[:3])
        best = min(
            cost[range(3), order].sum()
            for order in itertools.permutations(range(3))
        )
        assert cost[range(3), linked].sum() == pytest.approx(best)


def test_sound_events():
    found = sound_events(shuffled(concatenate(TRACKS)))
    assert [event.label for event in found] == [0, 0, 2, 1, 1, 0]
    by_start = {(e.label, e.start, e.stop) for e in found}
    assert (0, 3.1, 4.0) in by_start and (2, 0.5, 0.6) in by_start
    first = next(e for e in found if e.azimuth < -100 and e.start == 0)
    assert first.stop == 3.0
    assert first.azimuth == pytest.approx(-141.0)
    high = next(e for e in found if e.elevation > 70)
    assert (high.azimuth, high.elevation) == pytest.approx((30.0, 80.0))
    assert sound_events(EventTable([], [], [], [])) == []
