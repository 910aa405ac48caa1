"""Losses of SELD against exhaustive searches."""

from itertools import permutations

import pytest
import torch
from torch.nn import functional as F

from spatial_brain.nnet.losses.seld import (
    SELDLoss,
    accdoa_loss,
    adpit_loss,
    aggregated_loss,
    track_pit_loss,
)


def directions(*shape):
    return F.normalize(torch.randn(*shape, 3), dim=-1)


def adpit_oracle(output, target):
    """All 13 padded targets, written out; [batch, frame, class]."""
    batch, frames, _, _, classes = target.shape
    a0, b0, b1, c0, c1, c2 = target[:, :, :, 1:].unbind(2)

    def triple(*tracks):
        return torch.stack(tracks, 2)

    a = [triple(a0, a0, a0)]
    b = [
        triple(b0, b0, b1),
        triple(b0, b1, b0),
        triple(b0, b1, b1),
        triple(b1, b0, b0),
        triple(b1, b0, b1),
        triple(b1, b1, b0),
    ]
    c = [triple(*order) for order in permutations((c0, c1, c2))]
    candidates = [one + b[0] + c[0] for one in a]
    candidates += [two + a[0] + c[0] for two in b]
    candidates += [three + a[0] + b[0] for three in c]
    assert len(candidates) == 13
    tracks = output.view(batch, frames, 3, 3, classes)
    errors = [(tracks - y).square().mean((2, 3)) for y in candidates]
    return torch.stack(errors).min(0).values


def random_slots(batch, frames, classes):
    """Nought to three events in every frame and class, one family each."""
    target = torch.zeros(batch, frames, 6, 4, classes)
    count = torch.randint(0, 4, (batch, frames, classes))
    vectors = directions(batch, frames, 6, classes).transpose(3, 4)
    for slot, events in enumerate((1, 2, 2, 3, 3, 3)):
        active = (count == events).float()
        target[:, :, slot, 0] = active
        target[:, :, slot, 1:] = vectors[:, :, slot] * active[:, :, None]
    return target


def mixed_slots(*size):
    """Events of mixed clips, whose vectors have fractional lengths."""
    target, share = random_slots(*size), torch.rand(size[0], 1, 1)
    scale = torch.stack((share, 1 - share, share, 1 - share, share, share), 2)
    return target * scale[:, :, :, None]


def crowded_slots(*size):
    """Vectors of any length in any slot, against the rule."""
    target = torch.randn(size[0], size[1], 6, 4, size[2])
    target[:, :, :, 0] = 1.0
    return target * (torch.rand_like(target[:, :, :, :1]) < 0.5)


@pytest.mark.parametrize("make", [random_slots, mixed_slots, crowded_slots])
def test_adpit_against_thirteen_candidates(make):
    torch.manual_seed(0)
    for size in ((1, 1, 1), (3, 20, 7), (2, 50, 13)):
        target = make(*size)
        output = torch.randn(size[0], size[1], 9 * size[2]).tanh()
        output.requires_grad_()
        expected = adpit_oracle(output, target).mean()
        gradient = torch.autograd.grad(expected, output)[0]
        loss = adpit_loss(output, target)
        assert torch.allclose(loss, expected, atol=1e-6)
        own = torch.autograd.grad(loss, output)[0]
        assert torch.allclose(own, gradient, atol=1e-7)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_unit_vectors_beside_a_fractional_activity(dtype):
    # As PSELDNets keeps them: its loss multiplies by the activity.
    torch.manual_seed(0)
    scaled = mixed_slots(2, 20, 5)
    unit = scaled.clone()
    unit[:, :, :, 1:] /= scaled[:, :, :, :1].clamp(min=1e-9)
    assert (unit[:, :, :, 1:].norm(dim=3).amax() - 1).abs() < 1e-5
    output = torch.randn(2, 20, 45).tanh()
    expected = adpit_loss(output, scaled)
    found = adpit_loss(output, unit.to(dtype))
    assert torch.allclose(
        found, expected, atol=1e-3 if dtype.itemsize < 4 else 1e-6
    )
    hard = unit.clone()
    hard[:, :, :, 0] = (hard[:, :, :, 0] > 0).float()
    assert abs(adpit_loss(output, hard) - expected) > 0.01


