"""Banks of dry sound events, and scenes written with sounds of them.

A bank holds embedded kinds of sound, or the recordings of a folder.
"""

import csv
import logging
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from pathlib import Path

import numpy as np
import torch

from spatial_brain.dataio.audio import (
    AUDIO_SUFFIXES,
    audio_info,
    read_audio,
    write_audio,
)
from spatial_brain.dataio.events import FRAME_LENGTH, EventTable
from spatial_brain.dataio.files import check_free_space
from spatial_brain.dataio.parallel import progress, run_jobs
from spatial_brain.datasets.splits import are_splits, first_names, take_split
from spatial_brain.folders import find_files, find_folders
from spatial_brain.simulation.sound_scenes.plan import draw_scene
from spatial_brain.simulation.sound_scenes.render import render_scene
from spatial_brain.simulation.synthesis.events import (
    EVENT_KINDS,
    event_durations,
    synthetic_event,
)
from spatial_brain.simulation.variation import SoundVariation

logger = logging.getLogger(__name__)

# A recording is active from the first to the last frame of 20 ms that is
# within 40 dB of its loudest.
_FRAME, _RANGE = 0.02, 40.0
# Recordings are faded in and out over this time, seconds.
_FADE = 0.005
# Shorter parts between pauses are not taken, seconds.
_CLICK = 0.1
_COLUMNS = ("label", "path", "active_start", "active_end")


@dataclass(frozen=True)
class Recording:
    """Part of an audio file that holds a sound event.

    Arguments
    ---------
    path : Path
        Audio file.
    start, stop : float, optional
        Seconds; by default where the file is active is measured when it is
        first used.

    Example
    -------
    >>> Recording(Path("bark.flac"), 0.5, 1.25).start
    0.5
    """

    path: Path
    start: float | None = None
    stop: float | None = None

    def between_pauses(self, longest):
        """The parts of the recording that pauses do not interrupt.

        What is labelled as active is then what sounds: a dog that barks twice
        in five seconds is two events.

        Arguments
        ---------
        longest : float
            Seconds; longer pauses divide.

        Returns
        -------
        list of Recording
            With ``start`` and ``stop``, in their order; parts below 0.1 s,
            clicks mostly, are left out if there is a longer one.

        Raises
        ------
        ValueError
            If the file is silent or cannot be read.
        """
        whole = self.located()
        active, seconds = _active_frames(self.path)
        first = int(round(whole.start / seconds))
        frames = first + np.flatnonzero(
            active[first : int(np.ceil(whole.stop / seconds - 1e-9))]
        )
        if not len(frames):
            return [whole]
        ends = np.flatnonzero(np.diff(frames) > longest / seconds + 1) + 1
        parts = [
            replace(
                self,
                start=max(float(part[0]) * seconds, whole.start),
                stop=min(float(part[-1] + 1) * seconds, whole.stop),
            )
            for part in np.split(frames, ends)
        ]
        long = [part for part in parts if part.stop - part.start >= _CLICK]
        return long or parts

    def located(self):
        """Recording with its active part.

        Returns
        -------
        Recording
            With ``start`` and ``stop``.

        Raises
        ------
        ValueError
            If the file is silent or cannot be read.
        """
        if self.stop is not None:
            return self
        start, stop = _active_part(self.path)
        return replace(self, start=start, stop=stop)


@lru_cache(maxsize=65536)
def _active_part(path):
    """First and last second of what is active in a file."""
    active, seconds = _active_frames(path)
    where, info = np.flatnonzero(active), audio_info(path)
    stop = min((int(where[-1]) + 1) * seconds, info.num_samples / info.fs)
    return int(where[0]) * seconds, stop


def _active_frames(path):
    """Which frames of a file are active [frame], and seconds of a frame."""
    waveform, fs = read_audio(path)
    mono = waveform.mean(-1)
    frame = max(int(_FRAME * fs), 1)
    padded = torch.nn.functional.pad(mono, (0, -len(mono) % frame))
    power = padded.unfold(0, frame, frame).square().mean(-1)
    if not bool((power > 0).any()):
        raise ValueError(f"{path}: silent; remove it from the sound events")
    active = power >= power.max() * 10.0 ** (-_RANGE / 10.0)
    return active.numpy(), frame / fs


