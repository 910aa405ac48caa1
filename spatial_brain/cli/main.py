"""Entry point of the command ``spatial-brain``.

Sub-commands import what they need when they run: ``--help`` is instant.
"""

import argparse
import os
import re
import sys

from spatial_brain import __version__
from spatial_brain.cli import (
    acoustics,
    arrays,
    detect,
    doctor,
    listen,
    locate,
    recipe,
    score_seld,
    separate,
    simulate,
    synth,
)
from spatial_brain.cli.models import convert, listing, publish
from spatial_brain.cli.options import one_line
from spatial_brain.stopping import one_line_when_stopped
from spatial_brain.suggestions import nearest

COMMANDS = {
    "locate": locate,
    "arrays": arrays,
    "listen": listen,
    "detect": detect,
    "separate": separate,
    "acoustics": acoustics,
    "models": listing,
    "simulate": simulate,
    "synth": synth,
    "convert": convert,
    "score-seld": score_seld,
    "publish": publish,
    "recipe": recipe,
    "doctor": doctor,
}


def main(argv=None):
    """Run a sub-command.

    Arguments
    ---------
    argv : list of str, optional
        Default: the arguments of the process.

    Returns
    -------
    int
        0 if all went well, 2 for bad input (explained in one line on
        standard error).

    Raises
    ------
    SystemExit
        With code 130 or 143 at SIGINT or SIGTERM.

    Example
    -------
    >>> main(["convert", "--format", "dual-mic-ssl",
    ...       "--checkpoint", "missing.pth", "--output", "out"])
    2
    """
    argv = sys.argv[1:] if argv is None else argv
    parser, commands = _make_parser()
    _refuse_unknown(argv, parser, commands)
    args, rest = parser.parse_known_args(argv)
    if rest and not hasattr(args, "recordings"):
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    if rest:
        # Recordings may stand before and behind options.
        args.recordings += rest
    try:
        with one_line_when_stopped("files that were written are complete"):
            args.run(args)
            sys.stdout.flush()
    except BrokenPipeError:
        # The reader (head, less) has gone.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (ValueError, OSError, ImportError) as error:
        print(f"{args.prog}: error: {one_line(error)}", file=sys.stderr)
        return 2
    return 0


def _make_parser():
    """Parser of the command line, and those of the sub-commands by name."""
    parser = argparse.ArgumentParser(
        prog="spatial-brain", description="Spatial audio from the shell."
    )
    parser.add_argument(
        "--version", action="version", version=f"%(prog)s {__version__}"
    )
    commands = parser.add_subparsers(
        title="commands", metavar="COMMAND", required=True
    )
    for name, command in COMMANDS.items():
        sub = commands.add_parser(
            name,
            help=command.HELP,
            description=command.__doc__,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        command.add_arguments(sub)
        sub.set_defaults(run=command.run, prog=sub.prog)
    return parser, commands.choices


def _refuse_unknown(argv, parser, commands):
    """End with one line at the first option or command that is not known."""
    current = parser
    for argument in argv:
        name = argument.split("=")[0]
        if argument == "--":
            break
        # As argparse has it, numbers and what has a space are no options.
        if re.fullmatch(r"--?[^\W\d]\S*", name):
            known = current._option_string_actions
            # Options may be abbreviated.
            if not any(option.startswith(name) for option in known):
                _exit(current, "option", name, known)
        elif current is parser:
            if argument not in commands:
                _exit(parser, "command", argument, commands)
            current = commands[argument]


def _exit(parser, kind, name, known):
    """End with the known name that is most like another, or with --help."""
    likely = nearest(name, known)
    remedy = f"did you mean {likely}?" if likely else "see --help"
    parser.exit(2, f"{parser.prog}: no {kind} {name}; {remedy}\n")


if __name__ == "__main__":
    sys.exit(main())
