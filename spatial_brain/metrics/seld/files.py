"""Scores of a folder of estimates, as the challenges' evaluators give them."""

import re
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np

from spatial_brain.folders import find_files
from spatial_brain.metrics.seld.reading import (
    LAYOUTS,
    RowReader,
    no_rows,
    read_rows_2019,
)
from spatial_brain.metrics.seld.scores import SELDScores

# Over all events alike, before classes were weighed equally.
MICRO_METRICS = ("dcase2019", "dcase2020", "dcase2021", "l3das22")
ROOM = re.compile(r"room(\d+)")
_COLUMNS = {4: "polar4", 5: "polar5", 6: "polar6", 7: "cartesian7"}
_OLD_COLUMNS = {**_COLUMNS, 6: "cartesian6"}
_POSITIONS = {**_COLUMNS, 5: "l3das22_output"}


@dataclass(frozen=True)
class Challenge:
    """How the files of a challenge are read and scored.

    Arguments
    ---------
    metric : str
        Of its evaluator.
    num_classes : int
        None: given by the caller.
    num_frames : int
        Of every clip; None: clips differ.
    frames_per_second : int
        Of the frame numbers.
    columns : dict
        Number of columns of an estimate to its dialect.
    positions : bool
        Whether references without header are positions.
    """

    metric: str
    num_classes: int | None
    num_frames: int | None = None
    frames_per_second: int = 10
    columns: dict = field(default_factory=lambda: _COLUMNS)
    positions: bool = False


CHALLENGES = {
    "DCASE2019": Challenge("dcase2019", 11, 3000, 50, _OLD_COLUMNS),
    "DCASE2020": Challenge("dcase2020", 14, 600, columns=_OLD_COLUMNS),
    "DCASE2021": Challenge("dcase2021", 12, 600, columns=_OLD_COLUMNS),
    "DCASE2022": Challenge("dcase2022", 13, columns=_OLD_COLUMNS),
    "STARSS22": Challenge("dcase2022", 13, columns=_OLD_COLUMNS),
    "DCASE2023": Challenge("dcase2023", 13),
    "STARSS23": Challenge("dcase2023", 13),
    "DCASE2024": Challenge("dcase2024", 13),
    "DCASE2025": Challenge("dcase2025", 13),
    "L3DAS22": Challenge(
        "l3das22", 14, 300, columns=_POSITIONS, positions=True
    ),
    "SYNTH": Challenge("dcase2022", None),
}


class UnreadableFiles(ValueError):
    """Files that cannot be read; ``messages`` holds one line a file."""

    def __init__(self, messages):
        super().__init__("\n".join(messages))
        self.messages = list(messages)


def score_folders(
    reference,
    estimate,
    dataset,
    *,
    mode="official",
    intervals=True,
    by_room=False,
    num_classes=None,
    num_frames=None,
    columns=None,
    **rules,
):
    """Score a folder of estimates against a folder of references.

    By default as the evaluator of the challenge does on these folders: only
    clips with an estimate count, and they last 60 s (DCASE 2019 to 2021),
    30 s (L3DAS22), or up to the number of the last reference frame (DCASE
    2022 on: that frame itself counts only where its segment is begun).

    Arguments
    ---------
    reference : str or Path
        Folder with reference files (csv), also in sub-folders.
    estimate : str or Path
        Folder with files of the same names, of 4 to 7 columns: frame, class,
        [source,] azimuth, elevation[, distance in m], or Cartesian. Six
        columns are Cartesian up to DCASE2022, as there; five of L3DAS22 are
        frame, class, x, y, z. Files may begin with these names, in any order.
    dataset : str
        Key of ``CHALLENGES``, upper or lower case.
    mode : str
        As for ``SELDScores``. ``"corrected"`` also counts the last frame and
        all misses of clips without estimate.
    intervals : bool
        Whether to add 95 % jackknife intervals.
    by_room : bool
        Whether to add scores of each room, ``room<number>`` in the names.
    num_classes : int, optional
        Default: that of the data set; needed for SYNTH.
    num_frames : int or dict, optional
        True length of the clips: of all, or name without ending to length.
    columns : str, optional
        ``"polar"`` or ``"cartesian"``: what the columns of the estimates are,
        other than the challenge has it; it is then taken for granted.
    **rules
        Other arguments of ``SELDScores``, in place of the challenge's own:
        ``metric``, ``average``, ``threshold``, ...

    Returns
    -------
    dict
        As ``SELDScores.compute`` gives, and ``dataset``, ``missing`` (clips
        without estimate), ``ignored_events`` (of unknown classes), ``notes``
        (lines on files that are not as the challenges write them).

    Raises
    ------
    FileNotFoundError
        If a folder is missing or holds no csv file.
    UnreadableFiles
        If files are malformed; one message each with line and value.
    ValueError
        If names do not match, an argument is wrong, or the angles of the
        estimates can be no degrees.

    Example
    -------
    >>> root = getfixture("tmp_path")
    >>> for part, azimuth in (("reference", 30), ("estimate", 40)):
    ...     (root / part).mkdir()
    ...     path = root / part / "fold6_room1_mix001.csv"
    ...     _ = path.write_text(f"0,3,0,{azimuth},0\\n1,3,0,{azimuth},0\\n")
    >>> found = score_folders(root / "reference", root / "estimate",
    ...                       "DCASE2021", intervals=False)
    >>> round(found["F"], 6), round(found["LE"], 6)
    (1.0, 10.0)
    """
    dataset = str(dataset).upper()
    challenge = _challenge(dataset)
    rules.setdefault("metric", challenge.metric)
    micro = rules["metric"] in MICRO_METRICS
    rules.setdefault("average", "micro" if micro else "macro")
    rules.setdefault("frames_per_second", challenge.frames_per_second)
    num_classes = num_classes or challenge.num_classes
    if num_classes is None:
        raise ValueError(
            f"{dataset}: the number of classes depends on the class list; "
            "give it as num_classes (--num-classes)"
        )
    scores = SELDScores(num_classes, mode=mode, **rules)
    references, estimates = _files(reference), _files(estimate)
    missing = _check_names(references, estimates, reference, estimate)
    names = sorted(references if scores.rules.corrected else estimates)
    readers = _readers(challenge, columns)
    tables = _read(references, estimates, names, challenge, readers)
    ignored = 0
    for name, (truth, guess) in zip(names, tables, strict=True):
        length = _length(name, truth, num_frames, challenge, scores.rules)
        scores.append(truth, guess, num_frames=length, name=name)
        if rules["metric"] != "l3das22":  # which counts any class
            labels = np.concatenate((truth.label, guess.label))
            ignored += int((labels >= num_classes).sum())
    result = {
        "dataset": dataset,
        "missing": missing,
        "ignored_events": ignored,
        "notes": [line for reader in readers for line in reader.notes()],
    }
    if not any(len(guess.frame) for _, guess in tables):
        result["notes"].append("no estimate holds any event")
    rooms = _rooms(names) if by_room else None
    result.update(scores.compute(intervals, rooms))
    return result


