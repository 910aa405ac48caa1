"""ACE: responses and noise of seven rooms with five arrays.

J. Eaton, N. D. Gaubitch, A. H. Moore and P. A. Naylor, "Estimation of room
acoustic parameters: The ACE Challenge", IEEE/ACM TASLP 24, 2016, and its
corpus, WASPAA 2015::

    ACE/RIRN/<array>/<room>/<1|2>/*RIR*.wav        48 kHz
                                  *Noise*_<Ambient|Babble|Fan>.wav
        Data/20150814T154139_Corpus_Mean_DRRs_and_T60s.csv

Where the arrays and the source stood is not published. Of the arrays those
are taken that SAR-SSL takes, by default.
"""

import csv
import math
from functools import cached_property

import torch
from scipy.signal import find_peaks

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
from spatial_brain.datasets.real_arrays.trees import missing
from spatial_brain.folders import find_files, find_folders
from spatial_brain.geometry import MicrophoneArray
from spatial_brain.suggestions import nearest

# Metres.
ROOM_SIZES = {
    "Building_Lobby": (4.47, 5.13, 3.18),
    "Lecture_Room_1": (6.93, 9.73, 3.0),
    "Lecture_Room_2": (13.6, 9.29, 2.94),
    "Meeting_Room_1": (6.61, 5.11, 2.95),
    "Meeting_Room_2": (10.3, 9.07, 2.63),
    "Office_1": (3.32, 4.83, 2.95),
    "Office_2": (3.22, 5.1, 2.94),
}
# Name in the corpus to that of the geometry; one microphone has none.
GEOMETRIES = {
    "Chromebook": "ace_chromebook",
    "Mobile": "ace_mobile",
    "Lin8Ch": "ace_lin8ch",
    "EM32": "ace_em32",
    "Crucif": "ace_crucif",
}
ARRAYS = ("Chromebook", "Mobile", "Lin8Ch", "EM32")
POSITIONS = ("1", "2")
KINDS = ("Ambient", "Babble", "Fan")
TABLE = "20150814T154139_Corpus_Mean_DRRs_and_T60s.csv"
_COLUMNS = (
    "Mic config:",
    "Room decode:",
    "Room config:",
    "Chan:",
    "FB T60:",
    "FB DRR:",
)
# Of the direct path's finder: seconds searched, maxima, part of the largest.
_SEARCH, _MAXIMA, _RATIO = 1 / 160, 5, 0.5


