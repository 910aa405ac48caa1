"""Files of the SELD data sets: folders, archives and records of Zenodo.

Audio and annotations stay where they are: in one folder, or in any
sub-folders (``dev-train-sony`` and the like). Files are matched by their
stems, whatever the folder.

Zenodo never changes a version of a record, and describes it by the name, size
and MD5 of every file: https://developers.zenodo.org/#files.
"""

import logging
import re
from dataclasses import dataclass
from pathlib import Path

from spatial_brain.dataio.archives import is_unpacked, marker_path, unpack
from spatial_brain.dataio.download import download
from spatial_brain.dataio.files import read_json
from spatial_brain.dataio.split_zip import open_zip
from spatial_brain.folders import find_files, find_folders

logger = logging.getLogger(__name__)

CLIP_SUFFIXES = (".wav", ".flac")
SERVER = "https://zenodo.org"
_ARCHIVE_SUFFIXES = (".zip", ".zip.001", ".tar.gz", ".tar")


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
        As its name has them.
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


def _find_folder(data_folder, name, depth=3):
    """Folder of a name at most ``depth`` levels down, nearest to the top."""
    level = [Path(data_folder)]
    for _ in range(depth):
        level = [path for parent in level for path in find_folders(parent)]
        found = [path for path in level if path.name == name]
        if len(found) > 1:
            raise ValueError(
                f"{data_folder}: holds {found[0]} and {found[1]}; give the "
                "folder that is meant as --data_folder"
            )
        if found:
            return found[0]
    return None


def unpack_part(data_folder, part):
    """Unpack the archive of a part of a data set, if it needs to be.

    Archives are ``<part>.zip`` (with ``.z01`` ... beside it, if split),
    ``<part>.zip.001`` or ``<part>.tar.gz`` in the data folder. A folder put
    there by hand is left alone; unpacking that was interrupted is finished.

    Arguments
    ---------
    data_folder : str or Path
        Holds archives or folders.
    part : str
        Such as ``"foa_dev"``.

    Returns
    -------
    Path or None
        The folder of the part; None if there is neither folder nor archive.

    Raises
    ------
    ValueError
        If the archive is damaged or unsafe, or two folders of the same level
        have the name of the part.
    FileNotFoundError
        If a part of a split archive is missing, or the archive is gone
        before everything was unpacked.

    Example
    -------
    >>> import zipfile
    >>> folder = getfixture("tmp_path")
    >>> with zipfile.ZipFile(folder / "foa_dev.zip", "w") as file:
    ...     file.writestr("foa_dev/dev-test/a.wav", "")
    >>> unpack_part(folder, "foa_dev").name
    'foa_dev'
    """
    data_folder = Path(data_folder)
    found = _find_folder(data_folder, part)
    half = is_half_unpacked(data_folder, part)
    if found is not None and not half:
        return found
    for suffix in _ARCHIVE_SUFFIXES:
        archive = data_folder / (part + suffix)
        if archive.is_file():
            unpack(archive, _place_for(archive, part))
            return _find_folder(data_folder, part)
    if half:
        raise FileNotFoundError(
            f"{data_folder / part}: unpacking was interrupted, and the archive "
            f"{part}.zip is gone; put it back, or remove the folder and the "
            f"hidden files .{part}.*.unpacked.json"
        )
    return None


def is_half_unpacked(data_folder, part):
    """Whether unpacking the archive of a part was begun and not finished.

    Arguments
    ---------
    data_folder : str or Path
        Where ``unpack_part`` unpacked it.
    part : str
        Such as ``"foa_dev"``.

    Returns
    -------
    bool
        False also for a folder that was put there by hand.

    Example
    -------
    >>> is_half_unpacked(getfixture("tmp_path"), "foa_dev")
    False
    """
    places = (Path(data_folder), Path(data_folder, part))
    return any(
        marker_path(part + suffix, place).exists()
        and not is_unpacked(part + suffix, place)
        for place in places
        for suffix in _ARCHIVE_SUFFIXES
    )


def _place_for(archive, part):
    """Where to unpack, so that the files end up in a folder of the part."""
    if archive.name.endswith((".zip", ".zip.001")):
        with open_zip(archive) as file:
            tops = {name.split("/")[0] for name in file.namelist()}
        if part not in tops:
            return archive.parent / part
    return archive.parent


def _require_part(data_folder, part, remedy):
    """Folder of a part of a data set, unpacked if it is an archive."""
    if not Path(data_folder).is_dir():
        raise FileNotFoundError(f"{data_folder}: no such folder. {remedy}")
    folder = unpack_part(data_folder, part)
    if folder is None:
        raise FileNotFoundError(
            f"{data_folder}: no folder {part} and no archive {part}.zip. "
            f"{remedy}"
        )
    return folder


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
    found = {}
    for path in find_files(folder, suffixes, skip=skip):
        if not re.fullmatch(pattern, path.stem):
            continue
        if path.stem in found:
            raise ValueError(
                f"{folder}: {found[path.stem]} and {path} have the same name; "
                "remove the copy"
            )
        found[path.stem] = path
    return dict(sorted(found.items()))


