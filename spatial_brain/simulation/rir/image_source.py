"""Back end of image sources: lattice, diffuse tail, high-pass.

Everything runs on one device; rooms are taken together as far as memory
allows. The reverberation time is met by calibration (see ``absorption``).
"""

import math
from dataclasses import dataclass

import numpy as np
import torch

from spatial_brain.simulation.rir.absorption import (
    Decay,
    air_loss,
    walls_for_t60,
)
from spatial_brain.simulation.rir.calibration import scene_walls
from spatial_brain.simulation.rir.checks import response_length
from spatial_brain.simulation.rir.fractional_delay import (
    OVERSAMPLING,
    SKIRT,
    high_pass,
    high_pass_cutoff,
)
from spatial_brain.simulation.rir.lattice import (
    PairGains,
    lattice_response,
    max_points,
)
from spatial_brain.simulation.rir.patterns import Patterns
from spatial_brain.simulation.rir.tail import (
    coherence_matrix,
    diffuse_noise_field,
    sphere_directions,
)

# Time over which the level of the image sources is taken at the switch.
_JOIN = 0.02
# The response goes on for so long before the high-pass, by its mean.
_RUN_OUT = 0.1


@dataclass(frozen=True)
class _Plan:
    """What is decided about a room before it is simulated."""

    scene: object
    absorption: tuple
    decay: Decay
    shape: Decay  # of a diffuse tail: it has the requested T60
    num_samples: int
    end: float  # of the image sources, seconds


def simulate(scenes, settings):
    """Impulse responses of rooms by image sources.

    Arguments
    ---------
    scenes : list of RirScene
        Rooms; the numbers of sources and microphones may differ.
    settings : Settings
        How to simulate.

    Returns
    -------
    tuple
        List of float32 tensors [S, M, N], and list of the absorption used,
        six values a room.

    Example
    -------
    >>> from spatial_brain.simulation.rooms import Room
    >>> from spatial_brain.simulation.rir.checks import Settings, check_scene
    >>> room = Room([5, 4, 3], [[1, 1, 1]], [[2, 2, 2]], absorption=0.5)
    >>> settings = Settings(duration=0.1)
    >>> [rir], _ = simulate([check_scene(room, settings)], settings)
    >>> rir.shape
    torch.Size([1, 1, 1600])
    """
    plans = [
        _plan(scene, absorption, settings)
        for scene, absorption in zip(
            scenes, scene_walls(scenes, settings), strict=True
        )
    ]
    # Rooms of similar length together, so that little is padded.
    ranking = sorted(range(len(plans)), key=lambda i: plans[i].num_samples)
    result = [None] * len(plans)
    for chunk in _chunks(ranking, plans, settings.device):
        responses = _simulate_chunk([plans[i] for i in chunk], settings)
        for index, response in zip(chunk, responses, strict=True):
            result[index] = response
    return result, [plan.absorption for plan in plans]


def _plan(scene, absorption, settings):
    """Decide on length and on the end of the image sources."""
    medium = (settings.sound_speed, settings.air_absorption)
    size = scene.size.tolist()
    decay = shape = Decay(size, absorption, *medium)
    if scene.t60 is not None and not settings.only_direct:
        walls = walls_for_t60(size, scene.t60, scene.absorption, *medium)
        shape = Decay(size, walls, *medium)
    num_samples = response_length(scene, settings, decay.t60)
    # Images after the last sample still reach into the response.
    end = (num_samples + SKIRT) / settings.fs
    if settings.diffuse_from is not None:
        switch = float(shape.level_time(settings.diffuse_from))
        last = float(scene.distances.max()) / settings.sound_speed
        end = min(end, max(switch, last + 1.25 * _JOIN))
    return _Plan(scene, tuple(absorption), decay, shape, num_samples, end)


def _chunks(ranking, plans, device):
    """Split rooms into lists whose grids fit the memory meant for them."""
    budget = max_points(device)
    chunk, pairs = [], 0
    for index in ranking:
        plan = plans[index]
        more = plan.scene.distances.numel()
        points = plan.num_samples * OVERSAMPLING
        if chunk and (pairs + more) * points > budget:
            yield chunk
            chunk, pairs = [], 0
        chunk.append(index)
        pairs += more
    yield chunk


def _simulate_chunk(plans, settings):
    """Responses of some rooms, simulated together."""
    fs, device = settings.fs, settings.device
    counts = [plan.scene.distances.numel() for plan in plans]
    latest = math.ceil(max(plan.end for plan in plans) * fs) + SKIRT
    num_samples = min(latest, max(plan.num_samples for plan in plans))
    pairs = _pair_tensors(plans, settings.sound_speed, device)
    response = lattice_response(
        *pairs,
        num_samples=num_samples,
        scale=fs / settings.sound_speed,
        order=settings.max_order,
        gains=_pair_gains(plans),
    )
    if settings.air_absorption:
        loss = air_loss(
            num_samples, fs, settings.sound_speed, settings.air_absorption
        )
        response *= torch.from_numpy(loss).to(device)
    return [
        _finish(plan, part.view(*plan.scene.distances.shape, -1), settings)
        for plan, part in zip(plans, response.split(counts), strict=True)
    ]


