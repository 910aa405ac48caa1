"""How sure a direction of a window is: probabilities from what was measured.

Coefficients come from simulated rooms: ``benchmarks/direction_confidence.py``
makes them again and shows how reliable they are.
"""

import numpy as np
import torch

from spatial_brain.geometry import azel_to_unit

# Weights of the features of each method, see ``features``; constant last.
# Of Ambisonics ("foa") the method is the mixture.
COEFFICIENTS = {
    "mixture": (2.083, 13.916, 0.416, 1.549, -1.819),
    "srp-phat": (0.349, 1.255, 1.319, 1.642, -1.928),
    "foa": (1.436, 9.384, 1.093, 2.590, -1.551),
    "norm-music": (1.349, 3.081, -0.042, 1.606, -2.252),
    "music": (1.423, 0.055, 0.695, 2.000, -2.336),
}
# Degrees within which windows agree.
_NEAR = 10.0
# Windows before and after that are compared, and what stands for no height.
_REACH = 4
_FLOOR = 1e-4
# The fit knows nothing about rarer errors.
_SUREST = 0.99


def features(azimuth, elevation, height, noise_height):
    """What the confidence of the directions of windows depends on.

    Arguments
    ---------
    azimuth, elevation : numpy.ndarray
        Degrees, [window, direction]; NaN where there is none.
    height : numpy.ndarray
        Of their peaks, in [0, 1], same shape.
    noise_height : float
        Of the highest peak where there is noise of the microphones alone.

    Returns
    -------
    numpy.ndarray
        [window, direction, 4]: logarithm of the height over that of noise, at
        most 3; the part of it above 1; the logarithm of the height over the
        highest of the window; share of the four windows before and after with
        a direction within 10 degrees.

    Example
    -------
    >>> angle = np.array([[30.0], [31.0], [90.0]])
    >>> found = features(angle, angle * 0, np.full((3, 1), 0.5), 0.1)
    >>> found[:, 0, 3].tolist()
    [0.5, 0.5, 0.0]
    """
    found = np.zeros((*azimuth.shape, 4))
    height = np.maximum(np.nan_to_num(height), _FLOOR)
    found[..., 0] = np.log(height / max(noise_height, _FLOOR)).clip(max=3.0)
    found[..., 1] = (found[..., 0] - 1.0).clip(min=0.0)
    found[..., 2] = np.log(height / height.max(1, keepdims=True))
    angles = [np.nan_to_num(values) for values in (azimuth, elevation)]
    units = azel_to_unit(*map(torch.from_numpy, angles)).numpy()
    units[np.isnan(azimuth)] = 0.0
    limit = np.cos(np.radians(_NEAR))
    total = np.zeros(len(azimuth))
    for step in range(1, _REACH + 1):
        if step >= len(azimuth):
            break
        near = np.einsum("wik,wjk->wij", units[:-step], units[step:]) > limit
        found[:-step, :, 3] += near.any(2)
        found[step:, :, 3] += near.any(1)
        total[:-step] += 1
        total[step:] += 1
    found[..., 3] /= np.maximum(total, 1)[:, None]
    return found


def probability(method, azimuth, elevation, height, noise_height):
    """Probability that each direction is within 10 degrees of a source.

    Arguments
    ---------
    method : str
        A key of ``COEFFICIENTS``.
    azimuth, elevation, height, noise_height
        As :func:`features` takes them.

    Returns
    -------
    numpy.ndarray
        [window, direction]; 0 where there is none.

    Example
    -------
    >>> angle = np.full((5, 1), 30.0)
    >>> sure = probability("mixture", angle, angle * 0, angle / 100, 0.1)
    >>> bool(0 < sure[0, 0] < 1)
    True
    """
    weights = COEFFICIENTS[method]
    values = features(azimuth, elevation, height, noise_height)
    score = values @ weights[:-1] + weights[-1]
    found = np.minimum(1 / (1 + np.exp(-score)), _SUREST)
    return np.where(np.isnan(azimuth), 0.0, found)
