"""Impulse responses of shoebox rooms: one function for all back ends."""

import logging
import math
from dataclasses import dataclass, replace
from importlib import import_module

import torch

from spatial_brain.geometry import SPEED_OF_SOUND, unit_to_azel
from spatial_brain.simulation import acoustics
from spatial_brain.simulation.noise_floor import NoiseFloor
from spatial_brain.simulation.rir.bands import simulate_scenes
from spatial_brain.simulation.rir.calibration import TOLERANCE
from spatial_brain.simulation.rir.checks import (
    Settings,
    check_reachable,
    check_scene,
)
from spatial_brain.simulation.rir.lattice import single_threaded
from spatial_brain.simulation.room_parameters import octave_band
from spatial_brain.simulation.rooms import Room

logger = logging.getLogger(__name__)

# Module of each back end, and what it cannot do; "auto" is the first.
BACKENDS = {
    "image_source": ("image_source", ()),
    "fra": ("fra", ("absorption", "diffuse_from", "air_absorption")),
    "fra_corrected": (
        "fra_corrected",
        ("absorption", "diffuse_from", "air_absorption"),
    ),
    "pyroomacoustics": (
        "pyroom",
        ("patterns", "diffuse_from", "air_absorption"),
    ),
    "gpurir": ("gpurir", ("patterns", "air_absorption")),
}
# Modules that take rooms with octaves as they are.
_WITH_BANDS = ("pyroom",)


@dataclass(frozen=True)
class RirInfo:
    """Facts about the responses of one room.

    Arguments
    ---------
    backend : str
        What simulated them.
    requested_t60 : float or tuple or None
        Seconds, or a tuple of octaves; None when absorption alone was given,
        and of direct paths alone.
    absorption : tuple or None
        Six energy absorption coefficients used (x0, x1, y0, y1, z0, z1), each
        a tuple of octaves if there are ``bands``; None where the back end has
        no walls.
    bands : tuple or None
        Centres of octaves in hertz, where walls or T60 depend on frequency.
    t60 : torch.Tensor
        Measured (T20), seconds, [S, M]; NaN where it cannot be measured.
    band_t60 : torch.Tensor or None
        The same in each of ``bands``, [S, M, B].
    drr : torch.Tensor
        Direct-to-reverberant ratio within 2.5 ms around the direct path,
        decibels, [S, M].
    c50 : torch.Tensor
        Clarity, decibels, [S, M].
    distance : torch.Tensor
        Metres, [S, M].
    azimuth : torch.Tensor
        Direction of the source from the microphone, room frame, degrees,
        [S, M].
    elevation : torch.Tensor
        Degrees, [S, M].
    tdoa : torch.Tensor
        Arrival relative to microphone 0 from the geometry, seconds, positive
        where the sound reaches the microphone before microphone 0, [S, M].
    """

    backend: str
    requested_t60: float | None
    absorption: tuple | None
    bands: tuple | None
    t60: torch.Tensor
    band_t60: torch.Tensor | None
    drr: torch.Tensor
    c50: torch.Tensor
    distance: torch.Tensor
    azimuth: torch.Tensor
    elevation: torch.Tensor
    tdoa: torch.Tensor


@dataclass(frozen=True)
class RirDetails:
    """Responses of one room with their direct twins and facts.

    Arguments
    ---------
    full : torch.Tensor
        float32 [S, M, N].
    direct : torch.Tensor
        Direct paths alone, float32 [S, M, N].
    fs : int
        Sampling rate in Hz.
    info : RirInfo
        Facts per pair.
    """

    full: torch.Tensor
    direct: torch.Tensor
    fs: int
    info: RirInfo


