"""Examples in volumes: stores of some thousand, and a file that names them."""

from bisect import bisect_right
from functools import partial
from pathlib import Path

import torch

from spatial_brain.dataio.array_store import ArrayStore, build_store
from spatial_brain.dataio.files import read_json, write_json
from spatial_brain.datasets.microphone_pairs.examples import (
    PairSet,
    check_room_names,
    check_rooms,
    facts_of,
    item_of,
    no_direct,
    no_rooms,
)


def write_shards(
    pairs,
    path,
    items_per_file=4096,
    *,
    dtype="float16",
    num_workers=1,
    rank=0,
    num_ranks=1,
):
    """Store examples in a few large files, resumable.

    Arguments
    ---------
    pairs : DrawnPairs
        What to store; the direct sound too if it has ``with_direct``.
    path : str or Path
        JSON file to write; the arrays lie beside it.
    items_per_file : int
        Examples a file.
    dtype : str
        "float16" or "float32".
    num_workers : int
        Processes that make examples.
    rank : int
        Writes every ``num_ranks``-th file from this one on.
    num_ranks : int
        Number of processes that share the work by calling this.

    Returns
    -------
    Path
        The JSON file.

    Raises
    ------
    ValueError
        If a number is out of range.

    Example
    -------
    >>> write_shards.__name__  # see prepare_wsj0_simu
    'write_shards'
    """
    path = Path(path)
    if items_per_file < 1 or not 0 <= rank < num_ranks:
        raise ValueError(
            "items_per_file must be at least 1 and rank below num_ranks, got "
            f"{items_per_file}, {rank} and {num_ranks}"
        )
    firsts = range(0, len(pairs), items_per_file)
    counts = [min(items_per_file, len(pairs) - first) for first in firsts]
    names = [f"{path.stem}_{number:04d}.json" for number in range(len(counts))]
    for number in range(rank, len(counts), num_ranks):
        build_store(
            path.parent / names[number],
            partial(_stored_item, pairs, firsts[number]),
            counts[number],
            options={**pairs.options(), "direct": pairs.with_direct},
            dtype=dtype,
            shard_size=64,
            num_workers=num_workers,
            description=f"{path.stem} {number + 1}/{len(counts)}",
        )
    write_json(
        path,
        {
            "volumes": names,
            "counts": counts,
            "fs": pairs.fs,
            "direct": pairs.with_direct,
            "rooms": pairs.rooms,
            "examples_per_room": pairs.examples_per_room,
            "options": pairs.options(),
        },
    )
    return path


def _stored_item(pairs, first, index):
    """Id, samples and facts of an example, for ``build_store``."""
    item = pairs.simulate(first + index)
    array = item["waveform"]
    if pairs.with_direct:
        array = torch.cat((array, item["direct"]), dim=1)
    return item["id"], array, facts_of(item)


class StoredPairs(PairSet):
    """Examples in a few large files.

    Arguments
    ---------
    path : str or Path
        JSON file that :func:`write_shards` wrote.
    rooms : sequence, optional
        First room and number of rooms to take, or names of rooms.
    crop : float, optional
        Seconds kept of each example.
    with_direct : bool
        Give the direct sound alone as well.

    Raises
    ------
    FileNotFoundError
        If a file is missing, for instance while others still write.
    ValueError
        If a file is damaged, or rooms or direct sound are not there.

    Example
    -------
    >>> StoredPairs("nowhere.json")
    Traceback (most recent call last):
    FileNotFoundError: nowhere.json: no such file; run the preparation first
    """

    def __init__(self, path, *, rooms=None, crop=None, with_direct=False):
        content = read_json(path)
        super().__init__(content["fs"], crop, with_direct)
        if with_direct and not content["direct"]:
            raise ValueError(no_direct(path))
        self.path = Path(path)
        self.volumes = [
            ArrayStore(self.path.parent / name) for name in content["volumes"]
        ]
        found = [len(volume) for volume in self.volumes]
        if found != content["counts"]:
            raise ValueError(
                f"{path}: its files have {found} examples, expected "
                f"{content['counts']}; prepare the stage again"
            )
        self.begins = [sum(found[:number]) for number in range(len(found))]
        self.chosen = range(sum(found))
        if rooms is not None:
            self.chosen = self._in_rooms(rooms, content)

    def _in_rooms(self, rooms, content):
        """Numbers of the examples in some of the rooms."""
        there, each = content["rooms"], content["examples_per_room"]
        if there is None:
            raise ValueError(no_rooms(self.path))
        if each is not None:
            check_rooms(rooms, there, self.path)
            first = (rooms[0] - there[0]) * each
            return range(first, first + rooms[1] * each)
        check_room_names(rooms, there, self.path)
        entries = [e for v in self.volumes for e in v.entries.values()]
        return [i for i, e in enumerate(entries) if e["room"] in rooms]

    def __len__(self):
        return len(self.chosen)

    def __getitem__(self, index):
        if not 0 <= index < len(self):
            raise IndexError(f"no example {index} of {len(self)}")
        index = self.chosen[index]
        number = bisect_right(self.begins, index) - 1
        volume, position = self.volumes[number], index - self.begins[number]
        samples, item_id = volume[position], volume.ids[position]
        item = item_of(item_id, volume.entries[item_id])
        item["waveform"] = samples[:, :2].contiguous()
        if samples.shape[1] == 4:
            item["direct"] = samples[:, 2:].contiguous()
        return self.finish(item)
