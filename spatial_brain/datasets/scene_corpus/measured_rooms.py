"""Rooms of a corpus that were measured: tables, SOFA files, and TAU-SRIR DB.

A source stands at a place of which there is a response, or goes along a
trajectory of such places. Responses of a room are brought to one level, so
that events have the usual one; the differences between places stay.
"""

from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch

from spatial_brain.dataio.audio import read_audio, resample_audio
from spatial_brain.datasets.measured_rirs import read_measured_responses
from spatial_brain.datasets.real_arrays.responses.dcase import TAUResponses
from spatial_brain.datasets.scene_corpus.receivers import find_array
from spatial_brain.datasets.scene_corpus.sofa_rooms import (
    check_sides,
    find_sofa,
    read_sofa_rooms,
)

# Places of a trajectory that are farther apart are no trajectory, degrees.
_COARSEST = 10.0
# So are those of one direction, degrees, and of different distances, metres.
_FINEST, _FARTHEST_STEP = 0.01, 0.25
# Responses of a room whose level is measured.
_PROBES = 8
_NO_DISTANCE = ("dcase2020", "dcase2021", "starss22")
_CHANNELS = {"foa": 4, "mic": 4, "binaural": 2}


@dataclass(frozen=True, eq=False)
class MeasuredRoom:
    """A room with a response for each of some places.

    Arguments
    ---------
    name : str
        Of the room.
    offsets : numpy.ndarray
        Places seen from the array, metres, [P, 3].
    trajectories : tuple of numpy.ndarray
        Numbers of places next to each other.
    reader : callable
        From a format and the number of a place to a response [channel, time].
    center : tuple of float
        Position of the array, metres.
    size : tuple of float or None
        Metres.
    """

    name: str
    offsets: np.ndarray
    trajectories: tuple
    reader: object
    center: tuple = (0.0, 0.0, 0.0)
    size: tuple = None

    def draw_path(self, rng, seconds, speeds):
        """Draw a place, or places that are passed.

        Arguments
        ---------
        rng : numpy.random.Generator
            Source of randomness.
        seconds : float
            How long the source moves; 0 stands still.
        speeds : sequence of float
            Degrees per second, one of which is taken.

        Returns
        -------
        tuple
            Points in the room [K, 3], when they are passed [K], s, and the
            numbers of the places.
        """
        if not seconds:
            chosen, times = np.array([rng.integers(len(self.offsets))]), [0.0]
        else:
            path = self.trajectories[rng.integers(len(self.trajectories))]
            path = path[:: rng.choice([-1, 1])]
            angle = np.append(0.0, np.cumsum(_steps(self.offsets[path])))
            passed = angle / rng.choice(speeds)
            # At the end of a trajectory that is too short the source stays.
            last = np.searchsorted(passed, passed[-1] - seconds, "right")
            first = int(rng.integers(max(last, 1)))
            stop = np.searchsorted(passed, passed[first] + seconds) + 1
            part = slice(first, stop)
            chosen, times = path[part], passed[part] - passed[first]
        points = self.offsets[chosen] + np.asarray(self.center)
        return points, np.asarray(times), tuple(chosen.tolist())

    def responses(self, event, formats):
        """Responses of the places of an event.

        Arguments
        ---------
        event : PlannedEvent
            Of this room.
        formats : sequence of str
            Of the corpus.

        Returns
        -------
        dict
            Format to responses, float32 [K, channel, N].
        """
        found = {}
        for form in formats:
            parts = [self.reader(form, place) for place in event.responses]
            longest = max(part.shape[-1] for part in parts)
            found[form] = _level(self, form) * torch.stack(
                [
                    torch.nn.functional.pad(part, (0, longest - part.shape[-1]))
                    for part in parts
                ]
            )
        return found


def find_rooms(options):
    """Measured rooms of a corpus, which scenes take in turn.

    Arguments
    ---------
    options : SceneOptions
        Options of the corpus; ``responses`` is a table, see
        ``read_measured_responses``, a SOFA file or a folder of them, see
        ``read_sofa_rooms``, or a folder with TAU-SRIR DB.

    Returns
    -------
    tuple of MeasuredRoom
        Empty if rooms are simulated.

    Raises
    ------
    FileNotFoundError
        If there is no such table, folder or response.
    ValueError
        If formats, distances or trajectories are wanted that are not there.
    """
    return () if options.responses is None else _find(options)


def with_rooms(options):
    """Options with the number of measured rooms.

    Arguments
    ---------
    options : SceneOptions
        Options of the corpus.

    Returns
    -------
    SceneOptions
        The same if rooms are simulated.

    Raises
    ------
    ValueError
        If more rooms are wanted than were measured.
    """
    if options.responses is None:
        return options
    number = len(find_rooms(options))
    if options.rooms is not None and options.rooms > number:
        raise ValueError(
            f"{options.responses}: has {number} rooms, rooms is {options.rooms}"
        )
    return replace(options, rooms=options.rooms or number)


@lru_cache(maxsize=2)
def _find(options):
    """Rooms of a table, of SOFA files or of TAU-SRIR DB."""
    if Path(options.responses).suffix.lower() == ".csv":
        rooms = _table_rooms(options)
    elif find_sofa(options.responses):
        rooms = _sofa_rooms(options)
    else:
        rooms = _tau_rooms(options)
    if options.moving and not all(room.trajectories for room in rooms):
        raise ValueError(
            f"{options.responses}: has no trajectories with places at most "
            f"{_COARSEST:g} degrees apart; moving must be 0"
        )
    return rooms


