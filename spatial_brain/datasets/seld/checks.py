"""Checks of SELD data sets before training, and their manifests.

An entry of a manifest describes one clip::

    {"wav": path, "num_samples": int, "fs": int,
     "events": path of the annotation or null, "dialect": its format,
     "room": str or null, "fold": str or null, "overlap": str or null}

Where the channels of the file are not W, Y, Z, X, ``channels`` lists the
indices to read, in that order, and ``channel_signs`` is -1 where a channel is
inverted. Files of another number of channels have it as ``file_channels``, of
another rate than ``fs`` have ``"resample": true``.
"""

import logging
import math
import os
from dataclasses import replace
from pathlib import Path

from spatial_brain.dataio.annotations import read_events
from spatial_brain.dataio.audio import (
    AudioFileError,
    check_audio,
    list_problems,
    scan_headers,
)
from spatial_brain.dataio.manifest import is_prepared
from spatial_brain.dataio.parallel import progress
from spatial_brain.datasets.summary import (
    describe,
    facts,
    repeat,
    write_prepared,
)

logger = logging.getLogger(__name__)

# Annotations that end this much after the audio belong to another file.
_FRAMES_TOO_MANY = 10
# Durations differ from the published one by less than this, seconds.
_TOLERANCE = 0.5


def check_choice(name, value, known):
    """Raise ValueError unless an argument has one of the known values.

    Arguments
    ---------
    name : str
        Of the argument.
    value : str
        What it is.
    known : sequence of str
        What it may be.

    Raises
    ------
    ValueError
        If it is none of them.

    Example
    -------
    >>> check_choice("format", "stereo", ("foa", "mic"))
    Traceback (most recent call last):
    ValueError: format must be one of ('foa', 'mic'), got 'stereo'
    """
    if value not in known:
        raise ValueError(f"{name} must be one of {known}, got {value!r}")


def num_label_frames(num_samples, fs):
    """Label frames of 100 ms in a clip, the last one perhaps not full.

    Arguments
    ---------
    num_samples : int
        Length of the clip.
    fs : int
        Hz, a multiple of 10.

    Returns
    -------
    int
        ``ceil(num_samples / (0.1 * fs))``.

    Example
    -------
    >>> num_label_frames(24000, 24000), num_label_frames(24001, 24000)
    (10, 11)
    """
    return math.ceil(num_samples * 10 / fs)


def _raise_problems(problems, total, what):
    """Raise ValueError with the number of problems and the first ten."""
    if problems:
        raise ValueError(list_problems(problems, total, what))


def check_count(folder, found, published, remedy):
    """Compare the number of clips with the published one.

    Arguments
    ---------
    folder : str or Path
        Named in the message.
    found, published : int
        Numbers of clips.
    remedy : str
        How to get what is missing.

    Raises
    ------
    ValueError
        If they differ.

    Example
    -------
    >>> check_count("foa_dev", 599, 600, "Download it again")
    Traceback (most recent call last):
    ValueError: foa_dev: has 599 clips, 600 were published. Download it ...
    """
    if found != published:
        raise ValueError(
            f"{folder}: has {found} clips, {published} were published. "
            f"{remedy}, or pass --check_counts False to use what is there"
        )


def check_clips(
    clips, fs, dialect, num_classes, *, duration=None, num_workers=8
):
    """Check headers and annotations of all clips, and describe them.

    Arguments
    ---------
    clips : list of Clip
        From ``pair_clips``, with or without annotations.
    fs : int
        Rate every file must have, Hz; all must have four channels.
    dialect : str
        Format of the annotations.
    num_classes : int
        Labels must be below it.
    duration : float, optional
        Seconds every clip must last (within 0.5 s).
    num_workers : int
        Threads that read headers.

    Returns
    -------
    dict
        Id to entry of a manifest, see ``clip_entry``.

    Raises
    ------
    ValueError
        If audio files are unusable, annotations are malformed, labels are
        out of range, or events lie behind the end of the audio; names the
        first ten files and their faults.

    Example
    -------
    >>> from spatial_brain.datasets.seld.files import Clip
    >>> check_clips([Clip("a", "a.wav")], 24000, "dcase2021", 12)
    Traceback (most recent call last):
    ValueError: 1 of 1 audio files are unusable:
      [Errno 2] audio file does not exist; check the path: 'a.wav'
    """
    clips = _check_recordings(clips, fs, duration, num_workers)
    _check_annotations(clips, fs, dialect, num_classes)
    return {clip.id: clip_entry(clip, fs, dialect) for clip in clips}


