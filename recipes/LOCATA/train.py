#!/usr/bin/env python3
"""SAR-SSL on LOCATA: time differences of real talkers and loudspeakers.

A network with encoders of the pretext task (recipes/WSJ0-Simu/train.py or
recipes/RealArrays/train.py), or a new one, learns the TDOA of two microphones
from real segments, simulated ones, or both. The test is on LOCATA's
development set.

> python train.py hparams/mini.yaml --mode scratch           # needs no data
> python train.py hparams/tdoa.yaml --data_folder /data/LOCATA \\
>     --speech_folder /data/wsj0 --mode finetune --real_sim_ratio 1:1 \\
>     --pretext ../RealArrays/results/pretrain/1
> python train.py hparams/tdoa.yaml ... --test_only
> torchrun --nproc_per_node=4 train.py hparams/tdoa.yaml ...

``model`` and ``loss`` are exchanged in the YAML, signals in data.py:

* model(spectra [batch, 2, bin, frame, re/im]) returns predictions [batch, 1],
  and has ``embed``, the part before its head ``mlp_head``.
* loss(predictions, labels), [batch] each, returns a scalar. Whatever it is,
  epochs are compared by their mean squared error in validation.

What happens to a batch, a signal and an epoch is in
spatial_brain/pair_experiment/acoustics.py, ``AcousticsBrain``, which all
recipes of SAR-SSL share. Tracks of directions are made by track.py.
"""

from data import DESIGN, RATIOS, datasets, prepare, training_labels

from spatial_brain.datasets.speech.pool import speech_name
from spatial_brain.experiment import run_experiment
from spatial_brain.pair_experiment.acoustics import AcousticsBrain


class LocataAcoustics(AcousticsBrain):
    """Estimates the time difference at two microphones of LOCATA."""

    design = DESIGN

    def training_labels(self):
        """Time differences that the run learns from."""
        return training_labels(vars(self.hparams))

    def facts_of(self, batch):
        """Array and distance of the microphones of each segment."""
        return [
            {"array": array, "spacing": float(spacing)}
            for array, spacing in zip(
                batch["array"], batch["spacing"], strict=True
            )
        ]

    def keeps_signals(self):
        """Whether an id stands for the same segment in every epoch."""
        return not self.hparams.renew

    def leakage(self):
        """The pre-training may have had the test's recordings."""
        if "LOCATA" not in self.pretext_corpora():
            return []
        return [
            "recordings of LOCATA's development set, which is the test, are "
            f"in the pre-training of {self.hparams.pretext} (without labels)"
        ]

    def describe_training(self):
        """What the model is for and what it learned from, for its card."""
        hparams, names = self.hparams, []
        real, simulated = RATIOS[hparams.real_sim_ratio]
        if real:
            arrays = ", ".join(hparams.arrays)
            names.append(self.data_name(f"LOCATA ({arrays})"))
        if simulated:
            number = hparams.simulated_rooms["num_rooms"]
            speech = speech_name(hparams.speech_folder)
            names.append(f"{number} simulated rooms with speech of {speech}")
        return {
            **super().describe_training(),
            "data": " and ".join(names),
            "sources": [1, 1],
        }

    def describe_run(self, num_signals):
        """The run in words, for the report."""
        return (
            f"{self.hparams.mode}, real to simulated "
            f"{self.hparams.real_sim_ratio}, {num_signals} segments of "
            "LOCATA's development set"
        )


if __name__ == "__main__":
    run_experiment(LocataAcoustics, prepare, datasets)
