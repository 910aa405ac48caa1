"""Reader of SOFA files of heads, and of rooms (AES69).

A SOFA file is a netCDF-4, hence HDF5, container. What is read is the data
type "FIR" with two receivers: the convention SimpleFreeFieldHRIR and others
alike. Directions are seen from the listener, whose position, view and up
vector count.

The standard has azimuths counter-clockwise and the left ear first. Not every
file keeps to it, so that the reader asks the data: at the side where a source
stands, its ear is the louder one. Where it is not, either the ears are
exchanged (if ``ReceiverPosition`` says so as well) or the angles run
clockwise; the file is read accordingly and a warning is logged.

Rooms may be measured with any number of receivers, and with several emitters a
source (data type "FIR-E": SingleRoomMIMOSRIR, MultiSpeakerBRIR), each of which
counts as a measurement.

Values that no measurement has, and units that are not those of the standard,
are refused: a file in millimetres, radians or seconds is not guessed at.
"""

import logging
from dataclasses import dataclass, replace
from pathlib import Path

import h5py
import numpy as np
import torch

from spatial_brain.geometry import azel_to_unit
from spatial_brain.simulation.hrtf.interpolation import ild, shift_responses

logger = logging.getLogger(__name__)

_ATTRIBUTES = ("Conventions", "SOFAConventions", "DataType")
_VARIABLES = (
    "Data.IR",
    "Data.SamplingRate",
    "Data.Delay",
    "SourcePosition",
    "SourceView",
    "SourceUp",
    "EmitterPosition",
    "ListenerPosition",
    "ListenerView",
    "ListenerUp",
    "ReceiverPosition",
)
# Conventions whose two receivers are no head in a sound field.
_NOT_A_FIELD = ("SimpleHeadphoneIR",)
# Values of one variable, 2 GiB as float64; the largest published sets of
# heads and rooms hold a quarter of them.
_MOST_VALUES = 1 << 28
# Responses that are delayed at a time, which bounds the memory.
_BLOCK = 256
# Sampling rates of measurements, Hz; heads of bats are measured at 500,000.
_RATES = (1000.0, 1_000_000.0)
# No response is measured over more, metres; the largest halls are as long.
_FARTHEST = 100.0
# Sound needs a third of it for that way, seconds.
_MOST_DELAY = 1.0
# Delays between these, in samples, change nothing that could be measured;
# in seconds they are those of a head.
_SECONDS = (1e-5, 0.05)
# Directions from which on a range of azimuths within one turn in radians is no
# coincidence.
_MANY = 8
# Rounding of angles in files of single precision, degrees.
_ROUNDING = 1e-3
# No response is louder, in any unit of pressure, and none peaks as much above
# the median of its file, 80 dB: a damaged exponent does.
_LOUDEST, _OUTLIER = 1e9, 1e4
# The direct sound begins at this share of the peak and lasts so many seconds.
_ARRIVAL, _DIRECT = 0.2, 0.0025
# Directions count as lateral from here on (left or right share of the unit
# vector).
_LATERAL = 0.3
# Less than this between both sides, dB, does not separate left and right.
_LEAST_DIFFERENCE = 0.5
# Types of data of several emitters, and where the emitters stand in Data.IR.
_EMITTER_AXES = {"FIR-E": 3, "FIRE": 2}
# Ways to count azimuths.
AZIMUTHS = ("counterclockwise", "clockwise")
# What FOA channels are taken for where a file does not say it, and the
# attributes of Data.IR that would.
_FOA_LAYOUT = {"ChannelOrdering": "acn", "Normalization": "sn3d"}
_DEGREES = frozenset(("degree", "degrees", "deg", "°"))
_METRES = frozenset(("metre", "metres", "meter", "meters", "m"))
_HERTZ = frozenset(("hertz", "hz"))
# Turns left into right.
_MIRROR = torch.tensor([1.0, -1.0, 1.0], dtype=torch.float64)


