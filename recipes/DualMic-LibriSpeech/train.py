#!/usr/bin/env python3
"""Sound source localization of two talkers with two microphones, by Conformer.

Two talkers speak at once in a room; a pair of microphones 10 cm apart records
them. A network estimates a distribution over directions (DOA) for each.

> python train.py hparams/mini.yaml                          # needs no data
> python train.py hparams/conformer.yaml --data_folder /data/LibriSpeech
> python train.py hparams/conformer.yaml --data_folder ... --test_only
> torchrun --nproc_per_node=4 train.py hparams/conformer.yaml --data_folder ...

``model`` and ``loss`` are exchanged in the YAML, mixtures in data.py:

* model(waveforms [batch, time, microphone]) returns logits [batch, talker,
  class]; the classes are equal parts of 0 to 180 degrees.
* loss(logits, directions [batch, talker] in degrees) returns a scalar.

The training loop is SpeechBrain's ``Brain`` with what
spatial_brain/experiment.py adds: ``SpatialBrain`` (resuming, clipping,
learning rate) and ``run_experiment`` (from the command line to the test).
"""

from collections import defaultdict
from pathlib import Path

import speechbrain as sb
import torch
from calibration import calibrate
from data import dataio_prepare, prepare
from speechbrain.utils.distributed import if_main_process

from spatial_brain.dataio.files import write_json
from spatial_brain.datasets.speech.pool import speech_name
from spatial_brain.experiment import SpatialBrain, run_experiment
from spatial_brain.inference.pretrained import (
    save_pretrained,
    set_initial_weights,
    write_card,
)
from spatial_brain.inference.pretrained.measures import direction_measures
from spatial_brain.metrics.localization import (
    LocalizationErrors,
    chance_directions,
    class_mae,
)
from spatial_brain.nnet.losses.localization import azimuth_to_class
from spatial_brain.processing.localization import (
    gcc_phat_directions,
    srp_phat_directions,
)
from spatial_brain.reporting.localization import localization_report
from spatial_brain.reporting.report import read_train_log
from spatial_brain.simulation.mixing import add_noise, convolve, mix


