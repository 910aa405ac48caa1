"""Rotation: signals and labels move together."""

import itertools

import pytest
import torch

from spatial_brain.augment.rotation import (
    FOARotation,
    MICRotation,
    foa_patterns,
    mic_patterns,
    rotate_foa,
    rotate_foa_features,
    rotate_mic,
    rotate_outputs,
    rotate_targets,
)
from spatial_brain.geometry import (
    SPEED_OF_SOUND,
    azel_to_unit,
    tetrahedral_array,
    unit_to_azel,
)
from spatial_brain.processing.seld_features import LogMelIntensity, Salsa
from spatial_brain.simulation.ambisonics import encode_foa

NUM_CLASSES = 3
# Azimuth in steps of 90 degrees, its sign, that of the elevation; channels.
MIC_TABLE = [
    (0, 1, 1, (1, 2, 3, 4)),
    (0, -1, -1, (2, 1, 4, 3)),
    (180, -1, -1, (3, 4, 1, 2)),
    (180, 1, 1, (4, 3, 2, 1)),
    (90, -1, 1, (1, 3, 2, 4)),
    (-90, 1, -1, (3, 1, 4, 2)),
    (90, 1, -1, (2, 4, 1, 3)),
    (-90, -1, 1, (4, 2, 3, 1)),
]


def targets_of(direction, label=1):
    """All kinds of targets of single events, directions [batch, L, 3]."""
    batch, frames, _ = direction.shape
    accdoa = torch.zeros(batch, frames, 3, NUM_CLASSES)
    accdoa[..., label] = direction
    adpit = torch.zeros(batch, frames, 6, 4, NUM_CLASSES)
    adpit[:, :, 0, 0, label] = 1.0
    adpit[:, :, 0, 1:, label] = direction
    sed = torch.zeros(batch, frames, 3, NUM_CLASSES)
    sed[:, :, 0, label] = 1.0
    doa = torch.zeros(batch, frames, 3, 3)
    doa[:, :, 0] = direction
    return {
        "accdoa": accdoa.flatten(2),
        "adpit": adpit,
        "sed": sed,
        "doa": doa,
        "overlap": torch.ones(batch, dtype=torch.int64),
    }


def draw_directions(batch, frames, seed=1):
    generator = torch.Generator().manual_seed(seed)
    vectors = torch.randn(batch, frames, 3, generator=generator)
    return torch.nn.functional.normalize(vectors, dim=-1)


def foa_of(signal, direction):
    azimuth, elevation = unit_to_azel(direction)
    return encode_foa(signal, azimuth, elevation)


def directions_in(targets, label=1):
    """The direction that each kind of target holds."""
    accdoa = targets["accdoa"].unflatten(-1, (3, NUM_CLASSES))
    yield accdoa[..., label]
    yield targets["adpit"][:, :, 0, 1:, label]
    yield targets["doa"][:, :, 0]


@pytest.mark.parametrize("number", [16, 48])
def test_foa_patterns_are_a_group(number):
    patterns = foa_patterns(number)
    assert patterns.shape == (number, 3, 3)
    assert torch.equal(patterns[0], torch.eye(3))
    keys = {tuple(p.flatten().int().tolist()) for p in patterns}
    assert len(keys) == number
    assert all(set(p.abs().sum(0).tolist()) == {1.0} for p in patterns)
    for one, two in itertools.product(patterns, repeat=2):
        assert tuple((one @ two).flatten().int().tolist()) in keys


def test_16_patterns_keep_the_horizon():
    assert (foa_patterns(16)[:, 2, :2] == 0).all()
    assert (foa_patterns(16)[:, :2, 2] == 0).all()


@pytest.mark.parametrize("number", [16, 48])
def test_foa_and_labels_move_together(number):
    patterns = foa_patterns(number)
    direction = draw_directions(number, 10)
    signal = torch.randn(number, 10)
    foa = rotate_foa(foa_of(signal, direction), patterns)
    targets = rotate_targets(targets_of(direction), patterns)
    expected = torch.einsum("bij,blj->bli", patterns, direction)
    for found in directions_in(targets):
        torch.testing.assert_close(found, expected)
        again = foa_of(signal, found)
        torch.testing.assert_close(foa, again, atol=2e-6, rtol=0)


