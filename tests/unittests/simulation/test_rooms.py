"""Drawing rooms at random."""

import pytest
import torch

from spatial_brain.geometry import (
    angular_distance,
    circular_array,
    unit_to_azel,
)
from spatial_brain.simulation.acoustics import minimal_t60
from spatial_brain.simulation.rooms import Room, geometry_hash, sample_room


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def test_rooms_keep_their_ranges():
    array = circular_array(4, 0.08)
    for seed in range(60):
        room = sample_room(
            generator(seed),
            size_low=(3, 4, 2.5),
            size_high=(6, 5, 3),
            t60_range=(0.05, 0.9),
            array=array,
            num_sources=3,
            distance_range=(0.7, 3.0),
            array_wall_distance=0.6,
            source_wall_distance=0.3,
            height_range=(1.0, 1.9),
            min_angle=20.0,
        )
        size = room.size
        assert (size >= torch.tensor([3, 4, 2.5])).all()
        assert (size <= torch.tensor([6, 5, 3])).all()
        assert float(minimal_t60(size)) <= room.t60 <= 0.9
        center = room.microphones.mean(0)
        for places, margin in ((room.microphones, 0.6), (room.sources, 0.3)):
            assert (places >= margin).all() and (places <= size - margin).all()
        heights = torch.cat((center[2:], room.sources[:, 2]))
        assert (heights >= 1.0).all() and (heights <= 1.9).all()
        ways = room.sources - center
        assert (ways.norm(dim=-1) >= 0.7).all()
        assert (ways.norm(dim=-1) <= 3.0).all()
        angles = angular_distance(ways[:, None], ways[None])
        assert angles[~torch.eye(3, dtype=torch.bool)].min() >= 20.0
        # Turned, but neither bent nor tipped.
        assert torch.allclose(
            torch.cdist(room.microphones, room.microphones),
            torch.cdist(array, array).double(),
            atol=1e-6,
        )
        assert room.microphones[:, 2].std() < 1e-6


def test_yaw_is_random_or_absent():
    def yaw(**options):
        room = sample_room(generator(3), **options)
        way = room.microphones[1] - room.microphones[0]
        return float(unit_to_azel(way)[0])

    assert abs(yaw(random_yaw=False)) < 1e-5
    assert abs(yaw()) > 1.0


def test_two_talkers_and_two_microphones_of_the_reference_configuration():
    for seed in range(20):
        room = sample_room(
            generator(seed),
            size_low=(3.0, 3.0, 2.5),
            size_high=(10.0, 6.0, 4.0),
            t60_range=(0.1, 0.7),
            num_sources=2,
            distance_range=(0.2, 5.0),
            array_wall_distance=0.5,
            source_wall_distance=0.5,
            random_yaw=False,
            only_reachable=False,
        )
        assert 0.1 <= room.t60 <= 0.7
        spacing = room.microphones[1] - room.microphones[0]
        assert torch.allclose(spacing, torch.tensor([0.1, 0, 0]).double())


def test_same_seed_same_room_and_other_seed_other_room():
    rooms = [sample_room(generator(seed)) for seed in (1, 1, 2)]
    hashes = [geometry_hash(room) for room in rooms]
    assert hashes[0] == hashes[1] != hashes[2]
    assert rooms[0].t60 == rooms[1].t60


def test_train_and_test_geometries_are_disjoint():
    hashes = {
        split: {
            geometry_hash(sample_room(generator(seed + 1000 * offset)))
            for seed in range(50)
        }
        for offset, split in enumerate(("train", "test"))
    }
    assert len(hashes["train"]) == len(hashes["test"]) == 50
    assert not hashes["train"] & hashes["test"]


def test_hash_sees_places_only():
    room = Room([5, 4, 3], [[1, 1, 1]], [[2, 2, 2]], t60=0.4)
    for change in ({"sources": [[1, 1, 1.001]]}, {"size": [5, 4, 3.1]}):
        other = Room(**{**room.__dict__, **change})
        assert geometry_hash(other) != geometry_hash(room)
    wetter = Room(**{**room.__dict__, "t60": 0.6})
    assert geometry_hash(wetter) == geometry_hash(room)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"distance_range": (20.0, 30.0)}, "no place for source 0"),
        ({"distance_range": (2.0, 1.0)}, "distance_range"),
        ({"array_wall_distance": 3.0}, "no place for the array"),
        ({"source_wall_distance": 4.0}, "no place for a source"),
        ({"num_sources": 0}, "num_sources"),
        ({"num_sources": 9, "min_angle": 80.0}, "80 degrees"),
        ({"size_low": (5.0, 5.0, 5.0)}, "size of axis z"),
        ({"t60_range": (0.01, 0.02)}, "largest T60 must be at least"),
        ({"height_range": (5.0, 6.0)}, "height"),
    ],
)
def test_impossible_requests_end_with_a_message(options, message):
    with pytest.raises(ValueError, match=message):
        sample_room(generator(), **options)
