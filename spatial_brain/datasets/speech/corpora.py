"""Utterance lists of dry speech: who speaks, where, how long.

Known layouts, found by themselves or named:

* ``librispeech``: ``<split>/<speaker>/<chapter>/<speaker>-<chapter>-<n>.flac``,
  with or without the folder ``LibriSpeech`` around it;
* ``wsj0``: ``[wsj0/]<si_tr_s|...>/<speaker>/<utterance>.(wav|wv1|sph)``, also
  below the disc folders of the LDC, upper or lower case;
* ``csv``: a table with the columns ``path``, ``speaker`` and, if wanted,
  ``split`` and ``id``; paths are absolute or relative to the table's folder
  or to the folder above it;
* ``speakers``: a folder whose sub-folders are speakers, at most with folders
  ``train``, ``valid``, ``test`` (or ``dev``, ``eval``) around them;
* ``flat``: one folder of files whose names begin with the speaker, up to the
  first ``-`` or ``_``.
"""

import csv
import logging
import re
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from spatial_brain.dataio.audio import (
    AUDIO_SUFFIXES,
    check_audio,
    list_problems,
    scan_headers,
)
from spatial_brain.datasets.speech.wsj0 import list_wsj0
from spatial_brain.folders import find_files, find_folders, is_leftover

_LIBRISPEECH_FILE = re.compile(r"^(\d+)-(\d+)-(\d+)$")
_LIBRISPEECH_SPLIT = re.compile(r"^(train|dev|test)-(clean|other)")
_SPLIT_NAMES = frozenset(
    "train training valid dev validation test eval".split()
)


@dataclass(frozen=True, order=True)
class Utterance:
    """One recording of one speaker.

    Arguments
    ---------
    id : str
        Unique in its corpus.
    path : str
        Audio file.
    speaker : str
        Who speaks.
    split : str
        Name of the corpus's own split, None if it has none.
    num_samples : int
        Length; 0 before the header is read.
    fs : int
        Sampling rate, Hz; 0 before the header is read.

    Example
    -------
    >>> Utterance("19-198-0000", "a.flac", "19", None, 8000, 16000).duration
    0.5
    """

    id: str
    path: str
    speaker: str
    split: str | None = None
    num_samples: int = 0
    fs: int = 0

    @property
    def duration(self):
        """Duration in seconds."""
        return self.num_samples / self.fs


def find_layout(data_folder):
    """Find out how a corpus is laid out.

    Arguments
    ---------
    data_folder : str or Path
        Folder of the corpus, or its CSV table.

    Returns
    -------
    str
        One of ``LAYOUTS``.

    Raises
    ------
    ValueError
        If no layout fits.

    Example
    -------
    >>> find_layout("corpus/manifest.csv")
    'csv'
    """
    data_folder = Path(data_folder)
    if data_folder.suffix.lower() == ".csv" or _table(data_folder).is_file():
        return "csv"
    if _librispeech_splits(data_folder):
        return "librispeech"
    if list_wsj0(data_folder):
        return "wsj0"
    if any(_is_audio(path) for path in _children(data_folder)):
        return "flat"
    if find_files(data_folder, AUDIO_SUFFIXES):
        return "speakers"
    raise ValueError(
        f"{data_folder}: no audio files in a layout known here. Known: a "
        "LibriSpeech tree, a WSJ0 tree, a folder whose sub-folders are "
        "speakers, a folder of <speaker>-<name>.<suffix> files, or a CSV table "
        "with the columns path, speaker[, split]"
    )


def _children(folder):
    """Sorted content of a folder, without what systems leave there."""
    return sorted(p for p in folder.iterdir() if not is_leftover(p.name))


def _is_audio(path):
    """Whether a path is a visible file with a suffix of audio files."""
    return (
        path.suffix.lower() in AUDIO_SUFFIXES
        and not is_leftover(path.name)
        and path.is_file()
    )


def _librispeech_splits(data_folder):
    """Split folders of a LibriSpeech tree."""
    nested = data_folder / "LibriSpeech"
    root = nested if nested.is_dir() else data_folder
    if _LIBRISPEECH_SPLIT.match(root.name):
        return [root]
    return [
        path
        for path in _children(root)
        if _LIBRISPEECH_SPLIT.match(path.name) and path.is_dir()
    ]


def _read_librispeech(data_folder):
    """Utterances of a LibriSpeech tree."""
    for split in _librispeech_splits(data_folder):
        for path in find_files(split, ".flac", depth=2):
            match = _LIBRISPEECH_FILE.match(path.stem)
            if match is None or match[1] != path.parents[1].name:
                raise ValueError(
                    f"{path}: not named <speaker>-<chapter>-<number>.flac in "
                    "the folder of its speaker; remove it, or pass another "
                    "layout"
                )
            yield Utterance(path.stem, str(path), match[1], split.name)


def _read_wsj0(data_folder):
    """Utterances of a WSJ0 tree."""
    for file in list_wsj0(data_folder):
        yield Utterance(file.id, file.path, file.speaker, file.subset)


