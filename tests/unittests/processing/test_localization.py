import math

import pytest
import torch
from plane_waves import plane_wave

from spatial_brain.geometry import azel_to_unit, linear_array
from spatial_brain.processing.decoding import (
    angle_grid,
    decode_classes,
    pick_peaks,
)
from spatial_brain.processing.localization import (
    SteeredResponse,
    gcc_phat_directions,
    srp_phat_directions,
)
from spatial_brain.processing.stft import STFT

METHODS = [
    gcc_phat_directions,
    srp_phat_directions,
    lambda *args, **options: srp_phat_directions(
        *args, pooling="sum", **options
    ),
]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("spacing", [0.1, 0.05])
def test_single_source(method, spacing):
    pair = linear_array(2, spacing)
    truth = torch.tensor([0.0, 33.0, 90.0, 147.0, 180.0])
    waveform = torch.cat(
        [plane_wave(pair, azel_to_unit(a, 0.0)) for a in truth]
    )
    found = method(waveform, spacing, num_sources=1)[:, 0]
    # Near the axis the delay hardly changes with the angle.
    tolerance = torch.tensor([12.0, 2.0, 1.0, 2.0, 12.0])
    assert ((found - truth).abs() < tolerance).all()


def test_elevation_counts_as_cone_angle():
    waveform = plane_wave(linear_array(2, 0.1), azel_to_unit(0.0, 60.0))
    found = srp_phat_directions(waveform, 0.1, num_sources=1)
    assert found.item() == pytest.approx(60.0, abs=1.0)


@pytest.mark.parametrize("method", METHODS)
def test_two_sources_in_any_order(method):
    pair = linear_array(2, 0.1)
    first, second = (
        plane_wave(pair, azel_to_unit(a, 0.0), seed=k)
        for k, a in enumerate((120.0, 50.0))
    )
    # Turn by turn, as talkers do.
    first[:, :4000] *= 0.1
    second[:, 4000:] *= 0.1
    found = method(first + second, 0.1)
    assert torch.allclose(found, torch.tensor([[50.0, 120.0]]), atol=2.0)


@pytest.mark.parametrize("method", METHODS)
def test_baselines_refuse_other_arrays(method):
    with pytest.raises(ValueError, match="two-channel"):
        method(torch.randn(1, 4000, 3), 0.1)
    with pytest.raises(ValueError, match="too short"):
        method(torch.randn(1, 100, 2), 0.1)


def test_maximum_finds_who_speaks_briefly():
    pair = linear_array(2, 0.1)
    first = plane_wave(pair, azel_to_unit(70.0, 0.0), 64000)
    second = plane_wave(pair, azel_to_unit(110.0, 0.0), 64000, seed=1)
    waveform = torch.cat((first[:, :62000], second[:, 62000:]), dim=1)
    found = srp_phat_directions(waveform, 0.1)
    assert torch.allclose(found, torch.tensor([[70.0, 110.0]]), atol=2.0)
    summed = srp_phat_directions(waveform, 0.1, pooling="sum")
    assert (summed - 110.0).abs().min() > 5.0


def test_silence_does_not_vote():
    """Its phase is zero, which would look like a source at broadside."""
    pair = linear_array(2, 0.1)
    waveform = plane_wave(pair, azel_to_unit(60.0, 0.0), 4000)
    padded = torch.cat((waveform, torch.zeros(1, 40000, 2)), dim=1)
    for method in METHODS:
        found = method(padded, 0.1, num_sources=1)
        assert found.item() == pytest.approx(60.0, abs=2.0)


def test_pooling_is_checked():
    with pytest.raises(ValueError, match="'mean'"):
        srp_phat_directions(torch.randn(1, 4000, 2), 0.1, pooling="mean")


def test_steered_response_by_loops():
    steer = SteeredResponse(
        0.08, num_angles=5, num_bands=4, num_bins=16, n_fft=32
    )
    real, imag = STFT(32, 16)(torch.randn(1, 400, 2))
    maps = steer(real, imag)
    phase = torch.atan2(imag.double(), real.double())[0]
    assert maps.shape == (1, 4, 26, 5)
    for band in range(4):
        for frame in (0, 7, 25):
            for k, angle in enumerate((18.0, 54.0, 90.0, 126.0, 162.0)):
                delay = 0.08 * math.cos(math.radians(angle)) / 343
                total = 0.0
                for n in range(4 * band + 1, 4 * band + 5):
                    delta = phase[1, frame, n] - phase[0, frame, n]
                    total += math.cos(delta - 2 * math.pi * n * 500 * delay)
                value = maps[0, band, frame, k].item()
                assert value == pytest.approx(total / 4, abs=1e-5)


