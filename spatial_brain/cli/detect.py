"""Tell which sound events a recording holds, when, and from where."""

import json
import sys
import warnings

HELP = "sound events in a recording, with their directions"
# More events are in --json, in the CSV file and in the picture.
MAX_LINES = 30
DEFAULT_FORMAT = "dcase2021"
# Answers to the challenge of 2023 lack the distances that its annotations have.
_ANSWERS = {"starss23": "starss22"}


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
    parser.add_argument(
        "--model",
        required=True,
        help="pretrained folder, output folder of a run, or hub id",
    )
    parser.add_argument("--output", help="write the events here (csv)")
    parser.add_argument(
        "--format",
        default=DEFAULT_FORMAT,
        metavar="NAME",
        help=f"of the CSV file: {DEFAULT_FORMAT} (the default), starss23, "
        "polar4, cartesian6, ...",
    )
    parser.add_argument(
        "--json", action="store_true", help="print one JSON object instead"
    )
    parser.add_argument("--picture", help="draw the directions over time (png)")
    parser.add_argument(
        "--threshold", type=float, help="least activity (model's default)"
    )
    parser.add_argument(
        "--hop",
        type=float,
        help="seconds from one chunk to the next; smaller: smoother, slower",
    )
    parser.add_argument(
        "--resample", action="store_true", help="convert another sampling rate"
    )
    parser.add_argument(
        "--channel-order",
        default="WYZX",
        metavar="WYZX",
        help="of the file's Ambisonics channels; FuMa: W, X, Y, Z with W "
        "3 dB lower",
    )
    parser.add_argument("--device", help="cpu, cuda:0, ... (default: a guess)")


def run(args):
    """Detect the events and print what was found.

    Arguments
    ---------
    args : argparse.Namespace
        ``recording, model, output, format, json, picture, threshold, hop,
        resample, channel_order, device``.
    """
    from spatial_brain.cli.locate import check_device
    from spatial_brain.dataio.annotations import write_events
    from spatial_brain.dataio.events import sound_events
    from spatial_brain.inference.recordings import RecordingWarning
    from spatial_brain.inference.seld_detector import SELDetector

    dialect = output_dialect(args.format)
    run_opts = {"device": check_device(args.device)} if args.device else None
    detector = SELDetector.from_hparams(args.model, run_opts=run_opts)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", RecordingWarning)
        table = detector.detect_file(
            args.recording,
            threshold=args.threshold,
            hop=args.hop,
            resample=args.resample,
            channel_order=args.channel_order,
        )
    for warning in caught:
        if issubclass(warning.category, RecordingWarning):
            print(f"{args.prog}: warning: {warning.message}", file=sys.stderr)
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
        print(json.dumps(to_dict(args.recording, duration, events, names)))
        return
    print(format_events(args.recording, duration, events, names))
    for what, path in (("events", args.output), ("picture", args.picture)):
        if path:
            print(f"{what}: {path}")


def output_dialect(name):
    """How to write events of which only the direction is known.

    Arguments
    ---------
    name : str
        Key of ``spatial_brain.dataio.annotations.DIALECTS``.

    Returns
    -------
    str
        The same, or that of the challenge's answers.

    Raises
    ------
    ValueError
        If there is no such format or it needs distances.

    Example
    -------
    >>> output_dialect("dcase2021"), output_dialect("starss23")
    ('dcase2021', 'starss22')
    >>> output_dialect("dcase2024")
    Traceback (most recent call last):
    ...
    ValueError: --format dcase2024 holds distances, which are not ...
    """
    from spatial_brain.dataio.annotations import DIALECTS

    fit = [
        key
        for key, value in DIALECTS.items()
        if key in _ANSWERS
        or not {"distance", "mids"} & {*value.columns}
        and not value.positions
    ]
    if name in fit:
        return _ANSWERS.get(name, name)
    problem = (
        f"--format {name} holds distances, which are not detected"
        if name in DIALECTS
        else f"--format {name} is not known"
    )
    raise ValueError(f"{problem}; use one of {', '.join(fit)}")


def to_dict(recording, duration, events, class_names):
    """What was found as plain values for JSON.

    Arguments
    ---------
    recording : str
        Path of the file.
    duration : float
        Seconds.
    events : list of spatial_brain.dataio.events.SoundEvent
        By start.
    class_names : sequence of str
        By class index.

    Returns
    -------
    dict
        ``path, duration, events``; an event has ``class, label, start, stop,
        azimuth, elevation``.

    Example
    -------
    >>> to_dict("a.wav", 2.0, [], ["bell"])
    {'path': 'a.wav', 'duration': 2.0, 'events': []}
    """
    return {
        "path": str(recording),
        "duration": duration,
        "events": [
            {"class": class_names[event.label], **event._asdict()}
            for event in events
        ],
    }


def format_events(recording, duration, events, class_names):
    """Events as text: a summary, then one line each.

    Arguments
    ---------
    recording : str
        Path of the file.
    duration : float
        Seconds.
    events : list of spatial_brain.dataio.events.SoundEvent
        By start.
    class_names : sequence of str
        By class index.

    Returns
    -------
    str
        Lines without a final line break.

    Example
    -------
    >>> from spatial_brain.dataio.events import SoundEvent
    >>> found = [SoundEvent(0, 0.5, 1.2, 30.04, -10.0)]
    >>> print(format_events("a.wav", 2.0, found, ["bell"]))
    a.wav: 2.0 s, 1 event
    <BLANKLINE>
    class       time, s    azimuth  elevation
    bell     0.5 -   1.2     30.0°     -10.0°
    """
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
