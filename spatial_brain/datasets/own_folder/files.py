"""What own folders share: tables, headers of audio files, splits.

A split is named by a column of a CSV file, or by folders ``train``, ``valid``
and ``test`` (``tr``, ``cv`` and ``tt`` as in WSJ0-2mix), or it is drawn file
by file with fractions that are asked for.
"""

import csv
import logging
import os
import zlib
from pathlib import Path

import numpy as np

from spatial_brain.dataio.audio import (
    AUDIO_SUFFIXES,
    AudioFileError,
    list_problems,
    scan_headers,
)
from spatial_brain.datasets.seld.checks import Manifests
from spatial_brain.folders import find_files

logger = logging.getLogger(__name__)

SPLITS = ("train", "valid", "test")
_FOLDERS = {
    **{name: name for name in SPLITS},
    **{"tr": "train", "cv": "valid", "tt": "test"},
}


def check_folder(data_folder):
    """The folder, checked to be there.

    Arguments
    ---------
    data_folder : str or Path
        Where the user's data lie.

    Returns
    -------
    Path
        The same.

    Raises
    ------
    FileNotFoundError
        If there is no such folder.

    Example
    -------
    >>> check_folder("nowhere")
    Traceback (most recent call last):
    FileNotFoundError: nowhere: no such folder; ...
    """
    folder = Path(data_folder)
    if not folder.is_dir():
        raise FileNotFoundError(
            f"{folder}: no such folder; give the one with your data as "
            "data_folder"
        )
    return folder


def audio_files(folder):
    """Audio files in a folder and below.

    Arguments
    ---------
    folder : str or Path
        Hidden files and folders in it are left out.

    Returns
    -------
    dict
        Path relative to the folder, without suffix, to the file; sorted.

    Raises
    ------
    FileNotFoundError
        If there is none.
    ValueError
        If two differ in their suffix alone.

    Example
    -------
    >>> audio_files(getfixture("tmp_path"))
    Traceback (most recent call last):
    FileNotFoundError: ...: no audio file (.wav, .flac, ...) in it
    """
    folder = Path(folder)
    found = {}
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder}: no such folder of audio files")
    for path in find_files(folder, AUDIO_SUFFIXES):
        name = path.relative_to(folder).with_suffix("").as_posix()
        if name in found:
            raise ValueError(
                f"{found[name]} and {path} have the same name; remove one"
            )
        found[name] = path
    if not found:
        raise FileNotFoundError(
            f"{folder}: no audio file (.wav, .flac, ...) in it"
        )
    return found


