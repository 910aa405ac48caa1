#!/usr/bin/env python3
"""Binaural speech separation that keeps interaural cues, by Conv-TasNet.

Two or three talkers speak at once, recorded at both ears of a listener. A
network with two inputs and two outputs a talker separates them, with the time
and level differences between the ears.

> python train.py hparams/mini.yaml                            # needs no data
> python train.py hparams/convtasnet-parallel.yaml \\
>     --data_folder /data/binaural-wsj0mix/2speakers --wsj_root /data/wsj
> python train.py hparams/convtasnet-parallel.yaml ... --test_only
> torchrun --nproc_per_node=4 train.py hparams/convtasnet-parallel.yaml ...

``model`` and ``loss`` are exchanged in the YAML, mixtures in data.py:

* model(mixture [batch, time, ear], relative lengths [batch]) returns the
  talkers [batch, time, ear, source].
* loss(talkers, reference, relative lengths) returns the loss of each mixture
  in dB, [batch], and the order of the talkers, [batch, source].

The training loop is SpeechBrain's ``Brain`` with what
spatial_brain/experiment.py adds: ``SpatialBrain`` (resuming, clipping,
learning rate) and ``run_experiment`` (from the command line to the test).
"""

import math
from pathlib import Path

import speechbrain as sb
import torch
from data import dataio_prepare, prepare
from speechbrain.nnet.schedulers import update_learning_rate
from speechbrain.utils.distributed import if_main_process

from spatial_brain.dataio.audio import write_audio
from spatial_brain.dataio.files import write_json, write_table
from spatial_brain.experiment import SpatialBrain, run_experiment
from spatial_brain.inference.pretrained import (
    save_pretrained,
    set_initial_weights,
    write_card,
)
from spatial_brain.inference.pretrained.measures import separation_measures
from spatial_brain.metrics.separation.errors import SeparationErrors
from spatial_brain.metrics.separation.signals import best_permutation
from spatial_brain.reporting.report import read_train_log
from spatial_brain.reporting.separation import separation_report

logger = sb.utils.logger.get_logger(__name__)

# Columns of the original's table.
COMPAT_COLUMNS = ("snr", "snr_i", "delta_ITD", "delta_ILD")
PEAK = 0.9  # largest sample of the saved signals of a mixture


