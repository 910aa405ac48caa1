"""Reverberation of rooms from size and absorption alone.

Sabine's and Eyring's formulas and what follows from them. Rooms are
shoeboxes; absorption is the energy absorption coefficient of the walls.
"""

import math

import torch

from spatial_brain.geometry import SPEED_OF_SOUND

_SABINE = 24 * math.log(10)


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
    ValueError
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
        raise ValueError(
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
