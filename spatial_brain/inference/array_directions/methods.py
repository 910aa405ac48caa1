"""Methods by which the sources of an array are found, by name."""

from functools import partial
from pathlib import Path

from spatial_brain.inference.array_directions.confidence import COEFFICIENTS
from spatial_brain.inference.shipped import shipped_folders
from spatial_brain.processing.directions.mixture import LocalMixture
from spatial_brain.processing.directions.music import MUSIC
from spatial_brain.processing.directions.pyroom_methods import (
    PyroomFrida,
    PyroomMaps,
)
from spatial_brain.processing.directions.srp_phat import SRPPhat
from spatial_brain.suggestions import nearest

# Of our own, with a confidence that was measured.
METHODS = {
    "mixture": LocalMixture,
    "srp-phat": SRPPhat,
    "norm-music": MUSIC,
    "music": partial(MUSIC, normalize=False),
}
# Of pyroomacoustics: azimuths only, of a number of sources that is known.
LIBRARY_METHODS = {
    "cssm": partial(PyroomMaps, algorithm="CSSM"),
    "waves": partial(PyroomMaps, algorithm="WAVES"),
    "tops": partial(PyroomMaps, algorithm="TOPS"),
    "frida": PyroomFrida,
}


def names_model(method):
    """Whether a method is a trained model, not a name.

    Arguments
    ---------
    method : str
        A method, a folder, the name of a shipped model, or the id of one of
        a hub.

    Returns
    -------
    bool

    Example
    -------
    >>> names_model("srp-phat"), names_model("results/demo")
    (False, True)
    """
    return "/" in method or Path(method).is_dir() or method in shipped_folders()


def check_method(method, sources, ambisonic):
    """Refuse a method that is not known or does not do.

    Arguments
    ---------
    method : str
        A key of ``METHODS`` or ``LIBRARY_METHODS``.
    sources : int or str
        How many sources there are, or ``"auto"``.
    ambisonic : bool
        Whether the recording is first-order Ambisonics.

    Raises
    ------
    ValueError
        If there is no such method, or it does not do.

    Example
    -------
    >>> check_method("tops", 2, ambisonic=False)
    >>> check_method("tops", "auto", ambisonic=False)
    Traceback (most recent call last):
    ValueError: method 'tops' needs the number of sources (--sources N); ...
    """
    known = [*METHODS, *LIBRARY_METHODS]
    if method not in known:
        from spatial_brain.inference.pretrained.choice import shipped_cards

        known += shipped_cards("locate")
        likely = nearest(method, known)
        raise ValueError(
            f"there is no method {method!r}"
            + (f"; did you mean {likely}?" if likely else "")
            + f"; known: {', '.join(known)}"
        )
    if ambisonic and method != "mixture":
        raise ValueError(
            f"method {method!r} needs delays between microphones, which "
            "Ambisonics has not; use mixture"
        )
    if method in LIBRARY_METHODS and sources == "auto":
        raise ValueError(
            f"method {method!r} needs the number of sources (--sources N); "
            f"{', '.join(METHODS)} find it"
        )


def has_confidence(method):
    """Whether it is known how often directions of a method are right.

    Arguments
    ---------
    method : str
        As :func:`check_method` takes it.

    Returns
    -------
    bool

    Example
    -------
    >>> has_confidence("mixture"), has_confidence("frida")
    (True, False)
    """
    return method in COEFFICIENTS
