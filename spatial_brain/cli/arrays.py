"""Microphone arrays: list them, draw one, check a recording against it.

Arrays have names, are made by formula (pair:0.1, linear:4x0.05,
circular:6x0.0463, tetrahedral:0.0147, in metres) or come from a JSON, CSV or
SOFA file. With --azimuth the recordings of --check are claps from known
directions, which show exchanged channels, turned and mirrored arrays.
"""

import json

from spatial_brain.cli.options import add_option
from spatial_brain.cli.recordings import (
    Result,
    add_force,
    may_be_several,
    process_recordings,
)
from spatial_brain.cli.recordings.outputs import check_replaced

HELP = "microphone arrays, and recordings against them"


def add_arguments(parser):
    """Add the options of this sub-command.

    Arguments
    ---------
    parser : argparse.ArgumentParser
        Receives them.
    """
    parser.add_argument(
        "array",
        nargs="?",
        metavar="NAME|FILE",
        help="array to show; without one, all names are listed",
    )
    parser.add_argument(
        "--check",
        nargs="+",
        metavar="RECORDING",
        help="compare recordings or folders of such, or claps from known "
        "directions",
    )
    for name in ("azimuth", "elevation"):
        parser.add_argument(
            f"--{name}",
            nargs="+",
            type=float,
            metavar="DEGREES",
            help=f"{name} of each clap",
        )
    add_option(parser, "--channels", help="the microphones' channels, from 0")
    parser.add_argument(
        "--band",
        nargs=2,
        type=float,
        metavar=("LOW", "HIGH"),
        help="frequencies used for directions, hertz",
    )
    add_option(parser, "--picture", help="draw the array (png, svg, pdf)")
    add_option(
        parser,
        "--output",
        help="write the array (.json, .csv, .sofa); after claps, as it stands",
    )
    add_force(parser)
    add_option(parser, "--json")


def run(args):
    """List arrays, or show, write or check one.

    Arguments
    ---------
    args : argparse.Namespace
        What ``add_arguments`` adds.

    Raises
    ------
    ValueError
        If options do not fit together.
    """
    from spatial_brain.geometry import MicrophoneArray, array_names

    _check_options(args)
    if args.array is None:
        arrays = [MicrophoneArray.named(name) for name in array_names()]
        rows = [_facts(array) for array in arrays]
        print(json.dumps({"arrays": rows}) if args.json else _table(rows))
        return
    array = MicrophoneArray.resolve(args.array)
    files = [
        (path, option)
        for path, option in (
            (args.output, "--output"),
            (args.picture, "--picture"),
        )
        if path
    ]
    check_replaced(files, args.force)
    found = None
    if args.check and args.azimuth:
        found, array = _check_claps(args, array)
    written = _write(args, array)
    if args.check and not args.azimuth:
        _check_recordings(args, array, written)
    elif args.json:
        print(json.dumps(_content(array, args.check, found), allow_nan=False))
    else:
        lines = _description(array) if found is None else _finding_lines(found)
        print("\n".join([*lines, *written]))


def _check_options(args):
    """Refuse options that do not fit together."""
    if args.array is None and (args.check or args.picture or args.output):
        raise ValueError(
            "name the array: spatial-brain arrays NAME|FILE with --check, "
            "--picture or --output"
        )
    if not args.check and (args.azimuth or args.elevation or args.channels):
        raise ValueError(
            "--azimuth, --elevation and --channels describe the recordings of "
            "--check; give it, too"
        )
    if not args.check:
        return
    number = len(args.check)
    if args.elevation and not args.azimuth:
        raise ValueError(
            "--elevation is that of claps, which need --azimuth, one a clap"
        )
    for name in ("azimuth", "elevation"):
        values = getattr(args, name)
        if values and len(values) != number:
            raise ValueError(
                f"--{name} needs a value for each of the {number} recordings "
                f"of --check, got {len(values)}"
            )


def _check_recordings(args, array, written):
    """Print what is suspicious in each recording."""
    from spatial_brain.inference.array_checks import check_recording

    several = may_be_several(args.check)

    def check(path, _):
        found = check_recording(
            path, array, channels=args.channels, band=args.band
        )
        head = [f"{path}:"] if several else []
        lines = [*head, *_finding_lines(found), *([] if several else written)]
        content = _content(array, [path], found)
        return Result({"path": path, **content}, "\n".join(lines))

    process_recordings(args, check, {}, args.check)
    if several and not args.json and written:
        print("\n".join(["", *written]))


def _content(array, recordings, found):
    """An array, and what was found in recordings of it, for JSON."""
    content = {**_facts(array), **array.as_dict()}
    if found is not None:
        content["recordings"] = recordings
        content["findings"] = [one.to_dict() for one in found]
    return content


