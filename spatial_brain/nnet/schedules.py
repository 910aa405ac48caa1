"""Learning rates as functions of the progress of a training.

They have no state: after a resume the rate follows from the progress alone.
"""

import math
from dataclasses import dataclass


@dataclass
class StepDecay:
    """Multiply the learning rate by a factor every so many epochs.

    Arguments
    ---------
    initial : float
        Learning rate of the first epochs.
    factor : float
        Multiplied with at each step.
    every : int
        Epochs between steps.

    Example
    -------
    >>> schedule = StepDecay(1.0, 0.5, every=2)
    >>> [schedule(progress) for progress in (0.0, 1.9, 2.0, 4.5)]
    [1.0, 1.0, 0.5, 0.25]
    """

    initial: float
    factor: float
    every: int

    def __call__(self, progress):
        """Learning rate after ``progress`` epochs.

        Arguments
        ---------
        progress : float
            Epochs done, fractions of the present one included.

        Returns
        -------
        float
        """
        return self.initial * self.factor ** math.floor(progress / self.every)


@dataclass
class WarmupCosine:
    """Rise linearly, then fall along half a cosine.

    Arguments
    ---------
    peak : float
        Largest learning rate.
    warmup : float
        Epochs of the rise.
    epochs : float
        Epochs of the whole training.
    final : float
        Learning rate at the end.

    Example
    -------
    >>> schedule = WarmupCosine(1.0, warmup=1, epochs=5)
    >>> [round(schedule(progress), 6) for progress in (0.5, 1, 3, 5)]
    [0.5, 1.0, 0.5, 0.0]
    """

    peak: float
    warmup: float
    epochs: float
    final: float = 0.0

    def __call__(self, progress):
        """Learning rate after ``progress`` epochs.

        Arguments
        ---------
        progress : float
            Epochs done, fractions of the present one included.

        Returns
        -------
        float
        """
        if progress < self.warmup:
            return self.peak * progress / self.warmup
        share = (progress - self.warmup) / (self.epochs - self.warmup)
        fall = 0.5 * (1.0 + math.cos(math.pi * min(share, 1.0)))
        return self.final + (self.peak - self.final) * fall
