"""Estimate the acoustics of the room in which two microphones recorded.

Without --model the shipped one is used. Each model of your own estimates one
quantity (T60, DRR, C50, absorption, TDOA, ...); give several to have all
estimates beside each other. With --impulse-response the
recording is a measured response instead, whose parameters need no model.
Formats of --output: csv (a line a window, or an octave of a response) and
json.
"""

import math

from spatial_brain.cli.acoustics import impulse_response
from spatial_brain.cli.models.choice import choose_shipped
from spatial_brain.cli.options import (
    MAX_LINES,
    add_model_options,
    add_option,
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

HELP = "acoustics of a room, from a recording or an impulse response"
_FORMATS = {"csv": ".csv", "json": ".json"}


def add_arguments(parser):
    """Add the options of this sub-command.

    Arguments
    ---------
    parser : argparse.ArgumentParser
        Receives them.
    """
    add_recordings(parser, "audio files")
    add_model_options(
        parser,
        nargs="+",
        action="extend",
        metavar="RUN",
        help="names of shipped models, pretrained folders, output folders of "
        "runs, or hub ids (default: the shipped model that fits)",
    )
    for name in ("--channels", "--resample", "--hop", "--json"):
        add_option(parser, name)
    add_option(parser, "--picture", help="draw the values over time (png)")
    add_option(
        parser,
        "--output",
        help="write the values here (.csv, .json); of several recordings a "
        "folder",
    )
    parser.add_argument(
        "--format",
        metavar="NAME",
        help="of --output: csv or json (default: by its suffix; csv)",
    )
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
    form = choose_format(args, _FORMATS, may_be_several(args.recordings))
    process = (
        impulse_response.measurement(args, form)
        if impulse_response.is_asked(args)
        else _by_models(args, form)
    )
    endings = {"output": _FORMATS[form], "picture": ".png", "csv": ".csv"}
    outputs = {
        name: Output(f"--{name}", getattr(args, name), (ending,))
        for name, ending in endings.items()
    }
    process_recordings(args, process, outputs)


def _by_models(args, form):
    """What estimates the acoustics of a recording: trained networks."""
    if args.csv:
        raise ValueError(
            "--csv is for a measured response; --output FILE.csv writes what "
            "models estimate"
        )
    from spatial_brain.inference.room_acoustics import RoomAcousticsEstimator

    if not args.model:
        args.model = [_shipped(args)]
    estimators = [
        load_model(RoomAcousticsEstimator, args, model) for model in args.model
    ]

    def estimate(path, files):
        found = [
            estimator.estimate_file(
                path,
                channels=args.channels,
                resample=args.resample,
                hop_length=args.hop,
                spacing=args.spacing,
                show_progress=shows_progress(),
            )
            for estimator in estimators
        ]
        estimates = [
            {"model": str(model), **one.to_dict(args.spacing)}
            for model, one in zip(args.model, found, strict=True)
        ]
        content = {"path": path, "estimates": estimates}
        written = _write(args, found, files, form, content)
        text = "\n".join([_format_acoustics(found, args.spacing), *written])
        return Result(content, text)

    return estimate


def _shipped(args):
    """Name of the shipped model that fits."""
    try:
        return choose_shipped(args, "acoustics", args.spacing)
    except ValueError as error:
        raise ValueError(
            f"{error}, or --impulse-response for a measured response (--sweep, "
            "--clap for what makes one)"
        ) from error


def _write(args, found, files, form, content):
    """Write the files that are asked for; a line for each."""
    lines = []
    if files["output"]:
        from spatial_brain.dataio.files import write_json, write_table

        if form == "json":
            write_json(files["output"], content)
        else:
            write_table(files["output"], _rows(args, found))
        lines.append(f"values: {files['output']}")
    if files["picture"]:
        from spatial_brain.reporting.plots import save_figure
        from spatial_brain.reporting.room_acoustics import tracks_over_time

        figure = tracks_over_time(found, spacing=args.spacing)
        save_figure(figure, files["picture"])
        lines.append(f"picture: {files['picture']}")
    return ["", *lines] if lines else []


def _rows(args, found):
    """A row a model, quantity and window; silent windows have no value."""
    return [
        {
            "start": f"{start:.3f}",
            "stop": f"{stop:.3f}",
            "quantity": track.name,
            "unit": track.unit,
            "value": "" if math.isnan(value) else float(value),
            "model": model,
        }
        for model, one in zip(args.model, found, strict=True)
        for track in one.tracks(args.spacing)
        for start, stop, value in zip(
            one.starts, one.stops, track.values, strict=True
        )
    ]


def _format_acoustics(found, spacing):
    """Acoustics as text: medians and quartiles, then the windows."""
    lines = [f"{found[0].path}: {found[0].duration:.1f} s", ""]
    lines += _medians(found, spacing)
    lines += ["", "quartiles are the spread over windows, not the error"]
    lines += [f"{one.task}: {_worth(one)}" for one in found]
    # Models with the same windows share a table.
    grids = {}
    for one in found:
        key = (tuple(one.starts), tuple(one.stops))
        grids.setdefault(key, []).append(one)
    for group in grids.values():
        if len(group[0].starts) > 1:
            lines += ["", *_window_lines(group, spacing)]
    return "\n".join(lines)


def _medians(found, spacing):
    """A line a quantity: median, quartiles, and the error of the model."""
    head = f"{'':15}{'median':>8}{'quartiles':>19}{'windows':>9}"
    lines = [f"{head}{'test error':>12}"]
    for one in found:
        for index, track in enumerate(one.tracks(spacing)):
            number = (~one.silent).sum()
            low, high = (_text(track, value) for value in track.quartiles)
            quartiles = f"{low} - {high}" if number else ""
            # What follows from a quantity has no error of its own.
            error = one.test_error if index == 0 else None
            error = "-" if error is None else _text(track, error.value)
            lines.append(
                f"{_head(track):15}{_text(track, track.median):>8}"
                f"{quartiles:>19}{number:9d}{error:>12}"
            )
    return lines


def _worth(found):
    """What an estimate is worth: the error of the model on its test set."""
    error, card = found.test_error, found.card
    if error is None:
        published = card is not None and card.published
        known = f"; published: {published}" if published else ""
        return f"error not known{known}"
    if error.beats_constant is False:
        return (
            f"this model does not beat a constant ({error.constant:.3g}): its "
            f"estimates say nothing; {error}"
        )
    return f"on the model's test set: {error}"


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
