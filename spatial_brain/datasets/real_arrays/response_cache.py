"""Responses and noises of corpora, read once and kept at one sampling rate.

A cache of a corpus is a JSON file ``<corpus>.json`` that names volumes
(``spatial_brain.dataio.array_store``) beside it: every response once, with all
microphones of its array, and every noise. With a response stands what is
published about it, and what is measured in it: where the direct path of each
channel is, DRR and C50 (dB) and T60 (s), as SAR-SSL measures them
(``spatial_brain.simulation.room_labels``), but without the noise in which
measured responses end (``spatial_brain.simulation.noise_floor``).
"""

import hashlib
import json
import logging
import os
import zlib
from collections import Counter
from dataclasses import dataclass, field
from functools import cached_property, lru_cache, partial
from pathlib import Path

import torch

from spatial_brain.dataio.array_store import ArrayStore, build_store
from spatial_brain.dataio.audio import resample_audio
from spatial_brain.dataio.files import read_json, without_nan, write_json
from spatial_brain.datasets.real_arrays.corpus import (
    SPLITS,
    Noise,
    Response,
    Room,
    matching_noises,
)
from spatial_brain.datasets.real_arrays.registry import open_corpus
from spatial_brain.datasets.summary import describe
from spatial_brain.simulation.noise_floor import find_noise_floor
from spatial_brain.simulation.room_labels import (
    decay_t60,
    direct_to_reverberant,
    early_to_late,
)

logger = logging.getLogger(__name__)

KINDS = ("rir", "noise")
# What DRR, C50 and T60 are taken from, unless the original's are wanted.
WITHOUT_NOISE = "without noise"
# Responses, and noises, that a kill costs each worker at most.
_SHARD = {"rir": 8, "noise": 1}


def write_response_caches(
    corpora,
    save_folder,
    *,
    kinds=KINDS,
    fs=16000,
    label_compat=False,
    responses_per_file=256,
    noises_per_file=64,
    num_workers=1,
    rank=0,
    num_ranks=1,
):
    """Read corpora of responses and keep them at one rate; resumable.

    Nothing is done for a corpus that was read before with the same options
    and whose files have not changed. Ranks share the work when every one of
    them calls this.

    Arguments
    ---------
    corpora : dict
        Name of a corpus to its folder, or to arguments of ``open_corpus``:
        "folder", perhaps "compat" and options of its reader.
    save_folder : str or Path
        Gets ``<corpus>.json`` and the volumes.
    kinds : sequence of str
        "rir" and "noise", or one of them; what was read of the other before
        stays.
    fs : int
        Sampling rate to keep, Hz.
    label_compat : bool
        Take DRR, C50 and T60 with the noise of the responses, which counts
        as reverberation then, as the original does.
    responses_per_file, noises_per_file : int
        Of a volume.
    num_workers : int
        Processes that read.
    rank : int
        Writes every ``num_ranks``-th volume from this one on.
    num_ranks : int
        Number of processes that share the work by calling this.

    Returns
    -------
    dict
        Name of a corpus to the path of its cache, for
        :class:`ResponseCache`.

    Raises
    ------
    FileNotFoundError
        If a corpus is missing.
    ValueError
        If an argument cannot be used, a file is damaged, or there is no
        response.

    Example
    -------
    >>> from spatial_brain.datasets.real_arrays.synthetic.butreverb import *
    >>> folder = getfixture("tmp_path")
    >>> write_synthetic_butreverb(
    ...     folder / "in", rooms=["VUT_FIT_Q301"], sources=1, seconds=0.2
    ... )
    >>> paths = write_response_caches(
    ...     {"BUTReverb": folder / "in"}, folder / "out"
    ... )
    >>> cache = ResponseCache(paths["BUTReverb"])
    >>> [response] = cache.responses
    >>> response.id, cache.read_response(response.id, [0, 4]).shape[0]
    ('VUT_FIT_Q301/spherical/SPSpkID01_MP', 2)
    """
    unknown = sorted(set(kinds) - set(KINDS))
    if unknown or not kinds:
        raise ValueError(
            f"kinds must be some of {', '.join(KINDS)}, got "
            f"{', '.join(kinds) or 'none'}"
        )
    per_file = {"rir": responses_per_file, "noise": noises_per_file}
    if min(per_file.values()) < 1 or not 0 <= rank < num_ranks:
        raise ValueError(
            "responses_per_file and noises_per_file must be at least 1 and "
            f"rank below num_ranks, got {responses_per_file}, "
            f"{noises_per_file}, {rank} and {num_ranks}"
        )
    _opened.cache_clear()
    share = {"num_workers": num_workers, "rank": rank, "num_ranks": num_ranks}
    paths, sets = {}, {}
    for name, given in corpora.items():
        arguments = (
            dict(given) if isinstance(given, dict) else {"folder": given}
        )
        arguments["folder"] = os.path.abspath(arguments["folder"])
        spec = json.dumps({"name": name, **arguments}, default=os.fspath)
        paths[name] = Path(save_folder, f"{name}.json")
        if rank == 0:
            sets[name] = _look_at(spec)
        options = {"spec": json.loads(spec), "fs": fs}
        if not label_compat:
            options["labels"] = WITHOUT_NOISE
        _write_cache(paths[name], spec, kinds, options, per_file, share)
    if rank == 0:
        logger.info("%s", describe(f"{save_folder}, responses", sets))
    return paths


