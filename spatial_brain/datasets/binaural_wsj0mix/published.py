"""The published lists of Binaural-WSJ0Mix: fetched, read, joined with WSJ0.

Which utterances of WSJ0 make a mixture, at which gains, from where: CSV and
``.npz`` files in the folder ``metadata`` of
https://github.com/huangzj421/Binaural-WSJ0Mix. Rows are in the same order in
all of them; the ids in the ``.npz`` files are pickled, and are read without
unpickling.

Of noise the lists hold the gains alone. Its excerpts follow from the order of
draws of one generator, which is replayed here. Each draw depends on how long
all utterances and noise files before it are, so that all three splits have to
be gone through. Where speech begins within the noise is drawn as well and in
the lists: a check of all draws.
"""

import csv
import functools
import hashlib
import importlib.resources
import logging
import pickletools
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from spatial_brain.dataio.audio import audio_info
from spatial_brain.dataio.download import download
from spatial_brain.datasets.binaural_wsj0mix.brirs import room_t60
from spatial_brain.datasets.binaural_wsj0mix.noise import METADATA_FS
from spatial_brain.datasets.binaural_wsj0mix.rendering import (
    BinauralMixture,
    mixture_entry,
)
from spatial_brain.datasets.binaural_wsj0mix.sampling import (
    mixture_seconds,
    set_gains,
)
from spatial_brain.datasets.speech.wsj0 import find_wsj0, readable_wsj0
from spatial_brain.simulation.hrtf.grid import CIPIC_POLARS

SPLIT_FOLDERS = {"train": "tr", "valid": "cv", "test": "tt"}
# Published mixtures of each split.
COUNTS = {"tr": 20000, "cv": 5000, "tt": 3000}
PUBLISHED_VARIANTS = ("clean2", "clean3", "noise", "reverb")
# Folder of each variant below the data folder.
VARIANT_FOLDERS = {
    "clean2": "2speakers",
    "clean3": "3speakers",
    "noise": "noise",
    "reverb": "reverb",
}
_COMMIT = "aea05b615f9fe0a1ae2187fa08cecd7dc2997c98"
_SERVER = (
    "https://raw.githubusercontent.com/huangzj421/Binaural-WSJ0Mix/"
    f"{_COMMIT}/metadata"
)
# Gains that are computed anew where the published ones cannot be had.
_DOUBTFUL_GAINS = "scaling_tr3.npz"
# Of the draws of noise: seed, samples at 16 kHz before and after speech at
# most, and dB.
_SEED, _MAX_PAUSE, _SNR = 28, 32000, (-2.5, 15.0)
_SPLIT_NAMES = {"tr": "Train", "cv": "Valid", "tt": "Test"}

logger = logging.getLogger(__name__)


def check_variant(variant):
    """Raise ValueError for a variant that is not published.

    Arguments
    ---------
    variant : str
        Should be one of ``PUBLISHED_VARIANTS``.

    Raises
    ------
    ValueError
        If it is not.

    Example
    -------
    >>> check_variant("clean4")
    Traceback (most recent call last):
    ValueError: variant must be one of ('clean2', ...), got 'clean4'
    """
    if variant not in PUBLISHED_VARIANTS:
        raise ValueError(
            f"variant must be one of {PUBLISHED_VARIANTS}, got {variant!r}"
        )


def download_metadata(folder, variant, *, server=_SERVER, **options):
    """Fetch the published files of a variant that are missing.

    Arguments
    ---------
    folder : str or Path
        Where they are put.
    variant : str
        One of ``PUBLISHED_VARIANTS``.
    server : str
        Address of the folder of the files.
    **options
        Those of ``spatial_brain.dataio.download.download``.

    Returns
    -------
    Path
        The folder.

    Raises
    ------
    DownloadError
        (an OSError) If a download fails; the same call continues it.
    ValueError
        If a file has another content than the published one.

    Example
    -------
    >>> download_metadata(getfixture("tmp_path"), "mono")
    Traceback (most recent call last):
    ValueError: variant must be one of ('clean2', ...), got 'mono'
    """
    folder = Path(folder)
    for name in _metadata_files(variant):
        url, path = f"{server}/{name}", folder / name
        checksum = _checksums()[name]
        if not checksum.startswith("git:"):
            download(url, path, checksum, **options)
            continue
        download(url, path, **options)
        found = _git_checksum(path)
        if found != checksum:
            path.unlink()
            raise ValueError(
                f"{url}: its checksum is {found}, that of the published file "
                f"{checksum}; it was removed. Try again"
            )
    return folder


