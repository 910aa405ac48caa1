#!/usr/bin/env python3
"""SAR-SSL on ACE: T60, DRR, C50, absorption and SNR of real rooms.

A network with encoders of the pretext task (recipes/WSJ0-Simu/train.py or
recipes/RealArrays/train.py), or a new one, learns one quantity from five rooms
of ACE, from simulated ones, or from both. A sixth room validates, the seventh
is the test.

> python train.py hparams/mini.yaml                          # needs no data
> python train.py hparams/ace.yaml --data_folder /data/ACE \\
>     --speech_folder /data/wsj0 --task T60 --mode finetune \\
>     --real_sim_ratio 1:0 --fold Office_1 \\
>     --pretext ../RealArrays/results/pretrain/1
> python train.py hparams/ace.yaml ... --test_only
> torchrun --nproc_per_node=4 train.py hparams/ace.yaml ...

``model`` and ``loss`` are exchanged in the YAML, signals in data.py:

* model(spectra [batch, 2, bin, frame, re/im]) returns predictions [batch, 1],
  and has ``embed``, the part before its head ``mlp_head``.
* loss(predictions, labels), [batch] each, returns a scalar. Whatever it is,
  epochs are compared by their mean squared error in validation.

What happens to a batch, a signal and an epoch is in
spatial_brain/pair_experiment/acoustics.py, ``AcousticsBrain``, which all
recipes of SAR-SSL share. All folds together: grid.py.
"""

from data import (
    DESIGN,
    datasets,
    describe_data,
    prepare,
    room_fold,
    training_labels,
)

from spatial_brain.experiment import run_experiment
from spatial_brain.pair_experiment.acoustics import AcousticsBrain


class AceAcoustics(AcousticsBrain):
    """Estimates one quantity of a room of ACE."""

    design = DESIGN

    def training_labels(self):
        """Labels of the task in the rooms of the training."""
        return training_labels(vars(self.hparams))

    def facts_of(self, batch):
        """Room, array, its position, and the kind of noise."""
        names = "room", "array", "position", "noise"
        columns = zip(*(batch[name] for name in names), strict=True)
        return [dict(zip(names, values, strict=True)) for values in columns]

    def keeps_signals(self):
        """Whether an id stands for the same signal in every epoch."""
        return not self.hparams.renew

    def leakage(self):
        """The pre-training may have had rooms of validation and test."""
        known = self.pretext_corpora().get("ACE", {}).get("rooms", [])
        rooms = room_fold(vars(self.hparams))
        return [
            f"room {room} of ACE, which is the {name}, is in the pre-training "
            f"of {self.hparams.pretext} (without labels)"
            for name, room in (("test", rooms.test), ("validation", rooms.val))
            if room in known
        ]

    def describe_training(self):
        """What the model is for and what it learned from, for its card."""
        facts = describe_data(vars(self.hparams))
        facts["data"] = self.data_name(facts["data"])
        return {**super().describe_training(), **facts}

    def describe_run(self, num_signals):
        """The run in words, for the report."""
        hparams = self.hparams
        rooms = room_fold(vars(hparams))
        return (
            f"{hparams.mode}, real to simulated {hparams.real_sim_ratio}, "
            f"{num_signals} test signals in {rooms.test}, validation in "
            f"{rooms.val}"
        )


if __name__ == "__main__":
    run_experiment(AceAcoustics, prepare, datasets)
