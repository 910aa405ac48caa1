"""Beamformers: constraints, known directivities, nulls, filters of time."""

import math

import pytest
import torch
from plane_waves import plane_wave

from spatial_brain.geometry import azel_to_unit, circular_array, linear_array
from spatial_brain.processing.beamforming.array_response import (
    AmbisonicResponse,
    FreeFieldResponse,
)
from spatial_brain.processing.beamforming.covariance import masked_covariances
from spatial_brain.processing.beamforming.filters import (
    filter_and_sum,
    filters_of,
)
from spatial_brain.processing.beamforming.weights import (
    delay_and_sum,
    directivity_index,
    gev,
    lcmv,
    mvdr,
    white_noise_gain,
)

FS, N_FFT = 16000, 1024
FREQUENCIES = torch.linspace(0, FS / 2, N_FFT // 2 + 1).double()


def _aim(positions, azimuth=30.0):
    response = FreeFieldResponse(positions)
    look = response.steering(azel_to_unit(azimuth, 0.0), FREQUENCIES)
    return response, look, response.diffuse_coherence(FREQUENCIES)


def _gain(weights, response):
    return (weights.conj() * response).sum(-1)


@pytest.mark.parametrize("least", [0.01, 0.1, 1.0])
def test_mvdr_leaves_the_direction_and_keeps_the_white_noise_gain(least):
    response, look, diffuse = _aim(circular_array(6, 0.0425))
    weights = mvdr(look, diffuse, least)
    assert (_gain(weights, look) - 1).abs().max() < 1e-9
    gain = white_noise_gain(weights, look)
    assert gain.min() > 10 * math.log10(least) - 1e-3
    index = directivity_index(weights, look, diffuse)
    plain = directivity_index(delay_and_sum(look), look, diffuse)
    assert (index > plain - 1e-6).all()
    assert (index - plain)[8:64].mean() > (4 if least < 1 else 1)


def test_directivity_indices_of_arrays_that_have_a_formula():
    # Half a wave apart: sin(x) / x is 0, gain and index are M.
    line = linear_array(4, 343.0 / 8000)
    _, look, diffuse = _aim(line, 90.0)
    index = directivity_index(delay_and_sum(look), look, diffuse)
    assert index[256] == pytest.approx(10 * math.log10(4), abs=0.01)
    # Endfire pairs much closer than a wave: first-order hypercardioid, 4.
    _, look, diffuse = _aim(linear_array(2, 0.02), 0.0)
    index = directivity_index(mvdr(look, diffuse, 1e-6), look, diffuse)
    assert index[16] == pytest.approx(10 * math.log10(4), abs=0.05)


def test_ambisonics_give_cardioid_and_hypercardioid():
    response = AmbisonicResponse()
    f = torch.zeros(1)
    look = response.steering(azel_to_unit(70.0, 20.0), f)
    behind = response.steering(azel_to_unit(-110.0, -20.0), f)
    diffuse = response.diffuse_coherence(f)
    cardioid = delay_and_sum(look)
    assert _gain(cardioid, behind).abs() < 1e-6
    index = directivity_index(cardioid, look, diffuse)
    assert index.item() == pytest.approx(10 * math.log10(3), abs=1e-4)
    best = directivity_index(mvdr(look, diffuse), look, diffuse)
    assert best.item() == pytest.approx(10 * math.log10(4), abs=1e-4)


def test_lcmv_nulls_where_the_array_can_and_says_where():
    response, look, diffuse = _aim(circular_array(6, 0.0425))
    others = azel_to_unit(torch.tensor([120.0, -80.0]), 0.0)
    nulls = response.steering(others, FREQUENCIES)
    weights, held = lcmv(look, nulls, diffuse)
    assert (_gain(weights, look) - 1).abs().max() < 1e-9
    assert _gain(weights, nulls)[:, held].abs().max() < 1e-9
    assert held[64:].all() and not held[1:4].any()
    assert white_noise_gain(weights, look).min() > -10.001
    with pytest.raises(ValueError, match="2 channels can null 1"):
        lcmv(look[:, :2], nulls, diffuse[:, :2, :2])


def test_gev_is_mvdr_where_the_signal_is_a_plane_wave():
    _, look, diffuse = _aim(circular_array(6, 0.0425))
    noise = diffuse + 0.1 * torch.eye(6)
    signal = 3.0 * look[..., None] * look.conj()[:, None]
    power = noise.diagonal(dim1=1, dim2=2).real.mean(-1)[:, None, None]
    expected = mvdr(look, noise + 0.01 * power * torch.eye(6), 1e-9)
    # Silence and noise without signal stay finite as well.
    found = gev(look, signal, noise)
    assert (found - expected).abs().max() < 1e-6
    nothing = torch.zeros_like(noise)
    assert gev(look, nothing, nothing).isfinite().all()
    assert mvdr(look, nothing).isfinite().all()


def test_a_plane_wave_comes_back_and_a_null_is_silent():
    positions = circular_array(6, 0.0425)
    response, look, diffuse = _aim(positions)
    front, side = (azel_to_unit(a, 0.0) for a in (30.0, 120.0))
    weights, _ = lcmv(look, response.steering(side[None], FREQUENCIES), diffuse)
    at_centre = plane_wave(torch.zeros(1, 3), front)[0, :, 0]
    waves = {
        name: plane_wave(positions, direction)[0].T
        for name, direction in (("front", front), ("side", side))
    }
    wanted = slice(N_FFT // 2 - 1, len(at_centre) - N_FFT // 2)
    band = (torch.fft.rfftfreq(len(at_centre[wanted]), 1 / FS) > 300) & (
        torch.fft.rfftfreq(len(at_centre[wanted]), 1 / FS) < 7500
    )

    def level(signal):
        taper = torch.hann_window(len(signal))
        power = torch.fft.rfft(signal * taper)[band].abs().square().sum()
        return 10 * power.log10().item()

    true = at_centre[wanted]
    for found in (delay_and_sum(look), weights):
        output = filter_and_sum(waves["front"], filters_of(found))
        assert level(output - true) < level(true) - 60
    output = filter_and_sum(waves["side"], filters_of(weights))
    assert level(output) < level(true) - 60


def test_masks_tell_a_direction_from_the_rest():
    positions = circular_array(6, 0.0425)
    _, look, diffuse = _aim(positions)
    mine = plane_wave(positions, azel_to_unit(30.0, 0.0), 16000, seed=1)[0].T
    other = plane_wave(positions, azel_to_unit(130.0, 0.0), 16000, seed=2)[0].T
    # They take turns.
    signal = torch.cat((mine, other), dim=-1)
    found = masked_covariances(signal, look, diffuse, N_FFT)
    _, look_other, _ = _aim(positions, 130.0)
    middle = slice(20, 500)
    for covariance, own, strange in zip(
        found, (look, look_other), (look_other, look), strict=True
    ):
        power = [
            (v.conj()[:, None] @ covariance @ v[..., None]).real[middle].sum()
            for v in (own, strange)
        ]
        assert power[0] > 2 * power[1]
