"""Parameters of measured rooms, per octave band."""

import math

import pytest
import torch

from spatial_brain.dataio.audio import read_audio
from spatial_brain.simulation.room_parameters import (
    deconvolve,
    octave_band,
    room_parameters,
    trim_impulse,
)

FS = 16000


def decay(t60, channels=1, seconds=1.5):
    """Noise that decays: its parameters are closed forms."""
    generator = torch.Generator().manual_seed(0)
    count = int(seconds * FS)
    noise = torch.randn(channels, count, generator=generator)
    return noise * 10 ** (-3 * torch.arange(count) / FS / t60)


def test_values_of_an_exponential_decay():
    whole, *octaves = room_parameters(decay(0.5), FS)
    clarity = 10 * math.log10(math.exp(6 * math.log(10) * 0.05 / 0.5) - 1)
    assert whole.values["t30"][0] == pytest.approx(0.5, rel=0.03)
    assert whole.values["c50"][0] == pytest.approx(clarity, abs=0.5)
    assert whole.values["ts"][0] == pytest.approx(500 / 13.8, rel=0.08)
    for one in octaves[2:]:
        assert one.values["t20"][0] == pytest.approx(0.5, rel=0.08)


def test_bands_have_their_own_decays():
    low, high = decay(0.9), decay(0.3).flip(0)
    rir = octave_band(low, FS, 250) + octave_band(high, FS, 2000)
    found = {one.band: one.values for one in room_parameters(rir, FS)}
    assert found[250]["t20"][0] == pytest.approx(0.9, rel=0.1)
    assert found[2000]["t20"][0] == pytest.approx(0.3, rel=0.1)


def test_octaves_add_up_and_end_where_the_next_begins():
    with pytest.raises(ValueError, match="holds less than 8000"):
        octave_band(decay(0.5), FS, 8000)
    time = torch.arange(FS) / FS
    for hertz, gain in ((1000, 1.0), (1413, 0.5**0.5), (4000, 0.0)):
        tone = torch.sin(2 * math.pi * hertz * time)
        part = octave_band(tone, FS, 1000)[4000:12000]
        share = (part.square().mean() / 0.5).sqrt()
        assert float(share) == pytest.approx(gain, abs=0.02)


def test_noise_leaves_out_ranges_with_a_reason():
    generator = torch.Generator().manual_seed(1)
    clean = decay(0.4)
    noise = 10 ** (-38 / 20) * torch.randn(clean.shape, generator=generator)
    whole = room_parameters(clean + noise, FS)[0]
    assert whole.values["t20"][0] == pytest.approx(0.4, rel=0.05)
    assert math.isnan(whole.values["t30"][0])
    assert whole.values["range"][0] == pytest.approx(38, abs=2)
    assert "T30 of channel 0" in whole.notes[0]
    assert "above the noise, 45 dB are needed" in whole.notes[0]


def test_ears_that_receive_the_same_are_fully_correlated():
    both = decay(0.4, channels=2)
    late = torch.stack((both[0], both[0].roll(8)))
    assert room_parameters(late, FS)[0].values["iacc"][0] > 0.97
    assert room_parameters(both, FS)[0].values["iacc"][0] < 0.2


def test_a_sweep_gives_back_the_response():
    time = torch.arange(2 * FS) / FS
    rate = math.log(7900 / 40) / 2
    phase = 2 * math.pi * 40 / rate * ((rate * time).exp() - 1)
    sweep = phase.sin()
    rir = decay(0.3, seconds=0.8)
    size = 4 * FS
    spectrum = torch.fft.rfft(sweep, size) * torch.fft.rfft(rir, size)
    recording = torch.fft.irfft(spectrum, size)[:, : 3 * FS]
    found = room_parameters(deconvolve(recording, sweep), FS)
    for one in found[1:]:
        assert one.values["t20"][0] == pytest.approx(0.3, rel=0.15)
    with pytest.raises(ValueError, match="silent"):
        deconvolve(recording, torch.zeros(100))


def test_a_clap_begins_at_its_onset():
    clap = torch.nn.functional.pad(decay(0.4), (FS, 0))
    assert trim_impulse(clap, FS).shape[-1] < 1.6 * FS


@pytest.mark.parametrize(
    ("condition", "published"),
    [
        ("000", (0.716, 0.741, 0.690, 0.654, 0.588, 0.462)),
        ("100", (0.550, 0.511, 0.451, 0.365, 0.269, 0.199)),
    ],
)
def test_a_measured_room_has_its_published_t30(
    shared_data, condition, published
):
    """Means over positions, 250 Hz to 8 kHz, of the figure of R3VIVAL."""
    folder = shared_data / "rir" / "r3vival" / f"cond_{condition}"
    rows = []
    for path in sorted(folder.glob("*.flac"))[::3]:
        signal, fs = read_audio(path)
        octaves = room_parameters(signal.T[6:], fs)[2:]  # the centre
        rows.append([one.values["t30"][0] for one in octaves])
    found = torch.tensor(rows).nanmean(0)
    assert (found - torch.tensor(published)).abs().max() < 0.03


def test_bad_responses_are_refused():
    with pytest.raises(ValueError, match="transpose"):
        room_parameters(decay(0.4).T, FS)
    with pytest.raises(ValueError, match=r"channels \[1\]"):
        room_parameters(torch.stack((decay(0.4)[0], torch.zeros(24000))), FS)
    with pytest.raises(ValueError, match="no numbers"):
        room_parameters(decay(0.4) * math.nan, FS)
