"""STARSS23 (and STARSS22): sound events of real rooms; a synthetic twin.

K. Shimada, A. Politis, P. Sudarsanam, D. Krause, K. Uchida, S. Adavanne,
A. Hakala, Y. Koyama, N. Takahashi, S. Takahashi, T. Virtanen, Y. Mitsufuji,
"STARSS23: An audio-visual dataset of spatial recordings of real scenes with
spatiotemporal annotations of sound events", NeurIPS 2023;
https://zenodo.org/records/7880637, MIT licence. 168 + 79 clips of 0.5 to 6
minutes, 24 kHz, four channels, as first-order Ambisonics (W, Y, Z, X, SN3D)
and as a tetrahedral array; 13 classes, up to five at once, with distances in
centimetres; the evaluation has no annotations. On disk::

    foa_dev/dev-{train,test}-{sony,tau}/fold3_room4_mix001.wav ... (168)
    mic_dev/...             metadata_dev/.../fold3_room4_mix001.csv ...
    foa_eval/mix001.wav ... (79)    mic_eval/...

The sub-folders may be there or not. STARSS22 has the same layout, without
distances.
"""

import logging
import os
from dataclasses import replace
from pathlib import Path

from spatial_brain.datasets.seld.checks import (
    Manifests,
    check_choice,
    check_clips,
    check_count,
)
from spatial_brain.datasets.seld.corpora import is_corpus, read_corpus
from spatial_brain.datasets.seld.files import (
    CLIP_SUFFIXES,
    SERVER,
    download_parts,
    find_clips,
    list_files,
    pair_clips,
    unpack_part,
    zenodo_remedy,
)
from spatial_brain.datasets.seld.synthetic import (
    clip_numbers,
    write_synthetic_seld,
)
from spatial_brain.datasets.synthetic_data import synthetic_options

logger = logging.getLogger(__name__)

# Classes in the order of their labels, and the embedded kind of sound that
# stands for each in synthetic data.
KINDS = {
    "Female speech, woman speaking": "speech_female",
    "Male speech, man speaking": "speech_male",
    "Clapping": "clapping",
    "Telephone": "telephone",
    "Laughter": "laughter",
    "Domestic sounds": "domestic",
    "Walk, footsteps": "footsteps",
    "Door, open or close": "door",
    "Music": "music",
    "Musical instrument": "instrument",
    "Water tap, faucet": "water",
    "Bell": "bell",
    "Knock": "knock",
}
CLASS_NAMES = tuple(KINDS)
SAMPLE_RATE = 24000
# Fold and rooms of each synthetic split, with the site that recorded there.
ROOMS = {
    "train": (3, ((4, "tau"), (21, "sony"), (6, "tau"), (12, "tau"))),
    "valid": (3, ((9, "tau"), (22, "sony"))),
    "test": (4, ((2, "tau"), (23, "sony"))),
}
RECORD = 7880637
# Published clips with annotations of STARSS23.
COUNT = 168
FORMATS = ("foa", "mic")
PROTOCOLS = ("dev", "original")
TRAIN_FOLD, TEST_FOLD = "3", "4"
# Training rooms of Tampere (TAU) and Tokyo (Sony) that are held out.
VALID_ROOMS = (9, 22)
_DEV_NAME = r"fold(?P<fold>\d+)_room(?P<room>\d+)_mix\d+"


