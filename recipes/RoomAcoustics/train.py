#!/usr/bin/env python3
"""T60, DRR and C50 from speech, with intervals that hold.

A network estimates quantiles of each quantity from a few seconds of speech in
any room, recorded with one or two microphones.

> python train.py hparams/mini.yaml                       # needs no data
> python train.py hparams/room_acoustics.yaml --data_folder /data/LibriSpeech
> python train.py hparams/room_acoustics.yaml --data_folder ... --test_only

``model`` and ``loss`` are exchanged in the YAML, recordings in data.py:

* model(waveforms [batch, time, channel]) returns quantiles of 5, 50 and 95 %,
  [batch, channel, quantity, 3], on the scale of
  spatial_brain.models.room_acoustics.to_scale.
* loss(quantiles, labels [batch, channel, quantity]), both in units of the
  typical spread of each quantity, returns a scalar.

After training the intervals are calibrated with recordings in the rooms of the
validation, for one and two channels and every number of windows, and tested in
rooms and with speakers of their own.
"""

from pathlib import Path

import numpy as np
import speechbrain as sb
import torch
from data import dataio_prepare, long_recordings, prepare
from speechbrain.utils.distributed import if_main_process

from spatial_brain.dataio.files import write_json
from spatial_brain.datasets.speech.pool import speech_name
from spatial_brain.experiment import SpatialBrain, run_experiment
from spatial_brain.inference.pretrained import (
    save_pretrained,
    set_initial_weights,
    unwrap,
    write_card,
)
from spatial_brain.inference.pretrained.measures import interval_measures
from spatial_brain.metrics.intervals import (
    combine_estimates,
    interval_coverage,
    interval_factors,
    scale_intervals,
)
from spatial_brain.metrics.room_acoustics import (
    TASKS,
    AcousticErrors,
    best_constant,
)
from spatial_brain.models.room_acoustics import from_scale, to_scale

CHANNELS = (1, 2)


