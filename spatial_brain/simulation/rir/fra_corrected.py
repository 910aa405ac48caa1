"""Random virtual sources that meet the T60, with exact early reflections.

The idea of ``fra`` with its statistics put right. Images of first and second
order are exact. All later ones are replaced by a few thousand random virtual
sources, in isotropic directions around the array, with random signs, at
distances r up to R = c * T60 with density 2 r / R^2, and with amplitude

    a(r) = sqrt(2 pi R^2 / (n V r)) * 10^(-3 r / R),

which gives n of them the energy of a lattice with one image per volume V,
4 pi / V * 10^(-6 r / R) per metre. Random sources where the lattice has low
orders, sum_i |u_i| r / L_i < 2.5, are left out.
"""

import math

import torch

from spatial_brain.simulation.rir import fractional_delay
from spatial_brain.simulation.rir.absorption import absorption_for_t60
from spatial_brain.simulation.rir.checks import response_length
from spatial_brain.simulation.rir.fra import random_directions
from spatial_brain.simulation.rir.lattice import PairGains, lattice_response

_EXACT_ORDER = 2
_COUNT = 4096


def simulate(scenes, settings):
    """Impulse responses of rooms by exact and random images.

    Arguments
    ---------
    scenes : list of RirScene
        Rooms with a T60.
    settings : Settings
        How to simulate; with ``max_order`` (at most 2) only exact images.

    Returns
    -------
    tuple
        List of float32 tensors [S, M, N], and list of the absorption used,
        six values a room.

    Raises
    ------
    ValueError
        If ``max_order`` is above 2.

    Example
    -------
    >>> from spatial_brain.simulation.rooms import Room
    >>> from spatial_brain.simulation.rir.checks import Settings, check_scene
    >>> room = Room([5, 4, 3], [[1, 1, 1]], [[2, 2, 2]], t60=0.2)
    >>> settings = Settings(generator=torch.Generator().manual_seed(0))
    >>> [rir], _ = simulate([check_scene(room, settings)], settings)
    >>> rir.shape
    torch.Size([1, 1, 3200])
    """
    if settings.max_order is not None and settings.max_order > _EXACT_ORDER:
        raise ValueError(
            f"backend 'fra_corrected' has exact images up to order "
            f"{_EXACT_ORDER}, max_order {settings.max_order} is above; use "
            "'image_source'"
        )
    walls = [
        (absorption_for_t60(s.size.tolist(), s.t60, settings.sound_speed),) * 6
        for s in scenes
    ]
    results = [
        _simulate(scene, part, settings)
        for scene, part in zip(scenes, walls, strict=True)
    ]
    return results, walls


def _simulate(scene, walls, settings):
    """Responses of one room."""
    num_samples = response_length(scene, settings, None)
    rir = _exact(scene, walls, num_samples, settings)
    if settings.max_order is None:
        rir += _random(scene, num_samples, settings)
    if settings.high_pass:
        cutoff = fractional_delay.high_pass_cutoff(scene.size)
        rir = fractional_delay.high_pass(rir, settings.fs, cutoff)
    return rir


def _exact(scene, walls, num_samples, settings):
    """Images of low order."""
    shape = scene.distances.shape
    source, microphone = (
        part.flatten()
        for part in torch.meshgrid(
            torch.arange(shape[0]), torch.arange(shape[1]), indexing="ij"
        )
    )
    order = _EXACT_ORDER
    if settings.max_order is not None:
        order = settings.max_order
    pairs = len(source)
    end = num_samples + fractional_delay.SKIRT
    reach = end / settings.fs * settings.sound_speed
    gains = None
    if not scene.is_omni:
        gains = PairGains(
            scene.mic_patterns, scene.source_patterns, microphone, source
        )
    values = (
        scene.size.expand(pairs, 3),
        scene.sources[source],
        scene.microphones[microphone],
        torch.tensor(walls, dtype=torch.float64).expand(pairs, 6),
        torch.full((pairs,), reach, dtype=torch.float64),
    )
    response = lattice_response(
        *(value.to(settings.device) for value in values),
        num_samples=num_samples,
        scale=settings.fs / settings.sound_speed,
        order=order,
        gains=gains,
    )
    return response.view(*shape, num_samples)


def _random(scene, num_samples, settings):
    """Random virtual sources beyond the exact orders."""
    shape = scene.distances.shape
    result = torch.empty(*shape, num_samples, device=settings.device)
    points = fractional_delay.grid_length(num_samples)
    # One source at a time, which bounds the memory.
    for index, response in enumerate(result):
        delay, amplitude = _arrivals(scene, index, settings)
        late = delay > num_samples + fractional_delay.SKIRT
        amplitude.masked_fill_(late, 0.0)
        grid = torch.zeros(shape[1], points, device=settings.device)
        row = torch.arange(len(grid))[:, None].expand(delay.shape)
        fractional_delay.add_impulses(
            grid,
            row.to(grid.device),
            delay.to(grid.device),
            amplitude.float().to(grid.device),
        )
        response[:] = fractional_delay.grid_to_samples(grid, num_samples)
    return result


def _arrivals(scene, index, settings):
    """Delay in samples and amplitude of a source's virtual ones, [M, n]."""
    generator, fs = settings.generator, settings.fs
    farthest = settings.sound_speed * scene.t60
    center = scene.microphones.mean(0)
    radius = farthest * _rand(generator).sqrt()
    unit = random_directions(_COUNT, generator)
    sign = torch.where(_rand(generator) < 0.5, -1.0, 1.0)
    crossed = (unit.abs() / scene.size).sum(-1) * radius
    sign = torch.where(crossed < _EXACT_ORDER + 0.5, 0.0, sign)
    sign *= scene.source_patterns.gain(
        index, random_directions(_COUNT, generator)
    )
    way = center + radius[:, None] * unit - scene.microphones[:, None]
    distance = torch.linalg.vector_norm(way, dim=-1)
    energy = 2 * math.pi * farthest**2 / _COUNT / scene.size.prod()
    level = (energy / distance).sqrt() * 10 ** (-3 * distance / farthest)
    amplitude = (sign * level).double()
    for m in range(len(way)):
        amplitude[m] *= scene.mic_patterns.gain(
            m, way[m] / distance[m][:, None]
        )
    return distance.double() * (fs / settings.sound_speed), amplitude


def _rand(generator):
    """One uniform number in [0, 1) for each virtual source."""
    return torch.rand(_COUNT, generator=generator, dtype=torch.float64)
