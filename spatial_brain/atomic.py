"""Files that are complete or not there at all."""

import os
import stat
from contextlib import contextmanager
from pathlib import Path


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
        If the folder cannot be written to, or the disk is full.

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
        with open(temporary, "wb") as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
        yield temporary
        # Some libraries (safetensors) make files that only the owner reads.
        if stat.S_IMODE(temporary.stat().st_mode) != mode:
            temporary.chmod(mode)
        if sync:
            with open(temporary, "r+b") as file:
                os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
