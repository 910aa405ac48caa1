"""LibriSpeech, or any other corpus of dry speech in its place.

LibriSpeech: V. Panayotov, G. Chen, D. Povey, S. Khudanpur, "Librispeech: an
ASR corpus based on public domain audio books", ICASSP 2015;
https://www.openslr.org/12, CC BY 4.0. Read English speech, 16 kHz, one
channel, files ``<split>/<speaker>/<chapter>/<speaker>-<chapter>-<n>.flac``.
"""

import os
from dataclasses import asdict
from pathlib import Path

import numpy as np

from spatial_brain.dataio.archives import marker_path
from spatial_brain.dataio.download import fetch_and_unpack
from spatial_brain.dataio.manifest import is_prepared
from spatial_brain.datasets.speech.corpora import (
    check_speakers,
    find_corpus,
    read_headers,
    take_speakers,
)
from spatial_brain.datasets.speech.layouts import find_layout
from spatial_brain.datasets.summary import (
    describe,
    facts,
    repeat,
    write_prepared,
)
from spatial_brain.datasets.synthetic_data import synthetic_options

MIRROR = "https://www.openslr.org/resources/12"
# Utterances, and MD5 of the archive, as published.
ARCHIVES = {
    "dev-clean": (2703, "42e2234ba48799c1f50f24a7926300a1"),
    "dev-other": (2864, "c8d0bcc9cca99d4f8b62fcc847357931"),
    "test-clean": (2620, "32fa31d27d2e1cad72775fee3f4849a9"),
    "test-other": (2939, "fb5a50374b501bb3bac4815ee91d3135"),
    "train-clean-100": (28539, "2a93770f6d5c6c964bc36631d331a522"),
    "train-clean-360": (104014, "c0e676e450a7ff2f54aeade5171606fa"),
    "train-other-500": (148688, "d1a0fd59409feb2c614ce4d30c387708"),
}


