"""JSON manifests as SpeechBrain reads them: ``{id: {key: value}}``.

Paths inside a manifest begin with the placeholder ``{data_root}``, so that
data can move; ``DynamicItemDataset.from_json(path, replacements=
{"data_root": folder})`` and ``read_manifest`` put the folder in. An options
file beside a manifest holds the arguments it was made with, its name and its
checksum: when one of these differs, the manifest is made again, and not read.
"""

import json
import logging
import os
import re
import reprlib
import zlib
from pathlib import Path

from spatial_brain.dataio.files import read_json, write_json

logger = logging.getLogger(__name__)

_DATA_ROOT = "data_root"
# Keys of an options file that are no options.
_NOTES, _MADE = "notes", "manifest"
# Python's own formatting would also take attributes and widths.
_PLACEHOLDER = re.compile(r"\{\{|\}\}|\{[^{}]*\}|[{}]")
# More than thirty years at 192 kHz.
_MAX_SAMPLES = 1 << 48


def write_manifest(path, entries, *, data_root=None):
    """Write a manifest, complete or not at all.

    Arguments
    ---------
    path : str or Path
        JSON file to write.
    entries : dict
        Id to a dict of values; the order is kept.
    data_root : str or Path
        Folder that becomes ``{data_root}`` at the start of strings; other
        braces are doubled, as string formatting needs it. None writes the
        strings as they are.

    Raises
    ------
    ValueError
        If there is no entry, or an entry is not a dict.

    Example
    -------
    >>> path = getfixture("tmp_path") / "train.json"
    >>> write_manifest(path, {"a": {"wav": "/d/a.wav"}}, data_root="/d")
    >>> read_json(path)["a"]["wav"]
    '{data_root}/a.wav'
    >>> read_manifest(path, data_root="/elsewhere")["a"]["wav"]
    '/elsewhere/a.wav'
    """
    if not entries:
        raise ValueError(
            f"{path}: refusing to write a manifest without entries"
        )
    for entry_id, entry in entries.items():
        if not isinstance(entry, dict):
            raise ValueError(
                f"{path}: entry {entry_id!r} is not a dict: {entry!r}"
            )
    if data_root is not None:
        root = os.fspath(data_root).rstrip("/\\")

        def shorten(text):
            inside = text == root or text[: len(root) + 1] in (
                root + "/",
                root + "\\",
            )
            rest = text[len(root) :] if inside else text
            rest = rest.replace("{", "{{").replace("}", "}}")
            return "{" + _DATA_ROOT + "}" + rest if inside else rest

        entries = _map_strings(entries, shorten)
    write_json(path, entries)


def read_manifest(path, *, data_root=None, keys=()):
    """Read a manifest; errors name the file and the entry.

    Arguments
    ---------
    path : str or Path
        JSON file.
    data_root : str or Path
        Folder to put in for ``{data_root}``; None leaves strings as they are.
    keys : sequence of str
        Keys which every entry must have.

    Returns
    -------
    dict
        Id to a dict of values.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it is no manifest, is not as it was made, an entry lacks a key,
        ``wav``, ``speaker`` or ``num_samples`` are not what they should be,
        or a placeholder is unknown.

    Example
    -------
    >>> path = getfixture("tmp_path") / "train.json"
    >>> write_manifest(path, {"a": {"wav": "a.wav"}})
    >>> read_manifest(path, keys=["speaker"])
    Traceback (most recent call last):
    ValueError: ...train.json: entry 'a' has no 'speaker'; ...
    """
    entries = read_json(path)
    if not _is_as_made(path, _read_options(path)):
        raise ValueError(
            f"{path}: damaged, changed, or another file than the one that was "
            "made (checksum differs); run the preparation again, or, if you "
            f"changed it yourself, remove {options_path(path).name} and give "
            "--skip_prep True"
        )
    if not isinstance(entries, dict) or not entries:
        raise ValueError(f"{path}: not a manifest (a JSON object of entries)")
    for entry_id, entry in entries.items():
        if not isinstance(entry, dict):
            raise ValueError(f"{path}: entry {entry_id!r} is not a JSON object")
        for key in keys:
            if key not in entry:
                raise ValueError(
                    f"{path}: entry {entry_id!r} has no {key!r}; remove the "
                    "file and run the preparation again"
                )
        for key in _KINDS.keys() & entry.keys():
            expected, is_good = _KINDS[key]
            if not is_good(entry[key]):
                raise ValueError(
                    f"{path}: {key} of entry {entry_id!r} is "
                    f"{reprlib.repr(entry[key])}, expected {expected}; remove "
                    "the file and run the preparation again"
                )
    if data_root is None:
        return entries
    parts = {
        "{" + _DATA_ROOT + "}": os.fspath(data_root).rstrip("/\\"),
        "{{": "{",
        "}}": "}",
    }
    for entry_id, entry in entries.items():
        try:
            entries[entry_id] = _map_strings(
                entry,
                lambda text: _PLACEHOLDER.sub(lambda m: parts[m[0]], text),
            )
        except KeyError as error:
            raise ValueError(
                f"{path}: entry {entry_id!r} holds an unknown placeholder "
                f"({error}); only {{{_DATA_ROOT}}} is known"
            ) from error
    return entries


