"""L3DAS22 Task 2: sound events in an office, and a synthetic twin.

E. Guizzo, C. Marinoni, M. Pennese, X. Ren, X. Zheng, C. Zhang, B. Masiero,
A. Uncini, D. Comminiello, "L3DAS22 Challenge: Learning 3D audio sources in a
real office environment", ICASSP 2022;
https://www.kaggle.com/datasets/l3dasteam/l3das22. 900 clips of 30 s, 32 kHz,
each recorded by two first-order Ambisonic microphones, A and B; 14 classes,
up to three at once, static. On disk, as downloaded or flattened::

    L3DAS22_Task2_train/L3DAS22_Task2_train/data/split0_ov1_0_A.wav ...
    L3DAS22_Task2_train/L3DAS22_Task2_train/labels/label_split0_ov1_0.csv ...
    L3DAS22_Task2_dev/...        (split 4)
    L3DAS22_Task2_test/...       (split 5)

Only microphone A is read: labels are positions relative to it. The order of
its B-format channels is documented in two ways, so it is estimated from the
data. Where one source sounds alone, the mean active intensity ``W * channel``
points to the source (F. J. Fahy, "Sound Intensity", 2nd ed. 1995, chapter 4):
the right axes and signs of the channels are those, of the 48 ways to permute
and to mirror them, which bring it closest to the labelled directions.
"""

import itertools
import logging
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from spatial_brain.dataio.annotations import L3DAS22_CLASSES
from spatial_brain.dataio.audio import read_audio
from spatial_brain.dataio.parallel import progress
from spatial_brain.datasets.seld.checks import (
    Manifests,
    check_choice,
    check_clips,
    check_count,
)
from spatial_brain.datasets.seld.chunks import read_clip_events
from spatial_brain.datasets.seld.files import (
    CLIP_SUFFIXES,
    is_half_unpacked,
    list_files,
    pair_clips,
    unpack_part,
)
from spatial_brain.datasets.seld.synthetic import (
    clip_numbers,
    write_synthetic_seld,
)
from spatial_brain.datasets.synthetic_data import synthetic_options

logger = logging.getLogger(__name__)

CLASS_NAMES = L3DAS22_CLASSES
# Embedded kind of sound for each class of synthetic data.
_SOUNDS = (
    "clink",
    "keyboard",
    "cupboard",
    "drawer",
    "speech_female",
    "finger_snap",
    "keys",
    "knock",
    "laughter",
    "speech_male",
    "printer",
    "scissors",
    "telephone",
    "writing",
)
KINDS = dict(zip(CLASS_NAMES, _SOUNDS, strict=True))
SAMPLE_RATE = 32000
DURATION = 30.0
CLIPS_PER_SPLIT = 150
DIALECT = "l3das22"
OVERLAPS = ("ov1", "ov2", "ov3")
PROTOCOLS = {
    "dev": {"train": (0, 1, 2, 3), "valid": (4,), "test": (5,)},
    "original": {"train": (0, 1, 2, 3, 4), "valid": (5,), "test": (5,)},
}
CHANNEL_ORDERS = {"WYZX": (0, 1, 2, 3), "WZYX": (0, 2, 1, 3)}
# Splits in each published archive.
_SETS = {
    "L3DAS22_Task2_train": (0, 1, 2, 3),
    "L3DAS22_Task2_dev": (4,),
    "L3DAS22_Task2_test": (5,),
}
_NAME = r"split(?P<fold>\d+)_(?P<overlap>ov\d)_\d+_A"
_OTHER_TASK = r"L3DAS22_Task1.*"
_REMEDY = (
    "Kaggle asks for your own account: log in, create a token under Settings, "
    "API, put the file kaggle.json into ~/.kaggle, then run "
    "`pip install kaggle` and `kaggle datasets download -d l3dasteam/l3das22 "
    "-p {folder}` (or download the three archives L3DAS22_Task2_* from "
    "https://www.kaggle.com/datasets/l3dasteam/l3das22); archives are unpacked "
    "from there"
)
# The room of the recordings, in which nothing moves.
OFFICE = {
    "size_low": [6.0, 5.0, 3.0],
    "size_high": [6.0, 5.0, 3.0],
    "moving_probability": 0.0,
}
# Axes of the channels Y, Z, X in a direction vector (x, y, z).
_AXES = (1, 2, 0)
# Frames this much below the loudest one of the clip are left out.
_QUIET = 0.01
# Clips that are read for the order, and frames that are needed.
_MOST_CLIPS, _FEWEST_FRAMES = 60, 30
# Least mean cosine between intensity and labels, and its least lead over the
# next best order. In a simulated room of T60 0.8 s, 6 dB over the noise, they
# are 0.68 and 0.07; the sign of Z leads least, as elevations are small.
_CLEAR, _LEAD = 0.4, 0.03


