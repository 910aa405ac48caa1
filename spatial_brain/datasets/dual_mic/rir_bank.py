"""Banks of simulated room impulse responses, one file and its manifest.

The default rooms are those of the public two-microphone, two-source system
github.com/zszheng147/tencent-SSL: shoeboxes of 3 x 3 x 2.5 to 10 x 6 x 4 m,
T60 0.1 to 0.7 s, two microphones 10 cm apart on the x axis, sources 0.2 to
5 m away.

Training and test rooms come from different seeds; ``assert_disjoint`` proves
that they share none.
"""

from functools import partial
from pathlib import Path

import numpy as np
import torch

from spatial_brain.dataio.array_store import ArrayStore, build_store
from spatial_brain.dataio.manifest import read_manifest
from spatial_brain.geometry import (
    angular_distance,
    cone_angle,
    linear_array,
    rotation_matrix,
    unit_to_azel,
    wrap_azimuth,
)
from spatial_brain.simulation.acoustics import t60 as measure_t60
from spatial_brain.simulation.noise_floor import NoiseFloor
from spatial_brain.simulation.rir import simulate_rir
from spatial_brain.simulation.rooms import geometry_hash, sample_room


def room_settings(
    *,
    size_low=(3.0, 3.0, 2.5),
    size_high=(10.0, 6.0, 4.0),
    t60_range=(0.1, 0.7),
    array=None,
    num_sources=2,
    distance_range=(0.2, 5.0),
    wall_distance=0.5,
    random_yaw=False,
    height_range=None,
    min_angle=0.0,
    backend="image_source",
    fs=16000,
    simulation=None,
):
    """Check what rooms are drawn from and how they are simulated.

    Arguments
    ---------
    size_low : sequence of float
        Smallest room, metres.
    size_high : sequence of float
        Largest room, metres.
    t60_range : tuple of float
        Seconds; in a room too large for the lower end, the least that walls
        can reach takes its place (the back ends "fra" have no walls).
    array : sequence
        Microphones around the array centre, metres, [M, 3]; None is two on
        the x axis, 10 cm apart.
    num_sources : int
        Sources in a room.
    distance_range : tuple of float
        Distance of sources from the array centre, metres.
    wall_distance : float
        Least distance of microphones and sources from walls, metres.
    random_yaw : bool
        Turn the array about the vertical.
    height_range : tuple of float
        Height of array centre and sources, metres; None is anywhere.
    min_angle : float
        Least angle between sources seen from the array, degrees.
    backend : str
        Of ``simulate_rir``.
    fs : int
        Sampling rate, Hz.
    simulation : dict
        More arguments of ``simulate_rir``, e.g. ``{"diffuse_from": 20.0}``.

    Returns
    -------
    tuple of dict
        Arguments of ``sample_room`` and of ``simulate_rir``.

    Raises
    ------
    ValueError
        If the array is not [M, 3].

    Example
    -------
    >>> room_settings(backend="fra")[1]
    {'fs': 16000, 'backend': 'fra'}
    """
    array = torch.as_tensor(linear_array(2, 0.1) if array is None else array)
    if array.ndim != 2 or array.shape[-1] != 3:
        raise ValueError(f"array must be [M, 3], got {tuple(array.shape)}")
    rooms = {
        "size_low": list(size_low),
        "size_high": list(size_high),
        "t60_range": list(t60_range),
        "array": array.tolist(),
        "num_sources": num_sources,
        "distance_range": list(distance_range),
        "array_wall_distance": wall_distance,
        "source_wall_distance": wall_distance,
        "random_yaw": random_yaw,
        "height_range": None if height_range is None else list(height_range),
        "min_angle": min_angle,
        "only_reachable": not backend.startswith("fra"),
    }
    return rooms, {"fs": fs, "backend": backend, **(simulation or {})}


def check_pair(spacing, *positions):
    """Raise ValueError unless all positions of a pair have one spacing.

    Arguments
    ---------
    spacing : float
        Metres.
    *positions : sequence
        Two microphones on the x axis around the origin, metres, [2, 3].

    Raises
    ------
    ValueError
        If there are other positions.

    Example
    -------
    >>> check_pair(0.2, [[-0.05, 0, 0], [0.05, 0, 0]])
    Traceback (most recent call last):
    ValueError: microphones at [[-0.05, 0, 0], [0.05, 0, 0]] are not a pair ...
    """
    expected = linear_array(2, spacing)
    for found in positions:
        array = torch.as_tensor(found, dtype=expected.dtype)
        if array.shape != expected.shape or not torch.allclose(array, expected):
            raise ValueError(
                f"microphones at {found} are not a pair on the x axis, "
                f"{spacing:g} m apart; give --mic_spacing alone, the positions "
                "follow from it"
            )