def _is_text(value):
    """Whether a value is a string that a path can be."""
    return isinstance(value, str) and value != "" and "\0" not in value


def _is_length(value):
    """Whether a value is a number of samples, or several."""
    if isinstance(value, list) and value:
        return all(not isinstance(v, list) and _is_length(v) for v in value)
    whole = isinstance(value, int) and not isinstance(value, bool)
    return whole and 0 < value < _MAX_SAMPLES


def options_path(manifest):
    """Path of the options file that belongs to a manifest.

    Arguments
    ---------
    manifest : str or Path
        The manifest.

    Returns
    -------
    Path
        The file beside it.

    Example
    -------
    >>> options_path("save/train.json").name
    'train.options.json'
    """
    manifest = Path(manifest)
    return manifest.with_name(f"{manifest.stem}.options.json")


def write_options(manifest, options, *, notes=None):
    """Record the arguments a manifest was made with, and its checksum.

    To be called when the manifest is written.

    Arguments
    ---------
    manifest : str or Path
        The manifest.
    options : dict
        Arguments, of types JSON knows.
    notes : str, optional
        What was found; it does not matter for ``is_prepared``.

    Example
    -------
    >>> path = getfixture("tmp_path") / "train.json"
    >>> write_manifest(path, {"a": {}})
    >>> write_options(path, {"seed": 1})
    >>> is_prepared(path, {"seed": 1}), is_prepared(path, {"seed": 2})
    (True, False)
    """
    if notes is not None:
        options = {**options, _NOTES: notes}
    if Path(manifest).is_file():
        options = {**options, _MADE: _identity(manifest)}
    write_json(options_path(manifest), options)


def replace_entries(manifest, entries):
    """Write other entries into a manifest; its options stay.

    Arguments
    ---------
    manifest : str or Path
        The manifest.
    entries : dict
        As for ``write_manifest``.

    Example
    -------
    >>> path = getfixture("tmp_path") / "train.json"
    >>> write_manifest(path, {"a": {}})
    >>> write_options(path, {"seed": 1})
    >>> replace_entries(path, {"a": {"wav": "a.wav"}})
    >>> is_prepared(path, {"seed": 1}), read_manifest(path)
    (True, {'a': {'wav': 'a.wav'}})
    """
    options = _read_options(manifest)
    write_manifest(manifest, entries)
    write_options(manifest, options)


def _identity(manifest):
    """Name and checksum of a manifest."""
    manifest = Path(manifest)
    return {"name": manifest.name, "crc32": zlib.crc32(manifest.read_bytes())}


def _read_options(manifest):
    """Content of the options file; empty if there is none."""
    path = options_path(manifest)
    options = read_json(path) if path.is_file() else {}
    if not isinstance(options, dict):
        raise ValueError(f"{path}: not a JSON object; remove the file")
    return options


def _is_as_made(manifest, options):
    """Whether a manifest is the one of its options, if these say so."""
    # Those of version 0.1 do not.
    return _MADE not in options or options[_MADE] == _identity(manifest)


def read_notes(manifest):
    """What ``write_options`` was given as ``notes``.

    Arguments
    ---------
    manifest : str or Path
        The manifest.

    Returns
    -------
    str or None
        None if there are none.

    Example
    -------
    >>> path = getfixture("tmp_path") / "train.json"
    >>> write_options(path, {"seed": 1}, notes="2 files")
    >>> read_notes(path)
    '2 files'
    """
    try:
        return _read_options(manifest).get(_NOTES)
    except ValueError:
        return None


def is_prepared(manifest, options):
    """Whether a manifest exists and was made with these arguments.

    Arguments
    ---------
    manifest : str or Path
        The manifest.
    options : dict
        Arguments, as given to ``write_options``.

    Returns
    -------
    bool
        False also when the arguments are unknown or unreadable, or the
        manifest has changed since, which is logged.

    Example
    -------
    >>> is_prepared("nowhere.json", {})
    False
    """
    if not (options_path(manifest).is_file() and Path(manifest).is_file()):
        return False
    try:
        recorded = _read_options(manifest)
    except ValueError:
        return False
    wanted = json.loads(json.dumps(options, default=os.fspath))
    not_options = {_NOTES, _MADE} - wanted.keys()
    found = {k: v for k, v in recorded.items() if k not in not_options}
    if found != wanted:
        return False
    if not _is_as_made(manifest, recorded):
        logger.warning(
            "%s: damaged, changed, or another file than the one that was made "
            "(checksum differs); it is made again",
            manifest,
        )
        return False
    return True


# What keys hold that are the same in all manifests.
_KINDS = {
    "wav": ("the path of a file", _is_text),
    "speaker": ("a name", _is_text),
    "num_samples": ("a number of samples", _is_length),
}


def _map_strings(value, function):
    """Apply ``function`` to every string in nested dicts and lists."""
    if isinstance(value, dict):
        return {
            key: _map_strings(item, function) for key, item in value.items()
        }
    if isinstance(value, (list, tuple)):
        return [_map_strings(item, function) for item in value]
    if isinstance(value, Path):
        value = os.fspath(value)
    return function(value) if isinstance(value, str) else value
