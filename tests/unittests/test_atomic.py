"""A crash at any moment leaves the old file, and no other."""

import errno
import os
import stat
import subprocess

import pytest
import safetensors.torch
import torch

from spatial_brain import atomic
from spatial_brain.atomic import atomic_path
from spatial_brain.dataio.array_store import build_store
from spatial_brain.dataio.audio import write_audio
from spatial_brain.dataio.checkpoints import AtomicCheckpointer
from spatial_brain.dataio.files import write_json, write_table


@pytest.fixture
def path(tmp_path):
    """A file that is there already, alone in its folder."""
    path = tmp_path / "a.txt"
    path.write_text("old")
    return path


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_crash_in_the_body(path, error):
    with pytest.raises(error), atomic_path(path) as temporary:
        temporary.write_text("ne")
        raise error
    assert path.read_text() == "old"
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_crash_after_the_body(path, step, monkeypatch):
    def fail(*args):
        raise OSError("disk full")

    monkeypatch.setattr(atomic.os, step, fail)
    with pytest.raises(OSError, match="disk full"), atomic_path(path) as file:
        file.write_text("new")
    assert path.read_text() == "old"
    assert list(path.parent.iterdir()) == [path]


def test_nothing_is_there_after_a_first_crash(tmp_path):
    path = tmp_path / "sub" / "a.txt"
    with pytest.raises(KeyboardInterrupt), atomic_path(path):
        raise KeyboardInterrupt
    assert not list(path.parent.iterdir())


def test_temporary_is_hidden_and_beside(path):
    with atomic_path(str(path)) as temporary:
        assert temporary.parent == path.parent
        assert temporary.name == f".a.txt.{os.getpid()}.tmp"
        temporary.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("sync", [True, False])
def test_content_is_on_the_disk_before_the_name(path, sync, monkeypatch):
    calls = []
    for name in ("fsync", "replace"):
        real = getattr(os, name)
        monkeypatch.setattr(
            atomic.os,
            name,
            lambda *args, n=name, f=real: (calls.append(n), f(*args)),
        )
    with atomic_path(path, sync=sync) as temporary:
        temporary.write_text("new")
    assert calls == (["fsync", "replace"] if sync else ["replace"])


@pytest.mark.parametrize("umask", [0o022, 0o007])
def test_permissions_follow_the_umask(path, umask):
    before = os.umask(umask)
    try:
        # safetensors makes files which others may not read.
        with atomic_path(path) as temporary:
            safetensors.torch.save_file({"a": torch.ones(1)}, temporary)
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o666 & ~umask


@pytest.mark.parametrize("name", ["x" * 255, "ö" * 127])
def test_longest_names(tmp_path, name):
    with atomic_path(tmp_path / name) as temporary:
        temporary.write_text("new")
    assert (tmp_path / name).read_text() == "new"


def full(folder):
    """Mount a disk of 1 MB, or skip."""
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=1m", "none", str(folder)]
    done = subprocess.run(command, capture_output=True).returncode == 0
    if not done:
        pytest.skip("no disk can be mounted")
    return folder


@pytest.fixture
def small_disk(tmp_path):
    """A folder on a disk of 1 MB."""
    folder = full(tmp_path / "disk")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def write_checkpoint(path):
    model = torch.nn.Linear(1000, 1000)
    AtomicCheckpointer(path.parent, {"model": model}).save_checkpoint()


def write_tensors(path):
    with atomic_path(path) as temporary:
        torch.save(torch.zeros(1_000_000), temporary)


@pytest.mark.parametrize(
    "write",
    [
        lambda path: write_json(path, ["x" * 2_000_000]),
        lambda path: write_table(path, [{"a": "x" * 2_000_000}]),
        lambda path: write_audio(path, torch.rand(1_000_000), 16000),
        lambda path: build_store(
            path.with_suffix(".json"),
            lambda index: ("a", torch.rand(1_000_000), {}),
            1,
        ),
        write_tensors,
        write_checkpoint,
    ],
    ids=["json", "table", "audio", "store", "tensors", "checkpoint"],
)
def test_full_disk_is_called_full_disk(small_disk, write):
    path = small_disk / "a.wav"
    with pytest.raises(OSError, match="disk is full; delete files") as caught:
        write(path)
    assert caught.value.errno == errno.ENOSPC
    assert str(small_disk) in str(caught.value)
    assert not list(small_disk.glob(".*.tmp"))


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_full_disk_in_the_body(path, number):
    with pytest.raises(OSError, match=r"disk is full.*a\.txt"):
        with atomic_path(path):
            raise OSError(number, "No space left on device")
    assert path.read_text() == "old"


@pytest.mark.parametrize("error", [OSError(5, "broken"), ValueError("other")])
def test_other_errors_stay_what_they_are(path, error):
    with pytest.raises(type(error)) as caught, atomic_path(path):
        raise error
    assert caught.value is error


@pytest.mark.parametrize(
    ("number", "message"),
    [
        (errno.EROFS, r"disk is read-only; choose a folder.*a\.txt"),
        (errno.EACCES, r"may not be written to; change its perm.*a\.txt"),
        (errno.EPERM, r"may not be written to; change its perm.*a\.txt"),
    ],
)
def test_disks_that_may_not_be_written_to(path, number, message):
    with pytest.raises(OSError, match=message), atomic_path(path):
        raise OSError(number, "a message of the system", "elsewhere.txt")
