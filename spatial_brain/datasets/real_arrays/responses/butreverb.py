"""BUT Speech@FIT Reverb Database: nine rooms, a spherical array.

I. Szoke, M. Skacel, L. Mosner, J. Paliesek and J. Cernocky, "Building and
evaluation of a real room impulse response dataset", IEEE JSTSP 13, 2019::

    BUTReverb/RIRs/<room>/MicID01/<SpkID..>/<microphone>/mic_meta.txt
                                                        RIR/*.wav
                                                        silence/*.wav

Of up to 31 microphones a room, the eight of the sphere are those whose type
is ``01-<own number>``. ``mic_meta.txt`` has a line ``$key<tab>value`` a fact.
Depth, width and height from a corner of the room, in metres, are taken as x,
y and z.
"""

import csv
from functools import cached_property

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
)
from spatial_brain.datasets.real_arrays.trees import missing
from spatial_brain.folders import find_files, find_folders
from spatial_brain.geometry import MicrophoneArray
from spatial_brain.suggestions import nearest

ROOMS = (
    "Hotel_SkalskyDvur_ConferenceRoom2",
    "Hotel_SkalskyDvur_Room112",
    "VUT_FIT_C236",
    "VUT_FIT_D105",
    "VUT_FIT_E112",
    "VUT_FIT_L207",
    "VUT_FIT_L212",
    "VUT_FIT_L227",
    "VUT_FIT_Q301",
)
VALIDATION = ("VUT_FIT_E112",)
ARRAY = "spherical"
_MICROPHONES = 8
_AXES = ("Depth", "Width", "Height")
# Metres: further off, the array of a room is another one.
_SAME = 5e-3