class ACE(ResponseCorpus):
    """The ACE corpus; see the module and ``ResponseCorpus``.

    Arguments
    ---------
    folder : str or Path
        Holds ``RIRN`` and ``Data``.
    compat : bool or sequence of str
        "rounded_em32": positions of EM32 in whole millimetres, microphone 8
        where microphone 6 is (411 pairs), as in SAR-SSL.
    arrays : sequence of str
        Of ``GEOMETRIES``.

    Raises
    ------
    FileNotFoundError
        If there is no such folder.
    ValueError
        If an array is not known.

    Example
    -------
    >>> folder = getfixture("tmp_path")
    >>> ACE(folder).preflight().problems
    ['...: no RIRN; unpack the corpus there']
    """

    name = "ACE"
    folders = ("ACE",)
    url = "https://zenodo.org/record/6257551"
    licence = "CC BY-ND 4.0"
    COMPAT = ("rounded_em32",)
    noise_kinds = tuple(kind.lower() for kind in KINDS)

    def __init__(self, folder, compat=False, *, arrays=ARRAYS):
        super().__init__(folder, compat)
        unknown = sorted(set(arrays) - set(GEOMETRIES))
        if unknown or not arrays:
            raise ValueError(
                f"ACE: arrays must be some of {', '.join(GEOMETRIES)}, got "
                f"{', '.join(arrays) or 'none'}"
            )
        self._wanted = {name: self._geometry(name) for name in arrays}
        places = len(ROOM_SIZES) * len(POSITIONS) * len(arrays)
        self.expected = {
            "rooms": len(ROOM_SIZES),
            "arrays": len(arrays),
            "pairs": self._count(self._wanted.values()),
            "responses": places,
        }

    def _geometry(self, name):
        """Array by its name in the corpus."""
        positions = MicrophoneArray.named(GEOMETRIES[name]).positions
        if name == "EM32" and "rounded_em32" in self.compat:
            positions = (positions * 1000).round() / 1000
            positions[7] = positions[5]
        return MicrophoneArray(positions, name)

    def _count(self, arrays):
        """Pairs of several arrays."""
        return sum(len(array.pairs(*PAIR_RANGE)) for array in arrays)

    @property
    def rooms(self):
        """See ``ArrayCorpus``; sizes are published, T60 with responses."""
        found = {place[1] for place in self._places}
        return {
            name: Room(name, size)
            for name, size in ROOM_SIZES.items()
            if name in found
        }

    @property
    def arrays(self):
        """See ``ArrayCorpus``."""
        found = {place[0] for place in self._places}
        return {k: array for k, array in self._wanted.items() if k in found}

    @cached_property
    def _places(self):
        """Array, room and position to the wav files there."""
        places = {}
        for array in self._wanted:
            for room in ROOM_SIZES:
                for position in POSITIONS:
                    folder = self.folder / "RIRN" / array / room / position
                    if folder.is_dir():
                        files = find_files(folder, ".wav", depth=0)
                        places[array, room, position] = files
        return places

    @cached_property
    def _published(self):
        """Array, room and position to what is published, by channel."""
        path = self.folder / "Data" / TABLE
        if not path.is_file():
            raise FileNotFoundError(
                f"{path}: no such file; it has the T60 and DRR of ACE, take "
                f"it from {self.url}"
            )
        return _read_table(path)

    @cached_property
    def _responses(self):
        """All responses."""
        found = []
        for (array, room, position), files in self._places.items():
            paths = [path for path in files if "RIR" in path.name]
            if not paths:
                continue
            if len(paths) > 1:
                raise ValueError(
                    f"{paths[0].parent}: has several responses "
                    f"({', '.join(path.name for path in paths)}); leave the "
                    "original one"
                )
            channels = self._published.get((array, room, position), {})
            numbers = range(1, len(self._wanted[array]) + 1)
            rows = [channels.get(number, {}) for number in numbers]
            published = {
                key: [row.get(key, math.nan) for row in rows]
                for key in ("t60", "drr")
            }
            published |= _bands(rows)
            found.append(
                Response(
                    id=f"{room}/{array}/SP1_MP{position}",
                    room=room,
                    array=array,
                    files=tuple(paths),
                    microphones=self._wanted[array].positions,
                    t60=_mean(published["t60"]),
                    drr=_mean(published["drr"]),
                    position=position,
                    published=published,
                )
            )
        return sorted(found, key=lambda one: one.id)

    def responses(self, split=None):
        """See ``ResponseCorpus``; all are for training."""
        check_split(split)
        return list(self._responses) if split in (None, "train") else []

    def read_response(self, response):
        """See ``ResponseCorpus``."""
        [path] = response.files
        waveform, fs = read_audio(path)
        expect_array(self._wanted[response.array], waveform.shape[1], path)
        return waveform.T, fs

    def direct_path(self, rir, fs):
        """See ``ResponseCorpus``; as SAR-SSL finds it in ACE.

        Of the five largest maxima in the first 6.25 ms the earliest that
        reaches half of the largest value there; where there is none, as for
        other corpora.
        """
        found = super().direct_path(rir, fs)
        for channel, start in enumerate(rir[:, : int(_SEARCH * fs)]):
            start = start.numpy()
            peaks, _ = find_peaks(start)
            largest = peaks[start[peaks].argsort()[-_MAXIMA:]]
            high = largest[start[largest] >= _RATIO * start.max()]
            if len(high):
                found[channel] = int(high.min())
        return found

    @cached_property
    def _noises(self):
        """All noises whose channels are the array's, and what is wrong."""
        found, problems = [], []
        for (array, room, position), files in self._places.items():
            for path in files:
                if "Noise" not in path.name:
                    continue
                try:
                    info = audio_info(path)
                    expect_array(self._wanted[array], info.num_channels, path)
                except (OSError, ValueError) as problem:
                    problems.append(f"{problem} (this noise is left out)")
                    continue
                kind = path.stem.rpartition("_")[2].lower()
                found.append(
                    Noise(
                        id=f"{room}/{array}/MP{position}_{kind}",
                        room=room,
                        array=array,
                        kind=kind,
                        files=(path,),
                        fs=info.fs,
                        num_samples=info.num_samples,
                        position=position,
                    )
                )
        return sorted(found, key=lambda one: one.id), problems

    def noises(self, split=None):
        """See ``ResponseCorpus``; noise with other channels is left out."""
        check_split(split)
        return list(self._noises[0]) if split in (None, "train") else []

    def read_noise(self, noise, start=0, stop=None):
        """See ``ResponseCorpus``."""
        [path] = noise.files
        stop = noise.num_samples if stop is None else stop
        return read_audio(path, start, stop - start, noise.fs)[0]

    def preflight(self):
        """See ``ArrayCorpus``."""
        root = self.folder / "RIRN"
        found = {"rooms": 0, "arrays": 0, "pairs": 0, "responses": 0}
        if not root.is_dir():
            problem = missing(
                self.folder,
                "RIRN",
                "unpack the corpus there",
                inside=GEOMETRIES,
            )
            return self._preflight(found, [problem])
        problems = self._missing(root)
        for (array, _, _), files in self._places.items():
            paths = [path for path in files if "RIR" in path.name]
            found["responses"] += len(paths) == 1
            for path in paths:
                try:
                    info = audio_info(path)
                    expect_array(self._wanted[array], info.num_channels, path)
                except (OSError, ValueError) as problem:
                    problems.append(str(problem))
        problems += self._noises[1]
        problems += self._unlabelled()
        found |= {"rooms": len(self.rooms), "arrays": len(self.arrays)}
        found["pairs"] = self._count(self.arrays.values())
        found["noises"] = len(self._noises[0])
        hours = sum(one.num_samples / one.fs for one in self._noises[0])
        found["hours"] = hours / 3600
        return self._preflight(found, problems)

    def _preflight(self, found, problems):
        """What is reported."""
        return Preflight(self.name, self.folder, found, self.expected, problems)

    def _missing(self, root):
        """Folders and files that are missing or have other names."""
        problems = []
        for array in self._wanted:
            if not (root / array).is_dir():
                problems.append(f"{root / array}: missing; unpack this array")
                continue
            there = [path.name for path in find_folders(root / array)]
            for name in sorted(set(there) - set(ROOM_SIZES)):
                meant = nearest(name, ROOM_SIZES)
                problems.append(
                    f"{root / array / name}: not a room of ACE, not used"
                    + (f"; rename it to {meant}" if meant else "")
                )
            gone = [room for room in ROOM_SIZES if room not in there]
            if gone:
                problems.append(
                    f"{root / array}: rooms {', '.join(gone)} are missing; "
                    "unpack this array again"
                )
            for room in set(ROOM_SIZES) - set(gone):
                problems += self._missing_files(root / array / room)
        return sorted(problems)

    def _missing_files(self, folder):
        """Positions, responses and noises that a room lacks."""
        problems = []
        for position in POSITIONS:
            place = folder.parent.name, folder.name, position
            path = folder / position
            names = [file.stem for file in self._places.get(place, ())]
            if not names:
                problems.append(f"{path}: has no wav files; unpack it again")
                continue
            number = sum("RIR" in name for name in names)
            if number != 1:
                problems.append(
                    f"{path}: has {number} files *RIR*.wav, expected one"
                )
            kinds = {n.rpartition("_")[2] for n in names if "Noise" in n}
            gone = [kind for kind in KINDS if kind not in kinds]
            if gone:
                problems.append(
                    f"{path}: noise {', '.join(gone)} is missing; unpack it "
                    "again"
                )
        return problems

    def _unlabelled(self):
        """Problems with the table of T60 and DRR."""
        try:
            published = self._published
        except (OSError, ValueError) as problem:
            return [str(problem)]
        path = self.folder / "Data" / TABLE
        return [
            f"{path}: has no channel {number} of {'/'.join(place)}; is it the "
            "original file?"
            for place in self._places
            for number in range(1, len(self._wanted[place[0]]) + 1)
            if number not in published.get(place, {})
        ]