@dataclass(frozen=True)
class MeasuredResponses:
    """Responses of one head at any directions.

    Arguments
    ---------
    responses : torch.Tensor
        Shape [M, 2, L], float64, ear 0 is the left one.
    directions : torch.Tensor
        Unit vectors seen from the listener, shape [M, 3], float64: x front,
        y left, z up.
    fs : int
        Sampling rate, Hz.
    name : str
        Name of the file, without suffix.
    repair : str
        What of the file was not as the standard has it and was turned round:
        ``"clockwise"``, ``"ears exchanged"`` or, mostly, nothing: ``""``.

    Example
    -------
    >>> head = MeasuredResponses(torch.ones(1, 2, 9), torch.eye(3)[:1], 8000,
    ...                          "one")
    >>> head.repair
    ''
    """

    responses: torch.Tensor
    directions: torch.Tensor
    fs: int
    name: str
    repair: str = ""


@dataclass(frozen=True)
class RoomResponses:
    """Responses of one room at any places.

    Arguments
    ---------
    responses : torch.Tensor
        Shape [M, R, L], float32.
    offsets : torch.Tensor
        Sources seen from the listener, metres, shape [M, 3], float64: x
        front, y left, z up; of length 1 if there are no distances.
    has_distance : bool
        Whether the file gives them.
    fs : int
        Sampling rate, Hz.
    name : str
        Name of the file, without suffix.

    Example
    -------
    >>> room = RoomResponses(torch.ones(1, 4, 9), torch.eye(3)[:1], True, 8000,
    ...                      "hall")
    >>> room.responses.shape
    torch.Size([1, 4, 9])
    """

    responses: torch.Tensor
    offsets: torch.Tensor
    has_distance: bool
    fs: int
    name: str


class _Refused(ValueError):
    """What a SOFA file holds cannot be used."""


@dataclass(frozen=True)
class _File:
    """What of a file was read: texts and values by their names."""

    path: Path
    attributes: dict
    variables: dict
    # Of each variable, "Type" and "Units".
    kinds: dict
    # Of Data.IR, how Ambisonic channels are ordered and scaled.
    layout: dict

    def refuse(self, problem):
        """Raise the error about this file."""
        raise _Refused(f"{self.path}: {problem}")

    def values(self, name):
        """Values of a variable that must be there, float64 and finite."""
        if name not in self.variables:
            self.refuse(
                f"no variable {name}; not a complete SOFA file of impulse "
                "responses, get it again"
            )
        values = self.variables[name]
        if not values.size:
            self.refuse(f"{name} is empty; get the file again")
        if not np.isfinite(values).all():
            self.refuse(
                f"{name} holds NaN or infinity; get the file again, or leave "
                "those measurements out"
            )
        return values


def read_sofa(path):
    """Read a SOFA file of head-related (or binaural room) responses.

    Arguments
    ---------
    path : str or Path
        File of data type "FIR" with two receivers.

    Returns
    -------
    MeasuredResponses
        At the rate of the file, ``Data.Delay`` included.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it is no SOFA file, or of another kind, or damaged, or its values
        are not those of a measurement.

    Example
    -------
    >>> read_sofa("head.sofa")
    Traceback (most recent call last):
    FileNotFoundError: no such SOFA file: head.sofa
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no such SOFA file: {path}")
    file = _load(path)
    _check_kind(file, ("FIR",))
    fs = _rate(file)
    responses = _responses(file, fs)
    directions = _unit(_places(file, len(responses)))
    early = direct_sound(responses, fs)
    repair = _what_is_wrong(early, directions, _receivers(file), path)
    if repair == "clockwise":
        directions = directions * _MIRROR
    elif repair:
        responses = responses.flip(1)
    return MeasuredResponses(responses, directions, fs, path.stem, repair)


def read_room_sofa(path, num_receivers, azimuth=None):
    """Read a SOFA file of the responses of a room.

    Arguments
    ---------
    path : str or Path
        File of data type "FIR", or "FIR-E" with several emitters, such as
        SingleRoomSRIR, SingleRoomMIMOSRIR and MultiSpeakerBRIR.
    num_receivers : int
        Receivers that it must have. Four are taken for first-order
        Ambisonics, ACN and SN3D, if the file says that they are Ambisonics.
    azimuth : str, optional
        Of ``AZIMUTHS``: how the file counts them, whatever it looks like. By
        default as the standard has it; of two receivers, two ears, this is
        checked and put right as in :func:`read_sofa`.

    Returns
    -------
    RoomResponses
        At the rate of the file, ``Data.Delay`` included.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        As :func:`read_sofa`; if the receivers are not as many, or Ambisonics
        of another layout.

    Example
    -------
    >>> read_room_sofa("hall.sofa", 4)
    Traceback (most recent call last):
    FileNotFoundError: no such SOFA file: hall.sofa
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no such SOFA file: {path}")
    file = _load(path)
    _check_kind(file, ("FIR", *_EMITTER_AXES))
    _check_layout(file)
    file = _unfolded(file)
    fs = _rate(file)
    responses = _responses(file, fs, num_receivers)
    offsets = _places(file, len(responses))
    if azimuth == "clockwise":
        offsets = offsets * _MIRROR
    elif azimuth is None and num_receivers == 2:
        early = direct_sound(responses, fs)
        repair = _what_is_wrong(early, offsets, _receivers(file), path)
        if repair == "clockwise":
            offsets = offsets * _MIRROR
        elif repair:
            responses = responses.flip(1)
    sources = file.values("SourcePosition")
    spherical = file.kinds["SourcePosition"][0] != "cartesian"
    known = not spherical or bool((sources[:, 2] > 0).all())
    if not known:
        offsets = _unit(offsets)
    return RoomResponses(responses.float(), offsets, known, fs, path.stem)


