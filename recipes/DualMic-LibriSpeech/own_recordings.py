"""Own recordings of the pair, with the directions of both talkers."""

from pathlib import Path

import torch

from spatial_brain.dataio.audio import read_audio
from spatial_brain.dataio.dataset import SeededDataset
from spatial_brain.dataio.manifest import read_manifest
from spatial_brain.datasets.own_folder.localization import prepare_localization
from spatial_brain.metrics.localization import chance_directions

# Degrees from the axis of the pair, in directions.csv.
COLUMNS = ("angle1", "angle2")
SPLITS = ("train", "valid", "test")


def prepare_recordings(hparams):
    """Find and check the recordings; write the manifests."""
    length = hparams["mixtures"]["length"] / hparams["sample_rate"]
    prepare_localization(
        hparams["own_recordings"],
        hparams["manifest_folder"],
        fs=hparams["sample_rate"],
        num_microphones=2,
        microphone_positions=hparams["microphone_positions"],
        azimuth_columns=COLUMNS,
        azimuth_range=(0.0, 180.0),
        min_duration=length,
    )


def open_recordings(hparams):
    """Windows of the recordings: drawn in training, else the middle ones."""
    size, datasets = hparams["mixtures"]["length"], {}
    for split in SPLITS:
        path = Path(hparams["manifest_folder"], f"{split}.json")
        entries = read_manifest(path, data_root=hparams["own_recordings"])
        if split == "train":
            # The best estimate without any signal.
            angles = torch.tensor([e["azimuths"] for e in entries.values()])
            chance = chance_directions(angles)
            hparams["chance"] = torch.as_tensor(chance).float()

        def read(wav, num_samples, rng, drawn=split == "train"):
            last = num_samples - size
            start = int(rng.integers(last + 1)) if drawn else last // 2
            return read_audio(wav, start, size)[0]

        data = datasets[split] = SeededDataset(entries, hparams["seed"])
        data.add_dynamic_item(read, ["wav", "num_samples", "rng"], "waveform")
        data.add_dynamic_item(torch.tensor, "azimuths", "angles")
        data.set_output_keys(["id", "waveform", "angles"])
    # There are no recordings of one of the talkers alone.
    hparams["calibration_set"] = None
    return datasets
