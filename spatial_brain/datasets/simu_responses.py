"""Impulse responses of simulated scenes: image sources, then noise.

Image sources carry the response until it has decayed by ``ism_db``; noise
that decays exponentially with the room's T60 (Sabine) goes on to -40 dB, as in
gpuRIR (D. Diaz-Guerra, A. Miguel and J. R. Beltran, Multimedia Tools and
Applications 80, 2021, arXiv:1810.11359). The noise is drawn again until the
T60 measured in the response is the requested one.
"""

import functools
import math
from dataclasses import dataclass

import torch
from scipy.fft import next_fast_len

from spatial_brain.datasets.simu_noise import (
    seeded_generator,
    white_diffuse_pairs,
)
from spatial_brain.simulation.rir.absorption import Decay
from spatial_brain.simulation.rir.fractional_delay import (
    SKIRT,
    TAPS,
    grid_length,
    grid_to_samples,
    high_pass,
)
from spatial_brain.simulation.rir.lattice import (
    accumulate,
    build_lattice,
    lattice_response,
)
from spatial_brain.simulation.rir.threads import single_threaded
from spatial_brain.simulation.room_labels import decay_t60

# Decay of the whole response, dB; shorter T60 have image sources only.
_END_DB, _SHORT_T60 = 40.0, 0.15
# Time over which the level at the switch is taken, seconds: the original's,
# and a longer one over both microphones, which varies less.
_JOIN_COMPAT, _JOIN = 0.01, 0.02
# The response goes on for so long before the high-pass, by its mean.
_RUN_OUT = 0.1
# What is accepted, and how often late reverberation is drawn for it.
_T60_ERROR, _CORRELATION, _ATTEMPTS = 0.05, 0.5, 8
# Scale of logistic noise of power 1, and its guard.
_LOGISTIC, _GUARD = 0.551329, 1e-6


@dataclass(frozen=True)
class PairResponses:
    """Responses of one source to two microphones in several rooms.

    Arguments
    ---------
    full : torch.Tensor
        float32 [B, 2, samples], padded with zeros.
    direct : torch.Tensor
        The direct path alone, of the same shape.
    t60 : torch.Tensor
        Measured, mean over the microphones, float64 seconds [B].
    accepted : torch.Tensor
        Whether T60 and straightness of the decay are as requested, [B].

    Example
    -------
    >>> empty = torch.zeros(1, 2, 9)
    >>> PairResponses(empty, empty, torch.ones(1), torch.ones(1) > 0).t60
    tensor([1.])
    """

    full: torch.Tensor
    direct: torch.Tensor
    t60: torch.Tensor
    accepted: torch.Tensor


def _even(value):
    """Smallest even number that is not below ``value``."""
    return 2 * math.ceil(value / 2 - 1e-9)


def response_samples(distribution, t60):
    """Samples with image sources, and samples in all, of a response.

    Arguments
    ---------
    distribution : SceneDistribution
        How to simulate.
    t60 : float
        Seconds.

    Returns
    -------
    tuple of int
        Both even.

    Example
    -------
    >>> from spatial_brain.datasets.simu_scenes import SceneDistribution
    >>> response_samples(SceneDistribution(), 0.6)
    (1920, 6400)
    """
    whole = _even(_END_DB / 60 * t60 * distribution.fs)
    if t60 < _SHORT_T60:
        return whole, whole
    return _even(distribution.ism_db / 60 * t60 * distribution.fs), whole