def prepare_l3das22(
    data_folder,
    save_folder,
    *,
    protocol="dev",
    overlap=None,
    channel_order="auto",
    check_counts=True,
    num_workers=8,
    skip_prep=False,
):
    """Write the manifests ``train.json``, ``valid.json`` and ``test.json``.

    Archives in the data folder are unpacked; audio is neither moved nor
    copied. Nothing is done when the manifests are there and were made with
    the same arguments. For entries see ``spatial_brain.datasets.seld.checks``.

    Arguments
    ---------
    data_folder : str or Path
        Holds the folders or archives of Kaggle, or the flattened folders
        ``data_train``, ``labels_train``, ``data_test``, ``labels_test``.
    save_folder : str or Path
        Where the manifests go.
    protocol : str
        ``"dev"``: train on splits 0 to 3, select on 4, test on 5.
        ``"original"`` (PSELDNets): train on 0 to 4, select and test on 5, so
        that its scores are optimistic.
    overlap : sequence of str, optional
        Train on these clips only: ``["ov1"]`` has no overlapping events.
    channel_order : str
        ``"WYZX"`` or ``"WZYX"``: that of the files; ``"auto"`` finds out.
    check_counts : bool
        Compare the numbers of clips with the published ones.
    num_workers : int
        Threads that read headers.
    skip_prep : bool
        Trust the manifests that are there.

    Returns
    -------
    dict
        ``"train"``, ``"valid"``, ``"test"`` to the path of the manifest.

    Raises
    ------
    FileNotFoundError
        If data or annotations are missing; the message shows how to get them.
    ValueError
        If arguments are unknown, files or their number are not as they
        should be, or the channel order cannot be found.

    Example
    -------
    >>> prepare_l3das22(getfixture("tmp_path"), "save")
    Traceback (most recent call last):
    FileNotFoundError: ...: no clips of L3DAS22_Task2_train, ... Kaggle asks...
    """
    overlap = OVERLAPS if overlap is None else tuple(overlap)
    check_choice("protocol", protocol, tuple(PROTOCOLS))
    check_choice("channel_order", channel_order, ("auto", *CHANNEL_ORDERS))
    for value in overlap:
        check_choice("overlap", value, OVERLAPS)
    synthetic = synthetic_options(data_folder)
    options = {
        "data_folder": os.path.abspath(data_folder),
        "protocol": protocol,
        "overlap": sorted(overlap),
        "channel_order": channel_order,
        "check_counts": check_counts,
        "synthetic_data": synthetic,
    }
    splits = PROTOCOLS[protocol]
    manifests = Manifests(
        save_folder, splits, options, f"{len(CLASS_NAMES)} classes"
    )
    if skip_prep or manifests.ready:
        return manifests.paths
    published = check_counts and synthetic is None
    entries = _entries(data_folder, published, num_workers)
    _set_channels(entries, channel_order)
    return manifests.write(
        {
            name: {
                key: entry
                for key, entry in entries.items()
                if int(entry["fold"]) in folds
                and (name != "train" or entry["overlap"] in overlap)
            }
            for name, folds in splits.items()
        },
        data_folder,
    )


