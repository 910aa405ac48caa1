"""Checks of what users give, and the plain structures they become."""

import math
from dataclasses import dataclass, replace

import torch

from spatial_brain.simulation.acoustics import UnreachableT60, minimal_t60
from spatial_brain.simulation.materials import (
    BandValues,
    band_values,
    finite_numbers,
    wall_absorption,
)
from spatial_brain.simulation.rir.fractional_delay import SKIRT
from spatial_brain.simulation.rir.patterns import Patterns, resolve_patterns

# Closer than this, 1 / distance is no sound pressure any more.
_CLOSEST = 1e-3
# Longer than the requested T60 by this, walls decide on the length.
_MUCH = 1.15


@dataclass(frozen=True)
class RirScene:
    """One room with its sources and microphones, checked.

    Arguments
    ---------
    size : torch.Tensor
        Metres, float64 [3].
    sources : torch.Tensor
        Metres, float64 [S, 3].
    microphones : torch.Tensor
        Metres, float64 [M, 3].
    t60 : float or tuple or None
        Requested reverberation time, seconds; with ``bands`` one each.
    absorption : tuple or None
        Six energy absorption coefficients; with ``bands`` one such tuple each.
        With ``t60`` only their ratios count, or None for walls alike.
    mic_patterns : Patterns
        Of the microphones.
    source_patterns : Patterns
        Of the sources.
    bands : tuple or None
        Centres of octaves in hertz, where something depends on frequency.
    """

    size: torch.Tensor
    sources: torch.Tensor
    microphones: torch.Tensor
    t60: float | tuple | None
    absorption: tuple | None
    mic_patterns: Patterns
    source_patterns: Patterns
    bands: tuple | None = None

    def in_band(self, index):
        """The room as it is in one octave."""
        t60, absorption = (
            None if values is None else values[index]
            for values in (self.t60, self.absorption)
        )
        return replace(self, t60=t60, absorption=absorption, bands=None)

    @property
    def longest_t60(self):
        """Requested T60, that of the slowest octave, or None; seconds."""
        return max(self.t60) if isinstance(self.t60, tuple) else self.t60

    @property
    def distances(self):
        """Distances of all pairs, metres, float64 [S, M]."""
        return torch.linalg.vector_norm(
            self.sources[:, None] - self.microphones, dim=-1
        )

    @property
    def is_omni(self):
        """Whether no source and no microphone has a direction."""
        return self.mic_patterns.is_omni and self.source_patterns.is_omni


@dataclass(frozen=True)
class Settings:
    """How to simulate, the same for all rooms of a call.

    Arguments
    ---------
    fs : int
        Sampling rate in Hz.
    duration : float or None
        Length in seconds; None for as long as the room needs.
    high_pass : bool
        Whether to remove what builds up below 10 Hz.
    device : torch.device
        Where to compute.
    generator : torch.Generator or None
        Source of random numbers; None for the global one of torch.
    diffuse_from : float or None
        Level in dB at which a diffuse tail takes over.
    max_order : int or None
        Largest number of reflections.
    sound_speed : float
        Metres per second.
    air_absorption : float
        Energy attenuation of the air per metre.
    """

    fs: int = 16000
    duration: float | None = None
    high_pass: bool = True
    device: torch.device = torch.device("cpu")
    generator: torch.Generator | None = None
    diffuse_from: float | None = None
    max_order: int | None = None
    sound_speed: float = 343.0
    air_absorption: float = 0.0

    def __post_init__(self):
        for name in ("fs", "sound_speed"):
            _positive(name, getattr(self, name))
        for name in ("duration", "diffuse_from"):
            if getattr(self, name) is not None:
                _positive(name, getattr(self, name))
        if not 0 <= self.air_absorption < math.inf:
            raise ValueError(
                "air_absorption must be finite and at least 0 per metre, got "
                f"{self.air_absorption}"
            )
        if self.max_order is not None and not (
            isinstance(self.max_order, int) and self.max_order >= 0
        ):
            raise ValueError(
                "max_order must be an integer of at least 0, got "
                f"{self.max_order!r}"
            )
        if self.max_order is not None and self.diffuse_from is not None:
            raise ValueError(
                "max_order and diffuse_from both say where image sources "
                "end; give one of them"
            )

    @property
    def only_direct(self):
        """Whether reflections are left out."""
        return self.max_order == 0


