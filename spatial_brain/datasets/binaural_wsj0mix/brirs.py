"""Binaural room impulse responses (BRIRs) of the reverberant mixtures.

Read are the folders of the "BRIR Sim Set" of the IoSR, Surrey
(``CATT_RIRs/Binaural/16k/0_4s/CATT_0_4s_-45.wav``: a room each reverberation
time, azimuths positive to the right), which the reverberant
Binaural-WSJ0Mix uses, and SOFA files, a room each.
"""

import logging
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from spatial_brain.dataio.audio import read_audio
from spatial_brain.datasets.binaural_wsj0mix.rendering import fingerprint
from spatial_brain.folders import find_files
from spatial_brain.simulation.acoustics import t60 as measure_t60
from spatial_brain.simulation.hrtf.grid import (
    interaural_to_unit,
    unit_to_interaural,
)
from spatial_brain.simulation.hrtf.interpolation import resample_responses
from spatial_brain.simulation.hrtf.readers import names_with_folders
from spatial_brain.simulation.hrtf.sofa import read_sofa

logger = logging.getLogger(__name__)

_CATT_FILE = re.compile(r"CATT_(\d+_\d+s)_(-?\d+)\.wav", re.I)
_SUFFIXES = (".sofa", ".wav")
# A source takes the nearest measured direction, which must not be further away
# than this, degrees.
_MAX_GAP = 6.0


@dataclass(frozen=True, eq=False)
class MeasuredRoom:
    """Responses of one room.

    Arguments
    ---------
    rirs : numpy.ndarray
        Shape [M, 2, L], float64, ear 0 left.
    directions : torch.Tensor
        Unit vectors towards the sources, [M, 3], float64: x front, y left.
    t60 : float
        Reverberation time, seconds.

    Example
    -------
    >>> front = torch.eye(3)[:1].double()
    >>> MeasuredRoom(np.ones((1, 2, 9)), front, 0.4).laterals
    [0.0]
    """

    rirs: np.ndarray
    directions: torch.Tensor
    t60: float

    @property
    def laterals(self):
        """Angles to the right, degrees, of the directions."""
        lateral = unit_to_interaural(self.directions)[0]
        return [round(angle, 3) + 0.0 for angle in lateral.tolist()]


class RoomResponses:
    """Rooms for a ``MixtureRenderer``, from ``load_rooms``.

    Arguments
    ---------
    rooms : dict
        Name to ``MeasuredRoom``.
    fs : int
        Rate of the responses, Hz.

    Example
    -------
    >>> room = MeasuredRoom(np.ones((1, 2, 9)), torch.eye(3)[:1].double(), 0.4)
    >>> RoomResponses({"0_4s": room}, 8000).t60s
    {'0_4s': 0.4}
    """

    def __init__(self, rooms, fs):
        self.rooms = dict(rooms)
        self.fs = int(fs)

    @property
    def t60s(self):
        """Reverberation times in seconds, by names of rooms."""
        return {name: room.t60 for name, room in self.rooms.items()}

    @property
    def fingerprint(self):
        """Checksum of names and responses."""
        parts = [
            fingerprint(room.rirs, [name], self.fs)
            for name, room in self.rooms.items()
        ]
        return fingerprint(np.zeros(0), parts, self.fs)

    def responses(self, mixture):
        """Responses of the sources of a mixture.

        Arguments
        ---------
        mixture : BinauralMixture
            Its ``room``, ``laterals`` and ``polars`` are looked at.

        Returns
        -------
        numpy.ndarray
            float64 [C, 2, L], ear 0 left.

        Raises
        ------
        ValueError
            If there is no such room, or no response near a direction.
        """
        if mixture.room not in self.rooms:
            raise ValueError(
                f"mixture {mixture.name}: no room {mixture.room!r}; there are "
                f"{', '.join(self.rooms)}"
            )
        room = self.rooms[mixture.room]
        wanted = interaural_to_unit(
            torch.tensor(mixture.laterals, dtype=torch.float64),
            torch.tensor(mixture.polars, dtype=torch.float64),
        )
        cosine, nearest = (wanted @ room.directions.T).max(-1)
        gaps = torch.rad2deg(torch.acos(cosine.clamp(-1.0, 1.0)))
        worst = int(gaps.argmax())
        if gaps[worst] > _MAX_GAP:
            raise ValueError(
                f"mixture {mixture.name}: room {mixture.room} has no response "
                f"near lateral angle {mixture.laterals[worst]}, polar "
                f"{mixture.polars[worst]} (the nearest is "
                f"{gaps[worst]:.0f} degrees away); it has the lateral angles "
                f"{sorted(set(room.laterals))}"
            )
        return room.rirs[nearest.numpy()]


def room_name(t60):
    """Name of a room of the BRIR Sim Set, by its reverberation time.

    Arguments
    ---------
    t60 : float
        Seconds.

    Returns
    -------
    str
        Such as "0_4s".

    Example
    -------
    >>> room_name(0.4)
    '0_4s'
    """
    whole, _, part = f"{t60:g}".partition(".")
    return f"{whole}_{part or 0}s"