def _load(path):
    """Read what counts of a file, and nothing outside of it."""
    try:
        with h5py.File(path, "r") as file:
            attributes = {name: _text(file.attrs, name) for name in _ATTRIBUTES}
            names = [name for name in _VARIABLES if name in file]
            variables = {name: _variable(file, path, name) for name in names}
            kinds = {
                name: (
                    _text(file[name].attrs, "Type").lower(),
                    _text(file[name].attrs, "Units").lower(),
                )
                for name in names
            }
            layout = {}
            if "Data.IR" in file:
                attrs = file["Data.IR"].attrs
                layout = {name: _text(attrs, name) for name in _FOA_LAYOUT}
    except _Refused:
        raise
    # A damaged file fails in h5py in any way: OSError, KeyError, RuntimeError.
    except Exception as error:
        reason = str(error).strip("'\"")
        raise ValueError(
            f"{path}: not a SOFA file, or damaged ({reason}); SOFA is "
            f"netCDF-4, that is HDF5, and this file has {path.stat().st_size} "
            "bytes. Get it again"
        ) from error
    return _File(path, attributes, variables, kinds, layout)


def _variable(file, path, name):
    """Values of a variable, float64."""
    data = file[name]
    hard = isinstance(file.get(name, getlink=True), h5py.HardLink)
    if not isinstance(data, h5py.Dataset) or data.dtype.kind not in "fiu":
        raise _Refused(f"{path}: {name} does not hold numbers; get it again")
    if not hard or data.external or data.is_virtual:
        raise _Refused(
            f"{path}: {name} refers to another file, which is not read; get a "
            "complete file"
        )
    if data.size is None or data.size > _MOST_VALUES:
        raise _Refused(
            f"{path}: {name} claims to hold the shape {data.shape}; expected "
            f"at most {_MOST_VALUES} values. Get it again, or divide it"
        )
    with np.errstate(invalid="ignore"):  # NaN of damaged files, see values()
        return np.asarray(data[()], dtype=np.float64)


def _text(attributes, name):
    """Text of an attribute, which HDF5 keeps in several ways; or nothing."""
    value = attributes.get(name, "")
    if isinstance(value, h5py.Empty):
        return ""
    value = np.asarray(value).reshape(-1)
    value = value[0] if len(value) else ""
    value = value.decode() if isinstance(value, bytes) else str(value)
    return value.strip("\0 \t\r\n")


def _check_kind(file, kinds):
    """Refuse what holds no impulse responses of one of some types of data."""
    kind = file.attributes["DataType"]
    if kind not in kinds:
        file.refuse(
            f"data type {kind or 'not given'}; only impulse responses of the "
            'type "FIR" can be read (convention SimpleFreeFieldHRIR): convert '
            "it, or get it again"
        )
    container = file.attributes["Conventions"]
    if container not in ("", "SOFA"):
        file.refuse(
            f'its attribute Conventions is "{container}"; expected "SOFA": not '
            "a SOFA file, get another one"
        )
    convention = file.attributes["SOFAConventions"]
    if convention in _NOT_A_FIELD:
        file.refuse(
            f"it follows the convention {convention}, which has no sources in "
            "space; get the file of the head's own responses "
            "(SimpleFreeFieldHRIR)"
        )


