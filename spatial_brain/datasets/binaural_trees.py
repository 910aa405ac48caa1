"""Sets of two-ear mixtures that lie on disk already.

Trees that ``generate_mixtures`` made describe themselves. Those of the
original generator of Binaural-WSJ0Mix say in the file names who speaks from
where; they are checked before they are used, since a generation that was
broken off looks like a finished one.
"""

import math
import os
import re
from pathlib import Path

import numpy as np
import soundfile

from spatial_brain.dataio.corpora import Utterance, read_headers
from spatial_brain.dataio.json_files import read_json
from spatial_brain.dataio.manifest import read_manifest
from spatial_brain.datasets.binaural_generation import (
    DESCRIPTIONS,
    RECORD,
    mixture_files,
)
from spatial_brain.datasets.binaural_mixtures import BinauralMixture
from spatial_brain.datasets.binaural_reader import mixture_entry
from spatial_brain.simulation.hrtf_grid import CIPIC_POLARS

_FIRST_NAMES = 5
# Mixtures whose samples are compared with the sum of their parts.
_SAMPLE = 20
_ROOM = re.compile(r"\d+_\d+s")
# Floats are rounded in each file on its own.
_FLOAT_TOLERANCE = 1e-5


def has_mixtures(folder):
    """Whether there are mixtures below the folder of a split.

    Arguments
    ---------
    folder : str or Path
        Such as ``2speakers/wav8k/min/tr``.

    Returns
    -------
    bool
        True also for an unfinished set.

    Example
    -------
    >>> has_mixtures("nowhere")
    False
    """
    return any(
        next(Path(folder, name).glob("*.wav"), None) is not None
        for name in ("mix", "mix_both")
    )


def is_generated(folder):
    """Whether the folder of a split was filled by ``generate_mixtures``.

    Arguments
    ---------
    folder : str or Path
        Folder of the split.

    Returns
    -------
    bool
        True also for an unfinished set.

    Example
    -------
    >>> is_generated("nowhere")
    False
    """
    return Path(folder, RECORD).is_file()


def parse_name(name, num_sources):
    """What the name of a mixture tells.

    Arguments
    ---------
    name : str
        ``<subject>_<utterance>_<azimuth>_<elevation>_...``, or in rooms
        ``<time>_<utterance>_<azimuth>_...``, without suffix.
    num_sources : int
        Talkers.

    Returns
    -------
    BinauralMixture
        Its gains are 1, which they were not.

    Raises
    ------
    ValueError
        If it is no such name.

    Example
    -------
    >>> parse_name("subject08_01aa0101_-80_0_02bb0202_65_62", 2).azimuths
    [80.0, -77.603]
    >>> parse_name("0_4s_01aa0101_-80_02bb0202_65", 2).t60
    0.4
    """
    room = _ROOM.match(name)
    angles = r"_(-?\d+)" if room else r"_(-?\d+)_(-?\d+)"
    match = re.fullmatch(
        r"(\d+_\d+s|[^_]+)" + (r"_(.+?)" + angles) * num_sources, name
    )
    if match is None:
        raise ValueError(
            f"{name}: expected <subject>_<utterance>_<azimuth>_<elevation>_... "
            f"or <time>_<utterance>_<azimuth>_... of {num_sources} talkers"
        )
    place, *parts = match.groups()
    step = 2 if room else 3
    utterances = parts[::step]
    values = {"head": place}
    polars = [0.0] * num_sources
    if room:
        t60 = float(place.strip("s").replace("_", "."))
        values = {"room": place, "t60": t60}
    else:
        polars = [
            min(CIPIC_POLARS, key=lambda p, text=text: abs(p - int(text)))
            for text in parts[2::3]
        ]
    return BinauralMixture(
        name=name,
        utterances=[f"{stem}.wav" for stem in utterances],
        speakers=[stem[:3] for stem in utterances],
        gains=[1.0] * num_sources,
        laterals=[float(text) for text in parts[1::step]],
        polars=polars,
        **values,
    )


