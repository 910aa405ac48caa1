"""What experiments on sound event localisation and detection share.

The recipes are one experiment on different data: chunks of recordings become
features, a network predicts events, its outputs for chunks are stitched into
those for clips, decoded and scored. ``SELDBrain`` is that experiment; a recipe
brings its data set and its hyper-parameters.
"""

import copy
import os
import types
from functools import partial
from pathlib import Path

import speechbrain as sb
import torch
from speechbrain.utils.distributed import if_main_process
from speechbrain.utils.logger import get_logger

from spatial_brain.augment.rotation import rotate_foa_features
from spatial_brain.dataio.annotations import write_events
from spatial_brain.dataio.events import FRAME_LENGTH
from spatial_brain.dataio.files import without_nan, write_json
from spatial_brain.dataio.manifest import read_manifest
from spatial_brain.datasets.seld.chunks import (
    TARGETS,
    ClipReader,
    cache_features,
    clip_events,
    make_chunks,
)
from spatial_brain.experiment import SpatialBrain, on_main_process
from spatial_brain.inference.convert.adapters import begin, save_adapters
from spatial_brain.inference.pretrained import (
    ADAPTERS_FILE,
    save_pretrained,
    write_card,
)
from spatial_brain.inference.pretrained.measures import event_measures
from spatial_brain.inference.seld_detector import (
    ClipPredictions,
    check_rotations,
    rotated_outputs,
)
from spatial_brain.metrics.seld.files import score_folders
from spatial_brain.metrics.seld.scores import (
    constant_prediction,
    repeat_prediction,
)
from spatial_brain.models.adaptation import (
    describe_parameters,
    unfounded_parts,
)
from spatial_brain.models.transfer import CONSTANTS
from spatial_brain.reporting.report import read_train_log
from spatial_brain.reporting.seld import seld_report

logger = get_logger(__name__)

# Recordings of the test in the report, and their seconds.
NUM_EXAMPLES = 4
EXAMPLE_LENGTH = 10
CHANNEL_ORDERS = {
    "foa": "first-order Ambisonics W, Y, Z, X (ACN), SN3D",
    "mic": "the four microphones of the array of the data",
}
ANGLES = "degrees: azimuth 0 in front, 90 on the left; elevation 90 above"


