"""The synthetic corpus of PSELDNets, and others in its place; a small twin.

J. Hu, Y. Cao, M. Wu, F. Kang, F. Yang, W. Wang, M. D. Plumbley, J. Yang,
"PSELDNets: Pre-trained neural networks on a large-scale synthetic dataset for
sound event localization and detection", IEEE/ACM TASLP 33, 2025;
https://huggingface.co/datasets/Jinbo-HU/PSELDNets. 67,000 + 3,060 clips of
60 s, 24 kHz: events of 170 classes of FSD50K in simulated rooms (training)
and with the measured responses of TAU-SRIR DB (test). ``ov2`` in the name of
a part: at most two events at once. On disk::

    train20000_ov1_1/foa/fold0_room0_mix<number>.flac ...  (20,000)
                     mic/ ...     tetrahedral array
                     sum/ ...     dry events added, mono
                     metadata/fold0_room0_mix<number>.csv ...
    train20000_ov1_2, train10000_ov2_1, ...      see ``PARTS``
    test1800_ov1/foa/fold1_room<1 ... 9>_mix<number>.flac ...
    cls_indices_train.tsv, cls_indices_test.tsv

A line of a list is id, AudioSet id, label, number of clips, total duration;
its number, from 0, is the class. Any part may also be a corpus that
``spatial-brain synth`` wrote.
"""

import logging
import os
import re
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from spatial_brain.atomic import atomic_path
from spatial_brain.dataio.annotations import AnnotationLines, detect_dialect
from spatial_brain.dataio.files import write_json
from spatial_brain.datasets.seld.checks import (
    Manifests,
    check_choice,
    check_clips,
)
from spatial_brain.datasets.seld.corpora import is_corpus, read_corpus
from spatial_brain.datasets.seld.files import (
    CLIP_SUFFIXES,
    list_files,
    pair_clips,
    unpack_part,
)
from spatial_brain.datasets.seld.synthetic import (
    clip_numbers,
    write_synthetic_seld,
)
from spatial_brain.datasets.synthetic_data import synthetic_options
from spatial_brain.folders import find_folders

logger = logging.getLogger(__name__)

# Published clips of each part.
PARTS = {
    "train20000_ov1_1": 20000,
    "train20000_ov1_2": 20000,
    "train10000_ov2_1": 10000,
    "train10000_ov2_2": 10000,
    "train3500_ov3_1": 3500,
    "train3500_ov3_2": 3500,
    "test1800_ov1": 1800,
    "test900_ov2": 900,
    "test360_ov3": 360,
}
SAMPLE_RATE = 24000
DURATION = 60.0
FORMATS = ("foa", "mic")
PROTOCOLS = ("dev", "original")
SPLITS = ("train", "valid", "test")
CLASS_LIST, TEST_LIST = "cls_indices_train.tsv", "cls_indices_test.tsv"
# Names of the classes, beside the manifests.
CLASSES_FILE = "classes.json"
# Kinds of sound of the twin, one a class.
KINDS = (
    "alarm",
    "barking_dog",
    "bell",
    "clapping",
    "knock",
    "piano",
    "speech_female",
    "telephone",
)
_SOURCE = "https://huggingface.co/datasets/Jinbo-HU/PSELDNets"
_NAME = r"fold(?P<fold>\d+)_room(?P<room>\d+)_mix\d+"
_OVERLAP = re.compile(r"_(ov\d)(?:_|$)")
# One of so many clips of a training part is held out for validation.
_HELD_OUT = 100
_MEASURED_ROOMS = 9


class _Part(NamedTuple):
    """Clips of a part with what they have in common."""

    clips: list
    class_names: tuple
    dialect: str
    fs: int
    duration: float


def read_class_list(path):
    """Names of the classes of a ``cls_indices_*.tsv``.

    Arguments
    ---------
    path : str or Path
        Lines of id, AudioSet id, label, number of clips, total duration, with
        tabs between them and without a header.

    Returns
    -------
    tuple of str
        Labels in the order of the lines, which is that of the classes.

    Raises
    ------
    ValueError
        If the list is empty, a line has no label, or a label is there twice.

    Example
    -------
    >>> path = getfixture("tmp_path") / "cls_indices_train.tsv"
    >>> _ = path.write_text("0\\t/m/07qrkrw\\tMeow\\t9\\t60.5\\n")
    >>> read_class_list(path)
    ('Meow',)
    """
    text = Path(path).read_bytes().decode("utf-8-sig", errors="replace")
    names = {}
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        fields = [field.strip() for field in line.split("\t")]
        if len(fields) < 3 or not fields[2]:
            raise ValueError(
                f"{path}, line {number}: {line[:60]!r} has no label; expected "
                "id, mid, label, number of clips and total duration with tabs "
                "between them"
            )
        if fields[2] in names:
            raise ValueError(
                f"{path}, line {number}: {fields[2]!r} is also the label of "
                f"line {names[fields[2]]}; copy the list again"
            )
        names[fields[2]] = number
    if not names:
        raise ValueError(f"{path}: holds no classes; copy the list again")
    return tuple(names)