class LocalizationBrain(SpatialBrain):
    """Estimates the direction of each talker of a mixture."""

    def __init__(self, modules, opt_class, hparams, *args, **kwargs):
        set_initial_weights(modules["model"], hparams["initial_weights"])
        super().__init__(modules, opt_class, hparams, *args, **kwargs)

    def compute_forward(self, batch, stage):
        """Mix the sources in their rooms; logits and waveforms."""
        batch = batch.to(self.device)
        with torch.autocast(self.device_type, enabled=False):
            waveform = self.mix_sources(batch)
            faults = self.hparams.fault_augmentation
            if faults is not None and stage == sb.Stage.TRAIN:
                waveform, _ = faults(waveform, {})
        return self.modules.model(waveform), waveform

    def mix_sources(self, batch, talkers=None):
        """Waveforms at the microphones, [batch, time, microphone].

        Of all talkers, or of the first ones alone.
        """
        if self.hparams.own_recordings is not None:
            return batch.waveform.data
        dry = batch.dry.data.transpose(1, 2)[:, :talkers]
        rirs, lengths = batch.rirs
        rirs = rirs[:, :, :talkers]
        num_samples = dry.shape[-1]
        if self.hparams.keep_reverberation:
            # To the end of the shortest reverberation in the batch.
            num_samples += int((lengths.min() * rirs.shape[1]).round()) - 1
        images = convolve(dry, rirs.permute(0, 2, 3, 1), num_samples)
        level = None
        if self.hparams.sir_range is not None:
            sir = batch.sir.data[:, : dry.shape[1] - 1]
            level = torch.cat((sir.new_zeros(len(sir), 1), -sir), dim=1)
        waveform, _ = mix(images, level, fs=self.hparams.sample_rate)
        if self.hparams.snr_range is not None:
            noise, snr = batch.noise.data, batch.snr.data[:, 0]
            waveform = add_noise(
                waveform, noise, snr, fs=self.hparams.sample_rate
            )
        return waveform * 10 ** (batch.mic_gains.data[:, None] / 20)

    def compute_objectives(self, predictions, batch, stage):
        """Loss of the batch; outside training, errors are collected."""
        logits, waveform = predictions
        angles = batch.angles.data
        loss = self.hparams.loss(logits, angles)
        if stage != sb.Stage.TRAIN:
            with torch.autocast(self.device_type, enabled=False):
                self.append_errors(batch, logits.float(), angles)
                if stage == sb.Stage.TEST:
                    self.append_baselines(batch, waveform, angles)
        return loss

    def append_errors(self, batch, logits, angles):
        """Collect the network's errors."""
        self.append("network", batch, self.hparams.decoder(logits), angles)
        classes = azimuth_to_class(angles, logits.shape[-1]).sort(-1).values
        width = 180 / logits.shape[-1]
        self.class_errors += len(classes) * class_mae(logits, classes, width)

    def append_baselines(self, batch, waveform, angles):
        """Collect the errors of methods that need no training."""
        pair = {
            "spacing": self.hparams.mic_spacing,
            "fs": self.hparams.sample_rate,
        }
        predictions = {
            "gcc_phat": gcc_phat_directions(waveform, **pair),
            "srp_phat": srp_phat_directions(waveform, **pair),
            "chance": self.hparams.chance.expand(len(angles), -1),
        }
        own = self.hparams.own_recordings is not None
        if self.hparams.target == "azimuth" and not own:
            # The best that a pair can do: it observes the cone angle.
            predictions["oracle"] = batch.cone_angle.data
        for name, prediction in predictions.items():
            self.append(name, batch, prediction, angles)

    def append_best_constant(self):
        """Collect the errors of the best constant directions of the test."""
        rows = self.errors["network"].rows()
        reference = torch.tensor([row["reference"] for row in rows])
        constant = torch.as_tensor(chance_directions(reference))
        self.errors["best_constant"].append(
            [row["id"] for row in rows],
            constant.expand(len(rows), -1),
            reference,
        )

    def append(self, name, batch, prediction, angles):
        """Collect the errors of one method with the conditions."""
        conditions = {}
        if self.hparams.own_recordings is None:
            conditions["t60"] = batch.t60.data[:, 0]
            conditions["distance"] = batch.distance.data
            if self.hparams.snr_range is not None:
                conditions["snr"] = batch.snr.data[:, 0]
        self.errors[name].append(batch.id, prediction, angles, **conditions)

    def on_stage_start(self, stage, epoch=None):
        """Start with no errors."""
        self.errors = defaultdict(LocalizationErrors)
        self.class_errors = torch.zeros(2, device=self.device)

    def on_stage_end(self, stage, stage_loss, epoch=None):
        """Log, keep the best checkpoint; after the test, write the results."""
        if stage == sb.Stage.TRAIN:
            self.train_loss = stage_loss
            return
        network = self.errors["network"].summarize(num_bootstrap=0)
        keys = ("mae", "median", "accuracy_10")
        stats = {"loss": stage_loss, **{key: network[key] for key in keys}}
        if stage == sb.Stage.VALID:
            self.hparams.train_logger.log_stats(
                {"epoch": epoch, "lr": self.optimizer.param_groups[0]["lr"]},
                train_stats={"loss": self.train_loss},
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
        if if_main_process():
            self.write_results()

    def describe_training(self):
        """What the model is for and what it learned from, for its card."""
        hparams = self.hparams
        spacing, rooms = hparams.mic_spacing, hparams.rooms
        synthetic = hparams.synthetic_data is not None
        folded = "degrees from the +x axis, on which the second microphone is"
        if hparams.target == "azimuth":
            folded = "azimuth in degrees, folded into 0 to 180: 90 is abreast"
        facts = {
            **super().describe_training(),
            "task": "directions of talkers",
            "channels": 2,
            "channel_order": "two microphones along the x axis",
            "positions": hparams.microphone_positions,
            "spacing": [spacing, spacing],
            "angles": folded,
            "causal": False,
            "sources": [2, 2],
        }
        if hparams.own_recordings is not None:
            place = Path(hparams.own_recordings).resolve().name
            return {**facts, "data": f"recordings of {place}"}
        return {
            **facts,
            "data": f"{hparams.num_rooms['train']} simulated rooms",
            "speech": speech_name(None if synthetic else hparams.data_folder),
            "room_size": [
                list(span)
                for span in zip(
                    rooms["size_low"], rooms["size_high"], strict=True
                )
            ],
            "t60": rooms["t60_range"],
            "snr": hparams.snr_range,
        }

    def write_results(self):
        """Write metrics, predictions, the model to use and the report."""
        hparams, folder = self.hparams, Path(self.hparams.output_folder)
        self.append_best_constant()
        rows = self.errors["network"].rows()
        for name, errors in self.errors.items():
            if name != "network":
                for row, other in zip(rows, errors.rows(), strict=True):
                    row[name] = other["estimate"]
        methods = {name: e.summarize() for name, e in self.errors.items()}
        calibration, calibrated = calibrate(self)
        class_mae_heads = (self.class_errors / len(rows)).tolist()
        parameters = sum(p.numel() for p in self.modules.model.parameters())
        write_json(folder / "predictions.json", rows)
        write_json(
            folder / "metrics.json",
            {
                "target": hparams.target,
                "num_mixtures": len(rows),
                "parameters": parameters,
                "seed": hparams.seed,
                "methods": methods,
                "class_mae": class_mae_heads,
                "calibration": calibrated,
            },
        )
        save_pretrained(
            folder / "pretrained",
            (folder / "hyperparams.yaml").read_text(encoding="utf-8"),
            hparams.inference_keys,
            {"model": self.modules.model},
        )
        write_card(
            folder,
            {
                **self.describe_training(),
                "test": "recordings for the test"
                if hparams.own_recordings is not None
                else "simulated rooms and speakers that are in no training",
                "test_items": len(rows),
                "measures": direction_measures(
                    methods["network"], methods["best_constant"]
                ),
                "calibration": calibration,
            },
        )
        localization_report(
            folder,
            methods,
            read_train_log(hparams.train_log),
            rows,
            subtitle=f"{parameters:,} parameters, {len(rows)} test mixtures "
            + (
                "in rooms and with talkers unseen in training"
                if hparams.own_recordings is None
                else f"of {hparams.own_recordings}"
            ),
            notes="The measure of dual-mic-SSL (class steps, head by head): "
            + " and ".join(f"{error:.2f}°" for error in class_mae_heads),
            calibration=calibrated,
        )


if __name__ == "__main__":
    run_experiment(LocalizationBrain, prepare, dataio_prepare)
