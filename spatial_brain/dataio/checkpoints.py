"""Checkpoints that a kill cannot leave half written."""

import logging
import shutil

from speechbrain.utils.checkpoints import Checkpoint, Checkpointer
from speechbrain.utils.distributed import ddp_barrier, if_main_process
from speechbrain.utils.logger import get_logger

from spatial_brain.atomic import full_disk

logger = get_logger(__name__)

_PARTIAL_PREFIX = "PARTIAL+"


class AtomicCheckpointer(Checkpointer):
    """A SpeechBrain checkpointer which writes first and names afterwards.

    SpeechBrain writes a checkpoint's metadata before its parameters, so a
    process killed while saving leaves a folder which the next run takes for
    its newest checkpoint and cannot read. Here the folder bears another name
    until it is complete.

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
            checkpoint.path.rename(path)
            files = {
                key: path / file.name
                for key, file in checkpoint.paramfiles.items()
            }
            checkpoint = Checkpoint(path, checkpoint.meta, files)
            logger.log(level, f"Saved a checkpoint in {path}")
        ddp_barrier()
        return checkpoint

    def _new_checkpoint_dirpath(self):
        path = super()._new_checkpoint_dirpath()
        return path.with_name(_PARTIAL_PREFIX + path.name)

    def _custom_checkpoint_dirpath(self, name):
        path = super()._custom_checkpoint_dirpath(name)
        return path.with_name(_PARTIAL_PREFIX + path.name)
