import pytest
import torch
from plane_waves import plane_wave

from spatial_brain.geometry import azel_to_unit, circular_array
from spatial_brain.metrics.localization import localization_mae
from spatial_brain.models.array_localizer import ArrayLocalizer
from spatial_brain.nnet.losses.localization import azimuth_loss
from spatial_brain.processing.decoding import decode_classes


def test_scores_of_each_source():
    net = ArrayLocalizer(3, 0.2, num_classes=24, num_sources=2, fs=8000)
    logits = net(torch.randn(4, 4000, 3))
    assert logits.shape == (4, 2, 24)
    logits.sum().backward()
    assert all(p.grad is not None for p in net.parameters())
    assert not any(name.startswith("correlate") for name in net.state_dict())


def test_level_does_not_matter():
    net = ArrayLocalizer(4, 0.1).eval()
    waveform = torch.randn(1, 8000, 4)
    assert torch.allclose(net(waveform), net(1e-3 * waveform), atol=1e-4)


def test_learns_plane_waves_all_around():
    array = circular_array(3, 0.05)
    azimuths = torch.arange(-180.0, 180.0, 10.0)[:, None]
    waves = torch.cat(
        [
            plane_wave(array, azel_to_unit(azimuth, 0.0), 2000, seed=k)
            for k, azimuth in enumerate(azimuths[:, 0])
        ]
    )
    net = ArrayLocalizer(3, 0.1, num_delays=25, hidden=64, dropout=0.0)
    optimizer = torch.optim.Adam(net.parameters(), 0.01)
    for _ in range(60):
        optimizer.zero_grad()
        azimuth_loss(net(waves), azimuths).backward()
        optimizer.step()
    circle = {"low": -180.0, "high": 180.0, "circular": True}
    with torch.no_grad():
        estimate = decode_classes(net(waves), **circle)
    assert localization_mae(estimate, azimuths, circular=True) < 5


def test_what_cannot_be_is_refused():
    with pytest.raises(ValueError, match="at least 2, got 1"):
        ArrayLocalizer(1, 0.1)
    with pytest.raises(ValueError, match="half a frame"):
        ArrayLocalizer(2, 100.0)
    with pytest.raises(ValueError, match=r"4 microphones\], got \(1, 800, 3\)"):
        ArrayLocalizer(4, 0.1)(torch.randn(1, 800, 3))
