"""Checkpoints that a kill cannot leave half written, nor damage go unseen."""

import json
import logging
import os
import shutil
import zlib

import torch
from speechbrain.utils.checkpoints import (
    CKPT_PREFIX,
    METAFNAME,
    Checkpoint,
    Checkpointer,
    ckpt_recency,
)
from speechbrain.utils.distributed import ddp_barrier, if_main_process
from speechbrain.utils.logger import get_logger

from spatial_brain.atomic import full_disk

logger = get_logger(__name__)

_PARTIAL_PREFIX = "PARTIAL+"
# In a checkpoint's folder: name of each file -> its size and CRC-32.
_CHECKSUMS = "checksums.json"


class AtomicCheckpointer(Checkpointer):
    """A SpeechBrain checkpointer which writes first and names afterwards.

    SpeechBrain writes a checkpoint's metadata before its parameters, so a
    process killed while saving leaves a folder which the next run takes for
    its newest checkpoint and cannot read. Here the folder bears another name
    until it is complete and on the disk.

    A checkpoint holds the checksums of its files. One that is damaged is
    named in the log and left out: the run goes on from the sound one before
    it. If none is sound, recovering is an error.

    Arguments
    ---------
    *args, **kwargs
        Those of :class:`speechbrain.utils.checkpoints.Checkpointer`.

    Example
    -------
    >>> import torch
    >>> folder = getfixture("tmp_path")
    >>> model = torch.nn.Linear(1, 1)
    >>> checkpointer = AtomicCheckpointer(folder, {"model": model})
    >>> saved = checkpointer.save_checkpoint({"error": 1.0})
    >>> checkpointer.find_checkpoint().path == saved.path
    True
    >>> [path.name for path in folder.iterdir()] == [saved.path.name]
    True
    """

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self._faults = {}

    def save_checkpoint(self, *args, **kwargs):
        """Save a checkpoint under a partial name, then rename it.

        Arguments
        ---------
        *args, **kwargs
            Those of ``Checkpointer.save_checkpoint``.

        Returns
        -------
        Checkpoint or None
            The saved checkpoint; None on all but the main process.
        """
        if if_main_process():
            for leftover in self.checkpoints_dir.glob(f"{_PARTIAL_PREFIX}*"):
                shutil.rmtree(leftover)
        level = kwargs.pop("verbosity", logging.INFO)
        with full_disk(self.checkpoints_dir):
            checkpoint = super().save_checkpoint(
                *args, verbosity=logging.DEBUG, **kwargs
            )
        # Every rank has written its part before the folder is named.
        ddp_barrier()
        if checkpoint is not None:
            name = checkpoint.path.name.removeprefix(_PARTIAL_PREFIX)
            path = checkpoint.path.with_name(name)
            _write_checksums(checkpoint.path)
            checkpoint.path.rename(path)
            _sync(path.parent)
            self._faults[path] = None
            files = {
                key: path / file.name
                for key, file in checkpoint.paramfiles.items()
            }
            checkpoint = Checkpoint(path, checkpoint.meta, files)
            logger.log(level, f"Saved a checkpoint in {path}")
        ddp_barrier()
        return checkpoint

    def save_and_keep_only(self, meta=None, **kwargs):
        """Save a checkpoint and delete those that are not needed any more.

        Arguments
        ---------
        meta : dict, optional
            As for ``save_checkpoint``.
        **kwargs
            Those of ``Checkpointer.save_and_keep_only``.

        Raises
        ------
        ValueError
            If what checkpoints are compared by is not a number.
        """
        meta = meta or {}
        for kind in ("min_keys", "max_keys"):
            for key in kwargs.get(kind) or ():
                if key in meta and meta[key] != meta[key]:
                    raise ValueError(
                        f"{self.checkpoints_dir}: {key}, by which checkpoints "
                        "are compared, is not a number; nothing was saved"
                    )
        # SpeechBrain would append to the one list of all calls.
        keys = [*kwargs.pop("importance_keys", ())]
        super().save_and_keep_only(meta, importance_keys=keys, **kwargs)

    def delete_checkpoints(
        self,
        *,
        num_to_keep=1,
        min_keys=None,
        max_keys=None,
        importance_keys=(ckpt_recency,),
        ckpt_predicate=None,
        verbosity=logging.INFO,
    ):
        """Delete all but the most important checkpoints.

        They are renamed first: a kill leaves a partial checkpoint, which the
        next one removes, and none that looks damaged.

        Arguments
        ---------
        num_to_keep, min_keys, max_keys, importance_keys, ckpt_predicate
            As for ``Checkpointer.delete_checkpoints``.
        verbosity : int
            Level of the log.
        """
        orders = [
            *({"min_key": key} for key in min_keys or ()),
            *({"max_key": key} for key in max_keys or ()),
            *({"importance_key": key} for key in importance_keys),
        ]
        found, kept = set(), set()
        for order in orders:
            checkpoints = self.find_checkpoints(
                ckpt_predicate=ckpt_predicate, **order
            )
            paths = [checkpoint.path for checkpoint in checkpoints]
            found |= {*paths}
            kept |= {*paths[:num_to_keep]}
        # All ranks have looked before any folder goes, and go on when all did.
        ddp_barrier()
        if if_main_process():
            for path in sorted(found - kept):
                partial = path.with_name(_PARTIAL_PREFIX + path.name)
                path.rename(partial)
                shutil.rmtree(partial)
                logger.log(verbosity, f"Deleted checkpoint in {path}")
        ddp_barrier()

    def list_checkpoints(self):
        """All sound checkpoints; damaged ones are named in the log, once.

        Returns
        -------
        list of Checkpoint
        """
        folders = self._list_checkpoint_dirs()
        for folder in folders:
            if folder not in self._faults:
                fault = self._faults[folder] = _fault(folder)
                if fault and if_main_process():
                    logger.warning(f"{folder}: damaged ({fault}), left out")
        return self._construct_checkpoint_objects(
            [folder for folder in folders if self._faults[folder] is None]
        )

    def recover_if_possible(self, *args, **kwargs):
        """Load the best sound checkpoint, or nothing if there is none yet.

        Arguments
        ---------
        *args, **kwargs
            Those of ``Checkpointer.recover_if_possible``.

        Returns
        -------
        Checkpoint or None
            What was loaded.

        Raises
        ------
        ValueError
            If there are checkpoints, but all of them are damaged.
        """
        found = super().recover_if_possible(*args, **kwargs)
        if found is None and (folders := self._list_checkpoint_dirs()):
            if all(self._faults.get(folder) for folder in folders):
                faults = "; ".join(
                    f"{folder.name}: {self._faults[folder]}"
                    for folder in folders
                )
                raise ValueError(
                    f"{self.checkpoints_dir}: every checkpoint is damaged "
                    f"({faults}). Remove them to train anew, or choose another "
                    "--output_folder"
                )
        return found

    def load_checkpoint(self, checkpoint):
        """Load a checkpoint into the recoverables.

        Arguments
        ---------
        checkpoint : Checkpoint
            Which.

        Raises
        ------
        ValueError
            If it does not fit; the checkpoint is named.
        """
        try:
            super().load_checkpoint(checkpoint)
        except Exception as error:
            raise ValueError(
                f"{checkpoint.path}: does not fit this experiment, or is "
                f"damaged ({type(error).__name__}: {error})"
            ) from error

    def _list_checkpoint_dirs(self):
        return [
            path
            for path in sorted(self.checkpoints_dir.iterdir())
            if path.is_dir() and path.name.startswith(CKPT_PREFIX)
        ]

    def _new_checkpoint_dirpath(self):
        path = super()._new_checkpoint_dirpath()
        return path.with_name(_PARTIAL_PREFIX + path.name)

    def _custom_checkpoint_dirpath(self, name):
        path = super()._custom_checkpoint_dirpath(name)
        return path.with_name(_PARTIAL_PREFIX + path.name)


