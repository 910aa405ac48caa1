"""Layouts of corpora of dry speech: where splits and speakers are written.

Known layouts, found by themselves or named:

* ``csv``: a table with the columns ``path``, ``speaker`` and, if wanted,
  ``split`` and ``id``; paths are absolute or relative to the table's folder
  or to the folder above it;
* ``wsj0``: ``[wsj0/]<si_tr_s|...>/<speaker>/<utterance>.(wav|wv1|sph)``, also
  below the disc folders of the LDC, upper or lower case;
* ``common_voice``: ``<language>/clips`` with the tables of the release;
* those of ``_PATTERNS``: LibriSpeech, LibriTTS, Libri-Light, MLS, VCTK,
  VoxCeleb, AISHELL, TIMIT, CMU ARCTIC; with or without the folders above,
  converted to any container;
* ``speakers``: folders of speakers, perhaps in folders of splits;
* ``flat``: files whose names begin with the speaker, up to the first ``-`` or
  ``_``, perhaps in folders of splits.

The last two are guesses, and the log says whom they take for a speaker.
"""

import csv
import logging
import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from spatial_brain.dataio.audio import AUDIO_SUFFIXES
from spatial_brain.datasets.speech.wsj0 import list_wsj0
from spatial_brain.datasets.splits import are_splits, first_names, split_part
from spatial_brain.folders import find_files, find_folders

logger = logging.getLogger(__name__)

_LIBRISPEECH_SPLIT = re.compile(r"^(train|dev|test)-(clean|other)")
_SPLIT_FOLDER = r"(?P<split>(?:train|dev|test)-(?:clean|other)[^/]*)"
# Ends of paths, in any case. ``speaker`` is a folder, ``split`` its split if
# the layout has any; ``id`` names the utterance where its path does not.
_PATTERNS = {
    "librispeech": rf"{_SPLIT_FOLDER}/(?P<speaker>\d+)/\d+/"
    r"(?P<id>(?P=speaker)-\d+-\d+)\.\w+",
    "libritts": rf"{_SPLIT_FOLDER}/(?P<speaker>\d+)/\d+/"
    r"(?P<id>(?P=speaker)_\d+_\d+_\d+)\.\w+",
    "mls": r"(?P<split>train|dev|test)/audio/(?P<speaker>\d+)/\d+/"
    r"(?P<id>(?P=speaker)_\d+_\d+)\.\w+",
    "libri_light": r"(?:1h/\d/(?:clean|other)|9h/(?:clean|other)|small|medium"
    r"|large|duplicate)/(?P<speaker>\d+)/[^/]+/[^/]+\.\w+",
    "vctk": r"(?P<speaker>[ps]\d{1,3})/(?P<id>(?P=speaker)_\d{3})"
    r"(?:_mic[12])?\.\w+",
    "voxceleb": r"(?:(?:vox[12]_)?(?P<split>dev|test)[^/]*/(?:[^/]+/)?)?"
    r"(?P<speaker>id\d{5})/[\w-]{11}/\d{5}\.\w+",
    "aishell": r"(?P<split>train|dev|test)/(?:wav/)?"
    r"(?P<speaker>S\d{4}|SSB\d{4})/(?P<id>(?:BAC009)?(?P=speaker)W?\d{4})\.\w+",
    "aishell2": r"(?P<speaker>C\d{4,5})/(?P<id>I(?P=speaker)W\d{4})\.\w+",
    "timit": r"(?P<split>train|test)/dr[1-8]/(?P<speaker>[mf][a-z]{3}\d)/"
    r"s[aix]\d+\.wav(?:\.wav)?",
    "cmu_arctic": r"cmu_us_(?P<speaker>[a-z]+)_arctic/wav/"
    r"arctic_[ab]\d{4}\.\w+",
}
_FITTING = {
    name: re.compile(rf"(?:.*?/)??{pattern}", re.IGNORECASE)
    for name, pattern in _PATTERNS.items()
}
# A layout is tried on so many paths, and has to fit more than a third of them:
# half of CMU ARCTIC is other recordings of the same.
_TRIED = 1000
# So many folders at the end of a path matter.
_DEPTH = 7
# Folders that lie between those of splits and those of speakers.
_CONTAINERS = frozenset(("audio", "clips", "flac", "speech", "wav", "wavs"))
# Of several forms of an utterance the first is taken.
_RANKS = {suffix: n for n, suffix in enumerate((".wav", ".flac", ".sph"))}
_COPIES = "other microphones or copies of an utterance"
_UNNAMED = "not named as in this layout"
_BESIDE = "beside the folders of the splits"
_UNLISTED = "in no table"
_MISSING = "listed but not there"
_CV_TABLES = ("train", "dev", "test")
_GUESSED = ("speakers", "flat")
REMEDY = (
    "write a CSV table with the columns path,speaker,split and give it in "
    "place of the folder"
)


