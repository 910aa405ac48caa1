"""Trainings on small signals of two microphones, in this process."""

import torch

from spatial_brain.experiment import run_experiment

SEED = """
seed: 1
__set_seed: !apply:speechbrain.utils.seed_everything [!ref <seed>]
"""
COMMON = """
output_folder: !PLACEHOLDER
save_folder: !ref <output_folder>/save
train_log: !ref <output_folder>/train_log.txt
sample_rate: 16000
duration: 0.1
features: !new:spatial_brain.processing.pair_spectra.PairSpectra
    n_fft: 64
    hop_length: 32
modules:
    model: !ref <model>
    features: !ref <features>
compat: False
number_of_epochs: 2
lr: 0.001
opt_class: !name:torch.optim.Adam
    lr: !ref <lr>
train_dataloader_opts: {batch_size: 4, shuffle: True}
valid_dataloader_opts: {batch_size: 4}
test_dataloader_opts: {batch_size: 4}
checkpointer: !new:spatial_brain.dataio.checkpoints.AtomicCheckpointer
    checkpoints_dir: !ref <save_folder>
    recoverables:
        model: !ref <model>
        counter: !ref <epoch_counter>
train_logger: !new:speechbrain.utils.train_logger.FileTrainLogger
    save_file: !ref <train_log>
"""
SIZES = """
    num_bins: 32
    channels: 2
    spec_dim: 8
    spat_dim: 8
    spec_depth: 1
    spat_depth: 1
    conv_kernel: 3
"""
MODELS = "!new:spatial_brain.models.mc_conformer"
PRETEXT = f"""{SEED}
model: {MODELS}.CrossChannelReconstruction{SIZES}
{COMMON}
frozen_encoders: null
warm_start: null
warm_start_epoch: best
measure_pesq: False
loss: !name:spatial_brain.models.mc_pretext.masked_error
learning_rate_schedule: null
epoch_counter: !new:speechbrain.utils.epoch_loop.EpochCounter
    limit: !ref <number_of_epochs>
selection_metric: loss
inference_keys: [sample_rate, duration, features]
"""
DOWNSTREAM = f"""{SEED}
model: {MODELS}.SpatialAcousticsEstimator{SIZES}
{COMMON}
task: TDOA
mode: scratch
pretext: null
real_sim_ratio: "1:0"
fold: 0
average_epochs: 5
embedding_method: pca
loss: !name:torch.nn.functional.mse_loss
epoch_counter: !new:spatial_brain.nnet.averaging.PlateauCounter
    limit: !ref <number_of_epochs>
    rate: !ref <lr>
learning_rate_schedule: !ref <epoch_counter>
selection_metric: smoothed
inference_keys: [sample_rate, task, features]
"""


class Pairs(torch.utils.data.Dataset):
    """Noise that comes to the second microphone some samples later.

    Other labels can be given; None leaves one out.
    """

    def __init__(self, name, number, facts=None, **labels):
        self.name, self.number = name, number
        self.facts, self.labels = facts, labels

    def __len__(self):
        return self.number

    def __getitem__(self, index):
        generator = torch.Generator().manual_seed(len(self.name) * 100 + index)
        noise = torch.randn(1608, generator=generator)
        delay = index % 5
        labels = {"TDOA": delay, "T60": 0.3 + 0.1 * index, "SNR": torch.nan}
        pair = noise[4:1604], noise[4 - delay : 1604 - delay]
        item = {
            "id": f"{self.name}{index}",
            "waveform": torch.stack(pair, 1),
            "labels": {
                key: torch.tensor(float(value))
                for key, value in {**labels, **self.labels}.items()
                if value is not None
            },
        }
        if self.facts is not None:
            item["facts"] = self.facts(index)
        return item


def train(brain_class, yaml, datasets, folder, *flags, **options):
    """Do what a recipe does with this YAML text; returns the brain."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "hparams.yaml"
    path.write_text(yaml)
    argv = [str(path), "--device=cpu", "--noprogressbar", *flags]
    options = {**options, "output_folder": folder}
    argv += [f"--{key}={value}" for key, value in options.items()]
    return run_experiment(
        brain_class, lambda hparams: None, lambda hparams: datasets, argv
    )
