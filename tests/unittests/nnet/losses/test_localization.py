import math
from itertools import permutations

import pytest
import torch

from spatial_brain.nnet.losses.localization import (
    _circular_labels,
    _gaussian_labels,
    azimuth_loss,
    azimuth_to_class,
    localization_loss,
    pit_class_loss,
    sorted_class_loss,
)
from spatial_brain.nnet.losses.seld import best_permutation


@pytest.mark.parametrize("size", [1, 2, 3, 4])
def test_best_permutation_by_brute_force(size):
    cost = torch.randn(20, size, size)
    loss, target = best_permutation(cost)
    for matrix, value, order in zip(cost, loss, target, strict=True):
        totals = {
            p: sum(matrix[i, p[i]].item() for i in range(size)) / size
            for p in permutations(range(size))
        }
        best = min(totals, key=totals.get)
        assert tuple(order.tolist()) == best
        assert value.item() == pytest.approx(totals[best], abs=1e-5)


def test_best_permutation_shapes():
    with pytest.raises(ValueError, match=r"\(2, 3, 2\)"):
        best_permutation(torch.zeros(2, 3, 2))
    with pytest.raises(ValueError, match="at most 6"):
        best_permutation(torch.zeros(1, 7, 7))


def cross_entropy(logits, target):
    """From the definition, one head, one example."""
    log_share = logits.double() - logits.double().exp().sum().log()
    if target.is_floating_point():
        return -(target.double() * log_share).sum().item()
    return -log_share[target].item()


@pytest.mark.parametrize("soft", [False, True])
@pytest.mark.parametrize("size", [2, 3])
def test_losses_by_brute_force(size, soft):
    logits = torch.randn(5, size, 12)
    targets = torch.randint(12, (5, size))
    if soft:
        targets = torch.rand(5, size, 12).softmax(-1)
    ranked, free = [], []
    for b in range(5):
        costs = [
            sum(
                cross_entropy(logits[b, i], targets[b, p[i]])
                for i in range(size)
            )
            for p in permutations(range(size))
        ]
        ranked.append(costs[0])
        free.append(min(costs))
    expected = sum(ranked) / 5
    assert sorted_class_loss(logits, targets).item() == pytest.approx(expected)
    expected = sum(free) / 5
    assert pit_class_loss(logits, targets).item() == pytest.approx(expected)


def test_free_order_does_not_care():
    logits, angles = torch.randn(4, 3, 36), 180 * torch.rand(4, 3)
    for sigma in (None, 4.0):
        free = localization_loss(logits, angles, "free", sigma)
        turned = localization_loss(logits.flip(1), angles, "free", sigma)
        assert torch.allclose(free, turned)
        ranked = localization_loss(logits, angles, "sorted", sigma)
        assert free <= ranked
        # The order of the talkers is not that of the heads.
        again = localization_loss(logits, angles.flip(1), "sorted", sigma)
        assert torch.equal(ranked, again)


def test_untrained_loss():
    angles = torch.tensor([[10.0, 100.0]])
    loss = localization_loss(torch.zeros(1, 2, 36), angles)
    assert loss.item() == pytest.approx(2 * math.log(36))


def test_azimuth_to_class():
    angles = torch.tensor([0.0, 4.99, 5.0, -179.9, 180.0, -90.0])
    assert azimuth_to_class(angles).tolist() == [0, 0, 1, 35, 35, 18]
    assert azimuth_to_class(angles, 180).tolist() == [0, 4, 5, 179, 179, 90]
    for wrong in (181.0, math.nan):
        with pytest.raises(ValueError, match="180"):
            azimuth_to_class(torch.tensor([3.0, wrong]))


