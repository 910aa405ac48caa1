"""Dry speech for simulated scenes: the speakers of each stage.

WSJ0 (LDC93S6A, by licence only) in the forms that
``spatial_brain.datasets.speech.wsj0`` finds; any other corpus known to
``spatial_brain.datasets.speech.corpora``; or synthetic speech where there is
none.
"""

import logging
import os
import re
from collections import Counter
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import torch

from spatial_brain.dataio.audio import read_audio
from spatial_brain.dataio.manifest import (
    is_prepared,
    read_manifest,
)
from spatial_brain.datasets.speech.corpora import (
    check_speakers,
    find_corpus,
    read_headers,
    take_speakers,
)
from spatial_brain.datasets.speech.layouts import REMEDY, Corpus, Utterance
from spatial_brain.datasets.speech.synthetic import write_synthetic_librispeech
from spatial_brain.datasets.speech.wsj0 import list_wsj0
from spatial_brain.datasets.splits import first_names, split_part
from spatial_brain.datasets.summary import (
    describe,
    facts,
    repeat,
    write_prepared,
)

logger = logging.getLogger(__name__)

# Training, development and evaluation speakers.
PARTS = ("tr", "dt", "et")
_WSJ0_SUBSET = re.compile(r"^si_(tr|dt|et)_[a-z0-9]+$")
_SPLIT_PARTS = {"train": "tr", "valid": "dt", "test": "et"}
# Share of the speakers held out of a corpus without splits.
_SHARE = 0.1
_TRIES = 20
# Of each split of synthetic LibriSpeech.
_SYNTHETIC_SPEAKERS = {"train-clean-100": 12, "dev-clean": 4, "test-clean": 4}


def part_of_stage(stage):
    """Speakers of a stage of WSJ0-Simu.

    Arguments
    ---------
    stage : str
        See ``spatial_brain.datasets.wsj0_simu.scenes.stage_seed``.

    Returns
    -------
    str
        "tr", "dt" or "et".

    Example
    -------
    >>> part_of_stage("pretrain"), part_of_stage("pretest_ins_T1000")
    ('tr', 'et')
    """
    kind = stage.removeprefix("pre")
    return {"train": "tr", "val": "dt"}.get(kind, "et")


def speech_name(data_folder):
    """What the speech of an experiment is, in a few words.

    Arguments
    ---------
    data_folder : str or Path or None
        As ``prepare_speech`` takes it.

    Returns
    -------
    str
        The name of the folder, not where it lies.

    Example
    -------
    >>> speech_name("/data/LibriSpeech/"), speech_name(None)
    ('LibriSpeech', 'synthetic voices')
    """
    if data_folder is None:
        return "synthetic voices"
    return Path(data_folder).resolve().name


