"""SALSA and SALSA-lite against direct sums and plane waves."""

import math

import numpy as np
import pytest
import torch
from seld_oracles import as_batch, naive_spectra, noise, plane_wave

from spatial_brain.geometry import azel_to_unit
from spatial_brain.processing.seld_features import (
    Salsa,
    SalsaLite,
    _above_noise,
)


@pytest.mark.parametrize("compat", [False, True])
@pytest.mark.parametrize("baseline", [False, True])
def test_salsa_lite(baseline, compat):
    signal = noise()
    hop, window, mode, frames = (
        (480, 960, "constant", 12) if baseline else (240, 1024, "reflect", 26)
    )
    spectrum = naive_spectra(signal, 1024, hop, window, mode, frames)
    k = np.maximum(np.arange(513), 1)
    path = np.angle(spectrum[1:] * np.conj(spectrum[:1]))
    path = path / (2 * np.pi * 24000 / (1024 * 343) * k)
    path[..., 87 if compat else 85 :] = 0
    module = SalsaLite(baseline=baseline, compat=compat)
    features = module(as_batch(signal))[0].numpy()
    assert features.shape == (7, frames, module.num_bins) == (7, frames, 382)
    # Decibels of single bins are steep where they vanish.
    magnitude = 10 ** (features[:4] / 20)
    assert np.abs(magnitude - np.abs(spectrum[..., 2:384])).max() < 1e-4
    wrapped = np.abs(features[4:] - path[..., 2:384])
    # A phase at pi may come out at -pi.
    turn = 343 * 1024 / 24000 / k[2:384]
    assert np.minimum(wrapped, np.abs(wrapped - turn)).max() < 1e-4


def test_salsa_lite_of_a_delay():
    source = noise(7000, 1)[:, 0]
    signal = np.stack([source[100 - d : 6100 - d] for d in (0, 2, -3, 0)], 1)
    path = SalsaLite()(as_batch(signal))[0, 4:, 3:-3, 5:60]
    metres = torch.tensor([-2.0, 3.0, 0.0]) * 343 / 24000
    error = path.median(1).values.median(1).values - metres
    assert error.abs().max() < 1e-3


def test_salsa_foa_of_a_plane_wave():
    wave = plane_wave(40, -25, noise(24000, 1)[:, 0])
    wave[:6000] *= 1e-3  # background, for the noise floor
    cue = Salsa("foa")(wave[None])[0, 4:]
    x, y, z = azel_to_unit(40.0, -25.0).tolist()
    found = cue.norm(dim=0) > 0
    assert found[30:60, :192].float().mean() > 0.9
    assert not found[:, 192:].any()
    expected = torch.tensor([y, z, x])[:, None]
    assert (cue[:, found] - expected).abs().max() < 1e-4


def test_salsa_mic_of_a_delay():
    source = noise(25000, 1)[:, 0]
    delays = (0, 1, -2, 1)
    signal = np.stack([source[100 - d : 24100 - d] for d in delays], 1)
    cue = Salsa("mic", tracking=False)(as_batch(signal))[0, 4:]
    assert (cue[..., 85:] == 0).all()
    metres = torch.tensor([-1.0, 2.0, -1.0]) * 343 / 24000
    middle = cue[:, 5:-5, 10:80].mean((1, 2))
    assert (middle - metres).abs().max() < 1e-3


def test_salsa_refuses_two_sources_in_a_bin():
    one = plane_wave(0, 0, noise(24000, 1, 1)[:, 0])
    two = plane_wave(90, 0, noise(24000, 1, 2)[:, 0])
    module = Salsa("foa", tracking=False)
    share = [
        (module(wave[None])[0, 4:, :, :192].norm(dim=0) > 0).float().mean()
        for wave in (one, one + two)
    ]
    assert share[0] > 0.99
    assert share[1] < 0.5


def test_salsa_bands():
    signal = noise()
    spectrum = naive_spectra(signal, 512, 240, 512, "reflect", 26)
    power = np.abs(spectrum[..., 1:]) ** 2
    high = power[..., 192:].reshape(4, 26, 8, 8).mean(-1)
    level = 10 * np.log10(np.concatenate((power[..., :192], high), -1))
    features = Salsa()(as_batch(signal))[0, :4].numpy()
    assert np.abs(features - level).max() < 1e-2
    assert Salsa(sample_rate=16000).num_bins == 256
    assert Salsa(sample_rate=32000).num_bins == 144 + 14


def test_noise_floor():
    generator = np.random.default_rng(3)
    magnitude = generator.rayleigh(0.01, (1, 150, 3))
    magnitude[:, 60:80] *= 30
    found = _above_noise(torch.from_numpy(magnitude))[0].numpy()
    for k in range(3):
        floor, patience, wanted = None, 3, []
        for t in range(150):
            past = [
                magnitude[0, i, k] ** 2 for i in range(max(0, t - 2), t + 1)
            ]
            level = math.sqrt(sum(past) / 3)
            if floor is None:
                first = [
                    math.sqrt(
                        (magnitude[0, max(0, i - 2) : i + 1, k] ** 2).sum() / 3
                    )
                    for i in range(5)
                ]
                floor = 0.5 * sum(first) / 5
            if level > floor:
                patience -= 1
                floor *= 1.002 if patience < 0 else 1.02
            else:
                patience = 3
                floor *= 0.98
            floor = max(floor, 1e-6)
            wanted.append(level > 1.5 * floor)
        assert found[:, k].tolist() == wanted