def _describe(full, scene, settings, backend, absorption):
    """Measure responses [S, M, N] and collect the facts about them."""
    fs, rir = settings.fs, full.cpu()
    arrival = acoustics.direct_sample(
        scene.sources, scene.microphones, fs, settings.sound_speed
    )
    azimuth, elevation = unit_to_azel(
        scene.sources[:, None] - scene.microphones
    )
    clean = NoiseFloor.absent(rir[0])
    # Source by source: the measures work in double precision.
    pairs = list(zip(rir, arrival, strict=True))
    measured = {
        "t60": torch.stack(
            [acoustics.t60(part, fs, floor=clean) for part, _ in pairs]
        ),
        "drr": torch.stack(
            [acoustics.drr(part, fs, at, floor=clean) for part, at in pairs]
        ),
        "c50": torch.stack(
            [acoustics.c50(part, fs, at, floor=clean) for part, at in pairs]
        ),
        "distance": scene.distances,
        "azimuth": azimuth,
        "elevation": elevation,
        "tdoa": acoustics.tdoa(
            scene.microphones, scene.sources, settings.sound_speed
        ),
    }
    if scene.bands is not None:
        has_walls = absorption[0] is not None
        absorption = tuple(zip(*absorption, strict=True)) if has_walls else None
    return RirInfo(
        backend=backend,
        requested_t60=None if settings.only_direct else scene.t60,
        absorption=absorption,
        bands=scene.bands,
        band_t60=_band_t60(rir, fs, scene.bands),
        **{name: value.float() for name, value in measured.items()},
    )


def _band_t60(rir, fs, bands):
    """T60 in octaves, float32 [S, M, B]; NaN above half the sampling rate."""
    if bands is None:
        return None
    clean = NoiseFloor.absent(rir)
    result = torch.full((*rir.shape[:-1], len(bands)), math.nan)
    for index, centre in enumerate(bands):
        if centre * math.sqrt(2) < fs / 2:
            part = octave_band(rir, fs, centre)
            result[..., index] = acoustics.t60(part, fs, floor=clean)
    return result


def simulate_rir(
    room_size,
    sources,
    microphones,
    *,
    fs=16000,
    t60=None,
    absorption=None,
    backend="auto",
    duration=None,
    high_pass=True,
    device=None,
    generator=None,
    mic_pattern="omni",
    mic_orientation=None,
    source_pattern="omni",
    source_orientation=None,
    diffuse_from=None,
    max_order=None,
    direct_only=False,
    sound_speed=SPEED_OF_SOUND,
    air_absorption=0.0,
    details=False,
):
    """Simulate the impulse responses of a shoebox room.

    Sample 0 is the moment of emission; the direct path arrives at
    distance / sound_speed * fs with amplitude 1 / distance, and reflections
    are positive. With ``t60`` and ``high_pass`` the walls are such that the
    measured T60 (T20) is the requested one within 15 % (mean over places), in
    small rooms too; where they cannot, what they reach is logged, and stands
    in ``info.t60``. The back end "fra" keeps the level, delay and decay of its
    reference instead.

    Arguments
    ---------
    room_size : torch.Tensor or sequence
        Metres, shape [3]; the origin is a corner.
    sources : torch.Tensor or sequence
        Positions in metres, shape [S, 3].
    microphones : torch.Tensor or sequence
        Positions in metres, shape [M, 3].
    fs : int
        Sampling rate in Hz.
    t60 : float or dict, optional
        Reverberation time in seconds; ``{"bands": [...]}`` for seven octaves
        from 125 Hz to 8 kHz, with "centres" for others. Give this or
        ``absorption``, or both: the ratios between the walls are then kept.
    absorption : float or str or sequence or dict, optional
        Energy absorption coefficient of all walls, or of each of
        (x0, x1, y0, y1, z0, z1); names of materials and octaves are taken as
        well, see ``spatial_brain.simulation.materials``.
    backend : str
        "image_source", "fra", "fra_corrected", "pyroomacoustics", "gpurir",
        or "auto" for the best that is there ("image_source").
    duration : float, optional
        Seconds; default: as long as the reverberation.
    high_pass : bool
        Whether to remove what builds up below 10 Hz, in rooms below 20 m3
        below 10 sqrt(20 / V) Hz ("fra": its own 80 Hz).
    device : str or torch.device, optional
        Where to compute; default: where ``sources`` are.
    generator : torch.Generator, optional
        Source of random numbers (CPU) for tails and for "fra"; default: the
        global one of torch.
    mic_pattern : str or callable or list
        "omni", "subcard", "card", "hypcard", "bidir", "homni", a function
        from directions [..., 3] (unit vectors from the microphone to the
        image, room frame) to gains [...], or a list, one a microphone. Four
        coincident microphones "omni" and "bidir" along y, z and x are
        first-order Ambisonics (ACN, SN3D).
    mic_orientation : torch.Tensor or sequence, optional
        Where microphones look, shape [3] or [M, 3].
    source_pattern : str or callable or list
        As ``mic_pattern``; directions are those from the source.
    source_orientation : torch.Tensor or sequence, optional
        Where sources look, shape [3] or [S, 3].
    diffuse_from : float, optional
        Decay in dB after which a diffuse tail with the coherence of a
        diffuse field replaces the image sources; much faster (15 is usual).
    max_order : int, optional
        Largest number of reflections; the T60 is then not met.
    direct_only : bool
        Whether to leave out all reflections: needs no T60.
    sound_speed : float
        Metres per second.
    air_absorption : float
        Energy attenuation of the air per metre.
    details : bool
        Whether to return direct twin and facts as well.

    Returns
    -------
    torch.Tensor or RirDetails
        float32 [S, M, N]; with ``details`` an object with ``full``,
        ``direct``, ``fs`` and ``info``.

    Raises
    ------
    ValueError
        If something lies outside the room or in a wall, shapes are wrong,
        values are not finite, neither ``t60`` nor ``absorption`` is given or
        both do not fit, the T60 cannot be reached, the direct path arrives
        after ``duration``, or the back end is unknown or cannot do what is
        asked.
    ImportError
        If the back end is not installed.

    Example
    -------
    >>> rir = simulate_rir(
    ...     [5, 4, 3], [[1.0, 1.0, 1.5]], [[3.0, 2.0, 1.5]], t60=0.3
    ... )
    >>> rir.shape
    torch.Size([1, 1, 4800])
    >>> rir.argmax().item(), round(5**0.5 / 343 * 16000)
    (104, 104)
    """
    room = Room(
        room_size,
        sources,
        microphones,
        t60,
        absorption,
        mic_pattern,
        mic_orientation,
        source_pattern,
        source_orientation,
    )
    if device is None and isinstance(sources, torch.Tensor):
        device = sources.device
    [result] = _simulate(
        [room],
        backend,
        details,
        fs=fs,
        duration=duration,
        high_pass=high_pass,
        device=torch.device(device or "cpu"),
        generator=generator,
        diffuse_from=diffuse_from,
        max_order=0 if direct_only else max_order,
        sound_speed=sound_speed,
        air_absorption=air_absorption,
    )
    return result


