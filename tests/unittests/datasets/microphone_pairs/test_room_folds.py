"""Leave one room out."""

import pytest

from spatial_brain.datasets.microphone_pairs.room_folds import (
    leave_one_room_out,
)
from spatial_brain.datasets.real_arrays.responses.ace import ROOM_SIZES

ROOMS = list(ROOM_SIZES)


@pytest.mark.parametrize("seed", [0, 1, 7])
def test_each_room_is_tested_once_and_no_room_is_in_two_parts(seed):
    folds = [leave_one_room_out(ROOMS, fold, seed) for fold in range(7)]
    assert [fold.test for fold in folds] == ROOMS
    for fold in folds:
        parts = [*fold.train, fold.val, fold.test]
        assert len(fold.train) == 5
        assert sorted(parts) == sorted(ROOMS)


def test_a_fold_is_the_same_by_number_and_name_and_again():
    for number, room in enumerate(ROOMS):
        fold = leave_one_room_out(ROOMS, number, 3)
        assert fold == leave_one_room_out(ROOMS, room, 3)
        assert fold == leave_one_room_out(tuple(ROOMS), number, 3)


def test_the_seed_draws_any_of_the_other_rooms():
    drawn = [leave_one_room_out(ROOMS, 2, seed).val for seed in range(200)]
    assert set(drawn) == {*ROOMS} - {ROOMS[2]}
    assert max(map(drawn.count, drawn)) < 60


@pytest.mark.parametrize("fold", [7, -1, "Office_3", None, 1.0])
def test_folds_that_do_not_exist(fold):
    with pytest.raises(ValueError, match="0 to 6 or one of Building_Lobby"):
        leave_one_room_out(ROOMS, fold)


@pytest.mark.parametrize("rooms", [[], ["a", "b"], ["a", "b", "b"]])
def test_too_few_rooms(rooms):
    with pytest.raises(ValueError, match="three rooms or more"):
        leave_one_room_out(rooms, 0)
