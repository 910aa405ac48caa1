"""The CSV dialects in which sound events are annotated and estimated.

Two kinds: a row a frame and instance ("frames"), and a row an event with its
times in seconds ("events"). Facts: the DCASE Task 3 baselines of 2019 to 2025
and the L3DAS22 baseline (which columns, which units, which class numbers).
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

_POLAR = ("azimuth", "elevation")
_XYZ = ("x", "y", "z")
_ROW = ("frame", "label", "source")

# The class numbers of the DCASE2019 baseline, in their order.
DCASE2019_CLASSES = (
    "knock",
    "drawer",
    "clearthroat",
    "phone",
    "keysDrop",
    "speech",
    "keyboard",
    "pageturn",
    "cough",
    "doorslam",
    "laughter",
)
L3DAS22_CLASSES = (
    "Chink_and_clink",
    "Computer_keyboard",
    "Cupboard_open_or_close",
    "Drawer_open_or_close",
    "Female_speech_and_woman_speaking",
    "Finger_snapping",
    "Keys_jangling",
    "Knock",
    "Laughter",
    "Male_speech_and_man_speaking",
    "Printer",
    "Scissors",
    "Telephone",
    "Writing",
)


@dataclass(frozen=True)
class Dialect:
    """How a CSV file of sound events is written.

    Arguments
    ---------
    columns : tuple of str
        In the order of the file.
    per_metre : int
        Units of distance a metre: 1, or 100 for centimetres.
    classes : tuple of str
        Class names, where the file holds names instead of indices.
    header : tuple of str
        The names in the first line, one a column; empty: no such line.
    positions : bool
        Whether x, y and z are metres and not only a direction.
    angles : callable
        What is done to angles computed from x, y and z; None: nothing.
    num_frames : int
        Where every clip ends, frames; None: known only from elsewhere.
    """

    columns: tuple
    per_metre: int = 1
    classes: tuple = ()
    header: tuple = ()
    positions: bool = False
    angles: Callable = None
    num_frames: int = None

    @property
    def events(self):
        """Whether a row is an event and not one frame of it."""
        return "start" in self.columns


_FIVE = Dialect((*_ROW, *_POLAR))
_CENTIMETRES = Dialect((*_ROW, *_POLAR, "distance"), per_metre=100)
_L3DAS22 = Dialect(
    ("file", "start", "end", "class", *_XYZ),
    classes=L3DAS22_CLASSES,
    header=("File", "Start", "End", "Class", "X", "Y", "Z"),
    positions=True,
    num_frames=300,
)

DIALECTS = {
    "dcase2019": Dialect(
        ("class", "start", "end", "elevation", "azimuth", "distance"),
        classes=DCASE2019_CLASSES,
        header=(
            "sound_event_recording",
            "start_time",
            "end_time",
            "ele",
            "azi",
            "dist",
        ),
    ),
    "dcase2020": _FIVE,
    "dcase2021": _FIVE,
    "starss22": _FIVE,
    "starss23": _CENTIMETRES,
    "dcase2024": _CENTIMETRES,
    "dcase2025": Dialect(
        ("frame", "label", "source", "azimuth", "distance", "onscreen"),
        per_metre=100,
        header=("frame", "class", "source", "azimuth", "distance", "onscreen"),
    ),
    "l3das22": replace(_L3DAS22, angles=np.rint),
    "l3das22_compat": replace(_L3DAS22, angles=np.trunc),
    "l3das22_exact": _L3DAS22,
    "synthetic": _FIVE,
    "synthetic_mids": Dialect(
        (*_ROW, *_POLAR, "distance", "mids"), per_metre=100
    ),
    "polar4": Dialect(("frame", "label", *_POLAR)),
    "polar5": _FIVE,
    "polar6": Dialect((*_ROW, *_POLAR, "distance")),
    "cartesian6": Dialect((*_ROW, *_XYZ)),
    "cartesian7": Dialect((*_ROW, *_XYZ, "distance")),
    "l3das22_output": Dialect(("frame", "label", *_XYZ), positions=True),
}

# Columns whose absence from a header is no error: nothing is lost without.
OPTIONAL = ("file", "distance", "onscreen")

_BY_COUNT = {
    "auto": {4: "polar4", 5: "dcase2021", 6: "starss23", 7: "cartesian7"},
    "estimate": {4: "polar4", 5: "polar5", 6: "polar6", 7: "cartesian7"},
}


def detect_dialect(first_line, guess="auto"):
    """Guess the dialect of a file from its first line.

    Arguments
    ---------
    first_line : str
        First line that is not blank.
    guess : str
        ``"auto"`` takes six columns as a reference with centimetres,
        ``"estimate"`` as a system's output with metres.

    Returns
    -------
    str
        Key of ``DIALECTS``. Seven columns: ``"synthetic_mids"`` if the last
        one holds AudioSet ids ("/m/..."), else ``"cartesian7"``.

    Raises
    ------
    ValueError
        If no dialect has so many columns; the message says which have.

    Example
    -------
    >>> detect_dialect("0,3,0,-20,10"), detect_dialect("0,3,0,-20,10,154")
    ('dcase2021', 'starss23')
    >>> detect_dialect("0,3,0,-20,10,1.54", "estimate")
    'polar6'
    >>> detect_dialect("sound_event_recording,start_time,end_time,ele,azi,dist")
    'dcase2019'
    """
    words = [word.strip() for word in first_line.split(",")]
    lower = {word.lower() for word in words}
    if "start_time" in lower:
        return "dcase2019"
    if {"start", "end", "class"} <= lower:
        return "l3das22"
    if "onscreen" in lower:
        return "dcase2025"
    if len(words) == 7 and words[-1].strip("\"'").startswith("/"):
        return "synthetic_mids"
    if len(words) not in _BY_COUNT[guess]:
        raise ValueError(
            f"{len(words)} columns, expected 4, 5, 6 or 7, or the header of "
            "DCASE2019, DCASE2025 or L3DAS22"
        )
    return _BY_COUNT[guess][len(words)]
