"""The shipped model that a command takes where none is named."""

import sys

from spatial_brain.cli.options import write_line
from spatial_brain.cli.recordings import first_recording


def choose_shipped(args, command, spacing=None, info=None):
    """Name of the shipped model that fits the first recording, said in a line.

    Its sampling rate is converted where the model needs a lower one.

    Arguments
    ---------
    args : argparse.Namespace
        With ``recordings``, ``channels``, ``resample`` and ``prog``;
        ``resample`` is set.
    command : str
        Such as ``"separate"``.
    spacing : float, optional
        Distance of the two microphones, metres.
    info : AudioInfo, optional
        Of live sound, in the place of recordings; its rate is converted.

    Returns
    -------
    str

    Raises
    ------
    ValueError, OSError
        If no model fits, with what there is; or no recording can be read.
    """
    from spatial_brain.inference.pretrained.choice import choose_model

    live = info is not None
    info = info or first_recording(args.recordings)
    choice = choose_model(
        command,
        info.path,
        len(args.channels) if args.channels else info.num_channels,
        info.fs,
        spacing,
        resample=args.resample or live,
    )
    args.resample = args.resample or choice.resample
    write_line(
        f"{args.prog}: takes the shipped model {choice.name}: {choice.reason}",
        sys.stderr,
    )
    return choice.name
