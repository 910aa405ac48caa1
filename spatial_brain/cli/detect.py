"""Detect the sound events of recordings: what, when, and from where.

    spatial-brain detect scene.wav --model results/mini/2 --output scene.csv
    spatial-brain detect scenes/ --model results/mini/2 --output events/ \\
        --format rttm
    spatial-brain detect --live --model results/mini/2 --output events.csv

Formats of --output: dcase (that of the challenge of 2021, for other years
dcase2019, starss23, polar4, ...), csv (a line an event), json and rttm, which
has no field for directions; of live sound dcase (2021), csv and jsonl (a JSON
object where an event begins, and one where it ends).
"""

from pathlib import Path

from spatial_brain.cli.live import (
    add_live,
    open_input,
    run_live,
    wants_live,
)
from spatial_brain.cli.models.choice import choose_shipped
from spatial_brain.cli.options import (
    MAX_LINES,
    add_model_options,
    add_option,
    card_content,
    load_model,
)
from spatial_brain.cli.recordings import (
    Result,
    add_recordings,
    may_be_several,
    process_recordings,
    shows_progress,
)
from spatial_brain.cli.recordings.outputs import Output, choose_format

HELP = "sound events in a recording, with their directions"
_DCASE = "dcase2021"
# Beside the dialects of the challenges, which are CSV files.
_FORMATS = {"dcase": ".csv", "json": ".json", "rttm": ".rttm", "csv": ".csv"}
# Predictions for the challenge of 2023 lack the distances of its annotations.
_PREDICTED = {"starss23": "starss22"}


def add_arguments(parser):
    """Add the options of this sub-command.

    Arguments
    ---------
    parser : argparse.ArgumentParser
        Receives them.
    """
    add_recordings(
        parser, "audio files of four channels (FOA or an array)", needed=False
    )
    add_live(parser)
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
        "--delay",
        type=float,
        metavar="SECONDS",
        help="of live sound, what a model that is not causal waits for; less: "
        "sooner, rougher (default: all that it can use)",
    )
    parser.add_argument(
        "--threshold", type=float, help="least activity (default: the model's)"
    )
    add_option(
        parser,
        "--output",
        help="write the events here (.csv, .json, .rttm); of several "
        "recordings a folder",
    )
    parser.add_argument(
        "--format",
        metavar="NAME",
        help="of --output, see above (default: by its suffix; .csv: dcase)",
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
    from spatial_brain.cli.live.events import FORMATS as LIVE_FORMATS
    from spatial_brain.dataio.audio import audio_info
    from spatial_brain.dataio.events import sound_events
    from spatial_brain.inference.seld_detector import SELDetector

    live = None
    if wants_live(args, ("picture", "resample")):
        form = choose_format(args, LIVE_FORMATS, several=False)
        live = open_input(args)
    else:
        form, ending = _output_format(args)
        if args.delay is not None:
            raise ValueError("--delay needs --live")
    if args.model is None:
        args.model = choose_shipped(args, "detect", info=live and live.info)
    detector = load_model(SELDetector, args)
    names = detector.hparams.class_names
    if live:
        _detect_live(args, live, detector, form)
        return

    def detect(path, files):
        table = detector.detect_file(
            path,
            threshold=args.threshold,
            hop=args.hop,
            resample=args.resample,
            channel_order=args.channel_order,
            channels=args.channels,
            show_progress=shows_progress(),
        )
        duration = audio_info(path).duration
        # The last frame may reach beyond the end.
        events = [
            event._replace(stop=min(event.stop, duration))
            for event in sound_events(table)
        ]
        content = _to_dict(path, duration, events, names)
        content["card"] = card_content(detector)
        if files["output"]:
            _write(files["output"], form, table, content)
        if files["picture"]:
            _draw(files["picture"], table, names)
        text = _format_events(path, duration, events, names)
        lines = [f"events: {files['output']}"] if files["output"] else []
        lines += [f"picture: {files['picture']}"] if files["picture"] else []
        return Result(content, "\n".join([text, *lines]))

    outputs = {
        "output": Output("--output", args.output, (ending,)),
        "picture": Output("--picture", args.picture, (".png",)),
    }
    process_recordings(args, detect, outputs)


def _detect_live(args, live, detector, form):
    """Detect in live sound."""
    from spatial_brain.cli.live.events import EventView
    from spatial_brain.inference.array_checks import LEVELS_OF_ANY

    options = {
        "threshold": args.threshold,
        "hop": args.hop,
        "delay": args.delay,
        "channel_order": args.channel_order,
    }
    foa = detector.hparams.array_format == "foa"
    view = EventView(
        form, detector.hparams.class_names, LEVELS_OF_ANY if foa else None
    )
    run_live(args, live, detector, options, view)


def _write(path, form, table, content):
    """Write the events in a format."""
    from spatial_brain.dataio.annotations import write_events
    from spatial_brain.dataio.files import write_json
    from spatial_brain.inference.segments import (
        Segment,
        write_rttm,
        write_segments,
    )

    if form == "json":
        write_json(path, content)
        return
    if form not in _FORMATS:
        write_events(path, table, form)
        return
    segments = [
        Segment(
            event["start"],
            event["stop"],
            event["class"],
            event["azimuth"],
            event["elevation"],
        )
        for event in content["events"]
    ]
    if form == "rttm":
        write_rttm(path, segments, Path(content["path"]).stem)
    else:
        write_segments(path, segments)


def _draw(path, table, names):
    """Draw the directions of the events over time."""
    from spatial_brain.reporting.plots import save_figure
    from spatial_brain.reporting.seld import event_trajectories

    save_figure(event_trajectories(table, class_names=names), path)


def _output_format(args):
    """Format of ``--output``, one of ours or a dialect, and its suffix."""
    from spatial_brain.dataio.annotations import DIALECTS

    fit = [
        key
        for key, value in DIALECTS.items()
        if key in _PREDICTED
        or not {"distance", "mids"} & {*value.columns}
        and not value.positions
    ]
    known = {**_FORMATS, **dict.fromkeys(fit, ".csv")}
    if args.format in DIALECTS and args.format not in fit:
        raise ValueError(
            f"--format {args.format} holds distances, which are not detected; "
            f"use one of {', '.join(known)}"
        )
    name = choose_format(args, known, may_be_several(args.recordings))
    form = _DCASE if name == "dcase" else _PREDICTED.get(name, name)
    return form, known[name]


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
