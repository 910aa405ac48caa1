"""Reverberation time and absorption of a shoebox lattice.

Sabine's and Eyring's formulas assume that sound meets all walls alike. In a
lattice of image sources it does not: sound that travels along a long axis
meets few walls and decays slowly. Averaged over positions, the images lie
with density 1 / V, and those in direction u at distance r have met the walls
of axis i about r |u_i| / L_i times. The energy that arrives per second is then

    e(t) = c / V * integral over directions of exp(-c t * loss(u)),
    loss(u) = sum_i |u_i| / L_i * -ln(sqrt((1 - a_i0) (1 - a_i1))) + m

with the wall absorptions a and the absorption m of the air per metre.

The mean decay of a lattice (:class:`Decay`) is exact when all images add in
energy. Images that arrive together, most of all those of a wave that travels
along a long room or between two walls, add in pressure: the response then
decays more slowly, by a few percent in compact rooms and by a third in a
corridor, and more at low sampling rates. So a few responses of the room
are simulated at fixed placements, as far as -33 dB, and the absorption is
corrected by the T60 measured in them (:func:`calibrated_absorption`).
"""

import functools
import math

import numpy as np
import torch

from spatial_brain.simulation.acoustics import t60 as measure_t60
from spatial_brain.simulation.noise_floor import NoiseFloor
from spatial_brain.simulation.rir.fractional_delay import high_pass
from spatial_brain.simulation.rir.lattice import lattice_response

# Points of the integral over an octant of directions.
_POLAR, _AZIMUTH = 10, 12
_WALLS = 6
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
# Samples whose energy is added before the decay is measured.
_BLOCK = 16
_REMEMBERED = 4096  # results, the most
_known = {}


@functools.lru_cache(maxsize=1)
def _octant():
    """Directions [n, 3] in the positive octant, and weights summing to 1."""
    cos_polar, polar_share = np.polynomial.legendre.leggauss(_POLAR)
    angle, angle_share = np.polynomial.legendre.leggauss(_AZIMUTH)
    cos_polar = (cos_polar + 1) / 2
    angle = (angle + 1) * np.pi / 4
    sin_polar = np.sqrt(1 - cos_polar**2)
    directions = np.stack(
        (
            sin_polar[:, None] * np.cos(angle),
            sin_polar[:, None] * np.sin(angle),
            np.broadcast_to(cos_polar[:, None], (_POLAR, _AZIMUTH)),
        ),
        axis=-1,
    )
    weights = polar_share[:, None] * angle_share / 4
    return directions.reshape(-1, 3), weights.reshape(-1)


class Decay:
    """Mean decay of the energy in a lattice of image sources.

    Arguments
    ---------
    room_size : sequence of float
        Three lengths in metres.
    absorption : sequence of float
        Six energy absorption coefficients (x0, x1, y0, y1, z0, z1).
    sound_speed : float
        Metres per second.
    air_absorption : float
        Energy attenuation of the air per metre.

    Example
    -------
    >>> decay = Decay([5.0, 4.0, 3.0], [0.3] * 6)
    >>> 0.3 < decay.t60() < 0.4
    True
    """

    def __init__(
        self, room_size, absorption, sound_speed=343.0, air_absorption=0.0
    ):
        size = np.asarray(room_size, dtype=np.float64)
        walls = np.asarray(absorption, dtype=np.float64).reshape(3, 2)
        # A wall that reflects nothing: cut at -400 dB a reflection.
        kept = np.maximum(1.0 - walls, 1e-40)
        per_metre = -0.5 * np.log(kept).sum(axis=1) / size
        directions, self._weights = _octant()
        self._rates = sound_speed * (directions @ per_metre + air_absorption)
        self._scale = 4 * math.pi * sound_speed / size.prod()
        self.sound_speed = sound_speed

    def energy(self, time):
        """Energy arriving per second, for a source of amplitude 1 at 1 m.

        Arguments
        ---------
        time : numpy.ndarray
            Seconds after emission, any shape.

        Returns
        -------
        numpy.ndarray
            Same shape.

        Example
        -------
        >>> round(float(Decay([5, 4, 3], [0.3] * 6).energy(0.0)), 2)
        71.84
        """
        time = np.asarray(time, dtype=np.float64)
        decayed = np.exp(-time[..., None] * self._rates)
        return self._scale * (decayed @ self._weights)

    def mean(self, time):
        """Mean sound pressure per second of an all-positive lattice.

        Images at distance r = c t have amplitude 1 / r and number 4 pi r^2
        c / V per second.

        Arguments
        ---------
        time : numpy.ndarray
            Seconds after emission, any shape.

        Returns
        -------
        numpy.ndarray
            Same shape.

        Example
        -------
        >>> float(Decay([5, 4, 3], [0.3] * 6).mean(0.0))
        0.0
        """
        time = np.asarray(time, dtype=np.float64)
        decayed = np.exp(-0.5 * time[..., None] * self._rates)
        distance = self.sound_speed * time
        return self._scale * distance * (decayed @ self._weights)

    def samples(self, quantity, num_samples, fs):
        """A quantity at all samples, by interpolation.

        Arguments
        ---------
        quantity : callable
            ``energy`` or ``mean`` of this decay.
        num_samples : int
            Number of samples from the emission on.
        fs : int
            Sampling rate in Hz.

        Returns
        -------
        numpy.ndarray
            Per sample (not per second), float32 [num_samples].

        Example
        -------
        >>> decay = Decay([5.0, 4.0, 3.0], [0.3] * 6)
        >>> decay.samples(decay.energy, 4, 16000).shape
        (4,)
        """
        knots = np.linspace(0, num_samples / fs, 97)
        values = quantity(knots) / fs
        time = np.arange(num_samples) / fs
        return np.interp(time, knots, values).astype(np.float32)

    def level_time(self, level):
        """Time at which the energy still to come has fallen by a level.

        Arguments
        ---------
        level : float or numpy.ndarray
            Decibels below the start, positive.

        Returns
        -------
        numpy.ndarray
            Seconds.

        Example
        -------
        >>> decay = Decay([5.0, 4.0, 3.0], [0.3] * 6)
        >>> bool(decay.level_time(30.0) > 2 * decay.level_time(10.0))
        True
        """
        level = np.asarray(level, dtype=np.float64)
        if not self._rates.any():
            return np.full(level.shape, math.inf)
        # Between the fastest and the slowest direction's own time.
        nepers = level.max() * math.log(10) / 10
        time = nepers / self._rates.min() * np.linspace(0, 1, 129) ** 2
        return np.interp(level, self._curve(time), time)

    def _curve(self, time):
        """Energy still to come, in decibels below its start."""
        share = self._weights / self._rates
        left = np.exp(-time[:, None] * self._rates) @ share
        return -10 * np.log10(left / share.sum())

    def t60(self):
        """Reverberation time: T20 of the mean decay.

        Returns
        -------
        float
            Seconds; infinite when nothing is absorbed.

        Example
        -------
        >>> Decay([5.0, 4.0, 3.0], [0.0] * 6).t60()
        inf
        """
        start, stop = self.level_time(np.array([5.0, 25.0]))
        if not math.isfinite(stop):
            return math.inf
        time = np.linspace(start, stop, 33)
        centred = time - time.mean()
        slope = (centred @ self._curve(time)) / (centred @ centred)
        return float(60.0 / slope)