class PublishedLists:
    """The published lists of a variant, to be joined with a corpus.

    Arguments
    ---------
    folder : str or Path
        Folder of the published files.
    variant : str
        One of ``PUBLISHED_VARIANTS``.
    fs : int
        8000 or 16000 Hz.
    mode : str
        "min" or "max".
    check_counts : bool
        Demand the published number of mixtures.

    Example
    -------
    >>> PublishedLists("metadata", "clean2", 8000, "min").entries(["test"], "")
    Traceback (most recent call last):
    FileNotFoundError: metadata/mix_2_spk_filenames_tt.csv: no such list ...
    """

    def __init__(self, folder, variant, fs, mode, check_counts=True):
        self.folder, self.variant = folder, variant
        self.fs, self.mode = fs, mode
        self.check_counts = check_counts

    def entries(
        self,
        splits,
        wsj0_folder,
        noise=None,
        num_workers=1,
    ):
        """Entries of manifests; nothing is rendered.

        Arguments
        ---------
        splits : sequence of str
            Which of "train", "valid", "test".
        wsj0_folder : str or Path
            The corpus, see ``find_wsj0``.
        noise : FolderNoise, optional
            DEMAND, for the variant with noise.
        num_workers : int
            Processes.

        Returns
        -------
        dict
            Split to a dict of ``mixture_entry``; paths are absolute.

        Raises
        ------
        FileNotFoundError
            If lists, utterances or noise files are missing.
        ValueError
            If some are damaged or not as published.
        """
        # Draws of noise depend on all that was drawn before.
        names = list(SPLIT_FOLDERS) if noise is not None else list(splits)
        mixtures = {
            SPLIT_FOLDERS[name]: self._read(SPLIT_FOLDERS[name])
            for name in names
        }
        if wsj0_folder is None:
            raise FileNotFoundError(
                "mixtures made on the fly need speech: give the folder of WSJ0 "
                "(LDC93S6A, by licence of the LDC) as wsj0_folder, or draw "
                "mixtures from another corpus"
            )
        found = find_wsj0(
            wsj0_folder,
            (
                utterance
                for part in mixtures.values()
                for mixture in part
                for utterance in mixture.utterances
            ),
        )
        speech = readable_wsj0(found)
        if noise is not None:
            lengths = {name: u.num_samples for name, u in speech.items()}
            mixtures = _with_demand(mixtures, lengths, self.folder, noise)
        return {
            name: self._entries(
                SPLIT_FOLDERS[name], mixtures, speech, num_workers
            )
            for name in splits
        }

    def _read(self, split):
        """Published mixtures of a split, checked for their number."""
        mixtures = _read_published(
            self.folder, self.variant, split, fs=self.fs, mode=self.mode
        )
        if self.check_counts and len(mixtures) != COUNTS[split]:
            raise ValueError(
                f"{self.folder}: lists {len(mixtures)} mixtures for {split}, "
                f"{COUNTS[split]} were published; get the lists again, or pass "
                "--check_counts False to use a part"
            )
        return mixtures

    def _entries(self, split, mixtures, speech, num_workers):
        """Entries of a split, with the places of utterances."""
        lengths = {name: u.num_samples for name, u in speech.items()}
        durations = [
            mixture_seconds(mixture, lengths, self.mode)
            for mixture in mixtures[split]
        ]
        located = [
            replace(m, utterances=[speech[name].path for name in m.utterances])
            for m in mixtures[split]
        ]
        if np.isnan(located[0].gains).any():
            levels = _read_levels(self.folder, self.variant, split)
            located = set_gains(
                located, levels, self.fs, self.mode, num_workers
            )
        return {
            mixture.name: mixture_entry(mixture, duration)
            for mixture, duration in zip(located, durations, strict=True)
        }


