"""MeshRIR: impulse responses on a grid of 21 x 21 microphones.

S. Koyama et al., "MeshRIR: A dataset of room impulse responses on meshed grid
points", WASPAA 2021, CC BY 4.0. The part with 32 sources is used::

    Mesh/S32-M441_npy/{pos_mic.npy, pos_src.npy, data.json, ir_<mic>.npy}

The published number of 8874 pairs of microphones is a matter of rounding: of
the 714 pairs that are 0.2 m apart, the limit, 84 are found to be farther away
when distances of 0.05 m are added up in floating point.
"""

from functools import cached_property

import numpy as np
import torch

from spatial_brain.dataio.files import read_json
from spatial_brain.datasets.real_arrays.corpus import (
    PAIR_RANGE,
    Preflight,
    Response,
    ResponseCorpus,
    Room,
    check_split,
)
from spatial_brain.datasets.real_arrays.trees import missing, some
from spatial_brain.geometry import MicrophoneArray

PART = "S32-M441_npy"
_POSITIONS = ("pos_mic.npy", "pos_src.npy")
ROOM = Room("R1", (7.0, 6.4, 2.7), 0.19)


class MeshRIRResponses(ResponseCorpus):
    """The part S32-M441 of MeshRIR.

    The origin is the middle of the grid. All of it is for training.

    Arguments
    ---------
    folder : str or Path
        Holds ``S32-M441_npy``.
    compat : bool or sequence of str
        "rounding": pairs whose distance is 0.2 m but for rounding are left
        out, 8874 pairs; corrected there are 8958.

    Raises
    ------
    FileNotFoundError
        If there is no such folder.
    """

    name = "MeshRIR"
    folders = ("Mesh", "MeshRIR")
    url = "https://zenodo.org/records/5500451"
    licence = "CC BY 4.0"
    COMPAT = ("rounding",)

    @property
    def expected(self):
        """Counts of the complete corpus."""
        pairs = 8874 if "rounding" in self.compat else 8958
        return {"rooms": 1, "microphones": 441, "pairs": pairs, "responses": 32}

    def _load(self, name, mapped=False):
        """An array of the corpus; its name is checked, not its shape."""
        path = self.folder / PART / name
        if not path.is_file():
            remedy = f"download it from {self.url}"
            if not path.parent.is_dir():
                raise FileNotFoundError(missing(self.folder, PART, remedy))
            others = {file.name for file in path.parent.glob("ir_*.npy")}
            raise FileNotFoundError(
                missing(path.parent, name, remedy, [*others, *_POSITIONS])
            )
        try:
            return np.load(
                path, mmap_mode="r" if mapped else None, allow_pickle=False
            )
        except (ValueError, EOFError, OSError) as problem:
            raise ValueError(
                f"{path}: damaged ({problem}); copy or download it again"
            ) from problem

    def _positions(self, name):
        """Positions of microphones or sources, [N, 3]."""
        positions = self._load(name)
        if positions.ndim != 2 or positions.shape[1] != 3:
            raise ValueError(
                f"{self.folder / PART / name}: has shape "
                f"{list(positions.shape)}, not [N, 3]; download it again"
            )
        return positions

    @cached_property
    def _sources(self):
        """Positions in metres, float32 [S, 3]."""
        return torch.from_numpy(self._positions("pos_src.npy")).float()

    @cached_property
    def fs(self):
        """Sampling rate, Hz."""
        path = self.folder / PART / "data.json"
        content = read_json(path)
        if not isinstance(content.get("samplerate"), (int, float)):
            raise ValueError(f"{path}: has no samplerate; download it again")
        return int(content["samplerate"])

    @property
    def rooms(self):
        """The one room."""
        return {ROOM.name: ROOM}

    @cached_property
    def arrays(self):
        """The grid, "A1"."""
        positions = self._positions("pos_mic.npy")
        return {"A1": MicrophoneArray(positions, "A1", "+x of the corpus")}

    @cached_property
    def _pairs(self):
        """Pairs in use, with the rounding of the original if wanted."""
        if "rounding" not in self.compat:
            return super().pairs("A1")
        positions = self._positions("pos_mic.npy")
        pairs = super().pairs("A1")
        apart = positions[pairs[:, 0]] - positions[pairs[:, 1]]
        distances = np.sqrt(np.sum(apart**2, axis=1))
        low, high = PAIR_RANGE
        return pairs[(distances >= low) & (distances <= high)]

    def pairs(self, array):
        """See ``ArrayCorpus``."""
        if array not in self.arrays:
            raise KeyError(array)
        return self._pairs

    def responses(self, split=None):
        """See ``ResponseCorpus``; there is nothing for "val"."""
        check_split(split)
        if split not in (None, "train"):
            return []
        microphones = self.arrays["A1"].positions
        folder = self.folder / PART
        files = tuple(folder / f"ir_{n}.npy" for n in range(len(microphones)))
        return [
            Response(
                id=f"{ROOM.name}/A1/SP{number + 1}_MP",
                room=ROOM.name,
                array="A1",
                files=files,
                key=number,
                source=source,
                microphones=microphones,
                t60=ROOM.t60,
            )
            for number, source in enumerate(self._sources)
        ]

    def read_response(self, response):
        """See ``ResponseCorpus``; all 441 microphones."""
        return self.read_channels(response, range(len(response.files)))

    def read_channels(self, response, channels):
        """See ``ResponseCorpus``; only the files of these are opened."""
        rows = [
            self._row(response.files[channel], response.key)
            for channel in channels
        ]
        lengths = {len(row) for row in rows}
        if len(lengths) > 1:
            raise ValueError(
                f"{self.folder / PART}: responses of {sorted(lengths)} samples "
                f"in {some(response.files[c].name for c in channels)}; "
                "download it again"
            )
        return torch.from_numpy(np.stack(rows).astype(np.float32)), self.fs

    def _row(self, path, source):
        """Response from a source, of the file of a microphone."""
        responses = self._load(path.name, mapped=True)
        self._check_shape(path, responses.shape)
        return np.array(responses[source])

    def _check_shape(self, path, shape):
        """Refuse a file that does not hold a response for each source."""
        if len(shape) != 2 or shape[0] != len(self._sources):
            raise ValueError(
                f"{path}: has shape {list(shape)}, expected "
                f"[{len(self._sources)}, samples]; download it again"
            )

    def preflight(self):
        """See ``ArrayCorpus``."""
        found, problems = {"rooms": 1}, []
        try:
            number = len(self.arrays["A1"])
            found |= {
                "microphones": number,
                "pairs": self.count_pairs(),
                "responses": len(self._sources),
            }
            problems += self._file_problems(number)
            found["hours"] = self._seconds(number) / 3600
        except (OSError, ValueError) as problem:
            problems.append(str(problem))
        if len(found) == 1:
            found = {}
        return Preflight(self.name, self.folder, found, self.expected, problems)

    def _file_problems(self, number):
        """What is wrong with the files of the microphones."""
        problems, lost = [], []
        for channel in range(number):
            path = self.folder / PART / f"ir_{channel}.npy"
            if not path.is_file():
                lost.append(path.name)
                continue
            try:
                shape = self._load(path.name, mapped=True).shape
                self._check_shape(path, shape)
            except ValueError as problem:
                problems.append(str(problem))
        if lost:
            problems.append(
                f"{self.folder / PART}: {len(lost)} of {number} files are "
                f"missing ({some(lost)}); download them again from {self.url}"
            )
        return problems

    def _seconds(self, number):
        """Total duration of the responses that are there."""
        for channel in range(number):
            path = self.folder / PART / f"ir_{channel}.npy"
            if path.is_file():
                shape = self._load(path.name, mapped=True).shape
                return number * len(self._sources) * shape[-1] / self.fs
        return 0.0
