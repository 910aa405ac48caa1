"""Directions of the sources of a recording, window by window.

With --array the positions of the microphones are enough: nothing is trained,
any sampling rate and length will do. With --model a trained network is used;
one for any array takes --array as well; with --spacing alone the shipped one
for two microphones.

    spatial-brain locate meeting.wav --array respeaker_4mic
    spatial-brain locate meeting.wav --array my_array.csv --sources 2 --json
    spatial-brain locate scene.wav --array foa
    spatial-brain locate meeting.wav --array respeaker_4mic --method any-array
    spatial-brain locate pair.wav --model results/demo
    spatial-brain locate meetings/ --array uma8 --output who/ --format rttm
    spatial-brain locate --live "USB Audio" --array respeaker_4mic

Formats of --output: csv (a line a window and source), dcase (frames of 100
ms), json, and rttm (a line a stretch of a source; it has no field for
directions); of live sound csv and jsonl (a JSON object a window).
"""

import argparse
import math
from functools import partial
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

HELP = "directions of the sources in a recording"
# Options that need the other of --array and --model.
_ONLY_ARRAY = (
    "method", "sources", "band", "map", "channel_order", "speech_only",
    "distance"
)  # fmt: skip
# Of --output.
_FORMATS = {
    "csv": ".csv", "json": ".json", "rttm": ".rttm", "dcase": ".csv"
}  # fmt: skip
# What live sound has not: it needs the whole.
_ONLY_RECORDED = (
    "distance", "speech_only", "picture", "map", "report", "csv", "dcase"
)  # fmt: skip
_ONLY_MODEL = (
    "resample", "savedir", "device", "num_talkers", "spacing", "positions"
)  # fmt: skip


def add_arguments(parser):
    """Add the options of this sub-command.

    Arguments
    ---------
    parser : argparse.ArgumentParser
        Receives them.
    """
    add = parser.add_argument
    add_recordings(parser, "audio files, a channel a microphone", needed=False)
    add_live(parser)
    add(
        "--array",
        help="name (see spatial-brain arrays), formula such as "
        "circular:6x0.05, or JSON, CSV or SOFA file; foa: Ambisonics",
    )
    add(
        "--method",
        help="of an array: mixture (default), srp-phat, norm-music, "
        "music; of pyroomacoustics, with --sources: cssm, waves, tops, frida; "
        "or a trained model, as --model has it",
    )
    add("--channel-order", metavar="NAME", help="of foa: acn-sn3d (default), "
        "acn-n3d, fuma, or letters such as WXYZ")  # fmt: skip
    add("--sources", type=_number, metavar="N", help="how many (default: auto)")
    add("--band", type=float, nargs=2, metavar=("LOW", "HIGH"),
        help="Hz, of an array (default: 300 5500)")  # fmt: skip
    add("--speech-only", action="store_true", help="leave out windows without "
        "speech, of an array (needs the package webrtcvad-wheels)")  # fmt: skip
    add("--distance", action="store_true", help="how far each source is, "
        "where the array can tell")  # fmt: skip
    add_model_options(parser)
    add("--num-talkers", type=_number, metavar="N", help="at once, of a model "
        "(default: auto)")  # fmt: skip
    add("--spacing", type=float, metavar="METRES", help="of two "
        "microphones; of a model, refused if it is of another")  # fmt: skip
    add("--positions", metavar="ARRAY", help="the same of any array, given as "
        "--array is")  # fmt: skip
    add_option(parser, "--channels", help="channels to use, from 0, in the "
               "order of the microphones")  # fmt: skip
    for name in ("--resample", "--window", "--hop", "--json"):
        add_option(parser, name)
    add_option(parser, "--output", help="write the directions here (.csv, "
               ".json, .rttm); of several recordings a folder")  # fmt: skip
    add("--format", metavar="NAME", help="of --output, see above (default: "
        "by its suffix; csv)")  # fmt: skip
    add("--csv", metavar="FILE", help="as --output, in csv")
    add("--dcase", metavar="FILE", help="as --output, in dcase")
    add_option(parser, "--picture", help="draw the directions over time (png)")
    add("--map", action="store_true", help="draw how strong each direction is")
    add("--report", metavar="FILE", help="write a page with map and sound")


