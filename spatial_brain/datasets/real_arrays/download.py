"""Downloads of the corpora of real arrays, and what is got by hand."""

import logging
import tempfile
from pathlib import Path

import huggingface_hub

from spatial_brain.dataio.download import (
    DownloadError,
    download,
    fetch_and_unpack,
)
from spatial_brain.dataio.files import read_json
from spatial_brain.datasets.real_arrays.registry import corpus_class
from spatial_brain.datasets.real_arrays.sources import SOURCES, ZENODO
from spatial_brain.suggestions import nearest

logger = logging.getLogger(__name__)


def downloads():
    """Names of corpora of which something is known to this module.

    Returns
    -------
    tuple of str

    Example
    -------
    >>> "LOCATA" in downloads()
    True
    """
    return tuple(SOURCES)


def how_to_get(name, data_folder="<data_folder>"):
    """What a corpus is, where it comes from and where it belongs.

    Arguments
    ---------
    name : str
        One of ``downloads()``.
    data_folder : str or Path
        Where the corpora lie.

    Returns
    -------
    str
        Some lines for people.

    Raises
    ------
    ValueError
        If there is no such corpus.

    Example
    -------
    >>> print(how_to_get("MeshRIR", "data"))
    MeshRIR from https://zenodo.org/records/5500451 (CC BY 4.0)
    belongs to data/RIR/Mesh
    subsets: S32
    """
    source = _source(name)
    reader = corpus_class(name)
    lines = [f"{name} from {reader.url} ({reader.licence})"]
    lines.append(f"belongs to {Path(data_folder, source.place)}")
    if source.subsets:
        names = [_sized(*item) for item in source.subsets.items()]
        lines.append(f"subsets: {', '.join(names)}")
    if source.gigabytes:
        lines.append(f"in all about {source.gigabytes:g} GB")
    if source.by_hand:
        lines.append(source.by_hand)
    return "\n".join(lines)


def _sized(subset, files):
    """A subset with its size."""
    if files is None or files.gigabytes is None:
        return subset
    return f"{subset} ({files.gigabytes:g} GB)"


def download_corpus(name, data_folder, subsets=None):
    """Download a corpus, or parts of it, to where it is looked for.

    What is there already is not downloaded again; what was interrupted goes
    on. Checksums are compared where they are published.

    Arguments
    ---------
    name : str
        One of ``downloads()``.
    data_folder : str or Path
        Where the corpora lie.
    subsets : sequence of str, optional
        Parts, see ``how_to_get``: archives, meetings of AMI, scenes of
        RealMAN, or beginnings of such names ("ES", "LivingRoom"); default:
        everything.

    Returns
    -------
    Path
        Folder of the corpus.

    Raises
    ------
    ValueError
        If there is no such corpus or subset, the corpus cannot be downloaded,
        or a checksum differs.
    DownloadError
        If a download fails; what was received is kept.
    """
    source = _source(name)
    if not source.subsets:
        raise ValueError(
            f"{name} cannot be downloaded.\n{how_to_get(name, data_folder)}"
        )
    folder = Path(data_folder, source.place)
    chosen = _choose(name, source, subsets)
    if source.hub:
        whole = subsets is None
        _fetch_scenes(source, folder, ["*"] if whole else chosen)
    else:
        published = _published(source.record)
        failed = []
        for subset in chosen:
            try:
                _fetch(source.subsets[subset], folder, published)
            except DownloadError as problem:
                failed.append(str(problem))
        if failed:
            raise DownloadError("\n".join(failed))
    if source.by_hand:
        logger.info("%s: %s", folder, source.by_hand)
    return folder


def _source(name):
    """Entry of the table."""
    if name not in SOURCES:
        meant = nearest(name, SOURCES)
        hint = f"; did you mean {meant}?" if meant else ""
        raise ValueError(
            f"there is no download of {name!r}; known: {', '.join(SOURCES)}"
            f"{hint}"
        )
    return SOURCES[name]


def _choose(name, source, subsets):
    """Subsets whose names are wanted, or begin as wanted."""
    if subsets is None:
        return list(source.subsets)
    chosen = {}
    for wanted in subsets:
        exact = [s for s in source.subsets if s == wanted]
        found = exact or [s for s in source.subsets if s.startswith(wanted)]
        if not found:
            raise ValueError(
                f"{name} has no subset {wanted!r}; known: "
                f"{', '.join(source.subsets)}"
            )
        chosen |= dict.fromkeys(found)
    return list(chosen)


def _published(record):
    """Name to checksum of the files of a record of zenodo."""
    if record is None:
        return {}
    with tempfile.TemporaryDirectory() as folder:
        content = read_json(
            download(
                f"{ZENODO}/api/records/{record}", Path(folder, "record.json")
            )
        )
    return {file["key"]: file["checksum"] for file in content["files"]}


def _fetch(files, folder, published):
    """Download files, and unpack what is an archive."""
    names = [url.rsplit("/", 1)[-1] for url in files.urls]
    absent = [name for name in names if published and name not in published]
    if absent:
        raise ValueError(
            f"{files.urls[0]}: its record has no {', '.join(absent)} any more "
            f"but {', '.join(published)}; download it by hand"
        )
    checksums = files.checksums or [published.get(name) for name in names]
    target = folder / files.into
    if files.archive:
        fetch_and_unpack(list(files.urls), target, list(checksums))
        return
    for url, name, checksum in zip(files.urls, names, checksums, strict=True):
        download(url, target / name, checksum)


def _fetch_scenes(source, folder, scenes):
    """Download the speech of scenes from Hugging Face."""
    patterns = [f"*/ma_speech/{scene}.*" for scene in scenes]
    page = f"https://huggingface.co/datasets/{source.hub}"
    try:
        huggingface_hub.snapshot_download(
            source.hub,
            repo_type="dataset",
            allow_patterns=patterns,
            local_dir=folder,
        )
    except OSError as problem:
        raise DownloadError(
            f"{page}: {problem}; run the same command again to continue"
        ) from problem
    absent = [p for p in patterns if not any(folder.glob(p))]
    if absent:
        raise ValueError(f"{page}: holds no {', '.join(absent)} any more")
