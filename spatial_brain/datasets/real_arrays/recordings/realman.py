"""RealMAN: speech from a loudspeaker in 32 scenes, 32 microphones.

Released layout: ``<set>/ma_speech/<scene>/<static|moving>/<speaker>/
<utterance>_CH<0..31>.flac`` at 48 kHz, beside it ``dp_speech`` (the direct
path at channel 0) and ``<set>_<static|moving>_source_location.csv`` with
directions every 100 ms. Pre-release: ``<scene>/<static|moving>/<speaker>/
high/record/<utterance>.<wav|flac>`` with all channels, microphones in another
order. B. Yang et al., NeurIPS 2024.
"""

import csv
import math
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch

from spatial_brain.dataio.audio import read_audio
from spatial_brain.datasets.real_arrays.recordings.sessions import (
    Session,
    SessionCorpus,
    audio_below,
    channel_groups,
    not_used,
)
from spatial_brain.folders import find_folders
from spatial_brain.geometry import MicrophoneArray

_RULE = r"(.+_CH)(\d+)(\.flac)"
_SETS = ("train", "val", "test", "val_raw", "test_raw")
_STATES = ("static", "moving")
# Released name of each scene for training, and its name before the release.
_TRAIN = {
    "LivingRoom1": "scene_0427_教师公寓_客厅",
    "LivingRoom3": "scene_0703_Hotel",
    "LivingRoom4": "scene_0704_Loft",
    "LivingRoom5": "scene_0706_民宿",
    "LivingRoom6": "scene_0707_民宿2",
    "LivingRoom7": "scene_0709_轰趴馆",
    "LivingRoom8": "scene_0714_学生宿舍",
    "Classroom1": "scene_0418_212",
    "Classroom2": "scene_0718_201",
    "Classroom3": "scene_0803_小学音乐教室",
    "OfficeRoom1": "scene_0305_TeacherOffice",
    "OfficeRoom3": "scene_0420_210",
    "OfficeRoom4": "scene_0726_KTV",
    "OfficeLobby": "scene_0411_1号门大厅",
    "Library": "scene_0717_Library",
    "Auditorium": "scene_0730_dalitang",
    "BadmintonCourt1": "scene_0417_羽毛球馆",
    "BadmintonCourt2": "scene_0308_badminton_court",
    "BasketballCourt2": "scene_0311_basketball",
    "SunkenPlaza1": "scene_0724_C19下沉广场",
    "Gym": "scene_0427_健身房",
    "Cafeteria1": "scene_0409_canteen",
    "UndergroundParking1": "scene_0802_车库",
    "UndergroundParking2": "scene_0306_A2park",
    "Car-Gasoline": "scene_0625_油车",
    "Car-Electric": "scene_0630_电车",
    "Bus-Electric": "scene_0831_公交车",
}
_VAL = {
    "LivingRoom2": "scene_0427_教师公寓_小房间",
    "OfficeRoom2": "scene_0305_LabOffice",
    "BasketballCourt1": "scene_0415_操场",
    "Market": "scene_0516_菜市场",
    "Cafeteria3": "scene_0307_c18two",
}
# Released to earlier name of all scenes.
SCENES = {**_TRAIN, **_VAL}
# Neighbours on the outer two circles, exactly 3 cm apart, which floating
# point makes shorter in the original; in the released order of channels.
_ROUNDED_OFF = ((10, 18), (12, 20), (16, 24))
# Mean square of 100 ms of the direct path, full scale 1, above which somebody
# speaks: 10^-2.5 of the energy of half a spectrum of 1600 samples.
_ACTIVE = 2 * 10**-2.5 / 1600**2
_FRAME = 0.1


@dataclass(frozen=True, eq=False)
class SourceDirection:
    """Where the loudspeaker is, as the array sees it.

    Arguments
    ---------
    azimuth : torch.Tensor
        Degrees, float32: one value if it stands still, else one every
        100 ms.
    elevation, distance : torch.Tensor, optional
        Degrees and metres, the same.
    """

    azimuth: torch.Tensor
    elevation: torch.Tensor | None = None
    distance: torch.Tensor | None = None


