"""Readers of measured heads: CIPIC in its forms, SOFA files, folders of them.

``find_heads`` lists what a path holds, ``read_head`` brings one head onto the
grid of CIPIC. Forms of CIPIC: the WAV version that comes with
Binaural-WSJ0Mix (``subject03/neg45azleft.wav``), the original MATLAB files
(``subject_003/hrir_final.mat``), and the same arrays as ``.npz``. The WAV
version is a third of the original, rounded to 16 bits.

A SOFA file is a netCDF-4, hence HDF5, container. What is read is the data
type "FIR" with two receivers: the convention SimpleFreeFieldHRIR and others
alike. Directions are seen from the listener, whose position, view and up
vector count.

The standard has azimuths counter-clockwise and the left ear first. Not every
file keeps to it, so that the reader asks the data: at the side where a source
stands, its ear is the louder one. Where it is not, either the ears are
exchanged (if ``ReceiverPosition`` says so as well) or the angles run
clockwise; the file is read accordingly and a warning is logged.
"""

import logging
import re
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
import scipy.io
import soundfile
import torch

from spatial_brain.folders import find_files
from spatial_brain.geometry import azel_to_unit
from spatial_brain.simulation.hrtf.grid import (
    CIPIC_LATERALS,
    CIPIC_POLARS,
    interaural_to_unit,
)
from spatial_brain.simulation.hrtf.interpolation import (
    find_neighbours,
    ild,
    responses_between,
    shift_responses,
)

logger = logging.getLogger(__name__)

# Directions count as lateral from here on (left or right share of the unit
# vector).
_LATERAL = 0.3
# Less than this between both sides, dB, does not separate left and right.
_LEAST_DIFFERENCE = 0.5
CIPIC_FS = 44100
# What identifies each form, as a pattern below the folder.
# By the ends of their names; of MATLAB and WAV files the whole names count.
_FORMS = (".sofa", ".npz", "hrir_final.mat", "0azleft.wav")


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


def find_heads(source):
    """List the measured heads in a file or below a folder.

    Subjects of CIPIC are called ``subject03``, ``subject124`` and so on in
    whatever form they come; other SOFA and ``.npz`` files by their names.

    Arguments
    ---------
    source : str or Path
        A ``.sofa``, ``.npz`` or ``hrir_final.mat`` file, or a folder: all
        heads at any depth below it are found.

    Returns
    -------
    dict
        By name of the subject, in order: the form (``"wav"``, ``"mat"``,
        ``"npz"`` or ``"sofa"``) and the path of the file, or of the folder
        of WAV files.

    Raises
    ------
    FileNotFoundError
        If there is no such path, or no head in it.
    ValueError
        If a subject is there twice, or the file is of no known form.

    Example
    -------
    >>> folder = getfixture("tmp_path") / "subject_003"
    >>> folder.mkdir()
    >>> (folder / "hrir_final.mat").touch()
    >>> find_heads(folder.parent)
    {'subject03': ('mat', ...Path('.../subject_003/hrir_final.mat'))}
    """
    source = Path(source)
    if source.is_file():
        form = source.suffix.lower().lstrip(".")
        if form not in ("mat", "npz", "sofa"):
            raise ValueError(
                f"{source}: no known form of HRTFs; expected a .sofa, .npz or "
                "CIPIC .mat file, or a folder of them or of CIPIC's WAV version"
            )
        found = [(form, source)]
    else:
        if not source.is_dir():
            raise FileNotFoundError(
                f"no such file or folder of HRTFs: {source}"
            )
        found = [
            (form, path.parent if form == "wav" else path)
            for path in find_files(source, _FORMS)
            for form in [_form(path)]
            if form
        ]
    heads = {}
    for form, path in found:
        name = _subject(path.parent if form == "mat" else path)
        if name in heads:
            raise ValueError(
                f"subject {name} is there twice, as {heads[name][1]} and as "
                f"{path}; give the folder of one of both"
            )
        heads[name] = form, path
    if not heads:
        raise FileNotFoundError(
            f"{source}: no HRTFs in this folder; expected *.sofa, *.npz, or "
            "those of CIPIC: subject03/neg45azleft.wav and so on, or "
            "subject_003/hrir_final.mat. Without data, the built-in "
            'spherical head is there under the name "sphere"'
        )
    return {name: heads[name] for name in sorted(heads, key=_natural)}


def read_head(form, path, method="barycentric", max_gap=30.0):
    """Read one head on the grid of CIPIC.

    Arguments
    ---------
    form : str
        Of ``find_heads``.
    path : str or Path
        Of ``find_heads``.
    method : str
        For SOFA files, which have grids of their own: ``"barycentric"`` or
        ``"nearest"``, see ``find_neighbours``. A file with the directions of
        CIPIC is taken as it is.
    max_gap : float
        For SOFA files: how far from a measured direction one of the grid may
        be, degrees.

    Returns
    -------
    tuple
        Responses [25, 50, 2, L], float64, ear 0 left; and their rate, Hz.

    Raises
    ------
    FileNotFoundError
        If a file of the head is missing.
    ValueError
        If one is damaged or not as expected.

    Example
    -------
    >>> read_head("wav", "subject03")
    Traceback (most recent call last):
    FileNotFoundError: subject03/neg80azleft.wav: no such file; ...
    """
    path = Path(path)
    if form == "sofa":
        return _from_sofa(path, method, max_gap)
    if form == "wav":
        responses, fs = _from_wavs(path), CIPIC_FS
    else:
        responses, fs = _from_arrays(path, form)
    level = ild(torch.from_numpy(responses))
    left, right = level[:8].median().item(), level[-8:].median().item()
    if left <= right:
        raise ValueError(
            f"{path}: the left ear is not the louder one at negative azimuths "
            f"({left:.1f} dB against {right:.1f} dB at positive ones); left "
            "and right are exchanged, or the azimuths not in CIPIC's order"
        )
    return torch.from_numpy(responses), fs


