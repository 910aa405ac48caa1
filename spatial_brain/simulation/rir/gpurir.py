"""Back end of gpuRIR (AGPL-3.0, needs CUDA, never installed by itself).

gpuRIR has amplitudes 1 / (4 pi distance) and turns the sign of every
reflection coefficient round; both are brought to the conventions of this
package, and the absorption is that of the ``image_source`` back end.
"""

import math

import numpy as np
import torch

from spatial_brain.simulation.rir.absorption import Decay
from spatial_brain.simulation.rir.calibration import scene_walls
from spatial_brain.simulation.rir.checks import response_length
from spatial_brain.simulation.rir.fractional_delay import (
    high_pass,
    high_pass_cutoff,
)

# Samples of the responses of one call, which bounds the memory: 64 MB.
_SAMPLES = 2**24


def _import():
    """Import gpuRIR, or say how to get it."""
    try:
        import gpuRIR
    except ImportError as error:
        raise ImportError(
            "backend 'gpurir' needs gpuRIR, which is built from source with "
            "the CUDA toolkit, a C++ compiler and CMake 3.23 or newer: pip "
            "install https://github.com/DavidDiazGuerra/gpuRIR/zipball/master"
            " ; or use backend 'image_source', which needs none of these"
        ) from error
    return gpuRIR


def simulate(scenes, settings):
    """Impulse responses of rooms by gpuRIR.

    Arguments
    ---------
    scenes : list of RirScene
        Rooms with omnidirectional sources and microphones.
    settings : Settings
        How to simulate. A tail (``diffuse_from``) is gpuRIR's own: it is
        not coherent between microphones and is not seeded by ``generator``.

    Returns
    -------
    tuple
        List of float32 tensors [S, M, N], and list of the absorption used,
        six values a room.

    Raises
    ------
    ImportError
        If gpuRIR is not installed.
    ValueError
        If ``max_order`` is neither None nor 0: gpuRIR cuts boxes, not orders.

    Example
    -------
    >>> simulate.__name__  # runs only where gpuRIR is installed
    'simulate'
    """
    if settings.max_order:
        raise ValueError(
            "backend 'gpurir' cannot limit the order of reflections; leave "
            "max_order out, or use 'image_source'"
        )
    module = _import()
    walls = scene_walls(scenes, settings)
    results = [
        _simulate(module, scene, absorption, settings)
        for scene, absorption in zip(scenes, walls, strict=True)
    ]
    return results, walls


def _simulate(module, scene, absorption, settings):
    """Responses of one room."""
    fs, size = settings.fs, scene.size.tolist()
    decay = Decay(size, absorption, settings.sound_speed)
    num_samples = response_length(scene, settings, decay.t60)
    duration = images = num_samples / fs
    if settings.diffuse_from is not None:
        last = float(scene.distances.max()) / settings.sound_speed
        switch = float(decay.level_time(settings.diffuse_from))
        # An end before the direct path would give silence.
        images = min(duration, max(switch, last + 0.025))
    boxes = [1, 1, 1]
    if not settings.only_direct:
        boxes = module.t2n(images, size, c=settings.sound_speed)
    reflection = np.sqrt(1 - np.asarray(absorption))
    parts = []
    # Sources in as many calls as their responses need.
    step = max(1, _SAMPLES // (len(scene.microphones) * num_samples))
    for sources in scene.sources.split(step):
        rir = module.simulateRIR(
            room_sz=np.asarray(size),
            beta=-reflection,
            pos_src=sources.numpy(),
            pos_rcv=scene.microphones.numpy(),
            nb_img=boxes,
            Tmax=duration,
            fs=fs,
            Tdiff=images if images < duration else None,
            c=settings.sound_speed,
        )
        rir = torch.from_numpy(np.asarray(rir, np.float32)) * (4 * math.pi)
        if settings.high_pass:
            rir = high_pass(rir, fs, high_pass_cutoff(size))
        # gpuRIR rounds lengths up to even numbers.
        parts.append(rir[..., :num_samples].contiguous())
    return torch.cat(parts).to(settings.device)