def prepare_starss23(
    data_folder,
    save_folder,
    *,
    format="foa",
    protocol="dev",
    valid_rooms=VALID_ROOMS,
    synthetic_folder=None,
    download=False,
    check_counts=True,
    keep_archives=False,
    num_workers=8,
    skip_prep=False,
    server=SERVER,
):
    """Write the manifests ``train.json``, ``valid.json`` and ``test.json``.

    Archives in the data folder are unpacked; audio is neither moved nor
    copied. Nothing is done when the manifests are there and were made with
    the same arguments. For entries see ``spatial_brain.datasets.seld.checks``.
    STARSS22 is recognised by its annotations.

    Arguments
    ---------
    data_folder : str or Path
        Holds ``foa_dev`` (or ``mic_dev``) and ``metadata_dev``, with or
        without sub-folders, or their archives.
    save_folder : str or Path
        Where the manifests go.
    format : str
        ``"foa"`` or ``"mic"``.
    protocol : str
        ``"dev"``: train on fold 3 without ``valid_rooms``, select on these,
        test on fold 4. ``"original"`` (PSELDNets, and the challenge's
        baseline): train on fold 3, select and test on fold 4, so that its
        scores are optimistic.
    valid_rooms : sequence of int
        Rooms of fold 3 that ``"dev"`` holds out.
    synthetic_folder : str or Path, optional
        More training clips: a folder with ``foa_dev`` or ``foa`` (or
        ``mic...``) and ``metadata_dev`` or ``metadata``, such as the official
        synthetic mixtures, https://zenodo.org/records/6406873, or a corpus of
        ``spatial-brain synth`` with the classes of STARSS23 in their order.
    download : bool
        Download what is missing from Zenodo (FOA: 3.4 GB).
    check_counts : bool
        Compare the numbers of clips with the published ones of STARSS23.
    keep_archives : bool
        Keep downloaded archives after they were unpacked.
    num_workers : int
        Threads that read headers.
    skip_prep : bool
        Trust the manifests that are there.
    server : str
        Address of Zenodo.

    Returns
    -------
    dict
        ``"train"``, ``"valid"`` and ``"test"`` to the path of the manifest.

    Raises
    ------
    FileNotFoundError
        If data or annotations are missing; the message shows how to get them.
    ValueError
        If arguments are unknown, or files or their number are not as they
        should be.
    DownloadError
        (an OSError) If the download fails; the next call continues it.

    Example
    -------
    >>> prepare_starss23("nowhere", "save", protocol="official")
    Traceback (most recent call last):
    ValueError: protocol must be one of ('dev', 'original'), got 'official'
    """
    check_choice("format", format, FORMATS)
    check_choice("protocol", protocol, PROTOCOLS)
    synthetic = synthetic_options(data_folder)
    rooms = sorted(map(int, valid_rooms)) if protocol == "dev" else None
    options = {
        "data_folder": os.path.abspath(data_folder),
        "format": format,
        "protocol": protocol,
        "valid_rooms": rooms,
        "synthetic_folder": synthetic_folder
        and os.path.abspath(synthetic_folder),
        "synthetic_corpus": synthetic_folder
        and synthetic_options(synthetic_folder),
        "check_counts": check_counts,
        "synthetic_data": synthetic,
    }
    manifests = Manifests(
        save_folder,
        ["train", "valid", "test"],
        options,
        f"{len(CLASS_NAMES)} classes",
    )
    if skip_prep or manifests.ready:
        return manifests.paths
    if download:
        download_parts(
            RECORD,
            [f"{format}_dev", "metadata_dev"],
            data_folder,
            server=server,
            keep_archives=keep_archives,
        )
    published = check_counts and synthetic is None
    dev, left_out = _development(data_folder, format, published, num_workers)
    splits = _split(data_folder, dev, rooms)
    if synthetic_folder is not None:
        extra = _synthetic(synthetic_folder, format, num_workers)
        splits["train"] = {**extra, **splits["train"]}
    skipped = {"of other folds": left_out}
    return manifests.write(splits, data_folder, skipped)


def _development(data_folder, format, published, num_workers):
    """Checked entries of both development folds, and how many clips not."""
    folders = f"{format}_dev", "metadata_dev"
    remedy = zenodo_remedy(RECORD, folders)
    found = find_clips(data_folder, *folders, _DEV_NAME, remedy)
    clips = [clip for clip in found if clip.fold in (TRAIN_FOLD, TEST_FOLD)]
    if len(clips) < len(found):
        logger.warning(
            "%s: %d clips of other folds than %s and %s are left out; put "
            "synthetic ones into a --synthetic_folder",
            data_folder,
            len(found) - len(clips),
            TRAIN_FOLD,
            TEST_FOLD,
        )
    dialect = _dialect(clips)
    if published and dialect == "starss23":
        check_count(f"{data_folder}: {folders[0]}", len(clips), COUNT, remedy)
    entries = _checked(clips, dialect, num_workers)
    return entries, len(found) - len(clips)


def _checked(clips, dialect, num_workers):
    """Entries of clips, after a look at their headers and annotations."""
    return check_clips(
        clips,
        SAMPLE_RATE,
        dialect,
        len(CLASS_NAMES),
        num_workers=num_workers,
    )


def _dialect(clips):
    """Format of the annotations, by the columns of the first event."""
    for clip in clips:
        with open(clip.events, encoding="utf-8") as file:
            columns = file.readline().count(",") + 1
        if columns > 1:
            return "starss22" if columns == 5 else "starss23"
    return "starss23"


def _split(data_folder, entries, rooms):
    """Entries of each manifest; ``rooms`` are held out, if any."""
    train = {k: e for k, e in entries.items() if e["fold"] == TRAIN_FOLD}
    test = {k: e for k, e in entries.items() if e["fold"] == TEST_FOLD}
    if rooms is None:
        return {"train": train, "valid": test, "test": test}
    present = sorted({int(entry["room"]) for entry in train.values()})
    if not rooms or not set(rooms) < set(present):
        raise ValueError(
            f"{data_folder}: cannot hold out rooms {rooms} for validation; "
            f"fold {TRAIN_FOLD} has rooms {present}: choose some of these, not "
            "all, with --valid_rooms"
        )
    valid = {k: e for k, e in train.items() if int(e["room"]) in rooms}
    train = {k: e for k, e in train.items() if k not in valid}
    return {"train": train, "valid": valid, "test": test}


