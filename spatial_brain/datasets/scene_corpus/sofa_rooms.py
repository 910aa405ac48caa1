"""Measured rooms in SOFA files, and whether their angles fit the sound."""

import logging
from functools import lru_cache, partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from spatial_brain.dataio.audio import resample_audio
from spatial_brain.folders import find_files
from spatial_brain.geometry import SPEED_OF_SOUND, tetrahedral_array
from spatial_brain.simulation.ambisonics import foa_gains
from spatial_brain.simulation.hrtf.sofa import direct_sound, read_room_sofa

logger = logging.getLogger(__name__)

SUFFIX = ".sofa"
# Positions of the same place in two formats differ by less, metres.
_SAME_PLACE = 0.01
# Places at a side that are looked at, and their share of the left-right axis.
_PROBES, _LATERAL = 16, 0.3
# Mirrored directions that fit the direct sound by so much better, dB, at half
# of the places or more, are the true ones.
_MIRRORED = 0.5
# Frequencies whose phases tell the direction, Hz.
_BAND = (200.0, 5000.0)


class SofaRoom(NamedTuple):
    """Places of a room that SOFA files hold.

    Arguments
    ---------
    name : str
        Of the room.
    offsets : numpy.ndarray
        Seen from the listener, metres, [P, 3].
    has_distance : bool
        Whether the files give distances.
    read : callable
        From a format and the number of a place to a response [channel, time].
    """

    name: str
    offsets: np.ndarray
    has_distance: bool
    read: object


def find_sofa(source):
    """SOFA files that a path means.

    Arguments
    ---------
    source : str or Path
        A file, whose name may hold ``{format}``, or a folder.

    Returns
    -------
    list of Path
        Empty if it is neither a SOFA file nor a folder that holds some.

    Example
    -------
    >>> find_sofa("table.csv")
    []
    """
    source = Path(source)
    if source.suffix.lower() == SUFFIX:
        return [source]
    return list(find_files(source, SUFFIX)) if source.is_dir() else []


def read_sofa_rooms(source, formats, channels, *, fs, azimuth=None):
    """Rooms of SOFA files, one a file.

    Arguments
    ---------
    source : str or Path
        As for :func:`find_sofa`. Files of several formats have a name that
        ends in ``_<format>`` (``gym_foa.sofa``, ``gym_mic.sofa``) or lie in
        folders of these names.
    formats : sequence of str
        Formats that each room must have.
    channels : dict
        Format to number of channels.
    fs : int
        Sampling rate of what is read, Hz.
    azimuth : str, optional
        How the files count azimuths, see ``read_room_sofa``.

    Returns
    -------
    list of SofaRoom
        By their names.

    Raises
    ------
    FileNotFoundError, ValueError
        If a file is missing or cannot be used, or the places of a room are
        not the same in all formats.
    """
    rooms = []
    for name, files in sorted(_by_room(Path(source), formats).items()):
        missing = [form for form in formats if form not in files]
        if missing:
            raise FileNotFoundError(
                f"{source}: room {name} has no SOFA file of the format "
                f"{missing[0]}, expected {name}_{missing[0]}.sofa or "
                f"{missing[0]}/{name}.sofa"
            )
        load = {
            form: partial(_load, files[form], channels[form], azimuth)
            for form in formats
        }
        first = load[formats[0]]()
        for form in formats[1:]:
            _compare_places(files[formats[0]], first, files[form], load[form]())
        _log(files[formats[0]], first, formats, azimuth)
        rooms.append(
            SofaRoom(
                name,
                first.offsets.numpy(),
                first.has_distance,
                partial(_read, load, fs),
            )
        )
    return rooms


def _by_room(source, formats):
    """Files by room and format."""
    if "{format}" in source.name or "{format}" in str(source.parent):
        name = source.stem.replace("{format}", "").strip("_-. ")
        name = name or source.parent.name
        return {
            name: {
                form: Path(str(source).replace("{format}", form))
                for form in formats
            }
        }
    found = {}
    for path in find_sofa(source):
        name, form = _name_and_format(path, formats)
        if form is None:
            continue
        files = found.setdefault(name, {})
        if form in files:
            raise ValueError(
                f"{source}: room {name} is there twice, as {files[form]} and "
                f"as {path}; rename one of them"
            )
        files[form] = path
    if not found:
        raise ValueError(
            f"{source}: no SOFA file has a name that ends in "
            f"{' or '.join('_' + form for form in formats)}, or lies in a "
            "folder of such a name; rename the files"
        )
    return found


