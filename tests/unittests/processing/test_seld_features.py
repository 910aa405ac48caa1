"""Features for SELD against direct sums, physics and published values."""

import numpy as np
import pytest
import torch
from seld_oracles import (
    as_batch,
    naive_bank,
    naive_gcc,
    naive_level,
    naive_spectra,
    noise,
    plane_wave,
)

from spatial_brain.geometry import azel_to_unit
from spatial_brain.processing import stft as spectra
from spatial_brain.processing.seld_features import (
    BaselineFeatures,
    LogMelGCC,
    LogMelIntensity,
    Salsa,
    SalsaLite,
)
from spatial_brain.processing.stft import mel_filter_bank

ALL = {
    "log_mel_intensity": LogMelIntensity,
    "log_mel_gcc": LogMelGCC,
    "baseline_foa": BaselineFeatures,
    "baseline_mic": lambda: BaselineFeatures("mic"),
    "salsa_lite": SalsaLite,
    "salsa_lite_baseline": lambda: SalsaLite(baseline=True),
    "salsa_foa": Salsa,
    "salsa_mic": lambda: Salsa("mic"),
}


@pytest.mark.parametrize("scale", ["htk", "slaney"])
@pytest.mark.parametrize("rate", [24000, 32000])
def test_mel_banks(rate, scale):
    low = 20.0 if scale == "htk" else 0.0
    bank = mel_filter_bank(rate, 1024, 64, low, scale=scale)
    exact = naive_bank(rate, 1024, low, scale)
    assert np.abs(bank.numpy() - exact).max() < 1e-7


def test_mel_bank_errors():
    with pytest.raises(ValueError, match="scale"):
        mel_filter_bank(24000, 1024, scale="bark")
    with pytest.raises(ValueError, match="f_max=20000"):
        mel_filter_bank(24000, 1024, f_max=20000)
    with pytest.raises(ValueError, match="too many"):
        mel_filter_bank(24000, 256, 128)


# Published values for a tone of 1 kHz from 30 degrees left, 20 degrees up.
TONE = {
    24000: {
        "band": 18,
        "level": [-7.507, 22.622, 21.594],
        "level_y": 16.061,
        "vector": [0.020074, 0.014613, 0.034770],
        "bank_sum": 0.0427250,
        "first_frame": 21.506,
        "total": 2.73002,
        "filter": {1: 0.0031817, 2: 0.0248756, 3: 0.0143147},
    },
    32000: {
        "band": 17,
        "level": [19.159, 23.225, 8.053],
        "level_y": 16.665,
        "vector": [0.011265, 0.008201, 0.019512],
        "bank_sum": 0.0315188,
        "first_frame": 20.626,
        "total": 2.04870,
        "filter": {1: 0.0086229, 2: 0.0223687},
    },
}


@pytest.mark.parametrize("rate", sorted(TONE))
def test_log_mel_intensity_of_a_tone(rate):
    wanted = TONE[rate]
    time = np.arange(rate) / rate
    tone = 0.5 * np.sin(2 * np.pi * 1000 * time)
    signal = tone[:, None] * np.array([1, 0.469846, 0.342020, 0.813798])
    module = LogMelIntensity(rate)
    features = module(as_batch(signal))
    assert features.shape == (1, 7, 101, 64)
    frame, band = features[0, :, 50], wanted["band"]
    assert frame[0].argmax() == band
    level = frame[0, band - 1 : band + 2].tolist()
    assert level == pytest.approx(wanted["level"], abs=1e-3)
    assert frame[1, band].item() == pytest.approx(wanted["level_y"], abs=1e-3)
    vector = frame[4:, band].tolist()
    assert vector == pytest.approx(wanted["vector"], abs=1e-5)
    assert features[0, 0, 0, band].item() == pytest.approx(
        wanted["first_frame"], abs=1e-3
    )
    bank = module.bank
    assert bank[:, band].sum().item() == pytest.approx(wanted["bank_sum"], 1e-5)
    assert bank.sum().item() == pytest.approx(wanted["total"], 1e-5)
    first = {int(k): bank[k, 0].item() for k in bank[:, 0].nonzero()}
    assert first == pytest.approx(wanted["filter"], abs=1e-7)


def test_silence_and_length():
    features = LogMelIntensity()(torch.zeros(1, 240000, 4))
    assert features.shape == (1, 7, 1001, 64)
    assert (features[:, :4] == -100).all()
    assert (features[:, 4:] == 0).all()


@pytest.mark.parametrize("rate", [24000, 32000])
def test_log_mel_intensity_of_noise(rate):
    signal = noise()
    hop = rate // 100
    frames = 1 + len(signal) // hop
    spectrum = naive_spectra(signal, 1024, hop, 1024, "reflect", frames)
    bank = naive_bank(rate, 1024, 20.0, "htk")
    vector = np.real(np.conj(spectrum[:1]) * spectrum[1:])
    vector /= np.linalg.norm(vector, axis=0) + 2**-23
    features = LogMelIntensity(rate)(as_batch(signal))[0].numpy()
    assert np.abs(features[:4] - naive_level(spectrum, bank)).max() < 1e-3
    assert np.abs(features[4:] - vector @ bank).max() < 1e-6


def test_intensity_of_a_plane_wave():
    module = LogMelIntensity()
    for azimuth, elevation in ((0, 0), (90, 0), (-135, 40), (10, -80)):
        wave = plane_wave(azimuth, elevation, noise(channels=1)[:, 0])
        vector = module(wave[None])[0, 4:]
        x, y, z = azel_to_unit(azimuth, elevation).tolist()
        expected = torch.tensor([y, z, x])[:, None, None] * module.bank.sum(0)
        assert (vector - expected).abs().max() < 1e-5


