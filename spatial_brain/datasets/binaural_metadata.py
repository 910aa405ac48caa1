"""The published lists of Binaural-WSJ0Mix.

Which utterances of WSJ0 make a mixture, at which gains, from where: CSV and
``.npz`` files of https://github.com/huangzj421/Binaural-WSJ0Mix, folder
``metadata``. Rows are in the same order in all of them; the ids in the
``.npz`` files are pickled, and are looked at without unpickling.
"""

import csv
import logging
import pickletools
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from spatial_brain.datasets.binaural_metadata_files import (
    GIT_BLOBS,
    SERVER,
    check_variant,
    files_of,
)
from spatial_brain.datasets.binaural_mixtures import BinauralMixture
from spatial_brain.simulation.hrtf_grid import CIPIC_POLARS

logger = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class PublishedGains:
    """Numbers of a ``scaling_*.npz`` file at one rate and mode.

    Arguments
    ---------
    talkers : numpy.ndarray
        Gain of each talker, [n, C].
    speech : numpy.ndarray
        Common gain of the talkers over noise, [n].
    noise : numpy.ndarray
        Gain of the noise, [n].
    speech_start : numpy.ndarray
        Where speech begins within the noise, samples at 16 kHz, [n].

    Example
    -------
    >>> zeros = np.zeros(2)
    >>> PublishedGains(np.ones((2, 3)), zeros, zeros, zeros).talkers.shape
    (2, 3)
    """

    talkers: np.ndarray
    speech: np.ndarray
    noise: np.ndarray
    speech_start: np.ndarray


