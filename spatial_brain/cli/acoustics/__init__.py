"""Estimate the acoustics of the room in which one or two microphones recorded.

Without --model the shipped one is used, which estimates several quantities with
intervals. A model of your own does the same, or estimates one quantity of two
microphones (T60, DRR, C50, absorption, TDOA, ...); give several to have all
estimates beside each other. With --impulse-response the recording is a measured
response instead, whose parameters need no model. Formats of --output: csv (a
line a window, or an octave of a response) and json.
"""

from spatial_brain.cli.acoustics import impulse_response
from spatial_brain.cli.acoustics.estimates import (
    format_estimates,
    table_rows,
)
from spatial_brain.cli.models.choice import choose_shipped
from spatial_brain.cli.options import (
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
# A recording is taken for a response of a room, not for speech, if it is no
# longer and such a share of its energy lies within a burst.
_LONGEST_RESPONSE, _BURST, _SHARE = 30.0, 0.15, 0.9  # s, s


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

    is_chosen = not args.model
    if is_chosen:
        args.model = [_shipped(args)]
    estimators = [
        load_model(RoomAcousticsEstimator, args, model) for model in args.model
    ]

    def estimate(path, files):
        if is_chosen:
            _refuse_response(path, args.model[0])
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
        text = "\n".join([format_estimates(found, args.spacing), *written])
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


def _refuse_response(path, model):
    """Refuse a recording that is a response or a clap rather than speech."""
    from spatial_brain.dataio.audio import audio_info, read_audio

    info = audio_info(path)
    if info.num_samples > _LONGEST_RESPONSE * info.fs:
        return
    signal, fs = read_audio(path)
    energy = signal.double().square().sum(1).cumsum(0)
    burst = round(_BURST * fs)
    if len(energy) <= burst or energy[-1] == 0:
        return
    share = float((energy[burst:] - energy[:-burst]).max() / energy[-1])
    if share > _SHARE:
        raise ValueError(
            f"{path}: {share:.0%} of its energy are within {_BURST:g} s, as of "
            "a measured response; --impulse-response (--clap) measures it, "
            f"--model {model} takes it as speech"
        )


def _write(args, found, files, form, content):
    """Write the files that are asked for; a line for each."""
    lines = []
    if files["output"]:
        from spatial_brain.dataio.files import write_json, write_table

        if form == "json":
            write_json(files["output"], content)
        else:
            write_table(
                files["output"], table_rows(args.model, found, args.spacing)
            )
        lines.append(f"values: {files['output']}")
    if files["picture"]:
        from spatial_brain.reporting.plots import save_figure
        from spatial_brain.reporting.room_acoustics import tracks_over_time

        figure = tracks_over_time(found, spacing=args.spacing)
        save_figure(figure, files["picture"])
        lines.append(f"picture: {files['picture']}")
    return ["", *lines] if lines else []
