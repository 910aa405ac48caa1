"""Unpack archives without trusting them, and finish what was begun.

Refused, with the name of the member: absolute paths, paths that leave the
folder, links that point outside it, devices and other special files,
encrypted members. Links to files inside are replaced by copies, so unpacking
never creates a link that a later member could be written through. Works the
same on Python 3.10 to 3.12 (the ``filter`` of ``tarfile`` came later).

Members go to a hidden folder first, and to their places only when the whole
archive was read and found sound, its last checksum included. A plain tar has
no checksum of its contents: they are sound if the archive's own is known.
"""

import bz2
import errno
import gzip
import hashlib
import logging
import lzma
import os
import posixpath
import re
import shutil
import stat
import struct
import tarfile
import zipfile
import zlib
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from spatial_brain.atomic import atomic_path
from spatial_brain.dataio.files import (
    check_free_space,
    read_json,
    write_json,
)
from spatial_brain.dataio.parallel import progress
from spatial_brain.dataio.split_zip import (
    ArchiveError,
    open_zip,
    split_zip_parts,
)

logger = logging.getLogger(__name__)

_CHUNK = 1 << 20
# An archive may hold this many bytes for each of its own (the most that
# deflate reaches is 1,032), or this many in all; a member counts as 512 more.
_MAX_RATIO, _MAX_SMALL, _MEMBER_COST = 1200, 256 << 20, 512
_MARKER_END = ".unpacked.json"
# Compressed tar archives by their first bytes.
_COMPRESSED = {
    b"\x1f\x8b": gzip.open,
    b"BZh": bz2.open,
    b"\xfd7zXZ\x00": lzma.open,
}
# What reading a damaged archive ends in, beside an OSError without a number.
_DAMAGE = (
    tarfile.TarError,
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    struct.error,
    EOFError,
    NotImplementedError,
    RuntimeError,
    ValueError,
    OverflowError,
    MemoryError,
    IndexError,
)
# Names that no disk can hold, or a file where another needs a folder.
_BAD_NAMES = frozenset(
    (
        None,
        errno.EEXIST,
        errno.EINVAL,
        errno.EISDIR,
        errno.ENAMETOOLONG,
        errno.ENOTDIR,
    )
)


class UnsafeArchiveError(ArchiveError):
    """An archive holds a member that must not be unpacked."""


@dataclass(frozen=True)
class _Member:
    """A file, folder or link in an archive, checked."""

    name: str
    kind: str
    size: int = 0
    link: str = ""
    open: Any = None


