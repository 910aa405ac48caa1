"""Estimate the acoustics of the room in which two microphones recorded.

Each model estimates one quantity (T60, DRR, C50, absorption, TDOA, ...); give
several to have all estimates beside each other. With --impulse-response the
recording is a measured response instead, whose parameters need no model.
"""

import json
import math

from spatial_brain.cli import impulse_response
from spatial_brain.cli.options import (
    MAX_LINES,
    add_model_options,
    add_option,
    load_model,
    one_line_warnings,
)

HELP = "acoustics of a room, from a recording or an impulse response"


def add_arguments(parser):
    """Add the options of this sub-command.

    Arguments
    ---------
    parser : argparse.ArgumentParser
        Receives them.
    """
    parser.add_argument("recording", help="audio file")
    add_model_options(
        parser,
        required=False,
        nargs="+",
        action="extend",
        metavar="RUN",
        help="pretrained folders, output folders of runs, or hub ids",
    )
    for name in ("--channels", "--resample", "--hop", "--json"):
        add_option(parser, name)
    add_option(parser, "--picture", help="draw the values over time (png)")
    parser.add_argument(
        "--spacing",
        type=float,
        metavar="METRES",
        help="distance of the microphones, to get the direction from TDOA",
    )
    impulse_response.add_arguments(parser)


def run(args):
    """Estimate the acoustics and print them.

    Arguments
    ---------
    args : argparse.Namespace
        What ``add_arguments`` adds.
    """
    if impulse_response.is_asked(args):
        impulse_response.run(args)
        return
    if not args.model:
        raise ValueError(
            "give --model for a recording of talkers, or --impulse-response "
            "for a measured response (--sweep, --clap for what makes one)"
        )
    from spatial_brain.inference.room_acoustics import RoomAcousticsEstimator

    found = []
    with one_line_warnings(args.prog):
        for model in args.model:
            estimator = load_model(RoomAcousticsEstimator, args, model)
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
        estimates = [
            {"model": str(model), **one.to_dict(args.spacing)}
            for model, one in zip(args.model, found, strict=True)
        ]
        print(json.dumps({"estimates": estimates}, allow_nan=False))
        return
    print(_format_acoustics(found, args.spacing))
    if args.picture:
        print(f"\npicture: {args.picture}")


def _format_acoustics(found, spacing):
    """Acoustics as text: medians and quartiles, then the windows."""
    lines = [f"{found[0].path}: {found[0].duration:.1f} s", ""]
    lines.append(f"{'':15}{'median':>8}{'quartiles':>19}{'windows':>9}")
    for one in found:
        for track in one.tracks(spacing):
            number = (~one.silent).sum()
            low, high = (_text(track, value) for value in track.quartiles)
            quartiles = f"{low} - {high}" if number else ""
            lines.append(
                f"{_head(track):15}{_text(track, track.median):>8}"
                f"{quartiles:>19}{number:9d}"
            )
    # Models with the same windows share a table.
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
        cells = "".join(f"{_text(t, t.values[index]):>15}" for t in tracks)
        lines.append(f"{start:7.1f} -{stop:7.1f}{cells}")
    left = len(windows) - MAX_LINES
    if left > 0:
        lines.append(f"... and {left} more windows (--json shows all)")
    return lines


def _text(track, value):
    """A value of a track."""
    return "silent" if math.isnan(value) else f"{value:.{track.digits}f}"
