"""Utterance lists of dry speech: who speaks, where, how long.

What is known of how corpora are laid out is in
``spatial_brain.datasets.speech.layouts``.
"""

import logging
from dataclasses import replace
from functools import partial

from spatial_brain.dataio.audio import (
    check_audio,
    list_problems,
    scan_headers,
)
from spatial_brain.datasets.speech.layouts import read_layout

logger = logging.getLogger(__name__)


def list_utterances(
    data_folder,
    *,
    layout="auto",
    splits=None,
    fs=None,
    num_channels=1,
    on_corrupt="raise",
    num_workers=8,
):
    """Find the utterances of a corpus and read the headers of its files.

    Arguments
    ---------
    data_folder : str or Path
        Folder of the corpus, or its CSV table.
    layout : str
        One of ``LAYOUTS``; ``"auto"`` finds out.
    splits : sequence of str
        Only these splits of the corpus; None takes all.
    fs : int
        Rate every file must have, Hz; None accepts any.
    num_channels : int
        Number of channels every file must have; None accepts any.
    on_corrupt : str
        ``"raise"``, or ``"report"``: leave unusable files out, and log their
        names and number.
    num_workers : int
        Threads that read headers.

    Returns
    -------
    list of Utterance
        Sorted by id.

    Raises
    ------
    FileNotFoundError
        If the folder, or a split, is not there.
    ValueError
        If no layout fits, ids are not unique, or files are unusable.

    Example
    -------
    >>> import torch
    >>> from spatial_brain.dataio.audio import write_audio
    >>> folder = getfixture("tmp_path")
    >>> write_audio(folder / "ann" / "1.wav", torch.zeros(80), 16000)
    >>> write_audio(folder / "bob" / "1.wav", torch.zeros(90), 16000)
    >>> [(u.id, u.speaker, u.num_samples) for u in list_utterances(folder)]
    [('ann-1', 'ann', 80), ('bob-1', 'bob', 90)]
    """
    found = find_utterances(data_folder, layout)
    if splits is not None:
        found = _select_splits(data_folder, found, splits)
    return read_headers(
        found,
        fs=fs,
        num_channels=num_channels,
        on_corrupt=on_corrupt,
        num_workers=num_workers,
    )


def find_utterances(data_folder, layout="auto"):
    """Find the utterances of a corpus without reading any file.

    Arguments
    ---------
    data_folder : str or Path
        Folder of the corpus, or its CSV table.
    layout : str
        One of ``LAYOUTS``; ``"auto"`` finds out.

    Returns
    -------
    list of Utterance
        Sorted by id, lengths and rates not filled in.

    Raises
    ------
    FileNotFoundError
        If the folder is not there or holds no audio file.
    ValueError
        If no layout fits, or ids are not unique.

    Example
    -------
    >>> folder = getfixture("tmp_path")
    >>> (folder / "ann-1.wav").touch()
    >>> [(u.id, u.speaker) for u in find_utterances(folder)]
    [('ann-1', 'ann')]
    """
    return find_corpus(data_folder, layout).utterances


def find_corpus(data_folder, layout="auto"):
    """Find the utterances of a corpus, its layout and what was left out.

    Arguments
    ---------
    data_folder : str or Path
        Folder of the corpus, or its CSV table.
    layout : str
        One of ``LAYOUTS``; ``"auto"`` finds out.

    Returns
    -------
    Corpus
        No id occurs twice in its utterances.

    Raises
    ------
    FileNotFoundError, ValueError
        As for ``find_utterances``.

    Example
    -------
    >>> folder = getfixture("tmp_path")
    >>> (folder / "ann-1.wav").touch()
    >>> find_corpus(folder).layout
    'flat'
    """
    corpus = read_layout(data_folder, layout)
    _check_unique(data_folder, corpus.utterances)
    return corpus


def _select_splits(data_folder, found, splits):
    """Keep the utterances of some splits; name those missing."""
    present = sorted({u.split for u in found if u.split is not None})
    missing = [name for name in splits if name not in present]
    if missing:
        raise FileNotFoundError(
            f"{data_folder}: no split {', '.join(missing)}; there "
            f"{'are ' + ', '.join(present) if present else 'are no splits'}"
        )
    return [u for u in found if u.split in splits]