def prepare_pseldnets(
    data_folder,
    save_folder,
    *,
    parts,
    num_classes,
    format="foa",
    protocol="dev",
    check_counts=True,
    num_workers=8,
    skip_prep=False,
):
    """Write the manifests and the names of the classes.

    Archives in the data folder are unpacked; audio is neither moved nor
    copied. Nothing is done when the manifests are there and were made with
    the same arguments. For entries see ``spatial_brain.datasets.seld.checks``.

    Arguments
    ---------
    data_folder : str or Path
        Holds the parts or their archives, and the lists of classes.
    save_folder : str or Path
        Where ``train.json``, ``valid.json``, ``test.json`` and
        ``classes.json`` go.
    parts : dict
        Folders of ``"train"``, ``"valid"`` and ``"test"``: published parts or
        corpora of ``spatial-brain synth``. No ``"train"``: no such manifest.
    num_classes : int
        How many classes there must be.
    format : str
        ``"foa"`` or ``"mic"``.
    protocol : str
        ``"dev"``: without parts for validation, one in a hundred clips of
        each training part is held out. ``"original"`` (PSELDNets): selects on
        the test parts, so that its scores are optimistic.
    check_counts : bool
        Compare the numbers of clips with the published ones.
    num_workers : int
        Threads that read headers.
    skip_prep : bool
        Trust the manifests that are there.

    Returns
    -------
    dict
        Split to the path of its manifest.

    Raises
    ------
    FileNotFoundError
        If parts, annotations or the list of classes are missing.
    ValueError
        If arguments are unknown, parts are incomplete or have other classes,
        or files are not as they should be.

    Example
    -------
    >>> prepare_pseldnets("data", "save", parts={}, num_classes=170)
    Traceback (most recent call last):
    ValueError: --parts names no folder of test; there must be one
    """
    check_choice("format", format, FORMATS)
    check_choice("protocol", protocol, PROTOCOLS)
    parts = _check_parts(parts, protocol)
    places = {
        name: Path(data_folder, name)
        for name in dict.fromkeys(
            name for some in parts.values() for name in some
        )
    }
    options = {
        "data_folder": os.path.abspath(data_folder),
        "parts": parts,
        "num_classes": num_classes,
        "format": format,
        "protocol": protocol,
        "check_counts": check_counts,
        "synthetic_data": synthetic_options(data_folder),
        "corpora": {
            name: synthetic_options(place) for name, place in places.items()
        },
    }
    splits = [name for name in SPLITS if parts[name] or name != "train"]
    manifests = Manifests(save_folder, splits, options)
    if skip_prep or (
        manifests.ready and Path(save_folder, CLASSES_FILE).is_file()
    ):
        return manifests.paths
    found = _find_parts(data_folder, places, format, check_counts)
    names = _common_classes(data_folder, found, num_classes)
    entries = {}
    for name, part in found.items():
        checked = check_clips(
            part.clips,
            part.fs,
            part.dialect,
            num_classes,
            duration=part.duration,
            num_workers=num_workers,
        )
        entries[name] = {f"{name}/{key}": e for key, e in checked.items()}
    write_json(Path(save_folder, CLASSES_FILE), list(names))
    order = "W, Y, Z, X (ACN, SN3D)" if format == "foa" else "of 4 microphones"
    manifests.details = (
        f"{format} {order}, {num_classes} classes from 0 {names[0]} to "
        f"{num_classes - 1} {names[-1]}"
    )
    return manifests.write(_split(entries, parts, protocol), data_folder)


