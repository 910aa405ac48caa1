"""Dry sound events listed in tables: ESC-50, FSD50K, AudioSet, and one's own.

==========  ===================================================================
layout      what there is
==========  ===================================================================
ESC-50      ``meta/esc50.csv`` and ``audio/``; folds 1 to 3 are "train", 4 is
            "valid", 5 is "test"
FSD50K      ``FSD50K.ground_truth/{dev,eval}.csv`` and
            ``FSD50K.{dev,eval}_audio/``; "train", "val" and "test"
list        a file ``.csv`` or ``.tsv``, with the audio files in its folder or
            below: a column ``path``, ``filename``, ``fname``, ``YTID`` or
            ``segment_id``; a column ``label``, ``labels``, ``category``,
            ``event_label`` or ``positive_labels``, of several labels separated
            by commas; maybe ``onset``, ``start_seconds`` ... and ``offset``,
            ``end_seconds`` ... (seconds in the file), and ``split``. The lists
            of AudioSet, whose clips are cut already, are such files: their
            seconds are those of the video and are not used.
folder      anything else, see ``EventBank.from_folder``
==========  ===================================================================

A recording of several labels counts for the one class among those that are
wanted; with none or several of them it is left out.
"""

import csv
import logging
from pathlib import Path
from typing import NamedTuple

from spatial_brain.dataio.audio import AUDIO_SUFFIXES
from spatial_brain.datasets.seld.event_bank import EventBank, Recording
from spatial_brain.datasets.splits import take_split
from spatial_brain.folders import find_files

logger = logging.getLogger(__name__)

# Names of columns, lower case; the first that is there is taken.
_PATH = ("path", "filename", "fname", "ytid", "segment_id")
_LABELS = ("label", "labels", "category", "event_label", "positive_labels")
_START = ("active_start", "onset", "start", "start_seconds")
_STOP = ("active_end", "offset", "end", "end_seconds")
# Clips of AudioSet are cut from videos.
_VIDEO = ("ytid", "segment_id")
_ESC50_SPLITS = {"4": "valid", "5": "test"}


class _Row(NamedTuple):
    """A recording of a list: name or path of its file, labels, times, split."""

    where: str
    name: str
    labels: tuple
    start: float | None = None
    stop: float | None = None
    split: str = ""


def find_layout(source):
    """Layout of a folder or a table of sound events.

    Arguments
    ---------
    source : str or Path
        What ``open_events`` takes.

    Returns
    -------
    str
        "ESC-50", "FSD50K", "list" or "folder".

    Example
    -------
    >>> find_layout("sounds.csv"), find_layout("sounds")
    ('list', 'folder')
    """
    source = Path(source)
    if (source / "meta" / "esc50.csv").is_file():
        return "ESC-50"
    if (source / "FSD50K.ground_truth").is_dir():
        return "FSD50K"
    return "list" if source.suffix.lower() in (".csv", ".tsv") else "folder"


def open_events(source, *, split=None, class_names=None, interferers=()):
    """Bank of the sound events of a folder, a table or a published set.

    Arguments
    ---------
    source : str or Path
        A layout of this module.
    split : str, optional
        Take recordings of this split only.
    class_names : sequence of str, optional
        Classes in the order of their labels; by default all that are found
        and no interferers, sorted.
    interferers : sequence of str
        Classes of sounds that are not labelled.

    Returns
    -------
    EventBank

    Raises
    ------
    FileNotFoundError
        If the source or all of its audio files are missing.
    ValueError
        If a column is missing, a class has no recordings, or recordings have
        several labels and no classes are named.

    Example
    -------
    >>> import torch
    >>> from spatial_brain.dataio.audio import write_audio
    >>> folder = getfixture("tmp_path")
    >>> write_audio(folder / "a.wav", torch.rand(800), 8000)
    >>> _ = (folder / "list.csv").write_text("path,label\\na.wav,bark\\n")
    >>> open_events(folder / "list.csv").class_names
    ('bark',)
    """
    source, layout = Path(source), find_layout(source)
    if layout == "folder":
        return EventBank.from_folder(
            source,
            split=split,
            class_names=class_names,
            interferers=interferers,
        )
    readers = {"ESC-50": _read_esc50, "FSD50K": _read_fsd50k}
    rows, folder = readers.get(layout, _read_list)(source)
    if split is not None:
        wanted = take_split([row.split for row in rows], split, source)
        rows = [row for row in rows if row.split in wanted]
    wanted = None
    if class_names is not None:
        wanted = {*class_names, *interferers}
    found = _recordings(source, _with_one_label(source, rows, wanted), folder)
    names = class_names
    if class_names is None:
        names = sorted(found.keys() - set(interferers))
    return EventBank(
        {name: found.get(name, []) for name in names},
        {name: found.get(name, []) for name in interferers},
    )