def simulate_rir_batch(
    rooms,
    *,
    fs=16000,
    backend="auto",
    duration=None,
    high_pass=True,
    device=None,
    generator=None,
    diffuse_from=None,
    max_order=None,
    direct_only=False,
    sound_speed=SPEED_OF_SOUND,
    air_absorption=0.0,
    return_lengths=False,
):
    """Simulate many rooms at once.

    Time grows linearly with the number of rooms; on a GPU many rooms share
    each operation, in pieces of bounded memory. Rooms with octaves are
    simulated one by one.

    Arguments
    ---------
    rooms : list of Room
        Rooms of any size and T60, with equal numbers of sources and of
        microphones.
    fs : int
        Sampling rate in Hz.
    backend : str
        As in ``simulate_rir``, like all that follow.
    duration : float, optional
        Seconds, for all rooms; default: as long as each room needs.
    high_pass : bool
        Whether to remove what builds up at low frequencies.
    device : str or torch.device, optional
        Where to compute; default: the CPU.
    generator : torch.Generator, optional
        Source of random numbers, used room after room.
    diffuse_from : float, optional
        Decay in dB after which a diffuse tail takes over.
    max_order : int, optional
        Largest number of reflections.
    direct_only : bool
        Whether to leave out all reflections: needs no T60.
    sound_speed : float
        Metres per second.
    air_absorption : float
        Energy attenuation of the air per metre.
    return_lengths : bool
        Whether to return the lengths as well.

    Returns
    -------
    torch.Tensor or tuple of torch.Tensor
        float32 [R, S, M, N], padded with zeros; with ``return_lengths`` also
        the number of samples of each room, [R].

    Raises
    ------
    ValueError
        As ``simulate_rir``, naming the room; or if there are no rooms or the
        numbers of sources or microphones differ.

    Example
    -------
    >>> rooms = [
    ...     Room([5, 4, 3], [[1, 1, 1]], [[2, 2, 2]], t60=0.2),
    ...     Room([6, 4, 3], [[1, 1, 1]], [[2, 2, 2]], t60=0.3),
    ... ]
    >>> rirs, lengths = simulate_rir_batch(rooms, return_lengths=True)
    >>> rirs.shape, lengths.tolist()
    (torch.Size([2, 1, 1, 4800]), [3200, 4800])
    """
    rooms = list(rooms)
    counts = {(len(room.sources), len(room.microphones)) for room in rooms}
    if len(counts) != 1:
        raise ValueError(
            "rooms must be one or more, with equal numbers of sources and "
            f"microphones; got {len(rooms)} rooms with {sorted(counts)}"
        )
    results = _simulate(
        rooms,
        backend,
        False,
        fs=fs,
        duration=duration,
        high_pass=high_pass,
        device=torch.device(device or "cpu"),
        generator=generator,
        diffuse_from=diffuse_from,
        max_order=0 if direct_only else max_order,
        sound_speed=sound_speed,
        air_absorption=air_absorption,
    )
    lengths = torch.tensor([result.shape[-1] for result in results])
    padded = results[0].new_zeros(
        len(rooms), *results[0].shape[:-1], int(lengths.max())
    )
    for index, result in enumerate(results):
        padded[index, ..., : result.shape[-1]] = result
    return (padded, lengths) if return_lengths else padded