class SELDBrain(SpatialBrain):
    """Detects and localises sound events.

    Any features, network and loss with the following arguments and results
    can stand in the YAML; B chunks have L label frames of 100 ms and C
    classes.

    ``modules["features"](waveform)``: from [B, time, 4] to the input of the
    network, [B, channel, frame, bin] in this package.

    ``modules["model"](features)``: a dictionary of tensors, by ``method``

    - ``accdoa``: ``{"accdoa": [B, L, 3 * C]}``, for each class a vector x, y,
      z whose direction is that of the event and whose length is its activity;
      x of all classes comes first, then y, then z;
    - ``multi_accdoa``: ``{"multi_accdoa": [B, L, 9 * C]}``, three such tracks
      one after the other, for up to three events of a class;
    - ``einv2`` and ``seddoa``: ``{"sed": [B, L, 3, C], "doa": [B, L, 3, 3]}``,
      for each of three tracks logits of the classes, and a vector x, y, z.

    ``loss(outputs, targets, mask)``: a scalar tensor. ``outputs`` are those
    of the network; ``targets`` a dictionary of float tensors, by ``method``

    - ``accdoa``: ``"accdoa"``, like the output;
    - ``multi_accdoa``: ``"adpit"`` [B, L, 6, 4, C], activity, x, y, z in the
      slots A0, B0, B1, C0, C1, C2: a class with one event in a frame fills
      the first, with two events the next two, with three the last three;
    - ``einv2`` and ``seddoa``: ``"sed"``, activities in [0, 1], and ``"doa"``,
      unit vectors or zero, like the outputs;

    and ``"overlap"`` [B], the most events at once in each chunk. ``mask``
    [B, L] is 1 for frames of the recording and 0 for those of the padding, or
    None with ``mask_padding: False``.

    Beside what every experiment needs, the hyper-parameters hold

    - ``modules`` with ``model`` and ``features``, ``method``, ``num_classes``,
      ``class_names``, ``array_format``, ``initial_weights``, ``keep_head``;
    - ``adapters_only`` (may be missing): whether to save only what differs
      from ``initial_weights``;
    - ``loss``, ``mask_padding``, ``augmentation`` (a chain or null);
    - ``train_chunk_length`` (may be missing), where training takes other
      chunks than validation, test and use do;
    - ``sample_rate``, ``chunk_length``, ``train_hop_length``,
      ``valid_hop_length``, ``detection_hop``, ``audio_in_memory``,
      ``feature_cache``, ``num_workers``;
    - ``threshold``, ``merge_angle``, ``num_test_rotations``,
      ``compare_untrained``, ``scores`` (makes an empty ``SELDScores``; its
      mode counts for the choice of the epoch and for the test);
    - ``data_folder``, ``manifest_folder``, ``output_folder``, ``train_log``,
      ``inference_keys``.

    A subclass sets ``dialect``, the format of the predictions, ``challenge``,
    whose evaluator scores them, and ``challenge_rules``, where these differ.

    Arguments
    ---------
    modules, opt_class, hparams, run_opts, checkpointer
        As for :class:`speechbrain.Brain`.
    """

    dialect = "dcase2021"
    challenge = "DCASE2021"
    challenge_rules = types.MappingProxyType({})

    def __init__(self, modules, opt_class, hparams, run_opts, checkpointer):
        if hparams["num_test_rotations"] > 1:
            check_rotations(
                hparams["method"],
                hparams["array_format"],
                modules["features"] if hparams["feature_cache"] else None,
            )
        self.beginning = _begin(modules["model"], hparams)
        self.untrained = None
        if hparams["compare_untrained"]:
            self.untrained = copy.deepcopy(modules["model"]).eval()
        super().__init__(modules, opt_class, hparams, run_opts, checkpointer)
        if self.untrained is not None:
            self.untrained.to(self.device)

    def compute_forward(self, batch, stage):
        """Features of the chunks, and the outputs of the network."""
        batch, targets = batch.to(self.device), self.targets_of(batch)
        chain = None
        if stage == sb.Stage.TRAIN:
            chain = self.hparams.augmentation
        with torch.autocast(self.device_type, enabled=False):
            if self.hparams.feature_cache:
                features = batch.features.data
            else:
                waveform = batch.waveform.data
                if chain is not None:
                    waveform, targets = chain.augment_waveform(
                        waveform, targets
                    )
                features = self.modules.features(waveform)
            if chain is not None:
                features, targets = chain.augment_features(features, targets)
        if stage == sb.Stage.TEST and self.hparams.num_test_rotations > 1:
            outputs = self.rotated_outputs(batch)
            return outputs, targets, features
        return self.modules.model(features), targets, features

    def rotated_outputs(self, batch):
        """Mean of the outputs for rotated scenes, turned back."""
        options = self.hparams.method, self.hparams.num_test_rotations
        if self.hparams.feature_cache:
            return rotated_outputs(
                self.modules.model,
                batch.features.data,
                *options,
                rotate=rotate_foa_features,
            )
        return rotated_outputs(
            lambda scene: self.modules.model(self.modules.features(scene)),
            batch.waveform.data,
            *options,
        )

    def targets_of(self, batch):
        """The labels of a batch, and which of its frames are real."""
        names = (*TARGETS[self.hparams.method], "overlap", "mask")
        return {name: getattr(batch, name).data for name in names}

    def compute_objectives(self, predictions, batch, stage):
        """The loss; outside training the outputs are collected as well."""
        outputs, targets, features = predictions
        mask = targets.pop("mask") if self.hparams.mask_padding else None
        loss = self.hparams.loss(outputs, targets, mask)
        if stage != sb.Stage.TRAIN:
            self.collect("network", batch, outputs)
        if stage == sb.Stage.TEST and self.untrained is not None:
            with torch.autocast(self.device_type, enabled=False):
                self.collect("untrained", batch, self.untrained(features))
        return loss

    def collect(self, name, batch, outputs):
        """Add the outputs of a batch to the predictions of one method."""
        outputs = {key: value.float().cpu() for key, value in outputs.items()}
        for i, clip in enumerate(batch.clip):
            self.predictions[name].append(
                clip,
                {key: value[i] for key, value in outputs.items()},
                self.references[clip].num_frames,
                last=bool(batch.last[i]),
            )

    def on_evaluate_start(self, max_key=None, min_key=None):
        """Load the best checkpoint; --test_only takes whole initial weights.

        Arguments
        ---------
        max_key, min_key : str, optional
            As for ``SpatialBrain``.

        Raises
        ------
        ValueError
            If only a test was asked for, there is no checkpoint, and the
            initial weights leave parts of the network at random values.
        """
        given = self.beginning is not None and self.test_only
        if not given or self.checkpointer.list_checkpoints():
            super().on_evaluate_start(max_key=max_key, min_key=min_key)
            return
        random = [
            name
            for name in self.beginning.transfer.left
            if name.rsplit(".", 1)[-1] not in CONSTANTS
        ]
        if random:
            raise ValueError(
                f"--test_only: no checkpoint in "
                f"{self.checkpointer.checkpoints_dir}, and "
                f"{self.beginning.name} alone cannot be tested, for "
                f"{len(random)} entries of the network are not taken from it, "
                f"the first is {random[0]}. Train first; a network of the same "
                "classes is tested as it is with --keep_head True"
            )
        logger.info(
            "nothing was trained here: the test is of %s", self.beginning.name
        )

    def on_stage_start(self, stage, epoch=None):
        """Start without predictions."""
        if stage == sb.Stage.TRAIN:
            return
        split, hop = "valid", self.hparams.valid_hop_length
        if stage == sb.Stage.TEST:
            split, hop = "test", self.hparams.detection_hop
        self.manifest = Path(self.hparams.manifest_folder) / f"{split}.json"
        self.references = self.read_references(split)
        self.predictions = {
            name: ClipPredictions(
                self.hparams.method,
                round(hop * 10),
                threshold=self.hparams.threshold,
                merge_angle=self.hparams.merge_angle,
            )
            for name in ("network", "untrained")
        }

    def read_references(self, split):
        """Events of all clips of a split, id -> EventTable."""
        path = Path(self.hparams.manifest_folder) / f"{split}.json"
        return clip_events(
            path,
            data_root=self.hparams.data_folder,
            num_classes=self.hparams.num_classes,
        )

    def score(self, events):
        """Scores of one method over all clips.

        Arguments
        ---------
        events : dict
            Id to EventTable, for each of the references.

        Returns
        -------
        SELDScores
        """
        scores = self.hparams.scores()
        for clip, reference in self.references.items():
            scores.append(
                reference,
                events[clip],
                num_frames=reference.num_frames,
                name=clip,
            )
        return scores

    def on_stage_end(self, stage, stage_loss, epoch=None):
        """Log, keep the best checkpoint; after the test, write the results."""
        if stage == sb.Stage.TRAIN:
            self.train_loss = stage_loss
            return
        scores = self.score(self.predictions["network"].events)
        summary = scores.compute()
        stats = {key: summary[key] for key in ("ER", "F", "LE", "LR", "SELD")}
        stats["loss"] = stage_loss
        if stage == sb.Stage.VALID:
            self.hparams.train_logger.log_stats(
                {"epoch": epoch, "lr": self.optimizer.param_groups[0]["lr"]},
                train_stats={"loss": self.train_loss},
                valid_stats=stats,
            )
            self.checkpointer.save_and_keep_only(
                meta={"SELD": summary["SELD"], "epoch": epoch},
                min_keys=["SELD"],
                keep_recent=True,
            )
            return
        self.hparams.train_logger.log_stats(
            {"Epoch loaded": self.hparams.epoch_counter.current},
            test_stats=stats,
        )
        if if_main_process():
            self.write_results()

    def write_results(self):
        """Write predictions, metrics, the model to use and the report."""
        hparams, folder = self.hparams, Path(self.hparams.output_folder)
        methods = {
            name: self.score(predictions.events)
            for name, predictions in self.predictions.items()
            if predictions.events
        }
        methods["constant"] = self.score(self.constant_events())
        results = {k: v.compute(intervals=True) for k, v in methods.items()}
        for line in results["network"]["warnings"]:
            logger.warning("test scores: %s", line)
        entries = read_manifest(self.manifest, data_root=hparams.data_folder)
        overlaps = self.overlap_groups(entries)
        rooms = {k: str(entry["room"]) for k, entry in entries.items()}
        by = {
            f"by_{name}": methods["network"].compute(by=groups)["by"]
            for name, groups in (("room", rooms), ("overlap", overlaps))
        }
        parameters = sum(p.numel() for p in self.modules.model.parameters())
        self.save_model(folder / "pretrained")
        metrics = {
            "num_clips": len(entries),
            "parameters": parameters,
            "seed": hparams.seed,
            "methods": results,
            "challenge": self.challenge_scores(folder, entries),
            **by,
        }
        facts = self.describe_training()
        write_card(
            folder,
            {
                **facts,
                "test": f"test clips of {facts['data']}",
                "test_items": len(entries),
                "measures": event_measures(
                    results["network"], results["constant"]
                ),
            },
        )
        # No class, no score: null.
        write_json(folder / "metrics.json", without_nan(metrics))
        seld_report(
            folder,
            scores=results,
            train_log=read_train_log(hparams.train_log),
            clips=self.example_clips(entries),
            class_names=hparams.class_names,
            references=self.references,
            estimates=self.predictions["network"].events,
            subtitle=f"{parameters:,} parameters, {len(entries)} test clips "
            f"of {self.challenge}",
            **by,
        )

    def describe_training(self):
        """What the model is for; a recipe adds its data. See SpatialBrain."""
        classes = list(self.hparams.class_names)
        model = getattr(self.modules.model, "module", self.modules.model)
        causal = getattr(getattr(model, "network", model), "causal", False)
        facts = {}
        if causal:
            # A label frame, and half a window of its last feature frame.
            half = self.hparams.features.n_fft / 2 / self.hparams.sample_rate
            facts["latency"] = FRAME_LENGTH + half
        return {
            **super().describe_training(),
            "task": "sound event localization and detection",
            "channels": 4,
            "channel_order": CHANNEL_ORDERS[self.hparams.array_format],
            "angles": ANGLES,
            "causal": causal,
            "data": self.data_name(self.challenge),
            "classes": classes,
            **facts,
        }

    def overlap_groups(self, entries):
        """For each clip the group of its overlap, by which it is scored.

        Arguments
        ---------
        entries : dict
            Of the manifest.

        Returns
        -------
        dict
            Id to the largest number of events at once.
        """
        return {
            clip: str(table.overlap().max(initial=0))
            for clip, table in self.references.items()
        }

    def save_model(self, folder):
        """Write the model to use, or what training made of its beginning."""
        path = Path(self.hparams.output_folder) / "hyperparams.yaml"
        text, model = path.read_text(encoding="utf-8"), self.modules.model
        keys = self.hparams.inference_keys
        # Where the data decide them, the YAML does not have them.
        extra = {"class_names": list(self.hparams.class_names)}
        if getattr(self.hparams, "adapters_only", False):
            save_adapters(folder, text, keys, model, self.beginning, extra)
            return
        save_pretrained(folder, text, keys, {"model": model}, extra)
        # Of an earlier test that saved nothing else.
        (folder / ADAPTERS_FILE).unlink(missing_ok=True)

    def constant_events(self):
        """Events of the constant prediction that is best in validation."""
        prediction = constant_prediction(
            list(self.read_references("valid").values()),
            self.hparams.num_classes,
            self.hparams.scores,
        )
        return {
            clip: repeat_prediction(prediction, table.num_frames)
            for clip, table in self.references.items()
        }

    def write_predictions(self, folder):
        """Write the events that the network found, a file a clip.

        Arguments
        ---------
        folder : Path
            Of the results.

        Returns
        -------
        Path
            The folder with the files, those of ids with "/" in sub-folders.
        """
        estimate = folder / "predictions"
        for clip, table in self.predictions["network"].events.items():
            write_events(estimate / f"{clip}.csv", table, self.dialect)
        return estimate

    def challenge_scores(self, folder, entries):
        """Write the challenge's files, and score them as it would."""
        estimate = self.write_predictions(folder)
        folders = {
            os.path.dirname(entry["events"]) for entry in entries.values()
        }
        return score_folders(
            os.path.commonpath(folders),
            estimate,
            self.challenge,
            intervals=False,
            **self.challenge_rules,
        )

    def example_clips(self, entries):
        """Clips with the most simultaneous events, for the report."""
        busy = {k: t.overlap().mean() for k, t in self.references.items()}
        examples = []
        for clip in sorted(busy, key=busy.get, reverse=True)[:NUM_EXAMPLES]:
            entry = entries[clip]
            number = min(entry["num_samples"], EXAMPLE_LENGTH * entry["fs"])
            waveform = ClipReader(entries).read(clip, 0, number, number)
            examples.append(
                {
                    "name": clip,
                    "reference": self.references[clip],
                    "estimate": self.predictions["network"].events[clip],
                    "waveform": waveform,
                    "fs": entry["fs"],
                }
            )
        return examples