def read_gains(path, ids, fs, mode):
    """Read a ``scaling_*.npz`` file without unpickling anything.

    Arguments
    ---------
    path : str or Path
        The file.
    ids : sequence of str
        Names of the mixtures in the order of the CSV files, which must be
        the order of this file.
    fs : int
        8000 or 16000 Hz.
    mode : str
        "min" or "max".

    Returns
    -------
    PublishedGains
        One row a mixture.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it is damaged, or its rows are others.

    Example
    -------
    >>> read_gains("scaling_tr.npz", [], 8000, "min")
    Traceback (most recent call last):
    FileNotFoundError: scaling_tr.npz: no such file of gains; ...
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(
            f"{path}: no such file of gains; it is published in {SERVER}"
        )
    suffix = f"{fs // 1000}k_{mode}"
    keys = {
        "talkers": f"scaling_wsjmix_{suffix}",
        "speech": f"scaling_wham_speech_{suffix}",
        "noise": f"scaling_wham_noise_{suffix}",
        "speech_start": "speech_start_sample_16k",
    }
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[key] for name, key in keys.items()}
        found = _pickled_strings(path, "utterance_id.npy")
    except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile) as e:
        raise ValueError(
            f"{path}: cannot be read as the published gains at {suffix} "
            f"({e!r}; {path.stat().st_size} bytes); get it again from {SERVER}"
        ) from e
    for name, array in arrays.items():
        if len(array) != len(ids):
            raise ValueError(
                f"{path}: {len(array)} rows of {keys[name]}, but the CSV files "
                f"beside it have {len(ids)}; they do not belong together"
            )
    if found and found != [str(name) for name in ids]:
        raise ValueError(
            f"{path}: its mixtures are not those of the CSV files beside it, "
            "or in another order; get all of them again"
        )
    return PublishedGains(**arrays)


def _pickled_strings(path, member):
    """Strings in a pickled array of an npz file, which is not executed.

    Strings that occur twice are there once; the ids of mixtures do not.
    """
    with zipfile.ZipFile(path) as archive:
        if member not in archive.namelist():
            return []
        with archive.open(member) as file:
            version = np.lib.format.read_magic(file)
            if version == (1, 0):
                np.lib.format.read_array_header_1_0(file)
            else:
                np.lib.format.read_array_header_2_0(file)
            content = file.read()
    return [
        value
        for opcode, value, _ in pickletools.genops(content)
        if isinstance(value, str) and value.endswith(".wav")
    ]


def read_rows(path, columns):
    """Read a published CSV file.

    Arguments
    ---------
    path : str or Path
        The file.
    columns : sequence of str
        Columns it must have.

    Returns
    -------
    list of dict
        The rows, all values text.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If a column is missing or there is no row.

    Example
    -------
    >>> path = getfixture("tmp_path") / "a.csv"
    >>> _ = path.write_text("x,y\\n1,2\\n")
    >>> read_rows(path, ["x"])
    [{'x': '1', 'y': '2'}]
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(
            f"{path}: no such list of mixtures; it is published in {SERVER}. "
            "Give the folder of the lists as metadata_folder, or have them "
            "fetched by download True"
        )
    with open(path, newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        missing = set(columns) - set(reader.fieldnames or ())
        if missing:
            raise ValueError(
                f"{path}: no column {', '.join(sorted(missing))}; its header "
                f"is {reader.fieldnames}"
            )
        rows = list(reader)
    if not rows or any(None in (row[name] for name in columns) for row in rows):
        raise ValueError(f"{path}: empty or cut off; get it again")
    return rows


def read_published(folder, variant, split, *, fs=8000, mode="min"):
    """Read the published mixtures of a split.

    Arguments
    ---------
    folder : str or Path
        Folder of the published files.
    variant : str
        One of ``VARIANTS``.
    split : str
        "tr", "cv" or "tt".
    fs : int
        8000 or 16000 Hz: gains depend on it.
    mode : str
        "min" or "max": gains depend on it.

    Returns
    -------
    list of BinauralMixture
        In the published order. Utterances as ``wsj0/si_tr_s/...``. Of noise
        all is there but which stretch of which file: see
        ``spatial_brain.datasets.binaural_demand``. Gains are NaN for the
        training mixtures of three talkers if their file is unusable, which
        is logged.

    Raises
    ------
    FileNotFoundError
        If a file is missing.
    ValueError
        If files are damaged or do not belong together.

    Example
    -------
    >>> read_published("nowhere", "clean2", "tt")
    Traceback (most recent call last):
    FileNotFoundError: nowhere/mix_2_spk_filenames_tt.csv: no such list ...
    """
    check_variant(variant)
    files = {
        what: Path(folder, name)
        for what, name in files_of(variant, split).items()
    }
    numbers = range(1, 4 if variant == "clean3" else 3)
    columns = [f"s{n}_path" for n in numbers]
    rows = read_rows(files["utterances"], ["output_filename", *columns])
    places = _read_places(files["places"], variant, numbers, rows)
    ids = [row["output_filename"] for row in rows]
    gains = _gains(files["gains"], ids, fs, mode, len(numbers))
    return [
        _mixture(variant, [row[key] for key in columns], place, gains, index)
        for index, (row, place) in enumerate(zip(rows, places, strict=True))
    ]


def read_levels(folder, variant, split):
    """Levels of the talkers of published mixtures, out of their names.

    Arguments
    ---------
    folder : str or Path
        Folder of the published files.
    variant : str
        One of ``VARIANTS``.
    split : str
        "tr", "cv" or "tt".

    Returns
    -------
    list of list of float
        dB, one list a mixture, in the published order.

    Raises
    ------
    FileNotFoundError
        If the file is missing.
    ValueError
        If it is damaged.

    Example
    -------
    >>> folder = getfixture("tmp_path")
    >>> _ = (folder / "mix_2_spk_filenames_tt.csv").write_text(
    ...     "output_filename,s1_path\\na_1.5_b_-1.5.wav,x\\n"
    ... )
    >>> read_levels(folder, "clean2", "tt")
    [[1.5, -1.5]]
    """
    path = Path(folder, files_of(variant, split)["utterances"])
    return [
        [
            float(level)
            for level in Path(row["output_filename"]).stem.split("_")[1::2]
        ]
        for row in read_rows(path, ["output_filename"])
    ]


def _gains(path, ids, fs, mode, num_sources):
    """Gains of a split, NaN where the published ones cannot be had."""
    try:
        return read_gains(path, ids, fs, mode)
    except (FileNotFoundError, ValueError) as error:
        if path.name not in GIT_BLOBS:
            raise
        logger.warning(
            "%s; the gains of these mixtures will be computed anew by the rule "
            "of wsj0-mix, which comes close to the published ones but does not "
            "equal them",
            error,
        )
        one = np.ones(len(ids))
        unknown = np.full((len(ids), num_sources), np.nan)
        return PublishedGains(unknown, one, one, np.zeros(len(ids), int))


def _read_places(path, variant, numbers, rows):
    """Directions of the talkers of each mixture, as rows of text."""
    columns = ["utterance_id", *(f"azimuth{n}" for n in numbers)]
    if variant == "reverb":
        columns.append("reverb_time")
    else:
        columns.append("subject")
        columns += [f"elevation{n}" for n in numbers]
        columns += [f"elevation_index{n}" for n in numbers]
    places = read_rows(path, columns)
    names = [place["utterance_id"] for place in places]
    if names != [row["output_filename"] for row in rows]:
        raise ValueError(
            f"{path}: its mixtures are not those of the list of utterances "
            "beside it, or in another order; get both again"
        )
    return places


def _mixture(variant, utterances, place, gains, index):
    """One published mixture."""
    stems = [Path(name).stem for name in utterances]
    numbers = range(1, len(stems) + 1)
    azimuths = [place[f"azimuth{n}"] for n in numbers]
    values = {}
    if variant == "reverb":
        parts, polars = [place["reverb_time"]], [0.0] * len(stems)
        values["room"] = place["reverb_time"]
        values["t60"] = float(place["reverb_time"].strip("s").replace("_", "."))
        angles = [(azimuth,) for azimuth in azimuths]
    else:
        parts = [place["subject"]]
        values["head"] = place["subject"]
        angles = [(azimuths[n - 1], place[f"elevation{n}"]) for n in numbers]
        polars = [
            CIPIC_POLARS[int(place[f"elevation_index{n}"])] for n in numbers
        ]
    for stem, angle in zip(stems, angles, strict=True):
        parts += [stem, *angle]
    if variant == "noise":
        values["speech_gain"] = float(gains.speech[index])
        values["noise_gain"] = float(gains.noise[index])
        values["speech_start"] = int(gains.speech_start[index])
    return BinauralMixture(
        name="_".join(parts),
        utterances=utterances,
        speakers=[stem[:3] for stem in stems],
        gains=gains.talkers[index].tolist(),
        laterals=[float(azimuth) for azimuth in azimuths],
        polars=polars,
        **values,
    )
