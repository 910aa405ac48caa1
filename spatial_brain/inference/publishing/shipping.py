"""Models that this package ships: made of a run, and measured anew."""

import dataclasses
import shutil
import tempfile
from pathlib import Path

from spatial_brain.dataio.files import write_text
from spatial_brain.inference.interfaces import find_interface
from spatial_brain.inference.pretrained import PretrainedModel
from spatial_brain.inference.pretrained.card import (
    CARD_FILE,
    read_card,
    write_card,
)
from spatial_brain.inference.pretrained.figures import KINDS_OF_METHOD, ROOMS
from spatial_brain.inference.pretrained.golden import (
    GOLDEN_FILE,
    make_golden,
    write_golden,
)
from spatial_brain.inference.pretrained.source import model_folder
from spatial_brain.inference.publishing.contents import (
    contents,
    write_contents,
)
from spatial_brain.inference.publishing.page import model_page

MAX_SIZE = 10_000_000  # bytes of all files of a model
# Cards without one of these are not complete; the others depend on the task.
_NEEDED = (
    "command", "sample_rate", "channels", "channel_order", "causal",
    "latency", "real_time_factor", "machine", "data", "data_licences",
    "training", "commit", "test", "measures", "figures", "licence", "golden",
    "hashes",
)  # fmt: skip
_NEEDED_OF_TRAINING = ("recipe", "steps", "hours", "cores")


def ship_model(run, folder, waveform, positions=None, **facts):
    """Make the folder of a model that is shipped, in place of an older one.

    Arguments
    ---------
    run : str or Path
        Pretrained folder, or output folder of a run.
    folder : str or Path
        ``pretrained_models/<name>``; all of it is there, or as it was.
    waveform : torch.Tensor
        Input of the golden pair, [time, channel], at the model's rate.
    positions : torch.Tensor, optional
        [microphone, 3] in metres, of a network that is called with them.
    **facts
        Fields of the card to add or replace, such as ``licence``.

    Returns
    -------
    ModelCard
        That of the folder; what it lacks yet is in :func:`missing_facts`.

    Raises
    ------
    ValueError
        If the model cannot be published, or is too large.

    Example
    -------
    >>> ship_model("./nowhere", "./there", None)
    Traceback (most recent call last):
    ...
    FileNotFoundError: no such folder: nowhere (wanted a pretrained ...
    """
    run, folder = model_folder(run), Path(folder)
    model = PretrainedModel.from_hparams(run, run_opts={"device": "cpu"})
    command, _ = find_interface(model, run)
    pair, tolerance = make_golden(model, waveform, positions)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(
        dir=folder.parent, prefix=f".{folder.name}."
    ) as temporary:
        # The card as it shall be lies beside the weights while they are
        # checked as those of any published model.
        draft, whole = Path(temporary, "draft"), Path(temporary, "whole")
        shutil.copytree(run, draft)
        write_golden(draft / GOLDEN_FILE, pair)
        facts |= {
            "command": command,
            "golden": {"file": GOLDEN_FILE, "tolerance": tolerance},
        }
        card = dataclasses.replace(read_card(run / CARD_FILE), **facts)
        write_card(draft, card)
        write_contents(whole, contents(draft, folder.name))
        size = sum(path.stat().st_size for path in whole.iterdir())
        if size > MAX_SIZE:
            raise ValueError(
                f"{run}: {size / 1e6:.1f} MB are more than the "
                f"{MAX_SIZE / 1e6:g} MB that a shipped model may have"
            )
        if folder.exists():
            folder.replace(Path(temporary, "old"))
        whole.replace(folder)
    return read_card(folder / CARD_FILE)


def write_figures(source, figures, **facts):
    """Write measured figures into the card of a model, and its page anew.

    Arguments
    ---------
    source : str or Path
        Folder with a model, output folder of a run, or name of a shipped one.
    figures : sequence of Figure
        In place of those that the card has, the most important first.
    **facts
        Other fields of the card, such as ``real_time_factor``.

    Returns
    -------
    ModelCard

    Example
    -------
    >>> write_figures("./nowhere", [])
    Traceback (most recent call last):
    ...
    FileNotFoundError: no such folder: nowhere (wanted a pretrained ...
    """
    folder = model_folder(source)
    card = read_card(folder / CARD_FILE)
    card = dataclasses.replace(card, figures=list(figures), **facts)
    # A run has the card twice.
    write_card(folder.parent if folder.name == "pretrained" else folder, card)
    page = folder / "README.md"
    if page.is_file():
        model = PretrainedModel.from_hparams(folder)
        interface = find_interface(model, folder)
        write_text(page, model_page(card, folder.name, *interface))
    return card


def missing_facts(card):
    """What the card of a shipped model has to hold and does not.

    Arguments
    ---------
    card : ModelCard
        The card.

    Returns
    -------
    list of str
        Names of fields.

    Example
    -------
    >>> from spatial_brain.inference.pretrained import ModelCard
    >>> missing_facts(ModelCard("T60"))[:2]
    ['command', 'sample_rate']
    """
    facts = card.to_dict()
    missing = [name for name in _NEEDED if name not in facts]
    missing += [
        f"training: {name}"
        for name in _NEEDED_OF_TRAINING
        if name not in card.training
    ]
    # No classical method names sound events.
    left_out = ("classical",) if card.command == "detect" else ()
    missing += [
        f"figures: {rooms} rooms, {kind} method"
        for rooms in ROOMS
        for kind in KINDS_OF_METHOD
        if kind not in left_out
        and not any(
            (one.rooms, one.kind) == (rooms, kind) for one in card.figures
        )
    ]
    return missing
