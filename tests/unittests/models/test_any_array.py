"""The any-array network: what it must not depend on, and its stream."""

import math

import pytest
import torch

from spatial_brain.geometry import SPEED_OF_SOUND
from spatial_brain.models.any_array import AnyArrayNetwork


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return AnyArrayNetwork(channels=8, dilations=(1, 2), mask_size=8).eval()


@pytest.fixture(scope="module")
def scene():
    """Noise of four microphones, correlated between them, and positions."""
    generator = torch.Generator().manual_seed(1)
    common = torch.randn(16384, 1, generator=generator)
    own = torch.randn(16384, 4, generator=generator)
    positions = 0.1 * (torch.rand(4, 3, generator=generator) - 0.5)
    return common + own, positions


def _output(network, waveform, positions):
    with torch.no_grad():
        return network(waveform[None], positions[None])[0]


def test_does_not_depend_on_order_gain_or_origin(network, scene):
    waveform, positions = scene
    expected = _output(network, waveform, positions)
    order = [2, 0, 3, 1]
    moved = positions + torch.tensor([3.0, -2.0, 1.0])
    again = _output(network, waveform[:, order], moved[order])
    assert torch.allclose(again, expected, atol=1e-3)
    gains = torch.tensor([1.0, 0.5, 2.0, 0.7])
    level = (gains.square().mean()).sqrt()  # the mask reads the mean level
    louder = _output(network, waveform * (gains / level), positions)
    assert (louder - expected).abs().mean() < 0.1 * expected.std()


def test_turns_with_the_array(network, scene):
    waveform, positions = scene
    expected = _output(network, waveform, positions)
    angle = math.radians(35)  # seven steps of the grid
    turn = torch.tensor([
        [math.cos(angle), -math.sin(angle), 0.0],
        [math.sin(angle), math.cos(angle), 0.0],
        [0.0, 0.0, 1.0],
    ])  # fmt: skip
    turned = _output(network, waveform, positions @ turn.T)
    assert torch.allclose(turned, expected.roll(7, 1), atol=1e-4)
    assert not torch.allclose(turned, expected, atol=1e-2)


def test_padding_of_a_batch_changes_nothing(network, scene):
    waveform, positions = scene
    alone = [
        _output(network, waveform, positions),
        _output(network, waveform[:, :2], positions[:2]),
    ]
    padded = waveform.clone()
    padded[:, 2:] = 1e3
    with torch.no_grad():
        batch = network(
            torch.stack([waveform, padded]),
            torch.stack([positions, positions]),
            num_mics=[4, 2],
        )
    assert torch.allclose(batch[0], alone[0], atol=1e-4)
    assert torch.allclose(batch[1], alone[1], atol=1e-4)


def test_stream_is_equal_for_any_division(network, scene):
    waveform, positions = scene
    expected = _output(network, waveform, positions)
    generator = torch.Generator().manual_seed(2)
    for longest in (100, 3000, 16384):
        stream, start, parts = network.stream(positions), 0, []
        while start < len(waveform):
            size = int(torch.randint(1, longest + 1, (), generator=generator))
            parts.append(stream.push(waveform[start : start + size]))
            start += size
        assert torch.allclose(torch.cat(parts), expected, atol=1e-4)
    with pytest.raises(ValueError, match="4 microphones"):
        stream.push(torch.zeros(10, 3))


def test_future_is_not_used(network, scene):
    waveform, positions = scene
    expected = _output(network, waveform, positions)
    changed = waveform.clone()
    changed[8 * 1024 :] = torch.randn(8 * 1024, 4)
    output = _output(network, changed, positions)
    assert torch.equal(output[:8], expected[:8])
    assert not torch.allclose(output[8:], expected[8:])


def _plane_wave(azimuth, seed):
    """Noise from an azimuth in degrees at three microphones, and those."""
    azimuth = math.radians(azimuth)
    positions = torch.tensor([
        [0.05, 0.0, 0.0], [-0.03, 0.04, 0.0], [-0.02, -0.05, 0.0],
    ])  # fmt: skip
    direction = torch.tensor([math.cos(azimuth), math.sin(azimuth), 0.0])
    generator = torch.Generator().manual_seed(seed)
    spectrum = torch.fft.rfft(torch.randn(16384, generator=generator))
    frequency = torch.arange(len(spectrum)) * 16000 / 16384
    lead = positions @ direction / SPEED_OF_SOUND
    shifted = spectrum * torch.exp(2j * math.pi * frequency * lead[:, None])
    return torch.fft.irfft(shifted).T.float(), positions