def _check_layout(file):
    """Refuse Ambisonics that are not in ACN order with SN3D gains."""
    for attribute, wanted in _FOA_LAYOUT.items():
        found = file.layout.get(attribute, "").lower()
        if found not in ("", wanted):
            file.refuse(
                f"Data.IR has {attribute} {found}; expected {wanted}. Convert "
                "it to ACN order with SN3D gains"
            )


def _unfolded(file):
    """The file with a measurement for each emitter of each measurement."""
    axis = _EMITTER_AXES.get(file.attributes["DataType"])
    if axis is None:
        return file
    responses = file.values("Data.IR")
    if responses.ndim != 4:
        file.refuse(
            f"Data.IR has shape {responses.shape}; expected four axes, among "
            "them the emitters. Get the file again"
        )
    responses = np.moveaxis(responses, axis, 1)
    count, emitters, receivers = responses.shape[:3]
    sources = _emitter_places(file, count, emitters)
    variables = dict(file.variables)
    variables["Data.IR"] = responses.reshape(-1, *responses.shape[2:])
    variables["SourcePosition"] = sources.reshape(-1, 3)
    for name in ("ListenerPosition", "ListenerView", "ListenerUp"):
        if len(variables.get(name, ())) > 1:
            variables[name] = np.repeat(variables[name], emitters, axis=0)
    if "Data.Delay" in variables:
        delay = variables["Data.Delay"]
        delay = delay[..., None] if delay.ndim == 2 else delay
        try:
            delay = np.broadcast_to(delay, (count, receivers, emitters))
        except ValueError:
            file.refuse(
                f"Data.Delay has shape {delay.shape}; expected one that makes "
                f"[{count}, {receivers}, {emitters}]. Get the file again"
            )
        delay = delay.transpose(0, 2, 1).reshape(-1, receivers).copy()
        variables["Data.Delay"] = delay
    kinds = {**file.kinds, "SourcePosition": ("cartesian", "metre")}
    return replace(file, variables=variables, kinds=kinds)


def _emitter_places(file, count, emitters):
    """Where the emitters of each measurement are, metres [M, E, 3]."""
    for name, usual in (("SourceView", [1, 0, 0]), ("SourceUp", [0, 0, 1])):
        if name not in file.variables:
            continue
        turned = _unit(_vectors(file, name, count)) - torch.tensor(usual)
        if turned.abs().max() > _ROUNDING:
            file.refuse(
                f"{name} turns the emitters, which cannot be read; write "
                "EmitterPosition in the axes of the room"
            )
    places = file.values("EmitterPosition")
    if places.ndim == 2:
        places = places[..., None]
    if places.shape[:2] != (emitters, 3) or places.shape[2] not in (1, count):
        file.refuse(
            f"EmitterPosition has shape {places.shape}; expected "
            f"[{emitters}, 3, 1 or {count}]. Get the file again"
        )
    parts = []
    for name, rows in (
        ("SourcePosition", file.values("SourcePosition")[:, None]),
        ("EmitterPosition", places.transpose(2, 0, 1)),
    ):
        kind, units = file.kinds[name]
        kind = kind or "spherical"
        if kind not in ("cartesian", "spherical"):
            file.refuse(
                f'{name} is of type "{kind}"; expected "spherical" or '
                '"cartesian". Correct its attribute Type'
            )
        _check_units(file, name, kind, units)
        rows = torch.from_numpy(np.ascontiguousarray(rows))
        if kind == "spherical":
            _check_angles(file, name, rows.reshape(-1, 3))
            angles, distance = rows[..., :2].unbind(-1), rows[..., 2:]
            rows = azel_to_unit(*angles) * distance
        parts.append(rows)
    return (parts[0] + parts[1]).expand(count, emitters, 3).numpy()


def _rate(file):
    """Sampling rate, Hz."""
    rates = np.unique(file.values("Data.SamplingRate"))
    units = file.kinds["Data.SamplingRate"][1]
    low, high = _RATES
    whole = len(rates) == 1 and rates[0] == round(rates[0])
    if not whole or not low <= rates[0] <= high or units not in ("", *_HERTZ):
        found = ", ".join(f"{rate:g}" for rate in rates[:3])
        file.refuse(
            f"Data.SamplingRate is {found} {units or '(no unit)'}; expected "
            f"one whole number of hertz for all measurements, {low:.0f} to "
            f"{high:.0f}. Correct it, or get the file again"
        )
    return int(rates[0])


