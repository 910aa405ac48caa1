"""Entry point of the command ``spatial-brain``.

Sub-commands import what they need when they run: ``--help`` is instant.
"""

import argparse
import os
import sys

from spatial_brain import __version__
from spatial_brain.cli import (
    acoustics,
    convert,
    detect,
    locate,
    score_seld,
    separate,
    simulate,
)

COMMANDS = {
    "locate": locate,
    "detect": detect,
    "separate": separate,
    "acoustics": acoustics,
    "simulate": simulate,
    "convert": convert,
    "score-seld": score_seld,
}


def make_parser():
    """Command line of all sub-commands.

    Returns
    -------
    argparse.ArgumentParser
        Each sub-command sets ``run``.

    Example
    -------
    >>> arguments = ["locate", "a.wav", "--model", "results"]
    >>> make_parser().parse_args(arguments).recording
    'a.wav'
    """
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
    return parser


def main(argv=None):
    """Run a sub-command.

    Arguments
    ---------
    argv : list of str, optional
        Default: the arguments of the process.

    Returns
    -------
    int
        0 if all went well, 2 for bad input (told in one line on standard
        error), 130 when interrupted.

    Example
    -------
    >>> main(["convert", "--format", "dual-mic-ssl",
    ...       "--checkpoint", "missing.pth", "--output", "out"])
    2
    """
    try:
        args = make_parser().parse_args(argv)
        args.run(args)
        sys.stdout.flush()
    except BrokenPipeError:
        # The reader (head, less) has gone; nothing is left to say.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (ValueError, OSError, ImportError) as error:
        print(f"{args.prog}: error: {_one_line(error)}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    return 0


def _one_line(error):
    """What went wrong, without traceback or line breaks."""
    text = str(error)
    if isinstance(error, OSError) and error.filename and error.strerror:
        text = f"{error.filename}: {error.strerror}"
    return " ".join(text.split())


if __name__ == "__main__":
    sys.exit(main())