def _entries(data_folder, published, num_workers):
    """Checked entries of microphone A of all splits."""
    remedy = _REMEDY.format(folder=data_folder)
    if not Path(data_folder).is_dir():
        raise FileNotFoundError(f"{data_folder}: no such folder. {remedy}")
    wavs = _unpacked(data_folder)
    missing = [n for n, splits in _SETS.items() if not _of_splits(wavs, splits)]
    if missing:
        raise FileNotFoundError(
            f"{data_folder}: no clips of {', '.join(missing)}. {remedy}"
        )
    labels = {
        stem.removeprefix("label_"): path
        for stem, path in list_files(
            data_folder,
            (".csv",),
            r"(label_)?split\d+_ov\d_\d+",
            skip=_OTHER_TASK,
        ).items()
    }
    clips = pair_clips(
        wavs,
        labels,
        _NAME,
        what=data_folder,
        key=lambda stem: stem.removesuffix("_A"),
    )
    if published:
        for split in range(6):
            check_count(
                f"{data_folder}: split {split}, microphone A",
                len(_of_splits(wavs, [split])),
                CLIPS_PER_SPLIT,
                remedy,
            )
    return check_clips(
        clips,
        SAMPLE_RATE,
        DIALECT,
        len(CLASS_NAMES),
        duration=DURATION if published else None,
        num_workers=num_workers,
    )


def _of_splits(wavs, splits):
    """Stems of some splits."""
    starts = tuple(f"split{split}_" for split in splits)
    return [stem for stem in wavs if stem.startswith(starts)]


def _unpacked(data_folder):
    """Files of microphone A, after unpacking what is still in archives."""

    def find():
        return list_files(data_folder, CLIP_SUFFIXES, _NAME, skip=_OTHER_TASK)

    wavs = find()
    for part, splits in _SETS.items():
        if not _of_splits(wavs, splits) or is_half_unpacked(data_folder, part):
            unpack_part(data_folder, part)
    # Names that Kaggle gives to the whole.
    for part in ("l3das22", "archive"):
        if not wavs or is_half_unpacked(data_folder, part):
            unpack_part(data_folder, part)
    return find()


def _set_channels(entries, channel_order):
    """Note in each entry which channels of the file are W, Y, Z and X."""
    if channel_order == "auto":
        order = _estimate_channel_order(
            {k: e for k, e in entries.items() if e["overlap"] == "ov1"}
        )
        logger.info(
            "channel order of the files: %s (signs %s), from %d frames with "
            "one source: mean cosine between intensity and labels %.2f, with "
            "the next best order %.2f",
            order.name,
            order.signs,
            order.num_frames,
            order.cosine,
            order.cosine - order.lead,
        )
        channels, signs = order.channels, order.signs
    else:
        channels, signs = CHANNEL_ORDERS[channel_order], (1, 1, 1, 1)
    for entry in entries.values():
        entry["channels"] = list(channels)
        if min(signs) < 0:
            entry["channel_signs"] = list(signs)


@dataclass(frozen=True)
class _ChannelOrder:
    """Order of the channels of a recording."""

    # Indices to read to get W, Y, Z, X; -1 where a channel is inverted.
    channels: tuple
    signs: tuple
    # Mean cosine between intensity and labels; its lead over the next order.
    cosine: float
    lead: float
    num_frames: int

    @property
    def name(self):
        """Letters of the channels as they lie in the file."""
        letters = dict(zip(self.channels, "WYZX", strict=True))
        return "".join(letters[index] for index in range(4))


def _estimate_channel_order(entries):
    """Order of the channels, from single sources; the first channel is W."""
    names = sorted(entries)
    step = max(1, len(names) / _MOST_CLIPS)
    chosen = [names[int(i * step)] for i in range(int(len(names) / step))]
    rows = [
        _single_source_frames(name, entries[name])
        for name in progress(
            chosen, description="looking for the channel order", unit="clip"
        )
    ]
    directions = np.concatenate([r[0] for r in rows] or [np.zeros((0, 3))])
    intensity = np.concatenate([r[1] for r in rows] or [np.zeros((0, 3))])
    remedy = "pass --channel_order WYZX (or WZYX) instead of auto"
    if len(directions) < _FEWEST_FRAMES:
        raise ValueError(
            f"the channel order cannot be found: {len(directions)} frames with "
            f"one source in {len(chosen)} clips, at least {_FEWEST_FRAMES} "
            f"are needed; {remedy}"
        )
    (cosine, axes, signs), (second, *_) = _best_orders(directions, intensity)
    if cosine < _CLEAR or cosine - second < _LEAD:
        raise ValueError(
            "the channel order cannot be found: the intensity of single "
            f"sources does not follow their labels (mean cosine {cosine:.2f}, "
            f"with another order {second:.2f}); check that annotations and "
            f"audio belong together, or {remedy}"
        )
    index = [axes.index(axis) for axis in _AXES]
    return _ChannelOrder(
        (0, *(channel + 1 for channel in index)),
        (1, *(signs[channel] for channel in index)),
        cosine,
        cosine - second,
        len(directions),
    )


