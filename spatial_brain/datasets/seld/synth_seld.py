"""Sound scenes simulated from any collection of dry events.

Each split has its own sounds, rooms and random numbers: nothing that is
tested was trained on.
"""

import os
from functools import partial
from pathlib import Path

from spatial_brain.dataio.manifest import read_manifest
from spatial_brain.datasets.seld.checks import Manifests, clip_entry
from spatial_brain.datasets.seld.event_bank import EventBank, Recording
from spatial_brain.datasets.seld.files import Clip
from spatial_brain.datasets.seld.synthetic import write_synthetic_seld
from spatial_brain.datasets.speech.pool import prepare_speech
from spatial_brain.simulation.variation import SoundVariation

DIALECT = "starss23"
SPLITS = ("train", "valid", "test")
# Class of a corpus of speech, and its speakers of each split.
SPEECH = "speech"
_SPEAKERS = {"train": "tr", "valid": "dt", "test": "et"}
# So many rooms a split may have; the seeds of splits lie so far apart.
_MOST_ROOMS = 10**6


def prepare_simulated_scenes(
    data_folder,
    save_folder,
    *,
    class_names,
    clips,
    num_rooms,
    event_folder=None,
    duration=60.0,
    format="foa",
    fs=24000,
    seed=0,
    num_workers=1,
    scene=None,
    variation=None,
    embedded_classes=(),
    speech=None,
    pauses=None,
):
    """Simulate scenes that are not there yet, and write their manifests.

    Interrupted, it goes on where it stopped; with other arguments the scenes
    are made again.

    Arguments
    ---------
    data_folder : str or Path
        Gets ``train``, ``valid`` and ``test``, each with ``foa`` (or
        ``mic``) and ``metadata``.
    save_folder : str or Path
        Where ``train.json``, ``valid.json`` and ``test.json`` go.
    class_names : sequence of str
        Classes in the order of their labels.
    clips : dict
        Number of clips of each split.
    num_rooms : dict
        Number of rooms of each split, shared by its clips in turn.
    event_folder : str or Path, optional
        Dry recordings, see ``EventBank.from_folder``; each split takes those
        of its own. None: the embedded sounds, whose kinds are the classes.
    duration : float
        Seconds a clip.
    format : str
        ``"foa"`` or ``"mic"``.
    fs : int
        Sampling rate, Hz.
    seed : int
        The same seed makes the same scenes.
    num_workers : int
        Processes.
    scene : dict, optional
        Options of ``spatial_brain.simulation.sound_scenes.plan.draw_scene``.
    variation : dict, optional
        ``max_speed`` and ``max_gain`` of
        ``spatial_brain.simulation.variation.SoundVariation``, for the
        recordings of the training; those of the others stay as they are.
    embedded_classes : sequence of str
        Which of the classes are embedded kinds of sound although there is an
        ``event_folder``.
    speech : dict, optional
        ``folder`` of a corpus of speech, any that
        ``spatial_brain.datasets.speech`` knows, and its rate ``fs`` (Hz), for
        the class ``SPEECH``; its splits, or its speakers, are those of the
        scenes. Needs an ``event_folder``.
    pauses : dict, optional
        Class to seconds: its recordings are divided at longer pauses, see
        ``Recording.between_pauses``.

    Returns
    -------
    dict
        Split to the path of its manifest.

    Raises
    ------
    FileNotFoundError, ValueError
        If recordings are missing or unusable, or numbers are.

    Example
    -------
    >>> prepare_simulated_scenes("data", "save", class_names=["knock"],
    ...                          clips={"train": 1}, num_rooms={"train": 1})
    Traceback (most recent call last):
    ValueError: clips must give a number of train, valid and test clips, ...
    """
    for name, numbers in (("clips", clips), ("rooms", num_rooms)):
        if sorted(numbers) != sorted(SPLITS) or min(numbers.values()) < 1:
            raise ValueError(
                f"{name} must give a number of train, valid and test {name}, "
                f"each at least 1, got {numbers}"
            )
    if max(num_rooms.values()) > _MOST_ROOMS:
        raise ValueError(f"at most {_MOST_ROOMS} rooms a split: {num_rooms}")
    options = {
        "class_names": list(class_names),
        "clips": clips,
        "num_rooms": num_rooms,
        "event_folder": event_folder and os.path.abspath(event_folder),
        "duration": duration,
        "format": format,
        "fs": fs,
        "seed": seed,
        "scene": scene,
        "variation": variation,
        "embedded_classes": list(embedded_classes),
    }
    # What older scenes were made without does not make them others.
    if speech is not None:
        options["speech"] = {
            **speech,
            "folder": os.path.abspath(speech["folder"]),
        }
    if pauses is not None:
        options["pauses"] = dict(pauses)
    manifests = Manifests(
        save_folder, SPLITS, options, f"{len(class_names)} classes"
    )
    if manifests.ready:
        return manifests.paths
    spoken = None
    if speech is not None and event_folder is None:
        raise ValueError(
            "speech comes beside recordings of other sounds: give an "
            "event_folder; the embedded kinds of sound have voices of their own"
        )
    if speech is not None:
        spoken = prepare_speech(
            speech["folder"], save_folder, fs=speech["fs"], seed=seed
        )
    splits = {}
    for number, split in enumerate(SPLITS):
        bank = None
        if event_folder is not None:
            bank = open_sounds(
                event_folder,
                split,
                class_names=class_names,
                embedded_classes=embedded_classes,
                variation=variation,
                pauses=pauses,
                spoken=spoken,
            )
        written = write_synthetic_seld(
            Path(data_folder) / split,
            {split: clips[split]},
            partial(_place, num_rooms[split]),
            made_with={**options, "split": split},
            kinds=class_names,
            bank=bank,
            fs=fs,
            dialect=DIALECT,
            duration=duration,
            formats=(format,),
            seed=seed * len(SPLITS) + number,
            num_workers=num_workers,
            scene=scene,
        )
        splits[split] = {
            clip["name"]: _entry(clip, format, fs) for clip in written
        }
    return manifests.write(splits, data_folder)


