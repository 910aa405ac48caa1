"""Memory of the simulator: bounded a call, whatever the number of sources."""

import math

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from spatial_brain.simulation.rir import (
    fra,
    fractional_delay,
    lattice,
    simulate_rir,
    tail,
)

SIZE = [6.0, 5.0, 3.0]
OPTIONS = {
    "image_source": {"t60": 0.2},
    "diffuse": {"t60": 0.2, "diffuse_from": 15.0},
    "patterns": {
        "t60": 0.2,
        "mic_pattern": "card",
        "mic_orientation": [1.0, 0.0, 0.0],
    },
    "functions": {
        "t60": 0.2,
        "max_order": 2,
        "mic_pattern": lambda way: 0.5 + 0.5 * way[..., 0],
    },
    "details": {"t60": 0.2, "details": True},
    "fra": {"t60": 0.2},
    "fra_corrected": {"t60": 0.2},
    "pyroomacoustics": {"absorption": 0.8, "duration": 0.05},
}


class LargestTensor(TorchDispatchMode):
    """Notes the largest memory of a tensor that any operation returned."""

    def __init__(self):
        super().__init__()
        self.bytes = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        results = func(*args, **(kwargs or {}))
        for part in results if isinstance(results, tuple) else (results,):
            if isinstance(part, torch.Tensor):
                size = part.untyped_storage().nbytes()
                self.bytes = max(self.bytes, size)
        return results


def small_pieces(monkeypatch):
    """Pieces so small that a test needs many of them."""
    points = {"cpu": 1 << 14, "cuda": 1 << 14}
    monkeypatch.setattr(lattice, "_MAX_POINTS", points)
    monkeypatch.setattr(fractional_delay, "_SAMPLES", 1 << 14)
    monkeypatch.setattr(tail, "_SAMPLES", 1 << 14)
    monkeypatch.setattr(fra, "_POINTS", 1 << 18)


def simulate(name, num_sources=24):
    generator = torch.Generator().manual_seed(0)
    size = torch.tensor(SIZE)
    sources = 0.5 + torch.rand(num_sources, 3, generator=generator) * (size - 1)
    microphones = size / 2 + 0.05 * torch.rand(4, 3, generator=generator)
    backend = name if name in ("fra", "fra_corrected") else "image_source"
    if name == "pyroomacoustics":
        pytest.importorskip(name)
        backend = name
    result = simulate_rir(
        SIZE,
        sources,
        microphones,
        backend=backend,
        generator=generator,
        **OPTIONS[name],
    )
    return result if isinstance(result, torch.Tensor) else result.full


@pytest.mark.parametrize("name", OPTIONS)
def test_nothing_much_larger_than_the_result_is_allocated(name, monkeypatch):
    expected = simulate(name)
    small_pieces(monkeypatch)
    with LargestTensor() as largest:
        found = simulate(name)
    # The noise of a tail has a power of two of samples.
    factor = 1.0
    if name == "diffuse":
        length = 2 ** math.ceil(math.log2(found.shape[-1] + 1600))
        factor = (length + 2) / found.shape[-1]
    least = 4 * (1 << 18)
    assert largest.bytes <= max(least, factor * found.numel() * 4)
    # In pieces it is the same.
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=0)
