"""Tell from which directions the talkers of a recording speak."""

import argparse
import json

HELP = "directions of the talkers in a recording"
# More windows are in --json and in the picture.
MAX_LINES = 30


def add_arguments(parser):
    """Add the options of this sub-command.

    Arguments
    ---------
    parser : argparse.ArgumentParser
        Receives them.
    """
    parser.add_argument("recording", help="audio file, a channel a microphone")
    parser.add_argument(
        "--model",
        required=True,
        help="pretrained folder, output folder of a run, or hub id",
    )
    parser.add_argument(
        "--json", action="store_true", help="print one JSON object instead"
    )
    parser.add_argument("--picture", help="draw the directions over time (png)")
    parser.add_argument(
        "--resample", action="store_true", help="convert another sampling rate"
    )
    parser.add_argument(
        "--channels",
        type=_channels,
        metavar="0,1",
        help="channels to use, from 0, in the order of the microphones",
    )
    parser.add_argument(
        "--window", type=float, help="seconds heard at once (model's default)"
    )
    parser.add_argument(
        "--hop", type=float, help="seconds from one window to the next"
    )
    parser.add_argument("--device", help="cpu, cuda:0, ... (default: a guess)")


def _channels(text):
    """Parse ``0,3`` into channel numbers."""
    try:
        return [int(part) for part in text.split(",")]
    except ValueError as error:
        raise argparse.ArgumentTypeError(
            f"'{text}' is no list of channels such as 0,3"
        ) from error


def run(args):
    """Locate the talkers and print what was found.

    Arguments
    ---------
    args : argparse.Namespace
        ``recording, model, json, picture, resample, channels, window, hop,
        device``.
    """
    from spatial_brain.inference.localizer import SoundLocalizer

    run_opts = {"device": check_device(args.device)} if args.device else None
    localizer = SoundLocalizer.from_hparams(args.model, run_opts=run_opts)
    found = localizer.localize_file(
        args.recording,
        channels=args.channels,
        resample=args.resample,
        window_length=args.window,
        hop_length=args.hop,
    )
    if args.picture:
        from spatial_brain.reporting.localization import direction_trajectory
        from spatial_brain.reporting.plots import save_figure

        save_figure(direction_trajectory(found), args.picture)
    if args.json:
        print(json.dumps(found.to_dict(), allow_nan=False))
    else:
        print(format_directions(found))
        if args.picture:
            print(f"\npicture: {args.picture}")


def check_device(name):
    """Check the name of a device before a network is moved to it.

    Arguments
    ---------
    name : str
        Such as ``"cpu"`` or ``"cuda:1"``; ``"cuda"`` is the first GPU.

    Returns
    -------
    str
        Name with its index.

    Raises
    ------
    ValueError
        If there is no such device here.

    Example
    -------
    >>> check_device("gpu")
    Traceback (most recent call last):
    ...
    ValueError: no device 'gpu' here; use cpu...
    """
    import torch

    gpus = [f"cuda:{index}" for index in range(torch.cuda.device_count())]
    wanted = "cuda:0" if name == "cuda" else name
    if wanted not in ["cpu", *gpus]:
        raise ValueError(
            f"no device '{name}' here; use " + ", ".join(["cpu", *gpus])
        )
    return wanted


def format_directions(found):
    """Directions as text: a summary, then the windows.

    Arguments
    ---------
    found : spatial_brain.inference.localizer.Localization
        Result of ``localize_file``.

    Returns
    -------
    str
        Lines without a final line break.

    Example
    -------
    >>> import numpy as np
    >>> from spatial_brain.inference.localizer import Localization
    >>> print(format_directions(Localization(
    ...     "a.wav", "cone", 3.0, np.array([0.0]), np.array([3.0]),
    ...     np.array([[40.0, 120.0]]), np.array([[0.9, 0.5]]))))
    a.wav: 3.0 s, 1 window; angle from the +x axis of the array
    <BLANKLINE>
    talker  direction  spread  confidence
         1      40.0°       -        0.90
         2     120.0°       -        0.50
    """
    from spatial_brain.inference.localizer import MEANINGS

    count = len(found.starts)
    lines = [
        f"{found.path}: {found.duration:.1f} s, {count} "
        f"window{'s' if count > 1 else ''}; {MEANINGS[found.target]}",
        "",
        "talker  direction  spread  confidence",
    ]
    for index, talker in enumerate(found.talkers):
        spread = talker["spread"]
        told = "-" if spread is None else f"{spread:.1f}°"
        lines.append(
            f"{index + 1:6d}{talker['direction']:10.1f}°{told:>8}"
            f"{talker['confidence']:12.2f}"
        )
    if count > 1:
        lines += ["", *_window_lines(found)]
    return "\n".join(lines)


def _window_lines(found):
    """One line a window with the direction of each talker."""
    heads = [f"talker {i + 1}" for i in range(found.directions.shape[1])]
    lines = ["         time, s" + "".join(f"{head:>12}" for head in heads)]
    for start, stop, directions, silent in list(
        zip(
            found.starts,
            found.stops,
            found.directions,
            found.silent,
            strict=True,
        )
    )[:MAX_LINES]:
        told = (
            f"{'silent':>12}"
            if silent
            else "".join(f"{angle:11.1f}°" for angle in directions)
        )
        lines.append(f"{start:7.1f} -{stop:7.1f}{told}")
    left = len(found.starts) - MAX_LINES
    if left > 0:
        lines.append(f"... and {left} more windows (--json shows all)")
    return lines
