"""AMI meeting corpus: 100 hours of meetings in three instrumented rooms.

``{ScenarioMeetings,NonScenarioMeetings}/<meeting>/audio/
<meeting>.Array1-0<1..8>.wav``: a file a channel, 16 kHz. I. McCowan et al.,
Measuring Behavior 2005. Meetings of Edinburgh (ES, EN), Idiap (IS, IB, IN)
and TNO (TS).
"""

from spatial_brain.datasets.real_arrays.recordings.sessions import (
    Session,
    SessionCorpus,
    audio_below,
    channel_groups,
    not_used,
)
from spatial_brain.folders import find_folders
from spatial_brain.geometry import MicrophoneArray

_ARRAY = "ami"
_RULE = r"(.+\.Array1-0)([1-8])(\.wav)"
# Of the names of meetings: where they took place.
_PLACES = {
    "ES": "Edinburgh",
    "EN": "Edinburgh",
    "IS": "Idiap",
    "IB": "Idiap",
    "IN": "Idiap",
    "TS": "TNO",
}


class AMI(SessionCorpus):
    """Meetings before the first array of each room.

    Its geometry is not published: all pairs are used, no distance is given.
    Of a file with several channels the first is read.

    Arguments
    ---------
    folder : str or Path
        Holds ``ScenarioMeetings`` and ``NonScenarioMeetings``, or one of
        them.
    compat : bool
        There is nothing to keep.

    Example
    -------
    >>> AMI.name, AMI.expected["pairs"]
    ('AMI', 28)
    """

    name = "AMI"
    folders = ("AMI", "AMIMeeting")
    url = "https://groups.inf.ed.ac.uk/ami/download"
    licence = "CC BY 4.0"
    expected = {"rooms": 3, "pairs": 28}
    MARKERS = ("ScenarioMeetings", "NonScenarioMeetings")
    ROOMS = ("Edinburgh", "Idiap", "TNO")
    geometry_known = False
    file_channels = None

    @property
    def arrays(self):
        """Eight microphones on a circle, in an order that is not known."""
        return {_ARRAY: MicrophoneArray.named(_ARRAY)}

    def pairs(self, array):
        """See ``ArrayCorpus``; all of them, in both orders."""
        return self.arrays[array].pairs(ordered=True)

    def _find(self):
        """Meetings; all are for training."""
        sessions, damaged, others, unknown = [], [], [], []
        for part in self.MARKERS:
            folder = self.folder / part
            if not folder.is_dir():
                others.append(self.absent(part, folder))
                continue
            for meeting in find_folders(folder):
                groups, incomplete = channel_groups(
                    audio_below(meeting / "audio", ".wav"), _RULE, 1, 8
                )
                place = _PLACES.get(meeting.name[:2])
                if place is None:
                    unknown += [meeting.name] * len(groups)
                    continue
                damaged += incomplete
                if not groups and not incomplete:
                    others.append(f"{meeting}: has no files of Array1")
                sessions += [
                    Session(
                        f"{part}/{meeting.name}",
                        place,
                        _ARRAY,
                        "train",
                        files,
                    )
                    for files in groups
                ]
        return sessions, damaged, others + not_used(unknown, "meeting")
