"""Augmentation of binaural mixtures: what changes, and what must not."""

import numpy as np
import pytest
import torch

from spatial_brain.augment.binaural import (
    BinauralAugmentation,
    _change_speed,
    summed,
)
from spatial_brain.simulation.hrtf.interpolation import itd

FS = 8000


def signals_of(length=16000, num_sources=2, noise=False):
    generator = torch.Generator().manual_seed(0)
    sources = torch.randn(length, 2, num_sources, generator=generator)
    noise = torch.randn(length, 2, generator=generator) if noise else None
    mix = summed(sources, noise)
    return {"mix": mix, "sources": sources, "noise": noise}


def test_speeds():
    for speed, length in ((95, 16843), (100, 16000), (105, 15239)):
        assert len(_change_speed(torch.zeros(16000, 2), speed)) == length
    # A tone of 500 Hz, 4 samples later at the right ear: both change alike.
    time = torch.arange(8000)[:, None] - torch.tensor([0.0, 4.0])
    tone = torch.sin(2 * torch.pi * 500 / FS * time)
    fast = _change_speed(tone, 105)
    spectrum = torch.fft.rfft(fast[100:7100, 0] * torch.hann_window(7000))
    assert int(spectrum.abs().argmax()) == pytest.approx(525 * 7000 / FS, abs=1)
    later = itd(fast[1000:1128].T, FS, max_itd=1e-3)
    assert float(later) * FS == pytest.approx(-4 / 1.05, abs=0.1)


@pytest.mark.parametrize("noise", [False, True])
def test_each_source_has_a_speed(noise):
    augment = BinauralAugmentation()
    lengths = set()
    for seed in range(30):
        rng = np.random.default_rng(seed)
        signals = signals_of(noise=noise)
        changed = augment(signals, rng)
        lengths.add(len(changed["mix"]))
        whole = summed(changed["sources"], changed["noise"])
        assert torch.equal(changed["mix"], whole)
        for index in range(2):
            assert any(
                torch.equal(
                    changed["sources"][..., index],
                    _change_speed(signals["sources"][..., index], speed)[
                        : len(changed["mix"])
                    ],
                )
                for speed in (95, 100, 105)
            )
    # Cut to the shortest; noise is never longer than it was.
    longest = 16000 if noise else 16843
    assert lengths == {15239, 16000, longest}


def test_shift_works_on_its_own():
    signals = signals_of(noise=True)
    rng = np.random.default_rng(0)
    changed = BinauralAugmentation(None, max_shift=50)(signals, rng)
    shifts = []
    for index in range(2):
        source = signals["sources"][..., index]
        shifted = changed["sources"][..., index]
        shifts += [
            s for s in range(-50, 50) if source.roll(s, 0).equal(shifted)
        ]
    assert len(set(shifts)) == 2
    assert torch.equal(changed["noise"], signals["noise"])
    assert torch.equal(
        changed["mix"], summed(changed["sources"], changed["noise"])
    )


def test_nothing_asked_nothing_changed():
    signals = signals_of()
    changed = BinauralAugmentation((100,))(signals, np.random.default_rng(0))
    assert changed["mix"] is signals["mix"]
    assert changed["sources"] is signals["sources"]


def test_windows_are_the_same_of_all_signals():
    signals = signals_of(3000, noise=True)
    augment = BinauralAugmentation(None, max_length=1000)
    starts = set()
    for seed in range(20):
        changed = augment(signals, np.random.default_rng(seed))
        match = signals["mix"][:2001, 0] == changed["mix"][0, 0]
        [start] = match.nonzero()[:, 0].tolist()
        starts.add(start)
        for key in ("mix", "sources", "noise"):
            assert torch.equal(changed[key], signals[key][start:][:1000])
    assert len(starts) > 15
    # With any speed there is enough for the length wanted.
    whole = BinauralAugmentation(max_length=1000)
    assert {
        len(whole(signals, np.random.default_rng(seed))["mix"])
        for seed in range(20)
    } == {1000}


def test_drops_are_in_the_mixture_alone():
    signals = signals_of(8000)
    state = torch.get_rng_state()
    chunks = BinauralAugmentation(None, drop_chunk=(1000, 2000))
    changed = chunks(signals, np.random.default_rng(1))
    gone = changed["mix"] == 0
    assert torch.equal(gone[:, 0], gone[:, 1])
    assert 1000 <= int(gone[:, 0].sum()) < 8000
    kept = ~gone
    assert torch.equal(changed["mix"][kept], signals["mix"][kept])
    assert torch.equal(changed["sources"], signals["sources"])
    bands = BinauralAugmentation(None, drop_freq=3)
    again = [bands(signals, np.random.default_rng(1))["mix"] for _ in range(2)]
    assert torch.equal(*again)
    ratio = torch.fft.rfft(again[0], dim=0).abs().sum(1)
    ratio /= torch.fft.rfft(signals["mix"], dim=0).abs().sum(1)
    assert float(ratio.min()) < 0.2 < 0.7 < float(ratio.median())
    assert torch.equal(torch.get_rng_state(), state)
    with pytest.raises(ValueError, match="max_length must be positive"):
        BinauralAugmentation(max_length=0)
    with pytest.raises(ValueError, match="speeds must be positive"):
        BinauralAugmentation(speeds=[0])
