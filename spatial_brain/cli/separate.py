"""Separate the talkers of a binaural recording.

Writes one stereo file a talker, with the level and the differences between
the ears that he has in the recording.
"""

import argparse
import json
import sys
import warnings

HELP = "talkers of a binaural recording, a stereo file each"
DEFAULT_FOLDER = "separated"


def add_arguments(parser):
    """Add the options of this sub-command.

    Arguments
    ---------
    parser : argparse.ArgumentParser
        Receives them.
    """
    parser.add_argument("recording", help="audio file of two ears, left first")
    parser.add_argument(
        "--model",
        required=True,
        help="pretrained folder, output folder of a run, or hub id",
    )
    parser.add_argument(
        "--output",
        default=DEFAULT_FOLDER,
        metavar="DIR",
        help=f"folder for the talkers (default: {DEFAULT_FOLDER})",
    )
    parser.add_argument(
        "--subtype",
        default="FLOAT",
        help="of the files: FLOAT (the default) or PCM_16, where one gain for "
        "all talkers avoids clipping",
    )
    parser.add_argument(
        "--json", action="store_true", help="print one JSON object instead"
    )
    parser.add_argument(
        "--resample", action="store_true", help="convert another sampling rate"
    )
    parser.add_argument(
        "--channels",
        type=_pair,
        metavar="0,1",
        help="channels of the left and the right ear, from 0",
    )
    parser.add_argument(
        "--window", type=float, help="seconds heard at once (model's default)"
    )
    parser.add_argument(
        "--hop", type=float, help="seconds from one window to the next"
    )
    parser.add_argument(
        "--streaming",
        action="store_true",
        help="block by block as in live use (causal models)",
    )
    parser.add_argument("--device", help="cpu, cuda:0, ... (default: a guess)")


def _pair(text):
    """Parse ``0,3`` into two channel numbers."""
    try:
        first, second = (int(part) for part in text.split(","))
    except ValueError as error:
        raise argparse.ArgumentTypeError(
            f"'{text}' is no pair of channels such as 0,3"
        ) from error
    return [first, second]


def run(args):
    """Separate the talkers, write them and print what they are like.

    Arguments
    ---------
    args : argparse.Namespace
        ``recording, model, output, subtype, json, resample, channels, window,
        hop, streaming, device``.
    """
    from spatial_brain.cli.locate import check_device
    from spatial_brain.inference.recordings import RecordingWarning
    from spatial_brain.inference.separator import BinauralSeparator

    run_opts = {"device": check_device(args.device)} if args.device else None
    separator = BinauralSeparator.from_hparams(args.model, run_opts=run_opts)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", RecordingWarning)
        found = separator.separate_file(
            args.recording,
            args.output,
            channels=args.channels,
            resample=args.resample,
            window_length=args.window,
            hop_length=args.hop,
            streaming=args.streaming,
            subtype=args.subtype,
            show_progress=sys.stderr.isatty(),
        )
    for warning in caught:
        if issubclass(warning.category, RecordingWarning):
            print(f"{args.prog}: warning: {warning.message}", file=sys.stderr)
    if args.json:
        print(json.dumps(found.to_dict(), allow_nan=False))
    else:
        print(format_separation(found.to_dict()))


def format_separation(found):
    """What was separated as text: a summary, then one line a talker.

    Arguments
    ---------
    found : dict
        From ``spatial_brain.inference.separation_files.Separation.to_dict``.

    Returns
    -------
    str
        Lines without a final line break.

    Example
    -------
    >>> print(format_separation({
    ...     "path": "a.wav", "duration": 2.0, "sample_rate": 8000,
    ...     "subtype": "PCM_16", "gain": 0.5, "talkers": [
    ...     {"file": "out/a_s1.wav", "level": -23.04, "ild": 6.0,
    ...      "itd": -421.3, "side": "left"},
    ...     {"file": "out/a_s2.wav", "level": -120.0, "ild": None,
    ...      "itd": None, "side": None}]}))
    a.wav: 2.0 s, 2 talkers, 8000 Hz
    <BLANKLINE>
    talker       level      ILD      ITD    side  file
         1  -23.0 dBFS   6.0 dB  -421 µs    left  out/a_s1.wav
         2                            silent  out/a_s2.wav
    <BLANKLINE>
    ILD: left over right ear; ITD: positive where the left ear hears later
    all files are scaled by 0.500, lest one of them clips (--subtype FLOAT ...
    """
    talkers = found["talkers"]
    lines = [
        f"{found['path']}: {found['duration']:.1f} s, {len(talkers)} "
        f"talker{'' if len(talkers) == 1 else 's'}, "
        f"{found['sample_rate']} Hz",
        "",
        f"talker{'level':>12}{'ILD':>9}{'ITD':>9}{'side':>8}  file",
    ]
    for index, talker in enumerate(talkers):
        told = f"{'silent':>38}"
        if talker["side"] is not None:
            told = (
                f"{talker['level']:7.1f} dBFS{talker['ild']:6.1f} dB"
                f"{talker['itd']:6.0f} µs{talker['side']:>8}"
            )
        lines.append(f"{index + 1:6d}{told}  {talker['file']}")
    lines += [
        "",
        "ILD: left over right ear; ITD: positive where the left ear hears "
        "later",
    ]
    if found["gain"] != 1:
        lines.append(
            f"all files are scaled by {found['gain']:.3f}, lest one of them "
            "clips (--subtype FLOAT needs no scaling)"
        )
    return "\n".join(lines)