@pytest.mark.parametrize("num_classes, sigma", [(36, 4.0), (180, 3.0)])
def test_gaussian_labels_by_integration(num_classes, sigma):
    angles = torch.tensor([0.0, 1.3, 45.0, 90.0, 177.0, 180.0])
    labels = _gaussian_labels(angles, num_classes, sigma)
    assert torch.allclose(labels.sum(-1), torch.ones(6), atol=1e-6)
    assert (labels >= 0).all()
    fine = (torch.arange(-400_000, 400_000) + 0.5) / 1000 + 90
    place = (fine.clamp(0, 179.999) * num_classes / 180).long()
    for angle, label in zip(angles, labels, strict=True):
        density = torch.exp(-0.5 * ((fine - angle) / sigma) ** 2)
        expected = torch.zeros(num_classes).index_add_(
            0, place, density / density.sum()
        )
        assert torch.allclose(label, expected, atol=2e-4)


def test_median_of_labels_is_the_angle():
    angles = torch.linspace(0, 180, 91)
    labels = _gaussian_labels(angles, 60, 5.0)
    below = labels.cumsum(-1)
    index = (below < 0.5 - 1e-5).sum(-1)
    # Angles on an edge belong to either bin.
    assert (
        (index * 3.0 <= angles + 1e-3) & (angles <= index * 3 + 3.001)
    ).all()
    assert torch.equal(
        _gaussian_labels(-angles, 60), _gaussian_labels(angles, 60)
    )


def test_small_sigma_gives_classes():
    angles = torch.tensor([2.5, 92.5, 177.5])
    labels = _gaussian_labels(angles, 36, 0.01)
    assert labels.argmax(-1).tolist() == azimuth_to_class(angles).tolist()
    assert labels.max(-1).values.min() > 0.999


def test_float32_under_mixed_precision():
    logits, angles = torch.randn(3, 2, 36), 180 * torch.rand(3, 2)
    expected = localization_loss(logits.bfloat16().float(), angles, sigma=4.0)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = localization_loss(logits.bfloat16(), angles, sigma=4.0)
    assert loss.dtype == torch.float32
    assert torch.equal(loss, expected)


def test_wrong_shapes_and_options():
    logits = torch.zeros(2, 2, 36)
    with pytest.raises(ValueError, match=r"\(2, 3\)"):
        sorted_class_loss(logits, torch.zeros(2, 3, dtype=torch.long))
    with pytest.raises(ValueError, match=r"\(2, 2, 35\)"):
        pit_class_loss(logits, torch.zeros(2, 2, 35))
    with pytest.raises(ValueError, match="class"):
        sorted_class_loss(logits[0], torch.zeros(2, dtype=torch.long))
    with pytest.raises(ValueError, match="'random'"):
        localization_loss(logits, torch.zeros(2, 2), order="random")
    with pytest.raises(ValueError, match="sigma"):
        _gaussian_labels(torch.zeros(2), sigma=0.0)


def test_circular_labels_turn_with_the_azimuth():
    azimuth = torch.arange(-180.0, 180.0, 5.0)
    labels = _circular_labels(azimuth, 72, sigma=6.0)
    assert torch.allclose(labels.sum(-1), torch.ones(72))
    for k in range(72):
        assert torch.allclose(labels[k], labels[0].roll(k), atol=1e-6)
    inside = _gaussian_labels(torch.tensor([82.0]), 36, sigma=6.0)
    around = _circular_labels(torch.tensor([82.0]), 72, sigma=6.0)
    assert torch.allclose(around[:, 36:], inside, atol=1e-6)
    for sigma in (0.0, 91.0):
        with pytest.raises(ValueError, match="sigma"):
            _circular_labels(azimuth, 72, sigma)
    with pytest.raises(ValueError, match="190"):
        _circular_labels(torch.tensor([190.0]))


def test_azimuth_loss_takes_the_best_order_and_learns():
    azimuth = torch.tensor([[-179.0, 20.0], [60.0, 170.0]])
    logits = _circular_labels(azimuth, 72, 5.0).log().clamp_min(-30)
    loss = azimuth_loss(logits, azimuth)
    assert torch.allclose(loss, azimuth_loss(logits, azimuth.flip(1)))
    worse = azimuth_loss(logits.roll(20, -1), azimuth)
    assert loss < worse
    assert torch.allclose(
        loss, azimuth_loss(logits.roll(36, -1), azimuth - 180 * azimuth.sign())
    )
