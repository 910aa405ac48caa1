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
energy; ``calibration`` corrects what it gives by what responses measure.
"""

import functools
import math

import numpy as np
from scipy.optimize import brentq

from spatial_brain.simulation.acoustics import UnreachableT60

# Points of the integral over an octant of directions.
_POLAR, _AZIMUTH = 10, 12
_WALLS = 6


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


def air_t60(sound_speed, air_absorption):
    """Reverberation time where walls absorb nothing.

    Arguments
    ---------
    sound_speed : float
        Metres per second.
    air_absorption : float
        Energy attenuation of the air per metre.

    Returns
    -------
    float
        Seconds; infinite without absorption of the air.

    Example
    -------
    >>> round(air_t60(343.0, 0.01), 2)
    4.03
    """
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
    longest = air_t60(sound_speed, air_absorption)
    if t60 >= longest:
        raise UnreachableT60(
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


def walls_for_t60(
    room_size, t60, ratios=None, sound_speed=343.0, air_absorption=0.0
):
    """Absorption of six walls with which the lattice has a reverberation time.

    Arguments
    ---------
    room_size : sequence of float
        Three lengths in metres.
    t60 : float
        Seconds.
    ratios : sequence of float, optional
        Six energy absorption coefficients of which only the ratios count;
        default: all alike.
    sound_speed : float
        Metres per second.
    air_absorption : float
        Energy attenuation of the air per metre.

    Returns
    -------
    tuple
        Six energy absorption coefficients (x0, x1, y0, y1, z0, z1). Where
        the ratios do not reach the reverberation time, the largest is one.

    Raises
    ------
    ValueError
        If the air alone absorbs more than the reverberation time allows.

    Example
    -------
    >>> walls = walls_for_t60([5.0, 4.0, 3.0], 0.5, [1, 1, 1, 1, 2, 2])
    >>> round(walls[4] / walls[0], 6)
    2.0
    >>> round(Decay([5.0, 4.0, 3.0], walls).t60(), 4)
    0.5
    """
    medium = sound_speed, air_absorption
    alike = absorption_for_t60(room_size, t60, *medium)
    if ratios is None or len(set(ratios)) == 1:
        return (alike,) * _WALLS
    ratios = np.asarray(ratios, dtype=np.float64)
    ratios = ratios / ratios.max()

    def excess(scale):
        return math.log(Decay(room_size, scale * ratios, *medium).t60() / t60)

    if excess(1.0) > 0:
        return tuple(ratios.tolist())
    # No wall absorbs more than the largest, so that one is above ``alike``.
    scale = brentq(excess, 0.5 * alike, 1.0, xtol=1e-9)
    return tuple((scale * ratios).tolist())
