"""WSJ0 (LDC93S6A): its utterances in whatever form the corpus comes.

That is the LDC's disc folders (``11-1.1/wsj0/si_tr_s/01t/01to030v.wv1``), one
folder ``wsj0``, the ``si_*`` folders alone or copied into ``tr``, ``dt`` and
``et``; upper or lower case; ``.wav``, ``.flac``, ``.sph`` or ``.wv1`` (the
first microphone; compressed with shorten, as the LDC ships it, or not). By
name, utterances are found in a flat folder as well.
"""

import os
import re
from functools import partial
from pathlib import Path
from typing import NamedTuple

from spatial_brain.dataio.audio import (
    check_audio,
    list_problems,
    scan_headers,
)
from spatial_brain.folders import find_files

WSJ0_FS = 16000
# What is taken where an utterance is there in several forms.
_SUFFIXES = (".wav", ".flac", ".sph", ".wv1")
_SUBSET = re.compile(r"(si|sd|jd|hsd)_[a-z]{2}_[a-z0-9]+")
# Subsets lie at most so many folders down.
_DEPTH = 4
_FIRST_NAMES = 5


class WSJ0File(NamedTuple):
    """An utterance of WSJ0; the better form of one sorts first.

    Arguments
    ---------
    rank : int
        0 for ``.wav``, then ``.flac``, ``.sph`` and ``.wv1``.
    path : str
        Audio file.
    subset : str
        Folder above that of the speaker, as ``si_tr_s``.
    speaker : str
        Folder of the speaker, as ``01t``.
    id : str
        Name of the utterance, as ``01to030v``.

    Example
    -------
    >>> WSJ0File(0, "SI_TR_S/01T/01TO030V.WAV", "si_tr_s", "01t", "01to030v").id
    '01to030v'
    """

    rank: int
    path: str
    subset: str
    speaker: str
    id: str


def _walk(data_folder, in_subsets):
    """Files that may be utterances: those in subsets, or all."""
    if not os.path.isdir(data_folder):
        return  # the table of another corpus
    depth = _DEPTH + 1 if in_subsets else None
    for path in find_files(data_folder, _SUFFIXES, depth=depth):
        subset = path.parent.parent.name.lower()
        if not in_subsets or _SUBSET.fullmatch(subset):
            stem, suffix = os.path.splitext(path.name.lower())
            yield WSJ0File(
                _SUFFIXES.index(suffix),
                str(path),
                subset,
                path.parent.name.lower(),
                stem,
            )


def list_wsj0(data_folder):
    """List the utterances of all subsets below a folder.

    Arguments
    ---------
    data_folder : str or Path
        Folder of the corpus, one above it, or one of a subset.

    Returns
    -------
    list of WSJ0File
        Each utterance of a subset once; empty if there are no folders
        ``<subset>/<speaker>``, as in another corpus.

    Example
    -------
    >>> folder = getfixture("tmp_path") / "11-1.1" / "WSJ0" / "SI_TR_S" / "01T"
    >>> folder.mkdir(parents=True)
    >>> (folder / "01TO030V.WV1").touch()
    >>> [(file.subset, file.id) for file in list_wsj0(folder.parents[3])]
    [('si_tr_s', '01to030v')]
    """
    best = {}
    for file in _walk(data_folder, in_subsets=True):
        key = file.subset, file.id
        best[key] = min(best.get(key, file), file)
    return list(best.values())


def find_wsj0(data_folder, wanted):
    """Find utterances by the names that published lists use.

    Arguments
    ---------
    data_folder : str or Path
        Folder of the corpus, or one above it.
    wanted : iterable of str
        Names as ``wsj0/si_tr_s/01t/01to030v.wav``.

    Returns
    -------
    dict
        Name to absolute path, in the order wanted.

    Raises
    ------
    FileNotFoundError
        If the folder or an utterance is not there; gives the number and the
        first names of those missing.

    Example
    -------
    >>> folder = getfixture("tmp_path") / "11-1.1" / "WSJ0" / "SI_TR_S" / "01T"
    >>> folder.mkdir(parents=True)
    >>> (folder / "01TO030V.WV1").touch()
    >>> name = "wsj0/si_tr_s/01t/01to030v.wav"
    >>> found = find_wsj0(folder.parents[3], [name])
    >>> Path(found[name]).name
    '01TO030V.WV1'
    """
    data_folder = Path(data_folder)
    if not data_folder.is_dir():
        raise FileNotFoundError(
            f"{data_folder}: no such folder. Give the folder of WSJ0 (LDC93S6A,"
            " https://catalog.ldc.upenn.edu/LDC93S6A), which is to be had by "
            "licence only; without it, mixtures can be drawn from another "
            "corpus"
        )
    wanted = list(dict.fromkeys(wanted))
    there = {Path(name).stem.lower(): [] for name in wanted}
    for file in _walk(data_folder, in_subsets=False):
        if file.id in there:
            there[file.id].append(file)
    found, missing = {}, []
    for name in wanted:
        candidates = there[Path(name).stem.lower()]
        if not candidates:
            missing.append(name)
            continue
        subset = Path(name).parent.parent.name
        best = min(candidates, key=lambda file: (file.subset != subset, file))
        found[name] = os.path.abspath(best.path)
    if missing:
        more = ", ..." if len(missing) > _FIRST_NAMES else ""
        raise FileNotFoundError(
            f"{data_folder}: {len(missing)} of {len(wanted)} utterances are "
            f"missing: {', '.join(missing[:_FIRST_NAMES])}{more}. Give the "
            "folder that holds si_tr_s, si_dt_05 and si_et_05 of WSJ0, or the "
            "discs of the LDC (11-1.1 to 11-14.1), complete"
        )
    return found


def readable_wsj0(found):
    """Check the headers of utterances.

    Arguments
    ---------
    found : dict
        From ``find_wsj0``.

    Returns
    -------
    dict
        Name to ``spatial_brain.dataio.audio.AudioInfo``, path and length.

    Raises
    ------
    ValueError
        If files are damaged or of another rate.

    Example
    -------
    >>> readable_wsj0({})
    {}
    """
    infos, problems = scan_headers(
        [os.path.abspath(path) for path in found.values()],
        partial(check_audio, fs=WSJ0_FS),
    )
    if problems:
        raise ValueError(list_problems(problems, len(found), "files"))
    return dict(zip(found, infos, strict=True))