def prepare_rir_bank(
    folder,
    num_rooms,
    seed,
    *,
    name="rirs",
    dtype="float32",
    num_workers=1,
    **settings,
):
    """Draw rooms and simulate their impulse responses, all in one file.

    Room ``i`` depends on ``(seed, i)`` alone, so the bank is the same for any
    number of workers, but for rounding. A run that is killed goes on where it
    stopped; a bank made with the same arguments is kept. Read it with
    ``spatial_brain.dataio.array_store.ArrayStore``: item ``i`` is float32 of
    shape [source, microphone, time].

    Every entry of the manifest describes one room: ``room_size`` (m),
    ``t60`` (s, asked for), ``t60_measured`` (s, by T20, mean over all pairs;
    null if no response holds the range), ``mic_pos`` [M][3], ``src_pos``
    [S][3], ``array_pos`` [3] (m), per source ``distance`` (m), ``azimuth`` and
    ``elevation`` (degrees, seen from the array: 0 is its own front) and
    ``cone_angle`` (degrees from the line through first and last microphone);
    ``array_yaw`` (degrees), ``geometry_hash``, ``backend``, ``fs``, ``seed``
    and ``index``.

    Arguments
    ---------
    folder : str or Path
        Where the bank goes.
    num_rooms : int
        Number of rooms.
    seed : int
        Not negative.
    name : str
        File name of the manifest, without suffix.
    dtype : str
        ``"float32"``, or ``"float16"`` for half the space.
    num_workers : int
        Processes, each with one thread.
    **settings
        Those of ``room_settings``.

    Returns
    -------
    Path
        The manifest ``<name>.json``.

    Raises
    ------
    ValueError
        If an argument is out of range, or a room has no place for a source.

    Example
    -------
    >>> path = prepare_rir_bank(
    ...     getfixture("tmp_path"), 2, seed=1, t60_range=(0.2, 0.2)
    ... )
    >>> rir = ArrayStore(path)[0]
    >>> rir.shape[:2], rir.dtype
    (torch.Size([2, 2]), torch.float32)
    """
    if seed < 0:
        raise ValueError(f"seed must not be negative, got {seed}")
    rooms, simulation = room_settings(**settings)
    return build_store(
        Path(folder, f"{name}.json"),
        partial(_make_room, seed, rooms, simulation),
        num_rooms,
        options={"seed": seed, "rooms": rooms, "simulation": simulation},
        dtype=dtype,
        num_workers=num_workers,
        description=f"simulating {name}",
    )


def _room_id(index):
    """Id of the room with an index."""
    return f"room{index:06d}"


def _draw_room(seed, rooms, index):
    """Draw room ``index`` and describe it; the generator goes on from there."""
    state = np.random.SeedSequence([seed, index]).generate_state(1, np.uint64)
    generator = torch.Generator().manual_seed(int(state[0] >> 1))
    room = sample_room(generator, **rooms)
    description = {
        "room_size": room.size.tolist(),
        "t60": room.t60,
        "mic_pos": room.microphones.tolist(),
        "src_pos": room.sources.tolist(),
        **_directions(room, torch.tensor(rooms["array"], dtype=torch.float64)),
        "geometry_hash": geometry_hash(room),
        "seed": seed,
        "index": index,
    }
    return room, description, generator


def _make_room(seed, rooms, simulation, index):
    """Draw room ``index``, simulate it and describe it."""
    room, description, generator = _draw_room(seed, rooms, index)
    rir = simulate_rir(
        room.size,
        room.sources,
        room.microphones,
        t60=room.t60,
        generator=generator,
        **simulation,
    )
    clean = NoiseFloor.absent(rir)
    measured = measure_t60(rir, simulation["fs"], floor=clean)
    measured = measured[measured.isfinite()]
    description |= {
        "t60_measured": float(measured.mean()) if len(measured) else None,
        "backend": simulation["backend"],
        "fs": simulation["fs"],
    }
    return _room_id(index), rir, description


def _directions(room, array):
    """Where the sources are, seen from the array."""
    # The centre is where the array's own origin came to lie.
    yaw = 0.0
    if len(array) > 1:
        before = array[-1] - array[0]
        after = room.microphones[-1] - room.microphones[0]
        yaw = wrap_azimuth(unit_to_azel(after)[0] - unit_to_azel(before)[0])
        yaw = float(yaw)
    turn = rotation_matrix(yaw=torch.tensor(yaw, dtype=torch.float64))
    center = (room.microphones - array @ turn.T).mean(dim=0)
    ways = room.sources - center
    azimuth, elevation = unit_to_azel(ways @ turn)
    directions = {
        "array_pos": center.tolist(),
        "array_yaw": yaw,
        "distance": torch.linalg.vector_norm(ways, dim=-1).tolist(),
        "azimuth": azimuth.tolist(),
        "elevation": elevation.tolist(),
    }
    if len(array) > 1:
        directions["cone_angle"] = cone_angle(ways, after).tolist()
    if len(ways) > 1:
        pairs = angular_distance(ways[:, None], ways[None])
        pairs.fill_diagonal_(float("inf"))
        directions["separation"] = float(pairs.min())
    return directions


