"""What changes a disk: counted, to be killed at it, or refused."""

import errno
import os
import random
import shutil
import signal
import sys
import traceback
from contextlib import suppress

import torch

# What changes a disk, as Python reports it to audit hooks.
_CHANGES = {
    "os.link",
    "os.mkdir",
    "os.remove",
    "os.rename",
    "os.rmdir",
    "os.truncate",
}


def _changed(event, arguments):
    """Whether something that Python does changes a disk."""
    if event != "open":
        return event in _CHANGES
    _, mode, flags = arguments
    writes = isinstance(mode, str) and mode.strip("rbt")
    return bool(writes or (flags or 0) & (os.O_WRONLY | os.O_RDWR))


class _Counter:
    """Counts changes of the disk; the process kills itself at one of them."""

    def __init__(self, last):
        self.count, self.last = 0, last

    def __call__(self, event=None, arguments=()):
        if event is not None and not _changed(event, arguments):
            return
        self.count += 1
        if self.count == self.last:
            os.kill(os.getpid(), signal.SIGKILL)

    def watch(self, owner, name):
        """Count the calls of a function as well."""
        function = getattr(owner, name)

        def counted(*args, **kwargs):
            self()
            return function(*args, **kwargs)

        setattr(owner, name, counted)


def _forked(function, before):
    """Exit code of a forked process, and what it returned as text."""
    reader, writer = os.pipe()
    process = os.fork()
    if process == 0:
        os.close(reader)
        status = 1
        try:
            torch.set_num_threads(1)
            result = before()
            function()
            os.write(writer, str(result()).encode())
            status = 0
        except BaseException:
            traceback.print_exc()
        finally:
            with suppress(BaseException):
                sys.stderr.flush()
            os._exit(status)
    os.close(writer)
    with os.fdopen(reader) as pipe:
        said = pipe.read()
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]), said


def run_until(function, last=None, also=()):
    """Call a function in a forked process, which dies at a change of the disk.

    Files that are opened for writing, renamed and removed, folders, calls of
    ``os.fsync``, which does nothing, and those of the functions in ``also``,
    pairs of an owner and a name, are counted.

    Returns the number of changes, or None if the process was killed.
    """

    def before():
        counter = _Counter(last)
        # What a kill leaves does not hang on it, and it is slow.
        os.fsync = lambda handle: counter()
        for owner, name in also:
            counter.watch(owner, name)
        sys.addaudithook(counter)
        return lambda: counter.count

    status, said = _forked(function, before)
    assert status in (0, -signal.SIGKILL), f"ended with {status}"
    return int(said) if status == 0 else None


def run_read_only(function, folder):
    """Call a function in a forked process that cannot change a folder."""
    root = os.path.realpath(folder)

    def refuse(event, arguments):
        if not _changed(event, arguments):
            return
        for path in arguments[:2]:
            if isinstance(path, (str, os.PathLike)):
                place = os.path.realpath(path)
                if os.path.commonpath([root, place]) == root:
                    raise OSError(errno.EROFS, os.strerror(errno.EROFS), path)

    def before():
        sys.addaudithook(refuse)
        return str

    status, _ = _forked(function, before)
    assert status == 0, f"ended with {status}"


def content(folder):
    """Bytes of all files below a folder, leftovers and locks aside."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.name.endswith((".tmp", ".lock"))
    }


def check_kills(make, begin, tmp_path, moments, *, also=(), compare=content):
    """What is killed and run again ends as what was not.

    Arguments
    ---------
    make : callable
        Called with a folder, which it fills.
    begin : callable
        Called with a folder before: what is there already.
    tmp_path : Path
        Gets the folder.
    moments : int
        Number of moments, drawn from all that there are.
    also : sequence
        As for ``run_until``.
    compare : callable
        From a folder to what has to be the same.

    Returns the number of changes of an unbroken run.
    """
    # One name for all: files may hold it.
    folder = tmp_path / "run"
    begin(folder)
    number = run_until(lambda: make(folder), also=also)
    expected = compare(folder)
    assert number and expected
    rng = random.Random(0)
    for last in rng.sample(range(1, number + 1), min(moments, number)):
        shutil.rmtree(folder)
        begin(folder)
        assert run_until(lambda: make(folder), last, also) is None
        run_until(lambda: make(folder))
        found = compare(folder)
        different = [
            name
            for name in sorted(found.keys() | expected.keys())
            if found.get(name) != expected.get(name)
        ]
        assert not different, f"killed at {last} of {number}: {different}"
    return number
