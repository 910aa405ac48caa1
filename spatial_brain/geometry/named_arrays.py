"""Arrays by name and by formula, in metres: x front, y left, z up.

Where a corpus looks along its own y axis with x to the right, positions are
turned into this frame here, and only here.

The source of each stands with it; positions of LOCATA ("The LOCATA Challenge
Data Corpus") are rounded to millimetres.
"""

import re

import torch

from spatial_brain.geometry.device_arrays import (
    DEVICE_ARRAYS,
    NamedArray,
    eigenmike_em32,
    with_centre,
)
from spatial_brain.geometry.layouts import (
    circular_array,
    linear_array,
    tetrahedral_array,
)

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


def _realman():
    """Centre, three circles, a line and a column."""
    more = torch.tensor([
        [-0.12, 0, 0], [0.12, 0, 0], [0.15, 0, 0], [0, 0, 0.09],
        [0, 0, 0.045], [0, 0, -0.045], [0, 0, -0.09],
    ])  # fmt: skip
    circles = [circular_array(8, radius) for radius in (0.03, 0.06, 0.09)]
    return torch.cat((with_centre(torch.cat(circles)), more))


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
    return with_centre(circular_array(4, 0.25))


_LOCATA = "LOCATA (H. W. Loellmann et al., SAM 2018)"
_ACE = "ACE (J. Eaton et al., IEEE/ACM TASLP 24, 2016)"
_ORDER = "the order of channels is not published"
_REALMAN = "RealMAN (B. Yang et al., NeurIPS 2024)"

_CORPUS_ARRAYS = {
    "locata_dicit": NamedArray(
        lambda: _from_right_front(_DICIT), "across the line", _LOCATA
    ),
    "locata_benchmark2": NamedArray(
        lambda: _from_right_front(_BENCHMARK2),
        "where the robot looks",
        _LOCATA,
    ),
    "locata_eigenmike": NamedArray(eigenmike_em32, "capsule 1", _LOCATA),
    "locata_dummy": NamedArray(
        lambda: _from_right_front(_HEARING_AIDS),
        "where the dummy head looks",
        _LOCATA,
    ),
    "ace_chromebook": NamedArray(
        lambda: torch.tensor([[0.0, 0, 0], [0, 0.062, 0]]),
        "across the pair",
        _ACE,
    ),
    "ace_mobile": NamedArray(_mobile, "along its short side", _ACE),
    "ace_crucif": NamedArray(_crucif, "microphone 2", _ACE),
    "ace_lin8ch": NamedArray(_lin8ch, "along the line", _ACE),
    "ace_em32": NamedArray(eigenmike_em32, "capsule 1", _ACE),
    "dcase_tetra": NamedArray(
        tetrahedral_array,
        "the front of the data set",
        "DCASE SELD, TAU-SRIR DB (zenodo 6408611): four of the em32's capsules",
    ),
    "mc_wsj_av": NamedArray(
        lambda: circular_array(8, 0.1),
        "microphone 1",
        "MC-WSJ-AV (M. Lincoln et al., ASRU 2005)",
    ),
    "libricss": NamedArray(
        lambda: with_centre(circular_array(6, 0.0425)),
        "microphone 2",
        "LibriCSS (Z. Chen et al., ICASSP 2020)",
    ),
    "ami": NamedArray(
        lambda: circular_array(8, 0.1),
        "microphone 1",
        f"AMI (I. McCowan et al., 2005), diameter of 20 cm; {_ORDER}",
    ),
    "aishell4": NamedArray(
        lambda: circular_array(8, 0.05),
        "microphone 1",
        f"AISHELL-4 (its paper), diameter of 10 cm; {_ORDER}",
    ),
    "alimeeting": NamedArray(
        lambda: circular_array(8, 0.051),
        "microphone 1",
        f"AliMeeting (its paper), diameter of 10.2 cm; {_ORDER}",
    ),
    "realman": NamedArray(_realman, "microphone 2", _REALMAN),
    "realman_prerelease": NamedArray(
        _realman_prerelease, "microphone 1", f"{_REALMAN}, earlier order"
    ),
}
NAMED_ARRAYS = {**_CORPUS_ARRAYS, **DEVICE_ARRAYS}

# Of each formula whether a number of microphones stands before an "x".
_FORMULAS = {
    "pair": False, "linear": True, "circular": True, "tetrahedral": False
}  # fmt: skip
_FORMULA = re.compile(r"(?:(\d+)x)?(\d*\.?\d+)")
_FRONT = "across the line, channel 0 to the left"
# Most microphones of an array by formula.
_MOST = 1024


def formula(name):
    """What ``MicrophoneArray`` needs for an array by formula.

    Arguments
    ---------
    name : str
        ``pair:METRES``, ``linear:NxMETRES`` (neighbours so far apart),
        ``circular:NxRADIUS`` or ``tetrahedral:RADIUS``. Pairs and lines lie
        on the y axis with channel 0 to the left; a circle begins at the
        front, counter-clockwise; a tetrahedron is front left up, front right
        down, back left down, back right up.

    Returns
    -------
    tuple or None
        Positions, metres, [M, 3]; the name; what azimuth 0 points at; and
        the source. None if the name begins with none of the four.

    Raises
    ------
    ValueError
        If it is no such formula.

    Example
    -------
    >>> positions, _, front, _ = formula("linear:3x0.04")
    >>> [round(y, 3) for y in positions[:, 1].tolist()], front
    ([0.04, 0.0, -0.04], 'across the line, channel 0 to the left')
    >>> formula("circular:0.04")
    Traceback (most recent call last):
    ValueError: array 'circular:0.04': write pair:METRES, linear:NxMETRES, ...
    """
    kind, colon, text = str(name).partition(":")
    if not colon or kind not in _FORMULAS:
        return None
    found = _FORMULA.fullmatch(text)
    number = int(found[1] or 2) if found else 0
    size = float(found[2]) if found else 0.0
    fits = found and _FORMULAS[kind] == (found[1] is not None)
    if not fits or not 2 <= number <= _MOST or not size > 0:
        raise ValueError(
            f"array {name!r}: write pair:METRES, linear:NxMETRES, "
            f"circular:NxRADIUS or tetrahedral:RADIUS with 2 to {_MOST} "
            "microphones, such as pair:0.1, linear:4x0.05, circular:6x0.0463 "
            "or tetrahedral:0.0147"
        )
    if kind == "circular":
        positions, front = circular_array(number, size), "channel 0"
    elif kind == "tetrahedral":
        positions, front = tetrahedral_array(size), "the front"
    else:
        # From -x to +x becomes from left to right.
        positions = linear_array(number, size).flip(0)[:, [1, 0, 2]]
        front = _FRONT
    return positions, name, front, "by formula"


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