class BUTReverb(ResponseCorpus):
    """The BUT reverb database; see the module and ``ResponseCorpus``.

    Arguments
    ---------
    folder : str or Path
        Holds ``RIRs``.
    compat : bool or sequence of str
        "clipped_positions": negative coordinates of microphones become 0, as
        in SAR-SSL.

    Raises
    ------
    FileNotFoundError
        If there is no such folder.

    Example
    -------
    >>> folder = getfixture("tmp_path")
    >>> BUTReverb(folder).preflight().problems
    ['...: no RIRs; unpack the corpus there']
    """

    name = "BUTReverb"
    folders = ("BUTReverb", "BUT_ReverbDB")
    url = "https://speech.fit.vutbr.cz/software/but-speech-fit-reverb-database"
    licence = "CC BY 4.0"
    COMPAT = ("clipped_positions",)
    expected = {"rooms": 9, "arrays": 1, "pairs": 28, "responses": 51}
    noise_kinds = ("silence",)

    @cached_property
    def _scanned(self):
        """Room and source to its microphones' metadata; what is wrong."""
        places, problems = {}, []
        for room in ROOMS:
            folder = self.folder / "RIRs" / room / "MicID01"
            if not folder.is_dir():
                continue
            for source in find_folders(folder):
                found = {}
                for path in find_folders(source):
                    if not path.name.isdigit():
                        continue
                    try:
                        meta = _read_meta(path / "mic_meta.txt")
                        if _in_sphere(meta):
                            found[int(path.name)] = path, meta
                    except (OSError, ValueError) as problem:
                        problems.append(str(problem))
                try:
                    places[room, source.name] = self._place(source, found)
                except (OSError, ValueError) as problem:
                    problems.append(f"{problem} (this source is left out)")
        return places, problems

    def _place(self, source, found):
        """Files and facts of the eight microphones for one source."""
        gone = set(range(1, _MICROPHONES + 1)) - set(found)
        if gone or len(found) != _MICROPHONES:
            raise ValueError(
                f"{source}: has microphones {sorted(found)} of the sphere, "
                f"expected 1 to {_MICROPHONES}; unpack the room again"
            )
        place = {"positions": [], "t60": [], "rir": [], "silence": []}
        for number in sorted(found):
            path, meta = found[number]
            own = f"EnvMic{meta['EnvMicID']}"
            place["positions"].append(_numbers(path, meta, own, _AXES))
            place["t60"] += _numbers(path, meta, own, ["RelRT60"])
            wavs = _wavs(path / "RIR")
            if not wavs:
                raise ValueError(f"{path / 'RIR'}: has no wav file")
            place["rir"].append(wavs[0])
            place["silence"].append(_wavs(path / "silence"))
        place["source"] = _numbers(path, meta, "EnvSpk1", _AXES)
        place["size"] = tuple(_numbers(path, meta, "Env", _AXES))
        positions = torch.tensor(place["positions"])
        if "clipped_positions" in self.compat:
            positions = positions.clamp_min(0)
        place["positions"] = positions
        return place

    @property
    def _places(self):
        """Room and source to files and facts."""
        return self._scanned[0]

    @property
    def rooms(self):
        """See ``ArrayCorpus``; T60 is the mean over sources."""
        rooms = {}
        for name in dict.fromkeys(room for room, _ in self._places):
            own = [p for (room, _), p in self._places.items() if room == name]
            t60 = torch.tensor([p["t60"] for p in own]).double().mean().item()
            rooms[name] = Room(name, own[0]["size"], t60)
        return rooms

    @property
    def arrays(self):
        """See ``ArrayCorpus``; as it stands in the first room."""
        for place in self._places.values():
            positions = place["positions"]
            return {
                ARRAY: MicrophoneArray(positions - positions.mean(0), ARRAY)
            }
        return {}

    def _label(self, room, source):
        """Short name of a source, if it has one of its own in its room."""
        short = source.split("_")[0]
        others = [s for r, s in self._places if r == room]
        unique = sum(s.split("_")[0] == short for s in others) == 1
        return short if unique else source

    @cached_property
    def _responses(self):
        """All responses."""
        found = []
        for (room, source), place in self._places.items():
            label = self._label(room, source)
            found.append(
                Response(
                    id=f"{room}/{ARRAY}/SP{label}_MP",
                    room=room,
                    array=ARRAY,
                    files=tuple(place["rir"]),
                    source=torch.tensor(place["source"]),
                    microphones=place["positions"],
                    t60=sum(place["t60"]) / len(place["t60"]),
                    published={"t60": place["t60"]},
                )
            )
        return found

    def responses(self, split=None):
        """See ``ResponseCorpus``; E112 is for validation."""
        return _of_split(self._responses, split)

    def read_response(self, response):
        """See ``ResponseCorpus``."""
        channels, rates = [], set()
        for path in response.files:
            waveform, fs = read_audio(path, num_channels=1)
            channels.append(waveform[:, 0])
            rates.add(fs)
        lengths = {len(channel) for channel in channels}
        if len(rates) > 1 or len(lengths) > 1:
            raise ValueError(
                f"{response.files[0]} and the other microphones: have rates "
                f"{sorted(rates)} and {sorted(lengths)} samples, expected the "
                "same of all; are they the original files?"
            )
        return torch.stack(channels), fs

    @cached_property
    def _noises(self):
        """All noises, and what is wrong with others."""
        found, problems = [], []
        for (room, source), place in self._places.items():
            if not any(place["silence"]):
                continue
            try:
                infos = [
                    [audio_info(path) for path in wavs]
                    for wavs in place["silence"]
                ]
                rates = {info.fs for one in infos for info in one}
                sizes = {tuple(i.num_samples for i in one) for one in infos}
                if len(rates) > 1 or len(sizes) > 1:
                    raise ValueError(
                        f"{place['silence'][0][0]} and the other microphones: "
                        "have other numbers of samples or rates"
                    )
            except (OSError, ValueError) as problem:
                problems.append(f"{problem} (this noise is left out)")
                continue
            [lengths] = sizes
            label = self._label(room, source)
            found.append(
                Noise(
                    id=f"{room}/{ARRAY}/SP{label}_MP_silence",
                    room=room,
                    array=ARRAY,
                    kind="silence",
                    files=tuple(p for one in place["silence"] for p in one),
                    fs=rates.pop(),
                    num_samples=sum(lengths),
                    key=(tuple(map(tuple, place["silence"])), lengths),
                )
            )
        return found, problems

    def noises(self, split=None):
        """See ``ResponseCorpus``; silence of any source suits a room."""
        return _of_split(self._noises[0], split)

    def read_noise(self, noise, start=0, stop=None):
        """See ``ResponseCorpus``; the files of a microphone are joined."""
        stop = noise.num_samples if stop is None else stop
        files, lengths = noise.key
        channels = []
        for paths in files:
            pieces, begin = [], 0
            for path, length in zip(paths, lengths, strict=True):
                first = max(start - begin, 0)
                last = min(stop - begin, length)
                if first < last:
                    pieces.append(
                        read_audio(
                            path, first, last - first, noise.fs, num_channels=1
                        )[0][:, 0]
                    )
                begin += length
            channels.append(torch.cat(pieces))
        return torch.stack(channels, dim=1)

    def preflight(self):
        """See ``ArrayCorpus``."""
        root = self.folder / "RIRs"
        found = {"rooms": 0, "arrays": 0, "pairs": 0, "responses": 0}
        if not root.is_dir():
            problem = missing(
                self.folder, "RIRs", "unpack the corpus there", inside=ROOMS
            )
            return Preflight(
                self.name, self.folder, found, self.expected, [problem]
            )
        problems = self._missing(root) + self._scanned[1]
        for response in self._responses:
            for path in response.files:
                try:
                    audio_info(path)
                except (OSError, ValueError) as problem:
                    problems.append(str(problem))
        problems += self._noises[1] + self._other_arrays()
        noises = self._noises[0]
        found = {
            "rooms": len(self.rooms),
            "arrays": len(self.arrays),
            "pairs": self.count_pairs(),
            "responses": len(self._responses),
            "noises": len(noises),
            "hours": sum(n.num_samples / n.fs for n in noises) / 3600,
        }
        return Preflight(self.name, self.folder, found, self.expected, problems)

    def _missing(self, root):
        """Rooms that are missing or have other names."""
        there = [path.name for path in find_folders(root)]
        problems = []
        for name in sorted(set(there) - set(ROOMS)):
            meant = nearest(name, ROOMS)
            problems.append(
                f"{root / name}: not a room of BUTReverb, not used"
                + (f"; rename it to {meant}" if meant else "")
            )
        gone = [room for room in ROOMS if room not in there]
        if gone:
            problems.append(
                f"{root}: rooms {', '.join(gone)} are missing; unpack them"
            )
        problems += [
            f"{root / room}: has no folder MicID01; unpack the room again"
            for room in ROOMS
            if room in there and not (root / room / "MicID01").is_dir()
        ]
        return problems

    def _other_arrays(self):
        """Places whose microphones are further apart, or nearer."""
        problems = []
        for array in self.arrays.values():
            for response in self._responses:
                own = MicrophoneArray(response.microphones, response.id)
                off = (own.distances - array.distances).abs().max().item()
                if off > _SAME:
                    problems.append(
                        f"{response.id}: distances of microphones differ by "
                        f"{off:.3f} m from those in the first room; pairs "
                        f"are chosen by the first room, {PAIR_RANGE[0]} to "
                        f"{PAIR_RANGE[1]} m"
                    )
        return problems


