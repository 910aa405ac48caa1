"""The files of a folder, as people and systems leave folders.

One way through folders for the whole package: links are followed, every real
folder is visited once, what systems leave behind is no data, suffixes count
in any case, the order is always the same, and what was skipped is counted.
"""

import logging
import os
import re
from collections import Counter, deque
from pathlib import Path

logger = logging.getLogger(__name__)

# What Windows, macOS, Linux and network drives put into folders, lower case.
_LEFTOVERS = frozenset(
    (
        "__macosx",
        "__pycache__",
        "@eadir",
        "@recycle",
        "#recycle",
        "$recycle.bin",
        "desktop.ini",
        "ehthumbs.db",
        "icon\r",
        "lost+found",
        "system volume information",
        "thumbs.db",
    )
)
_LEFTOVER = "hidden or left by a system"
_VISITED = "links to a folder that was visited or lies above"
_BROKEN = "links to nothing"
_NO_FILE = "pipes or devices"
_SUFFIX = "of another kind"
# Skipped for reasons a user should see, whatever the level of the log.
_STRANGE = (_BROKEN, _NO_FILE)


class FoundFiles(list):
    """Paths of files, sorted, and what was left out.

    Arguments
    ---------
    folder : Path
        Where they were looked for.
    paths : iterable of Path
        The files.
    skipped : dict of str to int
        Reason to number of entries.

    Example
    -------
    >>> FoundFiles("data", [Path("a.wav")], {"links to nothing": 2}).summary
    'data: 1 file; skipped: 2 links to nothing'
    """

    def __init__(self, folder, paths, skipped):
        super().__init__(sorted(paths))
        self.folder = folder
        self.skipped = dict(skipped)

    @property
    def summary(self):
        """One line: how many there are, and what was skipped and why."""
        line = f"{self.folder}: {len(self)} file{'s' * (len(self) != 1)}"
        reasons = [f"{self.skipped[why]} {why}" for why in sorted(self.skipped)]
        return line + ("; skipped: " + ", ".join(reasons) if reasons else "")


def is_leftover(name):
    """Whether a file or a folder is hidden, or left behind by a system.

    Arguments
    ---------
    name : str
        Name without its folder.

    Returns
    -------
    bool
        True for what is no data: ``.DS_Store``, ``._a.wav``, ``Thumbs.db``,
        ``@eaDir``, ``__MACOSX``, unfinished files of this package, ...

    Example
    -------
    >>> [is_leftover(name) for name in ("._mix.wav", "Thumbs.db", "foa_dev")]
    [True, True, False]
    """
    return name.startswith(".") or name.lower() in _LEFTOVERS


def find_files(folder, suffixes=None, *, depth=None, skip=None):
    """Files in a folder and below.

    Links to folders and to files are followed. A real folder is visited once,
    under its own name where it has one below ``folder``. Folders above
    ``folder`` are not visited. What was skipped stands in the log.

    Arguments
    ---------
    folder : str or Path
        Where to look; its own name may be that of a link or hidden.
    suffixes : str or iterable of str, optional
        Ends of names, such as ``".sofa"``, in any case; None takes all.
    depth : int, optional
        Levels of sub-folders to go down; 0 looks into ``folder`` alone, None
        goes all the way.
    skip : str, optional
        Regular expression for the names of sub-folders not to look into.

    Returns
    -------
    FoundFiles
        A list of ``Path``, each below ``folder``, sorted.

    Raises
    ------
    FileNotFoundError, NotADirectoryError
        If there is no such folder.
    OSError
        If a folder may not be read.

    Example
    -------
    >>> folder = getfixture("tmp_path")
    >>> for name in ("b.WAV", "a.wav", "._a.wav", "notes.txt"):
    ...     (folder / name).touch()
    >>> found = find_files(folder, ".wav")
    >>> [path.name for path in found]
    ['a.wav', 'b.WAV']
    >>> found.skipped
    {'hidden or left by a system': 1, 'of another kind': 1}
    """
    folder = Path(folder)
    if suffixes is not None:
        suffixes = [suffixes] if isinstance(suffixes, str) else suffixes
        suffixes = tuple(suffix.lower() for suffix in suffixes)
    walk = _Walk(suffixes, depth, skip)
    above = [_identity(path) for path in folder.resolve().parents]
    walk.visited.update(above)
    walk.visit(folder)
    found = FoundFiles(folder, walk.paths, walk.skipped)
    strange = any(reason in walk.skipped for reason in _STRANGE)
    if strange:
        logger.warning("%s", found.summary)
    elif walk.skipped.keys() - {_SUFFIX}:
        logger.info("%s", found.summary)
    return found


def find_folders(folder):
    """Folders in a folder, by the rules of ``find_files``.

    Arguments
    ---------
    folder : str or Path
        Where to look, not below.

    Returns
    -------
    list of Path
        Sorted. Of several names of one real folder the one without a link is
        there; links to ``folder`` or to a folder above it are not.

    Raises
    ------
    OSError
        If ``folder`` is not there or may not be read.

    Example
    -------
    >>> folder = getfixture("tmp_path")
    >>> (folder / "ann").mkdir()
    >>> (folder / "all").symlink_to(folder)
    >>> [path.name for path in find_folders(folder)]
    ['ann']
    """
    folder = Path(folder)
    places = (folder.resolve(), *folder.resolve().parents)
    visited = {_identity(path) for path in places}
    with os.scandir(folder) as entries:
        paths = [
            (entry.is_symlink(), Path(folder, entry.name))
            for entry in entries
            if os.path.isdir(entry) and not is_leftover(entry.name)
        ]
    found = []
    for _, path in sorted(paths):
        identity = _identity(path)
        if identity not in visited:
            visited.add(identity)
            found.append(path)
    return sorted(found)


def _identity(path):
    """Number of the device and of the file on it."""
    status = os.stat(path)
    return status.st_dev, status.st_ino


class _Walk:
    """One pass through a folder."""

    def __init__(self, suffixes, depth, skip):
        self.suffixes = suffixes
        self.depth = depth
        self.skip = skip
        self.visited = set()
        self.paths = []
        self.skipped = Counter()

    def visit(self, folder):
        """Collect the files below a folder."""
        # Links come last, so that files keep the names without links.
        self.folders, self.links = deque([(folder, 0)]), deque()
        while self.folders or self.links:
            waiting = self.folders or self.links
            path, level = waiting.popleft()
            identity = _identity(path)
            if identity in self.visited:
                self.skipped[_VISITED] += 1
                continue
            self.visited.add(identity)
            with os.scandir(path) as entries:
                for entry in sorted(entries, key=lambda entry: entry.name):
                    self._take(entry, Path(path, entry.name), level)

    def _take(self, entry, path, level):
        """Put one entry of a folder where it belongs."""
        if is_leftover(entry.name):
            self.skipped[_LEFTOVER] += 1
        elif entry.is_symlink() and not os.path.exists(path):
            self.skipped[_BROKEN] += 1
        elif entry.is_dir():
            deep = self.depth is not None and level >= self.depth
            unwanted = self.skip and re.fullmatch(self.skip, entry.name)
            if not deep and not unwanted:
                into = self.links if entry.is_symlink() else self.folders
                into.append((path, level + 1))
        elif self.suffixes and not entry.name.lower().endswith(self.suffixes):
            self.skipped[_SUFFIX] += 1
        elif not entry.is_file():
            self.skipped[_NO_FILE] += 1
        else:
            self.paths.append(path)
