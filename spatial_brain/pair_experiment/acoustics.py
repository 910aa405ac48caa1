"""Downstream tasks: one quantity of a room or a source from two signals."""

import copy
import json
from pathlib import Path

import speechbrain as sb
import torch
from speechbrain.utils.distributed import get_rank, if_main_process
from speechbrain.utils.logger import get_logger

from spatial_brain.dataio.files import read_json, write_json
from spatial_brain.experiment import on_main_process
from spatial_brain.inference.convert.sar_ssl import read_encoder_weights
from spatial_brain.inference.pretrained import (
    save_pretrained,
    unwrap,
    write_card,
)
from spatial_brain.inference.pretrained.measures import acoustic_measures
from spatial_brain.inference.pretrained.plain_values import MAX_TEXT
from spatial_brain.metrics.room_acoustics import find_quantity, gcc_phat_tdoa
from spatial_brain.models.transfer import initialize_encoders
from spatial_brain.nnet.averaging import averaged_epochs, averaged_state
from spatial_brain.pair_experiment.brain import PairBrain, check_exists
from spatial_brain.pair_experiment.design import Design
from spatial_brain.pair_experiment.predictions import (
    Predictions,
    check_labels,
)
from spatial_brain.pair_experiment.sets import ranges_of
from spatial_brain.reporting.report import read_train_log
from spatial_brain.reporting.room_acoustics import METHODS, downstream_report

logger = get_logger(__name__)

MODES = ("finetune", "scratch", "lineareval")
CHANNELS = (
    "two microphones",
    "two microphones; positive where the second is later",
)


