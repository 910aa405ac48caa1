"""Reader of many arrays in one file (see ``spatial_brain.dataio.storage``)."""

import zlib
from pathlib import Path

import numpy as np
import torch
from numpy.lib import format as npy_format

from spatial_brain.dataio.manifest import read_manifest
from spatial_brain.dataio.progress import progress


class ArrayStore:
    """Reader of a store; cheap to open and to send to DataLoader workers.

    The arrays are mapped into memory at the first access, in every process
    anew, so nothing is read before it is needed.

    Arguments
    ---------
    path : str or Path
        Manifest of the store, ``<name>.json``.

    Raises
    ------
    FileNotFoundError
        If the manifest or the array file is not there.
    ValueError
        If the array file is shorter or longer than the manifest says.

    Example
    -------
    >>> from spatial_brain.dataio.storage import build_store
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
        self._check_size()

    def _check_size(self):
        """Compare the size of the array file with the manifest."""
        if not self.file.is_file():
            raise FileNotFoundError(
                f"{self.file}: no such file, though {self.path.name} describes "
                "it; run the preparation again"
            )
        with open(self.file, "rb") as file:
            try:
                npy_format.read_magic(file)
                shape, _, dtype = npy_format.read_array_header_2_0(file)
            except ValueError as error:
                raise ValueError(f"{self.file}: damaged ({error})") from error
            expected = file.tell() + shape[0] * dtype.itemsize
        last = self.entries[self.ids[-1]]
        described = last["offset"] + int(np.prod(last["shape"], dtype=np.int64))
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
        return {**self.__dict__, "_flat": None}

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
        """
        item_id = key if isinstance(key, str) else self.ids[key]
        if item_id not in self.entries:
            raise KeyError(f"{self.path}: no entry {item_id!r}")
        entry = self.entries[item_id]
        size = int(np.prod(entry["shape"], dtype=np.int64))
        flat = self._map()[entry["offset"] : entry["offset"] + size]
        array = np.array(flat, dtype=np.float32)
        return torch.from_numpy(array.reshape(entry["shape"]))

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
            check_crc(self.file, item_id, self._map(), entry)


def check_crc(file, item_id, flat, entry):
    """Raise ValueError if an array is not the one that was written.

    Arguments
    ---------
    file : str or Path
        Named in the message.
    item_id : str
        Named in the message.
    flat : numpy.ndarray
        The samples of all arrays.
    entry : dict
        ``offset``, ``shape`` and ``crc32`` of the array.

    Raises
    ------
    ValueError
        If the checksum differs.

    Example
    -------
    >>> entry = {"offset": 0, "shape": [1], "crc32": 0}
    >>> check_crc("a.npy", "a", np.zeros(1), entry)
    Traceback (most recent call last):
    ValueError: a.npy: the array of entry 'a' is damaged ...
    """
    stop = entry["offset"] + int(np.prod(entry["shape"], dtype=np.int64))
    part = flat[entry["offset"] : stop]
    if zlib.crc32(part.tobytes()) != entry["crc32"]:
        raise ValueError(
            f"{file}: the array of entry {item_id!r} is damaged (checksum "
            "differs); remove the file and run the preparation again"
        )