class EventBank:
    """Dry sound events by class.

    Arguments
    ---------
    sounds : sequence of str or dict
        Kinds of ``EVENT_KINDS``, one a class; or name of class to its kind,
        or to its list of recordings.
    interferers : sequence of str or dict
        The same for sounds that are not labelled; their labels follow those
        of the classes.
    variation : SoundVariation, optional
        How recordings vary from one use to the next; by default not at all.
        Embedded kinds of sound always do.

    Attributes
    ----------
    class_names : tuple of str
        Classes in the order of their labels.
    interferers : tuple of int
        Labels of interferers.

    Raises
    ------
    ValueError
        If a kind is unknown, a class has no recordings, or a name is used
        twice.

    Example
    -------
    >>> bank = EventBank({"ringing phone": "telephone", "door": "knock"})
    >>> bank.class_names
    ('ringing phone', 'door')
    >>> bank.draw("door", np.random.default_rng(0), 0.5, fs=16000).shape
    torch.Size([8000])
    """

    def __init__(self, sounds, interferers=(), variation=None):
        targets, others = _by_class(sounds), _by_class(interferers)
        if not targets or targets.keys() & others.keys():
            raise ValueError(
                "a bank needs classes, and interferers of other names; got "
                f"{tuple(targets)} and {tuple(others)}"
            )
        self.class_names = tuple(targets)
        self.interferers = tuple(
            range(len(targets), len(targets) + len(others))
        )
        self._names = (*targets, *others)
        self._sounds = [*targets.values(), *others.values()]
        self.variation = SoundVariation() if variation is None else variation

    @property
    def num_classes(self):
        """Number of classes without interferers."""
        return len(self.class_names)

    @classmethod
    def from_folder(
        cls,
        folder,
        *,
        split=None,
        class_names=None,
        interferers=(),
        variation=None,
    ):
        """Bank of a folder of recordings.

        Either ``folder/manifest.csv`` lists them (columns ``label``,
        ``path``, ``active_start`` and ``active_end`` in seconds, and
        ``split`` if one is asked for; paths relative to the folder that holds
        ``folder``, or to ``folder``), or there is one sub-folder a class, in
        the sub-folder of the split if one is asked for. Splits may have any
        usual names, such as ``dev`` for ``"valid"``.

        Arguments
        ---------
        folder : str or Path
            Where the recordings are.
        split : str, optional
            Take those of this split only.
        class_names : sequence of str, optional
            Classes in the order of their labels; by default all that are
            found and no interferers, sorted.
        interferers : sequence of str
            Classes of sounds that are not labelled.
        variation : SoundVariation, optional
            See the class.

        Returns
        -------
        EventBank

        Raises
        ------
        FileNotFoundError
            If the folder or a listed file is missing.
        ValueError
            If a column is missing, a line is wrong, or a class has no
            recordings.

        Example
        -------
        >>> from spatial_brain.dataio.audio import write_audio
        >>> folder = getfixture("tmp_path")
        >>> write_audio(folder / "bark" / "a.wav", torch.rand(8000), 8000)
        >>> EventBank.from_folder(folder).class_names
        ('bark',)
        """
        folder = Path(folder)
        if not folder.is_dir():
            raise FileNotFoundError(f"{folder}: no such folder of sound events")
        manifest = folder / "manifest.csv"
        if manifest.is_file():
            found = _read_manifest(manifest, split)
        else:
            found = _list_folders(folder, split)
        names = class_names
        if class_names is None:
            names = sorted(found.keys() - set(interferers))
        if not names:
            raise ValueError(
                f"{folder}: no recordings found"
                + (f" of split {split!r}" if split else "")
                + "; expected one sub-folder a class, or manifest.csv"
            )
        return cls(
            {name: found.get(name, []) for name in names},
            {name: found.get(name, []) for name in interferers},
            variation,
        )

    def _label(self, label):
        """Index of a class given by index or name."""
        if isinstance(label, str):
            if label not in self._names:
                raise ValueError(
                    f"no class {label!r}; the bank has {self._names}"
                )
            return self._names.index(label)
        if not 0 <= label < len(self._sounds):
            raise ValueError(
                f"label must be in [0, {len(self._sounds)}), got {label}"
            )
        return int(label)

    @property
    def sounds(self):
        """Name of each class and interferer to its kind or recordings."""
        return dict(zip(self._names, self._sounds, strict=True))

    def recording(self, label, source):
        """What a sound of :meth:`pick` is taken from.

        Arguments
        ---------
        label : int or str
            Class.
        source : int
            Which sound.

        Returns
        -------
        Recording or None
            None for an embedded kind of sound.
        """
        sound = self._sounds[self._label(label)]
        return None if isinstance(sound, str) else sound[source % len(sound)]

    def pick(self, label, rng):
        """Choose a sound of a class, without making it.

        Arguments
        ---------
        label : int or str
            Class.
        rng : numpy.random.Generator
            Source of randomness.

        Returns
        -------
        source : int
            Which sound; for :meth:`load`.
        seconds : float
            How long it is.
        """
        sound = self._sounds[self._label(label)]
        source = int(rng.integers(2**31))
        if isinstance(sound, str):
            return source, float(rng.uniform(*event_durations(sound)))
        recording = self.recording(label, source).located()
        seconds = recording.stop - recording.start
        return source, seconds / self.variation.speed(source)

    def load(self, label, source, duration=None, fs=24000):
        """Make or read a sound.

        Arguments
        ---------
        label : int or str
            Class.
        source : int
            From :meth:`pick`. It also decides which part of a recording is
            taken that is longer than ``duration``.
        duration : float, optional
            Seconds; a recording that is shorter stays so. By default what is
            usual for the kind, or the whole recording.
        fs : int
            Sampling rate, Hz.

        Returns
        -------
        torch.Tensor
            float32 [time], of peak 1; it starts at once.

        Raises
        ------
        ValueError
            If the class is unknown or its recording silent.
        """
        sound = self._sounds[self._label(label)]
        if isinstance(sound, str):
            generator = torch.Generator().manual_seed(source)
            return synthetic_event(sound, duration, fs, generator)
        recording = self.recording(label, source).located()
        length = recording.stop - recording.start
        wanted = length
        if duration is not None:
            wanted = min(duration * self.variation.speed(source), length)
        share = np.random.default_rng(source).random()
        start = recording.start + share * (length - wanted)
        sound = _read(recording.path, start, wanted, fs)
        if self.variation == SoundVariation():
            return sound
        sound = self.variation.apply(sound, fs, source)
        return sound / sound.abs().max()

    def draw(self, label, rng, duration=None, fs=24000):
        """Choose a sound of a class and make or read it.

        Arguments
        ---------
        label : int or str
            Class.
        rng : numpy.random.Generator
            Source of randomness.
        duration : float, optional
            Seconds, as for :meth:`load`.
        fs : int
            Sampling rate, Hz.

        Returns
        -------
        torch.Tensor
            float32 [time], of peak 1.
        """
        source, _ = self.pick(label, rng)
        return self.load(label, source, duration, fs)