@torch.no_grad()
def scene_responses(distribution, scenes, seeds, device="cpu"):
    """Impulse responses of scenes, drawn until their T60 is accepted.

    Accepted is a response whose T60 (``decay_t60``) differs by less than 0.05
    s from the requested one, and whose decay correlates with a line by more
    than 0.5. After eight attempts the nearest one is taken; its labels are
    its own in any case.

    Arguments
    ---------
    distribution : SceneDistribution
        How to simulate.
    scenes : SceneBatch
        B scenes.
    seeds : torch.Tensor
        Of the late reverberation, int64 [B].
    device : str or torch.device
        Where to compute.

    Returns
    -------
    PairResponses

    Example
    -------
    >>> from spatial_brain.datasets.simu_scenes import *
    >>> from spatial_brain.datasets.simu_signals import SceneBatch
    >>> scene = draw_room_scene(SceneDistribution(), "pretrain", 0)
    >>> found = scene_responses(
    ...     SceneDistribution(), SceneBatch.of([scene]), torch.tensor([0])
    ... )
    >>> bool(abs(found.t60 - scene.t60_requested) < 0.05)
    True
    """
    device = torch.device(device)
    lengths = [response_samples(distribution, t) for t in scenes.t60.tolist()]
    images = _image_part(distribution, scenes, lengths, device)
    generators = [seeded_generator(seed, device) for seed in seeds.tolist()]
    requested = scenes.t60_requested.to(device)
    best = None
    for _ in range(_ATTEMPTS):
        full = _complete(distribution, scenes, lengths, images, generators)
        seconds, correlation = decay_t60(full, distribution.fs)
        t60 = seconds.mean(-1)
        error = (t60 - requested).abs().nan_to_num(math.inf)
        straight = (correlation.abs() > _CORRELATION).all(-1)
        accepted = (error < _T60_ERROR) & straight
        if best is None:
            best = [full, t60, accepted, error]
        else:
            # What was accepted at an earlier attempt stays.
            better = ~best[2] & (accepted | (error < best[3]))
            for old, new in zip(
                best, (full, t60, accepted, error), strict=True
            ):
                old[better] = new[better]
        if bool(best[2].all()):
            break
    direct = _direct_paths(distribution, scenes, best[0].shape[-1], device)
    return PairResponses(best[0], direct, best[1], best[2])


def _image_part(distribution, scenes, lengths, device):
    """Image sources of all pairs, float32 [B, 2, samples]."""
    pairs = 2 * len(lengths)
    most = max(images for images, _ in lengths)
    scale = distribution.fs / distribution.c
    # Images after the last sample still reach into it.
    reach = torch.tensor(
        [(images + SKIRT) / scale for images, _ in lengths],
        dtype=torch.float64,
    )
    tables = [
        part.repeat_interleave(2, dim=0).to(device)
        for part in (scenes.room_size, scenes.source)
    ]
    tables.append(scenes.microphones.reshape(pairs, 3).to(device))
    tables += [
        part.repeat_interleave(2, dim=0).to(device)
        for part in (scenes.absorption, reach)
    ]
    with single_threaded():
        if distribution.has("alternating"):
            response = _alternating(tables, most, scale)
        else:
            response = lattice_response(*tables, num_samples=most, scale=scale)
    return response.view(len(lengths), 2, most)


