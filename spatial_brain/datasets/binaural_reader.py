"""Data sets of two-ear mixtures: from disk, made on the fly, or drawn anew.

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
from spatial_brain.dataio.manifest import read_manifest
from spatial_brain.datasets.binaural_mixtures import BinauralMixture

ORDERS = ("original", "ascending", "descending")
_KEYS = (
    *("mix", "sources", "noise"),
    *("azimuths", "elevations", "t60", "speakers", "head"),
)


def mixture_entry(mixture, duration, **files):
    """Entry of a manifest.

    Arguments
    ---------
    mixture : BinauralMixture
        What it is.
    duration : float
        Seconds.
    **files
        ``mix_wav``, ``sources_wav`` (a list) and maybe ``noise_wav``, for a
        mixture on disk.

    Returns
    -------
    dict
        For ``write_manifest``.

    Example
    -------
    >>> mixture = BinauralMixture("x", ("a.wav",), ("a",), (1.0,), (0.0,))
    >>> list(mixture_entry(mixture, 2.5))
    ['duration', 'mixture']
    """
    return {"duration": duration, "mixture": mixture.to_dict(), **files}


class MixtureReader:
    """Reads or renders the mixture of a manifest entry.

    Arguments
    ---------
    fs : int
        Rate which files must have, Hz.
    renderer : MixtureRenderer, optional
        For mixtures that do not lie on disk.

    Example
    -------
    >>> from spatial_brain.dataio.audio import write_audio
    >>> mix, talker = (f"{getfixture('tmp_path')}/{x}.wav" for x in "ms")
    >>> for path in (mix, talker):
    ...     write_audio(path, torch.zeros(9, 2), 8000)
    >>> mixture = BinauralMixture("x", ("a.wav",), ("a",), (1.0,), (0.0,))
    >>> entry = mixture_entry(mixture, 1.0, mix_wav=mix, sources_wav=[talker])
    >>> MixtureReader(8000)(entry)["sources"].shape
    torch.Size([9, 2, 1])
    """

    def __init__(self, fs, renderer=None):
        self.fs, self.renderer = fs, renderer

    def __call__(self, entry, rng=None):
        """Signals of a mixture.

        Arguments
        ---------
        entry : dict
            From ``mixture_entry``.
        rng : numpy.random.Generator
            Not used: the mixture is fixed.

        Returns
        -------
        dict
            ``mix``, ``sources``, ``noise`` (or None), ``mixture``.

        Raises
        ------
        FileNotFoundError
            If a file is missing.
        ValueError
            If one is damaged, or has another rate, length or number of
            channels.
        """
        mixture = BinauralMixture.from_dict(entry["mixture"])
        if "mix_wav" in entry:
            return self._from_disk(entry) | {"mixture": mixture}
        if self.renderer is None:
            raise ValueError(
                f"mixture {mixture.name} does not lie on disk, and there is no "
                "renderer to make it"
            )
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


def mixture_dataset(entries, read, *, seed, augment=None, sorting="original"):
    """Data set of mixtures.

    Arguments
    ---------
    entries : dict
        Manifest of ``mixture_entry``s; for mixtures that are drawn anew the
        ids and what ``read`` needs.
    read : callable
        ``MixtureReader`` or ``DynamicMixer``: from an entry and a generator
        to signals and description.
    seed : int
        Of all random choices; item ``i`` in an epoch depends on
        ``(seed, epoch, i)`` alone, whatever the number of workers or ranks.
    augment : callable, optional
        From signals and a generator to signals.
    sorting : str
        "original", "ascending" or "descending" in duration.

    Returns
    -------
    SeededDataset
        Its items are listed in the module. The training loop sets its epoch.

    Raises
    ------
    ValueError
        If the sorting is unknown.

    Example
    -------
    >>> mixture = BinauralMixture("x", ("a.wav",), ("a",), (1.0,), (-30.0,))
    >>> def read(entry, rng):
    ...     sources = torch.ones(9, 2, 1)
    ...     return {"mix": sources.sum(-1), "sources": sources, "noise": None,
    ...             "mixture": BinauralMixture.from_dict(entry["mixture"])}
    >>> data = mixture_dataset({"x": mixture_entry(mixture, 1)}, read, seed=1)
    >>> data[0]["mix"].shape, data[0]["azimuths"]
    (torch.Size([9, 2]), tensor([30.]))
    """
    if sorting not in ORDERS:
        raise ValueError(f"sorting must be one of {ORDERS}, got {sorting!r}")
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
    """Who speaks from where, heard by whom."""
    azimuths, elevations = mixture.directions
    return {
        "azimuths": torch.tensor(azimuths),
        "elevations": torch.tensor(elevations),
        "t60": torch.tensor([mixture.t60 or 0.0]),
        "speakers": list(mixture.speakers),
        "head": mixture.head,
    }


def speech_of(entries):
    """Files of speech which the mixtures of a manifest are made of.

    Arguments
    ---------
    entries : dict
        Manifest of ``mixture_entry``s.

    Returns
    -------
    list of str
        Each once.

    Example
    -------
    >>> mixture = BinauralMixture("x", ("a.wav",), ("a",), (1.0,), (0.0,))
    >>> speech_of({"x": mixture_entry(mixture, 1.0)})
    ['a.wav']
    """
    return sorted(
        {
            name
            for entry in entries.values()
            for name in entry["mixture"]["utterances"]
        }
    )


def read_mixtures(manifest_folder, split, data_root=None):
    """Manifest of a set.

    Arguments
    ---------
    manifest_folder : str or Path
        Where the preparation wrote it.
    split : str
        "train", "valid" or "test".
    data_root : str or Path
        Folder for ``{data_root}``.

    Returns
    -------
    dict
        Id to entry.

    Raises
    ------
    FileNotFoundError
        If there is none.
    ValueError
        If it is damaged.

    Example
    -------
    >>> read_mixtures("nowhere", "train")
    Traceback (most recent call last):
    FileNotFoundError: ...nowhere/train.json...
    """
    return read_manifest(
        Path(manifest_folder, f"{split}.json"),
        data_root=data_root,
        keys=("duration", "mixture"),
    )
