"""Trained models that are shipped with this package."""

from pathlib import Path

import spatial_brain
from spatial_brain.suggestions import nearest

SHIPPED = Path(spatial_brain.__file__).parent / "pretrained_models"


def shipped_folders():
    """Models that are shipped with this package.

    Returns
    -------
    dict of str to Path
        Name to folder.

    Example
    -------
    >>> all(path.is_dir() for path in shipped_folders().values())
    True
    """
    return {
        path.parent.name: path.parent
        for path in sorted(SHIPPED.glob("*/hyperparams.yaml"))
    }


def describe_shipped(name=""):
    """Which models are shipped, for an error message.

    Arguments
    ---------
    name : str
        One that is not; the most similar one is named.

    Returns
    -------
    str

    Example
    -------
    >>> describe_shipped().startswith(("shipped are", "no model is shipped"))
    True
    """
    names = list(shipped_folders())
    if not names:
        return "no model is shipped with this installation"
    likely = nearest(name, names)
    hint = f"; did you mean {likely}?" if likely else ""
    return f"shipped are {', '.join(names)}{hint}"
