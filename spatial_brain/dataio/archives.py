"""Unpack archives without trusting them, and finish what was begun.

Refused, with the name of the member: absolute paths, paths that leave the
folder, links that point outside it, devices and other special files,
encrypted members. Links to files inside are replaced by copies, so unpacking
never creates a link that a later member could be written through. Works the
same on Python 3.10 to 3.12 (the ``filter`` of ``tarfile`` came later).
"""

import errno
import json
import os
import posixpath
import re
import shutil
import stat
import tarfile
import zipfile
import zlib
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from spatial_brain.atomic import atomic_path
from spatial_brain.dataio.files import read_json, write_json
from spatial_brain.dataio.parallel import progress
from spatial_brain.dataio.split_zip import open_zip, split_zip_parts

_CHUNK = 1 << 20
# Left free on the disk, bytes.
_SPARE_SPACE = 64 << 20


class UnsafeArchiveError(ValueError):
    """An archive holds a member that must not be unpacked."""


@dataclass(frozen=True)
class _Member:
    """A file, folder or link in an archive, checked."""

    name: str
    kind: str
    size: int = 0
    link: str = ""
    open: Any = None


def check_free_space(folder, needed, what):
    """Raise OSError when a disk has no space for ``needed`` bytes.

    Arguments
    ---------
    folder : str or Path
        Where the bytes go; need not exist yet.
    needed : int
        Bytes.
    what : str
        Named in the message.

    Raises
    ------
    OSError
        With errno ENOSPC, both numbers and the folder.

    Example
    -------
    >>> check_free_space(".", 1, "a small file")
    """
    folder = Path(folder).absolute()
    existing = next(p for p in (folder, *folder.parents) if p.exists())
    free = shutil.disk_usage(existing).free
    if free < needed + _SPARE_SPACE:
        raise OSError(
            errno.ENOSPC,
            f"{what} needs {needed / 1e9:.2f} GB, but {free / 1e9:.2f} GB are "
            "free; delete files or choose a folder on another disk",
            str(folder),
        )


def unpack(archive, folder, checksum=None):
    """Unpack a tar (plain, gz, bz2, xz) or zip archive, split or not.

    A marker file in ``folder`` records the state: an archive that was
    unpacked completely is not touched again, one that was interrupted is
    finished (members that are there already are kept).

    Arguments
    ---------
    archive : str or Path
        The archive; of a split zip the ``.zip``, or the ``.zip.001``.
    folder : str or Path
        Created if needed.
    checksum : str
        Recorded in the marker; with another one the archive counts as new.

    Returns
    -------
    Path
        The folder.

    Raises
    ------
    UnsafeArchiveError
        (a ValueError) If a member would leave the folder or is no plain file.
    ValueError
        If the archive is damaged or of an unknown kind.
    FileNotFoundError
        If it, or a part of it, is missing.
    OSError
        If the disk is full.

    Example
    -------
    >>> folder = getfixture("tmp_path")
    >>> with zipfile.ZipFile(folder / "a.zip", "w") as file:
    ...     file.writestr("sub/b.txt", "hello")
    >>> (unpack(folder / "a.zip", folder / "out") / "sub/b.txt").read_text()
    'hello'
    """
    archive, folder = Path(archive), Path(folder)
    if not archive.is_file():
        raise FileNotFoundError(f"{archive}: no such archive")
    folder.mkdir(parents=True, exist_ok=True)
    identity = {
        "archive": archive.name,
        "bytes": sum(p.stat().st_size for p in split_zip_parts(archive)),
        "checksum": checksum,
    }
    marker = marker_path(archive.name, folder)
    state = _read_marker(marker)
    resumed = {key: state.get(key) for key in identity} == identity
    if resumed and state.get("complete"):
        return folder
    write_json(marker, {**identity, "complete": False})
    with _open_archive(archive) as (members, total):
        if total is not None and not resumed:
            check_free_space(folder, total, f"unpacking {archive.name}")
        _extract(archive, members, total, folder, keep=resumed)
    write_json(marker, {**identity, "complete": True})
    return folder


def marker_path(name, folder):
    """Marker file which records that an archive was unpacked.

    Arguments
    ---------
    name : str
        File name of the archive.
    folder : str or Path
        Where it is unpacked.

    Returns
    -------
    Path
        A hidden file in the folder.

    Example
    -------
    >>> marker_path("a.zip", "data").name
    '.a.zip.unpacked.json'
    """
    return Path(folder) / f".{name}.unpacked.json"


def is_unpacked(name, folder, checksum=None):
    """Whether an archive of this name was unpacked completely.

    Arguments
    ---------
    name : str
        File name of the archive, which need not exist any more.
    folder : str or Path
        Where it was unpacked.
    checksum : str
        As it was given to ``unpack``.

    Returns
    -------
    bool
        True if the marker file records it.

    Example
    -------
    >>> is_unpacked("a.zip", "nowhere")
    False
    """
    state = _read_marker(marker_path(name, folder))
    return state.get("complete", False) and state["checksum"] == checksum


def _read_marker(marker):
    """Content of a marker file; empty if there is none."""
    return read_json(marker) if marker.is_file() else {}