class SeparationBrain(SpatialBrain):
    """Separates a binaural mixture into a binaural signal for each talker."""

    def __init__(self, modules, opt_class, hparams, *args, **kwargs):
        set_initial_weights(modules["model"], hparams["initial_weights"])
        super().__init__(modules, opt_class, hparams, *args, **kwargs)
        self.usable = self.broken = self.num_skipped = 0

    def compute_forward(self, batch, stage):
        """Separate the mixtures, [batch, time, ear, source]."""
        batch = batch.to(self.device)
        return self.modules.model(batch.mix.data, batch.mix.lengths)

    def compute_objectives(self, predictions, batch, stage):
        """Loss of the batch; outside training, errors are collected."""
        lengths = batch.mix.lengths
        loss, _ = self.hparams.loss(predictions, batch.sources.data, lengths)
        if stage == sb.Stage.TRAIN:
            return self.choose(loss)
        self.losses += loss.tolist()
        if stage == sb.Stage.TEST:
            self.append_errors(predictions.float(), batch)
            self.keep_examples(predictions.float(), batch)
        return loss.mean()

    def choose(self, loss):
        """Mean loss of the mixtures to learn from.

        Mixtures that are separated well enough are left out; a loss beyond
        all limits makes the step be skipped. So does one that is not finite,
        which every experiment counts.
        """
        kept = torch.ones_like(loss, dtype=torch.bool)
        if self.hparams.threshold_byloss:
            kept = ~(loss <= self.hparams.threshold)
        mean = loss[kept].mean() if kept.any() else 0.0 * loss.sum()
        if self.hparams.loss_upper_lim <= mean < math.inf:
            self.broken += 1
            return 0.0 * mean
        self.usable += int(kept.sum())
        return mean

    def optimizers_step(self):
        """Step, unless there is nothing to learn or a loss was too large."""
        counts = torch.tensor([self.usable, self.broken], device=self.device)
        if torch.distributed.is_initialized():
            # Gradients are shared: all processes step, or none.
            torch.distributed.all_reduce(counts)
        usable, broken = counts.tolist()
        self.usable = self.broken = 0
        if usable and not broken:
            super().optimizers_step()
            return
        self.optimizer_step += 1
        for optimizer in self.optimizers_dict.values():
            optimizer.zero_grad(set_to_none=True)
        if broken:
            self.num_skipped += 1
            limit, count = self.hparams.loss_upper_lim, self.num_skipped
            logger.warning("loss above %g; %d steps are skipped", limit, count)

    def append_errors(self, estimate, batch):
        """Collect the errors of the test."""
        mix, lengths = batch.mix
        conditions = {}
        if (batch.t60.data > 0).all():
            conditions["t60"] = batch.t60.data[:, 0]
        with torch.autocast(self.device_type, enabled=False):
            self.errors.append(
                batch.id,
                estimate,
                batch.sources.data,
                mix,
                azimuths=batch.azimuths.data,
                elevations=batch.elevations.data,
                lengths=lengths,
                **conditions,
            )

    def keep_examples(self, estimate, batch):
        """Keep mixtures for the report and for files of sound."""
        mix, lengths = batch.mix
        signals = {
            "mixture": mix,
            "reference": batch.sources.data,
            "estimate": estimate,
        }
        wanted = self.hparams.num_examples
        if self.hparams.save_audio:
            wanted = max(wanted, self.hparams.n_audio_to_save)
        for k in range(min(len(mix), wanted - len(self.examples))):
            end = round(float(lengths[k]) * mix.shape[1])
            self.examples.append(
                {
                    "id": batch.id[k],
                    "fs": self.hparams.sample_rate,
                    "azimuths": batch.azimuths.data[k].cpu(),
                    **{key: x[k, :end].cpu() for key, x in signals.items()},
                }
            )

    def on_stage_start(self, stage, epoch=None):
        """Start with no losses and no errors."""
        self.losses = []
        if stage == sb.Stage.TEST:
            self.examples = []
            self.errors = SeparationErrors(
                self.hparams.sample_rate,
                sdr=self.hparams.sdr,
                perceptual=self.hparams.perceptual,
                itd=self.hparams.itd,
            )

    def on_stage_end(self, stage, stage_loss, epoch=None):
        """Log, set the learning rate, save; after the test, the results."""
        if stage == sb.Stage.TRAIN:
            self.train_stats = {"loss": stage_loss}
            return
        # Over mixtures, not over batches of unequal size.
        loss = sum(self.losses) / len(self.losses)
        if stage == sb.Stage.VALID:
            rate = self.optimizer.param_groups[0]["lr"]
            if self.hparams.lr_scheduler is not None:
                rate, following = self.hparams.lr_scheduler(
                    [self.optimizer], epoch, loss
                )
                update_learning_rate(self.optimizer, following)
            self.hparams.train_logger.log_stats(
                {"epoch": epoch, "lr": rate},
                train_stats=self.train_stats,
                valid_stats={"loss": loss},
            )
            self.checkpointer.save_and_keep_only(
                meta={"loss": loss, "epoch": epoch},
                min_keys=["loss"],
                keep_recent=True,
            )
            return
        summary = self.errors.summarize()
        cues = {key: summary["compat"][key] for key in COMPAT_COLUMNS[2:]}
        self.hparams.train_logger.log_stats(
            {"Epoch loaded": self.hparams.epoch_counter.current},
            test_stats={"loss": loss, "snr_i": summary["snr_i"], **cues},
        )
        if if_main_process():
            self.write_results(summary)

    def describe_training(self):
        """What the model is for and what it learned from, for its card."""
        hparams, rooms = self.hparams, self.hparams.head_rooms
        latency = hparams.kernel_size / hparams.sample_rate
        return {
            **super().describe_training(),
            "task": "binaural separation of talkers",
            "channels": 2,
            "channel_order": "left ear, right ear",
            "causal": hparams.causal,
            "latency": latency if hparams.causal else None,
            "data": hparams.mixture_notes,
            "t60": [0.0, max(rooms["t60"])] if rooms else None,
            "sources": [hparams.num_spks, hparams.num_spks],
        }

    def write_results(self, summary):
        """Write metrics, tables, sounds, the model to use and the report."""
        hparams, folder = self.hparams, Path(self.hparams.output_folder)
        parameters = sum(p.numel() for p in self.modules.model.parameters())
        rows = self.errors.rows()
        write_compat_csv(folder / "test_results.csv", rows)
        self.errors.write_csv(folder / "test_errors.csv")
        if hparams.save_audio:
            write_audio_examples(
                Path(hparams.save_folder) / "audio_results",
                self.examples[: hparams.n_audio_to_save],
            )
        save_pretrained(
            folder / "pretrained",
            (folder / "hyperparams.yaml").read_text(encoding="utf-8"),
            hparams.inference_keys,
            {"model": self.modules.model},
        )
        write_json(
            folder / "metrics.json",
            {
                "parameters": parameters,
                "seed": hparams.seed,
                "data": hparams.data_notes,
                "methods": {"network": summary},
            },
        )
        write_card(
            folder,
            {
                **self.describe_training(),
                "test": hparams.test_notes,
                "test_items": len(rows),
                "measures": separation_measures(summary),
            },
        )
        separation_report(
            folder,
            {"network": summary},
            read_train_log(hparams.train_log),
            rows,
            self.examples[: hparams.num_examples],
            subtitle=f"{parameters:,} parameters; {hparams.data_notes}",
        )


def write_compat_csv(path, rows):
    """Write ``test_results.csv`` as the original counts and names things."""
    lines = [
        {"snt_id": row["id"]}
        | {name: float(row[f"compat_{name}"]) for name in COMPAT_COLUMNS}
        for row in rows
    ]
    means = {n: sum(x[n] for x in lines) / len(lines) for n in COMPAT_COLUMNS}
    write_table(path, [*lines, {"snt_id": "avg", **means}])


def write_audio_examples(folder, examples):
    """Write mixtures, talkers and estimates in the order of the talkers.

    One factor for all files of a mixture: levels and interaural differences
    stay.
    """
    for example in examples:
        reference, estimate = example["reference"], example["estimate"]
        order = best_permutation(estimate, reference)
        signals = {"mix": example["mixture"]}
        for k in range(reference.shape[-1]):
            signals[f"source{k + 1}"] = reference[..., k]
            signals[f"source{k + 1}hat"] = estimate[..., order[k]]
        peak = max(float(x.abs().max()) for x in signals.values())
        for name, signal in signals.items():
            path = Path(folder, f"item{example['id']}_{name}.wav")
            write_audio(path, signal * (PEAK / max(peak, 1e-8)), example["fs"])


if __name__ == "__main__":
    run_experiment(SeparationBrain, prepare, dataio_prepare)
