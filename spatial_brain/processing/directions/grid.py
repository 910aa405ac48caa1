"""Grids of the directions that an array can tell apart.

A line of microphones observes the angle to its axis only, a horizontal plane
the azimuth (its elevation is the same above and below, and flat near the
horizon), another plane one of the two half spaces, a volume everything.
"""

import math

import torch

from spatial_brain.geometry import azel_to_unit, unit_to_azel
from spatial_brain.geometry.observable import to_front

# Extent across, as a share of the extent along, up to which an array counts
# as flat.
_FLAT = 0.1
# Tilt of a plane or line, as the sine of its angle, that still is one.
_UPRIGHT = 0.9
# Neighbours of a point of a sphere that a paraboloid is fitted to.
_NEIGHBOURS = 8
RESOLUTION_CIRCLE = 1.0
RESOLUTION_SPHERE = 3.0
# Lobes of a large array are narrow: points are half a wave of this length
# apart at its ends, metres.
_WAVE = 0.1


class DirectionGrid:
    """Candidate directions with what is needed to refine between them.

    Use :meth:`for_array`, :meth:`circle`, :meth:`half_circle` or
    :meth:`sphere`.

    Arguments
    ---------
    directions : torch.Tensor
        Unit vectors, [direction, 3].
    resolution : float
        Distance of neighbours, degrees.
    num_neighbours : int
        Nearest points used to refine: 2 on curves.
    has_elevation : bool
        Whether the elevation is estimated, or only assumed.
    normal : torch.Tensor, optional
        Of a plane, [3], on whose other side directions have mirror images
        that are left out.

    Example
    -------
    >>> grid = DirectionGrid.circle(90.0)
    >>> grid.azimuth
    tensor([-180.,  -90.,    0.,   90.])
    >>> grid.has_elevation
    False
    """

    def __init__(
        self,
        directions,
        resolution,
        num_neighbours,
        has_elevation,
        normal=None,
    ):
        self.directions, self.normal = directions, normal
        self.resolution = resolution
        self.has_elevation = has_elevation
        self.azimuth, self.elevation = unit_to_azel(directions)
        self.neighbours = _nearest(directions, num_neighbours)
        self.tangents = _tangent_bases(
            directions, directions[self.neighbours], curve=num_neighbours == 2
        )
        self._fit = _quadratic_fits(
            directions, directions[self.neighbours], self.tangents
        )

    def __len__(self):
        return len(self.directions)

    @classmethod
    def for_array(cls, microphones, resolution=None):
        """The grid of what an array can tell apart.

        Arguments
        ---------
        microphones : torch.Tensor
            Positions, metres, [microphone, 3].
        resolution : float, optional
            Degrees; default: 1 on curves, 3 on spheres, down to half and a
            third of it for arrays larger than a metre.

        Returns
        -------
        DirectionGrid
            A half circle for a line, in the horizontal half plane that lies
            more to the front (of a line from back to front: to the left); a
            circle of azimuths for a horizontal plane; the front half of a
            sphere for another plane; else a sphere.

        Raises
        ------
        ValueError
            If the positions coincide or stand on a vertical line, which
            gives no azimuth.

        Example
        -------
        >>> from spatial_brain.geometry import linear_array, tetrahedral_array
        >>> len(DirectionGrid.for_array(linear_array(4, 0.1), 45.0))
        5
        >>> DirectionGrid.for_array(tetrahedral_array()).has_elevation
        True
        """
        microphones = torch.as_tensor(microphones, dtype=torch.float32)
        if microphones.ndim != 2 or microphones.shape[1] != 3:
            raise ValueError(
                "microphone positions must be [microphone, 3], got "
                f"{tuple(microphones.shape)}"
            )
        centred = (microphones - microphones.mean(0)).double()
        _, extent, axes = torch.linalg.svd(centred, full_matrices=True)
        extent = torch.cat((extent, extent.new_zeros(3)))[:3]
        if not extent[0] > 0:
            raise ValueError(
                "directions need microphones at two places at least, but all "
                f"{len(microphones)} positions are the same"
            )
        flat = extent < _FLAT * extent[0]
        aperture = float(torch.pdist(microphones).max())
        finest = math.degrees(0.5 * _WAVE / aperture)
        curve = resolution or min(RESOLUTION_CIRCLE, max(finest, 0.5))
        surface = resolution or min(RESOLUTION_SPHERE, max(finest, 1.0))
        if flat[1]:
            return cls.half_circle(axes[0], curve)
        if not flat[2]:
            return cls.sphere(surface)
        if abs(axes[2, 2]) > _UPRIGHT:
            return cls.circle(curve)
        return cls.sphere(surface, normal=axes[2])

    @classmethod
    def azimuths(cls, microphones):
        """Azimuths that an array can tell apart, at the height of the array.

        Arguments
        ---------
        microphones : torch.Tensor
            Positions, metres, [microphone, 3].

        Returns
        -------
        DirectionGrid
            A circle, or a half circle if the array is a line seen from above.

        Raises
        ------
        ValueError
            If the microphones stand on a vertical line.

        Example
        -------
        >>> from spatial_brain.geometry import tetrahedral_array
        >>> len(DirectionGrid.azimuths(tetrahedral_array()))
        360
        """
        above = torch.as_tensor(microphones, dtype=torch.float32).clone()
        above[:, 2] = 0.0
        return cls.for_array(above)

    @classmethod
    def circle(cls, resolution=RESOLUTION_CIRCLE):
        """Azimuths all around at elevation 0.

        Arguments
        ---------
        resolution : float
            Degrees; rounded so that it divides the circle.

        Returns
        -------
        DirectionGrid
        """
        number = max(4, round(360 / resolution))
        azimuth = torch.arange(number) * (360.0 / number) - 180.0
        return cls(azel_to_unit(azimuth, 0.0), 360 / number, 2, False)

    @classmethod
    def half_circle(cls, axis, resolution=RESOLUTION_CIRCLE):
        """The horizontal half plane along a line of microphones.

        Arguments
        ---------
        axis : torch.Tensor
            Direction of the line, [3], of any sign.
        resolution : float
            Degrees; rounded so that it divides the half circle.

        Returns
        -------
        DirectionGrid

        Raises
        ------
        ValueError
            If the axis is vertical.
        """
        axis = torch.as_tensor(axis, dtype=torch.float64)
        axis = axis / axis.norm()
        if abs(axis[2]) > _UPRIGHT:
            raise ValueError(
                "a vertical line of microphones gives no azimuth: put one of "
                "them beside the line"
            )
        side = torch.stack((-axis[1], axis[0], torch.zeros_like(axis[0])))
        side = to_front(side / side.norm())
        number = max(4, round(180 / resolution))
        angle = torch.linspace(0, math.pi, number + 1, dtype=torch.float64)
        points = angle.cos()[:, None] * axis + angle.sin()[:, None] * side
        return cls(points.float(), 180 / number, 2, False)

    @classmethod
    def sphere(cls, resolution=RESOLUTION_SPHERE, normal=None):
        """Evenly spread directions (a Fibonacci spiral).

        Arguments
        ---------
        resolution : float
            Typical distance of neighbours, degrees.
        normal : torch.Tensor, optional
            Normal of a plane of microphones, [3], of any sign: only the half
            of the sphere on its front side (or left, or upper) is kept.

        Returns
        -------
        DirectionGrid
        """
        number = math.ceil(4 * math.pi / math.radians(resolution) ** 2)
        index = torch.arange(number, dtype=torch.float64)
        height = 1 - (2 * index + 1) / number
        turn = index * (math.pi * (3 - math.sqrt(5)))
        radius = (1 - height**2).sqrt()
        points = torch.stack(
            (radius * turn.cos(), radius * turn.sin(), height), dim=-1
        )
        if normal is not None:
            normal = to_front(torch.as_tensor(normal, dtype=torch.float64))
            points = points[points @ normal > -1e-9]
        return cls(points.float(), resolution, _NEIGHBOURS, True, normal)

    def angles(self, vectors):
        """Azimuth and elevation of unit vectors that this grid gave.

        Arguments
        ---------
        vectors : torch.Tensor
            [..., 3]; may be NaN.

        Returns
        -------
        tuple of torch.Tensor
            Degrees, [...]; the elevation is NaN if it is only assumed.
        """
        azimuth, elevation = unit_to_azel(vectors)
        if not self.has_elevation:
            elevation = torch.full_like(elevation, math.nan)
        return azimuth, elevation

    def refine(self, index, values):
        """Directions of the vertices of paraboloids through grid points.

        Arguments
        ---------
        index : torch.Tensor
            Grid points, [...].
        values : torch.Tensor
            At each of them, then at its neighbours, [..., 1 + neighbour].

        Returns
        -------
        torch.Tensor
            Unit vectors, [..., 3], at most ``resolution`` away; the point
            itself where the values have no maximum there.
        """
        device = values.device
        fit, tangent, points = (
            table.to(device)[index]
            for table in (self._fit, self.tangents, self.directions)
        )
        terms = (fit @ values[..., None])[..., 0]
        shift = _vertex(terms, tangent.shape[-1])
        length = shift.norm(dim=-1, keepdim=True)
        limit = math.radians(self.resolution)
        shift = shift * (limit / length.clamp(min=limit))
        moved = points + (tangent @ shift[..., None])[..., 0]
        return moved / moved.norm(dim=-1, keepdim=True)


