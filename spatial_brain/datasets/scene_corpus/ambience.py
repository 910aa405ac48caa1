"""Recorded ambience behind the events of a corpus of scenes."""

from functools import lru_cache
from pathlib import Path

import numpy as np

from spatial_brain.dataio.audio import (
    AUDIO_SUFFIXES,
    AudioFileError,
    audio_info,
    read_audio,
)
from spatial_brain.datasets.scene_corpus.receivers import find_array
from spatial_brain.folders import find_files

# Noise that is simulated.
DIFFUSE = "diffuse"
_CHANNELS = {"foa": 4, "mic": 4, "binaural": 2}
# Keeps the choice apart from those of events and of rooms.
_STREAM = 2


def find_ambience(options):
    """Recordings of ambience, the same for all formats.

    Arguments
    ---------
    options : SceneOptions
        Options of the corpus; ``noise`` is a folder with a sub-folder for
        each format that holds the same names, or with files of the one
        spatial format.

    Returns
    -------
    list of dict
        Format to file, sorted by name; empty if noise is simulated or none.

    Raises
    ------
    FileNotFoundError
        If there is no such folder.
    ValueError
        If nothing in it is long enough, channels are not those of the format
        or a format lacks a file.
    """
    if options.noise in (None, DIFFUSE):
        return []
    return _find(options)


def draw_ambience(options, index):
    """Ambience of a scene.

    Arguments
    ---------
    options : SceneOptions
        Options of the corpus.
    index : int
        Number of the scene, from 0.

    Returns
    -------
    signals : dict or None
        Format to recording [time, channel]; None: noise is simulated.
    source : dict or None
        "files" by format and "start", s, of what was taken.
    """
    if options.noise == DIFFUSE:
        return None, None
    found = find_ambience(options)
    if not found:
        return {}, None
    rng = np.random.default_rng((options.seed, index, _STREAM))
    files = found[int(rng.integers(len(found)))]
    fs, root = options.sample_rate, Path(options.noise)
    length = round(options.duration * fs)
    spare = min(_samples(path, fs) for path in files.values()) - length
    start = int(rng.integers(spare + 1))
    signals = {
        form: read_audio(path, start, length, fs, resample=True)[0]
        for form, path in files.items()
    }
    for form, signal in signals.items():
        if not bool(signal.any()):
            raise ValueError(
                f"{files[form]}: silent from {start / fs:.2f} s for "
                f"{options.duration:g} s; remove it from the ambience"
            )
    names = {
        form: path.relative_to(root).as_posix() for form, path in files.items()
    }
    return signals, {"files": names, "start": start / fs}


@lru_cache(maxsize=1)
def _find(options):
    """Recordings of a folder."""
    root = Path(options.noise)
    if not root.is_dir():
        raise FileNotFoundError(f"{root}: no such folder of ambience")
    formats = [form for form in options.formats if form != "sum"]
    by_format = {form: _files(root, form, formats) for form in formats}
    names = sorted(set().union(*by_format.values()))
    for form, files in by_format.items():
        missing = [name for name in names if name not in files]
        if missing:
            raise ValueError(
                f"{root}: has no {form}/{missing[0]} of {len(missing)} "
                "recordings that other formats have"
            )
    fs = options.sample_rate
    length = round(options.duration * fs)
    found = [
        {form: by_format[form][name] for form in formats} for name in names
    ]
    found = [
        files
        for files in found
        if min(_samples(path, fs) for path in files.values()) >= length
    ]
    if formats and not found:
        raise ValueError(
            f"{root}: has no recording of {options.duration:g} s or more"
        )
    for files in found:
        for form, path in files.items():
            _check_channels(path, form, options)
    return found


def _files(root, form, formats):
    """Files of a format by their name without suffix."""
    folder = root / form
    if not folder.is_dir():
        if len(formats) > 1:
            raise FileNotFoundError(
                f"{folder}: no such folder; ambience for several formats lies "
                "in a sub-folder for each"
            )
        folder = root
    return {
        path.relative_to(folder).with_suffix("").as_posix(): path
        for path in find_files(folder, AUDIO_SUFFIXES)
    }


def _samples(path, fs):
    """Length of a file at another rate."""
    info = audio_info(path)
    return info.num_samples * fs // info.fs


def _check_channels(path, form, options):
    """Refuse a file that cannot be of a format."""
    expected = _CHANNELS.get(form)
    if form == "array":
        expected = len(find_array(options))
    number = audio_info(path).num_channels
    if number != expected:
        raise AudioFileError(
            f"{path}: has {number} channels, {form} has {expected}"
        )
