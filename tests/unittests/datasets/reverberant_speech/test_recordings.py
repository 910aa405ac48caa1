"""Recordings that are mixed when they are asked for."""

import numpy as np
import pytest
import torch

from spatial_brain.dataio.array_store import ArrayStore
from spatial_brain.datasets.reverberant_speech.disturbances import Disturbances
from spatial_brain.datasets.reverberant_speech.recordings import (
    ReverberantSpeech,
)

QUANTITIES = ["T60", "DRR", "C50", "DIST"]


def open_recordings(responses, speech, **options):
    options = {"duration": 1.0, "t60_range": (0.05, 2.0), **options}
    return ReverberantSpeech(
        responses, speech, 8, quantities=QUANTITIES, **options
    )


def test_an_item_depends_on_seed_epoch_and_index(responses, speech):
    one, other = (open_recordings(responses, speech) for _ in range(2))
    first = one[3]
    assert torch.equal(first["waveform"], other[3]["waveform"])
    assert not torch.equal(first["waveform"], one[4]["waveform"])
    one.set_epoch(2)
    assert not torch.equal(first["waveform"], one[3]["waveform"])
    moved = open_recordings(responses, speech, seed=1)
    assert not torch.equal(first["waveform"], moved[3]["waveform"])


def test_labels_are_those_of_the_response(responses, speech):
    store = ArrayStore(responses)
    data = open_recordings(responses, speech, num_channels=2)
    item = data[0]
    assert item["waveform"].shape == (16000, 2)
    assert item["waveform"].dtype == torch.float32
    labels = store.entries[item["room"]]["labels"]
    rows = [
        [[labels[name][source][m] for name in QUANTITIES] for m in range(2)]
        for source in range(len(labels["T60"]))
    ]
    assert any(np.allclose(row, item["labels"], atol=1e-4) for row in rows)


def test_quiet_noise_leaves_the_reverberant_speech(responses, speech):
    plain = {"max_gain": 0.0, "limited_share": 0.0}
    options = {"babble_share": 0.0, "disturbances": plain}
    clean, noisy = (
        open_recordings(responses, speech, snr_range=(snr, snr), **options)[0]
        for snr in (80.0, 0.0)
    )
    added = noisy["waveform"] - clean["waveform"]
    ratio = clean["waveform"].square().mean() / added.square().mean()
    assert 10 * ratio.log10().item() == pytest.approx(0.0, abs=1.0)


def test_responses_outside_of_the_range_are_left_out(responses, speech):
    with pytest.raises(ValueError, match="no response has a T60"):
        open_recordings(responses, speech, t60_range=(5.0, 6.0))


def test_band_limits_take_away_what_lies_outside():
    limited = Disturbances(max_gain=0.0, limited_share=1.0)
    gain = limited.colour(np.random.default_rng(0), 8001, 16000)
    assert gain[1000] == pytest.approx(1.0) and gain[-1] < 0.7
    assert gain[70] < 1.0


def test_noise_slopes_as_asked():
    steep = Disturbances(tilt_range=(-6.0, -6.0), varying_share=0.0)
    flat = np.ones(16001, np.float32)
    noise = steep.noise(np.random.default_rng(0), 1, 32000, 16000, flat)
    power = np.abs(np.fft.rfft(noise[0])) ** 2
    low, high = power[1000:1100].mean(), power[8000:8100].mean()
    assert 10 * np.log10(low / high) == pytest.approx(18.0, abs=2.5)
