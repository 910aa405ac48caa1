"""Progress bars that stay silent where nobody reads them."""

import multiprocessing
import os
import sys

from tqdm.auto import tqdm


def is_main_process():
    """Whether this process is the one that talks to the user.

    Worker processes and every rank but the first of a distributed run
    (``RANK`` as set by torchrun) are not.

    Returns
    -------
    bool
        True in the first process.

    Example
    -------
    >>> is_main_process()
    True
    """
    if multiprocessing.parent_process() is not None:
        return False
    return os.environ.get("RANK", "0") == "0"


def progress(
    iterable=None, *, total=None, description="", unit="it", initial=0
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
        unit_scale=unit == "B",
        unit_divisor=1024 if unit == "B" else 1000,
        disable=not is_main_process(),
        mininterval=0.2 if sys.stderr.isatty() else 10.0,
        leave=True,
    )
