"""Head-related impulse responses of a spherical head, without any data.

Two models: that of Brown and Duda (1998), "A structural model for binaural
sound synthesis" - delays of a ray around the head, and a head shadow of one
pole and one zero - and the exact scattering by a rigid sphere (Duda and
Martens 1998, "Range dependence of the response of a spherical head model").
A sphere has the time and level differences of a head, not the spectral cues
of an ear: figures obtained with it are not comparable with those of measured
heads.
"""

import math
import zlib

import numpy as np
import torch
from scipy.signal import lfilter
from torch.nn.utils.rnn import pad_sequence

from spatial_brain.geometry import (
    SPEED_OF_SOUND,
    angular_distance,
    azel_to_unit,
)
from spatial_brain.simulation.ambisonics import (
    needed_order,
    rigid_sphere_response,
)
from spatial_brain.simulation.hrtf.grid import (
    CIPIC_LATERALS,
    CIPIC_POLARS,
    CIPIC_SUBJECTS,
    HrtfSet,
    interaural_to_unit,
)
from spatial_brain.simulation.hrtf.pinnae import draw_pinnae, with_pinnae

MODELS = ("brown-duda", "rigid-sphere")
# Whole heads: spheres, and the exact one with outer ears.
HEADS = (*MODELS, "pinnae")
HEAD_RADIUS = 0.0875
# Heads that are drawn: metres (mean, deviation, bounds), degrees, dB.
RADIUS_MEAN, RADIUS_DEVIATION, RADIUS_RANGE = HEAD_RADIUS, 0.004, (0.075, 0.1)
EAR_ANGLE_RANGE, EAR_GAIN_DB = (90.0, 105.0), 0.5
# Brown and Duda: least gain of the shadow and the angle where it lies.
SHADOW_MINIMUM, SHADOW_ANGLE = 0.1, 150.0
# Fractional delays: taps on either side of the centre of a Kaiser-windowed
# sinc.
_HALF_TAPS, _KAISER_BETA = 15, 8.0
# The sinc of a delay is over from this multiple of the Nyquist frequency on.
_SINC_END = 1.25


def woodworth_itd(lateral, radius=HEAD_RADIUS, sound_speed=SPEED_OF_SOUND):
    """Time difference between opposite ears by Woodworth's formula.

    ITD = a / c (theta + sin theta): a ray to the near ear, and one that
    creeps around the sphere to the far ear; the limit of high frequencies.

    Arguments
    ---------
    lateral : torch.Tensor or float
        Degrees to the right, in [-90, 90].
    radius : float
        Of the head, metres.
    sound_speed : float
        Metres per second.

    Returns
    -------
    torch.Tensor
        Seconds, positive to the right (the left ear hears it later).

    Example
    -------
    >>> (woodworth_itd(torch.tensor([15.0, 45.0, 90.0])) * 1e6).round()
    tensor([133., 381., 656.])
    """
    lateral = torch.deg2rad(torch.as_tensor(lateral))
    return radius / sound_speed * (lateral + torch.sin(lateral))


def _ear_delay(incidence, radius=HEAD_RADIUS, sound_speed=SPEED_OF_SOUND):
    """Seconds from the centre to an ear; incidence in degrees, 0 to 180."""
    angle = torch.deg2rad(torch.as_tensor(incidence))
    around = angle - math.pi / 2
    path = torch.where(around > 0, around, -torch.cos(angle))
    return path * (radius / sound_speed)


def _head_shadow(incidence, fs, radius=HEAD_RADIUS, sound_speed=SPEED_OF_SOUND):
    """Coefficients b0, b1, a1 of the filter of one pole and one zero."""
    # H(s) = (1 + gamma tau s) / (1 + tau s), tau = a / 2 c, by the bilinear
    # transform; gamma falls from 2 in front of the ear to 0.1 at 150 degrees.
    angle = torch.deg2rad(torch.as_tensor(incidence))
    half = SHADOW_MINIMUM / 2
    turn = torch.cos(angle * (180.0 / SHADOW_ANGLE))
    gamma = (1.0 + half) + (1.0 - half) * turn
    warp = 2.0 * fs * radius / (2.0 * sound_speed)
    b0 = (1.0 + gamma * warp) / (1.0 + warp)
    b1 = (1.0 - gamma * warp) / (1.0 + warp)
    return b0, b1, (1.0 - warp) / (1.0 + warp)