class RealMAN(SessionCorpus):
    """Recordings of one loudspeaker.

    Arguments
    ---------
    folder : str or Path
        Holds ``train``, ``val_raw`` and so on; or, before the release, the
        folders of the scenes.
    compat : bool or sequence of str
        "rounded_positions": three pairs of exactly 3 cm are not used, because
        of floating point; 477 pairs instead of 480.
    states : sequence of str
        "static", "moving" or both.

    Example
    -------
    >>> len(RealMAN.ROOMS), RealMAN.expected["pairs"]
    (32, 480)
    """

    name = "RealMAN"
    folders = ("RealMAN", "RealMANOri")
    url = "https://huggingface.co/datasets/AISHELL/RealMAN"
    licence = "CC BY 4.0"
    COMPAT = ("rounded_positions",)
    MARKERS = tuple(f"{part}/ma_speech" for part in _SETS)
    ROOMS = tuple(SCENES)
    expected = {"rooms": 32, "pairs": 480}

    def __init__(self, folder, compat=False, *, states=("static",)):
        super().__init__(folder, compat)
        wrong = sorted(set(states) - set(_STATES))
        if wrong or not states:
            raise ValueError(
                f"states must be some of {', '.join(_STATES)}, got "
                f"{list(states)}"
            )
        self.states = tuple(states)
        if self.compat:
            self.expected = {**self.expected, "pairs": 477}

    @cached_property
    def released(self):
        """Whether it has the released layout."""
        return any((self.folder / marker).is_dir() for marker in self.MARKERS)

    @property
    def arrays(self):
        """The array, its channels in the order of the layout."""
        name = "realman" if self.released else "realman_prerelease"
        return {name: MicrophoneArray.named(name)}

    def pairs(self, array):
        """See ``ArrayCorpus``."""
        pairs = super().pairs(array)
        if not self.compat:
            return pairs
        # Before the release channel 0 stood at the end of the circles.
        shift = 0 if self.released else 1
        lost = {(i - shift, j - shift) for i, j in _ROUNDED_OFF}
        kept = [
            pair for pair in pairs.tolist() if tuple(sorted(pair)) not in lost
        ]
        return torch.tensor(kept)

    def _find(self):
        """Utterances of both layouts."""
        if self.released:
            return self._find_released()
        return self._find_prerelease()

    def _find_released(self):
        """Utterances of which each channel has a file."""
        sessions, damaged, unknown = [], [], []
        for part in _SETS:
            speech = self.folder / part / "ma_speech"
            for scene in find_folders(speech) if speech.is_dir() else ():
                for state in self.states:
                    groups, incomplete = channel_groups(
                        audio_below(scene / state, ".flac"), _RULE, 0, 32
                    )
                    split = _split(scene.name)
                    if split is None:
                        unknown += [scene.name] * len(groups)
                        continue
                    damaged += incomplete
                    sessions += [
                        self._session(files, scene.name, split)
                        for files in groups
                    ]
        return sessions, damaged, not_used(unknown, "scene")

    def _session(self, files, scene, split):
        """One utterance of the released layout."""
        path = Path(files.before.removesuffix("_CH")).relative_to(self.folder)
        return Session(
            path.as_posix(),
            scene,
            "realman",
            split,
            files,
            (path.parent.name,),
        )

    def _find_prerelease(self):
        """Utterances of which a file has all channels."""
        names = {old: new for new, old in SCENES.items()}
        sessions, unknown = [], []
        for scene in find_folders(self.folder):
            room = names.get(scene.name)
            for state in self.states:
                folder = scene / state
                for speaker in find_folders(folder) if folder.is_dir() else ():
                    paths = audio_below(
                        speaker / "high" / "record", (".wav", ".flac")
                    )
                    if room is None:
                        unknown += [scene.name] * len(paths)
                        continue
                    sessions += [
                        Session(
                            f"{scene.name}/{state}/{speaker.name}/{path.stem}",
                            room,
                            "realman_prerelease",
                            _split(room),
                            (path,),
                            (speaker.name,),
                        )
                        for path in paths
                    ]
        return sessions, [], not_used(unknown, "scene")

    def direction(self, recording):
        """Where the loudspeaker is in a recording of the released layout.

        Arguments
        ---------
        recording : Recording
            From :meth:`recordings`.

        Returns
        -------
        SourceDirection

        Raises
        ------
        ValueError
            If no table has it, or its line is damaged.
        """
        utterance = recording.id.rsplit("/", 1)[-1]
        if utterance not in self._directions:
            raise ValueError(
                f"{recording.id}: is in none of the *_source_location.csv of "
                f"{self.folder}"
            )
        path, line, row = self._directions[utterance]
        columns = {
            name: next((c for c in row if c and c.startswith(start)), None)
            for name, start in (
                ("azimuth", "angle"),
                ("elevation", "elevation"),
                ("distance", "distance"),
            )
        }
        try:
            return SourceDirection(
                **{
                    name: torch.tensor(
                        [float(value) for value in row[column].split(",")]
                    )
                    for name, column in columns.items()
                    if column is not None
                }
            )
        except (TypeError, ValueError, AttributeError) as problem:
            raise ValueError(
                f"{path}, line {line}: no direction can be read ({problem})"
            ) from problem

    @cached_property
    def _directions(self):
        """Name of an utterance to its table, line and row."""
        found = {}
        for part in _SETS:
            for path in sorted(
                self.folder.glob(f"{part}/*_source_location.csv")
            ):
                with open(path, newline="", encoding="utf-8-sig") as file:
                    for line, row in enumerate(csv.DictReader(file), 2):
                        name = Path(row.get("filename") or "").stem
                        found[name] = path, line, row
        return found

    def read_direct_path(self, recording):
        """Read the direct path at channel 0.

        Arguments
        ---------
        recording : Recording
            From :meth:`recordings`, of the released layout.

        Returns
        -------
        tuple
            float32 tensor [time], and its rate in Hz.

        Raises
        ------
        FileNotFoundError
            If there is none.
        """
        part, *names = Path(recording.id).parts
        for place in (part, part.removesuffix("_raw")):
            path = Path(self.folder, place, "dp_speech", *names[1:])
            path = path.with_name(path.name + ".flac")
            if path.is_file():
                waveform, fs = read_audio(path, num_channels=1)
                return waveform[:, 0], fs
        raise FileNotFoundError(
            f"{path}: no such file; the direct path of {recording.id} is "
            "needed for voice activity"
        )

    def voice_activity(self, recording):
        """Where somebody speaks, by the energy of the direct path.

        The threshold is that of RealMAN's baseline for localization.

        Arguments
        ---------
        recording : Recording
            From :meth:`recordings`, of the released layout.

        Returns
        -------
        torch.Tensor
            bool, one value for each whole 100 ms.
        """
        waveform, fs = self.read_direct_path(recording)
        size = math.floor(_FRAME * fs)
        frames = waveform[: len(waveform) // size * size].view(-1, size)
        return frames.double().square().mean(1) > _ACTIVE


def _split(scene):
    """Split of a scene; None if it is in none."""
    if scene in _TRAIN:
        return "train"
    return "val" if scene in _VAL else None