@pytest.mark.parametrize("features", [LogMelIntensity(), Salsa()])
def test_features_turn_as_the_signals_do(features):
    patterns = foa_patterns(48)
    signal = torch.randn(4800, generator=torch.Generator().manual_seed(0))
    foa = foa_of(signal[None], draw_directions(1, 4800)).expand(48, -1, -1)
    expected = features(rotate_foa(foa, patterns))
    found = rotate_foa_features(features(foa), patterns)
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=0)
    one = rotate_foa_features(features(foa[:2]), patterns[9])
    torch.testing.assert_close(one[0], expected[9], atol=1e-4, rtol=0)


def test_features_of_other_kinds_are_refused():
    with pytest.raises(ValueError, match=r"levels of W, Y, Z, X"):
        rotate_foa_features(torch.zeros(2, 10, 11, 64), foa_patterns()[0])
    with pytest.raises(ValueError, match="16 patterns for a batch of 2"):
        rotate_foa_features(torch.zeros(2, 7, 11, 64), foa_patterns())


def test_activities_stay():
    before = targets_of(draw_directions(48, 4))
    after = rotate_targets(before, foa_patterns(48))
    assert torch.equal(before["sed"], after["sed"])
    assert torch.equal(before["overlap"], after["overlap"])
    assert torch.equal(before["adpit"][..., 0, :], after["adpit"][..., 0, :])
    silent = after["accdoa"].unflatten(-1, (3, NUM_CLASSES))[..., [0, 2]]
    assert (silent == 0).all()


def tetrahedron(signal_at, direction):
    """Signals at the capsules: delay by position, gain by angle, [T, 4]."""
    capsules = tetrahedral_array().double()
    lead = capsules @ direction / SPEED_OF_SOUND
    gain = 1.0 + 0.4 * (capsules @ direction) / 0.042
    time = torch.arange(400, dtype=torch.float64) / 24000
    return signal_at(time[:, None] + lead) * gain


def test_mic_and_labels_move_together():
    def signal_at(time):
        return torch.sin(2e4 * time) + torch.cos(3.3e4 * time + 1.0)

    for direction in draw_directions(5, 1).double()[:, 0]:
        waveform = tetrahedron(signal_at, direction)
        for pattern in mic_patterns():
            turned = rotate_mic(waveform, pattern)
            label = rotate_targets(
                {"doa": direction[None, None, None]}, pattern
            )
            expected = tetrahedron(signal_at, label["doa"].flatten())
            torch.testing.assert_close(turned, expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("row", range(8))
def test_mic_table(row):
    turn, sign, up, channels = MIC_TABLE[row]
    pattern = mic_patterns()[row]
    azimuth, elevation = (
        torch.tensor([17.0, -101.0]),
        torch.tensor([9.0, -61.0]),
    )
    expected = azel_to_unit(turn + sign * azimuth, up * elevation)
    found = azel_to_unit(azimuth, elevation) @ pattern.T
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=0)
    waveform = torch.tensor([[1.0, 2.0, 3.0, 4.0]])
    assert rotate_mic(waveform, pattern).flatten().tolist() == list(channels)


