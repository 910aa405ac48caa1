"""Parts of a separation: order of talkers, cross-fades, measured cues."""

import math

import pytest
import torch

from spatial_brain.inference.separation.talker_files import CueMeter
from spatial_brain.inference.separation.windows import (
    WindowStitcher,
    _TalkerOrder,
)

RATE = 1000
# Left and right ear of two talkers.
GAINS = torch.tensor([[2.0, 1], [1, 2]]) * 0.02


def test_an_overlap_that_agrees_outweighs_the_memory():
    # Two talkers change places while they speak: waveforms are what counts.
    voices = torch.randn(2000, 1, 2)
    order = _TalkerOrder(RATE)
    window = voices[:1000] * GAINS.T
    assert order.match(window[:0], window) == [0, 1]
    moved = voices[500:1500] * GAINS.T.flip(-1)
    assert order.match(moved[:500], moved) == [0, 1]
    assert order.match(moved[:500].flip(-1), moved) == [1, 0]


def test_windows_are_cross_faded():
    stitcher = WindowStitcher(RATE)
    ones = torch.ones(100, 2, 1)
    parts = [stitcher.push(0, ones), stitcher.push(60, 2 * ones)]
    parts.append(stitcher.flush())
    whole = torch.cat(parts)[:, 0, 0]
    assert [len(part) for part in parts] == [0, 60, 100]
    assert torch.equal(whole[:60], torch.ones(60))
    assert torch.equal(whole[100:], torch.full((60,), 2.0))
    expected = 1 + (torch.arange(40) + 0.5) / 40
    assert torch.allclose(whole[60:100], expected)


def test_windows_that_do_not_follow_are_refused():
    stitcher = WindowStitcher(RATE)
    with pytest.raises(ValueError, match="no window was pushed"):
        stitcher.flush()
    stitcher.push(0, torch.ones(100, 2, 1))
    for start, length in ((101, 100), (50, 20)):
        with pytest.raises(ValueError, match=f"{length} samples from {start}"):
            stitcher.push(start, torch.ones(length, 2, 1))


@pytest.mark.parametrize("seconds", [0.05, 1.3, 2.0])
def test_cues_are_measured_in_any_blocks(seconds):
    fs = 8000
    noise = torch.randn(round(fs * seconds) + 3) * 0.1
    late_left = torch.stack((noise[:-3] / 4, noise[3:]), 1)
    block = torch.stack((late_left, torch.zeros_like(late_left)), -1)
    meter = CueMeter(fs)
    for part in block.split(1700):
        meter.add(part)
    first, second = meter.summary()
    power = late_left.square().mean()
    assert first["level"] == pytest.approx(10 * math.log10(power), abs=1e-3)
    assert first["ild"] == pytest.approx(-12.04, abs=0.5)
    assert first["itd"] == pytest.approx(375, abs=10)
    assert (first["side"], second["side"]) == ("right", None)
