"""Commands on live sound: a device, a file in real time, or a pipe."""

import json
import os
import sys
from contextlib import contextmanager
from pathlib import Path

from spatial_brain.cli.options import one_line_warnings, write_line
from spatial_brain.cli.recordings.outputs import check_replaced
from spatial_brain.stopping import ending_when_stopped

# Options that need --live, by their names in the arguments.
_ONLY_LIVE = ("rate", "num_channels", "seconds")
# Stands for standard input.
_PIPE = "-"


def add_live(parser):
    """Add ``--live`` and what belongs to it.

    Arguments
    ---------
    parser : argparse.ArgumentParser
        Receives them.
    """
    group = parser.add_argument_group(
        "live sound", "instead of recordings; ends with Ctrl-C"
    )
    add = group.add_argument
    add("--live", nargs="?", const="", metavar="INPUT", help="number or part "
        "of the name of an input device (default: the machine's; needs the "
        "package sounddevice); a file, played in real time; or -: samples of "
        "16 bits from standard input")  # fmt: skip
    add("--rate", type=int, metavar="HZ", help="of a device, or of -")
    add("--num-channels", type=int, metavar="N", help="of -")
    add("--seconds", type=float, metavar="N", help="end after so much sound")


def wants_live(args, recorded):
    """Whether live sound is wanted; refuses what does not go together.

    Arguments
    ---------
    args : argparse.Namespace
        With what ``add_live`` and ``add_recordings`` add.
    recorded : sequence of str
        Options of recordings, by their names in the arguments.

    Returns
    -------
    bool

    Raises
    ------
    ValueError
        If there are neither recordings nor live sound, or both, or options
        of the other.
    """
    if args.live is None:
        _refuse(args, _ONLY_LIVE, "needs --live")
        if not args.recordings:
            raise ValueError("give recordings, or --live for live sound")
        return False
    if args.recordings:
        raise ValueError(
            f"give recordings ({args.recordings[0]}) or --live, one of them"
        )
    _refuse(args, recorded, "needs a recording, not --live")
    if args.seconds is not None and not args.seconds > 0:
        raise ValueError(f"--seconds {args.seconds:g}: must be above 0")
    return True


def _refuse(args, names, problem):
    """Refuse options that are given."""
    for name in names:
        if getattr(args, name) not in (None, False):
            raise ValueError(f"--{name.replace('_', '-')} {problem}")


def open_input(args):
    """The live input that the options name.

    Arguments
    ---------
    args : argparse.Namespace
        With what ``add_live`` adds, ``channels``, ``output`` and ``force``.

    Returns
    -------
    FileInput, PipeInput or DeviceInput

    Raises
    ------
    ValueError
        If options are missing, there is no such input, or ``--output`` is
        there.
    ImportError
        If a device needs what is not installed.
    """
    from spatial_brain.inference.streaming.inputs import (
        FileInput,
        PipeInput,
        is_file,
    )

    files = [(args.output, "--output")] if args.output else []
    check_replaced(files, args.force)
    if args.live == _PIPE:
        if args.rate is None or args.num_channels is None:
            raise ValueError(
                "--live -: samples have no header; give --rate HZ and "
                "--num-channels N"
            )
        return PipeInput(sys.stdin.buffer, args.rate, args.num_channels)
    if args.num_channels is not None:
        raise ValueError("--num-channels needs --live -")
    if args.live and is_file(args.live):
        if args.rate is not None:
            raise ValueError("--rate: a file has its own")
        return FileInput(args.live)
    from spatial_brain.inference.streaming.devices import DeviceInput

    most = max(args.channels) + 1 if args.channels else None
    return DeviceInput(args.live or None, args.rate, most)


def run_live(args, live, model, options, view):
    """Show what a model finds in live sound, to its end.

    Arguments
    ---------
    args : argparse.Namespace
        With what ``add_live`` adds, ``channels``, ``json``, ``output`` and
        ``prog``.
    live : FileInput, PipeInput or DeviceInput
        From ``open_input``.
    model : object
        ``choose_channels(info, channels)`` and ``stream(fs=..., **options)``.
    options : dict
        Of the stream.
    view : object
        ``header`` of ``--output``; ``take(result)`` gives lines for people,
        objects for JSON and rows for ``--output``; ``summary()`` is a line at
        the end; ``notes`` are lines at the beginning; ``kinds`` are findings
        on levels that mean something, or None.
    """
    with one_line_warnings(args.prog):
        channels = model.choose_channels(live.info, args.channels)
        stream = model.stream(fs=live.info.fs, **options)
    from spatial_brain.inference.streaming.session import LiveSession

    session = LiveSession(live, stream, channels, args.seconds)
    shown = _Findings(args, session, view.kinds)
    numbers = ",".join(map(str, channels))
    _note(
        args,
        f"live: {live.info.path}, {live.info.fs} Hz, channels {numbers}; "
        f"results up to {stream.latency:.2g} s after the sound; Ctrl-C ends",
    )
    for note in view.notes:
        _note(args, note)
    with (
        _growing(args.output, view.header) as write,
        ending_when_stopped() as end,
    ):
        for result in session.results(end.wait):
            lines, objects, rows = view.take(result)
            write(rows)
            for line in map(json.dumps, objects) if args.json else lines:
                write_line(line, sys.stdout)
            shown.update()
    shown.update(last=True)
    share = session.worked / max(session.duration, 1e-9)
    waited = f", sound waited for {live.behind:.1f} s" * (live.behind > 0.1)
    _note(
        args,
        f"{session.duration:.1f} s of sound, {view.summary()}; work took "
        f"{share:.2f} of the time{waited}",
    )


class _Findings:
    """Shows what is suspicious, once each."""

    def __init__(self, args, session, kinds):
        self._args, self._session, self._kinds = args, session, kinds
        self._shown, self._judged, self._lost = set(), False, False

    def update(self, last=False):
        """Show what is new: levels after some seconds, losses, all at last."""
        session = self._session
        judged, lost = session.shows_levels, session.input.lost > 0
        if not last and (judged, lost) == (self._judged, self._lost):
            return
        self._judged, self._lost = judged, lost
        for one in session.findings(self._kinds):
            # How much was lost is known at last.
            key = one.kind, one.channels, last and one.kind == "lost"
            if key not in self._shown:
                _note(self._args, f"{one.severity}: {one.message}")
            self._shown.add(key)


def _note(args, text):
    """A line on standard error."""
    write_line(f"{args.prog}: {text}", sys.stderr)


@contextmanager
def _growing(path, header):
    """A function that writes lines to a file at once, whole ones only."""
    if path is None:
        yield lambda rows: None
        return
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    # Without a buffer: a process that is killed leaves all that was found.
    with open(path, "wb", buffering=0) as file:

        def write(rows):
            text = "".join(f"{row}\n" for row in rows)
            os.write(file.fileno(), text.encode())

        write(header)
        yield write
