"""Archives of the parts of a SELD data set, unpacked where they lie."""

import os
from pathlib import Path

from spatial_brain.dataio.archives import is_unpacked, marker_path, unpack
from spatial_brain.dataio.split_zip import open_zip

ARCHIVE_SUFFIXES = (".zip", ".zip.001", ".tar.gz", ".tar")


def _subfolders(folder):
    """Folders in a folder, sorted; hidden ones are left out."""
    with os.scandir(folder) as entries:
        names = [
            entry.name
            for entry in entries
            if entry.is_dir() and not is_junk(entry.name)
        ]
    return [Path(folder, name) for name in sorted(names)]


def is_junk(name):
    """Whether a name is hidden or left by a Mac.

    Arguments
    ---------
    name : str
        Of a file or a folder.

    Returns
    -------
    bool
        True if it is no data.

    Example
    -------
    >>> is_junk("._fold1_room1_mix001.wav"), is_junk("foa_dev")
    (True, False)
    """
    return name.startswith(".") or name == "__MACOSX"


def find_folder(data_folder, name, depth=3):
    """Find a folder by its name, the one nearest to the top.

    Arguments
    ---------
    data_folder : str or Path
        Where to look.
    name : str
        Name of the folder.
    depth : int
        Levels to go down.

    Returns
    -------
    Path or None
        None if there is no such folder.

    Raises
    ------
    ValueError
        If two of the same level have the name.

    Example
    -------
    >>> folder = getfixture("tmp_path")
    >>> (folder / "STARSS23" / "foa_dev").mkdir(parents=True)
    >>> find_folder(folder, "foa_dev").relative_to(folder).as_posix()
    'STARSS23/foa_dev'
    """
    level = [Path(data_folder)]
    for _ in range(depth):
        level = [path for parent in level for path in _subfolders(parent)]
        found = [path for path in level if path.name == name]
        if len(found) > 1:
            raise ValueError(
                f"{data_folder}: holds {found[0]} and {found[1]}; give the "
                "folder that is meant as data_folder"
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
        If the archive is damaged or unsafe.
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
    found = find_folder(data_folder, part)
    half = is_half_unpacked(data_folder, part)
    if found is not None and not half:
        return found
    for suffix in ARCHIVE_SUFFIXES:
        archive = data_folder / (part + suffix)
        if archive.is_file():
            unpack(archive, _place_for(archive, part))
            return find_folder(data_folder, part)
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
        for suffix in ARCHIVE_SUFFIXES
    )


def _place_for(archive, part):
    """Where to unpack, so that the files end up in a folder of the part."""
    if archive.name.endswith((".zip", ".zip.001")):
        with open_zip(archive) as file:
            tops = {name.split("/")[0] for name in file.namelist()}
        if part not in tops:
            return archive.parent / part
    return archive.parent


def require_part(data_folder, part, remedy):
    """Folder of a part of a data set, unpacked if it is an archive.

    Arguments
    ---------
    data_folder : str or Path
        Holds archives or folders.
    part : str
        Such as ``"metadata_dev"``.
    remedy : str
        Ends the message.

    Returns
    -------
    Path
        The folder.

    Raises
    ------
    FileNotFoundError
        If there is neither folder nor archive.

    Example
    -------
    >>> require_part(getfixture("tmp_path"), "mic_dev", "Download it")
    Traceback (most recent call last):
    FileNotFoundError: ...: no folder mic_dev and no archive mic_dev.zip. ...
    """
    if not Path(data_folder).is_dir():
        raise FileNotFoundError(f"{data_folder}: no such folder. {remedy}")
    folder = unpack_part(data_folder, part)
    if folder is None:
        raise FileNotFoundError(
            f"{data_folder}: no folder {part} and no archive {part}.zip. "
            f"{remedy}"
        )
    return folder
