"""Binaural mixtures on disk: generated in parallel, found, checked.

The folders are those of Binaural-WSJ0Mix: ``mix``, ``s1``, ``s2`` and so on,
a file of the same name in each; with noise ``mix_both``, ``s1``, ``s2``,
``noise``. Trees that ``generate_mixtures`` made describe themselves:
``generation.json`` says what they were made of, ``mixtures.json`` describes
each mixture. Those of the original generator say in the file names who speaks
from where. They are checked before they are used, since a generation that was
broken off looks like a finished one.
"""

import hashlib
import json
import logging
import math
import os
import re
from functools import partial
from pathlib import Path

import numpy as np
import soundfile
from filelock import FileLock
from scipy.io import wavfile

from spatial_brain.atomic import atomic_path
from spatial_brain.dataio.files import (
    check_free_space,
    read_json,
    write_json,
)
from spatial_brain.dataio.manifest import read_manifest, write_manifest
from spatial_brain.dataio.parallel import progress, run_jobs
from spatial_brain.datasets.binaural_wsj0mix.brirs import room_t60
from spatial_brain.datasets.binaural_wsj0mix.rendering import (
    BinauralMixture,
    mixture_entry,
)
from spatial_brain.datasets.speech.corpora import read_headers
from spatial_brain.datasets.speech.layouts import Utterance
from spatial_brain.folders import find_files
from spatial_brain.simulation.hrtf.grid import CIPIC_POLARS

_RECORD = "generation.json"
_DESCRIPTIONS = "mixtures.json"
# Mixtures in a job: each gets its own copy of the responses.
_JOB = 50
# A process takes as long to start as it would for some 300 mixtures.
_WORTH_A_PROCESS = 500
# Bytes in front of the samples: 44 of integers, more of floats.
_HEADER, _LONGEST_HEADER = 44, 256
# Missing files that an error names.
_FIRST_NAMES = 5
# Mixtures whose samples are compared with the sum of their parts.
_SAMPLE = 20
# Floats are rounded in each file on its own.
_FLOAT_TOLERANCE = 1e-5
_ROOM = re.compile(r"\d+_\d+s")

logger = logging.getLogger(__name__)


def generate_mixtures(folder, entries, renderer, *, num_workers=1):
    """Write the files of mixtures that are not there yet.

    A file appears complete or not at all, and the mixture last; what has the
    expected size is kept. So a run may be killed at any moment and repeated.

    Arguments
    ---------
    folder : str or Path
        Folder of one split.
    entries : dict
        Name to ``mixture_entry`` of mixtures to be made (``mixture`` and
        ``duration``).
    renderer : MixtureRenderer
        Makes them; must be picklable with more than one worker.
    num_workers : int
        Processes at most; for a few mixtures none is started.

    Returns
    -------
    dict
        The entries with ``mix_wav``, ``sources_wav``, ``noise_wav``.

    Raises
    ------
    ValueError
        If the folder holds files of other mixtures, or made in another way,
        or files of speech are not those the list was made for.
    OSError
        If the disk has no room for them.
    ChildProcessError
        If a worker was killed.

    Example
    -------
    >>> import torch
    >>> from spatial_brain.dataio.audio import write_audio
    >>> from spatial_brain.datasets.binaural_wsj0mix.rendering import (
    ...     MixtureRenderer,
    ... )
    >>> from spatial_brain.simulation.hrtf import spherical_head_hrtfs
    >>> folder = getfixture("tmp_path")
    >>> write_audio(folder / "a.wav", 0.1 * torch.rand(4000), 16000)
    >>> hrtfs = spherical_head_hrtfs(8000, ["subject03"])
    >>> mixture = BinauralMixture(
    ...     "x", ("a.wav",), ("a",), (1.0,), (-45.0,), head="subject03"
    ... )
    >>> entries = {"x": mixture_entry(mixture, 0.25)}
    >>> renderer = MixtureRenderer(folder, hrtfs, 8000)
    >>> entries = generate_mixtures(folder / "tr", entries, renderer)
    >>> wavfile.read(entries["x"]["mix_wav"])[1].shape
    (2000, 2)
    """
    folder = Path(os.path.abspath(folder))
    folder.mkdir(parents=True, exist_ok=True)
    entries = {name: dict(entry) for name, entry in entries.items()}
    for name, entry in entries.items():
        content = entry["mixture"]
        entry |= _mixture_files(
            folder, name, len(content["gains"]), bool(content.get("noise"))
        )
    # What is finished may lie on a disk that is read-only.
    begun = (folder / _RECORD).is_file()
    if begun and _claim(folder, entries, renderer)["complete"]:
        if not _missing(entries, renderer):
            return entries
    with FileLock(folder / ".generation.lock"):
        record = _claim(folder, entries, renderer)
        todo = _missing(entries, renderer)
        if todo:
            _write_all(folder, todo, len(entries), renderer, num_workers)
        if todo or not record["complete"]:
            write_manifest(folder / _DESCRIPTIONS, _descriptions(entries))
            write_json(folder / _RECORD, record | {"complete": True})
    return entries


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
    return Path(folder, _RECORD).is_file()


