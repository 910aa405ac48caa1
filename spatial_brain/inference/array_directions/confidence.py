"""How sure a direction of a window is: probabilities from what was measured.

Coefficients come from simulated rooms: ``benchmarks/direction_confidence.py``
makes them again and shows how reliable they are.
"""

from typing import NamedTuple

import numpy as np
import torch

from spatial_brain.geometry import azel_to_unit

# Weights of the features of each method, see ``features``; constant last.
# Of Ambisonics ("foa") the method is the mixture.
COEFFICIENTS = {
    "foa": (1.599, 0.701, 1.033, 1.161, 1.939, 2.666, -0.659),
    "mixture": (0.977, 5.213, 2.477, 0.658, 1.082, -0.539, -0.840),
    "srp-phat": (-0.461, 2.481, -1.033, 2.011, 0.637, 0.542, -1.370),
    "norm-music": (0.077, 2.881, 2.952, 0.780, -0.305, 0.364, -1.355),
    "music": (0.492, 1.157, -0.822, 1.198, 1.429, 0.332, -1.380),
}
# Degrees within which windows agree.
_NEAR = 10.0
# Windows before and after that are compared.
REACH = 4
# What stands for no height: a share of that of noise, and at least.
_SHARE, _FLOOR = 0.2, 1e-4
# The fit knows nothing about rarer errors.
_SUREST = 0.99


class NoisePeaks(NamedTuple):
    """What the highest peak of a window is like where noise is alone.

    An array may favour some directions: then noise agrees over time, too.

    Arguments
    ---------
    height : float
        Mean height.
    agreement : float
        Mean share of the windows nearby with a direction within 10 degrees.
    lead : float
        Mean logarithm of its height over the next one's.
    """

    height: float
    agreement: float
    lead: float


def summarize_noise(azimuth, elevation, height):
    """The highest peaks of windows of noise, as a reference.

    Arguments
    ---------
    azimuth, elevation : numpy.ndarray
        Degrees, [window, direction]; NaN where there is none.
    height : numpy.ndarray
        Of their peaks, in [0, 1], same shape.

    Returns
    -------
    NoisePeaks

    Example
    -------
    >>> angle = np.array([[0.0, 90.0], [90.0, 180.0]])
    >>> height = np.array([[0.2, 0.1], [0.2, 0.1]])
    >>> summarize_noise(angle, angle * 0, height)
    NoisePeaks(height=0.2, agreement=0.5, lead=0.69...)
    """
    height = np.nan_to_num(height)
    mean = max(float(height.max(1).mean()), _FLOOR)
    height = np.maximum(height, _SHARE * mean)
    rows, best = np.arange(len(height)), height.argmax(1)
    agreement = _agreement(azimuth, elevation)
    return NoisePeaks(
        mean,
        float(agreement[rows, best].mean()),
        float(_leads(height)[rows, best].mean()),
    )


def features(azimuth, elevation, height, noise):
    """What the confidence of the directions of windows depends on.

    Arguments
    ---------
    azimuth, elevation : numpy.ndarray
        Degrees, [window, direction]; NaN where there is none.
    height : numpy.ndarray
        Of their peaks, in [0, 1], same shape.
    noise : NoisePeaks
        What the highest peak is like where there is noise alone.

    Returns
    -------
    numpy.ndarray
        [window, direction, 6]: logarithm of the height over that of noise, at
        most 3; the parts of it above 0 and above 1; the logarithm of the
        height over the highest of the window; share of the four windows before
        and after with a direction within 10 degrees; logarithm of the height
        over the second highest, 0 to 3. The last two are less by what noise
        has.

    Example
    -------
    >>> angle = np.array([[30.0], [31.0], [90.0]])
    >>> noise = NoisePeaks(0.1, 0.25, 0.0)
    >>> found = features(angle, angle * 0, np.full((3, 1), 0.5), noise)
    >>> found[:, 0, 4].tolist()
    [0.25, 0.25, -0.25]
    """
    found = np.zeros((*azimuth.shape, 6))
    height = np.maximum(np.nan_to_num(height), _SHARE * noise.height)
    over = np.log(height / noise.height)
    found[..., 0] = over.clip(max=3.0)
    for place, knot in enumerate((0.0, 1.0), start=1):
        found[..., place] = (found[..., 0] - knot).clip(min=0.0)
    found[..., 3] = np.log(height / height.max(1, keepdims=True))
    found[..., 4] = _agreement(azimuth, elevation) - noise.agreement
    found[..., 5] = _leads(height) - noise.lead
    return found


def _leads(height):
    """Logarithm of heights over the second highest of their window, 0 to 3."""
    if height.shape[1] == 1:
        return np.zeros_like(height)
    second = np.sort(height, axis=1)[:, -2:-1]
    return np.log(height / second).clip(0.0, 3.0)


def _agreement(azimuth, elevation):
    """Share of the windows nearby with a direction within 10 degrees."""
    angles = [np.nan_to_num(values) for values in (azimuth, elevation)]
    units = azel_to_unit(*map(torch.from_numpy, angles)).numpy()
    units[np.isnan(azimuth)] = 0.0
    limit = np.cos(np.radians(_NEAR))
    share, total = np.zeros(azimuth.shape), np.zeros(len(azimuth))
    for step in range(1, REACH + 1):
        if step >= len(azimuth):
            break
        near = np.einsum("wik,wjk->wij", units[:-step], units[step:]) > limit
        share[:-step] += near.any(2)
        share[step:] += near.any(1)
        total[:-step] += 1
        total[step:] += 1
    return share / np.maximum(total, 1)[:, None]


def probability(method, azimuth, elevation, height, noise):
    """Probability that each direction is within 10 degrees of a source.

    Arguments
    ---------
    method : str or sequence of float
        A key of ``COEFFICIENTS``, or weights as :func:`fit_weights` gives them.
    azimuth, elevation, height, noise
        As :func:`features` takes them.

    Returns
    -------
    numpy.ndarray
        [window, direction]; 0 where there is none.

    Example
    -------
    >>> angle = np.full((5, 1), 30.0)
    >>> noise = NoisePeaks(0.1, 0.2, 0.0)
    >>> sure = probability("mixture", angle, angle * 0, angle / 100, noise)
    >>> bool(0 < sure[0, 0] < 1)
    True
    """
    weights = COEFFICIENTS[method] if isinstance(method, str) else method
    values = features(azimuth, elevation, height, noise)
    score = values @ weights[:-1] + weights[-1]
    found = np.minimum(1 / (1 + np.exp(-score)), _SUREST)
    return np.where(np.isnan(azimuth), 0.0, found)


def fit_weights(rows, right):
    """Weights of the features of directions, from how often they are right.

    Logistic regression by Newton's method, lightly regularised.

    Arguments
    ---------
    rows : numpy.ndarray
        :func:`features` of directions, [direction, feature].
    right : numpy.ndarray
        1 where a direction is right, else 0, [direction].

    Returns
    -------
    numpy.ndarray
        [feature + 1], the constant last.

    Example
    -------
    >>> rows = np.linspace(-1, 1, 40)[:, None]
    >>> bool(fit_weights(rows, rows[:, 0] > 0.2)[0] > 1)
    True
    """
    rows = np.c_[rows, np.ones(len(rows))]
    weights = np.zeros(rows.shape[1])
    for _ in range(50):
        sure = 1 / (1 + np.exp(-rows @ weights))
        slope = rows.T @ (sure - right) + 0.01 * weights
        bend = (rows.T * (sure * (1 - sure))) @ rows
        weights -= np.linalg.solve(bend + 0.01 * np.eye(len(weights)), slope)
    return weights
