"""Sets of rooms, stored or simulated at each access, and what they share.

Training and test rooms come from different seeds; ``assert_disjoint`` proves
that they share none.
"""

from pathlib import Path

from spatial_brain.dataio.array_store import ArrayStore
from spatial_brain.dataio.manifest import read_manifest
from spatial_brain.datasets.rir_bank import (
    draw_room,
    make_room,
    room_id,
    room_settings,
)


class StoredRooms:
    """Rooms whose impulse responses lie in one array file.

    Arguments
    ---------
    path : str or Path
        Manifest that ``prepare_rir_bank`` wrote.

    Example
    -------
    >>> from spatial_brain.datasets.rir_bank import prepare_rir_bank
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
        self.ids = [room_id(index) for index in range(num_rooms)]

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
        return draw_room(self.seed, self.rooms, index)[1]

    def __getitem__(self, room):
        index = int(room.removeprefix("room"))
        _, rir, description = make_room(
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
