"""The pretext task: hidden frames of one signal from those of the other."""

import copy
import math
from collections import defaultdict
from pathlib import Path

import speechbrain as sb
import torch
from speechbrain.utils.distributed import if_main_process
from speechbrain.utils.logger import get_logger

from spatial_brain.dataio.checkpoints import AtomicCheckpointer
from spatial_brain.dataio.files import write_json
from spatial_brain.inference.convert.sar_ssl import read_encoder_weights
from spatial_brain.inference.pretrained import (
    Measure,
    load_weights,
    save_pretrained,
    unwrap,
    write_card,
)
from spatial_brain.models.mc_pretext import (
    item_seeds,
    masked_error,
    reconstruction_errors,
)
from spatial_brain.models.transfer import initialize_encoders
from spatial_brain.pair_experiment.brain import PairBrain, check_exists
from spatial_brain.reporting.pretext import pretext_report
from spatial_brain.reporting.report import read_train_log

logger = get_logger(__name__)
# Recordings of a set that the report shows.
NUM_SHOWN = 4
EPOCHS = ("best", "latest")


class ReconstructionBrain(PairBrain):
    """Reconstructs masked frames across channels.

    One more behaviour of the original: ``"epoch_rates"``, a learning rate
    constant within an epoch, and zero in the last one. Default: it falls at
    every step.

    Validation and test are
    :class:`spatial_brain.pair_experiment.sets.EvaluationSets`. The first set
    of the validation picks the epoch, others are watched: their errors stand
    in the log, epoch by epoch.

    ``model`` and ``loss`` of the YAML:

    * ``model(spectra [batch, 2, bin, frame, re/im], seeds=[batch] or None)``
      returns a dictionary: ``prediction`` and ``target`` like the spectra,
      ``masked_frames`` [batch, frame], ``masked_channel`` [batch], and
      ``reference``, the mean error of copying the other channel.
    * ``loss(prediction, target, masked_frames, masked_channel)`` returns
      [batch]. Whatever it is, epochs are compared by the mean squared error of
      the masked frames in validation.

    Beside what every experiment and :class:`PairBrain` need, the
    hyper-parameters hold ``loss``, ``frozen_encoders`` (a source of encoders
    for which only a new decoder is trained, or null), ``measure_pesq``,
    ``sample_rate``, ``output_folder``, ``train_log``, ``inference_keys``;
    and, where the training may begin with the weights of another run,

    * ``warm_start``: the output folder of that run, one of its checkpoint
      folders, or a weights file; null: none. Epochs, optimiser and the best
      error begin anew: an epoch of the other run is never the best one here. A
      run that resumes takes its own checkpoint.
    * ``warm_start_epoch``: ``best`` (the default) or ``latest`` of an output
      folder.

    Arguments
    ---------
    modules, opt_class, hparams, run_opts, checkpointer
        As for :class:`speechbrain.Brain`.
    """

    COMPAT = (*PairBrain.COMPAT, "epoch_rates")

    def __init__(self, modules, opt_class, hparams, run_opts, checkpointer):
        super().__init__(modules, opt_class, hparams, run_opts, checkpointer)
        if hparams["frozen_encoders"] is not None:
            self.freeze_encoders(hparams["frozen_encoders"])
        schedule = self.hparams.learning_rate_schedule
        if "epoch_rates" in self.compat and schedule is not None:
            schedule = copy.copy(schedule)
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

    def on_fit_start(self):
        """Begin with other weights if asked to, unless the run resumes."""
        source = getattr(self.hparams, "warm_start", None)
        if source is not None and not self.checkpointer.list_checkpoints():
            self.warm_start(source)
        super().on_fit_start()

    def warm_start(self, source):
        """Take all weights of another run, and nothing else of it."""
        epoch = getattr(self.hparams, "warm_start_epoch", "best")
        path = find_warm_start(source, epoch)
        tensors = read_encoder_weights(path)
        load_weights(unwrap(self.modules.model), tensors, path)
        logger.info("warm start: %d entries of %s", len(tensors), path)

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
        loss = self.hparams.loss(
            outputs["prediction"],
            outputs["target"],
            outputs["masked_frames"],
            outputs["masked_channel"],
        )
        if stage == sb.Stage.TRAIN:
            self.references.append(outputs["reference"].detach())
            return loss.mean()
        with torch.autocast(self.device_type, enabled=False):
            self.collect(batch["set"], outputs)
        if "batch_means" in self.compat:
            self.collect_batch(batch["set"], loss)
        if stage == sb.Stage.TEST:
            self.keep_examples(batch, outputs, labels)
        return loss.mean()

    def collect(self, sets, outputs):
        """Note the errors of each recording under the name of its set."""
        errors = reconstruction_errors(outputs)
        target = outputs["target"]
        masks = outputs["masked_frames"], outputs["masked_channel"]
        # The error of silence as prediction.
        errors["silence"] = masked_error(
            torch.zeros_like(target), target, *masks
        )
        for name, values in errors.items():
            for key, value in zip(sets, values.tolist(), strict=True):
                self.errors[key][name].append(value)

    def collect_batch(self, sets, loss):
        """Note the loss of a batch, as far as it belongs to the first set."""
        first = next(iter(self.errors))
        rows = [row for row, name in enumerate(sets) if name == first]
        if rows:
            self.batch_losses.append(float(loss[rows].mean()))

    def keep_examples(self, batch, outputs, labels):
        """Keep recordings for the report, of each set some."""
        for row, (item, name) in enumerate(
            zip(batch["id"], batch["set"], strict=True)
        ):
            if sum(e["stage"] == name for e in self.examples) == NUM_SHOWN:
                continue
            keys = ("prediction", "target", "masked_frames", "masked_channel")
            example = {key: outputs[key][row].float().cpu() for key in keys}
            example |= {"name": item, "stage": name}
            example["masked_frames"] = example["masked_frames"].bool()
            example["masked_channel"] = int(example["masked_channel"])
            for condition in ("t60", "snr"):
                label = labels.get(condition.upper())
                if label is not None and label[row].isfinite():
                    example[condition] = label[row].item()
            self.examples.append(example)

    def on_stage_start(self, stage, epoch=None):
        """Start with no errors."""
        if stage == sb.Stage.TRAIN:
            self.references = []
            self.forget_optimizer()
        self.errors = defaultdict(lambda: defaultdict(list))
        self.examples, self.batch_losses = [], []

    def on_stage_end(self, stage, stage_loss, epoch=None):
        """Log, keep the best checkpoint; after the test, write the results."""
        if stage == sb.Stage.TRAIN:
            self.train_stats = {"loss": stage_loss}
            if self.references:
                reference = torch.stack(self.references).mean().item()
                self.train_stats["reference"] = reference
            return
        sets = {name: _means(errors) for name, errors in self.errors.items()}
        main, *others = sets.values()
        if "batch_means" in self.compat and stage == sb.Stage.VALID:
            main["loss"] = sum(self.batch_losses) / len(self.batch_losses)
        if stage == sb.Stage.VALID:
            watched = {
                f"{name} {key}": found[key]
                for name, found in zip([*sets][1:], others, strict=True)
                for key in ("loss", "reference")
            }
            self.hparams.train_logger.log_stats(
                {"epoch": epoch, "lr": self.optimizer.param_groups[0]["lr"]},
                train_stats=self.train_stats,
                valid_stats={**main, **watched},
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
        write_card(
            folder, {**self.describe_training(), **self.facts_of_test(sets)}
        )
        first = next(iter(sets))
        shown = [e for e in self.examples if e["stage"] != first]
        shown = shown or self.examples
        for example in shown:
            self.add_sounds(example)
        if hparams.measure_pesq:
            for name in {example["stage"] for example in shown}:
                values = [e["pesq"] for e in shown if e["stage"] == name]
                sets[name]["pesq"] = sum(values) / len(values)
        parameters = sum(p.numel() for p in self.modules.model.parameters())
        leaks = self.find_leakage()
        pretext_report(
            folder,
            metrics=sets,
            records=read_train_log(hparams.train_log),
            examples=shown,
            fs=hparams.sample_rate,
            subtitle=f"{parameters:,} parameters, "
            + self.describe_test(len(self.errors[first]["masked"])),
            notes="Leakage: " + "; ".join(leaks) if leaks else None,
        )
        # Last: a folder with metrics is a finished run.
        write_json(
            folder / "metrics.json",
            {
                "parameters": parameters,
                "seed": hparams.seed,
                "epoch": hparams.epoch_counter.current,
                "sets": sets,
                **self.facts(),
                **({"leakage": leaks} if leaks else {}),
            },
        )

    def describe_training(self):
        """What the model is for; a recipe adds its data. See SpatialBrain."""
        return {
            **super().describe_training(),
            "task": "reconstruction of masked frames (pretext task)",
            "channels": 2,
            "channel_order": "two microphones",
            "causal": False,
        }

    def facts_of_test(self, sets):
        """Figures of the test, for the card."""
        first = next(iter(sets))
        number = len(self.errors[first]["masked"])
        error = Measure(
            "mean squared error of masked frames",
            sets[first]["loss"],
            constant=sets[first]["reference"],
            constant_name="copy of the other channel",
        )
        return {
            "test": self.describe_test(number),
            "test_items": number,
            "measures": [error],
        }

    def describe_test(self, num_recordings):
        """The first test set in words, for the report.

        Arguments
        ---------
        num_recordings : int
            In it.

        Returns
        -------
        str
        """
        return f"{num_recordings} test recordings"

    def facts(self):
        """What else a recipe knows of the run, for ``metrics.json``.

        Returns
        -------
        dict
            Of types that JSON knows.
        """
        return {}

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
            example["pesq"] = _wide_band_pesq(
                sounds["recorded"],
                sounds["filled in"],
                self.hparams.sample_rate,
            )


def find_warm_start(source, epoch="best"):
    """Weights of another run to begin with.

    Arguments
    ---------
    source : str or Path
        Output folder of a run, one of its checkpoint folders, a pretrained
        folder, or a weights file.
    epoch : str
        Of an output folder with checkpoints: ``"best"``, the one with the
        lowest validation loss, or ``"latest"``.

    Returns
    -------
    Path
        A file, or a folder without checkpoints.

    Raises
    ------
    FileNotFoundError
        If there is no such folder or file, or no checkpoint of a finished
        epoch.
    ValueError
        For another ``epoch``.

    Example
    -------
    >>> folder = getfixture("tmp_path") / "save" / "CKPT+1"
    >>> folder.mkdir(parents=True)
    >>> _ = (folder / "CKPT.yaml").write_text("loss: 0.5")
    >>> find_warm_start(folder).name
    'model.ckpt'
    """
    if epoch not in EPOCHS:
        raise ValueError(
            f"warm_start_epoch must be one of {', '.join(EPOCHS)}, got "
            f"{epoch!r}"
        )
    check_exists("--warm_start", source)
    source = Path(source)
    if (source / "CKPT.yaml").is_file():
        return source / "model.ckpt"
    save = source / "save"
    if not any(save.glob("CKPT*")):
        return source
    found = AtomicCheckpointer(save).find_checkpoint(
        min_key="loss" if epoch == "best" else None,
        # Not one of those saved amid an epoch.
        ckpt_predicate=lambda checkpoint: "loss" in checkpoint.meta,
    )
    if found is None:
        raise FileNotFoundError(
            f"--warm_start {source}: no epoch of that run is finished"
        )
    return found.path / "model.ckpt"


def check_warm_start(hparams):
    """Refuse a warm start that cannot be, before data are prepared.

    Arguments
    ---------
    hparams : dict
        Hyper-parameters, see :class:`ReconstructionBrain`.

    Raises
    ------
    FileNotFoundError
        If its source is missing; a run that resumes does not need it.
    ValueError
        If encoders are to be frozen as well.
    """
    source = hparams["warm_start"]
    if source is None:
        return
    if hparams["frozen_encoders"] is not None:
        raise ValueError(
            "--warm_start sets all weights, --frozen_encoders keeps those of "
            "the encoders: give one of them"
        )
    if not hparams["checkpointer"].list_checkpoints():
        find_warm_start(source, hparams["warm_start_epoch"])


def _means(errors):
    """Means over recordings; the loss first."""
    mean = {name: sum(values) / len(values) for name, values in errors.items()}
    return {"loss": mean.pop("masked"), **mean}


def _wide_band_pesq(reference, estimate, fs):
    """PESQ of a channel that was filled in, by ITU-T P.862.2."""
    try:
        from pesq import pesq
    except ImportError as error:
        raise ImportError(
            "measure_pesq needs a package more: pip install pesq"
        ) from error
    return float(pesq(fs, reference.numpy(), estimate.numpy(), "wb"))
