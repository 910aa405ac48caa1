"""Files that are complete or not there at all, and disks that are full."""

import errno
import os
import shutil
import stat
from contextlib import contextmanager
from pathlib import Path

# Less is free on a disk that is full; few files are smaller than a block.
_FULL = 1 << 16
# What is wrong with a disk or a folder, in words.
_REFUSALS = {
    errno.ENOSPC: "the disk is full; delete files or choose a folder on "
    "another disk",
    errno.EROFS: "the disk is read-only; choose a folder on another disk",
    errno.EACCES: "may not be written to; change its permissions or choose "
    "another folder",
}
_SAME = {errno.EDQUOT: errno.ENOSPC, errno.EPERM: errno.EACCES}


@contextmanager
def full_disk(path):
    """Call a full disk a full disk, whatever a library makes of it.

    A disk that is read-only and a folder that may not be written to are named
    as well.

    Arguments
    ---------
    path : str or Path
        File or folder that the body writes.

    Raises
    ------
    OSError
        With errno ENOSPC, the path and a remedy, if the body fails on a disk
        that is full, or whose quota is used up; with EROFS or EACCES if it
        may not write.

    Example
    -------
    >>> try:
    ...     with full_disk("a.wav"):
    ...         raise OSError(errno.ENOSPC, "No space left on device")
    ... except OSError as error:
    ...     print(error)
    [Errno 28] the disk is full; delete files or choose ...: 'a.wav'
    """
    try:
        yield
    except Exception as error:
        number = _refusal(path, error)
        if number is None:
            raise
        raise OSError(number, _REFUSALS[number], os.fspath(path)) from error


def _refusal(path, error):
    """Number of what a disk or folder refused; None if it was no refusal."""
    if isinstance(error, OSError) and error.errno is not None:
        number = _SAME.get(error.errno, error.errno)
        return number if number in _REFUSALS else None
    # Libraries that write by themselves report what they like.
    if not isinstance(error, (OSError, RuntimeError, AssertionError)):
        return None
    folder = Path(path).absolute()
    existing = next(p for p in (folder, *folder.parents) if p.exists())
    free = shutil.disk_usage(existing).free
    return errno.ENOSPC if free < _FULL else None


@contextmanager
def atomic_path(path, *, sync=True):
    """Yield a temporary path, whose file replaces ``path`` at the end.

    When the body raises, the temporary file is removed and ``path`` stays
    what it was. A killed process leaves a hidden file which ends in ``.tmp``.

    Arguments
    ---------
    path : str or Path
        File to write; its folder is created.
    sync : bool
        Wait until the content is on the disk, so that the file is complete
        after a power cut too. False is for thousands of small files.

    Yields
    ------
    Path
        An empty file in the same folder, named
        ``.<name>.<process id>.tmp``. Write it in any way and close it.

    Raises
    ------
    OSError
        If the folder cannot be written to, or the disk is full: then with
        errno ENOSPC, whatever the body raised.

    Example
    -------
    >>> path = getfixture("tmp_path") / "new" / "a.txt"
    >>> with atomic_path(path) as temporary:
    ...     _ = temporary.write_text("complete")
    ...     path.exists()
    False
    >>> path.read_text()
    'complete'
    """
    path = Path(path)
    # File systems allow 255 bytes.
    name = os.fsencode(path.name)[:200].decode(errors="ignore")
    temporary = path.with_name(f".{name}.{os.getpid()}.tmp")
    try:
        with full_disk(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            with open(temporary, "wb") as file:
                mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            yield temporary
            # Some libraries (safetensors) make files that only the owner
            # reads.
            if stat.S_IMODE(temporary.stat().st_mode) != mode:
                temporary.chmod(mode)
            if sync:
                with open(temporary, "r+b") as file:
                    os.fsync(file.fileno())
            os.replace(temporary, path)
    finally:
        if temporary.exists():
            temporary.unlink()
