"""The other side of a plane of microphones, where sources may be as well."""

import numpy as np
import torch

from spatial_brain.geometry import azel_to_unit, unit_to_azel
from spatial_brain.inference.array_checks.finding import Finding


def mirror_findings(azimuth, elevation, normal):
    """Name the mirror images of the sources of an upright or tilted plane.

    Arguments
    ---------
    azimuth, elevation : numpy.ndarray
        Degrees, [window, source]; NaN where a source is not there.
    normal : torch.Tensor, optional
        Of the plane, [3]; None if the array is none.

    Returns
    -------
    list of Finding
        One note if there are sources and a plane, else nothing.

    Example
    -------
    >>> front = torch.tensor([1.0, 0.0, 0.0])
    >>> angles = np.array([[30.0], [30.0]])
    >>> mirror_findings(angles, angles * 0, front)[0].message
    'a plane cannot tell its two sides apart: source 1 may be at 150, 0 degrees'
    """
    if normal is None or not azimuth.shape[1]:
        return []
    angles = [torch.from_numpy(np.nan_to_num(x)) for x in (azimuth, elevation)]
    there = torch.from_numpy(~np.isnan(azimuth))[..., None]
    # The length of the sum does not matter.
    units = (azel_to_unit(*angles).double() * there).sum(0)
    normal = normal.double()
    across = (units @ normal)[:, None] * normal
    places = zip(*unit_to_azel(units - 2 * across), strict=True)
    images = [
        f"source {number} may be at {at:.0f}, {up + 0.0:.0f} degrees"
        for number, (at, up) in enumerate(places, start=1)
    ]
    return [
        Finding(
            "mirror_images",
            "note",
            (),
            f"a plane cannot tell its two sides apart: {'; '.join(images)}",
        )
    ]