def run(args):
    """Locate the sources and print their directions.

    Arguments
    ---------
    args : argparse.Namespace
        What ``add_arguments`` adds.
    """
    live = open_input(args) if wants_live(args, _ONLY_RECORDED) else None
    if _knows_spacing_alone(args):
        args.model = choose_shipped(
            args, "locate", args.spacing, live and live.info
        )
    any_array = _take_model(args)
    if any_array:
        _check_any_array(args)
    else:
        _check(args)
    if live:
        _locate_live(args, live, any_array)
        return
    form = choose_format(args, _FORMATS, may_be_several(args.recordings))
    card = {}
    if any_array:
        localize, card["card"] = _by_any_array(args)
    elif args.array is None:
        localize, card["card"] = _by_model(args)
    else:
        localize = _by_array(args)

    def locate(path, files):
        found = localize(path)
        written = _write(args, found, files, form)
        notes = [f"{one.severity}: {one.message}" for one in found.findings]
        text = "\n".join([_format_directions(found), *written])
        return Result({**found.to_dict(), **card}, text, notes)

    endings = {
        "output": _FORMATS[form],
        "csv": ".csv",
        "dcase": ".csv",
        "picture": ".png",
        "report": ".html",
    }
    outputs = {
        name: Output(f"--{name}", getattr(args, name), (ending,))
        for name, ending in endings.items()
    }
    process_recordings(args, locate, outputs)


def _knows_spacing_alone(args):
    """Whether nothing but the distance of two microphones is given."""
    others = (args.array, args.positions, args.model, args.method)
    return args.spacing is not None and all(one is None for one in others)


def _take_model(args):
    """A model as --method of an array; whether it is one for any array."""
    from spatial_brain.inference.array_directions.methods import names_model

    named = args.method is not None and names_model(args.method)
    if named:
        if args.array is None or args.model is not None:
            raise ValueError(
                f"--method {args.method} is a trained model: give --array, "
                "or --model in its place"
            )
        args.model, args.method = args.method, None
    if args.model is None:
        return False
    from spatial_brain.inference.any_array import is_any_array

    any_array = is_any_array(args.model, args.savedir)
    if named and not any_array:
        # Its array is stated, and checked against the model's.
        args.positions, args.array = args.array, None
    return any_array


def _check_any_array(args):
    """Make --array of what states the array of a model for any."""
    from spatial_brain.geometry import MicrophoneArray

    given = [
        name
        for name in ("array", "positions", "spacing")
        if getattr(args, name) is not None
    ]
    if len(given) != 1:
        raise ValueError(
            f"{args.model} is a model for any array: give --array, its name, "
            "formula or file, or --spacing of two microphones; one of them"
        )
    if args.positions is not None:
        args.array = args.positions
    if args.spacing is not None:
        _check_spacing(args.spacing)
        args.array = MicrophoneArray.named(f"pair:{args.spacing:g}")
    for name, remedy in (
        ("method", "--model is one already"),
        ("band", "the model has its own"),
        ("channel_order", "Ambisonics needs --method mixture"),
        ("num_talkers", "--sources N has the same meaning"),
    ):
        if getattr(args, name):
            option = name.replace("_", "-")
            raise ValueError(
                f"--{option} does not go with {args.model}: {remedy}"
            )
    _check_map(args)


def _check(args):
    """Refuse options that do not go together."""
    if (args.array is None) == (args.model is None):
        raise ValueError(
            "give --array, the microphones' positions; --spacing, the distance "
            "of two; or --model, a trained network; one of them"
        )
    wrong = _ONLY_ARRAY if args.array is None else _ONLY_MODEL
    for name in wrong:
        if getattr(args, name):
            other = "--array" if args.array is None else "--model"
            option = name.replace("_", "-")
            raise ValueError(f"--{option} needs {other}")
    if args.map and args.method == "frida":
        raise ValueError("frida has no map: it does not scan directions")
    _check_map(args)


