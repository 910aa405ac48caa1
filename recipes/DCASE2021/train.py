#!/usr/bin/env python3
"""Sound events in measured rooms and where they come from: DCASE2021 Task 3.

Recordings of a tetrahedral array, as first-order Ambisonics or as its four
microphones, are cut into chunks; a network says every 100 ms which of 12
classes sound, and from which direction.

> python train.py hparams/mini.yaml                          # needs no data
> python train.py hparams/maccdoa_htsat.yaml --data_folder /data/DCASE2021
> python train.py hparams/maccdoa_htsat.yaml --data_folder ... --test_only
> torchrun --nproc_per_node=4 train.py hparams/maccdoa_htsat.yaml --data_f...
"""

from spatial_brain.datasets.seld.dcase2021 import (
    prepare_dcase2021,
    write_synthetic_dcase2021,
)
from spatial_brain.experiment import run_experiment
from spatial_brain.seld_experiment import SELDBrain, seld_datasets


class DCASE2021Brain(SELDBrain):
    """Detects and localises the sound events of DCASE2021."""

    # Format of the predictions, and the challenge that scores them.
    dialect = "dcase2021"
    challenge = "DCASE2021"


def prepare(hparams):
    """Find the recordings, check them and write the manifests."""
    if hparams["synthetic_data"] is not None:
        write_synthetic_dcase2021(
            hparams["data_folder"], **hparams["synthetic_data"]
        )
    prepare_dcase2021(
        hparams["data_folder"],
        hparams["manifest_folder"],
        format=hparams["array_format"],
        protocol=hparams["protocol"],
        download=hparams["download"],
        check_counts=hparams["check_counts"],
        skip_prep=hparams["skip_prep"],
    )


if __name__ == "__main__":
    run_experiment(DCASE2021Brain, prepare, seld_datasets)
