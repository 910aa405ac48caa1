"""Rooms of many kinds: sizes, walls, octaves, patterns, tails."""

import math
from dataclasses import replace
from functools import partial

import numpy as np
import torch

from spatial_brain.simulation.acoustics import minimal_t60
from spatial_brain.simulation.materials import material_table
from spatial_brain.simulation.rooms import sample_room

_BANDS = 7  # octaves from 125 Hz to 8 kHz
_REFERENCE = 3  # 1 kHz
_WALL_DISTANCE = 0.3  # m, of sources
_TRIES = 1000
# Powers of a cardioid that a source may have (0: omnidirectional), and how
# often: loudspeakers and mouths are narrower than a cardioid from 2 kHz on.
_BEAMS = {0.0: 0.15, 0.5: 0.2, 1.0: 0.25, 2.0: 0.25, 3.0: 0.15}
# Microphones at a head or in a case are not omnidirectional.
_MIC_PATTERNS = {"omni": 0.6, "subcard": 0.25, "card": 0.15}


def draw_room(
    generator,
    kinds,
    *,
    t60_range=(0.1, 1.5),
    distance_range=(0.3, 6.0),
    spacing_range=(0.02, 0.5),
    num_sources=3,
):
    """Draw a room with two microphones, and how it is simulated.

    Of three forms one is drawn: a reverberation time that depends on the
    octave, walls of unequal absorption, and walls of real materials. T60 is
    drawn evenly on a logarithmic scale. Sources are omnidirectional or powers
    of a cardioid, most of which look towards the microphones.

    Arguments
    ---------
    generator : torch.Generator
        Source of random numbers.
    kinds : dict
        Name of a kind of room to ``share``, how often it is drawn, ``low``
        and ``high``, its smallest and largest size, metres.
    t60_range : tuple of float
        Seconds.
    distance_range : tuple of float
        Of sources from the middle of the microphones, metres; evenly on a
        logarithmic scale as far as the room goes.
    spacing_range : tuple of float
        Between the microphones, metres; evenly on a logarithmic scale.
    num_sources : int
        Places of a source.

    Returns
    -------
    tuple
        The :class:`spatial_brain.simulation.rooms.Room`, and more arguments
        of ``simulate_rir`` for it.

    Raises
    ------
    ValueError
        If a kind has no place for microphones and sources.

    Example
    -------
    >>> kinds = {"office": {"share": 1, "low": [3, 3, 2.5], "high": [5, 4, 3]}}
    >>> room, options = draw_room(torch.Generator().manual_seed(0), kinds)
    >>> room.sources.shape, room.microphones.shape, sorted(options)
    (torch.Size([3, 3]), torch.Size([2, 3]), ['diffuse_from'])
    """
    rng = np.random.default_rng(
        int(torch.randint(2**62, (), generator=generator))
    )
    shares = np.array([kind["share"] for kind in kinds.values()], dtype=float)
    kind = list(kinds.values())[rng.choice(len(shares), p=shares / sum(shares))]
    spacing = _log_uniform(rng, *spacing_range)
    axis = rng.standard_normal(3)
    axis *= spacing / 2 / np.linalg.norm(axis)
    room = sample_room(
        generator,
        size_low=kind["low"],
        size_high=kind["high"],
        t60_range=t60_range,
        array=torch.from_numpy(np.stack((-axis, axis))),
        num_sources=1,
        distance_range=distance_range,
        array_wall_distance=0.15,
        source_wall_distance=_WALL_DISTANCE,
    )
    room = replace(
        room, sources=_sources(rng, room, num_sources, distance_range)
    )
    room = replace(room, **_walls(rng, room, t60_range))
    room = replace(room, **_patterns(rng, room))
    return room, {"diffuse_from": float(rng.uniform(6.0, 30.0))}


def _log_uniform(rng, low, high):
    """Draw evenly on a logarithmic scale."""
    return math.exp(rng.uniform(math.log(low), math.log(high)))


def _sources(rng, room, count, distance_range):
    """Places of a source around the microphones, metres [count, 3]."""
    center, size = room.microphones.mean(0).numpy(), room.size.numpy()
    low, high = _WALL_DISTANCE, size - _WALL_DISTANCE
    # The one that was drawn with the room is somewhere.
    places = [room.sources[0].numpy()]
    for _ in range(_TRIES):
        if len(places) == count:
            break
        way = rng.standard_normal(3) * (1.0, 1.0, 0.4)
        way *= _log_uniform(rng, *distance_range) / np.linalg.norm(way)
        if ((low <= center + way) & (center + way <= high)).all():
            places.append(center + way)
    return torch.from_numpy(np.stack(places))


def _walls(rng, room, t60_range):
    """Reverberation time by octaves, unequal walls, or materials."""
    form = rng.choice(3, p=(0.5, 0.3, 0.2))
    least = 1.15 * float(minimal_t60(room.size))
    low, high = t60_range
    t60 = _log_uniform(rng, max(low, least), max(high, least))
    if form == 0:
        return {"t60": {"bands": _octaves(rng, t60, least)}}
    if form == 1:
        # Where one pair of walls reflects, the decay is bent.
        walls = rng.beta(0.8, 1.2, 6) * 0.9 + 0.03
        return {"t60": t60, "absorption": walls.tolist()}
    parts = ("walls", "floor", "ceiling")
    return {"t60": None, "absorption": {x: _surface(rng) for x in parts}}


def _surface(rng):
    """Absorption of a surface of two materials, octaves."""
    table = sorted(material_table().items())
    one, two = (np.array(table[i][1]) for i in rng.integers(len(table), size=2))
    part = rng.uniform(0.1, 0.9)
    return (part * one + (1 - part) * two).clip(0.02, 0.98).tolist()


def _octaves(rng, t60, least):
    """A smooth T60 over octaves, that of 1 kHz given."""
    octave = np.arange(_BANDS) - _REFERENCE
    low = rng.uniform(-0.5, 0.7) * np.minimum(octave, 0) / -_REFERENCE
    high = rng.uniform(-0.9, 0.2) * np.maximum(octave, 0) / _REFERENCE
    bend = rng.normal(0.0, 0.08, _BANDS)
    return np.maximum(t60 * np.exp(low + high + bend), least).tolist()


def _patterns(rng, room):
    """Patterns of sources and microphones, and where they look."""
    count, center = len(room.sources), room.microphones.mean(0)
    towards = (center - room.sources).numpy()
    towards /= np.linalg.norm(towards, axis=-1, keepdims=True)
    # Talkers look at the microphones, more or less, or anywhere.
    spread = rng.choice((0.2, 0.7, 5.0), p=(0.5, 0.3, 0.2), size=(count, 1))
    looking = towards + spread * rng.standard_normal((count, 3)) * (1, 1, 0.3)
    looking /= np.linalg.norm(looking, axis=-1, keepdims=True)
    powers = rng.choice(list(_BEAMS), count, p=list(_BEAMS.values()))
    names, shares = zip(*_MIC_PATTERNS.items(), strict=True)
    return {
        "source_pattern": [
            partial(_beam, torch.from_numpy(axis), float(power))
            for axis, power in zip(looking, powers, strict=True)
        ],
        "mic_pattern": [str(rng.choice(names, p=shares))] * 2,
        "mic_orientation": torch.from_numpy(rng.standard_normal((2, 3))),
    }


def _beam(axis, power, directions):
    """Gains [...] of a power of a cardioid towards unit vectors [..., 3]."""
    cosine = directions.double() @ axis
    return (0.5 + 0.5 * cosine).clamp_min(0) ** power