def read_table(path, columns, remedy):
    """Lines of a CSV file with a header.

    Arguments
    ---------
    path : str or Path
        The file.
    columns : sequence of str
        Those it must have, each filled in every line.
    remedy : str
        How to make such a file; ends the message if there is none.

    Returns
    -------
    list of tuple
        Where a line stands (file and number, for messages), and its values
        by column.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If a column or a value is missing, or there is no line.

    Example
    -------
    >>> path = getfixture("tmp_path") / "a.csv"
    >>> _ = path.write_text("file,azimuth\\na.wav,30\\n")
    >>> [row for _, row in read_table(path, ["file", "azimuth"], "")]
    [{'file': 'a.wav', 'azimuth': '30'}]
    >>> read_table(path, ["file", "split"], "")
    Traceback (most recent call last):
    ValueError: ...a.csv: no column split; its header is file,azimuth
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file; {remedy}")
    with open(path, newline="", encoding="utf-8-sig") as file:
        reader = csv.DictReader(file, skipinitialspace=True)
        header = reader.fieldnames or []
        missing = [name for name in columns if name not in header]
        if missing:
            raise ValueError(
                f"{path}: no column {', '.join(missing)}; its header is "
                + ",".join(header)
            )
        rows = [(f"{path}, line {reader.line_num}", row) for row in reader]
    for where, row in rows:
        for name in columns:
            if not row[name]:
                raise ValueError(f"{where}: {name} is empty")
    if not rows:
        raise ValueError(f"{path}: holds no line but its header")
    return rows


def check_headers(files, *, fs, num_channels, min_duration=0.0):
    """Read the headers of audio files and refuse those that do not fit.

    Arguments
    ---------
    files : sequence of str or Path
        The files.
    fs : int
        Sampling rate that each must have, Hz.
    num_channels : int
        Channels that each must have.
    min_duration : float
        Least length, seconds.

    Returns
    -------
    dict
        File to its number of samples.

    Raises
    ------
    ValueError
        Names the first ten files that are missing, damaged or do not fit,
        with their value and the remedy.

    Example
    -------
    >>> from spatial_brain.dataio.audio import write_audio
    >>> path = getfixture("tmp_path") / "a.wav"
    >>> write_audio(path, np.zeros((10, 2), "float32"), 8000)
    >>> check_headers([path], fs=8000, num_channels=2)[path]
    10
    >>> check_headers([path], fs=8000, num_channels=4)
    Traceback (most recent call last):
    ValueError: 1 of 1 audio files are unusable:
      ...a.wav: has 2 channels, expected 4; ...
    """

    def check(info):
        if info.num_channels != num_channels:
            raise AudioFileError(
                f"{info.path}: has {info.num_channels} channels, expected "
                f"{num_channels}; remove it, or write files of {num_channels}"
            )
        if info.fs != fs:
            raise AudioFileError(
                f"{info.path}: sampling rate is {info.fs} Hz, expected {fs} "
                "Hz; convert the file, or set sample_rate to that of all files"
            )
        if info.duration < min_duration:
            raise AudioFileError(
                f"{info.path}: lasts {info.duration:.2f} s, at least "
                f"{min_duration:g} s are needed; remove it, or shorten "
                "window_length"
            )

    infos, problems = scan_headers(files, check)
    if problems:
        raise ValueError(list_problems(problems, len(files), "audio files"))
    return {
        file: info.num_samples for file, info in zip(files, infos, strict=True)
    }


def named_split(where, row, path):
    """Split that a line of a table, or else a folder, names.

    Arguments
    ---------
    where : str
        Where the line stands, for messages.
    row : dict
        Its values; ``split`` may be missing or empty.
    path : str
        Of the file, relative to the data folder.

    Returns
    -------
    str or None
        One of ``SPLITS``; None if nothing is said.

    Raises
    ------
    ValueError
        If the table names another one.

    Example
    -------
    >>> named_split("", {"split": "valid"}, "a.wav")
    'valid'
    >>> named_split("", {}, "audio/test/a.wav"), named_split("", {}, "a.wav")
    ('test', None)
    >>> named_split("a.csv, line 2", {"split": "dev"}, "a.wav")
    Traceback (most recent call last):
    ValueError: a.csv, line 2: split is 'dev', expected train, valid or test
    """
    given = (row.get("split") or "").strip()
    if given in SPLITS:
        return given
    if given:
        raise ValueError(
            f"{where}: split is {given!r}, expected train, valid or test"
        )
    parents = Path(path).parts[:-1]
    return next((_FOLDERS[part] for part in parents if part in _FOLDERS), None)


def listed_splits(data_folder, names):
    """Splits of files as ``splits.csv`` or their folders name them.

    Arguments
    ---------
    data_folder : str or Path
        May hold ``splits.csv`` with the columns ``file`` (with or without
        suffix) and ``split``.
    names : sequence of str
        Recordings, relative to where they lie, without suffix.

    Returns
    -------
    dict
        Name to its split, or to None.

    Raises
    ------
    ValueError
        If the table names a file that is not there, or an unknown split.

    Example
    -------
    >>> listed_splits(getfixture("tmp_path"), ["train/a", "b"])
    {'train/a': 'train', 'b': None}
    """
    table = Path(data_folder, "splits.csv")
    if not table.is_file():
        return {name: named_split("", {}, name) for name in names}
    known, splits = set(names), dict.fromkeys(names)
    for where, row in read_table(table, ("file", "split"), ""):
        name = row["file"]
        if Path(name).suffix.lower() in AUDIO_SUFFIXES:
            name = Path(name).with_suffix("").as_posix()
        if name not in known:
            raise ValueError(
                f"{where}: there is no file {row['file']!r}; a name is that "
                f"of a recording such as {min(known)!r}"
            )
        splits[name] = named_split(where, row, name)
    return splits


def _split_files(splits, valid_fraction, test_fraction, seed, what, remedy):
    """Split to its names, sorted; drawn only if no name has a split."""
    without = sorted(name for name, split in splits.items() if split is None)
    fractions = (valid_fraction, test_fraction)
    if len(without) == len(splits):
        if fractions == (None, None):
            raise ValueError(
                f"{what}: no recording has a split; {remedy}, or draw them "
                "with valid_fraction and test_fraction such as 0.1"
            )
        splits = _draw(without, fractions, seed, what)
    elif without:
        raise ValueError(
            f"{what}: {len(without)} of {len(splits)} recordings have no "
            f"split, {without[0]} among them; {remedy} for all, or for none"
        )
    elif fractions != (None, None):
        raise ValueError(
            f"{what}: the recordings have splits of their own; set "
            "valid_fraction and test_fraction to null, or remove the splits"
        )
    sorted_out = {
        split: sorted(name for name, own in splits.items() if own == split)
        for split in SPLITS
    }
    for split, names in sorted_out.items():
        if not names:
            raise ValueError(
                f"{what}: no recording for {split}; name some ({remedy}), or "
                "give more recordings"
            )
    return sorted_out


def _draw(names, fractions, seed, what):
    """Name to a split that was drawn."""
    if None in fractions or not (min(fractions) > 0 and sum(fractions) < 1):
        raise ValueError(
            "valid_fraction and test_fraction must be above 0 and their sum "
            f"below 1, got {fractions[0]} and {fractions[1]}"
        )
    order = np.random.default_rng(seed).permutation(len(names))
    valid, test = (round(share * len(names)) for share in fractions)
    drawn = dict.fromkeys(names, "train")
    for place, index in enumerate(order[: valid + test]):
        drawn[names[index]] = "valid" if place < valid else "test"
    logger.info(
        "%s: splits drawn file by file, valid_fraction %g, test_fraction %g, "
        "seed %d; recordings of one room or talker may be in several",
        what,
        *fractions,
        seed,
    )
    return drawn


class OwnManifests(Manifests):
    """The manifests of an own folder, made anew when its files change.

    Arguments
    ---------
    data_folder : str or Path
        The data.
    save_folder : str or Path
        Where ``train.json``, ``valid.json`` and ``test.json`` go.
    files : sequence of str or Path
        All files that are used; their size and time of change count.
    content : Any
        Plain values that the entries hold beside, such as azimuths.
    options : dict
        What else the manifests depend on: ``fs`` (Hz), ``valid_fraction``,
        ``test_fraction``, ``seed`` and more.

    Example
    -------
    >>> folder = getfixture("tmp_path")
    >>> OwnManifests(folder, folder / "save", [], None, {"fs": 8000}).ready
    False
    """

    def __init__(self, data_folder, save_folder, files, content, options):
        self.data_folder = data_folder
        state = repr(([_state(path) for path in files], content))
        options = {**options, "checksum": zlib.crc32(state.encode())}
        super().__init__(save_folder, SPLITS, options)

    def write_splits(self, entries, splits, remedy, describe):
        """Write the entries of each split, and what there is in one line.

        Arguments
        ---------
        entries : dict
            Name of a file to its entry.
        splits : dict
            Name of a file to its split, or to None.
        remedy : str
            How a split is named.
        describe : callable
            ``describe(entries)`` says in words what the training recordings
            are, such as ``"4 channels"``.

        Raises
        ------
        ValueError
            If there is neither a split nor a fraction, or both; if some
            files have a split and others none; or if a split is empty.
        """
        parts = _split_files(
            splits,
            self.options["valid_fraction"],
            self.options["test_fraction"],
            self.options["seed"],
            os.fspath(self.data_folder),
            remedy,
        )
        found = {
            split: {name: entries[name] for name in names}
            for split, names in parts.items()
        }
        details = describe(found["train"])
        self.details = f"{self.options['fs']} Hz, {details}"
        self.write(found, self.data_folder)


def _state(path):
    """What changes when a file does; None if there is none."""
    if not os.path.isfile(path):
        return os.fspath(path), None
    found = os.stat(path)
    return os.fspath(path), found.st_size, found.st_mtime_ns
