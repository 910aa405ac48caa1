"""What all ways of holding simulated examples have in common."""

import torch

LABELS = ("TDOA", "T60", "DRR", "C50", "ABS", "SNR", "SUR", "VOL")


class PairSet(torch.utils.data.Dataset):
    """Examples of two-microphone recordings, however they are held.

    An item is a dict: "id"; "waveform", float32 [time, 2]; "labels", a dict
    of float32 scalars: TDOA (samples), T60 (s), DRR, C50, SNR (dB), ABS,
    SUR (log10 m^2), VOL (log10 m^3); "room", an integer; with
    ``with_direct`` also "direct", float32 [time, 2].

    Arguments
    ---------
    fs : int
        Sampling rate, Hz.
    crop : float, optional
        Seconds kept of each example.
    with_direct : bool
        Whether items have the direct sound.

    Example
    -------
    >>> PairSet(16000, 1.04).crop
    16640
    """

    def __init__(self, fs=16000, crop=None, with_direct=False):
        if crop is not None and not crop > 0:
            raise ValueError(f"crop must be positive seconds, got {crop}")
        self.fs = fs
        self.crop = None if crop is None else int(crop * fs)
        self.with_direct = with_direct
        # Shared memory: workers which outlive an epoch see the change too.
        self._epoch = torch.zeros(1, dtype=torch.int64).share_memory_()

    @property
    def epoch(self):
        """Epoch that was set last."""
        return int(self._epoch)

    def set_epoch(self, epoch):
        """Choose the epoch; it matters to examples drawn anew only.

        Arguments
        ---------
        epoch : int
            At least 0.
        """
        self._epoch[0] = int(epoch)

    def finish(self, item):
        """Cut an item to what was asked for."""
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


def label_scalars(entry):
    """Labels of an entry as float32 scalars.

    Arguments
    ---------
    entry : dict
        Has all ``LABELS``.

    Returns
    -------
    dict of torch.Tensor

    Example
    -------
    >>> label_scalars(dict.fromkeys(LABELS, 1.0))["T60"]
    tensor(1.)
    """
    return {
        name: torch.tensor(entry[name], dtype=torch.float32) for name in LABELS
    }


def facts_of(item):
    """Labels and room of an item, as JSON holds them.

    Arguments
    ---------
    item : dict
        Of a :class:`PairSet`.

    Returns
    -------
    dict

    Example
    -------
    >>> labels = dict.fromkeys(LABELS, torch.tensor(1.0))
    >>> facts_of({"room": 3, "labels": labels})["room"]
    3
    """
    labels = {name: float(item["labels"][name]) for name in LABELS}
    return {"room": item["room"], **labels}


def no_direct(path):
    """Message about direct sound that was not stored.

    Arguments
    ---------
    path : str or Path
        The set of examples.

    Returns
    -------
    str

    Example
    -------
    >>> no_direct("a.json")[:36]
    'a.json: the direct sound is not stor'
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
        The set of examples.

    Returns
    -------
    str

    Example
    -------
    >>> no_rooms("a.json")
    'a.json: has a room an example; rooms cannot be chosen'
    """
    return f"{path}: has a room an example; rooms cannot be chosen"