@contextmanager
def _open_archive(archive):
    """Yield the members of an archive and their total size if known."""
    try:
        if re.search(r"\.(zip|zip\.001)$", archive.name.lower()):
            with open_zip(archive) as file:
                infos = file.infolist()
                total = sum(info.file_size for info in infos)
                members = [_zip_member(archive, file, info) for info in infos]
                yield members, total
        elif tarfile.is_tarfile(archive):
            with tarfile.open(archive) as file:
                yield (_tar_member(archive, file, info) for info in file), None
        else:
            raise ValueError(
                f"{archive}: not a zip or tar archive. If it is .rar or .7z, "
                "unpack it with its own tool (unrar x, 7z x); if it should be "
                "zip or tar, it is damaged: remove it and download it again"
            )
    except (
        tarfile.TarError,
        zipfile.BadZipFile,
        zlib.error,
        EOFError,
        json.JSONDecodeError,
    ) as error:
        raise ValueError(
            f"{archive}: damaged ({error}); remove it and download it again"
        ) from error


def _zip_member(archive, file, info):
    """Check a member of a zip archive."""
    name = _safe_name(archive, info.filename)
    if info.flag_bits & 1:
        raise UnsafeArchiveError(f"{archive}: {name!r} is encrypted")
    mode = info.external_attr >> 16
    if info.is_dir():
        return _Member(name, "folder")
    if stat.S_ISLNK(mode):
        link = file.read(info).decode("utf-8", "replace")
        return _Member(name, "link", link=_safe_link(archive, name, link))
    if stat.S_IFMT(mode) not in (0, stat.S_IFREG):
        raise UnsafeArchiveError(f"{archive}: {name!r} is a special file")
    return _Member(name, "file", info.file_size, open=lambda: file.open(info))


def _tar_member(archive, file, info):
    """Check a member of a tar archive."""
    name = _safe_name(archive, info.name)
    if info.isdir():
        return _Member(name, "folder")
    if info.issym():
        link = _safe_link(archive, name, info.linkname)
        return _Member(name, "link", link=link)
    if info.islnk():
        # The target of a hard link is named from the root of the archive.
        link = _safe_name(archive, info.linkname)
        return _Member(name, "link", link=link)
    if not info.isfile():
        raise UnsafeArchiveError(
            f"{archive}: {name!r} is a device or another special file"
        )
    return _Member(name, "file", info.size, open=lambda: file.extractfile(info))


def _safe_name(archive, name):
    """Relative path with forward slashes; refuse what leaves the folder."""
    plain = name.replace("\\", "/")
    drive = re.match(r"^[A-Za-z]:", plain)
    if plain.startswith("/") or drive or ".." in plain.split("/"):
        raise UnsafeArchiveError(
            f"{archive}: member {name!r} would be written outside the folder; "
            "the archive is damaged or malicious and is not unpacked further"
        )
    return posixpath.normpath(plain)


def _safe_link(archive, name, target):
    """Name of the member a symbolic link points to."""
    plain = target.replace("\\", "/")
    resolved = posixpath.normpath(
        posixpath.join(posixpath.dirname(name), plain)
    )
    outside = resolved == ".." or resolved.startswith("../")
    if plain.startswith("/") or re.match(r"^[A-Za-z]:", plain) or outside:
        raise UnsafeArchiveError(
            f"{archive}: link {name!r} points outside the folder, to {target!r}"
        )
    return resolved


def _extract(archive, members, total, folder, keep):
    """Write checked members below ``folder``, links as copies at the end."""
    root = os.path.realpath(folder)
    links = []
    with progress(
        total=total, description=f"unpacking {archive.name}", unit="B"
    ) as bar:
        for member in members:
            path = Path(root, member.name)
            # Links that lay in the folder before could lead outside.
            if os.path.commonpath([root, os.path.realpath(path)]) != root:
                raise UnsafeArchiveError(
                    f"{archive}: {path} leads outside {folder} through a link"
                )
            if member.kind == "folder":
                path.mkdir(parents=True, exist_ok=True)
            elif member.kind == "link":
                links.append((path, member))
            elif not (keep and _has_size(path, member.size)):
                _write_member(archive, member, path)
            bar.update(member.size)
    _copy_links(archive, root, links)


def _copy_links(archive, root, links):
    """Put copies where links were; a link may point to another link."""
    while links:
        waiting = []
        for path, member in links:
            source = os.path.realpath(os.path.join(root, member.link))
            inside = os.path.commonpath([root, source]) == root
            if inside and os.path.isfile(source):
                with atomic_path(path, sync=False) as temporary:
                    shutil.copyfile(source, temporary)
            else:
                waiting.append((path, member))
        if len(waiting) == len(links):
            member = links[0][1]
            raise UnsafeArchiveError(
                f"{archive}: link {member.name!r} points to {member.link!r}, "
                "which is no file of the archive"
            )
        links = waiting


def _has_size(path, size):
    """Whether a file of this size is there."""
    return path.is_file() and path.stat().st_size == size


def _write_member(archive, member, path):
    """Write one file; it appears complete or not at all."""
    check_free_space(path.parent, member.size, f"{archive.name}: {member.name}")
    with (
        # Archives hold tens of thousands of files: do not wait for the disk.
        atomic_path(path, sync=False) as temporary,
        open(temporary, "wb") as output,
        member.open() as source,
    ):
        shutil.copyfileobj(source, output, _CHUNK)
        if output.tell() != member.size:
            raise ValueError(
                f"{archive}: {member.name!r} ends after {output.tell()} of "
                f"{member.size} bytes; remove the archive and download it again"
            )