def _check_claps(args, array):
    """Findings on claps, and the array as they show it."""
    from dataclasses import replace

    from spatial_brain.dataio.audio import audio_info
    from spatial_brain.inference.array_checks import (
        Clap,
        check_claps,
        choose_channels,
    )

    elevations = args.elevation or [0.0] * len(args.check)
    claps = [
        Clap(*clap)
        for clap in zip(args.check, args.azimuth, elevations, strict=True)
    ]
    channels = [
        choose_channels(audio_info(clap.path), array, args.channels)
        for clap in claps
    ]
    found, positions = check_claps(claps, array, channels[0])
    return found, replace(array, positions=positions)


def _write(args, array):
    """Write what was asked for; a line on each file."""
    lines = []
    if args.output:
        from spatial_brain.atomic import atomic_path

        content = array.encode(args.output)
        with atomic_path(args.output) as temporary:
            temporary.write_bytes(content)
        lines.append(f"array: {args.output}")
    if args.picture:
        from spatial_brain.reporting.arrays import array_picture
        from spatial_brain.reporting.plots import save_figure

        save_figure(array_picture(array), args.picture)
        lines.append(f"picture: {args.picture}")
    return lines


def _facts(array):
    """What there is to know about an array, for JSON and the table."""
    from spatial_brain.geometry import SPEED_OF_SOUND

    apart = array.distances
    apart.fill_diagonal_(float("inf"))
    return {
        "name": array.name,
        "microphones": len(array),
        "aperture_m": round(array.aperture, 4),
        "spans": ("point", "line", "plane", "space")[array.dimensions],
        "ambiguity": array.ambiguity,
        "far_field_m": round(array.far_field, 3),
        "aliasing_hz": round(SPEED_OF_SOUND / 2 / float(apart.min())),
        "front": array.front,
    }


def _table(rows):
    """All arrays, a line each."""
    lines = [
        f"{'name':20}{'mics':>5}{'cm':>7}  {'spans':6}{'alias, Hz':>10}  0° is"
    ]
    for row in rows:
        lines.append(
            f"{row['name']:20}{row['microphones']:5d}"
            f"{100 * row['aperture_m']:7.1f}  {row['spans']:6}"
            f"{row['aliasing_hz']:10d}  {row['front']}"
        )
    return "\n".join(
        [
            *lines,
            "",
            "cm: largest distance of two microphones. spans: a line cannot "
            "tell directions on a",
            "cone around it apart, a plane not those mirrored at it. alias: "
            "above it the nearest",
            "two microphones alone are ambiguous. By formula: pair:METRES, "
            "linear:NxMETRES,",
            "circular:NxRADIUS, tetrahedral:RADIUS.",
        ]
    )


def _description(array):
    """One array in words, with its positions."""
    from spatial_brain.inference.array_checks.order import hidden_exchanges

    facts = _facts(array)
    lines = [
        f"{array.name}: {len(array)} microphones, aperture "
        f"{100 * array.aperture:.1f} cm, they span a {facts['spans']}",
        f"0 degrees: {array.front}; azimuth counter-clockwise seen from above",
        f"cannot tell apart: {array.ambiguity}",
        f"aliasing: above {facts['aliasing_hz']} Hz the nearest two "
        "microphones alone are ambiguous",
        f"distance: cannot be told beyond {facts['far_field_m']:.1g} m, where "
        "wave fronts are flat to 5 microseconds; directions can",
        f"source: {array.source or 'the file'}",
    ]
    for number, channels in array.stream_channels.items():
        lines.append(
            f"of the device's {number} channels, "
            f"{','.join(map(str, channels))} are the microphones"
        )
    hidden = hidden_exchanges(array.distances)
    if hidden:
        pairs = ", ".join(f"{one}-{two}" for one, two in hidden[:6])
        more = f" and {len(hidden) - 6} more" if len(hidden) > 6 else ""
        lines.append(
            f"exchanges that only a clap shows (--azimuth): {pairs}{more}"
        )
    lines.append(f"\n{'channel':>7}{'x, cm':>9}{'y, cm':>9}{'z, cm':>9}")
    for number, position in enumerate(array.positions.tolist()):
        x, y, z = (100 * value + 0.0 for value in position)
        lines.append(f"{number:7d}{x:9.2f}{y:9.2f}{z:9.2f}")
    return lines


def _finding_lines(found):
    """A line a finding."""
    if not found:
        return ["nothing suspicious: the recording agrees with the array"]
    return [f"{one.severity}: {one.message}" for one in found]
