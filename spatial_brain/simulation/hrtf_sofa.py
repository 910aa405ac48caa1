"""Reader of SOFA files of head-related impulse responses (AES69).

A SOFA file is a netCDF-4, hence HDF5, container. What is read is the data
type "FIR" with two receivers: the convention SimpleFreeFieldHRIR and others
alike. Directions are seen from the listener, whose position, view and up
vector count.

The standard has azimuths counter-clockwise and the left ear first. Not every
file keeps to it, so that the reader asks the data: at the side where a source
stands, its ear is the louder one. Where it is not, either the ears are
exchanged (if ``ReceiverPosition`` says so as well) or the angles run
clockwise; the file is read accordingly and a warning tells it.
"""

import logging
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
import torch

from spatial_brain.geometry import azel_to_unit
from spatial_brain.simulation.hrtf_responses import ild, shift_responses

logger = logging.getLogger(__name__)

# Directions count as lateral from here on (left or right share of the unit
# vector).
_LATERAL = 0.3
# Less than this between both sides, dB, does not tell left from right.
_LEAST_DIFFERENCE = 0.5


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
        If it is no SOFA file, or of another kind, or not consistent.

    Example
    -------
    >>> read_sofa("head.sofa")
    Traceback (most recent call last):
    FileNotFoundError: no such SOFA file: head.sofa
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no such SOFA file: {path}")
    try:
        with h5py.File(path, "r") as file:
            responses, fs = _responses(file, path)
            directions = _directions(file, path, len(responses))
            receivers = _receivers(file)
    except OSError as error:
        raise ValueError(
            f"{path}: not a SOFA file, or damaged ({error}); SOFA is netCDF-4, "
            f"that is HDF5, and this file has {path.stat().st_size} bytes. "
            "Get it again"
        ) from error
    repair = _what_is_wrong(responses, directions, receivers, path)
    if repair == "clockwise":
        directions = directions * torch.tensor([1.0, -1.0, 1.0])
    elif repair:
        responses = responses.flip(1)
    return MeasuredResponses(responses, directions, fs, path.stem, repair)


def _responses(file, path):
    """Impulse responses [M, 2, L] with their delays, and the rate."""
    kind = _text(file.attrs.get("DataType", ""))
    if kind != "FIR":
        raise ValueError(
            f"{path}: data type {kind or 'not given'}; only impulse responses "
            'of the type "FIR" can be read (convention SimpleFreeFieldHRIR)'
        )
    responses = _variable(file, path, "Data.IR")
    if responses.ndim != 3 or responses.shape[1] != 2 or not responses.size:
        raise ValueError(
            f"{path}: Data.IR has shape {responses.shape}; expected "
            "[measurements, 2 ears, samples]"
        )
    if not np.isfinite(responses).all():
        raise ValueError(f"{path}: Data.IR holds NaN or infinity; get it again")
    rates = np.unique(_variable(file, path, "Data.SamplingRate"))
    if len(rates) != 1 or rates[0] <= 0 or rates[0] != round(rates[0]):
        raise ValueError(
            f"{path}: Data.SamplingRate is {rates}; expected one whole number "
            "of Hz for all measurements"
        )
    responses = torch.from_numpy(responses)
    if "Data.Delay" not in file:
        return responses, int(rates[0])
    delay = _variable(file, path, "Data.Delay")
    if delay.shape not in ((1, 2), (len(responses), 2)) or delay.min() < 0:
        raise ValueError(
            f"{path}: Data.Delay has shape {delay.shape} and a least value of "
            f"{delay.min():g}; expected samples, not negative, of shape [1, 2] "
            f"or [{len(responses)}, 2]"
        )
    if delay.max() > 0:
        more = int(np.ceil(delay.max()))
        responses = torch.nn.functional.pad(responses, (0, more))
        delay = torch.from_numpy(delay).expand(len(responses), 2)
        responses = shift_responses(responses, delay)
    return responses, int(rates[0])