def unpack(archive, folder, checksum=None):
    """Unpack a tar (plain, gz, bz2, xz) or zip archive, split or not.

    Nothing appears in ``folder`` before the whole archive was found sound. A
    marker file there records the state: an archive that was unpacked
    completely is not touched again, one that was interrupted is finished
    (members that were unpacked already are kept).

    Arguments
    ---------
    archive : str or Path
        The archive; of a split zip the ``.zip``, or the ``.zip.001``.
    folder : str or Path
        Created if needed.
    checksum : str
        As for ``download``. Recorded in the marker; with another one the
        archive counts as new. A plain tar is compared with it.

    Returns
    -------
    Path
        The folder.

    Raises
    ------
    ArchiveError
        (a ValueError) If the archive is damaged, of an unknown kind, or holds
        more than its size allows; ``UnsafeArchiveError`` if a member would
        leave the folder or is no plain file.
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
    parts = [part.stat() for part in split_zip_parts(archive)]
    identity = {
        "archive": archive.name,
        "bytes": sum(part.st_size for part in parts),
        "checksum": checksum,
    }
    marker = marker_path(archive.name, folder)
    state = _read_marker(marker)
    same = {key: state.get(key) for key in identity} == identity
    if same and state.get("complete"):
        return folder
    # An archive that was copied again may hold what the first did not.
    identity["changed"] = max(part.st_mtime_ns for part in parts)
    staging = folder / f".{archive.name}.unpacking"
    resumed = same and state.get("changed") == identity["changed"]
    if not resumed:
        shutil.rmtree(staging, ignore_errors=True)
        state = {}
    staging.mkdir(parents=True, exist_ok=True)
    if not state.get("sound"):
        write_json(marker, {**identity, "complete": False})
        _fill(archive, staging, identity, resumed)
        write_json(marker, {**identity, "complete": False, "sound": True})
    _move(archive, staging, folder)
    write_json(marker, {**identity, "complete": True})
    return folder


def _fill(archive, staging, identity, resumed):
    """Unpack to the hidden folder; leave nothing there of a bad archive."""
    try:
        with _open_archive(archive, identity["checksum"]) as (members, total):
            limit = max(_MAX_SMALL, _MAX_RATIO * identity["bytes"])
            if total is not None:
                _check_size(archive, total, limit)
                if not resumed:
                    what = f"unpacking {archive.name}"
                    check_free_space(staging, total, what)
            _extract(archive, members, total, staging, resumed, limit)
    except ArchiveError:
        shutil.rmtree(staging, ignore_errors=True)
        raise


def _check_size(archive, size, limit):
    """Refuse what no honest archive of this size holds."""
    if size > limit:
        raise ArchiveError(
            f"{archive}: unpacks to more than {limit / 1e6:.0f} MB, which an "
            "archive of its size does not hold; it is damaged or malicious"
        )


def _move(archive, source, target):
    """Move the content of a folder into another one, over what is there."""
    target.mkdir(parents=True, exist_ok=True)
    root = os.path.realpath(target)
    # Links that lay in the folder before could lead outside.
    for parent, folders, names in os.walk(source):
        for name in (*folders, *names):
            place = Path(target, os.path.relpath(parent, source), name)
            inside = os.path.realpath(place.parent if name in names else place)
            if os.path.commonpath([root, inside]) != root:
                raise UnsafeArchiveError(
                    f"{archive}: {place} leads outside {target} through a link"
                )
            if (
                name in names
                and place.is_dir()
                or (name in folders and place.is_file())
            ):
                raise ArchiveError(
                    f"{archive}: {place} is in the way, a file where a folder "
                    "should be or the reverse; remove it"
                )
    for parent, _, names in os.walk(source, topdown=False):
        place = Path(target, os.path.relpath(parent, source))
        place.mkdir(parents=True, exist_ok=True)
        for name in names:
            os.replace(Path(parent, name), place / name)
        os.rmdir(parent)


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
    return Path(folder) / f".{name}{_MARKER_END}"


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
def _open_archive(archive, checksum):
    """Yield the members of an archive and their total size if known."""
    try:
        if re.search(r"\.(zip|zip\.001)$", archive.name.lower()):
            with open_zip(archive) as file:
                infos = file.infolist()
                total = sum(info.file_size + _MEMBER_COST for info in infos)
                members = (_zip_member(archive, file, info) for info in infos)
                yield members, total
        else:
            with _open_tar(archive, checksum) as (file, stream):
                yield _tar_members(archive, file, stream), None
    except ArchiveError:
        raise
    except _DAMAGE as error:
        raise _damaged(archive, error) from error
    except OSError as error:
        if error.errno not in _BAD_NAMES:
            raise
        raise _damaged(archive, error) from error


def _damaged(archive, reason):
    """The exception for an archive that cannot be read to its end."""
    return ArchiveError(
        f"{archive}: damaged ({reason}); remove it and download it again"
    )


class _TarInfo(tarfile.TarInfo):
    """Header of a tar member; one that cannot be read is no end."""

    @classmethod
    def frombuf(cls, buf, encoding, errors):
        """Parse a header: only a block of zeros ends an archive."""
        try:
            return super().frombuf(buf, encoding, errors)
        except tarfile.EOFHeaderError:
            raise
        except tarfile.HeaderError as error:
            raise tarfile.ReadError(
                f"a header cannot be read: {error}"
            ) from error


@contextmanager
def _open_tar(archive, checksum):
    """Yield a tar archive, read from front to end, and its bytes."""
    with open(archive, "rb") as file:
        start = file.read(1024)
    unpack_stream = next(
        (f for magic, f in _COMPRESSED.items() if start.startswith(magic)),
        open,
    )
    if unpack_stream is open:
        _check_plain_tar(archive, start, checksum)
    with (
        unpack_stream(archive, "rb") as stream,
        tarfile.open(fileobj=stream, mode="r|", tarinfo=_TarInfo) as file,
    ):
        yield file, stream


def _check_plain_tar(archive, start, checksum):
    """Refuse what is no tar, and one whose checksum differs."""
    try:
        _TarInfo.frombuf(start[:512], "utf-8", "surrogateescape")
    except tarfile.TarError as error:
        raise ArchiveError(
            f"{archive}: not a zip or tar archive. If it is .rar or .7z, "
            "unpack it with its own tool (unrar x, 7z x); if it should be "
            "zip or tar, it is damaged: remove it and download it again"
        ) from error
    if checksum is None:
        logger.warning(
            "%s: a plain tar has no checksum of its contents, damage in them "
            "cannot be noticed",
            archive,
        )
        return
    algorithm, _, value = checksum.rpartition(":")
    digest = hashlib.new(algorithm or "sha256")
    with open(archive, "rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    if digest.hexdigest() != value.lower():
        raise _damaged(archive, f"its checksum is not {checksum}")


def _tar_members(archive, file, stream):
    """Members of a tar archive; at its end nothing may follow but zeros."""
    for info in file:
        yield _tar_member(archive, file, info)
    rest = 0
    while chunk := file.fileobj.read(_CHUNK) or stream.read(_CHUNK):
        rest += len(chunk)
        if chunk.count(0) != len(chunk):
            raise _damaged(archive, "there is more behind its end")
        _check_size(archive, rest, _MAX_SMALL)


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
    if plain.endswith(_MARKER_END) or "\0" in plain:
        raise UnsafeArchiveError(
            f"{archive}: member {name!r} has a name that is kept for notes on "
            "unpacking, or that no disk can hold"
        )
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


def _extract(archive, members, total, folder, keep, limit):
    """Write checked members below ``folder``, links as copies at the end."""
    root = os.path.realpath(folder)
    links, size = [], 0
    with progress(
        total=total, description=f"unpacking {archive.name}", unit="B"
    ) as bar:
        for member in members:
            path = Path(root, member.name)
            size += member.size + _MEMBER_COST
            _check_size(archive, size, limit)
            if member.kind == "folder":
                path.mkdir(parents=True, exist_ok=True)
            elif member.kind == "link":
                links.append((path, member))
            elif not (keep and _has_size(path, member.size)):
                _write_member(archive, member, path)
            bar.update(member.size + _MEMBER_COST)
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
    what = f"{archive.name}: {member.name}"
    check_free_space(path.parent, member.size, what)
    with (
        # Archives hold tens of thousands of files: do not wait for the disk.
        atomic_path(path, sync=False) as temporary,
        open(temporary, "wb") as output,
        member.open() as source,
    ):
        shutil.copyfileobj(source, output, _CHUNK)
        if output.tell() != member.size:
            raise ArchiveError(
                f"{archive}: {member.name!r} ends after {output.tell()} of "
                f"{member.size} bytes; remove the archive and download it again"
            )