def _by_class(sounds):
    """Classes with their kind or recordings, checked."""
    if not isinstance(sounds, dict):
        sounds = list(sounds)
        if len(set(sounds)) != len(sounds):
            raise ValueError(f"kinds must differ, got {sounds}")
        sounds = {kind: kind for kind in sounds}
    for name, sound in sounds.items():
        if isinstance(sound, str) and sound not in EVENT_KINDS:
            raise ValueError(
                f"class {name!r}: kind must be one of {EVENT_KINDS}, got "
                f"{sound!r}"
            )
        if not sound:
            raise ValueError(
                f"class {name!r} has no recordings; add some or leave it out "
                "of --class_names"
            )
    return dict(sounds)


def _read(path, start, seconds, fs):
    """Read a part of a file: mono, faded, of peak 1."""
    info = audio_info(path)
    total = int(np.ceil(info.num_samples * fs / info.fs))
    first = min(round(start * fs), total - 1)
    count = max(min(round(seconds * fs), total - first), 1)
    waveform, _ = read_audio(path, first, count, fs, resample=True)
    mono = waveform.mean(-1)
    fade = min(int(_FADE * fs), len(mono) // 2)
    ramp = torch.linspace(0.0, 1.0, fade)
    mono[:fade] *= ramp
    mono[len(mono) - fade :] *= ramp.flip(0)
    peak = float(mono.abs().max())
    if peak == 0:
        raise ValueError(
            f"{path}: silent from {start:.2f} s for {seconds:.2f} s; correct "
            "its active part or remove it"
        )
    return mono / peak


def _list_folders(folder, split):
    """Recordings of each sub-folder, perhaps of a split."""
    names = [path.name for path in find_folders(folder)]
    if split is not None:
        folder = folder / _split_names(names, split, folder)[0]
    elif are_splits(names, folder, "classes"):
        raise ValueError(
            f"{folder}: its sub-folders {first_names(names)} are splits, not "
            "classes; give one of them"
        )
    found = {}
    files = find_files(folder, AUDIO_SUFFIXES)
    for path in files:
        if path.parent != folder:
            name = path.relative_to(folder).parts[0]
            found.setdefault(name, []).append(Recording(path))
    loose = len(files) - sum(map(len, found.values()))
    if loose:
        logger.warning(
            "%s: %d files lie in no sub-folder, so they have no class and are "
            "left out",
            folder,
            loose,
        )
    return found


def _read_manifest(path, split):
    """Recordings of each class of a manifest."""
    needed = _COLUMNS if split is None else (*_COLUMNS, "split")
    found = {}
    with open(path, newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        missing = [c for c in needed if c not in (reader.fieldnames or ())]
        if missing:
            raise ValueError(
                f"{path}: columns {', '.join(missing)} are missing; found "
                f"{reader.fieldnames}"
            )
        rows = [(reader.line_num, row) for row in reader]
    wanted = None
    if split is not None:
        wanted = _split_names([r["split"] for _, r in rows], split, path)
    for line, row in rows:
        if wanted is None or row["split"] in wanted:
            recording = _row_recording(path, line, row)
            found.setdefault(row["label"], []).append(recording)
    return found


def _split_names(names, split, where):
    """The one name of a split, whatever its form."""
    found = take_split(names, split, where)
    if len(found) > 1:
        raise ValueError(
            f"{where}: {first_names(found)} may all be {split!r}; rename those "
            "that are not"
        )
    return found


def _row_recording(manifest, line, row):
    """Recording of a line of a manifest."""
    try:
        start, stop = float(row["active_start"]), float(row["active_end"])
    except (TypeError, ValueError):
        start = stop = np.nan
    if not 0 <= start < stop:
        raise ValueError(
            f"{manifest}, line {line}: expected 0 <= active_start < active_end "
            f"in seconds, got {row['active_start']!r} and "
            f"{row['active_end']!r}"
        )
    places = [root / row["path"] for root in manifest.parents[:2]]
    for place in places:
        if place.is_file():
            return Recording(place, start, stop)
    raise FileNotFoundError(
        f"{manifest}, line {line}: {places[1]} does not exist; copy the "
        "recordings beside their manifest"
    )


def plan_scene(bank, rng, scene):
    """Draw a scene with sounds of a bank.

    Arguments
    ---------
    bank : EventBank
        Where the sounds come from.
    rng : numpy.random.Generator
        Source of randomness.
    scene : dict
        Options of ``draw_scene``.

    Returns
    -------
    ScenePlan

    Raises
    ------
    ValueError
        As ``draw_scene``.
    """
    return draw_scene(
        rng,
        **{
            "classes": bank.num_classes,
            "pick": bank.pick,
            "interferers": bank.interferers,
            **scene,
        },
    )


def record_scene(bank, plan, fs, formats, **options):
    """Render a planned scene with sounds of a bank.

    Arguments
    ---------
    bank : EventBank
        Where the sounds come from.
    plan : ScenePlan
        What happens.
    fs : int
        Sampling rate, Hz.
    formats : sequence of str
        As for ``render_scene``.
    **options
        ``receivers`` and ``ambience`` of ``render_scene``.

    Returns
    -------
    tuple
        Name of format to recording [time, channel], and EventTable.

    Raises
    ------
    ValueError
        If a recording is silent.
    """
    dry = [
        bank.load(event.label, event.source, event.duration, fs)
        for event in plan.events
    ]
    signals, rows = render_scene(plan, dry, fs=fs, formats=formats, **options)
    num_frames = int(round(plan.duration / FRAME_LENGTH, 6))
    return signals, EventTable(**rows, num_frames=num_frames)


def write_scenes(
    clips,
    bank,
    *,
    fs=24000,
    formats=("foa",),
    seed=0,
    num_workers=1,
    scene=None,
    subtype="PCM_16",
):
    """Write clips of sound scenes that are not there yet.

    A clip depends on ``seed``, its place in the list and its options alone.
    Files appear complete or not at all, the annotation last; a clip of which
    a file is missing is made again. So a run may be killed at any moment and
    repeated.

    Arguments
    ---------
    clips : list of dict
        For each clip "name"; "paths", name of format to audio file;
        "annotation", a file, and "write_annotation", called with it and an
        EventTable, must write it complete or not at all (both None or left
        out: no labels); "duration" in seconds; and, optional, "scene",
        options of ``draw_scene`` of this clip alone.
    bank : EventBank
        Where the sounds come from.
    fs : int
        Sampling rate, Hz.
    formats : sequence of str
        "foa", "mic" or both.
    seed : int
        The same seed writes the same clips.
    num_workers : int
        Processes; with more than one, bank and clips must be picklable.
    scene : dict, optional
        Options of all clips, see ``draw_scene`` of
        ``spatial_brain.simulation.sound_scenes.plan``.
    subtype : str
        Encoding of the samples.

    Returns
    -------
    int
        Number of clips newly written.

    Raises
    ------
    ValueError
        If a clip lacks the path of a format, or as ``draw_scene``.
    ChildProcessError
        If a worker was killed.

    Example
    -------
    >>> clip = {
    ...     "name": "mix001",
    ...     "paths": {"foa": getfixture("tmp_path") / "mix001.wav"},
    ...     "duration": 1.0,
    ... }
    >>> bank = EventBank(["knock"])
    >>> write_scenes([clip], bank), write_scenes([clip], bank)
    (1, 0)
    """
    formats = tuple(formats)
    for clip in clips:
        missing = [name for name in formats if name not in clip["paths"]]
        if missing:
            raise ValueError(
                f"clip {clip['name']!r} has no path for {', '.join(missing)}"
            )
    todo = [
        (index, clip)
        for index, clip in enumerate(clips)
        if not all(path.is_file() for path in _files(clip, formats))
    ]
    _check_space(todo, fs, formats, subtype)
    write = partial(
        _write_clip,
        bank=bank,
        fs=fs,
        formats=formats,
        seed=seed,
        scene=dict(scene or {}),
        subtype=subtype,
    )
    with progress(
        total=len(clips),
        initial=len(clips) - len(todo),
        description="writing scenes",
        unit="clip",
    ) as bar:
        for _ in run_jobs(write, todo, num_workers):
            bar.update()
    return len(todo)


def _check_space(todo, fs, formats, subtype):
    """Log what the clips take on the disk, and refuse what it cannot hold."""
    channels = sum(1 if name == "sum" else 4 for name in formats)
    size = 2 if subtype == "PCM_16" else 4
    seconds = sum(clip["duration"] for _, clip in todo)
    if todo:
        check_free_space(
            _files(todo[0][1], formats)[0].parent,
            seconds * fs * channels * size,
            f"the sound of {len(todo)} scenes, before compression,",
        )


def _files(clip, formats):
    """Files of a clip; what is written last is last."""
    files = [Path(clip["paths"][name]) for name in formats]
    if clip.get("annotation") is not None:
        files.append(Path(clip["annotation"]))
    return files


def _write_clip(job, *, bank, fs, formats, seed, scene, subtype):
    """Make and write one clip."""
    index, clip = job
    for file in _files(clip, formats):
        for leftover in file.parent.glob(f".{file.name}.*.tmp"):
            leftover.unlink(missing_ok=True)
    plan = plan_scene(
        bank,
        np.random.default_rng((seed, index)),
        {**scene, "duration": clip["duration"], **clip.get("scene", {})},
    )
    signals, table = record_scene(bank, plan, fs, formats)
    for name, signal in signals.items():
        write_audio(clip["paths"][name], signal, fs, subtype=subtype)
    if clip.get("annotation") is not None:
        annotation = Path(clip["annotation"])
        annotation.parent.mkdir(parents=True, exist_ok=True)
        clip["write_annotation"](annotation, table)
