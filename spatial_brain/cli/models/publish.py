"""Upload a trained model to a hub, with its card and a page made from it.

The folder is checked first: it must load as anybody will load it, hold
safetensors alone and a card. All goes in one commit, or nothing; a second
call goes on where a failure ended.
"""

from spatial_brain.cli.options import add_option, one_line_warnings

HELP = "upload a trained model to a hub"


def add_arguments(parser):
    """Add the options of this sub-command.

    Arguments
    ---------
    parser : argparse.ArgumentParser
        Receives them.
    """
    parser.add_argument("folder", help="pretrained folder, or that of a run")
    parser.add_argument(
        "--repo", metavar="ORG/NAME", help="where to; made if not there"
    )
    parser.add_argument(
        "--licence", metavar="ID", help="of the model, such as cc-by-4.0"
    )
    parser.add_argument(
        "--token", help="with the right to write (default: that of the login)"
    )
    parser.add_argument("--revision", help="branch (default: main)")
    parser.add_argument(
        "--private", action="store_true", help="make a new one private"
    )
    add_option(
        parser,
        "--output",
        metavar="DIR",
        help="upload nothing: write here what would be",
    )


def run(args):
    """Publish the model.

    Arguments
    ---------
    args : argparse.Namespace
        What ``add_arguments`` adds.
    """
    from spatial_brain.inference.publishing.contents import write_published
    from spatial_brain.inference.publishing.hub import publish_model

    if args.repo is None:
        raise ValueError("give --repo ORG/NAME")
    with one_line_warnings(args.prog):
        if args.output is not None:
            write_published(args.folder, args.output, args.repo, args.licence)
            print(f"{args.output}: what would be uploaded to {args.repo}")
            return
        commit = publish_model(
            args.folder,
            args.repo,
            licence=args.licence,
            token=args.token,
            private=args.private,
            revision=args.revision,
        )
    print(f"{args.repo}, revision {commit}")
