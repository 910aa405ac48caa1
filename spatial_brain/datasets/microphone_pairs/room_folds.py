"""Rooms of a training, its validation and its test, each tested once."""

from typing import NamedTuple

import numpy as np


class RoomFold(NamedTuple):
    """Rooms of one fold, by name.

    Arguments
    ---------
    train : tuple of str
        At least one.
    val, test : str
        One each.
    """

    train: tuple
    val: str
    test: str


def leave_one_room_out(rooms, fold, seed=0):
    """Rooms of a fold: one is tested, another validates, the others train.

    As SAR-SSL divides ACE (B. Yang and X. Li, IEEE/ACM TASLP 32, 2024): there
    are as many folds as rooms; the room that validates is drawn.

    Arguments
    ---------
    rooms : sequence of str
        All rooms, in a fixed order.
    fold : int or str
        Number of the fold, which is the place of the room that is tested, or
        the name of this room.
    seed : int
        Decides, with the fold, which room validates; not negative.

    Returns
    -------
    RoomFold

    Raises
    ------
    ValueError
        If there is no such fold, or there are fewer than three rooms.

    Example
    -------
    >>> rooms = ["hall", "lab", "lobby", "office"]
    >>> leave_one_room_out(rooms, 1)
    RoomFold(train=('hall', 'office'), val='lobby', test='lab')
    >>> leave_one_room_out(rooms, "lab") == leave_one_room_out(rooms, 1)
    True
    """
    rooms = list(rooms)
    if len(rooms) < 3 or len(set(rooms)) < len(rooms):
        raise ValueError(
            "a fold needs three rooms or more with different names, got "
            f"{', '.join(map(str, rooms)) or 'none'}"
        )
    if isinstance(fold, str) and fold in rooms:
        number = rooms.index(fold)
    elif type(fold) is int and 0 <= fold < len(rooms):
        number = fold
    else:
        raise ValueError(
            f"fold must be a number from 0 to {len(rooms) - 1} or one of "
            f"{', '.join(rooms)}, got {fold!r}"
        )
    others = [room for room in rooms if room != rooms[number]]
    val = others[np.random.default_rng([seed, number]).integers(len(others))]
    train = tuple(room for room in others if room != val)
    return RoomFold(train, val, rooms[number])