def read_tree(folder, num_sources, fs, *, noise=False, count=None):
    """Entries of a finished split on disk, after checking it.

    Arguments
    ---------
    folder : str or Path
        Folder of the split, such as ``2speakers/wav8k/min/tr``.
    num_sources : int
        Sources in a mixture.
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
        channels, a name is none of Binaural-WSJ0Mix, or a mixture is not the
        sum of its parts.

    Example
    -------
    >>> read_tree("nowhere", 2, 8000)
    Traceback (most recent call last):
    FileNotFoundError: ...nowhere/mix: no mixtures; ...
    """
    folder = Path(os.path.abspath(folder))
    *parts, mix = _paths(_mixture_files(folder, "x", num_sources, noise))
    folders = [Path(path).parent for path in (mix, *parts)]
    names = _paired_names(folders)
    described = _folder_descriptions(folder)
    if described is not None:
        count, names = len(described), _in_order(folder, names, described)
    if count is not None and len(names) != count:
        raise ValueError(
            f"{folder}: has {len(names)} mixtures, {count} were expected. The "
            "generation was not finished: run it again with the corpus of "
            "speech, or pass --check_counts False to use a part"
        )
    mixtures = {
        name: described[name]["mixture"]
        if described is not None
        else _parse_name(name, num_sources).to_dict()
        for name in names
    }
    lengths = _lengths(folders, names, fs)
    for name in names[:: math.ceil(len(names) / _SAMPLE)]:
        _check_sum(folders, name)
    return {
        name: mixture_entry(
            BinauralMixture.from_dict(mixtures[name]),
            lengths[name] / fs,
            **_mixture_files(folder, name, num_sources, noise),
        )
        for name in names
    }


def _mixture_files(folder, name, num_sources, noise=False):
    """``mix_wav``, ``sources_wav`` and maybe ``noise_wav`` of a mixture."""
    folder = os.fspath(folder)
    files = {
        "mix_wav": f"{folder}/{'mix_both' if noise else 'mix'}/{name}.wav",
        "sources_wav": [
            f"{folder}/s{number + 1}/{name}.wav"
            for number in range(num_sources)
        ],
    }
    if noise:
        files["noise_wav"] = f"{folder}/noise/{name}.wav"
    return files


def _descriptions(entries):
    """Entries without the places of files."""
    return {
        name: {key: entry[key] for key in ("duration", "mixture")}
        for name, entry in entries.items()
    }


def _claim(folder, entries, renderer):
    """Record what a folder is filled with; refuse another filling."""
    wanted = {
        "fs": renderer.fs,
        "mode": renderer.mode,
        "compat": sorted(renderer.compat),
        "num_mixtures": len(entries),
        "responses": getattr(renderer.hrtfs, "fingerprint", None),
        "mixtures": _digest(entries),
    }
    path = folder / _RECORD
    if path.is_file():
        record = read_json(path)
        others = [key for key in wanted if record.get(key) != wanted[key]]
        if others:
            raise ValueError(
                f"{folder}: was generated in another way: {', '.join(others)} "
                f"differ from {path.name}. Remove the folder, or choose "
                "another --data_folder"
            )
        return record
    if any(folder.glob("*/*.wav")):
        raise ValueError(
            f"{folder}: holds audio files that were not generated here (no "
            f"{_RECORD}); choose another --data_folder, or leave out "
            "--wsj_root and --speech_folder to use what is there"
        )
    record = wanted | {"complete": False}
    write_json(path, record)
    return record


def _digest(entries):
    """Checksum of descriptions, without the places of speech and noise."""
    checksum = hashlib.sha256()
    for name, entry in entries.items():
        content = dict(entry["mixture"])
        for key in ("utterances", "noise"):
            content.pop(key, None)
        checksum.update(json.dumps([name, content], sort_keys=True).encode())
    return checksum.hexdigest()


def _num_samples(entry, fs):
    """Length of a mixture in samples, by its entry; a begun sample counts."""
    return math.ceil(round(entry["duration"] * fs, 6))


def _bytes_per_sample(entry, renderer):
    """Bytes of both ears: floats only where the original has them."""
    floats = "noise_wav" in entry and "wrap_int16" in renderer.compat
    return 8 if floats else 4


def _paths(entry):
    """Files of a mixture, the mixture last."""
    noise = [entry["noise_wav"]] if "noise_wav" in entry else []
    return [*entry["sources_wav"], *noise, entry["mix_wav"]]


def _folders(entries):
    """Folders of the files of mixtures, as text."""
    return {os.path.dirname(p) for e in entries.values() for p in _paths(e)}


def _missing(entries, renderer):
    """Mixtures of which a file is missing or has another size."""
    sizes = {}
    for parent in _folders(entries):
        if os.path.isdir(parent):
            with os.scandir(parent) as files:
                sizes |= {file.path: file.stat().st_size for file in files}
    todo = {}
    for name, entry in entries.items():
        least = _HEADER + _num_samples(entry, renderer.fs) * _bytes_per_sample(
            entry, renderer
        )
        if not all(
            least <= sizes.get(path, 0) <= least + _LONGEST_HEADER
            for path in _paths(entry)
        ):
            todo[name] = entry
    return todo


