"""Scattering of plane waves by a rigid sphere with capsules on it."""

import numpy as np
import torch
from scipy import special

from spatial_brain.geometry import SPEED_OF_SOUND

# Of the microphone array of the DCASE SELD data sets, metres.
SPHERE_RADIUS = 0.042
# Terms of a series below this share of the wave are left out.
ORDER_TOLERANCE = 1e-3
MAX_ORDER = 60


def radial_response(
    frequencies, order, radius=SPHERE_RADIUS, sound_speed=SPEED_OF_SOUND
):
    """Response of a rigid sphere to each Legendre order of a plane wave.

    b_n(ka) = i^(n-1) / ((ka)^2 h_n'^(2)(ka)), with the spherical Hankel
    function of the second kind, for signals of time dependence
    exp(i 2 pi f t). At 0 Hz b_0 is 1 and the others are 0.

    Arguments
    ---------
    frequencies : torch.Tensor
        Shape [F], Hz, not negative.
    order : int
        Highest order.
    radius : float
        Of the sphere, metres.
    sound_speed : float
        Metres per second.

    Returns
    -------
    torch.Tensor
        Shape [order + 1, F], complex128.

    Example
    -------
    >>> radial_response(torch.tensor([0.0]), 1).abs()
    tensor([[1.],
            [0.]], dtype=torch.float64)
    """
    frequencies = np.asarray(frequencies, dtype=float)
    ka = 2.0 * np.pi * frequencies * radius / sound_speed
    response = np.zeros((order + 1, len(ka)), complex)
    # Far above ka the Hankel function overflows, and the response is 0.
    with np.errstate(all="ignore"):
        for n in range(order + 1):
            slope = special.spherical_jn(n, ka, derivative=True) + 0j
            slope -= 1j * special.spherical_yn(n, ka, derivative=True)
            value = 1j ** ((n - 1) % 4) / (ka**2 * slope)
            usable = np.isfinite(value) & (np.abs(slope) < 1e150)
            response[n] = np.where(usable, value, 0.0)
    response[0, ka == 0] = 1.0
    return torch.from_numpy(response)


def needed_order(highest, radius, sound_speed=SPEED_OF_SOUND):
    """Smallest order whose successors do not matter up to a frequency.

    Arguments
    ---------
    highest : float
        Highest frequency, Hz.
    radius : float
        Of the sphere, metres.
    sound_speed : float
        Metres per second.

    Returns
    -------
    int
        All further terms are below 0.1 % of the wave.

    Example
    -------
    >>> needed_order(12000, 0.042)
    17
    """
    terms = radial_response([highest], MAX_ORDER, radius, sound_speed)
    terms = terms[:, 0].abs() * (2.0 * torch.arange(MAX_ORDER + 1) + 1.0)
    return int((terms > ORDER_TOLERANCE).nonzero().max())


def rigid_sphere_response(
    direction,
    capsule,
    frequencies,
    *,
    radius=SPHERE_RADIUS,
    order=MAX_ORDER,
    sound_speed=SPEED_OF_SOUND,
):
    """Plane wave at a capsule on a rigid sphere, relative to the centre.

    H = sum_n b_n(ka) (2 n + 1) P_n(cos gamma), gamma between capsule and
    direction (form of the DCASE SELD data sets); without the sphere the
    centre would receive 1.

    Arguments
    ---------
    direction : torch.Tensor
        Towards the source, shape [..., 3], any length but zero.
    capsule : torch.Tensor
        From the centre to the capsule, broadcastable to ``direction``.
    frequencies : torch.Tensor
        Shape [F], Hz.
    radius : float
        Metres.
    order : int
        Highest order of the series.
    sound_speed : float
        Metres per second.

    Returns
    -------
    torch.Tensor
        Shape [..., F], complex128.

    Example
    -------
    >>> front = torch.tensor([1.0, 0.0, 0.0])
    >>> response = rigid_sphere_response(front, front, [0.0, 20e3])
    >>> response.abs().round()
    tensor([1., 2.], dtype=torch.float64)
    """
    unit = torch.nn.functional.normalize
    direction = unit(torch.as_tensor(direction, dtype=torch.float64), dim=-1)
    capsule = unit(torch.as_tensor(capsule, dtype=torch.float64), dim=-1)
    cosine = (direction * capsule).sum(-1).clamp(-1.0, 1.0)
    radial = radial_response(frequencies, order, radius, sound_speed)
    terms = torch.stack([legendre(n, cosine) for n in range(order + 1)], -1)
    terms = terms * (2.0 * torch.arange(order + 1) + 1.0)
    return terms.to(radial.dtype) @ radial


def legendre(order, x):
    """Legendre polynomial by its three-term recurrence.

    Arguments
    ---------
    order : int
        Not negative.
    x : torch.Tensor
        Any shape, in [-1, 1].

    Returns
    -------
    torch.Tensor
        P_order(x), shape of ``x``.

    Example
    -------
    >>> legendre(2, torch.tensor([0.0, 1.0]))
    tensor([-0.5000,  1.0000])
    """
    previous, current = torch.ones_like(x), x
    if order == 0:
        return previous
    for n in range(1, order):
        following = ((2 * n + 1) * x * current - n * previous) / (n + 1)
        previous, current = current, following
    return current
