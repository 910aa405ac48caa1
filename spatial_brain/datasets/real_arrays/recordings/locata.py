"""LOCATA: recordings with four arrays, and where everything was.

Zenodo 3630471, H. W. Loellmann et al., "The LOCATA Challenge Data Corpus for
Acoustic Source Localization and Tracking", IEEE SAM 2018. Six tasks: one
static source (1), several (2), one moving (3), several (4), one moving with a
moving array (5), several (6)::

    dev/task1/recording1/eigenmike/  (and eval/...)
        audio_array_eigenmike.wav             48 kHz, a channel a microphone
        audio_array_timestamps_eigenmike.txt
        audio_source_<source>.wav             what the source emitted
        position_array_eigenmike.txt          120 Hz: position, rotation
        position_source_<source>.txt          120 Hz: position
        required_time.txt                     120 Hz, with valid_flag
        VAD_eigenmike_<source>.txt            a value a sample at 48 kHz

Tables are separated by tabs and have a header. The frame of an array is x to
the right, y to the front, z up; what leaves this module is x to the front, y
to the left, z up (:func:`to_front_left`).
"""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch

from spatial_brain.dataio.audio import audio_info
from spatial_brain.datasets.real_arrays.corpus import (
    Preflight,
    Recording,
    RecordingCorpus,
    Room,
    check_split,
    expect_array,
)
from spatial_brain.folders import find_folders
from spatial_brain.geometry import (
    SPEED_OF_SOUND,
    MicrophoneArray,
    unit_to_azel,
)

TASKS = (1, 2, 3, 4, 5, 6)
SETS = ("dev", "eval")
ARRAYS = ("dicit", "benchmark2", "eigenmike", "dummy")
MOVING_ARRAY = (5, 6)
_ROOM = Room("lab", (7.1, 9.8, 3.0), 0.55)
_CLOCK = ("year", "month", "day", "hour", "minute", "second")
_PLACE = ("x", "y", "z")
_ROTATION = tuple(f"rotation_{i}{j}" for i in "123" for j in "123")


def to_front_left(vector):
    """From x to the right and y to the front to x front and y left.

    Arguments
    ---------
    vector : torch.Tensor
        Shape [..., 3].

    Returns
    -------
    torch.Tensor
        Shape [..., 3].

    Example
    -------
    >>> to_front_left(torch.tensor([1.0, 2.0, 3.0])).tolist()
    [2.0, -1.0, 3.0]
    """
    right, front, up = vector.unbind(-1)
    return torch.stack((front, -right, up), dim=-1)


@dataclass(frozen=True, eq=False)
class GroundTruth:
    """Where array and sources of a recording were, and who was active.

    Arguments
    ---------
    time : torch.Tensor
        Seconds since the first sample, float64 [T].
    clock : torch.Tensor
        Year, month, day, hour, minute and second, float64 [T, 6].
    valid : torch.Tensor
        Whether the challenge asks for this time, bool [T].
    array_position : torch.Tensor
        Metres in the frame of the room, float64 [T, 3].
    rotation : torch.Tensor
        From the frame of the array to that of the room, float64 [T, 3, 3].
    sources : dict
        Name to position in the frame of the room, float64 [T, 3]; empty
        where it is not published.
    activity : dict
        Name to whether it is active, bool [T].
    """

    time: torch.Tensor
    clock: torch.Tensor
    valid: torch.Tensor
    array_position: torch.Tensor
    rotation: torch.Tensor
    sources: dict
    activity: dict

    def direction(self, source):
        """Direction of a source as the array sees it.

        Arguments
        ---------
        source : str
            Its name.

        Returns
        -------
        tuple of torch.Tensor
            Azimuth, counter-clockwise from the front, and elevation, up from
            the horizontal plane of the array, degrees, [T].
        """
        away = self.sources[source] - self.array_position
        seen = torch.einsum("tji,tj->ti", self.rotation, away)
        return unit_to_azel(to_front_left(seen))

    def tdoa(self, source, microphones, first_frame=False):
        """Time differences of arrival at two microphones.

        Arguments
        ---------
        source : str
            Its name.
        microphones : torch.Tensor
            In the frame of the array, x to the front, metres, [2, 3].
        first_frame : bool
            Hold the rotation of the first time, as SAR-SSL does.

        Returns
        -------
        torch.Tensor
            (distance to the second - distance to the first) / 343 m/s,
            seconds, float64 [T].
        """
        front, left, up = microphones.double().unbind(-1)
        own = torch.stack((-left, front, up), dim=-1)
        rotation = self.rotation[:1] if first_frame else self.rotation
        places = torch.einsum("tij,mj->tmi", rotation, own)
        places = places + self.array_position[:, None]
        away = torch.linalg.vector_norm(
            self.sources[source][:, None] - places, dim=-1
        )
        return (away[:, 1] - away[:, 0]) / SPEED_OF_SOUND


