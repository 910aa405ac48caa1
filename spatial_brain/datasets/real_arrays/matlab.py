"""MAT files of version 5 to 7.2, with errors that name the file."""

import zlib
from pathlib import Path

import scipy.io


def read_mat(path, names, simple=False):
    """Read variables of a MAT file.

    Arguments
    ---------
    path : str or Path
        The file.
    names : sequence of str
        Variables that it must have; no others are read.
    simple : bool
        Structures become dictionaries, arrays lose axes of length 1.

    Returns
    -------
    dict
        Name to variable, as ``scipy.io.loadmat`` gives it.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it is damaged or lacks a variable.

    Example
    -------
    >>> path = getfixture("tmp_path") / "a.mat"
    >>> scipy.io.savemat(path, {"fs": 48000.0})
    >>> int(read_mat(path, ["fs"], simple=True)["fs"])
    48000
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file")
    try:
        content = scipy.io.loadmat(
            path, variable_names=list(names), simplify_cells=simple
        )
    # The reader of a cut file fails in many ways.
    except (
        OSError,
        ValueError,
        TypeError,
        KeyError,
        IndexError,
        NotImplementedError,
        zlib.error,
        scipy.io.matlab.MatReadError,
    ) as problem:
        raise ValueError(
            f"{path}: damaged, or no MAT file of version 5 ({problem}); copy "
            "or download it again"
        ) from problem
    absent = [name for name in names if name not in content]
    if absent:
        raise ValueError(
            f"{path}: has no {', '.join(absent)}; it is cut or another file, "
            "copy or download it again"
        )
    return content
