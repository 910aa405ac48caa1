"""Corpora of ``spatial-brain synth`` as data to train on and to test with."""

import re
from pathlib import Path
from typing import NamedTuple

from spatial_brain.dataio.files import read_json
from spatial_brain.datasets.seld.files import Clip
from spatial_brain.datasets.synthetic_data import synthetic_options

CONTENTS = "corpus.json"
_NAME = re.compile(r"fold(?P<fold>\d+)_room(?P<room>\d+)_mix\d+")
_SHOWN = 3


class Corpus(NamedTuple):
    """What was found of a corpus of scenes.

    Arguments
    ---------
    clips : list of Clip
        One a scene, with its largest number of events at once.
    class_names : tuple of str
        In the order of the labels.
    dialect : str
        Format of the annotations.
    fs : int
        Hz.
    duration : float
        Seconds a clip.
    """

    clips: list
    class_names: tuple
    dialect: str
    fs: int
    duration: float


def is_corpus(folder):
    """Whether a folder holds a corpus of scenes, complete or not.

    Arguments
    ---------
    folder : str or Path
        The folder.

    Returns
    -------
    bool

    Example
    -------
    >>> is_corpus("nowhere")
    False
    """
    made = synthetic_options(folder)
    return made is not None and "sounds" in made


def read_corpus(folder, format):
    """Find the scenes of a corpus in one format.

    Arguments
    ---------
    folder : str or Path
        Folder that ``spatial-brain synth`` has filled.
    format : str
        ``"foa"`` or ``"mic"``.

    Returns
    -------
    Corpus

    Raises
    ------
    FileNotFoundError
        If it is not complete, or files are gone since.
    ValueError
        If it has no recordings in this format, or labels without elevation.

    Example
    -------
    >>> read_corpus(getfixture("tmp_path"), "foa")
    Traceback (most recent call last):
    FileNotFoundError: ...: no corpus.json; ...
    """
    folder = Path(folder)
    contents, made = folder / CONTENTS, synthetic_options(folder) or {}
    if not contents.is_file():
        raise FileNotFoundError(
            f"{folder}: no {CONTENTS}; run the command that writes this "
            f"corpus to its end, on all ranks, then 'spatial-brain synth "
            f"--merge {folder}'"
        )
    contents = read_json(contents)
    options = contents["options"]
    if made.get("scenes", options["scenes"]) != options["scenes"]:
        raise FileNotFoundError(
            f"{folder}: {CONTENTS} has {options['scenes']} scenes, "
            f"{made['scenes']} are wanted since; run the command that writes "
            f"them to its end, then 'spatial-brain synth --merge {folder}'"
        )
    if format not in options["formats"]:
        raise ValueError(
            f"{folder}: has the formats {', '.join(options['formats'])}, not "
            f"{format}; choose another --array_format"
        )
    if options["dialect"] == "dcase2025":
        raise ValueError(
            f"{folder}: its labels (dialect dcase2025) have no elevation; "
            "write it with another dialect"
        )
    return Corpus(
        _find_clips(folder, format, contents["files"], options),
        tuple(options["classes"]),
        options["dialect"],
        options["sample_rate"],
        options["duration"],
    )


def _find_clips(folder, format, files, options):
    """Clips of a corpus whose files are there as they were written."""
    wanted = {
        file: entry["bytes"]
        for file, entry in files.items()
        if file.startswith((f"{format}/", "metadata/"))
    }
    gone = [
        file
        for file, size in wanted.items()
        if not (folder / file).is_file()
        or (folder / file).stat().st_size != size
    ]
    if gone:
        names = ", ".join(gone[:_SHOWN]) + (", ..." * (len(gone) > _SHOWN))
        raise FileNotFoundError(
            f"{folder}: {len(gone)} of {len(wanted)} files are missing or not "
            f"what was written ({names}); run the command that writes the "
            "corpus again"
        )
    return [
        _clip(folder, Path(file), options)
        for file in wanted
        if file.startswith(f"{format}/")
    ]


def _clip(folder, file, options):
    """One scene."""
    parts = _NAME.fullmatch(file.stem).groupdict()
    record = read_json(folder / "scenes" / f"{file.stem}.json")
    room = f"{folder.name}: {parts['room']}"
    if options["rooms"] is None:
        room = f"{folder.name}: one a scene"
    return Clip(
        file.stem,
        folder / file,
        folder / "metadata" / f"{file.stem}.csv",
        fold=parts["fold"],
        room=room,
        overlap=f"ov{record['max_overlap']}",
    )