def _alternating(tables, num_samples, scale):
    """Lattice whose reflections change sign with every wall."""
    lattice = build_lattice(*tables)
    for gain in lattice.gain:
        gain[:, 1 - (gain.shape[1] // 2) % 2 :: 2] *= -1
    device = tables[0].device
    grid = torch.zeros(len(tables[0]), grid_length(num_samples), device=device)
    accumulate(lattice, grid, scale)
    return grid_to_samples(grid, num_samples)


def _complete(distribution, scenes, lengths, images, generators):
    """Add late reverberation to image sources, [B, 2, samples]."""
    device = images.device
    longest = max(whole for _, whole in lengths)
    # Positive reflections build up a mean, which a high-pass removes.
    positive = not distribution.has("alternating")
    after = math.ceil(_RUN_OUT * distribution.fs) if positive else 0
    total = longest + after
    full = images.new_zeros(len(lengths), 2, total)
    noise = _late_noise(distribution, scenes, generators, device)
    mean = _means(distribution, scenes, total, device) if positive else None
    for row, (number, whole) in enumerate(lengths):
        part = images[row, :, :number]
        full[row, :, :number] = part
        if positive:
            full[row, :, number : whole + after] = mean[
                row, number : whole + after
            ]
            part = part - mean[row, :number]
        if whole > number:
            tail = _tail(distribution, scenes, row, part, noise[row], whole)
            full[row, :, number:whole] += tail
    if positive:
        full = high_pass(full, distribution.fs)
        for row, (_, whole) in enumerate(lengths):
            full[row, :, whole:] = 0.0
    return full[..., :longest].contiguous()


def _means(distribution, scenes, num_samples, device):
    """Mean sound pressure of the lattices, float32 [B, samples]."""
    rows = []
    for size, walls in zip(
        scenes.room_size.tolist(), scenes.absorption.tolist(), strict=True
    ):
        decay = Decay(size, walls, distribution.c)
        rows.append(
            torch.from_numpy(
                decay.samples(decay.mean, num_samples, distribution.fs)
            )
        )
    return torch.stack(rows).to(device)


@functools.lru_cache(maxsize=16)
def _late_samples(distribution):
    """Length of the noise drawn for any scene."""
    images, whole = response_samples(distribution, distribution.T60_range[1])
    return next_fast_len(max(whole - images, 0) + 4, real=True)


def _late_noise(distribution, scenes, generators, device):
    """Noise of power 1 for late reverberation, [B, 2, samples]."""
    num_samples = _late_samples(distribution)
    if distribution.has("independent_tail"):
        noise = torch.empty(len(generators), 2, num_samples, device=device)
        for row, generator in zip(noise, generators, strict=True):
            row.uniform_(generator=generator)
        return _LOGISTIC * (noise / (1 - noise + _GUARD)).log().clamp_min(-40)
    return white_diffuse_pairs(
        scenes.microphones,
        num_samples,
        generators,
        fs=distribution.fs,
        sound_speed=distribution.c,
        device=device,
    )


def _tail(distribution, scenes, row, images, noise, whole):
    """Late reverberation of one scene, at the level the images left it."""
    fs = distribution.fs
    number = images.shape[-1]
    rate = -6 * math.log(10) / (float(scenes.t60[row]) * fs)
    compat = distribution.has("independent_tail")
    window = int((_JOIN_COMPAT if compat else _JOIN) * fs)
    distances = torch.linalg.vector_norm(
        scenes.source[row] - scenes.microphones[row], dim=-1
    )
    arrival = int((distances.max() * fs / distribution.c).ceil())
    begin = min(max(number - window, arrival), number - 2)
    power = images[:, begin:].square().mean(-1, keepdim=True)
    if not compat:
        power = power.mean(0, keepdim=True)
    middle = (begin + number) / 2
    time = torch.arange(number, whole, device=images.device)
    envelope = (0.5 * rate * (time - middle)).exp()
    return power.sqrt() * envelope * noise[:, : whole - number]


def _direct_paths(distribution, scenes, num_samples, device):
    """Direct paths alone: windowed sincs at the exact delays."""
    distances = torch.linalg.vector_norm(
        scenes.source[:, None] - scenes.microphones, dim=-1
    ).to(device)
    delay = distances * (distribution.fs / distribution.c)
    half = TAPS // 2
    offset = torch.arange(-half, half + 2, device=device)
    first = delay.floor()[..., None]
    time = first + offset - delay[..., None]
    window = 0.5 + 0.5 * (2 * math.pi * time / TAPS).cos()
    taps = torch.sinc(time) * window * (time.abs() < TAPS / 2)
    taps = taps / distances[..., None]
    index = (first + offset).long()
    inside = (index >= 0) & (index < num_samples)
    result = torch.zeros(*delay.shape, num_samples, device=device)
    return result.scatter_add_(
        -1,
        index.clamp(0, num_samples - 1),
        torch.where(inside, taps, 0.0).float(),
    )