def open_sounds(
    folder,
    split,
    *,
    class_names,
    embedded_classes=(),
    variation=None,
    pauses=None,
    spoken=None,
):
    """Sounds of a split: recordings, perhaps speech and embedded kinds.

    Arguments
    ---------
    folder : str or Path
        Dry recordings, see ``EventBank.from_folder``.
    split : str
        "train", "valid" or "test".
    class_names : sequence of str
        Classes in the order of their labels.
    embedded_classes : sequence of str
        Those that are embedded kinds of sound.
    variation : dict, optional
        Arguments of ``SoundVariation``, of the training alone.
    pauses : dict, optional
        As for :func:`prepare_simulated_scenes`.
    spoken : dict, optional
        Manifests of ``prepare_speech``, for the class ``SPEECH``.

    Returns
    -------
    EventBank

    Raises
    ------
    FileNotFoundError, ValueError
        If recordings are missing or unusable, or an option names a class that
        is none.

    Example
    -------
    >>> open_sounds("nowhere", "test", class_names=["bark"])
    Traceback (most recent call last):
    FileNotFoundError: nowhere: no such folder of sound events
    """
    names, embedded = class_names, embedded_classes
    extra = {name: name for name in embedded}
    if spoken is not None:
        entries = read_manifest(spoken[_SPEAKERS[split]], keys=("wav",))
        extra[SPEECH] = [Recording(Path(e["wav"])) for e in entries.values()]
    pauses = pauses or {}
    for option, wanted in (
        ("embedded_classes", embedded),
        ("speech", extra.keys() - set(embedded)),
        ("pauses", pauses),
    ):
        strangers = sorted(set(wanted) - set(names))
        if strangers:
            raise ValueError(
                f"{option}: {', '.join(strangers)} are none of class_names"
            )
    recorded = [name for name in names if name not in extra]
    bank = EventBank.from_folder(folder, split=split, class_names=recorded)
    sounds = {name: {**extra, **bank.sounds}[name] for name in names}
    for name, longest in pauses.items():
        if not isinstance(sounds[name], str):
            sounds[name] = [
                part
                for recording in sounds[name]
                for part in recording.between_pauses(longest)
            ]
    varied = variation and split == "train"
    return EventBank(
        sounds, variation=SoundVariation(**variation) if varied else None
    )


def _entry(clip, format, fs):
    """Entry of a manifest for a clip that was written."""
    fold, room, _ = clip["name"].split("_")
    return clip_entry(
        Clip(
            clip["name"],
            clip["paths"][format],
            clip["annotation"],
            num_samples=round(clip["duration"] * fs),
            room=room,
            fold=fold,
        ),
        fs,
        DIALECT,
    )


def _place(num_rooms, split, index):
    """Folder, name, annotation and room of a clip."""
    number, room = SPLITS.index(split), index % num_rooms
    name = f"fold{number + 1}_room{room + 1}_mix{index // num_rooms + 1:04d}"
    return (
        "{format}",
        name,
        f"metadata/{name}.csv",
        {"room_seed": number * _MOST_ROOMS + room},
    )
