"""Simulated rooms with the heads of a set in them.

Each room has a head of its set, a size, a reverberation time and a place for
the head, all drawn; sources are on the lateral angles of CIPIC, in front of the
head at its height, all at one distance. A room is one safetensors file, written
complete or not at all, so that a simulation goes on where it stopped.
"""

from functools import partial
from pathlib import Path

import numpy as np
import safetensors
import safetensors.torch
import torch

from spatial_brain.atomic import atomic_path
from spatial_brain.dataio.parallel import progress, run_jobs
from spatial_brain.datasets.binaural_wsj0mix.brirs import (
    MeasuredRoom,
    RoomResponses,
)
from spatial_brain.datasets.binaural_wsj0mix.sampling import SPLITS
from spatial_brain.datasets.synthetic_data import claim
from spatial_brain.simulation.acoustics import minimal_t60
from spatial_brain.simulation.hrtf import hrtf_for
from spatial_brain.simulation.hrtf.grid import (
    CIPIC_LATERALS,
    interaural_to_unit,
)
from spatial_brain.simulation.hrtf.rooms import HeadRoom

# Smallest and largest room, metres; least distance of sources from walls; and
# height of the ears.
_SMALLEST, _LARGEST, _MARGIN = (3.2, 3.8, 2.4), (9.0, 8.0, 3.5), 0.3
_EAR_HEIGHT = (1.1, 1.7)
# Image sources to this decay, dB, then a diffuse tail.
_DIFFUSE_FROM = 12.0
# Sizes to draw before it is given up.
_TRIES = 1000


def simulate_head_rooms(
    folder,
    heads,
    listeners,
    number,
    *,
    t60=(0.15, 0.5),
    distance=(0.6, 1.5),
    seed=0,
    num_workers=1,
):
    """Simulate the rooms that are not there.

    Arguments
    ---------
    folder : str or Path
        Gets ``<set>_<number>.safetensors``.
    heads : HrtfSet
        At the rate of the responses.
    listeners : dict
        "train", "valid", "test" to names of its heads.
    number : dict
        The same to how many rooms.
    t60, distance : tuple of float
        Bounds of reverberation times, seconds, and of the distance of
        sources, metres.
    seed : int
        Not negative.
    num_workers : int
        Processes.

    Returns
    -------
    dict
        "train", "valid", "test" to a dict of the names of rooms and their
        reverberation times.

    Raises
    ------
    ValueError
        If other rooms lie there, or bounds are no bounds.

    Example
    -------
    >>> from spatial_brain.simulation.hrtf import spherical_head_hrtfs
    >>> rooms = simulate_head_rooms(
    ...     getfixture("tmp_path"),
    ...     spherical_head_hrtfs(8000, 1),
    ...     {"train": ["subject03"]},
    ...     {"train": 1},
    ...     t60=(0.2, 0.2),
    ... )
    >>> rooms
    {'train': {'train_000': 0.2}}
    """
    for name, (low, high) in (("t60", t60), ("distance", distance)):
        if not 0 < low <= high:
            raise ValueError(
                f"rooms need bounds of {name} above 0 in order, got "
                f"{low:g} and {high:g}"
            )
    folder = Path(folder)
    options = {
        "listeners": {part: list(names) for part, names in listeners.items()},
        "number": dict(number),
        "t60": list(t60),
        "distance": list(distance),
        "fs": heads.fs,
        "seed": seed,
    }
    claim(folder, options)
    rooms = {
        split: {
            f"{split}_{index:03d}": _draw(
                listeners[split], (seed, SPLITS.index(split), index), options
            )
            for index in range(count)
        }
        for split, count in number.items()
    }
    jobs = [
        (folder / f"{name}.safetensors", room)
        for part in rooms.values()
        for name, room in part.items()
        if not (folder / f"{name}.safetensors").is_file()
    ]
    for _ in progress(
        run_jobs(partial(_simulate, heads=heads), jobs, num_workers),
        total=len(jobs),
        description="simulating rooms",
        unit="room",
    ):
        pass
    return {
        split: {name: room["t60"] for name, room in part.items()}
        for split, part in rooms.items()
    }


