"""Acoustic parameters of rooms and of room impulse responses.

Rooms are shoeboxes, described by Sabine's and Eyring's formulas; absorption is
the energy absorption coefficient of the walls. Impulse responses have shape
[..., time] with any leading axes ([time, channel] is refused); parameters have
the leading shape. The direct path is a sample index: give it when the geometry
is known (``direct_sample``), since the largest peak of a response is not always
the direct path. Where a measured response ends in noise, parameters are those
of the response without it (``spatial_brain.simulation.noise_floor``); responses
that are known to have none, such as simulated ones, are given with
``floor=NoiseFloor.absent(rir)``.
"""

import math

import torch

from spatial_brain.geometry import SPEED_OF_SOUND
from spatial_brain.simulation.noise_floor import (
    check_response,
    decay_energy,
    find_noise_floor,
)

_SABINE = 24 * math.log(10)
# Level range of the line fit, dB below the start (ISO 3382-1).
DECAY_RANGES = {"t20": (5.0, 25.0), "t30": (5.0, 35.0), "edt": (0.0, 10.0)}
# The range ends at least so far above the noise, dB (ISO 3382-1).
_MARGIN = 10.0


class UnreachableT60(ValueError):
    """A reverberation time that no walls of a room can have.

    Example
    -------
    >>> issubclass(UnreachableT60, ValueError)
    True
    """


def _float(value):
    """Return ``value`` as a floating tensor, keeping floating dtypes."""
    value = torch.as_tensor(value)
    return value if value.is_floating_point() else value.float()


def volume_and_surface(room_size):
    """Volume and surface of shoebox rooms.

    Arguments
    ---------
    room_size : torch.Tensor
        Metres, shape [..., 3].

    Returns
    -------
    tuple of torch.Tensor
        Cubic and square metres, shape [...].

    Example
    -------
    >>> volume_and_surface([5.0, 4.0, 3.0])
    (tensor(60.), tensor(94.))
    """
    x, y, z = _float(room_size).unbind(-1)
    return x * y * z, 2 * (x * y + y * z + z * x)


def minimal_t60(room_size, sound_speed=SPEED_OF_SOUND):
    """Shortest reverberation time by Sabine: all walls absorb everything.

    Arguments
    ---------
    room_size : torch.Tensor
        Metres, shape [..., 3].
    sound_speed : float
        Metres per second.

    Returns
    -------
    torch.Tensor
        Seconds, shape [...]: 24 ln(10) V / (c S).

    Example
    -------
    >>> minimal_t60([5.0, 4.0, 3.0]).round(decimals=4)
    tensor(0.1028)
    """
    volume, surface = volume_and_surface(room_size)
    return _SABINE * volume / (sound_speed * surface)


def mean_absorption(room_size, absorption):
    """Absorption of six walls, averaged over their areas.

    Arguments
    ---------
    room_size : torch.Tensor
        Metres, shape [..., 3].
    absorption : torch.Tensor
        (x0, x1, y0, y1, z0, z1), shape [..., 6], or one value for all walls.

    Returns
    -------
    torch.Tensor
        Shape [...].

    Example
    -------
    >>> mean_absorption([2.0, 2.0, 2.0], [0.1, 0.1, 0.1, 0.1, 0.1, 0.7])
    tensor(0.2000)
    """
    absorption = _float(absorption)
    if absorption.ndim == 0:
        return absorption
    x, y, z = _float(room_size).unbind(-1)
    areas = torch.stack((y * z, y * z, x * z, x * z, x * y, x * y), dim=-1)
    return (areas * absorption).sum(-1) / areas.sum(-1)


