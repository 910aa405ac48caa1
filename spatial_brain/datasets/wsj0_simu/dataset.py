"""Examples of WSJ0-Simu: simulated on access, in volumes, in wav files.

A volume is an ``ArrayStore`` of some thousand examples, written by several
processes and, with ranks, by several machines; the JSON file of the stage
names the volumes.
"""

import json
from bisect import bisect_right
from functools import partial
from pathlib import Path

import numpy as np
import torch

from spatial_brain.dataio.array_store import ArrayStore, build_store
from spatial_brain.dataio.audio import read_audio, write_audio
from spatial_brain.dataio.dataset import EpochDataset
from spatial_brain.dataio.files import read_json, write_json
from spatial_brain.dataio.manifest import read_manifest, write_manifest
from spatial_brain.dataio.parallel import progress, run_jobs
from spatial_brain.datasets.speech.pool import SpeechPool
from spatial_brain.datasets.wsj0_simu.scenes import (
    SceneDistribution,
    draw_certain_room_scene,
    draw_room_scene,
    seeded,
    stage_seed,
)
from spatial_brain.datasets.wsj0_simu.simulate import (
    SceneBatch,
    anf_noise,
    coherent_signals,
    render_pairs,
)

LABELS = ("TDOA", "T60", "DRR", "C50", "ABS", "SNR", "SUR", "VOL")
# Speakers a microphone of babble.
_BABBLE = 10


class _PairSet(EpochDataset):
    """Examples of two-microphone recordings, however they are held."""

    def __init__(self, fs, crop, with_direct):
        super().__init__()
        if crop is not None and not crop > 0:
            raise ValueError(f"crop must be positive seconds, got {crop}")
        self.fs = fs
        self.crop = None if crop is None else int(crop * fs)
        self.with_direct = with_direct

    def finish(self, item):
        """Cut an item to what was asked for."""
        for key in ("waveform", "direct"):
            if key not in item:
                continue
            if self.crop is not None and len(item[key]) < self.crop:
                raise ValueError(
                    f"example {item['id']} has {len(item[key])} samples, "
                    f"fewer than the {self.crop} asked for by crop"
                )
            item[key] = item[key][: self.crop]
        if not self.with_direct:
            item.pop("direct", None)
        return item


def check_rooms(rooms, there, name):
    """Raise ValueError unless all rooms are there.

    Arguments
    ---------
    rooms : sequence of int
        First room and number of rooms wanted.
    there : sequence of int
        The same of those there are.
    name : str
        Named in the message.

    Raises
    ------
    ValueError
        If rooms are missing.

    Example
    -------
    >>> check_rooms((0, 8), (0, 4), "train")
    Traceback (most recent call last):
    ValueError: train: rooms 0 to 7 are wanted, there are 0 to 3; ...
    """
    first, count = rooms
    begin, number = there
    if count < 1 or first < begin or first + count > begin + number:
        raise ValueError(
            f"{name}: rooms {first} to {first + count - 1} are wanted, there "
            f"are {begin} to {begin + number - 1}; prepare more rooms"
        )


def _label_scalars(entry):
    """Labels of an entry as float32 scalars."""
    return {
        name: torch.tensor(entry[name], dtype=torch.float32) for name in LABELS
    }


def _facts_of(item):
    """Labels and room of an item, as JSON holds them."""
    labels = {name: float(item["labels"][name]) for name in LABELS}
    return {"room": item["room"], **labels}


def _no_direct(path):
    """Message about direct sound that was not stored."""
    return (
        f"{path}: the direct sound is not stored; prepare the stage with "
        "with_direct"
    )


def _no_rooms(path):
    """Message about a stage without common rooms."""
    return f"{path}: has a room an example; rooms cannot be chosen"


