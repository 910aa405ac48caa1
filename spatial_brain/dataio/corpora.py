"""Utterance lists of dry speech: who speaks, where, how long."""

import logging
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

from spatial_brain.dataio.audio import (
    AudioFileError,
    audio_info,
    check_audio,
)
from spatial_brain.dataio.corpus_layouts import (
    LAYOUTS,
    Utterance,
    find_layout,
)
from spatial_brain.dataio.progress import progress

logger = logging.getLogger(__name__)

__all__ = [
    "LAYOUTS",
    "Utterance",
    "find_layout",
    "find_utterances",
    "list_utterances",
    "read_headers",
]


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
    data_folder = Path(data_folder)
    if not data_folder.exists():
        raise FileNotFoundError(
            f"{data_folder}: no such corpus; give the folder (or CSV table) of "
            "dry speech as data_folder"
        )
    if layout == "auto":
        layout = find_layout(data_folder)
    elif layout not in LAYOUTS:
        raise ValueError(
            f"layout must be one of {list(LAYOUTS)}, got {layout!r}"
        )
    found = sorted(LAYOUTS[layout](data_folder))
    if not found:
        raise FileNotFoundError(
            f"{data_folder}: no audio file found as layout {layout!r}"
        )
    _check_unique(data_folder, found)
    return found


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
    >>> read_headers([Utterance("a", "nowhere.wav", "ann")])
    Traceback (most recent call last):
    ValueError: 1 of 1 files are unusable:
      [Errno 2] audio file does not exist; ...
    """
    if on_corrupt not in ("raise", "report"):
        raise ValueError(
            f'on_corrupt must be "raise" or "report", got {on_corrupt!r}'
        )

    def scan(utterance):
        try:
            info = audio_info(utterance.path)
            check_audio(info, fs=fs, num_channels=num_channels)
        except (AudioFileError, OSError) as error:
            return str(error)
        return replace(utterance, num_samples=info.num_samples, fs=info.fs)

    with ThreadPoolExecutor(num_workers) as pool:
        results = list(
            progress(
                pool.map(scan, found),
                total=len(found),
                description="reading headers",
                unit="file",
            )
        )
    problems = [result for result in results if isinstance(result, str)]
    good = [result for result in results if not isinstance(result, str)]
    if problems:
        text = f"{len(problems)} of {len(found)} files are unusable:\n  "
        text += "\n  ".join(problems[:10])
        if len(problems) > 10:
            text += f"\n  ... and {len(problems) - 10} more"
        if on_corrupt == "raise" or not good:
            raise ValueError(text)
        logger.warning(text)
    return good