@torch.no_grad()
def _simulate(rooms, backend, details, **options):
    """Check rooms and run them through a back end."""
    if backend == "auto":
        backend = next(iter(BACKENDS))
    if backend not in BACKENDS:
        raise ValueError(
            f"unknown backend {backend!r}; use one of auto, "
            f"{', '.join(BACKENDS)}"
        )
    settings = Settings(**options)
    scenes = []
    for index, room in enumerate(rooms):
        try:
            scenes.append(check_scene(room, settings))
            _check_abilities(backend, scenes[-1], settings)
        except ValueError as error:
            if len(rooms) == 1:
                raise
            raise ValueError(f"rooms[{index}]: {error}") from error
    module = import_module(f".{BACKENDS[backend][0]}", __package__)
    # Half precision would cost the accuracy of the delays.
    precise = torch.autocast(settings.device.type, enabled=False)
    with precise, single_threaded():
        results, absorption = _run(module, scenes, settings)
        if not details:
            return results
        return [
            _details(module, backend, *parts, settings)
            for parts in zip(scenes, results, absorption, strict=True)
        ]


def _run(module, scenes, settings):
    """Simulate rooms with a back end; octave by octave unless it has them."""
    if module.__name__.endswith(_WITH_BANDS):
        return module.simulate(scenes, settings)
    return simulate_scenes(module.simulate, scenes, settings)


def _check_abilities(backend, scene, settings):
    """Refuse what a back end cannot do."""
    if not backend.startswith("fra"):  # those have no walls
        check_reachable(scene, settings)
    asked = {
        "absorption": scene.absorption is not None,
        "patterns": not scene.is_omni,
        "diffuse_from": settings.diffuse_from is not None,
        "air_absorption": settings.air_absorption != 0,
    }
    for ability in BACKENDS[backend][1]:
        if asked[ability]:
            raise ValueError(
                f"backend {backend!r} cannot do {ability}; use 'image_source'"
            )


def _details(module, backend, scene, full, absorption, settings):
    """Add the direct twin and the facts to the responses of a room."""
    alone = replace(
        settings,
        max_order=0,
        diffuse_from=None,
        duration=full.shape[-1] / settings.fs,
    )
    [direct], _ = _run(module, [scene], alone)
    info = _describe(full, scene, settings, backend, absorption)
    _compare(info)
    return RirDetails(full, direct, settings.fs, info)


def _compare(info):
    """Log a reverberation time that is not the requested one."""
    measured = info.t60[info.t60.isfinite()]
    if not isinstance(info.requested_t60, float) or len(measured) == 0:
        return
    mean = float(measured.mean())
    if abs(mean / info.requested_t60 - 1) > TOLERANCE:
        logger.warning(
            "t60 %g s was asked for; the responses of %r have %.3f s",
            info.requested_t60,
            info.backend,
            mean,
        )