class Locata(RecordingCorpus):
    """LOCATA in its folder; see the module and ``RecordingCorpus``.

    Splits are those of SAR-SSL's pre-training: task 1, everything for
    training, the development set for the test, nothing for validation.

    Arguments
    ---------
    folder : str or Path
        Holds ``dev`` or ``eval`` or both.
    compat : bool or sequence of str
        ``"rounded_array"``: positions of the Eigenmike in millimetres, with
        two capsules in one place, which makes other pairs.
    sets : sequence of str
        Of ``SETS``.
    tasks : sequence of int
        Of ``TASKS``.
    arrays : sequence of str
        Of ``ARRAYS``; the dummy has no pairs that SAR-SSL uses.

    Raises
    ------
    FileNotFoundError
        If there is no such folder, or neither set in it.
    ValueError
        If a set, task or array is not known.
    """

    name = "LOCATA"
    folders = ("LOCATA",)
    url = "https://zenodo.org/records/3630471"
    licence = "ODC-By 1.0"
    COMPAT = ("rounded_array",)

    def __init__(
        self,
        folder,
        compat=False,
        *,
        sets=SETS,
        tasks=(1,),
        arrays=ARRAYS[:3],
    ):
        super().__init__(folder, compat)
        for what, given, known in (
            ("sets", sets, SETS),
            ("tasks", tasks, TASKS),
            ("arrays", arrays, ARRAYS),
        ):
            unknown = [str(one) for one in given if one not in known]
            if unknown or not given:
                raise ValueError(
                    f"LOCATA: {what} must be some of "
                    f"{', '.join(map(str, known))}, got {list(given)}"
                )
        self.sets, self.tasks = tuple(sets), tuple(tasks)
        self.array_names = tuple(arrays)
        if not any((self.folder / name).is_dir() for name in SETS):
            below = [p.name for p in sorted(self.folder.iterdir())][:5]
            raise FileNotFoundError(
                f"{folder}: has neither dev nor eval, but "
                f"{', '.join(below) or 'nothing'}; give the folder that holds "
                f"dev/task1/recording1; it comes from {self.url}"
            )

    @property
    def expected(self):
        """492 pairs by rounded positions, as published; 497 by exact ones."""
        if self.array_names != ARRAYS[:3]:
            return {}
        return {"pairs": 492 if "rounded_array" in self.compat else 497}

    @property
    def rooms(self):
        """The one laboratory."""
        return {_ROOM.name: _ROOM}

    @cached_property
    def arrays(self):
        """Those asked for, whether they are there or not."""
        return {name: self._array(name) for name in self.array_names}

    def _array(self, name):
        """An array, rounded as the original has it if that is wanted."""
        array = MicrophoneArray.named(f"locata_{name}")
        if name != "eigenmike" or "rounded_array" not in self.compat:
            return array
        positions = array.positions.mul(1000).round().div(1000)
        # The table has capsule 6 twice, in place of capsule 8.
        positions[7] = positions[5]
        return MicrophoneArray(positions, array.name, array.front)

    @cached_property
    def _all(self):
        """Every recording of the sets, tasks and arrays."""
        found = []
        for folder in self._folders():
            path = folder / f"audio_array_{folder.name}.wav"
            info = audio_info(path)
            expect_array(self.arrays[folder.name], info.num_channels, path)
            found.append(
                Recording(
                    id="/".join(folder.parts[-4:]),
                    room=_ROOM.name,
                    array=folder.name,
                    files=(path,),
                    fs=info.fs,
                    num_samples=info.num_samples,
                    speakers=tuple(_source_names(folder)),
                )
            )
        return found

    def _folders(self):
        """Folders of recordings, by set, task and number."""
        found = []
        for name in self.sets:
            for task in self.tasks:
                place = self.folder / name / f"task{task}"
                if not place.is_dir():
                    continue
                recordings = [
                    one
                    for one in find_folders(place)
                    if one.name.removeprefix("recording").isdigit()
                ]
                recordings.sort(key=lambda one: int(one.name[9:]))
                for recording in recordings:
                    found += [
                        recording / array
                        for array in self.array_names
                        if (recording / array).is_dir()
                    ]
        return found

    def recordings(self, split=None):
        """See ``RecordingCorpus``; None is every recording asked for."""
        check_split(split)
        if split == "val":
            return []
        return [
            one
            for one in self._all
            if split is None
            or (
                task_of(one) == 1 and (split == "train" or set_of(one) == "dev")
            )
        ]

    def truth(self, recording):
        """Positions, rotations and activity during a recording.

        Arguments
        ---------
        recording : Recording
            From :meth:`recordings`.

        Returns
        -------
        GroundTruth

        Raises
        ------
        FileNotFoundError
            If a table is missing.
        ValueError
            If a table is damaged or tables contradict each other.
        """
        folder = recording.files[0].parent
        required = folder / "required_time.txt"
        clock = _read_table(required, (*_CLOCK, "valid_flag"))
        time = _seconds(clock, required) - self._start(folder, clock)
        path = folder / f"position_array_{folder.name}.txt"
        place = _read_table(path, (*_PLACE, *_ROTATION), len(time))
        sources = {
            name: torch.from_numpy(
                _read_table(
                    folder / f"position_source_{name}.txt", _PLACE, len(time)
                )
            )
            for name in _source_names(folder)
        }
        return GroundTruth(
            time=torch.from_numpy(time),
            clock=torch.from_numpy(clock[:, :6].copy()),
            valid=torch.from_numpy(clock[:, 6] != 0),
            array_position=torch.from_numpy(place[:, :3].copy()),
            rotation=torch.from_numpy(_rotations(place[:, 3:], path)),
            sources=sources,
            activity={
                name: _activity(folder, name, time, recording.fs)
                for name in sources
            },
        )

    @staticmethod
    def _start(folder, clock):
        """When the recording begins, seconds of the day."""
        path = folder / f"audio_array_timestamps_{folder.name}.txt"
        if path.is_file():
            first = _read_table(path, _CLOCK, rows=1)
            return _seconds(first, path)[0]
        return _seconds(clock, folder)[0]

    def preflight(self):
        """See ``ArrayCorpus``; headers of audio and names of tables."""
        problems, hours, number = [], 0.0, 0
        for name in self.sets:
            for task in self.tasks:
                if not (self.folder / name / f"task{task}").is_dir():
                    problems.append(
                        f"{self.folder / name}: task{task} is missing; "
                        f"unpack {name}.zip of {self.url} again"
                    )
        there = set()
        for folder in self._folders():
            there.add(folder.name)
            found, seconds = self._look_at(folder)
            problems += found
            hours += seconds / 3600
            number += seconds > 0
        problems += [
            f"{self.folder}: no recording with the array {name}"
            for name in self.array_names
            if name not in there
        ]
        found = {
            "arrays": len(there),
            "pairs": sum(
                len(self.pairs(name)) // 2 for name in self.array_names
            ),
            "recordings": number,
            "hours": hours,
        }
        return Preflight(
            self.name, self.folder, found, dict(self.expected), problems
        )

    def _look_at(self, folder):
        """What is wrong with a recording, and how many seconds it has."""
        audio = folder / f"audio_array_{folder.name}.wav"
        tables = ["required_time.txt", f"position_array_{folder.name}.txt"]
        missing = [name for name in tables if not (folder / name).is_file()]
        problems = [f"{folder / name}: is missing" for name in missing]
        problems += [
            f"{folder / name}: is missing, {instead}"
            for name, instead in self._assumed(folder).items()
            if not (folder / name).is_file()
        ]
        try:
            info = audio_info(audio)
            expect_array(self.arrays[folder.name], info.num_channels, audio)
        except (OSError, ValueError) as problem:
            return [*problems, str(problem)], 0.0
        return problems, info.num_samples / info.fs

    @staticmethod
    def _assumed(folder):
        """Tables that a recording can do without, and what is then assumed."""
        array = folder.name
        assumed = {
            f"VAD_{array}_{source}.txt": f"{source} counts as always active"
            for source in _source_names(folder)
        }
        assumed[f"audio_array_timestamps_{array}.txt"] = (
            "the audio is taken to begin at the first required time"
        )
        return assumed


