"""What it costs to take one microphone array for another."""

import math

import torch


def array_mismatch(assumed, actual):
    """How wrong directions typically are if another array is assumed.

    The time differences of the two arrays differ by so much, root mean square
    over all directions, as those of the assumed array do between directions so
    many degrees apart. For two microphones, whose direction is
    a cone angle, about half of the directions are estimated more wrongly; at
    the ends of their axis errors are several times larger. Where an array as
    a whole lies does not matter; of lines only the distances along them do,
    from the first microphone to the last.

    Arguments
    ---------
    assumed, actual : MicrophoneArray
        With as many microphones.

    Returns
    -------
    float
        Degrees.

    Raises
    ------
    ValueError
        If they have other numbers of microphones.

    Example
    -------
    >>> from spatial_brain.geometry import MicrophoneArray
    >>> pair = MicrophoneArray.named("pair:0.1")
    >>> round(array_mismatch(pair, MicrophoneArray.named("pair:0.098")), 2)
    1.15
    """
    if len(assumed) != len(actual):
        raise ValueError(
            f"array {actual.name} has {len(actual)} microphones, array "
            f"{assumed.name} has {len(assumed)}"
        )
    lines = assumed.dimensions == actual.dimensions == 1
    first, second = (
        _along(array) if lines else _centred(array)
        for array in (assumed, actual)
    )
    # Means over the sphere of squared projections: a third of the squares.
    ratio = torch.linalg.norm(second - first) / torch.linalg.norm(first)
    return math.degrees(ratio)


def _centred(array):
    """Positions about their mean, metres, float64 [M, 3]."""
    return (array.positions - array.centre).double()


def _along(array):
    """Positions along the line from first to last, on x, [M, 3]."""
    positions = _centred(array)
    axis = torch.nn.functional.normalize(positions[-1] - positions[0], dim=0)
    along = torch.zeros_like(positions)
    along[:, 0] = positions @ axis
    return along