def sabine_t60(room_size, absorption, sound_speed=SPEED_OF_SOUND):
    """Reverberation time by Sabine's formula.

    Arguments
    ---------
    room_size : torch.Tensor
        Metres, shape [..., 3].
    absorption : torch.Tensor
        One value, or six per room, shape [..., 6].
    sound_speed : float
        Metres per second.

    Returns
    -------
    torch.Tensor
        Seconds, shape [...]: 24 ln(10) V / (c S a).

    Example
    -------
    >>> sabine_t60([5.0, 4.0, 3.0], 0.2).round(decimals=4)
    tensor(0.5142)
    """
    mean = mean_absorption(room_size, absorption)
    return minimal_t60(room_size, sound_speed) / mean


def sabine_absorption(room_size, t60, sound_speed=SPEED_OF_SOUND):
    """Mean absorption for a reverberation time by Sabine's formula.

    Arguments
    ---------
    room_size : torch.Tensor
        Metres, shape [..., 3].
    t60 : torch.Tensor or float
        Seconds, shape [...].
    sound_speed : float
        Metres per second.

    Returns
    -------
    torch.Tensor
        Shape [...].

    Raises
    ------
    UnreachableT60
        If a time is below what full absorption gives.

    Example
    -------
    >>> sabine_absorption([5.0, 4.0, 3.0], 0.5).round(decimals=3)
    tensor(0.2060)
    """
    least = minimal_t60(room_size, sound_speed)
    t60 = torch.as_tensor(t60).to(least)
    absorption = least / t60
    if not bool((absorption <= 1).all()):
        raise UnreachableT60(
            f"t60 {t60.min().item():g} s cannot be reached: by Sabine's "
            f"formula this room has at least {least.max().item():.3f} s; ask "
            "for more, or use eyring_absorption"
        )
    return absorption


def eyring_t60(room_size, absorption, sound_speed=SPEED_OF_SOUND):
    """Reverberation time by Eyring's formula.

    Arguments
    ---------
    room_size : torch.Tensor
        Metres, shape [..., 3].
    absorption : torch.Tensor
        One value, or six per room, shape [..., 6].
    sound_speed : float
        Metres per second.

    Returns
    -------
    torch.Tensor
        Seconds, shape [...]: 24 ln(10) V / (-c S ln(1 - a)).

    Example
    -------
    >>> eyring_t60([5.0, 4.0, 3.0], 0.2).round(decimals=4)
    tensor(0.4609)
    """
    mean = mean_absorption(room_size, absorption)
    return minimal_t60(room_size, sound_speed) / -torch.log1p(-mean)


def eyring_absorption(room_size, t60, sound_speed=SPEED_OF_SOUND):
    """Mean absorption for a reverberation time by Eyring's formula.

    Arguments
    ---------
    room_size : torch.Tensor
        Metres, shape [..., 3].
    t60 : torch.Tensor or float
        Seconds, shape [...].
    sound_speed : float
        Metres per second.

    Returns
    -------
    torch.Tensor
        Shape [...], always below 1.

    Example
    -------
    >>> eyring_absorption([5.0, 4.0, 3.0], 0.4605).round(decimals=3)
    tensor(0.2000)
    """
    least = minimal_t60(room_size, sound_speed)
    return -torch.expm1(-least / torch.as_tensor(t60).to(least))


def critical_distance(room_size, t60):
    """Distance at which direct and reverberant energy are equal.

    Arguments
    ---------
    room_size : torch.Tensor
        Metres, shape [..., 3].
    t60 : torch.Tensor or float
        Seconds, shape [...].

    Returns
    -------
    torch.Tensor
        Metres, shape [...]: 0.057 sqrt(V / T60).

    Example
    -------
    >>> critical_distance([5.0, 4.0, 3.0], 0.6).round(decimals=2)
    tensor(0.5700)
    """
    volume, _ = volume_and_surface(room_size)
    return 0.057 * (volume / torch.as_tensor(t60).to(volume)).sqrt()


def _response(rir, fs):
    """Check a response and its rate; return it in double precision."""
    rir = torch.as_tensor(rir)
    check_response(rir)
    if not fs > 0:
        raise ValueError(f"fs must be positive, got {fs}")
    return rir.double()