def set_of(recording):
    """Set of a LOCATA recording, "dev" or "eval"."""
    return recording.id.split("/")[0]


def task_of(recording):
    """Task of a LOCATA recording, 1 to 6."""
    return int(recording.id.split("/")[1].removeprefix("task"))


def _source_names(folder):
    """Sources whose positions lie in a folder, sorted."""
    prefix = "position_source_"
    return sorted(
        path.stem.removeprefix(prefix)
        for path in Path(folder).glob(f"{prefix}*.txt")
    )


def _read_table(path, columns, length=None, rows=None):
    """Columns of a table, float64 [rows, columns]."""
    if not path.is_file():
        raise FileNotFoundError(
            f"{path}: is missing; unpack the corpus again, or leave its "
            "recording out"
        )
    with open(path, encoding="utf-8", errors="replace") as file:
        header = file.readline().split()
        empty = not file.readline().strip()
    missing = [name for name in columns if name not in header]
    if missing:
        raise ValueError(f"{path}: has no column {', '.join(missing)}")
    if empty:
        raise ValueError(f"{path}: has no rows")
    try:
        values = np.loadtxt(
            path,
            skiprows=1,
            usecols=[header.index(name) for name in columns],
            ndmin=2,
            max_rows=rows,
        )
    except ValueError as problem:
        raise ValueError(f"{path}: {problem}") from problem
    if not np.isfinite(values).all():
        raise ValueError(f"{path}: holds values that are not finite")
    if length is not None and len(values) != length:
        raise ValueError(
            f"{path}: has {len(values)} rows, required_time.txt has {length}"
        )
    return values


