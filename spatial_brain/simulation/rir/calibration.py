"""Absorption of walls by the reverberation time that responses measure.

The mean decay of a lattice (``absorption``) is exact when all images add in
energy. Images that arrive together, most of all those of a wave that travels
along a long room or between two walls, add in pressure: the response then
decays more slowly, by a few percent in compact rooms and by a third in a
corridor, and more at low sampling rates. So a few responses of the room
are simulated at fixed placements, as far as -33 dB, and the absorption is
corrected by the T60 measured in them (:func:`calibrated_walls`): once in
rooms of usual size, until it holds in small ones and where walls differ.
"""

import logging
import math
from typing import NamedTuple

import numpy as np
import torch

from spatial_brain.simulation.acoustics import t60 as measure_t60
from spatial_brain.simulation.noise_floor import NoiseFloor
from spatial_brain.simulation.rir.absorption import (
    Decay,
    air_loss,
    air_t60,
    walls_for_t60,
)
from spatial_brain.simulation.rir.fractional_delay import (
    HIGH_PASS_HZ,
    high_pass,
    high_pass_cutoff,
)
from spatial_brain.simulation.rir.lattice import lattice_response

logger = logging.getLogger(__name__)

# Source and microphone as parts of the room's sides: generic places, no two
# coordinates alike, about as far apart as random places are.
_PLACEMENTS = np.array(
    [
        [[0.75, 0.34, 0.58], [0.41, 0.66, 0.47]],
        [[0.19, 0.77, 0.35], [0.5, 0.47, 0.61]],
        [[0.8, 0.59, 0.36], [0.3, 0.24, 0.5]],
    ]
)
_LEVEL = 33.0  # dB, how far the decay is simulated
_ROOMS_AT_ONCE = 16
# Corrections, the most, and where they end.
_STEPS, _CLOSE = 6, 0.03
# A T60 that is missed by more is logged.
TOLERANCE = 0.15
# Samples whose energy is added before the decay is measured.
_BLOCK = 16
_REMEMBERED = 4096  # results, the most
_known = {}