def _name_and_format(path, formats):
    """Room and format of a file; the format is None if it is not wanted."""
    known = ("foa", "mic", "array", "binaural")
    base, _, last = path.stem.rpartition("_")
    if base and last.lower() in known:
        return base, last.lower() if last.lower() in formats else None
    if path.parent.name.lower() in known:
        form = path.parent.name.lower()
        return path.stem, form if form in formats else None
    return path.stem, formats[0] if len(formats) == 1 else None


@lru_cache(maxsize=4)
def _load(path, channels, azimuth):
    """Responses of a file; those of the last files stay in memory."""
    return read_room_sofa(path, channels, azimuth)


def _read(load, fs, form, place):
    """Response of a place at the wanted rate, [channel, time]."""
    room = load[form]()
    return resample_audio(room.responses[place].T, room.fs, fs).T


def _compare_places(path, room, other_path, other):
    """Refuse files of one room that were measured at different places."""
    same = room.offsets.shape == other.offsets.shape
    if not same or (room.offsets - other.offsets).abs().max() > _SAME_PLACE:
        raise ValueError(
            f"{other_path}: its places (SourcePosition) are not those of "
            f"{path}; the formats of a room must be measured at the same ones. "
            "Take one format, or files of one measurement"
        )


def _log(path, room, formats, azimuth):
    """One line about what is taken for granted."""
    logger.info(
        "%s: %d places, %d Hz%s; azimuths %s, seen from the listener%s",
        path,
        len(room.offsets),
        room.fs,
        "" if room.has_distance else ", no distances",
        azimuth or "counter-clockwise",
        "; foa is taken for ACN order with SN3D gains"
        if "foa" in formats
        else "",
    )


def check_sides(source, form, array, fs, offsets, read):
    """Refuse angles that run clockwise, by the direction of the direct sound.

    Arguments
    ---------
    source : str or Path
        Where they are from, for the message.
    form : str
        "foa", "mic" or "array"; two ears are checked by the reader.
    array : MicrophoneArray or None
        Of the format "array", around its centre.
    fs : int
        Sampling rate of the responses, Hz.
    offsets : numpy.ndarray
        Places seen from the array, metres, [P, 3].
    read : callable
        From the format and the number of a place to a response.

    Raises
    ------
    ValueError
        If left and right are exchanged.
    """
    unit = offsets / np.linalg.norm(offsets, axis=-1, keepdims=True)
    aside = np.flatnonzero(np.abs(unit[:, 1]) > _LATERAL)
    if not len(aside):
        return
    chosen = np.linspace(0, len(aside) - 1, _PROBES).round().astype(int)
    positions = tetrahedral_array() if form == "mic" else None
    if form == "array":
        positions = array.positions
    gains = []
    for place in aside[sorted(set(chosen.tolist()))]:
        response = torch.as_tensor(read(form, int(place))).double()
        early = direct_sound(response[None], fs)[0]
        true, mirrored = (
            _fit(early, unit[place] * [1, side, 1], positions, fs)
            for side in (1, -1)
        )
        gains.append(10 * float(torch.log10(mirrored / true)))
    if np.median(gains) > _MIRRORED:
        raise ValueError(
            f"{source}: the direct sound comes from the other side than its "
            f"azimuths say (by {np.median(gains):.1f} dB): they seem to run "
            "clockwise. Write responses_azimuth: clockwise if they do, and "
            "responses_azimuth: counterclockwise if they do not"
        )


def _fit(early, direction, positions, fs):
    """Power of what arrives from a direction."""
    direction = torch.from_numpy(direction)
    if positions is None:
        gains = foa_gains(direction)
        return (gains @ early).square().sum() + 1e-30
    spectrum = torch.fft.rfft(early)
    frequency = torch.fft.rfftfreq(early.shape[-1], 1.0 / fs).double()
    low, high = _BAND
    inside = (frequency > low) & (frequency < high)
    # Phases alone: capsules on a sphere differ in level.
    phases = torch.exp(1j * spectrum[:, inside].angle())
    lead = positions.double() @ direction / SPEED_OF_SOUND
    turn = torch.exp(-2j * torch.pi * frequency[inside] * lead[:, None])
    return (phases * turn).sum(0).abs().square().sum() + 1e-30
