"""WSJ0-Simu: speech in simulated rooms, recorded by two microphones.

The data of SAR-SSL (B. Yang and X. Li, IEEE/ACM TASLP 32, 2024,
arXiv:2312.00476): read speech of WSJ0, or of another corpus, in shoebox rooms
with diffuse noise, and what is to be learned about each room. Stages without
rooms ("pretrain", "preval", "pretest", "pretest_ins_<any>") have a room an
example; "train", "val" and "test" have several impulse responses in each of a
number of rooms and several signals for each of these.

The same examples can be simulated when they are asked for, stored in a few
large files, or written as wav files; :func:`open_pairs` opens any of these.
"""

import logging
from pathlib import Path

from spatial_brain.dataio.files import read_json, write_json
from spatial_brain.datasets.microphone_pairs.examples import check_rooms
from spatial_brain.datasets.microphone_pairs.storage import (
    check_storage,
    open_stored,
    store_pairs,
)
from spatial_brain.datasets.speech.pool import part_of_stage, prepare_speech
from spatial_brain.datasets.summary import describe
from spatial_brain.datasets.wsj0_simu.dataset import SimulatedPairs
from spatial_brain.datasets.wsj0_simu.scenes import SceneDistribution

logger = logging.getLogger(__name__)

# Sizes of the original's stages.
STAGES = {
    "pretrain": {"size": 512_000},
    "preval": {"size": 4000},
    "pretest": {"size": 4000},
    "train": {"num_rooms": 1000, "rirs_per_room": 50, "signals_per_rir": 2},
    "val": {"num_rooms": 20, "rirs_per_room": 50, "signals_per_rir": 1},
    "test": {"num_rooms": 20, "rirs_per_room": 50, "signals_per_rir": 4},
}
# Rooms of all trials together.
_TRIAL_ROOMS = 32


def num_trials(num_rooms):
    """How often an experiment with few rooms is repeated, with others.

    Arguments
    ---------
    num_rooms : int
        Training rooms of one trial.

    Returns
    -------
    int
        max(1, round(32 / (num_rooms + 0.001))).

    Example
    -------
    >>> [num_trials(rooms) for rooms in (2, 8, 32, 256)]
    [16, 4, 1, 1]
    """
    if num_rooms < 1:
        raise ValueError(f"num_rooms must be at least 1, got {num_rooms}")
    return max(1, round(_TRIAL_ROOMS / (num_rooms + 0.001)))


def trial_rooms(num_rooms, trial):
    """Rooms of stage "train" that a trial learns from.

    Arguments
    ---------
    num_rooms : int
        Training rooms of one trial.
    trial : int
        From 0; those below :func:`num_trials` are the original's.

    Returns
    -------
    tuple of int
        First room and number of rooms, for :func:`open_pairs`.

    Example
    -------
    >>> trial_rooms(8, 3)
    (24, 8)
    """
    if num_rooms < 1 or trial < 0:
        raise ValueError(
            "num_rooms must be at least 1 and trial at least 0, got "
            f"{num_rooms} and {trial}"
        )
    return trial * num_rooms, num_rooms


def open_pairs(path, *, rooms=None, crop=None, with_direct=False, **options):
    """Open examples, however they are held.

    Arguments
    ---------
    path : str or Path or dict
        JSON file that :func:`prepare_wsj0_simu` wrote for a stage, or the
        arguments of :class:`SimulatedPairs`.
    rooms : sequence of int, optional
        First room and number of rooms to take, of those there are.
    crop : float, optional
        Keep the first seconds of each example only.
    with_direct : bool
        Give the direct sound alone as well; stored examples must have it.
    **options
        ``renew`` and ``render`` of :class:`SimulatedPairs`, for examples
        that are simulated when they are asked for.

    Returns
    -------
    SimulatedPairs, StoredPairs or WavPairs
        Items are dicts: "id"; "waveform", float32 [time, 2]; "labels", a dict
        of float32 scalars: TDOA (samples), T60 (s), DRR, C50, SNR (dB), ABS,
        SUR (log10 m^2), VOL (log10 m^3); "room", an integer; with
        ``with_direct`` also "direct", float32 [time, 2].

    Raises
    ------
    FileNotFoundError
        If a file is missing.
    ValueError
        If the rooms are not there, or the examples are stored and ``options``
        ask for other ones.

    Example
    -------
    >>> open_pairs("nowhere.json")
    Traceback (most recent call last):
    FileNotFoundError: nowhere.json: no such file; run the preparation first
    """
    content = path if isinstance(path, dict) else read_json(path)
    common = {"crop": crop, "with_direct": with_direct}
    if "simulate" not in content and not isinstance(path, dict):
        return open_stored(path, content, options, rooms=rooms, **common)
    arguments = dict(content.get("simulate", content))
    if "simulate" in content:
        # Manifests of speech lie beside the file that names them.
        arguments["source"] = Path(path).parent / arguments["source"]
    there = arguments.get("rooms")
    if rooms is not None:
        if there is None:
            raise ValueError(
                f"stage {arguments['stage']!r} has a room an example; rooms "
                "cannot be chosen"
            )
        check_rooms(rooms, there, arguments["stage"])
        arguments["rooms"] = rooms
    return SimulatedPairs(**{**arguments, **common, **options})