class SimulatedPairs(_PairSet):
    """Examples simulated when they are asked for.

    An example depends on stage, number and (with ``renew``) epoch alone: it
    is the same for any number of workers, ranks and any batch. For what it
    holds see ``spatial_brain.datasets.wsj0_simu.prepare.open_pairs``.

    Arguments
    ---------
    stage : str
        "pretrain", "preval", "pretest", "pretest_ins_<any>", "train", "val"
        or "test".
    size : int, optional
        Number of examples, each in a room of its own. Not with ``rooms``.
    source : str or Path or SpeechPool, optional
        Manifest of speech, from ``prepare_speech``.
    distribution : SceneDistribution or dict, optional
        What scenes are drawn from, or its fields; default: the original's.
    rooms : sequence of int, optional
        First room and number of rooms.
    rirs_per_room : int
        Impulse responses a room.
    signals_per_rir : int
        Examples an impulse response.
    renew : bool
        Draw other examples in every epoch (see ``set_epoch``).
    render : bool
        False leaves the simulation to :func:`render_items`, which does whole
        batches on an accelerator.
    crop : float, optional
        Keep the first seconds of an example only.
    with_direct : bool
        Give the direct sound alone as well.

    Raises
    ------
    ValueError
        If arguments contradict each other.

    Example
    -------
    >>> from spatial_brain.datasets.speech.pool import prepare_speech
    >>> few = {"train-clean-100": 1, "dev-clean": 1, "test-clean": 1}
    >>> speech = prepare_speech(
    ...     None,
    ...     getfixture("tmp_path"),
    ...     num_talkers=few,
    ...     utterances_per_talker=1,
    ... )
    >>> pairs = SimulatedPairs("preval", 10, speech["dt"], {"T": 1.0})
    >>> len(pairs), pairs[3]["id"], pairs[3]["waveform"].shape
    (10, 'preval_000003', torch.Size([16000, 2]))
    """

    def __init__(
        self,
        stage,
        size=None,
        source=None,
        distribution=None,
        *,
        rooms=None,
        rirs_per_room=50,
        signals_per_rir=1,
        renew=False,
        render=True,
        crop=None,
        with_direct=False,
    ):
        if not isinstance(distribution, SceneDistribution):
            distribution = SceneDistribution(**(distribution or {}))
        super().__init__(distribution.fs, crop, with_direct)
        stage_seed(stage)
        if (size is None) == (rooms is None):
            raise ValueError(
                "give either size (a room an example) or rooms (first room, "
                f"number of rooms), got size={size}, rooms={rooms}"
            )
        if rooms is not None:
            size = rooms[1] * rirs_per_room * signals_per_rir
        if size < 1 or (rooms is not None and rooms[0] < 0):
            raise ValueError(
                f"there must be at least one example, got size={size}, "
                f"rooms={rooms}, {rirs_per_room} responses a room and "
                f"{signals_per_rir} signals a response"
            )
        if not isinstance(source, SpeechPool):
            source = SpeechPool(
                source, distribution.num_samples, distribution.fs
            )
        self.stage, self.size, self.source = stage, size, source
        self.distribution = distribution
        self.rooms = None if rooms is None else tuple(rooms)
        self.rirs_per_room = rirs_per_room
        self.signals_per_rir = signals_per_rir
        self.renew, self.render = renew, render

    def __len__(self):
        return self.size

    def place(self, index):
        """Where an example belongs.

        Arguments
        ---------
        index : int
            Of the example, not negative.

        Returns
        -------
        tuple of int
            Room, impulse response and signal, numbered over the stage.
        """
        if not 0 <= index < self.size:
            raise IndexError(f"no example {index} of {self.size}")
        if self.rooms is None:
            return index, index, index
        number = index + (
            self.rooms[0] * self.rirs_per_room * self.signals_per_rir
        )
        rir = number // self.signals_per_rir
        return rir // self.rirs_per_room, rir, number

    def name(self, index):
        """Id of an example: its stage, room (from R1) and number."""
        room, _, number = self.place(index)
        if self.rooms is None:
            return f"{self.stage}_{number:06d}"
        within = number % (self.rirs_per_room * self.signals_per_rir)
        return f"{self.stage}_R{room + 1}_{within:04d}"

    def scene(self, index):
        """Scene of an example.

        Arguments
        ---------
        index : int
            Of the example.

        Returns
        -------
        PairScene
        """
        room, rir, _ = self.place(index)
        epoch = self.drawn_epoch
        if self.rooms is None:
            return draw_room_scene(self.distribution, self.stage, rir, epoch)
        return draw_certain_room_scene(
            self.distribution,
            self.stage,
            room,
            rir % self.rirs_per_room,
            self.rirs_per_room,
            epoch,
        )

    @property
    def drawn_epoch(self):
        """Epoch that random choices belong to."""
        return self.epoch if self.renew else 0

    def ingredients(self, index):
        """What an example is simulated from.

        Arguments
        ---------
        index : int
            Of the example.

        Returns
        -------
        dict
            "id", "room"; "scene" (float64 [20], see ``SceneBatch``),
            "speech" (float32 [time]), "snr" (dB), "seeds" (int64 [2]), and
            "noise" (float32 [2, time]) where it is not drawn by seed.
        """
        room, rir, number = self.place(index)
        scene = self.scene(index)
        rng = seeded(self.stage, number, self.drawn_epoch)
        item = {
            "id": self.name(index),
            "room": room,
            "scene": SceneBatch.of([scene]).pack()[0],
            "speech": self.source.draw(rng),
            "seeds": torch.tensor([self._seed(rir, 0), self._seed(number, 1)]),
        }
        noise = self._noise(rng, scene)
        if noise is not None:
            item["noise"] = noise
        item["snr"] = torch.tensor(
            rng.uniform(*self.distribution.snr_range), dtype=torch.float32
        )
        return item

    def _seed(self, number, purpose):
        """Seed of the noise of one purpose, 32 bits."""
        entropy = [stage_seed(self.stage) + number, self.drawn_epoch, purpose]
        return int(np.random.SeedSequence(entropy).generate_state(1)[0])

    def _noise(self, rng, scene):
        """Noise that is not drawn by its seed, [2, time]."""
        which = self.distribution
        kind = which.noise_type
        if kind == "diffuse_babble":
            babble = [
                sum(self.source.draw(rng) for _ in range(_BABBLE))
                for _ in range(2)
            ]
            return coherent_signals(
                torch.stack([signal / signal.std() for signal in babble]),
                torch.from_numpy(scene.microphones),
                which.fs,
                which.c,
            )
        if kind != "diffuse_white" or not which.has("anf_noise"):
            return None
        spacing = float(np.linalg.norm(np.diff(scene.microphones, axis=0)))
        signals = rng.standard_normal((which.num_samples, 2))
        noise = anf_noise(signals, spacing, which.fs, which.c)
        return torch.from_numpy(noise.T.astype(np.float32))

    def __getitem__(self, index):
        if not self.render:
            return self.ingredients(index)
        return self.finish(self.simulate(index))

    def simulate(self, index):
        """Example in full length, with the direct sound; a dict."""
        [item] = render_items([self.ingredients(index)], self.distribution)
        return item

    def options(self):
        """What the examples depend on, for JSON."""
        return {
            "stage": self.stage,
            "size": None if self.rooms else self.size,
            "source": str(self.source.manifest),
            "distribution": self.distribution.options(),
            "rooms": self.rooms and list(self.rooms),
            "rirs_per_room": self.rirs_per_room,
            "signals_per_rir": self.signals_per_rir,
        }


