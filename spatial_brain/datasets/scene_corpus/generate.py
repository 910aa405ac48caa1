"""Corpora of sound scenes: each scene a function of the seed and its number.

::

    corpus/
    ├── SYNTHETIC.json              what the corpus is made with
    ├── foa/, mic/ ...              recordings
    ├── metadata/                   labels (csv)
    ├── scenes/                     all about each scene (json)
    └── corpus.json                 the table of contents, from ``merge_corpus``

The file in ``scenes`` is written last: a scene that has one is complete.
"""

import logging
import os
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from spatial_brain.dataio.annotations import write_events
from spatial_brain.dataio.audio import write_audio
from spatial_brain.dataio.events import EventTable
from spatial_brain.dataio.files import (
    check_free_space,
    file_digest,
    read_json,
    write_json,
)
from spatial_brain.dataio.parallel import progress, run_jobs
from spatial_brain.datasets.scene_corpus.ambience import (
    draw_ambience,
    find_ambience,
)
from spatial_brain.datasets.scene_corpus.measured_rooms import (
    find_rooms,
    with_rooms,
)
from spatial_brain.datasets.scene_corpus.receivers import (
    draw_faults,
    find_array,
    find_heads,
    head_of,
    receivers_for,
    record_with_faults,
)
from spatial_brain.datasets.scene_corpus.sounds import (
    fingerprint,
    open_bank,
    origin,
    sound_name,
)
from spatial_brain.datasets.seld.event_bank import plan_scene, record_scene
from spatial_brain.datasets.synthetic_data import MARKER, synthetic_options
from spatial_brain.folders import is_leftover
from spatial_brain.simulation.sound_scenes.plan import ScenePlan

logger = logging.getLogger(__name__)

METADATA, SCENES = "metadata", "scenes"
# Where the data lie does not matter, and scenes may be added.
_FREE = {"events", "speech", "noise", "responses", "scenes"}
# Classes that are named in the line about a corpus.
_LISTED = 20
# Variables with the number of this process and of all of them.
_LAUNCHERS = (("RANK", "WORLD_SIZE"), ("SLURM_PROCID", "SLURM_NTASKS"))


class Written(NamedTuple):
    """What one process did for a corpus.

    Arguments
    ---------
    num_new : int
        Scenes that were written.
    num_own : int
        Scenes that are this process's, old and new.
    """

    num_new: int
    num_own: int


class Scene(NamedTuple):
    """A scene and what it is made of.

    Arguments
    ---------
    signals : dict of torch.Tensor
        Name of format to recording, [time, channel].
    table : EventTable
        Its labels.
    plan : ScenePlan
        What happens in it.
    max_overlap : int
        Largest number of events at once.
    room : str or None
        Name of the measured room.
    ambience : dict or None
        Recorded noise that was taken.
    """

    signals: dict
    table: EventTable
    plan: ScenePlan
    max_overlap: int
    room: str | None
    ambience: dict | None


def find_rank(rank=None, num_ranks=None):
    """Number of this process and of all that write a corpus.

    Arguments
    ---------
    rank, num_ranks : int, optional
        As given by the user; both or none. None: from ``RANK`` and
        ``WORLD_SIZE`` (torchrun), or ``SLURM_PROCID`` and ``SLURM_NTASKS``;
        without these one process does all.

    Returns
    -------
    tuple of int
        Rank and number of ranks.

    Raises
    ------
    ValueError
        If one of them is missing, no number, or out of range.

    Example
    -------
    >>> find_rank(1, 4)
    (1, 4)
    """
    names = ("--rank", "--num_ranks")
    values = (rank, num_ranks)
    for launcher in _LAUNCHERS:
        if values == (None, None):
            names = launcher
            values = tuple(os.environ.get(name) for name in launcher)
    if values == (None, None):
        return 0, 1
    try:
        rank, num_ranks = (int(value) for value in values)
    except (TypeError, ValueError):
        rank, num_ranks = 0, 0
    if not 0 <= rank < num_ranks:
        raise ValueError(
            f"{names[0]} {values[0]} and {names[1]} {values[1]}: expected two "
            "numbers, the first from 0 and below the second"
        )
    return rank, num_ranks


