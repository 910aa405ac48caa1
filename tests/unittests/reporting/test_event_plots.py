"""Events from start to end, and their picture."""

import itertools

import numpy as np
import pytest

from spatial_brain.dataio.events import (
    EventTable,
    concatenate,
    link_events,
    sound_events,
)
from spatial_brain.reporting.plots import figure_to_svg
from spatial_brain.reporting.seld import MAX_SHOWN_CLASSES, event_trajectories


def track(label, start, stop, azimuth, speed=0.0, elevation=0.0):
    """A source that moves evenly, degrees a frame."""
    frame = np.arange(start, stop)
    return EventTable(
        frame,
        np.full(len(frame), label),
        azimuth + speed * (frame - start),
        np.full(len(frame), elevation),
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


PARTS = [
    track(0, 0, 30, -170, 2.0),
    track(0, 0, 30, 170, -3.0),  # they pass each other far apart
    track(0, 31, 40, -108),  # after a frame without it
    track(1, 10, 50, 30, 29.0),  # fast, another class, past 180 degrees
    track(1, 20, 30, 30, 0.0, 80.0),
    track(2, 5, 6, 0),
]


def test_tracks_are_followed():
    parts = [concatenate([part]) for part in PARTS]
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
    found = sound_events(shuffled(concatenate(PARTS)))
    assert [event.label for event in found] == [0, 0, 2, 1, 1, 0]
    by_start = {(e.label, e.start, e.stop) for e in found}
    assert (0, 3.1, 4.0) in by_start and (2, 0.5, 0.6) in by_start
    first = next(e for e in found if e.azimuth < -100 and e.start == 0)
    assert first.stop == 3.0
    assert first.azimuth == pytest.approx(-141.0)
    high = next(e for e in found if e.elevation > 70)
    assert (high.azimuth, high.elevation) == pytest.approx((30.0, 80.0))
    assert sound_events(EventTable([], [], [], [])) == []


def test_picture_shows_truth_and_estimate():
    reference = concatenate(PARTS, num_frames=80)
    estimate = reference.select(reference.frame % 2 == 0)
    names = ["dog", "male_speech", "bell"]
    figure = event_trajectories(estimate, reference, class_names=names)
    azimuth, elevation = figure.axes
    assert azimuth.get_xlim() == (0, 8.0)
    drawn = sum(len(part.get_offsets()) for part in azimuth.collections)
    assert drawn == len(estimate)
    assert len(azimuth.lines) == 3
    # A line breaks between events, and where the azimuth passes 180 degrees.
    dog = azimuth.lines[0].get_xydata()
    assert np.isnan(dog[:, 1]).sum() == 3
    fast = azimuth.lines[1].get_xydata()
    steps = np.abs(np.diff(fast[:, 1]))
    assert np.nanmax(steps) < 30
    texts = [text.get_text() for text in figure.legends[0].get_texts()]
    assert texts == ["dog", "male speech", "bell", "truth", "found"]
    assert figure_to_svg(figure).startswith("<svg")


def test_lines_cover_their_frames():
    figure = event_trajectories(
        EventTable([], [], [], []), track(0, 3, 5, 10.0), duration=2.0
    )
    x = figure.axes[0].lines[0].get_xdata()
    assert np.nanmin(x) == pytest.approx(0.3)
    assert np.nanmax(x) == pytest.approx(0.5)
    assert figure.axes[0].get_xlim() == (0, 2.0)


def test_many_classes_and_none():
    parts = [track(label, 0, 100 - label, label) for label in range(20)]
    figure = event_trajectories(concatenate(parts))
    texts = [text.get_text() for text in figure.legends[0].get_texts()]
    shown = [f"class {label}" for label in range(MAX_SHOWN_CLASSES)]
    assert texts == [*shown, "other classes"]
    drawn = sum(len(p.get_offsets()) for p in figure.axes[0].collections)
    assert drawn == sum(map(len, parts))
    looks = {
        (tuple(part.get_facecolor()[0]), part.get_paths()[0].vertices.tobytes())
        for part in figure.axes[0].collections
    }
    assert len(looks) == MAX_SHOWN_CLASSES + 1
    empty = event_trajectories(EventTable([], [], [], [], num_frames=50))
    assert empty.axes[0].get_xlim() == (0, 5.0)
    assert not empty.legends