def prepare_speech(
    data_folder,
    save_folder,
    *,
    fs=16000,
    num_talkers=None,
    utterances_per_talker=8,
    on_corrupt="raise",
    seed=0,
    num_workers=8,
):
    """Write manifests of the speakers of each part.

    Entries have ``wav``, ``speaker`` and ``num_samples``. Nothing is done
    when the manifests are there and were made with the same arguments.

    Arguments
    ---------
    data_folder : str or Path or None
        A corpus; None writes synthetic speech into ``save_folder``. Corpora
        without training, development and test sets are divided by speakers.
    save_folder : str or Path
        Gets ``speech_tr.json``, ``speech_dt.json``, ``speech_et.json``.
    fs : int
        Rate every file must have, Hz.
    num_talkers : dict, optional
        Synthetic speakers per LibriSpeech split; default 12, 4 and 4.
    utterances_per_talker : int
        Of synthetic speakers.
    on_corrupt : str
        "raise", or "report" to go on without unusable files.
    seed : int
        Decides on synthetic speech and on divisions.
    num_workers : int
        Threads that read headers.

    Returns
    -------
    dict
        "tr", "dt", "et" to the path of the manifest.

    Raises
    ------
    FileNotFoundError
        If the corpus is not there; the message names what may take its place.
    ValueError
        If files are unusable or there are fewer than three speakers.

    Example
    -------
    >>> few = {"train-clean-100": 1, "dev-clean": 1, "test-clean": 1}
    >>> paths = prepare_speech(
    ...     None,
    ...     getfixture("tmp_path"),
    ...     num_talkers=few,
    ...     utterances_per_talker=1,
    ... )
    >>> {part: len(read_manifest(path)) for part, path in paths.items()}
    {'tr': 1, 'dt': 1, 'et': 1}
    """
    save_folder = Path(save_folder)
    paths = {part: save_folder / f"speech_{part}.json" for part in PARTS}
    options = {
        "data_folder": data_folder and os.path.abspath(data_folder),
        "fs": fs,
        "num_talkers": num_talkers or _SYNTHETIC_SPEAKERS,
        "utterances_per_talker": utterances_per_talker,
        "on_corrupt": on_corrupt,
        "seed": seed,
    }
    if all(is_prepared(path, options) for path in paths.values()):
        repeat(paths)
        return paths
    if data_folder is None:
        root = write_synthetic_librispeech(
            save_folder / "speech",
            num_talkers or _SYNTHETIC_SPEAKERS,
            utterances_per_talker,
            seed,
            fs=fs,
        )
        data_folder = root.parent
    corpus, parts = _parts(Path(data_folder), seed)
    sets, manifests, skipped = {}, {}, Counter(corpus.skipped)
    for part, utterances in parts.items():
        total = len(utterances)
        utterances = read_headers(
            utterances, fs=fs, on_corrupt=on_corrupt, num_workers=num_workers
        )
        skipped["unusable"] += total - len(utterances)
        sets[part] = facts(map(asdict, utterances))
        manifests[paths[part]] = {
            u.id: {
                "wav": os.path.abspath(u.path),
                "speaker": u.speaker,
                "num_samples": u.num_samples,
            }
            for u in utterances
        }
    source = f"{data_folder}, layout {corpus.layout}"
    write_prepared(manifests, options, describe(source, sets, skipped))
    return paths


def _parts(data_folder, seed):
    """The corpus, and utterances of each part, without headers."""
    if not data_folder.exists():
        raise FileNotFoundError(
            f"{data_folder}: no such corpus. Give the folder of WSJ0 "
            "(LDC93S6A), of LibriSpeech (https://www.openslr.org/12), or one "
            "whose sub-folders are speakers; without one, null (None) takes "
            "synthetic speech"
        )
    corpus = Corpus("wsj0", _wsj0_utterances(data_folder), {})
    if not corpus.utterances:
        corpus = find_corpus(data_folder)
    utterances = corpus.utterances
    parts = {part: [] for part in PARTS}
    splits = {utterance.split for utterance in utterances}
    unknown = {name for name in splits if name and not split_part(name)}
    if unknown or (None in splits and len(splits) > 1):
        raise ValueError(
            f"{data_folder}: files are in split "
            f"{first_names(unknown) or 'none, though others are in one'}, "
            "which may be training, validation or test; name splits train, "
            f"valid or test, or {REMEDY}"
        )
    for utterance in utterances:
        part = _SPLIT_PARTS[split_part(utterance.split) or "train"]
        parts[part].append(utterance)
    _fill(data_folder, parts, np.random.default_rng(seed))
    return corpus, parts


def _wsj0_utterances(data_folder):
    """Speaker-independent utterances of a WSJ0 tree, each once."""
    found = {}
    for file in sorted(list_wsj0(data_folder)):
        if match := _WSJ0_SUBSET.match(file.subset):
            speaker = f"{file.subset}-{file.speaker}"
            found.setdefault(
                file.id, Utterance(file.id, file.path, speaker, match[1])
            )
    return list(found.values())