def _responses(file, fs, receivers=None):
    """Impulse responses [M, R, L] with their delays; default: of two ears."""
    responses = file.values("Data.IR")
    if responses.ndim != 3 or responses.shape[1] != (receivers or 2):
        kind = f"{receivers} receivers" if receivers else "2 ears"
        remedy = "only responses of two receivers can be read"
        if receivers:
            remedy = "take the format that was measured, or other files"
        file.refuse(
            f"Data.IR has shape {responses.shape}; expected [measurements, "
            f"{kind}, samples]: {remedy}"
        )
    peaks = np.abs(responses).max(-1)
    if receivers:
        # An Ambisonic channel may be silent, a measurement may not.
        _check_levels(file, peaks.max(-1, keepdims=True), "")
    else:
        _check_levels(file, peaks, " at an ear")
    responses = torch.from_numpy(responses)
    if "Data.Delay" not in file.variables:
        return responses
    return _delayed(responses, _delays(file, responses, fs))


def _check_levels(file, peaks, where):
    """Refuse silence and outliers among the peaks of responses [M, R]."""
    silent = (peaks == 0).any(-1)
    if silent.any():
        file.refuse(
            f"Data.IR is all zero{where} in {silent.sum()} of {len(silent)} "
            f"measurements, first in number {silent.argmax()}; get the file "
            "again, or leave those measurements out"
        )
    most = min(_LOUDEST, _OUTLIER * np.median(peaks))
    if peaks.max() > most:
        file.refuse(
            f"Data.IR has a peak of {peaks.max():g} in measurement number "
            f"{peaks.max(-1).argmax()}, where {np.median(peaks):g} is usual; "
            f"expected at most {most:g}. Get the file again"
        )


def _delays(file, responses, fs):
    """Delay of each response in samples, [1, R] or [M, R]."""
    delay = file.values("Data.Delay")
    count, receivers = responses.shape[:2]
    most = _MOST_DELAY * fs
    if delay.shape not in ((1, receivers), (count, receivers)):
        file.refuse(
            f"Data.Delay has shape {delay.shape}; expected [1, {receivers}] "
            f"or [{count}, {receivers}]. Get the file again"
        )
    if delay.min() < 0 or delay.max() > most:
        file.refuse(
            f"Data.Delay is {delay.min():g} to {delay.max():g}; expected "
            f"samples, not negative and at most {most:.0f} ({_MOST_DELAY:g} "
            "s). Correct it, or get the file again"
        )
    if _SECONDS[0] < delay.max() < _SECONDS[1]:
        file.refuse(
            f"Data.Delay is at most {delay.max():g}, which as samples is "
            "nothing: it seems to be in seconds. Multiply it by the sampling "
            "rate"
        )
    length = responses.shape[-1] + int(np.ceil(delay.max()))
    if receivers * count * length > _MOST_VALUES:
        file.refuse(
            f"Data.Delay is up to {delay.max():g} samples, which makes "
            f"{count} responses of {length} samples; expected at most "
            f"{_MOST_VALUES} values. Remove what all delays have in common"
        )
    return torch.from_numpy(delay)


def _delayed(responses, delay):
    """Delay responses [M, R, L], which become as much longer."""
    if delay.max() == 0:
        return responses
    more = int(torch.ceil(delay.max()))
    result = torch.nn.functional.pad(responses, (0, more))
    delay = delay.expand(len(result), result.shape[1])
    for rows in torch.arange(len(result)).split(_BLOCK):
        result[rows] = shift_responses(result[rows], delay[rows])
    return result


def _unit(vectors):
    """Vectors of length 1 [..., 3]."""
    return torch.nn.functional.normalize(vectors, dim=-1)