def _check_parts(parts, protocol):
    """Folders of every split; empty where there are none."""
    parts = {name: list(parts.get(name) or ()) for name in SPLITS}
    if not parts["test"]:
        raise ValueError("--parts names no folder of test; there must be one")
    if protocol == "original" and parts["valid"]:
        raise ValueError(
            "--protocol original selects on the test parts; leave "
            f"{', '.join(parts['valid'])} out, or choose --protocol dev"
        )
    if protocol == "dev" and not (parts["valid"] or parts["train"]):
        raise ValueError(
            "without training parts nothing can be held out for validation; "
            "give --parts a folder of valid, or choose --protocol original"
        )
    shared = {*parts["test"]} & {*parts["train"], *parts["valid"]}
    shared |= {*parts["train"]} & {*parts["valid"]}
    if shared:
        raise ValueError(
            f"--parts names {', '.join(sorted(shared))} in two splits"
        )
    return parts


def _find_parts(data_folder, places, format, check_counts):
    """Parts by name; all that is wrong with any of them in one message."""
    _check_place(data_folder, places)
    expected = _expected_counts(data_folder) if check_counts else {}
    found, problems = {}, {}
    for name, place in places.items():
        if is_corpus(place):
            found[name] = _Part(*read_corpus(place, format))
            continue
        folder = unpack_part(data_folder, name)
        if folder is None:
            problems[name] = "not there"
            continue
        files, problem = _part_files(folder, format, expected.get(name))
        if problem:
            problems[name] = problem
        else:
            found[name] = _published(data_folder, folder, *files, expected)
    if problems:
        lines = "; ".join(f"{name}: {text}" for name, text in problems.items())
        raise FileNotFoundError(
            f"{data_folder}: {len(problems)} of {len(places)} parts are "
            f"missing or incomplete: {lines}. Put what is missing there, as "
            f"folders or archives ({_SOURCE}), choose the others with --parts"
            + (
                ", or pass --check_counts False to use what is there"
                if check_counts
                else ""
            )
        )
    return found


def _check_place(data_folder, places):
    """Refuse a folder that is not there, is a part, or lies in one."""
    folder = Path(data_folder)
    if not folder.is_dir():
        raise FileNotFoundError(
            f"{folder}: no such folder. Put the parts of {_SOURCE} there"
        )
    names = {folder.name: folder, folder.parent.name: folder.parent}
    for name, path in names.items():
        if name in places or is_corpus(path):
            raise ValueError(
                f"{folder}: lies in one of the parts, or is one; give the "
                f"folder that holds all of them: --data_folder {path.parent}"
            )


def _expected_counts(data_folder):
    """Number of clips that each part must have."""
    made = synthetic_options(data_folder)
    return PARTS if made is None else made.get("clips", {})


def _part_files(folder, format, expected):
    """Audio and annotations of a part, and what is missing of them."""
    files, counts = [], []
    for kind, suffixes in ((format, CLIP_SUFFIXES), ("metadata", (".csv",))):
        place = unpack_part(folder, kind)
        files.append({} if place is None else list_files(place, suffixes))
        of = "" if expected is None else f" of {expected}"
        counts.append(
            f"no folder {kind}"
            if place is None
            else f"{len(files[-1])}{of} in {kind}"
        )
    numbers = {len(some) for some in files}
    if expected in (None, 0):
        complete = 0 not in numbers
    else:
        complete = numbers == {expected}
    if complete:
        return files, None
    has = ", ".join(path.name for path in find_folders(folder)) or "nothing"
    return files, f"{', '.join(counts)} (holds {has})"


def _published(data_folder, folder, audio, annotations, expected):
    """A part as it was published."""
    overlap = _OVERLAP.search(folder.name)
    clips = [
        replace(clip, overlap=overlap and overlap[1])
        for clip in pair_clips(audio, annotations, _NAME, what=folder)
    ]
    real = synthetic_options(data_folder) is None
    return _Part(
        clips,
        _published_classes(data_folder, folder),
        _dialect(clips),
        SAMPLE_RATE,
        DURATION if real and expected else None,
    )


def _published_classes(data_folder, folder):
    """Classes by the lists beside a part, which must agree."""
    found = {}
    for name in (CLASS_LIST, TEST_LIST):
        for place in (folder.parent, Path(data_folder)):
            if (place / name).is_file():
                found[name] = read_class_list(place / name)
                break
    if CLASS_LIST not in found:
        raise FileNotFoundError(
            f"{folder.parent / CLASS_LIST}: not there; the numbers of the "
            f"classes mean nothing without it. Copy it from {_SOURCE}"
        )
    names, tested = found[CLASS_LIST], found.get(TEST_LIST)
    if tested is not None and tested != names:
        number = next(
            n
            for n in range(max(len(names), len(tested)))
            if names[n : n + 1] != tested[n : n + 1]
        )
        raise ValueError(
            f"{folder.parent}: class {number} is {names[number : number + 1]} "
            f"in {CLASS_LIST} and {tested[number : number + 1]} in {TEST_LIST}"
            "; copy both lists again"
        )
    return names


