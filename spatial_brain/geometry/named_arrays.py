"""Arrays of corpora by name, in metres: x to the front, y to the left, z up.

Where a corpus looks along its own y axis with x to the right, positions are
turned into this frame here, and only here.

Sources: LOCATA (H. W. Loellmann et al., "The LOCATA Challenge Data Corpus",
SAM 2018), positions rounded to millimetres; em32 Eigenmike (mh acoustics,
release notes: inclination and azimuth of 32 capsules, radius 42 mm); ACE
(J. Eaton et al., IEEE/ACM TASLP 24, 2016); TAU-SRIR DB (zenodo 6408611);
MC-WSJ-AV (M. Lincoln et al., ASRU 2005); LibriCSS (Z. Chen et al., ICASSP
2020); AMI (I. McCowan et al., 2005: circles of 20 cm diameter, the order of
channels is not published); AISHELL-4, AliMeeting (their papers: diameters of
10 and 10.2 cm); RealMAN (B. Yang et al., NeurIPS 2024).
"""

import re

import torch

from spatial_brain.geometry.directions import azel_to_unit
from spatial_brain.geometry.layouts import (
    circular_array,
    linear_array,
    tetrahedral_array,
)

# Inclination from +z and azimuth of the capsules, degrees.
_EIGENMIKE = (
    (69, 0), (90, 32), (111, 0), (90, 328), (32, 0), (55, 45), (90, 69),
    (125, 45), (148, 0), (125, 315), (90, 291), (55, 315), (21, 91), (58, 90),
    (121, 90), (159, 89), (69, 180), (90, 212), (111, 180), (90, 148),
    (32, 180), (55, 225), (90, 249), (125, 225), (148, 180), (125, 135),
    (90, 111), (55, 135), (21, 269), (58, 270), (122, 270), (159, 271),
)  # fmt: skip
# Millimetres, x to the right, y to the front.
_BENCHMARK2 = (
    (-28, 30, -40), (6, 57, 0), (22, 22, -46), (-55, -24, -25), (-31, 23, 42),
    (-32, 11, 46), (-25, -3, 51), (-36, -27, 38), (-35, -43, 25),
    (29, -48, -12), (34, -30, 37), (35, 25, 39),
)  # fmt: skip
_DICIT = (
    (960, 0, 0), (640, 0, 0), (320, 0, 0), (160, 0, 0), (80, 0, 0),
    (40, 0, 0), (0, 0, 0), (960, 0, 320), (-40, 0, 0), (-80, 0, 0),
    (-160, 0, 0), (-320, 0, 0), (-640, 0, 0), (-960, 0, 0), (-960, 0, 320),
)  # fmt: skip
_HEARING_AIDS = ((-79, 0, 0), (-79, -9, 0), (79, 0, 0), (79, -9, 0))


def _from_right_front(millimetres):
    """Metres in our frame from x to the right and y to the front."""
    right, front, up = torch.tensor(millimetres, dtype=torch.float64).T / 1000
    return torch.stack((front, -right, up), dim=-1)


def _eigenmike():
    """Capsules of the em32 sphere."""
    inclination, azimuth = torch.tensor(_EIGENMIKE, dtype=torch.float64).T
    return 0.042 * azel_to_unit(azimuth, 90.0 - inclination)


def _with_centre(circle):
    """A circle behind a microphone in its centre."""
    return torch.cat((circle.new_zeros(1, 3), circle))


def _realman():
    """Centre, three circles, a line and a column."""
    more = torch.tensor([
        [-0.12, 0, 0], [0.12, 0, 0], [0.15, 0, 0], [0, 0, 0.09],
        [0, 0, 0.045], [0, 0, -0.045], [0, 0, -0.09],
    ])  # fmt: skip
    circles = [circular_array(8, radius) for radius in (0.03, 0.06, 0.09)]
    return torch.cat((_with_centre(torch.cat(circles)), more))


def _realman_prerelease():
    """Another order: circles first, the centre after them."""
    released = _realman()
    order = [*range(1, 25), 0, 26, 27, 25, *range(28, 32)]
    return released[order]


def _lin8ch():
    """Eight microphones from the origin on."""
    return linear_array(8, 0.06) + torch.tensor([0.21, 0.0, 0.0])


