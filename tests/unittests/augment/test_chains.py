"""Chains: the table of the experiments, combinations, copies."""

import itertools

import pytest
import torch

from spatial_brain.augment.chains import AugmentationChain, augmentation_chain
from spatial_brain.augment.mixing import TrackMix, WavMix
from spatial_brain.augment.rotation import FOARotation, MICRotation
from spatial_brain.augment.spectral import Cutout, FrequencyShift, SpecAugment


def batch_of(number, seed=0):
    generator = torch.Generator().manual_seed(seed)
    waveform = torch.randn(number, 2400, 4, generator=generator)
    features = torch.randn(number, 7, 101, 64, generator=generator)
    targets = {
        "adpit": torch.zeros(number, 10, 6, 4, 5),
        "overlap": torch.ones(number, dtype=torch.int64),
    }
    targets["adpit"][:, 2:7, 0, :2, 3] = 1.0
    return waveform, features, targets


def test_table():
    assert augmentation_chain("none") is None
    for name, patterns, copies, mixing in (
        ("augment", 48, 1, True),
        ("augmix", 48, 3, True),
        ("augmix1", 16, 3, False),
    ):
        chain = augmentation_chain(name)
        kinds = [type(operation) for operation in chain.waveform]
        assert kinds == [FOARotation, WavMix][: 1 + mixing]
        assert len(chain.waveform[0].patterns) == patterns
        assert chain.waveform[0].probability == 0.8
        kinds = {type(operation) for operation in chain.features}
        expected = {SpecAugment, Cutout, FrequencyShift}
        assert kinds == expected | ({TrackMix} if mixing else set())
        assert chain.copies == copies
        if mixing:
            assert chain.waveform[1].copies == copies
            assert chain.waveform[1].probability == 0.5


@pytest.mark.parametrize("name", ["rotation", "features"])
def test_features_that_are_kept_can_be_rotated(name):
    chain = augmentation_chain(name)
    assert chain.waveform == () and chain.copies == 1
    _, features, targets = batch_of(8)
    turned, labels = chain.augment_features(features, targets)
    assert not torch.equal(turned, features)
    # Where an item stays, so do its labels.
    for i in range(8):
        stays = torch.equal(turned[i], features[i])
        same = torch.equal(labels["adpit"][i], targets["adpit"][i])
        assert same or not stays
    with pytest.raises(ValueError, match="array_format foa"):
        augmentation_chain(name, format="mic")


def test_mic_format():
    chain = augmentation_chain("augmix1", format="mic", spectral_channels=4)
    assert [type(o) for o in chain.waveform] == [MICRotation]
    assert chain.features[2].num_channels == 4


def test_compat():
    for compat in (False, True):
        chain = augmentation_chain("augmix", compat=compat)
        spec, cutout, shift, track = chain.features
        assert spec.fill == cutout.fill == (0.0 if compat else None)
        assert shift.direction == ("down" if compat else "random")
        assert track.avoid_self_pairs is not compat
        assert chain.waveform[1].avoid_self_pairs is not compat


@pytest.mark.parametrize("number", [1, 2, 3])
def test_combinations_are_equally_frequent(number):
    calls = []

    def operation(name):
        def apply(features, targets, generator):
            calls.append(name)
            return features, targets

        return apply

    chain = AugmentationChain(features=[operation(k) for k in range(number)])
    generator = torch.Generator().manual_seed(1)
    counts, draws = {}, 2000
    for _ in range(draws):
        calls.clear()
        chain.augment_features(torch.zeros(1), {}, generator)
        counts[tuple(calls)] = counts.get(tuple(calls), 0) + 1
    ordered = [
        order
        for size in range(1, number + 1)
        for order in itertools.permutations(range(number), size)
    ]
    assert set(counts) == set(ordered)
    for size in range(1, number + 1):
        for chosen in itertools.combinations(range(number), size):
            orders = list(itertools.permutations(chosen))
            shares = [counts[order] / draws for order in orders]
            expected = 1 / (2**number - 1)
            assert abs(sum(shares) - expected) < 0.04
            assert max(shares) - min(shares) < 0.05


def test_augmix_triples_and_keeps_the_first_third():
    waveform, features, targets = batch_of(4)
    chain = augmentation_chain("augmix")
    generator = torch.Generator().manual_seed(2)
    loud, labels = chain.augment_waveform(waveform, targets, generator)
    assert loud.shape == (12, 2400, 4)
    assert labels["adpit"].shape == (12, 10, 6, 4, 5)
    assert labels["overlap"].shape == (12,)
    tripled = torch.cat([features] * 3)
    made, after = chain.augment_features(tripled, labels, generator)
    assert torch.equal(made[:4], features)
    assert not torch.equal(made[4:8], features)
    assert not torch.equal(made[8:], features)
    assert not torch.equal(made[4:8], made[8:])
    for name in labels:
        assert torch.equal(after[name][:4], labels[name][:4])


def test_copies_follow_one_another():
    waveform, _, targets = batch_of(3)
    chain = AugmentationChain(augmix=True)
    loud, labels = chain.augment_waveform(waveform, targets)
    for copy in range(3):
        items = slice(3 * copy, 3 * copy + 3)
        assert torch.equal(loud[items], waveform)
        assert torch.equal(labels["adpit"][items], targets["adpit"])
    features = torch.randn(9, 2)
    assert chain.augment_features(features, labels)[0] is features


def test_no_clip_meets_its_copies():
    """Mixing copies of one clip would leave its waveform as it was."""
    chain = AugmentationChain(
        waveform=[WavMix(probability=1.0, copies=3)], augmix=True
    )
    waveform, _, targets = batch_of(1)
    loud, labels = chain.augment_waveform(waveform, targets)
    assert torch.equal(labels["overlap"], torch.ones(3).long())
    assert torch.equal(loud, torch.cat([waveform] * 3))


@pytest.mark.parametrize("name", ["augment", "augmix", "augmix1"])
@pytest.mark.parametrize("compat", [True, False])
def test_seeds_repeat_and_inputs_stay(name, compat):
    waveform, features, targets = batch_of(6)
    kept = waveform.clone(), features.clone(), targets["adpit"].clone()
    chain = augmentation_chain(name, compat=compat)

    def run(seed):
        generator = torch.Generator().manual_seed(seed)
        loud, labels = chain.augment_waveform(waveform, targets, generator)
        tripled = torch.cat([features] * chain.copies)
        made, labels = chain.augment_features(tripled, labels, generator)
        return loud, made, labels["adpit"], labels["overlap"]

    first, second, other = run(1), run(1), run(2)
    for one, two in zip(first, second, strict=True):
        assert torch.equal(one, two)
    assert not torch.equal(first[0], other[0])
    for one, two in zip(
        kept, (waveform, features, targets["adpit"]), strict=True
    ):
        assert torch.equal(one, two)


def test_errors():
    with pytest.raises(ValueError, match="augmix1"):
        augmentation_chain("default")
    with pytest.raises(ValueError, match="foa or mic"):
        augmentation_chain("augment", format="binaural")
    chain = augmentation_chain("augmix")
    with pytest.raises(ValueError, match="3 copies"):
        chain.augment_features(torch.zeros(4, 7, 101, 64), {})