def _with_one_label(source, rows, wanted):
    """Rows with exactly one wanted label, and that label."""
    chosen, left_out = [], 0
    for row in rows:
        labels = row.labels
        if wanted is not None:
            labels = [label for label in labels if label in wanted]
        elif len(labels) > 1:
            raise ValueError(
                f"{row.where}: has the labels {', '.join(labels)}; classes "
                "must list those that are wanted"
            )
        if len(labels) == 1:
            chosen.append((row, labels[0]))
        else:
            left_out += 1
    if left_out:
        logger.info(
            "%s: %d of %d recordings have none or several of the classes",
            source,
            left_out,
            len(rows),
        )
    return chosen


def _recordings(source, rows, folder):
    """Recordings by class, of those rows whose file is there."""
    files = {}
    for path in find_files(folder, AUDIO_SUFFIXES):
        files[path.stem] = files[path.relative_to(folder).as_posix()] = path
    found, missing = {}, []
    for row, label in rows:
        name = Path(row.name)
        path = files.get(name.as_posix(), files.get(row.name))
        # Names that begin with a dash get a letter from some downloaders.
        path = path or files.get(name.stem) or files.get(f"Y{row.name}")
        if path is None:
            missing.append(row.name)
        else:
            recording = Recording(path, row.start, row.stop)
            found.setdefault(label, []).append(recording)
    if missing:
        text = f"{source}: {len(missing)} of {len(rows)} recordings are not "
        text += f"below {folder} ({', '.join(missing[:3])})"
        if not found:
            raise FileNotFoundError(text)
        logger.warning("%s; they are left out", text)
    return found


def _read_esc50(folder):
    """Rows of ESC-50 and the folder of its audio files."""
    rows = [
        row._replace(split=_ESC50_SPLITS.get(row.split, "train"))
        for row in _read_rows(folder / "meta" / "esc50.csv", split="fold")
    ]
    return rows, folder / "audio"


def _read_fsd50k(folder):
    """Rows of FSD50K and the folder of its audio files."""
    rows = []
    for name in ("dev", "eval"):
        table = folder / "FSD50K.ground_truth" / f"{name}.csv"
        if table.is_file():
            rows += [
                row._replace(split=row.split or "test")
                for row in _read_rows(table)
            ]
    if not rows:
        raise FileNotFoundError(
            f"{folder / 'FSD50K.ground_truth'}: neither dev.csv nor eval.csv"
        )
    return rows, folder


def _read_list(path):
    """Rows of a table and the folder of its audio files."""
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such table of sound events")
    return _read_rows(path), path.parent


def _read_rows(path, split="split"):
    """Rows of a table."""
    with open(path, newline="", encoding="utf-8-sig") as file:
        lines = file.read().splitlines()
    # AudioSet has two lines about the list before the one of the columns.
    first = 0
    while first + 1 < len(lines) and lines[first + 1].startswith("#"):
        first += 1
    header = lines[first].lstrip("# ") if lines else ""
    mark = "\t" if "\t" in header else ","
    names = [name.strip().lower() for name in header.split(mark)]
    columns = {
        key: _column(names, known)
        for key, known in (
            ("path", _PATH),
            ("labels", _LABELS),
            ("start", _START),
            ("stop", _STOP),
            ("split", (split,)),
        )
    }
    for key, known in (("path", _PATH), ("labels", _LABELS)):
        if columns[key] is None:
            raise ValueError(
                f"{path}: has no column {', '.join(known[:-1])} or "
                f"{known[-1]}; found {', '.join(names)}"
            )
    reader = csv.reader(
        lines[first + 1 :], delimiter=mark, skipinitialspace=True
    )
    video = names[columns["path"]] in _VIDEO
    return [
        _row(path, first + 1 + reader.line_num, fields, columns, video)
        for fields in reader
        if fields
    ]


def _column(names, known):
    """Position of the first column that is there, None without one."""
    return next((names.index(name) for name in known if name in names), None)


def _row(path, line, fields, columns, video):
    """One row of a table."""
    where = f"{path}, line {line}"

    def field(key):
        position = columns[key]
        if position is None:
            return ""
        if position >= len(fields):
            raise ValueError(f"{where}: has {len(fields)} columns")
        return fields[position].strip()

    start = stop = None
    if not video and columns["start"] is not None:
        try:
            start, stop = float(field("start")), float(field("stop"))
        except ValueError:
            start, stop = 0.0, 0.0
        if not 0 <= start < stop:
            raise ValueError(
                f"{where}: expected seconds, 0 <= start < end, got "
                f"{field('start')!r} and {field('stop')!r}"
            )
    labels = [label.strip() for label in field("labels").split(",")]
    labels = tuple(dict.fromkeys(label for label in labels if label))
    return _Row(where, field("path"), labels, start, stop, field("split"))
