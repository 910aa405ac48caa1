"""Acoustic parameters against closed forms."""

import math

import pytest
import torch

from spatial_brain.simulation import (
    acoustics,
    noise_floor,
    room_labels,
    room_parameters,
)
from spatial_brain.simulation import acoustics as reverberation

FS = 16000


def decay(t60, seconds=1.5, onset=0.0):
    """Exponential decay without noise: its parameters are closed forms."""
    time = torch.arange(int(seconds * FS), dtype=torch.float64) / FS
    rir = 10 ** (-3 * (time - onset) / t60)
    return torch.where(time >= onset, rir, 0.0)


@pytest.mark.parametrize("method", ["t20", "t30", "edt"])
def test_t60_of_exponential_decays(method):
    wanted = torch.tensor([0.2, 0.5, 0.9])
    rirs = torch.stack([decay(float(value)) for value in wanted])
    measured = acoustics.t60(rirs, FS, method)
    assert torch.allclose(measured, wanted.double(), rtol=2e-3)
    late = decay(0.5, onset=0.1)
    assert acoustics.t60(late, FS, method).item() == pytest.approx(
        0.5, rel=0.01
    )


def test_t60_fits_a_line_by_least_squares():
    generator = torch.Generator().manual_seed(0)
    rir = decay(0.5).float() * torch.randn(24000, generator=generator)
    level = acoustics.energy_decay_curve(rir)
    inside = (level <= -5) & (level >= -25)
    time = torch.arange(24000, dtype=torch.float64)[inside] / FS
    table = torch.stack((time, torch.ones_like(time)), dim=1)
    slope = torch.linalg.lstsq(table, level[inside, None]).solution[0, 0]
    assert acoustics.t60(rir, FS).item() == pytest.approx(-60 / float(slope))


def test_t60_is_nan_where_the_range_is_missing():
    short = decay(1.0)[: int(0.3 * FS)]  # 18 dB
    assert acoustics.t60(short, FS).isnan()
    assert not acoustics.t60(decay(1.0)[: int(0.6 * FS)], FS).isnan()
    assert acoustics.t60(torch.zeros(100), FS).isnan()
    click = torch.zeros(100)
    click[5] = 1.0
    assert acoustics.t60(click, FS).isnan()


def test_padding_changes_nothing():
    rir = decay(0.4)
    padded = torch.nn.functional.pad(rir, (0, 8000))
    assert torch.equal(acoustics.t60(rir, FS), acoustics.t60(padded, FS))


@pytest.mark.parametrize(
    ("function", "early"), [(acoustics.c50, 0.05), (acoustics.c80, 0.08)]
)
def test_clarity_of_an_exponential_decay(function, early):
    # Early to late energy is exp(13.8 early / T60) - 1.
    wanted = 10 * math.log10(math.exp(6 * math.log(10) * early / 0.5) - 1)
    assert function(decay(0.5), FS).item() == pytest.approx(wanted, abs=0.02)


def test_definition_is_clarity_as_a_share():
    rir = decay(0.5)
    clarity = 10 ** (acoustics.c50(rir, FS) / 10)
    share = acoustics.d50(rir, FS)
    assert torch.allclose(share, clarity / (1 + clarity))


def test_drr_uses_the_given_direct_path():
    rir = torch.zeros(2, 3, 8000)
    rir[..., 100], rir[..., 400] = 0.5, 1.0  # a focus louder than direct
    arrival = torch.full((2, 3), 100)
    wanted = 20 * math.log10(0.5)
    drr = acoustics.drr(rir, FS, arrival)
    assert drr.shape == (2, 3)
    assert torch.allclose(drr, torch.full_like(drr, wanted))
    # The onset is found as well, since it is within 20 dB.
    assert torch.allclose(acoustics.drr(rir, FS), drr)
    rir[..., 400] = 0.0
    assert acoustics.drr(rir, FS).isinf().all()


def test_drr_window_is_as_documented():
    rir = torch.zeros(1000)
    rir[200] = 1.0
    rir[200 + 40], rir[200 + 41] = 0.5, 0.1
    assert acoustics.drr(rir, FS, torch.tensor(200)).item() == pytest.approx(
        10 * math.log10(1.25 / 0.01), abs=1e-4
    )


