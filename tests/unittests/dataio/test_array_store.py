"""Stores of arrays: parallel, resumable, checked."""

import os
import pickle
import signal
import subprocess
import sys
import textwrap
import time
from functools import partial

import numpy as np
import pytest
import torch

from spatial_brain.dataio import array_store
from spatial_brain.dataio.array_store import ArrayStore, build_store
from spatial_brain.dataio.files import read_json, write_json


def make_item(index, scale=1.0):
    """A noise of its own length for every index."""
    generator = torch.Generator().manual_seed(index)
    array = scale * torch.randn(2, 1 + index % 5, generator=generator)
    return f"item{index:03d}", array, {"index": index}


def content(path):
    return path.read_bytes(), path.with_suffix(".npy").read_bytes()


def test_same_content_for_any_number_of_workers(tmp_path):
    one = build_store(tmp_path / "a" / "rirs.json", make_item, 23, shard_size=4)
    two = build_store(
        tmp_path / "b" / "rirs.json",
        make_item,
        23,
        shard_size=4,
        num_workers=2,
    )
    assert content(one) == content(two)
    store = ArrayStore(one)
    assert len(store) == 23
    for index in (0, 7, 22, -1):
        item_id, array, _ = make_item(index % 23)
        assert torch.equal(store[index], array)
        assert torch.equal(store[item_id], array)
        assert store.entries[item_id]["index"] == index % 23
    store.verify()
    assert np.load(one.with_suffix(".npy")).ndim == 1
    assert not one.with_suffix(".parts").exists()


def test_interrupted_in_process_is_resumed(tmp_path):
    calls = []

    def make(index):
        calls.append(index)
        if len(calls) == 11:
            raise KeyboardInterrupt
        return make_item(index)

    path = tmp_path / "rirs.json"
    with pytest.raises(KeyboardInterrupt):
        build_store(path, make, 20, shard_size=4)
    assert not path.exists()
    build_store(path, make, 20, shard_size=4)
    # Two whole shards were kept, the third is made again.
    assert calls == [*range(11), *range(8, 20)]
    whole = build_store(tmp_path / "other.json", make_item, 20, shard_size=4)
    assert content(path) == content(whole)
    build_store(path, make, 20, shard_size=4)
    assert len(calls) == 23


def test_killed_process_is_resumed(tmp_path):
    (tmp_path / "slow.py").write_text(
        textwrap.dedent(
            """
            import time
            import torch
            from spatial_brain.dataio.array_store import build_store

            def make(index):
                time.sleep(0.05)
                return f"item{index}", torch.full((3,), float(index)), {}

            if __name__ == "__main__":
                build_store("rirs.json", make, 60, shard_size=2,
                            num_workers=2)
            """
        )
    )
    command = [sys.executable, "slow.py"]
    run = {"cwd": tmp_path, "env": {**os.environ, "PYTHONPATH": os.getcwd()}}
    process = subprocess.Popen(command, **run, stderr=subprocess.DEVNULL)
    parts = tmp_path / "rirs.parts"
    # The first shard has two files; wait until some are finished.
    while process.poll() is None and len(list(parts.glob("*.npy"))) < 3:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (tmp_path / "rirs.json").exists()
    kept = {p: p.stat().st_mtime_ns for p in parts.glob("0*.npy")}
    assert len(kept) >= 2

    def make(index):
        return f"item{index}", torch.full((3,), float(index)), {}

    times = {}
    merge = array_store._merge

    def spy(*args):
        times.update({p: p.stat().st_mtime_ns for p in kept})
        merge(*args)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(array_store, "_merge", spy)
        build_store(tmp_path / "rirs.json", make, 60, shard_size=2)
    assert sum(times[p] == kept[p] for p in kept) >= len(kept) - 2
    store = ArrayStore(tmp_path / "rirs.json")
    assert [store[i][0].item() for i in range(60)] == list(range(60))


def test_changed_options_make_it_again(tmp_path):
    path = tmp_path / "rirs.json"
    build_store(path, make_item, 5, options={"seed": 1})
    first = content(path)
    make = partial(make_item, scale=2.0)
    build_store(path, make, 5, options={"seed": 1})
    assert content(path) == first
    build_store(path, make, 5, options={"seed": 2})
    assert torch.equal(ArrayStore(path)[3], 2 * make_item(3)[1])