def _check_map(args):
    """Refuse a map without a picture."""
    if args.map and not args.picture:
        raise ValueError("--map is drawn into a picture; add --picture FILE")


def _by_model(args):
    """What locates in a recording: a trained network, and its card."""
    from spatial_brain.inference.localizer import SoundLocalizer

    array = _stated_array(args)
    localizer = load_model(SoundLocalizer, args)
    localize = partial(
        localizer.localize_file,
        channels=args.channels,
        resample=args.resample,
        window_length=args.window,
        hop_length=args.hop,
        show_progress=shows_progress(),
        num_talkers=args.num_talkers or "auto",
        array=array,
    )
    return localize, card_content(localizer)


def _locate_live(args, live, any_array):
    """Locate in live sound."""
    from spatial_brain.cli.live.directions import FORMATS, DirectionView

    form = choose_format(args, FORMATS, several=False)
    if any_array:
        finder, _ = _network_finder(args, resample=True)
    elif args.array is None:
        raise ValueError(
            "--live needs --array, or a model for any array: this model looks "
            "at windows of recordings"
        )
    else:
        finder = _finder(args)
    view = DirectionView(form, finder)
    run_live(args, live, finder, {}, view)


def _by_any_array(args):
    """What locates in a recording: a network for any array, and its card."""
    finder, card = _network_finder(args, args.resample)
    return _localize_by(finder, args), card


def _network_finder(args, resample):
    """What finds directions by a network for any array, and its card."""
    from spatial_brain.inference.any_array import AnyArrayLocalizer

    localizer = load_model(AnyArrayLocalizer, args)
    finder = localizer.finder(
        args.array,
        Path(args.model).name,
        resample=resample,
        **_finder_options(args),
    )
    return finder, card_content(localizer)


def _by_array(args):
    """What locates in a recording: the positions of the microphones."""
    return _localize_by(_finder(args), args)


def _finder(args):
    """What finds directions by the positions of the microphones."""
    from spatial_brain.inference.array_directions.finder import DirectionFinder

    options = {
        "method": args.method,
        "band": args.band,
        "channel_order": args.channel_order,
    }
    known = {name: one for name, one in options.items() if one is not None}
    return DirectionFinder(args.array, **known, **_finder_options(args))


def _finder_options(args):
    """Options of whatever finds sources by the positions of an array."""
    options = {
        "sources": args.sources,
        "window": args.window,
        "hop": args.hop,
        "speech_only": args.speech_only,
        "distance": args.distance,
        "keep_map": args.map or args.report is not None,
    }
    if args.window is not None and args.hop is None:
        options["hop"] = args.window / 2
    return {name: one for name, one in options.items() if one is not None}


def _localize_by(finder, args):
    """Localise files with a finder."""
    return partial(
        finder.localize_file,
        channels=args.channels,
        show_progress=shows_progress(),
    )


def _write(args, found, files, form):
    """Write the files that are asked for; a line for each."""
    lines = []
    for name, kind in (("output", form), ("csv", "csv"), ("dcase", "dcase")):
        if files[name]:
            _write_table(files[name], found, kind)
            lines.append(f"table: {files[name]}")
    if files["picture"]:
        from spatial_brain.reporting.localization import direction_trajectory
        from spatial_brain.reporting.plots import save_figure

        save_figure(direction_trajectory(found), files["picture"])
        lines.append(f"picture: {files['picture']}")
    if files["report"]:
        from spatial_brain.reporting.recording import recording_report

        recording_report(files["report"], found, args.channels)
        lines.append(f"report: {files['report']}")
    return ["", *lines] if lines else []