def _look_at(spec):
    """Counts of a corpus; what is wrong with it stands in the log."""
    found = _opened(spec).corpus.preflight()
    if found.problems:
        logger.warning("%s", found.line(most=1))
    return found.found


@dataclass
class _Opened:
    """A corpus, and what it lists."""

    corpus: object
    responses: list
    noises: list
    splits: dict


@lru_cache(maxsize=2)
def _opened(spec):
    """Open a corpus, once in a process."""
    corpus = open_corpus(**json.loads(spec))
    splits = {}
    for split in SPLITS:
        for item in (*corpus.responses(split), *corpus.noises(split)):
            splits[item.id] = split
    opened = _Opened(corpus, corpus.responses(), corpus.noises(), splits)
    if not opened.responses:
        raise ValueError(
            f"{corpus.folder}: has no responses; {corpus.preflight().line()}"
        )
    for items in (opened.responses, opened.noises):
        numbers = Counter(item.id for item in items)
        twice = [name for name, number in numbers.items() if number > 1]
        if twice:
            raise ValueError(
                f"{corpus.folder}: has {twice[0]} twice; give the files names "
                "of their own"
            )
    return opened


def _write_cache(path, spec, kinds, options, per_file, share):
    """Write volumes of one corpus, and the file that names them."""
    opened = _opened(spec)
    try:
        before = read_json(path)
        volumes = before["volumes"] if before["options"] == options else {}
    except (FileNotFoundError, ValueError, KeyError):
        volumes = {}
    items = {"rir": opened.responses, "noise": opened.noises}
    for kind in kinds:
        volumes[kind] = _write_volumes(
            path, spec, kind, items[kind], options, per_file[kind], share
        )
    corpus = opened.corpus
    rooms = [corpus.rooms[name] for name in corpus.rooms]
    write_json(
        path,
        {
            "corpus": corpus.name,
            "fs": options["fs"],
            "rooms": [vars(room) for room in rooms],
            "arrays": {
                name: {
                    "positions": array.positions.tolist(),
                    "pairs": corpus.pairs(name).tolist(),
                }
                for name, array in corpus.arrays.items()
            },
            "volumes": volumes,
            "options": options,
        },
    )