def render_items(items, distribution, device="cpu"):
    """Simulate what ``SimulatedPairs(render=False)`` gave, all at once.

    Arguments
    ---------
    items : list of dict
        From ``SimulatedPairs.ingredients``.
    distribution : SceneDistribution
        That of the data set.
    device : str or torch.device
        Where to compute; noise differs between kinds of devices.

    Returns
    -------
    list of dict
        "id", "room", "waveform" and "direct" (float32 [time, 2]), "labels".

    Example
    -------
    >>> render_items.__name__  # see SimulatedPairs
    'render_items'
    """
    stacked = {
        key: torch.stack([item[key] for item in items])
        for key in ("scene", "speech", "snr", "seeds", "noise")
        if key in items[0]
    }
    noise = stacked.get("noise")
    rendered = render_pairs(
        distribution,
        SceneBatch.unpack(stacked["scene"]),
        stacked["speech"].to(device),
        stacked["snr"].to(device),
        stacked["seeds"],
        None if noise is None else noise.to(device),
    )
    return [
        {
            "id": item["id"],
            "room": item["room"],
            "waveform": rendered.waveform[row],
            "direct": rendered.direct[row],
            "labels": {
                name: value[row] for name, value in rendered.labels.items()
            },
        }
        for row, item in enumerate(items)
    ]


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
    pairs : SimulatedPairs
        What to store; the direct sound too if it has ``with_direct``.
    path : str or Path
        JSON file to write; the arrays lie beside it.
    items_per_file : int
        Examples a file.
    dtype : str
        "float16" or "float32".
    num_workers : int
        Processes that simulate.
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
            "examples_per_room": pairs.rirs_per_room * pairs.signals_per_rir,
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
    return item["id"], array, _facts_of(item)