def _places(file, count):
    """Sources in the frame of the listener, metres [M, 3]."""
    sources = _sources(file, count)
    front, _, up = torch.eye(3, dtype=torch.float64).split(1)
    if "ListenerView" in file.variables:
        front = _unit(_vectors(file, "ListenerView", count))
    if "ListenerUp" in file.variables:
        up = _unit(_vectors(file, "ListenerUp", count))
    front, up = torch.broadcast_tensors(front, up)
    left = torch.linalg.cross(up, front)
    if (torch.linalg.vector_norm(left, dim=-1) < 1e-3).any():
        file.refuse(
            "ListenerView and ListenerUp have no length or the same direction; "
            "expected where the listener looks and what is above it. Correct "
            "them"
        )
    left = _unit(left)
    frame = torch.stack((front, left, torch.linalg.cross(front, left)), dim=1)
    rows = max(len(frame), len(sources))
    sources = torch.einsum(
        "mkd,md->mk", frame.expand(rows, 3, 3), sources.expand(rows, 3)
    )
    return sources.expand(count, 3).clone()


def _sources(file, count):
    """Sources as seen from the place of the listener, metres [1 or M, 3]."""
    sources = _vectors(file, "SourcePosition", count)
    kind = file.kinds["SourcePosition"][0]
    if not kind:
        logger.warning(
            "%s: SourcePosition has no Type; taken for spherical", file.path
        )
    if "ListenerPosition" in file.variables:
        listener = _vectors(file, "ListenerPosition", count)
    elif kind == "cartesian":
        file.refuse(
            "no variable ListenerPosition, and SourcePosition is cartesian: "
            "where sources are seen from is not known. Add it, or get a "
            "complete file"
        )
    else:
        logger.warning(
            "%s: no ListenerPosition; taken for the origin", file.path
        )
        listener = torch.zeros(1, 3, dtype=torch.float64)
    missing = kind != "cartesian" and (file.values("SourcePosition")[:, 2] == 0)
    if np.any(missing) and listener.any():
        file.refuse(
            "SourcePosition has distances of 0, and ListenerPosition is not "
            "the origin, so that directions are not known. Write the distances "
            "in metres"
        )
    sources = sources - listener
    distance = torch.linalg.vector_norm(sources, dim=-1)
    if distance.min() == 0 or distance.max() > _FARTHEST:
        file.refuse(
            f"SourcePosition is {distance.min():g} to {distance.max():g} m "
            "from ListenerPosition; expected more than 0 and at most "
            f"{_FARTHEST:g} m. Write both in metres"
        )
    return sources


def _vectors(file, name, count):
    """Rows of a position or direction in Cartesian coordinates [n, 3]."""
    values = file.values(name)
    shape = values.shape
    if len(shape) != 2 or shape[1] != 3 or shape[0] not in (1, count):
        file.refuse(
            f"{name} has shape {shape}, which does not make {count} "
            f"directions; expected [1, 3] or [{count}, 3], a row a "
            "measurement of Data.IR. Get the file again"
        )
    kind, units = file.kinds[name]
    kind = kind or ("spherical" if name == "SourcePosition" else "cartesian")
    if kind not in ("cartesian", "spherical"):
        file.refuse(
            f'{name} is of type "{kind}"; expected "spherical" or '
            '"cartesian". Correct its attribute Type'
        )
    _check_units(file, name, kind, units)
    values = torch.from_numpy(values)
    if kind == "cartesian":
        return values
    _check_angles(file, name, values)
    azimuth, elevation, distance = values.unbind(-1)
    if name != "ListenerPosition":
        # Files without a distance hold 0; the direction counts all the same.
        distance = torch.where(distance > 0, distance, 1.0)
    return azel_to_unit(azimuth, elevation) * distance[:, None]


def _check_units(file, name, kind, units):
    """Refuse units other than degrees and metres."""
    words = units.replace(",", " ").replace(";", " ").split()
    if not words:
        return
    if kind == "spherical":
        good = words[0] in _DEGREES and _DEGREES | _METRES >= set(words)
        expected = "degree, degree, metre"
    else:
        # Vectors of a direction have no unit that would count.
        good = _METRES >= set(words) or "Position" not in name
        expected = "metre"
    if not good:
        file.refuse(
            f'{name} is {kind}, in "{units}"; expected "{expected}". Correct '
            "its attributes Type and Units, or convert its values"
        )


