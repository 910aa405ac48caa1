"""What a preparation needs of the disk is said before, or refused."""

import logging
from collections import namedtuple

import pytest
import torch

from spatial_brain.dataio import files
from spatial_brain.dataio.array_store import build_store
from spatial_brain.datasets.seld.event_bank import EventBank, write_scenes

Usage = namedtuple("Usage", "total used free")


def make_item(index):
    return f"item{index}", torch.zeros(1000), {}


@pytest.fixture
def disk(monkeypatch):
    """Sets the bytes that are free."""

    def set_free(free):
        usage = Usage(0, 0, free + files._SPARE_SPACE)
        monkeypatch.setattr(files.shutil, "disk_usage", lambda _: usage)

    return set_free


def test_a_store_that_does_not_fit_ends_with_its_first_shard(disk, tmp_path):
    disk(30 * 4000)
    with pytest.raises(OSError, match="a needs 0.00 GB, but .* are free"):
        build_store(tmp_path / "a.json", make_item, 20, shard_size=1)
    assert len(list(tmp_path.glob("a.parts/*.npy"))) == 1
    disk(45 * 4000)
    build_store(tmp_path / "a.json", make_item, 20, shard_size=1)


def test_scenes_that_do_not_fit_are_not_begun(disk, tmp_path, caplog):
    caplog.set_level(logging.INFO)
    clips = [
        {"name": "a", "paths": {"foa": tmp_path / "a.wav"}, "duration": 1000.0}
    ]
    disk(1000 * 24000 * 8 - 1)
    with pytest.raises(OSError, match="sound of 1 scenes.*needs 0.19 GB"):
        write_scenes(clips, EventBank(["knock"]))
    assert not list(tmp_path.iterdir())


def test_what_fits_is_said_if_it_is_much(disk, tmp_path, caplog):
    caplog.set_level(logging.INFO)
    disk(5e9)
    files.check_free_space(tmp_path / "new", 5e7, "little")
    files.check_free_space(tmp_path / "new", 1.2e9, "much")
    [line] = caplog.messages
    assert line == f"much needs 1.20 GB in {tmp_path}/new, where 5 GB are free"