def prepare_wsj0_simu(
    data_folder,
    save_folder,
    *,
    stages=STAGES,
    storage="on_the_fly",
    distribution=None,
    speech=None,
    items_per_file=4096,
    dtype="float16",
    num_workers=1,
    rank=0,
    num_ranks=1,
    skip_prep=False,
):
    """Prepare the speech, and simulate and store examples if asked to.

    Interrupted, it goes on where it stopped. Ranks share the work of storing
    when every one of them calls this.

    Arguments
    ---------
    data_folder : str or Path or None
        Corpus of dry speech, see ``prepare_speech``; None for synthetic
        speech.
    save_folder : str or Path
        Gets the manifests of the speech, ``<stage>.json`` and the examples.
    stages : dict
        Stage to its options: ``size``; or ``num_rooms``, ``rirs_per_room``,
        ``signals_per_rir`` and perhaps ``first_room``; ``distribution`` (a
        dict) changes fields for this stage, ``with_direct`` stores the direct
        sound as well.
    storage : str or dict
        "on_the_fly", "shards" or "wav", or stage to one of these.
    distribution : dict, optional
        Fields of ``SceneDistribution``.
    speech : dict, optional
        More arguments of ``prepare_speech``.
    items_per_file : int
        Examples a file of shards.
    dtype : str
        Of shards, "float16" (270 kB an example of 4.112 s) or "float32".
    num_workers : int
        Processes that simulate.
    rank : int
        Of this process among those that share the work.
    num_ranks : int
        Number of those processes.
    skip_prep : bool
        Trust what is there.

    Returns
    -------
    dict
        Stage to the path of its JSON file, for :func:`open_pairs`.

    Raises
    ------
    FileNotFoundError
        If the corpus is missing.
    ValueError
        If an argument cannot be used.

    Example
    -------
    >>> few = {"train-clean-100": 1, "dev-clean": 1, "test-clean": 1}
    >>> paths = prepare_wsj0_simu(
    ...     None,
    ...     getfixture("tmp_path"),
    ...     stages={"preval": {"size": 2}},
    ...     storage="wav",
    ...     distribution={"T": 0.5},
    ...     speech={"num_talkers": few, "utterances_per_talker": 1},
    ... )
    >>> pairs = open_pairs(paths["preval"])
    >>> len(pairs), pairs[1]["waveform"].shape
    (2, torch.Size([8000, 2]))
    """
    save_folder = Path(save_folder)
    paths = {stage: save_folder / f"{stage}.json" for stage in stages}
    if skip_prep:
        return paths
    if not isinstance(storage, dict):
        storage = dict.fromkeys(stages, storage)
    manifests = prepare_speech(data_folder, save_folder, **(speech or {}))
    sets = {}
    for stage, options in stages.items():
        kind = storage.get(stage, "on_the_fly")
        check_storage(kind)
        manifest = manifests[part_of_stage(stage)]
        arguments = _arguments(stage, options, distribution)
        pairs = SimulatedPairs(
            **arguments,
            source=manifest,
            with_direct=options.get("with_direct", False),
        )
        if kind != "on_the_fly":
            store_pairs(
                pairs,
                paths[stage],
                kind,
                items_per_file=items_per_file,
                dtype=dtype,
                num_workers=num_workers,
                rank=rank,
                num_ranks=num_ranks,
            )
        else:
            arguments["source"] = manifest.name
            write_json(paths[stage], {"simulate": arguments})
        sets[stage] = _facts(arguments, len(pairs))
    if rank == 0:
        logger.info("%s", describe(f"{save_folder}, examples in rooms", sets))
    return paths


def _facts(arguments, number):
    """Numbers about a stage."""
    rooms = arguments["rooms"][1] if "rooms" in arguments else number
    hours = number * arguments["distribution"]["T"] / 3600
    return {"rooms": rooms, "examples": number, "hours": hours}


def _arguments(stage, options, distribution):
    """Arguments of ``SimulatedPairs`` for a stage, as JSON holds them."""
    options = dict(options)
    options.pop("with_direct", None)
    changed = {**(distribution or {}), **options.pop("distribution", {})}
    if "num_rooms" in options:
        first = options.pop("first_room", 0)
        options["rooms"] = [first, options.pop("num_rooms")]
    return {
        "stage": stage,
        "distribution": SceneDistribution(**changed).options(),
        **options,
    }
