"""Signals of one channel, placed at random, with their labels."""

import pytest
import torch

from spatial_brain.augment.chains import augmentation_chain
from spatial_brain.augment.mono import MonoPlacement
from spatial_brain.geometry import unit_to_azel


def scene(batch=64, classes=4, frames=5):
    """Noise in all channels; class 2 sounds in frames 1 to 3 of each item."""
    torch.manual_seed(0)
    waveform = torch.randn(batch, 300, 4)
    vector = torch.nn.functional.normalize(torch.randn(batch, 3), dim=-1)
    accdoa = torch.zeros(batch, frames, 3, classes)
    accdoa[:, 1:4, :, 2] = vector[:, None]
    adpit = torch.zeros(batch, frames, 6, 4, classes)
    adpit[:, 1:4, 0, 0, 2] = 1.0
    adpit[:, 1:4, 0, 1:, 2] = vector[:, None]
    doa = torch.zeros(batch, frames, 3, 3)
    doa[:, 1:4, 0] = vector[:, None]
    return waveform, {
        "accdoa": accdoa.flatten(2),
        "adpit": adpit,
        "doa": doa,
        "sed": torch.rand(batch, frames, 3, classes),
        "overlap": torch.ones(batch),
    }


def test_signals_and_labels_have_the_drawn_direction():
    waveform, targets = scene()
    made, labels = MonoPlacement()(waveform, targets)
    assert torch.equal(made[..., 0], waveform[..., 0])
    # Gains of the dipoles Y, Z, X against the one of W: the direction.
    gains = (made / made[..., :1]).median(1).values
    direction = gains[:, [3, 1, 2]]
    assert torch.allclose(direction.norm(dim=-1), torch.ones(64), atol=1e-5)
    assert torch.allclose(labels["doa"][:, 2, 0], direction, atol=1e-5)
    accdoa = labels["accdoa"].unflatten(-1, (3, 4))
    assert torch.allclose(accdoa[:, 1, :, 2], direction, atol=1e-5)
    assert torch.allclose(labels["adpit"][:, 3, 0, 1:, 2], direction, atol=1e-5)
    # What is active stays so, and nothing else becomes it.
    for name in ("accdoa", "adpit", "doa"):
        assert torch.equal(labels[name] != 0, targets[name] != 0), name
    assert torch.equal(
        labels["adpit"][:, :, :, 0], targets["adpit"][:, :, :, 0]
    )
    for name in ("sed", "overlap"):
        assert torch.equal(labels[name], targets[name])
    # Other directions at the next visit; the inputs are untouched.
    again, _ = MonoPlacement()(waveform, targets)
    assert not torch.allclose(again, made)
    assert torch.equal(targets["doa"], scene()[1]["doa"])


@pytest.mark.parametrize(
    ("integer_grid", "height"),
    # Mean of |z|: uniform on the sphere 1 / 2, uniform in the angle 2 / pi.
    [(False, 0.5), (True, 0.637)],
)
def test_distribution_of_directions(integer_grid, height):
    targets = {"doa": torch.ones(20_000, 1, 1, 3), "overlap": torch.ones(1)}
    _, labels = MonoPlacement(integer_grid)(
        torch.zeros(20_000, 1, 4), targets, torch.Generator().manual_seed(1)
    )
    vectors = labels["doa"][:, 0, 0].double() / 3**0.5
    assert vectors[:, 2].abs().mean().item() == pytest.approx(height, abs=0.01)
    assert vectors[:, :2].mean(0).abs().max() < 0.02
    azimuth, elevation = unit_to_azel(vectors)
    # At the poles there is no azimuth.
    away = elevation.abs() < 89
    whole = (azimuth - azimuth.round()).abs()[away] < 1e-3
    assert whole.all() == integer_grid
    assert -90 <= elevation.min() and elevation.max() <= 90


def test_overlapping_events_are_refused():
    waveform, targets = scene(2)
    targets["overlap"] = torch.tensor([1.0, 2.0])
    with pytest.raises(ValueError, match=r"2 events at once.*train_overlap"):
        MonoPlacement()(waveform, targets)


def test_chains_begin_with_the_placement():
    waveform, targets = scene(2)
    chain = augmentation_chain("none", mono=True)
    made, labels = chain.augment_waveform(waveform, targets)
    assert not torch.equal(made, waveform)
    features = torch.randn(2, 7, 50, 64)
    assert chain.augment_features(features, labels)[0] is features
    chain = augmentation_chain("augmix", mono=True, compat=True)
    assert isinstance(chain.waveform[0], MonoPlacement)
    assert chain.waveform[0].integer_grid
    assert len(chain.waveform) == 3 and chain.copies == 3
    with pytest.raises(ValueError, match="array_format foa"):
        augmentation_chain("none", format="mic", mono=True)