def room_t60(name):
    """Reverberation time of a room of the BRIR Sim Set, by its name.

    Arguments
    ---------
    name : str
        Such as "0_4s".

    Returns
    -------
    float
        Seconds.

    Example
    -------
    >>> room_t60("0_4s")
    0.4
    """
    return float(name.strip("s").replace("_", "."))


def load_rooms(source, fs, *, rooms=None, compat=False):
    """Read all room responses of a folder or file.

    Arguments
    ---------
    source : str or Path
        A folder with ``CATT_<time>_<azimuth>.wav`` files or with SOFA files
        at any depth, or one SOFA file.
    fs : int
        Wanted rate, Hz.
    rooms : sequence of str, optional
        Only these: reverberation times as ``"0_4s"``, or names of SOFA files
        without suffix (with their folders where names repeat: ``"a-room"``).
    compat : bool
        Resample as the original generator does, see ``resample_responses``.

    Returns
    -------
    RoomResponses
        The rooms.

    Raises
    ------
    FileNotFoundError
        If there is no such path, or nothing of use in it.
    ValueError
        If a file is damaged, or a wanted room is missing.

    Example
    -------
    >>> folder = getfixture("tmp_path")
    >>> from spatial_brain.dataio.audio import write_audio
    >>> response = torch.zeros(400, 2)
    >>> response[:, 1] = 0.9 ** torch.arange(400)
    >>> write_audio(folder / "0_4s" / "CATT_0_4s_90.wav", response, 16000)
    >>> load_rooms(folder, 16000).rooms["0_4s"].laterals
    [90.0]
    """
    source = Path(source)
    if not source.exists():
        raise FileNotFoundError(
            f"{source}: no such room responses. Give the folder CATT_RIRs (the "
            "BRIR Sim Set of the IoSR, https://iosr.uk/software), or a SOFA "
            "file of binaural room responses, or a folder of them"
        )
    found = _find_rooms(source)
    if not found:
        raise FileNotFoundError(
            f"{source}: neither CATT_<time>_<azimuth>.wav files nor SOFA files "
            "in it"
        )
    missing = [name for name in rooms or () if name not in found]
    if missing:
        raise ValueError(
            f"{source}: no room {', '.join(missing)}; there are "
            f"{', '.join(found)}"
        )
    return RoomResponses(
        {
            name: _read_room(source, name, found[name], fs, compat)
            for name in (found if rooms is None else rooms)
        },
        fs,
    )


def _find_rooms(source):
    """Files and their azimuths (None: a SOFA file) by the names of rooms."""
    found, sofa = {}, {}
    paths = [source] if source.is_file() else find_files(source, _SUFFIXES)
    for path in paths:
        match = _CATT_FILE.fullmatch(path.name)
        if path.suffix.lower() == ".sofa":
            sofa.setdefault(path.stem, []).append(path)
        elif match:
            room = found.setdefault(match[1].lower(), [])
            room.append((path, float(match[2])))
    for name, same in sofa.items():
        names = [name] if len(same) == 1 else names_with_folders(same)
        for longer, path in zip(names, same, strict=True):
            if longer in found:
                raise ValueError(
                    f"{source}: room {longer} is there twice, one of both as "
                    f"{path}; rename this file"
                )
            found[longer] = [(path, None)]
    return found


def _read_room(source, name, files, fs, compat):
    """One room, at the wanted rate."""
    if files[0][1] is None:
        measured = read_sofa(files[0][0])
        rirs, rate = measured.responses, measured.fs
        directions = measured.directions.double()
        ear = rirs[len(rirs) // 2].float()
        t60 = float(measure_t60(ear, rate).median())
    else:
        files = sorted(files, key=lambda item: item[1])
        laterals = torch.tensor([lateral for _, lateral in files])
        if len(laterals.unique()) != len(files):
            raise ValueError(
                f"{source}: an azimuth of room {name} is there twice, in "
                f"{len({path.parent for path, _ in files})} folders; give the "
                "folder of one of them"
            )
        rirs, rate = _read_waves([path for path, _ in files])
        directions = interaural_to_unit(laterals.double(), 0.0)
        _check_sides(source, name, laterals, rirs)
        t60 = room_t60(name)
    rirs = resample_responses(rirs, rate, fs, compat)
    return MeasuredRoom(rirs.numpy(), directions, round(t60, 3))


def _read_waves(paths):
    """Responses [M, 2, L] of stereo files, and their rate."""
    rirs, rate = [], None
    for path in paths:
        samples, rate = read_audio(path, fs=rate, num_channels=2)
        rirs.append(samples.T.double())
    longest = max(rir.shape[-1] for rir in rirs)
    pad = torch.nn.functional.pad
    return torch.stack(
        [pad(rir, (0, longest - rir.shape[-1])) for rir in rirs]
    ), rate


def _check_sides(source, name, laterals, rirs):
    """Warn where the ear towards a source is not the louder one."""
    energy = rirs.square().sum(-1)
    for side, ear in ((laterals > 30, 1), (laterals < -30, 0)):
        level = energy[side].sum(0)
        if side.any() and level[ear] < level[1 - ear]:
            logger.warning(
                "%s: in room %s the ear towards the sources is the weaker one; "
                "azimuths seem to be positive to the left, and directions in "
                "manifests will be mirrored",
                source,
                name,
            )
            return