def _read_meta(path):
    """Facts of a microphone, without the $ before their names."""
    with open(path, newline="", encoding="utf-8-sig") as file:
        rows = [row for row in csv.reader(file, delimiter="\t") if row]
    meta = {
        row[0].strip().lstrip("$"): row[1].strip() for row in rows if row[1:]
    }
    if "EnvMicID" not in meta:
        raise ValueError(
            f"{path}: has no line $EnvMicID<tab>value; is it the original file?"
        )
    return meta


def _in_sphere(meta):
    """Whether a microphone is one of the spherical array's."""
    number = meta["EnvMicID"]
    return meta.get(f"EnvMic{number}TypeID") == f"01-{number}"


def _numbers(folder, meta, prefix, names):
    """Numbers from the facts of a microphone."""
    path = folder / "mic_meta.txt"
    values = []
    for name in names:
        try:
            values.append(float(meta[prefix + name]))
        except (KeyError, ValueError) as problem:
            raise ValueError(
                f"{path}: ${prefix}{name} must be a number, is "
                f"{meta.get(prefix + name, 'missing')!r}"
            ) from problem
    return values


def _wavs(folder):
    """Wav files of a folder; none where there is no folder."""
    return find_files(folder, ".wav", depth=0) if folder.is_dir() else []


def _of_split(items, split):
    """Those whose room belongs to a split."""
    check_split(split)
    rooms = {"train": set(ROOMS) - set(VALIDATION), "val": set(VALIDATION)}
    wanted = set(ROOMS) if split is None else rooms.get(split, set())
    return [item for item in items if item.room in wanted]