class StoredPairs(_PairSet):
    """Examples in a few large files.

    Arguments
    ---------
    path : str or Path
        JSON file that :func:`write_shards` wrote.
    rooms : sequence of int, optional
        First room and number of rooms to take.
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
            raise ValueError(_no_direct(path))
        self.first, self.size = 0, sum(content["counts"])
        if rooms is not None:
            if content["rooms"] is None:
                raise ValueError(_no_rooms(path))
            check_rooms(rooms, content["rooms"], path)
            each = content["examples_per_room"]
            self.first = (rooms[0] - content["rooms"][0]) * each
            self.size = rooms[1] * each
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

    def __len__(self):
        return self.size

    def __getitem__(self, index):
        if not 0 <= index < self.size:
            raise IndexError(f"no example {index} of {self.size}")
        index += self.first
        number = bisect_right(self.begins, index) - 1
        volume, position = self.volumes[number], index - self.begins[number]
        samples, item_id = volume[position], volume.ids[position]
        entry = volume.entries[item_id]
        item = {
            "id": item_id,
            "room": entry["room"],
            "waveform": samples[:, :2].contiguous(),
            "labels": _label_scalars(entry),
        }
        if samples.shape[1] == 4:
            item["direct"] = samples[:, 2:].contiguous()
        return self.finish(item)


def write_wavs(pairs, path, *, num_workers=1, rank=0, num_ranks=1):
    """Write examples as 16-bit wav files with their facts, and a manifest.

    Files are ``<stage>/<id>.wav``, with ``with_direct`` ``<id>_dp.wav``, and
    ``<id>.json`` (labels and scene). What is there already is kept.

    Arguments
    ---------
    pairs : SimulatedPairs
        What to write.
    path : str or Path
        Manifest to write; the folder beside it has its name.
    num_workers : int
        Processes that simulate.
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
            "num_samples": pairs.distribution.num_samples,
            "fs": pairs.fs,
            "shares_room": pairs.rooms is not None,
            **{key: record[key] for key in ("room", *LABELS)},
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
    scene = pairs.scene(index).info()
    write_json(record, {**_facts_of(item), "scene": scene, "options": options})


class WavPairs(_PairSet):
    """Examples in wav files.

    Arguments
    ---------
    path : str or Path
        Manifest: ``wav`` and labels of each example.
    rooms : sequence of int, optional
        First room and number of rooms to take.
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
            raise ValueError(_no_direct(path))
        fs = next(iter(entries.values()))["fs"]
        super().__init__(fs, crop, with_direct)
        if rooms is not None:
            if not all(entry["shares_room"] for entry in entries.values()):
                raise ValueError(_no_rooms(path))
            numbers = sorted({entry["room"] for entry in entries.values()})
            there = numbers[0], numbers[-1] - numbers[0] + 1
            check_rooms(rooms, there, path)
            wanted = range(rooms[0], rooms[0] + rooms[1])
            entries = {k: e for k, e in entries.items() if e["room"] in wanted}
        self.entries = entries
        self.ids = list(entries)

    def __len__(self):
        return len(self.ids)

    def __getitem__(self, index):
        if not 0 <= index < len(self.ids):
            raise IndexError(f"no example {index} of {len(self.ids)}")
        entry = self.entries[self.ids[index]]
        item = {
            "id": self.ids[index],
            "room": entry["room"],
            "waveform": self._read(entry["wav"]),
            "labels": _label_scalars(entry),
        }
        if self.with_direct:
            item["direct"] = self._read(entry["direct"])
        return self.finish(item)

    def _read(self, path):
        """Samples of one file, [time, 2]."""
        return read_audio(path, fs=self.fs, num_channels=2)[0]
