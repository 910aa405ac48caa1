"""Peaks of maps over azimuth, between directions, of ambiguous arrays."""

import pytest
import torch

from spatial_brain.geometry import (
    circular_array,
    linear_array,
    rotation_matrix,
)
from spatial_brain.processing.directions.map_decoder import (
    MapDecoder,
    pool_windows,
)

CIRCLE = circular_array(4, 0.05)
# On the y axis: its front is the x axis.
PAIR = linear_array(2, 0.1) @ rotation_matrix(yaw=90.0).T
GRID = -180 + 5.0 * torch.arange(72)


def bumps(*azimuths, height=0.9):
    off = (GRID - torch.tensor(azimuths)[:, None] + 180) % 360 - 180
    top = torch.tensor(height).logit()
    return (top - 0.5 * (off / 5).square().amin(0)).sigmoid()


@pytest.mark.parametrize("azimuth", [0.0, 33.3, -177.9, 179.0, -92.4])
def test_peaks_are_refined_between_directions(azimuth):
    found, height = MapDecoder(CIRCLE, 72).pick(bumps(azimuth), 2)
    assert float(found[0]) == pytest.approx(azimuth, abs=0.1)
    assert float(height[0]) == pytest.approx(0.9, abs=0.15)
    assert found[1].isnan() and height[1] == 0


def test_the_highest_come_first_and_keep_apart():
    maps = torch.maximum(bumps(10.0, height=0.5), bumps(100.0, height=0.8))
    found, _ = MapDecoder(CIRCLE, 72).pick(maps, 3, separation=40.0)
    assert found[:2].round().tolist() == [100.0, 10.0]
    near = torch.maximum(bumps(80.0, height=0.5), bumps(100.0, height=0.8))
    found, _ = MapDecoder(CIRCLE, 72).pick(near, 2, separation=40.0)
    assert found[1].isnan()


def test_a_pair_gives_each_source_once_on_its_front_side():
    decoder = MapDecoder(PAIR, 72)
    # One side is likelier, for whatever reason.
    maps = torch.stack(
        (
            torch.maximum(bumps(150.0, height=0.9), bumps(30.0, height=0.4)),
            torch.maximum(bumps(-60.0, -120.0), bumps(20.0, 160.0, height=0.6)),
            bumps(88.0, 92.0),
        )
    )
    found, height = decoder.pick(maps, 2)
    assert found[0, 0] == pytest.approx(30, abs=0.5) and found[0, 1].isnan()
    assert found[1].round().tolist() == [-60.0, 20.0]
    assert abs(float(found[2, 0])) == pytest.approx(90, abs=4)
    assert found[2, 1].isnan()
    assert (height[:, 0] > 0.5).all()
    folded = decoder.fold(maps)
    torch.testing.assert_close(folded, decoder.fold(folded), atol=1e-4, rtol=0)


def test_silence_has_no_direction():
    found, height = MapDecoder(CIRCLE, 72).pick(torch.full((3, 72), 0.1), 2)
    assert found.isnan().all() and not height.any()
    with pytest.raises(ValueError, match="too few"):
        MapDecoder(CIRCLE, 3)


def test_windows_pool_the_surest_frames_and_short_input_is_one():
    odds = torch.tensor([1.0, 1.0, 1.0, 7.0, 5.0, 5.0])[:, None]
    logits = odds.log().expand(6, 2)
    pooled = pool_windows(logits, 4, 2)[:, 0]
    wanted = torch.tensor([13.0, 25.0]).sqrt()
    torch.testing.assert_close(pooled / (1 - pooled), wanted)
    assert pool_windows(logits, 40, 20).shape == (1, 2)
    # A frame that is certain is no overflow.
    assert pool_windows(1e4 * logits, 4, 2).isfinite().all()
