"""Names of the training, validation and test parts of data sets.

Folders and columns of tables name them in many ways: ``train``, ``valid`` and
``test``; ``Train/Dev/Eval``; ``tr/cv/tt``; ``si_tr_s/si_dt_05/si_et_05``;
``train-clean-100/dev_clean/test_clean``.
"""

import re
from pathlib import Path

PARTS = ("train", "valid", "test")
_LONG = {
    "train": "training|train|trn",
    "valid": "validation|valid|val|development|devel|dev",
    "test": "testing|test|tst|evaluation|eval",
}
_SHORT = {"train": "tr", "valid": "cv|dt", "test": "tt|et"}
# Long names may go on ("train-clean-100", "test2"), unless with a letter;
# short ones as those of WSJ0 and CHiME do ("si_tr_s", "et05_real").
_RULES = {
    part: re.compile(
        rf"(?:{_LONG[part]})(?:set|data)?(?:[^a-z].*)?"
        rf"|(?:(?:si|sd|jd|hsd)_)?(?:{_SHORT[part]})(?:_[a-z]|[-_]?\d+\w*)?"
    )
    for part in PARTS
}


def split_part(name):
    """Part of a data set that the name of a split stands for.

    Arguments
    ---------
    name : str or None
        Name of a folder, or an entry of a table.

    Returns
    -------
    str or None
        ``"train"``, ``"valid"`` or ``"test"``; None if it is no such name.

    Example
    -------
    >>> [split_part(n) for n in ("Train", "dev-clean", "si_et_05", "tt")]
    ['train', 'valid', 'test', 'test']
    >>> [split_part(name) for name in ("docs", "trains", "cv-corpus-17.0")]
    [None, None, None]
    """
    name = (name or "").lower()
    return next((p for p, rule in _RULES.items() if rule.fullmatch(name)), None)


def are_splits(names, where, what):
    """Whether folders are splits of a data set, or what lies in splits.

    They are where two or more stand for different parts, whatever else there
    is, or where all of them are named like splits.

    Arguments
    ---------
    names : iterable of str
        Names of folders.
    where : str or Path
        Folder that holds them, named in the message.
    what : str
        What folders of other names are taken for, such as ``"speakers"``.

    Returns
    -------
    bool
        True if those of ``names`` that have a ``split_part`` are splits.

    Raises
    ------
    ValueError
        If a folder is named like a split among others that are not.

    Example
    -------
    >>> are_splits(["Train", "dev", "noise"], "corpus", "speakers")
    True
    >>> are_splits(["ann", "bob", "test"], "corpus", "speakers")
    Traceback (most recent call last):
    ValueError: corpus: is test a split, or one of the speakers ann, bob? ...
    """
    named = [name for name in names if split_part(name)]
    others = [name for name in names if not split_part(name)]
    if not named:
        return False
    if not others or len({split_part(name) for name in named}) > 1:
        return True
    raise ValueError(
        f"{where}: is {first_names(named)} a split, or one of the {what} "
        f"{first_names(others)}? Rename the folder; or sort all into folders "
        "train, valid and test"
    )


def take_split(names, split, where):
    """Names of a data set's splits that stand for a part of it.

    Arguments
    ---------
    names : iterable of str
        Names of its splits.
    split : str
        Name wanted.
    where : str or Path
        The data set, named in the message.

    Returns
    -------
    list of str
        ``split`` itself if it is there, else the names of the same part.

    Raises
    ------
    FileNotFoundError
        If there is none.

    Example
    -------
    >>> take_split(["Train", "dev", "Eval"], "valid", "events")
    ['dev']
    """
    names = sorted(set(names))
    if split in names:
        return [split]
    part = split_part(split)
    found = [name for name in names if part and split_part(name) == part]
    if not found:
        raise FileNotFoundError(
            f"{Path(where)}: nothing for {split!r} in it; there "
            + (f"are {', '.join(names)}" if names else "are no splits")
        )
    return found


def first_names(names, most=5):
    """First names of some, and how many there are.

    Arguments
    ---------
    names : iterable of str
        All names.
    most : int
        How many are given.

    Returns
    -------
    str
        Sorted, with commas.

    Example
    -------
    >>> first_names("dbca"), first_names("dbca", 2)
    ('a, b, c, d', 'a, b, ... (4 in all)')
    """
    names = sorted(names)
    more = f", ... ({len(names)} in all)" if len(names) > most else ""
    return ", ".join(names[:most]) + more