def _check_angles(file, name, values):
    """Refuse spherical coordinates that are not in degrees and metres."""
    azimuth, elevation, distance = values.unbind(-1)
    if azimuth.abs().max() > 360.0 + _ROUNDING:
        file.refuse(
            f"{name} has azimuths of {azimuth.min():g} to {azimuth.max():g}; "
            "expected degrees within one turn. Correct them"
        )
    if elevation.abs().max() > 90.0 + _ROUNDING:
        file.refuse(
            f"{name} has elevations of {elevation.min():g} to "
            f"{elevation.max():g}; expected -90 (below) to 90 degrees (above). "
            "Convert them"
        )
    if distance.min() < 0:
        file.refuse(
            f"{name} has distances from {distance.min():g} m on; expected "
            "metres, not negative. If they are Cartesian coordinates, its "
            'attribute Type must be "cartesian"'
        )
    span = (azimuth.max() - azimuth.min()).item()
    many = len(azimuth.unique()) >= _MANY
    if many and np.pi < span <= 2 * np.pi and elevation.abs().max() <= np.pi:
        file.refuse(
            f"{name} has azimuths of {azimuth.min():g} to {azimuth.max():g} "
            "and no direction at the side: they seem to be radians. Convert "
            "them to degrees"
        )


def _receivers(file):
    """Left-right coordinate of both receivers, or None."""
    places = file.variables.get("ReceiverPosition", np.zeros(0))
    if places.ndim not in (2, 3) or places.shape[:2] != (2, 3):
        return None
    places = places.reshape(2, 3, -1)[..., 0]
    if file.kinds["ReceiverPosition"][0] == "spherical":
        return np.sin(np.deg2rad(places[:, 0])) * places[:, 2]
    return places[:, 1]


def direct_sound(responses, fs):
    """Responses without what comes later than the direct sound.

    In a room all receivers get the same reverberation, which may be stronger.

    Arguments
    ---------
    responses : torch.Tensor
        Shape [M, R, L].
    fs : int
        Sampling rate, Hz.

    Returns
    -------
    torch.Tensor
        Shape [M, R, L], zero from 2.5 ms after the first sound on.

    Example
    -------
    >>> direct_sound(torch.ones(1, 1, 800), 16000).sum()
    tensor(41.)
    """
    peaks = responses.abs().amax(1)
    arrived = peaks >= _ARRIVAL * peaks.amax(-1, keepdim=True)
    end = arrived.int().argmax(-1) + int(_DIRECT * fs)
    late = torch.arange(responses.shape[-1]) > end[:, None]
    return responses.masked_fill(late[:, None], 0.0)


def _what_is_wrong(responses, directions, receivers, path):
    """What must be turned round so that near ears are the louder ones."""
    side = _unit(directions)[:, 1]
    aside = responses[side.abs() > _LATERAL]
    if len(aside) and torch.equal(aside[:, 0], aside[:, 1]):
        raise ValueError(
            f"{path}: Data.IR has the same response for both ears, also for "
            "sources at the side; these are not the responses of a head. Get "
            "the file again"
        )
    level = ild(responses)
    left, right = level[side > _LATERAL], level[side < -_LATERAL]
    if not len(left) or not len(right):
        logger.warning(
            "%s: no directions on both sides, so that left and right could "
            "not be checked; its angles are taken as they are",
            path,
        )
        return ""
    difference = (left.median() - right.median()).item()
    exchanged = receivers is not None and receivers[0] < receivers[1]
    if difference > _LEAST_DIFFERENCE:
        if exchanged:
            logger.warning(
                "%s: ReceiverPosition has the first ear on the right, but it "
                "is the louder one for sources on the left (by %.1f dB): it "
                "is taken for the left ear",
                path,
                difference,
            )
        return ""
    if difference > -_LEAST_DIFFERENCE:
        raise ValueError(
            f"{path}: levels at the ears differ by {difference:.1f} dB between "
            "sources on the left and on the right; these are not the responses "
            "of a head, or its directions (SourcePosition) are wrong. Get "
            "another file"
        )
    repair = "ears exchanged" if exchanged else "clockwise"
    logger.warning(
        "%s: its first ear is the louder one for sources on the right (by "
        "%.1f dB), against the standard; %s",
        path,
        -difference,
        "ReceiverPosition has it on the right as well: the ears were exchanged"
        if exchanged
        else "its azimuths are taken to run clockwise and were turned round",
    )
    return repair