def _seconds(clock, path):
    """Seconds of the day of clock columns, [T]; midnight may pass once."""
    seconds = clock[:, 3] * 3600 + clock[:, 4] * 60 + clock[:, 5]
    seconds = seconds + 86400 * (seconds < seconds[0] - 43200)
    if (np.diff(seconds) < 0).any():
        raise ValueError(f"{path}: times must not decrease")
    return seconds


def _rotations(values, path):
    """Rotation matrices [T, 3, 3] from nine columns."""
    rotation = values.reshape(-1, 3, 3)
    product = np.einsum("tij,tik->tjk", rotation, rotation)
    if np.abs(product - np.eye(3)).max() > 0.01:
        raise ValueError(f"{path}: columns rotation_ij are no rotations")
    return rotation


def _activity(folder, source, time, fs):
    """Whether a source is active at some times, bool [T]; True if unknown."""
    path = folder / f"VAD_{folder.name}_{source}.txt"
    if not path.is_file():
        return torch.ones(len(time), dtype=torch.bool)
    with open(path, encoding="utf-8", errors="replace") as file:
        [name] = file.readline().split() or [""]
    values = _read_table(path, (name,))[:, 0]
    # The value before a time, as the challenge's evaluation takes it.
    index = np.ceil(time * fs).astype(int) - 1
    return torch.from_numpy(values[index.clip(0, len(values) - 1)] > 0.5)
