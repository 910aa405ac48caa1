"""Scenes drawn while training depend on seed, epoch and place alone."""

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, DistributedSampler

from spatial_brain.dataio.annotations import read_events
from spatial_brain.dataio.audio import read_audio
from spatial_brain.datasets.scene_corpus.drawn_scenes import DrawnScenes
from spatial_brain.datasets.scene_corpus.generate import generate_corpus
from spatial_brain.datasets.scene_corpus.options import scene_options
from spatial_brain.datasets.seld.chunks import render_targets

SMALL = {
    "scenes": 4,
    "events": None,
    "classes": ["knock", "piano"],
    "duration": 1.0,
    "t60": [0.15, 0.25],
    "room_size": [[3, 3, 2.4], [5, 4, 3]],
    "overlap": [1, 2],
    "sample_rate": 16000,
    "rooms": 3,
    "dialect": "starss23",
}


def drawn(**changes):
    options = scene_options({**SMALL, **changes})
    return DrawnScenes(options, "multi_accdoa", duration=1.0)


def same(one, other):
    return one.keys() == other.keys() and all(
        torch.equal(value, other[name])
        if torch.is_tensor(value)
        else value == other[name]
        for name, value in one.items()
    )


def items(scenes, num_workers, order=None):
    loader = DataLoader(
        scenes,
        batch_size=None,
        sampler=order,
        num_workers=num_workers,
    )
    return {item["id"]: item for item in loader}


def test_same_scenes_for_any_workers_ranks_and_after_a_resume():
    scenes = drawn()
    first = items(scenes, 1)
    scenes.set_epoch(3)
    wanted = items(scenes, 1)
    assert all(not same(first[name], wanted[name]) for name in first)
    assert all(same(items(scenes, 2)[name], wanted[name]) for name in wanted)
    found = {}
    for rank in range(2):
        # A process that begins here, with its share in an order of its own.
        resumed = drawn()
        resumed.set_epoch(3)
        shares = DistributedSampler(resumed, 2, rank, shuffle=True, seed=5)
        found |= items(resumed, 1, [*shares])
    assert found.keys() == wanted.keys()
    assert all(same(found[name], wanted[name]) for name in wanted)


def test_they_are_the_scenes_of_a_corpus(tmp_path):
    # Epoch 0 and 1 of two scenes are a corpus of four.
    options = scene_options({**SMALL, "formats": ["foa"], "audio": "wav"})
    generate_corpus(options, tmp_path)
    scenes = drawn(scenes=2)
    scenes.set_epoch(1)
    for place in range(2):
        name = options.name(2 + place)
        written, _ = read_audio(tmp_path / "foa" / f"{name}.wav")
        item = scenes[place]
        difference = (item["waveform"] - written).abs().max()
        assert difference <= 1 / 32768
        table = read_events(tmp_path / "metadata" / f"{name}.csv", "starss23")
        adpit, overlap = render_targets(table, "multi_accdoa", 2, 10)
        # Written directions are whole degrees.
        np.testing.assert_allclose(item["adpit"], adpit, atol=0.013)
        assert item["overlap"] == overlap and item["num_valid"] == 10


def test_another_rate_of_rooms_stays_in_every_epoch(caplog):
    with caplog.at_level("INFO"):
        scenes = drawn(scenes=3, formats=["mic"])
    assert "drawn anew in every epoch: 3 scenes of 1 s" in caplog.text
    assert "foa: first-order Ambisonics" in caplog.text
    assert scenes.options.formats == ("foa",)
    seeds = {scenes.options.room_seed(number) for number in range(30)}
    assert len(seeds) == 3


def test_missing_sounds_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere"):
        drawn(events=str(tmp_path / "nowhere"), classes=None)
