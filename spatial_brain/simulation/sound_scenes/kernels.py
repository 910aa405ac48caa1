"""Compiled inner loop of the tetrahedral array on its rigid sphere."""

import math

import numpy as np

from spatial_brain.compilation import compiled

_ONE = np.float32(1.0)


@compiled()
def add_waves(direction, delay, gain, axes, table, radius, received):
    """Add plane waves to what capsules on a sphere receive.

    Arguments
    ---------
    direction : numpy.ndarray
        Unit vectors towards the sources, float32 [I, 3].
    delay : numpy.ndarray
        First sample of a wave that meets the centre, float32 [I].
    gain : numpy.ndarray
        Amplitudes, float32 [I].
    axes : numpy.ndarray
        Unit vectors to the capsules, float32 [M, 3].
    table : numpy.ndarray
        Responses for angles 0 to pi and fractions 0 to 1 of a sample,
        float32 [angle, fraction, tap].
    radius : float
        Of the sphere, in samples.
    received : numpy.ndarray
        float32 [M, N], changed in place.
    """
    angles, fractions = table.shape[0] - 1, table.shape[1] - 1
    taps = table.shape[2]
    per_radian = np.float32(angles / math.pi)
    radius, steps = np.float32(radius), np.float32(fractions)
    for i in range(delay.shape[0]):
        x, y, z = direction[i, 0], direction[i, 1], direction[i, 2]
        for capsule in range(axes.shape[0]):
            cosine = axes[capsule, 0] * x
            cosine += axes[capsule, 1] * y + axes[capsule, 2] * z
            cosine = min(max(cosine, -_ONE), _ONE)
            angle = np.arccos(cosine) * per_radian
            row = min(int(angle), angles - 1)
            arrival = delay[i] - radius * cosine
            first = int(arrival)
            step = (arrival - np.float32(first)) * steps
            column = min(int(step), fractions - 1)
            aside = angle - np.float32(row)
            later = step - np.float32(column)
            next_row = gain[i] * aside
            this_row = gain[i] - next_row
            b, d = this_row * later, next_row * later
            a, c = this_row - b, next_row - d
            here = table[row, column]
            after = table[row, column + 1]
            beside = table[row + 1, column]
            across = table[row + 1, column + 1]
            out = received[capsule, first : first + taps]
            for tap in range(taps):
                out[tap] += (
                    a * here[tap]
                    + b * after[tap]
                    + c * beside[tap]
                    + d * across[tap]
                )
