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

import time
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import speechbrain as sb
import torch
from data import dataio_prepare, prepare
from scoring import (
    Confidence,
    Scores,
    WindowDecoder,
    count_sources,
    judge,
    measure_confidence,
    run_baseline,
)
from speechbrain.dataio.dataloader import make_dataloader
from speechbrain.utils.distributed import if_main_process

from spatial_brain.dataio.files import write_json
from spatial_brain.datasets.array_scenes.truth import window_truth
from spatial_brain.datasets.speech.pool import speech_name
from spatial_brain.experiment import SpatialBrain, run_experiment
from spatial_brain.inference.pretrained import (
    save_pretrained,
    set_initial_weights,
    unwrap,
    write_card,
)
from spatial_brain.inference.pretrained.measures import direction_measures
from spatial_brain.reporting.any_array import any_array_report
from spatial_brain.reporting.report import read_train_log

LABELS = ("azimuth", "elevation", "active", "positions")


class AnyArrayBrain(SpatialBrain):
    """Estimates where talkers are, frame by frame."""

    def __init__(self, modules, opt_class, hparams, *args, **kwargs):
        set_initial_weights(modules["model"], hparams["initial_weights"])
        super().__init__(modules, opt_class, hparams, *args, **kwargs)
        self.decode = WindowDecoder(
            self.hparams.window_length,
            self.hparams.hop_length,
            self.hparams.frame_length,
        )

    def compute_forward(self, batch, stage):
        """Logits of the scenes of a group, which is a batch."""
        batch = batch.to(self.device)
        waveform, positions = batch.waveform.data[0], batch.positions.data[0]
        return self.modules.model(waveform, positions)

    def compute_objectives(self, predictions, batch, stage):
        """Loss of the group; outside training, errors are collected."""
        labels = [getattr(batch, name).data[0] for name in LABELS]
        loss = self.hparams.loss(predictions, *labels)
        if stage != sb.Stage.TRAIN:
            for scene, logits in scenes_of(batch, predictions):
                self.append_scene(scene, logits, stage)
        return loss

    def append_scene(self, scene, logits, stage):
        """Collect the errors of a scene; in the test those of all methods."""
        fs = self.hparams.sample_rate
        times, azimuth, height = self.decode(logits, scene.positions)
        see = partial(window_truth, scene, fs=fs)
        truth = see(times=times, length=self.decode.length)
        known = scene.name, truth, azimuth, scene.conditions
        self.scores.append("network", *known)
        if stage != sb.Stage.TEST:
            return
        self.truths.append((scene.name, truth, scene.conditions))
        sure = self.confidence(azimuth, height)
        for window, place, right in judge(azimuth, truth):
            self.judged.append((sure[window, place], right))
        row = {"id": scene.name, **scene.conditions, "methods": {}}
        found = times, azimuth, count_sources(times, azimuth, sure)
        self.keep(row, "network", truth, *found)
        step = self.decode.hop * self.decode.frame
        for method in self.hparams.baselines:
            times, azimuth, length, count = run_baseline(
                method,
                scene,
                self.hparams.sample_rate,
                self.decode.length,
                step,
            )
            truth = see(times=times, length=length)
            known = scene.name, truth, azimuth, scene.conditions
            self.scores.append(method, *known)
            self.keep(row, method, truth, times, azimuth, count)
        self.rows.append(row)

    def keep(self, row, method, truth, times, azimuth, count):
        """Add what a method found to the row of a scene."""
        self.scores.counts[method].append((row["talkers"], count))
        row["methods"][method] = {
            "times": np.round(times, 3).tolist(),
            "reference": [None if t is None else t.tolist() for t in truth],
            "estimate": [
                [round(angle, 2) for angle in window if angle == angle]
                for window in azimuth.tolist()
            ],
            "number": count,
        }

    def on_stage_start(self, stage, epoch=None):
        """Start with no errors; before the test, calibrate."""
        self.scores, self.stage_start = Scores(), time.monotonic()
        self.rows, self.truths, self.judged = [], [], []
        if stage == sb.Stage.TEST:
            self.calibrate()

    @torch.no_grad()
    def calibrate(self):
        """Learn how sure directions are, from scenes of their own."""
        self.confidence = Confidence()
        network = unwrap(self.modules.model).eval()
        loader = make_dataloader(
            self.hparams.calibration_set,
            batch_size=1,
            num_workers=self.hparams.num_workers,
        )
        for batch in loader:
            batch = batch.to(self.device)
            logits = network(batch.waveform.data[0], batch.positions.data[0])
            for scene, own in scenes_of(batch, logits):
                times, azimuth, height = self.decode(own, scene.positions)
                truth = window_truth(
                    scene, times, self.decode.length, self.hparams.sample_rate
                )
                self.confidence.append(azimuth, height, truth)
        self.confidence.fit()

    def on_stage_end(self, stage, stage_loss, epoch=None):
        """Log, keep the best checkpoint; after the test, write the results."""
        if stage == sb.Stage.TRAIN:
            seconds = time.monotonic() - self.stage_start
            speed = self.num_steps / seconds
            self.train_stats = {"loss": stage_loss, "steps_per_second": speed}
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
        if if_main_process():
            self.write_results()

    def describe_training(self):
        """What the model is for and what it learned from, for its card."""
        hparams = self.hparams
        numbers, room = sorted(map(int, hparams.microphones)), hparams.room
        nearest = hparams.nearest
        order = "that of the positions of the microphones"
        if numbers[-1] == 2:
            nearest = hparams.aperture[0]
            order = "left, right; of an array that of its positions"
        synthetic = hparams.synthetic_data is not None
        return {
            **super().describe_training(),
            "task": "directions of talkers",
            "command": "locate",
            "channels": [numbers[0], numbers[-1]],
            "channel_order": order,
            "spacing": [nearest, hparams.aperture[1]],
            "angles": "azimuth in degrees, counter-clockwise from the front",
            "causal": True,
            "latency": hparams.frame_length,
            "sources": [min(hparams.talkers), max(hparams.talkers)],
            "items": len(self.training_set) * hparams.group_size,
            "data": "simulated rooms, drawn anew in every epoch",
            "speech": speech_name(None if synthetic else hparams.data_folder),
            "room_size": [
                list(span)
                for span in zip(
                    room["size_low"], room["size_high"], strict=True
                )
            ],
            "t60": hparams.t60_range,
            "snr": hparams.snr_range,
        }

    def write_results(self):
        """Write metrics, predictions, the model to use and the report."""
        hparams, folder = self.hparams, Path(self.hparams.output_folder)
        self.scores.append_constant(self.truths)
        methods = {
            name: errors.summarize()
            for name, errors in self.scores.errors.items()
        }
        pairs = {name: np.array(c) for name, c in self.scores.counts.items()}
        sure, right = zip(*self.judged, strict=True)
        metrics = {
            "num_scenes": len(self.rows),
            "parameters": sum(p.numel() for p in hparams.model.parameters()),
            "seed": hparams.seed,
            "methods": methods,
            "numbers": {
                name: float((pair[:, 0] == pair[:, 1]).mean())
                for name, pair in pairs.items()
            },
            "confidence": measure_confidence(sure, right),
        }
        write_json(folder / "predictions.json", self.rows)
        write_json(folder / "metrics.json", metrics)
        save_pretrained(
            folder / "pretrained",
            (folder / "hyperparams.yaml").read_text(encoding="utf-8"),
            hparams.inference_keys,
            {"model": self.modules.model},
        )
        card = {
            **self.describe_training(),
            "test": "simulated rooms and speakers that are in no training",
            "test_items": len(self.rows),
            "measures": direction_measures(
                methods["network"], methods["best_constant"]
            ),
            "calibration": {"weights": self.confidence.weights},
        }
        write_card(folder, card)
        any_array_report(
            folder,
            metrics,
            read_train_log(hparams.train_log),
            f"{metrics['parameters']:,} parameters, {len(self.rows)} test "
            "scenes in rooms and with speakers unseen in training",
        )


def scenes_of(batch, logits):
    """Scenes of a group with their logits, on the CPU."""
    parts = {name: getattr(batch, name).data[0].cpu() for name in LABELS}
    names, conditions = batch.names[0], batch.conditions[0]
    logits, waveform = logits.detach().float().cpu(), batch.waveform.data[0]
    for index, name in enumerate(names):
        labels = {key: part[index] for key, part in parts.items()}
        scene = SimpleNamespace(
            name=name,
            waveform=waveform[index],
            conditions=conditions[index],
            **labels,
        )
        yield scene, logits[index]


if __name__ == "__main__":
    run_experiment(AnyArrayBrain, prepare, dataio_prepare)