def _write_table(path, found, form):
    """Write the directions in a format."""
    from spatial_brain.dataio.files import write_json
    from spatial_brain.inference.array_directions.tables import (
        source_segments,
        write_csv,
        write_dcase,
    )
    from spatial_brain.inference.segments import write_rttm

    if form == "json":
        write_json(path, found.to_dict())
    elif form == "rttm":
        write_rttm(path, source_segments(found), Path(found.path).stem)
    else:
        {"csv": write_csv, "dcase": write_dcase}[form](path, found)


def _stated_array(args):
    """The array that recorded, if --spacing or --positions states it."""
    from spatial_brain.geometry import MicrophoneArray, linear_array

    if args.spacing is None:
        return args.positions and MicrophoneArray.resolve(args.positions)
    if args.positions is not None:
        raise ValueError("give --spacing or --positions, one of them")
    _check_spacing(args.spacing)
    return MicrophoneArray(linear_array(2, args.spacing), "of --spacing")


def _check_spacing(spacing):
    """Refuse what is no distance."""
    if not 0 < spacing < math.inf:
        raise ValueError(
            f"--spacing {spacing:g} is no distance of two microphones in metres"
        )


def _number(text):
    """Number of sources, or ``auto``."""
    if text == "auto":
        return text
    try:
        return int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"'{text}' is neither a number of sources nor auto"
        ) from None


def _format_directions(found):
    """Directions as text: a summary, then the windows."""
    from spatial_brain.inference.localization import MEANINGS

    count = len(found.starts)
    name = "talker" if found.array is None else "source"
    lines = [
        f"{found.path}: {found.duration:.1f} s, {count} "
        f"window{'s' if count > 1 else ''}; {MEANINGS[found.target]}"
    ]
    if found.array is not None:
        lines.append(f"array {found.array}, method {found.method}")
    lines += found.notes
    if not found.talkers:
        return "\n".join([*lines, "", f"no {name} found"])
    lines += ["", *_talker_lines(found, name)]
    if count > 1:
        lines += ["", *_window_lines(found, name)]
    return "\n".join(lines)


def _talker_lines(found, name):
    """One line a talker or source."""
    whole = found.array is not None
    high = whole and any(
        talker["elevation"] is not None for talker in found.talkers
    )
    lines = [
        f"{name}  direction  spread  confidence"
        + "  elevation" * high
        + "    from      to  active, s" * whole
        + "  distance" * (found.distances is not None)
        + "  windows" * ("windows" in found.talkers[0])
    ]
    for index, talker in enumerate(found.talkers):
        line = (
            f"{index + 1:6d}{_degrees(talker['direction']):>11}"
            f"{_degrees(talker['spread']):>8}{_share(talker['confidence']):>12}"
        )
        if "windows" in talker:
            line += f"{talker['windows']:>9}"
        if high:
            line += f"{_degrees(talker['elevation']):>11}"
        if whole:
            line += (
                f"{talker['start']:8.1f}{talker['stop']:8.1f}"
                f"{talker['active']:11.1f}"
            )
        if "distance" in talker:
            line += f"  {_distance(**talker['distance'])}"
        lines.append(line)
    return lines


def _distance(metres, low, high):
    """A distance with its bounds, or the one that it exceeds."""
    if high is None:
        return f"> {low:.2g} m"
    return f"{metres:.2f} m ({low:.2f} to {high:.2f})"


def _degrees(value):
    """An angle, or a dash without one."""
    return "-" if value is None or math.isnan(value) else f"{value:.1f}°"


def _share(value):
    """A confidence, or a dash without one."""
    return "-" if value is None else f"{value:.2f}"


def _window_lines(found, name):
    """One line a window with the direction of each talker or source."""
    heads = [f"{name} {i + 1}" for i in range(found.directions.shape[1])]
    quiet = "-" if found.array or found.chances is not None else "silent"
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
            f"{quiet:>12}"
            if silent
            else "".join(f"{_degrees(angle):>12}" for angle in directions)
        )
        lines.append(f"{start:7.1f} -{stop:7.1f}{cells}")
    left = len(found.starts) - MAX_LINES
    if left > 0:
        lines.append(f"... and {left} more windows (--json shows all)")
    return lines
