"""The published lists of Binaural-WSJ0Mix.

Which utterances of WSJ0 make a mixture, at which gains, from where: CSV and
``.npz`` files of https://github.com/huangzj421/Binaural-WSJ0Mix, folder
``metadata``. Rows are in the same order in all of them; the ids in the
``.npz`` files are pickled, and are looked at without unpickling.

They lie in the folder ``metadata`` of
https://github.com/huangzj421/Binaural-WSJ0Mix.

The published lists hold gains that were computed for certain excerpts; the
excerpts themselves follow from the order of draws of one generator, which is
replayed here. Each draw depends on how long all utterances and noise files
before it are, so that all three splits have to be gone through, and where
speech begins within the noise is known from the lists: a check of all draws.
"""

import csv
import functools
import hashlib
import importlib.resources
import logging
import pickletools
import zipfile
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from spatial_brain.dataio.audio import audio_info
from spatial_brain.dataio.download import download
from spatial_brain.datasets.binaural_wsj0mix.noise import METADATA_FS
from spatial_brain.datasets.binaural_wsj0mix.rendering import (
    BinauralMixture,
    mixture_entry,
)
from spatial_brain.datasets.binaural_wsj0mix.sampling import set_gains
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
COMMIT = "aea05b615f9fe0a1ae2187fa08cecd7dc2997c98"
SERVER = (
    "https://raw.githubusercontent.com/huangzj421/Binaural-WSJ0Mix/"
    f"{COMMIT}/metadata"
)
# Gains that are computed anew where the published ones cannot be had.
_DOUBTFUL_GAINS = "scaling_tr3.npz"


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


def metadata_files(variant):
    """Names of the published files of a variant.

    Arguments
    ---------
    variant : str
        One of ``PUBLISHED_VARIANTS``.

    Returns
    -------
    list of str
        In no particular order.

    Raises
    ------
    ValueError
        If the variant is unknown.

    Example
    -------
    >>> metadata_files("reverb")[:3]
    ['mix_2_spk_filenames_tr.csv', 'hrtf_reverb_meta_tr.csv', 'scaling_tr.npz']
    """
    check_variant(variant)
    files = [
        name
        for split in SPLIT_FOLDERS.values()
        for name in files_of(variant, split).values()
    ]
    return [*files, "file_splits.csv"] if variant == "noise" else files


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


def files_of(variant, split):
    """Files of one split of a variant, by what they hold.

    Arguments
    ---------
    variant : str
        One of ``PUBLISHED_VARIANTS``.
    split : str
        "tr", "cv" or "tt".

    Returns
    -------
    dict
        "utterances", "places" and "gains" to the names of the files.

    Example
    -------
    >>> files_of("clean3", "tt")["gains"]
    'scaling_tt3.npz'
    """
    three = variant == "clean3"
    head = "hrtf_reverb_meta" if variant == "reverb" else "hrtf_meta"
    return {
        "utterances": f"mix_{3 if three else 2}_spk_filenames_{split}.csv",
        "places": f"{head}_{split}{'3' if three else ''}.csv",
        "gains": f"scaling_{split}{'3' if three else ''}.npz",
    }


def download_metadata(folder, variant, *, server=SERVER, **options):
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
    for name in metadata_files(variant):
        url, path, checksum = (
            f"{server}/{name}",
            folder / name,
            _checksums()[name],
        )
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


def _git_checksum(path):
    """Name that Git gives to the content of a file, with "git:" before it."""
    content = path.read_bytes()
    header = f"blob {len(content)}\0".encode()
    name = hashlib.sha1(header + content, usedforsecurity=False)
    return f"git:{name.hexdigest()}"


logger = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class PublishedGains:
    """Numbers of a ``scaling_*.npz`` file at one rate and mode.

    Arguments
    ---------
    talkers : numpy.ndarray
        Gain of each talker, [n, C].
    speech : numpy.ndarray
        Common gain of the talkers over noise, [n].
    noise : numpy.ndarray
        Gain of the noise, [n].
    speech_start : numpy.ndarray
        Where speech begins within the noise, samples at 16 kHz, [n].

    Example
    -------
    >>> zeros = np.zeros(2)
    >>> PublishedGains(np.ones((2, 3)), zeros, zeros, zeros).talkers.shape
    (2, 3)
    """

    talkers: np.ndarray
    speech: np.ndarray
    noise: np.ndarray
    speech_start: np.ndarray