def test_half_precision(tmp_path):
    path = build_store(tmp_path / "a.json", make_item, 5, dtype="float16")
    item = ArrayStore(path)[2]
    assert item.dtype == torch.float32
    assert torch.equal(item, make_item(2)[1].half().float())
    with pytest.raises(ValueError, match="item 0 .*not finite as float16"):
        build_store(
            tmp_path / "b.json",
            partial(make_item, scale=1e9),
            5,
            dtype="float16",
        )


def test_damage_is_found_and_named(tmp_path):
    path = build_store(tmp_path / "rirs.json", make_item, 5)
    file = path.with_suffix(".npy")
    data = bytearray(file.read_bytes())
    data[-2] ^= 64
    file.write_bytes(data)
    with pytest.raises(ValueError, match=r"rirs.npy.*'item004'.*damaged"):
        ArrayStore(path).verify()
    # Nobody has to ask: what is read is compared.
    store = ArrayStore(path)
    assert torch.equal(store[3], make_item(3)[1])
    for _ in range(2):
        with pytest.raises(ValueError, match=r"rirs.npy.*'item004'.*damaged"):
            store[4]
    file.write_bytes(data[:-4])
    with pytest.raises(ValueError, match=r"rirs.npy.*run the preparation"):
        ArrayStore(path)
    file.unlink()
    with pytest.raises(FileNotFoundError, match="rirs.npy"):
        ArrayStore(path)
    # A damaged store is not taken for a finished one.
    build_store(path, make_item, 5)
    ArrayStore(path).verify()


def test_reader_travels_light(tmp_path):
    path = build_store(tmp_path / "rirs.json", make_item, 50)
    store = ArrayStore(path)
    before = len(pickle.dumps(store))
    assert store[0].sum() == make_item(0)[1].sum()
    assert len(pickle.dumps(store)) == before
    assert torch.equal(pickle.loads(pickle.dumps(store))[9], make_item(9)[1])
    store[0].zero_()
    assert store[0].abs().sum() > 0
    loader = torch.utils.data.DataLoader(store, batch_size=None, num_workers=1)
    for index, item in enumerate(loader):
        assert torch.equal(item, make_item(index)[1])


def test_bad_arguments(tmp_path):
    with pytest.raises(ValueError, match="two items are named 'a'"):
        build_store(tmp_path / "a.json", lambda i: ("a", torch.ones(1), {}), 2)
    with pytest.raises(ValueError, match="item 0"):
        build_store(
            tmp_path / "b.json",
            lambda i: ("a", torch.tensor([torch.nan]), {}),
            1,
        )
    with pytest.raises(ValueError, match="offset"):
        build_store(
            tmp_path / "c.json",
            lambda i: ("a", torch.ones(1), {"offset": 1}),
            1,
        )
    with pytest.raises(ValueError, match="dtype"):
        build_store(tmp_path / "d.json", make_item, 1, dtype="int8")
    with pytest.raises(KeyError, match="no entry 'x'"):
        ArrayStore(build_store(tmp_path / "e.json", make_item, 1))["x"]


def test_an_array_is_compared_once(tmp_path, monkeypatch):
    store = ArrayStore(build_store(tmp_path / "a.json", make_item, 2))
    compared = []
    real = array_store._check_crc
    monkeypatch.setattr(
        array_store,
        "_check_crc",
        lambda *args: (compared.append(args[1]), real(*args)),
    )
    for index in (0, 0, 1, 0, 1):
        store[index]
    assert compared == ["item000", "item001"]


@pytest.mark.parametrize(
    "change",
    [
        {"offset": -4},
        {"offset": 1e300},
        {"offset": "0"},
        {"offset": None},
        {"shape": 3},
        {"shape": [-1, 2]},
        {"shape": [2.5]},
        {"shape": [2**62, 2**62]},
        {"shape": ["2"]},
        {"crc32": 7},
        {"crc32": "x"},
    ],
    ids=str,
)
def test_manifests_that_describe_something_else(tmp_path, change):
    path = build_store(tmp_path / "a.json", make_item, 3)
    entries = read_json(path)
    entries["item001"] |= change
    write_json(path, entries)
    with pytest.raises(ValueError, match=r"a\.(json|npy).*preparation again"):
        ArrayStore(path)[1]


def test_damaged_headers(tmp_path):
    path = build_store(tmp_path / "a.json", make_item, 3)
    file = path.with_suffix(".npy")
    content = file.read_bytes()
    for at in range(120):
        damaged = bytearray(content)
        damaged[at] ^= 8
        file.write_bytes(damaged)
        try:
            read = [ArrayStore(path)[index] for index in range(3)]
        except ValueError as error:
            assert str(file) in str(error)
        else:
            assert all(torch.equal(read[i], make_item(i)[1]) for i in range(3))