def describe(options, bank):
    """One line about all that is taken for granted in a corpus.

    Arguments
    ---------
    options : SceneOptions
        Options of the corpus.
    bank : EventBank
        Its sounds.

    Returns
    -------
    str

    Example
    -------
    >>> from spatial_brain.datasets.scene_corpus.options import scene_options
    >>> values = {"scenes": 1, "events": None, "classes": ["knock"]}
    >>> options = scene_options(values)
    >>> describe(options, open_bank(options))
    '1 scene of 60 s, 24000 Hz, flac of 16 bits; foa: first-order ...'
    """
    number = options.scenes
    kinds = {
        name: f"{len(sound)}" if isinstance(sound, list) else "embedded"
        for name, sound in bank.sounds.items()
    }
    labels = f"labels in dialect {options.dialect}"
    if options.dialect == "dcase2025":
        labels += " (without elevation)"
    elif options.dialect in ("dcase2020", "dcase2021", "starss22"):
        labels += " (without distance)"
    names = [
        f"{index} {name} ({kinds[name]})"
        for index, name in enumerate(bank.class_names[:_LISTED])
    ]
    if bank.num_classes > _LISTED:
        names.append(f"... up to {bank.num_classes - 1}")
    others = list(bank.sounds)[bank.num_classes :]
    return "; ".join(
        [
            f"{number} scene{'s' * (number > 1)} of {options.duration:g} s, "
            f"{options.sample_rate} Hz, {options.audio} of 16 bits",
            *(f"{name}: {_layout(name, options)}" for name in options.formats),
            _room_words(options),
            _noise_words(options),
            f"{labels}, x to the front, azimuth counter-clockwise",
            f"classes {', '.join(names)} from {origin(options)}",
            *([f"not labelled {', '.join(others)}"] if others else []),
        ]
    )


def _layout(name, options):
    """Channels of a format, in words."""
    if name == "foa":
        return "first-order Ambisonics W, Y, Z, X (ACN order, SN3D gains)"
    if name == "mic":
        return "tetrahedral array on a rigid sphere of 4.2 cm"
    if name == "array":
        array = find_array(options)
        return (
            f"{array.name}, {len(array)} omnidirectional microphones in the "
            "free field, directions seen from their mean position"
        )
    if name == "binaural":
        number = len(find_heads(options.head, options.sample_rate))
        heads = f"{number} heads of {options.head} in turn"
        if options.responses is not None:
            return f"left and right ear as measured, diffuse noise at {heads}"
        return f"left and right ear, {heads}"
    return "dry events added, mono, without noise"


def _room_words(options):
    """What rooms there are."""
    if options.responses is not None:
        number = len(find_rooms(options))
        rooms = "1 room" if number == 1 else f"{number} rooms"
        return f"responses of {rooms} of {options.responses}"
    low, high = options.t60
    return f"simulated rooms, T60 {low:g} to {high:g} s" if high else "no rooms"


def _noise_words(options):
    """What stands behind the events."""
    if options.noise is None:
        return "no noise"
    number = len(find_ambience(options))
    kind = f"{number} recordings of {options.noise}" if number else "diffuse"
    low, high = options.snr
    return f"noise: {kind}, SNR {low:g} to {high:g} dB"


