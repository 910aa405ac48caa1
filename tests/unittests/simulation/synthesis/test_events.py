"""Synthetic sound events: form, variety, and that kinds can be separated."""

import numpy as np
import pytest
import torch

from spatial_brain.simulation.synthesis.event_parts import (
    _bursts,
    colour,
    harmonics,
    modes,
    peaks,
    scatter,
)
from spatial_brain.simulation.synthesis.events import (
    EVENT_KINDS,
    event_durations,
    synthetic_event,
)

FS = 16000


def generator(seed):
    return torch.Generator().manual_seed(seed)


def bands(event):
    """Mean level, spread and flux of 20 bands, and slow modulation."""
    spectrum = torch.stft(
        event, 512, 256, window=torch.hann_window(512), return_complex=True
    )
    power = spectrum.abs().square().numpy()
    edges = np.unique(np.geomspace(2, 257, 21).astype(int))
    power = np.add.reduceat(power, edges[:-1], axis=0)
    level = 10 * np.log10(power + 1e-6 * power.max())
    level -= level.mean()
    course = level.mean(0) - level.mean()
    lags = np.correlate(course, course, "full")[len(course) :][:40:4]
    return np.concatenate(
        (
            level.mean(1),
            level.std(1),
            np.abs(np.diff(level)).mean(1),
            5 * lags / np.square(course).sum(),
        )
    )


@pytest.mark.parametrize("kind", EVENT_KINDS)
def test_form(kind):
    for seconds, fs in ((0.05, 8000), (0.7, 24000), (1.5, 32000)):
        event = synthetic_event(kind, seconds, fs, generator(1))
        assert event.shape == (round(seconds * fs),)
        assert event.dtype == torch.float32
        assert event.isfinite().all()
        assert event.abs().max() == 1.0
        # It sounds at once: no silence for the labels to lie about.
        start = event[: max(len(event) // 5, fs // 50)].abs().max()
        assert start > 0.01


@pytest.mark.parametrize("kind", EVENT_KINDS)
def test_draws_differ_and_repeat(kind):
    first = synthetic_event(kind, 1.0, FS, generator(2))
    again = synthetic_event(kind, 1.0, FS, generator(2))
    other = synthetic_event(kind, 1.0, FS, generator(3))
    assert torch.equal(first, again)
    assert np.linalg.norm(bands(first) - bands(other)) > 5.0


def test_usual_duration_is_drawn():
    shortest, longest = event_durations("knock")
    lengths = {
        len(synthetic_event("knock", fs=8000, generator=generator(seed)))
        for seed in range(5)
    }
    assert len(lengths) == 5
    assert shortest <= min(lengths) / 8000 <= max(lengths) / 8000 <= longest


def test_kinds_are_distinct():
    """A linear classifier separates unseen events of all kinds."""
    train, test = [], []
    for number, kind in enumerate(EVENT_KINDS):
        state = generator(100 + number)
        drawn = [
            bands(synthetic_event(kind, 1.5, FS, state)) for _ in range(12)
        ]
        train.append(drawn[:9])
        test.append(drawn[9:])
    train, test = np.array(train), np.array(test)
    center = train.mean(1)
    within = (train - center[:, None]).reshape(-1, train.shape[-1])
    whiten = np.linalg.inv(
        np.linalg.cholesky(np.cov(within.T) + np.eye(within.shape[1]))
    )
    places, centers = test @ whiten.T, center @ whiten.T
    distance = np.linalg.norm(places[:, :, None] - centers, axis=-1)
    found = distance.argmin(-1)
    assert (found == np.arange(len(EVENT_KINDS))[:, None]).mean() > 0.75


def test_pitch_of_voices():
    """Women speak higher than men."""
    pitches = []
    for kind in ("speech_female", "speech_male"):
        values = []
        for seed in range(6):
            event = synthetic_event(kind, 2.0, FS, generator(seed))
            spectrum = torch.fft.rfft(event, 2 * len(event))
            lags = torch.fft.irfft(spectrum.abs().square())
            lags = lags[FS // 300 : FS // 75]
            values.append(FS / (int(lags.argmax()) + FS // 300))
        pitches.append(np.median(values))
    assert pitches[0] > 1.3 * pitches[1]


def test_errors():
    with pytest.raises(ValueError, match="kind must be one of"):
        synthetic_event("sneeze")
    with pytest.raises(ValueError, match="duration"):
        synthetic_event("knock", 0.01)
    with pytest.raises(ValueError, match="8000"):
        synthetic_event("knock", 1.0, 4000)


def test_harmonics_do_not_alias():
    tone = harmonics(np.full(8000, 1000.0), 8000, np.ones(20))
    power = np.abs(np.fft.rfft(tone)) ** 2
    expected = np.zeros(4001, bool)
    expected[[1000, 2000, 3000]] = True
    assert power[~expected].max() < 1e-4 * power[expected].min()


def test_modes_decay_as_asked():
    struck = modes(np.random.default_rng(0), 8000, [700.0], [0.05], [1.0])
    level = np.abs(struck[:1600]).reshape(2, 800).max(1)
    assert np.isclose(level[0] / level[1], np.exp(0.1 / 0.05), rtol=0.02)


def test_colour_has_no_delay():
    click = np.zeros(1000, np.float32)
    click[500] = 1.0
    coloured = colour(click, 8000, peaks([1000.0], [1.0]))
    assert np.abs(coloured).argmax() == 500
    assert np.allclose(coloured[400:500], coloured[501:601][::-1], atol=1e-6)


def test_patterns():
    pattern = _bursts(np.random.default_rng(1), 5.0, (0.2, 0.5), (0.1, 0.3))
    stops = [start + length for start, length in pattern]
    assert pattern[0][0] == 0.0 and stops[-1] <= 5.0
    for stop, (start, _) in zip(stops[:-1], pattern[1:], strict=True):
        assert 0.1 <= start - stop <= 0.3
    assert scatter(3, [5], [np.ones(4)], [1.0]).tolist() == [0.0, 0.0, 0.0]
