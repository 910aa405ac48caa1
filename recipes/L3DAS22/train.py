#!/usr/bin/env python3
"""Sound event localization and detection (SELD): L3DAS22 Task 2.

Recordings in first-order Ambisonics are cut into chunks; a network detects
every 100 ms which of 14 classes are active, and from which direction.

> python train.py hparams/mini.yaml                          # needs no data
> python train.py hparams/maccdoa_htsat.yaml --data_folder /data/L3DAS22
> python train.py hparams/maccdoa_htsat.yaml --data_folder ... --test_only
> torchrun --nproc_per_node=4 train.py hparams/maccdoa_htsat.yaml --data_f...

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

from spatial_brain.datasets.seld.l3das22 import (
    prepare_l3das22,
    write_synthetic_l3das22,
)
from spatial_brain.experiment import run_experiment
from spatial_brain.seld_experiment import SELDBrain, seld_datasets


class L3DAS22Brain(SELDBrain):
    """Detects and localises the sound events of L3DAS22."""

    # The network gives directions without distances: no metres to score.
    dialect = "polar4"
    challenge = "L3DAS22"
    challenge_rules = {"metric": "dcase2022", "average": "macro"}


def prepare(hparams):
    """Find the recordings, check them and write the manifests."""
    if hparams["synthetic_data"] is not None:
        write_synthetic_l3das22(
            hparams["data_folder"], **hparams["synthetic_data"]
        )
    prepare_l3das22(
        hparams["data_folder"],
        hparams["manifest_folder"],
        protocol=hparams["protocol"],
        overlap=hparams["train_overlap"],
        channel_order=hparams["channel_order"],
        check_counts=hparams["check_counts"],
        skip_prep=hparams["skip_prep"],
    )


if __name__ == "__main__":
    run_experiment(L3DAS22Brain, prepare, seld_datasets)