def calibrated_walls(
    rooms, *, fs, sound_speed=343.0, air_absorption=0.0, device="cpu"
):
    """Absorption for requested reverberation times.

    Depends on the arguments only, not on where sources and microphones are,
    so that all responses of a room belong to the same room. Results are
    remembered. A T60 that is missed by more than 15 % is logged.

    Arguments
    ---------
    rooms : list of tuple
        Room size (three lengths in metres), T60 in seconds, and None or six
        absorption coefficients whose ratios are kept.
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
    list of tuple
        Six energy absorption coefficients for each room.

    Raises
    ------
    ValueError
        If the air alone absorbs more than a reverberation time allows.

    Example
    -------
    >>> [walls] = calibrated_walls([((5.0, 4.0, 3.0), 0.5, None)], fs=16000)
    >>> 0.19 < walls[0] < 0.23, len(set(walls))
    (True, 1)
    """
    keys = [
        _Request(
            tuple(map(float, size)),
            float(t60),
            _ratios(ratios),
            fs,
            sound_speed,
            air_absorption,
        )
        for size, t60, ratios in rooms
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


def _ratios(walls):
    """Ratios of walls to the largest, or None where all are alike."""
    if walls is None or len(set(walls)) == 1:
        return None
    return tuple(float(wall) / max(walls) for wall in walls)


class _Request(NamedTuple):
    """A room of which a reverberation time is asked."""

    size: tuple
    t60: float
    ratios: tuple | None
    fs: int
    sound_speed: float
    air_absorption: float

    @property
    def cutoff(self):
        """Where its high-pass begins, hertz."""
        return high_pass_cutoff(self.size)


class _Search:
    """The walls of a room, and how far its T60 is from what was asked."""

    def __init__(self, request):
        self.request = request
        self.error = math.inf  # of the best, as a logarithm
        self._target = request.t60
        self.walls = self._best = self._walls()
        # A room of usual size with equal walls: one correction is enough.
        is_small = request.cutoff > HIGH_PASS_HZ
        self._is_usual = request.ratios is None and not is_small

    def _walls(self):
        """Those with which the mean decay has the target."""
        size, _, ratios, _, *medium = self.request
        return walls_for_t60(size, self._target, ratios, *medium)

    def correct(self, measured):
        """Take notice of a measured T60; return whether to go on."""
        t60 = self.request.t60
        if not measured > 0:  # no T20 in there to correct by
            return False
        error = math.log(measured / t60)
        if abs(error) < abs(self.error):
            self.error, self._best = error, self.walls
        # What to ask of the mean decay, not more than the air allows.
        longest = air_t60(*self.request[-2:])
        target = self._target * t60 / measured
        self._target = min(target, (self._target + longest) / 2)
        self.walls = self._walls()
        return not self._is_usual and abs(error) > _CLOSE

    def result(self):
        """Walls that come nearest to what was asked."""
        if self._is_usual:
            return self.walls
        if abs(self.error) > math.log(1 + TOLERANCE):
            size, t60, *_ = self.request
            logger.warning(
                "t60 %g s in a room of %s m: its walls give %s; ask for more, "
                "or give absorption",
                t60,
                list(size),
                f"{t60 * math.exp(self.error):.3f} s"
                if math.isfinite(self.error)
                else "no decay that could be measured",
            )
        return self._best


def forget():
    """Forget all calibrated rooms, to measure the time of new ones.

    Example
    -------
    >>> forget()
    """
    _known.clear()


def scene_walls(scenes, settings):
    """Absorption of the walls of rooms: given, or for their T60.

    Arguments
    ---------
    scenes : list of RirScene
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
    >>> scene_walls([check_scene(room, Settings())], Settings())
    [(0.5, 0.5, 0.5, 0.5, 0.5, 0.5)]
    """
    result = [scene.absorption for scene in scenes]
    timed = [i for i, scene in enumerate(scenes) if scene.t60 is not None]
    if settings.only_direct:
        found = [(1.0,) * 6] * len(timed)
    else:
        found = calibrated_walls(
            [
                (scenes[i].size.tolist(), scenes[i].t60, scenes[i].absorption)
                for i in timed
            ],
            fs=settings.fs,
            sound_speed=settings.sound_speed,
            air_absorption=settings.air_absorption,
            device=settings.device,
        )
    for index, walls in zip(timed, found, strict=True):
        result[index] = walls
    return result


def _calibrate(requests, device):
    """Correct the walls of the mean decay by what is measured."""
    searches = [_Search(request) for request in requests]
    unmet = searches
    for _ in range(_STEPS):
        measured = _measure(unmet, device)
        unmet = [
            search
            for search, t60 in zip(unmet, measured, strict=True)
            if search.correct(t60)
        ]
        if not unmet:
            break
    return [search.result() for search in searches]


def _measure(searches, device):
    """Mean T60 over the placements of each room, seconds."""
    requests = [search.request for search in searches]
    *_, fs, sound_speed, air = requests[0]
    places = len(_PLACEMENTS)
    decays = [
        Decay(search.request.size, search.walls, sound_speed, air)
        for search in searches
    ]
    ends = [float(decay.level_time(_LEVEL)) for decay in decays]
    size = torch.tensor([room.size for room in requests], dtype=torch.float64)
    points = size[:, None, None, :] * torch.from_numpy(_PLACEMENTS)
    source, microphone = points.flatten(0, 1).to(device).unbind(1)
    row = torch.arange(len(requests)).repeat_interleave(places)
    walls = [search.walls for search in searches]
    walls = torch.tensor(walls, dtype=torch.float64)
    end = torch.tensor(ends, dtype=torch.float64)
    num_samples = math.ceil(max(ends) * fs)
    rir = lattice_response(
        size[row].to(device),
        source,
        microphone,
        walls[row].to(device),
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
    cutoffs = torch.tensor([room.cutoff for room in requests])[row]
    for cutoff in cutoffs.unique().tolist():
        rows = cutoffs == cutoff
        late[rows] = high_pass(late[rows], fs, cutoff)
    rir = late.cpu().split(places)
    return [
        _open_t60(part[:, : int(end * fs)], room.t60, fs)
        for part, end, room in zip(rir, ends, requests, strict=True)
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
        rir, rate = energy.sqrt(), fs / _BLOCK
        measured = measure_t60(rir, rate, floor=NoiseFloor.absent(rir))
        t60 = float(measured.nanmean())
    return t60
