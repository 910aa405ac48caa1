"""Arrays of devices by name, in metres: x to the front, y to the left, z up.

Positions of ReSpeaker, Matrix, UMA-8 and PlayStation Eye arrays are those of
the configurations of ODAS (F. Grondin and F. Michaud, "Lightweight and
optimized sound source localization and tracking methods", Robotics and
Autonomous Systems 113, 2019), in its axes and its order of channels: azimuth 0
is its +x. What no source confirms says so in its ``source``.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import torch

from spatial_brain.geometry.directions import azel_to_unit
from spatial_brain.geometry.layouts import circular_array, tetrahedral_array

_ODAS = "ODAS configuration"
# Inclination from +z and azimuth of the capsules, degrees.
_EIGENMIKE = (
    (69, 0), (90, 32), (111, 0), (90, 328), (32, 0), (55, 45), (90, 69),
    (125, 45), (148, 0), (125, 315), (90, 291), (55, 315), (21, 91), (58, 90),
    (121, 90), (159, 89), (69, 180), (90, 212), (111, 180), (90, 148),
    (32, 180), (55, 225), (90, 249), (125, 225), (148, 180), (125, 135),
    (90, 111), (55, 135), (21, 269), (58, 270), (122, 270), (159, 271),
)  # fmt: skip


@dataclass(frozen=True)
class NamedArray:
    """What a name of an array stands for.

    Arguments
    ---------
    positions : callable
        Gives the positions, metres, [M, 3].
    front : str
        What azimuth 0 points at.
    source : str
        Where the geometry comes from.
    stream_channels : dict
        As in ``MicrophoneArray``.
    """

    positions: Callable
    front: str
    source: str
    stream_channels: dict = field(default_factory=dict)


def _flat(*rows):
    """Function that gives positions [M, 3] of x and y in a plane."""
    return lambda: torch.tensor([[x, y, 0.0] for x, y in rows])


def with_centre(circle):
    """A circle behind a microphone in its centre.

    Arguments
    ---------
    circle : torch.Tensor
        Positions, [M, 3].

    Returns
    -------
    torch.Tensor
        Positions, [M + 1, 3].

    Example
    -------
    >>> with_centre(circular_array(6, 0.05)).shape
    torch.Size([7, 3])
    """
    return torch.cat((circle.new_zeros(1, 3), circle))


def eigenmike_em32():
    """Capsules of the em32 sphere.

    Returns
    -------
    torch.Tensor
        Positions, [32, 3].

    Example
    -------
    >>> eigenmike_em32().shape
    torch.Size([32, 3])
    """
    inclination, azimuth = torch.tensor(_EIGENMIKE, dtype=torch.float64).T
    return 0.042 * azel_to_unit(azimuth, 90.0 - inclination)


def _uma16():
    """Four rows of four, 42 mm apart, in an upright plane facing the front."""
    left = (1, 3, 1, 3, 1, 3, 1, 3, -3, -1, -3, -1, -3, -1, -3, -1)
    up = (-3, -3, -1, -1, 1, 1, 3, 3, 3, 3, 1, 1, -1, -1, -3, -3)
    rows = [[0.0, y, z] for y, z in zip(left, up, strict=True)]
    return torch.tensor(rows) * 0.021


def _r3vival():
    """Six at 48 mm, two in front and behind and four around; and a centre."""
    side = 0.03394
    return torch.tensor(
        [[0.048, 0, 0], [-0.048, 0, 0]]
        + [[0, y * side, z * side] for z in (1, -1) for y in (-1, 1)]
        + [[0.0, 0, 0]]
    )


DEVICE_ARRAYS = {
    "respeaker_4mic": NamedArray(
        _flat((-0.0405, 0), (0, 0.0405), (0.0405, 0), (0, -0.0405)),
        "channel 2, +x of ODAS",
        f"{_ODAS} respeaker_4_mic_array (4-Mic Array for Raspberry Pi)",
    ),
    "respeaker_usb": NamedArray(
        _flat((-0.032, 0), (0, -0.032), (0.032, 0), (0, 0.032)),
        "channel 2 of the microphones, +x of ODAS",
        f"{_ODAS} respeaker_usb_4_mic_array (Mic Array v2.0, USB 4 mic); in "
        "the six channels of its firmware, channel 0 is processed and 5 the "
        "loudspeaker",
        {6: (1, 2, 3, 4)},
    ),
    "respeaker_6mic": NamedArray(
        _flat(
            (-0.0232, 0.0401), (-0.0463, 0), (-0.0232, -0.0401),
            (0.0232, -0.0401), (0.0463, 0), (0.0232, 0.0401),
        ),
        "channel 4, +x of ODAS",
        f"{_ODAS} respeaker_6_mic_array (6-Mic Circular Array Kit); channels "
        "6 and 7 of eight are the loudspeaker's",
        {8: (0, 1, 2, 3, 4, 5)},
    ),
    "respeaker_core_v2": NamedArray(
        lambda: circular_array(6, 0.0463),
        "channel 0 (assumed)",
        "not confirmed: six microphones on a circle are published; radius as "
        "the 6-Mic Circular Array, order assumed; check it with a clap",
        {8: (0, 1, 2, 3, 4, 5)},
    ),
    "respeaker_v1": NamedArray(
        _flat(
            (0, 0), (-0.016, 0.0277), (-0.032, 0), (-0.016, -0.0277),
            (0.016, -0.0277), (0.032, 0), (0.016, 0.0277),
        ),
        "channel 5, +x of ODAS",
        f"{_ODAS} respeaker (Mic Array v1.0, seven microphones)",
        {8: (0, 1, 2, 3, 4, 5, 6)},
    ),
    "uma8": NamedArray(
        _flat(
            (0, 0), (0, 0.043), (0.037, 0.021), (0.037, -0.021),
            (0, -0.043), (-0.037, -0.021), (-0.037, 0.021),
        ),
        "between channels 2 and 3, +x of ODAS",
        f"{_ODAS} minidsp (miniDSP UMA-8 with firmware of raw channels)",
        {8: (0, 1, 2, 3, 4, 5, 6)},
    ),
    "uma16": NamedArray(
        _uma16,
        "out of the side of the microphones, upright",
        "Acoular's minidsp_uma-16.xml, corrected after version 24.03 (miniDSP "
        "UMA-16); its z is our front, its y our up",
    ),
    "matrix_creator": NamedArray(
        _flat(
            (0.020091, -0.048504), (-0.020091, -0.048504),
            (-0.048504, -0.020091), (-0.048504, 0.020091),
            (-0.020091, 0.048504), (0.020091, 0.048504),
            (0.048504, 0.020091), (0.048504, -0.020091),
        ),
        "between channels 6 and 7, +x of ODAS",
        f"{_ODAS} matrix_creator",
    ),
    "matrix_voice": NamedArray(
        _flat(
            (0, 0), (-0.038133, 0.003576), (-0.020980, 0.032043),
            (0.011971, 0.036381), (0.035908, 0.013323),
            (0.032805, -0.019767), (0.004999, -0.037972),
            (-0.026571, -0.027584),
        ),
        "between channels 4 and 5, +x of ODAS",
        f"{_ODAS} matrix_voice",
    ),
    "kinect_v1": NamedArray(
        _flat((0.02, -0.113), (0.02, 0.036), (0.02, 0.076), (0.02, 0.113)),
        "where the camera looks",
        "measured by G. Salvi (2013) on model 1473, order by a tone at each "
        "microphone with libfreenect; not confirmed by the manufacturer",
    ),
    "azure_kinect": NamedArray(
        _flat(
            (0, 0), (0.04, 0), (0.02, -0.034641), (-0.02, -0.034641),
            (-0.04, 0), (-0.02, 0.034641), (0.02, 0.034641),
        ),
        "channel 1 (assumed)",
        "not confirmed: centre and circle of 4 cm, clockwise, as users of the "
        "device simulate it; check it with a clap",
    ),
    "playstation_eye": NamedArray(
        _flat((0, -0.03), (0, 0.01), (0, -0.01), (0, 0.03)),
        "where the camera looks",
        f"{_ODAS} pseye",
    ),
    "ambeo_vr": NamedArray(
        lambda: tetrahedral_array(0.01),
        "the front of the microphone",
        "micarraylib (Sennheiser Ambeo VR, A-format FLU, FRD, BLD, BRU): "
        "radius of 1 cm, not confirmed by the manufacturer; its cardioids "
        "hear more of their own side",
    ),
    "tetramic": NamedArray(
        lambda: tetrahedral_array(0.0147),
        "the front of the microphone",
        "BinauralSDM's geometry of Core Sound TetraMic (8.5 mm along each "
        "axis), A-format FLU, FRD, BLD, BRU",
    ),
    "eigenmike_em32": NamedArray(
        eigenmike_em32,
        "capsule 1",
        "mh acoustics, release notes: 32 capsules on a rigid sphere of 42 mm",
    ),
    "r3vival": NamedArray(
        _r3vival,
        "channel 0",
        "R3VIVAL (S. V. Amengual Gari), geometry FRL_10cm of BinauralSDM; "
        "channel 6 in the centre is another microphone, of a higher level",
    ),
    "ears": NamedArray(
        lambda: torch.tensor([[0.0, 0.1125, 0.0], [0.0, -0.1125, 0.0]]),
        "where the head looks; channel 0 is the left ear",
        "rigid sphere of 8.75 cm (R. S. Woodworth, 1938): the pair in free "
        "field with its largest delay, (1 + pi / 2) a / c; angles between 0 "
        "and 90 degrees err by up to 13",
    ),
}  # fmt: skip
