"""Impulse responses of one's own array, listed in a table."""

import math
from functools import cached_property
from pathlib import Path

from spatial_brain.dataio.audio import audio_info, read_audio
from spatial_brain.datasets.measured_rirs import read_measured_responses
from spatial_brain.datasets.own_folder.files import read_table
from spatial_brain.datasets.real_arrays.corpus import (
    Preflight,
    Response,
    ResponseCorpus,
    Room,
    check_split,
    expect_array,
)
from spatial_brain.geometry import MicrophoneArray

_ROOMS = "rooms.csv"
_SIDES = ("length", "width", "height")


class TableResponses(ResponseCorpus):
    """Responses that a CSV table lists; see ``read_measured_responses``.

    Rooms are the conditions of the table.

    Arguments
    ---------
    folder : str or Path
        Holds the table and the array.
    compat : bool
        There is nothing to keep.
    table : str
        CSV file in the folder.
    array : str
        JSON, CSV or SOFA file of the array in the folder, or a known name.
    root : str or Path, optional
        Folder of the table's paths; default: ``folder``.
    room_table : str, optional
        CSV file in the folder with what was measured of the rooms: ``room``,
        ``t60`` (seconds) and ``length``, ``width``, ``height`` (metres), each
        empty where it is not known; default ``rooms.csv``, if it is there.
        Without a T60 that of the responses counts.
    columns : dict, optional
        Names of the columns: ``azimuth``, ``elevation``, ``distance``,
        ``condition``.
    val_rooms, test_rooms : sequence of str
        Rooms that are not for training.

    Raises
    ------
    FileNotFoundError
        If a file is missing.
    ValueError
        If a file is not what it should be.

    Example
    -------
    >>> from spatial_brain.dataio.audio import write_audio
    >>> import torch
    >>> folder = getfixture("tmp_path")
    >>> write_audio(folder / "a.wav", torch.rand(100, 2), 16000)
    >>> _ = (folder / "array.csv").write_text("x,y,z\\n0,.05,0\\n0,-.05,0\\n")
    >>> text = "path,azimuth,elevation,condition\\na.wav,30,0,lab\\n"
    >>> _ = (folder / "responses.csv").write_text(text)
    >>> corpus = TableResponses(folder)
    >>> [response] = corpus.responses()
    >>> response.id, corpus.read_response(response)[0].shape
    ('lab/array/SPa_MP', torch.Size([2, 100]))
    """

    name = "TABLE"
    folders = ("TABLE",)
    url = "measurements of one's own"
    licence = "one's own"

    def __init__(
        self,
        folder,
        compat=False,
        *,
        table="responses.csv",
        array="array.csv",
        root=None,
        room_table=None,
        columns=None,
        val_rooms=(),
        test_rooms=(),
    ):
        super().__init__(folder, compat)
        path = self.folder / array
        self.array = (
            MicrophoneArray.from_file(path)
            if path.is_file() or path.suffix
            else MicrophoneArray.named(array)
        )
        self.measured = read_measured_responses(
            self.folder / table, root or self.folder, **(columns or {})
        )
        names = sorted({one.condition for one in self.measured})
        facts = self.folder / (room_table or _ROOMS)
        self._rooms = {name: Room(name) for name in names}
        if room_table is not None or facts.is_file():
            self._rooms |= _read_rooms(facts, names)
        self.held_out = {"val": set(val_rooms), "test": set(test_rooms)}
        wanted = self.held_out["val"] | self.held_out["test"]
        missing = sorted(wanted - set(self.rooms))
        twice = sorted(self.held_out["val"] & self.held_out["test"])
        if missing or twice or wanted == set(self.rooms):
            raise ValueError(
                f"{self.folder / table}: val_rooms {list(val_rooms)} and "
                f"test_rooms {list(test_rooms)} must be different rooms of "
                f"{', '.join(self.rooms)}, and leave some for training"
            )

    @property
    def rooms(self):
        """Conditions of the table, with size and T60 where they are known."""
        return self._rooms

    @property
    def arrays(self):
        """The one array."""
        return {self.array.name: self.array}

    @cached_property
    def _responses(self):
        """All responses, in the order of the table."""
        found = []
        for one in self.measured:
            label = Path(one.path).stem
            found.append(
                Response(
                    id=f"{one.condition}/{self.array.name}/SP{label}_MP",
                    room=one.condition,
                    array=self.array.name,
                    files=(one.path,),
                    source=self.array.centre + one.position,
                    microphones=self.array.positions,
                    condition=one.condition,
                )
            )
        return found

    def responses(self, split=None):
        """See ``ResponseCorpus``; a split is a set of rooms."""
        check_split(split)
        if split is None:
            return list(self._responses)
        return [one for one in self._responses if self._split(one) == split]

    def _split(self, response):
        """Split that the room of a response belongs to."""
        for split, rooms in self.held_out.items():
            if response.room in rooms:
                return split
        return "train"

    def read_response(self, response):
        """See ``ResponseCorpus``."""
        [path] = response.files
        waveform, fs = read_audio(path)
        expect_array(self.array, waveform.shape[1], path)
        return waveform.T, fs

    def preflight(self):
        """See ``ArrayCorpus``."""
        problems = []
        for response in self._responses:
            [path] = response.files
            try:
                info = audio_info(path)
                expect_array(self.array, info.num_channels, path)
            except (OSError, ValueError) as problem:
                problems.append(str(problem))
        found = {
            "rooms": len(self.rooms),
            "pairs": self.count_pairs(),
            "responses": len(self._responses),
        }
        return Preflight(self.name, self.folder, found, {}, problems)


def _read_rooms(path, names):
    """Name to room, of a table of what was measured of them."""
    rooms = {}
    for where, row in read_table(path, ("room",), "write room,t60"):
        name = row["room"]
        if name not in names:
            raise ValueError(
                f"{where}: no response has the condition {name!r}; there are "
                + ", ".join(names)
            )
        t60, *size = (_positive(where, row, c) for c in ("t60", *_SIDES))
        if None in size and size != [None] * 3:
            raise ValueError(
                f"{where}: needs all of {', '.join(_SIDES)}, or none"
            )
        rooms[name] = Room(name, None if None in size else tuple(size), t60)
    return rooms


def _positive(where, row, column):
    """A number above 0 of a line, None where it is empty."""
    text = (row.get(column) or "").strip()
    if not text:
        return None
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        raise ValueError(f"{where}: {column} is {text!r}, expected above 0")
    return value
