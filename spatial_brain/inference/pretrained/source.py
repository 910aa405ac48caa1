"""Where the files of a pretrained model come from: a folder, a run, a hub."""

import errno
import json
import os
import re
import shutil
from pathlib import Path

from huggingface_hub import hf_hub_download
from huggingface_hub.errors import (
    EntryNotFoundError,
    HfHubHTTPError,
    HFValidationError,
)

from spatial_brain.atomic import atomic_path
from spatial_brain.inference.pretrained.safe_yaml import MAX_LENGTH
from spatial_brain.inference.shipped import (
    describe_shipped,
    shipped_folders,
)

MARKER = "source.json"
HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")
_HUB_ID_AT = re.compile(rf"({HUB_ID.pattern})(?:@([\w./-]+))?")
# The first that exists is loaded; .ckpt and .pt may hold nothing but tensors.
WEIGHT_SUFFIXES = (".safetensors", ".ckpt", ".pt")


class ModelSource:
    """Gives the files of one model in a folder, in that of a run, or a hub."""

    def __init__(self, source, hparams_file, savedir=None, fetch_config=None):
        self.name = os.fspath(source)
        self.config = fetch_config
        self.folder = _local_folder(self.name, hparams_file)
        self.revision = getattr(fetch_config, "revision", None)
        if self.folder is None:
            self.name, named = _HUB_ID_AT.fullmatch(self.name).groups()
            self.revision = named or self.revision
        self.savedir = None if savedir is None else Path(savedir)
        # Whether an earlier call has kept here what there is.
        self.kept = (
            self.savedir is not None and (self.savedir / hparams_file).is_file()
        )
        if self.savedir is not None and self.savedir != self.folder:
            self._claim_savedir(hparams_file)

    def get(self, filename):
        """Path of a file of the model, fetched if necessary, or None."""
        kept = None if self.savedir is None else self.savedir / filename
        if self.folder is not None:
            path = self.folder / filename
            if not path.is_file():
                return None
        elif kept is not None and kept.is_file() and not self._refresh():
            return kept
        else:
            path = self._download(filename)
        if path is None or kept is None or path.absolute() == kept.absolute():
            return path
        with atomic_path(kept) as temporary:
            shutil.copyfile(path, temporary)
        return kept

    def get_optional(self, filename):
        """As ``get``; None, too, if a hub is not asked or out of reach.

        To be called before ``get``, which shows a later call that this was.
        """
        kept = self.savedir is not None and (self.savedir / filename).is_file()
        if self.folder is None and self.kept and not (kept or self._refresh()):
            return None
        try:
            return self.get(filename)
        except FileNotFoundError:
            return None

    def _refresh(self):
        """Whether copies of an earlier call may be out of date."""
        return self.config is not None and (
            self.config.overwrite or self.config.allow_updates
        )

    def _download(self, filename):
        """Fetch a file from the hub; None if the repository lacks it."""
        config = self.config
        try:
            return Path(
                hf_hub_download(
                    self.name,
                    filename,
                    revision=self.revision,
                    token=config.token if config else None,
                    cache_dir=config.huggingface_cache_dir if config else None,
                    local_files_only=bool(config and not config.allow_network),
                )
            )
        except (HfHubHTTPError, HFValidationError, OSError) as error:
            # A missing file and an unreachable hub share one base class.
            if isinstance(error, EntryNotFoundError) and isinstance(
                error, HfHubHTTPError
            ):
                return None
            reason = str(error).strip().splitlines()[0]
            raise FileNotFoundError(
                f"there is no folder '{self.name}' here ({Path.cwd()}), and "
                f"as a hub id it failed: {type(error).__name__}: {reason}"
            ) from error

    def _claim_savedir(self, hparams_file):
        """Mark ``savedir`` as this model's; refuse that of another model."""
        where = self.name if self.folder is None else str(self.folder.resolve())
        mine = {"source": where, "revision": self.revision}
        marker = self.savedir / MARKER
        if marker.is_file():
            found = json.loads(marker.read_text(encoding="utf-8"))
        elif (self.savedir / hparams_file).exists():
            found = {"source": "an unknown source"}
        else:
            found = mine
        if found != mine:
            raise ValueError(
                f"savedir '{self.savedir}' holds another model, from "
                f"{found.get('source')} (revision {found.get('revision')}), "
                f"not from {where} (revision {self.revision}). Use one "
                "savedir per model, or remove that folder"
            )
        with atomic_path(marker) as temporary:
            temporary.write_text(json.dumps(mine) + "\n", encoding="utf-8")