@pytest.mark.parametrize(
    "method", ["accdoa", "multi_accdoa", "einv2", "seddoa"]
)
def test_outputs_are_turned_back(method):
    patterns = foa_patterns(48)
    outputs = {
        "accdoa": {"accdoa": torch.randn(48, 5, 9)},
        "multi_accdoa": {"multi_accdoa": torch.randn(48, 5, 27)},
        "einv2": {
            "sed": torch.randn(48, 5, 3, 3),
            "doa": torch.randn(48, 5, 3, 3),
        },
    }["einv2" if method == "seddoa" else method]
    turned = rotate_outputs(outputs, method, patterns, inverse=False)
    if method == "multi_accdoa":
        for track in range(3):
            part = slice(9 * track, 9 * track + 9)
            expected = rotate_targets(
                {"accdoa": outputs[method][..., part]}, patterns
            )
            assert torch.equal(turned[method][..., part], expected["accdoa"])
    elif method == "accdoa":
        expected = rotate_targets(outputs, patterns)
        assert torch.equal(turned[method], expected[method])
    else:
        assert torch.equal(turned["sed"], outputs["sed"])
        assert torch.equal(
            turned["doa"], rotate_targets(outputs, patterns)["doa"]
        )
    back = rotate_outputs(turned, method, patterns)
    for name, values in outputs.items():
        assert torch.equal(back[name], values)
    one = {name: values[7] for name, values in turned.items()}
    back = rotate_outputs(one, method, patterns[7])
    for name, values in outputs.items():
        assert torch.equal(back[name], values[7])


@pytest.mark.parametrize(
    "rotation", [FOARotation(16), FOARotation(48), MICRotation()]
)
def test_drawing(rotation):
    batch = 6000
    direction = draw_directions(batch, 1)
    waveform = torch.arange(4.0).expand(batch, 1, 4)
    copy, targets = waveform.clone(), targets_of(direction)
    before = {name: values.clone() for name, values in targets.items()}
    generator = torch.Generator().manual_seed(5)
    turned, moved = rotation(waveform, targets, generator)
    assert torch.equal(waveform, copy)
    assert all(torch.equal(targets[name], before[name]) for name in before)
    number = len(rotation.patterns)
    candidates = torch.einsum("pij,blj->bpi", rotation.patterns, direction)
    which = (candidates - moved["doa"][:, 0, :1]).abs().sum(-1).argmin(1)
    share = which.bincount(minlength=number) / batch
    expected = torch.full((number,), 0.8 / number)
    expected[0] += 0.2
    assert (share - expected).abs().max() < 0.02
    generator.manual_seed(5)
    again, _ = rotation(waveform, targets, generator)
    assert torch.equal(turned, again)


def test_brute_force():
    rotation = FOARotation(48)
    foa, direction = torch.randn(9, 20, 4), draw_directions(9, 2)
    generator = torch.Generator().manual_seed(2)
    turned, _ = rotation(foa, targets_of(direction), generator)
    generator.manual_seed(2)
    drawn = torch.randint(48, (9,), generator=generator)
    applied = torch.rand(9, generator=generator) < 0.8
    assert 0 < applied.sum() < 9
    for item in range(9):
        pattern = rotation.patterns[drawn[item] if applied[item] else 0]
        axes = {
            "x": foa[item, :, 3],
            "y": foa[item, :, 1],
            "z": foa[item, :, 2],
        }
        new = {}
        for row, name in enumerate("xyz"):
            column = int(pattern[row].abs().argmax())
            new[name] = pattern[row, column] * axes["xyz"[column]]
        expected = torch.stack(
            [foa[item, :, 0], new["y"], new["z"], new["x"]], -1
        )
        assert torch.equal(turned[item], expected)


def test_errors():
    with pytest.raises(ValueError, match="16 or 48"):
        foa_patterns(8)
    with pytest.raises(ValueError, match="4 channels"):
        rotate_foa(torch.randn(2, 10, 3), torch.eye(3))
    with pytest.raises(ValueError, match="onto itself"):
        rotate_mic(torch.randn(10, 4), torch.diag(torch.tensor([1.0, 1, -1])))
    with pytest.raises(ValueError, match="3 patterns for a batch of 2"):
        rotate_foa(torch.randn(2, 10, 4), foa_patterns(16)[:3])
    with pytest.raises(ValueError, match="method"):
        rotate_outputs({}, "unknown", torch.eye(3))
    with pytest.raises(ValueError, match=r"\[3, 3\]"):
        rotate_targets({"doa": torch.zeros(1, 1, 3, 3)}, torch.eye(2))
