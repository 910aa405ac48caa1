"""What the values of a card may be: plain, and of bounded size.

A card may come from a stranger: nothing in it is long, deep, or more than
numbers, texts, flags, and lists and dictionaries of such.
"""

import re

from spatial_brain.suggestions import nearest

MAX_TEXT = 1_000
_MAX_LIST = 1_000
_MAX_DEPTH = 5
_MAX_NUMBER = 1e12


def is_text(value):
    """Whether a value is a line of printable text.

    Arguments
    ---------
    value : Any
        The value.

    Returns
    -------
    bool
    """
    return (
        isinstance(value, str)
        and 0 < len(value) <= MAX_TEXT
        and value.isprintable()
    )


def is_number(value):
    """Whether a value is a finite number, not a flag.

    Arguments
    ---------
    value : Any
        The value.

    Returns
    -------
    bool
    """
    return (
        isinstance(value, (int, float))
        and not isinstance(value, bool)
        and abs(value) <= _MAX_NUMBER
    )


def are(value, fits):
    """Whether a value is a list, not too long, of values of a kind.

    Arguments
    ---------
    value : Any
        The value.
    fits : callable
        Whether one of them is of the kind.

    Returns
    -------
    bool
    """
    return (
        isinstance(value, (list, tuple))
        and len(value) <= _MAX_LIST
        and all(map(fits, value))
    )


def is_range(value):
    """Whether a value is a range ``[lowest, highest]``.

    Arguments
    ---------
    value : Any
        The value.

    Returns
    -------
    bool
    """
    return are(value, is_number) and len(value) == 2 and value[0] <= value[1]


def is_count(value):
    """Whether a value is a whole number from 0 on.

    Arguments
    ---------
    value : Any
        The value.

    Returns
    -------
    bool
    """
    return isinstance(value, int) and is_number(value) and value >= 0


def is_plain(value, depth=0):
    """Whether a value is a number, text, flag, or lists and dicts of such.

    Arguments
    ---------
    value : Any
        The value.
    depth : int
        How deep it lies in others.

    Returns
    -------
    bool
    """
    if depth > _MAX_DEPTH:
        return False
    if isinstance(value, dict):
        return (
            len(value) <= _MAX_LIST
            and all(map(is_text, value))
            and all(is_plain(inner, depth + 1) for inner in value.values())
        )
    if isinstance(value, (list, tuple)):
        return are(value, lambda inner: is_plain(inner, depth + 1))
    return is_number(value) or isinstance(value, bool) or is_text(value)


def is_table(value, fits):
    """Whether a value is a dictionary, not too long, of values of a kind.

    Arguments
    ---------
    value : Any
        The value.
    fits : callable
        Whether one of them is of the kind.

    Returns
    -------
    bool
    """
    return (
        isinstance(value, dict)
        and len(value) <= _MAX_LIST
        and all(map(is_text, value))
        and all(map(fits, value.values()))
    )


def is_digest(value):
    """Whether a value is a SHA-256 in hexadecimal digits.

    Arguments
    ---------
    value : Any
        The value.

    Returns
    -------
    bool
    """
    return isinstance(value, str) and bool(re.fullmatch("[0-9a-f]{64}", value))


# What a value has to be in words, and how that is checked.
TEXT = ("a line of text", is_text)
COUNT = ("a whole number", is_count)
NUMBER = ("a finite number", is_number)
POSITIVE = ("a number above 0", lambda value: is_number(value) and value > 0)
FLAG = ("true or false", lambda value: isinstance(value, bool))
RANGE = ("a range [lowest, highest]", is_range)
TEXTS = ("a list of texts", lambda value: are(value, is_text))


def check_values(facts, kinds, needed, where=""):
    """Refuse names and values that are not of their kind.

    Arguments
    ---------
    facts : dict
        The values by name.
    kinds : dict
        Name to what its value has to be, and a function that checks it.
    needed : sequence of str
        Names that must be there.
    where : str
        Begins the message.

    Raises
    ------
    ValueError
        With the name and what it has to be.

    Example
    -------
    >>> check_values({"t60": "long"}, {"t60": NUMBER}, ())
    Traceback (most recent call last):
    ...
    ValueError: t60 must be a finite number, found 'long'
    """
    for name in needed:
        if name not in facts:
            raise ValueError(f"{where}there is no {name}")
    for name, value in facts.items():
        if name not in kinds:
            close = nearest(f"{name:.60}", list(kinds))
            hint = f"; did you mean {close}?" if close else ""
            raise ValueError(f"{where}no field {name[:60]!r}{hint}")
        kind, fits = kinds[name]
        if not fits(value):
            raise ValueError(
                f"{where}{name} must be {kind}, found {value!r:.60}"
            )
