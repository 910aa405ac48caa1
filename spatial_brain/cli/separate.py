"""Separate the talkers of a binaural recording.

Writes one stereo file a talker, with the level and the differences between
the ears that he has in the recording.
"""

from spatial_brain.cli.models.choice import choose_shipped
from spatial_brain.cli.options import (
    add_model_options,
    add_option,
    card_content,
    load_model,
)
from spatial_brain.cli.recordings import (
    Result,
    add_recordings,
    process_recordings,
    shows_progress,
)
from spatial_brain.cli.recordings.outputs import Output

HELP = "talkers of a binaural recording, a stereo file each"
DEFAULT_FOLDER = "separated"


def add_arguments(parser):
    """Add the options of this sub-command.

    Arguments
    ---------
    parser : argparse.ArgumentParser
        Receives them.
    """
    add_recordings(parser, "audio files of two ears, left first")
    add_model_options(parser)
    add_option(
        parser,
        "--channels",
        help="channels of the left and the right ear, from 0",
    )
    for name in ("--resample", "--window", "--hop"):
        add_option(parser, name)
    parser.add_argument(
        "--streaming",
        action="store_true",
        help="block by block as in live use (causal models)",
    )
    add_option(
        parser,
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
        "--model-rate",
        action="store_true",
        help="with --resample: files of the model's sampling rate, not of the "
        "recording's",
    )
    add_option(parser, "--json")


def run(args):
    """Separate the talkers, write them and print what they are like.

    Arguments
    ---------
    args : argparse.Namespace
        What ``add_arguments`` adds.
    """
    from spatial_brain.inference.separation.separator import BinauralSeparator
    from spatial_brain.inference.separation.talker_files import talker_names

    if args.model is None:
        args.model = choose_shipped(args, "separate")
    separator = load_model(BinauralSeparator, args)

    def separate(path, files):
        found = separator.separate_file(
            path,
            files["output"],
            channels=args.channels,
            resample=args.resample,
            window_length=args.window,
            hop_length=args.hop,
            streaming=args.streaming,
            subtype=args.subtype,
            model_rate=args.model_rate,
            show_progress=shows_progress(),
        ).to_dict()
        found["card"] = card_content(separator)
        return Result(found, _format_separation(found))

    names = talker_names("", separator.hparams.num_sources)
    output = Output("--output", args.output, names, folder=True)
    process_recordings(args, separate, {"output": output})


def _format_separation(found):
    """A separation as text: a summary, then one line a talker."""
    talkers = found["talkers"]
    lines = [
        f"{found['path']}: {found['duration']:.1f} s, {len(talkers)} "
        f"talker{'' if len(talkers) == 1 else 's'}, "
        f"{found['sample_rate']} Hz",
        "",
        f"talker{'level':>12}{'ILD':>9}{'ITD':>9}{'side':>8}  file",
    ]
    for index, talker in enumerate(talkers):
        cues = f"{'silent':>38}"
        if talker["side"] is not None:
            cues = (
                f"{talker['level']:7.1f} dBFS{talker['ild']:6.1f} dB"
                f"{talker['itd']:6.0f} µs{talker['side']:>8}"
            )
        lines.append(f"{index + 1:6d}{cues}  {talker['file']}")
    lines += [
        "",
        "ILD: left over right ear; ITD: positive where the left ear hears "
        "later",
    ]
    model_rate = found["model_sample_rate"]
    if found["sample_rate"] != model_rate:
        lines.append(
            f"the files have the recording's {found['sample_rate']} Hz; the "
            f"model works at {model_rate} Hz, so they hold nothing above "
            f"{model_rate / 2:.0f} Hz (--model-rate keeps its rate)"
            if found["sample_rate"] > model_rate
            else f"the files have the recording's {found['sample_rate']} Hz; "
            f"the model works at {model_rate} Hz"
        )
    if found["gain"] != 1:
        lines.append(
            f"all files are scaled by {found['gain']:.3f}, lest one of them "
            "clips (--subtype FLOAT needs no scaling)"
        )
    return "\n".join(lines)
