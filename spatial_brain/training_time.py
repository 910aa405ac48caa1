"""How long a training will take, by its own first steps."""

import time

# Steps that are timed, fewer if they last so long together, seconds.
_STEPS, _ENOUGH = 5, 60.0


class StepClock:
    """Times the first steps of a training, the very first one left out.

    That one compiles, fills caches and starts workers.

    Arguments
    ---------
    now : callable
        Gives seconds.

    Example
    -------
    >>> clock = StepClock(iter([0, 9, 11, 13, 15, 17, 19]).__next__)
    >>> [clock.begin_step() for _ in range(8)]
    [None, None, None, None, None, None, 2.0, None]
    """

    def __init__(self, now=time.monotonic):
        self._now = now
        self._first = True
        self._before = None
        self._timed, self._total = 0, 0.0

    def begin_epoch(self):
        """Leave out what lies between the epochs."""
        self._before = None

    def begin_step(self):
        """Note that a step begins.

        Returns
        -------
        float or None
            Seconds a step, once, as soon as enough of them were timed.
        """
        if self._timed is None:
            return None
        now = self._now()
        if self._before is not None:
            self._timed += 1
            self._total += now - self._before
        if not self._first:
            self._before = now
        self._first = False
        if self._timed < _STEPS and self._total < _ENOUGH:
            return None
        seconds = self._total / self._timed
        self._timed = None
        return seconds


def in_words(seconds):
    """A duration as one would say it.

    Arguments
    ---------
    seconds : float
        The duration.

    Returns
    -------
    str
        Minutes, hours or days.

    Example
    -------
    >>> in_words(1500), in_words(1.1e5), in_words(1e6)
    ('25 min', '31 h', '12 days')
    """
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    if seconds < 72 * 3600:
        return f"{seconds / 3600:.0f} h"
    return f"{seconds / 86400:.0f} days"
