#!/usr/bin/env python3
"""Separate talkers for two ears, and keep where they are heard.

Two or three talkers speak at once; both ears of a listener hear them. A
Conv-TasNet with two inputs and two outputs a talker gives each of them back
with the time and level differences between the ears.

> python train.py hparams/mini.yaml                            # needs no data
> python train.py hparams/convtasnet-parallel.yaml \\
>     --data_folder /data/binaural-wsj0mix/2speakers --wsj_root /data/wsj
> python train.py hparams/convtasnet-parallel.yaml ... --test_only
> torchrun --nproc_per_node=4 train.py hparams/convtasnet-parallel.yaml ...
"""

from pathlib import Path

import speechbrain as sb
import torch
from data import dataio_prepare, prepare
from results import write_audio_examples, write_compat_csv
from speechbrain.nnet.schedulers import update_learning_rate
from speechbrain.utils.distributed import if_main_process

from spatial_brain.dataio.files import write_json
from spatial_brain.experiment import SpatialBrain, run_experiment
from spatial_brain.inference.pretrained import save_pretrained
from spatial_brain.metrics.separation.errors import SeparationErrors
from spatial_brain.reporting.report import read_train_log
from spatial_brain.reporting.separation import separation_report

logger = sb.utils.logger.get_logger(__name__)


class SeparationBrain(SpatialBrain):
    """Gives each talker of a two-ear mixture a two-ear signal."""

    def on_fit_start(self):
        """Start with nothing skipped."""
        super().on_fit_start()
        self.usable = self.broken = self.num_skipped = 0

    def compute_forward(self, batch, stage):
        """Talkers of the batch, [batch, time, ear, source]."""
        batch = batch.to(self.device)
        return self.modules.model(batch.mix.data, batch.mix.lengths)

    def compute_objectives(self, predictions, batch, stage):
        """Negative SNR in dB, in the best order of talkers."""
        lengths = batch.mix.lengths
        loss, _ = self.hparams.loss(predictions, batch.sources.data, lengths)
        if stage == sb.Stage.TRAIN:
            return self.choose(loss)
        self.losses += loss.tolist()
        if stage == sb.Stage.TEST:
            self.append_errors(predictions.float(), batch)
        return loss.mean()

    def choose(self, loss):
        """Mean loss of the mixtures to learn from.

        Mixtures that are separated well enough are left out; what is no
        number, or beyond all limits, makes the step be skipped.
        """
        finite = torch.isfinite(loss)
        kept = finite
        if self.hparams.threshold_byloss:
            kept = finite & (loss > self.hparams.threshold)
        self.broken += int((~finite).sum())
        mean = loss[kept].mean() if kept.any() else 0.0 * loss.sum()
        if not mean < self.hparams.loss_upper_lim:
            self.broken += 1
            return 0.0 * mean.nan_to_num()
        self.usable += int(kept.sum())
        return mean.nan_to_num()

    def optimizers_step(self):
        """Step, unless the batches of all processes say not to."""
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
            logger.warning(
                "loss not finite or above %g; %d steps skipped so far",
                self.hparams.loss_upper_lim,
                self.num_skipped,
            )

    def append_errors(self, estimate, batch):
        """Collect errors of the test, and mixtures to see and hear."""
        mix, lengths = batch.mix
        reference = batch.sources.data
        conditions = {}
        if (batch.t60.data > 0).all():
            conditions["t60"] = batch.t60.data[:, 0]
        with torch.autocast(self.device_type, enabled=False):
            self.errors.append(
                batch.id,
                estimate,
                reference,
                mix,
                azimuths=batch.azimuths.data,
                elevations=batch.elevations.data,
                lengths=lengths,
                **conditions,
            )
        wanted = self.hparams.num_examples
        if self.hparams.save_audio:
            wanted = max(wanted, self.hparams.n_audio_to_save)
        for k in range(min(len(mix), wanted - len(self.examples))):
            length = round(float(lengths[k]) * mix.shape[1])
            signals = {
                "mixture": mix[k],
                "reference": reference[k],
                "estimate": estimate[k],
            }
            self.examples.append(
                {name: x[:length].cpu() for name, x in signals.items()}
                | {
                    "id": batch.id[k],
                    "fs": self.hparams.sample_rate,
                    "azimuths": batch.azimuths.data[k].cpu(),
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
            )

    def on_stage_end(self, stage, stage_loss, epoch=None):
        """Log, set the learning rate, save; after the test, the results."""
        if stage == sb.Stage.TRAIN:
            self.train_stats = {"loss": stage_loss}
            return
        # Over mixtures, not over batches of unequal size.
        loss = sum(self.losses) / len(self.losses)
        if loss != loss:
            raise ValueError(
                "the network answers with what is no number: the weights are "
                "lost. Lower lr or max_grad_norm and start again; the epoch "
                f"before is in {self.hparams.save_folder}"
            )
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
        self.hparams.train_logger.log_stats(
            {"Epoch loaded": self.hparams.epoch_counter.current},
            test_stats={
                "loss": loss,
                "snr_i": summary["snr_i"],
                **{
                    key: summary["compat"][key]
                    for key in ("delta_ITD", "delta_ILD")
                },
            },
        )
        if if_main_process():
            self.write_results(summary)

    def write_results(self, summary):
        """Write metrics, tables, sounds, the model to use and the report."""
        hparams, folder = self.hparams, Path(self.hparams.output_folder)
        rows, parameters = (
            self.errors.rows(),
            sum(p.numel() for p in self.modules.model.parameters()),
        )
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
        separation_report(
            folder,
            {"network": summary},
            read_train_log(hparams.train_log),
            rows,
            self.examples[: hparams.num_examples],
            subtitle=f"{parameters:,} parameters; {hparams.data_notes}",
        )


if __name__ == "__main__":
    run_experiment(SeparationBrain, prepare, dataio_prepare)