def _nearest(directions, number):
    """Nearest other points of each, [direction, number]."""
    points = directions.double()
    found = []
    for rows in torch.arange(len(points)).split(512):
        cosine = points[rows] @ points.T
        cosine[torch.arange(len(rows)), rows] = -2.0
        found.append(cosine.topk(number, dim=1).indices)
    return torch.cat(found)


def _tangent_bases(points, neighbours, curve):
    """Tangents at the points, [direction, 3, 1 or 2]."""
    if curve:
        first = neighbours[:, 0] - points
    else:
        # Any vector that is far from parallel.
        first = torch.zeros_like(points)
        first.scatter_(1, points.abs().argmin(1, keepdim=True), 1.0)
    first = first - (first * points).sum(-1, keepdim=True) * points
    first = first / first.norm(dim=-1, keepdim=True)
    if curve:
        return first[..., None]
    return torch.stack((first, torch.linalg.cross(points, first)), dim=-1)


def _quadratic_fits(points, neighbours, tangent):
    """Values at a point and its neighbours -> terms of a quadratic."""
    offsets = torch.cat((points[:, None], neighbours), dim=1) - points[:, None]
    place = (offsets @ tangent).double()
    x, y = place[..., 0], place[..., -1]
    terms = [torch.ones_like(x), x, x * x]
    if tangent.shape[-1] == 2:
        terms = [torch.ones_like(x), x, y, x * x, y * y, x * y]
    return torch.linalg.pinv(torch.stack(terms, dim=-1)).float()


def _vertex(terms, dimensions):
    """Maximum of quadratics, [..., dimension]; 0 where there is none."""
    if dimensions == 1:
        slope, bend = terms[..., 1:2], terms[..., 2:3]
        usable = bend < 0
        return torch.where(
            usable, -0.5 * slope / torch.where(usable, bend, -1.0), 0.0
        )
    _, gx, gy, xx, yy, xy = terms.unbind(-1)
    det = 4 * xx * yy - xy * xy
    usable = (xx < 0) & (det > 0)
    det = torch.where(usable, det, 1.0)
    shift = torch.stack((xy * gy - 2 * yy * gx, xy * gx - 2 * xx * gy), -1)
    return torch.where(usable[..., None], shift / det[..., None], 0.0)