def _read_speakers(data_folder):
    """Utterances below folders of speakers, maybe below split folders."""
    folders = find_folders(data_folder)
    with_splits = folders and all(p.name in _SPLIT_NAMES for p in folders)
    for top in folders:
        for speaker in find_folders(top) if with_splits else [top]:
            for path in find_files(speaker, AUDIO_SUFFIXES):
                name = path.relative_to(speaker.parent).with_suffix("")
                yield Utterance(
                    "-".join(name.parts),
                    str(path),
                    speaker.name,
                    top.name if with_splits else None,
                )


def _read_flat(data_folder):
    """Utterances of one folder; their names begin with the speaker."""
    for path in filter(_is_audio, _children(data_folder)):
        speaker, *rest = re.split("[-_]", path.stem, maxsplit=1)
        if not rest or not speaker:
            raise ValueError(
                f"{path}: the name does not begin with a speaker and - or _; "
                "rename it, sort the files into one folder a speaker, or write "
                "a CSV table with the columns path, speaker"
            )
        yield Utterance(path.stem, str(path), speaker)


def _table(data_folder):
    """CSV table of a corpus, given itself or by its folder."""
    if data_folder.suffix.lower() == ".csv":
        return data_folder
    return data_folder / "manifest.csv"


def _read_csv(data_folder):
    """Utterances of a table with the columns path, speaker[, split, id]."""
    table = _table(data_folder)
    with open(table, newline="", encoding="utf-8-sig") as file:
        reader = csv.DictReader(file)
        missing = {"path", "speaker"} - set(reader.fieldnames or ())
        if missing:
            raise ValueError(
                f"{table}: no column {' and '.join(sorted(missing))}; its "
                f"header is {reader.fieldnames}"
            )
        for row in reader:
            where = f"{table}, line {reader.line_num}"
            if not row["path"] or not row["speaker"]:
                raise ValueError(f"{where}: path or speaker is empty")
            path = _resolve(table, row["path"], where)
            yield Utterance(
                row.get("id") or path.stem,
                str(path),
                row["speaker"],
                row.get("split") or None,
            )


def _resolve(table, text, where):
    """Absolute path of an entry of a table."""
    candidates = [table.parent / text, table.parent.parent / text]
    for candidate in candidates:
        if candidate.is_file():
            return candidate
    raise FileNotFoundError(
        f"{where}: no file {text!r}, neither in {table.parent} nor in "
        f"{table.parent.parent}"
    )


LAYOUTS = {
    "librispeech": _read_librispeech,
    "wsj0": _read_wsj0,
    "csv": _read_csv,
    "speakers": _read_speakers,
    "flat": _read_flat,
}


logger = logging.getLogger(__name__)


def list_utterances(
    data_folder,
    *,
    layout="auto",
    splits=None,
    fs=None,
    num_channels=1,
    on_corrupt="raise",
    num_workers=8,
):
    """Find the utterances of a corpus and read the headers of its files.

    Arguments
    ---------
    data_folder : str or Path
        Folder of the corpus, or its CSV table.
    layout : str
        One of ``LAYOUTS``; ``"auto"`` finds out.
    splits : sequence of str
        Only these splits of the corpus; None takes all.
    fs : int
        Rate every file must have, Hz; None accepts any.
    num_channels : int
        Number of channels every file must have; None accepts any.
    on_corrupt : str
        ``"raise"``, or ``"report"``: leave unusable files out, and log their
        names and number.
    num_workers : int
        Threads that read headers.

    Returns
    -------
    list of Utterance
        Sorted by id.

    Raises
    ------
    FileNotFoundError
        If the folder, or a split, is not there.
    ValueError
        If no layout fits, ids are not unique, or files are unusable.

    Example
    -------
    >>> import torch
    >>> from spatial_brain.dataio.audio import write_audio
    >>> folder = getfixture("tmp_path")
    >>> write_audio(folder / "ann" / "1.wav", torch.zeros(80), 16000)
    >>> write_audio(folder / "bob" / "1.wav", torch.zeros(90), 16000)
    >>> [(u.id, u.speaker, u.num_samples) for u in list_utterances(folder)]
    [('ann-1', 'ann', 80), ('bob-1', 'bob', 90)]
    """
    found = find_utterances(data_folder, layout)
    if splits is not None:
        found = _select_splits(data_folder, found, splits)
    return read_headers(
        found,
        fs=fs,
        num_channels=num_channels,
        on_corrupt=on_corrupt,
        num_workers=num_workers,
    )


