"""What the writers of synthetic SELD data sets share.

A synthetic data set has the folders, names and formats of a real one, and holds
synthetic events in simulated rooms. A file ``SYNTHETIC.json`` marks it, so
that real data are never overwritten or taken for it.
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


def write_synthetic_seld(
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
    """Write the clips of a synthetic data set that are not there yet.

    Arguments
    ---------
    data_folder : str or Path
        Folder of the data set.
    clips : list of dict
        From ``scene_clip``.
    options : dict
        What the clips depend on beside the following arguments. A data set
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
    >>> write_synthetic_seld(
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
    ValueError: ...: holds data that are not synthetic (foa_eval); ...
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
    return root
