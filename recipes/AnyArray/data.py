"""Speech and scenes of this recipe; scenes are drawn when they are needed."""

import logging
from pathlib import Path

from spatial_brain.dataio.manifest import read_manifest
from spatial_brain.datasets.array_scenes import SceneDrawer, SceneGroups
from spatial_brain.datasets.speech.librispeech import prepare_librispeech
from spatial_brain.datasets.speech.reader import SpeechReader
from spatial_brain.datasets.speech.synthetic import write_synthetic_librispeech
from spatial_brain.datasets.summary import describe

logger = logging.getLogger(__name__)

# Whose speech each set has: of the calibration never the test's.
SPEECH = {
    "train": "train",
    "valid": "valid",
    "test": "test",
    "calibration": "valid",
}


def prepare(hparams):
    """Write manifests of the speech; scenes need nothing on disk."""
    if hparams["synthetic_data"] is not None:
        write_synthetic_librispeech(
            hparams["data_folder"], **hparams["synthetic_data"]
        )
    prepare_librispeech(
        hparams["data_folder"],
        hparams["manifest_folder"],
        hparams["train_splits"],
        hparams["valid_splits"],
        hparams["test_splits"],
        valid_speakers=hparams["valid_speakers"],
        test_speakers=hparams["test_speakers"],
        download=hparams["download"],
        check_counts=hparams["check_counts"],
        skip_prep=hparams["skip_prep"],
    )


def dataio_prepare(hparams):
    """Groups of scenes of training, validation, test and calibration.

    Those of the training are drawn anew in each epoch, the others are fixed.
    """
    folder, root = Path(hparams["manifest_folder"]), hparams["data_folder"]
    speech = {
        split: read_manifest(folder / f"{split}.json", data_root=root)
        for split in set(SPEECH.values())
    }
    reader = SpeechReader(hparams["sample_rate"], remember=16)
    if hparams["speech_in_memory"]:
        reader.keep_in_memory(
            entry["wav"] for part in speech.values() for entry in part.values()
        )
    datasets, sizes = {}, {}
    for split, source in SPEECH.items():
        number = hparams["num_groups"][split]
        drawer = SceneDrawer(
            speech[source],
            reader.read,
            fs=hparams["sample_rate"],
            **hparams["scenes"],
        )
        datasets[split] = SceneGroups(
            drawer,
            num_groups=number,
            group_size=hparams["group_size"],
            seed=hparams["scene_seeds"][split],
        )
        scenes = number * hparams["group_size"]
        hours = scenes * hparams["scenes"]["num_samples"]
        hours /= 3600 * hparams["sample_rate"]
        sizes[split] = {
            "speakers": len(drawer.speakers),
            "scenes": scenes,
            "hours": hours,
        }
    text = describe("simulated rooms, those of the training drawn anew", sizes)
    logger.info("%s", text)
    hparams["calibration_set"] = datasets.pop("calibration")
    return datasets
