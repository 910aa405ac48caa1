"""Examples in wav files with their facts, and a manifest."""

import json
from functools import partial
from pathlib import Path

from spatial_brain.dataio.audio import read_audio, write_audio
from spatial_brain.dataio.files import read_json, write_json
from spatial_brain.dataio.manifest import read_manifest, write_manifest
from spatial_brain.dataio.parallel import progress, run_jobs
from spatial_brain.datasets.microphone_pairs.examples import (
    FACTS,
    LABELS,
    PairSet,
    check_room_names,
    check_rooms,
    facts_of,
    item_of,
    no_direct,
    no_rooms,
)


def write_wavs(pairs, path, *, num_workers=1, rank=0, num_ranks=1):
    """Write examples as 16-bit wav files with their facts, and a manifest.

    Files are ``<stage>/<id>.wav``, with ``with_direct`` ``<id>_dp.wav``, and
    ``<id>.json`` (labels and more). What is there already is kept.

    Arguments
    ---------
    pairs : DrawnPairs
        What to write.
    path : str or Path
        Manifest to write; the folder beside it has its name.
    num_workers : int
        Processes that make examples.
    rank : int
        Writes every ``num_ranks``-th example from this one on.
    num_ranks : int
        Number of processes that share the work; the last to finish writes
        the manifest.

    Returns
    -------
    Path
        The manifest.

    Example
    -------
    >>> write_wavs.__name__  # see prepare_wsj0_simu
    'write_wavs'
    """
    path = Path(path)
    folder = path.with_suffix("")
    options = {**pairs.options(), "direct": pairs.with_direct}
    options = json.loads(json.dumps(options))
    mine = range(rank, len(pairs), num_ranks)
    jobs = progress(
        run_jobs(
            partial(_write_wav, pairs, folder, options), mine, num_workers
        ),
        total=len(mine),
        description=f"writing {path.stem}",
    )
    for _ in jobs:
        pass
    facts = {}
    for index in range(len(pairs)):
        name = pairs.name(index)
        try:
            record = read_json(folder / f"{name}.json")
        except FileNotFoundError:
            return path
        if record["options"] != options:
            return path
        facts[name] = {
            "wav": str(folder / f"{name}.wav"),
            "num_samples": pairs.num_samples,
            "fs": pairs.fs,
            "shares_room": pairs.rooms is not None,
            **{key: record[key] for key in (*FACTS, *LABELS) if key in record},
        }
        if pairs.with_direct:
            facts[name]["direct"] = str(folder / f"{name}_dp.wav")
    write_manifest(path, facts, data_root=path.parent)
    return path


def _write_wav(pairs, folder, options, index):
    """Write an example unless it is there; its facts come last."""
    name = pairs.name(index)
    record = folder / f"{name}.json"
    try:
        if read_json(record)["options"] == options:
            return
    except (FileNotFoundError, ValueError):
        pass
    item = pairs.simulate(index)
    write_audio(folder / f"{name}.wav", item["waveform"], pairs.fs)
    if pairs.with_direct:
        write_audio(folder / f"{name}_dp.wav", item["direct"], pairs.fs)
    more = {**pairs.record(index), "options": options}
    write_json(record, {**facts_of(item), **more})


class WavPairs(PairSet):
    """Examples in wav files.

    Arguments
    ---------
    path : str or Path
        Manifest: ``wav`` and labels of each example.
    rooms : sequence, optional
        First room and number of rooms to take, or names of rooms.
    crop : float, optional
        Seconds kept of each example.
    with_direct : bool
        Give the direct sound alone as well.

    Raises
    ------
    FileNotFoundError
        If there is no such manifest.
    ValueError
        If labels, rooms or direct sound are not there.

    Example
    -------
    >>> WavPairs("nowhere.json")
    Traceback (most recent call last):
    FileNotFoundError: nowhere.json: no such file; run the preparation first
    """

    def __init__(self, path, *, rooms=None, crop=None, with_direct=False):
        entries = read_manifest(
            path,
            data_root=Path(path).parent,
            keys=("wav", "fs", "room", "shares_room", *LABELS),
        )
        if with_direct and not all("direct" in e for e in entries.values()):
            raise ValueError(no_direct(path))
        fs = next(iter(entries.values()))["fs"]
        super().__init__(fs, crop, with_direct)
        if rooms is not None:
            wanted = _wanted_rooms(rooms, entries, path)
            entries = {k: e for k, e in entries.items() if e["room"] in wanted}
        self.entries = entries
        self.ids = list(entries)

    def __len__(self):
        return len(self.ids)

    def __getitem__(self, index):
        if not 0 <= index < len(self.ids):
            raise IndexError(f"no example {index} of {len(self.ids)}")
        entry = self.entries[self.ids[index]]
        item = item_of(self.ids[index], entry)
        item["waveform"] = self._read(entry["wav"])
        if self.with_direct:
            item["direct"] = self._read(entry["direct"])
        return self.finish(item)

    def _read(self, path):
        """Samples of one file, [time, 2]."""
        return read_audio(path, fs=self.fs, num_channels=2)[0]


def _wanted_rooms(rooms, entries, path):
    """Numbers or names of rooms that were chosen."""
    if not all(entry["shares_room"] for entry in entries.values()):
        raise ValueError(no_rooms(path))
    there = sorted({entry["room"] for entry in entries.values()})
    if isinstance(there[0], str):
        check_room_names(rooms, there, path)
        return set(rooms)
    check_rooms(rooms, (there[0], there[-1] - there[0] + 1), path)
    return range(rooms[0], rooms[0] + rooms[1])
