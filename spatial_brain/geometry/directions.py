"""Directions, coordinates and rotations.

Right-handed frame: x to the front, y to the left, z up. Azimuth runs
counter-clockwise from +x, in degrees in [-180, 180); elevation runs up from
the horizontal plane, in [-90, 90]. Positions are in metres. Everything is a
pure function of tensors and keeps their device; integers and lists become
float32.
"""

import torch


def _float(value):
    """Return ``value`` as a floating tensor, keeping floating dtypes."""
    value = torch.as_tensor(value)
    if not value.is_floating_point():
        value = value.to(torch.get_default_dtype())
    return value


def wrap_azimuth(azimuth):
    """Wrap angles into [-180, 180).

    Arguments
    ---------
    azimuth : torch.Tensor or float
        Angles in degrees, any shape.

    Returns
    -------
    torch.Tensor
        Same shape, in [-180, 180).

    Example
    -------
    >>> wrap_azimuth([180.0, 190.0, -181.0])
    tensor([-180., -170.,  179.])
    """
    wrapped = torch.remainder(_float(azimuth) + 180.0, 360.0) - 180.0
    # A tiny negative angle rounds up to +180 in floating point.
    return torch.where(wrapped >= 180.0, wrapped - 360.0, wrapped)


def azel_to_unit(azimuth, elevation):
    """Unit vectors of directions given as azimuth and elevation.

    Arguments
    ---------
    azimuth : torch.Tensor or float
        Degrees, counter-clockwise from +x, any shape.
    elevation : torch.Tensor or float
        Degrees, up from the horizontal plane, broadcastable to ``azimuth``.

    Returns
    -------
    torch.Tensor
        Unit vectors, shape [..., 3].

    Example
    -------
    >>> azel_to_unit(90.0, 0.0).round(decimals=3).abs()
    tensor([0., 1., 0.])
    """
    azimuth, elevation = torch.broadcast_tensors(
        torch.deg2rad(_float(azimuth)), torch.deg2rad(_float(elevation))
    )
    horizontal = torch.cos(elevation)
    return torch.stack(
        (
            horizontal * torch.cos(azimuth),
            horizontal * torch.sin(azimuth),
            torch.sin(elevation),
        ),
        dim=-1,
    )


def unit_to_azel(vector):
    """Azimuth and elevation of vectors (of any length but zero).

    Arguments
    ---------
    vector : torch.Tensor
        Shape [..., 3].

    Returns
    -------
    tuple of torch.Tensor
        Azimuth in [-180, 180) and elevation in [-90, 90], degrees,
        shape [...]. At the poles the azimuth is that of ``atan2``.

    Raises
    ------
    ValueError
        If the last axis does not hold three coordinates.

    Example
    -------
    >>> azimuth, elevation = unit_to_azel(torch.tensor([0.0, -2.0, 0.0]))
    >>> azimuth.item(), elevation.item()
    (-90.0, 0.0)
    """
    vector = as_vectors(vector)
    azimuth = torch.rad2deg(torch.atan2(vector[..., 1], vector[..., 0]))
    elevation = torch.rad2deg(
        torch.atan2(vector[..., 2], torch.hypot(vector[..., 0], vector[..., 1]))
    )
    return wrap_azimuth(azimuth), elevation


def as_vectors(value):
    """Floating tensor [..., 3] of coordinates; ValueError for other shapes."""
    value = _float(value)
    if value.ndim == 0 or value.shape[-1] != 3:
        raise ValueError(
            f"expected coordinates of shape [..., 3], got {tuple(value.shape)}"
        )
    return value


def angular_distance(a, b):
    """Angle between directions, accurate for tiny and for opposite ones.

    Uses atan2(|a x b|, a . b), which unlike acos(a . b) keeps its accuracy
    near 0 and 180 degrees.

    Arguments
    ---------
    a : torch.Tensor
        Vectors, shape [..., 3]; their length does not matter.
    b : torch.Tensor
        Vectors, shape broadcastable to ``a``.

    Returns
    -------
    torch.Tensor
        Degrees in [0, 180], shape [...].

    Example
    -------
    >>> angular_distance([1.0, 0.0, 0.0], [0.0, 3.0, 0.0])
    tensor(90.)
    """
    a, b = torch.broadcast_tensors(as_vectors(a), as_vectors(b))
    cross = torch.linalg.vector_norm(torch.linalg.cross(a, b), dim=-1)
    return torch.rad2deg(torch.atan2(cross, (a * b).sum(-1)))


def cone_angle(direction, axis=(1.0, 0.0, 0.0)):
    """Angle between directions and the axis of a linear array.

    It is what a linear array can observe: all directions on a cone around
    the axis give the same time differences.

    Arguments
    ---------
    direction : torch.Tensor
        From the array to the source, shape [..., 3].
    axis : torch.Tensor or sequence
        Direction of the array axis, shape [3] or broadcastable.

    Returns
    -------
    torch.Tensor
        Degrees in [0, 180], shape [...]; 0 is along ``axis``.

    Example
    -------
    >>> cone_angle([[2.0, 0.0, 0.0], [0.0, 1.0, 1.0]])
    tensor([ 0., 90.])
    """
    direction = as_vectors(direction)
    axis = torch.as_tensor(axis, dtype=direction.dtype, device=direction.device)
    return angular_distance(direction, axis)


def rotation_matrix(yaw=0.0, pitch=0.0, roll=0.0):
    """Rotation matrix for intrinsic yaw (z), pitch (y), roll (x).

    Positive yaw turns to the left (counter-clockwise seen from above),
    positive pitch tips the front up, positive roll lowers the right side.

    Arguments
    ---------
    yaw : torch.Tensor or float
        Degrees, any shape.
    pitch : torch.Tensor or float
        Degrees, broadcastable.
    roll : torch.Tensor or float
        Degrees, broadcastable.

    Returns
    -------
    torch.Tensor
        Shape [..., 3, 3]; ``matrix @ vector`` turns a vector.

    Example
    -------
    >>> (rotation_matrix(yaw=90.0) @ torch.tensor([1.0, 0, 0])).round().abs()
    tensor([0., 1., 0.])
    """
    yaw, pitch, roll = torch.broadcast_tensors(
        *(torch.deg2rad(_float(angle)) for angle in (yaw, pitch, roll))
    )
    zero, one = torch.zeros_like(yaw), torch.ones_like(yaw)

    def matrix(*entries):
        return torch.stack(entries, dim=-1).unflatten(-1, (3, 3))

    cos, sin = torch.cos(yaw), torch.sin(yaw)
    turn = matrix(cos, -sin, zero, sin, cos, zero, zero, zero, one)
    cos, sin = torch.cos(pitch), torch.sin(pitch)
    tip = matrix(cos, zero, -sin, zero, one, zero, sin, zero, cos)
    cos, sin = torch.cos(roll), torch.sin(roll)
    bank = matrix(one, zero, zero, zero, cos, -sin, zero, sin, cos)
    return turn @ tip @ bank


def check_positive(**values):
    """Raise ValueError for the first named value that is not above zero."""
    for name, value in values.items():
        if not value > 0:
            raise ValueError(f"{name} must be positive, got {value}")
