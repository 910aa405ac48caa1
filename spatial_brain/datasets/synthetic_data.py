"""The mark of synthetic data, by which real data are never overwritten."""

import json
import shutil
from pathlib import Path

from spatial_brain.atomic import full_disk
from spatial_brain.dataio.files import read_json, write_json
from spatial_brain.folders import is_leftover

# File that marks a folder's content as synthetic, with its options.
MARKER = "SYNTHETIC.json"
# Its name in folders that were written by version 0.1.
_OLD_MARKER = "LOOKALIKE.json"


def synthetic_options(folder):
    """What synthetic data were made with; None for real data.

    Arguments
    ---------
    folder : str or Path
        Folder of a data set.

    Returns
    -------
    dict or None
        Content of its ``SYNTHETIC.json``.

    Example
    -------
    >>> synthetic_options("nowhere") is None
    True
    """
    for name in (MARKER, _OLD_MARKER):
        if Path(folder, name).is_file():
            return read_json(Path(folder, name))
    return None


def claim(folder, options, parts=None, *, shared=False):
    """Mark a folder as synthetic data, emptied if made with other options.

    Arguments
    ---------
    folder : str or Path
        The folder.
    options : dict
        What its content depends on, of types that JSON knows.
    parts : callable, optional
        From the options it was made with to the sub-folders it wrote, where
        real data may lie beside them; default: all is its own.
    shared : bool
        Whether a folder without mark may hold other data than ``parts``.

    Raises
    ------
    ValueError
        If data lie there that are not synthetic.

    Example
    -------
    >>> folder = getfixture("tmp_path")
    >>> (folder / "real.wav").touch()
    >>> claim(folder, {})
    Traceback (most recent call last):
    ValueError: ...: holds data that are not synthetic (real.wav); ...
    """
    folder = Path(folder)
    options = json.loads(json.dumps(options))
    made = synthetic_options(folder)
    if made is None:
        taken = [p.name for p in folder.glob("*") if not is_leftover(p.name)]
        taken.sort()
        if shared:
            taken = [name for name in parts(options) if name in taken]
        if taken:
            names = ", ".join(taken[:3]) + (", ..." if len(taken) > 3 else "")
            raise ValueError(
                f"{folder}: holds data that are not synthetic ({names}); "
                "choose another folder, or ask for no synthetic data to use "
                "what is there"
            )
    elif made != options:
        marks = (MARKER, _OLD_MARKER)
        names = [p.name for p in folder.iterdir() if p.name not in marks]
        # The mark goes last: a kill must not leave what looks like real data.
        with full_disk(folder):
            for name in names if parts is None else parts(made):
                if (folder / name).is_dir():
                    shutil.rmtree(folder / name)
                else:
                    (folder / name).unlink(missing_ok=True)
    if made != options or not (folder / MARKER).is_file():
        write_json(folder / MARKER, options)
        (folder / _OLD_MARKER).unlink(missing_ok=True)
