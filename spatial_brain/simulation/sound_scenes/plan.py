"""What happens in a sound scene: events drawn in time and space.

Layers of events, gaps and trimming follow the generator of the DCASE data
sets; everything lies on a grid of 100 ms. A plan holds no sound: the events
name a class and one of its sources.
"""

from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import numpy as np

from spatial_brain.simulation.acoustics import minimal_t60

_TRIES = 1000
# Points of a path lie at most so far apart: degrees seen from the array,
# metres, and metres of distance from the array, which shift the direct sound.
STEP_ANGLE, STEP_LENGTH, STEP_RANGE = 2.0, 0.25, 0.05
# Walking speed of sources on straight lines, metres per second.
_WALKING = (0.4, 1.5)
# Time in which a source on a curve goes up and down once, seconds.
_SWING = (5.0, 15.0)
# Grid of onsets and durations, seconds.
GRID = 0.1
MOBILITIES = ("static", "moving", "either")
# What is left of a layer after its last event is filled from here on, s.
_SHORTEST = 1.0
# Events that are shorter do not move, seconds.
_SHORTEST_MOVING = 1.5
# Walls must absorb less than all: margin over the shortest T60 of a room.
_FEASIBLE = 1.2


class _Box(NamedTuple):
    """Where sources may be: room and array [3], least distances; metres."""

    size: np.ndarray
    center: np.ndarray
    wall_distance: float
    min_distance: float


def _draw_path(box, rng, seconds, angular_speeds):
    """Points [K, 3] of a path, when they are passed [K], no responses."""
    if seconds:
        kinds = [_curve, _line] if rng.random() < 0.5 else [_line, _curve]
        for kind in kinds:
            path = kind(rng, box, seconds, angular_speeds)
            if path is not None:
                return *_sampled(path, box, seconds), ()
    return _place(rng, box)[None], np.zeros(1), ()


def _place(rng, box):
    """Draw a place that is uniform in what is allowed, [3]."""
    low, high = box.wall_distance, box.size - box.wall_distance
    if (high > low).all():
        for _ in range(_TRIES):
            place = rng.uniform(low, high)
            if np.linalg.norm(place - box.center) >= box.min_distance:
                return place
    raise ValueError(
        f"no place for a source found in a room of {box.size.round(2)} m, "
        f"{box.wall_distance} m from the walls and {box.min_distance} m from "
        "the array; take larger rooms or smaller distances"
    )


def _curve(rng, box, seconds, angular_speeds):
    """Ellipse around the array; None if there is no room for it."""
    free = np.minimum(box.center, box.size - box.center) - box.wall_distance
    if free[:2].min() < box.min_distance:
        return None
    axes = rng.uniform(box.min_distance, free[:2])
    speed = np.radians(rng.choice(angular_speeds)) * rng.choice([-1.0, 1.0])
    start = rng.uniform(-np.pi, np.pi)
    low, high = box.wall_distance, box.size[2] - box.wall_distance
    height = rng.uniform(low, high)
    swing = rng.uniform(0.0, min(height - low, high - height))
    rate, phase = 2 * np.pi / rng.uniform(*_SWING), rng.uniform(0, 2 * np.pi)

    def path(time):
        azimuth = start + speed * time
        x, y = np.cos(azimuth), np.sin(azimuth)
        radius = 1.0 / np.hypot(x / axes[0], y / axes[1])
        z = height + swing * np.sin(rate * time + phase)
        flat = box.center[:2, None] + radius * np.stack((x, y))
        return np.concatenate((flat, z[None])).T

    return path


