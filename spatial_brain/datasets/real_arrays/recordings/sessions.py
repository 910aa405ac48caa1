"""What readers of recordings share: find sessions, check headers, report."""

import re
from abc import abstractmethod
from collections import Counter, defaultdict
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import ClassVar

from spatial_brain.dataio.audio import AudioFileError, scan_headers
from spatial_brain.datasets.real_arrays.corpus import (
    ChannelFiles,
    Preflight,
    Recording,
    RecordingCorpus,
    Room,
    check_split,
    expect_array,
)
from spatial_brain.datasets.real_arrays.trees import (
    find_misplaced,
    missing,
    some,
)
from spatial_brain.folders import find_files, find_folders

# Problems of one kind that are listed one by one.
_LISTED = 10
# Names that one problem lists.
_NAMED = 40


@dataclass(frozen=True, eq=False)
class Session:
    """A recording before its files were opened.

    Arguments
    ---------
    id, room, array : str
        As of a ``Recording``.
    split : str
        One of ``SPLITS``.
    files : sequence of Path
        One with all channels, or one a channel.
    speakers : tuple of str
        Who speaks, where that is known.
    transcript : Path, optional
        Who speaks when.
    """

    id: str
    room: str
    array: str
    split: str
    files: object
    speakers: tuple = ()
    transcript: Path | None = None


class SessionCorpus(RecordingCorpus):
    """A corpus of recordings that names of folders and files describe.

    Reading the headers is put off until they are needed; what is damaged is
    left out of :meth:`recordings` and named in :attr:`unreadable`.

    Arguments
    ---------
    folder, compat
        See ``ArrayCorpus``.
    """

    # Folders of which the corpus has at least one, by which it is known.
    MARKERS: ClassVar[tuple] = ()
    # Rooms of the complete corpus, where their names are published.
    ROOMS: ClassVar[tuple] = ()
    # Channels of a file of one channel; more are allowed where None.
    file_channels: ClassVar[int | None] = 1

    @abstractmethod
    def _find(self):
        """Sessions, problems of damaged files, and other problems."""

    def _usable(self, session, info):
        """Usable parts, seconds; empty: all of it, None: there is none."""
        return ()

    @cached_property
    def _found(self):
        """What ``_find`` gives, sessions sorted by id."""
        sessions, damaged, others = self._find()
        return sorted(sessions, key=lambda one: one.id), damaged, others

    @property
    def rooms(self):
        """Name to room; neither sizes nor T60 are published in files."""
        names = sorted({session.room for session in self._found[0]})
        return {name: Room(name) for name in names}

    @cached_property
    def _scanned(self):
        """Recordings with splits, damaged ones, and others not used."""
        sessions, damaged, _ = self._found
        infos, problems = scan_headers(
            [session.files[0] for session in sessions], self._check_header
        )
        problems = [*damaged, *problems]
        recordings, unused = [], []
        for session, info in zip(sessions, infos, strict=True):
            if info is None:
                continue
            try:
                intervals = self._usable(session, info)
            except (OSError, ValueError) as problem:
                problems.append(str(problem))
                continue
            if intervals is None:
                unused.append(f"{session.id}: nobody speaks alone, not used")
                continue
            recording = Recording(
                session.id,
                session.room,
                session.array,
                session.files,
                info.fs,
                info.num_samples,
                intervals,
                session.speakers,
            )
            recordings.append((session.split, recording))
        return recordings, problems, unused

    def _check_header(self, info):
        """Refuse files whose channels are not those of the array."""
        if len(self._found[0][0].files) == 1:
            [array] = self.arrays.values()
            try:
                expect_array(array, info.num_channels, info.path)
            except ValueError as problem:
                raise AudioFileError(str(problem)) from problem
        elif self.file_channels not in (None, info.num_channels):
            raise AudioFileError(
                f"{info.path}: has {info.num_channels} channels, the corpus "
                "has a file for each channel; is it the original file?"
            )

    def recordings(self, split=None):
        """See ``RecordingCorpus``."""
        check_split(split)
        return [
            recording
            for part, recording in self._scanned[0]
            if split in (None, part)
        ]

    @property
    def unreadable(self):
        """See ``RecordingCorpus``."""
        return self._scanned[1]

    def preflight(self):
        """See ``ArrayCorpus``; the headers of all channels are read."""
        sessions, damaged, others = self._found
        recordings, problems, unused = self._scanned
        problems = [
            *others,
            *problems,
            *unused,
            *self._other_channels(sessions),
        ]
        if not sessions and not problems:
            problems.append(self._nothing())
        absent = [name for name in self.ROOMS if name not in self.rooms]
        if sessions and absent:
            problems.append(f"missing rooms: {some(absent, _NAMED)}")
        found = {
            "rooms": len(self.rooms),
            "pairs": self.count_pairs(),
            "recordings": len(recordings),
            "hours": sum(one.duration for _, one in recordings) / 3600,
        }
        return Preflight(self.name, self.folder, found, self.expected, problems)

    def _nothing(self):
        """Message about a folder in which there is no recording."""
        places = [find_misplaced(self.folder, name) for name in self.MARKERS]
        place = next((p for p in places if p not in (None, self.folder)), None)
        if place is not None:
            return f"no recordings, the corpus lies in {place}; give that"
        there = [path.name for path in find_folders(self.folder)]
        return (
            f"no recordings; expected are the folders "
            f"{', '.join(self.MARKERS)}, there are "
            f"{some(there, _NAMED) if there else 'none'}"
        )

    def absent(self, part, inside):
        """Message about a part of the corpus that is not there.

        Arguments
        ---------
        part : str
            Folder in the corpus.
        inside : Path
            Folder in it that is not there, either.

        Returns
        -------
        str
        """
        if (self.folder / part).is_dir():
            return f"{inside} is missing; copy {part} again"
        others = {marker.split("/")[0] for marker in self.MARKERS}
        return missing(
            self.folder, part, f"it comes from {self.url}", sorted(others)
        )

    def _other_channels(self, sessions):
        """Problems of the channels after the first, where each has a file."""
        several = [one for one in sessions if len(one.files) > 1]
        paths = [path for one in several for path in one.files]
        infos, problems = scan_headers(paths, self._check_header)
        known = set(self.unreadable)
        problems = [problem for problem in problems if problem not in known]
        position = 0
        for session in several:
            mine = infos[position : position + len(session.files)]
            position += len(session.files)
            shapes = {(i.num_samples, i.fs) for i in mine if i is not None}
            if len(shapes) > 1:
                lengths = ", ".join(f"{n} at {fs} Hz" for n, fs in shapes)
                problems.append(
                    f"{session.files[0]}: its channels differ in length or "
                    f"rate ({lengths}); copy them again"
                )
        return problems


