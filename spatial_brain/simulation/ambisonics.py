"""First-order Ambisonics and tetrahedral arrays.

FOA channels are in ACN order (W, Y, Z, X) with SN3D normalisation: a plane
wave from the unit vector (x, y, z) has the gains (1, y, z, x). The "mic"
format is the tetrahedral array of the DCASE SELD data sets: four capsules
on a rigid sphere of radius 0.042 m.
"""

import functools
import math

import numpy as np
import torch
from scipy import special
from scipy.fft import next_fast_len
from torch.nn.utils.rnn import pad_sequence

from spatial_brain.geometry import (
    SPEED_OF_SOUND,
    azel_to_unit,
    tetrahedral_array,
)
from spatial_brain.simulation.rir import simulate_rir

# Of the microphone array of the DCASE SELD data sets, metres.
SPHERE_RADIUS = 0.042
# Terms of a series below this share of the wave are left out.
ORDER_TOLERANCE = 1e-3
MAX_ORDER = 60
FORMATS = ("foa", "mic", "mic_open")


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


def foa_gains(direction):
    """Gains of the FOA channels for sound from directions.

    Arguments
    ---------
    direction : torch.Tensor
        From the array to the source, shape [..., 3], any length but zero.

    Returns
    -------
    torch.Tensor
        W, Y, Z, X (ACN, SN3D), shape [..., 4].

    Example
    -------
    >>> foa_gains(torch.tensor([0.0, 2.0, 0.0]))
    tensor([1., 1., 0., 0.])
    """
    direction = torch.nn.functional.normalize(direction, dim=-1)
    x, y, z = direction.unbind(-1)
    return torch.stack((torch.ones_like(x), y, z, x), dim=-1)


def encode_foa(signal, azimuth, elevation):
    """Encode a plane wave into FOA.

    Arguments
    ---------
    signal : torch.Tensor
        Shape [..., T].
    azimuth : torch.Tensor or float
        Degrees, broadcastable to ``signal``: one number, [..., 1], or one
        value per sample for a source that moves.
    elevation : torch.Tensor or float
        Degrees, likewise.

    Returns
    -------
    torch.Tensor
        Shape [..., T, 4], channels W, Y, Z, X.

    Example
    -------
    >>> encode_foa(torch.ones(2), 90.0, 0.0).round().abs()
    tensor([[1., 1., 0., 0.],
            [1., 1., 0., 0.]])
    """
    gains = foa_gains(azel_to_unit(azimuth, elevation)).to(signal)
    return signal[..., None] * gains


def intensity_direction(foa):
    """Direction of the mean acoustic intensity of FOA signals.

    Arguments
    ---------
    foa : torch.Tensor
        Channels W, Y, Z, X, shape [..., T, 4].

    Returns
    -------
    torch.Tensor
        Unit vectors towards the source, shape [..., 3].

    Example
    -------
    >>> foa = encode_foa(torch.randn(1000), 0.0, 90.0)
    >>> intensity_direction(foa).round().abs()
    tensor([0., 0., 1.])
    """
    velocity = foa[..., [3, 1, 2]]
    intensity = (foa[..., :1] * velocity).mean(dim=-2)
    return torch.nn.functional.normalize(intensity, dim=-1)


def foa_rir(room_size, sources, center, *, rotation=None, **options):
    """Room impulse responses in first-order Ambisonics.

    Four coincident microphones, one of no direction and three figures of
    eight: every image source gets its exact gains, at all frequencies.

    Arguments
    ---------
    room_size : torch.Tensor or sequence
        Shape [3], metres.
    sources : torch.Tensor or sequence
        Shape [S, 3], metres.
    center : torch.Tensor or sequence
        Position of the array, shape [3], metres.
    rotation : torch.Tensor, optional
        Turns the array's frame into the room's, shape [3, 3]. By default
        the front of the array is the x axis of the room.
    **options
        Further arguments of ``spatial_brain.simulation.rir.simulate_rir``.

    Returns
    -------
    torch.Tensor
        Shape [S, 4, N], channels W, Y, Z, X, float32.

    Example
    -------
    >>> rir = foa_rir([5, 4, 3], [[2, 3, 1.5]], [2, 1, 1.5], t60=0.2)
    >>> rir[0, :, rir[0, 0].argmax()].mul(2).round().abs()
    tensor([1., 1., 0., 0.])
    """
    rotation = _rotation(rotation)
    center = _center(center)
    # Columns of the rotation are the array's x, y, z; the first is a filler.
    looking = rotation[:, [0, 1, 2, 0]].T
    return simulate_rir(
        room_size,
        sources,
        center.expand(4, 3),
        mic_pattern=["omni", "bidir", "bidir", "bidir"],
        mic_orientation=looking,
        **options,
    )


