#!/usr/bin/env python3
"""SAR-SSL on real rooms: the pretext task on thirteen corpora and your own.

Half of the frames of one of two channels are masked; the network reconstructs
them from the other channel. Signals are segments of recordings, and speech in
measured rooms. It begins with what recipes/WSJ0-Simu/train.py learned in
simulated ones.

> python train.py hparams/mini.yaml                          # needs no data
> python data.py hparams/pretrain.yaml --data_folder /data --preflight
> python train.py hparams/pretrain.yaml --data_folder /data \\
>     --speech_folder /data/wsj0 --warm_start ../WSJ0-Simu/results/pretrain/1
> python train.py hparams/pretrain.yaml ... --test_only
> torchrun --nproc_per_node=4 train.py hparams/pretrain.yaml ...

``model`` and ``loss`` are exchanged in the YAML, signals in data.py:

* model(spectra [batch, 2, bin, frame, re/im], seeds=[batch] or None) returns a
  dictionary: ``prediction`` and ``target`` like the spectra, ``masked_frames``
  [batch, frame], ``masked_channel`` [batch], and ``reference``, the mean error
  of copying the other channel.
* loss(prediction, target, masked_frames, masked_channel) returns [batch].
  Whatever it is, epochs are compared by the mean squared error of the masked
  frames in validation.

What happens to a batch, a recording and an epoch is in
spatial_brain/pair_experiment/reconstruction.py, ``ReconstructionBrain``, which
all recipes of SAR-SSL share.
"""

from data import datasets, leakage, prepare, trained_with

from spatial_brain.datasets.speech.pool import speech_name
from spatial_brain.experiment import run_experiment
from spatial_brain.pair_experiment.reconstruction import ReconstructionBrain


class RealReconstruction(ReconstructionBrain):
    """Reconstructs masked frames across channels, in real rooms."""

    def facts(self):
        """Corpora of the training, with their shares and rooms."""
        return {"corpora": trained_with(vars(self.hparams))}

    def describe_training(self):
        """What the model is for and what it learned from, for its card."""
        corpora = ", ".join(trained_with(vars(self.hparams)))
        return {
            **super().describe_training(),
            "data": self.data_name(f"recordings and rooms of {corpora}"),
            "speech": speech_name(self.hparams.speech_folder),
        }

    def leakage(self):
        """Rooms and recordings that training and evaluation share."""
        return leakage(vars(self.hparams))

    def describe_test(self, num_recordings):
        """The validation in words, for the report."""
        names = ", ".join(trained_with(vars(self.hparams)))
        return f"{num_recordings} validation segments; trained with {names}"


if __name__ == "__main__":
    run_experiment(RealReconstruction, prepare, datasets)