def generate_corpus(
    options, output, *, bank=None, rank=None, num_ranks=None, num_workers=1
):
    """Write the scenes of a corpus, or this process's share, if not there.

    Rank r of N writes the scenes r, r + N, r + 2 N ... The same files come
    from any number of ranks and workers. Interrupted, it goes on where it
    stopped.

    Arguments
    ---------
    options : SceneOptions
        From ``read_scene_options`` or ``scene_options``.
    output : str or Path
        Folder of the corpus.
    bank : EventBank, optional
        Its sounds; default: :func:`open_bank`.
    rank, num_ranks : int, optional
        See :func:`find_rank`.
    num_workers : int
        Processes of this rank.

    Returns
    -------
    Written

    Raises
    ------
    FileNotFoundError, ValueError
        If recordings are missing or unusable, a room has no place for its
        sources, or the folder holds something else.
    RuntimeError
        If a worker was killed.

    Example
    -------
    >>> from spatial_brain.datasets.scene_corpus.options import scene_options
    >>> options = scene_options(
    ...     {
    ...         "scenes": 1,
    ...         "events": None,
    ...         "classes": ["knock"],
    ...         "duration": 1.0,
    ...         "t60": 0,
    ...     }
    ... )
    >>> folder = getfixture("tmp_path") / "corpus"
    >>> generate_corpus(options, folder)
    Written(num_new=1, num_own=1)
    >>> generate_corpus(options, folder)
    Written(num_new=0, num_own=1)
    """
    rank, num_ranks = find_rank(rank, num_ranks)
    if num_workers < 1:
        raise ValueError(f"num_workers must be 1 or more, got {num_workers}")
    output = Path(output)
    options = with_rooms(options)
    bank = open_bank(options) if bank is None else bank
    _claim(output, options, bank)
    logger.info("%s", describe(options, bank))
    own = range(rank, options.scenes, num_ranks)
    todo = [
        index for index in own if not is_complete(output, options.name(index))
    ]
    write = partial(_write_scene, options=options, bank=bank, output=output)
    with progress(
        total=len(own),
        initial=len(own) - len(todo),
        description=f"writing scenes (rank {rank} of {num_ranks})",
        unit="scene",
    ) as bar:
        for number, (done, _) in enumerate(run_jobs(write, todo, num_workers)):
            if number == 0:
                size = _scene_bytes(output, options, todo[done])
                check_free_space(
                    output,
                    size * (len(todo) - 1),
                    f"{len(todo) - 1} more scenes",
                )
            bar.update()
    return Written(len(todo), len(own))


def _scene_bytes(output, options, index):
    """Bytes of the recordings of a scene that is written."""
    files = f"*/{options.name(index)}.{options.audio}"
    return sum(path.stat().st_size for path in output.glob(files))


def is_complete(output, name):
    """Whether a scene is there, with files of the sizes that they had.

    Arguments
    ---------
    output : str or Path
        Folder of the corpus.
    name : str
        Of the scene.

    Returns
    -------
    bool
    """
    record = Path(output, SCENES, f"{name}.json")
    if not record.is_file():
        return False
    return all(
        Path(output, file).is_file()
        and Path(output, file).stat().st_size == entry["bytes"]
        for file, entry in read_json(record)["files"].items()
    )


def _claim(output, options, bank):
    """Mark a folder as this corpus; refuse one that holds another."""
    made_with = {
        **options.as_dict(),
        "classes": list(bank.class_names),
        "array": _positions(options),
        "ambience": [
            sorted(path.name for path in files.values())
            for files in find_ambience(options)
        ],
        "measured": [
            [room.name, len(room.offsets)] for room in find_rooms(options)
        ],
        "sounds": fingerprint(bank),
    }
    # Listed first: the mark of another rank comes before its files.
    taken = sorted(path.name for path in output.glob("*"))
    taken = [name for name in taken if not is_leftover(name)]
    made = synthetic_options(output)
    if made is None and taken:
        raise ValueError(
            f"{output}: holds data that are not synthetic "
            f"({', '.join(taken[:3])}); choose another folder"
        )
    if made is not None:
        _compare(output, made, made_with)
    if made is None or made["scenes"] < options.scenes:
        write_json(output / MARKER, made_with)


def _positions(options):
    """Microphones of the array, which its file may no longer have."""
    array = find_array(options)
    return None if array is None else array.as_dict()["positions"]


def _compare(output, made, wanted):
    """Refuse a corpus that was made with other options."""
    remedy = "choose another folder, or remove this one"
    keys = made.keys() | wanted.keys()
    for key in sorted(
        keys - {"events", "speech", "noise", "responses", "scenes"}
    ):
        if made.get(key) != wanted.get(key):
            raise ValueError(
                f"{output}: was made with {key} {made.get(key)!r}, not "
                f"{wanted.get(key)!r}; {remedy}"
            )
    if made["scenes"] > wanted["scenes"]:
        raise ValueError(
            f"{output}: was made with {made['scenes']} scenes, more than "
            f"{wanted['scenes']}; {remedy}"
        )


