"""Meetings of several speakers, whose TextGrids say who speaks when."""

from abc import abstractmethod
from typing import ClassVar

from spatial_brain.datasets.real_arrays.recordings.overlap import (
    read_sentences,
    single_speaker_intervals,
)
from spatial_brain.datasets.real_arrays.recordings.sessions import (
    Session,
    SessionCorpus,
    audio_below,
    not_used,
)
from spatial_brain.geometry import MicrophoneArray


class MeetingCorpus(SessionCorpus):
    """Meetings, without the parts in which several people speak.

    Arguments
    ---------
    folder : str or Path
        The corpus.
    compat : bool or sequence of str
        "skip_last": leave out the last sentence of a meeting.
    """

    # Of each part: rooms for training and for validation.
    PARTS: ClassVar[dict] = {}
    # Name of the array.
    ARRAY: ClassVar[str] = ""
    # Meetings that SAR-SSL leaves out.
    LEFT_OUT: ClassVar[tuple] = ()

    @abstractmethod
    def _places(self, part):
        """Folders of audio and of TextGrids of a part."""

    @abstractmethod
    def _identify(self, stem):
        """Name of a meeting and its room, from the name of its audio."""

    @property
    def arrays(self):
        """The circle on the table."""
        return {self.ARRAY: MicrophoneArray.named(self.ARRAY)}

    def _find(self):
        """Meetings with their TextGrids; one in two parts is taken once."""
        sessions, damaged, others, unknown = {}, [], [], []
        for part, rooms in self.PARTS.items():
            audio, grids = self._places(part)
            if not audio.is_dir():
                others.append(self.absent(part, audio))
                continue
            splits = {room: s for s in rooms for room in rooms[s]}
            transcripts = {p.stem: p for p in audio_below(grids, ".textgrid")}
            without_audio = dict(transcripts)
            for path in audio_below(audio, (".wav", ".flac")):
                meeting, room = self._identify(path.stem)
                without_audio.pop(meeting, None)
                if meeting in self.LEFT_OUT:
                    continue
                if room not in splits:
                    unknown.append(f"{room or path.stem} of {part}")
                elif meeting not in transcripts:
                    damaged.append(
                        f"{path}: there is no {meeting}.TextGrid in {grids}; "
                        "without it, who speaks when is not known"
                    )
                elif meeting in sessions:
                    others.append(
                        f"{path}: {meeting} is there twice and used once"
                    )
                else:
                    sessions[meeting] = Session(
                        f"{part}/{meeting}",
                        room,
                        self.ARRAY,
                        splits[room],
                        (path,),
                        transcript=transcripts[meeting],
                    )
            damaged += [
                f"{path}: there is no audio for it in {audio}; copy it again"
                for path in without_audio.values()
            ]
        others += not_used(unknown, "room")
        return list(sessions.values()), damaged, others

    def _usable(self, session, info):
        """Parts with one speaker at most; None if there are none."""
        sentences = read_sentences(session.transcript)
        intervals = single_speaker_intervals(
            sentences, info.duration, "skip_last" in self.compat
        )
        return intervals or None
