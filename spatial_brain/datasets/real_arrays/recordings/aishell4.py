"""AISHELL-4: Mandarin meetings of 4 to 8 people in ten rooms.

``{train_L,train_M,train_S,test}/{wav/<meeting>.flac,
TextGrid/<meeting>.TextGrid}``: eight channels, 16 kHz; meetings are
``<date>_<L|M|S>_R<room>S<session>C01``, without date in ``test``.
Y. Fu et al., Interspeech 2021.
"""

import re

from spatial_brain.datasets.real_arrays.recordings.meetings import (
    MeetingCorpus,
)


class AISHELL4(MeetingCorpus):
    """Meetings, without the parts in which several people speak.

    The meetings 20200622_M_R002S07C01 and 20200710_M_R002S06C01 are left
    out, as SAR-SSL does.

    Arguments
    ---------
    folder : str or Path
        Holds ``train_L``, ``train_M``, ``train_S`` and ``test``, or some.
    compat : bool or sequence of str
        "skip_last": leave out the last sentence of a meeting.

    Example
    -------
    >>> len(AISHELL4.ROOMS), AISHELL4.expected["pairs"]
    (10, 28)
    """

    name = "AISHELL4"
    folders = ("AISHELL-4", "AISHELL4")
    url = "https://www.openslr.org/111"
    licence = "CC BY-SA 4.0"
    COMPAT = ("skip_last",)
    ARRAY = "aishell4"
    PARTS = {
        "train_L": {"train": ("L_R001", "L_R002")},
        "train_M": {"train": ("M_R001", "M_R002")},
        "train_S": {"train": ("S_R001",)},
        "test": {
            "train": ("S_R003", "S_R004", "L_R003", "L_R004"),
            "val": ("M_R003",),
        },
    }
    MARKERS = tuple(f"{part}/wav" for part in PARTS)
    ROOMS = tuple(
        room
        for splits in PARTS.values()
        for rooms in splits.values()
        for room in rooms
    )
    LEFT_OUT = ("20200622_M_R002S07C01", "20200710_M_R002S06C01")
    expected = {"rooms": 10, "pairs": 28}

    def _places(self, part):
        """See ``MeetingCorpus``."""
        return self.folder / part / "wav", self.folder / part / "TextGrid"

    def _identify(self, stem):
        """See ``MeetingCorpus``."""
        match = re.search(r"[LMS]_R\d{3}", stem)
        return stem, match and match[0]