class StoredRooms:
    """Rooms whose impulse responses lie in one array file.

    Arguments
    ---------
    path : str or Path
        Manifest that ``prepare_rir_bank`` wrote.

    Example
    -------
    >>> path = prepare_rir_bank(
    ...     getfixture("tmp_path"), 2, seed=1, t60_range=(0.2, 0.2)
    ... )
    >>> rooms = StoredRooms(path)
    >>> rir, description = rooms[rooms.ids[0]]
    >>> rir.shape[:2], description["t60"]
    (torch.Size([2, 2]), 0.2)
    """

    def __init__(self, path):
        self.store = ArrayStore(path)
        self.ids = self.store.ids

    def describe(self, room):
        """Entry of a room in the manifest.

        Arguments
        ---------
        room : str
            Id of the room.

        Returns
        -------
        dict
        """
        return self.store.entries[room]

    def __getitem__(self, room):
        return self.store[room], self.describe(room)


class SimulatedRooms:
    """Rooms which are drawn and simulated at each access, none on disk.

    They are those of a bank with the same arguments.

    Arguments
    ---------
    num_rooms : int
        Number of rooms.
    seed : int
        Not negative.
    **settings
        Those of ``room_settings``.

    Example
    -------
    >>> rooms = SimulatedRooms(1000, seed=1, t60_range=(0.2, 0.2))
    >>> rir, description = rooms["room000999"]
    >>> rir.shape[:2], description["t60"]
    (torch.Size([2, 2]), 0.2)
    """

    def __init__(self, num_rooms, seed, **settings):
        if seed < 0:
            raise ValueError(f"seed must not be negative, got {seed}")
        self.seed = seed
        self.rooms, self.simulation = room_settings(**settings)
        self.ids = [_room_id(index) for index in range(num_rooms)]

    def describe(self, room):
        """What is known of a room before it is simulated.

        Arguments
        ---------
        room : str
            Id of the room.

        Returns
        -------
        dict
            As in the manifest of a bank, without the measured T60.
        """
        index = int(room.removeprefix("room"))
        return _draw_room(self.seed, self.rooms, index)[1]

    def __getitem__(self, room):
        index = int(room.removeprefix("room"))
        _, rir, description = _make_room(
            self.seed, self.rooms, self.simulation, index
        )
        return rir, description


def assert_disjoint(rooms_a, rooms_b):
    """Raise if two sets have a room in common (same places, any T60).

    Arguments
    ---------
    rooms_a : str, Path, StoredRooms or SimulatedRooms
        Rooms, or the manifest of a bank.
    rooms_b : str, Path, StoredRooms or SimulatedRooms
        The same.

    Raises
    ------
    ValueError
        With the number of common rooms and the first of them.

    Example
    -------
    >>> from spatial_brain.dataio.manifest import write_manifest
    >>> folder = getfixture("tmp_path")
    >>> write_manifest(folder / "a.json", {"x": {"geometry_hash": "1"}})
    >>> write_manifest(folder / "b.json", {"y": {"geometry_hash": "1"}})
    >>> assert_disjoint(folder / "a.json", folder / "b.json")
    Traceback (most recent call last):
    ValueError: ...a.json and ...b.json share 1 rooms, the first is 'x' = 'y'...
    """
    owners = {value: room for room, value in _hashes(rooms_a)}
    common = [
        (owners[value], room)
        for room, value in _hashes(rooms_b)
        if value in owners
    ]
    if common:
        first, second = common[0]
        names = [
            rooms if isinstance(rooms, str | Path) else "simulated rooms"
            for rooms in (rooms_a, rooms_b)
        ]
        raise ValueError(
            f"{names[0]} and {names[1]} share {len(common)} rooms, the first "
            f"is {first!r} = {second!r}; simulate them with different seeds, "
            "or what is measured is memory"
        )


def _hashes(rooms):
    """Pairs of id and hash of places."""
    if isinstance(rooms, str | Path):
        entries = read_manifest(rooms, keys=["geometry_hash"])
        return [(room, e["geometry_hash"]) for room, e in entries.items()]
    return [(room, rooms.describe(room)["geometry_hash"]) for room in rooms.ids]