@lru_cache(maxsize=256)
def _level(room, form):
    """Factor that brings the responses of a room to the usual level."""
    places = np.linspace(0, len(room.offsets) - 1, _PROBES).round()
    energies = []
    for place in sorted(set(places.astype(int).tolist())):
        response = room.reader(form, place)
        response = response[:1] if form == "foa" else response
        energies.append(float(response.square().sum(-1).mean()))
    energy = float(np.median(energies))
    if not energy > 0:
        raise ValueError(f"room {room.name}: its responses are silent")
    return energy**-0.5


def _steps(offsets):
    """Angles between neighbours, degrees."""
    unit = offsets / np.linalg.norm(offsets, axis=-1, keepdims=True)
    cosine = (unit[1:] * unit[:-1]).sum(-1).clip(-1.0, 1.0)
    return np.degrees(np.arccos(cosine))


def _spatial(options):
    """Formats that need responses."""
    return [form for form in options.formats if form != "sum"]


def _table_rooms(options):
    """Rooms of a table; ``{format}`` in a path stands for the format."""
    rows = read_measured_responses(options.responses)
    formats = _spatial(options)
    if len(formats) > 1 and any("{format}" not in str(r.path) for r in rows):
        raise ValueError(
            f"{options.responses}: for several formats every path must hold "
            "{format}, such as {format}/a.wav"
        )
    _check_distance(options, all(row.distance is not None for row in rows))
    rooms = {}
    for row in rows:
        rooms.setdefault(row.condition, []).append(row)
    measured = tuple(
        MeasuredRoom(
            name or "measured",
            np.stack(
                [(r.direction * (r.distance or 1.0)).numpy() for r in found]
            ).astype(np.float64)
            * [1, -1 if options.responses_azimuth == "clockwise" else 1, 1],
            (),
            _table_reader(options, [row.path for row in found]),
        )
        for name, found in sorted(rooms.items())
    )
    _check_azimuths(options, measured)
    return measured


def _check_distance(options, known):
    """Refuse a dialect with distances where there are none."""
    if not known and options.dialect not in _NO_DISTANCE:
        raise ValueError(
            f"{options.responses}: has no distances, which dialect "
            f"{options.dialect} needs; choose one of {', '.join(_NO_DISTANCE)}"
        )


def _check_azimuths(options, rooms):
    """Refuse azimuths that seem to run clockwise, unless the user said how."""
    if options.responses_azimuth is not None:
        return
    for form in _spatial(options):
        # Of two ears levels decide, where the file is read.
        if form != "binaural":
            for room in rooms:
                check_sides(
                    options.responses,
                    form,
                    find_array(options),
                    options.sample_rate,
                    room.offsets,
                    room.reader,
                )


def _channels(options):
    """Channels of each format."""
    array = find_array(options)
    return {**_CHANNELS, "array": array and len(array)}


def _sofa_rooms(options):
    """Rooms of SOFA files, whose neighbouring places are trajectories."""
    found = read_sofa_rooms(
        options.responses,
        _spatial(options),
        _channels(options),
        fs=options.sample_rate,
        azimuth=options.responses_azimuth,
    )
    _check_distance(options, all(room.has_distance for room in found))
    rooms = tuple(
        MeasuredRoom(
            room.name, room.offsets, _trajectories(room.offsets), room.read
        )
        for room in found
    )
    _check_azimuths(options, rooms)
    return rooms


def _trajectories(offsets):
    """Runs of places, in the order of the file, that are near each other."""
    distance = np.linalg.norm(offsets, axis=-1)
    steps = _steps(offsets)
    apart = (steps > _COARSEST) | (steps < _FINEST)
    apart |= np.abs(np.diff(distance)) > _FARTHEST_STEP
    runs = np.split(np.arange(len(offsets)), np.flatnonzero(apart) + 1)
    return tuple(run for run in runs if len(run) > 1)


def _table_reader(options, paths):
    """Reader of the responses of a room of a table."""
    channels = _channels(options)

    def read(form, place):
        path = Path(str(paths[place]).replace("{format}", form))
        response, _ = read_audio(path, fs=options.sample_rate, resample=True)
        if response.shape[1] != channels[form]:
            raise ValueError(
                f"{path}: has {response.shape[1]} channels, {form} has "
                f"{channels[form]}"
            )
        return response.T

    return read


def _tau_rooms(options):
    """Rooms of TAU-SRIR DB."""
    wrong = [f for f in _spatial(options) if f not in ("foa", "mic")]
    if wrong:
        raise ValueError(
            f"{options.responses}: TAU-SRIR DB has the formats foa and mic, "
            f"not {', '.join(wrong)}"
        )
    if options.responses_azimuth is not None:
        raise ValueError(
            f"{options.responses}: the azimuths of TAU-SRIR DB are known; "
            "remove responses_azimuth"
        )
    corpus = TAUResponses(options.responses)
    rooms = {}
    for response in corpus.responses():
        rooms.setdefault(response.room, []).append(response)
    return tuple(
        _tau_room(corpus, name, found, options.sample_rate)
        for name, found in rooms.items()
    )


def _tau_room(corpus, name, responses, fs):
    """One room of TAU-SRIR DB."""
    center = responses[0].microphones.mean(0)
    offsets = torch.stack([response.source - center for response in responses])
    offsets = offsets.numpy().astype(np.float64)
    paths = {}
    for number, response in enumerate(responses):
        paths.setdefault(response.key[:2], []).append(number)
    trajectories = [np.array(path) for path in paths.values()]
    trajectories = tuple(
        path
        for path in trajectories
        if len(path) > 1 and _steps(offsets[path]).max() <= _COARSEST
    )

    def read(form, place):
        waveform, old_fs = corpus.read_response(responses[place], form)
        return resample_audio(waveform.T, old_fs, fs).T

    return MeasuredRoom(
        name,
        offsets,
        trajectories,
        read,
        tuple(center.tolist()),
        corpus.rooms[name].size,
    )
