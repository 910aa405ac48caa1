"""Places and smooth paths of sources around an array in a room."""

from typing import NamedTuple

import numpy as np

_TRIES = 1000
# Points of a path lie at most so far apart: degrees seen from the array,
# metres, and metres of distance from the array, which shift the direct sound.
STEP_ANGLE, STEP_LENGTH, STEP_RANGE = 2.0, 0.25, 0.05
# Walking speed of sources on straight lines, metres per second.
_WALKING = (0.4, 1.5)
# Time in which a source on a curve goes up and down once, seconds.
_SWING = (5.0, 15.0)


class Box(NamedTuple):
    """Where sources may be.

    Arguments
    ---------
    size : numpy.ndarray
        Of the room, metres, shape [3].
    center : numpy.ndarray
        The array, metres, shape [3].
    wall_distance : float
        Least distance from the walls, metres.
    min_distance : float
        Least distance from the array, metres.
    """

    size: np.ndarray
    center: np.ndarray
    wall_distance: float
    min_distance: float


def draw_path(rng, box, seconds, angular_speeds):
    """Draw a place, or a path that takes a given time.

    Half of the paths go around the array at a constant angular speed, on an
    ellipse, while height swings; the others are straight lines at walking
    speed. Where the room is too narrow for either, the source stands still.

    Arguments
    ---------
    rng : numpy.random.Generator
        Source of randomness.
    box : Box
        Where the source may be.
    seconds : float
        Duration; 0 for a source that stands still.
    angular_speeds : sequence of float
        Degrees per second, one of which is taken.

    Returns
    -------
    tuple of numpy.ndarray
        Points [K, 3] in metres, and the seconds at which they are passed,
        [K], from 0 to ``seconds``. Neighbours are at most 2 degrees, seen
        from the array, and 0.25 m apart, and their distances from it differ
        by at most 5 cm.

    Raises
    ------
    ValueError
        If the room has no place for a source.

    Example
    -------
    >>> box = Box(np.array([6.0, 5, 3]), np.array([3.0, 2.5, 1.5]), 0.5, 0.7)
    >>> points, times = draw_path(np.random.default_rng(0), box, 2.0, [20.0])
    >>> points.shape[1], float(times[-1])
    (3, 2.0)
    """
    if seconds:
        kinds = [_curve, _line] if rng.random() < 0.5 else [_line, _curve]
        for kind in kinds:
            path = kind(rng, box, seconds, angular_speeds)
            if path is not None:
                return _sampled(path, box, seconds)
    return _place(rng, box)[None], np.zeros(1)


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
