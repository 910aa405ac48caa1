"""Signals from measured responses, prepared for the stages of training."""

import logging
import os
from collections import Counter
from pathlib import Path

from spatial_brain.dataio.files import read_json, write_json
from spatial_brain.datasets.microphone_pairs.examples import check_room_names
from spatial_brain.datasets.microphone_pairs.storage import (
    check_storage,
    open_stored,
    store_pairs,
)
from spatial_brain.datasets.real_arrays.response_cache import ResponseCache
from spatial_brain.datasets.real_arrays.response_signals import (
    ResponseSignals,
    split_of_stage,
)
from spatial_brain.datasets.speech.pool import part_of_stage
from spatial_brain.datasets.summary import describe

logger = logging.getLogger(__name__)

# Sizes of the original's stages, for each corpus.
STAGES = {"pretrain": {"size": 102_400}, "preval": {"size": 2560}}


def open_response_signals(
    path, *, rooms=None, crop=None, with_direct=False, **options
):
    """Open signals of a stage and a corpus, however they are held.

    Arguments
    ---------
    path : str or Path
        JSON file that :func:`prepare_response_signals` wrote.
    rooms : sequence of str, optional
        Names of rooms to take, of those there are.
    crop : float, optional
        Keep the first seconds of each example only.
    with_direct : bool
        Give the direct sound alone as well; stored examples must have it.
    **options
        Other arguments of :class:`ResponseSignals`, for examples drawn on
        access.

    Returns
    -------
    ResponseSignals, StoredPairs or WavPairs

    Raises
    ------
    FileNotFoundError
        If a file is missing.
    ValueError
        If a room is not there, or the examples are stored and ``options``
        ask for other ones.

    Example
    -------
    >>> open_response_signals("nowhere.json")
    Traceback (most recent call last):
    FileNotFoundError: nowhere.json: no such file; run the preparation first
    """
    content = read_json(path)
    common = {"crop": crop, "with_direct": with_direct}
    if "draw" not in content:
        return open_stored(path, content, options, rooms=rooms, **common)
    arguments = dict(content["draw"])
    for name in ("cache", "source"):
        arguments[name] = Path(path).parent / arguments[name]
    if rooms is not None:
        check_room_names(rooms, arguments["rooms"], path)
        arguments["rooms"] = rooms
    return ResponseSignals(**{**arguments, **common, **options})


