"""Many arrays of different lengths in one file, written in parallel.

A store is a pair of files: ``<name>.npy``, one flat NumPy array with all
samples one after the other, and ``<name>.json``, a manifest (``{id: {...}}``)
whose entries hold ``offset``, ``shape`` and ``crc32`` of their array beside
its metadata. While a store is made, finished shards lie in ``<name>.parts/``:
a run that is killed at any moment goes on with the next shard. Shards do not
depend on the number of workers, and neither does the content.
"""

import json
import math
import os
import shutil
import tokenize
import zlib
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import numpy as np
import torch
from filelock import FileLock
from numpy.lib import format as npy_format

from spatial_brain.atomic import atomic_path, full_disk
from spatial_brain.dataio.files import (
    check_free_space,
    read_json,
    write_json,
)
from spatial_brain.dataio.manifest import (
    is_prepared,
    options_path,
    read_manifest,
    write_options,
)
from spatial_brain.dataio.parallel import progress, run_jobs

# What NumPy makes of damaged headers.
_DAMAGE = (ValueError, EOFError, SyntaxError, tokenize.TokenError)
_DTYPES = ("float32", "float16")


class ArrayStore:
    """Reader of a store; cheap to open and to send to DataLoader workers.

    The arrays are mapped into memory at the first access, in every process
    anew, so nothing is read before it is needed. The checksum of an array is
    compared when a process reads it for the first time.

    Arguments
    ---------
    path : str or Path
        Manifest of the store, ``<name>.json``.

    Raises
    ------
    FileNotFoundError
        If the manifest or the array file is not there.
    ValueError
        If the manifest does not describe the array file; when an array is
        read, if it is not as it was written.

    Example
    -------
    >>> path = getfixture("tmp_path") / "a.json"
    >>> _ = build_store(path, lambda index: ("a", torch.ones(2), {}), 1)
    >>> ArrayStore(path)[0]
    tensor([1., 1.])
    """

    def __init__(self, path):
        self.path = Path(path)
        self.file = self.path.with_suffix(".npy")
        self.entries = read_manifest(path, keys=("offset", "shape", "crc32"))
        self.ids = list(self.entries)
        self._flat = None
        self._verified = set()
        self._check_size(self._described())

    def _described(self):
        """Samples that the manifest describes, one array behind another."""
        total = 0
        for item_id, entry in self.entries.items():
            shape = entry["shape"]
            good = isinstance(shape, list) and all(map(_is_count, shape))
            if not (good and entry["offset"] == total):
                raise ValueError(
                    f"{self.path}: entry {item_id!r} has the shape {shape!r} "
                    f"at {entry['offset']!r}, expected whole numbers at "
                    f"{total}; remove it and run the preparation again"
                )
            total += math.prod(shape)
        return total

    def _check_size(self, described):
        """Compare the size of the array file with the manifest."""
        if not self.file.is_file():
            raise FileNotFoundError(
                f"{self.file}: no such file, though {self.path.name} describes "
                "it; run the preparation again"
            )
        with open(self.file, "rb") as file:
            try:
                if npy_format.read_magic(file) != (2, 0):
                    raise ValueError("another version of the format")
                shape, _, dtype = npy_format.read_array_header_2_0(file)
                if len(shape) != 1 or dtype.str not in ("<f4", "<f2"):
                    raise ValueError(f"shape {shape} of {dtype}")
            except _DAMAGE as error:
                raise ValueError(
                    f"{self.file}: damaged ({error}); remove it and run the "
                    "preparation again"
                ) from error
            expected = file.tell() + shape[0] * dtype.itemsize
        found = self.file.stat().st_size
        if found != expected or described != shape[0]:
            raise ValueError(
                f"{self.file}: has {found} bytes and {shape[0]} samples, "
                f"expected {expected} bytes and {described} samples; remove it "
                "and run the preparation again"
            )

    def __len__(self):
        return len(self.ids)

    def __getstate__(self):
        return {**self.__dict__, "_flat": None, "_verified": set()}

    def _map(self):
        """Samples of all arrays, mapped into memory."""
        if self._flat is None:
            self._flat = np.load(self.file, mmap_mode="r")
        return self._flat

    def __getitem__(self, key):
        """Array of an entry, given by id or by position.

        Arguments
        ---------
        key : str or int
            Id or position.

        Returns
        -------
        torch.Tensor
            A float32 copy in the array's own shape.

        Raises
        ------
        KeyError
            If there is no such entry.
        ValueError
            If the array is damaged.
        """
        return self.part(key, ...)

    def part(self, key, index):
        """Part of an array; the rest is not copied.

        Arguments
        ---------
        key : str or int
            Id or position.
        index : object
            As NumPy takes it, such as ``([0, 3], slice(100, 200))``.

        Returns
        -------
        torch.Tensor
            A float32 copy.

        Raises
        ------
        KeyError
            If there is no such entry.
        ValueError
            If the array is damaged.

        Example
        -------
        >>> path = getfixture("tmp_path") / "a.json"
        >>> _ = build_store(path, lambda i: ("a", torch.eye(3), {}), 1)
        >>> ArrayStore(path).part("a", (slice(1, 3), [1]))
        tensor([[1.],
                [0.]])
        """
        item_id = key if isinstance(key, str) else self.ids[key]
        if item_id not in self.entries:
            raise KeyError(f"{self.path}: no entry {item_id!r}")
        entry = self.entries[item_id]
        if item_id not in self._verified:
            _check_crc(self.file, item_id, self._map(), entry)
            self._verified.add(item_id)
        size = int(np.prod(entry["shape"], dtype=np.int64))
        flat = self._map()[entry["offset"] : entry["offset"] + size]
        part = flat.reshape(entry["shape"])[index]
        return torch.from_numpy(np.array(part, dtype=np.float32))

    def verify(self):
        """Read every array and compare its checksum.

        Raises
        ------
        ValueError
            Names the file and the first entry that is damaged.
        """
        for item_id, entry in progress(
            self.entries.items(), description=f"checking {self.file.name}"
        ):
            _check_crc(self.file, item_id, self._map(), entry)