def _check_recordings(clips, fs, duration, num_workers):
    """Clips with their lengths, their headers checked."""

    def check(info):
        check_audio(info, fs=fs, num_channels=4)
        if duration is not None and abs(info.duration - duration) > _TOLERANCE:
            raise AudioFileError(
                f"{info.path}: lasts {info.duration:.2f} s, every clip of this "
                f"data set lasts {duration:.0f} s; copy it again"
            )

    paths = [clip.wav for clip in clips]
    infos, problems = scan_headers(paths, check, num_workers)
    _raise_problems(problems, len(clips), "audio files")
    return [
        replace(clip, num_samples=info.num_samples)
        for clip, info in zip(clips, infos, strict=True)
    ]


def _check_annotations(clips, fs, dialect, num_classes):
    """Read all annotations; warn of what ends just after the audio."""
    problems = []
    clips = [clip for clip in clips if clip.events is not None]
    for clip in progress(clips, description="reading annotations", unit="file"):
        num_frames = num_label_frames(clip.num_samples, fs)
        try:
            table = read_events(clip.events, dialect, num_classes=num_classes)
        except (ValueError, OSError) as error:
            problems.append(str(error))
            continue
        last = int(table.frame.max(initial=-1))
        if last >= num_frames + _FRAMES_TOO_MANY:
            problems.append(
                f"{clip.events}: an event in frame {last}, but {clip.wav} ends "
                f"after frame {num_frames - 1}; it belongs to another clip or "
                "the audio is incomplete"
            )
        elif last >= num_frames:
            logger.warning(
                "%s: %d rows after the end of the audio are not used",
                clip.events,
                int((table.frame >= num_frames).sum()),
            )
    _raise_problems(problems, len(clips), "annotations")


def clip_entry(clip, fs, dialect):
    """Entry of a manifest for a clip.

    Arguments
    ---------
    clip : Clip
        Checked.
    fs : int
        Hz.
    dialect : str
        Format of its annotation.

    Returns
    -------
    dict
        See the head of this module.

    Example
    -------
    >>> from spatial_brain.datasets.seld.files import Clip
    >>> clip = Clip("mix001", "mix001.wav", num_samples=240)
    >>> entry = clip_entry(clip, 24000, "starss23")
    >>> entry["num_samples"], entry["events"], entry["room"]
    (240, None, None)
    """
    return {
        "wav": os.fspath(clip.wav),
        "num_samples": clip.num_samples,
        "fs": fs,
        "events": None if clip.events is None else os.fspath(clip.events),
        "dialect": dialect,
        "room": clip.room,
        "fold": clip.fold,
        "overlap": clip.overlap,
    }


class Manifests:
    """The manifests one preparation writes, made once per set of arguments.

    Arguments
    ---------
    save_folder : str or Path
        Where they go.
    names : sequence of str
        Such as ``("train", "valid", "test")``.
    options : dict
        What their content depends on.
    details : str
        What they are about, for the line of the log.

    Example
    -------
    >>> folder = getfixture("tmp_path")
    >>> manifests = Manifests(folder, ["train"], {"fold": 1})
    >>> manifests.ready
    False
    >>> clip = {"wav": "a.wav", "num_samples": 240, "fs": 24000}
    >>> paths = manifests.write({"train": {"a": clip}}, "/data")
    >>> Manifests(folder, ["train"], {"fold": 1}).ready
    True
    """

    def __init__(self, save_folder, names, options, details=""):
        self.paths = {name: Path(save_folder, f"{name}.json") for name in names}
        self.options, self.details = options, details

    @property
    def ready(self):
        """Whether all are there, made with the same options."""
        ready = all(
            is_prepared(path, self.options) for path in self.paths.values()
        )
        if ready:
            repeat(self.paths)
        return ready

    def write(self, splits, data_folder, skipped=None):
        """Write all manifests, each complete or not at all.

        Arguments
        ---------
        splits : dict
            Name of manifest to its entries (id to entry).
        data_folder : str or Path
            Stands as ``{data_root}`` in the paths.
        skipped : dict, optional
            Reason to number of clips left out.

        Returns
        -------
        dict
            Name to path.

        Raises
        ------
        ValueError
            If a split has no clip.
        """
        for name, entries in splits.items():
            if not entries:
                raise ValueError(
                    f"{data_folder}: no clip for {name}.json under the chosen "
                    f"protocol ({self.options}); give all folds of the data, "
                    "or choose another protocol or other rooms"
                )
        line = describe(
            os.fspath(data_folder)
            + (f", {self.details}" if self.details else ""),
            {
                name: facts(splits[name].values(), "clips")
                for name in self.paths
            },
            skipped,
        )
        write_prepared(
            {path: splits[name] for name, path in self.paths.items()},
            self.options,
            line,
            data_root=data_folder,
        )
        return self.paths