def prepare_response_signals(
    caches,
    speech,
    save_folder,
    *,
    stages=STAGES,
    storage="on_the_fly",
    items_per_file=4096,
    dtype="float16",
    num_workers=1,
    rank=0,
    num_ranks=1,
    **options,
):
    """Prepare signals of several corpora, and store them if asked to.

    Interrupted, it goes on where it stopped. Ranks share the work of storing
    when every one of them calls this.

    Arguments
    ---------
    caches : dict
        Corpus to its cache, from ``write_response_caches``.
    speech : dict
        "tr", "dt" and "et" to manifests, from ``prepare_speech``.
    save_folder : str or Path
        Gets ``<stage>_<corpus>.json`` and the examples.
    stages : dict
        Stage to its options: ``size`` (of each corpus), perhaps
        ``with_direct`` (store the direct sound as well) and other arguments
        of :class:`ResponseSignals`; ``corpora``, a list, takes some only. A
        corpus without responses of the stage's split is left out, and the
        log says so.
    storage : str or dict
        "on_the_fly", "shards" or "wav", or stage to one of these.
    items_per_file : int
        Examples a file of shards.
    dtype : str
        Of shards, "float16" or "float32".
    num_workers : int
        Processes that make examples.
    rank : int
        Of this process among those that share the work.
    num_ranks : int
        Number of those processes.
    **options
        Arguments of :class:`ResponseSignals` for all stages.

    Returns
    -------
    dict
        Stage to corpus to the path of its JSON file, for
        :func:`open_response_signals`.

    Raises
    ------
    FileNotFoundError
        If a cache or a manifest is missing.
    ValueError
        If an argument cannot be used, or a stage has no corpus.

    Example
    -------
    >>> from spatial_brain.datasets.real_arrays.response_cache import *
    >>> from spatial_brain.datasets.real_arrays.synthetic.butreverb import *
    >>> from spatial_brain.datasets.speech.pool import prepare_speech
    >>> folder = getfixture("tmp_path")
    >>> write_synthetic_butreverb(
    ...     folder / "in", rooms=["VUT_FIT_Q301"], sources=1, seconds=0.6
    ... )
    >>> few = {"train-clean-100": 1, "dev-clean": 1, "test-clean": 1}
    >>> paths = prepare_response_signals(
    ...     write_response_caches({"BUTReverb": folder / "in"}, folder),
    ...     prepare_speech(None, folder, num_talkers=few),
    ...     folder / "signals",
    ...     stages={"pretrain": {"size": 3}},
    ...     T=0.5,
    ... )
    >>> signals = open_response_signals(paths["pretrain"]["BUTReverb"])
    >>> len(signals), signals[2]["id"], signals[2]["waveform"].shape
    (3, 'pretrain_BUTReverb_000002', torch.Size([8000, 2]))
    """
    save_folder = Path(save_folder)
    if not isinstance(storage, dict):
        storage = dict.fromkeys(stages, storage)
    opened = {name: ResponseCache(path) for name, path in caches.items()}
    share = {"num_workers": num_workers, "rank": rank, "num_ranks": num_ranks}
    paths, sets, skipped = {}, {}, Counter()
    for stage, own in stages.items():
        kind = storage.get(stage, "on_the_fly")
        check_storage(kind)
        arguments = {**options, **own}
        names = _corpora_of(stage, opened, arguments)
        left_out = set(arguments.pop("corpora", opened)) - set(names)
        reason = (
            f"without responses for {stage} ({', '.join(sorted(left_out))})"
        )
        skipped[reason] = len(left_out)
        paths[stage] = {}
        for name in names:
            pairs = ResponseSignals(
                stage,
                opened[name],
                source=speech[part_of_stage(stage)],
                **arguments,
            )
            path = save_folder / f"{stage}_{name}.json"
            paths[stage][name] = path
            sets[f"{stage} {name}"] = pairs.facts()
            if kind == "on_the_fly":
                write_json(path, {"draw": _drawn(pairs, path.parent)})
                continue
            store_pairs(
                pairs,
                path,
                kind,
                items_per_file=items_per_file,
                dtype=dtype,
                **share,
            )
    if rank == 0:
        line = describe(f"{save_folder}, speech in real rooms", sets, skipped)
        logger.info("%s", line)
    return paths


def _corpora_of(stage, opened, arguments):
    """Names of the corpora that a stage takes."""
    early = sorted({"crop", "renew"} & arguments.keys())
    if early:
        raise ValueError(
            f"{', '.join(early)}: chosen when signals are opened, not when "
            "they are prepared"
        )
    names = arguments.get("corpora", list(opened))
    unknown = sorted(set(names) - set(opened))
    if unknown:
        raise ValueError(
            f"stage {stage}: corpora {', '.join(unknown)} are not among those "
            f"that were read ({', '.join(opened)})"
        )
    split = arguments.get("split") or split_of_stage(stage)
    if arguments.get("rooms") is None and split != "all":
        names = [
            name
            for name in names
            if any(one.split == split for one in opened[name].responses)
        ]
    if not names:
        raise ValueError(
            f"stage {stage}: no corpus has responses of split {split}; give "
            "the stage another split, or rooms"
        )
    return names


def _drawn(pairs, folder):
    """Arguments of ``ResponseSignals``, as JSON holds them."""
    return {
        **pairs.options(),
        "cache": os.path.relpath(pairs.cache.path, folder),
        "source": os.path.relpath(pairs.source.manifest, folder),
    }