def direct_sample(sources, microphones, fs, sound_speed=SPEED_OF_SOUND):
    """Sample at which the direct path arrives.

    Arguments
    ---------
    sources : torch.Tensor
        Positions in metres, shape [S, 3].
    microphones : torch.Tensor
        Positions in metres, shape [M, 3].
    fs : int
        Sampling rate in Hz.
    sound_speed : float
        Metres per second.

    Returns
    -------
    torch.Tensor
        Nearest sample, integers, shape [S, M].

    Example
    -------
    >>> direct_sample([[0.0, 0, 0]], [[3.43, 0, 0]], 16000)
    tensor([[160]])
    """
    distance = torch.cdist(
        _float(sources).double(), _float(microphones).double()
    )
    return (distance * (fs / sound_speed)).round().long()


def onset(rir, fs):
    """Direct path found in the response itself.

    The largest value within 1 ms from the first sample that comes within
    20 dB of the maximum (ISO 3382-1 starts there).

    Arguments
    ---------
    rir : torch.Tensor
        Shape [..., time].
    fs : int
        Sampling rate in Hz.

    Returns
    -------
    torch.Tensor
        Sample index, shape [...].

    Example
    -------
    >>> onset(torch.tensor([0.0, 0.0, 1.0, 0.5]), 1000)
    tensor(2)
    """
    magnitude = _response(rir, fs).abs()
    threshold = 0.1 * magnitude.amax(-1, keepdim=True)
    first = (magnitude >= threshold).int().argmax(-1, keepdim=True)
    time = torch.arange(magnitude.shape[-1], device=magnitude.device)
    near = (time >= first) & (time <= first + round(1e-3 * fs))
    return torch.where(near, magnitude, -1.0).argmax(-1)


def energy_decay_curve(rir):
    """Energy still to come, by backward integration (Schroeder, 1965).

    Of the response as it is: noise at its end is taken for decay.

    Arguments
    ---------
    rir : torch.Tensor
        Shape [..., time].

    Returns
    -------
    torch.Tensor
        Decibels relative to the whole energy, float64, shape [..., time];
        -inf where nothing is left, NaN for an all-zero response.

    Example
    -------
    >>> energy_decay_curve(torch.tensor([3.0, 1.0])).round(decimals=6)
    tensor([  0., -10.], dtype=torch.float64)
    """
    return _levels(_response(rir, 1).square())


def _levels(energy):
    """Backward integration of energies [..., time], decibels."""
    left = energy.flip(-1).cumsum(-1).flip(-1)
    return 10 * torch.log10(left.clamp_min(0) / left[..., :1])


