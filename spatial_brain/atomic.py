"""Files that are complete or not there at all, and disks that are full."""

import errno
import os
import shutil
import stat
from contextlib import contextmanager
from pathlib import Path

# Less is free on a disk that is full; few files are smaller than a block.
_FULL = 1 << 16


@contextmanager
def full_disk(path):
    """Call a full disk a full disk, whatever a library makes of it.

    Arguments
    ---------
    path : str or Path
        File or folder that the body writes.

    Raises
    ------
    OSError
        With errno ENOSPC, the path and a remedy, if the body fails on a disk
        that is full, or whose quota is used up.

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
        if _is_full(path, error):
            raise OSError(
                errno.ENOSPC,
                "the disk is full; delete files or choose a folder on another "
                "disk",
                os.fspath(path),
            ) from error
        raise


def _is_full(path, error):
    """Whether an exception came from a disk without space."""
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno in (errno.ENOSPC, errno.EDQUOT)
    # Libraries that write by themselves report what they like.
    if not isinstance(error, (OSError, RuntimeError, AssertionError)):
        return False
    folder = Path(path).absolute()
    existing = next(p for p in (folder, *folder.parents) if p.exists())
    return shutil.disk_usage(existing).free < _FULL


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
    path.parent.mkdir(parents=True, exist_ok=True)
    # File systems allow 255 bytes.
    name = os.fsencode(path.name)[:200].decode(errors="ignore")
    temporary = path.with_name(f".{name}.{os.getpid()}.tmp")
    try:
        with full_disk(path):
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
        temporary.unlink(missing_ok=True)
