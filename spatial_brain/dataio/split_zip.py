"""Zip archives in several parts (``.z01``, ``.z02``, ..., ``.zip``).

``zipfile`` cannot read them, and ``zip -s 0`` is not everywhere. Here the
parts are seen as one file whose directory is rewritten in memory, with
positions counted from the first part; nothing is copied. Layout of the
records: PKWARE's APPNOTE 6.3.10, sections 4.3.12 to 4.3.16 and 4.5.3.
Parts cut by bytes (``.zip.001``, ``.zip.002``, ...) are simply joined.
"""

import bisect
import io
import itertools
import lzma
import os
import re
import struct
import zipfile
import zlib
from contextlib import ExitStack, contextmanager
from pathlib import Path

_END = struct.Struct("<4s4H2LH")  # end of central directory
_END_SIGNATURE = b"PK\x05\x06"
_LOCATOR = struct.Struct("<4sLQL")  # where the zip64 end record is
_LOCATOR_SIGNATURE = b"PK\x06\x07"
_END64 = struct.Struct("<4sQ2H2L4Q")
_END64_SIGNATURE = b"PK\x06\x06"
_ENTRY = struct.Struct("<4s6H3L5H2L")  # one file of the central directory
_ENTRY_SIGNATURE = b"PK\x01\x02"
_ZIP64_EXTRA = 0x0001
_MAX16, _MAX32 = 0xFFFF, 0xFFFFFFFF
# What parsing a damaged directory ends in.
_DAMAGE = (
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    struct.error,
    EOFError,
    NotImplementedError,
    RuntimeError,
    OSError,
    ValueError,
    OverflowError,
    IndexError,
)
# Missing parts that a message names.
_LISTED = 5


class ArchiveError(ValueError):
    """An archive is damaged, of an unknown kind, or not to be unpacked."""


class MissingPartError(ArchiveError, FileNotFoundError):
    """A part of a split archive is not there."""


def split_zip_parts(archive):
    """Parts of a split archive, in order.

    Arguments
    ---------
    archive : str or Path
        The last part (``.zip``) or the first of those cut by bytes
        (``.zip.001``).

    Returns
    -------
    list of Path
        All parts that are there; one for an archive in one piece.

    Example
    -------
    >>> folder = getfixture("tmp_path")
    >>> for name in ("a.z01", "a.z02", "a.zip"):
    ...     _ = (folder / name).write_bytes(b"")
    >>> [part.name for part in split_zip_parts(folder / "a.zip")]
    ['a.z01', 'a.z02', 'a.zip']
    """
    archive = Path(archive)
    if re.fullmatch(r"\.\d{3}", archive.suffix):
        pattern = re.compile(re.escape(archive.stem) + r"\.(\d{3})")
        last = []
    else:
        pattern = re.compile(re.escape(archive.stem) + r"\.[zZ](\d{2,})")
        last = [archive]
    numbered = [
        (int(match[1]), path)
        for path in archive.parent.iterdir()
        if (match := pattern.fullmatch(path.name))
    ]
    return [path for _, path in sorted(numbered)] + last


@contextmanager
def open_zip(archive):
    """Open a zip archive in one or several parts.

    Arguments
    ---------
    archive : str or Path
        The ``.zip`` (its ``.z01`` ... lie beside it), or the ``.zip.001``.

    Yields
    ------
    zipfile.ZipFile
        The archive, as if it were in one piece.

    Raises
    ------
    FileNotFoundError
        If the archive is not there, or (``MissingPartError``) a part of it.
    ArchiveError
        (a ValueError) If it is not a zip archive, or damaged.

    Example
    -------
    >>> path = getfixture("tmp_path") / "a.zip"
    >>> with zipfile.ZipFile(path, "w") as file:
    ...     file.writestr("b.txt", "hello")
    >>> with open_zip(path) as file:
    ...     file.read("b.txt")
    b'hello'
    """
    archive = Path(archive)
    if not archive.is_file():
        raise FileNotFoundError(f"{archive}: no such archive")
    parts = split_zip_parts(archive)
    with ExitStack() as stack:
        pieces = [
            (stack.enter_context(open(part, "rb")), part.stat().st_size)
            for part in parts
        ]
        try:
            pieces, entries = _one_disk(archive, parts, pieces)
            joined = io.BufferedReader(_JoinedFile(pieces), 1 << 16)
            file = stack.enter_context(zipfile.ZipFile(joined))
            # ``zipfile`` reads the directory without its number of entries.
            if entries is not None and len(file.infolist()) != entries:
                raise zipfile.BadZipFile("its directory is incomplete")
        except ArchiveError:
            raise
        except _DAMAGE as error:
            raise ArchiveError(
                f"{archive}: damaged or not a zip archive ({error}); remove it "
                "and download it again"
            ) from error
        yield file


