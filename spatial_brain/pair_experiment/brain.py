"""What both tasks on signals of two microphones have in common."""

from pathlib import Path

import torch
from speechbrain.utils.logger import get_logger

from spatial_brain.experiment import SpatialBrain
from spatial_brain.models.mc_conformer import convolution_format

logger = get_logger(__name__)


class PairBrain(SpatialBrain):
    """Trains a network on the spectra of two signals.

    The hyper-parameters hold ``modules`` with ``model`` and ``features``, and
    ``compat``: behaviours of the original, a list of names or True for all of
    ``COMPAT``; perhaps ``fault_augmentation``, which gives training signals
    microphone faults (null for none).

    * ``"new_optimizer"``: every epoch starts with a new Adam. Default: one
      Adam, saved with the weights.
    * ``"batch_means"``: errors are averaged over batches, whatever their
      size. Default: over signals.

    Arguments
    ---------
    modules, opt_class, hparams, run_opts, checkpointer
        As for :class:`speechbrain.Brain`.

    Raises
    ------
    ValueError
        If ``compat`` names a behaviour that is not known.
    """

    COMPAT = ("new_optimizer", "batch_means")

    def __init__(self, modules, opt_class, hparams, run_opts, checkpointer):
        compat = hparams["compat"]
        if isinstance(compat, bool):
            compat = self.COMPAT if compat else ()
        unknown = sorted(set(compat) - set(self.COMPAT))
        if unknown:
            raise ValueError(
                f"unknown compat {', '.join(unknown)}; known: "
                f"{', '.join(self.COMPAT)}"
            )
        self.compat = tuple(compat)
        super().__init__(modules, opt_class, hparams, run_opts, checkpointer)
        self.fault_augmentation = hparams.get("fault_augmentation")
        # In any precision, as moments of the optimiser have this order, too.
        self.modules.model.to(memory_format=convolution_format(self.device))
        self.leaks = None

    def signals(self, batch):
        """Waveforms and labels of a batch; a recipe may compute them here.

        Arguments
        ---------
        batch : dict
            What the data set gave.

        Returns
        -------
        tuple
            float32 [batch, time, 2], and name to labels [batch].
        """
        return batch["waveform"], batch.get("labels", {})

    def features_and_labels(self, batch):
        """Spectra and labels of a batch.

        Arguments
        ---------
        batch : dict
            What the data set gave.

        Returns
        -------
        tuple
            [batch, 2, bin, frame, re/im], and name to labels [batch].
        """
        with torch.autocast(self.device_type, enabled=False), torch.no_grad():
            waveform, labels = self.signals(batch)
            if self.fault_augmentation is not None and self.modules.training:
                waveform, labels = self.fault_augmentation(waveform, labels)
            features = self.modules.features(waveform.to(self.device))
        labels = {name: x.to(self.device) for name, x in labels.items()}
        return features, labels

    def forget_optimizer(self):
        """Start an epoch as the original does, unless amid one."""
        if "new_optimizer" in self.compat and self.step == 0:
            for optimizer in self.optimizers_dict.values():
                optimizer.state.clear()

    def leakage(self):
        """What the evaluation has in common with the training.

        A recipe that cannot rule it out says so here: lines such as "room
        Office_1 of the test is in the pre-training". They stand in the log,
        in ``metrics.json`` and in the report.

        Returns
        -------
        list of str
        """
        return []

    def find_leakage(self):
        """The lines of :meth:`leakage`, logged when they are first known.

        Returns
        -------
        list of str
        """
        if self.leaks is None:
            self.leaks = list(self.leakage())
            for line in self.leaks:
                logger.warning("leakage: %s", line)
        return self.leaks

    def on_fit_start(self):
        """Log what leaks, then begin or resume."""
        self.find_leakage()
        super().on_fit_start()

    def on_evaluate_start(self, max_key=None, min_key=None):
        """Load the best checkpoint; see SpatialBrain."""
        self.find_leakage()
        super().on_evaluate_start(max_key=max_key, min_key=min_key)


def check_exists(option, source):
    """Refuse weights that are not there.

    Arguments
    ---------
    option : str
        Named in the message.
    source : str or Path or None
        Folder or file.

    Raises
    ------
    FileNotFoundError
        If there is none.

    Example
    -------
    >>> check_exists("--pretext", "nowhere")
    Traceback (most recent call last):
    FileNotFoundError: --pretext nowhere: no such folder or checkpoint
    """
    if source is not None and not Path(source).exists():
        raise FileNotFoundError(
            f"{option} {source}: no such folder or checkpoint"
        )