def load_head_rooms(folder, rooms, fs):
    """Rooms that ``simulate_head_rooms`` wrote.

    Arguments
    ---------
    folder : str or Path
        Given to it.
    rooms : dict
        Names to reverberation times, seconds.
    fs : int
        Rate of the heads, Hz.

    Returns
    -------
    RoomResponses
        The rooms.

    Raises
    ------
    FileNotFoundError
        If one is not there.

    Example
    -------
    >>> load_head_rooms("nowhere", {}, 8000).t60s
    {}
    """
    lateral = torch.tensor(CIPIC_LATERALS, dtype=torch.float64)
    directions = interaural_to_unit(lateral, 0.0)
    found = {}
    for name, t60 in rooms.items():
        path = Path(folder, f"{name}.safetensors")
        if not path.is_file():
            raise FileNotFoundError(
                f"{path}: a room of the mixtures is missing; run the "
                "preparation (--skip_prep False)"
            )
        rirs = safetensors.torch.load_file(path)["responses"]
        found[name] = MeasuredRoom(rirs.numpy(), directions, t60)
    return RoomResponses(found, fs)


class HeadsAndRooms:
    """Responses of mixtures in the free field and in rooms.

    For a ``MixtureRenderer``.

    Arguments
    ---------
    heads, rooms : object
        Each with ``fs`` and ``responses(mixture)``; a mixture that names a
        room is of the latter.

    Example
    -------
    >>> rooms = load_head_rooms("nowhere", {}, 8000)
    >>> HeadsAndRooms(rooms, rooms).fs
    8000
    """

    def __init__(self, heads, rooms):
        self.heads, self.rooms, self.fs = heads, rooms, heads.fs

    def responses(self, mixture):
        """Responses of the sources of a mixture.

        Arguments
        ---------
        mixture : BinauralMixture
            The mixture.

        Returns
        -------
        numpy.ndarray
            [C, 2, L], ear 0 left.
        """
        place = self.rooms if mixture.room else self.heads
        return place.responses(mixture)


def draw_room_size(t60, rng, distance=None):
    """Size of a room that can have a reverberation time.

    Arguments
    ---------
    t60 : float
        Seconds.
    rng : numpy.random.Generator
        Source of the choice.
    distance : float, optional
        Metres from the head for which there has to be place, in front of it
        and to its sides.

    Returns
    -------
    list of float
        Length, width and height, metres.

    Raises
    ------
    ValueError
        If there is none.

    Example
    -------
    >>> len(draw_room_size(0.3, np.random.default_rng(0)))
    3
    """
    needed = np.zeros(3)
    if distance is not None:
        needed[:2] = distance + 2 * _MARGIN, 2 * (distance + _MARGIN)
    for _ in range(_TRIES):
        size = rng.uniform(_SMALLEST, _LARGEST).tolist()
        if float(minimal_t60(torch.tensor(size))) <= 0.9 * t60 and all(
            np.array(size) > needed
        ):
            return size
    space = "" if distance is None else f" and room for {distance:g} m"
    least = float(minimal_t60(torch.tensor(_SMALLEST)))
    raise ValueError(
        f"no room of at least {_SMALLEST} m can have a T60 of {t60} s{space}; "
        f"the least is {least:.3f} s"
    )


def _draw(listeners, seed, options):
    """Everything about a room, as plain values."""
    rng = np.random.default_rng(seed)
    t60 = round(float(rng.uniform(*options["t60"])), 3)
    distance = float(rng.uniform(*options["distance"]))
    size = draw_room_size(t60, rng, distance)
    # The head looks along x; all sources are in front of it.
    low = np.array([_MARGIN, distance + _MARGIN])
    high = np.array(size[:2]) - distance - _MARGIN
    center = rng.uniform(low, high).tolist()
    return {
        "t60": t60,
        "distance": distance,
        "size": size,
        "center": [*center, float(rng.uniform(*_EAR_HEIGHT))],
        "head": listeners[rng.integers(len(listeners))],
        "seed": int(rng.integers(2**31)),
    }


def _simulate(job, heads):
    """Write the responses of one room, [direction, 2, N]."""
    path, facts = job
    room = HeadRoom(
        facts["size"],
        facts["t60"],
        facts["center"],
        heads.fs,
        _DIFFUSE_FROM,
        head=partial(hrtf_for, heads=heads.subset([facts["head"]])),
    )
    lateral = torch.tensor(CIPIC_LATERALS, dtype=torch.float64)
    places = facts["distance"] * interaural_to_unit(lateral, 0.0)
    center = torch.tensor(facts["center"], dtype=torch.float64)
    responses = room.binaural(center + places, facts["seed"])
    with atomic_path(path) as temporary:
        safetensors.torch.save_file({"responses": responses}, temporary)
