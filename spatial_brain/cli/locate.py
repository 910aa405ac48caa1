"""Locate the talkers of a recording, window by window."""

import json
import math

from spatial_brain.cli.options import (
    MAX_LINES,
    add_model_options,
    add_option,
    load_model,
    one_line_warnings,
)

HELP = "directions of the talkers in a recording"


def add_arguments(parser):
    """Add the options of this sub-command.

    Arguments
    ---------
    parser : argparse.ArgumentParser
        Receives them.
    """
    parser.add_argument("recording", help="audio file, a channel a microphone")
    add_model_options(parser)
    for name in ("--channels", "--resample", "--window", "--hop", "--json"):
        add_option(parser, name)
    add_option(parser, "--picture", help="draw the directions over time (png)")


def run(args):
    """Locate the talkers and print their directions.

    Arguments
    ---------
    args : argparse.Namespace
        What ``add_arguments`` adds.
    """
    from spatial_brain.inference.localizer import SoundLocalizer

    localizer = load_model(SoundLocalizer, args)
    with one_line_warnings(args.prog):
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
        print(_format_directions(found))
        if args.picture:
            print(f"\npicture: {args.picture}")


def _format_directions(found):
    """Directions as text: a summary, then the windows."""
    from spatial_brain.inference.localizer import MEANINGS

    count = len(found.starts)
    lines = [
        f"{found.path}: {found.duration:.1f} s, {count} "
        f"window{'s' if count > 1 else ''}; {MEANINGS[found.target]}",
        "",
        "talker  direction  spread  confidence",
    ]
    for index, talker in enumerate(found.talkers):
        lines.append(
            f"{index + 1:6d}{_degrees(talker['direction']):>11}"
            f"{_degrees(talker['spread']):>8}{talker['confidence']:12.2f}"
        )
    if count > 1:
        lines += ["", *_window_lines(found)]
    return "\n".join(lines)


def _degrees(value):
    """An angle, or a dash without one."""
    return "-" if value is None or math.isnan(value) else f"{value:.1f}°"


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
        cells = (
            f"{'silent':>12}"
            if silent
            else "".join(f"{angle:11.1f}°" for angle in directions)
        )
        lines.append(f"{start:7.1f} -{stop:7.1f}{cells}")
    left = len(found.starts) - MAX_LINES
    if left > 0:
        lines.append(f"... and {left} more windows (--json shows all)")
    return lines
