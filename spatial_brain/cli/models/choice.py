"""The shipped model that a command takes where none is named."""

import sys

from spatial_brain.cli.options import write_line
from spatial_brain.cli.recordings import first_recording


def choose_shipped(args, command, spacing=None):
    """Name of the shipped model that fits the first recording, said in a line.

    Its sampling rate is converted where the model needs a lower one. Of live
    sound only what the options say of it is looked at.

    Arguments
    ---------
    args : argparse.Namespace
        With ``recordings``, ``channels``, ``resample`` and ``prog``;
        ``resample`` is set.
    command : str
        Such as ``"separate"``.
    spacing : float, optional
        Distance of the two microphones, metres.

    Returns
    -------
    str

    Raises
    ------
    ValueError, OSError
        If no model fits, with what there is; or no recording can be read.
    """
    from spatial_brain.inference.pretrained.choice import choose_model

    path, channels, fs = _sound(args)
    if args.channels:
        channels = len(args.channels)
    choice = choose_model(
        command, path, channels, fs, spacing, resample=args.resample
    )
    args.resample = args.resample or choice.resample
    write_line(
        f"{args.prog}: takes the shipped model {choice.name}: {choice.reason}",
        sys.stderr,
    )
    return choice.name


def _sound(args):
    """Path, channels and sampling rate of what the command is for."""
    if getattr(args, "live", None) is not None:
        return "live sound", args.num_channels, args.rate
    info = first_recording(args.recordings)
    return info.path, info.num_channels, info.fs