def channel_groups(paths, rule, first, count):
    """Recordings of which each channel has a file.

    Arguments
    ---------
    paths : iterable of Path
        Files.
    rule : str
        Regular expression with three groups: of the name before the number
        of the channel, the number, and the rest.
    first, count : int
        Number of the first channel, and of channels.

    Returns
    -------
    tuple
        List of ``ChannelFiles``, sorted; and list of str, recordings of
        which channels are missing.

    Example
    -------
    >>> paths = [Path(f"/d/a_CH{k}.wav") for k in (0, 1)]
    >>> channel_groups(paths, r"(.+_CH)(\\d)(\\.wav)", 0, 2)[0][0][1].name
    'a_CH1.wav'
    >>> channel_groups(paths, r"(.+_CH)(\\d)(\\.wav)", 0, 3)[1]
    ['/d/a_CH*.wav: channel files 2 are missing; copy them again']
    """
    numbers = defaultdict(set)
    for path in paths:
        match = re.fullmatch(rule, path.name, re.IGNORECASE)
        if match:
            before, number, after = match.groups()
            numbers[str(path.parent / before), after].add(int(number))
    groups, problems = [], []
    for (before, after), there in sorted(numbers.items()):
        missing = sorted({*range(first, first + count)} - there)
        if missing:
            problems.append(
                f"{before}*{after}: channel files "
                f"{', '.join(map(str, missing))} are missing; copy them again"
            )
        else:
            groups.append(ChannelFiles(before, after, first, count))
    return groups, problems


def audio_below(folder, suffixes):
    """Audio files in a folder and below; none if it is not there.

    Arguments
    ---------
    folder : Path
        Where to look.
    suffixes : str
        End of the names.

    Returns
    -------
    list of Path

    Example
    -------
    >>> audio_below(Path("nowhere"), ".wav")
    []
    """
    return find_files(folder, suffixes) if folder.is_dir() else []


def not_used(names, what):
    """Problems of names that no split knows.

    Arguments
    ---------
    names : iterable of str
        Names, one for each file.
    what : str
        What they are.

    Returns
    -------
    list of str
        At most ten, the rest is counted.

    Example
    -------
    >>> not_used(["Attic", "Attic"], "scene")
    ['scene Attic is in no split and not used (2 recordings); was it renamed?']
    """
    counts = sorted(Counter(names).items())
    lines = [
        f"{what} {name} is in no split and not used ({number} recordings); "
        "was it renamed?"
        for name, number in counts[:_LISTED]
    ]
    if counts[_LISTED:]:
        lines.append(f"... and {len(counts) - _LISTED} more")
    return lines