def _read_table(path):
    """Array, room and position, then channel, to what is published."""
    published = {}
    with open(path, newline="", encoding="utf-8-sig") as file:
        reader = csv.reader(file, skipinitialspace=True)
        header = [name.strip() for name in next(reader, [])]
        missing = [name for name in _COLUMNS if name not in header]
        if missing:
            raise ValueError(
                f"{path}: has no column {', '.join(missing)}; is it the "
                "original file?"
            )
        index = {name: header.index(name) for name in _COLUMNS}
        for row in reader:
            if not any(row):
                continue
            try:
                values = [row[index[name]].strip() for name in _COLUMNS]
                place, numbers = tuple(values[:3]), values[3:]
                channel = int(numbers[0])
                one = published.setdefault(place, {}).setdefault(channel, {})
                one["t60"], one["drr"] = map(float, numbers[1:])
                _add_bands(one, header, row)
            except (ValueError, IndexError) as problem:
                raise ValueError(
                    f"{path}, line {reader.line_num}: {problem}; is it the "
                    "original file?"
                ) from problem
    return published


def _add_bands(one, header, row):
    """Take the values of bands, which follow their frequency in a row."""
    frequency = None
    for name, value in zip(header, row, strict=False):
        if name.lower() in ("freq:", "centre freq:"):
            frequency = float(value)
        elif frequency is not None and name in ("T60:", "DRR:"):
            key = f"band_{name[:-1].lower()}"
            one.setdefault(key, {})[frequency] = float(value)


def _bands(rows):
    """Values in bands of all channels; nothing where none are published."""
    frequencies = sorted({f for row in rows for f in row.get("band_t60", ())})
    if not frequencies:
        return {}
    return {
        "frequency": frequencies,
        **{
            key: [
                [row.get(key, {}).get(f, math.nan) for f in frequencies]
                for row in rows
            ]
            for key in ("band_t60", "band_drr")
        },
    }


def _mean(values):
    """Mean of what is known; None where nothing is."""
    known = torch.tensor([value for value in values if not math.isnan(value)])
    return known.double().mean().item() if len(known) else None
