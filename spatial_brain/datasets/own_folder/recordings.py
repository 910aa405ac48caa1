"""Which recordings a user has: files of any names, their rooms and splits.

A table names them, or they are all that lie in a folder. Splits come from the
table or from folders; those that are missing are drawn by rooms.
"""

import os
from collections import defaultdict
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from spatial_brain.datasets.own_folder.annotations import SUFFIXES
from spatial_brain.datasets.own_folder.files import (
    SPLITS,
    audio_files,
    check_folder,
    logger,
    read_table,
)
from spatial_brain.datasets.splits import first_names, split_part
from spatial_brain.folders import find_files

TABLE = "recordings.csv"
_COLUMNS = "path[,annotation][,room][,split]"


@dataclass(frozen=True)
class Recording:
    """A recording of the user.

    Arguments
    ---------
    name : str
        Path without suffix, in the data folder.
    wav : Path
        Audio file.
    annotation : Path, optional
        None: there is none.
    room : str, optional
        None: not known.
    split : str, optional
        One of ``SPLITS``; None: not said.

    Example
    -------
    >>> Recording("a", Path("a.wav")).room is None
    True
    """

    name: str
    wav: Path
    annotation: Path = None
    room: str = None
    split: str = None


def find_recordings(data_folder, table=None, annotation_folder=None):
    """Recordings and their annotations, what has no partner left out.

    Arguments
    ---------
    data_folder : str or Path
        Searched with its sub-folders, unless there is a table.
    table : str or Path, optional
        CSV file ``path[,annotation][,room][,split]``, paths relative to the
        data folder; default ``recordings.csv`` in the data folder, if it is
        there.
    annotation_folder : str or Path, optional
        Where annotations lie; default: in the data folder, anywhere. One
        belongs to the recording of the same name without suffix; of several
        to that with most folders in common.

    Returns
    -------
    list of Recording
        Sorted by name.

    Raises
    ------
    FileNotFoundError
        If a folder or file is not there, or no recording has an annotation.
    ValueError
        If a table is malformed, or it is not clear what belongs together.

    Example
    -------
    >>> find_recordings(getfixture("tmp_path"))
    Traceback (most recent call last):
    FileNotFoundError: ...: no audio file (.wav, .flac, ...) in it
    """
    folder = check_folder(data_folder)
    if table is None and (folder / TABLE).is_file():
        table = folder / TABLE
    if table is None:
        found = [
            Recording(name, wav, split=_folder_split(name))
            for name, wav in audio_files(folder).items()
        ]
    else:
        found = _of_table(folder, Path(table))
    place = folder if annotation_folder is None else Path(annotation_folder)
    found = _with_annotations(found, check_folder(place), table)
    return sorted(found, key=lambda recording: recording.name)


def _folder_split(name):
    """Split that a folder of a path names."""
    parts = Path(name).parts[:-1]
    return next(filter(None, map(split_part, parts)), None)


def _of_table(folder, table):
    """Recordings that a table names."""
    remedy = f"write one with the columns {_COLUMNS}"
    found = {}
    for where, row in read_table(table, ("path",), remedy):
        wav = folder / row["path"]
        inside = wav.is_relative_to(folder) and ".." not in wav.parts
        path = wav.relative_to(folder) if inside else Path(wav.name)
        name = path.with_suffix("").as_posix()
        if name in found:
            raise ValueError(
                f"{where}: {row['path']} and {found[name].wav} have the same "
                "name; remove or rename one"
            )
        if not wav.is_file():
            raise FileNotFoundError(f"{where}: {wav}: no such file")
        given = (row.get("split") or "").strip()
        split = split_part(given) if given else _folder_split(name)
        if given and split is None:
            raise ValueError(
                f"{where}: split is {given!r}, expected train, valid or test"
            )
        annotation = (row.get("annotation") or "").strip()
        if annotation and not (folder / annotation).is_file():
            raise FileNotFoundError(
                f"{where}: {folder / annotation}: no such file"
            )
        found[name] = Recording(
            name,
            wav,
            folder / annotation if annotation else None,
            (row.get("room") or "").strip() or None,
            split,
        )
    return list(found.values())


def _with_annotations(recordings, folder, table):
    """Recordings with annotations; what has no partner is named."""
    by_stem = defaultdict(list)
    own = None if table is None else Path(table).resolve()
    for path in find_files(folder, SUFFIXES):
        if path.resolve() != own:
            by_stem[path.stem].append(path)
    paired = [
        recording
        if recording.annotation
        else replace(recording, annotation=_partner(recording, by_stem, folder))
        for recording in recordings
    ]
    without = [r.name for r in paired if r.annotation is None]
    found = [r for r in paired if r.annotation is not None]
    if not found:
        raise FileNotFoundError(
            f"{folder}: none of {len(paired)} recordings has an annotation, a "
            f"{' or '.join(SUFFIXES)} of the same name such as "
            f"{Path(paired[0].name).name}.csv; give --annotation_folder, or a "
            f"table --recordings with the columns {_COLUMNS}"
        )
    if without:
        logger.warning(
            "%s: %d of %d recordings have no annotation and are left out: %s; "
            "write an empty one where nothing sounds",
            folder,
            len(without),
            len(paired),
            first_names(without),
        )
    used = {os.path.abspath(r.annotation) for r in found}
    alone = [
        path.relative_to(folder).as_posix()
        for paths in by_stem.values()
        for path in paths
        if os.path.abspath(path) not in used
    ]
    if alone:
        logger.warning(
            "%s: %d annotations have no recording and are left out: %s",
            folder,
            len(alone),
            first_names(alone),
        )
    return found


