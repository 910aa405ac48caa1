"""Rooms that are drawn, and the labels of their responses."""

import numpy as np
import pytest
import torch

from spatial_brain.dataio.array_store import ArrayStore
from spatial_brain.datasets.reverberant_speech.responses import (
    response_labels,
)
from spatial_brain.datasets.reverberant_speech.rooms import draw_room

KINDS = {
    "office": {"share": 1, "low": [3, 3, 2.5], "high": [5, 4, 3]},
    "hall": {"share": 1, "low": [9, 8, 4], "high": [20, 15, 8]},
}


def test_rooms_are_of_all_kinds_and_within_their_ranges():
    generator = torch.Generator().manual_seed(0)
    drawn = [draw_room(generator, KINDS)[0] for _ in range(60)]
    sizes = torch.stack([room.size for room in drawn])
    assert (sizes[:, 0] < 5.1).any() and (sizes[:, 0] > 8.9).any()
    forms = {
        (isinstance(room.t60, dict), room.absorption is None) for room in drawn
    }
    assert forms == {(True, True), (False, False)}
    assert any(room.t60 is None for room in drawn)
    for room in drawn:
        away = torch.cdist(room.sources, room.microphones.mean(0)[None])
        assert away.min() >= 0.3 and away.max() <= 6.0
        inside = (room.sources > 0.29) & (room.sources < room.size - 0.29)
        assert inside.all()
        apart = torch.linalg.vector_norm(
            room.microphones[1] - room.microphones[0]
        )
        assert 0.02 <= apart <= 0.5


def test_a_seed_gives_the_same_room():
    first, second = (
        draw_room(torch.Generator().manual_seed(7), KINDS) for _ in range(2)
    )
    assert torch.equal(first[0].sources, second[0].sources)
    assert first[1] == second[1]


def test_labels_are_those_of_the_stored_response(responses):
    store = ArrayStore(responses)
    for index, entry in enumerate(store.entries.values()):
        labels, rir = entry["labels"], store[index]
        assert rir.abs().max() == pytest.approx(1.0, abs=1e-3)
        measured = response_labels(rir, 16000)
        t60 = np.array(labels["T60"], dtype=float)
        assert measured["T60"].numpy() == pytest.approx(t60, rel=0.05)
        # Without the geometry, the loudest early peak is the direct path.
        drr = np.array(labels["DRR"], dtype=float)
        near = np.abs(measured["DRR"].numpy() - drr) < 0.5
        assert near.mean() >= 0.5
        assert np.array(labels["DIST"]).min() > 0.2


def test_what_a_response_does_not_show_is_nan():
    generator = torch.Generator().manual_seed(0)
    rir = torch.randn(16000, generator=generator)
    decay = 10 ** (-3 * torch.arange(16000) / 16000 / 0.4)
    rir = rir * (0.1 * decay + 10**-1.5)  # noise that far below
    rir[0] = 1.0
    assert response_labels(rir, 16000)["T60"].isnan()
