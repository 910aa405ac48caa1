#!/usr/bin/env python3
"""Sound event localization and detection (SELD) in your own recordings.

Four-channel recordings of any names and rooms, with annotations in one of many
formats or as labels of Audacity, are cut into chunks; a network detects every
100 ms which of your classes are active, and from which direction.

> python train.py hparams/mini.yaml                          # needs no data
> python train.py hparams/crnn.yaml --data_folder /data/mine # lists the classes
> python train.py hparams/crnn.yaml --data_folder /data/mine --class_names ...
> python train.py hparams/finetune_htsat.yaml --data_folder /data/mine ...

``model`` and ``loss`` are exchanged in the YAML, the data set below:

* model(features [batch, channel, frame, bin]) returns a dictionary of the
  outputs of ``method``: "accdoa" [batch, frame, 3 * class], "multi_accdoa"
  [batch, frame, 9 * class], or "sed" [batch, frame, track, class] and "doa"
  [batch, frame, track, 3].
* loss(outputs, targets, mask [batch, frame] or None) returns a scalar; targets
  are "accdoa", "adpit" [batch, frame, 6, 4, class], or "sed" and "doa".

What happens to a batch, a clip and an epoch is in
spatial_brain/seld_experiment.py, ``SELDBrain``, which all SELD recipes share;
the training loop is SpeechBrain's ``Brain`` with what
spatial_brain/experiment.py adds: ``SpatialBrain`` (resuming, clipping,
learning rate) and ``run_experiment`` (from the command line to the test).
"""

from spatial_brain.dataio.manifest import read_manifest
from spatial_brain.datasets.own_folder.annotations import write_annotation
from spatial_brain.datasets.own_folder.scenes import prepare_scenes
from spatial_brain.datasets.own_folder.synthetic_scenes import (
    write_synthetic_scenes,
)
from spatial_brain.experiment import run_experiment
from spatial_brain.seld_experiment import SELDBrain, seld_datasets


class OwnSELDBrain(SELDBrain):
    """Detects and localises the sound events of the user's recordings."""

    challenge = "own recordings"

    def write_predictions(self, folder):
        """Write the events that the network found, each as its annotation."""
        entries = read_manifest(
            self.manifest, data_root=self.hparams.data_folder
        )
        estimate = folder / "predictions"
        for clip, table in self.predictions["network"].events.items():
            write_annotation(
                estimate / clip,
                table,
                entries[clip]["annotation_format"],
                self.hparams.class_names,
            )
        return estimate

    def challenge_scores(self, folder, entries):
        """Write the predictions; no challenge has scored these recordings."""
        self.write_predictions(folder)


def prepare(hparams):
    """Find recordings and annotations, check them and write the manifests."""
    if hparams["synthetic_data"] is not None:
        write_synthetic_scenes(
            hparams["data_folder"], **hparams["synthetic_data"]
        )
    prepare_scenes(
        hparams["data_folder"],
        hparams["manifest_folder"],
        fs=hparams["sample_rate"],
        class_names=hparams["class_names"],
        num_classes=hparams["num_classes"],
        class_file=hparams["class_file"],
        table=hparams["recordings"],
        annotation_folder=hparams["annotation_folder"],
        annotation_format=hparams["annotation_format"],
        channels=hparams["channels"],
        resample=hparams["resample"],
        valid_fraction=hparams["valid_fraction"],
        test_fraction=hparams["test_fraction"],
        seed=hparams["split_seed"],
    )


if __name__ == "__main__":
    run_experiment(OwnSELDBrain, prepare, seld_datasets)
