"""The training, validation and test set of an experiment with two ears."""

from pathlib import Path

from spatial_brain.datasets.binaural_dynamic import dynamic_mixer
from spatial_brain.datasets.binaural_listeners import SPLITS
from spatial_brain.datasets.binaural_reader import (
    MixtureReader,
    mixture_dataset,
    read_mixtures,
    speech_of,
)
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
        ``MixtureRenderer`` takes as ``heads``.
    speech_root : str or Path
        Where relative paths of utterances begin.
    mode : str
        "min" or "max", see ``MixtureRenderer``.
    compat : bool or sequence of str
        See ``MixtureRenderer``.
    noise : str, Path, object or None
        See ``MixtureRenderer``.
    augment : callable, optional
        ``BinauralAugmentation``, for training.
    dynamic_mixing : bool
        Draw every training mixture anew.
    items_per_epoch : int, optional
        Training mixtures drawn in an epoch; default as many as there are in
        ``train.json``.
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
    >>> few = {"train-clean-100": 2, "dev-clean": 2, "test-clean": 2}
    >>> folder = getfixture("tmp_path")
    >>> _ = prepare_drawn_mixtures(
    ...     None,
    ...     folder,
    ...     num_mixtures={"train": 3, "valid": 2, "test": 2},
    ...     speech={"num_talkers": few, "utterances_per_talker": 1},
    ... )
    >>> sets = binaural_sets(folder, fs=8000)
    >>> {split: len(data) for split, data in sets.items()}
    {'train': 3, 'valid': 2, 'test': 2}
    >>> sets["train"][0]["sources"].shape[1:]
    torch.Size([2, 2])
    """
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
    renderer = None
    if dynamic_mixing or not _on_disk(entries):
        if hrtfs is None or isinstance(hrtfs, (str, Path)):
            hrtfs = load_hrtfs(hrtfs, fs, compat=bool(compat))
        renderer = SpeechRenderer(speech_root, hrtfs, fs, mode, compat, noise)
    reader = MixtureReader(fs, renderer)
    sets = {
        split: mixture_dataset(these, reader, seed=seed)
        for split, these in entries.items()
        if split != "train"
    }
    training = entries.get("train", {})
    if dynamic_mixing:
        reader, training = _dynamic(
            manifest_folder,
            training,
            renderer,
            scenes,
            items_per_epoch,
            augment,
        )
        names = [entry["wav"] for entry in reader.speech.values()]
    else:
        names = speech_of(training) if renderer is not None else []
    if speech_in_memory:
        renderer.speech.keep_in_memory(names)
    if training:
        train = mixture_dataset(
            training, reader, seed=seed, augment=augment, sorting=sorting
        )
        sets = {"train": train, **sets}
    return sets


def _on_disk(entries):
    """Whether all mixtures are files."""
    return all(
        "mix_wav" in entry
        for these in entries.values()
        for entry in these.values()
    )


def _dynamic(folder, training, renderer, scenes, items_per_epoch, augment):
    """Mixer, and entries that say nothing."""
    count = items_per_epoch or len(training)
    if not count:
        raise ValueError(
            f"{folder}: without train.json, dynamic mixing needs "
            "items_per_epoch, the number of mixtures in an epoch"
        )
    longest = getattr(augment, "needed_length", None)
    mixer = dynamic_mixer(
        folder, training, renderer, scenes, max_length=longest
    )
    # Expected length, for those who sort: all are alike.
    duration = 0.0 if longest is None else longest / renderer.fs
    return mixer, {
        f"dynamic{index:06d}": {"duration": duration} for index in range(count)
    }