def read_gains(path, ids, fs, mode):
    """Read a ``scaling_*.npz`` file without unpickling anything.

    Arguments
    ---------
    path : str or Path
        The file.
    ids : sequence of str
        Names of the mixtures in the order of the CSV files, which must be
        the order of this file.
    fs : int
        8000 or 16000 Hz.
    mode : str
        "min" or "max".

    Returns
    -------
    PublishedGains
        One row a mixture.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it is damaged, or its rows are others.

    Example
    -------
    >>> read_gains("scaling_tr.npz", [], 8000, "min")
    Traceback (most recent call last):
    FileNotFoundError: scaling_tr.npz: no such file of gains; ...
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(
            f"{path}: no such file of gains; it is published in {SERVER}"
        )
    suffix = f"{fs // 1000}k_{mode}"
    keys = {
        "talkers": f"scaling_wsjmix_{suffix}",
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
            f"({e!r}; {path.stat().st_size} bytes); get it again from {SERVER}"
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
    return PublishedGains(**arrays)


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


def read_rows(path, columns):
    """Read a published CSV file.

    Arguments
    ---------
    path : str or Path
        The file.
    columns : sequence of str
        Columns it must have.

    Returns
    -------
    list of dict
        The rows, all values text.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If a column is missing or there is no row.

    Example
    -------
    >>> path = getfixture("tmp_path") / "a.csv"
    >>> _ = path.write_text("x,y\\n1,2\\n")
    >>> read_rows(path, ["x"])
    [{'x': '1', 'y': '2'}]
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(
            f"{path}: no such list of mixtures; it is published in {SERVER}. "
            "Give the folder of the lists as metadata_folder, or have them "
            "fetched by download True"
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


def read_published(folder, variant, split, *, fs=8000, mode="min"):
    """Read the published mixtures of a split.

    Arguments
    ---------
    folder : str or Path
        Folder of the published files.
    variant : str
        One of ``PUBLISHED_VARIANTS``.
    split : str
        "tr", "cv" or "tt".
    fs : int
        8000 or 16000 Hz: gains depend on it.
    mode : str
        "min" or "max": gains depend on it.

    Returns
    -------
    list of BinauralMixture
        In the published order. Utterances as ``wsj0/si_tr_s/...``. Of noise
        all is there but which stretch of which file: see ``with_demand``.
        Gains are NaN for the training mixtures of three talkers if their
        file is unusable, which is logged.

    Raises
    ------
    FileNotFoundError
        If a file is missing.
    ValueError
        If files are damaged or do not belong together.

    Example
    -------
    >>> read_published("nowhere", "clean2", "tt")
    Traceback (most recent call last):
    FileNotFoundError: nowhere/mix_2_spk_filenames_tt.csv: no such list ...
    """
    check_variant(variant)
    files = {
        what: Path(folder, name)
        for what, name in files_of(variant, split).items()
    }
    numbers = range(1, 4 if variant == "clean3" else 3)
    columns = [f"s{n}_path" for n in numbers]
    rows = read_rows(files["utterances"], ["output_filename", *columns])
    places = _read_places(files["places"], variant, numbers, rows)
    ids = [row["output_filename"] for row in rows]
    gains = _gains(files["gains"], ids, fs, mode, len(numbers))
    return [
        _mixture(variant, [row[key] for key in columns], place, gains, index)
        for index, (row, place) in enumerate(zip(rows, places, strict=True))
    ]


def read_levels(folder, variant, split):
    """Levels of the talkers of published mixtures, out of their names.

    Arguments
    ---------
    folder : str or Path
        Folder of the published files.
    variant : str
        One of ``PUBLISHED_VARIANTS``.
    split : str
        "tr", "cv" or "tt".

    Returns
    -------
    list of list of float
        dB, one list a mixture, in the published order.

    Raises
    ------
    FileNotFoundError
        If the file is missing.
    ValueError
        If it is damaged.

    Example
    -------
    >>> folder = getfixture("tmp_path")
    >>> _ = (folder / "mix_2_spk_filenames_tt.csv").write_text(
    ...     "output_filename,s1_path\\na_1.5_b_-1.5.wav,x\\n"
    ... )
    >>> read_levels(folder, "clean2", "tt")
    [[1.5, -1.5]]
    """
    path = Path(folder, files_of(variant, split)["utterances"])
    return [
        [
            float(level)
            for level in Path(row["output_filename"]).stem.split("_")[1::2]
        ]
        for row in read_rows(path, ["output_filename"])
    ]


def _gains(path, ids, fs, mode, num_sources):
    """Gains of a split, NaN where the published ones cannot be had."""
    try:
        return read_gains(path, ids, fs, mode)
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
        return PublishedGains(unknown, one, one, np.zeros(len(ids), int))


def _read_places(path, variant, numbers, rows):
    """Directions of the talkers of each mixture, as rows of text."""
    columns = ["utterance_id", *(f"azimuth{n}" for n in numbers)]
    if variant == "reverb":
        columns.append("reverb_time")
    else:
        columns.append("subject")
        columns += [f"elevation{n}" for n in numbers]
        columns += [f"elevation_index{n}" for n in numbers]
    places = read_rows(path, columns)
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
        values["t60"] = float(place["reverb_time"].strip("s").replace("_", "."))
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
        gains=gains.talkers[index].tolist(),
        laterals=[float(azimuth) for azimuth in azimuths],
        polars=polars,
        **values,
    )


