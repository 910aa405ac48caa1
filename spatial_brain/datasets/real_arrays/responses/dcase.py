"""DCASE: TAU-SRIR DB and TAU-SNoise DB, responses along trajectories.

A. Politis, S. Adavanne and T. Virtanen, zenodo 6408611. Nine rooms of Tampere
University, a tetrahedral array on a sphere, sources moved around it in circles
or along lines at several heights; 24 kHz::

    DCASE/TAU-SRIR_DB/{rirdata.mat, measinfo.mat, rirs_<NN>_<room>.mat}
    DCASE/TAU-SNoise_DB/<NN>_<room...>/ambience_tetra_24k_edited.wav

Files of responses are MAT 7.3 (HDF5): ``rirs.mic`` is a table of references,
a row a height and a column a trajectory, to arrays [points, 4, time] (MATLAB
counts axes the other way round).
"""

from functools import cached_property

import h5py
import numpy as np
import torch

from spatial_brain.dataio.audio import audio_info, read_audio
from spatial_brain.datasets.real_arrays.corpus import (
    PAIR_RANGE,
    Noise,
    Preflight,
    Response,
    ResponseCorpus,
    Room,
    check_split,
    expect_array,
)
from spatial_brain.datasets.real_arrays.matlab import read_mat
from spatial_brain.datasets.real_arrays.trees import missing
from spatial_brain.folders import find_folders
from spatial_brain.geometry import MicrophoneArray, azel_to_unit

RESPONSES, NOISES = "TAU-SRIR_DB", "TAU-SNoise_DB"
AMBIENCE = "ambience_tetra_24k_edited.wav"
# Room to its number in names of files; 07, se201, is not published.
ROOMS = {
    "bomb_shelter": "01",
    "gym": "02",
    "pb132": "03",
    "pc226": "04",
    "sa203": "05",
    "sc203": "06",
    "se203": "08",
    "tb103": "09",
    "tc352": "10",
}
_UNPUBLISHED = "se201"
_VALIDATION = ("se203", "tb103")
# Of measinfo, by position as only some of its names are documented: ranges
# [1, trajectory] of circles, or [point, xyz, trajectory] of lines along y.
_RANGES = 6
_REMEDY = "download it again from {}"


