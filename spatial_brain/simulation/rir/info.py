"""What is known about simulated impulse responses."""

from dataclasses import dataclass

import torch

from spatial_brain.geometry import unit_to_azel
from spatial_brain.simulation import acoustics


@dataclass(frozen=True)
class RirInfo:
    """Facts about the responses of one room.

    Arguments
    ---------
    backend : str
        What simulated them.
    requested_t60 : float or None
        Seconds; None when absorption was given.
    absorption : tuple or None
        Six energy absorption coefficients used (x0, x1, y0, y1, z0, z1); None
        where the back end has no walls.
    t60 : torch.Tensor
        Measured (T20), seconds, [S, M]; NaN where it cannot be measured.
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
    t60: torch.Tensor
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


def describe(full, scene, settings, backend, absorption):
    """Measure responses and collect the facts about them.

    Arguments
    ---------
    full : torch.Tensor
        float32 [S, M, N].
    scene : Scene
        The room.
    settings : Settings
        How it was simulated.
    backend : str
        What simulated it.
    absorption : tuple or None
        Six coefficients.

    Returns
    -------
    RirInfo
        Float32 tensors on the CPU.

    Example
    -------
    >>> from spatial_brain.simulation.rooms import Room
    >>> from spatial_brain.simulation.rir.checks import Settings, check_scene
    >>> room = Room([5, 4, 3], [[3, 2, 1]], [[2, 2, 1]], absorption=1.0)
    >>> scene = check_scene(room, Settings())
    >>> info = describe(torch.ones(1, 1, 9), scene, Settings(), "none", None)
    >>> info.distance.item(), info.azimuth.item()
    (1.0, 0.0)
    """
    fs, rir = settings.fs, full.cpu()
    arrival = acoustics.direct_sample(
        scene.sources, scene.microphones, fs, settings.sound_speed
    )
    azimuth, elevation = unit_to_azel(
        scene.sources[:, None] - scene.microphones
    )
    measured = {
        "t60": acoustics.t60(rir, fs),
        "drr": acoustics.drr(rir, fs, arrival),
        "c50": acoustics.c50(rir, fs, arrival),
        "distance": scene.distances,
        "azimuth": azimuth,
        "elevation": elevation,
        "tdoa": acoustics.tdoa(
            scene.microphones, scene.sources, settings.sound_speed
        ),
    }
    return RirInfo(
        backend,
        scene.t60,
        absorption,
        **{name: value.float() for name, value in measured.items()},
    )
