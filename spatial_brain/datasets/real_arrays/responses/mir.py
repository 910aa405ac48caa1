"""MIR: impulse responses of three linear arrays in a room of Bar-Ilan.

E. Hadad, F. Heese, P. Vary and S. Gannot, "Multichannel audio database in
various acoustic environments", IWAENC 2014. One laboratory with panels that
give three reverberation times, three arrays of eight microphones, sources 1 m
and 2 m away in thirteen directions; 234 MAT files::

    MIR/Impulse_response_Acoustic_Lab_Bar-Ilan_University/
        Impulse_response_..._(Reverberation_0.160s)_3-3-3-8-3-3-3_1m_270.mat
"""

import re
from functools import cached_property

import numpy as np
import scipy.io
import torch

from spatial_brain.datasets.real_arrays.corpus import (
    Preflight,
    Response,
    ResponseCorpus,
    Room,
    check_split,
)
from spatial_brain.datasets.real_arrays.matlab import read_mat
from spatial_brain.datasets.real_arrays.trees import missing, some
from spatial_brain.folders import find_files
from spatial_brain.geometry import MicrophoneArray, azel_to_unit

STEM = "Impulse_response_Acoustic_Lab_Bar-Ilan_University"
ROOM_SIZE = (6.0, 6.0, 2.4)
# As it stands in names of files, to the room.
TIMES = {"0.160": "R1", "0.360": "R2", "0.610": "R3"}
# Names are the distances of neighbours in centimetres.
ARRAYS = ("3-3-3-8-3-3-3", "4-4-4-8-4-4-4", "8-8-8-8-8-8-8")
DISTANCES = ("1m", "2m")
ANGLES = tuple(f"{angle % 360:03d}" for angle in range(270, 451, 15))
_FILE = re.compile(
    rf".*_\(Reverberation_({'|'.join(TIMES)})s\)_({'|'.join(ARRAYS)})"
    rf"_({'|'.join(DISTANCES)})_({'|'.join(ANGLES)})\.mat"
)


class MIRResponses(ResponseCorpus):
    """The multichannel impulse response database of Bar-Ilan University.

    Files are found by their names, in whichever sub-folders their archives
    put them. Origin is the centre of the array, the front is azimuth 0 of the
    corpus. Responses end after twice the T60, as in SAR-SSL; there is noise
    alone behind. All of it is for training.

    Arguments
    ---------
    folder : str or Path
        Holds the MAT files.
    compat : bool
        There is nothing to keep.

    Raises
    ------
    FileNotFoundError
        If there is no such folder.
    """

    name = "MIR"
    folders = ("MIR", "MIRDB")
    url = "https://www.eng.biu.ac.il/gannot/downloads/"
    licence = "free for research, cite the paper"
    expected = {"rooms": 3, "arrays": 3, "pairs": 60, "responses": 234}

    @cached_property
    def _files(self):
        """(room, array, distance, angle) to file, in the published order."""
        found = {}
        for path in find_files(self.folder, ".mat"):
            match = _FILE.fullmatch(path.name)
            if match:
                time, *rest = match.groups()
                found.setdefault((TIMES[time], *rest), path)
        return {key: found[key] for key in _all_keys() if key in found}

    @property
    def rooms(self):
        """R1 to R3, of those that are there."""
        there = {room for room, *_ in self._files}
        return {
            name: Room(name, ROOM_SIZE, float(time))
            for time, name in TIMES.items()
            if name in there
        }

    @cached_property
    def arrays(self):
        """Named by the distances of neighbours in centimetres."""
        first = {}
        for (_, array, _, _), path in self._files.items():
            first.setdefault(array, path)
        return {
            name: _read_array(first[name], name)
            for name in ARRAYS
            if name in first
        }

    @cached_property
    def _responses(self):
        """All of them."""
        if not self._files:
            raise FileNotFoundError(self._nothing)
        times = {name: float(time) for time, name in TIMES.items()}
        found = []
        for (room, array, distance, angle), path in self._files.items():
            direction = azel_to_unit(float(angle), 0.0)
            found.append(
                Response(
                    id=f"{room}/{array}/SP{distance}-{angle}_MP",
                    room=room,
                    array=array,
                    files=(path,),
                    source=float(distance.removesuffix("m")) * direction,
                    microphones=self.arrays[array].positions,
                    t60=times[room],
                )
            )
        return found

    def responses(self, split=None):
        """See ``ResponseCorpus``; there is nothing for "val"."""
        check_split(split)
        return list(self._responses) if split in (None, "train") else []

    def read_response(self, response):
        """See ``ResponseCorpus``."""
        [path] = response.files
        content = read_mat(path, ("impulse_response", "simpar"), simple=True)
        waveform = np.asarray(content["impulse_response"])
        _check_shape(path, waveform.shape)
        fs = int(content["simpar"]["fs"])
        waveform = waveform[: int(2 * response.t60 * fs)]
        return torch.from_numpy(waveform.T.astype(np.float32)), fs

    def preflight(self):
        """See ``ArrayCorpus``."""
        if not self._files:
            return Preflight(
                self.name, self.folder, {}, self.expected, [self._nothing]
            )
        problems = self._missing_files()
        for (_, array, _, _), path in self._files.items():
            try:
                _check_file(path, array)
            except ValueError as problem:
                problems.append(str(problem))
        found = {"rooms": len(self.rooms), "responses": len(self._files)}
        if self._arrays_can_be_read():
            found |= {"arrays": len(self.arrays), "pairs": self.count_pairs()}
        return Preflight(self.name, self.folder, found, self.expected, problems)

    def _arrays_can_be_read(self):
        """Whether the file that each array is read from is sound."""
        try:
            return bool(self.arrays)
        except ValueError:
            return False

    @property
    def _nothing(self):
        """Message where there is no file of the corpus."""
        return missing(self.folder, STEM, f"download it from {self.url}")

    def _missing_files(self):
        """A line for each room and array that lacks files."""
        lines = []
        for time, room in TIMES.items():
            for array in ARRAYS:
                wanted = [k for k in _all_keys() if k[:2] == (room, array)]
                lost = [k for k in wanted if k not in self._files]
                if lost:
                    names = some("_".join(key[2:]) for key in lost)
                    lines.append(
                        f"{room} (Reverberation_{time}s) with {array}: "
                        f"{len(lost)} of {len(wanted)} files are missing "
                        f"({names}); download them from {self.url}"
                    )
        return lines


