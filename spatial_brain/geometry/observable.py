"""What an array of microphones cannot tell apart."""

import torch

from spatial_brain.geometry.directions import (
    as_vectors,
    azel_to_unit,
    unit_to_azel,
    wrap_azimuth,
)

# Tilt of a plane or line, as the sine of its angle, that still lies flat or
# stands.
_UPRIGHT = 0.9
# Off the line or the plane by less than this part of the aperture: on it.
_FLAT = 0.02


def observable_azimuths(azimuth, elevation, positions):
    """Azimuths at the height of an array that a source may appear at.

    A line of microphones observes the angle from its axis: two azimuths have
    the same one, and those of a source above or below are nearer to broadside
    than its own. A plane observes a direction and its mirror image, which is
    at another azimuth unless the plane lies flat.

    Arguments
    ---------
    azimuth, elevation : torch.Tensor
        Degrees, [batch, ...]; NaN stays NaN.
    positions : torch.Tensor
        Microphones of each item of the batch, metres, [batch, M, 3].

    Returns
    -------
    torch.Tensor
        Degrees, [batch, ..., 2]; twice the same where the array is sure.

    Raises
    ------
    ValueError
        If the batches differ.

    Example
    -------
    >>> line = torch.tensor([[[0.0, 0.1, 0.0], [0.0, -0.1, 0.0]]])
    >>> observable_azimuths(torch.tensor([30.0]), torch.zeros(1), line).round()
    tensor([[ 30., 150.]])
    """
    positions = as_vectors(positions)
    if positions.ndim != 3 or len(azimuth) != len(positions):
        raise ValueError(
            f"expected azimuths [batch, ...] and positions [batch, M, 3], got "
            f"{tuple(azimuth.shape)} and {tuple(positions.shape)}"
        )
    centred = (positions - positions.mean(1, keepdim=True)).double()
    _, spread, axes = torch.linalg.svd(centred, full_matrices=True)
    spread = torch.nn.functional.pad(spread, (0, 3 - spread.shape[-1]))
    flat = spread <= _FLAT * spread[:, :1]
    shape = (-1,) + (1,) * (azimuth.ndim - 1)
    units = azel_to_unit(azimuth, elevation).double()
    normal = axes[:, 2].reshape(*shape, 3)
    across = (units * normal).sum(-1, keepdim=True) * normal
    mirrored = unit_to_azel(units - 2 * across)[0].to(azimuth)
    both = torch.stack((azimuth, mirrored), dim=-1)
    line = _cone_azimuths(units, axes[:, 0].reshape(*shape, 3)).to(azimuth)
    is_line = flat[:, 1].reshape(*shape, 1)
    is_plane = flat[:, 2].reshape(*shape, 1)
    sure = azimuth[..., None].expand_as(both)
    return torch.where(is_line, line, torch.where(is_plane, both, sure))


def _cone_azimuths(units, axis):
    """Horizontal directions at the same angle from an axis, nearest first."""
    along = (units * axis).sum(-1)
    level = torch.linalg.vector_norm(axis[..., :2], dim=-1).clamp_min(1e-6)
    turn = torch.rad2deg((along / level).clamp(-1, 1).acos())
    front = torch.rad2deg(torch.atan2(axis[..., 1], axis[..., 0]))
    own = torch.rad2deg(torch.atan2(units[..., 1], units[..., 0]))
    left = wrap_azimuth(own - front) >= 0
    first = torch.where(left, front + turn, front - turn)
    second = torch.where(left, front - turn, front + turn)
    return wrap_azimuth(torch.stack((first, second), dim=-1))


def front_azimuths(azimuth, elevation, positions):
    """Azimuths as results have them: on the front side of what is mirrored.

    Arguments
    ---------
    azimuth, elevation : torch.Tensor
        Degrees, [...]; NaN stays NaN.
    positions : torch.Tensor
        Microphones, metres, [M, 3].

    Returns
    -------
    torch.Tensor
        Degrees, [...]; see :func:`observable_azimuths`.

    Raises
    ------
    ValueError
        If the microphones stand on a vertical line.

    Example
    -------
    >>> line = torch.tensor([[0.0, 0.1, 0.0], [0.0, -0.1, 0.0]])
    >>> azimuth = torch.tensor([130.0, 20.0])
    >>> front_azimuths(azimuth, torch.zeros(2), line).round()
    tensor([50., 20.])
    """
    ways = observable_azimuths(azimuth[None], elevation[None], positions[None])
    normal = mirror_normal(positions)
    if normal is None:
        return ways[0, ..., 0]
    units = azel_to_unit(ways[0], torch.zeros(())).double()
    front = (units @ normal).argmax(-1, keepdim=True)
    return ways[0].gather(-1, front)[..., 0]


def mirror_normal(positions):
    """Normal of the plane at which an array mirrors azimuths.

    Arguments
    ---------
    positions : torch.Tensor
        Microphones, metres, [M, 3].

    Returns
    -------
    torch.Tensor or None
        Unit vector, float64 [3], to the front (left, top): of a line the
        horizontal one across it, of an upright plane its normal; None if
        azimuths have no mirror image.

    Raises
    ------
    ValueError
        If the microphones stand on a vertical line, which gives no azimuth.

    Example
    -------
    >>> mirror_normal(torch.tensor([[0.0, 0.1, 0.0], [0.0, -0.1, 0.0]])).abs()
    tensor([1., 0., 0.], dtype=torch.float64)
    >>> mirror_normal(torch.eye(3) - torch.tensor([0.0, 0.0, 1.0])) is None
    False
    """
    centred = as_vectors(positions).double()
    centred = centred - centred.mean(0)
    _, spread, axes = torch.linalg.svd(centred, full_matrices=True)
    spread = torch.cat((spread, spread.new_zeros(3)))[:3]
    flat = spread <= _FLAT * spread[0]
    if flat[1]:
        if abs(axes[0, 2]) > _UPRIGHT:
            raise ValueError(
                "a vertical line of microphones gives no azimuth: put one of "
                "them beside the line"
            )
        across = torch.stack((-axes[0, 1], axes[0, 0], 0 * axes[0, 0]))
        return to_front(across / across.norm())
    if flat[2] and abs(axes[2, 2]) <= _UPRIGHT:
        return to_front(axes[2])
    return None


def to_front(vector):
    """The vector or its opposite: the one to the front, left or top.

    Arguments
    ---------
    vector : torch.Tensor
        [3].

    Returns
    -------
    torch.Tensor
        [3].

    Example
    -------
    >>> to_front(torch.tensor([0.0, -1.0, 0.5]))
    tensor([-0.0000,  1.0000, -0.5000])
    """
    for axis in range(3):
        if abs(vector[axis]) > 1e-6:
            return vector if vector[axis] > 0 else -vector
    return vector
