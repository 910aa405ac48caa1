"""Where a pretrained model comes from: a folder here, or a hub repository."""

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

MARKER = "source.json"
HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")


class ModelSource:
    """Gives the files of one pretrained model, wherever it is.

    Arguments
    ---------
    source : str or Path
        A folder with a model, the output folder of a run (its ``pretrained``
        folder is found), or a hub id such as ``"organisation/name"``.
    hparams_file : str
        Name of the YAML file which marks a model's folder.
    savedir : str or Path, optional
        Folder to keep copies in. It belongs to one model: a folder that
        holds another one is refused.
    fetch_config : speechbrain.utils.fetching.FetchConfig, optional
        ``revision``, ``token``, ``allow_network``, ``allow_updates``,
        ``overwrite`` and ``huggingface_cache_dir`` for the hub.

    Raises
    ------
    FileNotFoundError
        If a local folder was meant and it, or the model in it, is missing.
    ValueError
        If ``savedir`` holds another model, or ``source`` is a web address.

    Example
    -------
    >>> folder = getfixture("tmp_path")
    >>> ModelSource(folder / "nothing", "hyperparams.yaml")
    Traceback (most recent call last):
    ...
    FileNotFoundError: no such folder: ...nothing (wanted a pretrained model...
    >>> _ = (folder / "hyperparams.yaml").write_text("a: 1")
    >>> ModelSource(folder, "hyperparams.yaml").get("hyperparams.yaml").name
    'hyperparams.yaml'
    """

    def __init__(self, source, hparams_file, savedir=None, fetch_config=None):
        self.name = os.fspath(source)
        self.config = fetch_config
        self.folder = _local_folder(self.name, hparams_file)
        self.revision = getattr(fetch_config, "revision", None)
        self.savedir = None if savedir is None else Path(savedir)
        if self.savedir is not None and self.savedir != self.folder:
            self._claim_savedir(hparams_file)

    def get(self, filename):
        """Path of a file of the model, fetched if necessary.

        Arguments
        ---------
        filename : str
            Name inside the model's folder.

        Returns
        -------
        Path or None
            The file here; None if the model has no such file.

        Raises
        ------
        FileNotFoundError
            If the hub has no such repository or cannot be reached.
        """
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
        temporary = kept.with_name(f".{kept.name}.{os.getpid()}.part")
        shutil.copyfile(path, temporary)
        os.replace(temporary, kept)
        return kept

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
        self.savedir.mkdir(parents=True, exist_ok=True)
        temporary = marker.with_name(f".{MARKER}.{os.getpid()}.part")
        temporary.write_text(json.dumps(mine) + "\n", encoding="utf-8")
        os.replace(temporary, marker)


def _local_folder(name, hparams_file):
    """Folder of a local model; None if the name is to be a hub id."""
    path = Path(name).expanduser()
    if path.is_dir():
        # A run's own hyper-parameters have the same name: look deeper first.
        for folder in (path / "pretrained", path):
            if (folder / hparams_file).is_file():
                return folder
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
    if HUB_ID.fullmatch(name) and not path.parent.is_dir():
        return None
    raise FileNotFoundError(
        f"no such folder: {path} (wanted a pretrained model with "
        f"{hparams_file}, looked for from {Path.cwd()})"
    )
