"""Absorption with which the simulated response has the requested T60.

The mean decay of a lattice (``absorption``) is exact when all images add in
energy. Images that arrive together, most of all those of a wave that travels
along a long room or between two walls, add in pressure: the response then
decays more slowly, by a few percent in compact rooms and by a third in a
corridor, and more at low sampling rates. So a few responses of the room
are simulated at fixed placements, as far as -33 dB, and the absorption is
corrected by the T60 measured in them.
"""

import math

import numpy as np
import torch

from spatial_brain.simulation.acoustics import t60 as measure_t60
from spatial_brain.simulation.rir.absorption import (
    Decay,
    absorption_for_t60,
    air_loss,
    air_t60,
)
from spatial_brain.simulation.rir.fractional_delay import high_pass
from spatial_brain.simulation.rir.lattice import lattice_response

# Source and microphone as parts of the room's sides: generic places, no two
# coordinates alike, about as far apart as random places are.
_PLACEMENTS = np.array(
    [
        [[0.75, 0.34, 0.58], [0.41, 0.66, 0.47]],
        [[0.19, 0.77, 0.35], [0.5, 0.47, 0.61]],
        [[0.8, 0.59, 0.36], [0.3, 0.24, 0.5]],
    ]
)
_LEVEL = 33.0
_ROOMS_AT_ONCE = 16
# Samples whose energy is added before the decay is measured.
_BLOCK = 16
_REMEMBERED = 4096
_known = {}


def calibrated_absorption(
    rooms, *, fs, sound_speed=343.0, air_absorption=0.0, device="cpu"
):
    """Absorption for requested reverberation times.

    Depends on the arguments only, not on where sources and microphones are,
    so that all responses of a room belong to the same room. Results are
    remembered.

    Arguments
    ---------
    rooms : list of tuple
        Pairs of room size (three lengths in metres) and T60 in seconds.
    fs : int
        Sampling rate in Hz.
    sound_speed : float
        Metres per second.
    air_absorption : float
        Energy attenuation of the air per metre.
    device : str or torch.device
        Where to simulate.

    Returns
    -------
    list of float
        Energy absorption coefficient of all walls, one for each room.

    Raises
    ------
    ValueError
        If the air alone absorbs more than a reverberation time allows.

    Example
    -------
    >>> [a] = calibrated_absorption([((5.0, 4.0, 3.0), 0.5)], fs=16000)
    >>> 0.19 < a < 0.23
    True
    """
    keys = [
        (*map(float, size), float(t60), fs, sound_speed, air_absorption)
        for size, t60 in rooms
    ]
    missing = [key for key in dict.fromkeys(keys) if key not in _known]
    found = {}
    for start in range(0, len(missing), _ROOMS_AT_ONCE):
        part = missing[start : start + _ROOMS_AT_ONCE]
        found.update(zip(part, _calibrate(part, device), strict=True))
    result = [_known.get(key, found.get(key)) for key in keys]
    if len(_known) + len(found) > _REMEMBERED:
        _known.clear()
    _known.update(found)
    return result


def forget():
    """Forget all calibrated rooms, to measure the time of new ones.

    Example
    -------
    >>> forget()
    """
    _known.clear()


def scene_absorptions(scenes, settings):
    """Absorption of the walls of rooms: given, or for their T60.

    Arguments
    ---------
    scenes : list of Scene
        Rooms.
    settings : Settings
        How they will be simulated.

    Returns
    -------
    list of tuple
        Six energy absorption coefficients for each room.

    Example
    -------
    >>> from spatial_brain.simulation.rooms import Room
    >>> from spatial_brain.simulation.rir.checks import Settings, check_scene
    >>> room = Room([5, 4, 3], [[1, 1, 1]], [[2, 2, 2]], absorption=0.5)
    >>> scene_absorptions([check_scene(room, Settings())], Settings())
    [(0.5, 0.5, 0.5, 0.5, 0.5, 0.5)]
    """
    result = [scene.absorption for scene in scenes]
    timed = [i for i, walls in enumerate(result) if walls is None]
    if settings.only_direct:
        found = [1.0] * len(timed)
    else:
        found = calibrated_absorption(
            [(scenes[i].size.tolist(), scenes[i].t60) for i in timed],
            fs=settings.fs,
            sound_speed=settings.sound_speed,
            air_absorption=settings.air_absorption,
            device=settings.device,
        )
    for index, absorption in zip(timed, found, strict=True):
        result[index] = (absorption,) * 6
    return result


