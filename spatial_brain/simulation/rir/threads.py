"""Threads of the CPU: few large tasks instead of many small shared ones.

A response takes a few milliseconds, in operations of microseconds. Shared
among OpenMP threads each of them would wait for the slowest thread, which on
a busy machine is a time slice of the scheduler: a call of 3 ms then takes 100.
So torch works on one thread here, and only the accumulation of images, by far
the largest part, is spread, over a pool of ordinary threads.
"""

import os
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import torch

_lock = threading.Lock()
_state = {"depth": 0, "threads": 1}
_pools = {}


@contextmanager
def single_threaded():
    """Let torch work on one thread for a while.

    Nested and concurrent uses restore the number of threads when the last one
    ends.

    Example
    -------
    >>> before = torch.get_num_threads()
    >>> with single_threaded():
    ...     torch.get_num_threads(), available_threads() == before
    (1, True)
    >>> torch.get_num_threads() == before
    True
    """
    with _lock:
        if _state["depth"] == 0:
            _state["threads"] = torch.get_num_threads()
        _state["depth"] += 1
    torch.set_num_threads(1)
    try:
        yield
    finally:
        # Set in every thread that entered: OpenMP keeps it per thread.
        torch.set_num_threads(_state["threads"])
        with _lock:
            _state["depth"] -= 1


def available_threads():
    """Threads that torch was allowed before ``single_threaded``.

    Returns
    -------
    int
        At least 1.

    Example
    -------
    >>> available_threads() == torch.get_num_threads()
    True
    """
    if _state["depth"]:
        return _state["threads"]
    return torch.get_num_threads()


def pool(threads):
    """Pool of threads of this process; threads do not survive a fork.

    Arguments
    ---------
    threads : int
        Number of threads.

    Returns
    -------
    concurrent.futures.ThreadPoolExecutor
        The same one for the same process and number.

    Example
    -------
    >>> list(pool(2).map(abs, [-1, -2]))
    [1, 2]
    """
    key = os.getpid(), threads
    if key not in _pools:
        _pools.clear()
        _pools[key] = ThreadPoolExecutor(threads, "image-source")
    return _pools[key]


def _after_fork():
    """Start anew in a child, in which no other thread holds the lock."""
    global _lock
    _lock = threading.Lock()
    _state["depth"] = 0


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
