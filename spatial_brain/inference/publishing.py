"""Publish a trained model: its files, its card and a page made from it."""

import dataclasses
import json
import shutil
from pathlib import Path

from huggingface_hub import CommitOperationAdd, HfApi
from huggingface_hub.errors import HfHubHTTPError, LocalTokenNotFoundError

from spatial_brain.atomic import atomic_path
from spatial_brain.dataio.files import file_digest
from spatial_brain.inference import (
    BinauralSeparator,
    RoomAcousticsEstimator,
    SELDetector,
    SoundLocalizer,
)
from spatial_brain.inference.pretrained.card import CARD_FILE, read_card
from spatial_brain.inference.pretrained.interface import PretrainedModel
from spatial_brain.inference.pretrained.saving import require_names
from spatial_brain.inference.pretrained.source import HUB_ID

_HPARAMS = "hyperparams.yaml"
# Command and interface; the first whose values and modules are there.
_INTERFACES = {
    "acoustics": RoomAcousticsEstimator,
    "detect": SELDetector,
    "locate": SoundLocalizer,
    "separate": BinauralSeparator,
}
# That of the HTTP library, whichever the hub's own uses.
_HTTPError = HfHubHTTPError.__bases__[0]
_TAGS = ("audio", "spatial-audio", "multi-microphone", "spatial-brain")


def publishable(folder, licence=None):
    """Check the folder of a model, and complete its card.

    Arguments
    ---------
    folder : str or Path
        Pretrained folder, or output folder of a run.
    licence : str, optional
        Of the model, such as ``"cc-by-4.0"``; needed if the card has none.

    Returns
    -------
    tuple
        The files, a list of Path; the ModelCard, with their hashes; and the
        name of the command that uses the model.

    Raises
    ------
    FileNotFoundError
        If there is no model.
    ValueError
        If it cannot be loaded, has no card or no licence, or weights that are
        no safetensors.

    Example
    -------
    >>> publishable("./nowhere")
    Traceback (most recent call last):
    ...
    FileNotFoundError: no such folder: nowhere (wanted a pretrained ...
    """
    folder = Path(folder)
    if (folder / "pretrained" / _HPARAMS).is_file():
        folder = folder / "pretrained"
    # As everybody will load it, own classes included in the refusal.
    model = PretrainedModel.from_hparams(folder)
    if not (folder / CARD_FILE).is_file():
        raise ValueError(
            f"{folder} has no {CARD_FILE}: evaluate the run again "
            "(train.py ... --test_only), which writes it"
        )
    card = read_card(folder / CARD_FILE)
    licence = licence or card.licence
    if licence is None:
        raise ValueError(
            "say under which licence the model may be used: --licence "
            "cc-by-4.0, or another that the training data allow"
        )
    files = [folder / _HPARAMS]
    for name in model.mods:
        path = folder / f"{name}.safetensors"
        if not path.is_file():
            raise ValueError(
                f"{path} is missing: only safetensors are published"
            )
        files.append(path)
    hashes = {path.name: file_digest(path) for path in files}
    card = dataclasses.replace(card, licence=licence, hashes=hashes)
    return files, card, _command(model, folder)


def _command(model, folder):
    """Name of the command whose interface fits a model."""
    hparams = vars(model.hparams)
    for command, interface in _INTERFACES.items():
        try:
            require_names("keys", interface.HPARAMS_NEEDED, hparams)
            require_names("modules", interface.MODULES_NEEDED, model.mods)
        except ValueError:
            continue
        return command
    raise ValueError(f"{folder}: the model of no command of this package")


def model_page(card, repo, command):
    """README of a published model.

    Arguments
    ---------
    card : ModelCard
        With a licence.
    repo : str
        Such as ``"organisation/name"``.
    command : str
        Command that uses the model.

    Returns
    -------
    str
        Markdown, with what the hub reads at its head.

    Example
    -------
    >>> from spatial_brain.inference.pretrained.card import ModelCard
    >>> card = ModelCard("T60", licence="mit")
    >>> page = model_page(card, "me/t60", "acoustics")
    >>> "spatial-brain acoustics recording.wav --model me/t60" in page
    True
    """
    interface = _INTERFACES[command]
    lines = ["---", f"license: {card.licence}", "library_name: spatial-brain"]
    lines += ["tags:", *(f"- {tag}" for tag in _TAGS), "---", ""]
    lines += [f"# {repo.split('/')[1]}: {card.task}", "", card.summary(), ""]
    lines += ["```", "pip install spatial-brain"]
    lines += [f"spatial-brain {command} recording.wav --model {repo}", "```"]
    name = interface.__name__
    lines += ["", "```python", f"from spatial_brain.inference import {name}"]
    lines += ["", f'model = {name}.from_hparams("{repo}")', "```"]
    if card.measures:
        on = f" on {card.test}" if card.test else ""
        lines += ["", "## What it is worth", "", f"Measured{on}:", ""]
        lines += ["| measure | value | 95 % | constant | correlation |"]
        lines += ["| --- | --- | --- | --- | --- |"]
        lines += [_row(measure) for measure in card.measures]
    facts = {
        name: value
        for name, value in card.to_dict().items()
        if name not in ("measures", "hashes", "calibration", "card_version")
    }
    lines += ["", "## What it is for", "", "| | |", "| --- | --- |"]
    lines += [
        f"| {name.replace('_', ' ')} | {_cell(value)} |"
        for name, value in facts.items()
    ]
    lines += ["", f"`{CARD_FILE}` holds the same for programs, and the SHA-256"]
    lines += ["of each file, which is checked when the model is loaded.", ""]
    return "\n".join(lines)