class _JoinedFile(io.RawIOBase):
    """Pieces, (binary file, number of bytes), as one read-only file."""

    def __init__(self, pieces):
        super().__init__()
        self._files = [file for file, _ in pieces]
        self._starts = [0]
        for _, size in pieces:
            self._starts.append(self._starts[-1] + size)
        self._position = 0

    def readable(self):
        """Return True."""
        return True

    def seekable(self):
        """Return True."""
        return True

    def tell(self):
        """Return the position."""
        return self._position

    def seek(self, offset, whence=os.SEEK_SET):
        """Move to a position and return it."""
        base = {0: 0, 1: self._position, 2: self._starts[-1]}[whence]
        if base + offset < 0:
            raise OSError(f"cannot seek to {base + offset}")
        self._position = base + offset
        return self._position

    def readinto(self, buffer):
        """Fill ``buffer`` from the piece at the position."""
        if self._position >= self._starts[-1]:
            return 0
        index = bisect.bisect_right(self._starts, self._position) - 1
        inside = self._position - self._starts[index]
        size = min(len(buffer), self._starts[index + 1] - self._position)
        self._files[index].seek(inside)
        data = self._files[index].read(size)
        buffer[: len(data)] = data
        self._position += len(data)
        return len(data)


def _one_disk(archive, parts, pieces):
    """Pieces with the directory rewritten for one disk; its entries."""
    joined = _JoinedFile(pieces)
    starts = [0]
    for _, size in pieces:
        starts.append(starts[-1] + size)
    end, end_at = _find_end(joined, starts[-1])
    _, disk, cd_disk, _, entries, cd_size, cd_offset, _ = end
    locator = _read(joined, end_at - _LOCATOR.size, _LOCATOR)
    if locator is not None and locator[0] == _LOCATOR_SIGNATURE:
        disk = max(0, locator[3] - 1)
        if disk > 0:
            _check_parts(archive, parts, disk)
            end64 = _read(joined, starts[locator[1]] + locator[2], _END64)
            if end64 is None or end64[0] != _END64_SIGNATURE:
                raise zipfile.BadZipFile("no zip64 end record")
            cd_disk = end64[5]
            entries, cd_size, cd_offset = end64[7:]
        else:
            # Mostly, the record stands before its locator.
            before = end_at - _LOCATOR.size - _END64.size
            end64 = _read(joined, before, _END64)
            known = end64 is not None and end64[0] == _END64_SIGNATURE
            entries = end64[7] if known else None
    if disk == 0:
        # In one piece, or cut by bytes: zipfile finds its way.
        if archive.suffix.lower() == ".zip":
            return pieces[-1:], entries
        for number, part in enumerate(parts, 1):
            if part.suffix != f".{number:03d}":
                raise MissingPartError(
                    f"{archive}: part .{number:03d} is missing beside it"
                )
        return pieces, entries
    _check_parts(archive, parts, disk)
    directory_at = starts[cd_disk] + cd_offset
    directory = _read_exactly(joined, directory_at, cd_size)
    directory = _rewrite_directory(directory, entries, starts)
    tail = directory + _end_records(entries, len(directory), directory_at)
    kept = []
    for (file, size), start in zip(pieces, starts, strict=False):
        if start < directory_at:
            kept.append((file, min(size, directory_at - start)))
    return [*kept, (io.BytesIO(tail), len(tail))], entries


def _find_end(file, size):
    """End record of an archive and its position."""
    length = min(size, _END.size + _MAX16)
    tail = _read_exactly(file, size - length, length)
    at = tail.rfind(_END_SIGNATURE)
    if at < 0 or at + _END.size > len(tail):
        raise zipfile.BadZipFile(
            "no end record, so it is truncated or a part is missing"
        )
    return _END.unpack_from(tail, at), size - length + at


