"""Directions, coordinates, microphone arrays and trajectories.

Right-handed frame: x to the front, y to the left, z up. Azimuth runs
counter-clockwise from +x, in degrees in [-180, 180); elevation runs up from
the horizontal plane, in [-90, 90]. Positions are in metres.
"""

from spatial_brain.geometry.ambisonics import (
    CHANNEL_ORDERS,
    find_channel_order,
    to_acn_sn3d,
)
from spatial_brain.geometry.directions import (
    angular_distance,
    azel_to_unit,
    cone_angle,
    rotation_matrix,
    unit_to_azel,
    wrap_azimuth,
)
from spatial_brain.geometry.layouts import (
    circular_array,
    linear_array,
    tetrahedral_array,
)
from spatial_brain.geometry.microphone_array import MicrophoneArray
from spatial_brain.geometry.named_arrays import array_names
from spatial_brain.geometry.observable import observable_azimuths
from spatial_brain.geometry.trajectories import arc_trajectory, path_trajectory

SPEED_OF_SOUND = 343.0

__all__ = [
    "CHANNEL_ORDERS",
    "SPEED_OF_SOUND",
    "MicrophoneArray",
    "angular_distance",
    "arc_trajectory",
    "array_names",
    "azel_to_unit",
    "circular_array",
    "cone_angle",
    "find_channel_order",
    "linear_array",
    "observable_azimuths",
    "path_trajectory",
    "rotation_matrix",
    "tetrahedral_array",
    "to_acn_sn3d",
    "unit_to_azel",
    "wrap_azimuth",
]