@dataclass(frozen=True, order=True)
class Utterance:
    """One recording of one speaker.

    Arguments
    ---------
    id : str
        Unique in its corpus.
    path : str
        Audio file.
    speaker : str
        Who speaks.
    split : str
        Name of the corpus's own split, None if it has none.
    num_samples : int
        Length; 0 before the header is read.
    fs : int
        Sampling rate, Hz; 0 before the header is read.

    Example
    -------
    >>> Utterance("19-198-0000", "a.flac", "19", None, 8000, 16000).duration
    0.5
    """

    id: str
    path: str
    speaker: str
    split: str | None = None
    num_samples: int = 0
    fs: int = 0

    @property
    def duration(self):
        """Duration in seconds."""
        return self.num_samples / self.fs


class Corpus(NamedTuple):
    """What was found in a folder.

    Arguments
    ---------
    layout : str
        One of ``LAYOUTS``.
    utterances : list of Utterance
        Sorted by id, lengths and rates not filled in.
    skipped : dict of str to int
        Reason to number of files left out.

    Example
    -------
    >>> Corpus("flat", [], {"in no table": 2}).skipped
    {'in no table': 2}
    """

    layout: str
    utterances: list
    skipped: dict


def find_layout(data_folder):
    """Find out how a corpus is laid out.

    Arguments
    ---------
    data_folder : str or Path
        Folder of the corpus, or its CSV table.

    Returns
    -------
    str
        One of ``LAYOUTS``.

    Raises
    ------
    ValueError
        If no layout fits.

    Example
    -------
    >>> find_layout("corpus/manifest.csv")
    'csv'
    """
    data_folder = Path(data_folder)
    if data_folder.suffix.lower() == ".csv" or _table(data_folder).is_file():
        return "csv"
    paths = find_files(data_folder, AUDIO_SUFFIXES)
    tried = paths[:: len(paths) // _TRIED + 1]
    names = [_end(path) for path in tried]
    fits = {
        layout: sum(map(bool, map(rule.fullmatch, names)))
        for layout, rule in _FITTING.items()
    }
    best = max(fits, key=fits.get)
    if fits[best] > len(names) / 3:
        return best
    if _librispeech_splits(data_folder) and fits["librispeech"]:
        return "librispeech"
    if list_wsj0(data_folder):
        return "wsj0"
    if _common_voice_folders(data_folder):
        return "common_voice"
    if paths:
        return _guess_layout(data_folder, paths)
    raise ValueError(
        f"{data_folder}: no audio files in a layout known here. Known: a "
        "LibriSpeech tree, a WSJ0 tree, those of LibriTTS, Libri-Light, MLS, "
        "VCTK, VoxCeleb, AISHELL, TIMIT, CMU ARCTIC and Common Voice, a folder "
        "whose sub-folders are speakers, a folder of <speaker>-<name>.<suffix> "
        "files, or a CSV table with the columns path, speaker[, split]"
    )


def _end(path):
    """Last folders and name of a file."""
    return "/".join(path.absolute().parts[-_DEPTH:])


def _guess_layout(data_folder, paths):
    """Layout of a folder that is like no corpus."""
    places = list(_places(data_folder, paths))
    tops = {place[0] for place in places if len(place) > 1}
    if tops and are_splits(tops, data_folder, "speakers"):
        inside = [p for p in places if len(p) > 1 and split_part(p[0])]
        loose = sum(len(place) == 2 for place in inside)
        total = len(inside)
    else:
        loose = sum(len(place) == 1 for place in places)
        total = len(places)
    if 0 < loose < total:
        raise ValueError(
            f"{data_folder}: {loose} audio files lie in it and "
            f"{total - loose} in folders of speakers; remove one of both, "
            f"or {REMEDY}"
        )
    return "flat" if loose else "speakers"


def read_layout(data_folder, layout="auto"):
    """Find the utterances of a corpus, and what was left out.

    Arguments
    ---------
    data_folder : str or Path
        Folder of the corpus, or its CSV table.
    layout : str
        One of ``LAYOUTS``; ``"auto"`` finds out.

    Returns
    -------
    Corpus
        Not empty.

    Raises
    ------
    FileNotFoundError
        If the folder is not there or holds no audio file.
    ValueError
        If no layout fits, or names of files do not fit the layout.

    Example
    -------
    >>> folder = getfixture("tmp_path")
    >>> (folder / "ann-1.wav").touch()
    >>> read_layout(folder).layout
    'flat'
    """
    data_folder = Path(data_folder)
    if not data_folder.exists():
        raise FileNotFoundError(
            f"{data_folder}: no such corpus; give the folder (or CSV table) of "
            "dry speech as --data_folder"
        )
    if data_folder.is_file() and data_folder.suffix.lower() != ".csv":
        raise ValueError(
            f"{data_folder}: neither a folder nor a .csv table of dry speech"
        )
    if layout == "auto":
        layout = find_layout(data_folder)
    elif layout not in LAYOUTS:
        raise ValueError(
            f"layout must be one of {list(LAYOUTS)}, got {layout!r}"
        )
    skipped = Counter()
    found = sorted(LAYOUTS[layout](data_folder, skipped))
    if not found:
        raise FileNotFoundError(
            f"{data_folder}: no audio file found as layout {layout!r}"
        )
    if layout in _GUESSED:
        logger.warning(
            "%s: the %s are taken for speakers: %s. If they are not, %s",
            data_folder,
            "beginnings of names" if layout == "flat" else "folders",
            first_names({utterance.speaker for utterance in found}),
            REMEDY,
        )
    return Corpus(layout, found, dict(skipped))


def _librispeech_splits(data_folder):
    """Split folders of a LibriSpeech tree."""
    nested = data_folder / "LibriSpeech"
    root = nested if nested.is_dir() else data_folder
    if _LIBRISPEECH_SPLIT.match(root.name):
        return [root]
    return [
        path
        for path in find_folders(root)
        if _LIBRISPEECH_SPLIT.match(path.name)
    ]


def _read_librispeech(data_folder, skipped):
    """Utterances of a LibriSpeech tree; its files have to have their names."""
    for utterance, path in _named(data_folder, "librispeech", skipped):
        if utterance is None and _LIBRISPEECH_SPLIT.match(
            "/".join(path.absolute().parts[-4:])
        ):
            raise ValueError(
                f"{path}: not named <speaker>-<chapter>-<number>{path.suffix} "
                f"in the folder of its speaker; remove it, or {REMEDY}"
            )
        if utterance is not None:
            yield utterance


def _read_named(layout):
    """Reader of a layout of ``_PATTERNS``."""

    def read(data_folder, skipped):
        for utterance, _ in _named(data_folder, layout, skipped):
            if utterance is not None:
                yield utterance

    return read


def _named(data_folder, layout, skipped):
    """Utterances of a layout of ``_PATTERNS``, or None, with their files."""
    rule, found, unnamed = _FITTING[layout], {}, []
    paths = find_files(data_folder, AUDIO_SUFFIXES)
    paths.sort(key=lambda p: (_RANKS.get(p.suffix.lower(), len(_RANKS)), p))
    for path in paths:
        place = path.relative_to(data_folder).parts
        match = rule.fullmatch("/".join(place)) or rule.fullmatch(_end(path))
        if match is None:
            skipped[_UNNAMED] += 1
            unnamed.append(path)
            yield None, path
            continue
        groups = match.groupdict()
        speaker = groups["speaker"]
        # Where the speaker's folder is; -1 and less if it or a part of it was
        # given alone.
        inside = match.string[match.end("speaker") :].count("/")
        first = len(place) - 1 - inside
        stem = path.stem.removesuffix(".WAV").removesuffix(".wav")
        parts = [speaker, *place[max(first + 1, 0) : -1], stem]
        name = groups.get("id") or "-".join(parts)
        above = place[: max(first, 0)][::-1]
        above = [folder for folder in above if split_part(folder)]
        split = groups.get("split") or (above[0] if above else None)
        if (split, name) in found:
            skipped[_COPIES] += 1
            continue
        found[split, name] = Utterance(name, str(path), speaker, split)
        yield found[split, name], path
    if unnamed:
        logger.warning(
            "%s: taken for the layout %s; %d files are not named as in it and "
            "left out, the first is %s. If they should not be, %s",
            data_folder,
            layout,
            len(unnamed),
            unnamed[0],
            REMEDY,
        )


def _read_wsj0(data_folder, skipped):
    """Utterances of a WSJ0 tree."""
    for file in list_wsj0(data_folder):
        yield Utterance(file.id, file.path, file.speaker, file.subset)


def _common_voice_folders(data_folder):
    """Folders of languages of a release of Common Voice."""
    folders = [data_folder, *data_folder.glob("*/"), *data_folder.glob("*/*/")]
    return [
        folder
        for folder in folders
        if (folder / "clips").is_dir() and list(folder.glob("*.tsv"))
    ]


def _read_common_voice(data_folder, skipped):
    """Utterances that the tables of Common Voice list, with their splits."""
    for folder in _common_voice_folders(data_folder):
        paths = find_files(folder / "clips", AUDIO_SUFFIXES)
        clips = {path.stem: path for path in paths}
        listed = set()
        names = [n for n in _CV_TABLES if (folder / f"{n}.tsv").is_file()]
        for name in names or ["validated"]:
            for row in _common_voice_rows(folder / f"{name}.tsv"):
                stem = Path(row["path"]).stem
                if stem not in clips:
                    skipped[_MISSING] += 1
                elif stem not in listed:
                    listed.add(stem)
                    yield Utterance(
                        stem,
                        str(clips[stem]),
                        row["client_id"],
                        name if names else None,
                    )
        if len(clips) > len(listed):
            skipped[_UNLISTED] += len(clips) - len(listed)


def _common_voice_rows(table):
    """Rows of a table of Common Voice."""
    with open(table, newline="", encoding="utf-8") as file:
        reader = csv.DictReader(
            file, delimiter="\t", quoting=csv.QUOTE_NONE, strict=True
        )
        missing = {"path", "client_id"} - set(reader.fieldnames or ())
        if missing:
            raise ValueError(
                f"{table}: no column {' and '.join(sorted(missing))}; its "
                f"header is {reader.fieldnames}"
            )
        yield from reader


def _places(data_folder, paths):
    """Folders and name of each file, without a folder that holds all."""
    places = {path.relative_to(data_folder).parts: path for path in paths}
    tops = {place[0] for place in places}
    while len(tops) == 1 and not split_part(*tops):
        if min(map(len, places)) < 3:
            break
        places = {place[1:]: path for place, path in places.items()}
        tops = {place[0] for place in places}
    return places


def _in_splits(data_folder, skipped):
    """Split (or None), place below it, and file of all audio files."""
    places = _places(data_folder, _first_forms(data_folder, skipped))
    tops = {place[0] for place in places if len(place) > 1}
    if not tops or not are_splits(tops, data_folder, "speakers"):
        return [(None, *item) for item in places.items()]
    splits = {top for top in tops if split_part(top)}
    inside = {p: path for p, path in places.items() if p[0] in splits}
    outside = len(places) - len(inside)
    if outside:
        skipped[_BESIDE] += outside
        logger.warning(
            "%s: its splits are %s; %d files that lie beside them are left out",
            data_folder,
            first_names(splits),
            outside,
        )
    # "train/wav/ann" and "test/wav/bob": no speaker of the name "wav".
    deep = all(len(p) > 3 and p[1].lower() in _CONTAINERS for p in inside)
    first = 2 if deep else 1
    return [(place[0], place[first:], path) for place, path in inside.items()]


def _first_forms(data_folder, skipped):
    """Audio files without those of WSJ0's second microphone."""
    paths = find_files(data_folder, AUDIO_SUFFIXES)
    first = {p.with_suffix("") for p in paths if p.suffix.lower() == ".wv1"}
    for path in paths:
        if path.suffix.lower() == ".wv2" and path.with_suffix("") in first:
            skipped[_COPIES] += 1
        else:
            yield path


def _read_speakers(data_folder, skipped):
    """Utterances below folders of speakers, maybe below split folders."""
    for split, place, path in _in_splits(data_folder, skipped):
        if len(place) < 2:
            raise ValueError(
                f"{path}: in no folder of a speaker; remove it, or {REMEDY}"
            )
        name = "-".join((*place[:-1], path.stem))
        yield Utterance(name, str(path), place[0], split)


def _read_flat(data_folder, skipped):
    """Utterances whose names begin with the speaker, maybe in splits."""
    for split, _, path in _in_splits(data_folder, skipped):
        speaker, *rest = re.split("[-_]", path.stem, maxsplit=1)
        if not rest or not speaker:
            raise ValueError(
                f"{path}: the name does not begin with a speaker and - or _; "
                "rename it, sort the files into one folder a speaker, or "
                f"{REMEDY}"
            )
        yield Utterance(path.stem, str(path), speaker, split)


def _table(data_folder):
    """CSV table of a corpus, given itself or by its folder."""
    if data_folder.suffix.lower() == ".csv":
        return data_folder
    return data_folder / "manifest.csv"


def _read_csv(data_folder, skipped):
    """Utterances of a table with the columns path, speaker[, split, id]."""
    table = _table(data_folder)
    with open(table, newline="", encoding="utf-8-sig") as file:
        reader = csv.DictReader(file)
        missing = {"path", "speaker"} - set(reader.fieldnames or ())
        if missing:
            raise ValueError(
                f"{table}: no column {' and '.join(sorted(missing))}; its "
                f"header is {reader.fieldnames}"
            )
        for row in reader:
            where = f"{table}, line {reader.line_num}"
            if not row["path"] or not row["speaker"]:
                raise ValueError(f"{where}: path or speaker is empty")
            path = _resolve(table, row["path"], where)
            yield Utterance(
                row.get("id") or path.stem,
                str(path),
                row["speaker"],
                row.get("split") or None,
            )


def _resolve(table, text, where):
    """Absolute path of an entry of a table."""
    candidates = [table.parent / text, table.parent.parent / text]
    for candidate in candidates:
        if candidate.is_file():
            return candidate
    raise FileNotFoundError(
        f"{where}: no file {text!r}, neither in {table.parent} nor in "
        f"{table.parent.parent}"
    )


LAYOUTS = {
    **{name: _read_named(name) for name in _PATTERNS},
    "librispeech": _read_librispeech,
    "wsj0": _read_wsj0,
    "common_voice": _read_common_voice,
    "csv": _read_csv,
    "speakers": _read_speakers,
    "flat": _read_flat,
}
