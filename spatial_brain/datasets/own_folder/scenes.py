"""Own annotated recordings for sound event localization and detection.

Recordings of any names, rates and rooms, and annotations in any format of
``spatial_brain.datasets.own_folder.annotations``. Beside the manifests the
annotations are kept in one format (frame, class, source, azimuth, elevation).
"""

import os
from collections import Counter, defaultdict
from pathlib import Path

from spatial_brain.dataio.annotations import write_events
from spatial_brain.dataio.audio import (
    AudioFileError,
    list_problems,
    scan_headers,
)
from spatial_brain.datasets.own_folder.annotations import (
    count_classes,
    find_format,
    read_annotation,
)
from spatial_brain.datasets.own_folder.files import (
    SPLITS,
    OwnManifests,
    check_folder,
    logger,
)
from spatial_brain.datasets.own_folder.recordings import (
    assign_splits,
    find_recordings,
)
from spatial_brain.datasets.seld.checks import clip_entry, num_label_frames
from spatial_brain.datasets.seld.files import Clip

NUM_CHANNELS = 4
# Format in which annotations are kept.
KEPT = "polar5"
# Annotations that end this much after the audio belong to another file.
_FRAMES_TOO_MANY = 10


def prepare_scenes(
    data_folder,
    save_folder,
    *,
    fs,
    class_names,
    num_classes,
    class_file=None,
    table=None,
    annotation_folder=None,
    annotation_format="auto",
    channels=None,
    resample=False,
    valid_fraction=0.1,
    test_fraction=0.2,
    seed=0,
):
    """Write the manifests ``train.json``, ``valid.json`` and ``test.json``.

    Entries are those of ``spatial_brain.datasets.seld.checks``, with
    ``annotation`` and ``annotation_format``, the user's. Nothing is done when
    the manifests are there and neither files nor arguments have changed.

    Arguments
    ---------
    data_folder, table, annotation_folder
        As for ``find_recordings``.
    save_folder : str or Path
        Where the manifests and ``annotations`` go.
    fs : int
        Sampling rate of the network, Hz.
    class_names : sequence of str
        In the order of their numbers; empty: a message lists those found.
    num_classes : int
        How many they are.
    class_file : str or Path, optional
        Has one class name a line, and takes the place of empty
        ``class_names`` in that message.
    annotation_format : str
        ``"auto"``, ``"audacity"`` or a dialect.
    channels : sequence of int, optional
        The four channels to read, counted from 0, in the order of the array
        format; None: files have four.
    resample : bool
        Whether to convert recordings of other rates.
    valid_fraction, test_fraction, seed
        As for ``assign_splits``.

    Returns
    -------
    dict
        Split to the path of its manifest.

    Raises
    ------
    FileNotFoundError
        If files are not there.
    ValueError
        If classes are not given, or recordings, annotations or splits cannot
        be used; with the remedy.

    Example
    -------
    >>> folder = getfixture("tmp_path")
    >>> prepare_scenes(folder, folder / "manifests", fs=24000,
    ...                class_names=["bell"], num_classes=1)
    Traceback (most recent call last):
    FileNotFoundError: ...: no audio file (.wav, .flac, ...) in it
    """
    folder = check_folder(data_folder)
    recordings = find_recordings(folder, table, annotation_folder)
    forms = _formats(recordings, annotation_format)
    _check_classes(
        folder, recordings, forms, class_names, num_classes, class_file
    )
    recordings = assign_splits(
        recordings,
        valid_fraction=valid_fraction,
        test_fraction=test_fraction,
        seed=seed,
        where=folder,
    )
    options = {
        "fs": fs,
        "class_names": list(class_names),
        "channels": channels and list(channels),
        "resample": resample,
    }
    files = [path for r in recordings for path in (r.wav, r.annotation)]
    content = [[r.name, r.split, r.room, forms[r.name]] for r in recordings]
    manifests = OwnManifests(folder, save_folder, files, content, options)
    if not manifests.ready:
        lengths = _check_audio(recordings, fs, channels, resample)
        tables = _read_all(recordings, forms, lengths, fs, class_names)
        _warn_of_classes(folder, recordings, tables, class_names)
        found = defaultdict(dict)
        for recording in recordings:
            kept = Path(save_folder, "annotations", f"{recording.name}.csv")
            write_events(kept, tables[recording.name], KEPT, decimals=2)
            found[recording.split][recording.name] = {
                **_entry(recording, kept, lengths, fs, channels),
                "annotation": os.fspath(recording.annotation),
                "annotation_format": forms[recording.name],
            }
        counts = Counter(forms.values())
        manifests.details = f"{fs} Hz, annotations: " + ", ".join(
            f"{number} {form}" for form, number in counts.items()
        )
        manifests.write({split: found[split] for split in SPLITS}, folder)
    return manifests.paths


def _formats(recordings, given):
    """Name to the format of its annotation."""
    forms, problems = {}, []
    for recording in recordings:
        try:
            forms[recording.name] = find_format(recording.annotation, given)
        except (ValueError, OSError) as error:
            problems.append(str(error))
    if problems:
        raise ValueError(
            list_problems(problems, len(recordings), "annotations")
        )
    return forms