def _check_unique(data_folder, found):
    """Raise ValueError for the first id that occurs twice."""
    seen = {}
    for utterance in found:
        other = seen.setdefault(utterance.id, utterance)
        if other is not utterance:
            raise ValueError(
                f"{data_folder}: two files have the id {utterance.id!r}: "
                f"{other.path} and {utterance.path}; remove or rename one"
            )


def take_speakers(utterances, count, rng):
    """Hold out the utterances of some speakers.

    Arguments
    ---------
    utterances : list of Utterance
        Those of all speakers.
    count : int
        Number of speakers to take.
    rng : numpy.random.Generator
        Chooses them.

    Returns
    -------
    tuple of list of Utterance
        Those of the speakers taken, and those of the others.

    Example
    -------
    >>> import numpy as np
    >>> from spatial_brain.datasets.speech.layouts import Utterance
    >>> spoken = [Utterance(f"{s}1", f"{s}1.wav", s) for s in "abc"]
    >>> taken, others = take_speakers(spoken, 1, np.random.default_rng(0))
    >>> len(taken), len(others)
    (1, 2)
    """
    speakers = sorted({u.speaker for u in utterances})
    taken = {speakers[i] for i in rng.permutation(len(speakers))[:count]}
    return (
        [u for u in utterances if u.speaker in taken],
        [u for u in utterances if u.speaker not in taken],
    )


def check_speakers(data_folder, parts):
    """Raise ValueError if a speaker is in two parts of a corpus.

    Arguments
    ---------
    data_folder : str or Path
        Named in the message.
    parts : dict
        Name of each part to its utterances.

    Raises
    ------
    ValueError
        Names the first such speaker, and the parts.

    Example
    -------
    >>> from spatial_brain.datasets.speech.layouts import Utterance
    >>> one = [Utterance("a1", "a1.wav", "ann")]
    >>> check_speakers("corpus", {"train": one, "test": one})
    Traceback (most recent call last):
    ValueError: corpus: speaker ann is in train and in test; ...
    """
    owners = {}
    for name, utterances in parts.items():
        for utterance in utterances:
            owner = owners.setdefault(utterance.speaker, name)
            if owner != name:
                raise ValueError(
                    f"{data_folder}: speaker {utterance.speaker} is in {owner} "
                    f"and in {name}; choose parts without common speakers"
                )


def read_headers(
    found, *, fs=None, num_channels=1, on_corrupt="raise", num_workers=8
):
    """Fill in length and rate of utterances.

    Arguments
    ---------
    found : list of Utterance
        From ``find_utterances``.
    fs : int
        Rate every file must have, Hz; None accepts any.
    num_channels : int
        Number of channels every file must have; None accepts any.
    on_corrupt : str
        ``"raise"``, or ``"report"``: leave unusable files out, and log their
        names and number.
    num_workers : int
        Number of threads.

    Returns
    -------
    list of Utterance
        In the same order.

    Raises
    ------
    ValueError
        If files are unusable; gives their number and the first ten.

    Example
    -------
    >>> from spatial_brain.datasets.speech.layouts import Utterance
    >>> read_headers([Utterance("a", "nowhere.wav", "ann")])
    Traceback (most recent call last):
    ValueError: 1 of 1 files are unusable:
      [Errno 2] audio file does not exist; ...
    """
    if on_corrupt not in ("raise", "report"):
        raise ValueError(
            f'on_corrupt must be "raise" or "report", got {on_corrupt!r}'
        )
    infos, problems = scan_headers(
        [utterance.path for utterance in found],
        partial(check_audio, fs=fs, num_channels=num_channels),
        num_workers,
    )
    good = [
        replace(utterance, num_samples=info.num_samples, fs=info.fs)
        for utterance, info in zip(found, infos, strict=True)
        if info is not None
    ]
    if problems:
        text = list_problems(problems, len(found), "files")
        if on_corrupt == "raise" or not good:
            raise ValueError(text)
        logger.warning(text)
    return good
