#!/usr/bin/env python3
"""SAR-SSL, pretext task: self-supervised learning of spatial acoustics.

Half of the frames of one of two channels are masked; the network reconstructs
them from the other channel, for which it has to learn how the room relates
the two. No labels are needed.

> python train.py hparams/mini.yaml                          # needs no data
> python train.py hparams/pretrain.yaml --data_folder /data/wsj0
> python train.py hparams/pretrain.yaml --data_folder ... --test_only
> torchrun --nproc_per_node=4 train.py hparams/pretrain.yaml --data_folder ...

What do its encoders hold? A new decoder on them, as they are:

> python train.py hparams/mini.yaml --frozen_encoders results/mini/1 \\
>     --spec_input hidden --output_folder results/mini_frozen/1

``model`` and ``loss`` are exchanged in the YAML, signals in data.py:

* model(spectra [batch, 2, bin, frame, re/im], seeds=[batch] or None) returns a
  dictionary: ``prediction`` and ``target`` like the spectra, ``masked_frames``
  [batch, frame], ``masked_channel`` [batch], and ``reference``, the mean error
  of copying the other channel.
* loss(prediction, target, masked_frames, masked_channel) returns [batch].
  Whatever it is, epochs are compared by the mean squared error of the masked
  frames in validation.

The training loop is SpeechBrain's ``Brain`` with what
spatial_brain/experiment.py adds: ``SpatialBrain`` (resuming, clipping,
learning rate) and ``run_experiment`` (from the command line to the test).
"""

import copy
import math
from collections import defaultdict
from pathlib import Path

import speechbrain as sb
import torch
from data import INSTANCES, PairBrain, prepare_pretext, pretext_datasets
from speechbrain.utils.distributed import if_main_process

from spatial_brain.dataio.files import write_json
from spatial_brain.experiment import run_experiment
from spatial_brain.inference.convert.sar_ssl import read_encoder_weights
from spatial_brain.inference.pretrained import save_pretrained, unwrap
from spatial_brain.models.mc_pretext import (
    item_seeds,
    masked_error,
    reconstruction_errors,
)
from spatial_brain.models.transfer import initialize_encoders
from spatial_brain.reporting.pretext import pretext_report
from spatial_brain.reporting.report import read_train_log

logger = sb.utils.logger.get_logger(__name__)
# Recordings that the report shows.
NUM_SHOWN = 4


