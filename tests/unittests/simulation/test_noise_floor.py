"""Noise floors, and parameters of responses that end in noise."""

import math

import pytest
import torch

from spatial_brain.simulation import acoustics
from spatial_brain.simulation.noise_floor import (
    NoiseFloor,
    decay_energy,
    find_noise_floor,
)
from spatial_brain.simulation.room_labels import decay_t60

FS = 16000


def decays(t60, noise_level, number=8, seconds=None):
    """Decays without and with noise that many dB under their peak."""
    generator = torch.Generator().manual_seed(1)
    time = torch.arange(int(FS * (seconds or max(1.0, 1.5 * t60)))) / FS
    noise = torch.randn(2, number, len(time), generator=generator)
    decay = noise[0] * 10 ** (-3 * time / t60)
    return decay, decay + 10 ** (noise_level / 20) * noise[1]


@pytest.mark.parametrize("t60", (0.1, 0.4, 2.0))
@pytest.mark.parametrize("level", (-40.0, -55.0, -60.0, -80.0))
def test_noise_does_not_lengthen_a_decay(t60, level):
    _, noisy = decays(t60, level, seconds=1.0 + 1.5 * t60)
    found = acoustics.t60(noisy, FS)
    assert (found / t60 - 1).abs().max() < 0.1
    assert (found.mean() / t60 - 1).abs() < 0.03
    floor = find_noise_floor(noisy, FS)
    assert (10 * floor.power.log10() - level).abs().max() < 0.5
    assert (floor.knee / FS - -level / 60 * t60).abs().max() < 0.05 * t60 + 0.01
    assert (floor.late_t60 / t60 - 1).abs().max() < 0.2


@pytest.mark.parametrize("method", ("t20", "t30", "edt"))
def test_a_range_that_noise_covers_has_no_value(method):
    # 10 dB above the noise ends the range: 35, 45 and 20 dB are needed.
    needed = {"t20": 35, "t30": 45, "edt": 20}[method]
    covered, clear = (
        acoustics.t60(decays(0.5, level)[1], FS, method)
        for level in (4.0 - needed, -5.0 - needed)
    )
    assert covered.isnan().all()
    assert (clear / 0.5 - 1).abs().max() < 0.1


def test_ratios_of_energies_do_not_take_noise_for_reverberation():
    clean, noisy = decays(0.2, -45.0)
    clean[:, 0] = noisy[:, 0] = 3.0
    for measure in (acoustics.c50, acoustics.drr, acoustics.c80):
        assert (measure(noisy, FS) - measure(clean, FS)).abs().max() < 0.5
    short = decays(0.1, -25.0)[1]
    assert acoustics.c50(short, FS).isnan().all()


def test_what_still_decays_at_its_end_has_no_floor():
    for t60, seconds in ((0.3, 1.0), (1.0, 0.5), (3.0, 1.0)):
        clean = decays(t60, -60.0, 40, seconds)[0]
        assert not find_noise_floor(clean, FS).found.any()
        assert torch.equal(decay_energy(clean, FS), clean.double().square())


def test_the_slow_part_of_a_double_decay_is_no_noise():
    fast, slow = decays(0.3, -60.0)[0], decays(2.0, -60.0, seconds=1.0)[0]
    both = fast + 0.1 * slow[:, : fast.shape[1]]
    assert not find_noise_floor(both, FS).found.any()


def test_padding_behind_the_noise_is_not_the_floor():
    _, noisy = decays(0.4, -50.0)
    padded = torch.nn.functional.pad(noisy, (0, FS))
    found = acoustics.t60(padded, FS)
    assert torch.allclose(found, acoustics.t60(noisy, FS), rtol=0.01)


def test_rows_are_on_their_own():
    clean, noisy = decays(0.4, -50.0, number=2)
    both = acoustics.t60(torch.stack((clean, noisy)), FS)
    assert torch.equal(both[0], acoustics.t60(clean, FS))
    assert torch.equal(both[1], acoustics.t60(noisy, FS))


def test_silence_and_short_responses():
    assert acoustics.t60(torch.zeros(2, FS), FS).isnan().all()
    short = torch.randn(50, generator=torch.Generator().manual_seed(0))
    assert not find_noise_floor(short, FS).found
    assert math.isnan(acoustics.t60(torch.ones(2), FS))


def test_noise_before_the_response_is_not_part_of_it():
    clean, noisy = decays(0.4, -50.0)
    generator = torch.Generator().manual_seed(2)
    lead = torch.randn(len(noisy), 8000, generator=generator)
    late = torch.cat((lead * 10 ** (-50 / 20), noisy), dim=-1)
    away = acoustics.t60(late, FS) / acoustics.t60(clean, FS) - 1
    assert away.abs().max() < 0.04
    assert (acoustics.c50(late, FS) - acoustics.c50(clean, FS)).abs().max() < 1


def test_labels_of_a_response_without_its_noise():
    clean, noisy = decays(0.4, -40.0)
    found = decay_t60(noisy, FS, find_noise_floor(noisy, FS))[0].mean()
    assert found == pytest.approx(0.4, rel=0.05)
    floor = find_noise_floor(clean, FS)
    assert torch.equal(decay_t60(clean, FS, floor)[0], decay_t60(clean, FS)[0])


def test_a_floor_that_is_known_to_be_absent_is_not_looked_for():
    _, noisy = decays(0.4, -60.0)
    absent = NoiseFloor.absent(noisy)
    assert torch.equal(decay_energy(noisy, FS, absent), noisy.double() ** 2)
    raw = acoustics.c50(noisy, FS, floor=absent)
    assert not torch.equal(raw, acoustics.c50(noisy, FS))