def _read_exactly(file, position, size):
    """Read ``size`` bytes at a position, fewer at the end of the file."""
    file.seek(position)
    chunks = []
    while size > 0 and (chunk := file.read(size)):
        chunks.append(chunk)
        size -= len(chunk)
    return b"".join(chunks)


def _read(file, position, record):
    """Unpack a record at a position; None if it does not fit."""
    if position < 0:
        return None
    data = _read_exactly(file, position, record.size)
    return record.unpack(data) if len(data) == record.size else None


def _check_parts(archive, parts, last_disk):
    """Name the parts that are missing."""
    there = {part.name.lower() for part in parts}
    names = (f"{archive.stem}.z{n:02d}" for n in range(1, last_disk + 1))
    absent = (name for name in names if name.lower() not in there)
    # A damaged archive may claim billions of parts.
    missing = list(itertools.islice(absent, _LISTED))
    if missing or len(parts) != last_disk + 1:
        number = last_disk + 1 - len(parts)
        more = ", ..." if number > len(missing) else ""
        raise MissingPartError(
            f"{archive}: consists of {last_disk + 1} parts, but beside it "
            + (
                f"{', '.join(missing)}{more} is missing; if it should be in "
                "one piece, it is damaged: download it again"
                if missing
                else "more lie"
            )
        )


def _rewrite_directory(directory, entries, starts):
    """Central directory with positions counted from the first part."""
    output, at = [], 0
    for _ in range(entries):
        fields = list(_ENTRY.unpack_from(directory, at))
        if fields[0] != _ENTRY_SIGNATURE:
            raise zipfile.BadZipFile("damaged central directory")
        name_size, extra_size, comment_size = fields[10:13]
        at += _ENTRY.size
        name = directory[at : at + name_size]
        extra = directory[at + name_size : at + name_size + extra_size]
        at += name_size + extra_size
        comment = directory[at : at + comment_size]
        at += comment_size
        others, large = _split_extra(extra)
        compressed, size = fields[8], fields[9]
        disk, offset = fields[13], fields[16]
        # APPNOTE 4.5.3: only what does not fit is there, in this order.
        large.reverse()
        try:
            size = large.pop() if size == _MAX32 else size
            compressed = large.pop() if compressed == _MAX32 else compressed
            offset = large.pop() if offset == _MAX32 else offset
            disk = large.pop() if disk == _MAX16 else disk
            offset += starts[disk]
        except IndexError as error:
            raise zipfile.BadZipFile("damaged zip64 entry") from error
        wide = struct.pack("<2H3Q", _ZIP64_EXTRA, 24, size, compressed, offset)
        extra = wide + others
        fields[8] = fields[9] = fields[16] = _MAX32
        fields[11], fields[13] = len(extra), 0
        output.append(_ENTRY.pack(*fields) + name + extra + comment)
    return b"".join(output)


def _split_extra(extra):
    """Extra fields without the zip64 one, and the numbers in that one."""
    others, numbers, at = [], [], 0
    while at + 4 <= len(extra):
        tag, size = struct.unpack_from("<2H", extra, at)
        data = extra[at + 4 : at + 4 + size]
        if tag == _ZIP64_EXTRA:
            count = len(data) // 8
            numbers = list(struct.unpack_from(f"<{count}Q", data))
            # The disk number, where there is one, has four bytes.
            numbers += struct.unpack_from(
                f"<{(len(data) % 8) // 4}L", data, 8 * count
            )
        else:
            others.append(extra[at : at + 4 + size])
        at += 4 + size
    return b"".join(others), numbers


def _end_records(entries, size, offset):
    """Zip64 end record, its locator and the plain end record."""
    end64 = _END64.pack(
        _END64_SIGNATURE,
        _END64.size - 12,
        45,
        45,
        0,
        0,
        entries,
        entries,
        size,
        offset,
    )
    locator = _LOCATOR.pack(_LOCATOR_SIGNATURE, 0, offset + size, 1)
    end = _END.pack(_END_SIGNATURE, 0, 0, _MAX16, _MAX16, _MAX32, _MAX32, 0)
    return end64 + locator + end
