"""Compiled inner loops of the image-source method on the CPU.

Plain loops over the lattice of one source and one microphone, compiled on
first use, without liberties: a room is the same in every run. The kernels
release the interpreter lock and start no threads of their own, so that they are
safe after a fork; ``lattice`` spreads pairs over a pool of ordinary threads.
"""

import math

import numpy as np

from spatial_brain.compilation import compiled
from spatial_brain.simulation.rir.fractional_delay import OVERSAMPLING

_STEPS = np.float32(OVERSAMPLING)
_HALF = np.float32(0.5)
_ONE = np.float32(1.0)


@compiled()
def _inner_range(z, spacing, radius, orders):
    """First and last + 1 cell of the inner axis within radius and order."""
    centre = z.shape[0] // 2
    low = max(int((-radius - z[0]) / spacing) - 2, centre - orders, 0)
    high = min(int((radius - z[0]) / spacing) + 3, centre + orders + 1)
    high = min(high, z.shape[0])
    while low < high and z[low] < -radius:
        low += 1
    while high > low and z[high - 1] > radius:
        high -= 1
    return low, high


@compiled()
def accumulate_omni(
    x, y, z, gx, gy, gz, spacing, reach, order, scale, grid, pair
):
    """Add all images of one omnidirectional pair to its grid.

    Arguments
    ---------
    x, y, z : numpy.ndarray
        Image minus microphone per axis and cell, metres, float32 [pairs, n];
        the middle cell is the room itself, values increase along an axis.
    gx, gy, gz : numpy.ndarray
        Product of wall reflections per axis and cell, float32 [pairs, n].
    spacing, reach, scale : numpy.ndarray
        Size of the room along z, largest distance of an image, both metres;
        samples per metre; float32 [pairs].
    order : int
        Largest number of reflections.
    grid : numpy.ndarray
        float32 [pairs, points], changed in place.
    pair : int
        Row to work on.
    """
    x, y, z = x[pair], y[pair], z[pair]
    gx, gy, gz = gx[pair], gy[pair], gz[pair]
    grid, reach, steps = grid[pair], reach[pair], scale[pair] * _STEPS
    n = z.shape[0]
    point = np.empty(n, np.int32)
    first = np.empty(n, np.float32)
    second = np.empty(n, np.float32)
    third = np.empty(n, np.float32)
    for i in range(x.shape[0]):
        for j in range(y.shape[0]):
            plane = x[i] * x[i] + y[j] * y[j]
            orders = order - abs(i - x.shape[0] // 2)
            orders -= abs(j - y.shape[0] // 2)
            gain = gx[i] * gy[j]
            room = reach * reach - plane
            if room < 0 or orders < 0 or gain == 0:
                continue
            low, high = _inner_range(z, spacing[pair], math.sqrt(room), orders)
            for k in range(high - low):
                height = z[low + k]
                distance = np.sqrt(plane + height * height)
                amplitude = gain * gz[low + k] / distance
                delay = distance * steps
                cell = np.int32(delay)
                part = delay - np.float32(cell)
                tail = _HALF * part * part
                point[k] = cell
                first[k] = amplitude * (_HALF - part + tail)
                second[k] = amplitude * (_HALF + part - tail - tail)
                third[k] = amplitude * tail
            for k in range(high - low):
                cell = point[k]
                grid[cell] += first[k]
                grid[cell + 1] += second[k]
                grid[cell + 2] += third[k]


@compiled()
def accumulate_first_order(
    x, y, z, gx, gy, gz, mic, src, spacing, reach, order, scale, grid, pair
):
    """Add all images of a pair with first-order patterns to its grid.

    As ``accumulate_omni``, with ``mic`` and ``src``: float32 [pairs, 4], the
    gain being c[0] + c[1:] . u. For the microphone u is the direction to the
    image; for the source it is the direction to the microphone, mirrored
    along each axis on which the image is mirrored.
    """
    x, y, z = x[pair], y[pair], z[pair]
    gx, gy, gz = gx[pair], gy[pair], gz[pair]
    mic, src = mic[pair], src[pair]
    grid, reach, steps = grid[pair], reach[pair], scale[pair] * _STEPS
    n = z.shape[0]
    side = np.empty(n, np.float32)
    for k in range(n):
        side[k] = _ONE if (k - n // 2) % 2 == 0 else -_ONE
    point = np.empty(n, np.int32)
    first = np.empty(n, np.float32)
    second = np.empty(n, np.float32)
    third = np.empty(n, np.float32)
    for i in range(x.shape[0]):
        flip_x = src[1] if (i - x.shape[0] // 2) % 2 == 0 else -src[1]
        for j in range(y.shape[0]):
            plane = x[i] * x[i] + y[j] * y[j]
            orders = order - abs(i - x.shape[0] // 2)
            orders -= abs(j - y.shape[0] // 2)
            gain = gx[i] * gy[j]
            room = reach * reach - plane
            if room < 0 or orders < 0 or gain == 0:
                continue
            flip_y = src[2] if (j - y.shape[0] // 2) % 2 == 0 else -src[2]
            received = mic[1] * x[i] + mic[2] * y[j]
            emitted = flip_x * x[i] + flip_y * y[j]
            low, high = _inner_range(z, spacing[pair], math.sqrt(room), orders)
            for k in range(high - low):
                height = z[low + k]
                distance = np.sqrt(plane + height * height)
                inverse = _ONE / distance
                turned = src[3] * side[low + k] * height
                amplitude = gain * gz[low + k] * inverse
                amplitude *= mic[0] + (received + mic[3] * height) * inverse
                amplitude *= src[0] - (emitted + turned) * inverse
                delay = distance * steps
                cell = np.int32(delay)
                part = delay - np.float32(cell)
                tail = _HALF * part * part
                point[k] = cell
                first[k] = amplitude * (_HALF - part + tail)
                second[k] = amplitude * (_HALF + part - tail - tail)
                third[k] = amplitude * tail
            for k in range(high - low):
                cell = point[k]
                grid[cell] += first[k]
                grid[cell + 1] += second[k]
                grid[cell + 2] += third[k]


@compiled()
def add_impulse_rows(delay, amplitude, grid):
    """Add impulses to the rows of a grid, as ``add_impulses`` does.

    Arguments
    ---------
    delay : numpy.ndarray
        Samples, float32 [rows, I], or [1, I] for all rows.
    amplitude : numpy.ndarray
        float32 [rows, I].
    grid : numpy.ndarray
        float32 [rows, points], changed in place.
    """
    count = delay.shape[1]
    cell = np.empty(count, np.int64)
    weight = np.empty((3, count), np.float32)
    for row in range(amplitude.shape[0]):
        if row < delay.shape[0]:
            for i in range(count):
                point = delay[row, i] * _STEPS
                cell[i] = np.int64(point)
                part = point - np.float32(cell[i])
                tail = _HALF * part * part
                weight[0, i] = _HALF - part + tail
                weight[1, i] = _HALF + part - (tail + tail)
                weight[2, i] = tail
        for step in range(3):
            for i in range(count):
                grid[row, cell[i] + step] += amplitude[row, i] * weight[step, i]