@functools.lru_cache(maxsize=4096)
def _unit_t60(room_size, sound_speed):
    """T60 of a room that loses one neper of energy at every reflection."""
    return Decay(room_size, [1 - math.exp(-1)] * _WALLS, sound_speed).t60()


def _air_t60(sound_speed, air_absorption):
    """Reverberation time where walls absorb nothing, seconds; may be inf."""
    if air_absorption == 0:
        return math.inf
    return 6 * math.log(10) / (sound_speed * air_absorption)


def air_loss(num_samples, fs, sound_speed, air_absorption):
    """Amplitude that the air leaves of what arrives at each sample.

    Arguments
    ---------
    num_samples : int
        Number of samples from the emission on.
    fs : int
        Sampling rate in Hz.
    sound_speed : float
        Metres per second.
    air_absorption : float
        Energy attenuation of the air per metre.

    Returns
    -------
    numpy.ndarray
        float32 [num_samples].

    Example
    -------
    >>> air_loss(3, 16000, 343.0, 0.0)
    array([1., 1., 1.], dtype=float32)
    """
    distance = np.arange(num_samples) * (sound_speed / fs)
    return np.exp(-0.5 * air_absorption * distance).astype(np.float32)


def absorption_for_t60(room_size, t60, sound_speed=343.0, air_absorption=0.0):
    """Absorption with which the lattice has a reverberation time.

    Without air the decay depends on time times -ln(1 - a) only, so one
    evaluation of the integral serves all times. Air is met by secant
    steps from there.

    Arguments
    ---------
    room_size : sequence of float
        Three lengths in metres.
    t60 : float
        Seconds.
    sound_speed : float
        Metres per second.
    air_absorption : float
        Energy attenuation of the air per metre.

    Returns
    -------
    float
        Energy absorption coefficient of all walls, in (0, 1).

    Raises
    ------
    ValueError
        If the air alone absorbs more than the reverberation time allows.

    Example
    -------
    >>> absorption = absorption_for_t60([5.0, 4.0, 3.0], 0.5)
    >>> round(Decay([5.0, 4.0, 3.0], [absorption] * 6).t60(), 4)
    0.5
    """
    size = tuple(float(length) for length in room_size)
    unit = _unit_t60(size, float(sound_speed))
    if air_absorption == 0:
        return 1 - math.exp(-unit / t60)
    longest = _air_t60(sound_speed, air_absorption)
    if t60 >= longest:
        raise ValueError(
            f"t60 {t60:g} s cannot be reached: the air alone "
            f"(air_absorption {air_absorption:g} per metre) limits it to "
            f"{longest:.3f} s; lower t60 or air_absorption"
        )
    rate = 1 / t60 - 1 / longest
    for _ in range(4):
        absorption = 1 - math.exp(-unit * rate)
        decay = Decay(size, [absorption] * _WALLS, sound_speed, air_absorption)
        rate *= (1 / t60 - 1 / longest) / (1 / decay.t60() - 1 / longest)
    return 1 - math.exp(-unit * rate)


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
    longest = _air_t60(sound_speed, air)
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
        rir, rate = energy.sqrt(), fs / _BLOCK
        measured = measure_t60(rir, rate, floor=NoiseFloor.absent(rir))
        t60 = float(measured.nanmean())
    return t60