class AcousticsBrain(PairBrain):
    """Estimates one quantity of a room or a source.

    Two more behaviours of the original: ``"same_order"``, every epoch has the
    order and the random numbers of the first; ``"live_encoders"``, in linear
    evaluation dropout works and batch statistics adapt. Default: other random
    numbers in each epoch, and frozen encoders at rest.

    Validation and test are
    :class:`spatial_brain.pair_experiment.sets.EvaluationSets`: ``val`` of the
    one, ``val`` and ``test``, in this order, of the other.

    ``model`` and ``loss`` of the YAML:

    * ``model(spectra [batch, 2, bin, frame, re/im])`` returns predictions
      [batch, 1], and has ``embed``, the part before its head ``mlp_head``.
    * ``loss(predictions, labels)``, [batch] each, returns a scalar. Whatever
      it is, epochs are compared by their mean squared error in validation.

    Beside what every experiment and :class:`PairBrain` need, the
    hyper-parameters hold ``task``, ``mode`` (one of ``MODES``), ``pretext``
    (a source of encoders, or null), ``lr``, ``loss``, ``average_epochs``,
    ``epoch_counter`` (a
    :class:`spatial_brain.nnet.averaging.PlateauCounter`), ``sample_rate``,
    ``duration``, ``embedding_method``, ``output_folder``, ``train_log``,
    ``inference_keys`` and the facts of ``design``.

    A recipe sets ``design``, gives :meth:`training_labels`, and overrides
    :meth:`facts_of`, :meth:`keeps_signals`, :meth:`describe_run` and
    :meth:`leakage` as far as it has other ones.

    Arguments
    ---------
    modules, opt_class, hparams, run_opts, checkpointer
        As for :class:`speechbrain.Brain`.
    """

    COMPAT = (*PairBrain.COMPAT, "same_order", "live_encoders")
    # What tells the runs of this experiment apart.
    design = Design(conditions=(), repeats=())

    def __init__(self, modules, opt_class, hparams, run_opts, checkpointer):
        super().__init__(modules, opt_class, hparams, run_opts, checkpointer)
        if hparams["mode"] != "scratch" and not self.test_only:
            self.take_encoders()
        # Encoders at rest embed a signal alike in every epoch.
        self.keeps_embeddings = (
            hparams["mode"] == "lineareval"
            and "live_encoders" not in self.compat
            and self.keeps_signals()
            and self.fault_augmentation is None
            and not self.distributed_launch
        )
        self.kept = {}

    def training_labels(self):
        """Labels of the task that the run learns from.

        Their mean is the baseline of every report. Of signals that are mixed
        on the fly, labels of many draws.

        Returns
        -------
        torch.Tensor
            [signal].
        """
        raise NotImplementedError("a recipe gives the labels of its training")

    def facts_of(self, batch):
        """What is known of evaluated signals beside their labels.

        Text (``room``, ``array``, ``corpus``, or others) is what errors are
        broken down by, as is the number ``distance`` (metres). GCC-PHAT needs
        ``spacing``, the distance of the microphones in metres.

        Arguments
        ---------
        batch : dict
            What the evaluation set gave; its ``facts`` are the default.

        Returns
        -------
        list of dict
            One a signal.
        """
        return [json.loads(facts) for facts in batch["facts"]]

    def keeps_signals(self):
        """Whether an ``id`` stands for the same signal in every epoch.

        Linear evaluation then computes each embedding once.

        Returns
        -------
        bool
        """
        return False

    def pretext_corpora(self):
        """What data the encoders have learned from, for :meth:`leakage`.

        Returns
        -------
        dict
            Corpus to what is known of its part, such as ``{"ACE": {"rooms":
            ["Office_1"]}}``, from ``metrics.json`` of the pretext task; empty
            where nothing is known, and in mode ``scratch``.
        """
        source = self.hparams.pretext
        path = Path(str(source), "metrics.json")
        if self.hparams.mode == "scratch" or not path.is_file():
            return {}
        return read_json(path).get("corpora", {})

    def describe_run(self, num_signals):
        """The run in words, for the report.

        Arguments
        ---------
        num_signals : int
            Of the test.

        Returns
        -------
        str
        """
        facts = [
            f"{name.replace('_', ' ')} {getattr(self.hparams, name)}"
            for name in (*self.design.conditions, *self.design.repeats)
        ]
        words = [self.hparams.mode, *facts, f"{num_signals} test signals"]
        return ", ".join(words)

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
        if "labels" in batch:
            check_labels(batch["id"], batch["labels"], self.hparams.task)
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
            predictions["gcc_phat"] = self.classical_tdoa(batch)
        return predictions, labels

    def classical_tdoa(self, batch):
        """What GCC-PHAT finds, which knows the distance of microphones."""
        facts = self.facts_of(batch)
        for item, known in zip(batch["id"], facts, strict=True):
            if known.get("spacing") is None:
                raise ValueError(
                    f"{item}: the distance of its microphones (fact "
                    "'spacing', metres) is not known, GCC-PHAT needs it"
                )
        return gcc_phat_tdoa(
            batch["waveform"],
            torch.tensor([known["spacing"] for known in facts]),
            self.hparams.sample_rate,
        )

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
            facts = self.facts_of(batch) if stage == sb.Stage.TEST else None
            self.predictions.append(batch, labels, predictions, facts)
        prediction = predictions["network"].float()[:, 0]
        return self.hparams.loss(prediction, labels[self.hparams.task])

    def on_stage_start(self, stage, epoch=None):
        """Start with no predictions."""
        if stage == sb.Stage.TRAIN:
            self.forget_optimizer()
            return
        self.predictions = Predictions(self.hparams.task)
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
        """Errors of a method on the signals of a set."""
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
        found = on_main_process(self.known_labels)
        self.training_mean, *self.label_range = found

    def known_labels(self):
        """Mean, lowest and highest label that the run learned from."""
        labels, task = self.training_labels().double(), self.hparams.task
        if not len(labels) or not labels.isfinite().all():
            raise ValueError(
                f"labels {task} of the training are missing: "
                f"{int(labels.isfinite().sum())} of {len(labels)} are known"
            )
        return [x.item() for x in (labels.mean(), labels.min(), labels.max())]

    def describe_training(self):
        """What the model is for; a recipe adds its data. See SpatialBrain."""
        return {
            **super().describe_training(),
            "task": self.hparams.task,
            "channels": 2,
            "channel_order": CHANNELS[self.hparams.task == "TDOA"],
            "causal": False,
            "labels": self.label_range,
            **self.training_ranges(),
        }

    def training_ranges(self):
        """Ranges that the training covers, fields of the model's card.

        Returns
        -------
        dict
            Default: what :func:`spatial_brain.pair_experiment.sets.ranges_of`
            finds in the training set.
        """
        return ranges_of(self.training_set)

    def facts_of_test(self, rows, methods):
        """Figures of the test, for the card."""
        leaks, quantity = self.find_leakage(), find_quantity(self.hparams.task)
        text = self.describe_run(len(rows))
        return {
            "test": "; ".join([text, *leaks])[:MAX_TEXT],
            "test_items": len(rows),
            "measures": acoustic_measures(methods, quantity.unit),
        }

    def finish(self, valid):
        """Log and print the errors of all methods; write the results."""
        self.predictions.add_best_constant("test")
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
        for name, number in self.predictions.conditions("test")[1].items():
            logger.warning(
                "no errors by %s: not known of %d of %d test signals",
                name,
                number,
                len(rows),
            )
        task, folder = self.hparams.task, Path(self.hparams.output_folder)
        quantity = find_quantity(task)
        print(f"{task} ({quantity.label}), mean absolute error:")
        for name, error in errors.items():
            print(f"  {METHODS[name]:30s}{error:.{quantity.digits}f}")
        write_json(folder / "predictions.json", rows)
        self.save_and_report(folder, rows, methods)
        # Last: a folder with metrics is a finished run.
        write_json(folder / "metrics.json", self.facts_of_run(valid, methods))

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
        facts = self.describe_training()
        write_card(folder, {**facts, **self.facts_of_test(rows, methods)})
        # The validation comes first.
        embeddings = torch.cat(self.embeddings)[-len(rows) :]
        leaks = self.find_leakage()
        downstream_report(
            folder,
            task=hparams.task,
            metrics=methods,
            records=read_train_log(hparams.train_log),
            rows=rows,
            embeddings=embeddings if len(rows) > 2 else None,
            embedding_method=hparams.embedding_method,
            subtitle=self.describe_run(len(rows)),
            notes="Leakage: " + "; ".join(leaks) if leaks else None,
        )

    def facts_of_run(self, valid, methods):
        """What the grid and its tables need to know of a run."""
        hparams, model = self.hparams, self.modules.model
        leaks = self.find_leakage()
        return {
            "task": hparams.task,
            "mode": hparams.mode,
            **{name: getattr(hparams, name) for name in self.design.names},
            "seed": hparams.seed,
            "parameters": sum(p.numel() for p in model.parameters()),
            "best_epoch": self.best_checkpoint.meta["epoch"],
            "averaged_epochs": self.averaged,
            "valid": {"loss": valid["loss"], "mae": valid["mae"]},
            "methods": methods,
            **_labels_of(hparams),
            **({"leakage": leaks} if leaks else {}),
        }