def _mobile():
    """Right-angled triangle."""
    return torch.tensor([[0.045, 0, 0], [0, 0, 0], [0, 0.0893029, 0]])


def _crucif():
    """Centre and four arms."""
    return _with_centre(circular_array(4, 0.25))


# Name to a function that gives the positions, and what azimuth 0 points at.
NAMED_ARRAYS = {
    "locata_dicit": (lambda: _from_right_front(_DICIT), "across the line"),
    "locata_benchmark2": (
        lambda: _from_right_front(_BENCHMARK2),
        "where the robot looks",
    ),
    "locata_eigenmike": (_eigenmike, "capsule 1"),
    "locata_dummy": (
        lambda: _from_right_front(_HEARING_AIDS),
        "where the dummy head looks",
    ),
    "ace_chromebook": (
        lambda: torch.tensor([[0.0, 0, 0], [0, 0.062, 0]]),
        "across the pair",
    ),
    "ace_mobile": (_mobile, "along its short side"),
    "ace_crucif": (_crucif, "microphone 2"),
    "ace_lin8ch": (_lin8ch, "along the line"),
    "ace_em32": (_eigenmike, "capsule 1"),
    "dcase_tetra": (tetrahedral_array, "the front of the data set"),
    "mc_wsj_av": (lambda: circular_array(8, 0.1), "microphone 1"),
    "libricss": (
        lambda: _with_centre(circular_array(6, 0.0425)),
        "microphone 2",
    ),
    "ami": (lambda: circular_array(8, 0.1), "microphone 1"),
    "aishell4": (lambda: circular_array(8, 0.05), "microphone 1"),
    "alimeeting": (lambda: circular_array(8, 0.051), "microphone 1"),
    "realman": (_realman, "microphone 2"),
    "realman_prerelease": (_realman_prerelease, "microphone 1"),
}


# Numbers as "0.1", with the number of microphones before an "x".
_FORMULA = re.compile(r"(pair|linear|circular):(?:(\d+)x)?(\d*\.?\d+)")
_FRONT = "across the line, channel 0 to the left"
# Most microphones of an array by formula.
_MOST = 1024


def formula(name):
    """Positions and front of an array by formula.

    Arguments
    ---------
    name : str
        ``pair:METRES``, ``linear:NxMETRES`` (neighbours so far apart) or
        ``circular:NxRADIUS``. Pairs and lines lie on the y axis with channel
        0 to the left; a circle begins at the front, counter-clockwise.

    Returns
    -------
    tuple or None
        Positions, metres, [M, 3]; and what azimuth 0 points at. None if the
        name begins with none of the three.

    Raises
    ------
    ValueError
        If it is no such formula.

    Example
    -------
    >>> positions, front = formula("linear:3x0.04")
    >>> [round(y, 3) for y in positions[:, 1].tolist()], front
    ([0.04, 0.0, -0.04], 'across the line, channel 0 to the left')
    >>> formula("circular:0.04")
    Traceback (most recent call last):
    ValueError: array 'circular:0.04': write pair:METRES, linear:NxMETRES or ...
    """
    kind, colon, _ = str(name).partition(":")
    if not colon or kind not in ("pair", "linear", "circular"):
        return None
    found = _FORMULA.fullmatch(name)
    number = int(found[2] or 2) if found else 0
    size = float(found[3]) if found else 0.0
    fits = found and (kind == "pair") == (found[2] is None)
    if not fits or not 2 <= number <= _MOST or not size > 0:
        raise ValueError(
            f"array {name!r}: write pair:METRES, linear:NxMETRES or "
            f"circular:NxRADIUS with 2 to {_MOST} microphones, such as "
            "pair:0.1, linear:4x0.05 or circular:6x0.0463"
        )
    if kind == "circular":
        return circular_array(number, size), "channel 0"
    # From -x to +x becomes from left to right.
    return linear_array(number, size).flip(0)[:, [1, 0, 2]], _FRONT


def array_names():
    """Names that ``MicrophoneArray.named`` knows.

    Returns
    -------
    list of str

    Example
    -------
    >>> "realman" in array_names()
    True
    """
    return list(NAMED_ARRAYS)
