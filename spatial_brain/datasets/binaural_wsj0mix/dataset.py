"""The training, validation and test set of binaural mixtures.

A manifest entry describes a mixture (``mixture``), says how long it lasts
(``duration``, seconds) and, if it lies on disk, in which files (``mix_wav``,
``sources_wav``, ``noise_wav``). Whatever it is, an item has

* ``mix`` [T, 2], ``sources`` [T, 2, C] and ``noise`` [T, 2] (zeros where
  there is none), float32, ear 0 left; without augmentation the mixture is the
  sum of the others;
* ``azimuths`` and ``elevations`` [C], degrees, azimuths counter-clockwise;
  ``t60`` [1], seconds, 0 in the free field; ``speakers`` and ``head``.
"""

from operator import itemgetter
from pathlib import Path

import torch

from spatial_brain.dataio.audio import AudioFileError, read_audio
from spatial_brain.dataio.dataset import SeededDataset
from spatial_brain.dataio.manifest import replace_entries
from spatial_brain.datasets.binaural_wsj0mix.brirs import load_rooms
from spatial_brain.datasets.binaural_wsj0mix.dynamic_mixing import (
    dynamic_mixer,
    read_plan,
)
from spatial_brain.datasets.binaural_wsj0mix.files import generate_mixtures
from spatial_brain.datasets.binaural_wsj0mix.head_rooms import (
    HeadsAndRooms,
    load_head_rooms,
)
from spatial_brain.datasets.binaural_wsj0mix.noise import (
    DiffuseNoise,
    FolderNoise,
)
from spatial_brain.datasets.binaural_wsj0mix.published import SPLIT_FOLDERS
from spatial_brain.datasets.binaural_wsj0mix.rendering import (
    BinauralMixture,
    HeadResponses,
    MixtureRenderer,
    compat_behaviours,
    read_mixtures,
)
from spatial_brain.datasets.binaural_wsj0mix.sampling import (
    SPLITS,
    head_sources,
)
from spatial_brain.simulation.hrtf import load_hrtfs

