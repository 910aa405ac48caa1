"""Own mixtures with their sources, in folders as those of WSJ0-2mix.

On disk::

    <data_folder>/train/mix/...   .wav or .flac, two channels: left, right
    <data_folder>/train/s1/...    the first source alone, the same names
    <data_folder>/train/s2/...
    <data_folder>/valid/...  <data_folder>/test/...

or ``mix``, ``s1`` and ``s2`` in the data folder itself, with ``splits.csv``.
"""

import os
from pathlib import Path

from spatial_brain.dataio.audio import list_problems
from spatial_brain.datasets.own_folder.files import (
    OwnManifests,
    audio_files,
    check_folder,
    check_headers,
    listed_splits,
)

NUM_CHANNELS = 2
MIXTURES = "mix"


def prepare_separation(
    data_folder,
    save_folder,
    *,
    fs,
    num_sources=2,
    valid_fraction=None,
    test_fraction=None,
    seed=0,
):
    """Write the manifests ``train.json``, ``valid.json`` and ``test.json``.

    An entry has ``mix_wav``, ``sources_wav`` (a list), ``num_samples`` and
    ``fs``. Nothing is done when the manifests are there and neither files nor
    arguments have changed.

    Arguments
    ---------
    data_folder : str or Path
        Holds ``mix``, ``s1``, ``s2`` and so on, itself or in sub-folders.
    save_folder : str or Path
        Where the manifests go.
    fs : int
        Sampling rate of all files, Hz.
    num_sources : int
        Sources of every mixture.
    valid_fraction, test_fraction : float, optional
        Shares of all recordings, drawn where neither ``splits.csv`` nor
        folders ``train``, ``valid`` and ``test`` say it.
    seed : int
        Of the draw.

    Returns
    -------
    dict
        Split to the path of its manifest.

    Raises
    ------
    FileNotFoundError
        If there are no mixtures, or sources are missing.
    ValueError
        If files do not fit, or there are no splits.

    Example
    -------
    >>> folder = getfixture("tmp_path")
    >>> prepare_separation(folder, folder, fs=8000)
    Traceback (most recent call last):
    FileNotFoundError: ...: no folder mix in it; ...
    """
    folder = check_folder(data_folder)
    entries = _entries(folder, num_sources)
    files = [
        path
        for entry in entries.values()
        for path in (entry["mix_wav"], *entry["sources_wav"])
    ]
    splits = listed_splits(folder, list(entries))
    options = {
        "fs": fs,
        "num_sources": num_sources,
        "valid_fraction": valid_fraction,
        "test_fraction": test_fraction,
        "seed": seed,
    }
    manifests = OwnManifests(folder, save_folder, files, splits, options)
    if not manifests.ready:
        lengths = check_headers(
            files,
            fs=fs,
            num_channels=NUM_CHANNELS,
        )
        _check_lengths(entries, lengths)
        for entry in entries.values():
            entry |= {"num_samples": lengths[entry["mix_wav"]], "fs": fs}
        manifests.write_splits(
            entries,
            splits,
            "use folders train, valid and test, each with mix, s1 and so on, "
            "or write splits.csv (file,split)",
            lambda _: f"{NUM_CHANNELS} channels, {num_sources} sources",
        )
    return manifests.paths


def _entries(folder, num_sources):
    """Mixtures and sources of all folders ``mix``."""
    places = (f"{above}{MIXTURES}" for above in ("", "*/", "*/*/"))
    found = sorted(p for place in places for p in folder.glob(place))
    if not found:
        raise FileNotFoundError(
            f"{folder}: no folder {MIXTURES} in it; data_folder holds mix, s1 "
            "and s2, or folders train, valid and test which do"
        )
    entries = {}
    for mixtures in found:
        place = mixtures.parent.relative_to(folder)
        for name, path in audio_files(mixtures).items():
            relative = path.relative_to(mixtures)
            sources = [
                mixtures.with_name(f"s{number + 1}") / relative
                for number in range(num_sources)
            ]
            missing = [path for path in sources if not path.is_file()]
            if missing:
                raise FileNotFoundError(
                    f"{missing[0]}: no such file, but there is {path}; every "
                    f"mixture needs its {num_sources} sources (num_sources) "
                    "under the same name"
                )
            entries[(place / name).as_posix()] = {
                "mix_wav": os.fspath(path),
                "sources_wav": [os.fspath(path) for path in sources],
            }
    return entries


def _check_lengths(entries, lengths):
    """Raise ValueError for sources that are longer or shorter."""
    problems = [
        f"{path}: has {lengths[path]} samples, {Path(entry['mix_wav']).name} "
        f"in mix has {lengths[entry['mix_wav']]}; cut both to one length"
        for entry in entries.values()
        for path in entry["sources_wav"]
        if lengths[path] != lengths[entry["mix_wav"]]
    ]
    if problems:
        raise ValueError(list_problems(problems, len(lengths), "audio files"))
