"""Microphone positions of regular layouts: line, circle, tetrahedron."""

import torch

from spatial_brain.geometry.directions import azel_to_unit, check_positive


def linear_array(num_microphones, spacing):
    """Microphones on the x axis, centred at the origin.

    Arguments
    ---------
    num_microphones : int
        At least 1.
    spacing : float
        Distance between neighbours, metres.

    Returns
    -------
    torch.Tensor
        Positions, shape [num_microphones, 3], from -x to +x.

    Example
    -------
    >>> linear_array(2, 0.1)
    tensor([[-0.0500,  0.0000,  0.0000],
            [ 0.0500,  0.0000,  0.0000]])
    """
    check_positive(num_microphones=num_microphones, spacing=spacing)
    positions = torch.zeros(num_microphones, 3)
    index = torch.arange(num_microphones, dtype=torch.float32)
    positions[:, 0] = (index - (num_microphones - 1) / 2) * spacing
    return positions


def circular_array(num_microphones, radius):
    """Microphones on a horizontal circle, the first one at the front.

    Arguments
    ---------
    num_microphones : int
        At least 1.
    radius : float
        Metres.

    Returns
    -------
    torch.Tensor
        Positions, shape [num_microphones, 3], counter-clockwise.

    Example
    -------
    >>> circular_array(4, 0.05).shape
    torch.Size([4, 3])
    """
    check_positive(num_microphones=num_microphones, radius=radius)
    azimuth = torch.arange(num_microphones) * (360.0 / num_microphones)
    return radius * azel_to_unit(azimuth, torch.zeros(num_microphones))


def tetrahedral_array(radius=0.042):
    """Capsules of the DCASE tetrahedral MIC format.

    The subset of a 32-capsule sphere at (azimuth, elevation) = (45, 35),
    (-45, -35), (135, -35), (-135, 35) degrees (DCASE SELD data sets).

    Arguments
    ---------
    radius : float
        Metres; 0.042 is the sphere of the data sets.

    Returns
    -------
    torch.Tensor
        Positions, shape [4, 3].

    Example
    -------
    >>> tetrahedral_array().norm(dim=-1)
    tensor([0.0420, 0.0420, 0.0420, 0.0420])
    """
    check_positive(radius=radius)
    azimuth = torch.tensor([45.0, -45.0, 135.0, -135.0])
    elevation = torch.tensor([35.0, -35.0, -35.0, 35.0])
    return radius * azel_to_unit(azimuth, elevation)
