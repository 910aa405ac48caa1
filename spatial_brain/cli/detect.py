"""Detect the sound events of a recording: what, when, and from where."""

import json

from spatial_brain.cli.options import (
    MAX_LINES,
    add_model_options,
    add_option,
    load_model,
    one_line_warnings,
)

HELP = "sound events in a recording, with their directions"
DEFAULT_FORMAT = "dcase2021"
# Predictions for the challenge of 2023 lack the distances of its annotations.
_PREDICTED = {"starss23": "starss22"}


def add_arguments(parser):
    """Add the options of this sub-command.

    Arguments
    ---------
    parser : argparse.ArgumentParser
        Receives them.
    """
    parser.add_argument(
        "recording", help="audio file with four channels (FOA or an array)"
    )
    add_model_options(parser)
    add_option(parser, "--channels", metavar="0,1,2,3")
    parser.add_argument(
        "--channel-order",
        default="acn-sn3d",
        metavar="NAME",
        help="of the file's Ambisonics channels: acn-sn3d (default), acn-n3d, "
        "fuma, or letters such as WXYZ",
    )
    add_option(parser, "--resample")
    add_option(
        parser,
        "--hop",
        help="seconds from one chunk to the next; smaller: smoother, slower",
    )
    parser.add_argument(
        "--threshold", type=float, help="least activity (default: the model's)"
    )
    add_option(parser, "--output", help="write the events here (csv)")
    parser.add_argument(
        "--format",
        default=DEFAULT_FORMAT,
        metavar="NAME",
        help=f"of the CSV file: {DEFAULT_FORMAT} (the default), starss23, "
        "polar4, cartesian6, ...",
    )
    add_option(parser, "--json")
    add_option(parser, "--picture", help="draw the directions over time (png)")


def run(args):
    """Detect the events and print them.

    Arguments
    ---------
    args : argparse.Namespace
        What ``add_arguments`` adds.
    """
    from spatial_brain.dataio.annotations import write_events
    from spatial_brain.dataio.events import sound_events
    from spatial_brain.inference.seld_detector import SELDetector

    dialect = _output_dialect(args.format)
    detector = load_model(SELDetector, args)
    with one_line_warnings(args.prog):
        table = detector.detect_file(
            args.recording,
            threshold=args.threshold,
            hop=args.hop,
            resample=args.resample,
            channel_order=args.channel_order,
            channels=args.channels,
        )
    names = detector.hparams.class_names
    if args.output:
        write_events(args.output, table, dialect)
    if args.picture:
        from spatial_brain.reporting.plots import save_figure
        from spatial_brain.reporting.seld import event_trajectories

        save_figure(event_trajectories(table, class_names=names), args.picture)
    events = sound_events(table)
    duration = table.num_frames / 10
    if args.json:
        print(json.dumps(_to_dict(args.recording, duration, events, names)))
        return
    print(_format_events(args.recording, duration, events, names))
    for what, path in (("events", args.output), ("picture", args.picture)):
        if path:
            print(f"{what}: {path}")


def _output_dialect(name):
    """Key of DIALECTS with which to write events that have no distance."""
    from spatial_brain.dataio.annotations import DIALECTS

    fit = [
        key
        for key, value in DIALECTS.items()
        if key in _PREDICTED
        or not {"distance", "mids"} & {*value.columns}
        and not value.positions
    ]
    if name in fit:
        return _PREDICTED.get(name, name)
    problem = (
        f"--format {name} holds distances, which are not detected"
        if name in DIALECTS
        else f"--format {name} is not known"
    )
    raise ValueError(f"{problem}; use one of {', '.join(fit)}")


def _to_dict(recording, duration, events, class_names):
    """The events as plain values for JSON."""
    return {
        "path": str(recording),
        "duration": duration,
        "events": [
            {"class": class_names[event.label], **event._asdict()}
            for event in events
        ],
    }


def _format_events(recording, duration, events, class_names):
    """Events as text: a summary, then one line each."""
    number = len(events)
    lines = [
        f"{recording}: {duration:.1f} s, {number} "
        f"event{'' if number == 1 else 's'}"
    ]
    if not events:
        return lines[0]
    shown = events[:MAX_LINES]
    names = [str(class_names[event.label]) for event in shown]
    width = max(len("class"), *map(len, names))
    lines += ["", f"{'class':{width}}{'time, s':>14}{'azimuth':>11}  elevation"]
    for name, event in zip(names, shown, strict=True):
        lines.append(
            f"{name:{width}}{event.start:7.1f} -{event.stop:6.1f}"
            f"{event.azimuth:9.1f}°{event.elevation:10.1f}°"
        )
    if number > MAX_LINES:
        lines.append(
            f"... and {number - MAX_LINES} more (--json or --output: all)"
        )
    return "\n".join(lines)