def spherical_head_responses(
    directions, fs, *, radius=HEAD_RADIUS, ear_angle=90.0, model="brown-duda"
):
    """Impulse responses of a spherical head to plane waves.

    The centre of the head, were there no head, would receive the wave at
    the same sample for all directions and all heads, which is late enough
    for the near ear. Responses last as long as those of CIPIC, 4.5 ms.

    Arguments
    ---------
    directions : torch.Tensor
        Towards the sources, shape [..., 3], of any length but zero.
    fs : int
        Sampling rate, Hz.
    radius : float
        Of the head, metres, at most 0.1.
    ear_angle : float
        Degrees from the front to either ear; more than 90 puts the ears
        behind the middle and distinguishes front and back a little.
    model : str
        ``"brown-duda"`` or ``"rigid-sphere"``, see the module.

    Returns
    -------
    torch.Tensor
        Shape [..., 2, L], float64, ear 0 is the left one. Low frequencies
        pass with gain 1.

    Raises
    ------
    ValueError
        If the model is unknown or the radius is not in (0, 0.1].

    Example
    -------
    >>> left = torch.tensor([0.0, 1.0, 0.0])
    >>> responses = spherical_head_responses(left, 8000)
    >>> responses.shape, responses.sum(-1).round(decimals=2)
    (torch.Size([2, 37]), tensor([1., 1.], dtype=torch.float64))
    """
    if model not in MODELS:
        raise ValueError(f"no model {model!r} of a head; there are {MODELS}")
    if not 0 < radius <= RADIUS_RANGE[1]:
        raise ValueError(
            f"the radius of a head must be in (0, {RADIUS_RANGE[1]}] m, "
            f"got {radius}"
        )
    directions = torch.as_tensor(directions, dtype=torch.float64)
    sides = torch.tensor([ear_angle, -ear_angle], dtype=torch.float64)
    ears = azel_to_unit(sides, 0.0)
    base = _HALF_TAPS + math.ceil(RADIUS_RANGE[1] / SPEED_OF_SOUND * fs)
    latest = base + RADIUS_RANGE[1] / SPEED_OF_SOUND * fs * math.pi / 2
    length = max(math.ceil(200 * fs / 44100), math.ceil(latest) + _HALF_TAPS)
    if model == "rigid-sphere":
        return _rigid_sphere(directions, ears, fs, radius, base, length)
    incidence = angular_distance(directions[..., None, :], ears)
    delay = base + fs * _ear_delay(incidence, radius)
    pulse = _windowed_sinc(torch.arange(length) - delay[..., None])
    # The whole of the window is there: a constant passes with gain 1.
    pulse = pulse / pulse.sum(-1, keepdim=True)
    b0, b1, a1 = _head_shadow(incidence[..., None], fs, radius)
    pole = torch.from_numpy(lfilter([1.0], [1.0, a1], pulse.numpy(), axis=-1))
    earlier = torch.nn.functional.pad(pole, (1, 0))[..., :-1]
    return b0 * pole + b1 * earlier


def _windowed_sinc(time):
    """Sinc that ends, at times in samples from its centre."""
    reach = (1.0 - (time / (_HALF_TAPS + 0.5)).square()).clamp_min(0.0)
    window = torch.special.i0(_KAISER_BETA * reach.sqrt()) * (reach > 0)
    return torch.sinc(time) * window


