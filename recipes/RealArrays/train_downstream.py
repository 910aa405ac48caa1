#!/usr/bin/env python3
"""SAR-SSL in measured rooms: TDOA, T60, DRR ... from few of one's own.

A network with the encoders of the pretext task (train.py, or that of
recipes/WSJ0-Simu), or a new one, learns one quantity from speech in measured
rooms, and is tested in a room that it does not know.

> python train_downstream.py hparams/measured.yaml \\
>     --data_folder /data/my_rooms --speech_folder /data/wsj0 --task DRR \\
>     --fold 0 --pretext ../WSJ0-Simu/results/small/1
> python train_downstream.py hparams/measured.yaml ... --test_only

``model`` and ``loss`` are exchanged in the YAML, signals in measured_rooms.py:

* model(spectra [batch, 2, bin, frame, re/im]) returns predictions [batch, 1],
  and has ``embed``, the part before its head ``mlp_head``.
* loss(predictions, labels), [batch] each, returns a scalar. Whatever it is,
  epochs are compared by their mean squared error in validation.

What happens to a batch, a signal and an epoch is in
spatial_brain/pair_experiment/acoustics.py, ``AcousticsBrain``, which all
recipes of SAR-SSL share. All folds together: grid.py.
"""

from measured_rooms import (
    DESIGN,
    datasets,
    prepare,
    room_fold,
    training_labels,
)

from spatial_brain.datasets.speech.pool import speech_name
from spatial_brain.experiment import run_experiment
from spatial_brain.pair_experiment.acoustics import AcousticsBrain


class MeasuredAcoustics(AcousticsBrain):
    """Estimates one quantity of a measured room or of a source in it."""

    design = DESIGN

    def training_labels(self):
        """Labels of the task in the rooms of the training."""
        return training_labels(vars(self.hparams))

    def facts_of(self, batch):
        """Room, array, and the distance of the microphones."""
        return [
            {"room": room, "array": array, "spacing": float(spacing)}
            for room, array, spacing in zip(
                batch["room"], batch["array"], batch["spacing"], strict=True
            )
        ]

    def keeps_signals(self):
        """Whether an id stands for the same signal in every epoch."""
        return not self.hparams.renew

    def leakage(self):
        """The pre-training may have had the room of the test."""
        corpus = self.hparams.corpus
        known = self.pretext_corpora().get(corpus, {}).get("rooms", [])
        test = room_fold(vars(self.hparams)).test
        if test not in known:
            return []
        return [
            f"room {test} of {corpus}, which is the test, is in the "
            f"pre-training of {self.hparams.pretext} (without labels)"
        ]

    def describe_training(self):
        """What the model is for and what it learned from, for its card."""
        rooms = room_fold(vars(self.hparams)).train
        return {
            **super().describe_training(),
            "data": f"{len(rooms)} measured rooms of {self.hparams.corpus}",
            "speech": speech_name(self.hparams.speech_folder),
            "snr": self.hparams.snr_range,
            "sources": [1, 1],
        }

    def describe_run(self, num_signals):
        """The run in words, for the report."""
        fold = room_fold(vars(self.hparams))
        return (
            f"{self.hparams.mode}, {num_signals} test signals in {fold.test} "
            f"of {self.hparams.corpus}, {len(fold.train)} training rooms"
        )


if __name__ == "__main__":
    run_experiment(MeasuredAcoustics, prepare, datasets)