def make_scene(index, options, bank):
    """Make a scene; it depends on the seed and its number alone.

    Arguments
    ---------
    index : int
        Number of the scene, from 0; may be beyond those of the corpus.
    options : SceneOptions
        Options of the corpus, after ``with_rooms``.
    bank : EventBank
        Its sounds.

    Returns
    -------
    Scene

    Raises
    ------
    ValueError
        If a room has no place for its sources, or a recording is unusable.

    Example
    -------
    >>> from spatial_brain.datasets.scene_corpus.options import scene_options
    >>> values = {"scenes": 1, "events": None, "classes": ["knock"]}
    >>> options = scene_options({**values, "duration": 1.0, "t60": 0})
    >>> scene = make_scene(5, options, open_bank(options))
    >>> scene.signals["foa"].shape, scene.table.num_frames
    (torch.Size([24000, 4]), 10)
    """
    rng = np.random.default_rng((options.seed, index))
    overlap = int(rng.choice(options.overlap))
    rooms = find_rooms(options)
    room = rooms[index % options.rooms] if rooms else None
    scene = {"max_overlap": overlap, "measured_room": room}
    plan = plan_scene(bank, rng, {**options.scene(index), **scene})
    receivers = receivers_for(options, index)
    ambience, noise = draw_ambience(options, index)
    signals, table = record_scene(
        bank,
        plan,
        options.sample_rate,
        [form for form in options.formats if form not in receivers],
        receivers=receivers,
        ambience=ambience,
        responses=room and room.responses,
    )
    if "array" in signals:
        signals["array"] = record_with_faults(signals["array"], options, index)
    return Scene(signals, table, plan, overlap, room and room.name, noise)


def _write_scene(index, *, options, bank, output):
    """Make and write one scene."""
    signals, table, plan, overlap, room, noise = make_scene(
        index, options, bank
    )
    fs, name = options.sample_rate, options.name(index)
    faults = draw_faults(options, index)
    files = {form: f"{form}/{name}.{options.audio}" for form in options.formats}
    labels, record = f"{METADATA}/{name}.csv", f"{SCENES}/{name}.json"
    for file in (*files.values(), labels, record):
        path = output / file
        for leftover in path.parent.glob(f".{path.name}.*.tmp"):
            leftover.unlink(missing_ok=True)
    # What is replaced is no longer what the record is about.
    (output / record).unlink(missing_ok=True)
    for form, file in files.items():
        write_audio(output / file, signals[form], fs, subtype="PCM_16")
    write_events(output / labels, table, options.dialect)
    content = {
        "name": name,
        "index": index,
        "fs": fs,
        "num_samples": round(plan.duration * fs),
        "num_frames": table.num_frames,
        "max_overlap": overlap,
        "head": head_of(options, index),
        "faults": faults and faults.as_dict(),
        "ambience": noise,
        "measured_room": room,
        **_plan_content(plan, bank, options),
        "files": {
            file: _entry(output / file) for file in (*files.values(), labels)
        },
    }
    write_json(output / record, content)


def _entry(path):
    """Size and digest of a file."""
    return {"bytes": path.stat().st_size, "sha256": file_digest(path)}


def _plan_content(plan, bank, options):
    """What a plan holds, for people and for statistics."""
    names = list(bank.sounds)
    center = np.asarray(plan.center)
    events = []
    for event in plan.events:
        events.append(
            {
                "class": names[event.label],
                "labelled": not event.interferer,
                "sound": sound_name(bank, event, options),
                "onset": round(event.onset, 6),
                "duration": round(event.duration, 6),
                "gain_db": event.gain_db,
                "times": event.times.round(6).tolist(),
                "from_array": (event.points - center).round(4).tolist(),
            }
        )
    return {
        "room_size": plan.room_size and list(plan.room_size),
        "t60": plan.t60,
        "array": list(plan.center),
        "snr_db": plan.snr_db,
        "events": events,
    }