def _best_orders(directions, intensity):
    """The two best of all orders: mean cosine, axis and sign of channels."""
    # moment[channel, axis]: a sum of three of these is a mean cosine.
    moment = intensity.T @ directions / len(directions)
    orders = [
        (
            float(sum(s * moment[c, a] for c, (a, s) in enumerate(pairs))),
            axes,
            signs,
        )
        for axes in itertools.permutations(range(3))
        for signs in itertools.product((1, -1), repeat=3)
        for pairs in [list(zip(axes, signs, strict=True))]
    ]
    return sorted(orders, reverse=True)[:2]


def _single_source_frames(name, entry):
    """Directions of labels and intensity where one source is, [N, 3]."""
    events = read_clip_events(name, entry)
    size = entry["fs"] // 10
    number = entry["num_samples"] // size
    waveform, _ = read_audio(entry["wav"], 0, number * size, num_channels=4)
    # Low frequencies carry most of the noise and of the room's modes.
    waveform = np.diff(waveform.numpy(), axis=0, prepend=0)
    frames = waveform.reshape(number, size, 4)
    power = (frames[..., 0] ** 2).mean(axis=1)
    intensity = (frames[..., :1] * frames[..., 1:]).mean(axis=1)
    length = np.linalg.norm(intensity, axis=1, keepdims=True)
    intensity /= np.maximum(length, np.finfo(np.float32).tiny)
    events = events.select(events.frame < number)
    alone = events.overlap(number)[events.frame] == 1
    loud = power[events.frame] > _QUIET * power.max(initial=0)
    rows = alone & loud
    return events.directions[rows], intensity[events.frame[rows]]


def write_synthetic_l3das22(
    data_folder,
    *,
    clips=None,
    duration=DURATION,
    scene=None,
    **options,
):
    """Write a small L3DAS22 of synthetic events in one simulated room.

    Folders, names, formats and annotations are those of the download, of
    microphone A only: nothing reads B. Sources do not move. Interrupted, it
    goes on where it stopped; with other arguments it is made again. Real data
    are never touched.

    Arguments
    ---------
    data_folder : str or Path
        Gets the folders.
    clips : dict
        Number of clips of ``"train"`` (splits 0 to 3), ``"valid"`` (4) and
        ``"test"`` (5), one, two and three overlapping events in turn;
        default 24, 6 and 6.
    duration : float
        Seconds a clip.
    scene : dict, optional
        Options of all scenes, see ``draw_scene`` of
        ``spatial_brain.simulation.sound_scenes.plan``; by default those of
        ``OFFICE``.
    **options
        ``seed``, ``num_workers`` and ``bank`` of
        ``spatial_brain.datasets.seld.synthetic.write_synthetic_seld``; the
        default bank has an embedded kind for each of the 14 classes.

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
    >>> write_synthetic_l3das22("data", clips={"dev": 3})
    Traceback (most recent call last):
    ValueError: clips must give numbers of train, valid, test, ...
    """
    numbers = clip_numbers(clips, {"train": 24, "valid": 6, "test": 6})
    write_synthetic_seld(
        data_folder,
        numbers,
        _place,
        made_with={"name": "L3DAS22", "clips": numbers, "duration": duration},
        kinds=KINDS,
        fs=SAMPLE_RATE,
        dialect=DIALECT,
        duration=duration,
        formats=("foa",),
        scene={**OFFICE, **(scene or {})},
        **options,
    )
    return Path(data_folder)


def _place(name, index):
    """Folder, name, annotation and scene of a synthetic clip."""
    part = f"L3DAS22_Task2_{'dev' if name == 'valid' else name}"
    overlap, count = index % 3 + 1, index // 3
    splits = _SETS[part]
    split = splits[count % len(splits)]
    stem = f"split{split}_ov{overlap}_{count // len(splits)}"
    return (
        f"{part}/{part}/data",
        f"{stem}_A",
        f"{part}/{part}/labels/label_{stem}.csv",
        {"max_overlap": overlap, "room_seed": 22},
    )
