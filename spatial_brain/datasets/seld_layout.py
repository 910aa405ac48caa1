"""What the SELD data sets share on disk: folders, and pairs of files.

Audio and annotations stay where they are: in one folder, or in any
sub-folders (``dev-train-sony`` and the like). Files are matched by their
stems, whatever the folder; hidden files and ``__MACOSX`` are left out.
"""

import os
import re
from dataclasses import dataclass
from pathlib import Path

from spatial_brain.datasets.seld_archives import is_junk, require_part

AUDIO_SUFFIXES = (".wav", ".flac")


@dataclass(frozen=True)
class Clip:
    """A recording and its annotation.

    Arguments
    ---------
    id : str
        Stem of the audio file.
    wav : Path
        Audio file.
    events : Path, optional
        Annotation; None: not published.
    fold, room, overlap : str, optional
        What the name says of it.
    num_samples : int
        Length; 0 until the header was read.

    Example
    -------
    >>> Clip("fold3_room4_mix001", Path("a.wav"), fold="3").room is None
    True
    """

    id: str
    wav: Path
    events: Path = None
    fold: str = None
    room: str = None
    overlap: str = None
    num_samples: int = 0


def list_files(folder, suffixes, pattern=".*", skip=None):
    """Files below a folder, by stem.

    Arguments
    ---------
    folder : str or Path
        Searched with all its sub-folders, links to folders too.
    suffixes : tuple of str
        Such as ``(".wav", ".flac")``.
    pattern : str
        Regular expression for the whole stem; other files are left out.
    skip : str, optional
        Regular expression of folders not to look into.

    Returns
    -------
    dict
        Stem to path, sorted by stem.

    Raises
    ------
    ValueError
        If two files have the same stem.

    Example
    -------
    >>> folder = getfixture("tmp_path")
    >>> (folder / "dev-test").mkdir()
    >>> (folder / "dev-test" / "fold4_room2_mix001.wav").touch()
    >>> list(list_files(folder, (".wav",)))
    ['fold4_room2_mix001']
    """
    found, seen = {}, set()
    for root, folders, names in os.walk(folder, followlinks=True):
        seen.add(os.path.realpath(root))
        folders[:] = sorted(
            name
            for name in folders
            if not is_junk(name)
            and not (skip and re.fullmatch(skip, name))
            and os.path.realpath(os.path.join(root, name)) not in seen
        )
        for name in names:
            stem, suffix = os.path.splitext(name)
            if is_junk(name) or suffix.lower() not in suffixes:
                continue
            if not re.fullmatch(pattern, stem):
                continue
            path = Path(root, name)
            if stem in found:
                raise ValueError(
                    f"{folder}: {found[stem]} and {path} have the same name; "
                    "remove the copy"
                )
            found[stem] = path
    return dict(sorted(found.items()))


def pair_clips(wavs, annotations, pattern, *, what, key=None):
    """Match audio files with annotations.

    Arguments
    ---------
    wavs : dict
        Stem to audio file, from ``list_files``.
    annotations : dict or None
        Stem to annotation; None: this part has none.
    pattern : str
        Regular expression every stem must match as a whole; its groups may
        be named ``fold``, ``room`` and ``overlap``.
    what : str or Path
        The folder, named in messages.
    key : callable, optional
        Stem of an audio file to that of its annotation; default: the same.

    Returns
    -------
    list of Clip
        Sorted by id.

    Raises
    ------
    FileNotFoundError
        If there is no audio at all, or annotations are missing.
    ValueError
        If a name does not match.

    Example
    -------
    >>> wavs = {"mix001": Path("mix001.wav")}
    >>> pair_clips(wavs, {}, r"mix\\d+", what="foa_eval")
    Traceback (most recent call last):
    FileNotFoundError: foa_eval: 1 of 1 clips have no annotation: mix001...
    """
    if not wavs:
        raise FileNotFoundError(
            f"{what}: no audio file ({' or '.join(AUDIO_SUFFIXES)}) in it; "
            "unpack the audio there"
        )
    clips, missing = [], []
    for stem, wav in wavs.items():
        match = re.fullmatch(pattern, stem)
        if match is None:
            raise ValueError(
                f"{wav}: unexpected name; names here look like {pattern}. "
                "Move the file elsewhere or rename it"
            )
        events = None
        if annotations is not None:
            events = annotations.get(key(stem) if key else stem)
            if events is None:
                missing.append(stem)
        clips.append(Clip(stem, wav, events, **match.groupdict()))
    if missing:
        names = ", ".join(missing[:5]) + (", ..." if len(missing) > 5 else "")
        raise FileNotFoundError(
            f"{what}: {len(missing)} of {len(clips)} clips have no annotation: "
            f"{names}. Unpack the metadata of the same version beside it"
        )
    return clips


def find_clips(data_folder, audio, metadata, pattern, remedy):
    """Clips of a part of a data set, with their annotations.

    Arguments
    ---------
    data_folder : str or Path
        Holds the folders, or their archives.
    audio : str
        Folder of the audio files, such as ``"foa_dev"``.
    metadata : str or None
        Folder of the annotations; None: there are none.
    pattern : str
        As for ``pair_clips``.
    remedy : str
        How to get what is missing.

    Returns
    -------
    list of Clip
        Sorted by id, lengths not filled in.

    Raises
    ------
    FileNotFoundError
        If a folder, or an annotation, is missing.
    ValueError
        If names are unexpected or not unique.

    Example
    -------
    >>> folder = getfixture("tmp_path")
    >>> (folder / "foa_eval").mkdir()
    >>> (folder / "foa_eval" / "mix001.wav").touch()
    >>> clips = find_clips(folder, "foa_eval", None, r"mix\\d+", "Get it")
    >>> [clip.id for clip in clips]
    ['mix001']
    """
    wavs = require_part(data_folder, audio, remedy)
    annotations = None
    if metadata is not None:
        annotations = list_files(
            require_part(data_folder, metadata, remedy), (".csv",)
        )
    return pair_clips(
        list_files(wavs, AUDIO_SUFFIXES), annotations, pattern, what=wavs
    )
