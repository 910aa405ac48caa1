"""The network of room parameters."""

import pytest
import torch

from spatial_brain.models.room_acoustics import (
    RoomAcousticsNetwork,
    from_scale,
    to_scale,
)
from spatial_brain.nnet.losses.quantiles import pinball_loss

NAMES = ["T60", "DRR", "C50", "DIST"]


@pytest.fixture(scope="module")
def net():
    torch.manual_seed(0)
    small = {"widths": (4, 4, 8, 8, 16), "hidden": 16, "num_dilated": 1}
    return RoomAcousticsNetwork(NAMES, **small).eval()


def test_quantiles_are_ordered_and_channels_independent(net):
    waveform = torch.randn(3, 12000, 2)
    with torch.no_grad():
        found = net(waveform)
        alone = net(waveform[..., 1:])
    assert found.shape == (3, 2, 4, 3)
    assert (found.diff(dim=-1) > 0).all()
    assert torch.allclose(found[:, 1:], alone, atol=1e-5)


def test_level_and_colour_of_steady_bands_do_not_matter(net):
    waveform = torch.randn(1, 12000, 1)
    with torch.no_grad():
        assert torch.allclose(net(waveform), net(1e-3 * waveform), atol=1e-4)
        levels = net.features(waveform)
    assert levels.mean(-1).abs().max() < 1e-4


def test_lengths_are_free_and_silence_is_finite(net):
    with torch.no_grad():
        assert net(torch.zeros(1, 9000, 1)).isfinite().all()
        assert net(torch.randn(1, 40000, 1)).isfinite().all()


def test_scales_are_undone():
    values = torch.tensor([[0.5, -3.0, 12.0, 2.0]])
    assert torch.allclose(from_scale(to_scale(values, NAMES), NAMES), values)


def test_unknown_quantities_are_refused():
    with pytest.raises(ValueError, match="RT60: known are T60"):
        RoomAcousticsNetwork(["RT60"])
    with pytest.raises(ValueError, match="multiple of 8"):
        RoomAcousticsNetwork(["T60"], num_bands=20)


def test_pinball_loss_is_least_at_the_quantiles():
    labels = torch.linspace(0, 1, 1001)
    grid = torch.linspace(0, 1, 101)
    for probability in (0.05, 0.5, 0.95):
        losses = [
            pinball_loss(x.expand(1001, 1), labels, [probability]) for x in grid
        ]
        best = grid[torch.stack(losses).argmin()].item()
        assert best == pytest.approx(probability, abs=0.011)