def t60(rir, fs, method="t20", floor=None):
    """Reverberation time from a line through the energy decay curve.

    Arguments
    ---------
    rir : torch.Tensor
        Shape [..., time].
    fs : int
        Sampling rate in Hz.
    method : str
        Range of the least-squares line: "t20" (-5 to -25 dB), "t30" (-5 to
        -35 dB) or "edt" (0 to -10 dB); extrapolated to 60 dB.
    floor : NoiseFloor, optional
        Of the responses; default: looked for.

    Returns
    -------
    torch.Tensor
        Seconds, float64, shape [...]. NaN where the response does not hold
        the range: fewer than three samples in it, the curve leaves it only
        in the last tenth of the response, where a truncated response bends
        down, or less than 10 dB above the noise.

    Raises
    ------
    ValueError
        If the method is unknown, fs is not positive or the shape is wrong.

    Example
    -------
    >>> time = torch.arange(16000) / 16000
    >>> noise = torch.randn(16000, generator=torch.Generator().manual_seed(0))
    >>> 0.48 < t60(noise * 10 ** (-3 * time / 0.5), 16000) < 0.52
    tensor(True)
    """
    if method not in DECAY_RANGES:
        raise ValueError(
            f"unknown method {method!r}; use one of {', '.join(DECAY_RANGES)}"
        )
    high, low = DECAY_RANGES[method]
    rir = _response(rir, fs)
    floor = floor or find_noise_floor(rir, fs)
    level = _levels(decay_energy(rir, fs, floor))
    if floor.found.any():
        # Energy without noise rises a little where it is all but gone.
        level = level.cummin(-1).values
    # The curve falls, so the range is one run of samples. It starts with the
    # fall for EDT, not with the silence before the direct path.
    if high == 0:
        start = (level > -0.1).sum(-1, keepdim=True) - 1
    else:
        start = (level > -high).sum(-1, keepdim=True)
    stop = (level >= -low).sum(-1, keepdim=True)
    sample = torch.arange(rir.shape[-1], device=rir.device)
    inside = (sample >= start) & (sample < stop)
    count = inside.sum(-1)
    fitted = torch.where(inside, level, 0.0)
    # Sums over a run of integers in closed form; time from its middle.
    middle = (start + stop - 1) / 2
    covariance = (fitted * (sample - middle)).sum(-1)
    spread = count * (count.double() ** 2 - 1) / 12
    slope = covariance / spread
    # Padding after the end is no part of the response.
    latest = 0.9 * (level > -math.inf).sum(-1)
    clear = floor.knee - _MARGIN / 60 * floor.late_t60 * fs
    latest = torch.where(floor.found, clear, latest)
    valid = (count >= 3) & (stop[..., 0] <= latest)
    return torch.where(valid, -60.0 / (slope * fs), math.nan)


def _split_energy(rir, fs, direct, before, after, floor):
    """Energy in a window around the direct path, after it, and in all.

    NaN after it where noise covers all that is left of the decay.
    """
    rir = _response(rir, fs)
    direct = onset(rir, fs) if direct is None else torch.as_tensor(direct)
    direct = direct.to(rir.device).expand(rir.shape[:-1])[..., None]
    sample = torch.arange(rir.shape[-1], device=rir.device)
    floor = floor or find_noise_floor(rir, fs)
    energy = decay_energy(rir, fs, floor)
    begin, end = direct - round(before * fs), direct + round(after * fs)
    inside = (sample >= begin) & (sample <= end)
    later = torch.where(sample > end, energy, 0.0).sum(-1)
    covered = floor.found & (floor.knee <= end[..., 0])
    return (
        torch.where(inside, energy, 0.0).sum(-1),
        torch.where(covered, math.nan, later),
        energy.sum(-1),
    )


def clarity(rir, fs, early, direct=None, floor=None):
    """Early to late energy, from 1 ms before the direct path.

    Arguments
    ---------
    rir : torch.Tensor
        Shape [..., time].
    fs : int
        Sampling rate in Hz.
    early : float
        Seconds after the direct path that count as early.
    direct : torch.Tensor, optional
        Sample of the direct path, shape [...]; default: its onset.
    floor : NoiseFloor, optional
        Of the responses; default: looked for.

    Returns
    -------
    torch.Tensor
        Decibels, float64, shape [...]; NaN where noise covers what is late.

    Example
    -------
    >>> rir = torch.zeros(1000)
    >>> rir[10], rir[500] = 1.0, 0.1
    >>> clarity(rir, 1000, 0.05).round(decimals=6)
    tensor(20., dtype=torch.float64)
    """
    inside, later, _ = _split_energy(rir, fs, direct, 1e-3, early, floor)
    return 10 * torch.log10(inside / later)


def c50(rir, fs, direct=None, floor=None):
    """Clarity with a limit of 50 ms (speech); see ``clarity``.

    Arguments
    ---------
    rir : torch.Tensor
        Shape [..., time].
    fs : int
        Sampling rate in Hz.
    direct : torch.Tensor, optional
        Sample of the direct path, shape [...]; default: its onset.
    floor : NoiseFloor, optional
        Of the responses; default: looked for.

    Returns
    -------
    torch.Tensor
        Decibels, float64, shape [...].

    Example
    -------
    >>> rir = torch.zeros(1000)
    >>> rir[10], rir[70] = 1.0, 1.0
    >>> c50(rir, 1000)
    tensor(0., dtype=torch.float64)
    """
    return clarity(rir, fs, 0.05, direct, floor)


