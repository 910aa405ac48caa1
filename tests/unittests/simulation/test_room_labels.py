"""Labels of responses against theory and against plain formulas."""

import math

import numpy as np
import pytest
import torch

from spatial_brain.simulation import acoustics, simulate_rir
from spatial_brain.simulation.room_labels import (
    absorption_from_t60,
    decay_t60,
    direct_to_reverberant,
    early_to_late,
    pair_labels,
)

FS = 16000


def plain_t60(rir):
    """The definition, sample by sample."""
    energy = np.cumsum((rir**2)[::-1])[::-1]
    level = 10 * np.log10(energy / (energy[rir.argmax()] + 1e-10) + 1e-10)
    best = None
    for start in range(-5, -20, -2):
        for span in range(-10, -29, -2):
            first = np.argmin(np.abs(level - start))
            stop = np.argmin(np.abs(level - (start + span)))
            if stop - first < 2:
                continue
            time = np.arange(first, stop) / FS
            slope = np.polyfit(time, level[first:stop], 1)[0]
            fit = np.corrcoef(time, level[first:stop])[0, 1]
            if best is None or abs(fit) > abs(best[1]):
                best = -60 / (slope + 1e-10), fit
    return best


@pytest.mark.parametrize("seed", range(4))
def test_t60_is_that_of_the_definition(seed):
    rng = np.random.RandomState(seed)
    decay = np.exp(-np.arange(5000) / (500 + 300 * seed))
    rir = rng.standard_normal(5000) * decay
    # A second, slower decay: pieces differ.
    rir[2500:] += 0.05 * rng.standard_normal(2500)
    rir = np.concatenate((np.zeros(300), rir))
    found = [float(value) for value in decay_t60(torch.tensor(rir), FS)]
    assert found == pytest.approx(plain_t60(rir), rel=1e-6)


def test_t60_of_batches_and_padding():
    generator = torch.Generator().manual_seed(0)
    decay = torch.exp(-torch.arange(4000) / 700.0)
    rirs = torch.randn(2, 3, 4000, generator=generator) * decay
    seconds, _ = decay_t60(rirs, FS)
    alone, _ = decay_t60(rirs[1, 2], FS)
    torch.testing.assert_close(seconds[1, 2], alone)
    padded, _ = decay_t60(torch.nn.functional.pad(rirs, (0, 500)), FS)
    torch.testing.assert_close(padded, seconds)


@pytest.mark.parametrize("t60", [0.3, 0.7, 1.2])
def test_exponential_decay_has_its_own_t60_c50_and_drr(t60):
    time = torch.arange(2 * FS, dtype=torch.float64) / FS
    amplitude = 10 ** (-3 * time / t60)
    rir, rate = amplitude.clone(), 6 * math.log(10) / t60
    seconds, correlation = decay_t60(rir, FS)
    assert float(seconds) == pytest.approx(t60, rel=1e-3)
    assert float(correlation) < -0.99999
    # Energies of an exponential decay in closed form.
    early = 10 * math.log10(math.exp(rate * 0.05) - 1)
    found = early_to_late(rir, FS, torch.tensor(0))
    assert float(found) == pytest.approx(early, abs=0.02)
    rir[0] = 100.0
    drr = direct_to_reverberant(rir, FS, torch.tensor(0))
    late = FS / rate * math.exp(-rate * 0.0025)
    expected = 10 * math.log10(1e4 / late)
    assert float(drr) == pytest.approx(expected, abs=0.05)


def test_drr_and_c50_agree_with_the_general_ones():
    rir = simulate_rir([5, 4, 3], [[1, 1, 1.2]], [[3, 2, 1.5]], t60=0.4)[0, 0]
    direct = rir.argmax()
    ours = direct_to_reverberant(rir, FS, direct)
    assert float(ours - acoustics.drr(rir, FS, direct)) == pytest.approx(
        0, abs=1e-4
    )
    # The general one leaves out what comes 1 ms before the direct path.
    ours = early_to_late(rir, FS, direct)
    assert float(ours - acoustics.c50(rir, FS, direct)) == pytest.approx(
        0, abs=0.05
    )