def _synthetic(folder, format, num_workers):
    """Checked entries of further training clips."""
    if is_corpus(folder):
        return _of_corpus(folder, format, num_workers)
    places = []
    for kind in (format, "metadata"):
        for name in (f"{kind}_dev", kind):
            place = unpack_part(folder, name)
            if place is not None:
                places.append(place)
                break
        else:
            raise FileNotFoundError(
                f"{folder}: neither {kind}_dev nor {kind} is there; give a "
                "folder with both audio and metadata as --synthetic_folder"
            )
    clips = pair_clips(
        list_files(places[0], CLIP_SUFFIXES),
        list_files(places[1], (".csv",)),
        _DEV_NAME,
        what=places[0],
    )
    return _checked(_renamed(clips), _dialect(clips), num_workers)


def _of_corpus(folder, format, num_workers):
    """Checked entries of a corpus of ``spatial-brain synth``."""
    corpus = read_corpus(folder, format)
    names = corpus.class_names
    if len(names) > len(CLASS_NAMES):
        raise ValueError(
            f"{folder}: has {len(names)} classes, STARSS23 has "
            f"{len(CLASS_NAMES)}; write a corpus whose classes are these, in "
            "their order"
        )
    pairs = zip(names, CLASS_NAMES, strict=False)
    logger.info(
        "%s: its classes are taken for those of STARSS23 by their numbers: %s",
        folder,
        "; ".join(
            f"{number} {own!r} for {other!r}"
            for number, (own, other) in enumerate(pairs)
        ),
    )
    return _checked(_renamed(corpus.clips), corpus.dialect, num_workers)


def _renamed(clips):
    """The clips under names that no recording of STARSS23 has."""
    return [replace(clip, id=f"synthetic_{clip.id}") for clip in clips]


def write_synthetic_starss23(
    data_folder,
    *,
    clips=None,
    duration=60.0,
    scene=None,
    **options,
):
    """Write a small STARSS23 of synthetic events in simulated rooms.

    Folders, names, formats and annotations (with distances) are those of the
    real one. Interrupted, it goes on where it stopped; with other arguments
    it is made again. Real data are never touched.

    Arguments
    ---------
    data_folder : str or Path
        Gets the folders.
    clips : dict
        Number of clips of ``"train"`` (rooms 4, 6, 12 and 21), ``"valid"``
        (rooms 9 and 22) and ``"test"`` (rooms 2 and 23); default 20, 4 and 6.
    duration : float
        Seconds a clip.
    scene : dict, optional
        Options of all scenes, see ``draw_scene`` of
        ``spatial_brain.simulation.sound_scenes.plan``; up to three events
        overlap by default.
    **options
        ``formats``, ``audio``, ``seed``, ``num_workers`` and ``bank`` of
        ``spatial_brain.datasets.seld.synthetic.write_synthetic_seld``; the
        default bank has an embedded kind for each of the 13 classes.

    Returns
    -------
    Path
        The data folder.

    Raises
    ------
    ValueError
        If real data lie there, or splits are unknown.

    Example
    -------
    >>> write_synthetic_starss23("data", clips={"fold3": 3})
    Traceback (most recent call last):
    ValueError: clips must give numbers of train, valid, test...
    """
    numbers = clip_numbers(clips, {"train": 20, "valid": 4, "test": 6})
    made_with = {"name": "STARSS23", "clips": numbers, "duration": duration}
    if "audio" in options:
        made_with["audio"] = options["audio"]
    write_synthetic_seld(
        data_folder,
        numbers,
        _place,
        made_with=made_with,
        kinds=KINDS,
        fs=SAMPLE_RATE,
        dialect="starss23",
        duration=duration,
        scene={"max_overlap": 3, **(scene or {})},
        **options,
    )
    return Path(data_folder)


def _place(split, index):
    """Folder, name, annotation and room of a synthetic clip."""
    fold, rooms = ROOMS[split]
    room, site = rooms[index % len(rooms)]
    folder = f"dev/dev-{'test' if split == 'test' else 'train'}-{site}"
    name = f"fold{fold}_room{room}_mix{index // len(rooms) + 1:03d}"
    return (
        f"{{format}}_{folder}",
        name,
        f"metadata_{folder}/{name}.csv",
        {"room_seed": room},
    )
