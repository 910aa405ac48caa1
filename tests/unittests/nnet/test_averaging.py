"""Smoothed early stopping and the mean of weights."""

import itertools

import pytest
import torch
from speechbrain.utils.checkpoints import Checkpointer

from spatial_brain.nnet.averaging import (
    PlateauCounter,
    averaged_epochs,
    averaged_state,
)


def oracle(losses, patience=10, limit=200):
    """The rules in plain words; epochs, rates, smoothed losses and best."""
    smoothed, rates, best, best_epoch = [], [], None, 0
    waited, rate = 0, 1.0
    for epoch in range(1, limit + 1):
        rates.append(rate)
        loss = losses[epoch - 1]
        smoothed.append(loss if epoch == 1 else 0.6 * smoothed[-1] + 0.4 * loss)
        if best is None or -smoothed[-1] >= best:
            best, best_epoch, waited = -smoothed[-1], epoch, 0
            continue
        waited += 1
        if waited == patience:
            if rate < 1.0:
                break
            rate, waited = rate / 10, 0
    return epoch, rates, smoothed, best_epoch


@pytest.mark.parametrize("seed", range(8))
def test_follows_the_published_rules(seed):
    generator = torch.Generator().manual_seed(seed)
    noise = torch.rand(200, generator=generator)
    falling = torch.exp(-torch.arange(200) / (2 + 3 * seed))
    losses = (falling + 0.1 * noise).tolist()
    counter, rates, smoothed = PlateauCounter(200, 1.0), [], []
    for epoch in counter:
        rates.append(counter(epoch - 1))
        counter.update(losses[epoch - 1])
        smoothed.append(counter.smoothed)
    last, right_rates, right_smoothed, best_epoch = oracle(losses)
    assert 20 < last < 200
    assert (counter.current, counter.best_epoch) == (last, best_epoch)
    assert rates == pytest.approx(right_rates)
    assert smoothed == pytest.approx(right_smoothed)


def test_equal_losses_count_as_better_and_the_limit_holds():
    counter = PlateauCounter(30, 1.0, patience=2)
    for _ in counter:
        counter.update(0.5)
    assert (counter.current, counter.best_epoch, counter.drops) == (30, 30, 0)


def test_a_resumed_training_goes_the_same_way(tmp_path):
    losses = [3.0, 1.0, 2.0, *itertools.repeat(2.5, 20)]

    def train(counter, saved_after=None):
        seen = []
        for epoch in counter:
            seen.append((epoch, counter(0)))
            counter.update(losses[epoch - 1])
            if epoch == saved_after:
                Checkpointer(tmp_path, {"counter": counter}).save_checkpoint()
                break
        return seen

    unbroken = train(PlateauCounter(50, 1.0, patience=3))
    first = train(PlateauCounter(50, 1.0, patience=3), saved_after=6)
    resumed = PlateauCounter(50, 1.0, patience=3)
    Checkpointer(tmp_path, {"counter": resumed}).recover_if_possible()
    assert first + train(resumed) == unbroken
    assert list(resumed) == [] and resumed.best_epoch == 3


def test_a_loss_that_is_no_number_ends_with_a_remedy():
    counter = PlateauCounter(5, 1.0)
    next(counter)
    with pytest.raises(ValueError, match="epoch 1 is nan; lower"):
        counter.update(float("nan"))
    with pytest.raises(ValueError, match="patience must be at least 1"):
        PlateauCounter(5, 1.0, patience=0)


def test_average_keeps_batch_statistics_types_and_counts():
    states = []
    for value in (1.0, 2.0, 6.0):
        layer = torch.nn.BatchNorm1d(2).half()
        torch.nn.init.constant_(layer.weight, value)
        layer.running_mean.fill_(10 * value)
        layer.num_batches_tracked.fill_(int(value))
        states.append(layer.state_dict())
    mean = averaged_state(iter(states))
    assert mean["weight"].tolist() == [3.0, 3.0]
    assert mean["weight"].dtype == torch.float16
    assert mean["running_mean"].tolist() == [30.0, 30.0]
    assert mean["num_batches_tracked"] == 6
    assert states[0]["weight"].tolist() == [1.0, 1.0]
    torch.nn.BatchNorm1d(2).load_state_dict(mean)


def test_average_refuses_other_networks():
    states = [torch.nn.Linear(n, 1).state_dict() for n in (1, 2)]
    with pytest.raises(ValueError, match="number 2 has other entries"):
        averaged_state(states)
    with pytest.raises(ValueError, match="nothing to average"):
        averaged_state([])


def test_window_of_epochs():
    assert list(averaged_epochs(5)) == [1, 2, 3, 4, 5]
    assert list(averaged_epochs(9, 1)) == [9]
    with pytest.raises(ValueError, match="at least 1"):
        averaged_epochs(0)
