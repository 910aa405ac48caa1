import math

import pytest
import torch
from plane_waves import plane_wave

from spatial_brain.geometry import (
    azel_to_unit,
    circular_array,
    linear_array,
)
from spatial_brain.processing.spatial import (
    GCCPhat,
    gcc_phat,
    ild_features,
    ipd_features,
    microphone_pairs,
    pair_delays,
    phase_difference,
    srp_phat,
)
from spatial_brain.processing.stft import STFT, ConvSTFT


def test_phase_difference_is_that_of_angles():
    real, imag = torch.randn(2, 2, 3, 5, 9).unbind(0)
    cos, sin = phase_difference(real, imag)
    phase = torch.atan2(imag.double(), real.double())
    for k, (i, j) in enumerate(microphone_pairs(3)):
        delta = phase[:, j] - phase[:, i]
        assert (cos[:, k] - delta.cos()).abs().max() < 1e-6
        assert (sin[:, k] - delta.sin()).abs().max() < 1e-6


def test_swap_negates_the_sine_only():
    spectra = STFT()(torch.randn(1, 4000, 2))
    straight = ipd_features(*spectra)
    swapped = ipd_features(*(part.flip(1) for part in spectra))
    assert torch.equal(straight[:, 0], swapped[:, 0])
    assert torch.equal(straight[:, 1], -swapped[:, 1])
    assert straight.shape == (1, 2, 26, 256)
    assert torch.equal(ipd_features(*spectra, num_bins=7), straight[..., :7])


def test_level_does_not_matter():
    waveform = torch.randn(1, 4000, 2)
    loud, soft = (
        ipd_features(*STFT()(waveform * gain)) for gain in (1.0, 1e-24)
    )
    assert soft.isfinite().all()
    assert (loud - soft).abs().max() < 1e-3


def test_silence_has_phase_zero_and_finite_gradients():
    stft = ConvSTFT(64, 32)
    waveform = torch.randn(1, 640, 2)
    waveform[:, 200:] = 0
    waveform[:, :, 1] = 0
    features = ipd_features(*stft(waveform))
    assert features.isfinite().all()
    # Both microphones silent: no difference.
    assert (features[:, 0, 10:] == 1).all()
    assert (features[:, 1, 10:] == 0).all()
    features.square().sum().backward()
    assert all(p.grad.isfinite().all() for p in stft.parameters())


def test_positive_delay_says_second_microphone_first():
    """A source on +x reaches the microphone at +x first: phase leads."""
    pair = linear_array(2, 0.1)
    end = torch.tensor([[1.0, 0.0, 0.0]])
    delay = pair_delays(pair, end).item()
    assert delay == pytest.approx(0.1 / 343)
    cos, sin = phase_difference(*STFT()(plane_wave(pair, end[0])))
    bins = torch.arange(257)
    expected = 2 * math.pi * bins * (16000 / 512) * delay
    mean = torch.atan2(sin.sum((0, 1, 2)), cos.sum((0, 1, 2)))
    error = torch.remainder(mean - expected + math.pi, 2 * math.pi) - math.pi
    assert error[1:-1].abs().max() < 0.2
    assert error[1:-1].abs().mean() < 0.03


@pytest.mark.parametrize("azimuth", [0.0, 40.0, 90.0, 130.0, 180.0])
def test_gcc_phat_finds_fractional_delays(azimuth):
    pair = linear_array(2, 0.1)
    direction = azel_to_unit(azimuth, 0.0)
    correlation, delays = gcc_phat(
        plane_wave(pair, direction), max_delay=4e-4, interpolation=32
    )
    expected = pair_delays(pair, direction[None]).item()
    found = delays[correlation[0, 0].argmax()].item()
    assert abs(found - expected) < 1.5e-6
    assert correlation.max() > 0.9
    assert correlation.max() <= 1.001


