"""Random virtual sources: the reference behaviour of FRA-RIR.

After FRA-RIR and FRAM-RIR (Luo and Yu, arXiv:2208.04101; Luo and Gu,
arXiv:2304.08052), kept as the reference computes it so that its results can
be repeated: sound speed 340 m/s, level 1 / 64 of 1 / distance, virtual sources
in the upper half space only, a decay that is slower than the requested T60,
and directional sources whose reflections leave in directions drawn at random
(only the direct path depends on where a source looks). ``fra_corrected`` mends
these but the last. Random numbers come from one generator.
"""

import math

import torch
from torchaudio.functional import highpass_biquad, resample

_SOUND_SPEED = 340.0
_FINE, _MEDIUM = 64, 8
_COUNT = (1024, 4097)
_PERTURBATION = (-2.0, 2.0)
_PERTURBATION_POWER = 0.25
_HIGH_PASS_HZ = 80.0
# Points of the fine grid at a time, which bounds the memory: 16 MB.
_POINTS = 2**22
# Added to squared distances.
_SOFT = 0.001


def simulate(scenes, settings):
    """Impulse responses of rooms by random virtual sources.

    Arguments
    ---------
    scenes : list of RirScene
        Rooms with a T60.
    settings : Settings
        How to simulate; ``max_order`` may only be 0 (direct paths).

    Returns
    -------
    tuple
        List of float32 tensors [S, M, N], and a list of None (no walls).

    Raises
    ------
    ValueError
        If a limit of the order is given.

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
    if settings.max_order:
        raise ValueError(
            "backend 'fra' has no reflection orders; leave max_order out, or "
            "use 'image_source'"
        )
    results = [_simulate(scene, settings) for scene in scenes]
    return results, [None] * len(scenes)


def _simulate(scene, settings):
    """Responses of one room."""
    fs, count = settings.fs, 0
    if not settings.only_direct:
        count = int(torch.randint(*_COUNT, (1,), generator=settings.generator))
    length = math.ceil(_FINE * fs * scene.t60)
    parts = []
    # The fine grid has 64 points a sample: one source at a time.
    for index in range(len(scene.sources)):
        arrivals = _arrivals(scene, index, count, length, settings.generator)
        rows = max(1, _POINTS // length)
        for delay, amplitude in zip(
            *(part.split(rows) for part in arrivals), strict=True
        ):
            parts.append(_sampled(delay, amplitude, length, settings))
    rir = torch.cat(parts).view(*scene.distances.shape, -1)
    if settings.duration is None:
        return rir
    wanted = math.ceil(round(settings.duration * fs, 6))
    return torch.nn.functional.pad(rir, (0, wanted - rir.shape[-1]))


def _sampled(delay, amplitude, length, settings):
    """Impulses of some microphones [m, n] as responses [m, N]."""
    fs = settings.fs
    sample = (delay * (_FINE * fs)).ceil().long().clamp_max(length - 1)
    fine = torch.zeros(len(sample), length, device=settings.device)
    fine.scatter_add_(
        1, sample.to(fine.device), amplitude.float().to(fine.device)
    )
    medium = resample(fine, _FINE, _MEDIUM)
    if settings.high_pass:
        medium = highpass_biquad(medium, _MEDIUM * fs, _HIGH_PASS_HZ)
    return resample(medium, _MEDIUM, 1)


def _arrivals(scene, index, count, length, generator):
    """Delay in seconds and amplitude of direct and virtual sources, [M, n]."""
    x, y, z = scene.size.tolist()
    t60, source = scene.t60, scene.sources[index]
    microphones = scene.microphones
    path = _SOUND_SPEED * t60
    volume_ratio = 1 / (2 * (1 / x + 1 / y + 1 / z))
    absorbed = 1 - math.exp(-0.16 * volume_ratio / t60)
    kept = math.sqrt(1 - absorbed**2)
    direct = _distance(microphones, source)
    nearest = int(direct.argmin())
    reference = float(direct[nearest])
    ratio, unit = _virtual(count, length, path / reference - 1, generator)
    places = microphones[nearest] + (ratio * reference)[:, None] * unit
    distance = _distance(microphones[:, None], places)
    most = (math.log10(path) - 3) / math.log10(kept)
    orders = distance / path * (most - 1) + 1
    low, high = _PERTURBATION
    change = low + (high - low) * _rand(count, generator)
    orders = (orders + change * ratio**_PERTURBATION_POWER).clamp_min(1)
    amplitude = kept**orders / distance
    for m in range(len(microphones)):
        towards = _unit(places - microphones[m])
        amplitude[m] *= scene.mic_patterns.gain(m, towards)
    emitted = _emitted_gain(scene.source_patterns, index, count, generator)
    amplitude = torch.cat(
        (_direct_gain(scene, index) / direct[:, None], amplitude * emitted),
        dim=1,
    )
    return torch.cat((direct[:, None], distance), 1) / _SOUND_SPEED, amplitude


def _virtual(count, length, farthest, generator):
    """Distance ratio and direction of virtual sources.

    The ratio is drawn from ``length`` values between 1 and ``farthest`` with
    a probability that grows linearly.
    """
    place = (_rand(count, generator).sqrt() * length).floor()
    ratio = 1 + (farthest - 1) * place / max(length - 1, 1)
    azimuth = math.pi * (2 * _rand(count, generator) - 1)
    polar = math.pi * (_rand(count, generator) - 0.5)
    unit = torch.stack(
        (
            polar.sin() * azimuth.cos(),
            polar.sin() * azimuth.sin(),
            polar.cos(),
        ),
        dim=-1,
    )
    return ratio, unit


def _emitted_gain(patterns, index, count, generator):
    """Gain of a source towards its virtual ones, [count].

    As in the reference, where a virtual source looks is drawn anew for each:
    two angles uniform around the circle, the cosine to the microphone being
    the product of theirs (not uniform on the sphere).
    """
    azimuth, elevation = (
        math.pi * (2 * _rand(count, generator) - 1) for _ in range(2)
    )
    local = (
        azimuth.cos() * elevation.cos(),
        azimuth.sin() * elevation.cos(),
        elevation.sin(),
    )
    axis = torch.tensor([1.0, 0.0, 0.0], dtype=torch.float64)
    if patterns.looking is not None:
        axis = patterns.looking[index]
    # Two axes across, from a unit vector that is not along.
    other = torch.eye(3, dtype=torch.float64)[int(axis.abs().argmin())]
    second = _unit(torch.linalg.cross(axis, other))
    frame = torch.stack((axis, second, torch.linalg.cross(axis, second)))
    return patterns.gain(index, torch.stack(local, dim=-1) @ frame)


def _direct_gain(scene, index):
    """Gain of both patterns along the direct paths of a source, [M, 1]."""
    way = _unit(scene.sources[index] - scene.microphones)
    received = [
        scene.mic_patterns.gain(m, way[m : m + 1]) for m in range(len(way))
    ]
    emitted = scene.source_patterns.gain(index, -way)
    return torch.stack(received) * emitted[:, None]


def _rand(count, generator):
    """Uniform numbers in [0, 1), float64."""
    return torch.rand(count, generator=generator, dtype=torch.float64)


def random_directions(count, generator):
    """Directions spread uniformly over the sphere.

    Arguments
    ---------
    count : int
        Number of directions.
    generator : torch.Generator or None
        Source of random numbers.

    Returns
    -------
    torch.Tensor
        Unit vectors, float64 [count, 3].

    Example
    -------
    >>> random_directions(4, torch.Generator().manual_seed(0)).shape
    torch.Size([4, 3])
    """
    height = 2 * _rand(count, generator) - 1
    azimuth = 2 * math.pi * _rand(count, generator)
    radius = (1 - height**2).sqrt()
    return torch.stack(
        (radius * azimuth.cos(), radius * azimuth.sin(), height), dim=-1
    )


def _unit(vectors):
    """Vectors scaled to length one."""
    return torch.nn.functional.normalize(vectors, dim=-1)


def _distance(a, b):
    """Softened distance between points."""
    return ((a - b).square().sum(-1) + _SOFT).sqrt()