def test_adpit_is_blind_to_the_order_of_events_and_tracks():
    torch.manual_seed(0)
    target, output = random_slots(2, 30, 4), torch.randn(2, 30, 36)
    loss = adpit_loss(output, target)
    other = target[:, :, [0, 2, 1, 5, 3, 4]]
    assert torch.allclose(adpit_loss(output, other), loss)
    tracks = output.view(2, 30, 3, 12)[:, :, [2, 0, 1]].flatten(2)
    assert torch.allclose(adpit_loss(tracks, target), loss)


def test_adpit_perfect_and_silent_answers():
    torch.manual_seed(0)
    target = random_slots(2, 30, 4)
    slots = target[:, :, :, 1:]
    best = torch.zeros(2, 30, 3, 3, 4)
    for track, taken in enumerate(((0, 1, 3), (0, 2, 4), (0, 1, 5))):
        best[:, :, track] = sum(slots[:, :, slot] for slot in taken)
    assert adpit_loss(best.flatten(2), target) < 1e-12
    # Silence costs a third for every active class: no empty target wins.
    active = target[:, :, :, 0].sum(2).clamp(max=1).mean()
    silence = adpit_loss(torch.zeros(2, 30, 36), target)
    assert torch.allclose(silence, active / 3)
    # Nothing sounds: the output itself is the error.
    output = torch.randn(2, 30, 36)
    loss = adpit_loss(output, torch.zeros_like(target))
    assert torch.allclose(loss, output.square().mean())


def pit_oracle(sed, doa, target_sed, target_doa, beta):
    """Best of all orders by the total; [batch, frame] of all three."""
    best = None
    for order in permutations(range(sed.shape[2])):
        entropy = F.binary_cross_entropy_with_logits(
            sed, target_sed[:, :, list(order)], reduction="none"
        ).mean((2, 3))
        squared = (doa - target_doa[:, :, list(order)]).square().mean((2, 3))
        total = beta * entropy + (1 - beta) * squared
        one = torch.stack((total, entropy, squared))
        if best is None:
            best = one
        best = torch.where(one[0] < best[0], one, best)
    return best


def random_tracks(batch=3, frames=20, tracks=3, classes=6, soft=False):
    sed = 3 * torch.randn(batch, frames, tracks, classes)
    doa = torch.randn(batch, frames, tracks, 3).tanh()
    label = torch.randint(0, classes + 2, (batch, frames, tracks))
    target_sed = F.one_hot(label, classes + 2)[..., :classes].float()
    target_doa = directions(batch, frames, tracks)
    target_doa = target_doa * target_sed.sum(-1, keepdim=True)
    if soft:
        target_sed = target_sed * torch.rand(batch, 1, 1, 1)
    return sed.requires_grad_(), doa.requires_grad_(), target_sed, target_doa


@pytest.mark.parametrize("soft", [False, True])
@pytest.mark.parametrize("beta", [0.0, 0.5, 0.9, 1.0])
def test_track_pit_against_all_orders(soft, beta):
    torch.manual_seed(0)
    for tracks in (1, 2, 3, 4):
        batch = random_tracks(tracks=tracks, soft=soft)
        expected = pit_oracle(*batch, beta)
        parts = track_pit_loss(*batch, beta)
        assert torch.allclose(parts[0], expected[0].mean(), atol=1e-6)
        if 0.0 < beta < 1.0:
            means = expected.mean((1, 2))
            assert torch.allclose(torch.stack(parts), means, atol=1e-6)
        own = torch.autograd.grad(parts[0], batch[:2])
        gradient = torch.autograd.grad(expected[0].mean(), batch[:2])
        for a, b in zip(own, gradient, strict=True):
            assert torch.allclose(a, b, atol=1e-6)


