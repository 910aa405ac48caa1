"""The ways of holding examples: drawn on access, in volumes, in wav files."""

from spatial_brain.datasets.microphone_pairs.shards import (
    StoredPairs,
    write_shards,
)
from spatial_brain.datasets.microphone_pairs.wavs import WavPairs, write_wavs

STORAGES = ("on_the_fly", "shards", "wav")


def check_storage(storage):
    """Refuse a way of holding examples that does not exist.

    Arguments
    ---------
    storage : str
        One of ``STORAGES``.

    Raises
    ------
    ValueError
        If it is not.

    Example
    -------
    >>> check_storage("tape")
    Traceback (most recent call last):
    ValueError: storage must be one of ('on_the_fly', 'shards', 'wav'), got ...
    """
    if storage not in STORAGES:
        raise ValueError(f"storage must be one of {STORAGES}, got {storage!r}")


def store_pairs(pairs, path, storage, *, items_per_file, dtype, **share):
    """Store examples.

    Arguments
    ---------
    pairs : DrawnPairs
        What to store.
    path : str or Path
        JSON file to write, for :func:`open_stored`.
    storage : str
        "shards" or "wav".
    items_per_file, dtype : int, str
        Of shards, see ``write_shards``.
    **share
        ``num_workers``, ``rank`` and ``num_ranks``.

    Example
    -------
    >>> store_pairs.__name__  # see prepare_wsj0_simu
    'store_pairs'
    """
    if storage == "shards":
        write_shards(pairs, path, items_per_file, dtype=dtype, **share)
    else:
        write_wavs(pairs, path, **share)


def open_stored(path, content, chosen=(), **common):
    """Open stored examples.

    Arguments
    ---------
    path : str or Path
        JSON file that :func:`store_pairs` wrote.
    content : dict
        Of this file.
    chosen : iterable of str
        Names of options that only examples drawn on access have.
    **common
        ``rooms``, ``crop`` and ``with_direct``.

    Returns
    -------
    StoredPairs or WavPairs

    Raises
    ------
    ValueError
        If such options are chosen, or a room or direct sound is not there.

    Example
    -------
    >>> open_stored("a.json", {}, ["renew"])
    Traceback (most recent call last):
    ValueError: a.json: the examples are stored, so renew cannot be chosen; ...
    """
    if chosen:
        raise ValueError(
            f"{path}: the examples are stored, so {', '.join(chosen)} "
            "cannot be chosen; prepare with --storage on_the_fly"
        )
    kind = StoredPairs if "volumes" in content else WavPairs
    return kind(path, **common)
