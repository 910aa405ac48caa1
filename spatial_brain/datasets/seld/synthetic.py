"""Synthetic SELD data sets: what their writers share.

A synthetic data set has the folders, names and formats of a real one, and
holds synthetic events in simulated rooms. A file ``SYNTHETIC.json`` marks it,
so that real data are never overwritten or taken for it.
"""

from functools import partial
from operator import itemgetter
from pathlib import Path

from spatial_brain.dataio.annotations import write_events
from spatial_brain.datasets.seld.event_bank import EventBank, write_scenes
from spatial_brain.datasets.synthetic_data import claim


def clip_numbers(clips, default):
    """Number of clips of each split.

    Arguments
    ---------
    clips : dict or None
        Some of them; what is not named has no clips. None: the default.
    default : dict
        All splits, with their usual number.

    Returns
    -------
    dict
        In the order of ``default``.

    Raises
    ------
    ValueError
        If a split is unknown, a number negative, or all are zero.

    Example
    -------
    >>> clip_numbers({"test": 2}, {"train": 8, "test": 3})
    {'train': 0, 'test': 2}
    """
    clips = dict(default if clips is None else clips)
    wrong = (
        sorted(set(clips) - set(default))
        or [name for name, number in clips.items() if number < 0]
        or not any(clips.values())
    )
    if wrong:
        raise ValueError(
            f"clips must give numbers of {', '.join(default)}, some of them "
            f"above 0, got {clips}"
        )
    return {name: clips.get(name, 0) for name in default}


def write_synthetic_seld(
    data_folder,
    numbers,
    place,
    *,
    made_with,
    kinds,
    fs,
    dialect,
    duration,
    interferers=(),
    bank=None,
    formats=("foa",),
    audio="wav",
    others=(),
    seed=0,
    num_workers=1,
    scene=None,
    write_annotation=None,
):
    """Write the clips of a synthetic data set that are not there yet.

    Interrupted, it goes on where it stopped. Clips that were made with other
    arguments are removed first.

    Arguments
    ---------
    data_folder : str or Path
        Folder of the data set.
    numbers : dict
        Split to its number of clips.
    place : callable
        Takes split and index of a clip; gives the folder of its audio below
        the data folder (``{format}`` in it stands for the format), the stem
        of its audio, its annotation below the data folder (None: it has none)
        and the options of its scene.
    made_with : dict
        What the clips depend on beside the following arguments.
    kinds : dict or sequence of str
        Name of class to its embedded kind of sound.
    fs : int
        Sampling rate, Hz.
    dialect : str
        Format of the annotations.
    duration : float
        Seconds a clip.
    interferers : sequence of str
        Embedded kinds of sound that are not annotated.
    bank : EventBank, optional
        Sounds to take instead of ``kinds`` and ``interferers``.
    formats : sequence of str
        Of ``"foa"``, ``"mic"`` and ``"sum"``.
    audio : str
        ``"wav"`` or ``"flac"``.
    others : sequence of str
        What else of the data folder belongs to the data set.
    seed : int
        The same seed writes the same files.
    num_workers : int
        Processes.
    scene : dict, optional
        Options of all scenes, see ``draw_scene`` of
        ``spatial_brain.simulation.sound_scenes.plan``.
    write_annotation : callable, optional
        Takes path and events; default: writes the dialect.

    Returns
    -------
    list of dict
        The clips, as ``write_scenes`` takes them.

    Raises
    ------
    ValueError
        If real data lie there.

    Example
    -------
    >>> folder = getfixture("tmp_path")
    >>> (folder / "foa_eval").mkdir()
    >>> (folder / "foa_eval" / "mix001.wav").touch()
    >>> write_synthetic_seld(
    ...     folder,
    ...     {"test": 1},
    ...     lambda split, index: ("{format}_eval", "mix001", None, {}),
    ...     made_with={},
    ...     kinds={"knock": "knock"},
    ...     fs=24000,
    ...     dialect="starss23",
    ...     duration=60.0,
    ... )
    Traceback (most recent call last):
    ValueError: ...: holds data that are not synthetic (foa_eval); ...
    """
    root = Path(data_folder)
    bank = EventBank(kinds, interferers) if bank is None else bank
    write = write_annotation or partial(write_events, dialect=dialect)
    clips = [
        _clip(root, *place(split, index), formats, audio, duration, write)
        for split, number in numbers.items()
        for index in range(number)
    ]
    files = [path for clip in clips for path in clip["paths"].values()]
    files += [clip["annotation"] for clip in clips if clip["annotation"]]
    folders = {path.relative_to(root).parts[0] for path in files}
    made_with = {
        **made_with,
        "folders": sorted({*folders, *others}),
        "classes": list(bank.class_names),
        "formats": list(formats),
        "seed": seed,
        "scene": scene,
    }
    claim(root, made_with, itemgetter("folders"), shared=True)
    write_scenes(
        clips,
        bank,
        fs=fs,
        formats=tuple(formats),
        seed=seed,
        num_workers=num_workers,
        scene=scene,
    )
    return clips


def _clip(
    root, folder, name, annotation, scene, formats, audio, duration, write
):
    """A clip as ``write_scenes`` takes it."""
    return {
        "name": name,
        "paths": {
            form: root / folder.format(format=form) / f"{name}.{audio}"
            for form in formats
        },
        "annotation": None if annotation is None else root / annotation,
        "write_annotation": write,
        "duration": duration,
        "scene": scene,
    }
