"""dEchorate: impulse responses of six arrays in a room with eleven states.

D. Di Carlo et al., "dEchorate: a calibrated room impulse response dataset for
echo-aware signal processing", EURASIP JASMP 2021. Digits of a state are
floor, ceiling, west, south, east and north, 1 where the wall reflects::

    dEchorate/{dEchorate_rir.h5, dEchorate_annotations.h5}
    dEchorate/dEchorate_{noise,babble,silence}_gzip7.hdf5   (or ....h5)

``dEchorate_rir.h5`` has ``rir/<state>/<source>``, [time, 31]: 30 microphones
and a loopback. Sources 0 to 5 are directional, 6 to 8, which are used, not.
The authors' repository warns of the responses on zenodo and links others.
"""

from functools import cached_property

import h5py
import numpy as np
import torch

from spatial_brain.datasets.real_arrays.corpus import (
    PAIR_RANGE,
    Noise,
    Preflight,
    Response,
    ResponseCorpus,
    Room,
    check_split,
)
from spatial_brain.datasets.real_arrays.trees import missing, some
from spatial_brain.geometry import MicrophoneArray

RESPONSES, ANNOTATIONS = "dEchorate_rir.h5", "dEchorate_annotations.h5"
# Not read: all that is needed of it stands in the annotations.
DATABASE = "dEchorate_database.csv"
STATES = (
    "000000",
    "000001",
    "000010",
    "000100",
    "001000",
    "010000",
    "011000",
    "011100",
    "011110",
    "011111",
    "020002",
)
# Number of microphones of an array, and of all columns.
WIDTH, COLUMNS = 5, 31
ARRAYS = ("A1", "A2", "A3", "A4", "A5", "A6")
DIRECTIONAL, OMNIDIRECTIONAL = 6, 3
# Sources of each kind of noise in each state.
NOISES = {"noise": 6, "babble": 4, "silence": 1}
# Recorded without a pause before and behind.
_WITHOUT_PAUSE = (("silence", None), ("babble", "011111"))
# Seconds: averaging, the pause that is sure, the edges that are not noise,
# and the shortest noise.
_AVERAGE, _PAUSE, _EDGE, _SHORTEST = 0.4, 1.5, 3.0, 3.0
_POSITIONS = (
    ("room_size", None),
    ("microphones", WIDTH * len(ARRAYS)),
    ("sources_omnidirection_position", OMNIDIRECTIONAL),
)