def _begin(model, hparams):
    """Set the initial weights; log what is loaded, new, trained, frozen."""
    beginning, copied = None, ()
    source = hparams["initial_weights"]
    if source is not None:
        beginning = begin(model, source, keep_head=hparams["keep_head"])
        logger.info("%s: %s", source, beginning.transfer)
        copied = beginning.transfer.copied
    elif hparams.get("adapters_only"):
        raise ValueError(
            "--adapters_only True saves what differs from the weights a "
            "training begins with; give --initial_weights"
        )
    network = getattr(model, "network", model)
    logger.info(describe_parameters(network, copied))
    parts = unfounded_parts(network, copied)
    if parts:
        logger.warning(
            "random values stay as they are, for they are neither loaded nor "
            "trained: %s; give --initial_weights, or --adapter null",
            parts,
        )
    return beginning


def seld_datasets(hparams, splits=("train", "valid", "test")):
    """Chunks of the recordings of each split.

    Arguments
    ---------
    hparams : dict
        Hyper-parameters, see :class:`SELDBrain`.
    splits : sequence of str
        Those that have a manifest.

    Returns
    -------
    dict
        Name of split to its data set.
    """
    hops = {
        "train": hparams["train_hop_length"],
        "valid": hparams["valid_hop_length"],
        "test": hparams["detection_hop"],
    }
    length = hparams["chunk_length"]
    lengths = {"train": hparams.get("train_chunk_length", length)}
    datasets, folder = {}, Path(hparams["manifest_folder"])
    for split in splits:
        chunks = make_chunks(
            folder / f"{split}.json",
            method=hparams["method"],
            num_classes=hparams["num_classes"],
            fs=hparams["sample_rate"],
            chunk_length=lengths.get(split, length),
            hop_length=hops[split],
            tail="half" if split == "train" else "pad",
            seed=hparams["seed"],
            data_root=hparams["data_folder"],
            keep_in_memory=hparams["audio_in_memory"],
        )
        if hparams["feature_cache"]:
            make = partial(
                cache_features,
                chunks,
                folder / f"{split}_features.json",
                hparams["features"],
                augmentation=hparams["augmentation"],
                num_workers=max(1, hparams["num_workers"]),
            )
            # One process computes; then all find the store ready.
            on_main_process(make)
            make()
        datasets[split] = chunks
    return datasets
