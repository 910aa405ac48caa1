"""Which heads, or rooms, each of the sets hears with.

No head of the validation or test set is heard in training. Of CIPIC it is the
division of Binaural-WSJ0Mix (github.com/huangzj421/Binaural-WSJ0Mix), which
the built-in spherical heads share, as they bear the same names.
"""

import logging
from pathlib import Path

import numpy as np

from spatial_brain.simulation.hrtf import CIPIC_SUBJECTS, HrtfSet
from spatial_brain.simulation.hrtf_files import find_heads

logger = logging.getLogger(__name__)

SPLITS = ("train", "valid", "test")
# Numbers of CIPIC's subjects; all others are for training.
_VALID = (3, 12, 17, 40, 126, 147, 155, 158, 165)
_TEST = (18, 21, 33, 51, 61, 124, 133, 134, 148)
_PUBLISHED = {
    "valid": {f"subject{number:02d}" for number in _VALID},
    "test": {f"subject{number:02d}" for number in _TEST},
}
# Share of the heads of any other set for validation, and for the test.
_SHARE = 0.2
# Reverberation times of the reverberant Binaural-WSJ0Mix, seconds.
ROOM_T60S = {
    "train": (0.1, 0.2, 0.4, 0.7, 0.8),
    "valid": (0.5,),
    "test": (0.3, 0.6, 0.9),
}


def room_name(t60):
    """Name of a room of the BRIR Sim Set, by its reverberation time.

    Arguments
    ---------
    t60 : float
        Seconds.

    Returns
    -------
    str
        Such as "0_4s".

    Example
    -------
    >>> room_name(0.4)
    '0_4s'
    """
    whole, _, part = f"{t60:g}".partition(".")
    return f"{whole}_{part or 0}s"


def split_listeners(subjects, seed=0):
    """Divide heads, or rooms, among training, validation and test.

    Arguments
    ---------
    subjects : sequence of str
        Names. Heads of CIPIC's names (27, 9 and 9) and rooms of the BRIR Sim
        Set are divided as published, if that leaves some for each set; any
        others by seed, a fifth each for validation and test.
    seed : int
        Not negative.

    Returns
    -------
    dict
        "train", "valid", "test" to a list of names. Of two, one is for
        training and one for the rest, a single one is heard in all sets;
        both are logged as a warning.

    Raises
    ------
    ValueError
        If there is none, or one is there twice.

    Example
    -------
    >>> from spatial_brain.simulation.hrtf import CIPIC_SUBJECTS
    >>> parts = split_listeners(CIPIC_SUBJECTS)
    >>> {part: len(names) for part, names in parts.items()}
    {'train': 27, 'valid': 9, 'test': 9}
    """
    subjects = list(subjects)
    if not subjects or len(set(subjects)) != len(subjects):
        raise ValueError(
            f"heads and rooms need different names, got {subjects}"
        )
    parts = _published(subjects) or _published_rooms(subjects)
    if parts is None:
        parts = _drawn(sorted(subjects), np.random.default_rng(seed))
    if len(subjects) < len(SPLITS):
        logger.warning(
            "only %d head or room for training, validation and test: %s. "
            "Results tell little about others; give more for that",
            len(subjects),
            "; ".join(f"{part}: {', '.join(parts[part])}" for part in SPLITS),
        )
    return parts


def _published(subjects):
    """Division of Binaural-WSJ0Mix, None where it does not apply."""
    if not all(name.startswith("subject") for name in subjects):
        return None
    parts = {
        part: [name for name in subjects if name in _PUBLISHED[part]]
        for part in ("valid", "test")
    }
    taken = {*parts["valid"], *parts["test"]}
    rest = [name for name in subjects if name not in taken]
    parts = {"train": rest, **parts}
    return parts if all(parts.values()) else None


def _published_rooms(names):
    """Division of the reverberant set, None where it does not apply."""
    parts = {
        part: [room_name(t60) for t60 in t60s if room_name(t60) in names]
        for part, t60s in ROOM_T60S.items()
    }
    known = sum(map(len, parts.values())) == len(names)
    return parts if known and all(parts.values()) else None


def _drawn(subjects, rng):
    """Division by chance."""
    if len(subjects) == 1:
        return {part: list(subjects) for part in SPLITS}
    order = [subjects[index] for index in rng.permutation(len(subjects))]
    if len(order) == 2:
        return {"train": order[:1], "valid": order[1:], "test": order[1:]}
    count = max(1, round(_SHARE * len(order)))
    return {
        "train": sorted(order[2 * count :]),
        "valid": sorted(order[:count]),
        "test": sorted(order[count : 2 * count]),
    }


def listener_names(source):
    """Names of the heads that ``load_hrtfs`` would load.

    Arguments
    ---------
    source : str, Path or None
        As there: None, "sphere" or "rigid-sphere" for the built-in heads; a
        file, or a folder.

    Returns
    -------
    list of str
        In order.

    Raises
    ------
    FileNotFoundError
        If there is no such file or folder, or no head in it.
    ValueError
        If it is of no known form.

    Example
    -------
    >>> len(listener_names("sphere"))
    45
    """
    if source in (None, "sphere", "rigid-sphere"):
        return list(CIPIC_SUBJECTS)
    if Path(source).suffix == ".safetensors":
        return list(HrtfSet.load(source).subjects)
    return list(find_heads(source))