_SEED = 28
# Samples at 16 kHz before and after speech, at most; dB.
_MOST_PAUSE = 32000
_SNR = (-2.5, 15.0)
_SPLIT_NAMES = {"tr": "Train", "cv": "Valid", "tt": "Test"}


def noise_files(metadata_folder):
    """Noise files of each split.

    Arguments
    ---------
    metadata_folder : str or Path
        Folder with the published ``file_splits.csv``.

    Returns
    -------
    dict
        "tr", "cv", "tt" to names as ``demand/DWASHING/ch01.wav``, in order.

    Raises
    ------
    FileNotFoundError
        If the file is missing.
    ValueError
        If it is damaged.

    Example
    -------
    >>> noise_files("nowhere")
    Traceback (most recent call last):
    FileNotFoundError: nowhere/file_splits.csv: no such list ...
    """
    rows = read_rows(
        Path(metadata_folder, "file_splits.csv"), ["Filename", "Split"]
    )
    return {
        split: [row["Filename"] for row in rows if row["Split"] == name]
        for split, name in _SPLIT_NAMES.items()
    }


def noise_lengths(files, noise):
    """Samples of each noise file.

    Arguments
    ---------
    files : dict
        From ``noise_files``.
    noise : FolderNoise
        Where they are.

    Returns
    -------
    dict
        By name, samples.

    Raises
    ------
    FileNotFoundError
        If a file is missing.
    ValueError
        If a file is damaged or not at 16 kHz.

    Example
    -------
    >>> noise_lengths({"tr": []}, None)
    {}
    """
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