def _line(rng, box, seconds, angular_speeds):
    """Straight line past the array; None if none was found."""
    low, high = box.wall_distance, box.size - box.wall_distance
    for _ in range(_TRIES // 5):
        first = _place(rng, box)
        way = rng.standard_normal(3) * [1.0, 1.0, 0.3]
        way *= rng.uniform(*_WALKING) * seconds / np.linalg.norm(way)
        last = first + way
        nearest = np.clip((box.center - first) @ way / (way @ way), 0, 1)
        gap = np.linalg.norm(first + nearest * way - box.center)
        inside = (last >= low).all() and (last <= high).all()
        if inside and gap >= box.min_distance:
            return lambda time: first + way * (time / seconds)[:, None]
    return None


def _sampled(path, box, seconds):
    """Points on a path, dense enough for what is fastest on it."""
    time = np.linspace(0.0, seconds, int(np.ceil(seconds * 50)) + 1)
    points = path(time)
    offset = points - box.center
    distance = np.linalg.norm(offset, axis=1, keepdims=True)
    chord = np.linalg.norm(np.diff(offset / distance, axis=0), axis=1)
    length = np.linalg.norm(np.diff(points, axis=0), axis=1)
    fastest = max(
        np.degrees(2.0 * np.arcsin(chord.max() / 2.0)) / STEP_ANGLE,
        length.max() / STEP_LENGTH,
        np.abs(np.diff(distance[:, 0])).max() / STEP_RANGE,
    )
    count = int(np.ceil(fastest * (len(time) - 1) - 1e-9)) + 1
    times = np.linspace(0.0, seconds, max(count, 2))
    return path(times), times


@dataclass(frozen=True)
class PlannedEvent:
    """One sound event of a plan.

    Arguments
    ---------
    label : int
        Class.
    source : int
        Which sound of its class; a seed or the number of a recording.
    onset : float
        Seconds after the start of the clip, on the grid; when the source
        begins to sound.
    duration : float
        Seconds, on the grid; the sound may be shorter.
    gain_db : float
        Relative to the usual level.
    points : numpy.ndarray
        Positions in the room, metres, shape [K, 3]; K = 1 stands still.
    times : numpy.ndarray
        When they are passed, seconds after the onset, shape [K].
    interferer : bool
        Whether it is left out of the labels.
    responses : tuple of int
        In a measured room, which responses belong to the points.
    """

    label: int
    source: int
    onset: float
    duration: float
    gain_db: float
    points: np.ndarray
    times: np.ndarray
    interferer: bool = False
    responses: tuple = ()


@dataclass(frozen=True)
class ScenePlan:
    """All that is decided about a scene before it is rendered.

    Arguments
    ---------
    duration : float
        Seconds.
    room_size : tuple of float or None
        Metres; None: not known.
    t60 : float or None
        Seconds; 0 in the free field; None in a measured room.
    center : tuple of float
        Position of the array, metres; it looks along the x axis.
    events : tuple of PlannedEvent
        In the order of their onsets.
    snr_db : float
        Level of the events over that of the ambience, dB.
    noise_tilt : float
        Slope of the spectrum of the ambience, dB per octave.
    seed : int
        Decides the noise of ambience and reverberation.
    """

    duration: float
    room_size: tuple
    t60: float
    center: tuple
    events: tuple
    snr_db: float
    noise_tilt: float
    seed: int


def draw_scene(
    rng,
    classes,
    *,
    pick=None,
    duration=60.0,
    max_overlap=2,
    activity=0.65,
    min_gap=0.5,
    longest_event=10.0,
    size_low=(4.0, 4.0, 2.6),
    size_high=(12.0, 10.0, 4.5),
    t60_range=(0.2, 0.8),
    room_seed=None,
    min_distance=0.7,
    wall_distance=0.5,
    moving_probability=0.3,
    mobility=None,
    angular_speeds=(10.0, 20.0, 40.0),
    snr_range=(6.0, 30.0),
    gain_range=(-6.0, 6.0),
    interferers=(),
    interferer_probability=0.5,
    measured_room=None,
):
    """Draw a scene: a room, an array, events in layers.

    Every layer is filled with events for a share of the clip; gaps between
    them are random. So at most ``max_overlap`` events sound at once.

    Arguments
    ---------
    rng : numpy.random.Generator
        Source of randomness; the same state gives the same scene.
    classes : int or sequence of int
        Number of classes, or the classes to draw from.
    pick : callable, optional
        ``pick(label, rng) -> (source, seconds)``: which sound of the class,
        and how long it is. By default a seed and one to six seconds.
    duration : float
        Seconds.
    max_overlap : int
        Number of layers.
    activity : float
        Share of the clip in which a layer sounds, in (0, 1].
    min_gap : float
        Shortest pause between the events of a layer, seconds.
    longest_event : float
        Events are cut to it, seconds.
    size_low, size_high : sequence of float
        Smallest and largest room, metres.
    t60_range : tuple of float
        Seconds; its lower end is raised to what the room can reach. (0, 0)
        is the free field: no walls, only the direct sound.
    room_seed : int or tuple of int, optional
        Decides size and T60 instead of ``rng``: the same room for many
        clips.
    min_distance : float
        Of sources from the array, metres.
    wall_distance : float
        Of sources from the walls, metres.
    moving_probability : float
        Of events that may move.
    mobility : sequence of str, optional
        For each class "static", "moving" or "either" (the default). Events
        of less than 1.5 s never move.
    angular_speeds : sequence of float
        Of sources that go around the array, degrees per second.
    snr_range, gain_range : tuple of float
        dB.
    interferers : sequence of int
        Classes of events without labels.
    interferer_probability : float
        Of one more layer, of interferers.
    measured_room : object, optional
        Room to take instead of a simulated one, with "size" and "center", m,
        and ``draw_path(rng, seconds, speeds)``, which gives points [K, 3],
        m, the seconds [K] at which they are passed, and the numbers of their
        responses.

    Returns
    -------
    ScenePlan
        The array stands between 40 and 60 % of each side of the room.

    Raises
    ------
    ValueError
        If a number is out of range, or the room has no place for a source.

    Example
    -------
    >>> plan = draw_scene(np.random.default_rng(0), 3, duration=20.0)
    >>> len(plan.events) > 4, plan.events[0].onset <= plan.events[1].onset
    (True, True)
    """
    labels = list(range(classes)) if isinstance(classes, int) else list(classes)
    _check(
        labels=len(labels),
        duration=duration,
        max_overlap=max_overlap,
        activity=activity,
        longest_event=longest_event,
        min_distance=min_distance,
    )
    seed = int(rng.integers(2**62))
    if measured_room is None:
        box, t60 = _draw_box(
            rng,
            room_seed,
            (size_low, size_high, t60_range),
            (wall_distance, min_distance),
        )
        size, center = tuple(box.size.tolist()), tuple(box.center.tolist())
        draw_path = partial(_draw_path, box)
    else:
        size, t60, center = measured_room.size, None, measured_room.center
        draw_path = measured_room.draw_path
    layers = [labels] * max_overlap
    if len(interferers) and rng.random() < interferer_probability:
        layers.append(list(interferers))
    timing = _Timing(duration, activity, min_gap, longest_event)
    moves = _Moves(moving_probability, mobility, angular_speeds)
    events = [
        _draw_event(
            rng, slot, draw_path, moves, gain_range, number >= max_overlap
        )
        for number, layer in enumerate(layers)
        for slot in _fill_layer(rng, layer, pick or _any_source, timing)
    ]
    return ScenePlan(
        float(duration),
        size,
        t60,
        center,
        tuple(sorted(events, key=lambda event: event.onset)),
        float(rng.uniform(*snr_range)),
        float(rng.uniform(-6.0, -2.0)),
        seed,
    )


class _Timing(NamedTuple):
    duration: float
    activity: float
    min_gap: float
    longest: float


class _Moves(NamedTuple):
    probability: float
    mobility: tuple
    speeds: tuple


class _Slot(NamedTuple):
    label: int
    source: int
    onset: int
    frames: int


def _check(**values):
    """Refuse what is not positive."""
    for name, value in values.items():
        if not value > 0:
            raise ValueError(f"{name} must be positive, got {value}")
    if values["activity"] > 1:
        raise ValueError(
            f"activity is a share of the clip in (0, 1], got "
            f"{values['activity']}"
        )


def _any_source(label, rng):
    """Sound of no bank: a seed, and a duration in seconds."""
    return int(rng.integers(2**31)), float(rng.uniform(1.0, 6.0))


def _draw_box(rng, room_seed, ranges, distances):
    """Draw a room with an array in it, and its T60."""
    room_rng = rng if room_seed is None else np.random.default_rng(room_seed)
    size, t60 = _draw_room(room_rng, *ranges)
    return _Box(size, size * rng.uniform(0.4, 0.6, 3), *distances), t60


def _draw_room(rng, low, high, t60_range):
    """Draw size [3] and T60 of a room whose walls can have it."""
    for _ in range(_TRIES):
        size = rng.uniform(low, high)
        if t60_range[1] == 0:
            return size, 0.0
        shortest = _FEASIBLE * float(minimal_t60(size.tolist()))
        if shortest <= t60_range[1]:
            t60 = rng.uniform(max(t60_range[0], shortest), t60_range[1])
            return size, float(t60)
    raise ValueError(
        f"no room between {tuple(low)} and {tuple(high)} m can have a T60 of "
        f"{t60_range[1]} s; take smaller rooms or longer times"
    )


def _fill_layer(rng, labels, pick, timing):
    """Draw the events of a layer, on the grid."""
    total = int(round(timing.duration / GRID))
    budget = max(int(round(timing.activity * total)), 1)
    gap = int(np.ceil(timing.min_gap / GRID - 1e-9))
    drawn, used = [], 0
    while used < budget:
        label = int(rng.choice(labels))
        source, seconds = pick(label, rng)
        seconds = min(seconds, timing.longest)
        frames = max(int(np.ceil(seconds / GRID - 1e-9)), 1)
        left = min(budget - used, total - used - gap * len(drawn))
        if frames > left:
            # The last one is trimmed, unless too little of it would be left.
            if drawn and left * GRID < _SHORTEST:
                break
            frames = left
        drawn.append((label, source, frames))
        used += frames
    spare = total - used - gap * (len(drawn) - 1)
    shifts = np.sort(rng.integers(0, spare + 1, len(drawn)))
    slots, start = [], 0
    for (label, source, frames), shift in zip(drawn, shifts, strict=True):
        slots.append(_Slot(label, source, int(start + shift), frames))
        start += frames + gap
    return slots


def _draw_event(rng, slot, draw_path, moves, gain_range, interferer):
    """Draw level and places of an event."""
    seconds = slot.frames * GRID
    mobility = "either"
    if moves.mobility is not None and slot.label < len(moves.mobility):
        mobility = moves.mobility[slot.label]
    if mobility not in MOBILITIES:
        raise ValueError(
            f"mobility of class {slot.label} must be one of {MOBILITIES}, got "
            f"{mobility!r}"
        )
    share = {"static": 0.0, "moving": 1.0}.get(mobility, moves.probability)
    moving = rng.random() < share and seconds >= _SHORTEST_MOVING
    points, times, responses = draw_path(
        rng, seconds if moving else 0, moves.speeds
    )
    return PlannedEvent(
        slot.label,
        slot.source,
        slot.onset * GRID,
        seconds,
        float(rng.uniform(*gain_range)),
        points,
        times,
        interferer,
        responses,
    )
