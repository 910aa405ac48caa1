"""Utterances of WSJ0 (LDC93S6A), by the names that published lists use.

The corpus is found in whatever form it comes: the LDC's disc folders
(``11-1.1/wsj0/si_tr_s/01t/01to030v.wv1``), merged under ``wsj0``, the
``si_*`` folders alone, or all in a flat folder; upper or lower case; ``.wav``,
``.flac``, ``.sph`` or ``.wv1`` (the first microphone).
"""

import os
import shutil
import subprocess
from dataclasses import replace
from functools import partial
from pathlib import Path

import soundfile

from spatial_brain.atomic import atomic_path
from spatial_brain.dataio.audio import AudioFileError
from spatial_brain.dataio.parallel import progress, run_jobs
from spatial_brain.datasets.speech.corpora import Utterance, read_headers
from spatial_brain.folders import find_files

WSJ0_FS = 16000
# What is taken where an utterance is there in several forms.
_SUFFIXES = (".wav", ".flac", ".sph", ".wv1")
_FIRST_NAMES = 5


def find_wsj0(data_folder, wanted):
    """Find utterances of WSJ0 by their published names.

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
    stems = {Path(name).stem.lower() for name in wanted}
    there = _index(data_folder, stems)
    found, missing = {}, []
    for name in wanted:
        candidates = there.get(Path(name).stem.lower(), [])
        subset = Path(name).parent.parent.name
        if not candidates:
            missing.append(name)
            continue
        best = min(candidates, key=lambda c: (c[0] != subset, c[1], c[2]))
        found[name] = os.path.abspath(best[2])
    if missing:
        more = ", ..." if len(missing) > _FIRST_NAMES else ""
        raise FileNotFoundError(
            f"{data_folder}: {len(missing)} of {len(wanted)} utterances are "
            f"missing: {', '.join(missing[:_FIRST_NAMES])}{more}. Give the "
            "folder that holds si_tr_s, si_dt_05 and si_et_05 of WSJ0, or the "
            "discs of the LDC (11-1.1 to 11-14.1), complete"
        )
    return found


def _index(data_folder, stems):
    """Files of wanted stems: subset, rank of the suffix, path."""
    there = {}
    for path in find_files(data_folder, _SUFFIXES):
        subset = path.parent.parent.name.lower()
        stem, suffix = os.path.splitext(path.name.lower())
        if stem in stems:
            entry = (subset, _SUFFIXES.index(suffix), os.fspath(path))
            there.setdefault(stem, []).append(entry)
    return there


def readable_wsj0(found, cache_folder, num_workers=1):
    """Check the headers of utterances; decompress what needs it.

    The ``.wv1`` files of the LDC are compressed with shorten, which
    libsndfile cannot decode. Where ``sph2pipe`` or ``ffmpeg`` is installed,
    they are converted to FLAC, once.

    Arguments
    ---------
    found : dict
        From ``find_wsj0``.
    cache_folder : str or Path
        Where converted files go.
    num_workers : int
        Processes.

    Returns
    -------
    dict
        Name to ``spatial_brain.datasets.speech.corpora.Utterance`` with path
        and length.

    Raises
    ------
    ValueError
        If files are damaged, of another rate, or compressed while there is
        no tool to convert them.

    Example
    -------
    >>> readable_wsj0({}, "cache")
    {}
    """
    compressed = [
        (path, Path(cache_folder, *Path(name).with_suffix(".flac").parts))
        for name, path in found.items()
        if _is_shortened(path)
    ]
    if compressed:
        _decompress(compressed, num_workers)
    converted = {path: os.fspath(target) for path, target in compressed}
    utterances = read_headers(
        [
            Utterance(name, converted.get(path, path), Path(name).parent.name)
            for name, path in found.items()
        ],
        fs=WSJ0_FS,
        num_channels=None,
    )
    return {
        utterance.id: replace(utterance, path=os.path.abspath(utterance.path))
        for utterance in utterances
    }


def _is_shortened(path):
    """Whether a file is a NIST sphere file compressed with shorten."""
    if Path(path).suffix.lower() not in (".wv1", ".sph", ".wav"):
        return False
    with open(path, "rb") as file:
        header = file.read(1024)
    return header.startswith(b"NIST_1A") and b"shorten" in header


def _decompress(compressed, num_workers):
    """Convert files that are not converted yet."""
    todo = [
        (path, target) for path, target in compressed if not target.exists()
    ]
    if not todo:
        return
    tool = next((n for n in ("sph2pipe", "ffmpeg") if shutil.which(n)), None)
    if tool is None:
        raise AudioFileError(
            f"{todo[0][0]} and {len(todo) - 1} more files are compressed with "
            "shorten, as the LDC ships them, and neither sph2pipe nor ffmpeg "
            "is installed to decompress them. Install one of both (sph2pipe: "
            "https://github.com/burrmill/sph2pipe) and run the same command "
            "again, or convert the corpus to .wav yourself"
        )
    calls = run_jobs(partial(_decompress_file, tool), todo, num_workers)
    for _ in progress(calls, total=len(todo), description="decompressing"):
        pass


def _decompress_file(tool, job):
    """Convert one file to FLAC; samples stay what they are."""
    path, target = job
    with atomic_path(target) as packed:
        temporary = packed.with_suffix(".wav")
        if tool == "sph2pipe":
            command = [tool, "-p", "-f", "wav", "-c", "1", path, temporary]
        else:
            command = [tool, "-v", "error", "-y", "-i", path, temporary]
        try:
            result = subprocess.run(command, capture_output=True, text=True)
            if result.returncode != 0 or not temporary.is_file():
                raise AudioFileError(
                    f"{path}: {tool} could not decompress it "
                    f"({result.stderr.strip()[-200:]}); copy it again"
                )
            # Integers throughout: floats would be rounded.
            samples, fs = soundfile.read(
                temporary, dtype="int16", always_2d=True
            )
            soundfile.write(packed, samples[:, 0], fs, format="FLAC")
        finally:
            temporary.unlink(missing_ok=True)