def _git_checksum(path):
    """Name that Git gives to the content of a file, with "git:" before it."""
    content = path.read_bytes()
    header = f"blob {len(content)}\0".encode()
    name = hashlib.sha1(header + content, usedforsecurity=False)
    return f"git:{name.hexdigest()}"


@functools.cache
def _checksums():
    """Published files by name to "sha256:..." or "git:..."."""
    text = (
        importlib.resources.files(__package__)
        .joinpath("published_files.txt")
        .read_text(encoding="utf-8")
    )
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    return {name: checksum for checksum, name in map(str.split, lines)}


def _metadata_files(variant):
    """Names of the published files of a variant."""
    check_variant(variant)
    files = [
        name
        for split in SPLIT_FOLDERS.values()
        for name in _files_of(variant, split).values()
    ]
    return [*files, "file_splits.csv"] if variant == "noise" else files


def _files_of(variant, split):
    """Names of the files with "utterances", "places", "gains" of a split."""
    three = variant == "clean3"
    head = "hrtf_reverb_meta" if variant == "reverb" else "hrtf_meta"
    return {
        "utterances": f"mix_{3 if three else 2}_spk_filenames_{split}.csv",
        "places": f"{head}_{split}{'3' if three else ''}.csv",
        "gains": f"scaling_{split}{'3' if three else ''}.npz",
    }


class _PublishedGains(NamedTuple):
    """Numbers of a ``scaling_*.npz`` file, one row a mixture."""

    sources: np.ndarray  # [n, C]
    speech: np.ndarray  # [n], common to all sources of a mixture
    noise: np.ndarray  # [n]
    speech_start: np.ndarray  # [n], within the noise, samples at 16 kHz


def _read_gains(path, ids, fs, mode):
    """Read a ``scaling_*.npz`` file, its rows being those of ``ids``."""
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(
            f"{path}: no such file of gains; it is published in {_SERVER}"
        )
    suffix = f"{fs // 1000}k_{mode}"
    keys = {
        "sources": f"scaling_wsjmix_{suffix}",
        "speech": f"scaling_wham_speech_{suffix}",
        "noise": f"scaling_wham_noise_{suffix}",
        "speech_start": "speech_start_sample_16k",
    }
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[key] for name, key in keys.items()}
        found = _pickled_strings(path, "utterance_id.npy")
    except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile) as e:
        raise ValueError(
            f"{path}: cannot be read as the published gains at {suffix} "
            f"({e!r}; {path.stat().st_size} bytes); get it again from {_SERVER}"
        ) from e
    for name, array in arrays.items():
        if len(array) != len(ids):
            raise ValueError(
                f"{path}: {len(array)} rows of {keys[name]}, but the CSV files "
                f"beside it have {len(ids)}; they do not belong together"
            )
    if found and found != [str(name) for name in ids]:
        raise ValueError(
            f"{path}: its mixtures are not those of the CSV files beside it, "
            "or in another order; get all of them again"
        )
    return _PublishedGains(**arrays)


def _pickled_strings(path, member):
    """Strings in a pickled array of an npz file, which is not executed.

    Strings that occur twice are there once; the ids of mixtures do not.
    """
    with zipfile.ZipFile(path) as archive:
        if member not in archive.namelist():
            return []
        with archive.open(member) as file:
            version = np.lib.format.read_magic(file)
            if version == (1, 0):
                np.lib.format.read_array_header_1_0(file)
            else:
                np.lib.format.read_array_header_2_0(file)
            content = file.read()
    return [
        value
        for opcode, value, _ in pickletools.genops(content)
        if isinstance(value, str) and value.endswith(".wav")
    ]


