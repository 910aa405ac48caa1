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

The training loop is SpeechBrain's ``Brain`` with what
spatial_brain/experiment.py adds: ``SpatialBrain`` (resuming, clipping,
learning rate) and ``run_experiment`` (from the command line to the test).
"""

import copy
from pathlib import Path

import speechbrain as sb
import torch
from data import (
    PairBrain,
    downstream_datasets,
    prepare_task,
    training_mean,
)
from predictions import Predictions
from speechbrain.utils.distributed import get_rank, if_main_process

from spatial_brain.dataio.files import read_json, write_json
from spatial_brain.experiment import on_main_process, run_experiment
from spatial_brain.inference.convert.sar_ssl import read_encoder_weights
from spatial_brain.inference.pretrained import save_pretrained, unwrap
from spatial_brain.metrics.room_acoustics import find_quantity, gcc_phat_tdoa
from spatial_brain.models.transfer import initialize_encoders
from spatial_brain.nnet.averaging import averaged_epochs, averaged_state
from spatial_brain.reporting.report import read_train_log
from spatial_brain.reporting.room_acoustics import METHODS, downstream_report

logger = sb.utils.logger.get_logger(__name__)


class AcousticsBrain(PairBrain):
    """Estimates one quantity of a room or a source.

    Two more behaviours of the original: ``"same_order"``, every epoch has the
    order and the random numbers of the first; ``"live_encoders"``, in linear
    evaluation dropout works and batch statistics adapt. Default: other random
    numbers in each epoch, and frozen encoders at rest.
    """

    COMPAT = (*PairBrain.COMPAT, "same_order", "live_encoders")

    def __init__(self, modules, opt_class, hparams, run_opts, checkpointer):
        super().__init__(modules, opt_class, hparams, run_opts, checkpointer)
        if hparams["mode"] != "scratch" and not self.test_only:
            self.take_encoders()
        # Encoders at rest embed a signal alike in every epoch.
        self.keeps_embeddings = (
            hparams["mode"] == "lineareval"
            and "live_encoders" not in self.compat
            and not hparams["renew"]
            and not hparams["simulate_on_device"]
            and not self.distributed_launch
        )
        self.kept = {}

    def take_encoders(self):
        """Begin with the encoders of the pretext task."""
        source = self.hparams.pretext
        freeze = self.hparams.mode == "lineareval"
        if freeze and "live_encoders" in self.compat:
            freeze = "parameters"
        summary = initialize_encoders(
            self.modules.model, read_encoder_weights(source), freeze
        )
        logger.info("%s: %s", source, summary)

    def on_fit_start(self):
        """Keep the order of the first epoch if the original's is wanted."""
        super().on_fit_start()
        if "same_order" in self.compat:
            # Without it no sampler learns of further epochs.
            self.train_sampler = None

    def on_fit_batch_start(self, batch, should_step):
        """Seed and set the learning rate; see SpatialBrain."""
        super().on_fit_batch_start(batch, should_step)
        if "same_order" in self.compat:
            rank = get_rank() or 0
            torch.manual_seed(self.hparams.seed + self.step + (rank << 32))

    def compute_forward(self, batch, stage):
        """Predict; in the test with all methods that are compared."""
        if stage != sb.Stage.TEST:
            return self.predict(batch)
        features, labels = self.features_and_labels(batch)
        network = unwrap(self.modules.model)
        embedding = network.embed(features)
        self.embeddings.append(embedding.float().cpu())
        predictions = {
            "network": network.mlp_head(embedding),
            "best": self.best(features),
            "training_mean": torch.full((len(features),), self.training_mean),
        }
        if self.hparams.task == "TDOA":
            spacing = [self.scenes[item]["spacing"] for item in batch["id"]]
            predictions["gcc_phat"] = gcc_phat_tdoa(
                batch["waveform"],
                torch.tensor(spacing),
                self.hparams.sample_rate,
            )
        return predictions, labels

    def predict(self, batch):
        """Predictions of the network, and labels."""
        if not self.keeps_embeddings:
            features, labels = self.features_and_labels(batch)
            return {"network": self.modules.model(features)}, labels
        network = unwrap(self.modules.model)
        if not self.kept.keys() >= set(batch["id"]):
            with torch.no_grad():
                features, _ = self.features_and_labels(batch)
                embedding = network.embed(features)
            self.kept.update(zip(batch["id"], embedding.float(), strict=True))
        embedding = torch.stack([self.kept[item] for item in batch["id"]])
        labels = {k: x.to(self.device) for k, x in batch["labels"].items()}
        return {"network": network.mlp_head(embedding)}, labels

    def compute_objectives(self, predictions, batch, stage):
        """Loss of the batch; outside training, predictions are collected."""
        predictions, labels = predictions
        if stage != sb.Stage.TRAIN:
            self.predictions.append(batch, labels, predictions)
        prediction = predictions["network"].float()[:, 0]
        return self.hparams.loss(prediction, labels[self.hparams.task])

    def on_stage_start(self, stage, epoch=None):
        """Start with no predictions."""
        if stage == sb.Stage.TRAIN:
            self.forget_optimizer()
            return
        scenes = self.scenes if stage == sb.Stage.TEST else None
        self.predictions = Predictions(self.hparams.task, scenes)
        self.embeddings = []

    def on_stage_end(self, stage, stage_loss, epoch=None):
        """Log, stop early; after the test, write the results."""
        if stage == sb.Stage.TRAIN:
            self.train_stats = {"loss": stage_loss}
            return
        valid = self.summary("val", "network")
        if stage == sb.Stage.TEST:
            self.finish(valid)
            return
        self.hparams.epoch_counter.update(valid["loss"])
        self.hparams.train_logger.log_stats(
            {"epoch": epoch, "lr": self.optimizer.param_groups[0]["lr"]},
            train_stats=self.train_stats,
            valid_stats={"loss": valid["loss"], "mae": valid["mae"]},
        )
        self.save_epoch(epoch)

    def summary(self, stage, method):
        """Errors of a method on the signals of a stage."""
        return self.predictions.summarize(
            stage,
            method,
            num_bootstrap=0 if stage == "val" else 1000,
            batch_means="batch_means" in self.compat,
        )

    def save_epoch(self, epoch):
        """Save a checkpoint; keep those that may still be averaged."""
        counter = self.hparams.epoch_counter
        number = self.hparams.average_epochs
        self.checkpointer.save_checkpoint(
            meta={"epoch": epoch, "smoothed": counter.smoothed}
        )
        kept = {*averaged_epochs(counter.best_epoch, number)}
        kept |= {*averaged_epochs(epoch, number)}
        self.checkpointer.delete_checkpoints(
            num_to_keep=0,
            ckpt_predicate=lambda c: c.meta.get("epoch") not in kept,
        )

    def on_evaluate_start(self, max_key=None, min_key=None):
        """Load the best epoch, and the mean of it and those before it."""
        super().on_evaluate_start(max_key=max_key, min_key=min_key)
        number = self.hparams.average_epochs
        self.best_checkpoint = self.checkpointer.find_checkpoint(
            min_key=min_key
        )
        epochs = averaged_epochs(self.best_checkpoint.meta["epoch"], number)
        checkpoints = {
            checkpoint.meta["epoch"]: checkpoint
            for checkpoint in self.checkpointer.list_checkpoints()
            if checkpoint.meta.get("epoch") in epochs
        }
        self.averaged = sorted(checkpoints)
        network = unwrap(self.modules.model)
        self.best = copy.deepcopy(network).eval()
        files = (checkpoints[e].paramfiles["model"] for e in self.averaged)
        states = (torch.load(f, "cpu", weights_only=True) for f in files)
        network.load_state_dict(averaged_state(states))
        self.training_mean = on_main_process(training_mean, vars(self.hparams))
        folder = Path(self.hparams.manifest_folder)
        self.scenes = read_json(folder / "scenes.json")

    def finish(self, valid):
        """Log and print the errors of all methods; write the results."""
        rows = self.predictions.of("test")
        methods = {
            name: self.summary("test", name)
            for name in METHODS
            if name in rows[0]
        }
        errors = {name: found["mae"] for name, found in methods.items()}
        # All processes: the logger waits for them.
        self.hparams.train_logger.log_stats(
            {"Epoch loaded": self.best_checkpoint.meta["epoch"]},
            test_stats=errors,
        )
        if not if_main_process():
            return
        task, folder = self.hparams.task, Path(self.hparams.output_folder)
        quantity = find_quantity(task)
        print(f"{task} ({quantity.label}), mean absolute error:")
        for name, error in errors.items():
            print(f"  {METHODS[name]:26s}{error:.{quantity.digits}f}")
        write_json(folder / "predictions.json", rows)
        self.save_and_report(folder, rows, methods)
        # Last: a folder with metrics is a finished run.
        write_json(folder / "metrics.json", self.facts(valid, methods))

    def save_and_report(self, folder, rows, methods):
        """Write ``pretrained`` and ``report.html``."""
        hparams = self.hparams
        save_pretrained(
            folder / "pretrained",
            (folder / "hyperparams.yaml").read_text(encoding="utf-8"),
            hparams.inference_keys,
            {"model": self.modules.model},
            extra={
                "duration": hparams.duration,
                "hop_length": hparams.duration / 2,
            },
        )
        # The validation comes first.
        embeddings = torch.cat(self.embeddings)[-len(rows) :]
        downstream_report(
            folder,
            task=hparams.task,
            metrics=methods,
            records=read_train_log(hparams.train_log),
            rows=rows,
            embeddings=embeddings if len(rows) > 2 else None,
            embedding_method=hparams.embedding_method,
            subtitle=f"{hparams.mode}, {hparams.num_rooms} training rooms, "
            f"trial {hparams.trial}, {len(rows)} test signals in unseen rooms",
        )

    def facts(self, valid, methods):
        """What the grid and its tables need to know of a run."""
        hparams, model = self.hparams, self.modules.model
        return {
            "task": hparams.task,
            "mode": hparams.mode,
            "num_rooms": hparams.num_rooms,
            "trial": hparams.trial,
            "lr": hparams.lr,
            "seed": hparams.seed,
            "parameters": sum(p.numel() for p in model.parameters()),
            "best_epoch": self.best_checkpoint.meta["epoch"],
            "averaged_epochs": self.averaged,
            "valid": {"loss": valid["loss"], "mae": valid["mae"]},
            "methods": methods,
        }


if __name__ == "__main__":
    run_experiment(AcousticsBrain, prepare_task, downstream_datasets)
