"""Turn a released checkpoint of another system into a pretrained folder."""

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
        help="system the checkpoint comes from, such as dual-mic-ssl",
    )
    parser.add_argument(
        "--checkpoint", required=True, help="file with tensors only"
    )
    parser.add_argument("--output", required=True, help="folder to write")


def run(args):
    """Convert and tell what was done.

    Arguments
    ---------
    args : argparse.Namespace
        ``format, checkpoint, output``.
    """
    from spatial_brain.inference.convert import convert

    done = convert(args.format, args.checkpoint, args.output)
    print(
        f"{done.folder}: {done.num_tensors} tensors, "
        f"{done.num_parameters:,} parameters, all names and shapes fit"
    )
