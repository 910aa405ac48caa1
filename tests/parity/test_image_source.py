"""Image sources against pyroomacoustics, over random rooms."""

import math

import pyroomacoustics as pra
import pytest
import torch

from spatial_brain.simulation import acoustics
from spatial_brain.simulation.rir import simulate_rir
from spatial_brain.simulation.rooms import sample_room

FS = 16000
WALLS = ("west", "east", "south", "north", "floor", "ceiling")


@pytest.fixture
def plain_pyroomacoustics():
    """Switch its high-pass off, with its 81 taps."""
    before = pra.constants.get("rir_hpf_enable")
    pra.constants.set("rir_hpf_enable", False)
    assert pra.constants.get("frac_delay_length") == 81
    yield
    pra.constants.set("rir_hpf_enable", before)


def theirs(room, absorption, order):
    """Responses [source][microphone] without the bulk delay of 40 samples."""
    materials = {
        name: pra.Material(value)
        for name, value in zip(WALLS, absorption, strict=True)
    }
    box = pra.ShoeBox(
        room.size.tolist(), fs=FS, materials=materials, max_order=order
    )
    for source in room.sources.numpy():
        box.add_source(source)
    box.add_microphone_array(room.microphones.numpy().T)
    box.compute_rir()
    return [[mic[s][40:] for mic in box.rir] for s in range(len(room.sources))]


@pytest.mark.parametrize("seed", range(20))
def test_responses_agree(plain_pyroomacoustics, seed):
    generator = torch.Generator().manual_seed(seed)
    room = sample_room(generator, t60_range=(0.15, 0.4))
    walls = 0.2 + 0.6 * torch.rand(6, generator=generator).double()
    # All images within the shorter of both, whatever their order.
    duration = 0.12
    reach = duration * 343.0 + 1.0
    order = math.ceil(reach * float(room.size.pow(-2).sum().sqrt())) + 2
    ours = simulate_rir(
        room.size,
        room.sources,
        room.microphones,
        absorption=walls,
        duration=duration,
        high_pass=False,
    )
    for s, rirs in enumerate(theirs(room, walls.tolist(), order)):
        for m, rir in enumerate(rirs):
            length = min(len(rir), ours.shape[-1])
            rir = torch.as_tensor(rir[:length].copy()).double()
            error = (ours[s, m, :length] - rir).square().sum()
            assert 10 * math.log10(error / rir.square().sum()) < -45


def test_the_back_end_agrees_with_the_high_pass_too():
    room = sample_room(torch.Generator().manual_seed(1), t60_range=(0.3, 0.3))
    ours, other = (
        simulate_rir(
            room.size,
            room.sources,
            room.microphones,
            t60=room.t60,
            backend=backend,
        )
        for backend in ("image_source", "pyroomacoustics")
    )
    error = (ours - other).square().sum() / other.square().sum()
    assert 10 * math.log10(error) < -45
    measured = acoustics.t60(other, FS)
    assert (measured / room.t60 - 1).abs().max() < 0.15
