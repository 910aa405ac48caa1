#!/usr/bin/env python3
"""Sound event localization and detection (SELD) in your own recordings.

``features``, ``model`` and ``loss`` are exchanged in the YAML, data below:

* features(waveform [batch, time, 4]) returns [batch, channel, frame, bin].
* model(features) returns a dict of outputs, named and shaped as ``method`` says
  (spatial_brain.models.seld), a frame every 100 ms.
* loss(outputs, targets of the same method, mask [batch, frame], 0 where a chunk
  is padded) returns a scalar.

> python train.py hparams.yaml                    # synthetic data, no folder
> python train.py hparams.yaml --synthetic_data null --data_folder /data/mine
"""

from pathlib import Path

import speechbrain as sb
import torch
from speechbrain.utils.distributed import if_main_process
from synthetic import write_synthetic_scenes

from spatial_brain.dataio.annotations import write_events
from spatial_brain.dataio.files import without_nan, write_json
from spatial_brain.datasets.own_folder.seld import prepare_seld
from spatial_brain.datasets.seld.chunks import TARGETS, make_chunks
from spatial_brain.experiment import SpatialBrain, run_experiment
from spatial_brain.inference.pretrained import save_pretrained, write_card
from spatial_brain.inference.pretrained.measures import event_measures
from spatial_brain.inference.seld_detector import ClipPredictions


class SELDBrain(SpatialBrain):
    """Detects and localises the sound events of chunks of recordings."""

    def compute_forward(self, batch, stage):
        """Outputs of the model, a dict of [batch, frame, ...]."""
        waveform = batch.to(self.device).waveform.data
        with torch.autocast(self.device_type, enabled=False):
            features = self.modules.features(waveform)
        return self.modules.model(features)

    def compute_objectives(self, outputs, batch, stage):
        """The loss; outside training the outputs are decoded as well."""
        names = TARGETS[self.hparams.method]
        targets = {name: getattr(batch, name).data for name in names}
        if stage != sb.Stage.TRAIN:
            for i, clip in enumerate(batch.clip):
                self.predictions.append(
                    clip,
                    {key: x[i].float().cpu() for key, x in outputs.items()},
                    self.hparams.references[clip].num_frames,
                    last=bool(batch.last[i]),
                )
        return self.hparams.loss(outputs, targets, batch.mask.data)

    def on_stage_start(self, stage, epoch=None):
        """Start with no predictions."""
        self.predictions = ClipPredictions(
            self.hparams.method,
            round(self.hparams.detection_hop * 10),
            threshold=self.hparams.threshold,
        )

    def on_stage_end(self, stage, stage_loss, epoch=None):
        """Log, keep the best checkpoint; after the test, write results."""
        if stage == sb.Stage.TRAIN:
            self.train_stats = {"loss": stage_loss}
            return
        scores = self.hparams.scores()
        for clip, events in self.predictions.events.items():
            scores.append(self.hparams.references[clip], events, name=clip)
        summary = scores.compute()
        keys = ("ER", "F", "LE", "LR", "SELD")
        stats = {"loss": stage_loss, **{key: summary[key] for key in keys}}
        log = self.hparams.train_logger.log_stats
        if stage == sb.Stage.VALID:
            log({"epoch": epoch}, self.train_stats, stats)
            self.checkpointer.save_and_keep_only(stats, min_keys=["SELD"])
            return
        log({"epoch": "best"}, test_stats=stats)  # by all processes
        if if_main_process():
            folder = Path(self.hparams.output_folder)
            for clip, events in self.predictions.events.items():
                path = folder / "predictions" / f"{clip}.csv"
                write_events(path, events, "dcase2021")
            methods = without_nan({"methods": {"network": summary}})
            write_json(folder / "metrics.json", methods)
            text = (folder / "hyperparams.yaml").read_text("utf-8")
            keys, model = self.hparams.inference_keys, self.modules.model
            save_pretrained(folder / "pretrained", text, keys, {"model": model})
            facts = self.describe_training()
            facts["measures"] = event_measures(summary)
            facts["test_items"] = summary["num_clips"]
            write_card(folder, facts)

    def describe_training(self):
        """What the model is for and what it learned from, for its card."""
        hparams = self.hparams
        return {
            **super().describe_training(),
            "task": "sound event localization and detection",
            "data": self.data_name(Path(hparams.data_folder).name),
            "channels": 4,
            "classes": hparams.class_names,
        }


def prepare(hparams):
    """Find and check recordings and annotations; write the manifests."""
    folder, manifests = hparams["data_folder"], hparams["manifest_folder"]
    if hparams["synthetic_data"] is not None:
        write_synthetic_scenes(folder, **hparams["synthetic_data"])
    prepare_seld(folder, manifests, **hparams["preparation"])


def dataio_prepare(hparams):
    """Chunks of the recordings with their targets, side by side in training."""
    datasets, hparams["references"] = {}, {}
    for split in ("train", "valid", "test"):
        train = split == "train"
        datasets[split] = make_chunks(
            Path(hparams["manifest_folder"], f"{split}.json"),
            hop_length=hparams["train_hop" if train else "detection_hop"],
            tail="half" if train else "pad",
            data_root=hparams["data_folder"],
            **hparams["chunks"],
        )
        hparams["references"] |= datasets[split].events
    return datasets


if __name__ == "__main__":
    run_experiment(SELDBrain, prepare, dataio_prepare)