def test_gcc_phat_pairs_and_limits():
    waveform = torch.randn(2, 4000, 3)
    correlation, delays = gcc_phat(waveform, max_delay=1e-3)
    assert correlation.shape == (2, 3, len(delays))
    alone, _ = gcc_phat(waveform[1:, :, [0, 2]], max_delay=1e-3)
    assert torch.allclose(correlation[1:, [1]], alone, atol=1e-5)
    for wrong in (0.0, 1.0):
        with pytest.raises(ValueError, match="max_delay"):
            gcc_phat(waveform, max_delay=wrong)
    with pytest.raises(ValueError, match="two microphones"):
        gcc_phat(waveform[..., :1])


def test_srp_phat_finds_directions_of_a_circular_array():
    array = circular_array(4, 0.04)
    azimuth = torch.arange(-180.0, 180.0, 5.0)
    grid = azel_to_unit(azimuth, 0.0)
    truth = [-170.0, -65.0, 0.0, 120.0]
    waveform = torch.cat(
        [plane_wave(array, azel_to_unit(a, 0.0)) for a in truth]
    )
    power = srp_phat(waveform, array, grid)
    assert azimuth[power.argmax(1)].tolist() == truth
    assert power.max() > 0.9
    with pytest.raises(ValueError, match="4 channels but 2"):
        srp_phat(waveform, array[:2], grid)


def test_srp_phat_is_the_mean_of_cosines():
    array, grid = circular_array(3, 0.05), azel_to_unit([10.0, 200.0], 20.0)
    waveform = torch.randn(1, 600, 3)
    real, imag = STFT(128, 64)(waveform)
    phase = torch.atan2(imag.double(), real.double())[0]
    expected = torch.zeros(2, dtype=torch.float64)
    for d in range(2):
        for i, j in microphone_pairs(3):
            delay = ((array[j] - array[i]) @ grid[d]).double() / 343
            frequency = torch.arange(1, 65) * 125.0
            steered = phase[j, :, 1:] - phase[i, :, 1:]
            steered = steered - 2 * math.pi * frequency * delay
            expected[d] += steered.cos().mean() / 3
    power = srp_phat(waveform, array, grid, n_fft=128, hop_length=64)
    assert torch.allclose(power[0].double(), expected, atol=1e-5)


def test_silence_does_not_vote():
    pair = linear_array(2, 0.1)
    noise = plane_wave(pair, azel_to_unit(60.0, 0.0))
    padded = torch.cat((noise, torch.zeros(1, 80000, 2)), dim=1)
    for waveform in (noise, padded):
        correlation, delays = gcc_phat(waveform, max_delay=4e-4)
        found = delays[correlation[0, 0].argmax()].item()
        assert found == pytest.approx(0.05 / 343, abs=5e-6)


def test_level_difference_in_decibels():
    real, imag = STFT()(torch.randn(1, 4000, 1).repeat(1, 1, 3))
    gain = torch.tensor([1.0, 10.0, 0.1])[None, :, None, None]
    difference = ild_features(real * gain, imag * gain, floor=1e-20)
    middle = difference.median(3).values.median(2).values[0]
    assert torch.allclose(middle, torch.tensor([20.0, -20.0, -40.0]), atol=1e-2)


def test_gcc_phat_front_end_is_the_function():
    array = circular_array(4, 0.05)
    waveform = plane_wave(array, azel_to_unit(40.0, 0.0), seed=3)
    limit = 4 / 16000
    expected, delays = gcc_phat(waveform, max_delay=limit, interpolation=8)
    network = GCCPhat(len(delays), limit)
    assert torch.allclose(network(waveform), expected, atol=1e-5)
    assert not network.state_dict()
    half = network(waveform.to(torch.bfloat16))
    assert half.dtype == torch.float32
    for wrong in ({"num_delays": 1}, {"max_delay": 0.0}, {"max_delay": 0.1}):
        options = {"num_delays": 9, "max_delay": 1e-4} | wrong
        with pytest.raises(ValueError, match="num_delays must be at least 2"):
            GCCPhat(**options)


def test_gradients_of_the_phase_are_those_of_its_angle():
    real, imag = torch.randn(2, 1, 2, 3, 5, dtype=torch.float64).unbind(0)
    inputs = real.requires_grad_(), imag.requires_grad_()
    assert torch.autograd.gradcheck(phase_difference, inputs)
