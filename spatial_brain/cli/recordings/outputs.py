"""Names of the files that a command writes, and what may be replaced."""

from dataclasses import dataclass
from pathlib import Path

# Suffixes that no folder has.
_OF_FILES = frozenset(
    (".csv", ".html", ".json", ".pdf", ".png", ".rttm", ".svg", ".wav")
)


@dataclass(frozen=True)
class Output:
    """An option that names where results of recordings go.

    Arguments
    ---------
    option : str
        Such as ``"--output"``.
    value : str or None
        What the user gave; None writes nothing.
    endings : tuple of str
        What follows the recording's name without suffix in the names of the
        files, such as ``".csv"``; several files need ``folder``.
    folder : bool
        Whether it is a folder for one recording, too.

    Example
    -------
    >>> output = Output("--output", "out", (".csv",))
    >>> output.files(Path("rooms/a.wav"), several=True)
    [PosixPath('out/rooms/a.csv')]
    >>> output.files(Path("a.wav"), several=False)
    [PosixPath('out')]
    """

    option: str
    value: str | None
    endings: tuple
    folder: bool = False

    def files(self, recording, several):
        """Files for a recording.

        Arguments
        ---------
        recording : Path
            Below the folder that was given; of a file its name.
        several : bool
            Whether there may be more recordings.

        Returns
        -------
        list of Path
        """
        if self.value is None:
            return []
        place = Path(self.value)
        if not (several or self.folder or _is_folder(self.value)):
            return [place]
        return [
            place / recording.parent / f"{recording.stem}{ending}"
            for ending in self.endings
        ]

    def check(self, several):
        """Refuse a file where a folder is needed, and the reverse.

        Arguments
        ---------
        several : bool
            Whether there may be more than one recording.

        Raises
        ------
        ValueError
            With the remedy.
        """
        if self.value is None or not (several or self.folder):
            return
        place = Path(self.value)
        if place.is_file() or place.suffix.lower() in _OF_FILES:
            why = "" if self.folder else " for several recordings"
            raise ValueError(
                f"{self.option} {self.value}: name a folder{why}, not a file"
            )


def choose_format(args, formats, several):
    """Format of ``--output``: that of ``--format``, or of its suffix.

    Arguments
    ---------
    args : argparse.Namespace
        With ``output`` and ``format``.
    formats : dict of str to str
        Name of each format to the suffix of its files. A suffix stands for
        the first format that has it; the first of all is the default.
    several : bool
        Whether the output is a folder.

    Returns
    -------
    str
        A key of ``formats``.

    Raises
    ------
    ValueError
        If there is no such format, or none with this suffix.

    Example
    -------
    >>> from argparse import Namespace
    >>> args = Namespace(output="a.rttm", format=None)
    >>> choose_format(args, {"csv": ".csv", "rttm": ".rttm"}, False)
    'rttm'
    """
    known = ", ".join(formats)
    if args.format is not None:
        if args.format not in formats:
            raise ValueError(
                f"--format {args.format} is not known; use one of {known}"
            )
        if args.output is None:
            raise ValueError(
                f"--format {args.format} is that of --output; give it, too"
            )
        return args.format
    default = next(iter(formats))
    if args.output is None or several or _is_folder(args.output):
        return default
    suffix = Path(args.output).suffix.lower()
    for name, ending in formats.items():
        if ending == suffix:
            return name
    endings = ", ".join(dict.fromkeys(formats.values()))
    raise ValueError(
        f"--output {args.output}: files end in {endings}; or give --format, "
        f"one of {known}"
    )


def _is_folder(value):
    """Whether what was given is a folder, or ends like one."""
    return value.endswith("/") or Path(value).is_dir()


def plan_outputs(recordings, outputs, *, several, force):
    """Files to write for each recording, before anything is done.

    Arguments
    ---------
    recordings : sequence of Recording
        All of them.
    outputs : dict of str to Output
        By the names that the command gives them.
    several : bool
        Whether files go to folders.
    force : bool
        Whether files that are there may be replaced.

    Returns
    -------
    list of dict
        One a recording: name of each output to its path; None for what is not
        wanted, the folder for outputs of several files.

    Raises
    ------
    ValueError
        If a file is there, a recording would be replaced, or two results had
        one name.
    """
    sources = {Path(one.path).resolve() for one in recordings}
    owners, plans = {}, []
    for output in outputs.values():
        output.check(several)
    for recording in recordings:
        plan = {}
        for name, output in outputs.items():
            files = output.files(recording.name, several)
            for file in files:
                _claim(file, recording.path, output, owners, sources)
            plan[name] = files[0] if files else None
            if output.folder and files:
                plan[name] = files[0].parent
        plans.append(plan)
    files = [(file, option) for file, _, option in owners.values()]
    check_replaced(files, force)
    return plans


def _claim(file, path, output, owners, sources):
    """Note that a file belongs to a recording; one file, one recording."""
    place = file.resolve()
    if place in sources:
        raise ValueError(
            f"{file}: is a recording itself; name another {output.option}"
        )
    if place in owners:
        other = owners[place][1]
        pair = f"{other} and {path}" if other != path else f"two of {path}"
        raise ValueError(
            f"{file}: would be written for {pair}; give them apart, with "
            f"an {output.option} of their own"
        )
    owners[place] = (file, path, output.option)


def check_replaced(files, force):
    """Refuse to replace files that are there, unless it is wanted.

    Arguments
    ---------
    files : sequence of tuple
        Path of each file to write, and the option that names it.
    force : bool
        Whether they may be replaced.

    Raises
    ------
    ValueError
        If one is there and may not.

    Example
    -------
    >>> check_replaced([("new.csv", "--output")], force=False)
    """
    there = [] if force else [one for one in files if Path(one[0]).exists()]
    if there:
        file, option = there[0]
        more = f" (and {len(there) - 1} more)" * (len(there) > 1)
        raise ValueError(
            f"{file}{more}: is there already; --force replaces, or name "
            f"another {option}"
        )
