"""Inner loops in plain Python, compiled to machine code by numba."""

import numba


def compiled(fastmath=False):
    """Decorator: compile on first use, and keep the result.

    It is kept in the cache of numba, beside the package, or in the user's
    cache folder when that cannot be written; where neither can, it is
    compiled anew in each process. The interpreter lock is released, and
    division by zero gives what NumPy gives.

    Arguments
    ---------
    fastmath : bool or set of str
        Liberties with floating-point numbers, as numba names them. All
        (True) make results depend on where arrays lie in memory: a loop gets
        a vector form with approximate divisions, and a scalar one.

    Returns
    -------
    callable
        Takes a function and returns the compiled one.

    Example
    -------
    >>> @compiled()
    ... def half(x):
    ...     return x / 2
    >>> half(3.0)
    1.5
    """
    options = {"nogil": True, "fastmath": fastmath, "error_model": "numpy"}

    def decorate(function):
        try:
            return numba.njit(cache=True, **options)(function)
        except RuntimeError:
            return numba.njit(**options)(function)

    return decorate