def _is_count(value):
    """Whether a value is a length of an array."""
    return isinstance(value, int) and 0 <= value < 1 << 48


def build_store(
    path,
    make_item,
    num_items,
    *,
    options=None,
    dtype="float32",
    shard_size=16,
    num_workers=1,
    description="arrays",
):
    """Make a store of arrays, in parallel and resumable.

    Arguments
    ---------
    path : str or Path
        Manifest to write, ``<name>.json``; the arrays go to ``<name>.npy``.
    make_item : callable
        ``make_item(index) -> (id, array, metadata)``: a string, a floating
        array or tensor of any shape, and a dict JSON can hold. With more than
        one worker it must be picklable (a function of a module, or
        ``functools.partial`` of one). It must depend on ``index`` alone.
    num_items : int
        Number of arrays.
    options : dict
        What the content depends on. A finished store made with the same
        options is kept; anything made with others is made again.
    dtype : str
        ``"float32"`` or ``"float16"``.
    shard_size : int
        Arrays per shard: what a kill can cost each worker.
    num_workers : int
        Processes; 1 works in this one.
    description : str
        Text before the progress bar.

    Returns
    -------
    Path
        The manifest.

    Raises
    ------
    ValueError
        If an argument is out of range, an array is not finite, does not fit
        the type, or ids are not unique.
    OSError
        If the disk is full.

    Example
    -------
    >>> def make_item(index):
    ...     return f"item{index}", torch.full((2, index + 1), 0.5), {"x": index}
    >>> path = build_store(getfixture("tmp_path") / "a.json", make_item, 3)
    >>> store = ArrayStore(path)
    >>> len(store), store["item1"].shape, store.entries["item1"]["x"]
    (3, torch.Size([2, 2]), 1)
    """
    path = Path(path)
    if path.suffix != ".json":
        raise ValueError(f"{path}: the manifest of a store ends in .json")
    if dtype not in _DTYPES:
        raise ValueError(f"dtype must be one of {_DTYPES}, got {dtype!r}")
    if num_items < 1 or shard_size < 1 or num_workers < 1:
        raise ValueError(
            "num_items, shard_size and num_workers must be at least 1, got "
            f"{num_items}, {shard_size} and {num_workers}"
        )
    options = {
        "options": json.loads(json.dumps(options, default=os.fspath)),
        "num_items": num_items,
        "dtype": dtype,
        "shard_size": shard_size,
    }
    parts = path.with_suffix(".parts")
    # A finished store may lie on a disk that is read-only.
    if _is_finished(path, options) and not parts.exists():
        return path
    with _locked(path):
        if _is_finished(path, options):
            # A killed process had no time for it.
            shutil.rmtree(parts, ignore_errors=True)
            return path
        _prepare_parts(parts, options)
        shards = [
            range(first, min(first + shard_size, num_items))
            for first in range(0, num_items, shard_size)
        ]
        _make_shards(parts, make_item, shards, dtype, num_workers, description)
        _merge(path, parts, len(shards), dtype)
        write_options(path, options)
        shutil.rmtree(parts)
    return path


