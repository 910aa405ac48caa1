#!/usr/bin/env python3
"""SAR-SSL, pretext task: self-supervised learning of spatial acoustics.

Half of the frames of one of two channels are masked; the network reconstructs
them from the other channel, for which it has to learn how the room relates
the two. No labels are needed.

> python train.py hparams/mini.yaml                          # needs no data
> python train.py hparams/pretrain.yaml --data_folder /data/wsj0
> python train.py hparams/pretrain.yaml --data_folder ... --test_only
> torchrun --nproc_per_node=4 train.py hparams/pretrain.yaml --data_folder ...

What do its encoders hold? A new decoder on them, as they are:

> python train.py hparams/mini.yaml --frozen_encoders results/mini/1 \\
>     --spec_input hidden --output_folder results/mini_frozen/1

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
all recipes of SAR-SSL share; the training loop is SpeechBrain's ``Brain`` with
what spatial_brain/experiment.py adds: ``SpatialBrain`` (resuming, clipping,
learning rate) and ``run_experiment`` (from the command line to the test).
"""

from data import SimulatedSignals, prepare_pretext, pretext_datasets

from spatial_brain.datasets.speech.pool import speech_name
from spatial_brain.datasets.wsj0_simu.scenes import SceneDistribution
from spatial_brain.experiment import run_experiment
from spatial_brain.pair_experiment.reconstruction import ReconstructionBrain


class SimulatedReconstruction(SimulatedSignals, ReconstructionBrain):
    """Reconstructs masked frames across channels, in simulated rooms."""

    def describe_training(self):
        """What the model is for and what it learned from, for its card."""
        return {
            **super().describe_training(),
            **SceneDistribution(**self.hparams.distribution).ranges(),
            "data": "simulated rooms, another one for each signal",
            "speech": speech_name(self.hparams.data_folder),
        }

    def describe_test(self, num_recordings):
        """The first test set in words, for the report."""
        return (
            f"{num_recordings} test recordings of rooms and talkers unseen in "
            "training"
        )


if __name__ == "__main__":
    run_experiment(SimulatedReconstruction, prepare_pretext, pretext_datasets)