def _row(measure):
    """Line of the table of measures."""
    unit = f" {measure.unit}" if measure.unit else ""
    interval = ""
    if measure.low is not None and measure.high is not None:
        interval = f"{measure.low:.3g} to {measure.high:.3g}"
    constant, correlation = (
        "" if value is None else f"{value:.3g}"
        for value in (measure.constant, measure.correlation)
    )
    return (
        f"| {_cell(measure.name)} | {measure.value:.3g}{unit} | {interval} | "
        f"{constant} | {correlation} |"
    )


def _cell(value):
    """A value in a cell of a table."""
    if isinstance(value, list):
        value = ", ".join(map(str, value))
    return str(value).replace("|", "\\|")


def _contents(folder, repo, licence):
    """Name to path or bytes of everything that is published."""
    files, card, command = publishable(folder, licence)
    text = json.dumps(card.to_dict(), indent=2) + "\n"
    return {
        **{path.name: str(path) for path in files},
        CARD_FILE: text.encode(),
        "README.md": model_page(card, repo, command).encode(),
    }


def write_published(folder, output, repo="organisation/name", licence=None):
    """Write what would be uploaded into a folder.

    Arguments
    ---------
    folder : str or Path
        Pretrained folder, or output folder of a run.
    output : str or Path
        New or empty.
    repo : str
        Name in the page.
    licence : str, optional
        As for :func:`publishable`.

    Raises
    ------
    FileExistsError
        If there is something in ``output``.
    ValueError
        As :func:`publishable`.

    Example
    -------
    >>> folder = getfixture("tmp_path")
    >>> _ = (folder / "a").write_text("b")
    >>> write_published("./nowhere", folder)
    Traceback (most recent call last):
    ...
    FileExistsError: ...: there is something already; name a new folder
    """
    output = Path(output)
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise FileExistsError(
            f"{output}: there is something already; name a new folder"
        )
    for name, content in _contents(folder, repo, licence).items():
        with atomic_path(output / name) as temporary:
            if isinstance(content, bytes):
                temporary.write_bytes(content)
            else:
                shutil.copyfile(content, temporary)


def publish_model(
    folder,
    repo,
    *,
    licence=None,
    token=None,
    private=False,
    revision=None,
):
    """Upload a model to the hub, in one commit: all of it or nothing.

    Files that are there already are not sent again, so that a call after a
    failure goes on where it ended.

    Arguments
    ---------
    folder : str or Path
        Pretrained folder, or output folder of a run.
    repo : str
        ``"organisation/name"``; made if it is not there.
    licence : str, optional
        As for :func:`publishable`.
    token : str, optional
        With the right to write; default: that of ``hf auth login`` or of the
        environment variable HF_TOKEN.
    private : bool
        Whether a new repository is private.
    revision : str, optional
        Branch; made if it is not there. Default: main.

    Returns
    -------
    str
        Identity of the commit, a ``revision`` for ``from_hparams``.

    Raises
    ------
    ValueError
        As :func:`publishable`; or if the hub refuses.

    Example
    -------
    >>> publish_model("./nowhere", "nowhere")
    Traceback (most recent call last):
    ...
    ValueError: 'nowhere' is no name such as organisation/name
    """
    if not HUB_ID.fullmatch(repo):
        raise ValueError(f"{repo!r} is no name such as organisation/name")
    contents = _contents(folder, repo, licence)
    operations = [
        CommitOperationAdd(name, content) for name, content in contents.items()
    ]
    # None would be an anonymous call where nobody has logged in.
    hub = HfApi(token=True if token is None else token)
    try:
        hub.create_repo(repo, private=private, exist_ok=True)
        if revision is not None:
            hub.create_branch(repo, branch=revision, exist_ok=True)
        done = hub.create_commit(
            repo,
            operations,
            commit_message="Model, card and page",
            revision=revision,
        )
    except LocalTokenNotFoundError as error:
        raise ValueError(
            "the hub wants to know who you are: log in (hf auth login), set "
            "HF_TOKEN or give --token"
        ) from error
    except (_HTTPError, OSError) as error:
        reason = str(error).strip().splitlines()[0]
        raise ValueError(
            f"{hub.endpoint} did not take {repo}: {type(error).__name__}: "
            f"{reason}; the same command goes on where it ended"
        ) from error
    return done.oid