def _partner(recording, by_stem, folder):
    """Annotation of a recording, None if there is none."""
    stem = Path(recording.name).name
    parents = {*recording.wav.parts[:-1]}
    shared = [
        (len(parents & {*path.parts[:-1]}), path)
        for path in by_stem.get(stem, ())
    ]
    most = max(shared, default=(0, None))[0]
    best = [path for number, path in shared if number == most]
    if len(best) > 1:
        raise ValueError(
            f"{recording.wav}: is {best[0].relative_to(folder)} its "
            f"annotation, or {best[1].relative_to(folder)}? Name it in a "
            f"table --recordings with the columns {_COLUMNS}"
        )
    return best[0] if best else None


def assign_splits(
    recordings, *, valid_fraction=0.1, test_fraction=0.2, seed=0, where=""
):
    """Recordings with a split each; missing splits are drawn by rooms.

    If no recording has a split, all are drawn. If there is none for
    validation, or for the test, it is drawn from those for training. What is
    drawn is logged.

    Arguments
    ---------
    recordings : sequence of Recording
        All of them with a split, or none. One without a room counts as one
        of its own.
    valid_fraction, test_fraction : float
        Least shares of the recordings that are drawn.
    seed : int
        Of the draw.
    where : str or Path
        Their folder, for messages.

    Returns
    -------
    list of Recording
        In the same order.

    Raises
    ------
    ValueError
        If some have a split and others none, if there is none for training,
        or too few recordings to draw from.

    Example
    -------
    >>> found = [Recording(n, Path(n), room=n[0]) for n in ("a1", "a2", "b1")]
    >>> drawn = assign_splits([*found, Recording("c", Path("c"), room="c")])
    >>> drawn[0].split == drawn[1].split, len({r.split for r in drawn})
    (True, 3)
    """
    without = [r.name for r in recordings if r.split is None]
    if without and len(without) < len(recordings):
        raise ValueError(
            f"{where}: {len(without)} of {len(recordings)} recordings have no "
            f"split, {without[0]} among them; name it for all, or for none"
        )
    split = {r.name: r.split or "train" for r in recordings}
    if "train" not in split.values():
        raise ValueError(
            f"{where}: no recording is for training; name some in the column "
            "split, or put them into a folder train"
        )
    fractions = {"test": test_fraction, "valid": valid_fraction}
    missing = [part for part in fractions if part not in split.values()]
    if missing:
        _warn_of_unknown_rooms(recordings, where)
        training = [r for r in recordings if split[r.name] == "train"]
        drawn = _draw(training, missing, fractions, seed, where)
        split |= drawn
    result = [replace(r, split=split[r.name]) for r in recordings]
    _warn_of_shared_rooms(result, where)
    return result


def _warn_of_unknown_rooms(recordings, where):
    """Say that recordings of one room may be in several splits."""
    unknown = [r.name for r in recordings if r.room is None]
    if unknown:
        logger.warning(
            "%s: the room of %d of %d recordings is not known, each counts as "
            "a room of its own; if several are of one room, scores are too "
            "good: name it in a table with the columns %s",
            where,
            len(unknown),
            len(recordings),
            _COLUMNS,
        )


def _draw(recordings, missing, fractions, seed, where):
    """Name to a split that was drawn, room by room."""
    groups = defaultdict(list)
    for recording in recordings:
        groups[recording.room or f"\0{recording.name}"].append(recording)
    what = "rooms"
    if len(groups) <= len(missing):
        logger.warning(
            "%s: %d room(s) for %d splits: recordings are drawn whatever "
            "their room, and scores are those of known rooms",
            where,
            len(groups),
            len(missing) + 1,
        )
        what = "recordings"
        groups = {recording.name: [recording] for recording in recordings}
    if len(groups) <= len(missing):
        raise ValueError(
            f"{where}: {len(recordings)} recording(s) cannot be drawn into "
            f"train, {', '.join(missing)}; give more, or cut them into pieces"
        )
    names = sorted(groups)
    order = [
        names[k] for k in np.random.default_rng(seed).permutation(len(names))
    ]
    drawn = {}
    for number, part in enumerate(missing, 1):
        wanted, taken = fractions[part] * len(recordings), 0
        rooms = []
        # Each split that is still to come, and the training, need a room.
        while len(order) > len(missing) - number + 1 and (
            not rooms or taken < wanted
        ):
            rooms.append(order.pop())
            taken += len(groups[rooms[-1]])
            drawn |= {r.name: part for r in groups[rooms[-1]]}
        logger.info(
            "%s: %s drawn by %s with seed %d: %s",
            where,
            part,
            what,
            seed,
            first_names(room.removeprefix("\0") for room in rooms),
        )
    return drawn


def _warn_of_shared_rooms(recordings, where):
    """Name the rooms that training and test have in common."""
    rooms = {
        split: {r.room for r in recordings if r.split == split and r.room}
        for split in SPLITS
    }
    shared = rooms["train"] & rooms["test"]
    if shared:
        logger.warning(
            "%s: rooms in training and test: %s; scores are those of known "
            "rooms",
            where,
            first_names(shared),
        )