def aggregated_oracle(sed, doa, target_sed, target_doa):
    """Outer products and all orders; both losses by [batch, frame]."""
    direction = doa / doa.norm(dim=-1, keepdim=True)
    output = sed.sigmoid()[..., None] * direction[:, :, :, None]
    target = target_sed[..., None] * target_doa[:, :, :, None]
    errors = [
        (output - target[:, :, list(order)]).square().mean((2, 3, 4))
        for order in permutations(range(sed.shape[2]))
    ]
    summed = (output.sum(2) - target.sum(2)).square().mean((2, 3))
    return torch.stack(errors).min(0).values, summed


@pytest.mark.parametrize("soft", [False, True])
def test_aggregated_against_all_orders(soft):
    torch.manual_seed(0)
    batch = random_tracks(soft=soft)
    agg1, agg2 = aggregated_oracle(*batch)
    for name, expected in (
        ("agg1", agg1.mean()),
        ("agg2", agg2.mean()),
        ("mixed", 0.3 * agg1.mean() + 0.7 * agg2.mean()),
    ):
        loss = aggregated_loss(*batch, name, 0.3)
        assert torch.allclose(loss, expected, atol=1e-6), name
        own = torch.autograd.grad(loss, batch[:2])
        gradient = torch.autograd.grad(expected, batch[:2], retain_graph=True)
        for a, b in zip(own, gradient, strict=True):
            assert torch.allclose(a, b, atol=1e-6), name


METHODS = [
    ("accdoa", None),
    ("multi_accdoa", None),
    ("einv2", None),
    ("seddoa", "agg1"),
    ("einv2", "agg2"),
    ("seddoa", "mixed"),
]


def random_batch(method):
    """Outputs and targets of three clips of 20 frames, 6 classes."""
    torch.manual_seed(1)
    if method == "accdoa":
        outputs = {"accdoa": torch.randn(3, 20, 18)}
        return outputs, {"accdoa": torch.randn(3, 20, 18)}
    if method == "multi_accdoa":
        outputs = {"multi_accdoa": torch.randn(3, 20, 54)}
        return outputs, {"adpit": random_slots(3, 20, 6)}
    sed, doa, target_sed, target_doa = random_tracks()
    outputs = {"sed": sed.detach(), "doa": doa.detach()}
    return outputs, {"sed": target_sed, "doa": target_doa}


@pytest.mark.parametrize(("method", "aggregation"), METHODS)
def test_mask_counts_frames(method, aggregation):
    outputs, targets = random_batch(method)
    loss = SELDLoss(method, aggregation=aggregation, alpha=0.3)
    whole = loss(outputs, targets)
    assert torch.allclose(
        loss(outputs, targets, torch.ones(3, 20)), whole, atol=1e-6
    )
    mask = torch.zeros(3, 20)
    mask[0, :7] = mask[2] = 1
    counted = {k: torch.cat((v[0, :7], v[2]))[None] for k, v in outputs.items()}
    wanted = {k: torch.cat((v[0, :7], v[2]))[None] for k, v in targets.items()}
    expected = loss(counted, wanted)
    assert torch.allclose(loss(outputs, targets, mask), expected, atol=1e-6)
    assert torch.allclose(
        loss(outputs, targets, mask.bool()), expected, atol=1e-6
    )
    assert abs(expected - whole) > 1e-4
    assert loss(outputs, targets, torch.zeros(3, 20)) == 0
    with pytest.raises(ValueError, match=r"mask has shape \(3, 19\)"):
        loss(outputs, targets, mask[:, 1:])


@pytest.mark.parametrize(("method", "aggregation"), METHODS)
def test_float32_under_autocast(method, aggregation):
    outputs, targets = random_batch(method)
    loss = SELDLoss(method, aggregation=aggregation, alpha=0.3)
    outputs = {k: v.bfloat16().requires_grad_() for k, v in outputs.items()}
    wide = {k: v.detach().float() for k, v in outputs.items()}
    with torch.autocast("cpu", dtype=torch.bfloat16):
        value = loss(outputs, targets)
        value.backward()
    assert value.dtype == torch.float32
    assert torch.equal(value.detach(), loss(wide, targets))
    for output in outputs.values():
        assert output.grad.isfinite().all() and output.grad.any()