def _calibrate(keys, device):
    """Correct the incoherent absorption by what is measured."""
    *_, fs, sound_speed, air = keys[0]
    first = [
        absorption_for_t60(key[:3], key[3], sound_speed, air) for key in keys
    ]
    decays = [
        Decay(key[:3], [absorption] * 6, sound_speed, air)
        for key, absorption in zip(keys, first, strict=True)
    ]
    measured = _measure(keys, first, decays, device)
    longest = air_t60(sound_speed, air)
    result = []
    for key, got, absorption in zip(keys, measured, first, strict=True):
        t60 = key[3]
        if math.isfinite(got):
            # What to ask of the mean decay, not more than the air allows.
            target = min(t60 * t60 / got, (t60 + longest) / 2)
            absorption = absorption_for_t60(key[:3], target, sound_speed, air)
        result.append(absorption)
    return result


def _measure(keys, absorption, decays, device):
    """Mean T60 over the placements of each room, seconds."""
    *_, fs, sound_speed, air = keys[0]
    places = len(_PLACEMENTS)
    ends = [float(decay.level_time(_LEVEL)) for decay in decays]
    size = torch.tensor([key[:3] for key in keys], dtype=torch.float64)
    points = size[:, None, None, :] * torch.from_numpy(_PLACEMENTS)
    source, microphone = points.flatten(0, 1).to(device).unbind(1)
    row = torch.arange(len(keys)).repeat_interleave(places)
    walls = torch.tensor(absorption, dtype=torch.float64)[row, None]
    end = torch.tensor(ends, dtype=torch.float64)
    num_samples = math.ceil(max(ends) * fs)
    rir = lattice_response(
        size[row].to(device),
        source,
        microphone,
        walls.expand(-1, 6).to(device),
        (sound_speed * end)[row].to(device),
        num_samples=num_samples,
        scale=fs / sound_speed,
    )
    loss = air_loss(num_samples, fs, sound_speed, air)
    rir *= torch.from_numpy(loss).to(device)
    # The mean of the missing images, or the high-pass would see a step.
    num_samples += fs // 10
    late = np.stack([d.samples(d.mean, num_samples, fs) for d in decays])
    late[np.arange(num_samples) < end.numpy()[:, None] * fs] = 0.0
    late = torch.from_numpy(late).to(device)[row]
    late[:, : rir.shape[1]] += rir
    rir = high_pass(late, fs).cpu().split(places)
    return [
        _open_t60(part[:, : int(end * fs)], key[3], fs)
        for part, end, key in zip(rir, ends, keys, strict=True)
    ]


def _open_t60(rir, t60, fs):
    """Mean T60 of responses that end before they have decayed.

    The energy after the end is that of an exponential decay from the mean
    power of the last tenth, first with the given T60, then with the measured.
    """
    length = rir.shape[1] // _BLOCK
    energy = rir[:, : length * _BLOCK].double().square()
    energy = energy.view(len(rir), length, _BLOCK).sum(-1)
    power = energy[:, -(length // 10) :].mean(-1)
    # The rest arrives much later: the curve stays level after the end.
    energy = torch.nn.functional.pad(energy, (0, length // 5))
    for _ in range(3):
        energy[:, -1] = power * fs * t60 / (6 * math.log(10) * _BLOCK)
        t60 = float(measure_t60(energy.sqrt(), fs / _BLOCK).nanmean())
    return t60
