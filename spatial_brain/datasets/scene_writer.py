"""Sound scenes drawn, rendered and written, many at once."""

from functools import partial
from pathlib import Path

import numpy as np

from spatial_brain.dataio.audio import write_audio
from spatial_brain.dataio.events import FRAME_LENGTH, EventTable
from spatial_brain.dataio.progress import progress
from spatial_brain.dataio.workers import run_jobs
from spatial_brain.simulation.sound_scenes import draw_scene, render_scene

__all__ = ["make_scene", "write_scenes"]


def make_scene(bank, rng, *, fs=24000, formats=("foa",), **scene):
    """Draw a scene with sounds of a bank and render it.

    Arguments
    ---------
    bank : spatial_brain.datasets.event_sources.EventBank
        Where the sounds come from.
    rng : numpy.random.Generator
        Source of randomness.
    fs : int
        Sampling rate, Hz.
    formats : sequence of str
        "foa", "mic" or both.
    **scene
        Options of ``spatial_brain.simulation.sound_scenes.draw_scene``.

    Returns
    -------
    signals : dict
        Name of format to recording, [time, 4].
    table : EventTable
        Its labels.

    Example
    -------
    >>> from spatial_brain.datasets.event_sources import EventBank
    >>> bank = EventBank(["knock", "bell"])
    >>> rng = np.random.default_rng(0)
    >>> signals, table = make_scene(bank, rng, duration=2.0)
    >>> signals["foa"].shape, table.num_frames
    (torch.Size([48000, 4]), 20)
    """
    plan = draw_scene(
        rng,
        **{
            "classes": bank.num_classes,
            "pick": bank.pick,
            "interferers": bank.interferers,
            **scene,
        },
    )
    dry = [
        bank.load(event.label, event.source, event.duration, fs)
        for event in plan.events
    ]
    signals, rows = render_scene(plan, dry, fs=fs, formats=formats)
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
    bank : spatial_brain.datasets.event_sources.EventBank
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
        Options of ``draw_scene`` of all clips.
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
    RuntimeError
        If a worker was killed.

    Example
    -------
    >>> from spatial_brain.datasets.event_sources import EventBank
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
    write = partial(
        _write_clip,
        bank=bank,
        options={"fs": fs, "formats": formats},
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


def _files(clip, formats):
    """Files of a clip; what is written last is last."""
    files = [Path(clip["paths"][name]) for name in formats]
    if clip.get("annotation") is not None:
        files.append(Path(clip["annotation"]))
    return files


def _write_clip(job, *, bank, options, seed, scene, subtype):
    """Make and write one clip."""
    index, clip = job
    for file in _files(clip, options["formats"]):
        for leftover in file.parent.glob(f".{file.name}.*.tmp"):
            leftover.unlink(missing_ok=True)
    signals, table = make_scene(
        bank,
        np.random.default_rng((seed, index)),
        **options,
        **{**scene, "duration": clip["duration"], **clip.get("scene", {})},
    )
    for name, signal in signals.items():
        write_audio(clip["paths"][name], signal, options["fs"], subtype=subtype)
    if clip.get("annotation") is not None:
        annotation = Path(clip["annotation"])
        annotation.parent.mkdir(parents=True, exist_ok=True)
        clip["write_annotation"](annotation, table)
