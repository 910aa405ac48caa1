"""The sounds of a corpus of scenes."""

import hashlib
import os
from pathlib import Path

from spatial_brain.dataio.annotations import DCASE2019_CLASSES
from spatial_brain.dataio.audio import AUDIO_SUFFIXES
from spatial_brain.datasets.seld.event_bank import EventBank, Recording
from spatial_brain.datasets.seld.event_lists import find_layout, open_events
from spatial_brain.folders import find_files

# Class of the sounds of a folder of speech.
SPEECH = "speech"


def open_bank(options):
    """Sounds of a corpus.

    Arguments
    ---------
    options : SceneOptions
        Options of the corpus.

    Returns
    -------
    EventBank

    Raises
    ------
    FileNotFoundError, ValueError
        If recordings are missing, or the dialect cannot name the classes.
    """
    interferers = options.interferers or ()
    if options.events is None:
        bank = EventBank(options.classes, interferers)
    else:
        bank = open_events(
            options.events,
            split=options.split,
            class_names=options.classes,
            interferers=interferers,
        )
    if options.speech is not None:
        bank = _with_speech(bank, options)
    names = bank.class_names
    if (
        options.dialect == "dcase2019"
        and names != DCASE2019_CLASSES[: len(names)]
    ):
        raise ValueError(
            "dialect dcase2019 writes names of its own classes; classes must "
            f"be {', '.join(DCASE2019_CLASSES)} in this order (or the first "
            f"of them), not {', '.join(names)}"
        )
    return bank


def _with_speech(bank, options):
    """The same bank with one more class, of a folder of speech."""
    files = find_files(options.speech, AUDIO_SUFFIXES)
    if not files:
        raise ValueError(f"{options.speech}: holds no audio files of speech")
    if SPEECH in bank.sounds:
        raise ValueError(
            f"the class {SPEECH!r} is both among the events and in the folder "
            f"{options.speech}; leave one of them out"
        )
    sounds = list(bank.sounds.items())
    targets = dict(sounds[: bank.num_classes])
    targets[SPEECH] = [Recording(path) for path in files]
    return EventBank(targets, dict(sounds[bank.num_classes :]))


def origin(options):
    """Where the sounds come from, in words.

    Arguments
    ---------
    options : SceneOptions
        Options of the corpus.

    Returns
    -------
    str
    """
    text = "embedded sounds"
    if options.events is not None:
        layout = find_layout(options.events)
        part = f", split {options.split}" if options.split else ""
        text = f"{options.events} (read as {layout}{part})"
    speech = options.speech
    return text + (f" and speech of {speech}" if speech else "")


def fingerprint(bank):
    """Digest of the names of all sounds and the sizes of recordings.

    Arguments
    ---------
    bank : EventBank
        The sounds.

    Returns
    -------
    str
        Hexadecimal.

    Example
    -------
    >>> one, two = EventBank(["knock"]), EventBank(["bell"])
    >>> fingerprint(one) == fingerprint(two)
    False
    """
    digest = hashlib.sha256()
    for name, sound in bank.sounds.items():
        digest.update(f"{name}\n".encode())
        if isinstance(sound, str):
            digest.update(f"{sound}\n".encode())
            continue
        for one in sound:
            size = one.path.stat().st_size
            line = f"{one.path.name} {size} {one.start} {one.stop}\n"
            digest.update(line.encode())
    return digest.hexdigest()


def sound_name(bank, event, options):
    """Name of the sound of an event: its file, or its kind and seed.

    Arguments
    ---------
    bank : EventBank
        The sounds.
    event : PlannedEvent
        The event.
    options : SceneOptions
        Options of the corpus.

    Returns
    -------
    str
        Files as seen from the folder of their source.
    """
    recording = bank.recording(event.label, event.source)
    name, sound = list(bank.sounds.items())[event.label]
    if recording is None:
        return f"{sound} {event.source}"
    spoken = options.speech is not None and name == SPEECH
    root = Path((options.speech if spoken else options.events) or "")
    root = root.parent if root.is_file() else root
    return Path(os.path.relpath(recording.path, root)).as_posix()
