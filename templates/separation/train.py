#!/usr/bin/env python3
"""Binaural speech separation from your own mixtures and sources.

``model`` and ``loss`` are exchanged in the YAML, data below:

* model(mixture [batch, time, ear], relative lengths [batch]) returns signals
  [batch, time, ear, source], sources in any order.
* loss(estimate, sources alone, lengths) returns a value a mixture, [batch], and
  the order of sources that gives it.

> python train.py hparams.yaml                    # synthetic data, no folder
> python train.py hparams.yaml --synthetic_data null --data_folder /data/mine
"""

from pathlib import Path

import speechbrain as sb
import torch
from speechbrain.utils.distributed import if_main_process
from synthetic import write_synthetic_mixtures

from spatial_brain.dataio.audio import read_audio
from spatial_brain.dataio.dataset import SeededDataset
from spatial_brain.dataio.files import write_json
from spatial_brain.dataio.manifest import read_manifest
from spatial_brain.datasets.own_folder.separation import prepare_separation
from spatial_brain.experiment import SpatialBrain, run_experiment
from spatial_brain.inference.pretrained import save_pretrained, write_card
from spatial_brain.inference.pretrained.measures import separation_measures
from spatial_brain.metrics.separation.errors import SeparationErrors


class SeparationBrain(SpatialBrain):
    """Separates the sources of binaural mixtures."""

    def compute_forward(self, batch, stage):
        """Separated sources [batch, time, ear, source]."""
        batch = batch.to(self.device)
        return self.modules.model(batch.mix.data, batch.mix.lengths)

    def compute_objectives(self, estimate, batch, stage):
        """The mean loss; in the test errors are collected as well."""
        mix, lengths = batch.mix
        sources = batch.sources.data
        loss, _ = self.hparams.loss(estimate, sources, lengths)
        if stage == sb.Stage.TEST:
            estimate = estimate.float()
            self.errors.append(
                batch.id, estimate, sources, mix, lengths=lengths
            )
        self.losses += loss.tolist()
        return loss.mean()

    def on_stage_start(self, stage, epoch=None):
        """Start with no losses and no errors."""
        self.losses = []
        self.errors = SeparationErrors(self.hparams.sample_rate)

    def on_stage_end(self, stage, stage_loss, epoch=None):
        """Log, keep the best checkpoint; after the test, write results."""
        # Over mixtures, not over batches of unequal size.
        stats = {"loss": sum(self.losses) / len(self.losses)}
        log = self.hparams.train_logger.log_stats
        if stage == sb.Stage.TRAIN:
            self.train_stats = stats
            return
        if stage == sb.Stage.VALID:
            log({"epoch": epoch}, self.train_stats, stats)
            self.checkpointer.save_and_keep_only(stats, min_keys=["loss"])
            return
        summary = self.errors.summarize()
        stats |= {key: summary[key] for key in ("snr_i", "si_snr_i")}
        log({"epoch": "best"}, test_stats=stats)  # by all processes
        if if_main_process():
            folder = Path(self.hparams.output_folder)
            methods = {"network": summary}
            write_json(folder / "metrics.json", {"methods": methods})
            self.errors.write_csv(folder / "test_errors.csv")
            text = (folder / "hyperparams.yaml").read_text("utf-8")
            keys, model = self.hparams.inference_keys, self.modules.model
            save_pretrained(folder / "pretrained", text, keys, {"model": model})
            facts = self.describe_training()
            facts["measures"] = separation_measures(summary)
            facts["test_items"] = summary["num_mixtures"]
            write_card(folder, facts)

    def describe_training(self):
        """What the model is for and what it learned from, for its card."""
        hparams = self.hparams
        return {
            **super().describe_training(),
            "task": "binaural separation of talkers",
            "data": self.data_name(Path(hparams.data_folder).name),
            "channels": 2,
            "channel_order": "left ear, right ear",
        }


def prepare(hparams):
    """Find and check the mixtures and their sources; write the manifests."""
    folder, manifests = hparams["data_folder"], hparams["manifest_folder"]
    if hparams["synthetic_data"] is not None:
        write_synthetic_mixtures(folder, **hparams["synthetic_data"])
    prepare_separation(folder, manifests, **hparams["preparation"])


def dataio_prepare(hparams):
    """Mixtures and their sources: segments in training, else whole."""
    size = round(hparams["segment_length"] * hparams["sample_rate"])
    datasets = {}
    for split in ("train", "valid", "test"):
        path = Path(hparams["manifest_folder"], f"{split}.json")
        entries = read_manifest(path, data_root=hparams["data_folder"])

        def read(mix_wav, sources_wav, length, rng, drawn=split == "train"):
            start = 0
            if drawn and length > size:
                start, length = int(rng.integers(length - size + 1)), size
            yield read_audio(mix_wav, start, length)[0]
            sources = [read_audio(wav, start, length)[0] for wav in sources_wav]
            yield torch.stack(sources, dim=-1)

        data = datasets[split] = SeededDataset(entries, hparams["seed"])
        keys = ["mix_wav", "sources_wav", "num_samples", "rng"]
        data.add_dynamic_item(read, keys, ["mix", "sources"])
        data.set_output_keys(["id", "mix", "sources"])
    return datasets


if __name__ == "__main__":
    run_experiment(SeparationBrain, prepare, dataio_prepare)
