"""Variation of sounds: pitch, duration and colour, decided by a seed."""

import pytest
import torch

from spatial_brain.simulation.variation import SoundVariation

FS = 24000


def peak_of(sound):
    spectrum = torch.fft.rfft(sound * torch.hann_window(len(sound))).abs()
    return int(spectrum.argmax()) * FS / len(sound)


def test_speed_moves_pitch_and_duration():
    variation = SoundVariation(max_speed=1.5)
    tone = torch.sin(2 * torch.pi * 1000 * torch.arange(FS) / FS)
    speeds = [variation.speed(seed) for seed in range(200)]
    assert 1 / 1.5 < min(speeds) < 0.7 and 1.45 < max(speeds) < 1.5
    for seed in range(4):
        sound = variation.apply(tone, FS, seed)
        assert len(sound) == round(FS / speeds[seed])
        assert abs(peak_of(sound) - 1000 * speeds[seed]) < 2
        assert torch.equal(sound, variation.apply(tone, FS, seed))


def test_equaliser_stays_within_its_gain():
    variation = SoundVariation(max_gain=6.0)
    impulse = torch.zeros(FS)
    impulse[FS // 2] = 1.0
    gains = []
    for seed in range(20):
        sound = variation.apply(impulse, FS, seed)
        assert len(sound) == FS
        gain = 20 * torch.fft.rfft(sound).abs().log10()
        # Knots lie at octaves; half of the impulse response is cut off.
        assert gain[100:].abs().max() < 6.5
        gains.append(gain[[250, 1000, 4000]])
    assert torch.stack(gains).std(0).min() > 2


def test_no_variation_changes_nothing():
    sound = torch.randn(1000)
    torch.testing.assert_close(SoundVariation().apply(sound, FS, 3), sound)


@pytest.mark.parametrize("wrong", [{"max_speed": 0.8}, {"max_gain": -1.0}])
def test_wrong_ranges_are_refused(wrong):
    with pytest.raises(ValueError, match="max_speed must be at least 1"):
        SoundVariation(**wrong)
