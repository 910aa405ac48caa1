"""Commands that are stopped by Ctrl-C, a job scheduler or a shutdown."""

import contextlib
import os
import signal
import sys
import threading

_STOPPED = {signal.SIGINT: "interrupted", signal.SIGTERM: "terminated"}


@contextlib.contextmanager
def one_line_when_stopped(remedy):
    """End with one line, and code 130 or 143, at SIGINT or SIGTERM.

    The body is left by a ``KeyboardInterrupt``, so that it closes what it has
    opened and ends the processes that it has started. A second signal ends
    the process at once.

    Arguments
    ---------
    remedy : str
        What the line says beside that the process was stopped.

    Example
    -------
    >>> with one_line_when_stopped("run the same command again"):
    ...     signal.raise_signal(signal.SIGTERM)
    Traceback (most recent call last):
    SystemExit: 143
    """
    if threading.current_thread() is not threading.main_thread():
        # Signals arrive in the main thread, and handlers are set there.
        yield
        return
    received = []

    def stop(number, frame):
        received.append(number)
        for each in _STOPPED:
            signal.signal(each, signal.SIG_DFL)
        raise KeyboardInterrupt

    before = {each: signal.signal(each, stop) for each in _STOPPED}
    try:
        yield
    except BaseException:
        # What comes after the signal, such as workers that it stopped, too,
        # is no error of its own.
        if not received:
            raise
        # One of the processes of a launcher speaks for all.
        if os.environ.get("RANK", "0") == "0":
            print(f"{_STOPPED[received[0]]}; {remedy}", file=sys.stderr)
        raise SystemExit(128 + received[0]) from None
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)


class _Stopped(BaseException):
    """Leaves what waits."""


class StopRequest:
    """Whether SIGINT or SIGTERM came; made by ``ending_when_stopped``."""

    def __init__(self):
        self.received = None
        self._waits = False

    def stop(self, number, frame):
        """Take the signal; another one ends the process at once."""
        self.received = number
        for each in _STOPPED:
            signal.signal(each, signal.SIG_DFL)
        if self._waits:
            raise _Stopped

    def wait(self, function):
        """Call what may take long, such as reading live sound.

        Arguments
        ---------
        function : callable
            Left at once when a signal comes.

        Returns
        -------
        object
            What it returns; None when a signal came.
        """
        try:
            try:
                self._waits = True
                return None if self.received else function()
            finally:
                self._waits = False
        except _Stopped:
            return None


@contextlib.contextmanager
def ending_when_stopped():
    """Let SIGINT or SIGTERM end a loop, not the process.

    Yields
    ------
    StopRequest
        Work that a signal must not cut goes on to its end; what waits by
        ``wait`` is left.

    Example
    -------
    >>> with ending_when_stopped() as request:
    ...     request.wait(lambda: signal.raise_signal(signal.SIGINT))
    ...     request.received == signal.SIGINT
    True
    """
    request = StopRequest()
    if threading.current_thread() is not threading.main_thread():
        yield request
        return
    before = {each: signal.signal(each, request.stop) for each in _STOPPED}
    try:
        yield request
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
