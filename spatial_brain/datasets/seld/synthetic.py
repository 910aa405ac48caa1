"""What the writers of SELD look-alikes share.

A look-alike has the folders, names and formats of a data set, and holds
synthetic events in simulated rooms. A file ``LOOKALIKE.json`` marks it, so
that real data are never overwritten or taken for it.
"""

import json
import shutil
from functools import partial
from pathlib import Path

from spatial_brain.dataio.annotations import write_events
from spatial_brain.dataio.files import read_json, write_json
from spatial_brain.datasets.seld.event_bank import EventBank, write_scenes
from spatial_brain.datasets.speech.synthetic import LOOKALIKE


def lookalike_options(data_folder):
    """What a look-alike was made with; None for real data.

    Arguments
    ---------
    data_folder : str or Path
        Folder of a data set.

    Returns
    -------
    dict or None
        Content of its ``LOOKALIKE.json``.

    Example
    -------
    >>> lookalike_options("nowhere") is None
    True
    """
    marker = Path(data_folder, LOOKALIKE)
    return read_json(marker) if marker.is_file() else None


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


def scene_clip(root, name, folders, annotation, *, duration, dialect, scene):
    """A clip as ``write_scenes`` takes it.

    Arguments
    ---------
    root : str or Path
        Folder of the data set.
    name : str
        Stem of its audio files.
    folders : dict
        Format to the folder of its audio, below ``root``.
    annotation : str or None
        File of its annotation, below ``root``; None: it has none.
    duration : float
        Seconds.
    dialect : str
        Format of the annotation.
    scene : dict
        Options of this scene.

    Returns
    -------
    dict
        The clip.

    Example
    -------
    >>> clip = scene_clip(
    ...     "d",
    ...     "mix001",
    ...     {"foa": "foa_eval"},
    ...     "metadata_eval/mix001.csv",
    ...     duration=60.0,
    ...     dialect="dcase2021",
    ...     scene={},
    ... )
    >>> clip["paths"]["foa"].as_posix()
    'd/foa_eval/mix001.wav'
    """
    root = Path(root)
    return {
        "name": name,
        "paths": {
            form: root / folder / f"{name}.wav"
            for form, folder in folders.items()
        },
        "annotation": None if annotation is None else root / annotation,
        "write_annotation": partial(write_events, dialect=dialect),
        "duration": duration,
        "scene": scene,
    }


def write_lookalike(
    data_folder,
    clips,
    *,
    options,
    kinds,
    bank,
    fs,
    formats,
    seed,
    num_workers,
    scene,
    interferers=(),
):
    """Write the clips of a look-alike that are not there yet.

    Arguments
    ---------
    data_folder : str or Path
        Folder of the data set.
    clips : list of dict
        From ``scene_clip``.
    options : dict
        What the clips depend on beside the following arguments. A look-alike
        made with other ones is removed first.
    kinds : dict
        Name of class to its embedded kind of sound.
    bank : EventBank or None
        Sounds to take instead.
    fs : int
        Sampling rate, Hz.
    formats : sequence of str
        ``"foa"``, ``"mic"`` or both.
    seed : int
        Seed of the scenes.
    num_workers : int
        Processes.
    scene : dict
        Options of all scenes.
    interferers : sequence of str
        Embedded kinds of sound that are not annotated.

    Returns
    -------
    Path
        The data folder.

    Raises
    ------
    ValueError
        If real data lie there.

    Example
    -------
    >>> folder = getfixture("tmp_path")
    >>> (folder / "foa_eval").mkdir()
    >>> (folder / "foa_eval" / "mix001.wav").touch()
    >>> write_lookalike(
    ...     folder,
    ...     [{"paths": {"foa": folder / "foa_eval" / "mix001.wav"}}],
    ...     options={},
    ...     kinds={"knock": "knock"},
    ...     bank=None,
    ...     fs=24000,
    ...     formats=["foa"],
    ...     seed=0,
    ...     num_workers=1,
    ...     scene={},
    ... )
    Traceback (most recent call last):
    ValueError: ...: holds data that are no look-alike (foa_eval); ...
    """
    root = Path(data_folder)
    bank = EventBank(kinds, interferers) if bank is None else bank
    files = [path for clip in clips for path in clip["paths"].values()]
    files += [clip["annotation"] for clip in clips if clip.get("annotation")]
    folders = sorted({path.relative_to(root).parts[0] for path in files})
    made_with = {
        **options,
        "folders": folders,
        "classes": list(bank.class_names),
        "formats": list(formats),
        "seed": seed,
        "scene": scene,
    }
    _claim(root, folders, made_with)
    write_scenes(
        clips,
        bank,
        fs=fs,
        formats=tuple(formats),
        seed=seed,
        num_workers=num_workers,
        scene=scene,
    )
    return root


def _claim(root, folders, options):
    """Mark a folder as a look-alike, emptied if made with other options."""
    made = lookalike_options(root)
    if made is None:
        taken = [name for name in folders if (root / name).exists()]
        if taken:
            raise ValueError(
                f"{root}: holds data that are no look-alike "
                f"({', '.join(taken)}); choose another folder"
            )
    elif made == json.loads(json.dumps(options)):
        return
    else:
        for name in made["folders"]:
            shutil.rmtree(root / name, ignore_errors=True)
    write_json(root / LOOKALIKE, options)
