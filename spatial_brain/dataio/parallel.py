"""Work shared among processes, which end when their parent does."""

import contextlib
import functools
import multiprocessing
import os
import signal
import sys
import threading
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.connection import wait

import torch
from tqdm.auto import tqdm


def run_jobs(function, jobs, num_workers=1):
    """Call a function for each of many jobs, in this or in other processes.

    Each call runs with one thread of torch, so that results do not depend on
    how many threads happen to be free.

    Arguments
    ---------
    function : callable
        With more than one worker it must be picklable: a function of a
        module, or ``functools.partial`` of one.
    jobs : sequence
        Its arguments, one each.
    num_workers : int
        Processes; 1 works in this one.

    Yields
    ------
    tuple
        Index of the job and what the function gave, as they are finished.

    Raises
    ------
    ChildProcessError
        (an OSError) If a worker was killed. What the function raises is
        raised here.

    Example
    -------
    >>> list(run_jobs(abs, [-1, 2]))
    [(0, 1), (1, 2)]
    """
    num_workers = min(num_workers, len(jobs))
    if num_workers <= 1:
        for index, job in enumerate(jobs):
            yield index, _call(function, job)
        return
    context = _context(function)
    others = set(multiprocessing.active_children())
    with ProcessPoolExecutor(
        num_workers, mp_context=context, initializer=_end_with_parent
    ) as pool:
        with _without_interrupts():
            calls = {
                pool.submit(_call, function, job): index
                for index, job in enumerate(jobs)
            }
        try:
            for call in as_completed(calls):
                yield calls[call], call.result()
        except BrokenProcessPool as error:
            raise ChildProcessError(
                "a worker was killed (out of memory?); run the same command "
                "again to continue, with fewer workers if it happens again. "
                'A script that starts workers needs `if __name__ == "__main__"'
                ":` around its code"
            ) from error
        except (KeyboardInterrupt, GeneratorExit):
            # Nobody waits for what is not finished.
            for worker in set(multiprocessing.active_children()) - others:
                worker.kill()
            raise
        finally:
            pool.shutdown(cancel_futures=True)


def _context(function):
    """Workers come from a process that has loaded once what they need."""
    # Children of this one may hang in its pools of threads.
    context = multiprocessing.get_context("forkserver")
    while isinstance(function, functools.partial):
        function = function.func
    package = __name__.partition(".")[0]
    loaded = [name for name in sys.modules if name.partition(".")[0] == package]
    context.set_forkserver_preload([function.__module__, *loaded])
    return context


@contextlib.contextmanager
def _without_interrupts():
    """Start processes that Ctrl-C does not reach; their parent ends them.

    They have it from the process that forks them, which is started here.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def progress(
    iterable=None,
    *,
    total=None,
    description="",
    unit="it",
    initial=0,
    delay=0.0,
):
    """Wrap ``iterable`` into a progress bar.

    Written to standard error; silent off the main process, and refreshed
    only every ten seconds when standard error is a file, so that logs stay
    short.

    Arguments
    ---------
    iterable : iterable
        What to count; without it the bar is moved by ``bar.update(n)``.
    total : int
        Number of items (bytes when ``unit`` is ``"B"``).
    description : str
        Text before the bar.
    unit : str
        ``"B"`` counts bytes in powers of 1024.
    initial : int
        Items done before, for work that is resumed.
    delay : float
        Seconds before which nothing is drawn.

    Returns
    -------
    tqdm.tqdm
        The bar, an iterator and a context manager.

    Example
    -------
    >>> sum(progress([1, 2, 3], description="adding"))
    6
    """
    return tqdm(
        iterable,
        total=total,
        desc=description,
        unit=unit,
        initial=initial,
        delay=delay,
        unit_scale=unit == "B",
        unit_divisor=1024 if unit == "B" else 1000,
        disable=not _is_main_process(),
        mininterval=0.2 if sys.stderr.isatty() else 10.0,
        leave=True,
    )


def _call(function, job):
    """Call with a single thread."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return function(job)
    finally:
        torch.set_num_threads(threads)


def _end_with_parent():
    """End this worker when the process that started it is killed."""
    sentinel = multiprocessing.parent_process().sentinel

    def watch():
        wait([sentinel])
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _is_main_process():
    """Whether this is no worker, and the first rank that torchrun started."""
    if multiprocessing.parent_process() is not None:
        return False
    return os.environ.get("RANK", "0") == "0"
