"""Orders and gains in which files hold first-order Ambisonics."""

import math

# The one that everything here computes with: W, Y, Z, X; a plane wave from the
# unit vector (x, y, z) has the gains (1, y, z, x).
ACN_SN3D = "acn-sn3d"
_LETTERS = "WYZX"
_N3D = 1 / math.sqrt(3)
# Letters of the channels, and the gains of W, Y, Z, X that make SN3D of them.
# FuMa: Furse-Malham, the B-format of old, whose W is 3 dB lower.
CHANNEL_ORDERS = {
    ACN_SN3D: (_LETTERS, (1.0, 1.0, 1.0, 1.0)),
    "acn-n3d": (_LETTERS, (1.0, _N3D, _N3D, _N3D)),
    "fuma": ("WXYZ", (math.sqrt(2), 1.0, 1.0, 1.0)),
}


def find_channel_order(name):
    """Where a file holds W, Y, Z and X, and their gains.

    Arguments
    ---------
    name : str
        A key of ``CHANNEL_ORDERS``, or the letters of the file's channels,
        such as ``"WXYZ"``, with gains of SN3D; upper or lower case.

    Returns
    -------
    tuple of list
        The file's channel of each of W, Y, Z and X, from 0; and the gain of
        each, after which they are SN3D.

    Raises
    ------
    ValueError
        If there is no such order.

    Example
    -------
    >>> channels, gains = find_channel_order("FuMa")
    >>> channels, round(gains[0], 3)
    ([0, 2, 3, 1], 1.414)
    """
    letters, gains = CHANNEL_ORDERS.get(
        str(name).lower(), (str(name).upper(), (1.0,) * 4)
    )
    if sorted(letters) != sorted(_LETTERS):
        raise ValueError(
            f"there is no channel order {name!r} of Ambisonics; known: "
            f"{', '.join(CHANNEL_ORDERS)}, or the letters of the channels "
            "(gains of SN3D) such as WXYZ"
        )
    return [letters.index(letter) for letter in _LETTERS], list(gains)


def to_acn_sn3d(waveform, channel_order):
    """Convert Ambisonics of a file into W, Y, Z, X (ACN) with SN3D gains.

    Arguments
    ---------
    waveform : torch.Tensor
        [..., 4], channels as the file has them.
    channel_order : str
        As :func:`find_channel_order` takes it.

    Returns
    -------
    torch.Tensor
        Same shape.

    Raises
    ------
    ValueError
        If there is no such order.

    Example
    -------
    >>> import torch
    >>> left = torch.tensor([0.5 ** 0.5, 0.0, 1.0, 0.0])
    >>> to_acn_sn3d(left, "fuma").round()
    tensor([1., 1., 0., 0.])
    """
    channels, gains = find_channel_order(channel_order)
    return waveform[..., channels] * waveform.new_tensor(gains)