class DEchorateResponses(ResponseCorpus):
    """Responses of the omnidirectional sources, and noises.

    The origin is the lower south-west corner: x to the east, y to the north.
    Rooms are the states. All of it is for training.

    Arguments
    ---------
    folder : str or Path
        Holds the HDF5 files.
    compat : bool or sequence of str
        "array1_distances": pairs of all arrays are chosen by the distances of
        array A1, as in SAR-SSL.

    Raises
    ------
    FileNotFoundError
        If there is no such folder.
    """

    name = "dEchorate"
    folders = ("dEchorate",)
    url = "https://zenodo.org/records/6576203"
    licence = "CC BY 4.0"
    noise_kinds = tuple(NOISES)
    COMPAT = ("array1_distances",)
    expected = {
        "rooms": 11,
        "arrays": 6,
        "pairs": 48,
        "responses": 11 * 3 * 6,
        "noises": 11 * 11 * 6,
    }

    def _open(self, name):
        """Open one of the files."""
        path = self.folder / name
        if not path.is_file():
            raise FileNotFoundError(
                missing(
                    self.folder,
                    name,
                    f"download it from {self.url}",
                    self._file_names,
                )
            )
        try:
            return h5py.File(path, "r")
        except OSError as problem:
            raise ValueError(
                f"{path}: damaged, or no HDF5 file ({problem}); copy or "
                "download it again"
            ) from problem

    @property
    def _file_names(self):
        """Names of all files."""
        noises = [self._noise_file(kind) for kind in NOISES]
        return [RESPONSES, ANNOTATIONS, DATABASE, *noises]

    @cached_property
    def _annotations(self):
        """Name to positions, float32 [3] or [3, N]."""
        found = {}
        with self._open(ANNOTATIONS) as file:
            for name, number in _POSITIONS:
                shape = (3,) if number is None else (3, number)
                if name not in file or file[name].shape != shape:
                    raise ValueError(
                        f"{self.folder / ANNOTATIONS}: has no {name} of shape "
                        f"{shape}; download it again from {self.url}"
                    )
                found[name] = torch.from_numpy(file[name][()]).float()
        return found

    @cached_property
    def _layout(self):
        """Sampling rate, and state to names of sources, as the file has it."""
        path = self.folder / RESPONSES
        with self._open(RESPONSES) as file:
            if "rir" not in file or "sampling_rate" not in file.attrs:
                raise ValueError(
                    f"{path}: has no rir or no sampling_rate; is it the file "
                    f"from {self.url}?"
                )
            group = file["rir"]
            states = {s: list(group[s]) for s in STATES if s in group}
            return int(file.attrs["sampling_rate"]), states

    @property
    def rooms(self):
        """The states that are there; no T60 is published a state."""
        size = tuple(self._annotations["room_size"].tolist())
        return {state: Room(state, size) for state in self._layout[1]}

    @cached_property
    def arrays(self):
        """A1 to A6, in the room."""
        microphones = self._annotations["microphones"].T
        return {
            name: MicrophoneArray(part, name, "+x of the room")
            for name, part in zip(ARRAYS, microphones.split(WIDTH), strict=True)
        }

    def pairs(self, array):
        """See ``ArrayCorpus``."""
        like = "A1" if "array1_distances" in self.compat else array
        return self.arrays[like].pairs(*PAIR_RANGE)

    def responses(self, split=None):
        """See ``ResponseCorpus``; there is nothing for "val"."""
        check_split(split)
        if split not in (None, "train"):
            return []
        positions = self._annotations["sources_omnidirection_position"].T
        return [
            Response(
                id=f"{state}/{array}/SP{number + 1}_MP",
                room=state,
                array=array,
                files=(self.folder / RESPONSES,),
                key=source,
                source=positions[number],
                microphones=self.arrays[array].positions,
            )
            for state, sources in self._layout[1].items()
            for number, source in enumerate(sources[DIRECTIONAL:])
            for array in ARRAYS
        ]

    def read_response(self, response):
        """See ``ResponseCorpus``."""
        waveform = self._read(
            RESPONSES,
            f"rir/{response.room}/{response.key}",
            slice(None),
            response.array,
        )
        return waveform.T.contiguous(), self._layout[0]

    def _read(self, name, key, samples, array=None):
        """Part of a recording, [time, M] of an array or of all."""
        columns = slice(0, COLUMNS - 1)
        if array is not None:
            first = WIDTH * ARRAYS.index(array)
            columns = slice(first, first + WIDTH)
        with self._open(name) as file:
            try:
                data = file[key][samples, columns]
            except (OSError, KeyError, ValueError) as problem:
                raise ValueError(
                    f"{self.folder / name}: cannot read {key} ({problem}); "
                    "copy or download it again"
                ) from problem
        return torch.from_numpy(np.asarray(data, dtype=np.float32))

    def _noise_file(self, kind):
        """Name of a file of noise; either of the two it is known by."""
        newer = f"dEchorate_{kind}.h5"
        return (
            newer
            if (self.folder / newer).is_file()
            else f"dEchorate_{kind}_gzip7.hdf5"
        )

    def noises(self, split=None):
        """See ``ResponseCorpus``; of the kinds that are there."""
        check_split(split)
        if split not in (None, "train"):
            return []
        return [
            noise
            for kind in NOISES
            if (self.folder / self._noise_file(kind)).is_file()
            for noise in self._noises_of(kind)
        ]

    def _noises_of(self, kind):
        """Noises of a kind, for each array."""
        name = self._noise_file(kind)
        path = self.folder / name
        found = []
        with self._open(name) as file:
            fs = int(file.attrs.get("sampling_rate", self._layout[0]))
            for state in self._layout[1]:
                group = file.get(f"{kind}/{state}", {})
                for number, source in enumerate(list(group)[: NOISES[kind]]):
                    shape = group[source].shape
                    _check_shape(path, f"{kind}/{state}/{source}", shape)
                    found += [
                        Noise(
                            id=f"{state}/{array}/{kind}_{number + 1}",
                            room=state,
                            array=array,
                            kind=kind,
                            files=(path,),
                            fs=fs,
                            num_samples=shape[0],
                            key=f"{kind}/{state}/{source}",
                        )
                        for array in ARRAYS
                    ]
        return found

    def usable(self, noise):
        """See ``ResponseCorpus``; the pauses before and behind are left out."""
        for kind, state in _WITHOUT_PAUSE:
            if noise.kind == kind and state in (None, noise.room):
                return 0, noise.num_samples
        [path] = noise.files
        if noise.key not in self._bounds:
            recording = self._read(path.name, noise.key, slice(None))
            try:
                bounds = find_noise(recording, noise.fs)
            except ValueError as problem:
                raise ValueError(f"{path}: {noise.key} {problem}") from problem
            self._bounds[noise.key] = bounds
        return self._bounds[noise.key]

    @cached_property
    def _bounds(self):
        """Recording to what is known of its pauses, filled on demand."""
        return {}

    def read_noise(self, noise, start=0, stop=None):
        """See ``ResponseCorpus``."""
        stop = noise.num_samples if stop is None else stop
        if not 0 <= start < stop <= noise.num_samples:
            raise ValueError(
                f"{noise.id}: samples {start} to {stop} do not lie in its "
                f"{noise.num_samples}"
            )
        return self._read(
            noise.files[0].name, noise.key, slice(start, stop), noise.array
        )

    def preflight(self):
        """See ``ArrayCorpus``."""
        found, problems = {}, []
        try:
            found |= {
                "rooms": len(self.rooms),
                "arrays": len(self.arrays),
                "pairs": self.count_pairs(),
                "responses": len(self.responses()),
            }
            problems += self._response_problems()
        except (OSError, ValueError) as problem:
            problems.append(str(problem))
        noises = []
        for kind in NOISES:
            try:
                noises += self._noises_of(kind)
                problems += self._noise_problems(kind)
            except (OSError, ValueError) as problem:
                if str(problem) not in problems:
                    problems.append(str(problem))
        found["noises"] = len(noises)
        seconds = sum(noise.num_samples / noise.fs for noise in noises)
        found["hours"] = seconds / 3600 / len(ARRAYS)
        return Preflight(self.name, self.folder, found, self.expected, problems)

    def _response_problems(self):
        """What is missing or has another shape among the responses."""
        path, problems = self.folder / RESPONSES, []
        states = self._layout[1]
        lost = [state for state in STATES if state not in states]
        if lost:
            problems.append(
                f"{path}: no rooms {some(lost, len(STATES))}; download it "
                f"again from {self.url}"
            )
        with self._open(RESPONSES) as file:
            for state, sources in states.items():
                if len(sources) != DIRECTIONAL + OMNIDIRECTIONAL:
                    problems.append(
                        f"{path}: {len(sources)} sources in room {state}, "
                        f"expected {DIRECTIONAL + OMNIDIRECTIONAL}; download "
                        "it again"
                    )
                for source in sources:
                    key = f"rir/{state}/{source}"
                    try:
                        _check_shape(path, key, file[key].shape)
                    except ValueError as problem:
                        problems.append(str(problem))
        return problems

    def _noise_problems(self, kind):
        """Rooms that lack noises of a kind."""
        counts = dict.fromkeys(STATES, 0)
        for noise in self._noises_of(kind):
            counts[noise.room] += 1
        lost = [
            state
            for state, count in counts.items()
            if count != NOISES[kind] * len(ARRAYS)
        ]
        if not lost:
            return []
        return [
            f"{self.folder / self._noise_file(kind)}: not the "
            f"{NOISES[kind]} sources of rooms {some(lost, len(STATES))}; "
            f"download it again from {self.url}"
        ]