def _all_keys():
    """(room, array, distance, angle) of all files, in the original order."""
    return [
        (room, array, distance, angle)
        for room in TIMES.values()
        for array in ARRAYS
        for angle in ANGLES
        for distance in DISTANCES
    ]


def _check_shape(path, shape):
    """Refuse responses that are not those of eight microphones."""
    if len(shape) != 2 or shape[1] != 8:
        raise ValueError(
            f"{path}: impulse_response has shape {list(shape)}, not [samples, "
            "8]; copy or download it again"
        )


def _check_file(path, array):
    """Refuse a file without reading its responses."""
    _check_metadata(path, array)
    for name, shape, _ in scipy.io.whosmat(path):
        if name == "impulse_response":
            _check_shape(path, shape)
            return
    raise ValueError(
        f"{path}: has no impulse_response; copy or download it again"
    )


def _check_metadata(path, array):
    """Read what a file says about its array; it must fit its name."""
    meta = read_mat(path, ("metapar", "simpar"), simple=True)["metapar"]
    spacing = np.atleast_1d(meta["mic_spacing"]).astype(float)
    if spacing.tolist() != [float(part) for part in array.split("-")]:
        raise ValueError(
            f"{path}: its mic_spacing {spacing.tolist()} cm is not that of its "
            "name; was it renamed?"
        )
    return meta


def _read_array(path, name):
    """Positions from a file: mirrored halves on two azimuths."""
    meta = _check_metadata(path, name)
    ends = np.concatenate(([0.0], np.cumsum(meta["mic_spacing"]))) / 100
    offsets = torch.from_numpy(np.abs(ends - ends[-1] / 2))
    # Such as "1-4: 270deg, 5-8: 90deg".
    sides = re.findall(r"([\d.]+)\D*(?:,|$)", str(meta["mic_position"]))
    if len(sides) != 2:
        raise ValueError(
            f"{path}: cannot read where microphones are from mic_position "
            f"{meta['mic_position']!r}"
        )
    half = len(ends) // 2
    azimuth = torch.tensor(
        [float(side) for side in sides], dtype=torch.float64
    ).repeat_interleave(half)
    unit = azel_to_unit(azimuth, torch.zeros_like(azimuth))
    return MicrophoneArray(offsets[:, None] * unit, name, "across the line")