def prepare_librispeech(
    data_folder,
    save_folder,
    train="dev-clean",
    valid=None,
    test="test-clean",
    *,
    valid_speakers=None,
    test_speakers=None,
    download=False,
    mirror=MIRROR,
    layout="auto",
    fs=16000,
    check_counts=True,
    on_corrupt="raise",
    seed=0,
    num_workers=8,
    skip_prep=False,
):
    """Write the manifests ``train.json``, ``valid.json`` and ``test.json``.

    Each entry has ``wav`` (beginning with ``{data_root}``, which stands for
    ``data_folder``), ``speaker``, ``duration`` (s) and ``num_samples``.
    Nothing is done when the manifests are there and were made with the same
    arguments. Any other corpus may take the place of LibriSpeech: see
    ``spatial_brain.datasets.speech.corpora`` for the layouts.

    Arguments
    ---------
    data_folder : str or Path
        Folder that holds ``LibriSpeech`` (or that folder, or a split of it),
        the folder of another corpus, or a CSV table.
    save_folder : str or Path
        Where the manifests go.
    train : str or list of str
        Splits of the corpus to train on. Of no account where the corpus has
        no splits.
    valid : str or list of str
        Splits for validation; None for no validation, or with
        ``valid_speakers``.
    test : str or list of str
        Splits for the test; None for no test, or with ``test_speakers``.
    valid_speakers : int or float
        Take this many training speakers (below 1: this share) for validation.
    test_speakers : int or float
        The same for the test; needed where the corpus has no splits.
    download : bool
        Download the LibriSpeech splits that are missing.
    mirror : str
        Folder of the archives on the web.
    layout : str
        Layout of the corpus, ``"auto"`` finds out.
    fs : int
        Sampling rate every file must have, Hz; they must have one channel.
    check_counts : bool
        Compare the number of utterances with the published ones.
    on_corrupt : str
        ``"raise"``, or ``"report"`` to go on without unusable files.
    seed : int
        Decides which speakers are taken.
    num_workers : int
        Threads that read headers.
    skip_prep : bool
        Trust the manifests that are there.

    Returns
    -------
    dict
        ``"train"``, ``"valid"``, ``"test"`` (those asked for) to the path of
        the manifest.

    Raises
    ------
    FileNotFoundError
        If the corpus or a split is missing; the message shows how to get it.
    ValueError
        If files are unusable or missing, a split or an archive is not a
        published one, a speaker is in two splits, or the arguments contradict
        each other.
    DownloadError
        (an OSError) If the download fails; the next call continues it.

    Example
    -------
    >>> from spatial_brain.datasets.speech.synthetic import (
    ...     write_synthetic_librispeech,
    ... )
    >>> folder = getfixture("tmp_path")
    >>> numbers = {"dev-clean": 3, "test-clean": 1}
    >>> _ = write_synthetic_librispeech(folder, numbers, 1)
    >>> paths = prepare_librispeech(folder, folder / "s", valid_speakers=1)
    >>> {split: path.name for split, path in paths.items()}
    {'train': 'train.json', 'valid': 'valid.json', 'test': 'test.json'}
    """
    wanted = _wanted(train, valid, test, valid_speakers, test_speakers)
    paths = {name: Path(save_folder, f"{name}.json") for name in wanted}
    if skip_prep:
        return paths
    options = {
        "data_folder": os.path.abspath(data_folder),
        "splits": wanted,
        "speakers": [valid_speakers, test_speakers],
        "layout": layout,
        "fs": fs,
        "check_counts": check_counts,
        "on_corrupt": on_corrupt,
        "seed": seed,
    }
    if all(is_prepared(path, options) for path in paths.values()):
        repeat(paths)
        return paths
    names = [name for part in wanted.values() for name in part]
    if download:
        _download(data_folder, names, mirror)
    corpus, found = _utterances(data_folder, names, layout, check_counts)
    utterances = read_headers(
        found, fs=fs, on_corrupt=on_corrupt, num_workers=num_workers
    )
    rng = np.random.default_rng(seed)
    splits = _assign(
        utterances, wanted, valid_speakers, test_speakers, rng, data_folder
    )
    skipped = {
        **corpus.skipped,
        "of other splits": len(corpus.utterances) - len(found),
        "unusable": len(found) - len(utterances),
    }
    source = f"{data_folder}, layout {corpus.layout}"
    sets = {name: facts(map(asdict, splits[name])) for name in paths}
    write_prepared(
        {path: _entries(splits[name]) for name, path in paths.items()},
        options,
        describe(source, sets, skipped),
        data_root=data_folder,
    )
    return paths


def _entries(utterances):
    """Entries of a manifest."""
    return {
        utterance.id: {
            "wav": utterance.path,
            "speaker": utterance.speaker,
            "duration": utterance.duration,
            "num_samples": utterance.num_samples,
        }
        for utterance in utterances
    }


def _wanted(train, valid, test, valid_speakers, test_speakers):
    """Names of the corpus's splits for each manifest to write."""
    wanted = {}
    for name, names, speakers in (
        ("train", train, None),
        ("valid", valid, valid_speakers),
        ("test", test, test_speakers),
    ):
        names = [names] if isinstance(names, str) else list(names or ())
        if speakers is not None:
            if not speakers > 0:
                raise ValueError(
                    f"{name}_speakers must be positive, got {speakers}"
                )
            # The test split has a default; speakers asked for go first.
            if name == "valid" and names:
                raise ValueError(
                    f"validation is either of splits ({', '.join(names)}) or "
                    f"of {valid_speakers} training speakers; pass "
                    "--valid_splits null or --valid_speakers null"
                )
            names = []
        if name == "train" or names or speakers is not None:
            wanted[name] = names
    return wanted


def _librispeech_folder(data_folder):
    """Folder with the splits, and the one its archives are unpacked in."""
    data_folder = Path(data_folder)
    if data_folder.name == "LibriSpeech":
        return data_folder, data_folder.parent
    return data_folder / "LibriSpeech", data_folder