_ORDERS = ("original", "ascending", "descending")
_KEYS = (
    *("mix", "sources", "noise"),
    *("azimuths", "elevations", "t60", "speakers", "head"),
)


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
    hrtfs : str, Path, list, dict, HrtfSet, object or None
        Heads for mixtures made on the fly: as for ``split_heads``, or what a
        ``MixtureRenderer`` takes as ``hrtfs``. Drawn mixtures in rooms find
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
        Of the training set: "original", "ascending" or "descending" in
        duration.
    seed : int
        Of all random choices; item ``i`` in an epoch depends on
        ``(seed, epoch, i)`` alone, whatever the number of workers or ranks.

    Returns
    -------
    dict
        "train", "valid", "test" (those prepared) to a ``SeededDataset``. Its
        items are listed in the module; the training loop sets its epoch.

    Raises
    ------
    FileNotFoundError
        If nothing was prepared, or files are missing.
    ValueError
        If arguments contradict each other.

    Example
    -------
    >>> from spatial_brain.datasets.binaural_wsj0mix.prepare import (
    ...     prepare_drawn_mixtures,
    ... )
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
    if dynamic_mixing or not on_disk(entries):
        plan = read_plan(manifest_folder, entries)
        hrtfs, noise = _responses_and_noise(plan, fs, hrtfs, noise, compat)
        renderer = MixtureRenderer(
            speech_root, hrtfs, fs, mode, compat, noise, dtype="float32"
        )
    reader = _BinauralMixtureReader(fs, renderer)
    sets = {
        split: _mixture_dataset(these, reader, seed=seed)
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
        names = _speech_of(training) if renderer is not None else []
    if speech_in_memory and renderer is not None:
        renderer.speech.keep_in_memory(names)
    if training:
        train = _mixture_dataset(
            training, reader, seed=seed, augment=augment, sorting=sorting
        )
        sets = {"train": train, **sets}
    return sets


def on_disk(entries):
    """Whether all mixtures are files: nothing has to be rendered.

    Arguments
    ---------
    entries : dict
        Set to its manifest.

    Returns
    -------
    bool
        False if one has to be made when it is read.

    Example
    -------
    >>> on_disk({"test": {"x": {"mix_wav": "x.wav"}, "y": {}}})
    False
    """
    return all(
        "mix_wav" in entry
        for these in entries.values()
        for entry in these.values()
    )


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
    responses, noise = _responses_and_noise(plan, fs, hrtfs, None, compat)
    renderer = MixtureRenderer(
        "", responses, fs, mode, compat, noise, dtype="float32"
    )
    root = Path(data_folder, f"wav{fs // 1000}k", mode)
    for split, these in entries.items():
        stored = generate_mixtures(
            root / SPLIT_FOLDERS[split],
            these,
            renderer,
            num_workers=num_workers,
        )
        if stored != these:
            replace_entries(Path(manifest_folder, f"{split}.json"), stored)


class _BinauralMixtureReader:
    """Reads the mixture of a manifest entry from disk, or renders it."""

    def __init__(self, fs, renderer):
        self.fs, self.renderer = fs, renderer

    def __call__(self, entry, rng):
        """Signals and ``mixture``; nothing is random."""
        mixture = BinauralMixture.from_dict(entry["mixture"])
        if "mix_wav" in entry:
            return self._from_disk(entry) | {"mixture": mixture}
        return self.renderer.render(mixture) | {"mixture": mixture}

    def _from_disk(self, entry):
        """Signals that lie on disk."""
        paths = [entry["mix_wav"], *entry["sources_wav"]]
        if "noise_wav" in entry:
            paths.append(entry["noise_wav"])
        signals = [
            read_audio(path, fs=self.fs, num_channels=2)[0] for path in paths
        ]
        for path, signal in zip(paths, signals, strict=True):
            if len(signal) != len(signals[0]):
                raise AudioFileError(
                    f"{path}: has {len(signal)} samples, {paths[0]} has "
                    f"{len(signals[0])}; generate the mixture again"
                )
        count = len(entry["sources_wav"])
        return {
            "mix": signals[0],
            "sources": torch.stack(signals[1 : count + 1], dim=-1),
            "noise": signals[-1] if "noise_wav" in entry else None,
        }


def _mixture_dataset(entries, read, *, seed, augment=None, sorting="original"):
    """Data set of what ``read`` makes of entries and a generator."""
    if sorting not in _ORDERS:
        raise ValueError(f"sorting must be one of {_ORDERS}, got {sorting!r}")
    if sorting != "original":
        keys = sorted(
            entries,
            key=lambda key: entries[key]["duration"],
            reverse=sorting == "descending",
        )
        entries = {key: entries[key] for key in keys}

    def item(entry, rng):
        signals = read(entry, rng)
        if augment is not None:
            signals = augment(signals, rng)
        if signals["noise"] is None:
            signals["noise"] = torch.zeros_like(signals["mix"])
        return signals | _conditions(signals["mixture"])

    dataset = SeededDataset(
        {
            key: {"entry": entry, "duration": entry["duration"]}
            for key, entry in entries.items()
        },
        seed,
    )
    dataset.add_dynamic_item(item, ["entry", "rng"], "item")
    # Not a generator: its state would outlive an error.
    for key in _KEYS:
        dataset.add_dynamic_item(itemgetter(key), "item", key)
    dataset.set_output_keys(["id", *_KEYS])
    return dataset


def _conditions(mixture):
    """Who speaks from where, and whose ears these are."""
    azimuths, elevations = mixture.directions
    return {
        "azimuths": torch.tensor(azimuths),
        "elevations": torch.tensor(elevations),
        "t60": torch.tensor([mixture.t60 or 0.0]),
        "speakers": list(mixture.speakers),
        "head": mixture.head,
    }


def _speech_of(entries):
    """Files of speech which the mixtures of a manifest are made of."""
    return sorted(
        {
            name
            for entry in entries.values()
            for name in entry["mixture"]["utterances"]
        }
    )


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
            "the preparation (--skip_prep False)"
        )
    return entries


def _responses_and_noise(plan, fs, hrtfs, noise, compat):
    """Responses of heads or rooms, and noise, of mixtures made on the fly."""
    resampling = "scipy_resampling" in compat_behaviours(compat)
    if hrtfs is None or isinstance(hrtfs, str | Path | list | dict):
        in_rooms = plan is not None and plan["rooms"] is not None
        simulated = in_rooms and plan.get("head_rooms")
        if not in_rooms or simulated:
            sizes = (plan or {}).get("head_sizes", (1.0,))
            sources = head_sources(hrtfs)
            hrtfs = load_hrtfs(sources, fs, compat=resampling, sizes=sizes)
        if simulated:
            rooms = load_head_rooms(simulated, plan["rooms"], fs)
            hrtfs = HeadsAndRooms(HeadResponses(hrtfs), rooms)
        elif in_rooms:
            hrtfs = load_rooms(plan["rooms_folder"], fs, compat=resampling)
    if noise is None and plan is not None and plan["noise"] is not None:
        folder = plan["noise"]["folder"]
        noise = FolderNoise(folder)
        if not compat_behaviours(compat):
            noise = DiffuseNoise(folder, hrtfs)
    return hrtfs, noise


def _drawn_anew(manifest_folder, count):
    """Entries of mixtures about which nothing is known yet."""
    if not count:
        raise ValueError(
            f"{manifest_folder}: without train.json, dynamic mixing needs the "
            "number of mixtures in an epoch; give one for train in "
            "--num_mixtures"
        )
    return {f"dynamic{index:06d}": {"duration": 0.0} for index in range(count)}