@pytest.mark.parametrize("pad_mode", ["constant", "reflect"])
def test_baseline_features(pad_mode):
    signal = noise()
    signal[3000:] *= 1e-6  # far below 80 dB
    offset = signal + 1e-8
    spectrum = naive_spectra(offset, 1024, 480, 960, pad_mode, 12)
    bank = naive_bank(24000, 1024, 0.0, "slaney")
    level = naive_level(spectrum, bank)
    level = np.maximum(level, level.max((1, 2), keepdims=True) - 80)
    power = np.abs(spectrum) ** 2
    energy = 1e-8 + power[:1] + power[1:].sum(0) / 3
    vector = np.real(np.conj(spectrum[:1]) * spectrum[1:]) / energy
    foa = BaselineFeatures("foa", pad_mode=pad_mode)(as_batch(signal))[0]
    assert foa.shape == (7, 12, 64)
    assert np.abs(foa[:4].numpy() - level).max() < 1e-3
    assert np.abs(foa[4:].numpy() - vector @ bank).max() < 1e-6
    mic = BaselineFeatures("mic", pad_mode=pad_mode)(as_batch(signal))[0]
    assert np.array_equal(mic[:4].numpy(), foa[:4].numpy())
    # Frame 11 is all rounding noise of float32 where the signal is 1e-7.
    gcc = naive_gcc(spectrum)
    assert np.abs(mic[4:, :6].numpy() - gcc[:, :6]).max() < 1e-4
    free = BaselineFeatures("foa", pad_mode=pad_mode, top_db=None)
    assert free(as_batch(signal))[0, :4].min() < level.min() - 10


def test_baseline_range_is_per_signal_and_channel():
    quiet, loud = as_batch(noise(seed=1)) * 1e-3, as_batch(noise(seed=2))
    module = BaselineFeatures()
    both = module(torch.cat((quiet, loud)))
    assert torch.equal(both[:1], module(quiet))
    assert torch.equal(both[1:], module(loud))


def test_baseline_intensity_of_a_plane_wave():
    module = BaselineFeatures()
    wave = plane_wave(0, 0, noise(channels=1)[:, 0])[None]
    forward = module(wave)[0, 6]
    assert (forward - 0.75 * module.bank.sum(0)).abs().max() < 1e-5


def test_log_mel_gcc():
    signal = noise()
    spectrum = naive_spectra(signal, 1024, 240, 1024, "reflect", 26)
    features = LogMelGCC()(as_batch(signal))[0].numpy()
    level = naive_level(spectrum, naive_bank(24000, 1024, 20.0, "htk"))
    assert np.abs(features[:4] - level).max() < 1e-3
    assert np.abs(features[4:] - naive_gcc(spectrum)).max() < 1e-5


@pytest.mark.parametrize("make", [LogMelGCC, lambda: BaselineFeatures("mic")])
def test_gcc_peaks_at_the_delay(make):
    source = noise(7000, 1)[:, 0]
    delays = [0, 5, -7, 12]
    signal = np.stack([source[100 - d : 6100 - d] for d in delays], 1)
    peaks = make()(as_batch(signal))[0, 4:, 5].argmax(-1) - 32
    assert peaks.tolist() == [5, -7, 12, -12, 7, 19]


@pytest.mark.parametrize("name", sorted(ALL))
def test_module_manners(name, monkeypatch):
    module = ALL[name]()
    waveform = as_batch(noise(12000)).repeat(2, 1, 1)
    waveform[1] *= 0.3
    waveform[1, 4000:8000] = 0
    before = waveform.clone()
    features = module(waveform)
    assert torch.equal(waveform, before)
    assert features.dtype == torch.float32
    frames = 25 if "baseline" in name else 51
    shape = (2, module.num_channels, frames, module.num_bins)
    assert features.shape == shape
    assert torch.isfinite(features).all()
    assert not list(module.parameters()) and not module.state_dict()
    # An item does not depend on the others, nor on the size of the blocks.
    assert torch.allclose(module(waveform[1:]), features[1:], atol=1e-4)
    for size in ("_BLOCK_ROWS", "_BLOCK_ROWS_OF_A_THREAD"):
        monkeypatch.setattr(spectra, size, 24)
    assert torch.allclose(module(waveform), features, atol=1e-4)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.allclose(module(waveform), features, atol=1e-4)
    # Gradients are finite in silence too.
    waveform.requires_grad_(True)
    module(waveform).sum().backward()
    assert torch.isfinite(waveform.grad).all()
    assert waveform.grad[0].abs().sum() > 0
    assert module(waveform.detach().double()).dtype == torch.float32


@pytest.mark.parametrize("name", sorted(ALL))
def test_refused_waveforms(name):
    module = ALL[name]()
    with pytest.raises(ValueError, match="4 channels.*24000, 1"):
        module(torch.zeros(1, 24000, 1))
    with pytest.raises(ValueError, match=r"\[24000, 4\]"):
        module(torch.zeros(24000, 4))
    with pytest.raises(ValueError, match="200 samples is too short"):
        module(torch.zeros(1, 200, 4))


def test_refused_settings():
    with pytest.raises(ValueError, match="format.*'binaural'"):
        BaselineFeatures("binaural")
    with pytest.raises(ValueError, match="format.*'binaural'"):
        Salsa("binaural")
    with pytest.raises(ValueError, match="pad_mode.*'wrap'"):
        BaselineFeatures(pad_mode="wrap")
    with pytest.raises(ValueError, match="hop_length=2000"):
        LogMelIntensity(hop_length=2000)
    with pytest.raises(ValueError, match="even"):
        LogMelGCC(n_mels=63)
    with pytest.raises(ValueError, match="highest_phase"):
        SalsaLite(highest_phase=10000.0)
