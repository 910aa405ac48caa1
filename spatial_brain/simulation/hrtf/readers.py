"""Readers of measured heads: CIPIC in its forms, folders of them, SOFA files.

``find_heads`` lists what a path holds, ``read_head`` brings one head onto the
grid of CIPIC. Forms of CIPIC: the WAV version that comes with
Binaural-WSJ0Mix (``subject03/neg45azleft.wav``), the original MATLAB files
(``subject_003/hrir_final.mat``), and the same arrays as ``.npz``. The WAV
version is a third of the original, rounded to 16 bits.

SOFA files are read by ``spatial_brain.simulation.hrtf.sofa``.
"""

import filecmp
import logging
import re
from pathlib import Path

import numpy as np
import scipy.io
import soundfile
import torch

from spatial_brain.folders import find_files
from spatial_brain.simulation.hrtf.grid import (
    CIPIC_LATERALS,
    CIPIC_POLARS,
    interaural_to_unit,
)
from spatial_brain.simulation.hrtf.interpolation import (
    find_neighbours,
    ild,
    responses_between,
)
from spatial_brain.simulation.hrtf.sofa import read_sofa

logger = logging.getLogger(__name__)

CIPIC_FS = 44100
_CIPIC = re.compile(r"(?:cipic[_-])?subject[_-]?(\d+)", re.I)
# What identifies each form, as a pattern below the folder.
# By the ends of their names; of MATLAB and WAV files the whole names count.
_FORMS = (".sofa", ".npz", "hrir_final.mat", "0azleft.wav")


def find_heads(source):
    """List the measured heads in a file or below a folder.

    Subjects of CIPIC are called ``subject03``, ``subject124`` and so on in
    whatever form they come; other SOFA and ``.npz`` files by their names.
    Files of the same name in several folders, as in sets with a folder a
    person, are called by folder and name: ``P1-hrir``, ``P2-hrir``.

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
        If a head is there twice (in two forms, or as copies of a file), or the
        file is of no known form.

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
    heads = _named(source, found)
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


def _named(source, found):
    """Heads by names that are all different."""
    groups = {}
    for form, path in found:
        name = _subject(path.parent if form == "mat" else path)
        groups.setdefault(name, []).append((form, path))
    heads = {}
    for name, group in groups.items():
        if len(group) == 1:
            heads[name] = group[0]
            continue
        _check_different(name, group)
        longer = names_with_folders(path for _, path in group)
        logger.warning(
            "%s: %d files of the name %s are taken for as many heads, called "
            "by their folders: %s, ...",
            source,
            len(group),
            name,
            longer[0],
        )
        heads.update(zip(longer, group, strict=True))
    if len(heads) < len(found):
        raise ValueError(
            f"{source}: names of heads repeat even with their folders; rename "
            f"one of the files, whose names became {', '.join(heads)}"
        )
    return heads


def _check_different(name, group):
    """Refuse one head in two forms, and copies of one file."""
    for index, (form, path) in enumerate(group):
        for other, place in group[:index]:
            if form != other:
                # A number of CIPIC is one person, wherever the file lies.
                same = _CIPIC.fullmatch(name) or path.parent == place.parent
            else:
                same = form in ("wav", "mat") or filecmp.cmp(
                    path, place, shallow=False
                )
            if same:
                raise ValueError(
                    f"subject {name} is there twice, as {place} and as "
                    f"{path}; give the folder of one of both"
                )


def names_with_folders(paths):
    """Names of files of the same name, by the folders in which they differ.

    Arguments
    ---------
    paths : iterable of Path
        Different files.

    Returns
    -------
    list of str
        As many of the last parts of each path as make them different, without
        suffix, with ``-`` between them, as they become parts of file names.

    Example
    -------
    >>> names_with_folders([Path("set/P1/hrir.sofa"), Path("set/P2/hrir.sofa")])
    ['P1-hrir', 'P2-hrir']
    """
    parts = [path.with_suffix("").parts for path in paths]
    depth = 2
    while len({part[-depth:] for part in parts}) < len(parts):
        depth += 1
    return ["-".join(part[-depth:]) for part in parts]


def _form(path):
    """Form of a file of a head; None: it is none."""
    form = path.suffix.lower().lstrip(".")
    wanted = form in ("sofa", "npz") or path.name.lower() in _FORMS
    return form if wanted else None


def _subject(path):
    """Name of a subject: CIPIC's by their numbers, others by the file."""
    stem = path.name if path.is_dir() else path.stem
    number = _CIPIC.fullmatch(stem)
    return f"subject{int(number[1]):02d}" if number else stem


def _natural(name):
    """Key that sorts numbers within names by their values."""
    return [
        (int(part), "") if part.isdigit() else (-1, part)
        for part in re.split(r"(\d+)", name)
    ]
