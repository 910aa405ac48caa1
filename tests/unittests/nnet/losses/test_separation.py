"""The loss of separation, against trying every order by hand."""

import itertools

import numpy as np
import pytest
import torch

from spatial_brain.nnet.losses.separation import snr_loss


def by_hand(estimate, reference):
    """Lowest loss of all orders, and the order, of one mixture."""
    estimate, reference = estimate.numpy(), reference.numpy()
    found = []
    for order in itertools.permutations(range(estimate.shape[-1])):
        ratios = []
        for i, j in enumerate(order):
            for ear in range(2):
                s, e = reference[:, ear, j], estimate[:, ear, i]
                s, e = s - s.mean(), e - e.mean()
                ratio = (s**2).sum() / (((e - s) ** 2).sum() + 1e-8)
                ratios.append(10 * np.log10(ratio + 1e-8))
        found.append((-np.mean(ratios), list(order)))
    return min(found)


@pytest.mark.parametrize("num_sources", [1, 2, 3])
def test_every_order_tried_by_hand(num_sources):
    torch.manual_seed(num_sources)
    reference = torch.randn(5, 40, 2, num_sources, dtype=torch.float64)
    estimate = reference.flip(3) + torch.randn_like(reference) + 0.3
    sizes = [40, 33, 21, 40, 8]
    loss, order = snr_loss(estimate, reference, torch.tensor(sizes) / 40)
    for k, size in enumerate(sizes):
        wanted = by_hand(estimate[k, :size], reference[k, :size])
        assert loss[k].item() == pytest.approx(wanted[0], abs=1e-9)
        assert order[k].tolist() == wanted[1]


def test_padding_has_no_gradient_and_no_say():
    torch.manual_seed(0)
    reference = torch.randn(1, 30, 2, 2)
    estimate = torch.randn(1, 30, 2, 2, requires_grad=True)
    loss, _ = snr_loss(estimate, reference, torch.tensor([0.5]))
    loss.sum().backward()
    assert not estimate.grad[:, 15:].any() and estimate.grad[:, :15].all()
    alone, _ = snr_loss(estimate[:, :15], reference[:, :15])
    assert torch.allclose(loss, alone, atol=1e-5)


def test_half_precision_is_widened():
    torch.manual_seed(0)
    reference = torch.randn(2, 50, 2, 2)
    estimate = (reference + 0.01 * torch.randn_like(reference)).bfloat16()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss, _ = snr_loss(estimate, reference)
    wanted, _ = snr_loss(estimate.float(), reference)
    assert loss.dtype == torch.float32 and torch.equal(loss, wanted)


def test_silence_gives_numbers():
    silence = torch.zeros(1, 50, 2, 2, requires_grad=True)
    loss, _ = snr_loss(silence, silence.detach())
    loss.sum().backward()
    assert torch.isfinite(loss).all() and torch.isfinite(silence.grad).all()


def test_shapes_must_agree():
    with pytest.raises(ValueError, match="of one shape"):
        snr_loss(torch.zeros(1, 9, 2, 2), torch.zeros(1, 9, 2, 3))
    with pytest.raises(ValueError, match="of one shape"):
        snr_loss(torch.zeros(1, 9, 2), torch.zeros(1, 9, 2))