def _challenge(dataset):
    """Entry of a data set."""
    if dataset not in CHALLENGES:
        raise ValueError(
            f"dataset must be one of {', '.join(CHALLENGES)}; got {dataset!r}"
        )
    return CHALLENGES[dataset]


def _files(folder):
    """Clip name to csv file, in a folder and below."""
    folder = Path(folder)
    if not folder.is_dir():
        raise FileNotFoundError(f"no such folder: {folder}")
    found = {}
    for path in find_files(folder, ".csv"):
        name = _clip_name(path.stem)
        if name in found:
            raise ValueError(
                f"{found[name]} and {path} are both called {name!r}; keep one"
            )
        found[name] = path
    if not found:
        raise FileNotFoundError(f"{folder}: no csv file in this folder")
    return found


def _clip_name(stem):
    """Name that files of a clip share: L3DAS22 marks labels and microphones.

    >>> _clip_name("label_split5_ov1_3"), _clip_name("split5_ov1_3_A")
    ('split5_ov1_3', 'split5_ov1_3')
    """
    if re.fullmatch(r"(label_)?split\d+_ov\d+_\d+(_[AB])?", stem):
        return re.sub(r"^label_|_[AB]$", "", stem)
    return stem


def _check_names(references, estimates, reference, estimate):
    """Names of clips without estimate; every estimate needs a reference."""
    strange = sorted(set(estimates) - set(references))
    if strange:
        what = (
            f"{len(strange)} of {len(estimates)} files in {estimate} have"
            if len(strange) < len(estimates)
            else f"no file in {estimate} has"
        )
        no = "no" if len(strange) < len(estimates) else "a"
        raise ValueError(
            f"{what} {no} reference of the same name in {reference}: for "
            f"example {estimates[strange[0]].name!r}; references are called "
            f"like {references[min(references)].name!r}"
        )
    return sorted(set(references) - set(estimates))


def _readers(challenge, columns):
    """What reads the references, and what the estimates."""
    if columns not in (None, *LAYOUTS):
        raise ValueError(
            f"columns must be one of {', '.join(LAYOUTS)}; got {columns!r}"
        )
    reference = RowReader(_POSITIONS if challenge.positions else None)
    return reference, RowReader(challenge.columns, "estimate", columns)


def _read(references, estimates, names, challenge, readers):
    """Tables of all clips; complains about all malformed files at once."""
    tables, messages = [], []
    read = [reader.read for reader in readers]
    if challenge.metric == "dcase2019":
        read[0] = partial(
            read_rows_2019,
            frames_per_second=challenge.frames_per_second,
            num_frames=challenge.num_frames,
        )
    for name in names:
        pair = []
        for files, read_file in zip((references, estimates), read, strict=True):
            if name not in files:
                pair.append(no_rows())
                continue
            try:
                pair.append(read_file(files[name]))
            except ValueError as error:
                messages.append(str(error))
        tables.append(pair)
    if messages:
        raise UnreadableFiles(messages)
    readers[1].check_angles(readers[0])
    return tables


def _length(name, truth, num_frames, challenge, rules):
    """Frames of a clip by the rule of the evaluator; None: to the last."""
    if isinstance(num_frames, dict):
        if name not in num_frames:
            raise ValueError(f"num_frames gives no length for {name!r}")
        return num_frames[name]
    if num_frames is not None:
        return num_frames
    by_last = rules.metric not in MICRO_METRICS
    if by_last and not rules.corrected:
        return int(truth.frame.max(initial=0))
    return challenge.num_frames


def _rooms(names):
    """Clip to room, from ``room<number>`` in its name."""
    rooms = {}
    for name in names:
        found = ROOM.search(name)
        if not found:
            raise ValueError(
                f"no room<number> in the name {name!r}: scores per room "
                "cannot be computed"
            )
        rooms[name] = found[1]
    return rooms
