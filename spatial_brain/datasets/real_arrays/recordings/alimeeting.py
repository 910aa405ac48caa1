"""AliMeeting (M2MeT): Mandarin meetings of 2 to 4 people.

``{Train,Eval,Test}_Ali/<part>_far/{audio_dir/<meeting>_MS<n>.wav,
textgrid_dir/<meeting>.TextGrid}``: eight channels, 16 kHz; meetings are
``R<room>_M<number>``. The archive of the training part has no folder
``Train_Ali``. F. Yu et al., ICASSP 2022.
"""

from spatial_brain.datasets.real_arrays.recordings.meetings import (
    MeetingCorpus,
)


class AliMeeting(MeetingCorpus):
    """Meetings, without the parts in which several people speak.

    Rooms R8008 and R8009 are in two parts, both for training; a meeting that
    is in two parts is used once.

    Arguments
    ---------
    folder : str or Path
        Holds ``Train_Ali``, ``Eval_Ali`` and ``Test_Ali``, or some of them.
    compat : bool or sequence of str
        "skip_last": leave out the last sentence of a meeting.

    Example
    -------
    >>> len(AliMeeting.ROOMS), AliMeeting.expected["pairs"]
    (21, 28)
    """

    name = "AliMeeting"
    folders = ("AliMeeting", "M2MeT")
    url = "https://www.openslr.org/119"
    licence = "CC BY-SA 4.0"
    COMPAT = ("skip_last",)
    ARRAY = "alimeeting"
    PARTS = {
        "Train_Ali": {
            "train": (
                *("R0003", "R0004", "R0005", "R0008", "R0014", "R0015"),
                *("R0020", "R1019", "R1021", "R2001", "R2105", "R2108"),
            )
        },
        "Eval_Ali": {"train": ("R8001", "R8003", "R8007", "R8008", "R8009")},
        "Test_Ali": {
            "train": ("R8004", "R8005", "R8008", "R8009"),
            "val": ("R8002", "R8006"),
        },
    }
    MARKERS = (*PARTS, *(f"{part}_far" for part in PARTS))
    ROOMS = tuple(
        sorted(
            {
                room
                for splits in PARTS.values()
                for rooms in splits.values()
                for room in rooms
            }
        )
    )
    expected = {"rooms": 21, "pairs": 28}

    def _places(self, part):
        """See ``MeetingCorpus``."""
        folder = self.folder / part / f"{part}_far"
        if not folder.is_dir() and (self.folder / f"{part}_far").is_dir():
            folder = self.folder / f"{part}_far"
        return folder / "audio_dir", folder / "textgrid_dir"

    def _identify(self, stem):
        """See ``MeetingCorpus``."""
        parts = stem.split("_")
        return "_".join(parts[:2]), parts[0]