def _write_volumes(path, spec, kind, items, options, per_file, share):
    """Write this rank's volumes of one kind; name and size of all."""
    firsts = range(0, len(items), per_file)
    volumes = {}
    for number, first in enumerate(firsts):
        part = items[first : first + per_file]
        name = f"{path.stem}_{kind}_{number:04d}.json"
        volumes[name] = len(part)
        if number % share["num_ranks"] != share["rank"]:
            continue
        make = _stored_response if kind == "rir" else _stored_noise
        build_store(
            path.parent / name,
            partial(make, spec, options, first),
            len(part),
            options={**options, "files": _fingerprint(part)},
            shard_size=_SHARD[kind],
            num_workers=share["num_workers"],
            description=f"{path.stem} {kind} {number + 1}/{len(firsts)}",
        )
    return volumes


def _fingerprint(items):
    """Changes when items or the sizes of their files do."""
    listed = [
        [item.id, [[path.name, path.stat().st_size] for path in item.files]]
        for item in items
    ]
    return hashlib.sha256(json.dumps(listed).encode()).hexdigest()


def _stored_response(spec, options, first, index):
    """Id, samples [M, time] and facts of a response, for ``build_store``."""
    opened, fs = _opened(spec), options["fs"]
    response = opened.responses[first + index]
    rir, old_fs = opened.corpus.read_response(response)
    if not bool(rir.any(-1).all()):
        silent = (~rir.any(-1)).nonzero().flatten().tolist()
        raise ValueError(
            f"{response.files[0]}: channels {silent} of {response.id} are "
            "silent; is it the original file?"
        )
    rir = resample_audio(rir.T.contiguous(), old_fs, fs).T
    direct = opened.corpus.direct_path(rir, fs)
    # Guards of the ratios are absolute: labels must not depend on the level.
    loud = rir / rir.abs().max()
    floor = find_noise_floor(loud, fs) if "labels" in options else None
    measured = {
        "direct": direct,
        "drr": direct_to_reverberant(loud, fs, direct, floor),
        "c50": early_to_late(loud, fs, direct, floor),
        "t60": decay_t60(loud, fs, floor)[0],
    }
    facts = {
        **{
            name: getattr(response, name)
            for name in (*_COMMON, "condition", "t60", "drr", "published")
        },
        "source": _listed(response.source),
        "microphones": _listed(response.microphones),
        "split": opened.splits.get(response.id),
        "measured": {name: one.tolist() for name, one in measured.items()},
    }
    return response.id, rir, without_nan(facts)


def _stored_noise(spec, options, first, index):
    """Id, samples [M, time] and facts of a noise, for ``build_store``."""
    opened, fs = _opened(spec), options["fs"]
    noise = opened.noises[first + index]
    samples = opened.corpus.read_noise(noise, *opened.corpus.usable(noise))
    samples = resample_audio(samples, noise.fs, fs)
    facts = {name: getattr(noise, name) for name in (*_COMMON, "kind")}
    return noise.id, samples.T, facts


_COMMON = ("room", "array", "position")


def _listed(positions):
    """Positions as JSON holds them."""
    return None if positions is None else positions.tolist()


@dataclass(frozen=True, eq=False)
class CachedResponse(Response):
    """A response in a cache; its samples are read by its id.

    Arguments
    ---------
    split : str or None
        "train", "val" or "test", as SAR-SSL divides the corpus.
    measured : dict of torch.Tensor
        Of each channel, [M]: "direct" (sample of the direct path, int64),
        "drr", "c50" (dB) and "t60" (s; NaN where it cannot be measured),
        float64.
    """

    split: str | None = None
    measured: dict = field(default_factory=dict)