def test_steered_response_peaks_at_the_source():
    grid, stft, steer = angle_grid(36), STFT(512, 256), SteeredResponse(0.1)
    for angle in (12.5, 92.5, 137.5):
        waveform = plane_wave(
            linear_array(2, 0.1), azel_to_unit(torch.tensor(angle), 0.0)
        )
        maps = steer(*stft(waveform)).mean((1, 2))
        assert grid[maps.argmax()].item() == angle


def test_steered_response_sizes():
    steer = SteeredResponse(0.1, num_bins=128, num_bands=8)
    assert steer(*STFT()(torch.randn(2, 1600, 2))).shape == (2, 8, 11, 36)
    assert not steer.state_dict()
    for wrong in (130, 512, 0):
        with pytest.raises(ValueError, match=f"got {wrong}"):
            SteeredResponse(0.1, num_bins=wrong, num_bands=8)


def test_pick_peaks():
    angles = torch.linspace(0, 180, 361)

    def bumps(*peaks):
        return sum(
            height * torch.exp(-0.5 * ((angles - place) / 6) ** 2)
            for place, height in peaks
        )

    spectra = torch.stack(
        [
            bumps((30.2, 1.0), (99.9, 0.7), (150.0, 0.5)),
            bumps((0.0, 1.0), (180.0, 0.9)),
            bumps((75.0, 1.0)),
        ]
    )
    found = pick_peaks(spectra, angles)
    expected = torch.tensor([[30.2, 99.9], [0.0, 180.0], [75.0, 75.0]])
    assert torch.allclose(found, expected, atol=0.05)
    # The second peak is too close: it belongs to the first.
    near = pick_peaks(spectra[:1], angles, min_separation=75.0)
    assert torch.allclose(near, torch.tensor([[30.2, 150.0]]), atol=0.05)
    assert pick_peaks(spectra, angles, num_peaks=3).shape == (3, 3)
    with pytest.raises(ValueError, match="not finite"):
        pick_peaks(spectra * math.nan, angles)
    with pytest.raises(ValueError, match="361"):
        pick_peaks(spectra[:, 1:], angles)


def test_decoding_of_a_gaussian():
    centres = angle_grid(72)
    truth = torch.tensor([[3.0, 61.7], [178.0, 90.0]])
    logits = -0.5 * ((centres - truth[..., None]) / 4) ** 2
    assert (decode_classes(logits, "centre") - truth).abs().max() <= 1.25
    inner = (truth > 20) & (truth < 160)
    for method in ("peak", "median"):
        error = (decode_classes(logits, method) - truth).abs()
        assert error[inner].max() < 0.2
        assert error.max() < 2.0
    scaled = decode_classes(logits, "peak", low=-90.0, high=90.0) + 90.0
    assert torch.allclose(scaled, decode_classes(logits, "peak"), atol=1e-4)


def test_median_minimises_the_expected_error():
    shares = torch.rand(20, 5).square() + 1e-6
    shares = shares / shares.sum(1, keepdim=True)
    found = decode_classes(shares.log()[None], "median")[0]
    # Fine grid inside the bins, since the mass is spread over them.
    fine = (torch.arange(2500) + 0.5) * (180 / 2500)
    distance = (fine - fine[::5, None]).abs()
    for share, angle in zip(shares, found, strict=True):
        cost = (share.repeat_interleave(500) * distance).sum(1)
        expected = fine[::5][cost.argmin()].item()
        assert angle.item() == pytest.approx(expected, abs=1.0)


def test_decoding_is_sure_at_the_ends():
    logits = torch.full((1, 2, 36), -50.0)
    logits[0, 0, 0] = logits[0, 1, 35] = 50.0
    for method in ("median", "peak", "centre"):
        expected = torch.tensor([[2.5, 177.5]])
        assert torch.allclose(decode_classes(logits, method), expected)
    with pytest.raises(ValueError, match="mode"):
        decode_classes(logits, "mode")


@pytest.mark.parametrize("method", ["median", "peak", "centre"])
def test_decoding_all_around_is_the_same_in_every_direction(method):
    circle = {"low": -180.0, "high": 180.0, "circular": True}
    centres = torch.arange(-177.5, 180.0, 5.0)
    truth = torch.arange(-180.0, 180.0, 7.3)
    offset = (centres - truth[:, None] + 180.0) % 360.0 - 180.0
    logits = -0.5 * (offset / 8) ** 2
    found = decode_classes(logits[:, None], method, **circle)[:, 0]
    assert ((found >= -180.0) & (found < 180.0)).all()
    error = ((found - truth + 180.0) % 360.0 - 180.0).abs()
    assert error.max() < (2.6 if method == "centre" else 0.1)
    turned = decode_classes(logits.roll(9, -1)[:, None], method, **circle)
    assert torch.allclose((found + 45.0 + 180.0) % 360.0, turned[:, 0] + 180.0)
