"""A stand-in for the room responses of the reverberant Binaural-WSJ0Mix.

Same folders, names and formats as the "BRIR Sim Set" of the IoSR, Surrey:
``CATT_RIRs/Binaural/16k/0_4s/CATT_0_4s_-45.wav``. As there, a room each
reverberation time, and sources in front of the head 1.5 m away; unlike there,
every room has its own size and head.
"""

from functools import partial
from pathlib import Path

import numpy as np
import torch

from spatial_brain.dataio.audio import write_audio
from spatial_brain.dataio.progress import progress
from spatial_brain.dataio.workers import run_jobs
from spatial_brain.datasets.binaural_listeners import ROOM_T60S, room_name
from spatial_brain.datasets.lookalikes import claim
from spatial_brain.geometry import azel_to_unit
from spatial_brain.simulation.binaural_rooms import HeadRoom
from spatial_brain.simulation.hrtf_sphere import (
    draw_head,
    spherical_head_responses,
)
from spatial_brain.simulation.reverberation import minimal_t60

# Azimuths of the sources, degrees, positive to the right.
ROOM_AZIMUTHS = tuple(range(-90, 91, 5))
_FS, _DISTANCE = 16000, 1.5
# Smallest and largest room, metres, and what is kept from the walls.
_SMALLEST, _LARGEST, _MARGIN = (3.2, 3.8, 2.4), (9.0, 8.0, 3.5), 0.3
_EAR_HEIGHT = 1.5
# Loudest sample of a room's responses.
_PEAK = 0.9


def write_rooms_lookalike(
    folder, t60s=None, azimuths=ROOM_AZIMUTHS, *, seed=0, num_workers=1
):
    """Simulate the room responses of all sets.

    Arguments
    ---------
    folder : str or Path
        Gets ``CATT_RIRs``.
    t60s : sequence of float, optional
        Seconds; default those of ``ROOM_T60S``.
    azimuths : sequence of int
        Degrees, positive to the right, in [-90, 90].
    seed : int
        Of rooms and heads; the same seed writes the same files, but for
        rounding.
    num_workers : int
        Processes.

    Returns
    -------
    Path
        The folder ``CATT_RIRs``.

    Raises
    ------
    ValueError
        If real data lie there, or no room can have such a T60.

    Example
    -------
    >>> root = write_rooms_lookalike(getfixture("tmp_path"), [0.2], [-45, 45])
    >>> sorted(path.name for path in root.rglob("*.wav"))
    ['CATT_0_2s_-45.wav', 'CATT_0_2s_45.wav']
    """
    if t60s is None:
        t60s = sorted(t60 for part in ROOM_T60S.values() for t60 in part)
    azimuths = [int(azimuth) for azimuth in azimuths]
    root = Path(folder, "CATT_RIRs")
    options = {"t60s": list(t60s), "azimuths": azimuths, "seed": seed}
    claim(root, options)
    paths = {
        t60: [
            root / "Binaural" / "16k" / room_name(t60) / name
            for name in (
                f"CATT_{room_name(t60)}_{azimuth}.wav" for azimuth in azimuths
            )
        ]
        for t60 in t60s
    }
    missing = [t60 for t60 in t60s if not all(p.is_file() for p in paths[t60])]
    job = partial(_room_responses, azimuths=azimuths, seed=seed)
    for index, responses in progress(
        run_jobs(job, missing, num_workers),
        total=len(missing),
        description="simulating rooms",
        unit="room",
    ):
        for path, response in zip(
            paths[missing[index]], responses, strict=True
        ):
            write_audio(path, response.T, _FS, subtype="PCM_24")
    return root


def _room_responses(t60, azimuths, seed):
    """Responses of one room, [azimuth, 2, N]."""
    rng = np.random.default_rng([seed, round(1000 * t60)])
    size = _draw_size(t60, rng)
    # In front of the head there is place for all sources.
    low = np.array([_MARGIN, _DISTANCE + _MARGIN])
    high = np.array([size[0] - low[1], size[1] - low[1]])
    center = [*rng.uniform(low, high).tolist(), _EAR_HEIGHT]
    head = draw_head(f"room {room_name(t60)}", seed)
    gains = 10.0 ** (np.array(head.pop("gains_db")) / 20.0)
    room = HeadRoom(
        size,
        t60,
        center,
        _FS,
        head=partial(spherical_head_responses, fs=_FS, **head),
    )
    directions = azel_to_unit(-torch.tensor(azimuths, dtype=torch.float64), 0.0)
    sources = torch.tensor(center, dtype=torch.float64) + _DISTANCE * directions
    responses = room.binaural(sources, int(rng.integers(2**31)))
    responses = responses * torch.from_numpy(gains).float()[:, None]
    return responses * (_PEAK / float(responses.abs().max()))


def _draw_size(t60, rng):
    """Size of a room that can have a reverberation time, metres."""
    for _ in range(1000):
        size = rng.uniform(_SMALLEST, _LARGEST).tolist()
        if float(minimal_t60(torch.tensor(size))) <= 0.9 * t60:
            return size
    raise ValueError(
        f"no room of at least {_SMALLEST} m can have a T60 of {t60} s; the "
        f"least is {float(minimal_t60(torch.tensor(_SMALLEST))):.3f} s"
    )
