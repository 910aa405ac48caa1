"""Folders of synthetic data that stand in for a data set."""

import shutil
from pathlib import Path

from spatial_brain.dataio.json_files import read_json, write_json

# File which says that a folder's content is synthetic.
LOOKALIKE = "LOOKALIKE.json"


def claim(folder, options, parts=None):
    """Mark a folder as a look-alike, emptied if made with other options.

    Arguments
    ---------
    folder : str or Path
        The folder.
    options : dict
        What its content depends on, of types that JSON knows.
    parts : callable, optional
        From the options it was made with to the sub-folders it wrote, where
        real data may lie beside them; default: all is its own.

    Raises
    ------
    ValueError
        If data lie there that are no look-alike.

    Example
    -------
    >>> folder = getfixture("tmp_path")
    >>> (folder / "real.wav").touch()
    >>> claim(folder, {})
    Traceback (most recent call last):
    ValueError: ...: holds data that are no look-alike; ...
    """
    folder = Path(folder)
    marker = folder / LOOKALIKE
    if folder.exists() and any(folder.iterdir()) and not marker.is_file():
        raise ValueError(
            f"{folder}: holds data that are no look-alike; choose another "
            "folder"
        )
    if marker.is_file() and read_json(marker) != options:
        made = [""] if parts is None else parts(read_json(marker))
        for name in made:
            if (folder / name).is_dir():
                shutil.rmtree(folder / name)
    write_json(marker, options)
