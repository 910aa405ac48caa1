"""What the folder of a model for others holds, after it was checked."""

import dataclasses
import json
import shutil
from pathlib import Path

from spatial_brain.atomic import atomic_path
from spatial_brain.dataio.files import file_digest
from spatial_brain.inference.interfaces import find_interface
from spatial_brain.inference.pretrained.card import CARD_FILE, read_card
from spatial_brain.inference.pretrained.golden import check_golden
from spatial_brain.inference.pretrained.interface import PretrainedModel
from spatial_brain.inference.pretrained.source import model_folder
from spatial_brain.inference.publishing.page import model_page

_HPARAMS = "hyperparams.yaml"


def publishable(folder, licence=None):
    """Check the folder of a model, and complete its card.

    Arguments
    ---------
    folder : str or Path
        Pretrained folder, output folder of a run, or name of a shipped model.
    licence : str, optional
        Of the model, such as ``"cc-by-4.0"``; needed if the card has none.

    Returns
    -------
    tuple
        The files, a list of Path; the ModelCard, with their hashes; and
        command and interface that use the model, as
        :func:`spatial_brain.inference.interfaces.find_interface` has them.

    Raises
    ------
    FileNotFoundError
        If there is no model.
    ValueError
        If it cannot be loaded, has no card or no licence, weights that are
        no safetensors, or does not give its golden output.

    Example
    -------
    >>> publishable("./nowhere")
    Traceback (most recent call last):
    ...
    FileNotFoundError: no such folder: nowhere (wanted a pretrained ...
    """
    folder = model_folder(folder)
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
    if card.golden:
        files.append(folder / card.golden["file"])
        check_golden(folder)
    hashes = {path.name: file_digest(path) for path in files}
    card = dataclasses.replace(card, licence=licence, hashes=hashes)
    return files, card, find_interface(model, folder)


def contents(folder, name, licence=None):
    """Everything that the folder of a model holds for others.

    Arguments
    ---------
    folder : str or Path
        Pretrained folder, or output folder of a run.
    name : str
        Of the model, in its page.
    licence : str, optional
        As for :func:`publishable`.

    Returns
    -------
    dict
        Name of each file to its path (str), or what is in it (bytes).

    Raises
    ------
    ValueError
        As :func:`publishable`.

    Example
    -------
    >>> contents("./nowhere", "me/mine")
    Traceback (most recent call last):
    ...
    FileNotFoundError: no such folder: nowhere (wanted a pretrained ...
    """
    files, card, interface = publishable(folder, licence)
    text = json.dumps(card.to_dict(), indent=2) + "\n"
    return {
        **{path.name: str(path) for path in files},
        CARD_FILE: text.encode(),
        "README.md": model_page(card, name, *interface).encode(),
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
    write_contents(output, contents(folder, repo, licence))


def write_contents(output, files):
    """Write the files of a model, each complete or not at all.

    Arguments
    ---------
    output : str or Path
        Folder; made if it is not there.
    files : dict
        From :func:`contents`.

    Example
    -------
    >>> folder = getfixture("tmp_path")
    >>> write_contents(folder, {"README.md": b"a model"})
    >>> (folder / "README.md").read_text()
    'a model'
    """
    for name, content in files.items():
        with atomic_path(Path(output) / name) as temporary:
            if isinstance(content, bytes):
                temporary.write_bytes(content)
            else:
                shutil.copyfile(content, temporary)
