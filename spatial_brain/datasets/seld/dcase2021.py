"""DCASE2021 Task 3: TAU-NIGENS Spatial Sound Events 2021; a synthetic twin.

A. Politis, S. Adavanne, D. Krause, A. Deleforge, P. Srivastava, T. Virtanen,
"A dataset of dynamic reverberant sound scenes with directional interferers
for sound event localization and detection", DCASE Workshop 2021;
https://zenodo.org/records/5476980 (version 1.2.0, with the annotations of the
evaluation), CC BY-NC 4.0. 600 + 200 clips of 60 s, 24 kHz, four channels, as
first-order Ambisonics (W, Y, Z, X, SN3D) and as a tetrahedral array; 12
classes, up to three at once, static or moving, with directional interferers
that are not annotated. On disk::

    foa_dev/dev-{train,val,test}/fold1_room1_mix001.wav ... (600)
    mic_dev/...             metadata_dev/.../fold1_room1_mix001.csv ...
    foa_eval/eval-test/mix001.wav ... (200)
    mic_eval/...            metadata_eval/.../mix001.csv ...

The sub-folders may be there or not.
"""

import os
from pathlib import Path

from spatial_brain.datasets.seld.checks import (
    Manifests,
    check_choice,
    check_clips,
    check_count,
)
from spatial_brain.datasets.seld.files import (
    SERVER,
    download_parts,
    find_clips,
    zenodo_remedy,
)
from spatial_brain.datasets.seld.synthetic import (
    clip_numbers,
    write_synthetic_seld,
)
from spatial_brain.datasets.synthetic_data import synthetic_options

# Classes in the order of their labels, and the embedded kind of sound that
# stands for each in synthetic data.
KINDS = {
    "alarm": "alarm",
    "crying baby": "crying_baby",
    "crash": "crash",
    "barking dog": "barking_dog",
    "female scream": "scream_female",
    "female speech": "speech_female",
    "footsteps": "footsteps",
    "knocking on door": "knock",
    "male scream": "scream_male",
    "male speech": "speech_male",
    "ringing phone": "telephone",
    "piano": "piano",
}
CLASS_NAMES = tuple(KINDS)
# Directional interferers of synthetic data, which are not annotated.
INTERFERERS = ("engine", "fire", "printer")
SAMPLE_RATE = 24000
DURATION = 60.0
RECORD = 5476980
# Published clips of each part.
COUNTS = {"dev": 600, "eval": 200}
FORMATS = ("foa", "mic")
DIALECT = "dcase2021"

_NAMES = {
    "dev": r"fold(?P<fold>\d+)_room(?P<room>\d+)_mix\d+",
    "eval": r"mix\d+",
}
# Part and folds of each manifest; None: all clips of the part.
PROTOCOLS = {
    "dev": {
        "train": ("dev", (1, 2, 3, 4, 5)),
        "valid": ("dev", (6,)),
        "test": ("eval", None),
    },
    "original": {
        "train": ("dev", None),
        "valid": ("eval", None),
        "test": ("eval", None),
    },
    "official": {
        "train": ("dev", (1, 2, 3, 4)),
        "valid": ("dev", (5,)),
        "test": ("dev", (6,)),
    },
}


