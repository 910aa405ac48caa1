"""The name that a misspelt one was meant to be."""

import difflib


def nearest(name, known):
    """Known name that is most like another.

    Arguments
    ---------
    name : str
        Name that is not known, such as a misspelt option.
    known : iterable of str
        Names to choose from.

    Returns
    -------
    str or None
        The most similar one; None if none is similar.

    Example
    -------
    >>> nearest("--modle", ["--model", "--output"])
    '--model'
    >>> nearest("--colour", ["--model", "--output"]) is None
    True
    """
    found = difflib.get_close_matches(name, list(known), n=1)
    return found[0] if found else None