def _dialect(clips):
    """Format of the annotations of a part, by its first event."""
    for clip in clips:
        lines = AnnotationLines(clip.events)
        if lines:
            return detect_dialect(lines.rows[0])
    return "synthetic"


def _common_classes(data_folder, found, num_classes):
    """Classes of all parts, which must have the same."""
    first = next(iter(found))
    names = found[first].class_names
    for part, content in found.items():
        if content.class_names != names:
            number = next(
                n
                for n in range(len(names) + 1)
                if names[n : n + 1] != content.class_names[n : n + 1]
            )
            raise ValueError(
                f"{data_folder}: {first} and {part} have different classes, "
                f"from number {number} on; only parts with the same classes "
                "can be used together"
            )
    if len(names) != num_classes:
        raise ValueError(
            f"{data_folder}: {first} has {len(names)} classes; give "
            f"--num_classes {len(names)}, not {num_classes}"
        )
    return names


def _split(entries, parts, protocol):
    """Entries of each manifest."""
    splits = {
        name: {k: e for part in parts[name] for k, e in entries[part].items()}
        for name in SPLITS
    }
    if protocol == "original":
        splits["valid"] = splits["test"]
    elif not parts["valid"]:
        for part in parts["train"]:
            last = list(entries[part])[
                -max(1, len(entries[part]) // _HELD_OUT) :
            ]
            for key in last:
                splits["valid"][key] = splits["train"].pop(key)
    if not parts["train"]:
        del splits["train"]
    return splits


def write_synthetic_pseldnets(
    data_folder,
    *,
    clips=None,
    duration=DURATION,
    scene=None,
    kinds=KINDS,
    formats=("foa",),
    **options,
):
    """Write a small twin of the corpus, of synthetic events.

    Folders, names and formats are those of the real one. Interrupted, it goes
    on where it stopped; with other arguments it is made again. Real data are
    never touched.

    Arguments
    ---------
    data_folder : str or Path
        Gets the parts and the lists of classes.
    clips : dict
        Number of clips of some of ``PARTS``; default 8 of each training part
        and 4 of each test part.
    duration : float
        Seconds a clip.
    scene : dict, optional
        Options of all scenes, see ``draw_scene`` of
        ``spatial_brain.simulation.sound_scenes.plan``.
    kinds : sequence of str
        Embedded kinds of sound, one a class.
    formats : sequence of str
        Of ``"foa"``, ``"mic"`` and ``"sum"``: folders of each part.
    **options
        ``seed`` and ``num_workers`` of
        ``spatial_brain.datasets.seld.synthetic.write_synthetic_seld``.

    Returns
    -------
    Path
        The data folder.

    Raises
    ------
    ValueError
        If real data lie there, or parts are unknown.

    Example
    -------
    >>> write_synthetic_pseldnets("data", clips={"train_ov1": 3})
    Traceback (most recent call last):
    ValueError: clips must give numbers of train20000_ov1_1, ...
    """
    default = {name: 8 if name.startswith("train") else 4 for name in PARTS}
    numbers = clip_numbers(clips, default)
    numbers = {name: number for name, number in numbers.items() if number}
    root = Path(data_folder)
    write_synthetic_seld(
        root,
        numbers,
        _place,
        made_with={"name": "PSELDNets", "clips": numbers, "duration": duration},
        kinds=kinds,
        others=(CLASS_LIST, TEST_LIST),
        fs=SAMPLE_RATE,
        dialect="synthetic",
        duration=duration,
        formats=formats,
        audio="flac",
        scene=scene,
        **options,
    )
    lines = [
        f"{number}\t/m/twin{number}\t{kind}\t0\t0.0\n"
        for number, kind in enumerate(kinds)
    ]
    for name in (CLASS_LIST, TEST_LIST):
        with atomic_path(root / name) as temporary:
            temporary.write_text("".join(lines), encoding="utf-8")
    return root


def _place(part, index):
    """Folder, name, annotation and scene of a clip of the twin."""
    scene = {"max_overlap": int(_OVERLAP.search(part)[1][-1])}
    name = f"fold0_room0_mix{index + 1:05d}"
    if part.startswith("test"):
        room = index % _MEASURED_ROOMS + 1
        name = f"fold1_room{room}_mix{index // _MEASURED_ROOMS + 1:03d}"
        scene["room_seed"] = room
    return f"{part}/{{format}}", name, f"{part}/metadata/{name}.csv", scene
