"""Room impulse responses by the image method, summed image by image."""

import math

import numpy as np
import torch

from spatial_brain.simulation.rir.fractional_delay import windowed_sinc

FS = 16000
SIZE = [5.0, 4.0, 3.0]
SOURCES = [[1.2, 1.3, 1.1], [3.9, 2.9, 1.8]]
MICS = [[2.5, 2.0, 1.5], [2.6, 2.0, 1.5]]


def error_db(estimate, truth):
    estimate, truth = torch.as_tensor(estimate), torch.as_tensor(truth)
    error = (estimate.double() - truth.double()).square().sum()
    ratio = float(error / truth.double().square().sum())
    return 10 * math.log10(ratio + 1e-20)


def exact_rir(size, source, mic, absorption, order, num_samples, gain=None):
    """Double-precision sum of windowed sincs, image by image."""
    sample = np.arange(num_samples)
    rir = np.zeros(num_samples)
    reflection = np.sqrt(1 - np.asarray(absorption))
    span = range(-order, order + 1)
    for cell in ((i, j, k) for i in span for j in span for k in span):
        if sum(map(abs, cell)) > order:
            continue
        amplitude, way = 1.0, np.zeros(3)
        for axis, n in enumerate(cell):
            start = size[axis] - source[axis] if n % 2 else source[axis]
            way[axis] = n * size[axis] + start - mic[axis]
            more, less = -(-abs(n) // 2), abs(n) // 2
            far, near = (more, less) if n > 0 else (less, more)
            amplitude *= reflection[2 * axis] ** near
            amplitude *= reflection[2 * axis + 1] ** far
        distance = np.linalg.norm(way)
        if gain is not None:
            mirror = np.where(np.array(cell) % 2, -1.0, 1.0)
            amplitude *= gain(way / distance, -mirror * way / distance)
        delay = distance / 343.0 * FS
        rir += amplitude / distance * windowed_sinc(sample - delay)
    return rir