def _write_all(folder, todo, total, renderer, num_workers):
    """Generate mixtures, with a look at the disk before."""
    size = sum(
        len(_paths(entry))
        * (_HEADER + _num_samples(entry, renderer.fs))
        * _bytes_per_sample(entry, renderer)
        for entry in todo.values()
    )
    logger.info(
        "%s: generating %d of %d mixtures, %.2f GB",
        folder,
        len(todo),
        total,
        size / 1e9,
    )
    check_free_space(folder, size, f"generating {folder}")
    for parent in _folders(todo):
        Path(parent).mkdir(exist_ok=True)
        for leftover in Path(parent).glob(".*.tmp"):
            leftover.unlink()
    names = list(todo)
    jobs = [
        [todo[name] for name in names[first : first + _JOB]]
        for first in range(0, len(names), _JOB)
    ]
    with progress(
        total=total,
        initial=total - len(todo),
        description=folder.name,
        unit="mix",
    ) as bar:
        make = partial(_write_mixtures, renderer)
        worth = math.ceil(len(todo) / _WORTH_A_PROCESS)
        num_workers = min(num_workers, worth)
        for index, _ in run_jobs(make, jobs, num_workers):
            bar.update(len(jobs[index]))


def _write_mixtures(renderer, entries):
    """Render and write the mixtures of one job."""
    for entry in entries:
        signals = renderer.render(BinauralMixture.from_dict(entry["mixture"]))
        expected = _num_samples(entry, renderer.fs)
        if len(signals["mix"]) != expected:
            raise ValueError(
                f"mixture {entry['mixture']['name']}: has "
                f"{len(signals['mix'])} samples, by its list {expected}; files "
                "of speech have changed, make the list again"
            )
        noise = "noise_wav" in entry
        signals = _stored(signals, noise, "wrap_int16" in renderer.compat)
        folders = {entry["mix_wav"]: signals.pop("mix")}
        if noise:
            folders = {entry["noise_wav"]: signals.pop("noise"), **folders}
        sources = signals.pop("sources")
        folders = {
            **{p: sources[..., i] for i, p in enumerate(entry["sources_wav"])},
            **{_beside(entry["mix_wav"], k): s for k, s in signals.items()},
            **folders,
        }
        for path, samples in folders.items():
            _write_wav(path, samples, renderer.fs)


def _beside(path, folder):
    """Path of the file of the same name in another folder."""
    path = Path(path)
    parent = path.parent.with_name(folder)
    parent.mkdir(exist_ok=True)
    return os.fspath(parent / path.name)


def _stored(signals, noise, as_in_original):
    """Samples as they are written: integers that sum up, or 32-bit floats."""
    arrays = {
        key: value.numpy()
        for key, value in signals.items()
        if key != "gain" and value is not None
    }
    if as_in_original:
        if noise:
            return arrays
        # Exact: these are integers divided by 32768.
        return {
            key: (value * 32768).astype(np.int16)
            for key, value in arrays.items()
        }
    parts = {
        key: np.rint(value * 32768.0).astype(np.int16)
        for key, value in arrays.items()
        if key != "mix"
    }
    mix = parts["sources"].sum(-1, dtype=np.int16)
    return parts | {"mix": mix + parts["noise"] if noise else mix}


def _write_wav(path, samples, fs):
    """Write samples as they are; the file is complete or not there."""
    # Not with libsndfile, which waits for the disk at each of 100 000 files.
    with atomic_path(path, sync=False) as temporary:
        wavfile.write(temporary, fs, samples)


def _parse_name(name, num_sources):
    """Mixture of the name of a file; its gains are 1, which they were not."""
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
        values = {"room": place, "t60": room_t60(place)}
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


def _paired_names(folders):
    """Names of mixtures that have all their files."""
    present = {
        folder: {path.stem for path in find_files(folder, ".wav", depth=0)}
        if folder.is_dir()
        else set()
        for folder in folders
    }
    names = set().union(*present.values())
    if not present[folders[0]]:
        raise FileNotFoundError(
            f"{folders[0]}: no mixtures; give the folder of Binaural-WSJ0Mix "
            "as --data_folder, or WSJ0 as --wsj_root to generate them"
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


def _folder_descriptions(folder):
    """What a tree of ``generate_mixtures`` says of itself, or None."""
    if not is_generated(folder):
        return None
    if not read_json(folder / _RECORD)["complete"]:
        raise ValueError(
            f"{folder}: the generation was not finished; run it again with the "
            "corpus of speech"
        )
    return read_manifest(folder / _DESCRIPTIONS, keys=["mixture"])


def _in_order(folder, names, described):
    """Names in the order of the list, all of them."""
    if set(names) != set(described):
        odd = sorted(set(names) ^ set(described))
        raise ValueError(
            f"{folder}: {len(odd)} mixtures are there but not in "
            f"{_DESCRIPTIONS}, or the other way round; the first is {odd[0]}. "
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
