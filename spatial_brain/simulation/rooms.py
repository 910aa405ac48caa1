"""Rooms with sources and microphones, and how to draw them at random."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass

import torch

from spatial_brain.geometry import (
    angular_distance,
    linear_array,
    rotation_matrix,
)
from spatial_brain.simulation.acoustics import minimal_t60

_TRIES = 1000


@dataclass
class Room:
    """A shoebox room with sources and microphones.

    The origin is a corner, the room spans [0, Lx] x [0, Ly] x [0, Lz].
    Nothing is checked before the room is simulated.

    Arguments
    ---------
    size : torch.Tensor or sequence
        Metres, shape [3].
    sources : torch.Tensor or sequence
        Positions in metres, shape [S, 3].
    microphones : torch.Tensor or sequence
        Positions in metres, shape [M, 3].
    t60 : float or dict, optional
        Reverberation time in seconds, or {"bands": ...}; or give
        ``absorption``.
    absorption : float or str or sequence or dict, optional
        Energy absorption of all walls, or of (x0, x1, y0, y1, z0, z1); see
        ``spatial_brain.simulation.materials``.
    mic_pattern : str or callable or list
        See ``spatial_brain.simulation.rir.patterns.resolve_patterns``.
    mic_orientation : torch.Tensor or sequence, optional
        Where microphones look, room frame, shape [3] or [M, 3].
    source_pattern : str or callable or list
        As ``mic_pattern``; directions are those from the source.
    source_orientation : torch.Tensor or sequence, optional
        Where sources look, room frame, shape [3] or [S, 3].

    Example
    -------
    >>> room = Room([5, 4, 3], [[1, 1, 1]], [[2, 2, 2]], t60=0.4)
    >>> room.t60
    0.4
    """

    size: torch.Tensor
    sources: torch.Tensor
    microphones: torch.Tensor
    t60: float | dict | None = None
    absorption: float | str | list | dict | torch.Tensor | None = None
    mic_pattern: str | Callable | list = "omni"
    mic_orientation: torch.Tensor | None = None
    source_pattern: str | Callable | list = "omni"
    source_orientation: torch.Tensor | None = None


def geometry_hash(room):
    """Hash of the places in a room, to keep data sets apart.

    Two rooms with the same size, microphones and sources (in any order, to
    0.1 mm) have the same hash, whatever their reverberation time.

    Arguments
    ---------
    room : Room
        The room.

    Returns
    -------
    str
        64 hexadecimal digits.

    Example
    -------
    >>> a = Room([5, 4, 3], [[1, 1, 1], [2, 1, 1]], [[2, 2, 2]], t60=0.4)
    >>> b = Room([5, 4, 3], [[2, 1, 1], [1, 1, 1]], [[2, 2, 2]], t60=0.5)
    >>> geometry_hash(a) == geometry_hash(b)
    True
    """
    size, sources, microphones = (
        (torch.as_tensor(part, dtype=torch.float64) * 1e4).round().long()
        for part in (room.size, room.sources, room.microphones)
    )
    parts = (size.tolist(), sorted(sources.tolist()), microphones.tolist())
    return hashlib.sha256(repr(parts).encode()).hexdigest()


def _uniform(generator, low, high):
    """Draw uniformly between two bounds, numbers or tensors."""
    low = torch.as_tensor(low, dtype=torch.float64)
    high = torch.as_tensor(high, dtype=torch.float64)
    share = torch.rand(low.shape, generator=generator, dtype=torch.float64)
    return low + (high - low) * share


def _range(name, bounds, least=0.0):
    """Check a pair of bounds."""
    low, high = bounds
    if not least <= low <= high < float("inf"):
        raise ValueError(
            f"{name} must be (low, high) with {least:g} <= low <= high, got "
            f"{tuple(bounds)}"
        )
    return float(low), float(high)


def sample_room(
    generator,
    *,
    size_low=(3.0, 3.0, 2.5),
    size_high=(10.0, 8.0, 4.0),
    t60_range=(0.2, 1.0),
    array=None,
    num_sources=2,
    distance_range=(0.5, 5.0),
    array_wall_distance=0.5,
    source_wall_distance=0.5,
    random_yaw=True,
    height_range=None,
    min_angle=0.0,
    only_reachable=True,
):
    """Draw a room, a microphone array and sources around it.

    Lengths, places and times are uniform within their ranges.

    Arguments
    ---------
    generator : torch.Generator
        Source of random numbers; the same state gives the same room.
    size_low : sequence of float
        Smallest room, three lengths in metres.
    size_high : sequence of float
        Largest room, metres.
    t60_range : tuple of float
        Seconds.
    array : torch.Tensor, optional
        Microphones around the array centre, metres, shape [M, 3]; default:
        two on the x axis, 10 cm apart.
    num_sources : int
        Number of sources, at least 1.
    distance_range : tuple of float
        Distance of sources from the array centre, metres.
    array_wall_distance : float
        Least distance of every microphone from the walls, metres.
    source_wall_distance : float
        Least distance of sources from the walls, metres.
    random_yaw : bool
        Whether the array is turned about the vertical by a uniform angle.
    height_range : tuple of float, optional
        Height of array centre and sources above the floor, metres; default:
        anywhere.
    min_angle : float
        Least angle between two sources seen from the array, degrees.
    only_reachable : bool
        Whether the lower end of the T60 range is raised to what walls of the
        drawn room can reach (the back ends "fra" have no walls).

    Returns
    -------
    Room
        With float64 positions; its patterns are omnidirectional.

    Raises
    ------
    ValueError
        If a range is wrong, or no place is found for the array or a source
        in 1000 tries.

    Example
    -------
    >>> room = sample_room(torch.Generator().manual_seed(1))
    >>> room.sources.shape, room.microphones.shape
    (torch.Size([2, 3]), torch.Size([2, 3]))
    """
    distance_range = _range("distance_range", distance_range)
    t60_range = _range("t60_range", t60_range)
    if num_sources < 1:
        raise ValueError(f"num_sources must be at least 1, got {num_sources}")
    for axis, bounds in enumerate(zip(size_low, size_high, strict=True)):
        _range(f"size of axis {'xyz'[axis]}", bounds)
    array = linear_array(2, 0.1) if array is None else array
    array = torch.as_tensor(array, dtype=torch.float64)
    longest = t60_range[1] if only_reachable else float("inf")
    size = _size(generator, size_low, size_high, longest)
    radius = float(torch.linalg.vector_norm(array, dim=-1).max())
    center = _place(
        generator, size, array_wall_distance + radius, height_range, "the array"
    )
    if random_yaw:
        yaw = _uniform(generator, -180.0, 180.0)
        array = array @ rotation_matrix(yaw=yaw).T
    sources = []
    for index in range(num_sources):
        sources.append(
            _place_source(
                generator,
                size,
                center,
                sources,
                index,
                (source_wall_distance, height_range),
                (distance_range, min_angle),
            )
        )
    low = t60_range[0]
    if only_reachable:
        low = max(low, float(minimal_t60(size)))
    t60 = float(_uniform(generator, low, t60_range[1]))
    return Room(size, torch.stack(sources), center + array, t60=t60)


def _size(generator, low, high, longest):
    """Draw a room that can have a T60 as short as ``longest``."""
    for _ in range(_TRIES):
        size = _uniform(generator, low, high)
        if float(minimal_t60(size)) <= longest:
            return size
    raise ValueError(
        f"no room between {tuple(low)} and {tuple(high)} m found in {_TRIES} "
        f"tries that can have a T60 of {longest:g} s; the largest T60 must "
        f"be at least {float(minimal_t60(torch.tensor(low))):.3f} s"
    )


def _place(generator, size, margin, height_range, what):
    """Draw a place at least ``margin`` from all walls."""
    low = torch.full((3,), margin, dtype=torch.float64)
    high = size - margin
    if height_range is not None:
        bottom, top = _range("height_range", height_range)
        low[2], high[2] = max(low[2], bottom), min(high[2], top)
    if bool((low > high).any()):
        raise ValueError(
            f"no place for {what} in a room of {size.tolist()} m: it must "
            f"keep {margin:.3f} m from the walls"
            + ("" if height_range is None else f" at height {height_range} m")
            + "; take larger rooms or smaller distances"
        )
    return _uniform(generator, low, high)


def _place_source(generator, size, center, others, index, walls, around):
    """Draw a source at the right distance, apart from the other sources."""
    margin, height_range = walls
    (nearest, farthest), min_angle = around
    for _ in range(_TRIES):
        place = _place(generator, size, margin, height_range, "a source")
        way = place - center
        distance = float(torch.linalg.vector_norm(way))
        if not nearest <= distance <= farthest:
            continue
        if all(
            float(angular_distance(way, other - center)) >= min_angle
            for other in others
        ):
            return place
    raise ValueError(
        f"no place for source {index} found in {_TRIES} tries in a room of "
        f"{size.tolist()} m: it must be {nearest:g} to {farthest:g} m from "
        f"the array, {margin:g} m from the walls and {min_angle:g} degrees "
        "from other sources; relax one of these"
    )
