#!/usr/bin/env python3
"""Sound source localization (DOA) with your own recordings and microphones.

``model``, ``loss`` and ``decoder`` are exchanged in the YAML, data below:

* model(waveform [batch, time, microphone]) returns logits [batch, source,
  class]; classes are equal bins of azimuth over [-180, 180) degrees.
* loss(logits, azimuths [batch, source] in degrees) returns a scalar.
* decoder(logits) returns azimuths.

> python train.py hparams.yaml                    # synthetic data, no folder
> python train.py hparams.yaml --synthetic_data null --data_folder /data/mine
"""

from pathlib import Path

import speechbrain as sb
import torch
from speechbrain.utils.distributed import if_main_process
from synthetic import write_synthetic_recordings

from spatial_brain.dataio.audio import read_audio
from spatial_brain.dataio.dataset import SeededDataset
from spatial_brain.dataio.files import write_json
from spatial_brain.dataio.manifest import read_manifest
from spatial_brain.datasets.own_folder.localization import prepare_localization
from spatial_brain.experiment import SpatialBrain, run_experiment
from spatial_brain.geometry import azel_to_unit
from spatial_brain.inference.pretrained import save_pretrained, write_card
from spatial_brain.inference.pretrained.measures import direction_measures
from spatial_brain.metrics.localization import LocalizationErrors
from spatial_brain.processing.decoding import pick_peaks
from spatial_brain.processing.spatial import srp_phat


class LocalizationBrain(SpatialBrain):
    """Estimates the azimuths of the sources of a recording."""

    def compute_forward(self, batch, stage):
        """Logits [batch, source, class]."""
        return self.modules.model(batch.to(self.device).waveform.data)

    def compute_objectives(self, logits, batch, stage):
        """The loss; outside training errors are collected as well."""
        azimuth = batch.azimuth.data
        if stage != sb.Stage.TRAIN:
            estimate = self.hparams.decoder(logits.float())
            self.errors["network"].append(batch.id, estimate, azimuth)
        if "srp_phat" in self.errors:
            estimate = self.srp_phat(batch.waveform.data.cpu())
            self.errors["srp_phat"].append(batch.id, estimate, azimuth)
        return self.hparams.loss(logits, azimuth)

    def srp_phat(self, waveform):
        """Azimuths [batch, source] without training: the positions suffice."""
        grid = torch.arange(*self.hparams.azimuth_range, 2.0)
        positions = torch.tensor(self.hparams.microphone_positions)
        fs, ways = self.hparams.sample_rate, azel_to_unit(grid, 0.0)
        power = srp_phat(waveform, positions, ways, fs)
        return pick_peaks(power, grid, self.hparams.num_sources)

    def on_stage_start(self, stage, epoch=None):
        """Start with no errors."""
        self.errors = {"network": LocalizationErrors(circular=True)}
        if stage == sb.Stage.TEST and self.hparams.microphone_positions:
            self.errors["srp_phat"] = LocalizationErrors(circular=True)

    def on_stage_end(self, stage, stage_loss, epoch=None):
        """Log, keep the best checkpoint; after the test, write results."""
        if stage == sb.Stage.TRAIN:
            self.train_stats = {"loss": stage_loss}
            return
        methods = {name: e.summarize() for name, e in self.errors.items()}
        stats = {"loss": stage_loss, "mae": methods["network"]["mae"]}
        log = self.hparams.train_logger.log_stats
        if stage == sb.Stage.VALID:
            log({"epoch": epoch}, self.train_stats, stats)
            self.checkpointer.save_and_keep_only(stats, min_keys=["mae"])
            return
        log({"epoch": "best"}, test_stats=stats)  # by all processes
        if if_main_process():
            folder = Path(self.hparams.output_folder)
            rows = self.errors["network"].rows()
            write_json(folder / "metrics.json", {"methods": methods})
            write_json(folder / "predictions.json", rows)
            text = (folder / "hyperparams.yaml").read_text("utf-8")
            keys, model = self.hparams.inference_keys, self.modules.model
            save_pretrained(folder / "pretrained", text, keys, {"model": model})
            facts = self.describe_training()
            facts["measures"] = direction_measures(methods["network"])
            facts["test_items"] = len(rows)
            write_card(folder, facts)

    def describe_training(self):
        """What the model is for and what it learned from, for its card."""
        hparams = self.hparams
        return {
            **super().describe_training(),
            "task": "directions of sources",
            "data": self.data_name(Path(hparams.data_folder).name),
            "channels": hparams.num_microphones,
            "positions": hparams.microphone_positions,
            "sources": [hparams.num_sources, hparams.num_sources],
        }


def prepare(hparams):
    """Find and check the recordings; write the manifests."""
    folder, manifests = hparams["data_folder"], hparams["manifest_folder"]
    if hparams["synthetic_data"] is not None:
        write_synthetic_recordings(folder, **hparams["synthetic_data"])
    prepare_localization(folder, manifests, **hparams["preparation"])


def dataio_prepare(hparams):
    """Windows of the recordings: drawn in training, else the middle ones."""
    size = round(hparams["window_length"] * hparams["sample_rate"])
    datasets = {}
    for split in ("train", "valid", "test"):
        path = Path(hparams["manifest_folder"], f"{split}.json")
        entries = read_manifest(path, data_root=hparams["data_folder"])

        def read(wav, num_samples, rng, drawn=split == "train"):
            last = num_samples - size
            start = int(rng.integers(last + 1)) if drawn else last // 2
            return read_audio(wav, start, size)[0]

        data = datasets[split] = SeededDataset(entries, hparams["seed"])
        data.add_dynamic_item(read, ["wav", "num_samples", "rng"], "waveform")
        data.add_dynamic_item(torch.tensor, "azimuths", "azimuth")
        data.set_output_keys(["id", "waveform", "azimuth"])
    return datasets


if __name__ == "__main__":
    run_experiment(LocalizationBrain, prepare, dataio_prepare)
