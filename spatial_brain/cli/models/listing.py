"""List the models that are shipped with this package, or show a card.

    spatial-brain models
    spatial-brain models any-array
    spatial-brain models me/my-model --json

A model is taken where its name is a --model; where none is named, locate,
acoustics, separate and detect take the shipped one that fits.
"""

import json

from spatial_brain.cli.options import add_option, one_line_warnings

HELP = "list the shipped models, or show what one is worth"


def add_arguments(parser):
    """Add the options of this sub-command.

    Arguments
    ---------
    parser : argparse.ArgumentParser
        Receives them.
    """
    parser.add_argument(
        "name",
        nargs="?",
        help="of a shipped model, a folder, a run or a hub id: its whole card",
    )
    add_option(parser, "--json", help="print a JSON object instead")


def run(args):
    """Print the list, or the card.

    Arguments
    ---------
    args : argparse.Namespace
        What ``add_arguments`` adds.
    """
    if args.name is None:
        _list(args.json)
        return
    from spatial_brain.inference.pretrained.card import CARD_FILE, find_card
    from spatial_brain.inference.pretrained.source import ModelSource
    from spatial_brain.inference.publishing.page import card_lines

    with one_line_warnings(args.prog):
        source = ModelSource(args.name, "hyperparams.yaml")
        card = find_card(source.get_optional(CARD_FILE))
    if card is None:
        raise ValueError(f"{args.name} has no {CARD_FILE}, or a broken one")
    if args.json:
        print(json.dumps(card.to_dict()))
    else:
        print("\n".join([f"{args.name}: {card.task}", *card_lines(card)]))


def _list(as_json):
    """Print a few lines on each shipped model."""
    from spatial_brain.inference.pretrained.choice import shipped_cards
    from spatial_brain.inference.shipped import shipped_folders

    folders, cards = shipped_folders(), shipped_cards()
    sizes = {
        name: sum(path.stat().st_size for path in folder.iterdir())
        for name, folder in folders.items()
    }
    if as_json:
        content = [
            {"name": name, "bytes": sizes[name], "card": card.to_dict()}
            for name, card in cards.items()
        ]
        print(json.dumps(content))
        return
    for name, card in cards.items():
        print(
            f"{name}: {card.command}; {card.needs()}; {sizes[name] / 1e6:.1f} "
            f"MB\n    {card.task}\n    {card.headline() or 'not measured'}"
        )
    if not cards:
        print("no model is shipped with this installation")
