"""What is said when a part of a corpus does not lie where it should."""

from pathlib import Path

from spatial_brain.suggestions import nearest

# Folders to look into, below and above.
_DEPTH = 3


def find_misplaced(folder, name):
    """Folder that holds what another folder should hold.

    Arguments
    ---------
    folder : str or Path
        Where it was expected.
    name : str
        File or folder.

    Returns
    -------
    Path or None
        Up to three levels above or below; the nearest.

    Example
    -------
    >>> folder = getfixture("tmp_path")
    >>> (folder / "Mesh" / "S32-M441_npy").mkdir(parents=True)
    >>> find_misplaced(folder, "S32-M441_npy").name
    'Mesh'
    >>> find_misplaced(folder / "Mesh/S32-M441_npy", "S32-M441_npy").name
    'Mesh'
    """
    folder = Path(folder).absolute()
    for above in (folder, *folder.parents[:_DEPTH]):
        if (above / name).exists():
            return above
    for level in range(1, _DEPTH + 1):
        for path in sorted(folder.glob("*/" * level + name)):
            return path.parent
    return None


def missing(folder, name, remedy, others=(), inside=()):
    """Line about a part of a corpus that is not there.

    Arguments
    ---------
    folder : str or Path
        Where it was expected.
    name : str
        File or folder.
    remedy : str
        What to do if it is nowhere near.
    others : sequence of str
        Names of other parts, for which it is not mistaken.
    inside : sequence of str
        Folders that are in it.

    Returns
    -------
    str
        It says whether it lies elsewhere, or under a similar name.

    Example
    -------
    >>> folder = getfixture("tmp_path")
    >>> (folder / "S32_M441_npy").mkdir()
    >>> missing(folder, "S32-M441_npy", "download it")
    '...: no S32-M441_npy, but S32_M441_npy; rename it if that is it'
    >>> missing(folder, "all", "download it", inside=["S32_M441_npy"])
    '...: holds what should be in a folder all; name it so and give ...'
    """
    place = find_misplaced(folder, name)
    if place is not None:
        return (
            f"{folder}: {name} lies in {place}, not here; give that folder or "
            "move it"
        )
    names = {path.name for path in Path(folder).glob("*")}
    if names & set(inside):
        return (
            f"{folder}: holds what should be in a folder {name}; name it so "
            "and give the folder above it"
        )
    similar = nearest(name, sorted(names.difference(others)))
    if similar is not None:
        return f"{folder}: no {name}, but {similar}; rename it if that is it"
    return f"{folder}: no {name}; {remedy}"


def some(names, most=5):
    """The first of many names, for a message.

    Arguments
    ---------
    names : sequence of str
        At least one.
    most : int
        How many are named.

    Returns
    -------
    str

    Example
    -------
    >>> some(["a", "b", "c"], 2)
    'a, b and 1 more'
    """
    names = list(names)
    text = ", ".join(names[:most])
    more = len(names) - most
    return f"{text} and {more} more" if more > 0 else text