def _download(data_folder, splits, mirror):
    """Download and unpack the splits that are missing or half unpacked."""
    root, parent = _librispeech_folder(data_folder)
    for name in splits:
        if name not in ARCHIVES:
            raise ValueError(
                f"LibriSpeech has no split {name!r}; it has "
                f"{', '.join(ARCHIVES)}"
            )
        archive = f"{name}.tar.gz"
        marker = marker_path(archive, parent)
        if not (root / name).is_dir():
            # Removed since, if it was unpacked once.
            marker.unlink(missing_ok=True)
        elif not marker.exists():
            # Put there by hand: the count shows whether it is whole.
            continue
        fetch_and_unpack(
            f"{mirror}/{archive}", parent, f"md5:{ARCHIVES[name][1]}"
        )


def _utterances(data_folder, names, layout, check_counts):
    """The corpus, and its utterances of the wanted splits, or all."""
    remedy = (
        "Put LibriSpeech there (https://www.openslr.org/12), pass --download "
        "True to fetch it, or give another corpus of dry speech as data_folder"
    )
    if not Path(data_folder).exists():
        raise FileNotFoundError(f"{data_folder}: no such folder. {remedy}")
    if layout == "auto":
        try:
            layout = find_layout(data_folder)
        except ValueError as error:
            raise FileNotFoundError(f"{error}. {remedy}") from error
    root = _librispeech_folder(data_folder)[0]
    root = root if root.is_dir() else Path(data_folder)
    if layout == "librispeech" and root.name not in ARCHIVES:
        missing = [name for name in names if not (root / name).is_dir()]
        if missing:
            raise FileNotFoundError(
                f"{root}: no folder {' and no folder '.join(missing)}. {remedy}"
            )
    corpus = find_corpus(data_folder, layout)
    utterances = corpus.utterances
    present = {u.split for u in utterances} - {None}
    if not present:
        return corpus, utterances
    missing = sorted(set(names) - present)
    if missing:
        raise FileNotFoundError(
            f"{data_folder}: no split {', '.join(missing)}; the corpus has "
            f"{', '.join(sorted(present))}. Choose with --train_splits, "
            "--valid_splits and --test_splits"
        )
    if layout == "librispeech" and check_counts:
        _check_counts(root, names, utterances)
    return corpus, [u for u in utterances if u.split in names]


def _check_counts(root, names, utterances):
    """Compare the number of utterances with the published one."""
    if synthetic_options(root) is not None:
        return
    for name in names:
        found = sum(u.split == name for u in utterances)
        if name in ARCHIVES and found != ARCHIVES[name][0]:
            raise ValueError(
                f"{root / name}: has {found} utterances, {ARCHIVES[name][0]} "
                "were published. Remove the folder and pass --download True, "
                "or --check_counts False to use a part of the corpus"
            )


def _assign(
    utterances, wanted, valid_speakers, test_speakers, rng, data_folder
):
    """Utterances of each manifest; no speaker in two."""
    has_splits = any(u.split is not None for u in utterances)
    if not has_splits:
        for name, names in wanted.items():
            if name != "train" and names:
                raise ValueError(
                    f"{data_folder}: this corpus has no splits, so {name} "
                    f"cannot be {', '.join(names)}; hold speakers out, a "
                    "number or a share of them: --valid_splits null "
                    "--valid_speakers 0.1 --test_splits null "
                    "--test_speakers 0.1"
                )
    splits = {
        name: [u for u in utterances if not has_splits or u.split in names]
        for name, names in wanted.items()
    }
    for name, number in (("valid", valid_speakers), ("test", test_speakers)):
        if number is None:
            continue
        total = len({u.speaker for u in splits["train"]})
        count = number if number >= 1 else max(1, round(number * total))
        if count != int(count) or count >= total:
            raise ValueError(
                f"{data_folder}: cannot take {number} of {total} "
                f"training speakers as {name}_speakers"
            )
        splits[name], splits["train"] = take_speakers(
            splits["train"], int(count), rng
        )
    check_speakers(data_folder, splits)
    return splits
