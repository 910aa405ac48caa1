"""Rooms, speech, and recordings made of them, for every stage."""

from pathlib import Path

from spatial_brain.datasets.reverberant_speech.recordings import (
    ReverberantSpeech,
)
from spatial_brain.datasets.reverberant_speech.responses import (
    prepare_responses,
)
from spatial_brain.datasets.speech.pool import prepare_speech
from spatial_brain.models.room_acoustics import check_quantities

# Speakers of each stage.
PARTS = {"train": "tr", "valid": "dt", "test": "et"}


def prepare(hparams):
    """Find the speech and simulate the rooms; resumable."""
    check_quantities(hparams["quantities"])
    if hparams["skip_prep"]:
        return
    folder = Path(hparams["manifest_folder"])
    fs = hparams["sample_rate"]
    prepare_speech(hparams["data_folder"], folder, fs=fs, **hparams["speech"])
    for seed, split in enumerate(PARTS, hparams["room_seed"]):
        prepare_responses(
            folder,
            hparams["num_rooms"][split],
            seed,
            name=f"responses_{split}",
            fs=fs,
            num_workers=hparams["preparation_workers"],
            **hparams["rooms"],
        )


def recordings(hparams, split, num_items, duration, num_channels=1):
    """Recordings in the rooms and of the speakers of a split."""
    folder = Path(hparams["manifest_folder"])
    return ReverberantSpeech(
        folder / f"responses_{split}.json",
        folder / f"speech_{PARTS[split]}.json",
        num_items,
        quantities=hparams["quantities"],
        duration=duration,
        fs=hparams["sample_rate"],
        seed=hparams["seed"],
        num_channels=num_channels,
        **hparams["recordings"],
    )


def long_recordings(hparams, split):
    """Recordings of as many windows as intervals are calibrated for."""
    most = max(hparams["windows"])
    duration = hparams["duration"] + (most - 1) * hparams["hop_length"]
    number = hparams["num_items"]["long"]
    return recordings(hparams, split, number, duration, num_channels=2)


def dataio_prepare(hparams):
    """Single windows for training and validation, long ones for the test."""
    number, duration = hparams["num_items"], hparams["duration"]
    return {
        "train": recordings(hparams, "train", number["train"], duration),
        "valid": recordings(hparams, "valid", number["valid"], duration),
        "test": long_recordings(hparams, "test"),
    }