def _from_sofa(path, method, max_gap):
    """Responses of a SOFA file at the directions of the grid."""
    head = read_sofa(path)
    grid = interaural_to_unit(
        torch.tensor(CIPIC_LATERALS, dtype=torch.float64)[:, None],
        torch.tensor(CIPIC_POLARS, dtype=torch.float64),
    )
    try:
        near = find_neighbours(
            head.directions, grid.flatten(0, 1), method, max_gap
        )
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    responses = responses_between(
        head.responses, head.directions, near, head.fs
    )
    return responses.unflatten(0, grid.shape[:2]), head.fs


def _from_wavs(folder):
    """Responses of CIPIC's WAV version, [25, 50, 2, 200].

    A file holds one azimuth and one ear: 50 frames, the elevations, of 200
    channels, the taps. Files of other names (a stray ``neg80az.wav``) are
    not looked at.
    """
    responses = np.empty((len(CIPIC_LATERALS), len(CIPIC_POLARS), 2, 200))
    for index, lateral in enumerate(CIPIC_LATERALS):
        azimuth = f"{'neg' if lateral < 0 else ''}{abs(lateral)}az"
        for ear, side in enumerate(("left", "right")):
            path = folder / f"{azimuth}{side}.wav"
            if not path.is_file():
                raise FileNotFoundError(
                    f"{path}: no such file; a subject has 50, of 25 azimuths "
                    "and two ears. Copy the folder again"
                )
            try:
                samples, fs = soundfile.read(path, dtype="int16")
            except soundfile.LibsndfileError as error:
                raise ValueError(
                    f"{path}: cannot be read ({error}); copy it again"
                ) from error
            if fs != CIPIC_FS or samples.shape != (50, 200):
                raise ValueError(
                    f"{path}: shape {samples.shape} at {fs} Hz; expected 50 "
                    f"frames of 200 channels at {CIPIC_FS} Hz"
                )
            # A power of two: what follows is exact but for the scale.
            responses[index, :, ear] = samples / 32768.0
    return responses


def _from_arrays(path, form):
    """Responses [25, 50, 2, L] and rate of a ``.mat`` or ``.npz`` file."""
    try:
        if form == "mat":
            arrays = scipy.io.loadmat(path, variable_names=["hrir_l", "hrir_r"])
        else:
            with np.load(path, allow_pickle=False) as file:
                arrays = dict(file)
    except FileNotFoundError:
        raise FileNotFoundError(f"no such file of HRTFs: {path}") from None
    # A damaged file fails in either library in any way: index, type, zlib.
    except Exception as error:
        raise ValueError(
            f"{path}: cannot be read as {form} ({error!r}); get it again"
        ) from error
    if not {"hrir_l", "hrir_r"} <= set(arrays):
        raise ValueError(
            f"{path}: no arrays hrir_l and hrir_r, but {sorted(arrays)}; not a "
            "head of CIPIC"
        )
    ears = [np.asarray(arrays[f"hrir_{side}"], np.float64) for side in "lr"]
    if ears[0].shape != ears[1].shape or ears[0].shape[:-1] != (25, 50):
        raise ValueError(
            f"{path}: hrir_l and hrir_r have shapes {ears[0].shape} and "
            f"{ears[1].shape}; expected [25 azimuths, 50 elevations, samples]"
        )
    for name, grid in (
        ("azimuth_deg", CIPIC_LATERALS),
        ("elevation_deg", CIPIC_POLARS),
    ):
        if name not in arrays:
            continue
        angles = np.ravel(arrays[name])
        # Some round the elevations to whole degrees.
        if angles.shape != (len(grid),) or np.abs(angles - grid).max() > 0.6:
            raise ValueError(
                f"{path}: {name} is not that of CIPIC ({grid[0]}, {grid[1]}, "
                f"... {grid[-1]} degrees, lateral positive to the right)"
            )
    fs = int(np.ravel(arrays.get("sample_rate", CIPIC_FS))[0])
    return np.stack(ears, axis=2), fs


def _form(path):
    """Form of a file of a head; None: it is none."""
    form = path.suffix.lower().lstrip(".")
    wanted = form in ("sofa", "npz") or path.name.lower() in _FORMS
    return form if wanted else None


def _subject(path):
    """Name of a subject: CIPIC's by their numbers, others by the file."""
    stem = path.name if path.is_dir() else path.stem
    number = re.fullmatch(r"(?:cipic[_-])?subject[_-]?(\d+)", stem, re.I)
    return f"subject{int(number[1]):02d}" if number else stem


def _natural(name):
    """Key that sorts numbers within names by their values."""
    return [
        (int(part), "") if part.isdigit() else (-1, part)
        for part in re.split(r"(\d+)", name)
    ]
