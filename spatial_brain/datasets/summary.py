"""What a preparation took, in one line of the log and beside its manifests."""

import logging

from spatial_brain.dataio.manifest import (
    read_notes,
    write_manifest,
    write_options,
)

logger = logging.getLogger(__name__)

# What is counted in the entries of a manifest: word, and where it stands.
_COUNTED = (
    ("speakers", ("speaker", "speakers")),
    ("rooms", ("room", "rir")),
    ("heads", ("head",)),
)


def facts(entries, what="files"):
    """Numbers about the entries of a manifest.

    Arguments
    ---------
    entries : iterable of dict
        With ``duration`` (s) or ``num_samples`` and ``fs``, and perhaps
        ``speaker``, ``speakers``, ``room``, ``head``, maybe in ``mixture``.
    what : str
        What an entry is, plural.

    Returns
    -------
    dict
        Such as ``{"files": 2, "hours": 0.5, "speakers": 1}``.

    Example
    -------
    >>> facts([{"num_samples": 8000, "fs": 8000, "speaker": "ann"}])
    {'speakers': 1, 'files': 1, 'hours': 0.0002777777777777778}
    """
    entries = [{**entry.get("mixture", {}), **entry} for entry in entries]
    counts = {}
    for word, keys in _COUNTED:
        found = set()
        for entry in entries:
            for key in keys:
                value = entry.get(key) or ()
                found |= {value} if isinstance(value, str) else {*value}
        if found:
            counts[word] = len(found)
    seconds = sum(
        entry["duration"]
        if "duration" in entry
        else entry["num_samples"] / entry["fs"]
        for entry in entries
    )
    return {**counts, what: len(entries), "hours": seconds / 3600}


def describe(source, sets, skipped=None):
    """One line about what was prepared.

    Arguments
    ---------
    source : str
        What was found where.
    sets : dict
        Name of each set to its numbers, see ``facts``.
    skipped : dict, optional
        Reason to number of files left out.

    Returns
    -------
    str
        The line.

    Example
    -------
    >>> sets = {"train": {"speakers": 2, "files": 1, "hours": 0.5}}
    >>> describe("/data as layout flat", sets, {"in no table": 3})
    '/data as layout flat: train: 2 speakers, 1 file, 0.5 h; skipped: 3 in ...'
    """
    parts = [
        f"{name}: {', '.join(_number(*item) for item in numbers.items())}"
        for name, numbers in sets.items()
    ]
    left_out = [f"{n} {reason}" for reason, n in (skipped or {}).items() if n]
    parts.append("skipped: " + (", ".join(left_out) or "nothing"))
    return f"{source}: {'; '.join(parts)}"


def _number(word, value):
    """A number with its word."""
    if word == "hours":
        return f"{value:.3g} h"
    return f"{value} {word.removesuffix('s') if value == 1 else word}"


def write_prepared(sets, options, line, *, data_root=None):
    """Write manifests and the options they were made with, and log a line.

    Arguments
    ---------
    sets : dict
        Path of each manifest to its entries.
    options : dict
        What they were made with.
    line : str
        From ``describe``; kept beside each manifest.
    data_root : str or Path, optional
        As for ``write_manifest``.

    Example
    -------
    >>> path = getfixture("tmp_path") / "train.json"
    >>> write_prepared({path: {"a": {}}}, {"seed": 1}, "all of it")
    >>> read_notes(path)
    'all of it'
    """
    for path, entries in sets.items():
        write_manifest(path, entries, data_root=data_root)
        write_options(path, options, notes=line)
    logger.info("%s", line)


def repeat(paths):
    """Log the line about manifests that were there already.

    Arguments
    ---------
    paths : dict
        Name to path of a manifest.

    Example
    -------
    >>> repeat({"train": "nowhere.json"})
    """
    for line in dict.fromkeys(map(read_notes, paths.values())):
        if line:
            logger.info("%s (prepared before)", line)