@pytest.mark.parametrize(("method", "aggregation"), METHODS)
def test_gradients_by_differences(method, aggregation):
    outputs, targets = random_batch(method)
    loss = SELDLoss(method, aggregation=aggregation, alpha=0.3)
    names = list(outputs)
    values = [outputs[name][:1, :2].double().requires_grad_() for name in names]
    targets = {name: value[:1, :2].double() for name, value in targets.items()}

    def value_of(*values):
        return loss(dict(zip(names, values, strict=True)), targets)

    assert torch.autograd.gradcheck(value_of, values)


@pytest.mark.parametrize("aggregation", ["agg1", "agg2"])
@pytest.mark.parametrize("length", [0.0, 1e-30, 1e-6])
def test_directions_that_vanish(aggregation, length):
    """The gradient of the unit vector stays bounded at zero."""
    sed, doa, target_sed, target_doa = random_tracks()
    doa = (directions(3, 20, 3) * length).requires_grad_()
    loss = aggregated_loss(sed, doa, target_sed, target_doa, aggregation)
    loss.backward()
    assert loss.isfinite() and doa.grad.isfinite().all()
    assert doa.grad.abs().max() < 1e4
    extreme = torch.full_like(sed, 1e4)
    for value in (extreme, -extreme):
        for loss in (
            aggregated_loss(value, doa, target_sed, target_doa, aggregation),
            track_pit_loss(value, doa, target_sed, target_doa)[0],
        ):
            assert loss.isfinite()


def test_class_weights_count_where_a_class_is_active():
    output, target = torch.randn(2, 2, 5, 3, 4).unbind(0)
    target[:, :2, :, 1] = 0  # class 1 is active later only
    target[..., 2] = 0  # class 2 never
    error = (output - target).square()
    factor = torch.ones_like(error)
    factor[..., 0] = 3.0
    factor[:, 2:, :, 1] = 0.5
    flat = output.flatten(2), target.flatten(2)
    weights = [3.0, 0.5, 9.0, 1.0]
    found = accdoa_loss(*flat, class_weights=weights)
    torch.testing.assert_close(found, (factor * error).mean())
    loss = SELDLoss("accdoa", class_weights=weights)
    assert loss({"accdoa": flat[0]}, {"accdoa": flat[1]}) == found
    with pytest.raises(ValueError, match="3 class_weights for 4 classes"):
        accdoa_loss(*flat, class_weights=[1, 2, 3])


def test_names_and_options():
    with pytest.raises(ValueError, match="method must be one of"):
        SELDLoss("maccdoa")
    with pytest.raises(ValueError, match="aggregation must be None or one"):
        SELDLoss("einv2", aggregation="agg3")
    with pytest.raises(ValueError, match="needs tracks"):
        SELDLoss("accdoa", aggregation="agg1")
    with pytest.raises(ValueError, match="beta must lie in"):
        SELDLoss("einv2", beta=2.0)
    with pytest.raises(ValueError, match='belong to the method "accdoa"'):
        SELDLoss("multi_accdoa", class_weights=[1.0])


def test_shapes_are_checked():
    output, target = torch.zeros(2, 5, 18), torch.zeros(2, 5, 6, 4, 2)
    adpit_loss(output, target)
    with pytest.raises(ValueError, match=r"expected \(2, 5, 6, 4, 2\)"):
        adpit_loss(output, target[:, :4])
    with pytest.raises(ValueError, match="target has shape"):
        accdoa_loss(output, output[..., :9])
    sed, doa, target_sed, target_doa = random_tracks()
    with pytest.raises(ValueError, match="target sed has shape"):
        track_pit_loss(sed, doa, target_sed[:, :4], target_doa)
    with pytest.raises(ValueError, match="doa has shape"):
        aggregated_loss(sed, doa[:, :, :2], target_sed, target_doa)
    with pytest.raises(ValueError, match="aggregation must be one of"):
        aggregated_loss(sed, doa, target_sed, target_doa, "agg3")