def _check_shape(path, key, shape):
    """Refuse recordings that are not those of 30 microphones and a loopback."""
    if len(shape) != 2 or shape[1] != COLUMNS:
        raise ValueError(
            f"{path}: {key} has shape {list(shape)}, expected [samples, "
            f"{COLUMNS}]; the file of whole recordings is needed, not the one "
            "cut into utterances"
        )


def find_noise(recording, fs):
    """Find where noise begins and ends between pauses.

    The mean over microphones of the squared signal, averaged over the last
    0.4 s, is compared with the middle between the pause (0.4 to 1.5 s) and
    the noise (all but 3 s at either end): the mean of their means and of the
    largest of the pause and the smallest of the noise.

    Arguments
    ---------
    recording : torch.Tensor
        Shape [time, M].
    fs : int
        Sampling rate, Hz.

    Returns
    -------
    tuple of int
        First sample, and the one behind the last.

    Raises
    ------
    ValueError
        If the recording is shorter than 6 s, or its noise than 3 s.

    Example
    -------
    >>> import torch
    >>> level = torch.zeros(10000, 1)
    >>> level[2000:8000] = 1.0
    >>> start, stop = find_noise(level, 1000)
    >>> 2000 <= start <= 2400, 7600 <= stop <= 8000
    (True, True)
    """
    width, edge, pause = int(_AVERAGE * fs), int(_EDGE * fs), int(_PAUSE * fs)
    if len(recording) <= 2 * edge:
        raise ValueError(
            f"lasts {len(recording) / fs:.3g} s, more than {2 * _EDGE:g} s are "
            "needed to tell noise from pauses"
        )
    power = recording.double().square().mean(-1)
    total = torch.nn.functional.pad(power.cumsum(0), (width, 0))
    level = (total[width:] - total[:-width]) / width
    quiet, active = level[width:pause], level[edge:-edge]
    threshold = (quiet.mean() + active.mean() + quiet.max() + active.min()) / 4
    loud = level > threshold
    start = int(loud[:edge].int().argmax())
    behind = loud[edge:]
    stop = len(recording)
    if not behind.all():
        stop = edge + int((~behind).int().argmax()) - width
    if stop - start <= _SHORTEST * fs:
        raise ValueError(
            f"noise of {(stop - start) / fs:.3g} s between pauses, more than "
            f"{_SHORTEST:g} s are expected"
        )
    return start, stop
