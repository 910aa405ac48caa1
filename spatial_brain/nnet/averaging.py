"""Training until it no longer helps, and the mean of the best epochs.

Both as SAR-SSL trains its downstream networks (B. Yang and X. Li, IEEE/ACM
TASLP 32, 2024, arXiv:2312.00476): a validation loss smoothed over epochs
lowers the learning rate once and then ends the training; the weights of the
best epoch and of those before it are averaged.
"""

import json

from speechbrain.utils.checkpoints import (
    mark_as_loader,
    mark_as_saver,
    mark_as_transfer,
    register_checkpoint_hooks,
)
from speechbrain.utils.epoch_loop import EpochCounter


@register_checkpoint_hooks
class PlateauCounter(EpochCounter):
    """Counts epochs, and is their learning rate and their end.

    After each epoch :meth:`update` takes the validation loss l; it goes into
    s = smoothing * s + (1 - smoothing) * l. When ``patience`` epochs in a row
    did not lower s, the learning rate falls, ``num_drops`` times; then the
    training ends. Training goes on from where it is, not from the best epoch.

    Serves as ``epoch_counter`` and as ``learning_rate_schedule`` of a recipe;
    its state belongs into the checkpoints.

    Arguments
    ---------
    limit : int
        Most epochs.
    rate : float
        First learning rate.
    patience : int
        Epochs without a better loss.
    factor : float
        On the learning rate, at each drop.
    num_drops : int
        Drops before the end.
    smoothing : float
        Weight of the past in [0, 1).

    Raises
    ------
    ValueError
        If a number is out of range.

    Example
    -------
    >>> counter = PlateauCounter(9, rate=1.0, patience=1, smoothing=0.0)
    >>> for epoch in counter:
    ...     counter.update([3.0, 2.0, 2.5, 2.5][epoch - 1])
    >>> epoch, counter.best_epoch, counter(0.0)
    (4, 2, 0.1)
    """

    def __init__(
        self,
        limit,
        rate,
        patience=10,
        factor=0.1,
        num_drops=1,
        smoothing=0.6,
    ):
        if patience < 1 or num_drops < 0 or not 0 <= smoothing < 1:
            raise ValueError(
                "patience must be at least 1, num_drops at least 0 and "
                f"smoothing in [0, 1), got {patience}, {num_drops} and "
                f"{smoothing}"
            )
        super().__init__(limit)
        self.rate, self.patience, self.factor = rate, patience, factor
        self.num_drops, self.smoothing = num_drops, smoothing
        self.smoothed = self.best = self.best_epoch = None
        self.waited = self.drops = 0
        self.stopped = False

    def __next__(self):
        if self.stopped:
            raise StopIteration
        return super().__next__()

    def __call__(self, progress):
        """Learning rate now.

        Arguments
        ---------
        progress : float
            Epochs done; does not matter.

        Returns
        -------
        float
        """
        return self.rate * self.factor**self.drops

    def update(self, loss):
        """Take note of the validation loss of the present epoch.

        Arguments
        ---------
        loss : float
            Of the epoch that :meth:`__next__` gave last.

        Raises
        ------
        ValueError
            If it is not a number.
        """
        if not loss < float("inf"):
            raise ValueError(
                f"the validation loss of epoch {self.current} is {loss}; "
                "lower the learning rate"
            )
        past = loss if self.smoothed is None else self.smoothed
        self.smoothed = self.smoothing * past + (1 - self.smoothing) * loss
        if self.best is None or self.smoothed <= self.best:
            self.best, self.best_epoch = self.smoothed, self.current
            self.waited = 0
            return
        self.waited += 1
        if self.waited == self.patience:
            if self.drops == self.num_drops:
                self.stopped = True
            else:
                self.drops += 1
                self.waited = 0

    STATE = (
        "current",
        "smoothed",
        "best",
        "best_epoch",
        "waited",
        "drops",
        "stopped",
    )

    @mark_as_saver
    def _save(self, path):
        state = {name: getattr(self, name) for name in self.STATE}
        with open(path, "w", encoding="utf-8") as file:
            json.dump(state, file)

    @mark_as_loader
    @mark_as_transfer
    def _recover(self, path, end_of_epoch=True):
        with open(path, encoding="utf-8") as file:
            state = json.load(file)
        for name in self.STATE:
            setattr(self, name, state[name])
        if not end_of_epoch:
            self.current -= 1


def averaged_epochs(best_epoch, num_epochs=5):
    """Epochs whose weights are averaged: the best one and those before it.

    Arguments
    ---------
    best_epoch : int
        From 1.
    num_epochs : int
        How many, as far as there are.

    Returns
    -------
    range

    Example
    -------
    >>> list(averaged_epochs(7)), list(averaged_epochs(2))
    ([3, 4, 5, 6, 7], [1, 2])
    """
    if best_epoch < 1 or num_epochs < 1:
        raise ValueError(
            "best_epoch and num_epochs must be at least 1, got "
            f"{best_epoch} and {num_epochs}"
        )
    return range(max(1, best_epoch - num_epochs + 1), best_epoch + 1)


def averaged_state(states):
    """Mean of state dicts, entry by entry, batch statistics included.

    Arguments
    ---------
    states : iterable of dict
        With the same entries; read one by one.

    Returns
    -------
    dict of torch.Tensor
        Types as in the first; of integers (counts) those of the last.

    Raises
    ------
    ValueError
        If there are none, or entries or shapes differ.

    Example
    -------
    >>> import torch
    >>> one, two = {"w": torch.tensor([1.0])}, {"w": torch.tensor([3.0])}
    >>> averaged_state([one, two])
    {'w': tensor([2.])}
    """
    total, types, count = {}, {}, 0
    for count, state in enumerate(states, 1):
        if count == 1:
            types = {name: tensor.dtype for name, tensor in state.items()}
        elif {name: tensor.shape for name, tensor in state.items()} != {
            name: tensor.shape for name, tensor in total.items()
        }:
            raise ValueError(
                f"state dict number {count} has other entries or shapes than "
                "the first; only weights of one network can be averaged"
            )
        for name, tensor in state.items():
            if not tensor.is_floating_point():
                total[name] = tensor
            elif count == 1:
                total[name] = tensor.double()
            else:
                total[name] = total[name] + tensor
    if not count:
        raise ValueError("no state dicts: there is nothing to average")
    return {
        name: (tensor / count).to(types[name])
        if types[name].is_floating_point
        else tensor
        for name, tensor in total.items()
    }