def _positive(name, value):
    """Raise ValueError unless ``value`` is finite and above zero."""
    if not (isinstance(value, (int, float)) and 0 < value < math.inf):
        raise ValueError(f"{name} must be positive and finite, got {value!r}")


def check_scene(room, settings):
    """Check a room and turn it into tensors on the CPU.

    Arguments
    ---------
    room : Room
        Anything with the attributes of ``spatial_brain.simulation.rooms.Room``.
    settings : Settings
        How it will be simulated.

    Returns
    -------
    RirScene
        The same, as double-precision tensors.

    Raises
    ------
    ValueError
        If a shape is wrong, a value not finite, something lies in a wall or
        outside, a source and a microphone coincide, neither T60 nor
        absorption is given (direct paths alone need none), both are and do
        not fit, or the direct path arrives after the end.

    Example
    -------
    >>> from spatial_brain.simulation.rooms import Room
    >>> room = Room([5, 4, 3], [[1, 1, 1]], [[2, 2, 2]], t60=0.4)
    >>> check_scene(room, Settings()).distances
    tensor([[1.7321]], dtype=torch.float64)
    """
    size = finite_numbers("room_size", room.size)
    if size.shape != (3,) or not bool((size > 0).all()):
        raise ValueError(
            "room_size must be three positive lengths in metres, got "
            f"{size.tolist()}"
        )
    sources = _points("sources", room.sources, size)
    microphones = _points("microphones", room.microphones, size)
    t60, absorption, bands = _decay(room, size, settings)
    scene = RirScene(
        size,
        sources,
        microphones,
        t60,
        absorption,
        resolve_patterns(
            room.mic_pattern, room.mic_orientation, len(microphones)
        ),
        resolve_patterns(
            room.source_pattern, room.source_orientation, len(sources), "source"
        ),
        bands,
    )
    _check_distances(scene, settings)
    return scene


def _points(name, value, size):
    """Check positions [n, 3] strictly inside the room."""
    points = finite_numbers(name, value)
    if points.ndim != 2 or points.shape[1] != 3 or len(points) == 0:
        raise ValueError(
            f"{name} must be positions of shape [n, 3], n at least 1, got "
            f"{tuple(points.shape)}"
        )
    outside = ((points <= 0) | (points >= size)).any(dim=1).nonzero()
    if len(outside):
        index = int(outside[0])
        raise ValueError(
            f"{name}[{index}] at {points[index].tolist()} m lies in a wall or "
            f"outside the room of {size.tolist()} m; move it inside"
        )
    return points


def _decay(room, size, settings):
    """Check reverberation time and absorption; with centres of octaves."""
    if room.t60 is room.absorption is None:
        if not settings.only_direct:
            raise ValueError("give t60 or absorption; got neither")
        # Direct paths are the same in any room that can be.
        return max(1.0, 2.0 * float(minimal_t60(size))), None, None
    t60 = walls = None
    if room.t60 is not None:
        t60 = _reverberation(room.t60)
    if room.absorption is not None:
        walls = wall_absorption(room.absorption)
    given = [value for value in (t60, walls) if isinstance(value, BandValues)]
    if len(given) == 0:
        walls = None if walls is None else tuple(walls.tolist())
        _check_both(t60, None if walls is None else [walls])
        return t60, walls, None
    bands = given[0].centres
    if len(given) == 2 and given[1].centres != bands:
        raise ValueError(
            f"t60 has octaves at {bands} Hz and absorption at "
            f"{given[1].centres} Hz; give the same for both"
        )
    if isinstance(t60, float):
        raise ValueError(
            "one t60 with absorption by octaves (or materials) would leave "
            "open which octaves have it; give t60={'bands': [...]}, or one of "
            "them alone"
        )
    t60 = None if t60 is None else tuple(t60.values.tolist())
    if walls is not None:
        rows = walls.values.T if isinstance(walls, BandValues) else walls
        walls = tuple(map(tuple, rows.expand(len(bands), 6).tolist()))
    _check_both(t60, walls)
    return t60, walls, bands


def _reverberation(t60):
    """Check a T60: a float, or values of octaves."""
    if isinstance(t60, dict):
        result = band_values("t60", t60)
        for value in result.values.tolist():
            _positive("t60", value)
        return result
    value = finite_numbers("t60", t60)
    if value.numel() != 1:
        raise ValueError(
            f"t60 must be one number of seconds, got {value.tolist()}; octaves "
            "are given as {'bands': [...]}"
        )
    _positive("t60", float(value))
    return float(value)


