"""Write the sound from a direction of a recording.

Microphones by name or from a file (spatial-brain arrays lists the names), or
foa for first-order Ambisonics. Methods: delay-and-sum (channels aligned and
averaged), mvdr (least noise, the direction unchanged), lcmv (the same, with
the directions of --null silenced) and gev (largest ratio of the direction to
the rest of the recording).
"""

import math
from functools import cache

from spatial_brain.cli.options import add_option
from spatial_brain.cli.recordings import (
    Result,
    add_recordings,
    process_recordings,
    shows_progress,
)
from spatial_brain.cli.recordings.outputs import Output

# Levels of channels that differ by more are worth a line.
UNEVEN_DB = 1.0
HELP = "the sound from a direction, with the gain of it"


def add_arguments(parser):
    """Add the options of this sub-command.

    Arguments
    ---------
    parser : argparse.ArgumentParser
        Receives them.
    """
    add_recordings(parser, "audio files, a channel a microphone")
    parser.add_argument(
        "--array", required=True, help="name or file of the array, or foa"
    )
    parser.add_argument(
        "--azimuth",
        type=float,
        required=True,
        help="degrees, counter-clockwise from the front of the array",
    )
    parser.add_argument(
        "--elevation", type=float, default=0.0, help="degrees (default: 0)"
    )
    _add_method(parser)
    add_option(
        parser,
        "--channels",
        help="channels to use, from 0, in the order of the array's",
    )
    parser.add_argument(
        "--channel-order",
        metavar="NAME",
        help="of foa: acn-sn3d (default), acn-n3d, fuma, or letters such as "
        "WXYZ",
    )
    add_option(
        parser,
        "--output",
        default=".",
        help="wav file, or a folder, in which it has the recording's name and "
        "the azimuth (default: this one)",
    )
    parser.add_argument(
        "--subtype",
        default="PCM_16",
        help="PCM_16 (default), where one gain avoids clipping, or FLOAT",
    )
    parser.add_argument(
        "--no-gain",
        action="store_true",
        help="do not try the gain on simulated recordings",
    )
    add_option(parser, "--json")


def _add_method(parser):
    """Add the options of the beamformer."""
    parser.add_argument(
        "--method",
        help="see above (default: mvdr, or lcmv with --null)",
    )
    parser.add_argument(
        "--null",
        nargs="+",
        action="extend",
        default=[],
        metavar="AZ",
        help="directions to silence: azimuths, or azimuth,elevation "
        "(--null=-60,10 where the azimuth is negative)",
    )
    parser.add_argument(
        "--noise",
        default="recording",
        help="of mvdr and lcmv: recording (default: what does not come from "
        "the direction) or diffuse (equally from everywhere)",
    )
    parser.add_argument(
        "--least-white-noise-gain",
        type=float,
        default=-10.0,
        metavar="DB",
        help="noise of microphones gets louder by no more than minus this "
        "(default: -10)",
    )
    parser.add_argument(
        "--no-equalize",
        action="store_true",
        help="leave the levels of the channels as they are, and use those "
        "without sound",
    )


def run(args):
    """Write the sound and print what was gained.

    Arguments
    ---------
    args : argparse.Namespace
        What ``add_arguments`` adds.
    """
    from spatial_brain.inference.beamforming.beamformer import Beamformer
    from spatial_brain.inference.beamforming.simulated_gain import (
        simulated_gain,
    )

    nulls = [_direction(text) for text in args.null]
    method = args.method or ("lcmv" if nulls else "mvdr")
    beamformer = Beamformer.from_array(
        args.array,
        method,
        noise=args.noise,
        least_gain=args.least_white_noise_gain,
        equalize=not args.no_equalize,
    )

    @cache
    def gains():
        place = args.azimuth, args.elevation, nulls
        return [] if args.no_gain else simulated_gain(beamformer, *place)

    def listen(path, files):
        beam = beamformer.beamform_file(
            path,
            files["output"],
            args.azimuth,
            args.elevation,
            nulls,
            channels=args.channels,
            channel_order=args.channel_order,
            subtype=args.subtype,
            show_progress=shows_progress(),
        )
        lines = [*_beam_lines(beam), *_gain_lines(gains(), nulls)]
        content = {**beam.to_dict(), "simulated": gains()}
        return Result(content, "\n".join(lines))

    endings = (f"_{args.azimuth:g}.wav",)
    output = Output("--output", args.output, endings)
    process_recordings(args, listen, {"output": output})


def _direction(text):
    """Azimuth and elevation of ``120`` or ``120,30``."""
    try:
        azimuth, *rest = map(float, text.split(","))
        [elevation] = rest or [0.0]
    except ValueError:
        raise ValueError(
            f"--null {text}: give an azimuth, or azimuth,elevation"
        ) from None
    return azimuth, elevation


def _beam_lines(beam):
    """What was done, what is suspicious, and what geometry says."""
    noise = f", noise: {beam.noise}" if beam.noise else ""
    lines = [
        f"{beam.path}: {beam.duration:.1f} s at {beam.fs} Hz; array "
        f"{beam.array}, azimuth {beam.azimuth:g}°, elevation "
        f"{beam.elevation:g}°; {beam.method}{noise}"
    ]
    lines += [f"{one.severity}: {one.message}" for one in beam.findings]
    lines += _level_lines(beam.channel_gains)
    if beam.nulls and beam.nulls_from is None:
        lines.append("the nulls hold at no frequency: too close for the array")
    elif beam.nulls_from:
        lines.append(f"the nulls hold from {beam.nulls_from:.0f} Hz on")
    rows = (
        ("octave, Hz", "frequency", "8.0f"),
        ("white noise gain, dB", "white_noise_gain", "8.1f"),
        ("directivity index, dB", "directivity_index", "8.1f"),
    )
    lines.append("")
    for name, key, form in rows:
        cells = "".join(format(octave[key], form) for octave in beam.octaves)
        lines.append(f"{name:22}{cells}")
    scaled = "" if beam.gain == 1 else f", scaled by {beam.gain:.3f}"
    return [*lines, "", f"written to {beam.output}{scaled}"]


def _level_lines(gains):
    """What was done to the levels of channels, if it is worth a line."""
    lines = []
    dead = [str(number) for number, gain in enumerate(gains) if gain == 0]
    if dead:
        lines.append(f"left out, without sound: channel {', '.join(dead)}")
    levels = [20 * math.log10(gain) for gain in gains if gain > 0]
    if max(levels) - min(levels) > UNEVEN_DB:
        text = ", ".join(f"{level:+.1f}" for level in levels)
        lines.append(f"channels made equally loud: {text} dB")
    return lines


def _gain_lines(gains, nulls):
    """Table of the gains in simulated rooms."""
    if not gains:
        return []
    others = (
        "sources in the nulls"
        if nulls
        else "a source at azimuth {:g}°".format(gains[0]["others"][0][0])
    )
    lines = [
        "",
        f"simulated: a talker there, {others} as loud, diffuse noise",
        f"{'T60, s':>8}{'SNR':>8}{'gain':>8}{'SI-SDR':>9}{'gain':>8}",
    ]
    for found in gains:
        lines.append(
            f"{found['t60']:8.1f}{found['snr']:8.1f}{found['snr_gain']:8.1f}"
            f"{found['si_sdr']:9.1f}{found['si_sdr_gain']:8.1f}"
        )
    return lines