class TAUResponses(ResponseCorpus):
    """Responses and ambient noise of the tetrahedral array of TAU.

    The origin is the base of the array. Positions of sources follow from the
    published directions and the distance of the trajectory. A response is a
    point of a trajectory, ``SP<trajectory>-<height>-<point>`` from 1 on.
    Validation rooms are se203 and tb103.

    Arguments
    ---------
    folder : str or Path
        Holds ``TAU-SRIR_DB`` and ``TAU-SNoise_DB``.
    compat : bool or sequence of str
        "angles": the pairs of SAR-SSL, which read degrees as radians and
        elevation as polar angle, so that three of six pairs are in range.
        Positions are right in any case.

    Raises
    ------
    FileNotFoundError
        If there is no such folder.
    """

    name = "DCASE"
    folders = ("DCASE", "TAU")
    url = "https://zenodo.org/records/6408611"
    licence = "non-commercial, with attribution (its LICENSE.txt)"
    noise_kinds = ("silence",)
    COMPAT = ("angles",)

    @property
    def expected(self):
        """Counts of the complete corpus."""
        return {
            "rooms": 9,
            "pairs": 3 if "angles" in self.compat else 6,
            "responses": 38530,
            "noises": 9,
        }

    def _file(self, name):
        """A file of TAU-SRIR_DB, which must be there."""
        place = self.folder / RESPONSES
        if not place.is_dir():
            raise FileNotFoundError(
                missing(self.folder, RESPONSES, f"download it from {self.url}")
            )
        if not (place / name).is_file():
            raise FileNotFoundError(
                missing(place, name, _REMEDY.format(self.url), self._file_names)
            )
        return place / name

    @property
    def _file_names(self):
        """Names of all files of TAU-SRIR_DB."""
        rooms = [self._path(room).name for room in ROOMS]
        return ["rirdata.mat", "measinfo.mat", *rooms]

    @cached_property
    def _rirdata(self):
        """The structure rirdata, as scipy gives structures."""
        path = self._file("rirdata.mat")
        return _fields(path, read_mat(path, ["rirdata"])["rirdata"])

    @cached_property
    def _directions(self):
        """Room to a table [trajectory, height] of directions [point, 3]."""
        entries = self._rirdata["room"][0, 0].ravel()
        # The first field is the name.
        return {str(np.squeeze(entry[0])): entry["rirs"] for entry in entries}

    @cached_property
    def _measured(self):
        """Room to what measinfo has about it."""
        path = self._file("measinfo.mat")
        entries = read_mat(path, ["measinfo"])["measinfo"].ravel()
        names = list(ROOMS)
        if len(entries) == len(names) + 1:
            names.insert(6, _UNPUBLISHED)
        if len(entries) != len(names):
            raise ValueError(
                f"{path}: has {len(entries)} rooms, expected {len(names)}; "
                f"{_REMEDY.format(self.url)}"
            )
        return dict(zip(names, entries, strict=True))

    @cached_property
    def fs(self):
        """Sampling rate of the responses, Hz."""
        return int(np.squeeze(self._rirdata["fs"][0, 0]))

    def _path(self, room):
        """File of the responses of a room."""
        return self.folder / RESPONSES / f"rirs_{ROOMS[room]}_{room}.mat"

    @cached_property
    def rooms(self):
        """Those whose responses are there."""
        self._file("rirdata.mat")
        return {
            name: Room(name, self._room_size(name))
            for name in ROOMS
            if self._path(name).is_file()
        }

    def _room_size(self, room):
        """Length, width and height; None for a trapezoid."""
        size = np.ravel(self._measured[room]["dimensions"]).astype(float)
        return tuple(size.tolist()) if size.size == 3 else None

    @cached_property
    def arrays(self):
        """The tetrahedron, around the centre of its sphere."""
        positions = self._radius * azel_to_unit(*self._angles.T)
        return {"tetra": MicrophoneArray(positions, "tetra", "+x of the room")}

    @property
    def _radius(self):
        """Of the sphere, metres."""
        return float(np.squeeze(self._rirdata["tetra_mic_radius_m"][0, 0]))

    @property
    def _angles(self):
        """Azimuth and elevation of the microphones, degrees [4, 2]."""
        angles = self._rirdata["tetra_mic_azel_deg"][0, 0].astype(np.float64)
        return torch.from_numpy(angles)

    def pairs(self, array):
        """See ``ArrayCorpus``."""
        positions = self.arrays[array].positions
        if "angles" in self.compat:
            # Degrees as radians, elevation as the angle from +z.
            azimuth, polar = self._angles.T
            positions = self._radius * torch.stack(
                (
                    polar.sin() * azimuth.cos(),
                    polar.sin() * azimuth.sin(),
                    polar.cos(),
                ),
                dim=-1,
            )
        return MicrophoneArray(positions, array).pairs(*PAIR_RANGE)

    @cached_property
    def _responses(self):
        """All of them, room after room."""
        return [
            response
            for room in self.rooms
            for response in self._responses_of(room)
        ]

    def _responses_of(self, room):
        """Responses of a room, in the order of SAR-SSL."""
        measured = self._measured[room]
        place = torch.from_numpy(
            np.ravel(measured["micPosition"]).astype(np.float32)
        )
        microphones = place + self.arrays["tetra"].positions
        table = self._directions[room]
        found = []
        for trajectory, height in np.ndindex(*table.shape):
            directions = _points(table[trajectory, height])
            offsets = _place_sources(directions, measured[_RANGES], trajectory)
            for point in range(len(directions)):
                label = f"{trajectory + 1}-{height + 1}-{point + 1}"
                found.append(
                    Response(
                        id=f"{room}/tetra/SP{label}_MP",
                        room=room,
                        array="tetra",
                        files=(self._path(room),),
                        key=(trajectory, height, point),
                        source=place + offsets[point],
                        microphones=microphones,
                    )
                )
        return found

    def responses(self, split=None):
        """See ``ResponseCorpus``."""
        check_split(split)
        return [r for r in self._responses if self._is_in(r.room, split)]

    def _is_in(self, room, split):
        """Whether a room belongs to a split."""
        own = "val" if room in _VALIDATION else "train"
        return split is None or split == own

    def read_response(self, response, form="mic"):
        """See ``ResponseCorpus``; ``form`` may be "foa" (W, Y, Z, X)."""
        [path] = response.files
        trajectory, height, point = response.key
        with _open(path) as file:
            table = _table(file, path, form)
            try:
                data = file[table[height, trajectory]]
                waveform = np.array(data[point], dtype=np.float32)
            except (OSError, ValueError, IndexError, KeyError) as problem:
                raise ValueError(
                    f"{path}: has no response {response.id} ({problem}); copy "
                    "or download it again"
                ) from problem
        expect_array(self.arrays["tetra"], len(waveform), path)
        return torch.from_numpy(waveform), self.fs

    def _ambience(self, room):
        """File of the noise of a room, None if it is not there."""
        place = self.folder / NOISES
        if not place.is_dir():
            return None
        for folder in find_folders(place):
            # Published names go on, such as 03_pb132_paatalo_classroom2.
            if folder.name.startswith(f"{ROOMS[room]}_"):
                path = folder / AMBIENCE
                return path if path.is_file() else None
        return None

    def noises(self, split=None):
        """See ``ResponseCorpus``; one a room."""
        check_split(split)
        found = []
        for room in ROOMS:
            path = self._ambience(room)
            if path is None or not self._is_in(room, split):
                continue
            info = audio_info(path)
            expect_array(self.arrays["tetra"], info.num_channels, path)
            found.append(
                Noise(
                    id=f"{room}/tetra/silence",
                    room=room,
                    array="tetra",
                    kind="silence",
                    files=(path,),
                    fs=info.fs,
                    num_samples=info.num_samples,
                )
            )
        return found

    def read_noise(self, noise, start=0, stop=None):
        """See ``ResponseCorpus``."""
        [path] = noise.files
        length = (noise.num_samples if stop is None else stop) - start
        return read_audio(path, start=start, num_samples=length)[0]

    def preflight(self):
        """See ``ArrayCorpus``."""
        found, problems = {}, []
        try:
            found |= {"rooms": len(self.rooms), "pairs": self.count_pairs()}
            found["responses"] = len(self._responses)
            problems += self._room_problems()
        except (OSError, ValueError) as problem:
            problems.append(str(problem))
        noises, noise_problems = self._check_noises()
        found["noises"] = len(noises)
        found["hours"] = sum(n.num_samples / n.fs for n in noises) / 3600
        return Preflight(
            self.name,
            self.folder,
            found,
            self.expected,
            problems + noise_problems,
        )

    def _room_problems(self):
        """What is missing or damaged in the files of responses."""
        problems = []
        for room in ROOMS:
            path = self._path(room)
            if not path.is_file():
                text = missing(
                    path.parent,
                    path.name,
                    _REMEDY.format(self.url),
                    self._file_names,
                )
                problems.append(f"{room} is missing: {text}")
                continue
            try:
                _check_file(path, self._directions[room])
            except ValueError as problem:
                problems.append(str(problem))
        return problems

    def _check_noises(self):
        """Noises that are there, and what is wrong with others."""
        place = self.folder / NOISES
        if not place.is_dir():
            return [], [
                missing(self.folder, NOISES, f"download it from {self.url}")
            ]
        problems = [
            f"{place}: no {ROOMS[room]}_.../{AMBIENCE} of {room}; "
            f"{_REMEDY.format(self.url)}"
            for room in ROOMS
            if self._ambience(room) is None
        ]
        try:
            return self.noises(), problems
        except (OSError, ValueError) as problem:
            return [], [*problems, str(problem)]