def find_utterances(data_folder, layout="auto"):
    """Find the utterances of a corpus without reading any file.

    Arguments
    ---------
    data_folder : str or Path
        Folder of the corpus, or its CSV table.
    layout : str
        One of ``LAYOUTS``; ``"auto"`` finds out.

    Returns
    -------
    list of Utterance
        Sorted by id, lengths and rates not filled in.

    Raises
    ------
    FileNotFoundError
        If the folder is not there or holds no audio file.
    ValueError
        If no layout fits, or ids are not unique.

    Example
    -------
    >>> folder = getfixture("tmp_path")
    >>> (folder / "ann-1.wav").touch()
    >>> [(u.id, u.speaker) for u in find_utterances(folder)]
    [('ann-1', 'ann')]
    """
    data_folder = Path(data_folder)
    if not data_folder.exists():
        raise FileNotFoundError(
            f"{data_folder}: no such corpus; give the folder (or CSV table) of "
            "dry speech as data_folder"
        )
    if layout == "auto":
        layout = find_layout(data_folder)
    elif layout not in LAYOUTS:
        raise ValueError(
            f"layout must be one of {list(LAYOUTS)}, got {layout!r}"
        )
    found = sorted(LAYOUTS[layout](data_folder))
    if not found:
        raise FileNotFoundError(
            f"{data_folder}: no audio file found as layout {layout!r}"
        )
    _check_unique(data_folder, found)
    return found


def _select_splits(data_folder, found, splits):
    """Keep the utterances of some splits; name those missing."""
    present = sorted({u.split for u in found if u.split is not None})
    missing = [name for name in splits if name not in present]
    if missing:
        raise FileNotFoundError(
            f"{data_folder}: no split {', '.join(missing)}; there "
            f"{'are ' + ', '.join(present) if present else 'are no splits'}"
        )
    return [u for u in found if u.split in splits]


def _check_unique(data_folder, found):
    """Raise ValueError for the first id that occurs twice."""
    seen = {}
    for utterance in found:
        other = seen.setdefault(utterance.id, utterance)
        if other is not utterance:
            raise ValueError(
                f"{data_folder}: two files have the id {utterance.id!r}: "
                f"{other.path} and {utterance.path}; remove or rename one"
            )


def take_speakers(utterances, count, rng):
    """Hold out the utterances of some speakers.

    Arguments
    ---------
    utterances : list of Utterance
        Those of all speakers.
    count : int
        Number of speakers to take.
    rng : numpy.random.Generator
        Chooses them.

    Returns
    -------
    tuple of list of Utterance
        Those of the speakers taken, and those of the others.

    Example
    -------
    >>> import numpy as np
    >>> spoken = [Utterance(f"{s}1", f"{s}1.wav", s) for s in "abc"]
    >>> taken, others = take_speakers(spoken, 1, np.random.default_rng(0))
    >>> len(taken), len(others)
    (1, 2)
    """
    speakers = sorted({u.speaker for u in utterances})
    taken = {speakers[i] for i in rng.permutation(len(speakers))[:count]}
    return (
        [u for u in utterances if u.speaker in taken],
        [u for u in utterances if u.speaker not in taken],
    )


def check_speakers(data_folder, parts):
    """Raise ValueError if a speaker is in two parts of a corpus.

    Arguments
    ---------
    data_folder : str or Path
        Named in the message.
    parts : dict
        Name of each part to its utterances.

    Raises
    ------
    ValueError
        Names the first such speaker, and the parts.

    Example
    -------
    >>> one = [Utterance("a1", "a1.wav", "ann")]
    >>> check_speakers("corpus", {"train": one, "test": one})
    Traceback (most recent call last):
    ValueError: corpus: speaker ann is in train and in test; ...
    """
    owners = {}
    for name, utterances in parts.items():
        for utterance in utterances:
            owner = owners.setdefault(utterance.speaker, name)
            if owner != name:
                raise ValueError(
                    f"{data_folder}: speaker {utterance.speaker} is in {owner} "
                    f"and in {name}; choose parts without common speakers"
                )


def read_headers(
    found, *, fs=None, num_channels=1, on_corrupt="raise", num_workers=8
):
    """Fill in length and rate of utterances.

    Arguments
    ---------
    found : list of Utterance
        From ``find_utterances``.
    fs : int
        Rate every file must have, Hz; None accepts any.
    num_channels : int
        Number of channels every file must have; None accepts any.
    on_corrupt : str
        ``"raise"``, or ``"report"``: leave unusable files out, and log their
        names and number.
    num_workers : int
        Number of threads.

    Returns
    -------
    list of Utterance
        In the same order.

    Raises
    ------
    ValueError
        If files are unusable; gives their number and the first ten.

    Example
    -------
    >>> read_headers([Utterance("a", "nowhere.wav", "ann")])
    Traceback (most recent call last):
    ValueError: 1 of 1 files are unusable:
      [Errno 2] audio file does not exist; ...
    """
    if on_corrupt not in ("raise", "report"):
        raise ValueError(
            f'on_corrupt must be "raise" or "report", got {on_corrupt!r}'
        )
    infos, problems = scan_headers(
        [utterance.path for utterance in found],
        partial(check_audio, fs=fs, num_channels=num_channels),
        num_workers,
    )
    good = [
        replace(utterance, num_samples=info.num_samples, fs=info.fs)
        for utterance, info in zip(found, infos, strict=True)
        if info is not None
    ]
    if problems:
        text = list_problems(problems, len(found), "files")
        if on_corrupt == "raise" or not good:
            raise ValueError(text)
        logger.warning(text)
    return good