def c80(rir, fs, direct=None, floor=None):
    """Clarity with a limit of 80 ms (music); see ``clarity``.

    Arguments
    ---------
    rir : torch.Tensor
        Shape [..., time].
    fs : int
        Sampling rate in Hz.
    direct : torch.Tensor, optional
        Sample of the direct path, shape [...]; default: its onset.
    floor : NoiseFloor, optional
        Of the responses; default: looked for.

    Returns
    -------
    torch.Tensor
        Decibels, float64, shape [...].

    Example
    -------
    >>> rir = torch.zeros(1000)
    >>> rir[10], rir[70] = 1.0, 1.0
    >>> c80(rir, 1000)
    tensor(inf, dtype=torch.float64)
    """
    return clarity(rir, fs, 0.08, direct, floor)


def d50(rir, fs, direct=None, floor=None):
    """Definition: share of the energy within 50 ms of the direct path.

    Arguments
    ---------
    rir : torch.Tensor
        Shape [..., time].
    fs : int
        Sampling rate in Hz.
    direct : torch.Tensor, optional
        Sample of the direct path, shape [...]; default: its onset.
    floor : NoiseFloor, optional
        Of the responses; default: looked for.

    Returns
    -------
    torch.Tensor
        In [0, 1], float64, shape [...].

    Example
    -------
    >>> rir = torch.zeros(1000)
    >>> rir[10], rir[70] = 1.0, 1.0
    >>> d50(rir, 1000)
    tensor(0.5000, dtype=torch.float64)
    """
    inside, later, _ = _split_energy(rir, fs, direct, 1e-3, 0.05, floor)
    return inside / (inside + later)


def drr(rir, fs, direct=None, window=2.5e-3, floor=None):
    """Direct-to-reverberant ratio.

    Arguments
    ---------
    rir : torch.Tensor
        Shape [..., time].
    fs : int
        Sampling rate in Hz.
    direct : torch.Tensor, optional
        Sample of the direct path, shape [...]; default: its onset.
    window : float
        Half width of the window that counts as direct, seconds.
    floor : NoiseFloor, optional
        Of the responses; default: looked for.

    Returns
    -------
    torch.Tensor
        Decibels, float64, shape [...]; inf without reverberation.

    Example
    -------
    >>> rir = torch.zeros(1000)
    >>> rir[10], rir[70] = 1.0, 0.1
    >>> drr(rir, 1000, direct=torch.tensor(10)).round(decimals=6)
    tensor(20., dtype=torch.float64)
    """
    inside, _, whole = _split_energy(rir, fs, direct, window, window, floor)
    return 10 * torch.log10(inside / (whole - inside).clamp_min(0))


def tdoa(positions, source, sound_speed=SPEED_OF_SOUND):
    """Time differences of arrival relative to the first microphone.

    Arguments
    ---------
    positions : torch.Tensor
        Microphones in metres, shape [M, 3].
    source : torch.Tensor
        Sources in metres, shape [..., 3].
    sound_speed : float
        Metres per second.

    Returns
    -------
    torch.Tensor
        Seconds, shape [..., M]: (|s - m_0| - |s - m|) / c, positive where
        sound reaches microphone m before microphone 0.

    Example
    -------
    >>> tdoa([[0.0, 0, 0], [0.343, 0, 0]], [3.43, 0.0, 0.0])
    tensor([0.0000, 0.0010])
    """
    positions, source = _float(positions), _float(source)
    distance = torch.linalg.vector_norm(
        source[..., None, :] - positions, dim=-1
    )
    return (distance[..., :1] - distance) / sound_speed