def prepare_dcase2021(
    data_folder,
    save_folder,
    *,
    format="foa",
    protocol="dev",
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

    Arguments
    ---------
    data_folder : str or Path
        Holds ``foa_dev``, ``metadata_dev``, ``foa_eval``, ``metadata_eval``
        (or ``mic_...``), with or without sub-folders, or their archives.
    save_folder : str or Path
        Where the manifests go.
    format : str
        ``"foa"`` or ``"mic"``.
    protocol : str
        ``"dev"``: train on folds 1 to 5, select on fold 6, test on the
        evaluation set. ``"official"``: folds 1 to 4, 5 and 6. ``"original"``
        (PSELDNets): train on all folds, select and test on the evaluation
        set, so that its scores are optimistic.
    download : bool
        Download what is missing from Zenodo (FOA: 7.6 GB).
    check_counts : bool
        Compare the numbers of clips with the published ones.
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
        ``"train"``, ``"valid"``, ``"test"`` to the path of the manifest.

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
    >>> prepare_dcase2021("nowhere", "save", format="stereo")
    Traceback (most recent call last):
    ValueError: format must be one of ('foa', 'mic'), got 'stereo'
    """
    check_choice("format", format, FORMATS)
    check_choice("protocol", protocol, tuple(PROTOCOLS))
    synthetic = synthetic_options(data_folder)
    options = {
        "data_folder": os.path.abspath(data_folder),
        "format": format,
        "protocol": protocol,
        "check_counts": check_counts,
        "synthetic_data": synthetic,
    }
    splits = PROTOCOLS[protocol]
    manifests = Manifests(
        save_folder, splits, options, f"{len(CLASS_NAMES)} classes"
    )
    if skip_prep or manifests.ready:
        return manifests.paths
    parts = sorted({part for part, _ in splits.values()})
    if download:
        names = [f"{kind}_{p}" for p in parts for kind in (format, "metadata")]
        download_parts(
            RECORD,
            names,
            data_folder,
            server=server,
            keep_archives=keep_archives,
        )
    published = check_counts and synthetic is None
    entries = {
        part: _entries(data_folder, format, part, published, num_workers)
        for part in parts
    }
    return manifests.write(
        {
            name: {
                key: entry
                for key, entry in entries[part].items()
                if folds is None or int(entry["fold"]) in folds
            }
            for name, (part, folds) in splits.items()
        },
        data_folder,
    )


def _entries(data_folder, format, part, published, num_workers):
    """Checked entries of the development or of the evaluation set."""
    folders = f"{format}_{part}", f"metadata_{part}"
    remedy = zenodo_remedy(RECORD, folders)
    clips = find_clips(data_folder, *folders, _NAMES[part], remedy)
    if published:
        check_count(
            f"{data_folder}: {folders[0]}", len(clips), COUNTS[part], remedy
        )
    return check_clips(
        clips,
        SAMPLE_RATE,
        DIALECT,
        len(CLASS_NAMES),
        duration=DURATION if published else None,
        num_workers=num_workers,
    )


def write_synthetic_dcase2021(
    data_folder,
    *,
    clips=None,
    duration=DURATION,
    scene=None,
    **options,
):
    """Write a small DCASE2021 of synthetic events in simulated rooms.

    Folders, names, formats and annotations are those of the real one.
    Interrupted, it goes on where it stopped; with other arguments it is made
    again. Real data are never touched.

    Arguments
    ---------
    data_folder : str or Path
        Gets the folders.
    clips : dict
        Number of clips of ``"train"`` (folds 1 to 5), ``"valid"`` (fold 6)
        and ``"test"`` (evaluation); default 20, 5 and 5.
    duration : float
        Seconds a clip.
    scene : dict, optional
        Options of all scenes, see ``draw_scene`` of
        ``spatial_brain.simulation.sound_scenes.plan``; up to three events
        overlap by default.
    **options
        ``formats``, ``seed``, ``num_workers`` and ``bank`` of
        ``spatial_brain.datasets.seld.synthetic.write_synthetic_seld``; the
        default bank has an embedded kind for each of the 12 classes, and
        interferers.

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
    >>> write_synthetic_dcase2021("data", clips={"training": 3})
    Traceback (most recent call last):
    ValueError: clips must give numbers of train, valid, test, ...
    """
    numbers = clip_numbers(clips, {"train": 20, "valid": 5, "test": 5})
    write_synthetic_seld(
        data_folder,
        numbers,
        _place,
        made_with={"name": "DCASE2021", "clips": numbers, "duration": duration},
        kinds=KINDS,
        interferers=INTERFERERS,
        fs=SAMPLE_RATE,
        dialect=DIALECT,
        duration=duration,
        scene={"max_overlap": 3, **(scene or {})},
        **options,
    )
    return Path(data_folder)


def _place(split, index):
    """Folder, name, annotation and room of a synthetic clip."""
    if split == "test":
        # As in the real one, names do not give the rooms away.
        folder, name = "eval/eval-test", f"mix{index + 1:03d}"
        seed = 71 + index % 3
    else:
        fold, number = (
            (index % 5 + 1, index // 5) if split == "train" else (6, index)
        )
        room, mix = number % 2 + 1, number // 2 + 1
        kind = {5: "val", 6: "test"}.get(fold, "train")
        folder, name = f"dev/dev-{kind}", f"fold{fold}_room{room}_mix{mix:03d}"
        seed = 10 * fold + room
    return (
        f"{{format}}_{folder}",
        name,
        f"metadata_{folder}/{name}.csv",
        {"room_seed": seed},
    )