def replay_excerpts(speech_lengths, files, lengths):
    """Replay the draws of noise excerpts.

    Arguments
    ---------
    speech_lengths : dict
        "tr", "cv", "tt" to the length of the longest utterance of each
        mixture, samples at 16 kHz, in the published order. All before a
        wanted split are needed.
    files : dict
        From ``noise_files``.
    lengths : dict
        From ``noise_lengths``.

    Returns
    -------
    dict
        Split to a list of dicts with ``noise``, ``noise_start``,
        ``noise_length`` and ``speech_start`` of each mixture, as in
        ``BinauralMixture``.

    Raises
    ------
    ValueError
        If a noise file is too short.

    Example
    -------
    >>> files = {split: ["a.wav", "b.wav"] for split in ("tr", "cv", "tt")}
    >>> lengths = {"a.wav": 4800000, "b.wav": 4800000}
    >>> [first] = replay_excerpts({"tr": [80000]}, files, lengths)["tr"]
    >>> first["speech_start"]
    9473
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
            _draw(rng, names, shares, lengths, int(length))
            for length in speech_lengths[split]
        ]
    return excerpts


def _draw(rng, names, shares, lengths, speech):
    """One excerpt; the order of draws is what counts."""
    before, after = rng.randint(0, _MOST_PAUSE, size=2)
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


def with_demand(mixtures, speech_lengths, metadata_folder, noise):
    """Give published noisy mixtures their stretches of noise.

    Arguments
    ---------
    mixtures : dict
        "tr", "cv", "tt" to lists of BinauralMixture, from
        ``read_published``.
    speech_lengths : dict
        Utterance to samples at 16 kHz.
    metadata_folder : str or Path
        Folder of the published files.
    noise : FolderNoise
        DEMAND.

    Returns
    -------
    dict
        The same with noise. A warning is logged where the draws are not
        those which the gains were computed with.

    Raises
    ------
    FileNotFoundError
        If a noise file is missing.
    ValueError
        If one is damaged or too short.

    Example
    -------
    >>> with_demand({}, {}, "nowhere", None)
    Traceback (most recent call last):
    FileNotFoundError: nowhere/file_splits.csv: no such list ...
    """
    files = noise_files(metadata_folder)
    lengths = noise_lengths(files, noise)
    longest = {
        split: [
            max(speech_lengths[name] for name in mixture.utterances)
            for mixture in mixtures[split]
        ]
        for split in SPLIT_FOLDERS.values()
    }
    excerpts = replay_excerpts(longest, files, lengths)
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
            "%d mixtures hear other noise than the published ones, the first "
            "is %s: by the draws of the noise, speech begins elsewhere. Some "
            "utterance of WSJ0 or file of DEMAND has another length than the "
            "lists were made with; check for files cut off",
            len(others),
            others[0],
        )
    return result


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
        cache_folder="speech",
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
        cache_folder : str or Path
            Where compressed files go when they are decompressed.
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
        speech = readable_wsj0(found, cache_folder, num_workers)
        lengths = {name: u.num_samples for name, u in speech.items()}
        if noise is not None:
            mixtures = with_demand(mixtures, lengths, self.folder, noise)
        return {
            name: self._entries(
                SPLIT_FOLDERS[name], mixtures, speech, num_workers
            )
            for name in splits
        }

    def _read(self, split):
        """Published mixtures of a split, checked for their number."""
        mixtures = read_published(
            self.folder, self.variant, split, fs=self.fs, mode=self.mode
        )
        if self.check_counts and len(mixtures) != COUNTS[split]:
            raise ValueError(
                f"{self.folder}: lists {len(mixtures)} mixtures for {split}, "
                f"{COUNTS[split]} were published; get the lists again, or pass "
                "check_counts=False to use a part"
            )
        return mixtures

    def _entries(self, split, mixtures, speech, num_workers):
        """Entries of a split, with the places of utterances."""
        durations = [self._duration(m, speech) for m in mixtures[split]]
        located = [
            replace(m, utterances=[speech[name].path for name in m.utterances])
            for m in mixtures[split]
        ]
        if np.isnan(located[0].gains).any():
            levels = read_levels(self.folder, self.variant, split)
            located = set_gains(
                located, levels, self.fs, self.mode, num_workers
            )
        return {
            mixture.name: mixture_entry(mixture, duration)
            for mixture, duration in zip(located, durations, strict=True)
        }

    def _duration(self, mixture, speech):
        """Seconds that a mixture lasts."""
        lengths = [speech[name].num_samples for name in mixture.utterances]
        samples = min(lengths) if self.mode == "min" else max(lengths)
        if self.mode == "max" and mixture.noise:
            samples = mixture.noise_length
        return samples / METADATA_FS
