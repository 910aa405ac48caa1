"""MC-WSJ-AV (LDC2014S03): Wall Street Journal read before two arrays.

``MC_WSJ_AV_{Dev,Eval}/audio/stat/T<speaker>/array{1,2}/{adap,5k,20k}/
AMI_WSJ<speaker>-Array<1|2>-<1..8>_T<utterance>.wav``: a file a channel,
16 kHz. M. Lincoln et al., ASRU 2005. Rooms are not named.
"""

from pathlib import Path

from spatial_brain.datasets.real_arrays.recordings.sessions import (
    Session,
    SessionCorpus,
    audio_below,
    channel_groups,
)
from spatial_brain.folders import find_folders
from spatial_brain.geometry import MicrophoneArray

_ARRAY = "mc_wsj_av"
_RULE = r"(.+-)([1-8])(_T[^/]*\.wav)"


class MCWSJAV(SessionCorpus):
    """Recordings of single, sitting or standing speakers.

    Arguments
    ---------
    folder : str or Path
        Holds ``MC_WSJ_AV_Dev`` and ``MC_WSJ_AV_Eval``, or one of them.
    compat : bool or sequence of str
        "rounded_positions": positions rounded to millimetres, by which two
        opposite pairs are longer than 0.2 m; 26 pairs instead of 28.

    Example
    -------
    >>> MCWSJAV.name, MCWSJAV.expected["pairs"]
    ('MC_WSJ_AV', 28)
    """

    name = "MC_WSJ_AV"
    folders = ("MC_WSJ_AV", "MC-WSJ-AV")
    url = "https://catalog.ldc.upenn.edu/LDC2014S03"
    licence = "LDC user agreement"
    COMPAT = ("rounded_positions",)
    expected = {"pairs": 28}
    MARKERS = ("MC_WSJ_AV_Dev", "MC_WSJ_AV_Eval")

    def __init__(self, folder, compat=False):
        super().__init__(folder, compat)
        if self.compat:
            self.expected = {**self.expected, "pairs": 26}

    @property
    def arrays(self):
        """The circle of which two stand in the room."""
        array = MicrophoneArray.named(_ARRAY)
        if "rounded_positions" in self.compat:
            rounded = (array.positions * 1000).round() / 1000
            array = MicrophoneArray(rounded, array.name, array.front)
        return {_ARRAY: array}

    def _find(self):
        """Utterances of speakers who do not move."""
        sessions, damaged, others = [], [], []
        for part in self.MARKERS:
            folder = self.folder / part / "audio" / "stat"
            if not folder.is_dir():
                others.append(self.absent(part, folder))
                continue
            for speaker in find_folders(folder):
                for array in ("array1", "array2"):
                    groups, incomplete = channel_groups(
                        audio_below(speaker / array, ".wav"), _RULE, 1, 8
                    )
                    damaged += incomplete
                    sessions += [
                        self._session(files, speaker.name) for files in groups
                    ]
        return sessions, damaged, others

    def _session(self, files, speaker):
        """One utterance; all are for training."""
        path = Path(files.before[:-1] + files.after).relative_to(self.folder)
        return Session(
            path.with_suffix("").as_posix(),
            "room",
            _ARRAY,
            "train",
            files,
            (speaker,),
        )
