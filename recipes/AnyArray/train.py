#!/usr/bin/env python3
"""Directions of talkers with any array of microphones, drawn anew each time.

A network gets a recording and the positions of its microphones, and gives the
probability of a talker for each azimuth and frame.

> python train.py hparams/mini.yaml                          # needs no data
> python train.py hparams/any_array.yaml --data_folder /data/LibriSpeech
> python train.py hparams/any_array.yaml --data_folder ... --test_only
> torchrun --nproc_per_node=4 train.py hparams/any_array.yaml --data_folder ...

``model`` and ``loss`` are exchanged in the YAML, scenes in data.py:

* model(waveforms [batch, time, microphone], positions [batch, microphone, 3])
  returns logits [batch, frame, direction]; directions are azimuths from -180
  degrees on, evenly spaced.
* loss(logits, azimuth, elevation, active [batch, talker, label], positions)
  returns a scalar; labels are frames of 256 samples.

The training loop is SpeechBrain's ``Brain`` with what
spatial_brain/experiment.py adds: ``SpatialBrain`` (resuming, clipping,
learning rate) and ``run_experiment`` (from the command line to the test).
"""

import logging
import time

import speechbrain as sb
from data import dataio_prepare, prepare
from scoring import MOST, Scores, true_directions

from spatial_brain.datasets.array_scenes.scenes import FRAME
from spatial_brain.experiment import SpatialBrain, run_experiment
from spatial_brain.inference.pretrained import (
    find_weights,
    load_weights,
    read_weights,
)
from spatial_brain.processing.directions.map_decoder import (
    MapDecoder,
    window_means,
)

logger = logging.getLogger(__name__)


class AnyArrayBrain(SpatialBrain):
    """Estimates where talkers are, frame by frame."""

    def __init__(self, modules, opt_class, hparams, *args, **kwargs):
        source = hparams["initial_weights"]
        if source is not None:
            path = find_weights(source)
            load_weights(hparams["model"], read_weights(path), path)
            logger.info("begins with the weights of %s", path)
        super().__init__(modules, opt_class, hparams, *args, **kwargs)

    def compute_forward(self, batch, stage):
        """Logits of the scenes of a group, which is a batch."""
        batch = batch.to(self.device)
        waveform, positions = batch.waveform.data[0], batch.positions.data[0]
        return self.modules.model(waveform, positions)

    def compute_objectives(self, predictions, batch, stage):
        """Loss of the group; outside training, errors are collected."""
        names = ("azimuth", "elevation", "active", "positions")
        group = {name: getattr(batch, name).data[0] for name in names}
        loss = self.hparams.loss(predictions, *group.values())
        if stage != sb.Stage.TRAIN:
            group = {name: part.cpu() for name, part in group.items()}
            self.append_errors(batch, predictions.float().cpu(), group)
        return loss

    def append_errors(self, batch, logits, group):
        """Collect the network's errors."""
        hparams = self.hparams
        frames = [
            round(length / hparams.frame_length)
            for length in (hparams.window_length, hparams.hop_length)
        ]
        maps = window_means(logits.sigmoid(), *frames)
        count = maps.shape[1]
        times = [
            hparams.hop_length * number + hparams.window_length / 2
            for number in range(count)
        ]
        label = FRAME / hparams.sample_rate
        for index, name in enumerate(batch.names[0]):
            decoder = MapDecoder(group["positions"][index], maps.shape[-1])
            found, _ = decoder.pick(maps[index], MOST)
            truth = true_directions(
                group, index, times, hparams.window_length, label
            )
            conditions = batch.conditions[0][index]
            self.scores.append(
                "network", name, truth, found.numpy(), conditions
            )

    def on_stage_start(self, stage, epoch=None):
        """Start with no errors."""
        self.scores, self.stage_start = Scores(), time.monotonic()

    def on_stage_end(self, stage, stage_loss, epoch=None):
        """Log, keep the best checkpoint; after the test, write the results."""
        if stage == sb.Stage.TRAIN:
            seconds = time.monotonic() - self.stage_start
            self.train_stats = {
                "loss": stage_loss,
                "steps_per_second": self.num_steps / seconds,
            }
            return
        network = self.scores.errors["network"].summarize(num_bootstrap=0)
        keys = ("mae", "median", "accuracy_10")
        stats = {"loss": stage_loss, **{key: network[key] for key in keys}}
        for number, part in network["by"]["talkers"].items():
            stats[f"mae_{number}"] = part["mae"]
        if stage == sb.Stage.VALID:
            self.hparams.train_logger.log_stats(
                {"epoch": epoch, "lr": self.optimizer.param_groups[0]["lr"]},
                train_stats=self.train_stats,
                valid_stats=stats,
            )
            self.checkpointer.save_and_keep_only(
                meta={"mae": network["mae"], "epoch": epoch},
                min_keys=["mae"],
                keep_recent=True,
            )
            return
        self.hparams.train_logger.log_stats(
            {"Epoch loaded": self.hparams.epoch_counter.current},
            test_stats=stats,
        )


if __name__ == "__main__":
    run_experiment(AnyArrayBrain, prepare, dataio_prepare)
