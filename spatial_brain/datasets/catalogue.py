"""Data sets that recipes use: how to recognise them, and their licences."""

from itertools import chain
from pathlib import Path
from typing import NamedTuple

from spatial_brain.datasets.real_arrays.registry import (
    CORPORA,
    corpus_class,
    find_corpus,
)
from spatial_brain.folders import find_folders


class KnownData(NamedTuple):
    """A data set in a folder.

    Arguments
    ---------
    name : str
        Such as "LibriSpeech".
    folder : Path
        Where it is.
    licence : str
        What its authors allow.
    recipes : tuple of str
        Recipes that use it.

    Example
    -------
    >>> KnownData("WSJ0", Path("wsj0"), "LDC", ("WSJ0-Simu",)).licence
    'LDC'
    """

    name: str
    folder: Path
    licence: str
    recipes: tuple


_SPEECH = ("DualMic-LibriSpeech", "WSJ0-Simu", "Binaural-WSJ0Mix", "RealArrays")
# Name, licence, recipes, and folders of which one shows that it is there.
_KNOWN = (
    (
        "LibriSpeech",
        "CC BY 4.0",
        _SPEECH,
        ("train-clean-100", "train-clean-360", "dev-clean", "test-clean"),
    ),
    ("WSJ0", "LDC user agreement", _SPEECH, ("si_tr_s", "11-1.1")),
    ("VCTK", "CC BY 4.0", _SPEECH, ("wav48_silence_trimmed", "wav48")),
    (
        "WHAM! noise",
        "CC BY-NC 4.0",
        ("Binaural-WSJ0Mix",),
        ("wham_noise",),
    ),
    (
        "STARSS22 or STARSS23",
        "MIT",
        ("STARSS23",),
        ("metadata_dev/dev-train-sony", "metadata_dev/dev-train-tau"),
    ),
    (
        "TAU-NIGENS 2021 (DCASE2021)",
        "CC BY-NC 4.0",
        ("DCASE2021",),
        ("metadata_dev/dev-val",),
    ),
    (
        "L3DAS22 Task 2",
        "see its page on Kaggle (l3dasteam/l3das22)",
        ("L3DAS22",),
        ("L3DAS22_Task2_train", "L3DAS22_Task2_dev"),
    ),
)


def find_known_data(folder):
    """Known data sets in a folder or in the folders in it.

    Arguments
    ---------
    folder : str or Path
        Where data lie.

    Returns
    -------
    list of KnownData
        In the order of their folders; nothing is opened, so that a damaged or
        incomplete one is there, too.

    Raises
    ------
    FileNotFoundError
        If there is no such folder.

    Example
    -------
    >>> folder = getfixture("tmp_path")
    >>> (folder / "LibriSpeech" / "dev-clean").mkdir(parents=True)
    >>> [(one.name, one.licence) for one in find_known_data(folder)]
    [('LibriSpeech', 'CC BY 4.0')]
    """
    folder = Path(folder)
    found = {}
    for place in chain([folder], find_folders(folder)):
        for name, licence, recipes, marks in _KNOWN:
            if any((place / mark).is_dir() for mark in marks):
                found[name, place] = KnownData(name, place, licence, recipes)
        for name in CORPORA:
            path = find_corpus(place, name)
            if path is not None:
                licence = corpus_class(name).licence
                recipes = [name] if name in ("ACE", "LOCATA") else []
                found[name, path] = KnownData(
                    name, path, licence, (*recipes, "RealArrays")
                )
    return sorted(found.values(), key=lambda one: (one.folder, one.name))
