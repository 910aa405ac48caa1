"""Rooms with the heads of a set: simulated, resumed, and drawn from."""

import pytest
import torch

from spatial_brain.dataio.files import read_json
from spatial_brain.datasets.binaural_wsj0mix.dataset import binaural_sets
from spatial_brain.datasets.binaural_wsj0mix.head_rooms import (
    load_head_rooms,
    simulate_head_rooms,
)
from spatial_brain.datasets.binaural_wsj0mix.prepare import (
    prepare_drawn_mixtures,
)
from spatial_brain.simulation.acoustics import t60
from spatial_brain.simulation.hrtf import ild, load_hrtfs
from spatial_brain.simulation.hrtf.grid import CIPIC_LATERALS

FS = 8000
FEW = {"train": 2, "valid": 1, "test": 1}
ROOMS = {"number": FEW, "t60": [0.2, 0.25]}


def draw(folder, **options):
    voices = {
        "num_talkers": {"train": 3, "valid": 2, "test": 2},
        "utterances_per_talker": 1,
        "duration": (1.0, 1.2),
    }
    prepare_drawn_mixtures(
        None, folder, num_mixtures=FEW, voices=voices, **options
    )


def test_rooms_have_their_reverberation_and_heads_their_sides(tmp_path):
    heads = load_hrtfs("pinnae", FS, subjects=["subject03"])
    arguments = heads, {"train": heads.subjects}, {"train": 2}
    rooms = simulate_head_rooms(tmp_path, *arguments, t60=(0.2, 0.3))["train"]
    found = load_head_rooms(tmp_path, rooms, FS)
    for name, wanted in rooms.items():
        rirs = torch.from_numpy(found.rooms[name].rirs)
        assert rirs.shape[:2] == (len(CIPIC_LATERALS), 2)
        measured = t60(rirs[12], FS).mean().item()
        assert abs(measured / wanted - 1) < 0.25
        side = ild(rirs)[[0, -1]]
        assert side[0] > 1 and side[1] < -1
    # What is there stays, what is missing comes back, the same.
    first, second = (tmp_path / f"{name}.safetensors" for name in rooms)
    content, time = second.read_bytes(), first.stat().st_mtime_ns
    second.unlink()
    simulate_head_rooms(tmp_path, *arguments, t60=(0.2, 0.3))
    assert second.read_bytes() == content
    assert first.stat().st_mtime_ns == time
    second.unlink()
    with pytest.raises(FileNotFoundError, match="train_001.safetensors: a ro"):
        load_head_rooms(tmp_path, rooms, FS)
    with pytest.raises(ValueError, match="t60 above 0 in order, got 0.3 and 0"):
        simulate_head_rooms(tmp_path, *arguments, t60=(0.3, 0.2))


def test_mixtures_are_drawn_from_heads_and_rooms(tmp_path):
    names = ["subject08", "subject09", "subject12", "subject18"]
    hrtfs = tmp_path / "heads.safetensors"
    load_hrtfs("sphere", FS, subjects=names).save(hrtfs)
    draw(tmp_path, hrtfs=str(hrtfs), head_rooms=ROOMS)
    plan = read_json(tmp_path / "drawing.json")
    assert len(plan["listeners"]["train"]) == 2 + 2
    assert plan["listeners"]["test"][-1] == "test_000"
    sets = binaural_sets(
        tmp_path,
        fs=FS,
        hrtfs=str(hrtfs),
        dynamic_mixing=True,
        items_per_epoch=20,
        speech_in_memory=True,
    )
    for data in sets.values():
        for item in data:
            assert torch.equal(item["mix"], item["sources"].sum(-1))
    reverberant = [item for item in sets["train"] if item["t60"] > 0]
    assert 0 < len(reverberant) < 20
    for item in reverberant:
        assert item["elevations"].abs().max() < 1e-4
        assert item["azimuths"].abs().max() <= 80
    with pytest.raises(ValueError, match="variant clean, not noise"):
        draw(tmp_path, variant="noise", head_rooms=ROOMS)