def _crc(path):
    """CRC-32 of a file."""
    crc = 0
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            crc = zlib.crc32(block, crc)
    return crc


def _files(folder):
    """Files of a checkpoint by name, its checksums aside."""
    return {
        path.relative_to(folder).as_posix(): path
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != _CHECKSUMS
    }


def _sync(path):
    """Wait until a file, or what a folder lists, is on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _write_checksums(folder):
    """Note size and CRC of each file, and bring all to the disk."""
    sums = {
        name: [path.stat().st_size, _crc(path)]
        for name, path in _files(folder).items()
    }
    (folder / _CHECKSUMS).write_text(json.dumps(sums) + "\n")
    for path in (*_files(folder).values(), folder / _CHECKSUMS, folder):
        _sync(path)


def _fault(folder):
    """What is wrong with a checkpoint; None if it is sound."""
    if not (folder / METAFNAME).is_file():
        return f"{METAFNAME} is missing"
    path = folder / _CHECKSUMS
    if not path.is_file():
        return _unreadable(folder)  # written by version 0.1
    try:
        sums = json.loads(path.read_text())
        for name, (size, crc) in sums.items():
            file = folder / name
            if not file.is_file():
                return f"{name} is missing"
            if file.stat().st_size != size:
                return f"{name} has {file.stat().st_size} of {size} bytes"
            if _crc(file) != crc:
                return f"the content of {name} has changed"
    except (ValueError, TypeError, AttributeError, OSError) as error:
        return f"{_CHECKSUMS} cannot be read: {error}"
    return None


def _unreadable(folder):
    """What of a checkpoint without checksums cannot be read, if anything."""
    try:
        Checkpointer._construct_checkpoint_objects([folder])
        for path in folder.glob("*.ckpt"):
            if path.read_bytes()[:2] == b"PK":
                torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return None
