"""Masks and shifts of features against loops over items."""

import pytest
import torch

from spatial_brain.augment.spectral import Cutout, FrequencyShift, SpecAugment

SHAPE = (6, 7, 301, 64)


def make(seed=0, shape=SHAPE):
    generator = torch.Generator().manual_seed(seed)
    features = torch.randn(shape, generator=generator) + 7.0
    batch, labels = shape[0], shape[2] // 10
    targets = {
        "accdoa": torch.ones(batch, labels, 9),
        "adpit": torch.ones(batch, labels, 6, 4, 3),
        "sed": torch.ones(batch, labels, 3, 3),
        "doa": torch.ones(batch, labels, 3, 3),
        "overlap": torch.full((batch,), 2),
    }
    return features, targets


def generator_of(seed):
    return torch.Generator().manual_seed(seed)


def fill_of(features, fill):
    if fill is not None:
        return torch.full(features.shape[:2], fill)
    values = torch.zeros(features.shape[:2])
    values[:, :4] = features[:, :4].mean(dim=(2, 3))
    return values


def spans(shape, longest, size, generator):
    """The draws again: floor(U (longest + 1)) long, and where."""
    width = torch.rand(shape, generator=generator) * (longest + 1)
    start = torch.rand(shape, generator=generator) * (size - width)
    return start.floor().int(), width.floor().int()


@pytest.mark.parametrize("fill", [None, 0.0, -100.0])
def test_spec_augment_brute_force(fill):
    features, targets = make()
    found, labels = SpecAugment(fill=fill)(features, targets, generator_of(3))
    generator = generator_of(3)
    batch, channels, _, bins = SHAPE
    start, width = spans((batch, 4), 3, 30, generator)
    low, height = spans((batch, channels, 2), 7, bins, generator)
    expected, value = features.clone(), fill_of(features, fill)
    hidden = torch.zeros(batch, 30, dtype=torch.bool)
    for b in range(batch):
        for k in range(4):
            s, w = int(start[b, k]), int(width[b, k])
            hidden[b, s : s + w] = True
            for c in range(channels):
                expected[b, c, 10 * s : 10 * (s + w)] = value[b, c]
        for c in range(channels):
            for k in range(2):
                s, w = int(low[b, c, k]), int(height[b, c, k])
                expected[b, c, :, s : s + w] = value[b, c]
    assert torch.equal(found, expected)
    for name in ("accdoa", "adpit", "sed", "doa"):
        active = labels[name].flatten(2)
        assert ((active == 0).all(2) == hidden).all()
        assert ((active == 1).all(2) == ~hidden).all()
    assert torch.equal(labels["overlap"], targets["overlap"])


def test_spec_augment_hides_ten_frames_for_each_label():
    features, targets = make(shape=(40, 7, 1001, 64))
    found, labels = SpecAugment(fill=-1e3)(features, targets, generator_of(4))
    hidden = (found == -1e3).all(dim=3).all(dim=1)
    silent = labels["accdoa"][..., 0] == 0
    assert torch.equal(hidden[:, :1000], silent.repeat_interleave(10, dim=1))
    assert not hidden[:, 1000].any()
    assert silent.sum(1).max() <= 12
    assert 4.5 < silent.sum(1).float().mean() < 7.0


def test_spec_augment_widths():
    """One mask alone hides 0, 10, 20 or 30 frames, all as often."""
    features, targets = make(shape=(2000, 1, 101, 8))
    mask = SpecAugment(num_time_masks=1, num_frequency_masks=0, fill=-1e3)
    found, _ = mask(features, targets, generator_of(1))
    widths = (found == -1e3).all(dim=3)[:, 0].sum(1)
    assert set(widths.tolist()) == {0, 10, 20, 30}
    assert (widths.bincount()[::10] / 2000 - 0.25).abs().max() < 0.04


@pytest.mark.parametrize("fill", [None, 0.0])
def test_cutout_brute_force(fill):
    features, targets = make(shape=(5, 7, 61, 16))
    found, labels = Cutout(fill=fill)(features, targets, generator_of(6))
    generator = generator_of(6)
    frame, width = spans((5, 7, 4), 7, 61, generator)
    low, height = spans((5, 7, 4), 3, 16, generator)
    expected, value = features.clone(), fill_of(features, fill)
    for b in range(5):
        for c in range(7):
            for k in range(4):
                t, w = int(frame[b, c, k]), int(width[b, c, k])
                f, h = int(low[b, c, k]), int(height[b, c, k])
                expected[b, c, t : t + w, f : f + h] = value[b, c]
    assert not torch.equal(found, features)
    assert torch.equal(found, expected)
    assert labels is targets


@pytest.mark.parametrize("direction", ["random", "up", "down"])
def test_frequency_shift_brute_force(direction):
    features, targets = make(shape=(24, 7, 11, 16))
    shift = FrequencyShift(direction=direction)
    found, labels = shift(features, targets, generator_of(8))
    generator = generator_of(8)
    steps = torch.randint(15, (24,), generator=generator)
    moved = torch.rand(24, generator=generator) < 0.5
    up = torch.full((24,), direction == "up")
    if direction == "random":
        up = torch.rand(24, generator=generator) < 0.5
        assert 0 < (up & moved).sum() < moved.sum()
    pad = torch.nn.functional.pad
    for b in range(24):
        s = int(steps[b] * moved[b])
        if up[b]:
            expected = pad(features[b], (s, 0), mode="reflect")[..., :16]
        else:
            expected = pad(features[b], (0, s), mode="reflect")[..., -16:]
        assert torch.equal(found[b], expected)
    assert labels is targets


def test_frequency_shift_leaves_lags():
    features, targets = make(shape=(8, 10, 11, 64))
    shift = FrequencyShift(probability=1.0, num_channels=4)
    found, _ = shift(features, targets, generator_of(2))
    assert torch.equal(found[:, 4:], features[:, 4:])
    every, _ = FrequencyShift(probability=1.0)(features, {}, generator_of(2))
    assert torch.equal(found[:, :4], every[:, :4])


@pytest.mark.parametrize(
    "operation", [SpecAugment(), Cutout(), FrequencyShift()]
)
def test_inputs_stay_and_seeds_repeat(operation):
    features, targets = make()
    before = features.clone()
    labels = {name: values.clone() for name, values in targets.items()}
    first, _ = operation(features, targets, generator_of(9))
    second, _ = operation(features, targets, generator_of(9))
    other, _ = operation(features, targets, generator_of(10))
    assert torch.equal(first, second)
    assert not torch.equal(first, other)
    assert torch.equal(features, before)
    assert all(torch.equal(targets[name], labels[name]) for name in labels)
    torch.manual_seed(11)
    third, _ = operation(features, targets)
    torch.manual_seed(11)
    assert torch.equal(third, operation(features, targets)[0])


def test_errors():
    features, targets = make()
    targets["accdoa"] = targets["accdoa"][:, :-1]
    with pytest.raises(ValueError, match="29 label frames"):
        SpecAugment()(features, targets)
    with pytest.raises(ValueError, match="random, up or down"):
        FrequencyShift(direction="None")
    with pytest.raises(ValueError, match="14 bins"):
        FrequencyShift()(features[..., :14], {})