def _check_classes(
    folder, recordings, forms, class_names, num_classes, class_file
):
    """Refuse to go on without class names, with the line to type."""
    if class_names and len(class_names) == num_classes:
        return
    if class_names:
        raise ValueError(
            f"--class_names gives {len(class_names)} classes "
            f"({', '.join(class_names)}), --num_classes is {num_classes}; give "
            "both"
        )
    if class_file is not None:
        text = Path(class_file).read_text(encoding="utf-8-sig")
        names = [line.strip() for line in text.splitlines() if line.strip()]
        found = f"{class_file} has {len(names)}"
    else:
        total = Counter()
        for recording in recordings:
            total += count_classes(recording.annotation, forms[recording.name])
        if not total:
            raise ValueError(f"{folder}: no annotation holds an event")
        found = f"the annotations hold {len(total)}: " + ", ".join(
            f"{name} ({number})" for name, number in total.most_common()
        )
        names = sorted(name for name in total if isinstance(name, str))
        numbers = [name for name in total if isinstance(name, int)]
        # A number stands for a place in the list, from 0.
        names += [
            f"class{number}"
            for number in range(len(names), max(numbers, default=-1) + 1)
        ]
    shown = ", ".join(f'"{name}"' for name in names)
    raise ValueError(
        f"{folder}: no classes are named; {found}. Give: --class_names "
        f"'[{shown}]' --num_classes {len(names)}"
    )


def _check_audio(recordings, fs, channels, resample):
    """Name to the file's AudioInfo; what does not fit is refused."""

    def check(info):
        needed = max(channels) + 1 if channels else NUM_CHANNELS
        wrong = channels is None and info.num_channels != needed
        if wrong or info.num_channels < needed:
            raise AudioFileError(
                f"{info.path}: has {info.num_channels} channels, expected "
                f"{needed}; name the four to read, as in --channels "
                "'[0, 1, 2, 3]'"
            )
        if info.fs != fs and not resample:
            raise AudioFileError(
                f"{info.path}: sampling rate is {info.fs} Hz, expected {fs} "
                "Hz; convert the file, or give --resample True"
            )

    if channels is not None and len(channels) != NUM_CHANNELS:
        raise ValueError(
            f"--channels must name {NUM_CHANNELS} channels, got {channels}"
        )
    infos, problems = scan_headers([r.wav for r in recordings], check)
    if problems:
        raise ValueError(
            list_problems(problems, len(recordings), "audio files")
        )
    return {r.name: i for r, i in zip(recordings, infos, strict=True)}


def _num_samples(info, fs):
    """Length of a file at another rate, as ``read_audio`` counts it."""
    return -(-info.num_samples * fs // info.fs)


def _read_all(recordings, forms, infos, fs, class_names):
    """Name to its events, which end with the audio."""
    tables, problems = {}, []
    for recording in recordings:
        try:
            table = read_annotation(
                recording.annotation, forms[recording.name], class_names
            )
        except (ValueError, OSError) as error:
            problems.append(str(error))
            continue
        length = _num_samples(infos[recording.name], fs)
        num_frames = num_label_frames(length, fs)
        last = int(table.frame.max(initial=-1))
        if last >= num_frames + _FRAMES_TOO_MANY:
            problems.append(
                f"{recording.annotation}: an event at {last / 10:g} s, but "
                f"{recording.wav} ends at {num_frames / 10:g} s; it belongs "
                "to another recording, or counts time in another unit"
            )
        tables[recording.name] = table.select(table.frame < num_frames)
    if problems:
        raise ValueError(
            list_problems(problems, len(recordings), "annotations")
        )
    return tables


def _warn_of_classes(folder, recordings, tables, class_names):
    """Name the classes that training or test do not have."""
    seconds = {split: Counter() for split in SPLITS}
    for recording in recordings:
        labels = tables[recording.name].label.tolist()
        seconds[recording.split].update(labels)
    for label, name in enumerate(class_names):
        has = [split for split in SPLITS if seconds[split][label]]
        if "train" not in has:
            logger.warning(
                "%s: class %s never sounds in the training%s",
                folder,
                name,
                f", only in {' and '.join(has)}: it cannot be learned"
                if has
                else " nor anywhere else",
            )
        elif "test" not in has:
            logger.warning(
                "%s: class %s never sounds in the test: it gets no score",
                folder,
                name,
            )
    logger.info(
        "%s: training events: %s",
        folder,
        ", ".join(
            f"{name} {seconds['train'][label] / 10:.0f} s"
            for label, name in enumerate(class_names)
        ),
    )


def _entry(recording, kept, infos, fs, channels):
    """Entry of a manifest."""
    info = infos[recording.name]
    clip = Clip(
        recording.name,
        recording.wav,
        kept,
        room=recording.room or "not known",
        num_samples=_num_samples(info, fs),
    )
    entry = clip_entry(clip, fs, KEPT)
    if channels is not None:
        entry |= {
            "channels": list(channels),
            "file_channels": info.num_channels,
        }
    if info.fs != fs:
        entry["resample"] = True
    return entry
