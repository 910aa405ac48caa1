"""What all corpora of real arrays have in common.

A corpus of impulse responses lists them (:class:`Response`) with noises that
were recorded with the same array in the same room (:class:`Noise`); a corpus
of recordings lists these (:class:`Recording`). Audio is read on demand, from
the original files. Channels count from 0 everywhere.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

import torch

from spatial_brain.dataio.audio import (
    read_audio,
    resample_audio,
    resampling_span,
)
from spatial_brain.simulation.room_labels import first_arrival

# Metres: distances of the pairs of microphones that are used.
PAIR_RANGE = (0.03, 0.2)
SPLITS = ("train", "val", "test")


@dataclass(frozen=True)
class Room:
    """A room, as published.

    Arguments
    ---------
    name : str
        In its corpus.
    size : tuple of float, optional
        Metres along x, y and z.
    t60 : float, optional
        Seconds.

    Example
    -------
    >>> Room("lab", (6.0, 5.0, 2.4)).t60 is None
    True
    """

    name: str
    size: tuple | None = None
    t60: float | None = None


@dataclass(frozen=True, eq=False)
class Response:
    """An impulse response from one source to all microphones of an array.

    Arguments
    ---------
    id : str
        Unique in its corpus: ``<room>/<array>/SP<source>_MP<position>``.
    room, array : str
        Names in the corpus.
    files : tuple of Path
        What it is read from.
    key : object
        Where in these files, for its reader.
    source : torch.Tensor, optional
        Position in metres, float32 [3].
    microphones : torch.Tensor, optional
        Positions in metres in the same frame, float32 [M, 3].
    t60, drr : float, optional
        As published for this response, seconds and dB.
    position : str
        Where the array stands; noises are matched by it.
    condition : str
        State of the room, if it has several.
    published : dict
        What is published for each channel: "t60" (s) and "drr" (dB), lists
        of M; and in frequency bands "frequency" (Hz), a list of F, with
        "band_t60" and "band_drr", M lists of F. NaN where a value is missing.
    """

    id: str
    room: str
    array: str
    files: tuple
    key: object = None
    source: torch.Tensor | None = None
    microphones: torch.Tensor | None = None
    t60: float | None = None
    drr: float | None = None
    position: str = ""
    condition: str = ""
    published: dict = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Noise:
    """Noise in a room at all microphones of an array.

    Arguments
    ---------
    id : str
        Unique in its corpus.
    room, array : str
        Names in the corpus.
    kind : str
        Such as "ambient", "babble", "fan", "silence".
    files : tuple of Path
        One with all channels, or one a channel.
    fs : int
        Sampling rate, Hz.
    num_samples : int
        Of each channel, pauses included; see ``ResponseCorpus.usable``.
    key : object
        Where in the files, for its reader.
    position : str
        Where the array stands; empty: anywhere.
    """

    id: str
    room: str
    array: str
    kind: str
    files: tuple
    fs: int
    num_samples: int
    key: object = None
    position: str = ""


@dataclass(frozen=True)
class ChannelFiles(Sequence):
    """Files of the channels of a recording, whose names differ by a number.

    Holds what the names have in common only: a corpus may have a million.

    Arguments
    ---------
    before, after : str
        Path before and after the number.
    first : int
        Number of channel 0.
    count : int
        Number of channels.

    Example
    -------
    >>> files = ChannelFiles("/d/a_CH", ".flac", 0, 32)
    >>> len(files), str(files[31])
    (32, '/d/a_CH31.flac')
    """

    before: str
    after: str
    first: int
    count: int

    def __len__(self):
        return self.count

    def __getitem__(self, channel):
        if not 0 <= channel < self.count:
            raise IndexError(f"no channel {channel} of {self.count}")
        return Path(f"{self.before}{self.first + channel}{self.after}")


@dataclass(frozen=True, eq=False)
class Recording:
    """A recording with all microphones of an array.

    Arguments
    ---------
    id : str
        Unique in its corpus.
    room, array : str
        Names in the corpus.
    files : sequence of Path
        One with all channels, or one a channel in their order.
    fs : int
        Sampling rate, Hz.
    num_samples : int
        Of each channel.
    intervals : tuple
        Usable parts (start, stop), seconds; empty: all of it.
    speakers : tuple of str
        Who speaks, where that is known.
    """

    id: str
    room: str
    array: str
    files: Sequence
    fs: int
    num_samples: int
    intervals: tuple = ()
    speakers: tuple = ()

    @property
    def duration(self):
        """Seconds."""
        return self.num_samples / self.fs


@dataclass
class Preflight:
    """What was found of a corpus before anything is done with it.

    Arguments
    ---------
    corpus : str
        Its name.
    folder : Path
        Where it was looked for.
    found : dict
        Counts: such as "rooms", "arrays", "pairs", "responses", "hours".
    expected : dict
        The same of the complete corpus, where it is published.
    problems : list of str
        What is missing, damaged or unexpected, with its remedy.

    Example
    -------
    >>> Preflight("MIR", Path("/d"), {"pairs": 47}, {"pairs": 60}).line()
    'MIR in /d: 47 of 60 pairs'
    """

    corpus: str
    folder: Path
    found: dict = field(default_factory=dict)
    expected: dict = field(default_factory=dict)
    problems: list = field(default_factory=list)

    @property
    def complete(self):
        """Whether all that is expected is there, and nothing is wrong."""
        return not self.problems and all(
            self.found.get(name) == number
            for name, number in self.expected.items()
        )

    def line(self, most=None):
        """The result in one line.

        Arguments
        ---------
        most : int, optional
            Problems that are named, others are counted; default: all.

        Returns
        -------
        str
        """
        parts = []
        for name, number in self.found.items():
            text = f"{number:.3g}" if isinstance(number, float) else number
            wanted = self.expected.get(name)
            if wanted is not None and wanted != number:
                text = f"{text} of {wanted}"
            parts.append(f"{text} {name}")
        parts = [", ".join(parts) or "nothing", *self.problems[:most]]
        more = len(self.problems) - len(self.problems[:most])
        if more:
            parts.append(f"{more} more problems")
        return f"{self.corpus} in {self.folder}: {'; '.join(parts)}"


class ArrayCorpus(ABC):
    """A corpus in a folder.

    Arguments
    ---------
    folder : str or Path
        The corpus itself.
    compat : bool or sequence of str
        Faults of the original system to keep, names from ``COMPAT``; True
        for all.

    Raises
    ------
    FileNotFoundError
        If there is no such folder.
    ValueError
        If a name in ``compat`` is not known.
    """

    # Name in commands, and the names that its folder may have.
    name: ClassVar[str]
    folders: ClassVar[tuple]
    # Where it comes from, and under what licence.
    url: ClassVar[str]
    licence: ClassVar[str]
    COMPAT: ClassVar[tuple] = ()
    # Of the complete corpus, for the preflight.
    expected: ClassVar[dict] = {}
    # Both orders of a pair are examples of their own.
    ordered_pairs: ClassVar[bool] = False

    def __init__(self, folder, compat=False):
        self.folder = Path(folder)
        if not self.folder.is_dir():
            raise FileNotFoundError(
                f"{folder}: no such folder of {self.name}; it comes from "
                f"{self.url}"
            )
        if isinstance(compat, bool):
            compat = self.COMPAT if compat else ()
        unknown = sorted(set(compat) - set(self.COMPAT))
        if unknown:
            raise ValueError(
                f"{self.name}: unknown compat {', '.join(unknown)}; known: "
                f"{', '.join(self.COMPAT) or 'none'}"
            )
        self.compat = tuple(compat)

    @property
    @abstractmethod
    def rooms(self):
        """Name to :class:`Room`, of those that are there."""

    @property
    @abstractmethod
    def arrays(self):
        """Name to :class:`MicrophoneArray`, of those that are there."""

    @abstractmethod
    def preflight(self):
        """Look through the folder, without reading audio.

        Returns
        -------
        Preflight
        """

    def pairs(self, array):
        """Pairs of microphones of an array that are used.

        Arguments
        ---------
        array : str
            Its name.

        Returns
        -------
        torch.Tensor
            Channels, int64 [P, 2]: ``PAIR_RANGE`` apart, in both orders with
            ``ordered_pairs``.
        """
        return self.arrays[array].pairs(*PAIR_RANGE, ordered=self.ordered_pairs)

    def count_pairs(self):
        """Number of pairs of all arrays, each counted in one order."""
        total = sum(len(self.pairs(array)) for array in self.arrays)
        return total // 2 if self.ordered_pairs else total


class ResponseCorpus(ArrayCorpus):
    """A corpus of impulse responses; see :class:`ArrayCorpus`."""

    # Kinds of noise that it has.
    noise_kinds: ClassVar[tuple] = ()

    @abstractmethod
    def responses(self, split=None):
        """List responses.

        Arguments
        ---------
        split : str, optional
            "train" or "val", as SAR-SSL divides the rooms; default: all.

        Returns
        -------
        list of Response
            In an order that depends on names alone.
        """

    @abstractmethod
    def read_response(self, response):
        """Read a response.

        Arguments
        ---------
        response : Response
            From :meth:`responses`.

        Returns
        -------
        tuple
            float32 tensor [M, time], and its sampling rate in Hz.

        Raises
        ------
        ValueError
            If its file is damaged; it is named.
        """

    def direct_path(self, rir, fs):
        """Where the direct path is in a response.

        Arguments
        ---------
        rir : torch.Tensor
            Shape [M, time].
        fs : int
            Its sampling rate, Hz.

        Returns
        -------
        torch.Tensor
            Sample of each channel, int64 [M]; see ``first_arrival``.
        """
        return first_arrival(rir)

    def read_channels(self, response, channels):
        """Read a response at some of the microphones.

        Arguments
        ---------
        response : Response
            From :meth:`responses`.
        channels : sequence of int
            Which, in which order.

        Returns
        -------
        tuple
            float32 tensor [channels, time], and its sampling rate in Hz.
        """
        waveform, fs = self.read_response(response)
        return waveform[list(channels)], fs

    def noises(self, split=None):
        """List noises; none by default.

        Arguments
        ---------
        split : str, optional
            As for :meth:`responses`.

        Returns
        -------
        list of Noise
        """
        return []

    def read_noise(self, noise, start=0, stop=None):
        """Read noise; only corpora with noises have this.

        Arguments
        ---------
        noise : Noise
            From :meth:`noises`.
        start, stop : int
            Samples at its own rate; default: all.

        Returns
        -------
        torch.Tensor
            float32 [time, M], at ``noise.fs``.
        """
        raise ValueError(f"{self.name} has no noises")

    def usable(self, noise):
        """Part of a noise without pauses; all of it by default.

        Arguments
        ---------
        noise : Noise
            From :meth:`noises`.

        Returns
        -------
        tuple of int
            First sample, and the one behind the last.
        """
        return 0, noise.num_samples

    def matching(self, response, noises):
        """Noises that belong to a response: same room, array and place.

        Arguments
        ---------
        response : Response
            One of this corpus.
        noises : list of Noise
            To choose from.

        Returns
        -------
        list of Noise
        """
        return matching_noises(response, noises)


class RecordingCorpus(ArrayCorpus):
    """A corpus of recordings; see :class:`ArrayCorpus`."""

    ordered_pairs = True
    # Whether distances of its microphones are those of the recording.
    geometry_known: ClassVar[bool] = True

    @property
    def unreadable(self):
        """What :meth:`recordings` leaves out as damaged; list of str."""
        return []

    @abstractmethod
    def recordings(self, split=None):
        """List recordings.

        Arguments
        ---------
        split : str, optional
            One of ``SPLITS``, as SAR-SSL divides them; default: all.

        Returns
        -------
        list of Recording
            In an order that depends on names alone.
        """

    def read_segment(self, recording, start, stop, channels):
        """Read a part of a recording.

        Arguments
        ---------
        recording : Recording
            From :meth:`recordings`.
        start, stop : int
            Samples at its own rate.
        channels : sequence of int
            Which, in which order.

        Returns
        -------
        torch.Tensor
            float32 [stop - start, channels], at ``recording.fs``.

        Raises
        ------
        ValueError
            If a file is damaged or too short; it is named.
        """
        return read_channels(recording.files, start, stop, channels)

    def read_at(self, recording, start, num_samples, channels, fs):
        """Read a part of a recording at another rate.

        Arguments
        ---------
        recording : Recording
            From :meth:`recordings`.
        start, num_samples : int
            Samples at ``fs``.
        channels : sequence of int
            Which, in which order.
        fs : int
            Sampling rate, Hz.

        Returns
        -------
        torch.Tensor
            float32 [num_samples, channels]; it equals that of the whole
            recording resampled.

        Raises
        ------
        ValueError
            If a file is damaged or too short; it is named.
        """
        if recording.fs == fs:
            return self.read_segment(
                recording, start, start + num_samples, channels
            )
        first, last, offset = resampling_span(
            start, num_samples, fs, recording.fs, recording.num_samples
        )
        waveform = self.read_segment(recording, first, last, channels)
        waveform = resample_audio(waveform, recording.fs, fs)
        return waveform[offset : offset + num_samples].contiguous()


def read_channels(files, start, stop, channels):
    """Read some channels of a recording from its files.

    Arguments
    ---------
    files : sequence of Path
        One with all channels, or one a channel in their order; of a file of
        one channel that has more, the first is read.
    start, stop : int
        Samples.
    channels : sequence of int
        Which, in which order.

    Returns
    -------
    torch.Tensor
        float32 [stop - start, channels].

    Raises
    ------
    ValueError
        If a file is damaged or too short; it is named.

    Example
    -------
    >>> from spatial_brain.dataio.audio import write_audio
    >>> path = getfixture("tmp_path") / "a.wav"
    >>> write_audio(path, torch.arange(8.0).view(4, 2) / 8, 16000)
    >>> read_channels([path], 1, 3, [1, 0])
    tensor([[0.3750, 0.2500],
            [0.6250, 0.5000]])
    """
    if len(files) == 1:
        waveform, _ = read_audio(files[0], start, stop - start)
        return waveform[:, list(channels)].contiguous()
    signals = [
        read_audio(files[channel], start, stop - start)[0][:, 0]
        for channel in channels
    ]
    return torch.stack(signals, dim=-1)


def matching_noises(response, noises):
    """Noises that belong to a response: same room, array and place.

    Arguments
    ---------
    response : Response
        Of a corpus.
    noises : list of Noise
        Of the same corpus.

    Returns
    -------
    list of Noise

    Example
    -------
    >>> response = Response("a", "lab", "pair", (), position="1")
    >>> noise = Noise("b", "lab", "pair", "fan", (), 16000, 9, position="2")
    >>> matching_noises(response, [noise])
    []
    """
    return [
        noise
        for noise in noises
        if (noise.room, noise.array) == (response.room, response.array)
        and noise.position in ("", response.position)
    ]


def check_split(split):
    """Refuse a split that does not exist.

    Arguments
    ---------
    split : str or None
        None is all of them.

    Raises
    ------
    ValueError
        If it is not in ``SPLITS``.

    Example
    -------
    >>> check_split("dev")
    Traceback (most recent call last):
    ValueError: split must be one of train, val, test, got 'dev'
    """
    if split is not None and split not in SPLITS:
        raise ValueError(
            f"split must be one of {', '.join(SPLITS)}, got {split!r}"
        )


def expect_array(array, num_channels, path):
    """Refuse audio whose channels are not the microphones of its array.

    Arguments
    ---------
    array : MicrophoneArray
        The array.
    num_channels : int
        Of the file.
    path : str or Path
        Named in the message.

    Raises
    ------
    ValueError
        If the numbers differ.

    Example
    -------
    >>> from spatial_brain.geometry import MicrophoneArray
    >>> expect_array(MicrophoneArray.named("ace_mobile"), 2, "a.wav")
    Traceback (most recent call last):
    ValueError: a.wav: has 2 channels, the array ace_mobile 3 microphones; ...
    """
    if num_channels != len(array):
        raise ValueError(
            f"{path}: has {num_channels} channels, the array {array.name} "
            f"{len(array)} microphones; is it the original file?"
        )
