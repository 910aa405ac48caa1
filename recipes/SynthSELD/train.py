#!/usr/bin/env python3
"""Sound event localization and detection (SELD) of your own sounds, simulated.

Scenes are simulated from recordings by class, each split with sounds and
rooms of its own; a network detects every 100 ms which classes are active, and
from which direction.

> python train.py hparams/own_events_htsat.yaml --event_folder /data/events
> python train.py hparams/own_events_htsat.yaml --event_folder ... --test_only
> torchrun --nproc_per_node=4 train.py hparams/own_events_htsat.yaml --event...

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

from spatial_brain.datasets.seld.synth_seld import prepare_simulated_scenes
from spatial_brain.experiment import run_experiment
from spatial_brain.seld_experiment import SELDBrain, seld_datasets


class SynthSELDBrain(SELDBrain):
    """Detects and localises sound events of simulated scenes."""

    # Format of the predictions, and the challenge whose rules score them.
    dialect = "dcase2021"
    challenge = "SYNTH"

    @property
    def challenge_rules(self):
        """The number of classes is the user's."""
        return {"num_classes": self.hparams.num_classes}


def prepare(hparams):
    """Simulate the scenes and write the manifests."""
    names, number = hparams["class_names"], hparams["num_classes"]
    if len(names) != number:
        raise ValueError(
            f"--class_names gives {len(names)} classes ({', '.join(names)}), "
            f"--num_classes is {number}; give both"
        )
    prepare_simulated_scenes(
        hparams["data_folder"],
        hparams["manifest_folder"],
        class_names=hparams["class_names"],
        event_folder=hparams["event_folder"],
        clips=hparams["clips"],
        num_rooms=hparams["num_rooms"],
        duration=hparams["clip_duration"],
        format=hparams["array_format"],
        fs=hparams["sample_rate"],
        seed=hparams["scene_seed"],
        num_workers=hparams["preparation_workers"],
        scene=hparams["scene"],
        variation=hparams["variation"],
        embedded_classes=hparams["embedded_classes"],
    )


def make_datasets(hparams):
    """Chunks of the scenes, those for training perhaps of a few clips."""
    datasets = seld_datasets(hparams)
    if hparams["training_clips"] is not None:
        datasets["train"].keep_clips(hparams["training_clips"], hparams["seed"])
    return datasets


if __name__ == "__main__":
    run_experiment(SynthSELDBrain, prepare, make_datasets)
