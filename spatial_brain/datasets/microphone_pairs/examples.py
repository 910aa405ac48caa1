"""What all data sets of two-microphone signals have in common.

An item is a dict: "id"; "waveform", float32 [time, 2]; "labels", a dict of
float32 scalars (``LABELS``; NaN where one is not known); what ``FACTS`` names,
as far as the data set has it; and perhaps "direct", the direct sound alone,
float32 [time, 2].
"""

import math
from abc import ABC, abstractmethod

import torch

from spatial_brain.dataio.dataset import EpochDataset
from spatial_brain.dataio.files import without_nan

LABELS = ("TDOA", "T60", "DRR", "C50", "ABS", "SNR", "SUR", "VOL")
# Where an example comes from; "position" is the array's in its corpus, "noise"
# the kind of a recorded one.
FACTS = ("room", "corpus", "array", "spacing", "position", "noise")


class PairSet(EpochDataset):
    """Examples of two-microphone signals, however they are held.

    Arguments
    ---------
    fs : int
        Sampling rate, Hz.
    crop : float, optional
        Keep the first seconds of an example only.
    with_direct : bool
        Give the direct sound alone as well.

    Raises
    ------
    ValueError
        If ``crop`` is not positive.

    Example
    -------
    >>> PairSet(16000, 0.0, False)
    Traceback (most recent call last):
    ValueError: crop must be positive seconds, got 0.0
    """

    def __init__(self, fs, crop, with_direct):
        super().__init__()
        if crop is not None and not crop > 0:
            raise ValueError(f"crop must be positive seconds, got {crop}")
        self.fs = fs
        self.crop = None if crop is None else int(crop * fs)
        self.with_direct = with_direct

    def finish(self, item):
        """Cut an item to what was asked for.

        Arguments
        ---------
        item : dict
            In full length, with the direct sound; it is changed.

        Returns
        -------
        dict
            The same.
        """
        for key in ("waveform", "direct"):
            if key not in item:
                continue
            if self.crop is not None and len(item[key]) < self.crop:
                raise ValueError(
                    f"example {item['id']} has {len(item[key])} samples, "
                    f"fewer than the {self.crop} asked for by crop"
                )
            item[key] = item[key][: self.crop]
        if not self.with_direct:
            item.pop("direct", None)
        return item


class DrawnPairs(PairSet, ABC):
    """Examples made when they are asked for, which can be stored.

    Arguments
    ---------
    fs : int
        Sampling rate, Hz.
    renew : bool
        Draw other examples in every epoch (see ``set_epoch``).
    crop : float, optional
        Keep the first seconds of an example only.
    with_direct : bool
        Give the direct sound alone as well.
    """

    # Samples of an example.
    num_samples: int
    # First room and number of rooms, names of rooms, or None: a room each.
    rooms = None
    # Where rooms are numbered and have their examples one after another.
    examples_per_room = None

    def __init__(self, fs, renew, crop, with_direct):
        super().__init__(fs, crop, with_direct)
        self.renew = renew

    @property
    def drawn_epoch(self):
        """Epoch that random choices belong to."""
        return self.epoch if self.renew else 0

    @abstractmethod
    def name(self, index):
        """Id of an example."""

    @abstractmethod
    def simulate(self, index):
        """Example in full length, with the direct sound; a dict."""

    @abstractmethod
    def options(self):
        """What the examples depend on, for JSON."""

    def record(self, index):
        """More about an example for people, beside its wav file; a dict."""
        return {}


def check_rooms(rooms, there, name):
    """Raise ValueError unless all rooms are there.

    Arguments
    ---------
    rooms : sequence of int
        First room and number of rooms wanted.
    there : sequence of int
        The same of those there are.
    name : str
        Named in the message.

    Raises
    ------
    ValueError
        If rooms are missing.

    Example
    -------
    >>> check_rooms((0, 8), (0, 4), "train")
    Traceback (most recent call last):
    ValueError: train: rooms 0 to 7 are wanted, there are 0 to 3; ...
    """
    first, count = rooms
    begin, number = there
    if count < 1 or first < begin or first + count > begin + number:
        raise ValueError(
            f"{name}: rooms {first} to {first + count - 1} are wanted, there "
            f"are {begin} to {begin + number - 1}; prepare more rooms"
        )


def check_room_names(rooms, there, name):
    """Raise ValueError unless all rooms, given by name, are there.

    Arguments
    ---------
    rooms : sequence of str
        Those wanted.
    there : sequence of str
        Those there are.
    name : str
        Named in the message.

    Raises
    ------
    ValueError
        If a room is missing, or none is wanted.

    Example
    -------
    >>> check_room_names(["den"], ["hall", "lab"], "ACE")
    Traceback (most recent call last):
    ValueError: ACE: rooms den are wanted, there are hall, lab
    """
    if isinstance(rooms, str) or not rooms or set(rooms) - set(there):
        wanted = rooms if isinstance(rooms, str) else ", ".join(map(str, rooms))
        raise ValueError(
            f"{name}: rooms {wanted or 'none'} are wanted, there are "
            f"{', '.join(map(str, there))}"
        )


def facts_of(item):
    """Labels of an item and where it comes from, as JSON holds them.

    Arguments
    ---------
    item : dict
        See the module.

    Returns
    -------
    dict
        NaN is None.

    Example
    -------
    >>> labels = dict.fromkeys(LABELS, torch.tensor(float("nan")))
    >>> facts = facts_of({"id": "a", "room": "lab", "labels": labels})
    >>> facts["room"], facts["T60"]
    ('lab', None)
    """
    facts = {key: item[key] for key in FACTS if key in item}
    labels = {name: float(item["labels"][name]) for name in LABELS}
    return without_nan({**facts, **labels})


def item_of(item_id, entry):
    """An item without signals, from what :func:`facts_of` gave.

    Arguments
    ---------
    item_id : str
        Of the item.
    entry : dict
        Its facts, and perhaps more.

    Returns
    -------
    dict

    Example
    -------
    >>> item = item_of("a", {**dict.fromkeys(LABELS), "room": 3})
    >>> item["room"], item["labels"]["T60"]
    (3, tensor(nan))
    """
    known = {
        key: math.nan if entry[key] is None else entry[key]
        for key in (*FACTS, *LABELS)
        if key in entry
    }
    labels = {name: known.pop(name) for name in LABELS}
    return {
        "id": item_id,
        **known,
        "labels": {
            name: torch.tensor(value, dtype=torch.float32)
            for name, value in labels.items()
        },
    }


def no_direct(path):
    """Message about direct sound that was not stored.

    Arguments
    ---------
    path : str or Path
        Of the examples.

    Returns
    -------
    str
    """
    return (
        f"{path}: the direct sound is not stored; prepare the stage with "
        "with_direct"
    )


def no_rooms(path):
    """Message about a stage without common rooms.

    Arguments
    ---------
    path : str or Path
        Of the examples.

    Returns
    -------
    str
    """
    return f"{path}: has a room an example; rooms cannot be chosen"