def test_drr_of_two_impulses_and_of_the_window():
    rir = torch.zeros(4000)
    rir[500], rir[540], rir[541] = 1.0, 1.0, 0.5
    peak = torch.tensor(500)
    assert float(direct_to_reverberant(rir, FS, peak)) == pytest.approx(
        10 * math.log10(2 / 0.25), abs=1e-3
    )
    rir = torch.zeros(4000)
    # What comes before the direct path counts as early; 800 samples after
    # it is the last early one.
    rir[10], rir[500], rir[1300], rir[1301] = 1.0, 1.0, 1.0, 1.0
    assert float(early_to_late(rir, FS, peak)) == pytest.approx(
        10 * math.log10(3), abs=1e-3
    )


def test_absorption_of_a_room_with_equal_walls():
    size, walls = torch.tensor([6.0, 5.0, 4.0]), 0.25
    t60 = acoustics.sabine_t60(size, walls)
    found = absorption_from_t60(size, t60)
    assert float(found) == pytest.approx(walls, rel=2e-3)
    half = absorption_from_t60(size, t60, half_surface=True)
    assert float(half) == pytest.approx(2 * walls, rel=2e-3)


def simulated(microphones, source):
    """Response, direct path and geometry of a room."""
    size = torch.tensor([5.0, 4.0, 3.0], dtype=torch.float64)
    room = size, [source], [[float(x) for x in place] for place in microphones]
    full = simulate_rir(*room, t60=0.4)[0]
    direct = simulate_rir(
        *room, t60=0.4, direct_only=True, duration=full.shape[-1] / FS
    )[0]
    geometry = {
        "room_size": size,
        "microphones": torch.tensor(microphones, dtype=torch.float64),
        "source": torch.tensor(source),
    }
    return full, direct, geometry


PLACES = [[1, 2, 1], [1.1, 2, 1]], [4.0, 2.0, 1.0]


def test_all_labels_of_a_simulated_room():
    full, direct, geometry = simulated(*PLACES)
    labels = pair_labels(full, direct, **geometry)
    # On the line through the microphones, nearer to the second.
    assert float(labels["TDOA"]) == pytest.approx(-0.1 / 343 * FS, rel=1e-5)
    first, second = direct.argmax(-1).tolist()
    assert abs(second - first - float(labels["TDOA"])) < 1
    assert float(labels["T60"]) == pytest.approx(0.4, rel=0.15)
    assert float(labels["VOL"]) == pytest.approx(math.log10(60), rel=1e-6)
    assert float(labels["SUR"]) == pytest.approx(math.log10(94), rel=1e-6)
    expected = 0.161 * 60 / (94 * float(labels["T60"]))
    assert float(labels["ABS"]) == pytest.approx(expected, rel=1e-5)
    assert all(value.dtype == torch.float32 for value in labels.values())


def test_switches_of_the_original():
    room = simulated(*PLACES)
    ours = pair_labels(*room[:2], **room[2])
    theirs = pair_labels(
        *room[:2], **room[2], half_surface=True, half_precision=True
    )
    torch.testing.assert_close(theirs["ABS"], 2 * ours["ABS"])
    for name in ("DRR", "C50"):
        assert theirs[name] == theirs[name].half().float()
        assert theirs[name] != ours[name]
        # Half a step of half precision from 16 dB on.
        assert float(theirs[name] - ours[name]) == pytest.approx(0, abs=8e-3)
    torch.testing.assert_close(theirs["T60"], ours["T60"])


def test_unusable_responses_are_refused():
    with pytest.raises(ValueError, match="impulse response"):
        decay_t60(torch.zeros(5, dtype=torch.int64), FS)