def _read_rows(path, columns):
    """Rows of a published CSV file that must have certain columns."""
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(
            f"{path}: no such list of mixtures; it is published in {_SERVER}. "
            "Give the folder of the lists as --metadata_folder, or have them "
            "fetched by --download True"
        )
    with open(path, newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        missing = set(columns) - set(reader.fieldnames or ())
        if missing:
            raise ValueError(
                f"{path}: no column {', '.join(sorted(missing))}; its header "
                f"is {reader.fieldnames}"
            )
        rows = list(reader)
    if not rows or any(None in (row[name] for name in columns) for row in rows):
        raise ValueError(f"{path}: empty or cut off; get it again")
    return rows


def _read_published(folder, variant, split, *, fs=8000, mode="min"):
    """Published mixtures of a split, in their order.

    Utterances as ``wsj0/si_tr_s/...``. Of noise all is there but which
    stretch of which file, see ``_with_demand``. Gains are NaN where their
    file is unusable and they are to be computed anew.
    """
    check_variant(variant)
    files = {
        what: Path(folder, name)
        for what, name in _files_of(variant, split).items()
    }
    numbers = range(1, 4 if variant == "clean3" else 3)
    columns = [f"s{n}_path" for n in numbers]
    rows = _read_rows(files["utterances"], ["output_filename", *columns])
    places = _read_places(files["places"], variant, numbers, rows)
    ids = [row["output_filename"] for row in rows]
    gains = _usable_gains(files["gains"], ids, fs, mode, len(numbers))
    return [
        _mixture(variant, [row[key] for key in columns], place, gains, index)
        for index, (row, place) in enumerate(zip(rows, places, strict=True))
    ]


def _read_levels(folder, variant, split):
    """Levels of the sources of published mixtures in dB, out of their names."""
    path = Path(folder, _files_of(variant, split)["utterances"])
    return [
        [
            float(level)
            for level in Path(row["output_filename"]).stem.split("_")[1::2]
        ]
        for row in _read_rows(path, ["output_filename"])
    ]


def _usable_gains(path, ids, fs, mode, num_sources):
    """Gains of a split, NaN where the published ones cannot be had."""
    try:
        return _read_gains(path, ids, fs, mode)
    except (FileNotFoundError, ValueError) as error:
        if path.name != _DOUBTFUL_GAINS:
            raise
        logger.warning(
            "%s; the gains of these mixtures will be computed anew by the rule "
            "of wsj0-mix, which comes close to the published ones but does not "
            "equal them",
            error,
        )
        one = np.ones(len(ids))
        unknown = np.full((len(ids), num_sources), np.nan)
        return _PublishedGains(unknown, one, one, np.zeros(len(ids), int))


def _read_places(path, variant, numbers, rows):
    """Directions of the sources of each mixture, as rows of text."""
    columns = ["utterance_id", *(f"azimuth{n}" for n in numbers)]
    if variant == "reverb":
        columns.append("reverb_time")
    else:
        columns.append("subject")
        columns += [f"elevation{n}" for n in numbers]
        columns += [f"elevation_index{n}" for n in numbers]
    places = _read_rows(path, columns)
    names = [place["utterance_id"] for place in places]
    if names != [row["output_filename"] for row in rows]:
        raise ValueError(
            f"{path}: its mixtures are not those of the list of utterances "
            "beside it, or in another order; get both again"
        )
    return places


def _mixture(variant, utterances, place, gains, index):
    """One published mixture."""
    stems = [Path(name).stem for name in utterances]
    numbers = range(1, len(stems) + 1)
    azimuths = [place[f"azimuth{n}"] for n in numbers]
    values = {}
    if variant == "reverb":
        parts, polars = [place["reverb_time"]], [0.0] * len(stems)
        values["room"] = place["reverb_time"]
        values["t60"] = room_t60(place["reverb_time"])
        angles = [(azimuth,) for azimuth in azimuths]
    else:
        parts = [place["subject"]]
        values["head"] = place["subject"]
        angles = [(azimuths[n - 1], place[f"elevation{n}"]) for n in numbers]
        polars = [
            CIPIC_POLARS[int(place[f"elevation_index{n}"])] for n in numbers
        ]
    for stem, angle in zip(stems, angles, strict=True):
        parts += [stem, *angle]
    if variant == "noise":
        values["speech_gain"] = float(gains.speech[index])
        values["noise_gain"] = float(gains.noise[index])
        values["speech_start"] = int(gains.speech_start[index])
    return BinauralMixture(
        name="_".join(parts),
        utterances=utterances,
        speakers=[stem[:3] for stem in stems],
        gains=gains.sources[index].tolist(),
        laterals=[float(azimuth) for azimuth in azimuths],
        polars=polars,
        **values,
    )


def _noise_files(metadata_folder):
    """Noise files of each split, such as ``demand/DWASHING/ch01.wav``."""
    rows = _read_rows(
        Path(metadata_folder, "file_splits.csv"), ["Filename", "Split"]
    )
    return {
        split: [row["Filename"] for row in rows if row["Split"] == name]
        for split, name in _SPLIT_NAMES.items()
    }


def _noise_lengths(files, noise):
    """Samples of each noise file by its name."""
    lengths = {}
    for name in (name for names in files.values() for name in names):
        info = audio_info(noise.path(name))
        if info.fs != METADATA_FS:
            raise ValueError(
                f"{info.path}: rate is {info.fs} Hz; the gains were computed "
                "for DEMAND at 16 kHz (archives <environment>_16k.zip)"
            )
        lengths[name] = info.num_samples
    return lengths


def _replay_excerpts(speech_lengths, files, lengths):
    """Replay the draws of noise excerpts.

    ``speech_lengths`` has the samples of the longest utterance of each
    mixture, for all splits before a wanted one. Gives a list for each split,
    of values for ``BinauralMixture``.
    """
    rng = np.random.RandomState(_SEED)
    excerpts = {}
    for split in SPLIT_FOLDERS.values():
        if split not in speech_lengths:
            break
        names = files[split]
        durations = np.array(
            [lengths[name] / METADATA_FS / 60 for name in names]
        )
        shares = durations / np.sum(durations)
        excerpts[split] = [
            _draw_excerpt(rng, names, shares, lengths, int(length))
            for length in speech_lengths[split]
        ]
    return excerpts


def _draw_excerpt(rng, names, shares, lengths, speech):
    """One excerpt; the order of draws is what counts."""
    before, after = rng.randint(0, _MAX_PAUSE, size=2)
    rng.uniform(*_SNR)
    # A band out of one.
    rng.randint(0, 1)
    length = speech + int(before) + int(after)
    name = str(rng.choice(names, p=shares))
    if lengths[name] <= length:
        raise ValueError(
            f"{name}: {lengths[name]} samples, a mixture needs {length}; not "
            "the file of DEMAND (300 s)"
        )
    start = rng.randint(0, lengths[name] - length)
    return {
        "noise": name,
        "noise_start": int(start),
        "noise_length": length,
        "speech_start": int(before),
    }


def _with_demand(mixtures, speech_lengths, metadata_folder, noise):
    """Give published noisy mixtures, by split, their stretches of noise."""
    files = _noise_files(metadata_folder)
    lengths = _noise_lengths(files, noise)
    longest = {
        split: [
            max(speech_lengths[name] for name in mixture.utterances)
            for mixture in mixtures[split]
        ]
        for split in SPLIT_FOLDERS.values()
    }
    excerpts = _replay_excerpts(longest, files, lengths)
    result, others = {}, []
    for split, part in mixtures.items():
        result[split] = []
        for mixture, excerpt, speech in zip(
            part, excerpts[split], longest[split], strict=True
        ):
            begin = mixture.speech_start
            if excerpt["speech_start"] != begin:
                others.append(mixture.name)
            length = max(excerpt["noise_length"], begin + speech)
            excerpt |= {"speech_start": begin, "noise_length": length}
            result[split].append(replace(mixture, **excerpt))
    if others:
        logger.warning(
            "%d mixtures have other noise than the published ones, the first "
            "is %s: by the draws of the noise, speech begins elsewhere. Some "
            "utterance of WSJ0 or file of DEMAND has another length than the "
            "lists were made with; check for files cut off",
            len(others),
            others[0],
        )
    return result
