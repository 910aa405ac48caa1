"""The training, validation and test set of an experiment with two ears."""

from pathlib import Path

from spatial_brain.dataio.manifest import write_manifest
from spatial_brain.datasets.binaural_ambience import DiffuseNoise
from spatial_brain.datasets.binaural_dynamic import dynamic_mixer, read_plan
from spatial_brain.datasets.binaural_generation import generate_mixtures
from spatial_brain.datasets.binaural_listeners import SPLITS
from spatial_brain.datasets.binaural_metadata_files import SPLITS as FOLDERS
from spatial_brain.datasets.binaural_mixtures import compat_behaviours
from spatial_brain.datasets.binaural_noise import FolderNoise
from spatial_brain.datasets.binaural_reader import (
    MixtureReader,
    mixture_dataset,
    read_mixtures,
    speech_of,
)
from spatial_brain.datasets.binaural_rooms import load_rooms
from spatial_brain.datasets.binaural_speech import SpeechRenderer
from spatial_brain.simulation.hrtf import load_hrtfs


def binaural_sets(
    manifest_folder,
    *,
    fs,
    hrtfs=None,
    speech_root="",
    mode="min",
    compat=False,
    noise=None,
    augment=None,
    dynamic_mixing=False,
    items_per_epoch=None,
    speech_folder=None,
    scenes=None,
    speech_in_memory=False,
    sorting="original",
    seed=0,
):
    """Data sets of what a preparation described.

    Arguments
    ---------
    manifest_folder : str or Path
        Given to the preparation: ``train.json``, ``valid.json``,
        ``test.json``; for dynamic mixing see ``dynamic_mixer``.
    fs : int
        Sampling rate of the mixtures, Hz.
    hrtfs : str, Path, HrtfSet, object or None
        Heads for mixtures made on the fly: as for ``load_hrtfs``, or what a
        ``MixtureRenderer`` takes as ``heads``. Drawn mixtures in rooms find
        these themselves.
    speech_root : str or Path
        Where relative paths of utterances begin.
    mode : str
        "min" or "max", see ``MixtureRenderer``.
    compat : bool or sequence of str
        See ``MixtureRenderer``.
    noise : str, Path, object or None
        See ``MixtureRenderer``. Drawn mixtures find theirs themselves; it is
        diffuse, or with ``compat`` the same at both ears.
    augment : callable, optional
        ``BinauralAugmentation``, for training.
    dynamic_mixing : bool
        Draw every training mixture anew.
    items_per_epoch : int, optional
        Training mixtures drawn in an epoch; default as many as there are in
        ``train.json``.
    speech_folder : str or Path, optional
        Other training speech for dynamic mixing, see ``dynamic_mixer``.
    scenes : dict, optional
        For dynamic mixing, arguments of ``SceneDrawer`` in place of those of
        the preparation.
    speech_in_memory : bool
        Read the training speech once and keep it.
    sorting : str
        Of the training set, see ``mixture_dataset``.
    seed : int
        Of all random choices.

    Returns
    -------
    dict
        "train", "valid", "test" (those prepared) to a ``SeededDataset``, see
        ``binaural_reader`` for its items.

    Raises
    ------
    FileNotFoundError
        If nothing was prepared, or files are missing.
    ValueError
        If arguments contradict each other.

    Example
    -------
    >>> from spatial_brain.datasets.binaural_drawn import prepare_drawn_mixtures
    >>> few = {"train": 2, "valid": 2, "test": 2}
    >>> folder = getfixture("tmp_path")
    >>> _ = prepare_drawn_mixtures(
    ...     None,
    ...     folder,
    ...     num_mixtures={"train": 3, "valid": 2, "test": 2},
    ...     voices={"num_talkers": few, "utterances_per_talker": 1},
    ... )
    >>> sets = binaural_sets(folder, fs=8000)
    >>> {split: len(data) for split, data in sets.items()}
    {'train': 3, 'valid': 2, 'test': 2}
    >>> sets["train"][0]["sources"].shape[1:]
    torch.Size([2, 2])
    """
    entries = _read_all(manifest_folder)
    renderer = None
    if dynamic_mixing or not _on_disk(entries):
        plan = read_plan(manifest_folder, entries)
        hrtfs, noise = _what_is_heard(plan, fs, hrtfs, noise, compat)
        renderer = SpeechRenderer(speech_root, hrtfs, fs, mode, compat, noise)
    reader = MixtureReader(fs, renderer)
    sets = {
        split: mixture_dataset(these, reader, seed=seed)
        for split, these in entries.items()
        if split != "train"
    }
    training = entries.get("train", {})
    if dynamic_mixing:
        reader = dynamic_mixer(
            manifest_folder,
            entries,
            renderer,
            speech_folder=speech_folder,
            scenes=scenes,
            max_length=getattr(augment, "needed_length", None),
        )
        names = [entry["wav"] for entry in reader.speech.values()]
        training = _drawn_anew(
            manifest_folder, items_per_epoch or len(training)
        )
    else:
        names = speech_of(training) if renderer is not None else []
    if speech_in_memory and renderer is not None:
        renderer.speech.keep_in_memory(names)
    if training:
        train = mixture_dataset(
            training, reader, seed=seed, augment=augment, sorting=sorting
        )
        sets = {"train": train, **sets}
    return sets