def _check_both(t60, rows):
    """Check that a T60 and absorption (six walls an octave) fit."""
    if t60 is None or rows is None:
        return
    if all(len(set(walls)) == 1 for walls in rows):
        raise ValueError(
            "give either t60 or absorption; got both. With t60 the absorption "
            "of the walls says how they differ; here they are alike"
        )
    if any(max(walls) == 0 for walls in rows):
        raise ValueError(
            "with t60 absorption says how the walls differ, and one at least "
            "must be above 0"
        )


def _check_distances(scene, settings):
    """Check that sources and microphones differ and sound arrives in time."""
    distances = scene.distances
    source, microphone = divmod(int(distances.argmin()), distances.shape[1])
    if float(distances.min()) < _CLOSEST:
        raise ValueError(
            f"sources[{source}] and microphones[{microphone}] coincide at "
            f"{scene.sources[source].tolist()} m; keep them at least "
            f"{_CLOSEST * 1e3:g} mm apart"
        )
    if settings.duration is None:
        return
    source, microphone = divmod(int(distances.argmax()), distances.shape[1])
    arrival = float(distances.max()) / settings.sound_speed
    if arrival >= settings.duration:
        raise ValueError(
            f"the direct path from sources[{source}] to "
            f"microphones[{microphone}] arrives after {arrival:.4f} s, which "
            f"is outside duration {settings.duration:g} s; give a longer one"
        )


def check_reachable(scene, settings):
    """Check that walls can give the requested reverberation time.

    Arguments
    ---------
    scene : RirScene
        The room.
    settings : Settings
        How it is simulated.

    Raises
    ------
    UnreachableT60
        If the T60 is below Sabine's for full absorption.

    Example
    -------
    >>> from spatial_brain.simulation.rooms import Room
    >>> room = Room([5, 4, 3], [[1, 1, 1]], [[2, 2, 2]], t60=0.1)
    >>> check_reachable(check_scene(room, Settings()), Settings())
    Traceback (most recent call last):
    spatial_brain.simulation.acoustics.UnreachableT60: t60 0.1 s cannot be
    reached in a room of [5.0, 4.0, 3.0] m: ...
    """
    if scene.t60 is None:
        return
    least = float(minimal_t60(scene.size, settings.sound_speed))
    t60 = scene.t60 if scene.bands is None else min(scene.t60)
    if t60 < least:
        raise UnreachableT60(
            f"t60 {t60:g} s cannot be reached in a room of "
            f"{scene.size.tolist()} m: even walls that absorb everything give "
            f"{least:.3f} s by Sabine's formula; ask for at least that, or "
            "give absorption"
        )


def response_length(scene, settings, natural_t60):
    """Number of samples of the responses of a room.

    Without a given duration it holds the reverberation time and at least
    half of it after the last direct path, which is what T20 needs.

    Arguments
    ---------
    scene : RirScene
        The room.
    settings : Settings
        How it is simulated.
    natural_t60 : callable
        Gives the T60 of the walls in seconds where absorption was given.

    Returns
    -------
    int
        Samples.

    Raises
    ------
    ValueError
        If no duration is given and nothing absorbs the sound.

    Example
    -------
    >>> from spatial_brain.simulation.rooms import Room
    >>> room = Room([5, 4, 3], [[1, 1, 1]], [[2, 2, 2]], t60=0.4)
    >>> scene = check_scene(room, Settings())
    >>> response_length(scene, Settings(), None)
    6400
    """
    duration = settings.duration
    if duration is None:
        last = float(scene.distances.max()) / settings.sound_speed
        last += SKIRT / settings.fs
        if settings.only_direct:
            duration = last
        else:
            t60 = scene.longest_t60
            if t60 is None or scene.absorption is not None:
                # Ratios of walls may give much more than was asked for.
                natural = natural_t60()
                is_met = t60 is not None and natural < _MUCH * t60
                t60 = t60 if is_met else natural
            if not math.isfinite(t60):
                raise ValueError(
                    "walls and air absorb nothing, so the response never "
                    "ends; give duration, or absorption above 0"
                )
            duration = max(t60, last + 0.5 * t60)
    # Rounding must not turn 0.3 s at 16 kHz into 4801 samples.
    return math.ceil(round(duration * settings.fs, 6))