def read_tree(folder, num_sources, fs, *, noise=False, count=None):
    """Entries of a finished split on disk, after checking it.

    Arguments
    ---------
    folder : str or Path
        Folder of the split, such as ``2speakers/wav8k/min/tr``.
    num_sources : int
        Talkers.
    fs : int
        Rate the files must have, Hz.
    noise : bool
        Whether there is noise: ``mix_both`` and ``noise``.
    count : int, optional
        How many mixtures there must be.

    Returns
    -------
    dict
        Name to ``mixture_entry``, in the order of the list they were
        generated from, else by name.

    Raises
    ------
    FileNotFoundError
        If there are no mixtures, or files of some are missing.
    ValueError
        If the number differs, a file has another rate, length or number of
        channels, a name tells nothing, or a mixture is not the sum of its
        parts.

    Example
    -------
    >>> read_tree("nowhere", 2, 8000)
    Traceback (most recent call last):
    FileNotFoundError: ...nowhere/mix: no mixtures; ...
    """
    folder = Path(os.path.abspath(folder))
    template = mixture_files(folder, "x", num_sources, noise)
    folders = [
        Path(path).parent
        for path in (
            template["mix_wav"],
            *template["sources_wav"],
            *([template["noise_wav"]] if noise else []),
        )
    ]
    names = _paired_names(folders)
    described = _descriptions(folder)
    if described is not None:
        count, names = len(described), _in_order(folder, names, described)
    if count is not None and len(names) != count:
        raise ValueError(
            f"{folder}: has {len(names)} mixtures, {count} were expected. The "
            "generation was not finished: run it again with the corpus of "
            "speech, or pass check_counts=False to use a part"
        )
    mixtures = {
        name: described[name]["mixture"]
        if described is not None
        else parse_name(name, num_sources).to_dict()
        for name in names
    }
    lengths = _lengths(folders, names, fs)
    for name in names[:: math.ceil(len(names) / _SAMPLE)]:
        _check_sum(folders, name)
    return {
        name: mixture_entry(
            BinauralMixture.from_dict(mixtures[name]),
            lengths[name] / fs,
            **mixture_files(folder, name, num_sources, noise),
        )
        for name in names
    }


def _paired_names(folders):
    """Names of mixtures that have all their files."""
    present = {
        folder: {path.stem for path in folder.glob("*.wav")}
        if folder.is_dir()
        else set()
        for folder in folders
    }
    names = set().union(*present.values())
    if not present[folders[0]]:
        raise FileNotFoundError(
            f"{folders[0]}: no mixtures; give the folder of Binaural-WSJ0Mix "
            "as data_folder, or the corpus of speech to generate them"
        )
    missing = [
        f"{folder.name}/{name}.wav"
        for folder in folders
        for name in sorted(names - present[folder])
    ]
    if missing:
        raise FileNotFoundError(
            f"{folders[0].parent}: {len(missing)} files are missing, the first "
            f"are {', '.join(missing[:_FIRST_NAMES])}. The generation was not "
            "finished: run it again with the corpus of speech, or remove the "
            "files of these mixtures"
        )
    return sorted(names)


def _descriptions(folder):
    """What a tree of ``generate_mixtures`` says of itself, or None."""
    if not is_generated(folder):
        return None
    if not read_json(folder / RECORD)["complete"]:
        raise ValueError(
            f"{folder}: the generation was not finished; run it again with the "
            "corpus of speech"
        )
    return read_manifest(folder / DESCRIPTIONS, keys=["mixture"])


def _in_order(folder, names, described):
    """Names in the order of the list, all of them."""
    if set(names) != set(described):
        odd = sorted(set(names) ^ set(described))
        raise ValueError(
            f"{folder}: {len(odd)} mixtures are there but not in "
            f"{DESCRIPTIONS}, or the other way round; the first is {odd[0]}. "
            "Remove the folder and generate it again"
        )
    return list(described)


def _lengths(folders, names, fs):
    """Samples of each mixture; its other files must be as large."""
    headers = read_headers(
        [
            Utterance(name, os.fspath(folders[0] / f"{name}.wav"), "")
            for name in names
        ],
        fs=fs,
        num_channels=2,
    )
    problems = []
    for header in headers:
        sizes = {
            folder.name: (folder / f"{header.id}.wav").stat().st_size
            for folder in folders
        }
        if len(set(sizes.values())) > 1:
            problems.append(f"{header.id} ({sizes} bytes)")
    if problems:
        raise ValueError(
            f"{folders[0].parent}: the files of {len(problems)} mixtures have "
            f"different sizes, the first is {problems[0]}; files were cut off. "
            "Remove those and generate them again"
        )
    return {header.id: header.num_samples for header in headers}


def _check_sum(folders, name):
    """Raise ValueError unless a mixture is the sum of its parts."""
    paths = [folder / f"{name}.wav" for folder in folders]
    floats = soundfile.info(paths[0]).subtype in ("FLOAT", "DOUBLE")
    dtype = "float32" if floats else "int16"
    mix, *parts = (
        soundfile.read(path, dtype=dtype)[0].astype(np.float64)
        for path in paths
    )
    error = mix - sum(parts)
    allowed = _FLOAT_TOLERANCE * max(1.0, np.abs(mix).max())
    if not floats:
        # Overflow wraps in the original, and each file is truncated.
        error = (error + 32768) % 65536 - 32768
        allowed = len(parts)
    if np.abs(error).max() > allowed:
        raise ValueError(
            f"{paths[0]}: is not the sum of its talkers in "
            f"{', '.join(folder.name for folder in folders[1:])}; these files "
            "do not belong together"
        )
