"""The recordings that a command was given, one after the other."""

import errno
import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path

from spatial_brain.cli.options import one_line, one_line_warnings, write_line
from spatial_brain.cli.recordings.outputs import plan_outputs
from spatial_brain.folders import find_files

# Files of a folder that are no audio and are named.
_NAMED = 3
# What goes wrong for all recordings if it does for one.
_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)


@dataclass(frozen=True)
class Recording:
    """A file of sound.

    Arguments
    ---------
    path : str
        Where it is.
    name : Path
        Its path below the folder that was given; of a file its name.
    """

    path: str
    name: Path


@dataclass(frozen=True)
class Result:
    """What is shown of one recording.

    Arguments
    ---------
    content : dict
        For JSON; its ``path`` is the recording's.
    text : str
        For people.
    notes : sequence of str
        Lines for standard error.
    """

    content: dict
    text: str
    notes: tuple = ()


def add_recordings(parser, what, needed=True):
    """Add the recordings and ``--force``.

    Arguments
    ---------
    parser : argparse.ArgumentParser
        Receives them.
    what : str
        What recordings are, such as ``"audio files of two ears"``.
    needed : bool
        Whether there must be one.
    """
    parser.add_argument(
        "recordings",
        nargs="+" if needed else "*",
        metavar="RECORDING",
        help=f"{what}, or folders of such",
    )
    add_force(parser)


def add_force(parser):
    """Add ``--force``.

    Arguments
    ---------
    parser : argparse.ArgumentParser
        Receives it.
    """
    parser.add_argument(
        "--force", action="store_true", help="replace files that are there"
    )


def shows_progress():
    """Whether progress bars are drawn: on a terminal only.

    Returns
    -------
    bool
    """
    return sys.stderr.isatty()


def process_recordings(args, process, outputs, paths=None):
    """Do the same with each recording; those that fail do not end the rest.

    A folder stands for all audio files in it and below. What is no audio
    there is named. Names of files to write are checked before anything is
    done. With one recording its error is the command's; with several each is
    a line, and at the end their number. With ``--json`` one recording gives
    an object, several give one a line, with ``error`` for those that failed.

    Arguments
    ---------
    args : argparse.Namespace
        With what ``add_recordings`` adds, ``json`` and ``prog``.
    process : callable
        Called with the path (str) of a recording and a dict of the files to
        write for it; returns a ``Result``.
    outputs : dict of str to Output
        Where results are written.
    paths : list of str, optional
        Default: ``args.recordings``.

    Raises
    ------
    ValueError, OSError
        If nothing could be done, or some recordings failed.
    """
    paths = args.recordings if paths is None else paths
    several = may_be_several(paths)
    recordings = find_recordings(paths, args.prog)
    plans = plan_outputs(recordings, outputs, several=several, force=args.force)
    done = failed = 0
    with one_line_warnings(args.prog):
        pairs = zip(recordings, plans, strict=True)
        for recording, files in _counted(pairs, len(recordings)):
            try:
                result = process(recording.path, files)
            except (ValueError, OSError) as error:
                named = recording.path in one_line(error)
                if not several or _ends_all(error) or not (named or done):
                    raise
                failed += 1
                _show_failure(args, recording.path, error, named)
                continue
            if done and not args.json:
                write_line("", sys.stdout)
            _show(args, result, f"{recording.path}: " if several else "")
            done += 1
    if failed:
        others = "; the others are done" if done else ""
        raise ValueError(
            f"{failed} of {len(recordings)} recordings failed, named "
            f"above{others}"
        )


def may_be_several(paths):
    """Whether paths stand for one recording or for any number of them.

    Arguments
    ---------
    paths : list of str
        Files and folders.

    Returns
    -------
    bool
        True for several files and for a folder, whatever it holds.
    """
    return len(paths) > 1 or os.path.isdir(paths[0])


def find_recordings(paths, prog):
    """The recordings that paths stand for.

    Arguments
    ---------
    paths : list of str
        Files and folders.
    prog : str
        Begins the line on what is left out.

    Returns
    -------
    list of Recording

    Raises
    ------
    ValueError
        If a folder holds no audio.
    """
    found = []
    for path in paths:
        if not os.path.isdir(path):
            found.append(Recording(path, Path(Path(path).name)))
            continue
        audio, others = _audio_below(path)
        if others:
            write_line(
                f"{prog}: {path}: {len(audio)} recordings; left out as no "
                f"audio: {_names(others)}",
                sys.stderr,
            )
        found += [Recording(str(f), f.relative_to(path)) for f in audio]
    return found


def first_recording(paths):
    """The first recording that can be read; its header.

    Arguments
    ---------
    paths : list of str
        Files and folders.

    Returns
    -------
    spatial_brain.dataio.audio.AudioInfo

    Raises
    ------
    ValueError, OSError
        That of the first one, if none can be read.
    """
    from spatial_brain.dataio.audio import audio_info

    problem = None
    for path in paths:
        files = _audio_below(path)[0] if os.path.isdir(path) else [path]
        for file in files:
            try:
                return audio_info(file)
            except (ValueError, OSError) as error:
                problem = problem or error
    raise problem


def _audio_below(folder):
    """Audio files in a folder and below, and the other files."""
    from spatial_brain.dataio.audio import AUDIO_SUFFIXES

    files = find_files(folder)
    audio = [f for f in files if f.suffix.lower() in AUDIO_SUFFIXES]
    if not audio:
        raise ValueError(f"{files.summary}, no audio among them")
    return audio, [f for f in files if f.suffix.lower() not in AUDIO_SUFFIXES]


def _names(files):
    """The first of some files, and how many more."""
    names = ", ".join(file.name for file in files[:_NAMED])
    more = len(files) - _NAMED
    return f"{names} and {more} more" if more > 0 else names


def _counted(items, total):
    """The same items, with a progress bar if there are several."""
    if total == 1 or not shows_progress():
        return items
    from spatial_brain.dataio.parallel import progress

    return progress(items, total=total, unit="recording", delay=2.0)


def _show(args, result, place):
    """Print what is shown of one recording; its notes begin with a place."""
    for note in result.notes:
        write_line(f"{args.prog}: {place}{note}", sys.stderr)
    text = result.text
    if args.json:
        text = json.dumps(result.content, allow_nan=False)
    write_line(text, sys.stdout)


def _ends_all(error):
    """Whether an error would meet all other recordings, too."""
    return isinstance(error, OSError) and error.errno in _DISK


def _show_failure(args, path, error, named):
    """A line on a recording that failed, and an object of the JSON lines."""
    problem = one_line(error) if named else f"{path}: {one_line(error)}"
    write_line(f"{args.prog}: error: {problem}", sys.stderr)
    if args.json:
        content = {"path": path, "error": problem}
        write_line(json.dumps(content), sys.stdout)
