"""Tell the acoustics of the room in which two microphones recorded.

Each model answers one question (T60, DRR, C50, absorption, TDOA, ...); give
several to have all answers beside each other.
"""

import argparse
import json
import math

HELP = "acoustics of the room of a two-channel recording"
# More windows are in --json and in the picture.
MAX_LINES = 30


def add_arguments(parser):
    """Add the options of this sub-command.

    Arguments
    ---------
    parser : argparse.ArgumentParser
        Receives them.
    """
    parser.add_argument("recording", help="audio file of two microphones")
    parser.add_argument(
        "--model",
        required=True,
        nargs="+",
        action="extend",
        metavar="RUN",
        help="pretrained folders, output folders of runs, or hub ids",
    )
    parser.add_argument(
        "--json", action="store_true", help="print one JSON object instead"
    )
    parser.add_argument("--picture", help="draw the values over time (png)")
    parser.add_argument(
        "--spacing",
        type=float,
        metavar="METRES",
        help="distance of the microphones: TDOA tells the direction, too",
    )
    parser.add_argument(
        "--resample", action="store_true", help="convert another sampling rate"
    )
    parser.add_argument(
        "--channels",
        type=_pair,
        metavar="0,1",
        help="which two channels to use, from 0",
    )
    parser.add_argument(
        "--hop",
        type=float,
        help="seconds from one window to the next (model's default)",
    )
    parser.add_argument("--device", help="cpu, cuda:0, ... (default: a guess)")


def _pair(text):
    """Parse ``0,3`` into two channel numbers."""
    try:
        first, second = (int(part) for part in text.split(","))
    except ValueError as error:
        raise argparse.ArgumentTypeError(
            f"'{text}' is no pair of channels such as 0,3"
        ) from error
    return [first, second]


def run(args):
    """Estimate the acoustics and print what was found.

    Arguments
    ---------
    args : argparse.Namespace
        ``recording, model, json, picture, spacing, resample, channels, hop,
        device``.
    """
    from spatial_brain.cli.locate import check_device
    from spatial_brain.inference.room_acoustics import RoomAcousticsEstimator

    run_opts = {"device": check_device(args.device)} if args.device else None
    found = []
    for model in args.model:
        estimator = RoomAcousticsEstimator.from_hparams(
            model, run_opts=run_opts
        )
        found.append(
            estimator.estimate_file(
                args.recording,
                channels=args.channels,
                resample=args.resample,
                hop_length=args.hop,
            )
        )
    if args.picture:
        from spatial_brain.reporting.plots import save_figure
        from spatial_brain.reporting.room_acoustics import tracks_over_time

        figure = tracks_over_time(found, spacing=args.spacing)
        save_figure(figure, args.picture)
    if args.json:
        answers = [
            {"model": str(model), **one.to_dict(args.spacing)}
            for model, one in zip(args.model, found, strict=True)
        ]
        print(json.dumps({"estimates": answers}, allow_nan=False))
        return
    print(format_acoustics(found, args.spacing))
    if args.picture:
        print(f"\npicture: {args.picture}")


def format_acoustics(found, spacing=None):
    """Acoustics as text: medians and quartiles, then the windows.

    Arguments
    ---------
    found : list of spatial_brain.inference.room_acoustics.RoomAcoustics
        Of one recording, one a model.
    spacing : float, optional
        Distance of the microphones, metres.

    Returns
    -------
    str
        Lines without a final line break.

    Example
    -------
    >>> import numpy as np
    >>> from spatial_brain.inference.room_acoustics import RoomAcoustics
    >>> print(format_acoustics([RoomAcoustics(
    ...     "a.wav", "T60", 6.0, 16000, np.array([0.0, 2.0]),
    ...     np.array([4.0, 6.0]), np.array([0.5, 0.6]))]))
    a.wav: 6.0 s
    <BLANKLINE>
                     median          quartiles  windows
    T60, s            0.550      0.525 - 0.575        2
    <BLANKLINE>
             time, s         T60, s
        0.0 -    4.0          0.500
        2.0 -    6.0          0.600
    """
    lines = [f"{found[0].path}: {found[0].duration:.1f} s", ""]
    lines.append(f"{'':15}{'median':>8}{'quartiles':>19}{'windows':>9}")
    for one in found:
        for track in one.tracks(spacing):
            low, high = (f"{v:.{track.digits}f}" for v in track.quartiles)
            lines.append(
                f"{_head(track):15}{track.median:8.{track.digits}f}"
                f"{f'{low} - {high}':>19}{(~one.silent).sum():9d}"
            )
    # Models which hear windows of the same length share a table.
    grids = {}
    for one in found:
        key = (tuple(one.starts), tuple(one.stops))
        grids.setdefault(key, []).append(one)
    for group in grids.values():
        if len(group[0].starts) > 1:
            lines += ["", *_window_lines(group, spacing)]
    return "\n".join(lines)


def _head(track):
    """Name of a track with its unit."""
    return f"{track.name}, {track.unit}" if track.unit else track.name


def _window_lines(group, spacing):
    """One line a window with the value of each track."""
    tracks = [track for one in group for track in one.tracks(spacing)]
    heads = "".join(f"{_head(track):>15}" for track in tracks)
    lines = [f"{'time, s':>16}{heads}"]
    windows = list(zip(group[0].starts, group[0].stops, strict=True))
    for index, (start, stop) in enumerate(windows[:MAX_LINES]):
        told = "".join(_cell(track, index) for track in tracks)
        lines.append(f"{start:7.1f} -{stop:7.1f}{told}")
    left = len(windows) - MAX_LINES
    if left > 0:
        lines.append(f"... and {left} more windows (--json shows all)")
    return lines


def _cell(track, index):
    """Value of a track in one window."""
    value = track.values[index]
    told = "silent" if math.isnan(value) else f"{value:.{track.digits}f}"
    return f"{told:>15}"