def _rigid_sphere(directions, ears, fs, radius, base, length):
    """Responses by the exact series.

    They are convolved with the sinc of the other model and then sampled,
    hence computed at twice the rate, and nothing comes before that sinc.
    """
    nfft = 8 * length
    frequencies = torch.arange(nfft // 2 + 1, dtype=torch.float64)
    frequencies = frequencies * (2 * fs / nfft)
    count = int((frequencies < _SINC_END * fs / 2).sum())
    spectrum = rigid_sphere_response(
        directions[..., None, :],
        ears,
        frequencies[:count],
        radius=radius,
        order=needed_order(_SINC_END * fs / 2, radius),
    )
    time = torch.arange(nfft, dtype=torch.float64) / 2.0
    pulse = _windowed_sinc(time - base)
    pulse = torch.fft.rfft(pulse / pulse.sum())[:count]
    responses = torch.fft.irfft(spectrum * pulse, n=nfft)
    return 2.0 * responses[..., : 2 * length : 2]


def draw_head(subject, seed=0):
    """Radius, ears and gains of a head, by its name and a seed.

    Arguments
    ---------
    subject : str
        Name; the same name and seed always have the same head.
    seed : int
        Not negative.

    Returns
    -------
    dict
        ``radius`` (m; normal, 87.5 mm with a deviation of 4 mm, within 75 to
        100 mm), ``ear_angle`` (degrees from the front, uniform in 90 to 105)
        and ``gains_db`` of both ears (uniform within 0.5 dB).

    Example
    -------
    >>> sorted(draw_head("subject03"))
    ['ear_angle', 'gains_db', 'radius']
    >>> draw_head("subject03") == draw_head("subject03", seed=1)
    False
    """
    random = np.random.default_rng([seed, zlib.crc32(subject.encode())])
    radius = random.normal(RADIUS_MEAN, RADIUS_DEVIATION)
    return {
        "radius": float(np.clip(radius, *RADIUS_RANGE)),
        "ear_angle": float(random.uniform(*EAR_ANGLE_RANGE)),
        "gains_db": random.uniform(-EAR_GAIN_DB, EAR_GAIN_DB, 2).tolist(),
    }


def spherical_head_hrtfs(fs, subjects=45, seed=0, model="brown-duda"):
    """Spherical heads of different sizes on the grid of CIPIC.

    Heads carry the names of CIPIC's subjects, so that lists of subjects and
    directions made for CIPIC can be used with them.

    Arguments
    ---------
    fs : int
        Sampling rate, Hz.
    subjects : int or sequence of str
        Names, or how many: those of CIPIC's 45 in order, then ``sphere046``
        and so on.
    seed : int
        Of the heads, see ``draw_head``; a head does not depend on the
        others in the set.
    model : str
        ``"brown-duda"`` or ``"rigid-sphere"``, see the module, or
        ``"pinnae"``: the latter with outer ears of their own, see
        ``spatial_brain.simulation.hrtf.pinnae``.

    Returns
    -------
    HrtfSet
        float32; 37 samples at 8 kHz and 73 at 16 kHz, as of CIPIC in
        Binaural-WSJ0Mix; with outer ears longer. From the front, the energy
        of a response is 1, as the mean of both ears.

    Raises
    ------
    ValueError
        If there is no subject, or the model is unknown.

    Example
    -------
    >>> heads = spherical_head_hrtfs(8000, subjects=2)
    >>> heads.responses.shape, heads.subjects
    (torch.Size([2, 25, 50, 2, 37]), ['subject03', 'subject08'])
    """
    if isinstance(subjects, int):
        more = range(len(CIPIC_SUBJECTS) + 1, subjects + 1)
        names = [*CIPIC_SUBJECTS, *(f"sphere{number:03d}" for number in more)]
        subjects = names[: max(subjects, 0)]
    directions = interaural_to_unit(
        torch.tensor(CIPIC_LATERALS, dtype=torch.float64)[:, None],
        torch.tensor(CIPIC_POLARS, dtype=torch.float64),
    )
    if model not in HEADS:
        raise ValueError(f"no model {model!r} of heads; there are {HEADS}")
    sphere = "rigid-sphere" if model == "pinnae" else model
    front = CIPIC_LATERALS.index(0), CIPIC_POLARS.index(0.0)
    responses = []
    for subject in subjects:
        head = draw_head(subject, seed)
        gains = torch.tensor(head.pop("gains_db"), dtype=torch.float64)
        response = spherical_head_responses(
            directions, fs, model=sphere, **head
        ) * (10.0 ** (gains[:, None] / 20.0))
        if model == "pinnae":
            ears = draw_pinnae(subject, seed)
            response = with_pinnae(response, directions, fs, ears)
        energy = response[front].square().sum() / 2.0
        responses.append((response / energy.sqrt()).float())
    if not responses:
        raise ValueError("a set of heads needs at least one subject")
    padded = pad_sequence([r.movedim(-1, 0) for r in responses])
    return HrtfSet(padded.movedim(0, -1).contiguous(), fs, subjects)