def read_text(path):
    """Text of a YAML file, which is not read if it is no such thing."""
    # Four bytes a character at most.
    if path.stat().st_size > 4 * MAX_LENGTH:
        raise ValueError(
            f"{path}: {path.stat().st_size:,} bytes are more than a model's "
            "description has"
        )
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{path} is no text in UTF-8 ({error.reason} at byte "
            f"{error.start}); copy it again"
        ) from error


def _local_folder(name, hparams_file):
    """Folder of a local or a shipped model; None if the name is a hub id."""
    path = Path(name).expanduser()
    # A run's own hyper-parameters have the same name: look deeper first.
    for folder in (path / "pretrained", path):
        if (folder / hparams_file).is_file():
            return folder
    shipped = shipped_folders()
    if name in shipped:
        return shipped[name]
    if path.is_dir():
        raise FileNotFoundError(
            errno.ENOENT,
            f"no {hparams_file} in this folder nor in its sub-folder "
            "pretrained/ (a run writes it when the training has ended)",
            str(path),
        )
    if name.startswith(("http:", "https:")):
        raise ValueError(
            f"{name} is a web address: give a folder or a hub id "
            "(organisation/name)"
        )
    # organisation/name may also be a relative path; then its parent exists.
    if _HUB_ID_AT.fullmatch(name) and not path.parent.is_dir():
        return None
    others = "" if os.sep in name else f"; {describe_shipped(name)}"
    raise FileNotFoundError(
        f"no such folder: {path} (wanted a pretrained model with "
        f"{hparams_file}, looked for from {Path.cwd()}){others}"
    )


def model_folder(source):
    """Folder of a model that is here.

    Arguments
    ---------
    source : str or Path
        Folder with a model, output folder of a run, or name of a shipped one.

    Returns
    -------
    Path
        With ``hyperparams.yaml``.

    Raises
    ------
    FileNotFoundError
        If there is no such model here.

    Example
    -------
    >>> folder = getfixture("tmp_path")
    >>> (folder / "hyperparams.yaml").touch()
    >>> model_folder(folder) == folder
    True
    """
    folder = _local_folder(os.fspath(source), "hyperparams.yaml")
    if folder is None:
        raise FileNotFoundError(f"no such folder: {source}")
    return folder


def find_weights(source):
    """File with the weights of the module ``model``.

    Arguments
    ---------
    source : str or Path
        The file itself; a pretrained folder, the output folder of a run, the
        name of a shipped model, or a hub id, perhaps with a branch or commit,
        ``"org/name@revision"``.

    Returns
    -------
    Path
        The file here, fetched if necessary.

    Raises
    ------
    FileNotFoundError
        If there is no such file or folder, or no weights in it.

    Example
    -------
    >>> import torch
    >>> folder = getfixture("tmp_path")
    >>> (folder / "hyperparams.yaml").touch()
    >>> torch.save({"weight": torch.ones(2)}, folder / "model.ckpt")
    >>> find_weights(folder).name
    'model.ckpt'
    """
    if Path(source).is_file():
        return Path(source)
    origin = ModelSource(source, "hyperparams.yaml")
    names = [f"model{suffix}" for suffix in WEIGHT_SUFFIXES]
    for name in names:
        path = origin.get(name)
        if path is not None:
            return path
    raise FileNotFoundError(
        f"'{source}' has no weights of a network; wanted " + " or ".join(names)
    )