def _labels_of(hparams):
    """How the labels of measured responses were taken, if there are any."""
    if not hasattr(hparams, "label_compat"):
        return {}
    noise = "with" if hparams.label_compat else "without"
    return {"labels": f"DRR, C50, unpublished T60 {noise} responses' noise"}


def check_task(hparams, modes=MODES):
    """Refuse what cannot be trained, before data are prepared.

    Arguments
    ---------
    hparams : dict
        Hyper-parameters, see :class:`AcousticsBrain`.
    modes : sequence of str
        Those of the recipe.

    Raises
    ------
    FileNotFoundError
        If there are no such encoders.
    ValueError
        If task or mode are not known, or encoders are needed and not given.

    Example
    -------
    >>> check_task({"task": "T60", "mode": "finetune", "pretext": None})
    Traceback (most recent call last):
    ValueError: mode finetune begins with encoders of the pretext task: give ...
    """
    mode, source = hparams["mode"], hparams["pretext"]
    find_quantity(hparams["task"])
    if mode not in modes:
        raise ValueError(
            f"mode must be one of {', '.join(modes)}, got {mode!r}"
        )
    if mode != "scratch":
        if source is None:
            raise ValueError(
                f"mode {mode} begins with encoders of the pretext task: give "
                "--pretext <output folder of train.py, or a checkpoint>; "
                "--mode scratch needs none"
            )
        check_exists("--pretext", source)
