#!/usr/bin/env python3
"""SAR-SSL, downstream tasks: TDOA, T60, DRR, C50 ... from two microphones.

A network with the encoders of the pretext task (train.py), or a new one,
learns one quantity of a room or a source from few labels.

> python train_downstream.py hparams/mini_downstream.yaml \\
>     --pretext results/mini/1
> python train_downstream.py hparams/downstream.yaml --task T60 \\
>     --mode finetune --num_rooms 8 --trial 0 \\
>     --pretext results/pretrain/1 --data_folder /data/wsj0
> python train_downstream.py hparams/downstream.yaml ... --test_only

Modes: finetune (encoders of the pretext task, all is trained), lineareval
(these encoders frozen, the head is trained), scratch.

``model`` and ``loss`` are exchanged in the YAML, signals in data.py:

* model(spectra [batch, 2, bin, frame, re/im]) returns predictions [batch, 1],
  and has ``embed``, the part before its head ``mlp_head``.
* loss(predictions, labels), [batch] each, returns a scalar. Whatever it is,
  epochs are compared by their mean squared error in validation.

What happens to a batch, a signal and an epoch is in
spatial_brain/pair_experiment/acoustics.py, ``AcousticsBrain``, which all
recipes of SAR-SSL share; the training loop is SpeechBrain's ``Brain`` with
what spatial_brain/experiment.py adds: ``SpatialBrain`` (resuming, clipping,
learning rate) and ``run_experiment`` (from the command line to the test).
"""

from pathlib import Path

from data import (
    DESIGN,
    SimulatedSignals,
    downstream_datasets,
    prepare_task,
    training_labels,
)

from spatial_brain.dataio.files import read_json
from spatial_brain.datasets.speech.pool import speech_name
from spatial_brain.datasets.wsj0_simu.scenes import SceneDistribution
from spatial_brain.experiment import run_experiment
from spatial_brain.pair_experiment.acoustics import AcousticsBrain


class SimulatedAcoustics(SimulatedSignals, AcousticsBrain):
    """Estimates one quantity of simulated rooms or their sources."""

    design = DESIGN

    def on_evaluate_start(self, max_key=None, min_key=None):
        """Load the best epochs, and facts of the evaluated scenes."""
        super().on_evaluate_start(max_key=max_key, min_key=min_key)
        folder = Path(self.hparams.manifest_folder)
        self.scenes = read_json(folder / "scenes.json")

    def training_labels(self):
        """Labels of the task in the rooms of the trial."""
        return training_labels(vars(self.hparams))

    def facts_of(self, batch):
        """Distances of microphones and source, and the number of the room."""
        return [
            {**self.scenes[item], "room": float(room)}
            for item, room in zip(batch["id"], batch["room"], strict=True)
        ]

    def keeps_signals(self):
        """Whether an id stands for the same signal in every epoch."""
        return not (self.hparams.renew or self.hparams.simulate_on_device)

    def training_ranges(self):
        """What the simulated scenes are drawn from."""
        return SceneDistribution(**self.hparams.distribution).ranges()

    def describe_training(self):
        """What the model is for and what it learned from, for its card."""
        return {
            **super().describe_training(),
            "data": f"{self.hparams.num_rooms} simulated rooms",
            "speech": speech_name(self.hparams.data_folder),
        }

    def describe_run(self, num_signals):
        """The run in words, for the report."""
        hparams = self.hparams
        return (
            f"{hparams.mode}, {hparams.num_rooms} training rooms, trial "
            f"{hparams.trial}, {num_signals} test signals in unseen rooms"
        )


if __name__ == "__main__":
    run_experiment(SimulatedAcoustics, prepare_task, downstream_datasets)
