"""Microphone faults: what each does, alone and drawn."""

import math

import pytest
import torch

from spatial_brain.simulation.microphone_faults import MicrophoneFaults


def _tones(channels=3, samples=4000):
    time = torch.arange(samples, dtype=torch.float64)
    window = torch.hann_window(samples, dtype=torch.float64)
    return time, lambda at: (window * torch.sin(0.3 * at)).float(), window


def test_each_fault_does_what_its_name_says():
    signals = torch.randn(2, 3, 2000)
    for faults, expected in (
        ({"gain": [0, 6, -6]}, (1.0, 10**0.3, 10**-0.3)),
        ({"polarity": [1]}, (1.0, -1.0, 1.0)),
        ({"dead": [0, 2]}, (0.0, 1.0, 0.0)),
    ):
        found = MicrophoneFaults(**faults).draw(3).record(signals)
        factors = torch.tensor(expected)[:, None]
        assert torch.allclose(found, signals * factors, atol=1e-5)
    assert torch.equal(MicrophoneFaults().draw(3).record(signals), signals)
    noisy = MicrophoneFaults(noise=20.0, dead=[0]).draw(3).record(signals)
    noise = noisy - signals
    noise[:, 0] = noisy[:, 0]
    level = 10 * math.log10(noise.square().mean().item())
    assert level == pytest.approx(-20, abs=0.3)


@pytest.mark.parametrize("delay", [2.0, 0.37, -1.4])
def test_delays_are_exact_between_samples(delay):
    time, tone, window = _tones()
    signals = tone(time).expand(2, -1)
    found = MicrophoneFaults(delay=[0.0, delay]).draw(2).apply(signals)
    shifted = (window * torch.sin(0.3 * (time - delay))).float()
    assert torch.allclose(found[0], signals[0], atol=1e-5)
    # The window moves as well, by less than this.
    assert torch.allclose(found[1], shifted, atol=3e-3)
    late = found[1, 5:]
    if delay == 2.0:
        assert torch.allclose(late, signals[0, 3:-2], atol=1e-5)


def test_spreads_are_drawn_from_the_seed_and_do_not_disturb_each_other():
    def draw(seed, **faults):
        generator = torch.Generator().manual_seed(seed)
        return MicrophoneFaults(**faults).draw(2000, generator)

    both = draw(1, gain=2.0, delay=0.5, position=3.0)
    assert torch.equal(both.gain, draw(1, gain=2.0).gain)
    assert torch.equal(both.delay, draw(1, delay=0.5, dead=3).delay)
    assert not torch.equal(both.gain, draw(2, gain=2.0).gain)
    assert (20 * both.gain.log10()).std().item() == pytest.approx(2, rel=0.1)
    assert both.delay.std().item() == pytest.approx(0.5, rel=0.1)
    assert both.offset.std().item() == pytest.approx(0.003, rel=0.1)
    few = draw(1, dead=5, polarity=7).as_dict()
    assert len(few["dead"]) == 5 and 2 <= len(few["polarity"]) <= 7


def test_what_cannot_be_meant_is_refused():
    for faults, match in (
        ({"gain": -1.0}, "gain"),
        ({"gain": "loud"}, "gain"),
        ({"delay": float("nan")}, "delay"),
        ({"position": [1.0, 2.0]}, "x, y, z"),
        ({"dead": 1.5}, "dead"),
        ({"polarity": [-1]}, "polarity"),
        ({"noise": "low"}, "noise"),
        ({"hum": 1}, "no fault hum; known: gain"),
        ("hum=1", "no fault hum; known: gain"),
        ("loud", "name=value"),
        ("gain=much", "name=value"),
    ):
        with pytest.raises(ValueError, match=match):
            MicrophoneFaults.from_values(faults)
    text = MicrophoneFaults.from_values("position=[[1,2,3],[0,0,0]], dead=1")
    assert text.position == [[1, 2, 3], [0, 0, 0]] and text.dead == 1
    for faults in ({"gain": [1.0, 2.0]}, {"dead": 4}, {"dead": [3]}):
        with pytest.raises(ValueError, match="3 microphones"):
            MicrophoneFaults(**faults).draw(3)