def _directions(file, path, count):
    """Unit vectors to the sources, in the frame of the listener [M, 3]."""
    sources = _positions(file, path, "SourcePosition", "spherical")
    listener = view = up = None
    if "ListenerPosition" in file:
        listener = _positions(file, path, "ListenerPosition", "cartesian")
    if "ListenerView" in file:
        view = _positions(file, path, "ListenerView", "cartesian")
    if "ListenerUp" in file:
        up = _positions(file, path, "ListenerUp", "cartesian")
    sources = sources if listener is None else sources - listener
    unit = torch.nn.functional.normalize
    front = torch.eye(3).double()[:1] if view is None else unit(view, dim=-1)
    up = torch.eye(3).double()[2:] if up is None else up
    front, up = torch.broadcast_tensors(front, up)
    left = unit(torch.linalg.cross(up, front), dim=-1)
    frame = torch.stack((front, left, torch.linalg.cross(front, left)), dim=1)
    sources = torch.einsum(
        "mkd,md->mk", *_broadcast_rows(frame, unit(sources, dim=-1))
    )
    length = torch.linalg.vector_norm(sources, dim=-1)
    if len(sources) not in (1, count) or not torch.allclose(
        length, torch.ones_like(length), atol=1e-6
    ):
        raise ValueError(
            f"{path}: positions of {len(sources)} sources relative to the "
            f"listener do not make {count} directions; SourcePosition, "
            "ListenerPosition, ListenerView and ListenerUp must be finite, of "
            "1 or as many rows as Data.IR, and not coincide"
        )
    return sources.expand(count, 3).clone()


def _broadcast_rows(frame, sources):
    """Give both the same first axis."""
    count = max(len(frame), len(sources))
    return frame.expand(count, 3, 3), sources.expand(count, 3)


def _positions(file, path, name, default):
    """Rows of a position variable in Cartesian coordinates [n, 3]."""
    values = _variable(file, path, name)
    if values.ndim != 2 or values.shape[1] != 3:
        raise ValueError(
            f"{path}: {name} has shape {values.shape}; expected [rows, 3]"
        )
    values = torch.from_numpy(values)
    kind = _text(file[name].attrs.get("Type", "")) or default
    if kind == "cartesian":
        return values
    if kind != "spherical":
        raise ValueError(
            f'{path}: {name} is of type "{kind}"; expected "spherical" or '
            '"cartesian"'
        )
    azimuth, elevation, distance = values.unbind(-1)
    # Files without a distance hold 0; the direction counts all the same.
    distance = torch.where(distance > 0, distance, 1.0)
    return azel_to_unit(azimuth, elevation) * distance[:, None]


def _receivers(file):
    """Left-right coordinate of both receivers, or None."""
    if "ReceiverPosition" not in file:
        return None
    places = np.asarray(file["ReceiverPosition"][()], float)
    if places.ndim not in (2, 3) or places.shape[:2] != (2, 3):
        return None
    places = places.reshape(2, 3, -1)[..., 0]
    kind = _text(file["ReceiverPosition"].attrs.get("Type", ""))
    if kind == "spherical":
        return np.sin(np.deg2rad(places[:, 0])) * places[:, 2]
    return places[:, 1]


def _what_is_wrong(responses, directions, receivers, path):
    """What must be turned round so that near ears are the louder ones."""
    side = directions[:, 1]
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
            "of a head, or its directions are wrong"
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


def _variable(file, path, name):
    """Values of a variable that must be there, float64."""
    if name not in file:
        raise ValueError(
            f"{path}: no variable {name}; not a complete SOFA file of "
            "impulse responses"
        )
    return np.asarray(file[name][()], dtype=np.float64)


def _text(value):
    """Text of an attribute, which HDF5 keeps in several ways."""
    if isinstance(value, h5py.Empty):
        return ""
    value = np.asarray(value).reshape(-1)
    value = value[0] if len(value) else ""
    value = value.decode() if isinstance(value, bytes) else str(value)
    return value.strip()