def store_mixtures(
    data_folder,
    manifest_folder,
    *,
    fs,
    hrtfs=None,
    mode="min",
    compat=False,
    num_workers=1,
):
    """Write drawn mixtures to disk, and in the manifests where they lie.

    The folders are those of Binaural-WSJ0Mix, ``wav8k/min/tr/mix`` and so on.
    Killed at any moment and repeated, it goes on where it stopped.

    Arguments
    ---------
    data_folder : str or Path
        Gets the folder ``wav8k`` or ``wav16k``.
    manifest_folder : str or Path
        Given to ``prepare_drawn_mixtures``, as all below.
    fs : int
        Sampling rate, Hz.
    hrtfs : str, Path or None
        Heads.
    mode : str
        "min" or "max".
    compat : bool or sequence of str
        See ``MixtureRenderer``.
    num_workers : int
        Processes.

    Raises
    ------
    FileNotFoundError
        If nothing was drawn there, or files are missing.
    ValueError
        If the folder holds other mixtures.
    OSError
        If the disk has no room for them.

    Example
    -------
    >>> store_mixtures("data", "nowhere", fs=8000)
    Traceback (most recent call last):
    FileNotFoundError: nowhere: no train.json, ...
    """
    entries = _read_all(manifest_folder)
    plan = read_plan(manifest_folder, entries)
    if plan is None:
        raise FileNotFoundError(
            f"{manifest_folder}: its mixtures were not drawn; those of the "
            "published lists are generated by their own preparation"
        )
    responses, noise = _what_is_heard(plan, fs, hrtfs, None, compat)
    renderer = SpeechRenderer("", responses, fs, mode, compat, noise)
    root = Path(data_folder, f"wav{fs // 1000}k", mode)
    for split, these in entries.items():
        stored = generate_mixtures(
            root / FOLDERS[split], these, renderer, num_workers=num_workers
        )
        if stored != these:
            write_manifest(Path(manifest_folder, f"{split}.json"), stored)


def _read_all(manifest_folder):
    """Manifests of the sets that are there."""
    entries = {
        split: read_mixtures(manifest_folder, split)
        for split in SPLITS
        if Path(manifest_folder, f"{split}.json").is_file()
    }
    if not entries:
        raise FileNotFoundError(
            f"{manifest_folder}: no train.json, valid.json or test.json; run "
            "the preparation (skip_prep False)"
        )
    return entries


def _what_is_heard(plan, fs, hrtfs, noise, compat):
    """Responses and noise of mixtures."""
    resampling = "scipy_resampling" in compat_behaviours(compat)
    if hrtfs is None or isinstance(hrtfs, (str, Path)):
        if plan is None or plan["rooms"] is None:
            hrtfs = load_hrtfs(hrtfs, fs, compat=resampling)
        else:
            hrtfs = load_rooms(plan["rooms_folder"], fs, compat=resampling)
    if noise is None and plan is not None and plan["noise"] is not None:
        folder = plan["noise"]["folder"]
        noise = FolderNoise(folder)
        if not compat_behaviours(compat):
            noise = DiffuseNoise(folder, hrtfs)
    return hrtfs, noise


def _on_disk(entries):
    """Whether all mixtures are files."""
    return all(
        "mix_wav" in entry
        for these in entries.values()
        for entry in these.values()
    )


def _drawn_anew(manifest_folder, count):
    """Entries of mixtures about which nothing is known yet."""
    if not count:
        raise ValueError(
            f"{manifest_folder}: without train.json, dynamic mixing needs "
            "items_per_epoch, the number of mixtures in an epoch"
        )
    return {f"dynamic{index:06d}": {"duration": 0.0} for index in range(count)}