def _rotation(rotation):
    """Rotation matrix [3, 3], float64; None is no rotation."""
    if rotation is None:
        return torch.eye(3, dtype=torch.float64)
    rotation = torch.as_tensor(rotation, dtype=torch.float64).cpu()
    if rotation.shape != (3, 3):
        raise ValueError(f"rotation must be [3, 3], got {rotation.shape}")
    return rotation


def _center(center):
    """Position [3], float64."""
    center = torch.as_tensor(center, dtype=torch.float64).cpu()
    if center.shape != (3,):
        raise ValueError(f"center must be [3], got {tuple(center.shape)}")
    return center


def _legendre_pattern(direction, *, order, axis):
    """Gain P_order(cos) of a microphone that looks along ``axis``."""
    cosine = (direction @ axis.to(direction)).clamp(-1.0, 1.0)
    return legendre(order, cosine)


def _rigid_sphere_rir(room_size, sources, center, capsules, radius, **options):
    """RIRs of capsules on a rigid sphere, [S, 4, N].

    Every image source is a plane wave. For each capsule its Legendre orders
    are collected by coincident microphones at the centre, and each order
    passes its radial filter.
    """
    fs = options.get("fs", 16000)
    sound_speed = options.get("sound_speed", SPEED_OF_SOUND)
    order = needed_order(fs / 2, radius, sound_speed)
    axes = torch.nn.functional.normalize(capsules, dim=-1)
    patterns = [
        functools.partial(_legendre_pattern, order=n, axis=axis)
        for axis in axes
        for n in range(order + 1)
    ]
    rendered = []
    # One source at a time bounds the memory.
    for source in torch.as_tensor(sources).reshape(-1, 1, 3):
        rir = simulate_rir(
            room_size,
            source,
            center.expand(len(patterns), 3),
            mic_pattern=patterns,
            **options,
        )
        num_samples = rir.shape[-1]
        rir = rir.reshape(len(axes), order + 1, num_samples)
        # Sound reaches near capsules before it would reach the centre: room
        # for negative times, which wrap around to the end.
        spare = math.ceil(8 * radius / sound_speed * fs) + 64
        nfft = next_fast_len(num_samples + spare, real=True)
        frequencies = torch.fft.rfftfreq(nfft, 1.0 / fs).double()
        radial = radial_response(frequencies, order, radius, sound_speed)
        radial *= (2.0 * torch.arange(order + 1) + 1.0)[:, None]
        spectrum = torch.fft.rfft(rir, n=nfft) * radial.to(
            rir.device, torch.complex64
        )
        response = torch.fft.irfft(spectrum.sum(1), n=nfft)
        rendered.append(response[:, :num_samples].T)
    return pad_sequence(rendered, batch_first=True).mT.contiguous()


def render_array_rir(
    room_size,
    sources,
    center,
    *,
    format="foa",
    rotation=None,
    radius=SPHERE_RADIUS,
    **options,
):
    """Room impulse responses in a format of the SELD data sets.

    Arguments
    ---------
    room_size : torch.Tensor or sequence
        Shape [3], metres.
    sources : torch.Tensor or sequence
        Shape [S, 3], metres.
    center : torch.Tensor or sequence
        Position of the array, shape [3], metres.
    format : str
        "foa" (see :func:`foa_rir`), "mic" (four capsules on a rigid sphere,
        scattering included, every image a plane wave) or "mic_open" (the
        same four positions without the sphere).
    rotation : torch.Tensor, optional
        Turns the array's frame into the room's, shape [3, 3].
    radius : float
        Of the tetrahedral array, metres.
    **options
        Further arguments of ``spatial_brain.simulation.rir.simulate_rir``.

    Returns
    -------
    torch.Tensor
        Shape [S, 4, N], float32.

    Raises
    ------
    ValueError
        If the format is unknown, a source lies within the sphere, or as
        ``simulate_rir``.

    Example
    -------
    >>> rir = render_array_rir(
    ...     [5, 4, 3], [[3, 3, 2]], [2, 2, 1], format="mic", direct_only=True,
    ...     t60=0.2, duration=0.05,
    ... )
    >>> rir.shape
    torch.Size([1, 4, 800])
    """
    if format not in FORMATS:
        raise ValueError(f"format must be one of {FORMATS}, got {format!r}")
    center = _center(center)
    sources = torch.as_tensor(sources, dtype=torch.float64).cpu()
    if format == "foa":
        return foa_rir(room_size, sources, center, rotation=rotation, **options)
    capsules = tetrahedral_array(radius).double() @ _rotation(rotation).T
    if format == "mic_open":
        return simulate_rir(room_size, sources, center + capsules, **options)
    distance = torch.linalg.vector_norm(sources - center, dim=-1)
    if bool((distance <= radius).any()):
        raise ValueError(
            f"sources must lie outside the sphere of {radius} m; the nearest "
            f"is {distance.min():.3f} m from its centre"
        )
    return _rigid_sphere_rir(
        room_size, sources, center, capsules, radius, **options
    )
