"""Back end of pyroomacoustics' image-source method.

Bulk delay and length are brought to the conventions of this package, and the
absorption is that of the ``image_source`` back end, so that both simulate the
same room.
"""

import math
from contextlib import contextmanager

import torch

from spatial_brain.simulation.rir.absorption import Decay
from spatial_brain.simulation.rir.calibration import scene_walls
from spatial_brain.simulation.rir.checks import response_length
from spatial_brain.simulation.rir.fractional_delay import (
    SKIRT,
    high_pass,
    high_pass_cutoff,
)


def _import():
    """Import pyroomacoustics, or say how to get it."""
    try:
        import pyroomacoustics
    except ImportError as error:
        raise ImportError(
            "backend 'pyroomacoustics' needs the package pyroomacoustics; "
            "install it with: pip install pyroomacoustics"
        ) from error
    return pyroomacoustics


@contextmanager
def _constants(pra, **values):
    """Set global constants of pyroomacoustics for a while."""
    before = {name: pra.constants.get(name) for name in values}
    try:
        for name, value in values.items():
            pra.constants.set(name, value)
        yield
    finally:
        for name, value in before.items():
            pra.constants.set(name, value)


def simulate(scenes, settings):
    """Impulse responses of rooms by pyroomacoustics.

    Arguments
    ---------
    scenes : list of RirScene
        Rooms with omnidirectional sources and microphones.
    settings : Settings
        How to simulate; without ``max_order`` all images within the length
        are there. Octaves are filtered by pyroomacoustics itself.

    Returns
    -------
    tuple
        List of float32 tensors [S, M, N], and list of the absorption used,
        six values a room, for each octave if the room has them.

    Raises
    ------
    ImportError
        If pyroomacoustics is not installed.

    Example
    -------
    >>> from spatial_brain.simulation.rooms import Room
    >>> from spatial_brain.simulation.rir.checks import Settings, check_scene
    >>> room = Room([5, 4, 3], [[1, 1, 1]], [[2, 2, 2]], absorption=0.8)
    >>> settings = Settings(duration=0.05)
    >>> [rir], _ = simulate([check_scene(room, settings)], settings)
    >>> rir.shape
    torch.Size([1, 1, 800])
    """
    pra = _import()
    walls = _walls(scenes, settings)
    # The high-pass of this package runs afterwards: the same for all.
    values = {"c": settings.sound_speed, "rir_hpf_enable": False}
    with _constants(pra, **values):
        results = [
            _simulate(pra, scene, absorption, settings)
            for scene, absorption in zip(scenes, walls, strict=True)
        ]
    return results, walls


def _walls(scenes, settings):
    """Six absorption coefficients a room, for each octave if it has them."""
    octaves = [
        [scene]
        if scene.bands is None
        else [scene.in_band(index) for index in range(len(scene.bands))]
        for scene in scenes
    ]
    found = iter(scene_walls(sum(octaves, []), settings))
    return [
        next(found)
        if scene.bands is None
        else [next(found) for _ in scene.bands]
        for scene in scenes
    ]


def _materials(pra, scene, absorption):
    """Materials of pyroomacoustics by its names of walls."""
    names = ("west", "east", "south", "north", "floor", "ceiling")
    if scene.bands is not None:
        absorption = [
            {"coeffs": list(values), "center_freqs": list(scene.bands)}
            for values in zip(*absorption, strict=True)
        ]
    return {
        name: pra.Material(value)
        for name, value in zip(names, absorption, strict=True)
    }


def _longest_t60(scene, absorption, sound_speed):
    """Reverberation time of given walls, of the slowest octave; seconds."""
    rows = [absorption] if scene.bands is None else absorption
    size = scene.size.tolist()
    return max(Decay(size, walls, sound_speed).t60() for walls in rows)


def _simulate(pra, scene, absorption, settings):
    """Responses of one room."""
    fs, size = settings.fs, scene.size.tolist()
    num_samples = response_length(
        scene,
        settings,
        lambda: _longest_t60(scene, absorption, settings.sound_speed),
    )
    order = settings.max_order
    if order is None:
        reach = (num_samples + SKIRT) / fs * settings.sound_speed
        # Crossings are most frequent along the diagonal of the cell.
        order = math.ceil(reach * float(scene.size.pow(-2).sum().sqrt())) + 2
    materials = _materials(pra, scene, absorption)
    rir = torch.zeros(*scene.distances.shape, num_samples)
    # A room keeps the images of all its sources: one of them at a time.
    for response, source in zip(rir, scene.sources.numpy(), strict=True):
        room = pra.ShoeBox(size, fs=fs, materials=materials, max_order=order)
        room.add_source(source)
        room.add_microphone_array(scene.microphones.numpy().T)
        room.compute_rir()
        response[:] = _aligned(pra, room, num_samples, settings)
    return rir.to(settings.device)


def _aligned(pra, room, num_samples, settings):
    """Responses of the one source of a room [M, N], from its emission on."""
    delay = pra.constants.get("frac_delay_length") // 2
    parts = [torch.as_tensor(mic[0][delay:].copy()) for mic in room.rir]
    longest = max(num_samples, *(len(part) for part in parts))
    rir = torch.zeros(len(parts), longest)
    for response, part in zip(rir, parts, strict=True):
        response[: len(part)] = part
    if settings.high_pass:
        rir = high_pass(rir, settings.fs, high_pass_cutoff(room.shoebox_dim))
    return rir[:, :num_samples]
