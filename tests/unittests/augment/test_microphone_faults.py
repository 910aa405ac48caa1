"""Microphone faults as augmentation."""

from types import SimpleNamespace

import pytest
import torch

from spatial_brain.augment.chains import augmentation_chain
from spatial_brain.augment.microphone_faults import (
    MicrophoneFaultAugmentation,
    fault_augmentation,
)
from spatial_brain.pair_experiment.brain import PairBrain


def test_recordings_get_faults_of_their_own_from_a_seed():
    batch = torch.randn(64, 200, 2)
    augment = MicrophoneFaultAugmentation(0.5, gain=3.0, noise=40.0)
    targets = {"tdoa": torch.zeros(64)}

    def run(seed):
        return augment(batch, targets, torch.Generator().manual_seed(seed))

    one, same, other = run(1), run(1), run(2)
    assert torch.equal(one[0], same[0]) and one[1] is targets
    assert not torch.equal(one[0], other[0])
    left = (one[0] == batch).flatten(1).all(1).sum()
    assert 20 < left < 44
    ratio = (one[0] / batch).median(dim=1).values[:, 0]
    assert len(ratio.round(decimals=2).unique()) > 15


def test_off_means_off_and_places_are_refused():
    assert fault_augmentation(None) is None
    batch = torch.randn(2, 200, 4)
    unchanged, _ = MicrophoneFaultAugmentation(0.0, dead=1)(batch, {})
    assert torch.equal(unchanged, batch)
    dead, _ = fault_augmentation({"dead": 1})(batch, {})
    assert ((dead == 0).all(1).sum(1) == 1).all()
    for wrong in ({"position": 2.0}, {"probability": 2.0}, {"hum": 1.0}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            fault_augmentation(wrong)


def test_chains_end_with_faults_and_keep_them_from_ambisonics():
    faults = {"dead": 1}
    chain = augmentation_chain("none", format="mic", faults=faults)
    waveform, _ = chain.augment_waveform(torch.randn(3, 800, 4), {})
    assert ((waveform == 0).all(1).sum(1) == 1).all()
    last = augmentation_chain("augment", format="mic", faults=faults).waveform
    assert isinstance(last[-1], MicrophoneFaultAugmentation)
    with pytest.raises(ValueError, match="--array_format mic"):
        augmentation_chain("none", faults=faults)


@pytest.mark.parametrize("training", [True, False])
def test_pairs_have_faults_in_training_alone(training):
    modules = SimpleNamespace(training=training, features=lambda x: x)
    brain = SimpleNamespace(
        device="cpu",
        device_type="cpu",
        modules=modules,
        fault_augmentation=fault_augmentation({"polarity": [1]}),
        signals=lambda batch: (batch, {"TDOA": torch.zeros(2)}),
    )
    batch = torch.randn(2, 100, 2)
    features, labels = PairBrain.features_and_labels(brain, batch)
    sign = torch.tensor([1.0, -1.0 if training else 1.0])
    assert torch.equal(features, batch * sign) and "TDOA" in labels