class ReconstructionBrain(PairBrain):
    """Reconstructs masked frames across channels.

    One more behaviour of the original: ``"epoch_rates"``, a learning rate
    constant within an epoch, and zero in the last one. Default: it falls at
    every step.
    """

    COMPAT = (*PairBrain.COMPAT, "epoch_rates")

    def __init__(self, modules, opt_class, hparams, run_opts, checkpointer):
        super().__init__(modules, opt_class, hparams, run_opts, checkpointer)
        if hparams["frozen_encoders"] is not None:
            self.freeze_encoders(hparams["frozen_encoders"])
        if "epoch_rates" in self.compat:
            schedule = copy.copy(self.hparams.learning_rate_schedule)
            schedule.warmup, schedule.epochs = 0, max(1, schedule.epochs - 1)
            self.hparams.learning_rate_schedule = lambda progress: schedule(
                math.floor(progress)
            )

    def freeze_encoders(self, source):
        """Train nothing but a new decoder on encoders of another run."""
        summary = initialize_encoders(
            self.modules.model, read_encoder_weights(source), freeze=True
        )
        logger.info("%s: %s", source, summary)

    def compute_forward(self, batch, stage):
        """Mask half of the frames of a channel and reconstruct them."""
        features, labels = self.features_and_labels(batch)
        seeds = None
        if stage != sb.Stage.TRAIN:
            # The same for any batch size, number of workers and seed.
            seeds = item_seeds(batch["id"], device=self.device)
        return self.modules.model(features, seeds=seeds), labels

    def compute_objectives(self, predictions, batch, stage):
        """Loss of the batch; outside training, errors are collected."""
        outputs, labels = predictions
        if stage == sb.Stage.TRAIN:
            self.references.append(outputs["reference"].detach())
        else:
            with torch.autocast(self.device_type, enabled=False):
                self.collect(batch["id"], outputs)
            if stage == sb.Stage.TEST:
                self.keep_examples(batch["id"], outputs, labels)
        return self.hparams.loss(
            outputs["prediction"],
            outputs["target"],
            outputs["masked_frames"],
            outputs["masked_channel"],
        ).mean()

    def collect(self, ids, outputs):
        """Note the errors of each recording under the name of its stage."""
        errors = reconstruction_errors(outputs)
        target = outputs["target"]
        masks = outputs["masked_frames"], outputs["masked_channel"]
        # The error of silence as prediction.
        errors["silence"] = masked_error(
            torch.zeros_like(target), target, *masks
        )
        for name, values in errors.items():
            for item, value in zip(ids, values.tolist(), strict=True):
                self.errors[item.rpartition("_")[0]][name].append(value)

    def keep_examples(self, ids, outputs, labels):
        """Keep recordings for the report, of each set of instances some."""
        for row, item in enumerate(ids):
            stage = item.rpartition("_")[0]
            shown = [e for e in self.examples if e["stage"] == stage]
            if len(shown) == NUM_SHOWN:
                continue
            keys = ("prediction", "target", "masked_frames", "masked_channel")
            example = {key: outputs[key][row].float().cpu() for key in keys}
            example |= {"name": item, "stage": stage}
            example["masked_frames"] = example["masked_frames"].bool()
            example["masked_channel"] = int(example["masked_channel"])
            for condition in ("t60", "snr"):
                example[condition] = labels[condition.upper()][row].item()
            self.examples.append(example)

    def on_stage_start(self, stage, epoch=None):
        """Start with no errors."""
        if stage == sb.Stage.TRAIN:
            self.references = []
            self.forget_optimizer()
        self.errors = defaultdict(lambda: defaultdict(list))
        self.examples = []

    def on_stage_end(self, stage, stage_loss, epoch=None):
        """Log, keep the best checkpoint; after the test, write the results."""
        if stage == sb.Stage.TRAIN:
            self.train_stats = {"loss": stage_loss}
            if self.references:
                reference = torch.stack(self.references).mean().item()
                self.train_stats["reference"] = reference
            return
        sets = {name: means(errors) for name, errors in self.errors.items()}
        main = next(iter(sets.values()))
        if "batch_means" in self.compat and stage == sb.Stage.VALID:
            main["loss"] = stage_loss
        if stage == sb.Stage.VALID:
            self.hparams.train_logger.log_stats(
                {"epoch": epoch, "lr": self.optimizer.param_groups[0]["lr"]},
                train_stats=self.train_stats,
                valid_stats=main,
            )
            self.checkpointer.save_and_keep_only(
                meta={"loss": main["loss"], "epoch": epoch},
                min_keys=["loss"],
                keep_recent=True,
            )
            return
        self.hparams.train_logger.log_stats(
            {"Epoch loaded": self.hparams.epoch_counter.current},
            test_stats=main,
        )
        if if_main_process():
            self.write_results(sets)

    def write_results(self, sets):
        """Write metrics, the model to go on from and the report."""
        hparams, folder = self.hparams, Path(self.hparams.output_folder)
        save_pretrained(
            folder / "pretrained",
            (folder / "hyperparams.yaml").read_text(encoding="utf-8"),
            hparams.inference_keys,
            {"model": self.modules.model},
        )
        shown = [e for e in self.examples if e["stage"].startswith(INSTANCES)]
        shown = shown or self.examples
        for example in shown:
            self.add_sounds(example)
        if hparams.measure_pesq:
            for stage in {example["stage"] for example in shown}:
                values = [e["pesq"] for e in shown if e["stage"] == stage]
                sets[stage]["pesq"] = sum(values) / len(values)
        parameters = sum(p.numel() for p in self.modules.model.parameters())
        pretext_report(
            folder,
            metrics=sets,
            records=read_train_log(hparams.train_log),
            examples=shown,
            fs=hparams.sample_rate,
            subtitle=f"{parameters:,} parameters, "
            f"{len(next(iter(self.errors.values()))['masked'])} test "
            "recordings of rooms and talkers unseen in training",
        )
        # Last: a folder with metrics is a finished run.
        write_json(
            folder / "metrics.json",
            {
                "parameters": parameters,
                "seed": hparams.seed,
                "epoch": hparams.epoch_counter.current,
                "sets": sets,
            },
        )

    def add_sounds(self, example):
        """Recording, input with gaps and reconstruction as waveforms."""
        invert = unwrap(self.modules.features).inverse
        frames, channel = example["masked_frames"], example["masked_channel"]
        example["features"] = target = example.pop("target")
        hidden = torch.zeros_like(target, dtype=torch.bool)
        hidden[channel, :, frames] = True
        spectra = {
            "recorded": target,
            "with gaps": target.masked_fill(hidden, 0.0),
            "filled in": torch.where(hidden, example["prediction"], target),
        }
        sounds = {
            name: invert(one[None].to(self.device))[0, :, channel].cpu()
            for name, one in spectra.items()
        }
        # One factor for all keeps their levels comparable.
        peak = max(sound.abs().max() for sound in sounds.values())
        example["sounds"] = {k: s / peak for k, s in sounds.items()}
        if self.hparams.measure_pesq:
            example["pesq"] = wide_band_pesq(
                sounds["recorded"],
                sounds["filled in"],
                self.hparams.sample_rate,
            )


def means(errors):
    """Means over recordings; the loss first."""
    mean = {name: sum(values) / len(values) for name, values in errors.items()}
    return {"loss": mean.pop("masked"), **mean}


def wide_band_pesq(reference, estimate, fs):
    """PESQ of a channel that was filled in, by ITU-T P.862.2."""
    try:
        from pesq import pesq
    except ImportError as error:
        raise ImportError(
            "measure_pesq needs a package more: pip install pesq"
        ) from error
    return float(pesq(fs, reference.numpy(), estimate.numpy(), "wb"))


if __name__ == "__main__":
    run_experiment(ReconstructionBrain, prepare_pretext, pretext_datasets)
