"""Rooms whose walls depend on frequency.

A room is simulated once for each octave, with the walls of that octave, and
the responses are added through a filter bank: raised cosines between the
centres on a logarithmic axis of frequency, without phase, which add up to one.
So what is the same in all octaves, such as the direct path, is untouched. The
first octave reaches down to 0 Hz, the last one up to half the sampling rate.
"""

from dataclasses import replace

import torch

from spatial_brain.simulation.rir.absorption import Decay
from spatial_brain.simulation.rir.calibration import scene_walls
from spatial_brain.simulation.rir.checks import response_length

# Seconds of zeros around a response: the filters have decayed by then.
_SKIRT = 0.1


def octave_weights(frequency, centres):
    """Gains of the octaves, which add up to one at each frequency.

    Arguments
    ---------
    frequency : torch.Tensor
        Hertz, [F].
    centres : sequence of float
        Of the octaves, hertz, rising, B of them.

    Returns
    -------
    torch.Tensor
        float64 [B, F].

    Example
    -------
    >>> octave_weights(torch.tensor([0.0, 500.0, 707.107]), (500, 1000))
    tensor([[1.0000, 1.0000, 0.5000],
            [0.0000, 0.0000, 0.5000]], dtype=torch.float64)
    """
    octave = torch.log2(frequency.double().clamp_min(1e-3))
    middle = torch.log2(torch.tensor(centres, dtype=torch.float64))
    # Share of all octaves from one on: from 0 at the centre before to 1.
    place = (octave - middle[:-1, None]) / middle.diff()[:, None]
    above = torch.sin(place.clamp(0, 1) * torch.pi / 2).square()
    one = torch.ones_like(octave)[None]
    return torch.cat((one, above)) - torch.cat((above, 0 * one))


def simulate_scenes(simulate, scenes, settings):
    """Responses of rooms, with and without octaves.

    Arguments
    ---------
    simulate : callable
        Of a back end, for rooms without octaves; called with all of these at
        once.
    scenes : list of RirScene
        Rooms.
    settings : Settings
        How to simulate.

    Returns
    -------
    tuple
        As ``simulate`` returns: responses, and absorption used.

    Example
    -------
    >>> simulate_scenes(None, [], None)
    ([], [])
    """
    results, walls = [None] * len(scenes), [None] * len(scenes)
    plain = [i for i, scene in enumerate(scenes) if scene.bands is None]
    if plain:
        parts = simulate([scenes[i] for i in plain], settings)
        for index, *part in zip(plain, *parts, strict=True):
            results[index], walls[index] = part
    for index, scene in enumerate(scenes):
        if scene.bands is not None:
            part = simulate_bands(simulate, scene, settings)
            results[index], walls[index] = part
    return results, walls


def simulate_bands(simulate, scene, settings):
    """Responses of a room with values for octaves.

    Arguments
    ---------
    simulate : callable
        Of a back end, for rooms without octaves.
    scene : RirScene
        Its ``bands`` are centres.
    settings : Settings
        How to simulate. Random numbers are the same in all octaves.

    Returns
    -------
    tuple
        float32 tensor [S, M, N], and for each octave the six absorption
        coefficients used, or None.

    Example
    -------
    >>> from spatial_brain.simulation.rir.checks import Settings, check_scene
    >>> from spatial_brain.simulation.rir.image_source import simulate
    >>> from spatial_brain.simulation.rooms import Room
    >>> room = Room([5, 4, 3], [[1, 1, 1]], [[2, 2, 2]], absorption="brickwork")
    >>> settings = Settings(duration=0.1, fs=4000)
    >>> rir, walls = simulate_bands(
    ...     simulate, check_scene(room, settings), settings
    ... )
    >>> rir.shape, len(walls), walls[3][0]
    (torch.Size([1, 1, 400]), 7, 0.03)
    """
    fs = settings.fs
    octaves = [scene.in_band(index) for index in range(len(scene.bands))]
    length = max(
        response_length(
            octave, settings, lambda walls=octave: _natural_t60(walls, settings)
        )
        for octave in octaves
    )
    long = replace(settings, duration=length / fs)
    padded = length + 2 * round(_SKIRT * fs)
    frequency = torch.fft.rfftfreq(padded, 1 / fs)
    weights = octave_weights(frequency, scene.bands)
    groups = {}  # octaves with the same walls are simulated once
    for octave, weight in zip(octaves, weights, strict=True):
        group = groups.setdefault((octave.t60, octave.absorption), [octave, 0])
        group[1] = group[1] + weight
    state = _random_state(settings.generator)
    walls, spectrum = {}, 0.0
    for key, (octave, weight) in groups.items():
        _set_random_state(settings.generator, state)
        [part], [walls[key]] = simulate([octave], long)
        part = torch.fft.rfft(part, n=padded)
        spectrum = spectrum + part * weight.to(part.real)
    result = torch.fft.irfft(spectrum, n=padded)[..., :length].contiguous()
    return result, [walls[part.t60, part.absorption] for part in octaves]


def _natural_t60(octave, settings):
    """Reverberation time of the walls, seconds."""
    [walls] = scene_walls([octave], settings)
    return Decay(
        octave.size.tolist(),
        walls,
        settings.sound_speed,
        settings.air_absorption,
    ).t60()


def _random_state(generator):
    """State of a generator, of torch's own for None."""
    return torch.get_rng_state() if generator is None else generator.get_state()


def _set_random_state(generator, state):
    """Set what ``_random_state`` returned."""
    if generator is None:
        torch.set_rng_state(state)
    else:
        generator.set_state(state)