def _pair_tensors(plans, sound_speed, device):
    """Room size, source, microphone, walls and reach of all pairs."""
    columns = [], [], [], [], []
    for plan in plans:
        scene = plan.scene
        shape = *scene.distances.shape, 3
        walls = torch.tensor(plan.absorption, dtype=torch.float64)
        reach = torch.full(shape[:2], sound_speed * plan.end).double()
        values = (
            scene.size.expand(shape),
            scene.sources[:, None].expand(shape),
            scene.microphones.expand(shape),
            walls.expand(*shape[:2], 6),
            reach,
        )
        for column, value in zip(columns, values, strict=True):
            column.append(value.flatten(0, 1))
    return [torch.cat(column).to(device) for column in columns]


def _pair_gains(plans):
    """Directional patterns of all pairs, None if all are omnidirectional."""
    if all(plan.scene.is_omni for plan in plans):
        return None
    scenes = [plan.scene for plan in plans]
    indices, first = [[], []], [0, 0]
    for scene in scenes:
        shape = scene.distances.shape
        source = torch.arange(shape[0])[:, None].expand(shape).flatten()
        microphone = torch.arange(shape[1]).expand(shape).flatten()
        indices[0].append(source + first[0])
        indices[1].append(microphone + first[1])
        first = [first[0] + shape[0], first[1] + shape[1]]
    return PairGains(
        _join_patterns([scene.mic_patterns for scene in scenes]),
        _join_patterns([scene.source_patterns for scene in scenes]),
        torch.cat(indices[1]),
        torch.cat(indices[0]),
    )


def _join_patterns(parts):
    """Patterns of several rooms as one list."""
    return Patterns(
        torch.cat([part.coefficients for part in parts]),
        tuple(function for part in parts for function in part.functions),
    )


def _finish(plan, response, settings):
    """Add what comes after the image sources, and apply the high-pass."""
    scene, fs = plan.scene, settings.fs
    length = plan.num_samples
    if settings.high_pass:
        length += math.ceil(_RUN_OUT * fs)
    level, noise = _mean_gain(scene)[..., None], None
    begin = min(int(plan.end * fs), plan.num_samples)
    # A lattice of limited order is complete as it is.
    if settings.max_order is None and settings.diffuse_from is not None:
        if plan.num_samples > begin:
            noise = _noise(scene, length - begin, settings)
    result = response.new_empty(*response.shape[:2], plan.num_samples)
    # Some sources at a time, which bounds the memory.
    step = max(1, max_points(response.device) // (response.shape[1] * length))
    for first in range(0, len(response), step):
        rows = slice(first, first + step)
        part = None if noise is None else noise[rows]
        result[rows] = _finish_sources(
            plan, response[rows], level[rows], part, length, settings
        )
    return result


def _finish_sources(plan, response, level, noise, length, settings):
    """What ``_finish`` does for some sources, [s, M, N]."""
    fs = settings.fs
    begin = min(int(plan.end * fs), plan.num_samples)
    response = response[..., : plan.num_samples]
    missing = length - response.shape[-1]
    response = torch.nn.functional.pad(response, (0, missing))
    if settings.max_order is None and length > begin:
        mean = plan.decay.samples(plan.decay.mean, length, fs)
        mean = torch.from_numpy(mean).to(response.device)
        level = level.to(mean)
        if noise is not None:
            window = slice(begin - int(_JOIN * fs), begin)
            images = response[..., window] - level * mean[window]
            tail = _tail(plan, images, noise, fs)
            response[..., begin:] += tail.to(response.device)
        if settings.high_pass or settings.diffuse_from is not None:
            response[..., begin:] += level * mean[begin:]
    if settings.high_pass:
        cutoff = high_pass_cutoff(plan.scene.size)
        response = high_pass(response, fs, cutoff)
    return response[..., : plan.num_samples]


def _mean_gain(scene):
    """Gain of each pair averaged over directions, [S, M]."""
    source, microphone = (
        torch.tensor(
            [
                float(patterns.coefficients[i, 0])
                if function is None
                else float(patterns.gain(i, sphere_directions()).mean())
                for i, function in enumerate(patterns.functions)
            ]
        )
        for patterns in (scene.source_patterns, scene.mic_patterns)
    )
    return source[:, None] * microphone


def _noise(scene, num_samples, settings):
    """Diffuse noise of all sources; one draw, whatever is done at a time."""
    return diffuse_noise_field(
        scene.microphones,
        scene.mic_patterns,
        len(scene.sources),
        num_samples,
        fs=settings.fs,
        sound_speed=settings.sound_speed,
        generator=settings.generator,
    )


def _tail(plan, images, noise, fs):
    """Diffuse noise that goes on where the image sources stop."""
    scene = plan.scene
    begin = int(plan.end * fs)
    energy = plan.shape.samples(plan.shape.energy, begin + noise.shape[-1], fs)
    # Level of each source over all microphones, as the images left it.
    still = torch.zeros(1, dtype=torch.float64)
    power = coherence_matrix(scene.microphones, scene.mic_patterns, still)
    power = power[0].diagonal().real.sum()
    before = energy[begin - images.shape[-1] : begin].mean()
    if before == 0:
        return torch.zeros_like(noise)
    level = images.var(-1).sum(-1).cpu() / (float(before) * power)
    envelope = torch.from_numpy(np.sqrt(energy[begin:]))
    return noise * envelope * level.sqrt().float()[:, None, None]