def pair_clips(wavs, annotations, pattern, *, what, key=None):
    """Match audio files with annotations.

    Arguments
    ---------
    wavs : dict
        Stem to audio file, from ``list_files``.
    annotations : dict
        Stem to annotation.
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
            f"{what}: no audio file ({' or '.join(CLIP_SUFFIXES)}) in it; "
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
        events = annotations.get(key(stem) if key else stem)
        if events is None:
            missing.append(stem)
        clips.append(Clip(stem, wav, events, **match.groupdict()))
    used = {clip.events for clip in clips}
    alone = [path for path in annotations.values() if path not in used]
    if alone:
        logger.warning(
            "%s: %d of %d annotations have no audio and are left out, the "
            "first is %s; unpack the rest of the audio if they should not be",
            what,
            len(alone),
            len(annotations),
            alone[0],
        )
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
    metadata : str
        Folder of the annotations.
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
    >>> for name in ("foa_dev/mix001.wav", "metadata_dev/mix001.csv"):
    ...     (folder / name).parent.mkdir()
    ...     (folder / name).touch()
    >>> parts = "foa_dev", "metadata_dev"
    >>> clips = find_clips(folder, *parts, r"mix\\d+", "Get it")
    >>> [clip.id for clip in clips]
    ['mix001']
    """
    wavs = _require_part(data_folder, audio, remedy)
    annotations = list_files(
        _require_part(data_folder, metadata, remedy), (".csv",)
    )
    return pair_clips(
        list_files(wavs, CLIP_SUFFIXES), annotations, pattern, what=wavs
    )


def zenodo_remedy(record, parts):
    """How to get parts of a record of Zenodo; ends messages.

    Arguments
    ---------
    record : int
        Number of the record.
    parts : sequence of str
        Such as ``("foa_dev", "metadata_dev")``.

    Returns
    -------
    str
        Without a full stop.

    Example
    -------
    >>> zenodo_remedy(7880637, ["foa_eval"])[:53]
    'Put foa_eval of https://zenodo.org/records/7880637 th'
    """
    return (
        f"Put {' and '.join(parts)} of {SERVER}/records/{record} there "
        "(folders or archives), or pass --download True to fetch them"
    )


def _record_files(record, folder, *, server=SERVER, **options):
    """Name of each file of a record to ``"md5:<hex>"``."""
    path = Path(folder, f".zenodo-{record}.json")
    download(f"{server}/api/records/{record}", path, **options)
    try:
        return {
            file["key"]: file["checksum"] for file in read_json(path)["files"]
        }
    except (KeyError, TypeError, ValueError) as error:
        path.unlink()
        raise ValueError(
            f"{server}/api/records/{record}: not the description of a record "
            f"({error!r}); try later, or download the files by hand from "
            f"{server}/records/{record}"
        ) from error


def download_parts(
    record, parts, folder, *, server=SERVER, keep_archives=False, **options
):
    """Download and unpack the parts of a record that are missing.

    Arguments
    ---------
    record : int
        Number of the record.
    parts : sequence of str
        Such as ``("foa_dev", "metadata_dev")``; the archive of each is
        ``<part>.zip``, in one piece or split (``<part>.z01``, ...).
    folder : str or Path
        Where they are unpacked.
    server : str
        Address.
    keep_archives : bool
        Keep those that were downloaded after they were unpacked; archives
        that lay there before are always kept.
    **options
        Those of ``spatial_brain.dataio.download.download``.

    Raises
    ------
    DownloadError
        (an OSError) If a download fails; the same call continues it.
    ValueError
        If a checksum differs, or the record has no such part.

    Example
    -------
    >>> folder = getfixture("tmp_path")
    >>> (folder / "foa_dev").mkdir()
    >>> download_parts(7880637, ["foa_dev"], folder)  # there already
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    missing = [
        part
        for part in parts
        if _find_folder(folder, part) is None or is_half_unpacked(folder, part)
    ]
    if not missing:
        return
    checksums = _record_files(record, folder, server=server, **options)
    for part in missing:
        pattern = re.escape(part) + r"\.(z\d+|zip(\.\d{3})?)"
        names = sorted(n for n in checksums if re.fullmatch(pattern, n))
        if not names:
            raise ValueError(
                f"{server}/records/{record} has no archive of {part!r}; it has "
                f"{', '.join(sorted(checksums))}"
            )
        for name in names:
            archive, note = folder / name, folder / f".{name}.downloaded"
            # An archive that the user put there has no such note.
            if not archive.exists():
                note.touch()
            url = f"{server}/records/{record}/files/{name}?download=1"
            download(url, archive, checksums[name], **options)
        unpack_part(folder, part)
        for name in names:
            archive, note = folder / name, folder / f".{name}.downloaded"
            if note.exists() and not keep_archives:
                archive.unlink()
            note.unlink(missing_ok=True)
            (folder / f".{name}.lock").unlink(missing_ok=True)
