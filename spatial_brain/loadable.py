"""The closed list of what a pretrained model's YAML may build.

A class or function is put on it where it is defined, by its decorator; the
list holds exact names, no packages, so that nothing else that a module holds
or imports can be reached.
"""

LOADABLE = {}


def loadable(thing):
    """Put a class or function on the list; it takes plain values only.

    Arguments
    ---------
    thing : type or callable
        Built with numbers, text, lists and other things on the list, whatever
        a stranger's file says: it may not open files, start processes or call
        what it is given.

    Returns
    -------
    type or callable
        The same.

    Example
    -------
    >>> @loadable
    ... def double(x):
    ...     return 2 * x
    >>> LOADABLE.pop(f"{double.__module__}.double")(2)
    4
    """
    LOADABLE[f"{thing.__module__}.{thing.__qualname__}"] = thing
    return thing