@contextmanager
def _locked(path):
    """Let one process at a time make a store."""
    lock = FileLock(path.with_name(f".{path.name}.lock"))
    with full_disk(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def _is_finished(path, options):
    """Whether a store was made with these options and is there in full."""
    if not is_prepared(path, options):
        return False
    try:
        ArrayStore(path)
    except (OSError, ValueError):
        return False
    return True


def _prepare_parts(parts, options):
    """Keep the shards of a run with the same options, drop others."""
    record = parts / "options.json"
    try:
        same = read_json(record) == options
    except (FileNotFoundError, ValueError):
        same = False
    if not same:
        shutil.rmtree(parts, ignore_errors=True)
        write_json(record, options)


def _shard_paths(parts, number):
    """Array file and description of a shard; the latter is written last."""
    return parts / f"{number:06d}.npy", parts / f"{number:06d}.json"


def _make_shards(parts, make_item, shards, dtype, num_workers, description):
    """Make the shards that are not there yet."""
    for leftover in parts.glob("*.tmp"):
        leftover.unlink()
    todo = [
        number
        for number in range(len(shards))
        if not all(file.is_file() for file in _shard_paths(parts, number))
    ]
    done = sum(map(len, shards)) - sum(len(shards[number]) for number in todo)
    make = partial(_make_shard, parts, make_item, dtype)
    known = False
    with progress(
        total=sum(map(len, shards)), initial=done, description=description
    ) as bar:
        jobs = [(number, shards[number]) for number in todo]
        for index, size in run_jobs(make, jobs, num_workers):
            if not known:
                # The other shards, and all of them once more when joined.
                needed = size * (len(todo) - 1 + len(shards))
                check_free_space(parts.parent, needed, parts.stem)
                known = True
            bar.update(len(shards[todo[index]]))


def _make_shard(parts, make_item, dtype, job):
    """Write the arrays of one shard, (number, indices); give its bytes."""
    number, indices = job
    arrays, entries, offset = [], [], 0
    for index in indices:
        item_id, array, metadata = make_item(index)
        array = torch.as_tensor(array).detach().cpu().numpy()
        with np.errstate(over="ignore"):
            array = np.ascontiguousarray(array, dtype=dtype)
        if not np.isfinite(array).all():
            raise ValueError(
                f"item {index} ({item_id!r}) is not finite as {dtype}"
            )
        entry = {
            "offset": offset,
            "shape": list(array.shape),
            "crc32": zlib.crc32(array.tobytes()),
        }
        clash = entry.keys() & metadata.keys()
        if clash:
            raise ValueError(f"metadata may not hold the keys {sorted(clash)}")
        entries.append((item_id, {**entry, **metadata}))
        arrays.append(array.ravel())
        offset += array.size
    data, description = _shard_paths(parts, number)
    with atomic_path(data) as temporary, open(temporary, "wb") as file:
        np.save(file, np.concatenate(arrays))
    write_json(description, entries)
    return data.stat().st_size


def _merge(path, parts, num_shards, dtype):
    """Join the shards into one array file and one manifest."""
    shards = [_shard_paths(parts, number) for number in range(num_shards)]
    size = sum(np.load(data, mmap_mode="r").size for data, _ in shards)
    check_free_space(
        path.parent, size * np.dtype(dtype).itemsize, f"joining {path.name}"
    )
    # A kill from here on must leave nothing that looks finished.
    options_path(path).unlink(missing_ok=True)
    path.unlink(missing_ok=True)
    entries, offset = {}, 0
    target = path.with_suffix(".npy")
    for leftover in target.parent.glob(f".{target.name}.*.tmp"):
        leftover.unlink()
    with atomic_path(target) as temporary, open(temporary, "wb") as file:
        npy_format.write_array_header_2_0(
            file,
            {
                "descr": np.dtype(dtype).newbyteorder("<").str,
                "fortran_order": False,
                "shape": (size,),
            },
        )
        for data, description in shards:
            array = np.load(data)
            for item_id, entry in read_json(description):
                if item_id in entries:
                    raise ValueError(f"{path}: two items are named {item_id!r}")
                _check_crc(data, item_id, array, entry)
                entry["offset"] += offset
                entries[item_id] = entry
            file.write(array.tobytes())
            offset += array.size
    write_json(path, entries)


def _check_crc(file, item_id, flat, entry):
    """Raise ValueError if an array of ``flat`` is not as it was written."""
    stop = entry["offset"] + int(np.prod(entry["shape"], dtype=np.int64))
    part = flat[entry["offset"] : stop]
    if zlib.crc32(part.tobytes()) != entry["crc32"]:
        raise ValueError(
            f"{file}: the array of entry {item_id!r} is damaged (checksum "
            "differs); remove the file and run the preparation again"
        )