def _fill(data_folder, parts, rng):
    """Give parts without utterances some of the speakers of the others."""
    if not parts["tr"]:
        parts["tr"] = parts["dt"] or parts["et"]
        parts["dt" if parts["dt"] else "et"] = []
    for part in ("dt", "et"):
        if parts[part]:
            continue
        total = len({u.speaker for u in parts["tr"]})
        wanted = max(1, round(_SHARE * total))
        logger.info(
            "%s: has no split for %r, %d of its %d speakers are held out",
            data_folder,
            part,
            wanted,
            total,
        )
        if total <= wanted:
            raise ValueError(
                f"{data_folder}: too few speakers for training, development "
                "and test; at least three are needed, in the known layouts: "
                "sub-folders a speaker, LibriSpeech, WSJ0, or a CSV table"
            )
        parts[part], parts["tr"] = take_speakers(parts["tr"], wanted, rng)
    check_speakers(data_folder, parts)
    for part in PARTS:
        parts[part] = [replace(u, split=part) for u in sorted(parts[part])]


class SpeechPool:
    """Speakers to draw stretches of speech from.

    A draw takes a speaker, one of the speaker's utterances and those after it
    until they are long enough, and a stretch of these; its mean is removed.

    Arguments
    ---------
    manifest : str or Path
        From :func:`prepare_speech`.
    num_samples : int
        Length of a stretch.
    fs : int
        Sampling rate, Hz.
    kept_files : int
        So many files stay in memory once they have been read.

    Raises
    ------
    FileNotFoundError
        If there is no such manifest.

    Example
    -------
    >>> from spatial_brain.dataio.audio import write_audio
    >>> from spatial_brain.dataio.manifest import write_manifest
    >>> folder = getfixture("tmp_path")
    >>> write_audio(folder / "a.wav", torch.rand(300), 16000)
    >>> entry = {"wav": f"{folder}/a.wav", "speaker": "a", "num_samples": 300}
    >>> write_manifest(folder / "speech.json", {"a": entry})
    >>> pool = SpeechPool(folder / "speech.json", 700)
    >>> pool.draw(np.random.RandomState(0)).shape
    torch.Size([700])
    """

    def __init__(self, manifest, num_samples, fs=16000, kept_files=0):
        self.manifest = Path(manifest)
        self.num_samples = num_samples
        self.fs = fs
        self.kept_files = kept_files
        self._kept = {}
        entries = read_manifest(
            manifest, keys=("wav", "speaker", "num_samples")
        )
        speakers = {}
        for entry in entries.values():
            speakers.setdefault(entry["speaker"], []).append(
                (entry["wav"], entry["num_samples"])
            )
        self.speakers = list(speakers.values())

    def draw(self, rng):
        """Draw a stretch of speech.

        Arguments
        ---------
        rng : numpy.random.RandomState
            Draws speaker, utterance and start, in this order.

        Returns
        -------
        torch.Tensor
            float32 [num_samples], not silent.

        Raises
        ------
        AudioFileError
            (a ValueError) If a file is damaged.
        ValueError
            If all that is drawn is silent.
        """
        for _ in range(_TRIES):
            speech = self._stretch(rng)
            if bool(speech.any()):
                return speech
        raise ValueError(
            f"{self.manifest}: {_TRIES} stretches of speech in a row are "
            "silent; check the corpus"
        )

    def _stretch(self, rng):
        """Draw once, whatever comes."""
        files = self.speakers[rng.randint(len(self.speakers))]
        first = rng.randint(len(files))
        chosen, total = [], 0
        while total < self.num_samples:
            chosen.append(files[(first + len(chosen)) % len(files)])
            total += chosen[-1][1]
        start = rng.randint(total - self.num_samples + 1)
        pieces, left = [], self.num_samples
        for path, length in chosen:
            if start < length and left:
                count = min(length - start, left)
                pieces.append(self._read(path, start, count))
                left -= count
            start = max(start - length, 0)
        speech = torch.cat(pieces)
        return speech - speech.mean()

    def _read(self, path, start, count):
        """Samples of one file."""
        if path not in self._kept:
            if len(self._kept) >= self.kept_files:
                part = start, count, self.fs
                return read_audio(path, *part, num_channels=1)[0][:, 0]
            whole = read_audio(path, fs=self.fs, num_channels=1)[0][:, 0]
            self._kept[path] = whole
        return self._kept[path][start : start + count]
