"""Kill a function at a moment that is counted, not timed."""

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


class _Counter:
    """Counts changes of the disk; the process kills itself at one of them."""

    def __init__(self, last):
        self.count, self.last = 0, last

    def __call__(self, event=None, arguments=()):
        if event == "open":
            _, mode, flags = arguments
            writes = isinstance(mode, str) and mode.strip("rbt")
            if not (writes or (flags or 0) & (os.O_WRONLY | os.O_RDWR)):
                return
        elif event is not None and event not in _CHANGES:
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


def run_until(function, last=None, also=()):
    """Call a function in a forked process, which dies at a change of the disk.

    Files that are opened for writing, renamed and removed, folders and calls
    of ``os.fsync`` are counted, and those of the functions in ``also``, pairs
    of an owner and a name.

    Returns the number of changes, or None if the process was killed.
    """
    reader, writer = os.pipe()
    process = os.fork()
    if process == 0:
        os.close(reader)
        status = 1
        try:
            torch.set_num_threads(1)
            counter = _Counter(last)
            for owner, name in ((os, "fsync"), *also):
                counter.watch(owner, name)
            sys.addaudithook(counter)
            function()
            os.write(writer, b"%d" % counter.count)
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
    status = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
    assert status in (0, -signal.SIGKILL), f"ended with {status}"
    return int(said) if status == 0 else None


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