class ResponseCache:
    """Responses and noises of one corpus at one rate.

    Arguments
    ---------
    path : str or Path
        From :func:`write_response_caches`.

    Raises
    ------
    FileNotFoundError
        If a file is missing, for instance while others still write.
    ValueError
        If a file is damaged; samples are checked when they are first read.

    Example
    -------
    >>> ResponseCache("nowhere.json")
    Traceback (most recent call last):
    FileNotFoundError: nowhere.json: no such file; run the preparation first
    """

    def __init__(self, path):
        self.path = Path(path)
        content = read_json(path)
        try:
            self.corpus, self.fs = content["corpus"], content["fs"]
            self.rooms = {
                room["name"]: Room(**room) for room in content["rooms"]
            }
            self.array_pairs = {
                name: torch.tensor(one["pairs"]).reshape(-1, 2)
                for name, one in content["arrays"].items()
            }
            volumes = content["volumes"]
            self.options = content["options"]
        except (KeyError, TypeError, AttributeError) as problem:
            raise ValueError(
                f"{path}: is no cache of responses ({problem!r}); remove it "
                "and run the preparation again"
            ) from problem
        self._stores = {
            kind: [self._open(*item) for item in volumes.get(kind, {}).items()]
            for kind in KINDS
        }

    def _open(self, name, count):
        """Open a volume of the expected number of entries."""
        store = ArrayStore(self.path.parent / name)
        if len(store) != count:
            raise ValueError(
                f"{store.path}: has {len(store)} entries, expected {count}; "
                "remove it and run the preparation again"
            )
        return store

    @cached_property
    def _places(self):
        """Kind to id to the store that has it."""
        return {
            kind: {name: store for store in stores for name in store.ids}
            for kind, stores in self._stores.items()
        }

    @property
    def checksum(self):
        """Of the checksums of all responses and noises."""
        listed = [
            [name, store.entries[name]["crc32"]]
            for kind in KINDS
            for name, store in self._places[kind].items()
        ]
        return zlib.crc32(json.dumps(listed).encode())

    @cached_property
    def responses(self):
        """List of :class:`CachedResponse`, in the order of the corpus."""
        return [
            _cached_response(name, store.entries[name])
            for name, store in self._places["rir"].items()
        ]

    @cached_property
    def noises(self):
        """List of ``Noise``, in the order of the corpus."""
        found = []
        for name, store in self._places["noise"].items():
            entry = store.entries[name]
            facts = {key: entry[key] for key in (*_COMMON, "kind")}
            found.append(
                Noise(
                    id=name,
                    files=(store.file,),
                    fs=self.fs,
                    num_samples=entry["shape"][1],
                    **facts,
                )
            )
        return found

    def pairs(self, array):
        """Pairs of microphones of an array; see ``ArrayCorpus.pairs``."""
        return self.array_pairs[array]

    def matching(self, response):
        """Noises that belong to a response; see ``matching_noises``."""
        return matching_noises(response, self.noises)

    def read_response(self, response_id, channels):
        """Read some channels of a response.

        Arguments
        ---------
        response_id : str
            Of one of ``responses``.
        channels : sequence of int
            Which, in which order.

        Returns
        -------
        torch.Tensor
            float32 [C, time].
        """
        store = self._places["rir"][response_id]
        return store.part(response_id, (list(channels),))

    def read_noise(self, noise_id, channels, start, stop):
        """Read a part of some channels of a noise.

        Arguments
        ---------
        noise_id : str
            Of one of ``noises``.
        channels : sequence of int
            Which, in which order.
        start, stop : int
            Samples.

        Returns
        -------
        torch.Tensor
            float32 [C, stop - start].
        """
        store = self._places["noise"][noise_id]
        return store.part(noise_id, (list(channels), slice(start, stop)))


def _cached_response(name, entry):
    """Response of an entry of a store."""

    def tensor(values, dtype=torch.float64):
        return None if values is None else _with_nan(values, dtype)

    measured = {
        key: tensor(values, torch.int64 if key == "direct" else torch.float64)
        for key, values in entry["measured"].items()
    }
    facts = ("condition", "t60", "drr", "split")
    return CachedResponse(
        id=name,
        files=(),
        **{key: entry[key] for key in (*_COMMON, *facts)},
        source=tensor(entry["source"]),
        microphones=tensor(entry["microphones"]),
        published={k: tensor(v) for k, v in entry["published"].items()},
        measured=measured,
    )


def _with_nan(values, dtype):
    """Nested lists as a tensor; None is NaN."""

    def filled(value):
        if isinstance(value, list):
            return [filled(part) for part in value]
        return float("nan") if value is None else value

    return torch.tensor(filled(values), dtype=dtype)