def _maps_without_mask(network, waveform, positions):
    """Cross spectra, maps and shares where the mask is 1."""
    array, state = network.steer(positions), {}
    cross, level, _ = network._spectra(waveform, array, state, 0)
    mask = torch.ones(level.shape[0], cross.shape[2])
    with torch.no_grad():
        maps, scores = network._maps(cross, mask, array, state, 0)
        shares = network._shares(scores[None], mask[None], state)
    return cross, maps, shares[0]


def test_steered_power_of_a_plane_wave(network):
    """The first maps are those of a brute-force SRP-PHAT, and peak right."""
    waveform, positions = _plane_wave(40, 3)
    cross, maps, shares = _maps_without_mask(network, waveform, positions)
    _, table, _ = network.steer(positions)
    bands = network.bands.shape[1]
    steered = 0.0
    for number in range(len(cross)):
        phase = torch.complex(table[:, number], table[:, len(cross) + number])
        mean = cross[number].unflatten(0, (-1, 4)).mean(1)
        steered = steered + (mean[..., None] * phase.conj()).real / len(cross)
    steered = steered.unflatten(2, (2, 72)).amax(2)  # frame, frequency, azimuth
    weight = network.bands[None] * 4
    expected = torch.einsum("tfg,fb->btg", steered, weight[0])
    expected = expected / (1.05 * weight[0].sum(0))[:, None, None]
    assert torch.allclose(maps[:bands], expected, atol=2e-3)
    peak = network.azimuths[maps[:bands].mean((0, 1)).argmax()]
    assert peak == 40
    votes = maps[bands : 2 * bands].mean((0, 1))
    assert network.azimuths[votes.argmax()] == 40
    assert (network.azimuths[shares.argmax(1)] == 40).all()


def _em_step(current, likelihood, weight):
    """One step over tiles [tile, direction], tile by tile."""
    votes = torch.zeros(72)
    for one, amount in zip(likelihood, weight, strict=True):
        vote = current * one
        votes += amount * vote / vote.sum()
    return 0.95 * votes / votes.sum() + 0.05 / 72


def test_shares_are_those_of_an_em(network):
    """Two steps a frame over the last frames; the first is remembered."""
    generator = torch.Generator().manual_seed(4)
    frequencies = len(network.frequencies)
    number = math.ceil(frequencies / 8)
    scores = 9 * torch.randn(2, 20, number, 2, 72, generator=generator)
    mask = torch.rand(2, 80, frequencies, generator=generator)
    shares = network._shares(scores, mask, {})
    weight = torch.zeros(2, 20, number)
    for frame in range(80):
        for index in range(frequencies):
            weight[:, frame // 4, index // 8] += mask[:, frame, index] / 4
    likelihood = scores.exp().sum(3)
    for item in range(2):
        current = torch.full((72,), 1 / 72)
        for frame in range(20):
            part = item, slice(max(0, frame - 15), frame + 1)
            tiles = likelihood[part].flatten(0, 1), weight[part].flatten()
            current = _em_step(current, *tiles)
            second = _em_step(current, *tiles)
            assert torch.allclose(shares[item, frame], second, rtol=1e-2)


def test_shares_find_two_sources_that_alternate(network):
    one, positions = _plane_wave(40, 5)
    other, _ = _plane_wave(75, 6)
    turn = torch.arange(len(one)) // 1024 % 2 == 0
    mixed = torch.where(turn[:, None], one, other)
    _, _, shares = _maps_without_mask(network, mixed, positions)
    shares = shares[-1]
    peaks = (shares > shares.roll(1)) & (shares > shares.roll(-1))
    peaks &= shares > 0.2 * shares.max()
    assert network.azimuths[peaks].tolist() == [40, 75]


def test_shares_are_in_the_logits_of_evaluation_alone(network, scene):
    """The blocks are trained alone; then both are averaged."""
    waveform, positions = scene
    logits = _output(network, waveform, positions)
    network.train()
    blocks = _output(network, waveform, positions)
    network.eval()
    shares = (2 * logits - blocks).exp() / 72
    assert torch.allclose(shares.sum(1), torch.ones(len(shares)), atol=1e-3)
    assert shares.min() > 0.0
    assert shares.amax(1).min() > 5 / 72


def test_half_precision_loses_little(network, scene):
    waveform, positions = scene
    expected = _output(network, waveform, positions)
    with torch.autocast("cpu", torch.bfloat16):
        rough = _output(network, waveform, positions)
    assert (rough - expected).abs().mean() < 0.02 * expected.std()


def test_one_microphone_is_refused(network):
    with pytest.raises(ValueError, match="at least two"):
        network(torch.zeros(1, 2048, 1), torch.zeros(1, 1, 3))
