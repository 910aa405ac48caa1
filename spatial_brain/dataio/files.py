"""JSON, CSV and text files that are complete or not there at all."""

import csv
import errno
import hashlib
import json
import logging
import math
import os
import shutil
from pathlib import Path

from spatial_brain.atomic import atomic_path

logger = logging.getLogger(__name__)

# Left free beside what is written, bytes.
_SPARE_SPACE = 64 << 20
# What needs less is not worth a line, bytes.
_WORTH_A_LINE = 1e8


def check_free_space(folder, needed, what):
    """Log how much is going to be written; refuse what the disk cannot hold.

    Arguments
    ---------
    folder : str or Path
        Where the bytes go; need not exist yet.
    needed : float
        Bytes. Less than 0.1 GB is not logged.
    what : str
        Named in the message.

    Raises
    ------
    OSError
        With errno ENOSPC, both numbers and the folder.

    Example
    -------
    >>> check_free_space(".", 1, "a small file")
    """
    folder = Path(folder).absolute()
    existing = next(p for p in (folder, *folder.parents) if p.exists())
    free = shutil.disk_usage(existing).free
    if free < needed + _SPARE_SPACE:
        raise OSError(
            errno.ENOSPC,
            f"{what} needs {needed / 1e9:.2f} GB, but {free / 1e9:.2f} GB are "
            "free; delete files or choose a folder on another disk",
            str(folder),
        )
    if needed >= _WORTH_A_LINE:
        logger.info(
            "%s needs %.2f GB in %s, where %.0f GB are free",
            what,
            needed / 1e9,
            folder,
            free / 1e9,
        )


def write_json(path, content):
    """Write a JSON file that is complete or not there at all.

    A file that holds this content already stays as it is.

    Arguments
    ---------
    path : str or Path
        File to write; its folder is created.
    content : dict or list
        What to write; paths become strings. NaN is refused.

    Raises
    ------
    ValueError
        If the content holds NaN or infinity, which JSON does not know.

    Example
    -------
    >>> path = getfixture("tmp_path") / "a.json"
    >>> write_json(path, {"b": 1})
    >>> read_json(path)
    {'b': 1}
    """
    path = Path(path)
    try:
        text = json.dumps(content, indent=2, allow_nan=False, default=os.fspath)
    except ValueError as error:
        raise ValueError(
            f"{path}: cannot be written as JSON ({error})"
        ) from error
    write_text(path, text + "\n")


def write_text(path, text):
    """Write a text file that is complete or not there at all.

    A file that holds this text already stays as it is, so that what is
    finished may lie on a disk that is read-only.

    Arguments
    ---------
    path : str or Path
        File to write, in UTF-8; its folder is created.
    text : str
        Its content.

    Example
    -------
    >>> path = getfixture("tmp_path") / "a.txt"
    >>> write_text(path, "b")
    >>> path.read_text()
    'b'
    """
    path, data = Path(path), text.encode()
    if path.is_file() and path.read_bytes() == data:
        return
    with atomic_path(path) as temporary:
        temporary.write_bytes(data)


def without_nan(value):
    """The same content with None for NaN and infinity.

    Arguments
    ---------
    value : Any
        Dicts and lists, nested, of anything.

    Returns
    -------
    Any
        New dicts and lists.

    Example
    -------
    >>> without_nan({"a": [1.0, float("nan")]})
    {'a': [1.0, None]}
    """
    if isinstance(value, dict):
        return {key: without_nan(part) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [without_nan(part) for part in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def read_json(path, remedy="remove it and run the preparation again"):
    """Read a JSON file; errors name the file and the line.

    Arguments
    ---------
    path : str or Path
        File to read.
    remedy : str
        What to do about a broken file, which ends the message.

    Returns
    -------
    object
        The content.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it is not JSON in UTF-8, names a key twice, or holds NaN or
        numbers without end, which JSON does not know.

    Example
    -------
    >>> path = getfixture("tmp_path") / "a.json"
    >>> _ = path.write_text('{"b": ')
    >>> read_json(path)
    Traceback (most recent call last):
    ValueError: ...a.json, line 1: not valid JSON (Expecting value); ...
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(
            f"{path}: no such file; run the preparation first"
        )
    try:
        return json.loads(
            path.read_text(encoding="utf-8-sig"),
            parse_constant=_finite,
            parse_float=_finite,
            object_pairs_hook=_unique,
        )
    except json.JSONDecodeError as error:
        raise ValueError(
            f"{path}, line {error.lineno}: not valid JSON ({error.msg}); "
            f"{remedy}"
        ) from error
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path}: not valid JSON ({error}); {remedy}") from (
            error
        )


def _finite(text):
    """A number of a JSON file; Python's reader takes NaN and 1e999, too."""
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text} is no number")
    return number


def _unique(pairs):
    """An object of a JSON file; of equal keys Python keeps the last."""
    content = dict(pairs)
    if len(content) < len(pairs):
        keys = [key for key, _ in pairs]
        key = next(key for key in keys if keys.count(key) > 1)
        raise ValueError(f"the key {key!r} is there twice")
    return content


def write_table(path, lines):
    """Write lines as CSV, complete or not at all.

    Arguments
    ---------
    path : str or Path
        Its folder is made.
    lines : list of dict
        Column to value; what a line does not have stays empty.

    Returns
    -------
    Path
        The file.

    Example
    -------
    >>> path = getfixture("tmp_path") / "a.csv"
    >>> write_table(path, [{"id": "a"}, {"snr": 1.5}]).read_text().split()
    ['id,snr', 'a,', ',1.5']
    """
    path = Path(path)
    columns = list(dict.fromkeys(name for line in lines for name in line))
    with (
        atomic_path(path) as temporary,
        open(temporary, "w", encoding="utf-8", newline="") as stream,
    ):
        writer = csv.DictWriter(stream, columns, restval="")
        writer.writeheader()
        writer.writerows(lines)
    return path


def file_digest(path):
    """SHA-256 of a file.

    Arguments
    ---------
    path : str or Path
        The file.

    Returns
    -------
    str
        64 hexadecimal digits.

    Example
    -------
    >>> path = getfixture("tmp_path") / "a.txt"
    >>> _ = path.write_text("abc")
    >>> file_digest(path)[:16]
    'ba7816bf8f01cfea'
    """
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