class RoomAcousticsBrain(SpatialBrain):
    """Estimates quantiles of the parameters of a room."""

    def __init__(self, modules, opt_class, hparams, *args, **kwargs):
        set_initial_weights(modules["model"], hparams["initial_weights"])
        super().__init__(modules, opt_class, hparams, *args, **kwargs)

    def compute_forward(self, batch, stage):
        """Quantiles [batch, channel, quantity, 3]; those of cases in a test."""
        waveform = batch["waveform"].to(self.device)
        if stage == sb.Stage.TEST:
            return self.estimate_cases(waveform)
        return self.modules.model(waveform)

    def estimate_cases(self, waveform):
        """Estimates by number of channels and of windows.

        Signals of one window last for half a window or longer.
        """
        hparams, model = self.hparams, self.modules.model
        size = round(hparams.duration * hparams.sample_rate)
        hop = round(hparams.hop_length * hparams.sample_rate)
        windows = waveform.unfold(1, size, hop).transpose(2, 3)
        found = model(windows.flatten(0, 1)).unflatten(0, windows.shape[:2])
        half = size // 2
        short = half + half * (len(self.facts["id"]) // 8 % 9) // 8
        first = model(waveform[:, :short])[:, None]
        return {
            (channels, number): combine_estimates(
                (first if number == 1 else found[:, :number])[
                    :, :, :channels
                ].flatten(1, 2)
            )
            for channels in CHANNELS
            for number in hparams.windows
        }

    def compute_objectives(self, predictions, batch, stage):
        """Loss of the batch; outside training, predictions are collected."""
        labels = to_scale(batch["labels"], self.hparams.quantities)
        labels = labels.to(self.device)
        if stage == sb.Stage.TEST:
            self.collect(predictions, batch, labels)
            # Of one channel and one window, as in validation.
            predictions = predictions[CHANNELS[0], min(self.hparams.windows)]
            predictions, labels = predictions[:, None], labels[:, :1]
        elif stage == sb.Stage.VALID:
            self.estimates.append(predictions[:, 0].cpu())
            self.labels.append(labels[:, 0].cpu())
        scale = unwrap(self.modules.model).loss_scale
        quantiles = scale(predictions.float().mT).mT
        return self.hparams.loss(quantiles, scale(labels))

    def collect(self, cases, batch, labels):
        """Keep the estimates of all cases, and what is true of each."""
        labels = labels.cpu()
        for case, found in cases.items():
            mean = labels[:, : case[0]].mean(1)
            kept = self.cases.setdefault(case, {"estimates": [], "labels": []})
            kept["estimates"].append(found.cpu())
            kept["labels"].append(mean)
        self.facts["id"] += batch["id"]
        self.facts["room"] += batch["room"]
        self.facts["snr"] += batch["snr"].tolist()

    def on_stage_start(self, stage, epoch=None):
        """Start with no predictions."""
        self.estimates, self.labels, self.cases = [], [], {}
        self.facts = {"id": [], "room": [], "snr": []}

    def on_stage_end(self, stage, stage_loss, epoch=None):
        """Log, keep the best checkpoint; after the test, write the results."""
        if stage == sb.Stage.TRAIN:
            self.train_loss = stage_loss
            return
        log = self.hparams.train_logger.log_stats
        if stage == sb.Stage.VALID:
            stats = {"loss": stage_loss, **self.validation_errors()}
            log(
                {"epoch": epoch, "lr": self.optimizer.param_groups[0]["lr"]},
                train_stats={"loss": self.train_loss},
                valid_stats=stats,
            )
            self.checkpointer.save_and_keep_only(
                meta={"loss": stage_loss, "epoch": epoch},
                min_keys=["loss"],
                keep_recent=True,
            )
            return
        epoch = self.hparams.epoch_counter.current
        log({"Epoch loaded": epoch}, test_stats={"loss": stage_loss})
        if if_main_process():
            self.write_results()

    def validation_errors(self):
        """Mean absolute error of each quantity, in its own unit."""
        names = self.hparams.quantities
        found = from_scale(torch.cat(self.estimates)[..., 1], names)
        error = (found - from_scale(torch.cat(self.labels), names)).abs()
        return dict(zip(names, error.mean(0).tolist(), strict=True))

    def calibrate(self):
        """Factors of the intervals by case, [quantity], from the validation."""
        data = long_recordings(vars(self.hparams), "valid")
        options = {**self.hparams.test_dataloader_opts, "ckpt_prefix": None}
        loader = self.make_dataloader(data, sb.Stage.TEST, **options)
        tested = self.cases, self.facts
        self.on_stage_start(sb.Stage.TEST)
        with torch.no_grad():
            for batch in loader:
                cases = self.compute_forward(batch, sb.Stage.TEST)
                labels = to_scale(batch["labels"], self.hparams.quantities)
                self.collect(cases, batch, labels)
        factors = {
            case: interval_factors(
                torch.cat(kept["estimates"]),
                torch.cat(kept["labels"]),
                self.hparams.coverage,
            )
            for case, kept in self.cases.items()
        }
        self.cases, self.facts = tested
        return factors

    def score(self, case, factors):
        """Figures of each quantity in a case, and its rows."""
        names, kept = self.hparams.quantities, self.cases[case]
        labels = torch.cat(kept["labels"])
        found = scale_intervals(torch.cat(kept["estimates"]), factors)
        coverage = interval_coverage(found, labels).tolist()
        truth, found = from_scale(labels, names), from_scale(found.mT, names).mT
        facts = {**self.facts}
        ids = facts.pop("id")
        figures, rows = {}, {}
        for index, name in enumerate(names):
            low, middle, high = found[:, index].unbind(-1)
            errors = AcousticErrors(name)
            errors.append(ids, middle, truth[:, index], **facts)
            constant = best_constant(truth[:, index], len(truth))
            constant = np.abs(constant - truth[:, index].numpy()).mean()
            figures[name] = {
                **errors.summarize(),
                "constant": float(constant),
                "coverage": coverage[index],
                "width": float((high - low).median()),
            }
            ends = zip(errors.rows(), low.tolist(), high.tolist(), strict=True)
            rows[name] = [{**row, "low": x, "high": y} for row, x, y in ends]
        return figures, rows

    def write_results(self):
        """Write metrics, predictions and the model to use; print figures."""
        hparams, folder = self.hparams, Path(self.hparams.output_folder)
        factors = self.calibrate()
        scores = {case: self.score(case, f) for case, f in factors.items()}
        metrics = {
            f"{channels} channels, {windows} windows": figures
            for (channels, windows), (figures, _) in scores.items()
        }
        figures, rows = scores[1, max(hparams.windows)]
        write_json(folder / "predictions.json", rows)
        save_pretrained(
            folder / "pretrained",
            (folder / "hyperparams.yaml").read_text(encoding="utf-8"),
            hparams.inference_keys,
            {"model": self.modules.model},
            extra={"calibration": calibration_table(hparams, factors)},
        )
        facts = self.describe_training()
        facts["test"] = (
            "simulated rooms and speakers that are in no training, "
            f"{max(hparams.windows)} windows of {hparams.duration:g} s"
        )
        facts["test_items"] = len(self.facts["id"])
        facts["measures"] = interval_measures(
            figures, {name: TASKS[name].unit for name in figures}
        )
        write_card(folder, facts)
        for name, found in figures.items():
            quantity = TASKS[name]
            mae, constant = (
                f"{found[key]:.{quantity.digits}f}"
                for key in ("mae", "constant")
            )
            print(
                f"{quantity.label}: mean absolute error {mae}, best constant "
                f"{constant}, in its interval {found['coverage']:.0%}"
            )
        # Last: a folder with metrics is a finished run.
        write_json(folder / "metrics.json", metrics)

    def describe_training(self):
        """What the model is for and what it learned from, for its card."""
        hparams = self.hparams
        kinds = hparams.rooms["kinds"].values()
        low, high = (
            [pick(kind[end][axis] for kind in kinds) for axis in range(3)]
            for end, pick in (("low", min), ("high", max))
        )
        return {
            **super().describe_training(),
            "task": "room acoustics",
            "channels": list(CHANNELS),
            "channel_order": "one microphone, or two of any distance",
            "causal": False,
            "data": f"{hparams.num_rooms['train']} simulated rooms",
            "speech": speech_name(hparams.data_folder),
            "room_size": [list(span) for span in zip(low, high, strict=True)],
            "t60": list(hparams.rooms["t60_range"]),
            "snr": list(hparams.recordings["snr_range"]),
            "sources": [1, 1],
        }


def calibration_table(hparams, factors):
    """Factors as plain values: channels, quantity, number of windows."""
    return {
        "coverage": hparams.coverage,
        "windows": list(hparams.windows),
        "factors": [
            {
                name: [
                    round(float(factors[channels, number][index]), 4)
                    for number in hparams.windows
                ]
                for index, name in enumerate(hparams.quantities)
            }
            for channels in CHANNELS
        ],
    }


if __name__ == "__main__":
    run_experiment(RoomAcousticsBrain, prepare, dataio_prepare)