def test_onset_is_not_the_largest_peak():
    rir = torch.zeros(3000)
    rir[50], rir[58], rir[900] = 0.2, 0.4, 1.0
    assert acoustics.onset(rir, FS).item() == 58


def test_tdoa_signs_and_far_field():
    mics = torch.tensor([[0.0, 0, 0], [0.1, 0, 0], [0, 0.1, 0]]).double()
    way = torch.tensor([0.6, 0.8, 0.0]).double()
    measured = acoustics.tdoa(mics, 1e5 * way)
    far = (mics - mics[0]) @ way / 343.0
    assert torch.allclose(measured, far, atol=1e-9)
    assert measured[1] > 0  # the source is on the side of microphone 1


def test_wrong_input_is_refused():
    with pytest.raises(ValueError, match="unknown method"):
        acoustics.t60(decay(0.5), FS, "t40")
    with pytest.raises(ValueError, match="fs must be positive"):
        acoustics.drr(decay(0.5), 0)
    with pytest.raises(ValueError, match="at least 2 samples"):
        acoustics.c50(torch.ones(5, 1), FS)
    with pytest.raises(ValueError, match="floating"):
        acoustics.t60(torch.ones(100, dtype=torch.long), FS)


def test_sabine_and_eyring_are_their_own_inverses():
    size = torch.tensor([[5.0, 4.0, 3.0], [9.0, 7.0, 3.5]])
    t60 = torch.tensor([0.4, 0.7])
    alpha = reverberation.sabine_absorption(size, t60)
    assert torch.allclose(
        reverberation.sabine_t60(size, alpha[:, None].expand(2, 6)), t60
    )
    alpha = reverberation.eyring_absorption(size, t60)
    assert torch.allclose(
        reverberation.eyring_t60(size, alpha[:, None].expand(2, 6)), t60
    )
    # 0.161 V / (S a) at 343 m/s.
    assert reverberation.sabine_t60([5.0, 4.0, 3.0], 0.3).item() == (
        pytest.approx(0.1611 * 60 / (94 * 0.3), rel=1e-3)
    )
    with pytest.raises(ValueError, match=r"0\.103"):
        reverberation.sabine_absorption([5.0, 4.0, 3.0], 0.05)


def test_mean_absorption_weighs_areas():
    mean = reverberation.mean_absorption(
        [5.0, 4.0, 3.0], [0.1, 0.1, 0.2, 0.2, 0.6, 0.6]
    )
    assert mean.item() == pytest.approx((24 * 0.1 + 30 * 0.2 + 40 * 0.6) / 94)


def test_at_the_critical_distance_direct_equals_reverberant_energy():
    # Reverberant energy 4 pi c / V * T60 / 13.8, direct energy 1 / d^2.
    distance = float(reverberation.critical_distance([5.0, 4.0, 3.0], 0.5))
    late = 4 * math.pi * 343 / 60 * 0.5 / (6 * math.log(10))
    assert 1 / distance**2 == pytest.approx(late, rel=0.03)


@pytest.mark.parametrize("shape", [(32000, 2), (3, 512, 64), (4, 800, 2)])
def test_time_that_is_not_last_is_refused(shape):
    rir = torch.rand(shape)
    measures = (
        *(getattr(acoustics, name) for name in ("t60", "c50", "c80", "d50")),
        *(getattr(acoustics, name) for name in ("drr", "onset")),
        lambda rir, fs: acoustics.clarity(rir, fs, 0.05),
        lambda rir, fs: acoustics.energy_decay_curve(rir),
        noise_floor.find_noise_floor,
        noise_floor.decay_energy,
        room_labels.decay_t60,
        lambda rir, fs: room_parameters.octave_band(rir, fs, 1000),
    )
    for measure in measures:
        with pytest.raises(ValueError, match="time does not seem to be last"):
            measure(rir, 16000)
        measure(rir.movedim(-2, -1), 16000)
    # Many short responses are no mistake.
    assert acoustics.onset(torch.rand(20000, 128), 16000).shape == (20000,)
