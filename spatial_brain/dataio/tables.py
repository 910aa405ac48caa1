"""CSV tables that are complete or not there at all."""

import csv
import os
from pathlib import Path


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
    path.parent.mkdir(parents=True, exist_ok=True)
    columns = list(dict.fromkeys(name for line in lines for name in line))
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with open(temporary, "w", encoding="utf-8", newline="") as stream:
            writer = csv.DictWriter(stream, columns, restval="")
            writer.writeheader()
            writer.writerows(lines)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    return path
