"""Turn a released checkpoint of another system into a pretrained folder."""

from spatial_brain.cli.options import add_option, one_line_warnings

HELP = "turn a released checkpoint into a pretrained folder"


def add_arguments(parser):
    """Add the options of this sub-command.

    Arguments
    ---------
    parser : argparse.ArgumentParser
        Receives them.
    """
    parser.add_argument(
        "--format",
        required=True,
        help="system the checkpoint comes from, such as dual-mic-ssl, "
        "pseldnets, dcase2024-baseline, sar-ssl or speechbrain-binaural; "
        "adapters: what a training with --adapters_only True leaves",
    )
    parser.add_argument(
        "--checkpoint",
        required=True,
        help="file with tensors only; for speechbrain-binaural the folder "
        "with the six .ckpt files, or that of the run",
    )
    add_option(parser, "--output", required=True, help="folder to write")
    parser.add_argument(
        "--rule",
        choices=("parallel", "cross", "independent"),
        help="of speechbrain-binaural, where no hyperparams.yaml has it",
    )
    parser.add_argument(
        "--sample-rate",
        type=int,
        help="Hz, of speechbrain-binaural, where no hyperparams.yaml has it "
        "(default: 8000)",
    )
    parser.add_argument(
        "--base",
        help="of adapters: the weights that their training began with, a "
        "released file or a converted folder",
    )
    parser.add_argument(
        "--data-folder",
        help="of dcase2024-baseline: STARSS23 (foa_dev or mic_dev), from "
        "which the scaler of its features is computed",
    )


def run(args):
    """Convert and print what was done.

    Arguments
    ---------
    args : argparse.Namespace
        What ``add_arguments`` adds.
    """
    from spatial_brain.inference.convert import convert

    with one_line_warnings(args.prog):
        done = convert(
            args.format,
            args.checkpoint,
            args.output,
            rule=args.rule,
            sample_rate=args.sample_rate,
            base=args.base,
            data_folder=args.data_folder,
        )
    print(
        f"{done.folder}: {done.num_tensors} tensors, "
        f"{done.num_parameters:,} parameters, all names and shapes fit"
    )