def _fields(path, structure):
    """Check that a variable is a structure with what is needed."""
    needed = ("fs", "room", "tetra_mic_radius_m", "tetra_mic_azel_deg")
    names = structure.dtype.names or ()
    absent = [name for name in needed if name not in names]
    if absent:
        raise ValueError(
            f"{path}: rirdata has no {', '.join(absent)}; download it again"
        )
    return structure


def _points(entry):
    """Directions of a trajectory, float32 [point, 3]; none if not measured."""
    directions = np.asarray(entry["doa_xyz"], dtype=np.float32)
    return torch.from_numpy(directions.reshape(-1, 3))


def _place_sources(directions, ranges, trajectory):
    """Put sources along their directions, on a circle or a line along y."""
    ranges = np.asarray(ranges)[0]
    if ranges.ndim == 1:
        across = directions[:, :2].norm(dim=-1)
        distance = float(ranges[trajectory])
    else:
        across = directions[:, 0].abs()
        distance = abs(float(ranges[0, trajectory]))
    return directions * (distance / across.clamp_min(1e-3))[:, None]


def _open(path):
    """Open a file of responses."""
    try:
        return h5py.File(path, "r")
    except OSError as problem:
        raise ValueError(
            f"{path}: damaged, or no MAT file of version 7.3 ({problem}); copy "
            "or download it again"
        ) from problem


def _table(file, path, form="mic"):
    """References to the responses, [height, trajectory]."""
    try:
        table = file[f"rirs/{form}"]
    except KeyError as problem:
        raise ValueError(
            f"{path}: has no rirs.{form}; is it a file of TAU-SRIR_DB?"
        ) from problem
    if h5py.check_ref_dtype(table.dtype) is not h5py.Reference:
        raise ValueError(
            f"{path}: rirs.{form} is no table of trajectories and heights; is "
            "it a file of TAU-SRIR_DB?"
        )
    return table


def _check_file(path, directions):
    """Compare shapes in a file with the directions of its points."""
    with _open(path) as file:
        table = _table(file, path)
        if table.shape != directions.T.shape:
            raise ValueError(
                f"{path}: has {table.shape[::-1]} trajectories and heights, "
                f"rirdata.mat {directions.shape}; download both again"
            )
        for trajectory, height in np.ndindex(*directions.shape):
            points = len(_points(directions[trajectory, height]))
            shape = file[table[height, trajectory]].shape
            if points and (len(shape) != 3 or shape[:2] != (points, 4)):
                raise ValueError(
                    f"{path}: trajectory {trajectory + 1}, height {height + 1} "
                    f"has shape {shape}, expected ({points}, 4, samples); "
                    "download it again"
                )
